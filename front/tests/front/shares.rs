//! How many calls of one caller are under way that are no mints.

use std::{sync::Arc, time::Duration};

use crate::support::{Act, Answer, Caller, World, eventually};
use tokio::{sync::Semaphore, task::JoinSet, time::timeout};
use tonic::Code;
use tonic_types::StatusExt as _;

/// Calls of a caller that the core has at one time, and all that are under way.
const WITH_CORE: usize = 16;
const UNDER_WAY: usize = 64;

/// A core that answers nothing yet.
fn gate(world: &World) -> Arc<Semaphore> {
    let gate = Arc::new(Semaphore::new(0));
    world.core.act(Act::WaitFor(Arc::clone(&gate)));
    gate
}

/// So many calls of one caller, over two connections; the core has some of them.
async fn list(world: &World, calls: usize) -> ([Arc<Caller>; 2], JoinSet<Answer>) {
    let callers = [Arc::new(world.connect().await), Arc::new(world.connect().await)];
    let mut answers = JoinSet::new();
    for number in 0..calls {
        let caller = Arc::clone(&callers[number % 2]);
        answers.spawn(async move { caller.call("ListEpochs", b"?").await.unwrap() });
    }
    for _ in 0..WITH_CORE {
        assert_eq!(world.core.next_unary().await.method, "ListEpochs");
    }
    (callers, answers)
}

#[tokio::test]
async fn the_core_has_few_calls_of_a_caller_at_a_time_and_what_is_too_much_is_refused() {
    let world = World::start();
    let gate = gate(&world);
    let (callers, mut answers) = list(&world, UNDER_WAY + 1).await;
    // All but one wait.
    let refused =
        timeout(Duration::from_secs(20), answers.join_next()).await.expect("one is refused").unwrap().unwrap();
    assert_eq!((refused.code(), refused.reason().as_str()), (Code::ResourceExhausted, "OVERLOADED"));
    assert!(refused.status.get_error_details().retry_info().is_some_and(|info| info.retry_delay.is_some()));
    assert_eq!(world.core.next_turned_away().await.method, "ListEpochs", "the others wait in the front");
    assert!(world.core.heard_nothing_more().await);
    gate.add_permits(UNDER_WAY + 1);
    let answers = answers.join_all().await;
    assert_eq!(answers.len(), UNDER_WAY);
    assert!(answers.iter().all(|answer| answer.code() == Code::Ok));
    assert_eq!(callers[0].call("ListEpochs", b"?").await.unwrap().code(), Code::Ok);
}

#[tokio::test]
async fn they_hold_up_neither_mints_nor_streams_nor_another_caller() {
    let world = World::start();
    let gate = gate(&world);
    let (callers, _lists) = list(&world, UNDER_WAY).await;
    let mut answers = JoinSet::new();
    let other = Arc::new(world.dial_as(&world.callers.caller_named("other")).connect().await.unwrap());
    let own = Arc::clone(&callers[0]);
    for (caller, method) in [(Arc::clone(&own), "MintCertificate"), (other, "GetChain"), (own, "WatchEpochs")] {
        answers.spawn(async move { caller.call(method, b"?").await.unwrap() });
        assert_eq!(world.core.next_unary().await.method, method);
    }
    gate.add_permits(UNDER_WAY);
    for _ in 0..2 {
        assert_eq!(answers.join_next().await.unwrap().unwrap().code(), Code::Ok, "the stream goes on");
    }
}

#[tokio::test]
async fn a_call_that_waits_for_its_turn_ends_at_its_deadline_and_leaves_its_place() {
    let world = World::start();
    let gate = gate(&world);
    let (callers, answers) = list(&world, WITH_CORE).await;
    for _ in 0..2 * UNDER_WAY {
        let late = callers[0].call_within("5m", "GetChain", b"?").await.unwrap();
        assert_eq!((late.code(), late.reason().as_str()), (Code::DeadlineExceeded, "DEADLINE_PASSED"));
        assert_eq!(world.core.next_turned_away().await.method, "GetChain", "it never came to the core");
    }
    gate.add_permits(WITH_CORE);
    eventually("the core has done with its own", || world.core.finished() == WITH_CORE).await;
    assert!(answers.join_all().await.iter().all(|answer| answer.code() == Code::Ok));
}
