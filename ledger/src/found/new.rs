//! What is not sorted in yet: a row for each batch, by its first leaf, with 16 bytes for each digest.

use std::collections::BTreeMap;

use hallmark_policy::{Facts, content::Serial, time::UnixTime};
use rusqlite::{Connection, params};

use super::{Digest, stretch};
use crate::schema::signed;

/// Bytes of a digest and of the index of its decision.
pub(super) const NEW_BYTES: usize = 16;

/// What a batch has added.
#[derive(Debug, Default)]
pub(crate) struct Added {
    /// As they are kept.
    new: Vec<u8>,
    /// The latest end of what was added to each stretch, in seconds.
    ends: BTreeMap<i64, i64>,
}

impl Added {
    /// Lets a leaf be found by its serial number, its key and its names, once the batch is written.
    pub(crate) fn index(&mut self, facts: &Facts, serial: Serial, not_after: UnixTime, log_index: u64) {
        let names = facts.names.iter().map(|name| Digest::of_name(name));
        let digests = names.chain(facts.spki.map(Digest::of_key)).chain([Digest::of_serial(serial.as_bytes())]);
        let log_index = signed(log_index);
        self.new.extend(digests.flat_map(|digest| New { digest, log_index }.to_bytes()));
        let end = self.ends.entry(stretch::of(log_index)).or_insert(i64::MIN);
        *end = not_after.secs().max(*end);
    }

    /// How many digests.
    pub(crate) fn digests(&self) -> usize {
        self.new.len() / NEW_BYTES
    }

    /// Writes them, and when what they belong to ends.
    pub(crate) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        if let Some(first) = New::of_row(&self.new).next() {
            let sql = "INSERT INTO found_new (log_index, digests) VALUES (?1, ?2)";
            connection.prepare_cached(sql)?.execute(params![first.log_index, self.new])?;
        }
        self.ends.iter().try_for_each(|(stretch, end)| stretch::keep_end(connection, *stretch, *end))
    }
}

/// A digest that is not sorted in yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct New {
    pub(super) digest: Digest,
    /// Index of its decision.
    pub(super) log_index: i64,
}

impl New {
    fn to_bytes(self) -> impl Iterator<Item = u8> {
        self.digest.0.to_be_bytes().into_iter().chain(self.log_index.to_be_bytes())
    }

    fn read([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]: [u8; NEW_BYTES]) -> Self {
        let digest = Digest(i64::from_be_bytes([a, b, c, d, e, f, g, h]));
        Self { digest, log_index: i64::from_be_bytes([i, j, k, l, m, n, o, p]) }
    }

    /// Those of a row, in the log's order.
    pub(super) fn of_row(bytes: &[u8]) -> impl DoubleEndedIterator<Item = Self> {
        let (each, _) = bytes.as_chunks::<NEW_BYTES>();
        each.iter().map(|bytes| Self::read(*bytes))
    }
}

/// Writes as it is now what a database of schema 13 or older has: a row for each leaf, with nothing but digests.
pub(crate) fn upgrade(connection: &Connection) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("SELECT log_index, digests FROM found_new")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let rows: Vec<(i64, Vec<u8>)> = rows.collect::<Result<_, _>>()?;
    let mut statement = connection.prepare("UPDATE found_new SET digests = ?2 WHERE log_index = ?1")?;
    for (log_index, digests) in rows {
        let (digests, _) = digests.as_chunks();
        let digests = digests.iter().map(|digest| Digest(i64::from_be_bytes(*digest)));
        let new: Vec<u8> = digests.flat_map(|digest| New { digest, log_index }.to_bytes()).collect();
        statement.execute(params![log_index, new])?;
    }
    Ok(())
}
