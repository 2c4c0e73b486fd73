//! The stored tree: nodes for proofs, entries for bundles, and the head.

use std::ops::Range;

use hallmark_tlog::{hash::Hash, proof::NodeSource};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::{
    UnixMillis,
    config::Head,
    schema::{signed, unsigned},
};

/// The nodes that a connection sees.
#[derive(Clone, Copy)]
pub(crate) struct StoredNodes<'a>(pub(crate) &'a Connection);

impl NodeSource for StoredNodes<'_> {
    type Error = rusqlite::Error;

    fn nodes(&self, level: u8, range: Range<u64>) -> Result<Vec<Hash>, Self::Error> {
        let (start, end) = (signed(range.start), signed(range.end));
        if level == 0 {
            let sql = "SELECT leaf FROM entry WHERE log_index >= ?1 AND log_index < ?2 ORDER BY log_index";
            self.0.prepare_cached(sql)?.query_map(params![start, end], hash)?.collect()
        } else {
            let sql = "SELECT hash FROM node WHERE level = ?1 AND node_index >= ?2 AND node_index < ?3 \
                       ORDER BY node_index";
            self.0.prepare_cached(sql)?.query_map(params![level, start, end], hash)?.collect()
        }
    }
}

/// The entries with the indexes `range`.
pub(crate) fn entries(connection: &Connection, range: Range<u64>) -> rusqlite::Result<Vec<Vec<u8>>> {
    let sql = "SELECT bytes FROM entry WHERE log_index >= ?1 AND log_index < ?2 ORDER BY log_index";
    let (start, end) = (signed(range.start), signed(range.end));
    connection.prepare_cached(sql)?.query_map(params![start, end], |row| row.get(0))?.collect()
}

/// The entry at `index`, if there is one.
pub(crate) fn entry(connection: &Connection, index: u64) -> rusqlite::Result<Option<Vec<u8>>> {
    let sql = "SELECT bytes FROM entry WHERE log_index = ?1";
    connection.prepare_cached(sql)?.query_row([signed(index)], |row| row.get(0)).optional()
}

/// The tree after the last batch, as that batch stored it.
pub(crate) fn head(connection: &Connection) -> rusqlite::Result<Head> {
    connection.query_row("SELECT root, size, at FROM head", [], |row| {
        Ok(Head {
            root: hash(row)?,
            size: unsigned(row.get(1)?),
            last_entry_at: row.get::<_, Option<_>>(2)?.map(UnixMillis),
        })
    })
}

/// The ledger's own name, hexadecimal.
pub(crate) fn ledger(connection: &Connection) -> rusqlite::Result<String> {
    let id: [u8; 8] = connection.query_row("SELECT ledger_id FROM head", [], |row| row.get(0))?;
    Ok(hallmark_policy::hex(&id))
}

fn hash(row: &Row<'_>) -> rusqlite::Result<Hash> {
    row.get(0).map(Hash::from_bytes)
}
