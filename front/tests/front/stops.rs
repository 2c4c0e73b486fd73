//! Stopping.

use std::sync::Arc;

use crate::support::{Act, World};
use tokio::{net::TcpStream, sync::Semaphore};
use tonic::Code;

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
