use hallmark_proto::{
    frame::{HEADER_BYTES, Header},
    link::CaKey,
};
use rustix::process::getuid;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    task::JoinHandle,
};

use super::{
    connection::{ROOT, admit},
    *,
};

/// The other end, played by the test.
struct Played {
    directory: TempDir,
    listener: UnixListener,
}

struct Peer(UnixStream);

impl Played {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("door")).unwrap();
        Self { directory, listener }
    }

    fn line(&self) -> Line {
        Line::open(self.directory.path().join("door"), getuid().as_raw())
    }

    async fn accept(&self) -> Peer {
        let (stream, _) = self.listener.accept().await.unwrap();
        let mut peer = Peer(stream);
        let (header, _) = peer.read().await;
        assert_eq!(header.kind, Kind::AskKeys);
        let ca_keys = vec![CaKey::default()];
        let state = CoreState { serving: true, ca_keys, keys_known: true, ..CoreState::default() };
        peer.write(Kind::State, header.number, &state.encode_to_vec()).await;
        peer
    }
}

impl Peer {
    async fn read(&mut self) -> (Header, Vec<u8>) {
        let mut header = [0; HEADER_BYTES];
        self.0.read_exact(&mut header).await.unwrap();
        let header = Header::read(header).unwrap();
        let mut content = vec![0; header.content_bytes as usize];
        self.0.read_exact(&mut content).await.unwrap();
        (header, content)
    }

    async fn write(&mut self, kind: Kind, number: u64, content: &[u8]) {
        let header = Header { kind, content_bytes: content.len().try_into().unwrap(), number };
        self.0.write_all(&header.bytes()).await.unwrap();
        self.0.write_all(content).await.unwrap();
    }
}

fn patience(repeatable: bool) -> Patience {
    Patience { until: Instant::now() + Duration::from_secs(60), repeatable }
}

fn ask(line: &Line, frame: &'static [u8], repeatable: bool) -> JoinHandle<Bytes> {
    tokio::spawn(line.call(Bytes::from_static(frame), patience(repeatable)))
}

#[tokio::test]
async fn answers_find_their_questions_in_any_order() {
    let played = Played::new();
    let line = played.line();
    let mut peer = played.accept().await;
    assert!(line.greeting().await.serving);
    let one = ask(&line, b"one", true);
    let (first, _) = peer.read().await;
    let two = ask(&line, b"two", true);
    let (second, content) = peer.read().await;
    assert_eq!(content, b"two");
    peer.write(Kind::Reply, second.number, b"second").await;
    peer.write(Kind::Reply, first.number, b"first").await;
    // Nobody asked that.
    peer.write(Kind::Reply, 99, b"stray").await;
    assert_eq!((one.await.unwrap(), two.await.unwrap()), (Bytes::from("first"), Bytes::from("second")));
}

#[tokio::test]
async fn what_may_be_repeated_is_sent_again_and_what_may_not_is_not() {
    let played = Played::new();
    let line = played.line();
    let mut peer = played.accept().await;
    let (safe, unsafe_) = (ask(&line, b"safe", true), ask(&line, b"once", false));
    peer.read().await;
    peer.read().await;
    drop(peer);
    assert!(unsafe_.await.unwrap().is_empty(), "the caller is told that the core went away");
    let mut peer = played.accept().await;
    let (header, content) = peer.read().await;
    assert_eq!(content, b"safe");
    peer.write(Kind::Reply, header.number, b"done").await;
    assert_eq!(safe.await.unwrap(), "done");
}

#[tokio::test]
async fn a_call_that_brings_the_core_down_each_time_is_given_up() {
    let played = Played::new();
    let line = played.line();
    let call = ask(&line, b"poison", true);
    for _ in 0..SENT_MAX {
        let mut peer = played.accept().await;
        assert_eq!(peer.read().await.1, b"poison");
    }
    assert!(call.await.unwrap().is_empty());
}

#[tokio::test]
async fn a_call_waits_for_a_core_that_is_not_there_yet() {
    let played = Played::new();
    let line = played.line();
    let call = ask(&line, b"early", false);
    let mut peer = played.accept().await;
    let (header, content) = peer.read().await;
    assert_eq!(content, b"early");
    peer.write(Kind::Reply, header.number, b"there").await;
    assert_eq!(call.await.unwrap(), "there");
}

#[tokio::test(start_paused = true)]
async fn callers_of_a_core_that_stays_away_are_told_before_their_deadline() {
    let directory = tempfile::tempdir().unwrap();
    let line = Line::open(directory.path().join("door"), getuid().as_raw());
    let began = Instant::now();
    assert!(ask(&line, b"nobody", true).await.unwrap().is_empty());
    assert!(began.elapsed() <= AWAY_TIME_MAX + Duration::from_secs(1), "{:?}", began.elapsed());
}

#[test]
fn a_process_of_another_user_is_no_core() {
    assert!(admit(7, 7).is_ok() && admit(ROOT, 7).is_ok());
    for found in [8, 6, u32::MAX] {
        assert!(matches!(admit(found, 7), Err(LineError::OtherUser { .. })), "{found}");
    }
}

#[tokio::test]
async fn bytes_that_are_no_frame_end_the_connection_and_nothing_else() {
    let played = Played::new();
    let line = played.line();
    for garbage in [&[0xff; 64][..], &[0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], &[0, 0, 0, 9, 2]] {
        let mut peer = played.accept().await;
        peer.0.write_all(garbage).await.unwrap();
        peer.0.shutdown().await.unwrap();
    }
    let mut peer = played.accept().await;
    let call = ask(&line, b"still", true);
    let (header, _) = peer.read().await;
    peer.write(Kind::Reply, header.number, b"here").await;
    assert_eq!(call.await.unwrap(), "here");
}

#[tokio::test]
async fn a_large_call_that_nobody_reads_holds_up_no_other() {
    let played = Played::new();
    let line = played.line();
    let mut usual = played.accept().await;
    let file = Bytes::from(vec![7; 4 * 1_024 * 1_024]);
    let large = tokio::spawn(line.call(file.clone(), patience(true)));
    let mut slow = played.accept().await;
    for _ in 0..3 {
        let call = ask(&line, b"small", true);
        let (header, content) = usual.read().await;
        assert_eq!(content, b"small");
        usual.write(Kind::Reply, header.number, b"done").await;
        assert_eq!(call.await.unwrap(), "done");
    }
    assert!(!large.is_finished());
    let (header, content) = slow.read().await;
    assert_eq!(content, file);
    slow.write(Kind::Reply, header.number, b"taken").await;
    assert_eq!(large.await.unwrap(), "taken");
}

#[tokio::test]
async fn a_call_whose_time_is_over_is_not_sent() {
    let played = Played::new();
    let line = played.line();
    let mut peer = played.accept().await;
    line.greeting().await;
    let over = Patience { until: Instant::now(), repeatable: true };
    assert!(line.call(Bytes::from_static(b"late"), over).await.is_empty());
    let call = ask(&line, b"in time", true);
    let (header, content) = peer.read().await;
    assert_eq!(content, b"in time");
    peer.write(Kind::Reply, header.number, b"done").await;
    assert_eq!(call.await.unwrap(), "done");
}

#[tokio::test]
async fn a_call_is_not_sent_again_long_after_it_was_sent_first() {
    let played = Played::new();
    let line = played.line();
    let mut peer = played.accept().await;
    let call = ask(&line, b"old", true);
    peer.read().await;
    tokio::time::pause();
    tokio::time::advance(SENT_AGAIN_TIME_MAX).await;
    drop(peer);
    assert!(call.await.unwrap().is_empty(), "its caller has patience for longer, and is told to come back");
}

#[tokio::test]
async fn a_question_how_the_core_is_waits_behind_no_call() {
    let played = Played::new();
    let line = played.line();
    let _unread = played.accept().await;
    // Nobody reads them: more than a socket holds.
    for _ in 0..40 {
        ask(&line, &[7; 256 * 1_024], true);
    }
    let asked = tokio::spawn(async move { line.state(false, Duration::from_secs(60)).await });
    let mut apart = timeout(Duration::from_secs(20), played.accept()).await.expect("it comes by another connection");
    let (header, _) = apart.read().await;
    assert_eq!(header.kind, Kind::AskState);
    apart.write(Kind::State, header.number, &CoreState { serving: true, ..CoreState::default() }.encode_to_vec()).await;
    assert!(asked.await.unwrap().unwrap().serving);
}
