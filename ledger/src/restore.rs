//! Putting a backup in the place of a database that is lost, while no daemon runs.
//!
//! Everything is looked at before anything is changed, and prepared beside its place: one rename puts it there. A backup that is older than
//! something that is known of its log is not the log any more: entries with other numbers would be told apart by nobody. It goes on under
//! another origin alone, as another log that says where it left the one before, with every authority stopped.

mod carried_on;
mod crls;
mod error;
mod place;
mod seen;

use std::path::{Path, PathBuf};

use hallmark_policy::key::PublicKey;
use hallmark_tlog::{note::VerifierKey, tile::CHECKPOINT_PATH};
use rusqlite::Connection;

pub use self::error::RestoreError;
use self::{crls::Crls, place::Beside, seen::Seen};
use crate::{
    Acceptance, Ledger, LedgerConfig, NextLog, UnixMillis,
    backup::{
        description::{DATABASE, Description},
        sound,
    },
    nodes, open,
    origin::OriginRow,
    publish::{
        self,
        files::{Files, write_anchor},
        tree::Tree,
    },
    schema,
    signing::Signed,
};

/// The cRLNumber of a CRL, if its signature verifies under that key: a ledger reads no X.509 structures.
pub type CrlNumber<'a> = &'a dyn Fn(&[u8], &PublicKey) -> Option<u64>;

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
    /// Whether it goes on as another log with entries of the one that was left which no published copy has that was seen.
    pub is_ahead: bool,
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
    pub fn restore(
        config: &LedgerConfig,
        wish: RestoreWish,
        crl_number: CrlNumber<'_>,
    ) -> Result<Restored, RestoreError> {
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
                // Which checkpoints others have is as it was; the anchor may be the next log's already.
                let seen = Seen::look_again(config, &connection, &wish, &description)?;
                let (most, is_ahead) = (seen.most(), seen.published() < Some(signed.size));
                let restored = finish_carried_on(config, &connection, &description, wish, crl_number)?;
                return Ok(Restored { seen: most, is_ahead, ..restored });
            }
        }
        if config.database.exists() && !wish.replace {
            let finished = finish_put(config, &description, &signed, &wish)?;
            return finished.ok_or_else(|| RestoreError::Exists { database: config.database.clone() });
        }
        let beside = Beside::copy(&config.database, &wish.from.join(DATABASE), &description)?;
        let restored = put(config, &beside, (&description, &signed), wish, crl_number);
        if restored.is_err() {
            beside.remove();
        }
        restored
    }
}

/// Checks the copy, prepares it, and puts it in place. What others see is written after the rename: before it, a checkpoint of the backup would
/// tell the next call that nothing newer was published.
fn put(
    config: &LedgerConfig,
    beside: &Beside,
    (description, signed): (&Description, &Signed),
    wish: RestoreWish,
    crl_number: CrlNumber<'_>,
) -> Result<Restored, RestoreError> {
    sound::check(beside.path(), description, signed)?;
    let mut connection = schema::writer(beside.path())?;
    let seen = Seen::look(config, &connection, &wish, description)?;
    let found = schema::version(&connection)?;
    if found < schema::SCHEMA_VERSION {
        schema::upgrade(&mut connection, found)?;
    }
    match &wish.next {
        None => is_the_newest(config, &connection, &wish.from, signed, &seen)?,
        Some(next) => {
            // What cannot be carried over is told while nothing is changed.
            look_for_crls(config, &connection, &wish.seen, next, crl_number)?;
            carried_on::begin(config, &connection, signed, &seen, next, wish.at)?;
        }
    }
    beside.close(connection)?;
    let set_aside = beside.put(&config.database, wish.at)?;
    let is_ahead = wish.next.is_some() && seen.published() < Some(signed.size);
    let connection = schema::writer(&config.database)?;
    let restored = match wish.next {
        None => {
            publish_as_it_was(config, &connection, signed)?;
            Restored::of(description, Vec::new())
        }
        Some(_) => finish_carried_on(config, &connection, description, wish, crl_number)?,
    };
    Ok(Restored { finished: false, seen: seen.most(), is_ahead, set_aside, ..restored })
}

/// That nothing has more entries than the backup; or an operator's word, where nothing can tell.
fn is_the_newest(
    config: &LedgerConfig,
    connection: &Connection,
    from: &Path,
    signed: &Signed,
    seen: &Seen,
) -> Result<(), RestoreError> {
    seen.is_not_newer(from, signed.size)?;
    if seen.is_vouched_for() { Ok(()) } else { accept_nothing_seen(config, connection, seen) }
}

/// What an earlier call left to do after the rename, if the database that is there is the backup and was not published yet.
fn finish_put(
    config: &LedgerConfig,
    description: &Description,
    signed: &Signed,
    wish: &RestoreWish,
) -> Result<Option<Restored>, RestoreError> {
    let is_there = |path: &Path| path.exists();
    let is_published = is_there(&config.publish.join(CHECKPOINT_PATH)) && config.anchor.as_deref().is_none_or(is_there);
    if is_published || signed.size == 0 || wish.next.is_some() {
        return Ok(None);
    }
    // One that cannot be read is none that was restored.
    let found = schema::reader(&config.database).and_then(|found| is_backup(&found, description, signed));
    if !found.unwrap_or(false) {
        return Ok(None);
    }
    let connection = schema::writer(&config.database)?;
    open::check_tree(config, &connection, &nodes::head(&connection)?)?;
    let seen = Seen::look(config, &connection, wish, description)?;
    is_the_newest(config, &connection, &wish.from, signed, &seen)?;
    publish_as_it_was(config, &connection, signed)?;
    Ok(Some(Restored { seen: seen.most(), ..Restored::of(description, Vec::new()) }))
}

/// Whether a database has the backup's log, neither more nor less.
fn is_backup(connection: &Connection, description: &Description, signed: &Signed) -> rusqlite::Result<bool> {
    if schema::version(connection)? != schema::SCHEMA_VERSION {
        return Ok(false);
    }
    let (head, row) = (nodes::head(connection)?, OriginRow::current(connection)?);
    let is_its_origin = |row: OriginRow| row.name == description.origin && !row.rolling;
    Ok(nodes::ledger(connection)? == description.ledger
        && (head.size, head.root) == (signed.size, signed.root)
        && row.is_some_and(is_its_origin))
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

/// An operator says that nothing newer was seen by anybody: the next start logs that. It takes that word also where the backup knows of nothing
/// that was published, for what was published after it is what matters.
fn accept_nothing_seen(config: &LedgerConfig, connection: &Connection, seen: &Seen) -> Result<(), RestoreError> {
    if !config.accept_missing_checkpoint {
        return Err(if seen.is_silent_in_place() {
            RestoreError::Unreadable { database: config.database.clone() }
        } else {
            RestoreError::NothingSeen { publish: config.publish.clone() }
        });
    }
    Acceptance::MissingCheckpoint.remember(connection)?;
    let anchored = connection.query_row("SELECT anchored FROM head", [], |row| row.get(0))?;
    if anchored && config.anchor.as_ref().is_some_and(|anchor| !anchor.exists()) {
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
    crl_number: CrlNumber<'_>,
) -> Result<Restored, RestoreError> {
    let Some(next) = wish.next else { return Err(RestoreError::Exists { database: config.database.clone() }) };
    look_for_crls(config, connection, &wish.seen, &next, crl_number)?.write(&next.publish)?;
    Ok(Restored::of(description, carried_on::finish(config, connection, next)?))
}

/// The newest CRLs that stand anywhere: those of the next log are numbered after them.
fn look_for_crls(
    config: &LedgerConfig,
    connection: &Connection,
    seen: &[PathBuf],
    next: &NextLog,
    crl_number: CrlNumber<'_>,
) -> Result<Crls, RestoreError> {
    let own = [&next.publish, &config.publish].into_iter();
    let published: Vec<&Path> = own.chain(seen).map(PathBuf::as_path).collect();
    Crls::look(connection, &published, crl_number)
}

impl Restored {
    /// What a call did that finished what another had begun.
    fn of(description: &Description, stopped: Vec<String>) -> Self {
        Self {
            size: description.size,
            backup_at: UnixMillis(description.time),
            seen: None,
            is_ahead: false,
            set_aside: None,
            stopped,
            finished: true,
        }
    }
}
