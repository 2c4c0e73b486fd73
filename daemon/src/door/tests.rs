use std::{
    os::unix::net::UnixListener as StdListener,
    sync::atomic::{AtomicUsize, Ordering},
};

use hallmark_proto::{
    frame::COUNTS_BYTES_MAX,
    link::{TurnedAway, Unary},
};
use rustix::process::getuid;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;

/// Says what it hears, as soon as it may.
struct Echo {
    gate: Semaphore,
    heard: AtomicUsize,
    unsent: AtomicUsize,
    /// Requests that the front says it had.
    requests: AtomicUsize,
}

struct Stand {
    directory: TempDir,
    echo: Arc<Echo>,
    attending: JoinHandle<()>,
}

impl Answers for Arc<Echo> {
    fn call(&self, frame: Bytes) -> Pin<Box<dyn Future<Output = Bytes> + Send>> {
        let echo = Arc::clone(self);
        echo.heard.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            drop(echo.gate.acquire().await);
            frame
        })
    }

    fn unsent(&self) {
        self.unsent.fetch_add(1, Ordering::SeqCst);
    }

    fn counted(&self, counts: FrontCounts) {
        self.requests.store(usize::try_from(counts.requests).unwrap(), Ordering::SeqCst);
    }

    fn state(&self, with_keys: bool) -> CoreState {
        CoreState { serving: true, keys_known: with_keys, ..CoreState::default() }
    }
}

impl Stand {
    fn new(uid: u32, gate: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = StdListener::bind(directory.path().join("door")).unwrap();
        let echo = Arc::new(Echo {
            gate: Semaphore::new(gate),
            heard: AtomicUsize::new(0),
            unsent: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
        });
        let door = Door::new(listener, uid, Arc::new(Arc::clone(&echo))).unwrap();
        Self { directory, echo, attending: tokio::spawn(door.attend()) }
    }

    fn open() -> Self {
        Self::new(getuid().as_raw(), FRAMES_MAX)
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.directory.path().join("door")).await.unwrap()
    }

    /// It serves whoever comes next.
    async fn goes_on(&self) {
        assert!(!self.attending.is_finished());
        let mut stream = self.connect().await;
        send(&mut stream, Kind::AskState, 7, b"").await;
        let (header, content) = receive(&mut stream).await.unwrap();
        assert_eq!((header.kind, header.number), (Kind::State, 7));
        assert!(CoreState::decode(content.as_slice()).unwrap().serving);
    }
}

async fn send(stream: &mut UnixStream, kind: Kind, number: u64, content: &[u8]) {
    let header = Header { kind, content_bytes: content.len().try_into().unwrap(), number };
    stream.write_all(&header.bytes()).await.unwrap();
    stream.write_all(content).await.unwrap();
}

async fn receive(stream: &mut UnixStream) -> io::Result<(Header, Vec<u8>)> {
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header).await?;
    let header = Header::read(header).unwrap();
    let mut content = vec![0; header.content_bytes as usize];
    stream.read_exact(&mut content).await?;
    Ok((header, content))
}

fn call(method: &str, body: usize) -> Vec<u8> {
    let unary = Unary { method: method.to_owned(), body: vec![1; body].into(), ..Unary::default() };
    Call { kind: Some(call::Kind::Unary(unary)) }.encode_to_vec()
}

#[tokio::test]
async fn calls_are_answered_under_their_numbers() {
    let stand = Stand::open();
    let mut stream = stand.connect().await;
    for number in [3, 1, u64::MAX] {
        send(&mut stream, Kind::Call, number, &call("GetChain", 10)).await;
        let (header, content) = receive(&mut stream).await.unwrap();
        assert_eq!((header.kind, header.number, content), (Kind::Reply, number, call("GetChain", 10)));
    }
    send(&mut stream, Kind::AskKeys, 4, b"").await;
    let (_, state) = receive(&mut stream).await.unwrap();
    assert!(CoreState::decode(state.as_slice()).unwrap().keys_known);
    stand.goes_on().await;
}

#[tokio::test]
async fn what_a_front_has_counted_is_taken_and_what_is_none_ends_its_connection() {
    let stand = Stand::open();
    let mut stream = stand.connect().await;
    let counts = FrontCounts { requests: 7, ..FrontCounts::default() };
    send(&mut stream, Kind::Counts, 9, &counts.encode_to_vec()).await;
    let (header, content) = receive(&mut stream).await.unwrap();
    assert_eq!((header.kind, header.number), (Kind::State, 9));
    let state = CoreState::decode(content.as_slice()).unwrap();
    assert!(state.serving && !state.keys_known);
    assert_eq!(stand.echo.requests.load(Ordering::SeqCst), 7);
    for content in [&[0xff; 4][..], &vec![0; COUNTS_BYTES_MAX as usize + 1]] {
        let mut stream = stand.connect().await;
        let header = Header { kind: Kind::Counts, content_bytes: content.len().try_into().unwrap(), number: 1 };
        drop(stream.write_all(&header.bytes()).await);
        drop(stream.write_all(content).await);
        assert!(receive(&mut stream).await.is_err());
    }
    stand.goes_on().await;
}

#[tokio::test]
async fn answers_for_a_front_that_has_gone_are_counted_and_those_that_it_had_are_not() {
    let stand = Stand::new(getuid().as_raw(), 1);
    let mut stream = stand.connect().await;
    send(&mut stream, Kind::Call, 1, &call("GetChain", 10)).await;
    receive(&mut stream).await.unwrap();
    for number in 2..5 {
        stand.echo.gate.forget_permits(1);
        send(&mut stream, Kind::Call, number, &call("GetChain", 10)).await;
    }
    while stand.echo.heard.load(Ordering::SeqCst) < 4 {
        tokio::task::yield_now().await;
    }
    drop(stream);
    // Somebody else comes, so that the end of the other is noticed.
    stand.goes_on().await;
    assert_eq!(stand.echo.unsent.load(Ordering::SeqCst), 0, "the core works on them");
    stand.echo.gate.add_permits(3);
    timeout(Duration::from_secs(10), async {
        while stand.echo.unsent.load(Ordering::SeqCst) < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("they are counted");
}

#[tokio::test]
async fn a_process_of_another_user_hears_nothing() {
    let stand = Stand::new(getuid().as_raw() + 1, FRAMES_MAX);
    let mut stream = stand.connect().await;
    // The connection may be gone before the question is.
    drop(stream.write_all(&Header { kind: Kind::AskState, content_bytes: 0, number: 1 }.bytes()).await);
    assert!(receive(&mut stream).await.is_err());
    assert_eq!(stand.echo.heard.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_is_no_frame_ends_its_connection_alone() {
    let stand = Stand::open();
    let too_large = [0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    for garbage in [&too_large[..], &[0; HEADER_BYTES], &[0, 0, 0, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0], &[7; 4_096]] {
        let mut stream = stand.connect().await;
        drop(stream.write_all(garbage).await);
        assert!(receive(&mut stream).await.is_err());
        stand.goes_on().await;
    }
    for answer in [Kind::Reply, Kind::State] {
        let mut stream = stand.connect().await;
        send(&mut stream, answer, 1, b"").await;
        assert!(receive(&mut stream).await.is_err());
    }
    assert_eq!(stand.echo.heard.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn only_methods_that_take_a_file_take_a_large_message() {
    let stand = Stand::open();
    let large = usize::try_from(USUAL_CALL_BYTES_MAX).unwrap();
    let mut stream = stand.connect().await;
    for (method, _) in LARGE_METHODS {
        send(&mut stream, Kind::Call, 1, &call(method, large)).await;
        assert_eq!(receive(&mut stream).await.unwrap().0.kind, Kind::Reply);
    }
    let told = TurnedAway { method: "RotateIntermediate".into(), reason: "R".repeat(large), ..TurnedAway::default() };
    let told = Call { kind: Some(call::Kind::TurnedAway(told)) }.encode_to_vec();
    for not in [call("MintCertificate", large), told, vec![0xff; large + 1]] {
        let mut stream = stand.connect().await;
        send(&mut stream, Kind::Call, 1, &not).await;
        assert!(receive(&mut stream).await.is_err());
    }
    assert_eq!(stand.echo.heard.load(Ordering::SeqCst), LARGE_METHODS.len());
    stand.goes_on().await;
}

#[tokio::test]
async fn a_flood_waits_in_the_socket_and_not_in_memory() {
    let stand = Stand::new(getuid().as_raw(), 0);
    let (mut reading, mut writing) = stand.connect().await.into_split();
    let flood = tokio::spawn(async move {
        let frame = call("GetChain", 0);
        let header = Header { kind: Kind::Call, content_bytes: frame.len().try_into().unwrap(), number: 5 };
        for _ in 0..2 * FRAMES_MAX {
            writing.write_all(&header.bytes()).await.unwrap();
            writing.write_all(&frame).await.unwrap();
        }
        writing
    });
    while stand.echo.heard.load(Ordering::SeqCst) < FRAMES_MAX {
        tokio::task::yield_now().await;
    }
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(stand.echo.heard.load(Ordering::SeqCst), FRAMES_MAX, "the rest is not read");
    stand.echo.gate.add_permits(FRAMES_MAX);
    let mut header = [0; HEADER_BYTES];
    let mut content = vec![0; call("GetChain", 0).len()];
    for _ in 0..2 * FRAMES_MAX {
        reading.read_exact(&mut header).await.unwrap();
        reading.read_exact(&mut content).await.unwrap();
    }
    flood.await.unwrap();
}

#[tokio::test]
async fn large_messages_wait_until_there_is_room() {
    let stand = Stand::new(getuid().as_raw(), 0);
    let mut stream = stand.connect().await;
    let frame = call("RotateIntermediate", 17 * 1_024 * 1_024);
    let fit = LARGE_ROOM_BYTES / frame.len();
    for _ in 0..fit {
        send(&mut stream, Kind::Call, 1, &frame).await;
    }
    let header = Header { kind: Kind::Call, content_bytes: frame.len().try_into().unwrap(), number: 2 };
    stream.write_all(&header.bytes()).await.unwrap();
    // Nobody reads it: more than a socket holds does not go.
    let one_more = timeout(Duration::from_millis(300), stream.write_all(&frame)).await;
    assert!(one_more.is_err(), "the room is full, and yet it was read");
    assert_eq!(stand.echo.heard.load(Ordering::SeqCst), fit);
    // Who asks for less by another connection is not held up by it.
    let mut usual = stand.connect().await;
    send(&mut usual, Kind::Call, 3, &call("GetChain", 200_000)).await;
    while stand.echo.heard.load(Ordering::SeqCst) == fit {
        tokio::task::yield_now().await;
    }
    stand.goes_on().await;
}

#[tokio::test]
async fn more_connections_than_a_front_needs_are_refused() {
    let stand = Stand::open();
    let mut many = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        let mut stream = stand.connect().await;
        send(&mut stream, Kind::AskState, 1, b"").await;
        receive(&mut stream).await.unwrap();
        many.push(stream);
    }
    let mut one_more = stand.connect().await;
    drop(one_more.write_all(&Header { kind: Kind::AskState, content_bytes: 0, number: 1 }.bytes()).await);
    assert!(receive(&mut one_more).await.is_err());
    drop(many);
}

/// Waits until the core has heard of so many calls.
async fn hears(stand: &Stand, calls: usize) {
    let heard = async {
        while stand.echo.heard.load(Ordering::SeqCst) < calls {
            tokio::task::yield_now().await;
        }
    };
    let heard = timeout(Duration::from_secs(20), heard).await;
    assert!(heard.is_ok(), "{} of {calls} were heard", stand.echo.heard.load(Ordering::SeqCst));
}

#[tokio::test]
async fn calls_that_stay_hold_no_room() {
    const BYTES: usize = 60 * 1_024;
    let stand = Stand::new(getuid().as_raw(), 0);
    let (_reading, mut writing) = stand.connect().await.into_split();
    let staying = ROOM_BYTES / BYTES + 10;
    let sent = tokio::spawn(async move {
        let calls = std::iter::repeat_n(call("WatchEpochs", BYTES), staying).chain([call("GetChain", 10)]);
        for frame in calls {
            let header = Header { kind: Kind::Call, content_bytes: frame.len().try_into().unwrap(), number: 1 };
            writing.write_all(&header.bytes()).await.unwrap();
            writing.write_all(&frame).await.unwrap();
        }
        writing
    });
    hears(&stand, staying + 1).await;
    drop(sent.await.unwrap());
}

#[tokio::test]
async fn a_call_that_stays_is_small() {
    let stand = Stand::open();
    let mut stream = stand.connect().await;
    send(&mut stream, Kind::Call, 1, &call("WatchEpochs", 100 * 1_024)).await;
    assert!(receive(&mut stream).await.is_err());
    assert_eq!(stand.echo.heard.load(Ordering::SeqCst), 0);
    stand.goes_on().await;
}

#[tokio::test]
async fn who_asks_how_the_core_is_waits_behind_no_call() {
    let stand = Stand::new(getuid().as_raw(), 0);
    let mut calling = stand.connect().await;
    for number in 0..FRAMES_MAX {
        send(&mut calling, Kind::Call, number.try_into().unwrap(), &call("GetChain", 0)).await;
    }
    hears(&stand, FRAMES_MAX).await;
    timeout(Duration::from_secs(20), stand.goes_on()).await.expect("all places for calls are taken");
    let mut asking = stand.connect().await;
    send(&mut asking, Kind::Counts, 1, &FrontCounts::default().encode_to_vec()).await;
    let answered = timeout(Duration::from_secs(20), receive(&mut asking)).await;
    assert_eq!(answered.expect("it is answered").unwrap().0.kind, Kind::State);
}
