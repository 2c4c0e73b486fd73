//! Many at once share commits, and nobody's loss is another's.

#[cfg(test)]
mod world;

use std::{
    collections::BTreeSet,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use hallmark_entry::Summary;
use hallmark_ledger::{Event, Issued, Ledger, LedgerError, QUEUE_OPERATIONS_MAX};
use world::{World, check_receipt, committed, now, serial};

/// Callers at once, and what each asks for.
const CALLERS: u64 = 64;
const REQUESTS_EACH: u64 = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_issues_share_commits_and_have_gapless_sequence_numbers() {
    let world = Arc::new(World::new());
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let warrants: Vec<Vec<_>> = (0..CALLERS)
        .map(|caller| {
            let number = |request| 1 + caller * REQUESTS_EACH + request;
            (0..REQUESTS_EACH)
                .map(|request| world.leaf(&mesh, &format!("id-{}", number(request)), number(request)))
                .collect()
        })
        .collect();
    let before = ledger.commits();
    let tasks: Vec<_> = warrants
        .into_iter()
        .map(|warrants| {
            let (ledger, world) = (ledger.clone(), Arc::clone(&world));
            tokio::spawn(async move { issue_all(&ledger, &world, warrants).await })
        })
        .collect();
    let mut sequences = BTreeSet::new();
    for task in tasks {
        sequences.extend(task.await.unwrap());
    }
    let operations = CALLERS * REQUESTS_EACH;
    assert_eq!(sequences, (1..=operations).map(|number| number + OF_CA).collect());
    let commits = ledger.commits() - before;
    assert!(commits < operations, "{commits} commits for {operations} operations");
    ledger.stop();
    let report = world.audit();
    assert!(report.is_clean(), "{:?}", report.findings);
}

/// The epoch's key signed its own mesh CA certificate before.
const OF_CA: u64 = 1;

#[cfg(test)]
async fn issue_all(ledger: &Ledger, world: &World, warrants: Vec<hallmark_policy::Warrant>) -> Vec<u64> {
    let mut sequences = Vec::new();
    for warrant in warrants {
        let (_, logged) = committed(ledger.issue(warrant, world.at()).await.unwrap());
        sequences.push(Summary::parse(&logged.entry).unwrap().issuer.unwrap().sequence.unwrap());
        check_receipt(logged).await;
    }
    sequences
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_with_one_serial_one_is_committed_and_the_neighbours_are_too() {
    let world = Arc::new(World::new());
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let same = serial(99_999);
    let tasks: Vec<_> = (1..=40)
        .map(|number| {
            let serial = if number % 2 == 0 { same } else { world.serial() };
            let warrant = world.leaf_with(&mesh, &format!("id-{number}"), number, serial, now());
            let (ledger, at) = (ledger.clone(), world.at());
            tokio::spawn(async move { ledger.issue(warrant, at).await.unwrap() })
        })
        .collect();
    let (mut issued, mut refused) = (0, 0);
    for task in tasks {
        match task.await.unwrap() {
            Issued::Committed { .. } => issued += 1,
            Issued::Refused { .. } => refused += 1,
            other @ (Issued::Answered(_)
            | Issued::Expired
            | Issued::InFlight
            | Issued::SameAs(_)
            | Issued::Validated { .. }) => {
                panic!("{other:?}")
            }
        }
    }
    assert_eq!((issued, refused), (21, 19));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_with_one_request_id_one_is_signed() {
    let world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let tasks: Vec<_> = (0..40)
        .map(|_| {
            let (warrant, ledger, at) = (world.leaf(&mesh, "same", 1), ledger.clone(), world.at());
            tokio::spawn(async move { ledger.issue(warrant, at).await.unwrap() })
        })
        .collect();
    let mut issued = 0;
    for task in tasks {
        match task.await.unwrap() {
            Issued::Committed { .. } => issued += 1,
            Issued::InFlight => {}
            other @ (Issued::Answered(_)
            | Issued::Expired
            | Issued::SameAs(_)
            | Issued::Refused { .. }
            | Issued::Validated { .. }) => {
                panic!("{other:?}")
            }
        }
    }
    assert_eq!(issued, 1);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_loses_nothing_that_it_took() {
    let world = World::new();
    let ledger = world.begin().await;
    let before = ledger.head().size;
    let blocker = rusqlite::Connection::open(&world.config.database).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut waiting = Vec::new();
    let mut busy = 0;
    // One batch may be out of the queue already.
    for _ in 0..QUEUE_OPERATIONS_MAX + 300 {
        let mut record = Box::pin(ledger.record(Event::Heartbeat, world.at()));
        match record.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => {
                assert_eq!(result.map(|logged| logged.index), Err(LedgerError::Busy));
                busy += 1;
            }
            Poll::Pending => waiting.push(record),
        }
    }
    assert!(busy > 0 && waiting.len() >= QUEUE_OPERATIONS_MAX);
    blocker.execute_batch("ROLLBACK").unwrap();
    let taken = waiting.len() as u64;
    for record in waiting {
        record.await.unwrap();
    }
    assert_eq!(ledger.head().size, before + taken);
}
