//! Too many connections, and peers that are slow: others are served all the same.

use std::{sync::Arc, time::Duration};

use crate::support::{Answer, Caller, Dial, SIGNER, World, body, eventually, framed, request};
use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::{body::Frame, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_stream::StreamExt as _;
use tonic::{Code, body::Body};

/// What a client sends first (RFC 9113, section 3.4), with empty SETTINGS.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// How long a slow peer may take in these tests.
const BRIEFLY: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(3_600);

async fn connect_as(world: &World, name: &str) -> Caller {
    world.dial_as(&world.callers.caller_named(name)).connect().await.unwrap()
}

async fn is_answered(caller: &Caller) -> bool {
    caller.call("GetChain", b"?").await.is_ok_and(|answer| answer.code() == Code::Ok)
}

/// A connection of which only TLS is there.
async fn tls(dial: Dial) -> TlsStream<TcpStream> {
    let (address, config) = (dial.address, dial.config().unwrap());
    let tcp = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(config).connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap()
}

#[tokio::test]
async fn the_longest_idle_connection_of_who_has_most_leaves_when_all_places_are_taken() {
    let world = World::builder().connections_max(6).start();
    let mut many = Vec::new();
    for _ in 0..3 {
        let caller = connect_as(&world, "many").await;
        assert!(is_answered(&caller).await);
        many.push(caller);
    }
    let few = [connect_as(&world, "few").await, connect_as(&world, "few").await];
    for caller in &few {
        assert!(is_answered(caller).await);
    }
    // The second is now the one that nobody has used for longest.
    assert!(is_answered(&many[0]).await);
    let first = world.connect().await;
    assert!(is_answered(&first).await);
    assert_eq!(world.counters.connections_gave_way(), 0);
    let good = world.connect().await;
    assert!(is_answered(&good).await);
    many.remove(1).ended().await;
    assert_eq!(world.counters.connections_gave_way(), 1);
    for caller in many.iter().chain(&few).chain([&first]) {
        assert!(is_answered(caller).await, "nobody else had to leave");
    }
    assert_eq!(world.counters.connections_refused(), 0);
}

#[tokio::test]
async fn a_caller_takes_half_of_the_places_at_most() {
    let world = World::builder().connections_max(6).start();
    let mut own = Vec::new();
    for _ in 0..5 {
        let caller = world.connect().await;
        assert!(is_answered(&caller).await);
        own.push(caller);
    }
    for caller in own.drain(..2) {
        caller.ended().await;
    }
    for caller in &own {
        assert!(is_answered(caller).await);
    }
    assert!(world.is_served(world.dial_as(&world.callers.caller_named("other"))).await);
}

#[tokio::test]
async fn strangers_who_say_nothing_take_no_place_from_those_who_do() {
    let world = World::start();
    let mut silent = Vec::new();
    for _ in 0..hallmark_front::HANDSHAKES_MAX + 20 {
        silent.push(TcpStream::connect(world.address).await.unwrap());
    }
    assert!(world.is_served(world.dial()).await);
    eventually("the oldest were broken off", || world.counters.connections_refused() >= 20).await;
    let oldest = timeout(LONG, silent[0].read(&mut [0])).await.unwrap();
    assert!(matches!(oldest, Ok(0) | Err(_)));
}

#[tokio::test]
async fn who_begins_and_does_not_go_on_is_closed_and_who_is_silent_is_not() {
    let world = World::builder().peer_times(BRIEFLY, LONG).start();
    let silent = world.connect().await;
    // A HEADERS frame of which a byte is missing, one without the end of its block, and a preface that never comes.
    let cut = [PREFACE, &[0, 0, 2, 1, 4, 0, 0, 0, 1, 0x82]].concat();
    let endless = [PREFACE, &[0, 0, 1, 1, 0, 0, 0, 0, 1, 0x82]].concat();
    for begun in [&cut[..], &endless, &PREFACE[..10], &[]] {
        let mut stream = tls(world.dial()).await;
        stream.write_all(begun).await.unwrap();
        stream.flush().await.unwrap();
        let mut all = Vec::new();
        let ended = timeout(Duration::from_secs(20), stream.read_to_end(&mut all)).await;
        assert!(ended.is_ok(), "{begun:?} is still there");
    }
    eventually("they are counted", || world.counters.connections_too_slow() == 4).await;
    assert!(is_answered(&silent).await);
}

#[tokio::test]
async fn a_peer_that_does_not_read_its_answers_is_closed() {
    let world = World::builder().watching().peer_times(LONG, BRIEFLY).start();
    let good = world.connect().await;
    let mut http = http2::Builder::new(TokioExecutor::new());
    // No room for any byte of an answer.
    http.initial_stream_window_size(0);
    let (mut sender, connection) = http.handshake(TokioIo::new(tls(world.dial()).await)).await.unwrap();
    let connection = tokio::spawn(connection);
    let asked = sender.send_request(request("GetChain").body(body(framed(b"?"))).unwrap());
    let response = timeout(Duration::from_secs(20), asked).await.unwrap().unwrap();
    drop(timeout(Duration::from_secs(20), connection).await.expect("it is closed"));
    drop(response);
    assert_eq!(world.counters.connections_too_slow(), 1);
    sleep(BRIEFLY).await;
    assert!(is_answered(&good).await);
}

#[tokio::test]
async fn messages_that_trickle_leave_room_for_those_of_others() {
    /// Of the largest usual size, of which only the length has come.
    const ANNOUNCED: &[u8] = &[0, 0, 4, 0, 0];
    let world = World::start();
    let mut answers = JoinSet::new();
    for number in 0..4 {
        let caller = Arc::new(connect_as(&world, &format!("slow-{number}")).await);
        for _ in 0..75 {
            let caller = Arc::clone(&caller);
            answers.spawn(async move {
                let begin = Frame::data(Bytes::from_static(ANNOUNCED));
                let begin = tokio_stream::iter([Ok::<_, std::convert::Infallible>(begin)]);
                let endless = Body::new(StreamBody::new(begin.chain(tokio_stream::pending())));
                caller.send(request("MintCertificate").body(endless).unwrap()).await.unwrap()
            });
        }
    }
    let reason = |answer: Answer| answer.reason();
    // There is no room left, and for the same callers none is made.
    for _ in 0..44 {
        assert_eq!(reason(answers.join_next().await.unwrap().unwrap()), "OVERLOADED");
    }
    let good = world.connect().await;
    let message = vec![1; hallmark_front::MESSAGE_BYTES_MAX];
    assert_eq!(good.call("MintCertificate", &message).await.unwrap().message().len(), message.len());
    assert_eq!(reason(answers.join_next().await.unwrap().unwrap()), "BODY_TOO_SLOW");
}

/// A frame's header of a request without its body, as RFC 9113, section 4.1 and RFC 7541 write it.
fn headers(stream: u32) -> Vec<u8> {
    let path = format!("{SIGNER}/MintCertificate");
    let literal = |index: &[u8], value: &str| [index, &[value.len().try_into().unwrap()], value.as_bytes()].concat();
    // POST, https, :path, :authority, content-type.
    let block = [
        vec![0x83, 0x87],
        literal(&[0x04], &path),
        literal(&[0x01], "localhost"),
        literal(&[0x0f, 0x10], "application/grpc"),
    ]
    .concat();
    let length = u32::try_from(block.len()).unwrap().to_be_bytes();
    [&length[1..], &[HEADERS, END_HEADERS], &stream.to_be_bytes(), &block].concat()
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const END_HEADERS: u8 = 4;
const REFUSED_STREAM: u32 = 7;

#[tokio::test]
async fn a_connection_has_so_many_streams_at_a_time_and_who_begins_another_is_refused_that() {
    let world = World::start();
    let mut stream = tls(world.dial()).await;
    stream.write_all(PREFACE).await.unwrap();
    for number in 0..=hallmark_front::STREAMS_MAX {
        stream.write_all(&headers(2 * number + 1)).await.unwrap();
    }
    stream.flush().await.unwrap();
    let refused = timeout(Duration::from_secs(20), async {
        loop {
            let mut header = [0; 9];
            stream.read_exact(&mut header).await.unwrap();
            let [high, middle, low, kind, _, id @ ..] = header;
            let mut content = vec![0; u32::from_be_bytes([0, high, middle, low]).try_into().unwrap()];
            stream.read_exact(&mut content).await.unwrap();
            if kind == RST_STREAM {
                break (u32::from_be_bytes(id), u32::from_be_bytes(content.try_into().unwrap()));
            }
        }
    });
    let last = 2 * hallmark_front::STREAMS_MAX + 1;
    assert_eq!(refused.await.expect("it is refused"), (last, REFUSED_STREAM), "the last one, and none before it");
    assert_eq!(hallmark_front::STREAMS_MAX, 256);
    let open = u64::from(hallmark_front::STREAMS_MAX);
    eventually("the others are open", || world.counters.requests() == open).await;
    assert!(world.is_served(world.dial()).await);
}
