//! The thread that moves the write-ahead log into the database, so that the writer does not have to.

use std::sync::{
    Arc,
    atomic::{AtomicI32, Ordering},
    mpsc::{self, Receiver, SyncSender},
};

use rusqlite::Connection;

use crate::{schema, shared::Shared};

/// Pages in the write-ahead log from which on it is moved, and by which it grows until it is moved again: 4 MiB.
const PAGES_STEP: i32 = 1_000;

/// Pages in the write-ahead log from which on the writer finishes the move itself, so that the file stays below
/// 64 MiB: only then, with nobody writing, it can begin from its start again. Where somebody read for long it is longer, and is cut then
/// (`schema::WAL_BYTES_KEPT`).
const PAGES_MAX: i32 = 8_000;

/// Pages by which it grows on until the writer tries again, where somebody was in the way.
const PAGES_MORE: i32 = 500;

/// How long the write-ahead log is, as the writer's commits tell.
#[derive(Debug)]
pub(crate) struct Growth {
    pages: Arc<AtomicI32>,
    tried_at: i32,
}

/// Watches the commits of the writer's connection; wakes the thread with the receiver.
pub(crate) fn watch(connection: &mut Connection) -> rusqlite::Result<(Growth, SyncSender<Wake>, Receiver<Wake>)> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let pages = Arc::new(AtomicI32::new(0));
    let (count, wake) = (Arc::clone(&pages), sender.clone());
    let mut woken_at = 0;
    connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, now: i32| {
        count.store(now, Ordering::Relaxed);
        woken_at = woken_at.min(now);
        if now >= woken_at + PAGES_STEP {
            woken_at = now;
            // Full means that it is awake already.
            let _ = wake.try_send(Wake::Grown);
        }
        Ok(())
    }))?;
    Ok((Growth { pages, tried_at: 0 }, sender, receiver))
}

/// Why the thread wakes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wake {
    /// There is something to move.
    Grown,
    /// It is the end.
    Stop,
}

/// Moves what can be moved, whenever there is enough, and all of it at the end.
pub(crate) fn run(connection: &Connection, wakes: &Receiver<Wake>, shared: &Shared) {
    while let Ok(wake) = wakes.recv() {
        let mode = match wake {
            Wake::Grown => "PASSIVE",
            Wake::Stop => {
                last_words(connection, shared);
                "TRUNCATE"
            }
        };
        checkpoint(connection, mode, shared);
        if matches!(wake, Wake::Stop) {
            return;
        }
    }
}

/// Writes down what was published since the last batch.
fn last_words(connection: &Connection, shared: &Shared) {
    if shared.poisoned().is_none()
        && let Err(error) = schema::record_published(connection, shared.published())
    {
        tracing::warn!(%error, "how much is published could not be written down");
    }
}

impl Growth {
    /// Finishes the move from the writer's own connection, if the write-ahead log has become too long.
    pub(crate) fn bound(&mut self, connection: &Connection, shared: &Shared) {
        let pages = self.pages.load(Ordering::Relaxed);
        self.tried_at = self.tried_at.min(pages);
        if pages >= PAGES_MAX.max(self.tried_at + PAGES_MORE) {
            self.tried_at = pages;
            checkpoint(connection, "PASSIVE", shared);
        }
    }
}

/// A failed write or sync here is as bad as one in a commit: the pages may be lost.
fn checkpoint(connection: &Connection, mode: &str, shared: &Shared) {
    if shared.poisoned().is_some() {
        return;
    }
    if let Err(error) = connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(())) {
        if error.sqlite_error_code() == Some(rusqlite::ErrorCode::SystemIoFailure) {
            shared.disk_failed(&error);
        } else {
            tracing::warn!(%error, "the write-ahead log could not be moved into the database; it is tried again");
        }
    }
}
