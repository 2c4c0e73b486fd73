//! What comes back from the core, and what the front says when nothing does.

use std::sync::Arc;

use crate::support::{Act, World, body, eventually, framed, origin, request};
use bytes::Bytes;
use hallmark_proto::{SIGNER_SERVICE, link::Reply};
use tokio::sync::Semaphore;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

#[tokio::test]
async fn details_bytes_survive() {
    let world = World::start();
    let details: Bytes = (0..=255).cycle().take(3_001).collect::<Vec<u8>>().into();
    let message = "name `ä\n%` is outside".to_owned();
    world.core.reply(&Reply { code: 7, message: message.clone(), details: details.clone(), ..Reply::default() });
    let answer = world.connect().await.call("MintCertificate", b"").await.unwrap();
    assert_eq!(answer.code(), Code::PermissionDenied);
    assert_eq!((answer.status.message(), answer.status.details()), (message.as_str(), details.as_ref()));
    assert!(answer.body.is_empty());
}

#[tokio::test]
async fn an_empty_reply_or_garbage_is_a_core_that_is_away() {
    let world = World::start();
    let caller = world.connect().await;
    for bytes in [Bytes::new(), Bytes::from_static(&[0xff; 7])] {
        world.core.act(Act::Say(bytes));
        let answer = caller.call("MintCertificate", b"").await.unwrap();
        assert_eq!((answer.code(), answer.reason().as_str()), (Code::Unavailable, "CORE_AWAY"));
    }
    assert_eq!(world.counters.core_away(), 2);
}

#[tokio::test]
async fn a_core_that_hangs_does_not_hold_the_caller_beyond_its_deadline() {
    let world = World::start();
    let gate = Arc::new(Semaphore::new(0));
    world.core.act(Act::WaitFor(Arc::clone(&gate)));
    let answer = world.connect().await.call_within("20m", "MintCertificate", b"").await.unwrap();
    assert_eq!((answer.code(), answer.reason().as_str()), (Code::DeadlineExceeded, "DEADLINE_PASSED"));
    assert_eq!((world.counters.answered_late(), world.core.finished()), (1, 0));
    gate.add_permits(1);
    eventually("the core's work goes on", || world.core.finished() == 1).await;
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_take_the_work_back() {
    let world = World::start();
    let gate = Arc::new(Semaphore::new(0));
    world.core.act(Act::WaitFor(Arc::clone(&gate)));
    let caller = world.connect().await;
    let (other, call) = (world.connect().await, caller.call("MintCertificate", b"gone"));
    tokio::select! {
        answer = call => panic!("{answer:?}"),
        unary = world.core.next_unary() => assert_eq!(unary.body.as_ref(), b"gone"),
    }
    drop(caller);
    gate.add_permits(2);
    assert_eq!(other.call("MintCertificate", b"here").await.unwrap().message(), b"here".as_slice());
    eventually("both are done", || world.core.finished() == 2).await;
}

#[tokio::test]
async fn health_says_what_the_daemon_set() {
    let world = World::start();
    let caller = world.connect().await;
    let mut client = HealthClient::with_origin(caller.service(), origin());
    for (serving, status) in [(None, ServingStatus::NotServing), (Some(true), ServingStatus::Serving)] {
        if let Some(serving) = serving {
            world.health.set_serving(serving);
        }
        for service in ["", SIGNER_SERVICE] {
            let request = HealthCheckRequest { service: service.to_owned() };
            assert_eq!(client.check(request).await.unwrap().get_ref().status(), status);
        }
    }
    let other = HealthCheckRequest { service: "other".to_owned() };
    assert_eq!(client.check(other).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn health_tells_watchers_of_every_change() {
    let world = World::start();
    let caller = world.connect().await;
    let mut client = HealthClient::with_origin(caller.service(), origin());
    let mut statuses = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(statuses.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    world.health.set_serving(true);
    assert_eq!(statuses.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
}

#[tokio::test]
async fn health_tells_of_each_authority_by_its_name_and_of_none_that_is_not_there() {
    let world = World::start();
    let caller = world.connect().await;
    let mut client = HealthClient::with_origin(caller.service(), origin());
    let named = |authority: &str| HealthCheckRequest { service: format!("{SIGNER_SERVICE}/{authority}") };
    let set = |athenz, mesh| world.health.set_authorities([("athenz".to_owned(), athenz), ("mesh".to_owned(), mesh)]);
    set(true, false);
    for (whole, athenz) in [(false, ServingStatus::NotServing), (true, ServingStatus::Serving)] {
        world.health.set_serving(whole);
        assert_eq!(client.check(named("athenz")).await.unwrap().get_ref().status(), athenz);
        assert_eq!(client.check(named("mesh")).await.unwrap().get_ref().status(), ServingStatus::NotServing);
    }
    assert_eq!(
        client.check(HealthCheckRequest::default()).await.unwrap().get_ref().status(),
        ServingStatus::Serving,
        "one of them serves"
    );
    for whole in [true, false] {
        world.health.set_serving(whole);
        for unknown in ["", "athen", "athenz/", "mesh/athenz", "a\n"] {
            assert_eq!(client.check(named(unknown)).await.unwrap_err().code(), Code::NotFound, "{unknown:?}");
        }
    }
    let bare = HealthCheckRequest { service: "athenz".to_owned() };
    assert_eq!(client.check(bare).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn whoever_watches_an_authority_hears_of_its_own_changes_and_that_it_comes_to_be() {
    let world = World::start();
    let caller = world.connect().await;
    let mut client = HealthClient::with_origin(caller.service(), origin());
    let named = HealthCheckRequest { service: format!("{SIGNER_SERVICE}/mesh") };
    let mut statuses = client.watch(named).await.unwrap().into_inner();
    let set = |athenz, mesh: Option<bool>| {
        let mesh = mesh.map(|serves| ("mesh".to_owned(), serves));
        world.health.set_authorities([("athenz".to_owned(), athenz)].into_iter().chain(mesh));
    };
    world.health.set_serving(true);
    assert_eq!(statuses.message().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
    set(true, None);
    set(true, Some(true));
    assert_eq!(statuses.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    // What is told next is of this authority, whatever befalls the other.
    set(false, Some(true));
    set(true, Some(true));
    set(true, Some(false));
    assert_eq!(statuses.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    set(true, Some(true));
    assert_eq!(statuses.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    world.health.set_serving(false);
    assert_eq!(statuses.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
}

#[tokio::test]
async fn reflection_lists_the_service() {
    let world = World::start();
    let caller = world.connect().await;
    let mut client = ServerReflectionClient::with_origin(caller.service(), origin());
    let ask = |message_request| {
        tokio_stream::iter([ServerReflectionRequest { host: String::new(), message_request: Some(message_request) }])
    };
    let mut answers =
        client.server_reflection_info(ask(MessageRequest::ListServices(String::new()))).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&SIGNER_SERVICE) && names.contains(&"grpc.health.v1.Health"), "{names:?}");
    let symbol = MessageRequest::FileContainingSymbol(SIGNER_SERVICE.to_owned());
    let mut answers = client.server_reflection_info(ask(symbol)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    assert!(matches!(answer, MessageResponse::FileDescriptorResponse(_)), "{answer:?}");
}

#[tokio::test]
async fn a_caller_s_traceparent_reaches_a_core_that_traces_as_it_is_and_no_other() {
    const HEADER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let (tracing, usual) = (World::builder().with_trace_parents().start(), World::start());
    let long = "a".repeat(300);
    for (headers, passed) in
        [(&[HEADER][..], HEADER), (&["anything"], "anything"), (&[], ""), (&[HEADER, HEADER], ""), (&[&long], "")]
    {
        for (world, passed) in [(&tracing, passed), (&usual, "")] {
            let asked = headers.iter().fold(request("GetChain"), |asked, header| asked.header("traceparent", *header));
            world.connect().await.send(asked.body(body(framed(b"?"))).unwrap()).await.unwrap();
            assert_eq!(world.core.next_unary().await.trace_parent, passed, "{headers:?}");
        }
    }
}
