//! Putting a backup in the place of a database that is lost, while no daemon runs.
//!
//! Everything is looked at before anything is changed, and prepared beside its place: one rename puts it there. A backup that is older than
//! something that is known of its log is not the log any more: entries with other numbers would be told apart by nobody. It goes on under
//! another origin alone, as another log that says where it left the one before, with every authority stopped.

mod carried_on;
mod error;
mod place;
mod seen;

use std::{
    fs,
    path::{Path, PathBuf},
};

use hallmark_tlog::{note::VerifierKey, tile::CHECKPOINT_PATH};
use rusqlite::Connection;

pub use self::error::RestoreError;
use self::{place::Beside, seen::Seen};
use crate::{
    Acceptance, Ledger, LedgerConfig, NextLog, OpenError, UnixMillis,
    backup::{
        description::{DATABASE, Description},
        sound,
    },
    open,
    origin::OriginRow,
    publish::{
        self,
        files::{Files, write_anchor},
        tree::Tree,
    },
    schema,
    signing::Signed,
};

/// Where CRLs stand in a published log.
const CRLS: &str = "crl";

/// What is wanted.
#[derive(Debug)]
pub struct RestoreWish {
    /// The backup's directory.
    pub from: PathBuf,
    /// What the log's key is verified with: the current one, and one before it where both sign.
    pub verifiers: Vec<VerifierKey>,
    /// Name of the log, as configured.
    pub origin: String,
    /// Whether a database that is there is put aside.
    pub replace: bool,
    /// Newer than everything here may be what somebody else has seen of the log: files with checkpoints, or directories of published copies.
    pub seen: Vec<PathBuf>,
    /// The log as which it goes on, where it is older than what was seen.
    pub next: Option<NextLog>,
    /// When.
    pub at: UnixMillis,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Entries of the log in the backup.
    pub size: u64,
    /// When the backup was made.
    pub backup_at: UnixMillis,
    /// Most entries that are known to have been in the log; none where nothing told.
    pub seen: Option<u64>,
    /// Where the database went that was there.
    pub set_aside: Option<PathBuf>,
    /// Authorities that are stopped until an operator resumes them.
    pub stopped: Vec<String>,
    /// Whether an earlier call had come so far that only the rest was done.
    pub finished: bool,
}

impl Ledger {
    /// Puts a backup in the place of the configured database. What was interrupted before the rename has changed nothing; what was after it
    /// is finished by the same call.
    ///
    /// # Errors
    /// See [`RestoreError`].
    pub fn restore(config: &LedgerConfig, wish: RestoreWish) -> Result<Restored, RestoreError> {
        let (description, signed) = Description::read(&wish.from, &wish.verifiers)?;
        if description.origin != wish.origin {
            return Err(RestoreError::OtherLog { found: description.origin, configured: wish.origin });
        }
        description.check_files(&wish.from)?;
        let _locks = open::lock_both(config)?;
        if let Some(next) = &wish.next {
            publish::is_free_for(next.key.verifier().name(), &next.publish, &config.publish)
                .map_err(|taken| RestoreError::Occupied { directory: taken.directory })?;
            if next.key.verifier().name() == wish.origin {
                return Err(RestoreError::SameOrigin { origin: wish.origin });
            }
            if let Some(connection) = carried_on::begun(config, next)? {
                return finish_carried_on(config, &connection, &description, wish);
            }
        }
        if config.database.exists() && !wish.replace {
            return Err(RestoreError::Exists { database: config.database.clone() });
        }
        let beside = Beside::copy(&config.database, &wish.from.join(DATABASE), &description)?;
        let restored = put(config, &beside, &description, &signed, wish);
        if restored.is_err() {
            beside.remove();
        }
        restored
    }
}

/// Checks the copy, prepares it, and puts it in place.
fn put(
    config: &LedgerConfig,
    beside: &Beside,
    description: &Description,
    signed: &Signed,
    wish: RestoreWish,
) -> Result<Restored, RestoreError> {
    sound::check(beside.path(), description, signed)?;
    let mut connection = schema::writer(beside.path())?;
    let seen = Seen::look(config, &connection, &wish, description)?;
    let found = schema::version(&connection)?;
    if found < schema::SCHEMA_VERSION {
        schema::upgrade(&mut connection, found)?;
    }
    let mut restored = Restored {
        size: signed.size,
        backup_at: UnixMillis(description.time),
        seen: seen.most(),
        set_aside: None,
        stopped: Vec::new(),
        finished: false,
    };
    match &wish.next {
        None => {
            seen.is_not_newer(&wish.from, signed.size)?;
            if !seen.is_vouched_for() {
                accept_nothing_seen(config, &connection)?;
            }
            publish_as_it_was(config, &connection, signed)?;
        }
        Some(next) => carried_on::begin(config, &connection, signed, &seen, next, wish.at)?,
    }
    beside.close(connection)?;
    restored.set_aside = beside.put(&config.database, wish.at)?;
    match wish.next {
        None => Ok(restored),
        Some(_) => {
            let connection = schema::writer(&config.database)?;
            let finished = finish_carried_on(config, &connection, description, wish)?;
            Ok(Restored { finished: false, seen: restored.seen, set_aside: restored.set_aside, ..finished })
        }
    }
}

/// The published directory, where it has no checkpoint, and the anchor become what they were when the backup was made: so that a start
/// has them to compare with.
fn publish_as_it_was(config: &LedgerConfig, connection: &Connection, signed: &Signed) -> Result<(), RestoreError> {
    let row = OriginRow::current(connection)?;
    let Some(row) = row.filter(|_| signed.size > 0) else { return Ok(()) };
    if !config.publish.join(CHECKPOINT_PATH).exists() {
        let files = Files::new(config.publish.clone());
        Tree { connection, files: &files, origin: row.origin() }.publish(0, signed)?;
        schema::record_published(connection, signed.size)?;
    }
    if let Some(anchor) = config.anchor.as_ref().filter(|anchor| !anchor.exists()) {
        write_anchor(anchor, signed.note.to_string().as_bytes())?;
        schema::record_anchored(connection)?;
    }
    Ok(())
}

/// An operator says that nothing newer was seen by anybody: the next start logs that.
fn accept_nothing_seen(config: &LedgerConfig, connection: &Connection) -> Result<(), RestoreError> {
    let sql = "SELECT published > 0, anchored FROM head";
    let (published, anchored) =
        connection.query_row(sql, [], |row| Ok((row.get::<_, bool>(0)?, row.get::<_, bool>(1)?)))?;
    if published && !config.accept_missing_checkpoint {
        return Err(RestoreError::NothingSeen { publish: config.publish.clone() });
    }
    if published {
        Acceptance::MissingCheckpoint.remember(connection)?;
    }
    if anchored && config.anchor.is_some() {
        Acceptance::MissingAnchor.remember(connection)?;
    }
    Ok(())
}

/// What is outside of the database, once it is in its place; also by a later call.
fn finish_carried_on(
    config: &LedgerConfig,
    connection: &Connection,
    description: &Description,
    wish: RestoreWish,
) -> Result<Restored, RestoreError> {
    let Some(next) = wish.next else { return Err(RestoreError::Exists { database: config.database.clone() }) };
    let crls: Vec<_> = [&config.publish].into_iter().chain(&wish.seen).map(|path| path.join(CRLS)).collect();
    crls.iter().try_for_each(|from| copy_newer_crls(from, &next.publish.join(CRLS)))?;
    let stopped = carried_on::finish(config, connection, next)?;
    Ok(Restored {
        size: description.size,
        backup_at: UnixMillis(description.time),
        seen: None,
        set_aside: None,
        stopped,
        finished: true,
    })
}

/// CRLs that relying parties may have: the next ones are numbered after those that stand where they are published. Of two under one name, the later
/// written is the newer.
fn copy_newer_crls(from: &Path, to: &Path) -> Result<(), RestoreError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| RestoreError::from(OpenError::Io { path, source })
    };
    if !from.is_dir() {
        return Ok(());
    }
    for found in fs::read_dir(from).map_err(io(from))? {
        let found = found.map_err(io(from))?;
        let (path, place) = (found.path(), to.join(found.file_name()));
        if path.is_dir() {
            copy_newer_crls(&path, &place)?;
        } else if is_newer(&path, &place) {
            fs::create_dir_all(to).map_err(io(to))?;
            fs::copy(&path, &place).map_err(io(&place))?;
            let written = fs::metadata(&path).and_then(|found| found.modified());
            let file = fs::File::options().write(true).open(&place).map_err(io(&place))?;
            written.and_then(|at| file.set_modified(at)).and_then(|()| file.sync_all()).map_err(io(&place))?;
        }
    }
    Ok(())
}

fn is_newer(found: &Path, than: &Path) -> bool {
    let written = |path: &Path| fs::metadata(path).and_then(|found| found.modified()).ok();
    written(than).is_none_or(|there| written(found).is_some_and(|written| written > there))
}
