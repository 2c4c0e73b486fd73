//! The published directory from the database alone, at any time while no daemon has it open.

use std::path::PathBuf;

use rusqlite::Connection;

use crate::{
    Ledger, LedgerConfig, LogKeys, OpenError, PublishError,
    open::{self, Checked},
    origin,
    publish::{
        self,
        files::Files,
        tree::{OPENINGS, Tree},
    },
    schema,
    signing::{Signed, sign},
};

/// The directory of hash tiles and bundles.
const TILES: &str = "tile";

/// What rebuilding a directory found and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// Entries that its checkpoint signs.
    pub size: u64,
    /// Files that were right.
    pub right: u64,
    /// Files that were missing or held something else.
    pub written: u64,
    /// Files that did not belong there.
    pub removed: u64,
}

/// Why a directory is not rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The database cannot be opened, or does not continue what was published.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Files cannot be written, or the database is not complete.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The database fails.
    #[error("the database cannot be read: {0}")]
    Sql(#[from] rusqlite::Error),
    /// The configured keys are not those of the log.
    #[error(
        "the log does not say yet that these keys sign it; hint: start the daemon once, which logs the change, or configure the keys \
         from before"
    )]
    KeysChanged,
    /// The checkpoint cannot be signed.
    #[error("no checkpoint can be signed: {0}")]
    Unsigned(String),
    /// Another log is there.
    #[error("`{}` is the directory of another log; hint: name one of its own for the closed log", .directory.display())]
    Occupied {
        /// The directory.
        directory: PathBuf,
    },
    /// There is no such log.
    #[error("the database has no closed log `{origin}`; hint: the log that goes on is rebuilt without --origin")]
    NoSuchOrigin {
        /// Its name.
        origin: String,
    },
}

impl Ledger {
    /// Makes the published directory what the database says: writes what is missing or damaged, and removes what is left of
    /// earlier sizes. Nothing is logged, but that an operator accepted a missing checkpoint, which the next start logs.
    ///
    /// # Errors
    /// See [`RebuildError`]. Files may have been written.
    pub fn rebuild(config: &LedgerConfig, keys: impl Into<LogKeys>) -> Result<Rebuilt, RebuildError> {
        let keys = keys.into();
        let Checked { lock: _lock, connection, frontier, head, origin, key_change, .. } =
            open::open_existing(config, &keys)?;
        if key_change.is_some() {
            return Err(RebuildError::KeysChanged);
        }
        if head.size == 0 {
            return Ok(Rebuilt { size: 0, right: 0, written: 0, removed: 0 });
        }
        let signed = sign(&keys, frontier.size(), frontier.root()).map_err(RebuildError::Unsigned)?;
        let rebuilt = repair(&connection, config.publish.clone(), origin, &signed)?;
        // From here on it is missed where it is missing.
        schema::record_published(&connection, rebuilt.size)?;
        Ok(rebuilt)
    }

    /// Makes a directory that of a log that was closed, with its last checkpoint.
    ///
    /// # Errors
    /// See [`RebuildError`].
    pub fn rebuild_closed(
        config: &LedgerConfig,
        keys: impl Into<LogKeys>,
        name: &str,
        directory: PathBuf,
    ) -> Result<Rebuilt, RebuildError> {
        let Checked { lock: _lock, connection, .. } = open::open_existing(config, &keys.into())?;
        let found = origin::last_checkpoint(&connection, name)?;
        let (origin, signed) = found.ok_or_else(|| RebuildError::NoSuchOrigin { origin: name.to_owned() })?;
        publish::is_free_for(name, &directory, &config.publish)
            .map_err(|taken| RebuildError::Occupied { directory: taken.directory })?;
        repair(&connection, directory, origin, &signed)
    }
}

/// Makes a directory that of a checkpoint.
fn repair(
    connection: &Connection,
    directory: PathBuf,
    origin: origin::Origin,
    signed: &Signed,
) -> Result<Rebuilt, RebuildError> {
    let files = Files::repairing(directory);
    Tree { connection, files: &files, origin }.publish(0, signed)?;
    let repair = files.finish_repair(&[TILES, OPENINGS])?;
    Ok(Rebuilt { size: signed.size, right: repair.right(), written: repair.written, removed: repair.removed })
}
