//! What is turned away before the core, and that the core hears of it.

use std::{sync::Arc, time::Duration};

use crate::support::{Act, Answer, Caller, World, eventually, framed};
use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::sync::Semaphore;
use tokio_stream::StreamExt as _;
use tonic::{Code, body::Body};

/// A body that begins with `bytes` and never ends.
fn endless(bytes: &'static [u8]) -> Body {
    let begin = tokio_stream::iter([Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from_static(bytes)))]);
    Body::new(StreamBody::new(begin.chain(tokio_stream::pending())))
}

async fn send(caller: &Caller, method: &str, body: Body) -> Answer {
    caller.send(crate::support::request(method).body(body).unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_message_over_its_limit_is_refused_before_it_is_buffered() {
    let world = World::start();
    let caller = world.connect().await;
    // A prefix of 5 MB and three bytes: the answer can only come from the prefix.
    let answer = send(&caller, "MintCertificate", endless(&[0, 0, 0x4c, 0x4b, 0x40, 1, 2, 3])).await;
    assert_eq!((answer.code(), answer.reason().as_str()), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
    let answer = caller.call("MintCertificate", &[1; hallmark_front::MESSAGE_BYTES_MAX]).await.unwrap();
    assert_eq!(answer.message().len(), hallmark_front::MESSAGE_BYTES_MAX);
    let answer = send(&caller, "GetChain", endless(&[0, 0, 0, 0x40, 1])).await;
    assert_eq!(answer.reason(), "MESSAGE_TOO_LARGE", "16 KiB, where neither certificate nor request are brought");
}

#[tokio::test]
async fn the_core_hears_of_a_message_that_was_turned_away() {
    let world = World::start();
    let caller = world.connect().await;
    let cases: [(&str, Body, Code, &str); 6] = [
        ("MintCertificate", endless(&[0, 0, 4, 0, 1]), Code::ResourceExhausted, "MESSAGE_TOO_LARGE"),
        ("MintCertificate", crate::support::body(&[0, 0, 0][..]), Code::InvalidArgument, "MALFORMED_FRAME"),
        ("MintCertificate", crate::support::body(&[0, 0, 0, 0, 9, 1][..]), Code::InvalidArgument, "MALFORMED_FRAME"),
        ("GetChain", endless(&[7, 0, 0, 0, 0]), Code::InvalidArgument, "MALFORMED_FRAME"),
        ("GetChain", endless(&[1, 0, 0, 0, 0]), Code::Unimplemented, "COMPRESSED"),
        ("GetChain", crate::support::body(Bytes::new()), Code::InvalidArgument, "MALFORMED_FRAME"),
    ];
    for (method, body, code, reason) in cases {
        let answer = send(&caller, method, body).await;
        assert_eq!((answer.code(), answer.reason().as_str()), (code, reason));
        let told = world.core.next_turned_away().await;
        assert_eq!((told.method.as_str(), told.reason.as_str()), (method, reason));
        assert_eq!(told.caller_certificate, world.caller_certificate().as_ref());
    }
    assert_eq!(world.counters.turned_away(hallmark_front::Reason::MalformedFrame), 4);
    assert!(world.core.heard_nothing_more().await);
}

#[tokio::test]
async fn what_the_core_still_works_on_takes_room_after_its_callers_have_gone() {
    let world = World::start();
    let caller = world.connect().await;
    let gate = Arc::new(Semaphore::new(0));
    // Two manifests of a caller fit, and the core does not let go of them.
    let manifest = vec![1; 17 * 1_024 * 1_024];
    for _ in 0..2 {
        world.core.act(Act::WaitFor(Arc::clone(&gate)));
        let answer = caller.call_within("2S", "RotateIntermediate", &manifest).await.unwrap();
        assert_eq!(answer.code(), Code::DeadlineExceeded);
    }
    let answer = caller.call("RotateIntermediate", &manifest).await.unwrap();
    assert_eq!((answer.code(), answer.reason().as_str()), (Code::ResourceExhausted, "OVERLOADED"));
    gate.add_permits(4);
    eventually("the core has done with them", || world.core.finished() == 2).await;
    assert_eq!(caller.call("RotateIntermediate", &manifest).await.unwrap().code(), Code::Ok);
}

#[tokio::test]
async fn a_method_that_is_not_there_is_unimplemented() {
    let world = World::start();
    let caller = world.connect().await;
    for method in ["Destroy", "mintcertificate", "MintCertificate/", "%4dintCertificate"] {
        let answer = caller.call(method, b"").await.unwrap();
        assert_eq!((answer.code(), answer.reason().as_str()), (Code::Unimplemented, "METHOD_UNKNOWN"));
        let told = world.core.next_turned_away().await;
        assert_eq!((told.method.as_str(), told.reason.as_str()), ("", "METHOD_UNKNOWN"));
    }
    let answer = caller.call("/hallmark.signer.v1.Other/MintCertificate", b"").await.unwrap();
    assert_eq!(answer.code(), Code::Unimplemented);
}

#[tokio::test]
async fn what_is_not_grpc_is_told_so_by_http() {
    let world = World::start();
    let caller = world.connect().await;
    let get = http::Request::get(format!("https://localhost{}/GetChain", crate::support::SIGNER))
        .body(Body::empty())
        .unwrap();
    let json = http::Request::post(format!("https://localhost{}/GetChain", crate::support::SIGNER))
        .header("content-type", "application/grpc+json")
        .body(crate::support::body(framed(b"{}")))
        .unwrap();
    for request in [get, json] {
        let answer = caller.send(request).await.unwrap();
        assert_eq!(answer.http, http::StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert_eq!(world.core.next_turned_away().await.reason, "NOT_GRPC");
    }
}

#[tokio::test]
async fn compression_is_not_taken() {
    let world = World::start();
    let request = crate::support::request("GetChain")
        .header("grpc-encoding", "gzip")
        .body(crate::support::body(framed(b"")))
        .unwrap();
    let answer = world.connect().await.send(request).await.unwrap();
    assert_eq!(answer.code(), Code::Unimplemented);
    assert_eq!(answer.headers.get("grpc-accept-encoding").unwrap(), "identity");
    assert_eq!(world.core.next_turned_away().await.reason, "COMPRESSED");
}

#[tokio::test]
async fn headers_over_their_limit_do_not_reach_the_core() {
    let world = World::start();
    let caller = world.connect().await;
    let long = "x".repeat(20 * 1_024);
    let request =
        crate::support::request("GetChain").header("x-long", long).body(crate::support::body(framed(b""))).unwrap();
    if let Ok(answer) = caller.send(request).await {
        assert_eq!(answer.http, http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    assert!(world.core.heard_nothing_more().await);
    assert!(world.is_served(world.dial()).await);
}

#[tokio::test]
async fn a_deadline_that_passed_before_the_call_never_reaches_the_core() {
    let world = World::start();
    let caller = world.connect().await;
    let answer = caller.call_within("0n", "MintCertificate", b"").await.unwrap();
    assert_eq!((answer.code(), answer.reason().as_str()), (Code::DeadlineExceeded, "DEADLINE_PASSED"));
    assert_eq!(world.core.next_turned_away().await.reason, "DEADLINE_PASSED");
}

#[tokio::test]
async fn a_deadline_that_passes_while_the_message_arrives_never_reaches_the_core() {
    let world = World::start();
    let caller = world.connect().await;
    let trickle =
        crate::support::request("MintCertificate").header("grpc-timeout", "20m").body(endless(&[0, 0, 0, 0, 9, 1]));
    let answer = caller.send(trickle.unwrap()).await.unwrap();
    assert_eq!((answer.code(), answer.reason().as_str()), (Code::DeadlineExceeded, "DEADLINE_PASSED"));
    assert_eq!(world.core.next_turned_away().await.reason, "DEADLINE_PASSED");
}

#[tokio::test]
async fn a_timeout_that_is_none_is_refused() {
    let world = World::start();
    let answer = world.connect().await.call_within("soon", "MintCertificate", b"").await.unwrap();
    assert_eq!((answer.code(), answer.reason().as_str()), (Code::InvalidArgument, "MALFORMED_DEADLINE"));
    assert_eq!(world.core.next_turned_away().await.reason, "MALFORMED_DEADLINE");
}

#[tokio::test]
async fn the_core_is_told_the_deadline_by_the_boot_time_clock() {
    let world = World::builder().default_deadline("7s").start();
    let caller = world.connect().await;
    let boottime = || Duration::try_from(rustix::time::clock_gettime(rustix::time::ClockId::Boottime)).unwrap();
    for (timeout, secs) in [(None, 7), (Some("3S"), 3), (Some("99999999H"), 600)] {
        let before = boottime();
        match timeout {
            Some(timeout) => caller.call_within(timeout, "GetChain", b"?").await.unwrap(),
            None => caller.call("GetChain", b"?").await.unwrap(),
        };
        let deadline = Duration::from_nanos(world.core.next_unary().await.deadline_boottime_nanos);
        let span = Duration::from_secs(secs);
        assert!((before + span..=boottime() + span).contains(&deadline), "{timeout:?}");
    }
}
