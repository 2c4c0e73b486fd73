//! Group commit alone: warrants made beforehand, and callers who have them committed. Nothing is signed.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use hallmark_ledger::Issued;
use tokio::sync::Mutex;

use crate::{row::Row, times::Times};

/// The world of the ledger's own tests: an authority, a policy and a caller.
#[expect(clippy::expect_used, clippy::panic, reason = "it was written for tests, which end so")]
#[path = "../../../ledger/tests/world/mod.rs"]
mod world;

use world::World;

const CALLERS: u32 = 64;

/// Warrants for each second, at most; a run ends early when they are used up.
const WARRANTS_PER_SECOND: u64 = 20_000;

/// Most warrants: each takes some kilobytes of memory, and 0.1 ms to make.
const WARRANTS_MAX: u64 = 40_000;

/// Measures for at most this long.
pub(crate) fn measure(directory: &Path, time: Duration) -> Result<Row> {
    let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
    runtime.block_on(commit(directory, time))
}

async fn commit(directory: &Path, time: Duration) -> Result<Row> {
    let world = World::below(directory);
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let number = (time.as_secs().max(1) * WARRANTS_PER_SECOND).min(WARRANTS_MAX);
    let warrants: Vec<_> = (0..number).map(|number| world.leaf(&mesh, &format!("bench-{number}"), number)).collect();
    let warrants = Arc::new(Mutex::new(warrants));
    let (at, began) = (world.at(), Instant::now());
    let commits_before = ledger.commits();
    let committed = Arc::new(AtomicU64::new(0));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (ledger, warrants, committed) = (ledger.clone(), Arc::clone(&warrants), Arc::clone(&committed));
            tokio::spawn(async move {
                let mut times = Vec::new();
                while began.elapsed() < time {
                    // Not held while it is committed.
                    let next = warrants.lock().await.pop();
                    let Some(warrant) = next else { break };
                    let since = Instant::now();
                    let issued = ledger.issue(warrant, at).await?;
                    times.push(since.elapsed());
                    ensure!(matches!(issued, Issued::Committed { .. }), "a warrant was not committed");
                    committed.fetch_add(1, Ordering::Relaxed);
                }
                Ok::<_, anyhow::Error>(times)
            })
        })
        .collect();
    let mut times = Times::default();
    for caller in callers {
        times.0.extend(caller.await.context("a caller's task failed")??);
    }
    let over = began.elapsed();
    let commits = ledger.commits() - commits_before;
    tokio::task::spawn_blocking(move || ledger.stop()).await?;
    let committed = committed.load(Ordering::Relaxed);
    let row = Row::new("group commit alone", None, Some(CALLERS));
    // One fdatasync of the write-ahead log for each transaction.
    let fsyncs = (committed > 0).then(|| commits as f64 / committed as f64);
    Ok(Row { fsyncs_per_certificate: fsyncs, ..times.put_into(row, over) })
}
