//! What all threads of a ledger know.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rusqlite::Connection;

use crate::{LedgerError, config::Head, instance::Alarm, meters::Meters, readers::Readers, room::Room, schema};

/// Most authorities and alarms that are counted apart; an authority is what a caller named. More are counted without their authority.
const ALARM_COUNTS_MAX: usize = 1_000;

/// What all threads know.
#[derive(Debug)]
pub(crate) struct Shared {
    database: PathBuf,
    head: Mutex<Head>,
    poison: OnceLock<String>,
    readers: Readers,
    commits: AtomicU64,
    room: Mutex<Room>,
    alarms: Mutex<BTreeMap<(String, &'static str), u64>>,
    published: AtomicU64,
    pub(crate) meters: Meters,
}

impl Shared {
    pub(crate) fn new(database: PathBuf, head: Head) -> Self {
        Self {
            readers: Readers::of(database.clone()),
            database,
            head: Mutex::new(head),
            poison: OnceLock::new(),
            commits: AtomicU64::new(0),
            room: Mutex::default(),
            alarms: Mutex::default(),
            published: AtomicU64::new(0),
            meters: Meters::default(),
        }
    }

    /// Where the database lies.
    pub(crate) fn directory(&self) -> &Path {
        self.database.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
    }

    pub(crate) fn head(&self) -> Head {
        *lock(&self.head)
    }

    pub(crate) fn set_head(&self, head: Head) {
        *lock(&self.head) = head;
    }

    /// What there is room for from now on; gives what there was room for.
    pub(crate) fn set_room(&self, room: Room) -> Room {
        std::mem::replace(&mut *self.room.lock().unwrap_or_else(PoisonError::into_inner), room)
    }

    pub(crate) fn room(&self) -> Room {
        *self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count_commit(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Tells of the alarms of a batch that is durable, and counts them.
    pub(crate) fn raise(&self, raised: Vec<Alarm>) {
        let mut alarms = lock(&self.alarms);
        for (authority, alarm) in raised.into_iter().map(Alarm::raise) {
            let is_known = alarms.len() < ALARM_COUNTS_MAX || alarms.contains_key(&(authority.clone(), alarm));
            let authority = if is_known { authority } else { String::new() };
            *alarms.entry((authority, alarm)).or_default() += 1;
        }
    }

    pub(crate) fn alarms(&self) -> BTreeMap<(String, &'static str), u64> {
        lock(&self.alarms).clone()
    }

    /// Size of the newest checkpoint that is published; 0 before the first.
    pub(crate) fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    /// A checkpoint of that size is on the disk. The first of a run is written down at once; the others with the next
    /// batch, or at the end.
    pub(crate) fn was_published(&self, size: u64) {
        self.meters.was_published();
        if self.published.fetch_max(size, Ordering::AcqRel) == 0
            && let Err(error) =
                schema::writer(&self.database).and_then(|connection| schema::record_published(&connection, size))
        {
            tracing::warn!(%error, "how much is published could not be written down; the next batch does it");
        }
    }

    /// A copy of a checkpoint is on another volume.
    pub(crate) fn was_anchored(&self) -> rusqlite::Result<()> {
        schema::record_anchored(&schema::writer(&self.database)?)
    }

    /// Stops everything: what is on the disk is not known any more, so nothing is tried again.
    pub(crate) fn poison(&self, cause: String) {
        tracing::error!(cause, "the ledger stopped; nothing is committed any more");
        self.poison.get_or_init(|| cause);
    }

    /// Poisons it, because the disk failed.
    pub(crate) fn disk_failed(&self, error: &rusqlite::Error) {
        self.poison(format!("its disk failed: {error}"));
    }

    pub(crate) fn poisoned(&self) -> Option<LedgerError> {
        self.poison.get().map(|cause| LedgerError::Poisoned { cause: cause.clone() })
    }

    /// Reads what is durable.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, LedgerError> {
        if let Some(poisoned) = self.poisoned() {
            return Err(poisoned);
        }
        self.readers.read(read).map_err(|error| LedgerError::Database { cause: error.to_string() })
    }

    /// Closes the connections for reading.
    pub(crate) fn close_readers(&self) {
        self.readers.close();
    }
}

/// Nothing that is locked here can be left half-written by a panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
