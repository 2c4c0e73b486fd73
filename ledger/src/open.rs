//! Opening: nobody else has it, the stored tree has the stored root, and it continues what was published.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use hallmark_entry::Summary;
use hallmark_tlog::{checkpoint::Checkpoint, frontier::Frontier, note::VerifierKey, tile::CHECKPOINT_PATH};
use rusqlite::Connection;

use crate::{
    Acceptance, KeyChange, LedgerConfig, LogKeys, OpenError, Recovery, Unlogged,
    config::Head,
    nodes::{self, StoredNodes},
    origin::{Origin, OriginRow},
    record::{ORIGIN, STOP},
    schema::{self, SCHEMA_VERSION, unsigned},
};

/// How long another process may still have a lock, and how often it is looked at.
const LOCK_WAIT: Duration = Duration::from_secs(2);
const LOCK_EVERY: Duration = Duration::from_millis(20);

/// Only the daemon's user reads the database.
const FILE_MODE: u32 = 0o600;

/// What opening found to be sound.
pub(crate) struct Checked {
    pub(crate) lock: Locks,
    pub(crate) connection: Connection,
    pub(crate) frontier: Frontier,
    pub(crate) head: Head,
    /// Size of the published checkpoint; 0 without one.
    pub(crate) published: u64,
    /// The ledger's own name.
    pub(crate) id: [u8; 8],
    pub(crate) recovery: Recovery,
    /// The name under which it is published.
    pub(crate) origin: Origin,
    /// What the log does not say yet of the keys that sign it.
    pub(crate) key_change: Option<KeyChange>,
}

/// Opens and checks. The work does not depend on the number of entries.
pub(crate) fn open(config: &LedgerConfig, keys: &LogKeys) -> Result<Checked, OpenError> {
    let database = lock(&config.database)?;
    let sql = |source| OpenError::Sql { database: config.database.clone(), source };
    let mut connection = connect(config)?;
    let lock = Locks { _database: database, _publish: lock_directory(&config.publish)? };
    let head = nodes::head(&connection).map_err(sql)?;
    let frontier = check_tree(config, &connection, &head)?;
    let found = check_origin(config, &connection, keys)?;
    let published = check_published(config, &connection, &head, &keys.verifiers())?;
    let row = found.map_or_else(|| OriginRow::begin(&connection, keys), Ok).map_err(sql)?;
    let key_change = row.key_change(keys);
    let recovery = recovery(&connection, &head).map_err(sql)?;
    // Last: what is refused stays as it is, for the program that wrote it.
    upgrade(config, &mut connection)?;
    let id = connection.query_row("SELECT ledger_id FROM head", [], |row| row.get(0)).map_err(sql)?;
    let origin = row.origin();
    Ok(Checked { lock, connection, frontier, head, published, id, recovery, origin, key_change })
}

/// The origin that the database has; none in a new one. It must be the configured one.
fn check_origin(
    config: &LedgerConfig,
    connection: &Connection,
    keys: &LogKeys,
) -> Result<Option<OriginRow>, OpenError> {
    let database = || config.database.clone();
    let row = OriginRow::current(connection).map_err(|source| OpenError::Sql { database: database(), source })?;
    let Some(row) = row else { return Ok(None) };
    let configured = keys.current.verifier().name();
    if row.rolling {
        return Err(OpenError::Rolling { database: database(), origin: row.name });
    }
    if row.name != configured {
        let configured = configured.to_owned();
        return Err(OpenError::OtherOrigin { database: database(), found: row.name, configured });
    }
    Ok(Some(row))
}

/// The same for a database that must be there.
pub(crate) fn open_existing(config: &LedgerConfig, keys: &LogKeys) -> Result<Checked, OpenError> {
    is_there(&config.database)?;
    open(config, keys)
}

/// Takes the lock beside a database that must be there.
pub(crate) fn lock_existing(database: &Path) -> Result<File, OpenError> {
    is_there(database)?;
    lock(database)
}

/// Takes both locks, where there may be nothing yet.
pub(crate) fn lock_both(config: &LedgerConfig) -> Result<Locks, OpenError> {
    let database = lock(&config.database)?;
    fs::create_dir_all(&config.publish).map_err(failed(&config.publish))?;
    Ok(Locks { _database: database, _publish: lock_directory(&config.publish)? })
}

fn is_there(database: &Path) -> Result<(), OpenError> {
    fs::metadata(database).map(drop).map_err(failed(database))
}

/// What keeps others away from the database, and from the directory of the published log, which another copy of the database may be configured with.
#[derive(Debug)]
pub(crate) struct Locks {
    _database: File,
    _publish: File,
}

/// Takes the lock of the directory itself: a file in it would be published.
fn lock_directory(publish: &Path) -> Result<File, OpenError> {
    let directory = File::open(publish).map_err(failed(publish))?;
    match locked(&directory) {
        Ok(()) => Ok(directory),
        Err(TryLockError::WouldBlock) => Err(OpenError::Published { publish: publish.to_owned() }),
        Err(TryLockError::Error(source)) => Err(OpenError::Io { path: publish.to_owned(), source }),
    }
}

/// Takes a lock. A process that was killed has it until the system has ended what it was writing.
fn locked(file: &File) -> Result<(), TryLockError> {
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if began.elapsed() < LOCK_WAIT => thread::sleep(LOCK_EVERY),
            taken => return taken,
        }
    }
}

/// Takes the lock beside the database. The system frees it with the process, however that ends.
fn lock(database: &Path) -> Result<File, OpenError> {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let file = private_file(&path).map_err(failed(&path))?;
    match locked(&file) {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { database: database.to_owned() }),
        Err(TryLockError::Error(source)) => Err(OpenError::Io { path, source }),
    }
}

pub(crate) fn connect(config: &LedgerConfig) -> Result<Connection, OpenError> {
    let LedgerConfig { database, publish, pages_max, .. } = config;
    let sql = |source| OpenError::Sql { database: database.clone(), source };
    drop(private_file(database).map_err(failed(database))?);
    fs::create_dir_all(publish).map_err(failed(publish))?;
    let mut connection = schema::writer(database).map_err(sql)?;
    if let Some(pages) = pages_max {
        let set = connection.pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0));
        set.map_err(sql)?;
    }
    match schema::version(&connection).map_err(sql)? {
        0 => schema::create(&mut connection).map_err(sql)?,
        SCHEMA_VERSION => {}
        found if found < SCHEMA_VERSION => {
            if !schema::can_upgrade(found) {
                return Err(OpenError::Older { database: database.clone(), found, known: SCHEMA_VERSION });
            }
        }
        found => return Err(OpenError::Newer { database: database.clone(), found, known: SCHEMA_VERSION }),
    }
    Ok(connection)
}

/// Brings the tables up to date, where an older program made them.
fn upgrade(config: &LedgerConfig, connection: &mut Connection) -> Result<(), OpenError> {
    let sql = |source| OpenError::Sql { database: config.database.clone(), source };
    let found = schema::version(connection).map_err(sql)?;
    if found < SCHEMA_VERSION {
        schema::upgrade(connection, found).map_err(sql)?;
        tracing::warn!(
            from = found,
            to = SCHEMA_VERSION,
            "the tables of the database were brought up to date: programs before this one do not open it any more"
        );
    }
    Ok(())
}

/// The frontier, from O(log n) stored nodes; its root must be the one that the last batch stored.
pub(crate) fn check_tree(config: &LedgerConfig, connection: &Connection, head: &Head) -> Result<Frontier, OpenError> {
    let broken = |what: String| OpenError::Broken { database: config.database.clone(), what };
    let sql = "SELECT coalesce(max(log_index) + 1, 0) FROM entry";
    let entries = connection.query_row(sql, [], |row| row.get(0)).map(unsigned);
    let entries = entries.map_err(|source| OpenError::Sql { database: config.database.clone(), source })?;
    if entries != head.size {
        return Err(broken(format!("it has {entries} entries, and its head says {}", head.size)));
    }
    let frontier = Frontier::rebuild(head.size, &StoredNodes(connection)).map_err(|error| broken(error.to_string()))?;
    if frontier.root() != head.root {
        let computed = frontier.root();
        return Err(broken(format!("its nodes give the root {computed}, and its head says {}", head.root)));
    }
    Ok(frontier)
}

/// The size of the published checkpoint, of which this log must be the continuation.
pub(crate) fn check_published(
    config: &LedgerConfig,
    connection: &Connection,
    head: &Head,
    verifiers: &[VerifierKey],
) -> Result<u64, OpenError> {
    if let Some(anchor) = &config.anchor
        && check_anchor(&config.database, connection, head.size, verifiers, anchor)?.is_none()
    {
        without_anchor(config, connection, anchor)?;
    }
    match check_anchor(&config.database, connection, head.size, verifiers, &config.publish.join(CHECKPOINT_PATH))? {
        Some(size) => Ok(size),
        None => without_checkpoint(config, connection),
    }
}

/// The size of the checkpoint in a file, of which this log of `entries` must be the continuation; nothing where there is no file.
pub(crate) fn check_anchor(
    database: &Path,
    connection: &Connection,
    entries: u64,
    verifiers: &[VerifierKey],
    path: &Path,
) -> Result<Option<u64>, OpenError> {
    let note = match fs::read(path) {
        Ok(note) => note,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(OpenError::Io { path: path.to_owned(), source }),
    };
    let database = || database.to_owned();
    let checkpoint = Checkpoint::open(&note, verifiers)
        .map_err(|source| OpenError::Checkpoint { checkpoint: path.to_owned(), source })?;
    let restored = |what: String| OpenError::Restored { database: database(), checkpoint: path.to_owned(), what };
    let size = checkpoint.size();
    if size > entries {
        return Err(restored(format!("{size} entries were published, and the database has {entries}")));
    }
    let then = Frontier::rebuild(size, &StoredNodes(connection))
        .map_err(|error| OpenError::Broken { database: database(), what: error.to_string() })?;
    if then.root() != checkpoint.root() {
        return Err(restored(format!("the first {size} entries are others than those that were published")));
    }
    Ok(Some(size))
}

/// No copy of the checkpoint is there: right for a log that never wrote one, and otherwise an anchor that was taken away.
fn without_anchor(config: &LedgerConfig, connection: &Connection, anchor: &Path) -> Result<(), OpenError> {
    let LedgerConfig { database, accept_missing_anchor, .. } = config;
    let sql = |source| OpenError::Sql { database: database.clone(), source };
    match connection.query_row("SELECT anchored FROM head", [], |row| row.get(0)).map_err(sql)? {
        false => Ok(()),
        true if *accept_missing_anchor => {
            let anchor = anchor.display();
            tracing::warn!(%anchor, "the anchor is missing, which was accepted; it is written anew");
            Acceptance::MissingAnchor.remember(connection).map_err(sql)
        }
        true => Err(OpenError::AnchorMissing { database: database.clone(), anchor: anchor.to_owned() }),
    }
}

/// No checkpoint is there: right for a log that was never published, and otherwise an anchor that was taken away.
fn without_checkpoint(config: &LedgerConfig, connection: &Connection) -> Result<u64, OpenError> {
    let LedgerConfig { database, publish, accept_missing_checkpoint, .. } = config;
    let sql = |source| OpenError::Sql { database: database.clone(), source };
    match connection.query_row("SELECT published FROM head", [], |row| row.get(0)).map(unsigned).map_err(sql)? {
        0 => Ok(0),
        published if *accept_missing_checkpoint => {
            tracing::warn!(published, "the published checkpoint is missing, which was accepted; all is published anew");
            Acceptance::MissingCheckpoint.remember(connection).map_err(sql)?;
            Ok(0)
        }
        published => {
            let (database, publish) = (database.clone(), publish.clone());
            Err(OpenError::CheckpointMissing { database, publish, published })
        }
    }
}

fn recovery(connection: &Connection, head: &Head) -> rusqlite::Result<Recovery> {
    let last = match head.size.checked_sub(1) {
        Some(index) => nodes::entry(connection, index)?,
        None => None,
    };
    let unclean = last.is_some_and(|entry| {
        !Summary::parse(&entry).is_ok_and(|summary| summary.kind == STOP || summary.kind == ORIGIN)
    });
    let sql = "SELECT count(*) FROM request WHERE signature IS NULL AND void = 0";
    let pending = connection.query_row(sql, [], |row| row.get(0)).map(unsigned)?;
    let sql = "SELECT clock_distrusted, unlogged_acceptance FROM head";
    let (clock_distrusted, bits) = connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (entries, last_entry_at, unlogged) = (head.size, head.last_entry_at, Unlogged::of_bits(bits));
    Ok(Recovery { entries, last_entry_at, unclean, pending, clock_distrusted, unlogged })
}

fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { path, source }
}
