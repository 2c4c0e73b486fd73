//! Carrying the log on under another origin, while no daemon runs: the last entry under the old name, the first under the new one, and
//! both directories.
//!
//! There is one tree. The new log has the numbers and the hashes of the old one, and bundles from its own first entry on: so every
//! receipt, sequence number and entry that names another stays true, and the old log's last checkpoint is provably its beginning.

use std::path::PathBuf;

use hallmark_entry::{Object, Summary};
use hallmark_tlog::{
    frontier::Frontier,
    note::{SignerKey, VerifierKey},
    tile::CHECKPOINT_PATH,
};
use rusqlite::Connection;

use crate::{
    Ledger, LedgerConfig, LogKeys, OpenError, PublishError, UnixMillis,
    batch::Batch,
    config::Head,
    nodes,
    open::{self, check_published, check_tree},
    origin::{self, Origin, OriginRow},
    publish::{
        self,
        files::{Files, write_anchor},
        tree::Tree,
    },
    record::{ORIGIN, STOP},
    schema,
    signing::sign,
};

/// Who carries a log on.
const BY: &str = "operator";

/// The log that goes on.
#[derive(Debug)]
pub struct NextLog {
    /// Its key, which names it.
    pub key: SignerKey,
    /// Where it is published: another directory than that of the log before.
    pub publish: PathBuf,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rolled {
    /// Entries of the log that was closed.
    pub closed_size: u64,
    /// First entry whose bundle the new log publishes.
    pub first_bundled: u64,
}

/// Why a log is not carried on under another origin.
#[derive(Debug, thiserror::Error)]
pub enum RollError {
    /// The database cannot be opened, or does not continue what was published.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Files cannot be written, or the database is not complete.
    #[error("{0}; hint: the log has its new name, and the same command finishes it")]
    Publish(#[from] PublishError),
    /// The database fails.
    #[error("the database failed, and nothing was changed: {0}")]
    Sql(#[from] rusqlite::Error),
    /// The keys are being changed.
    #[error(
        "the log's key is being changed; hint: take `previous-key` away and start the daemon once, so that the old log ends with one key"
    )]
    KeysChanging,
    /// The last run did not stop cleanly, or there was none.
    #[error("the log does not end with a clean stop; hint: start the daemon once, and stop it with SIGTERM")]
    Unclean,
    /// The name was used.
    #[error("the log was published as `{origin}` before; hint: give it a name that it never had")]
    OriginUsed {
        /// The name.
        origin: String,
    },
    /// There is another log.
    #[error("`{}` has a checkpoint; hint: name a directory of its own for the new log", .directory.display())]
    Occupied {
        /// The directory.
        directory: PathBuf,
    },
    /// It is carried over to another name already.
    #[error(
        "the log is being carried over to `{origin}` with the key `{key}`; hint: finish that with the same command first"
    )]
    OtherRoll {
        /// The new name.
        origin: String,
        /// The new key.
        key: String,
    },
    /// A checkpoint cannot be signed.
    #[error("no checkpoint can be signed: {0}")]
    Unsigned(String),
}

impl Ledger {
    /// Closes the log, and begins the next one with the configured database. What was interrupted is finished by the same call.
    ///
    /// # Errors
    /// See [`RollError`].
    pub fn roll(
        config: &LedgerConfig,
        keys: impl Into<LogKeys>,
        next: NextLog,
        at: UnixMillis,
    ) -> Result<Rolled, RollError> {
        let keys = keys.into();
        let sql = |source| OpenError::Sql { database: config.database.clone(), source };
        let _lock = open::lock_existing(&config.database)?;
        let connection = open::connect(config)?;
        let head = nodes::head(&connection).map_err(sql)?;
        let frontier = check_tree(config, &connection, &head)?;
        let row = OriginRow::current(&connection).map_err(sql)?.ok_or(RollError::Unclean)?;
        let both: Vec<VerifierKey> = keys.verifiers().into_iter().chain([next.key.verifier().clone()]).collect();
        let published = check_published(config, &connection, &head, &both)?;
        // Also where it goes on with what was interrupted: the directory may be another than then.
        publish::is_free_for(next.key.verifier().name(), &next.publish, &config.publish)
            .map_err(|taken| RollError::Occupied { directory: taken.directory })?;
        // The same command again, after it was done and nothing came since, says the same again.
        let is_done = row.name == next.key.verifier().name() && row.name != keys.current.verifier().name();
        if row.rolling || is_done {
            is_the_same(&row, &next)?;
        } else {
            can_begin(config, &connection, (&row, &head), &keys, &next)?;
            turn(config, &connection, &row, (&head, &frontier), (&keys, &next), at)?;
        }
        finish(config, &connection, keys.current.verifier().name(), next, published)
    }
}

/// Whether what was begun is what is wanted.
fn is_the_same(row: &OriginRow, next: &NextLog) -> Result<(), RollError> {
    let wanted = next.key.verifier();
    if row.name == wanted.name() && row.key == wanted.to_string() {
        return Ok(());
    }
    Err(RollError::OtherRoll { origin: row.name.clone(), key: row.key.clone() })
}

/// Whether the log can be closed, and the next one begun.
fn can_begin(
    config: &LedgerConfig,
    connection: &Connection,
    (row, head): (&OriginRow, &Head),
    keys: &LogKeys,
    next: &NextLog,
) -> Result<(), RollError> {
    let configured = keys.current.verifier().name();
    if row.name != configured {
        let (database, found) = (config.database.clone(), row.name.clone());
        return Err(OpenError::OtherOrigin { database, found, configured: configured.to_owned() }.into());
    }
    if keys.previous.is_some() || row.key_change(keys).is_some() {
        return Err(RollError::KeysChanging);
    }
    let last = head.size.checked_sub(1).map(|index| nodes::entry(connection, index)).transpose()?.flatten();
    if !last.is_some_and(|entry| Summary::parse(&entry).is_ok_and(|entry| entry.kind == STOP)) {
        return Err(RollError::Unclean);
    }
    let origin = next.key.verifier().name();
    if origin::was_used(connection, origin)? {
        return Err(RollError::OriginUsed { origin: origin.to_owned() });
    }
    if next.publish.join(CHECKPOINT_PATH).exists() {
        return Err(RollError::Occupied { directory: next.publish.clone() });
    }
    Ok(())
}

/// The last entry of the one and the first of the other, with all that goes with them, in one transaction.
fn turn(
    config: &LedgerConfig,
    connection: &Connection,
    row: &OriginRow,
    (head, frontier): (&Head, &Frontier),
    (keys, next): (&LogKeys, &NextLog),
    at: UnixMillis,
) -> Result<(), RollError> {
    let at = head.last_entry_at.map_or(at, |last| last.max(at));
    let (name, key) = (next.key.verifier().name(), next.key.verifier().to_string());
    // It is rolled back where it is dropped.
    let transaction = connection.unchecked_transaction()?;
    let mut batch = Batch::new(&transaction, &config.private, frontier, None);
    let closed = Object::new()
        .text("action", "closed")
        .text("by", BY)
        .text("origin", &row.name)
        .count("size", head.size + 1)
        .text("next-origin", name)
        .text("next-key", &key);
    batch.append(closed.into_entry(ORIGIN, at.0), at)?;
    let last = sign(keys, batch.frontier.size(), batch.frontier.root()).map_err(RollError::Unsigned)?;
    let opened = Object::new()
        .text("action", "opened")
        .text("by", BY)
        .text("origin", name)
        .text("key", &key)
        .text("previous-origin", &row.name)
        .count("previous-size", last.size)
        .hex("previous-root", last.root.as_bytes());
    batch.append(opened.into_entry(ORIGIN, at.0), at)?;
    origin::succeed(&transaction, row, (last.size, &last.note.to_string()), (name, &key))?;
    batch.finish(0)?;
    transaction.commit()?;
    Ok(())
}

/// Brings both directories and the anchor to what the database says.
fn finish(
    config: &LedgerConfig,
    connection: &Connection,
    closed: &str,
    next: NextLog,
    published: u64,
) -> Result<Rolled, RollError> {
    let (database, found) = (config.database.clone(), next.key.verifier().name().to_owned());
    let other = || OpenError::OtherOrigin { database, found, configured: closed.to_owned() };
    let (of_closed, last) = origin::last_checkpoint(connection, closed)?.ok_or_else(other)?;
    let files = Files::new(config.publish.clone());
    Tree { connection, files: &files, origin: of_closed }.publish(published.min(last.size), &last)?;
    let head = nodes::head(connection)?;
    let keys = LogKeys::from(next.key);
    let first = sign(&keys, head.size, head.root).map_err(RollError::Unsigned)?;
    let (of_next, files) = (Origin { first_index: last.size }, Files::new(next.publish));
    Tree { connection, files: &files, origin: of_next }.publish(0, &first)?;
    if let Some(anchor) = &config.anchor {
        write_anchor(anchor, first.note.to_string().as_bytes())?;
        schema::record_anchored(connection)?;
    }
    schema::record_published(connection, first.size)?;
    origin::rolled(connection)?;
    Ok(Rolled { closed_size: last.size, first_bundled: of_next.first_bundled() })
}
