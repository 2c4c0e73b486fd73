//! The pages of a database in use, copied as they were at one moment, by a thread that lets all others go first.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
};

use super::BackupFault;

/// Pages that are copied at once: 1 MiB.
const PAGES_EACH: i32 = 256;

/// After so many pages they are brought to the disk: what piles up in the system's cache would make the log's own syncs wait.
const PAGES_EACH_SYNC: u64 = 1_024;

/// How long it rests after a step at most.
const REST_MAX: Duration = Duration::from_millis(5);

/// How long a step that found the database locked waits until it tries again.
const LOCKED_WAIT: Duration = Duration::from_millis(20);

/// Only the daemon's user reads a copy.
const FILE_MODE: u32 = 0o600;

/// How far a backup is, in pages of the database: read while it is made.
#[derive(Debug, Default)]
pub struct BackupProgress {
    done: AtomicU64,
    total: AtomicU64,
}

impl BackupProgress {
    /// Pages that are copied, and pages that there are; 0 before it is known.
    #[must_use]
    pub fn pages(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }

    fn set(&self, remaining: i32, total: i32) -> u64 {
        let count = |pages: i32| u64::from(pages.unsigned_abs());
        let done = count(total).saturating_sub(count(remaining));
        self.total.store(count(total), Ordering::Relaxed);
        self.done.store(done, Ordering::Relaxed);
        done
    }
}

/// Copies what `source` sees now to a new file. Writers go on meanwhile: the moment is held by a transaction that reads, and that is let go
/// as soon as every page is there, and where `goes_on` says that the ledger stops or has no room for more.
pub(super) fn copy(
    source: &Connection,
    to: &Path,
    progress: &BackupProgress,
    goes_on: &dyn Fn() -> Result<(), BackupFault>,
) -> Result<(), BackupFault> {
    let failed = |source| BackupFault::Io { path: to.to_owned(), source };
    let file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(to).map_err(failed)?;
    let held = source.unchecked_transaction()?;
    held.query_row("SELECT size FROM head", [], |row| row.get::<_, i64>(0))?;
    let mut target =
        Connection::open_with_flags(to, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    // It is nobody's until it is whole: a crash throws it away.
    target.pragma_update(None, "journal_mode", "off")?;
    target.pragma_update(None, "synchronous", "off")?;
    pages(&held, &mut target, &file, progress, goes_on)?;
    // The write-ahead log grows no more, however long the disk takes for the rest.
    drop(held);
    // One file, that needs none beside it.
    target.pragma_update_and_check(None, "journal_mode", "delete", |row| row.get::<_, String>(0))?;
    target.close().map_err(|(_, error)| error)?;
    file.sync_all().map_err(failed)
}

fn pages(
    source: &Connection,
    target: &mut Connection,
    file: &File,
    progress: &BackupProgress,
    goes_on: &dyn Fn() -> Result<(), BackupFault>,
) -> Result<(), BackupFault> {
    let backup = Backup::new(source, target)?;
    let mut synced = 0;
    loop {
        goes_on()?;
        let began = Instant::now();
        let step = backup.step(PAGES_EACH)?;
        let now = backup.progress();
        let done = progress.set(now.remaining, now.pagecount);
        if step == StepResult::Done {
            return Ok(());
        }
        if step == StepResult::Busy || step == StepResult::Locked {
            thread::sleep(LOCKED_WAIT);
        } else if done >= synced + PAGES_EACH_SYNC {
            synced = done;
            // That the rest is on the disk is seen to at the end.
            drop(file.sync_data());
        }
        // Half of the time is the others', but where most of it was already.
        thread::sleep(began.elapsed().min(REST_MAX));
    }
}
