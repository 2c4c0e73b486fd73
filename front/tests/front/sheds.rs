//! What the front refuses while too much is under way.

use std::{sync::Arc, time::Duration};

use crate::support::{Act, World};
use tokio::{sync::Semaphore, time::interval};
use tonic::Code;
use tonic_types::StatusExt as _;

const WAITING: usize = 200;
const ANSWERED: usize = 100;
/// The core answers 200 calls a second at most.
const PACE: Duration = Duration::from_millis(5);

#[tokio::test]
async fn what_would_not_be_answered_in_time_is_refused_at_once_and_the_core_does_nothing_for_it() {
    let world = World::start();
    let gate = Arc::new(Semaphore::new(0));
    world.core.act(Act::WaitFor(Arc::clone(&gate)));
    let caller = Arc::new(world.connect().await);
    let mint = || {
        let caller = Arc::clone(&caller);
        tokio::spawn(async move { caller.call("MintCertificate", b"?").await.unwrap() })
    };
    let waiting: Vec<_> = (0..WAITING).map(|_| mint()).collect();
    for _ in 0..WAITING {
        world.core.next_unary().await;
    }
    let mut pace = interval(PACE);
    for _ in 0..ANSWERED {
        pace.tick().await;
        gate.add_permits(1);
    }
    crate::support::eventually("they are answered", || world.core.finished() == ANSWERED).await;

    // The other 100 take half a second.
    let refused = mint().await.unwrap();
    assert_eq!((refused.code(), refused.reason().as_str()), (Code::ResourceExhausted, "OVERLOADED"));
    assert!(refused.status.get_error_details().retry_info().is_some_and(|info| info.retry_delay.is_some()));
    let told = world.core.next_turned_away().await;
    assert_eq!((told.method.as_str(), told.reason.as_str()), ("MintCertificate", "OVERLOADED"));
    assert!(world.core.heard_nothing_more().await);
    // What needs no CA key is answered all the same.
    let chain = caller.call("GetChain", b"?");
    gate.add_permits(WAITING);
    assert_eq!(chain.await.unwrap().message(), b"?".as_slice());
    for answer in waiting {
        assert_eq!(answer.await.unwrap().message(), b"?".as_slice());
    }
    assert_eq!(mint().await.unwrap().message(), b"?".as_slice());
}
