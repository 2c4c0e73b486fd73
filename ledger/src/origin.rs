//! The names under which the log is published, and the keys that sign it under each: what the log has said of them.
//!
//! There is one tree, whatever its name. A new origin goes on with the numbers of the one before, so that serial numbers,
//! request ids, and every entry that names another stay what they are.

use hallmark_tlog::tile::TILE_WIDTH;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::{
    LogKeys,
    schema::{signed, unsigned},
    signing::Signed,
};

/// Other keys sign the log. Each is a verifier key as text (C2SP `signed-note`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    /// Those that sign from here on, the log's own first.
    pub keys: Vec<String>,
    /// Those that did not sign before.
    pub added: Vec<String>,
    /// Those that sign no longer.
    pub removed: Vec<String>,
}

/// Where a log begins in the tree, under the name that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Index of its first entry; those before were published under another name.
    pub(crate) first_index: u64,
}

impl Origin {
    /// The first entry of its first bundle: published bundles begin here, hash tiles at the beginning of the tree.
    pub(crate) fn first_bundled(self) -> u64 {
        self.first_index / TILE_WIDTH * TILE_WIDTH
    }
}

/// The row of an origin.
#[derive(Clone, Debug)]
pub(crate) struct OriginRow {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) key: String,
    pub(crate) previous_key: Option<String>,
    pub(crate) first_index: u64,
    pub(crate) rolling: bool,
}

impl OriginRow {
    /// The current one; none in a new database.
    pub(crate) fn current(connection: &Connection) -> rusqlite::Result<Option<Self>> {
        let sql = "SELECT id, name, key, previous_key, first_index, rolling FROM origin ORDER BY id DESC LIMIT 1";
        connection.query_row(sql, [], Self::read).optional()
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            name: row.get(1)?,
            key: row.get(2)?,
            previous_key: row.get(3)?,
            first_index: unsigned(row.get(4)?),
            rolling: row.get(5)?,
        })
    }

    /// Names a new log after its key.
    pub(crate) fn begin(connection: &Connection, keys: &LogKeys) -> rusqlite::Result<Self> {
        let (name, key) = (keys.current.verifier().name().to_owned(), keys.current.verifier().to_string());
        let sql = "INSERT INTO origin (name, key, first_index) VALUES (?1, ?2, 0)";
        connection.execute(sql, params![name, key])?;
        let id = connection.last_insert_rowid();
        Ok(Self { id, name, key, previous_key: None, first_index: 0, rolling: false })
    }

    /// What the log does not say yet of the keys that are configured; none where it says all.
    pub(crate) fn key_change(&self, keys: &LogKeys) -> Option<KeyChange> {
        let before: Vec<String> = std::iter::once(&self.key).chain(&self.previous_key).cloned().collect();
        let keys: Vec<String> = keys.verifiers().iter().map(ToString::to_string).collect();
        let without = |these: &[String], those: &[String]| -> Vec<String> {
            these.iter().filter(|key| !those.contains(key)).cloned().collect()
        };
        let (added, removed) = (without(&keys, &before), without(&before, &keys));
        (keys != before).then_some(KeyChange { keys, added, removed })
    }

    /// Keeps what the log says from here on.
    pub(crate) fn change_keys(connection: &Connection, change: &KeyChange) -> rusqlite::Result<()> {
        let sql = "UPDATE origin SET key = ?1, previous_key = ?2 WHERE id = (SELECT max(id) FROM origin)";
        let mut keys = change.keys.iter();
        connection.prepare_cached(sql)?.execute(params![keys.next(), keys.next()]).map(drop)
    }

    /// Where it begins.
    pub(crate) fn origin(&self) -> Origin {
        Origin { first_index: self.first_index }
    }
}

/// Where an origin that was closed begins, and its last checkpoint; none if there is no such origin.
pub(crate) fn last_checkpoint(connection: &Connection, name: &str) -> rusqlite::Result<Option<(Origin, Signed)>> {
    let sql = "SELECT first_index, last_note FROM origin WHERE name = ?1 AND last_note IS NOT NULL";
    let read = |row: &Row<'_>| Ok((Origin { first_index: unsigned(row.get(0)?) }, row.get::<_, String>(1)?));
    let found = connection.query_row(sql, [name], read).optional()?;
    Ok(found.and_then(|(origin, note)| Some((origin, Signed::read(&note)?))))
}

/// Closes the current origin with its last checkpoint, and begins another.
pub(crate) fn succeed(
    connection: &Connection,
    current: &OriginRow,
    (last_size, last_note): (u64, &str),
    (name, key): (&str, &str),
) -> rusqlite::Result<()> {
    let sql = "UPDATE origin SET last_size = ?2, last_note = ?3 WHERE id = ?1";
    connection.execute(sql, params![current.id, signed(last_size), last_note])?;
    let sql = "INSERT INTO origin (name, key, first_index, rolling) VALUES (?1, ?2, ?3, 1)";
    connection.execute(sql, params![name, key, signed(last_size)]).map(drop)
}

/// Whether the log ever had this name.
pub(crate) fn was_used(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    connection.query_row("SELECT EXISTS (SELECT 1 FROM origin WHERE name = ?1)", [name], |row| row.get(0))
}

/// All of the roll-over is on the disk.
pub(crate) fn rolled(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("UPDATE origin SET rolling = 0", []).map(drop)
}
