//! What is known of a log beside the backup: a checkpoint that it published, its copy on another volume, one that an operator brings, and the
//! database that is there.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use hallmark_tlog::{
    checkpoint::Checkpoint,
    frontier::Frontier,
    note::{NOTE_BYTES_MAX, Note, VerifierKey},
    tile::CHECKPOINT_PATH,
};
use rusqlite::Connection;

use super::{RestoreError, RestoreWish};
use crate::{
    LedgerConfig, OpenError,
    backup::description::{Description, is_of_backup},
    nodes::{self, StoredNodes},
    schema,
};

/// How the database is called in sentences.
const IN_PLACE: &str = "the database that is there";

/// All that is known.
pub(super) struct Seen {
    checkpoints: Vec<(PathBuf, Checkpoint)>,
    in_place: InPlace,
}

/// What the database says that is there.
enum InPlace {
    /// There is none, or it is another ledger's.
    Nothing,
    /// How many entries it has, whose beginning is the backup's.
    Entries(u64),
    /// It cannot be read: it may have had entries that nobody else has seen.
    Unreadable,
}

impl Seen {
    /// Looks everywhere. What was signed under this log's key must be what the backup has, as far as it goes.
    pub(super) fn look(
        config: &LedgerConfig,
        backup: &Connection,
        wish: &RestoreWish,
        description: &Description,
    ) -> Result<Self, RestoreError> {
        let checkpoints = Self::checkpoints(config, config.anchor.clone(), backup, wish, description)?;
        Ok(Self { checkpoints, in_place: InPlace::look(&config.database, backup, description)? })
    }

    /// The same once the backup is in place and has gone on as another log: of what was in its place before, and of the anchor, nothing is left.
    pub(super) fn look_again(
        config: &LedgerConfig,
        restored: &Connection,
        wish: &RestoreWish,
        description: &Description,
    ) -> Result<Self, RestoreError> {
        let checkpoints = Self::checkpoints(config, None, restored, wish, description)?;
        Ok(Self { checkpoints, in_place: InPlace::Nothing })
    }

    fn checkpoints(
        config: &LedgerConfig,
        anchor: Option<PathBuf>,
        backup: &Connection,
        wish: &RestoreWish,
        description: &Description,
    ) -> Result<Vec<(PathBuf, Checkpoint)>, RestoreError> {
        let own = [Some(config.publish.join(CHECKPOINT_PATH)), anchor];
        let mut checkpoints = Vec::new();
        for path in own.into_iter().flatten() {
            checkpoints.extend(read(&path, &wish.verifiers)?.map(|found| (path, found)));
        }
        for path in &wish.seen {
            let path = if path.is_dir() { path.join(CHECKPOINT_PATH) } else { path.clone() };
            let found =
                read(&path, &wish.verifiers)?.ok_or_else(|| RestoreError::NoCheckpoint { path: path.clone() })?;
            checkpoints.push((path, found));
        }
        for (path, found) in &checkpoints {
            agrees(backup, path, found, description.size)?;
        }
        Ok(checkpoints)
    }

    /// Most entries that are known.
    pub(super) fn most(&self) -> Option<u64> {
        self.checkpoints.iter().map(|(_, found)| found.size()).chain(self.in_place.entries()).max()
    }

    /// The newest checkpoint.
    pub(super) fn newest(&self) -> Option<&Checkpoint> {
        self.checkpoints.iter().map(|(_, found)| found).max_by_key(|found| found.size())
    }

    /// Most entries that were published, as far as is known.
    pub(super) fn published(&self) -> Option<u64> {
        let published = self.checkpoints.iter().map(|(_, found)| found).filter(|found| !is_of_backup(found));
        published.map(Checkpoint::size).max()
    }

    /// Whether something was published that can be compared with, and nothing may be newer than that. A backup does not vouch for itself, nor
    /// for another one.
    pub(super) fn is_vouched_for(&self) -> bool {
        !self.is_silent_in_place() && self.published().is_some()
    }

    /// Whether there is a database that says nothing of what it had.
    pub(super) fn is_silent_in_place(&self) -> bool {
        matches!(self.in_place, InPlace::Unreadable)
    }

    /// That nothing has more entries than the backup.
    pub(super) fn is_not_newer(&self, from: &Path, size: u64) -> Result<(), RestoreError> {
        let of_files = self.checkpoints.iter().map(|(path, found)| (found.size(), format!("`{}`", path.display())));
        let in_place = self.in_place.entries().map(|entries| (entries, IN_PLACE.to_owned()));
        match of_files.chain(in_place).find(|(seen, _)| *seen > size) {
            Some((seen, by)) => Err(RestoreError::Older { from: from.to_owned(), size, seen, by }),
            None => Ok(()),
        }
    }
}

/// A checkpoint of this log, if the file is there.
fn read(path: &Path, verifiers: &[VerifierKey]) -> Result<Option<Checkpoint>, RestoreError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(NOTE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes));
    let bytes = match read.map(|_| bytes) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(OpenError::Io { path: path.to_owned(), source }.into()),
    };
    let opened = Note::parse(&bytes).map_err(Into::into).and_then(|note| Checkpoint::open_note(&note, verifiers));
    let wrong = |source| OpenError::Checkpoint { checkpoint: path.to_owned(), source };
    Ok(Some(opened.map_err(wrong)?))
}

/// That a checkpoint within the backup has the backup's root. One beyond it can only be compared by who has its entries.
fn agrees(backup: &Connection, path: &Path, found: &Checkpoint, size: u64) -> Result<(), RestoreError> {
    if found.size() > size {
        return Ok(());
    }
    let then = Frontier::rebuild(found.size(), &StoredNodes(backup));
    let broken =
        |error: &dyn std::error::Error| OpenError::Broken { database: path.to_owned(), what: error.to_string() };
    if then.map_err(|error| broken(&error))?.root() == found.root() {
        return Ok(());
    }
    Err(RestoreError::Forked { by: format!("`{}`", path.display()), size: found.size() })
}

impl InPlace {
    fn look(database: &Path, backup: &Connection, description: &Description) -> Result<Self, RestoreError> {
        if !database.exists() {
            return Ok(Self::Nothing);
        }
        let common = || -> rusqlite::Result<Option<(u64, Common)>> {
            let connection = schema::reader(database)?;
            if nodes::ledger(&connection)? != description.ledger {
                return Ok(None);
            }
            let size = nodes::head(&connection)?.size;
            Ok(Some((size, Common::of(&connection, backup, size.min(description.size))?)))
        };
        match common() {
            Ok(None) => Ok(Self::Nothing),
            Ok(Some((size, Common::Alike))) => Ok(Self::Entries(size)),
            Ok(Some((_, Common::Other { size }))) => Err(RestoreError::Forked { by: IN_PLACE.to_owned(), size }),
            Ok(Some((_, Common::Unknown(what)))) => Ok(Self::unreadable(&what)),
            Err(error) => Ok(Self::unreadable(&error.to_string())),
        }
    }

    fn unreadable(what: &str) -> Self {
        tracing::warn!(what, "the database that is there cannot be read, and says nothing of what it had");
        Self::Unreadable
    }

    fn entries(&self) -> Option<u64> {
        match self {
            Self::Entries(entries) => Some(*entries),
            Self::Nothing | Self::Unreadable => None,
        }
    }
}

/// Whether two databases have the same entries, as far as both go.
enum Common {
    Alike,
    Other { size: u64 },
    Unknown(String),
}

impl Common {
    fn of(one: &Connection, other: &Connection, size: u64) -> rusqlite::Result<Self> {
        let root = |connection| Frontier::rebuild(size, &StoredNodes(connection)).map(|then| then.root());
        Ok(match (root(one), root(other)) {
            (Ok(one), Ok(other)) if one == other => Self::Alike,
            (Ok(_), Ok(_)) => Self::Other { size },
            (Err(error), _) | (_, Err(error)) => Self::Unknown(error.to_string()),
        })
    }
}
