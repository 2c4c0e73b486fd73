//! What the ledger counts and times, for monitoring. Nothing is decided by it.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hallmark_meter::{COUNTS, Histogram, Reading};

use crate::{Ledger, room};

/// What is counted while the ledger works.
#[derive(Debug)]
pub(crate) struct Meters {
    /// Operations of each batch that is durable.
    pub(crate) batches: Histogram,
    /// How long each COMMIT took, the sync of the disk in it.
    pub(crate) commits: Histogram,
    /// Operations that the writer has not begun with.
    waiting: AtomicU64,
    published_at: Mutex<Option<Instant>>,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            batches: Histogram::new(COUNTS),
            commits: Histogram::of_durations(),
            waiting: AtomicU64::new(0),
            published_at: Mutex::default(),
        }
    }
}

impl Meters {
    /// An operation is about to wait for the writer.
    pub(crate) fn waits(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// So many wait no longer.
    pub(crate) fn begun(&self, operations: usize) {
        self.waiting.fetch_sub(operations as u64, Ordering::Relaxed);
    }

    /// A checkpoint was published now.
    pub(crate) fn was_published(&self) {
        *self.published_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn published_ago(&self) -> Option<Duration> {
        let at = *self.published_at.lock().unwrap_or_else(PoisonError::into_inner);
        at.map(|at| at.elapsed())
    }
}

/// What a ledger counted since it was opened, and how it stands.
#[derive(Clone, Debug)]
pub struct LedgerReading {
    /// Operations of each batch that is durable.
    pub batches: Reading,
    /// How long each COMMIT took, in nanoseconds: the sync of the disk is in it.
    pub commits: Reading,
    /// Operations that the writer has not begun with.
    pub waiting: u64,
    /// Entries under the newest checkpoint that is published.
    pub published: u64,
    /// How long ago this run published a checkpoint; none if it has not yet.
    pub published_ago: Option<Duration>,
    /// Bytes that are free on the database's file system; none where the system does not tell.
    pub free_bytes: Option<u64>,
}

impl Ledger {
    /// What it counted since it was opened, and how it stands. Nothing waits for the writer.
    #[must_use]
    pub fn reading(&self) -> LedgerReading {
        let shared = self.shared();
        let meters = &shared.meters;
        LedgerReading {
            batches: meters.batches.read(),
            commits: meters.commits.read(),
            waiting: meters.waiting.load(Ordering::Relaxed),
            published: shared.published(),
            published_ago: meters.published_ago(),
            free_bytes: room::free_bytes(shared.directory()),
        }
    }
}

#[cfg(test)]
mod tests {
    use hallmark_tlog::frontier::Frontier;

    use crate::{config::Head, room, shared::Shared};

    #[test]
    fn the_room_of_a_database_beside_the_process_is_told_too() {
        let head = Head { size: 0, root: Frontier::empty().root(), last_entry_at: None };
        for path in ["ledger.db", "./ledger.db", "/ledger.db"] {
            let shared = Shared::new(path.into(), head);
            assert!(room::free_bytes(shared.directory()).is_some(), "{path}");
        }
    }
}
