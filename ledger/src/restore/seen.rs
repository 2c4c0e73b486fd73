//! What is known of a log beside the backup: a checkpoint that it published, its copy on another volume, one that an operator brings, and the
//! database that is there.

use std::{
    fs,
    path::{Path, PathBuf},
};

use hallmark_tlog::{
    checkpoint::Checkpoint,
    frontier::Frontier,
    note::{Note, VerifierKey},
    tile::CHECKPOINT_PATH,
};
use rusqlite::Connection;

use super::{RestoreError, RestoreWish};
use crate::{
    LedgerConfig, OpenError,
    backup::description::Description,
    nodes::{self, StoredNodes},
    schema,
};

/// All that is known.
pub(super) struct Seen {
    checkpoints: Vec<(PathBuf, Checkpoint)>,
    /// Entries of the database that is there, if it can be read and is of the same ledger.
    in_place: Option<u64>,
}

impl Seen {
    /// Looks everywhere. What was signed under this log's key must be what the backup has, as far as it goes.
    pub(super) fn look(
        config: &LedgerConfig,
        backup: &Connection,
        wish: &RestoreWish,
        description: &Description,
    ) -> Result<Self, RestoreError> {
        let own = [Some(config.publish.join(CHECKPOINT_PATH)), config.anchor.clone()];
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
        Ok(Self { checkpoints, in_place: in_place(&config.database, &description.ledger) })
    }

    /// Most entries that are known.
    pub(super) fn most(&self) -> Option<u64> {
        self.checkpoints.iter().map(|(_, found)| found.size()).chain(self.in_place).max()
    }

    /// The newest checkpoint.
    pub(super) fn newest(&self) -> Option<&Checkpoint> {
        self.checkpoints.iter().map(|(_, found)| found).max_by_key(|found| found.size())
    }

    /// Whether something was published that can be compared with.
    pub(super) fn is_vouched_for(&self) -> bool {
        !self.checkpoints.is_empty()
    }

    /// That nothing has more entries than the backup.
    pub(super) fn is_not_newer(&self, from: &Path, size: u64) -> Result<(), RestoreError> {
        let of_files = self.checkpoints.iter().map(|(path, found)| (found.size(), format!("`{}`", path.display())));
        let in_place = self.in_place.map(|entries| (entries, "the database that is there".to_owned()));
        match of_files.chain(in_place).find(|(seen, _)| *seen > size) {
            Some((seen, by)) => Err(RestoreError::Older { from: from.to_owned(), size, seen, by }),
            None => Ok(()),
        }
    }
}

/// A checkpoint of this log, if the file is there.
fn read(path: &Path, verifiers: &[VerifierKey]) -> Result<Option<Checkpoint>, RestoreError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
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

/// How many entries the database has that is there. One that is damaged, or another ledger's, says nothing.
fn in_place(database: &Path, ledger: &str) -> Option<u64> {
    if !database.exists() {
        return None;
    }
    let read = || -> rusqlite::Result<Option<u64>> {
        let connection = schema::reader(database)?;
        let id: [u8; 8] = connection.query_row("SELECT ledger_id FROM head", [], |row| row.get(0))?;
        let head = nodes::head(&connection)?;
        Ok((hallmark_policy::hex(&id) == ledger).then_some(head.size))
    };
    read().unwrap_or_else(|error| {
        tracing::warn!(%error, "the database that is there cannot be read, and says nothing of what it had");
        None
    })
}
