//! A backup that is older than its log goes on as another log: what was issued after it is known to nobody here, and so every authority is stopped.

use hallmark_entry::Object;
use hallmark_tlog::frontier::Frontier;
use rusqlite::{Connection, params};

use super::{RestoreError, seen::Seen};
use crate::{
    AuthorityRecord, LedgerConfig, LogKeys, NextLog, UnixMillis,
    batch::{Batch, Fault},
    nodes::{self, StoredNodes},
    open,
    origin::{self, Origin, OriginRow},
    publish::{
        files::{Files, write_anchor},
        tree::Tree,
    },
    record::ORIGIN,
    schema::{self, signed as count},
    signing::{Signed, sign},
};

/// What the first entry says that was done.
const RESTORED: &str = "restored";

/// Who carries it on.
const BY: &str = "operator";

/// The database that is there, if it is this one, restored as this next log, with what is outside of it not done.
pub(super) fn begun(config: &LedgerConfig, next: &NextLog) -> Result<Option<Connection>, RestoreError> {
    if !config.database.exists() {
        return Ok(None);
    }
    // One that cannot be read is none that was restored.
    let read =
        schema::writer(&config.database).and_then(|connection| Ok((OriginRow::current(&connection)?, connection)));
    let Ok((Some(row), connection)) = read else { return Ok(None) };
    if !row.rolling || !is_restored(&connection, row.first_index)? {
        return Ok(None);
    }
    let wanted = next.key.verifier();
    if row.name == wanted.name() && row.key == wanted.to_string() {
        return Ok(Some(connection));
    }
    Err(RestoreError::OtherBegun { origin: row.name, key: row.key })
}

/// Whether the first entry under a name says that a backup was restored, and not that the log was carried on by who had all of it.
fn is_restored(connection: &Connection, first_index: u64) -> Result<bool, RestoreError> {
    let entry = nodes::entry(connection, first_index)?;
    let said = entry.and_then(|entry| serde_json::from_slice::<serde_json::Value>(&entry).ok());
    Ok(said.is_some_and(|said| said.get("action").is_some_and(|action| action == RESTORED)))
}

/// The first entry under the new name and a stop for each authority, in one transaction of the copy.
pub(super) fn begin(
    config: &LedgerConfig,
    connection: &Connection,
    signed: &Signed,
    seen: &Seen,
    next: &NextLog,
    at: UnixMillis,
) -> Result<(), RestoreError> {
    let (name, key) = (next.key.verifier().name(), next.key.verifier().to_string());
    if origin::was_used(connection, name)? {
        return Err(RestoreError::OriginUsed { origin: name.to_owned() });
    }
    let head = nodes::head(connection)?;
    let row = OriginRow::current(connection)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    let frontier = Frontier::rebuild(head.size, &StoredNodes(connection));
    let frontier = frontier.map_err(|error| RestoreError::Unsigned(error.to_string()))?;
    let at = head.last_entry_at.map_or(at, |last| last.max(at));
    let transaction = connection.unchecked_transaction()?;
    let mut batch = Batch::new(&transaction, &config.private, &frontier, None);
    let opened = Object::new()
        .text("action", RESTORED)
        .text("by", BY)
        .text("origin", name)
        .text("key", &key)
        .text("previous-origin", &row.name)
        .count("previous-size", head.size)
        .hex("previous-root", head.root.as_bytes());
    let opened = match seen.newest() {
        Some(seen) => opened.count("seen-size", seen.size()).hex("seen-root", seen.root().as_bytes()),
        None => opened,
    };
    batch.append(opened.into_entry(ORIGIN, at.0), at)?;
    for authority in AuthorityRecord::read(&transaction, None)? {
        stop(&mut batch, &authority.name, &row.name, at)?;
    }
    origin::succeed(&transaction, &row, (head.size, &signed.note.to_string()), (name, &key))?;
    batch.finish(0)?;
    transaction.commit()?;
    Ok(())
}

/// Stops an authority until an operator resumes it.
fn stop(batch: &mut Batch<'_>, authority: &str, log: &str, at: UnixMillis) -> Result<(), RestoreError> {
    let sentence =
        format!("a backup was restored that is older than the log `{log}`: what was issued after it is not known here");
    let logged = batch.alarm_of_restore(authority, &sentence, at).map_err(|fault| match fault {
        Fault::Sql(error) => RestoreError::Sql(error),
        Fault::Alone(error) => RestoreError::Unsigned(error.to_string()),
    })?;
    let sql = "UPDATE authority SET stopped_index = coalesce(stopped_index, ?2) WHERE name = ?1";
    batch.connection.prepare_cached(sql)?.execute(params![authority, count(logged.index)])?;
    Ok(())
}

/// Brings the new directory and the anchor to what the database says. Gives the authorities that are stopped.
pub(super) fn finish(
    config: &LedgerConfig,
    connection: &Connection,
    next: NextLog,
) -> Result<Vec<String>, RestoreError> {
    let head = nodes::head(connection)?;
    open::check_tree(config, connection, &head)?;
    let row = OriginRow::current(connection)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    let first = sign(&LogKeys::from(next.key), head.size, head.root).map_err(RestoreError::Unsigned)?;
    let files = Files::new(next.publish);
    Tree { connection, files: &files, origin: Origin { first_index: row.first_index } }.publish(0, &first)?;
    if let Some(anchor) = &config.anchor {
        write_anchor(anchor, first.note.to_string().as_bytes())?;
        schema::record_anchored(connection)?;
    }
    schema::record_published(connection, first.size)?;
    origin::rolled(connection)?;
    let mut stopped = connection.prepare("SELECT name FROM authority WHERE stopped_index IS NOT NULL ORDER BY name")?;
    Ok(stopped.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}
