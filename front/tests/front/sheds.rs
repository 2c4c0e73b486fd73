//! What the front refuses while too much is under way, and whose turn it is meanwhile.

use std::{sync::Arc, time::Duration};

use crate::support::{Act, Caller, World, eventually};
use bytes::Bytes;
use hallmark_proto::signer::{InstanceIntent, InstanceRefresh, MintCertificateRequest, instance_intent::Intent};
use prost::Message as _;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tokio::{sync::Semaphore, task::JoinHandle, time::interval};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::support::Answer;

const WAITING: usize = 200;
const ANSWERED: usize = 100;
/// The core answers 200 calls a second at most.
const PACE: Duration = Duration::from_millis(5);
/// Calls that the core has before its rate is known.
const WITH_CORE: usize = 64;
/// So many of these are answered before others come to their turn, if the answers say that the core is slow.
const SOME: usize = 50;

fn mint(caller: &Arc<Caller>, message: &Bytes) -> JoinHandle<Answer> {
    let (caller, message) = (Arc::clone(caller), message.clone());
    tokio::spawn(async move { caller.call("MintCertificate", &message).await.unwrap() })
}

/// A core that answers nothing, and so many calls of one caller: the core has 64 of them, and the others wait.
async fn flooded(world: &World, calls: usize) -> (Arc<Semaphore>, Arc<Caller>, Vec<JoinHandle<Answer>>) {
    flooded_where(world, calls, Act::WaitFor).await
}

async fn flooded_where(
    world: &World,
    calls: usize,
    act: impl FnOnce(Arc<Semaphore>) -> Act,
) -> (Arc<Semaphore>, Arc<Caller>, Vec<JoinHandle<Answer>>) {
    let gate = Arc::new(Semaphore::new(0));
    world.core.act(act(Arc::clone(&gate)));
    let caller = Arc::new(world.connect().await);
    let waiting: Vec<_> = (0..calls).map(|_| mint(&caller, &Bytes::from_static(b"?"))).collect();
    for _ in 0..WITH_CORE {
        world.core.next_unary().await;
    }
    eventually("the others wait", || world.counters.waiting() == u64::try_from(calls - WITH_CORE).unwrap()).await;
    assert!(world.core.heard_nothing_more().await);
    (gate, caller, waiting)
}

#[tokio::test]
async fn what_would_not_be_answered_in_time_is_refused_at_once_and_the_core_does_nothing_for_it() {
    let world = World::start();
    let (gate, caller, waiting) = flooded(&world, WAITING).await;
    let mut pace = interval(PACE);
    for _ in 0..ANSWERED {
        pace.tick().await;
        gate.add_permits(1);
    }
    eventually("they are answered", || world.core.finished() == ANSWERED).await;

    // The other 100 take half a second.
    let question = Bytes::from_static(b"?");
    let refused = mint(&caller, &question).await.unwrap();
    assert_eq!((refused.code(), refused.reason().as_str()), (Code::ResourceExhausted, "OVERLOADED"));
    assert!(refused.status.get_error_details().retry_info().is_some_and(|info| info.retry_delay.is_some()));
    let told = world.core.turned_away_among_calls().await;
    assert_eq!((told.method.as_str(), told.reason.as_str()), ("MintCertificate", "OVERLOADED"));
    // What needs no CA key is answered all the same.
    let chain = caller.call("GetChain", b"?");
    gate.add_permits(WAITING);
    assert_eq!(chain.await.unwrap().message(), b"?".as_slice());
    for answer in waiting {
        assert_eq!(answer.await.unwrap().message(), b"?".as_slice());
    }
    assert_eq!(mint(&caller, &question).await.unwrap().message(), b"?".as_slice());
    assert_eq!(world.core.finished(), WAITING + 2, "the refused one never came");
}

#[tokio::test]
async fn answers_for_which_no_key_signed_do_not_say_how_fast_the_device_is() {
    let world = World::start();
    let (gate, caller, mut waiting) = flooded_where(&world, WAITING, Act::Repeat).await;
    let mut pace = interval(PACE);
    for _ in 0..ANSWERED {
        pace.tick().await;
        gate.add_permits(1);
    }
    eventually("they are answered", || world.core.finished() == ANSWERED).await;
    waiting.push(mint(&caller, &Bytes::from_static(b"?")));
    eventually("it is taken", || world.counters.waiting() == u64::try_from(ANSWERED - WITH_CORE + 1).unwrap()).await;
    gate.add_permits(WAITING);
    for answer in waiting {
        assert_eq!(answer.await.unwrap().message(), b"?".as_slice());
    }
}

#[tokio::test]
async fn a_caller_with_many_connections_is_one_caller_and_another_one_has_its_turn() {
    let world = World::start();
    let (gate, _caller, waiting) = flooded(&world, WITH_CORE).await;
    let mut many = Vec::new();
    for _ in 0..20 {
        let caller = Arc::new(world.connect().await);
        many.push(mint(&caller, &Bytes::from_static(b"many")));
        many.push(mint(&caller, &Bytes::from_static(b"many")));
    }
    eventually("they wait", || world.counters.waiting() == 40).await;
    let other = world.callers.caller_named("other");
    let other = Arc::new(world.dial_as(&other).connect().await.unwrap());
    let answer = mint(&other, &Bytes::from_static(b"other"));
    eventually("it waits, too", || world.counters.waiting() == 41).await;
    gate.add_permits(SOME);
    let mut next = [world.core.next_unary().await.body, world.core.next_unary().await.body];
    next.sort();
    assert_eq!(next, [b"many".as_slice(), b"other"], "one turn each");
    gate.add_permits(WITH_CORE + 41);
    assert_eq!(answer.await.unwrap().message(), b"other".as_slice());
    for answer in many.into_iter().chain(waiting) {
        assert_eq!(answer.await.unwrap().code(), Code::Ok);
    }
}

#[tokio::test]
async fn what_is_nearly_expired_overtakes_what_its_caller_asked_for_before() {
    let world = World::start();
    let (gate, caller, waiting) = flooded(&world, WITH_CORE + 20).await;
    let mut params = CertificateParams::default();
    // It is 2026-06-15 here.
    (params.not_before, params.not_after) = (date_time_ymd(2026, 5, 17), date_time_ymd(2026, 6, 16));
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    let refresh = InstanceRefresh {
        current_certificate: Bytes::copy_from_slice(certificate.der()),
        ..InstanceRefresh::default()
    };
    let instance = Some(InstanceIntent { intent: Some(Intent::Refresh(refresh)) });
    let refresh = Bytes::from(MintCertificateRequest { instance, ..MintCertificateRequest::default() }.encode_to_vec());
    let urgent = mint(&caller, &refresh);
    eventually("it waits", || world.counters.waiting() == 21).await;
    gate.add_permits(SOME);
    assert_eq!(world.core.next_unary().await.body, refresh);
    gate.add_permits(WITH_CORE + 20);
    assert_eq!(urgent.await.unwrap().message(), refresh);
    for answer in waiting {
        assert_eq!(answer.await.unwrap().code(), Code::Ok);
    }
}
