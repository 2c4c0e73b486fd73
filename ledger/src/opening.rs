//! Private values of entries: kept beside the commitments that stand in their place.

use std::{collections::BTreeMap, ops::Range};

use hallmark_entry::privacy::{Opening, SALT_BYTES};
use rusqlite::{Connection, params};

use crate::{batch::Batch, schema::signed};

impl Batch<'_> {
    /// The entry as it is logged: with commitments in the place of what is private, whose openings are kept.
    pub(crate) fn hide(&self, entry: Vec<u8>) -> rusqlite::Result<Vec<u8>> {
        let (entry, openings) = self.private.commit(entry, salt)?;
        let index = self.next_index();
        for opening in openings {
            let sql = "INSERT INTO opening (log_index, key, salt, value) VALUES (?1, ?2, ?3, ?4)";
            let values = params![signed(index), opening.key(), opening.salt(), opening.value()];
            self.connection.prepare_cached(sql)?.execute(values)?;
        }
        Ok(entry)
    }
}

/// The lines about the private values of these entries; empty if there are none.
pub(crate) fn lines(connection: &Connection, range: Range<u64>) -> rusqlite::Result<String> {
    let sql = "SELECT log_index, key, salt, value FROM opening WHERE log_index >= ?1 AND log_index < ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![signed(range.start), signed(range.end)])?;
    let mut lines: BTreeMap<(i64, String), String> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (index, key, salt, value): (i64, String, [u8; SALT_BYTES], String) =
            (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        let line = Opening::new(key.clone(), salt, value).to_line(crate::schema::unsigned(index));
        lines.insert((index, key), line);
    }
    Ok(lines.into_values().collect())
}

fn salt() -> rusqlite::Result<[u8; SALT_BYTES]> {
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.to_string().into()))?;
    Ok(salt)
}
