//! Stopping.

use std::{sync::Arc, time::Instant};

use crate::support::{Act, World, origin};
use tokio::{net::TcpStream, sync::Semaphore};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

#[tokio::test]
async fn stopping_answers_what_is_under_way() {
    let mut world = World::start();
    let gate = Arc::new(Semaphore::new(0));
    world.core.act(Act::WaitFor(Arc::clone(&gate)));
    let (caller, address) = (world.connect().await, world.address);
    let core = Arc::clone(&world.core);
    let under_way = caller.call("MintCertificate", b"under way");
    let meanwhile = async {
        core.next_unary().await;
        world.stop();
        // The listener goes first.
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        // A new call on the old connection is refused, by status or by GOAWAY.
        if let Ok(answer) = caller.call("MintCertificate", b"new").await {
            assert_eq!((answer.code(), answer.reason().as_str()), (Code::Unavailable, "STOPPING"));
            assert_eq!(core.next_turned_away().await.reason, "STOPPING");
        }
        gate.add_permits(1);
    };
    let (answer, ()) = tokio::join!(under_way, meanwhile);
    assert_eq!(answer.unwrap().message(), b"under way".as_slice());
    world.stopped().await;
    assert!(core.heard_nothing_more().await);
    assert_eq!(core.finished(), 1);
}

#[tokio::test]
async fn stopping_does_not_wait_for_idle_connections_or_handshakes() {
    let mut world = World::start();
    let caller = world.connect().await;
    let silent = TcpStream::connect(world.address).await.unwrap();
    assert_eq!(caller.call("GetChain", b"?").await.unwrap().code(), Code::Ok);
    world.stop();
    world.stopped().await;
    caller.ended().await;
    drop(silent);
}

#[tokio::test]
async fn a_watcher_of_the_health_hears_of_the_stop_and_does_not_delay_it() {
    let mut world = World::start();
    let caller = world.connect().await;
    world.health.set_serving(true);
    let mut client = HealthClient::with_origin(caller.service(), origin());
    let mut statuses = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(statuses.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let begun = Instant::now();
    world.stop();
    assert_eq!(statuses.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    world.stopped().await;
    assert!(begun.elapsed() < hallmark_front::STOP_TIME_MAX / 2);
}
