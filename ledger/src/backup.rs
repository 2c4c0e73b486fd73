//! A backup of a ledger that is in use: the database as it was at one moment, what is needed beside it, and who says so.
//!
//! It is made in a directory whose name begins with a dot, read again as a whole, and renamed when all of it is on the disk:
//! a directory with its own name is a whole backup. It holds no secret.

mod copy;
pub(crate) mod description;
mod fault;
mod growth;
pub(crate) mod sound;

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use hallmark_policy::hex;
use hallmark_tlog::hash::Hash;
use rusqlite::Connection;

pub use self::{copy::BackupProgress, description::is_name as is_backup_name, fault::BackupFault};
use self::{
    description::{DATABASE, DESCRIPTION, Description, Of, Part, SIGNED, is_name},
    growth::Growth,
};
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

/// How long the writer may take to tell of what it has committed, and how often it is looked at.
const TOLD_WAIT_MAX: Duration = Duration::from_secs(10);
const TOLD_EVERY: Duration = Duration::from_millis(5);

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
        let suffix = format!(".{}{UNFINISHED}", hex(&self.id()));
        let (place, unfinished) = (directory.join(name), directory.join(format!(".{name}{suffix}")));
        if place.exists() {
            return Err(BackupFault::Exists { path: place });
        }
        let removed = remove_unfinished(directory, &suffix)?;
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
        let growth = source.path().map(|path| Growth::of(Path::new(path)));
        let goes_on =
            || self.check().map_err(BackupFault::from).and_then(|()| growth.as_ref().map_or(Ok(()), Growth::check));
        copy::copy(source, &database, progress, &goes_on)?;
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
        self.await_told(head.size)?;
        let signed = self.sign_backup(head.size, head.root, None)?;
        let of = Of { ledger: self.id(), origin: &origin, schema, at_millis: at.0 };
        let description = Description::new(&of, &signed, parts);
        let bytes = description.database().map_or(0, |part| part.bytes);
        let unencodable = |error: serde_json::Error| BackupFault::Unsignable(error.to_string());
        // Nobody vouches for a database that is not sound.
        sound::check(&database, &description, &signed)?;
        let (text, line) = description.encode().map_err(unencodable)?;
        write(&directory.join(DESCRIPTION), &text)?;
        let note = self.sign_backup(head.size, head.root, Some(line))?.note;
        write(&directory.join(SIGNED), note.to_string().as_bytes())?;
        sync(directory).map_err(failed(directory))?;
        // As whoever restores it will.
        let (read, signed) = Description::read(directory, &[self.verifier_key()])?;
        read.check_files(directory)?;
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
        receiver.recv().map_err(|_| BackupFault::Ledger(LedgerError::Stopped))?
    }

    /// The writer tells of a batch right after its COMMIT, and the copy may have come in between.
    fn await_told(&self, size: u64) -> Result<(), BackupFault> {
        let began = Instant::now();
        while self.head().size < size && began.elapsed() < TOLD_WAIT_MAX {
            self.check()?;
            thread::sleep(TOLD_EVERY);
        }
        Ok(())
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

/// Removes what an earlier run has not finished: one process at a time has the ledger, whose name is in the suffix.
fn remove_unfinished(directory: &Path, suffix: &str) -> Result<u64, BackupFault> {
    let mut removed = 0;
    for found in fs::read_dir(directory).map_err(failed(directory))? {
        let found = found.map_err(failed(directory))?;
        let is_unfinished = |name: &str| name.starts_with('.') && name.ends_with(suffix);
        if found.file_name().to_str().is_some_and(is_unfinished) {
            let is_directory = found.file_type().map_err(failed(&found.path()))?.is_dir();
            let remove = if is_directory { fs::remove_dir_all } else { fs::remove_file };
            remove(found.path()).map_err(failed(&found.path()))?;
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
