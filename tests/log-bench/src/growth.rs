//! Whether start and append care how long the log is.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use hallmark_entry::{Object, sha256};
use hallmark_ledger::{Event, Ledger, LedgerConfig, Private, UnixMillis};
use hallmark_policy::time::Span;
use hallmark_tlog::{checkpoint::Checkpoint, frontier::Frontier, hash::Hash, tile::CHECKPOINT_PATH};
use rusqlite::{Connection, params};

use crate::synthetic::{self, ORIGIN};

/// Entries that are appended for a measurement, and callers that append them.
const APPENDED: usize = 40_000;
const CALLERS: usize = 64;

/// How often each is measured, in turns.
const ROUNDS: usize = 5;

/// Fills a ledger, and measures it and an empty one in turns.
pub(crate) fn measure(entries: u64, bytes: usize) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (full, empty) = (directory.path().join("full"), directory.path().join("empty"));
    let began = Instant::now();
    fill(&full, entries, bytes)?;
    fill(&empty, 0, bytes)?;
    println!("filled a ledger with {entries} entries of {bytes} bytes in {:.0} s", began.elapsed().as_secs_f64());
    let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
    let (mut of_full, mut of_empty) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        of_empty.push(runtime.block_on(once(&empty))?);
        of_full.push(runtime.block_on(once(&full))?);
    }
    for (name, measured) in [("empty", of_empty), ("full", of_full)] {
        let start = measured.iter().map(|(start, _)| *start).min().unwrap_or_default();
        let append = measured.iter().map(|(_, append)| *append).min().unwrap_or_default();
        println!("{name}: start {:.2} ms, append {:.2} us an entry", millis(start), micros(append) / APPENDED as f64);
    }
    Ok(())
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn config(directory: &Path) -> LedgerConfig {
    LedgerConfig {
        database: directory.join("ledger.db"),
        publish: directory.join("log"),
        ended_retention: Span::from_days(30),
        retention: Span::from_days(1),
        accept_missing_checkpoint: false,
        accept_missing_anchor: false,
        anchor: None,
        private: Private::default(),
        pages_max: None,
    }
}

/// The time that opening takes, and the time that appends take.
async fn once(directory: &Path) -> Result<(Duration, Duration)> {
    let key = synthetic::log_key()?;
    let began = Instant::now();
    let ledger = Ledger::open(config(directory), key)?.ledger;
    let start = began.elapsed();
    let at = UnixMillis(synthetic::now_millis()?);
    let began = Instant::now();
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                for _ in 0..APPENDED / CALLERS {
                    ledger.record(Event::Heartbeat, at).await?;
                }
                Ok::<_, hallmark_ledger::LedgerError>(())
            })
        })
        .collect();
    for caller in callers {
        caller.await??;
    }
    let append = began.elapsed();
    tokio::task::spawn_blocking(move || ledger.stop()).await?;
    Ok((start, append))
}

/// Makes a ledger, and puts entries into its tables as so many appends would have done.
fn fill(directory: &Path, entries: u64, bytes: usize) -> Result<()> {
    fs::create_dir_all(directory)?;
    let config = config(directory);
    Ledger::open(config.clone(), synthetic::log_key()?)?.ledger.stop();
    if entries == 0 {
        return Ok(());
    }
    let mut connection = Connection::open(&config.database)?;
    // Nothing here must outlive a crash, and a write-ahead log would take the room twice.
    connection.pragma_update(None, "journal_mode", "off")?;
    connection.pragma_update(None, "synchronous", "off")?;
    let at = synthetic::now_millis()?;
    let pad = "x".repeat(bytes.saturating_sub(120));
    let mut frontier = Frontier::empty();
    let transaction = connection.transaction()?;
    {
        let mut entry = transaction.prepare("INSERT INTO entry (log_index, leaf, bytes) VALUES (?1, ?2, ?3)")?;
        let mut node = transaction.prepare("INSERT INTO node (level, node_index, hash) VALUES (?1, ?2, ?3)")?;
        for index in 0..entries {
            let mark = sha256(&index.to_be_bytes());
            let bytes = Object::new()
                .hex("mark", mark.get(..8).unwrap_or_default())
                .text("pad", &pad)
                .into_entry("heartbeat", at);
            let leaf = Hash::of_leaf(&bytes);
            entry.execute(params![i64::try_from(index)?, leaf.as_bytes(), bytes])?;
            for done in frontier.append(leaf) {
                node.execute(params![done.level, i64::try_from(done.index)?, done.hash.as_bytes()])?;
            }
        }
    }
    let (size, root) = (i64::try_from(entries)?, frontier.root());
    let update = "UPDATE head SET size = ?1, root = ?2, at = ?3, published = ?1";
    transaction.execute(update, params![size, root.as_bytes(), at])?;
    transaction.commit()?;
    let head = Checkpoint::new(ORIGIN, entries, root)?.sign(&synthetic::log_key()?)?;
    fs::write(config.publish.join(CHECKPOINT_PATH), head.to_string()).context("the checkpoint")
}
