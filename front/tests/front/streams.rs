//! Methods that answer with a stream.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hallmark_proto::link::Reply;
use tonic::Code;

use crate::support::{Act, Authority, Caller, World, body, framed, request};

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
