//! A backup of a ledger that is in use: the database as it was at one moment, what is needed beside it, and who says so.
//!
//! It is made in a directory whose name begins with a dot, read again as a whole, and renamed when all of it is on the disk:
//! a directory with its own name is a whole backup. It holds no secret.

mod copy;
pub(crate) mod description;
pub(crate) mod sound;

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
};

use hallmark_tlog::hash::Hash;
use rusqlite::Connection;

pub use copy::BackupProgress;

pub use description::is_name as is_backup_name;

use self::description::{DATABASE, DESCRIPTION, Description, Of, Part, SIGNED, is_name};
use crate::{
    Ledger, LedgerError, UnixMillis, nodes,
    origin::OriginRow,
    schema,
    signing::{Job, Signed},
};

/// Only the daemon's user looks into a backup.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// What the name of a directory ends with until it is whole.
const UNFINISHED: &str = ".unfinished";

/// Bytes that stay free beside a backup: the write-ahead log grows while it is made, and what must be logged even then has its room.
const FREE_BYTES: u64 = 256 << 20;

/// How nice the thread is: others go first (nice(2)). At 19 it would starve beside them, and the write-ahead log grows for as long as it takes.
const NICE: i32 = 10;

/// Name of the file with the log's verifier key.
const VERIFIER: &str = "log.vkey";

/// What is wanted.
#[derive(Clone, Debug)]
pub struct BackupWish {
    /// Where backups are kept; it is made if it is missing.
    pub directory: PathBuf,
    /// Name of this one, a new directory in there.
    pub name: String,
    /// Public files that go with it, by name.
    pub files: Vec<(String, Vec<u8>)>,
}

/// A backup that is whole, and was read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackedUp {
    /// Its directory.
    pub directory: PathBuf,
    /// Entries of the log in it.
    pub size: u64,
    /// Root of the log in it.
    pub root: Hash,
    /// Bytes of the database in it.
    pub bytes: u64,
    /// How many that an earlier run had not finished were removed.
    pub removed: u64,
}

/// Why there is no backup; or why one is not believed.
#[derive(Debug, thiserror::Error)]
pub enum BackupFault {
    /// The ledger is stopped, or died.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A file or directory cannot be used.
    #[error("`{}` cannot be used: {source}; hint: check that it is there, its owner and its free space", .path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The name is none.
    #[error(
        "`{name}` is no name for a backup; hint: letters, digits, `.`, `-` and `_`, 100 at most, and no `.` at the beginning"
    )]
    Name {
        /// What was given.
        name: String,
    },
    /// There is one of that name.
    #[error("`{}` is there already; hint: give the backup another name", .path.display())]
    Exists {
        /// Its directory.
        path: PathBuf,
    },
    /// There is too little room.
    #[error(
        "`{}` has {free} bytes free, and a backup wants {wanted}; hint: make room, or name another file system in `ledger.backups`", .path.display()
    )]
    Room {
        /// Where backups are kept.
        path: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that are wanted.
        wanted: u64,
    },
    /// No checkpoint can be signed.
    #[error("no checkpoint can be signed: {0}")]
    Unsignable(String),
    /// A defect.
    #[error("the thread that makes the backup ended in a panic, which is a defect to be reported")]
    Panicked,
    /// SQLite failed.
    #[error("the copy of the database failed: {0}; hint: check the disk and its free space")]
    Sql(#[from] rusqlite::Error),
    /// The description does not agree with itself or with what was signed.
    #[error("`{}` is not what the signer wrote: {what}; hint: take another backup", .path.display())]
    Description {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The log's key did not sign it.
    #[error("`{}` is not signed by the key of this log; hint: it is another log's, or was changed: take another backup, or give the right log key", .path.display())]
    Unsigned {
        /// Which file.
        path: PathBuf,
        /// What does not hold.
        source: hallmark_tlog::checkpoint::CheckpointError,
    },
    /// A file is not what it was.
    #[error("`{}` is not the file that was backed up: {what}; hint: take another copy of this backup, or another backup", .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What differs.
        what: &'static str,
    },
    /// The database in it is not what it says.
    #[error("the database `{}` is not sound: {what}; hint: take another backup", .path.display())]
    Unsound {
        /// Which file.
        path: PathBuf,
        /// What does not agree.
        what: String,
    },
    /// A newer program wrote it.
    #[error(
        "the backup has schema version {found}, and this program knows {known}; hint: restore it with the newer program that wrote it"
    )]
    Newer {
        /// Its schema version.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// An older program wrote it, before schemas were carried over.
    #[error(
        "the backup has schema version {found}, and this program begins at {known}; hint: restore it with the older program that wrote it"
    )]
    Older {
        /// Its schema version.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
}

impl Ledger {
    /// Makes a backup while the ledger is in use, and reads it again. It blocks until that is done, or has failed: then nothing of it is left.
    ///
    /// # Errors
    /// See [`BackupFault`].
    pub fn back_up(
        &self,
        wish: &BackupWish,
        progress: &BackupProgress,
        at: UnixMillis,
    ) -> Result<BackedUp, BackupFault> {
        let spawned = |source| BackupFault::Io { path: wish.directory.clone(), source };
        thread::scope(|scope| {
            let builder = thread::Builder::new().name("ledger-backup".to_owned());
            let thread = builder.spawn_scoped(scope, || {
                // Where the system does not let it, it goes on as all others do.
                let _ = rustix::process::nice(NICE);
                self.back_up_here(wish, progress, at)
            });
            let panicked = |_| Err(BackupFault::Panicked);
            thread.map_err(spawned)?.join().unwrap_or_else(panicked)
        })
    }

    fn back_up_here(
        &self,
        wish: &BackupWish,
        progress: &BackupProgress,
        at: UnixMillis,
    ) -> Result<BackedUp, BackupFault> {
        let BackupWish { directory, name, files } = wish;
        if let Some(name) = [name].into_iter().chain(files.iter().map(|(name, _)| name)).find(|name| !is_name(name)) {
            return Err(BackupFault::Name { name: name.clone() });
        }
        make_directories(directory)?;
        let (place, unfinished) = (directory.join(name), directory.join(format!(".{name}{UNFINISHED}")));
        if place.exists() {
            return Err(BackupFault::Exists { path: place });
        }
        let removed = remove_unfinished(directory)?;
        let source = self.backup_reader()?;
        check_room(directory, &source)?;
        make_directory(&unfinished)?;
        let made = self.fill(&unfinished, &source, files, progress, at).and_then(|(signed, bytes)| {
            fs::rename(&unfinished, &place).and_then(|()| sync(directory)).map_err(failed(&place))?;
            Ok(BackedUp { directory: place, size: signed.size, root: signed.root, bytes, removed })
        });
        if made.is_err() {
            // What cannot be removed is removed by the next one.
            drop(fs::remove_dir_all(&unfinished));
        }
        made
    }

    /// Writes all files, the one that signs last.
    fn fill(
        &self,
        directory: &Path,
        source: &Connection,
        files: &[(String, Vec<u8>)],
        progress: &BackupProgress,
        at: UnixMillis,
    ) -> Result<(Signed, u64), BackupFault> {
        let database = directory.join(DATABASE);
        copy::copy(source, &database, progress, &|| self.check())?;
        let verifier = format!("{}\n", self.verifier_key());
        let files = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
        let files: Vec<_> = files.chain([(VERIFIER, verifier.as_bytes())]).collect();
        for (name, bytes) in &files {
            write(&directory.join(name), bytes)?;
        }
        let names = files.iter().map(|(name, _)| *name).chain([DATABASE]);
        let parts = names.map(|name| Part::of(directory, name)).collect::<Result<Vec<_>, _>>()?;
        let copied = schema::reader(&database)?;
        let head = nodes::head(&copied)?;
        let row = OriginRow::current(&copied)?;
        let origin = row.map(|row| row.name).unwrap_or_default();
        let schema = schema::version(&copied)?;
        drop(copied);
        let signed = self.sign_backup(head.size, head.root, None)?;
        let of = Of { ledger: self.id(), origin: &origin, schema, at_millis: at.0 };
        let description = Description::new(&of, &signed, parts);
        let bytes = description.database().map_or(0, |part| part.bytes);
        let unencodable = |error: serde_json::Error| BackupFault::Unsignable(error.to_string());
        let (text, line) = description.encode().map_err(unencodable)?;
        write(&directory.join(DESCRIPTION), &text)?;
        let note = self.sign_backup(head.size, head.root, Some(line))?.note;
        write(&directory.join(SIGNED), note.to_string().as_bytes())?;
        sync(directory).map_err(failed(directory))?;
        // As whoever restores it will.
        let (read, signed) = Description::read(directory, &[self.verifier_key()])?;
        read.check_files(directory)?;
        sound::check(&database, &read, &signed)?;
        Ok((signed, bytes))
    }

    /// A connection of its own, to be closed afterwards.
    fn backup_reader(&self) -> Result<Connection, BackupFault> {
        let path = self.read(|connection| Ok(connection.path().map(PathBuf::from)))?;
        let gone = || BackupFault::Ledger(LedgerError::Stopped);
        Ok(schema::reader(&path.ok_or_else(gone)?)?)
    }

    fn sign_backup(&self, size: u64, root: Hash, line: Option<String>) -> Result<Signed, BackupFault> {
        let (sender, receiver) = mpsc::channel();
        self.sign_by_job(Job::Backup { size, root, line, sender })?;
        let answered = receiver.recv().map_err(|_| BackupFault::Ledger(LedgerError::Stopped))?;
        answered.map_err(BackupFault::Unsignable)
    }
}

/// That there is room for a copy of the database, and for what goes on beside it.
fn check_room(directory: &Path, source: &Connection) -> Result<(), BackupFault> {
    let pragma = |name| source.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let bytes = pragma("page_count")?.unsigned_abs().saturating_mul(pragma("page_size")?.unsigned_abs());
    let found = rustix::fs::statvfs(directory).map_err(|error| failed(directory)(error.into()))?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let wanted = bytes.saturating_add(FREE_BYTES);
    if free < wanted {
        return Err(BackupFault::Room { path: directory.to_owned(), free, wanted });
    }
    Ok(())
}

/// Removes what an earlier run has not finished: one process at a time has the ledger.
fn remove_unfinished(directory: &Path) -> Result<u64, BackupFault> {
    let mut removed = 0;
    for found in fs::read_dir(directory).map_err(failed(directory))? {
        let found = found.map_err(failed(directory))?;
        let is_unfinished = |name: &str| name.starts_with('.') && name.ends_with(UNFINISHED);
        if found.file_name().to_str().is_some_and(is_unfinished) {
            fs::remove_dir_all(found.path()).map_err(failed(&found.path()))?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn make_directories(path: &Path) -> Result<(), BackupFault> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path).map_err(failed(path))
}

fn make_directory(path: &Path) -> Result<(), BackupFault> {
    DirBuilder::new().mode(DIRECTORY_MODE).create(path).map_err(failed(path))
}

/// Writes a new file, to the disk.
fn write(path: &Path, bytes: &[u8]) -> Result<(), BackupFault> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(failed(path))
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

pub(crate) fn failed(path: &Path) -> impl FnOnce(io::Error) -> BackupFault {
    let path = path.to_owned();
    move |source| BackupFault::Io { path, source }
}
