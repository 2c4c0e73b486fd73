//! Methods that answer with a stream.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hallmark_proto::link::Reply;
use http::Response;
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::support::{Act, Authority, Caller, World, body, eventually, framed, request};

fn part(message: &'static [u8], next: &'static [u8]) -> Reply {
    Reply { body: Bytes::from_static(message), next: Bytes::from_static(next), ..Reply::default() }
}

fn tell(world: &World, replies: impl IntoIterator<Item = Reply>) {
    world.core.act(Act::Tell(Arc::new(Mutex::new(replies.into_iter().collect()))));
}

async fn watch(caller: &Caller, timeout: &str) -> (Code, Bytes) {
    let request = request("WatchEpochs").header("grpc-timeout", timeout).body(body(framed(b"first"))).unwrap();
    let answer = caller.send(request).await.unwrap();
    (answer.code(), answer.body)
}

#[tokio::test]
async fn each_reply_is_a_message_and_the_next_question_comes_from_the_last_reply() {
    let world = World::start();
    let end = Reply { code: 9, message: "no more".to_owned(), ..Reply::default() };
    tell(&world, [part(b"one", b"second"), part(b"", b"third"), part(b"two", b"fourth"), end]);
    let (code, messages) = watch(&world.connect().await, "10S").await;
    assert_eq!(code, Code::FailedPrecondition);
    assert_eq!(messages, [framed(b"one"), framed(b"two")].concat());
    for question in [&b"first"[..], b"second", b"third", b"fourth"] {
        let unary = world.core.next_unary().await;
        assert_eq!((unary.method.as_str(), unary.body.as_ref()), ("WatchEpochs", question));
        assert!(!unary.caller_certificate.is_empty());
    }
}

#[tokio::test]
async fn a_stream_ends_at_its_deadline_with_the_messages_it_had() {
    let world = World::start();
    tell(&world, [part(b"one", b"second")]);
    let (code, messages) = watch(&world.connect().await, "200m").await;
    assert_eq!((code, messages), (Code::DeadlineExceeded, framed(b"one")));
}

#[tokio::test]
async fn a_stream_ends_when_the_daemon_stops() {
    let mut world = World::start();
    tell(&world, []);
    let caller = world.connect().await;
    let watching = tokio::spawn(async move { watch(&caller, "10S").await });
    world.core.next_unary().await;
    world.stop();
    assert_eq!(watching.await.unwrap().0, Code::Unavailable);
}

#[tokio::test]
async fn a_stream_ends_when_its_caller_is_admitted_no_longer() {
    let world = World::start();
    tell(&world, []);
    let caller = world.connect().await;
    let watching = tokio::spawn(async move { watch(&caller, "10S").await });
    world.core.next_unary().await;
    world.write("callers-ca.pem", &Authority::new("other callers").pem());
    world.reload.reload().await.unwrap();
    assert_eq!(watching.await.unwrap().0, Code::Unauthenticated);
}

#[tokio::test]
async fn a_core_that_is_away_ends_the_stream() {
    let world = World::start();
    world.core.act(Act::Say(Bytes::new()));
    assert_eq!(watch(&world.connect().await, "10S").await.0, Code::Unavailable);
}

/// A stream that is open as long as its response is kept.
async fn open(caller: &Caller) -> Response<Incoming> {
    let mut sender = caller.sender.clone();
    sender.ready().await.unwrap();
    sender.send_request(request("WatchEpochs").body(body(framed(b"first"))).unwrap()).await.unwrap()
}

#[tokio::test]
async fn what_a_stream_is_asked_with_is_small() {
    let world = World::start();
    tell(&world, [part(b"one", b"second"), Reply { code: 9, ..Reply::default() }]);
    let caller = world.connect().await;
    let answer = caller.call("WatchEpochs", &[1; 1_025]).await.unwrap();
    assert_eq!((answer.code(), answer.reason().as_str()), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
    assert_eq!(world.core.next_turned_away().await.method, "WatchEpochs");
    let answer = caller.call("WatchEpochs", &[1; 1_024]).await.unwrap();
    assert_eq!((answer.code(), answer.body), (Code::FailedPrecondition, framed(b"one")));
}

#[tokio::test]
async fn a_stream_takes_room_until_the_core_has_done_with_it() {
    /// As many of the largest mints as a caller has room for.
    const FIT: usize = 64;
    let world = World::start();
    let gate = Arc::new(Semaphore::new(0));
    world.core.act(Act::WaitFor(Arc::clone(&gate)));
    let caller = Arc::new(world.connect().await);
    let stream = open(&caller).await;
    let largest = Bytes::from(vec![1; hallmark_front::MESSAGE_BYTES_MAX]);
    let mut mints = Vec::new();
    for _ in 1..FIT {
        let (caller, largest) = (Arc::clone(&caller), largest.clone());
        mints.push(tokio::spawn(async move { caller.call("MintCertificate", &largest).await.unwrap().code() }));
    }
    for _ in 0..FIT {
        world.core.next_unary().await;
    }
    let one_more = async || caller.call("MintCertificate", &largest).await.unwrap();
    assert_eq!(one_more().await.reason(), "OVERLOADED", "the stream has room, too");
    drop(stream);
    for _ in 0..10 {
        assert_eq!(one_more().await.reason(), "OVERLOADED", "nobody waits for it, and the core still works on it");
    }
    gate.add_permits(2 * FIT);
    eventually("the core has done with them", || world.core.finished() == FIT).await;
    for mint in mints {
        assert_eq!(mint.await.unwrap(), Code::Ok);
    }
    assert_eq!(one_more().await.code(), Code::Ok);
}

#[tokio::test]
async fn a_caller_has_so_many_streams_at_a_time_over_all_its_connections() {
    let world = World::start();
    let gate = Arc::new(Semaphore::new(0));
    world.core.act(Act::WaitFor(Arc::clone(&gate)));
    let (one, two) = (world.connect().await, world.connect().await);
    let mut open_streams = Vec::new();
    for number in 0..256 {
        open_streams.push(open(if number % 2 == 0 { &one } else { &two }).await);
        world.core.next_unary().await;
    }
    let refused = two.call("WatchEpochs", b"first").await.unwrap();
    assert_eq!((refused.code(), refused.reason().as_str()), (Code::ResourceExhausted, "OVERLOADED"));
    assert!(refused.status.get_error_details().retry_info().is_some());
    assert_eq!(world.core.next_turned_away().await.method, "WatchEpochs");
    // Whoever else calls has streams of its own.
    let other = world.dial_as(&world.callers.caller_named("other")).connect().await.unwrap();
    let _open = open(&other).await;
    world.core.next_unary().await;
    // What streams take is not taken from other calls.
    let chain = two.call("GetChain", b"?");
    gate.add_permits(10_000);
    assert_eq!(chain.await.unwrap().code(), Code::Ok);
}
