//! A copy beside the place of the database, and the rename that puts it there.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rusqlite::Connection;

use super::RestoreError;
use crate::{
    BackupFault, UnixMillis,
    backup::{
        description::{self, Description},
        failed,
    },
    schema,
};

/// What is behind the database's name until the copy takes its place, and behind that of one that was put aside.
const BESIDE: &str = ".restoring";
const ASIDE: &str = ".before-restore-";

/// What SQLite may have beside a database: a copy must not meet what another one left.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

const FILE_MODE: u32 = 0o600;

/// The copy.
pub(super) struct Beside(PathBuf);

impl Beside {
    /// Copies the backup's database, which must be what it was when the backup was signed.
    pub(super) fn copy(database: &Path, from: &Path, description: &Description) -> Result<Self, RestoreError> {
        let this = Self(with_suffix(database, BESIDE));
        if this.0.exists() {
            tracing::warn!(path = %this.0.display(), "an earlier restore was interrupted before it changed anything; it begins anew");
        }
        // Also what a copy had beside it that is gone itself: SQLite would take it for this one's.
        this.remove();
        let copied = this.fill(from, description);
        if copied.is_err() {
            this.remove();
        }
        copied.map(|()| this).map_err(RestoreError::from)
    }

    fn fill(&self, from: &Path, description: &Description) -> Result<(), BackupFault> {
        let wrong = |what| BackupFault::File { path: from.to_owned(), what };
        let part = description.database().ok_or_else(|| wrong("the backup does not name it"))?;
        // A longer one is not it, however long it is.
        let mut source = File::open(from).map_err(failed(from))?.take(part.bytes.saturating_add(1));
        let new = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&self.0);
        let mut copy = new.map_err(failed(&self.0))?;
        let found = description::hash(&mut source, &mut copy).map_err(failed(&self.0))?;
        copy.sync_all().map_err(failed(&self.0))?;
        part.agrees_with(&found).map_err(wrong)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Brings all of the copy into its one file.
    pub(super) fn close(&self, connection: Connection) -> Result<(), RestoreError> {
        connection.pragma_update_and_check(None, "journal_mode", "delete", |row| row.get::<_, String>(0))?;
        connection.close().map_err(|(_, error)| error)?;
        File::open(&self.0).and_then(|file| file.sync_all()).map_err(failed(&self.0))?;
        Ok(())
    }

    /// Puts it in place of the database. Gives where the one is that was there.
    pub(super) fn put(&self, database: &Path, at: UnixMillis) -> Result<Option<PathBuf>, RestoreError> {
        let aside = database.exists().then(|| with_suffix(database, &format!("{ASIDE}{}", at.0)));
        if let Some(aside) = &aside {
            settle(database)?;
            // Its name stays until the rename, so that there is always one of the two.
            fs::hard_link(database, aside).map_err(failed(aside))?;
            companions(database).try_for_each(|(path, suffix)| move_aside(&path, &with_suffix(aside, suffix)))?;
        } else {
            companions(database).try_for_each(|(path, suffix)| {
                move_aside(&path, &with_suffix(database, &format!("{ASIDE}{}{suffix}", at.0)))
            })?;
        }
        fs::rename(&self.0, database).map_err(failed(database))?;
        let directory = database.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or_else(|| Path::new("."));
        File::open(directory).and_then(|file| file.sync_all()).map_err(failed(directory))?;
        Ok(aside)
    }

    /// Takes it away. What cannot be removed is in nobody's way: the next call makes it anew.
    pub(super) fn remove(&self) {
        for path in [self.0.clone()].into_iter().chain(companions(&self.0).map(|(path, _)| path)) {
            drop(fs::remove_file(path));
        }
    }
}

/// Moves what a database has in its write-ahead log into its file, if it can be opened at all.
fn settle(database: &Path) -> Result<(), RestoreError> {
    let moved = schema::writer(database).and_then(|connection| {
        let is_busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0))?;
        connection.close().map_err(|(_, error)| error)?;
        Ok(is_busy)
    });
    match moved {
        Ok(true) => return Err(RestoreError::Read { database: database.to_owned() }),
        Ok(false) => {}
        Err(error) => {
            tracing::warn!(%error, "the database that is there cannot be opened; it is put aside as it is");
        }
    }
    Ok(())
}

fn companions(database: &Path) -> impl Iterator<Item = (PathBuf, &'static str)> {
    COMPANIONS.map(|suffix| (with_suffix(database, suffix), suffix)).into_iter()
}

/// Moves a file, if it is there.
fn move_aside(from: &Path, to: &Path) -> Result<(), BackupFault> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(from)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(suffix);
    PathBuf::from(name)
}
