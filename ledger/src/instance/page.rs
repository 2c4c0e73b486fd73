//! Records, as operators see them.

use hallmark_policy::{content::Serial, instance::InstanceName, key::SpkiDigest, time::UnixTime};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::{UnixMillis, schema::unsigned};

/// A record of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceRecord {
    /// Which.
    pub name: InstanceName,
    /// Index of the decision that registered it.
    pub registered_index: u64,
    /// When.
    pub registered_at: UnixMillis,
    /// When it moved last.
    pub moved_at: UnixMillis,
    /// How often it moved.
    pub moves: u64,
    /// End of what lives longest among its certificates.
    pub not_after: UnixTime,
    /// Its certificate.
    pub current: (SpkiDigest, Vec<u8>, u64),
    /// The one before.
    pub previous: Option<(SpkiDigest, Vec<u8>, u64)>,
    /// Whether the one retry with another key was used.
    pub retried: bool,
    /// When it was revoked, and the entry.
    pub revoked: Option<(UnixMillis, u64)>,
}

impl InstanceRecord {
    /// The serial number of its certificate.
    #[must_use]
    pub fn serial(&self) -> Option<Serial> {
        Serial::from_stored(&self.current.1)
    }
}

/// Which records are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InstanceState {
    /// All.
    #[default]
    Any,
    /// Not revoked, and with a certificate that has not ended.
    Alive,
    /// Revoked.
    Revoked,
    /// Not revoked, and without a certificate that has not ended.
    Ended,
}

/// Which records to list: those behind `after` in the order of providers and ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstanceFilter {
    /// Of this provider; empty for all.
    pub provider: String,
    /// Of this service; empty for all.
    pub service: String,
    /// In this state.
    pub state: InstanceState,
    /// Provider and id of the last record that was seen.
    pub after: (String, String),
    /// Most records.
    pub most: u32,
}

const COLUMNS: &str = "provider, name, service, id, registered_at, moved_at, moves, not_after, spki_sha256, serial, \
                       log_index, previous_spki_sha256, previous_serial, previous_index, retried, revoked_at, revoked_index";

/// Records of an authority, in the order of providers and ids.
pub(crate) fn page(
    connection: &Connection,
    authority: &str,
    filter: &InstanceFilter,
    at: UnixMillis,
) -> rusqlite::Result<Vec<InstanceRecord>> {
    let state = match filter.state {
        InstanceState::Any => "?6 = ?6",
        InstanceState::Alive => "revoked_at IS NULL AND not_after > ?6",
        InstanceState::Revoked => "revoked_at IS NOT NULL AND ?6 = ?6",
        InstanceState::Ended => "revoked_at IS NULL AND not_after <= ?6",
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM instance WHERE authority = ?1 AND (provider, name) > (?2, ?3) \
         AND (?4 = '' OR provider = ?4) AND (?5 = '' OR service = ?5) AND {state} ORDER BY provider, name LIMIT ?7"
    );
    let (provider, name) = &filter.after;
    let now = at.0.div_euclid(1_000);
    let values = params![authority, provider, name, filter.provider, filter.service, now, filter.most];
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_map(values, read)?.collect()
}

/// One record.
pub(crate) fn show(
    connection: &Connection,
    authority: &str,
    provider: &str,
    id: &str,
) -> rusqlite::Result<Option<InstanceRecord>> {
    let sql = format!("SELECT {COLUMNS} FROM instance WHERE authority = ?1 AND provider = ?2 AND name = ?3");
    connection.prepare_cached(&sql)?.query_row([authority, provider, id], read).optional()
}

fn read(row: &Row<'_>) -> rusqlite::Result<InstanceRecord> {
    let spki = |at: usize| -> rusqlite::Result<Option<SpkiDigest>> {
        Ok(row.get::<_, Option<[u8; 32]>>(at)?.map(SpkiDigest::from_bytes))
    };
    let unreadable = || rusqlite::Error::InvalidColumnName("instance.spki_sha256".to_owned());
    let previous = match (spki(11)?, row.get::<_, Option<Vec<u8>>>(12)?, row.get::<_, Option<i64>>(13)?) {
        (Some(spki), Some(serial), Some(index)) => Some((spki, serial, unsigned(index))),
        _ => None,
    };
    let revoked = match (row.get::<_, Option<i64>>(15)?, row.get::<_, Option<i64>>(16)?) {
        (Some(at), Some(index)) => Some((UnixMillis(at), unsigned(index))),
        _ => None,
    };
    Ok(InstanceRecord {
        name: InstanceName { provider: row.get(0)?, id: row.get(1)?, service: row.get(2)? },
        registered_index: unsigned(row.get(3)?),
        registered_at: UnixMillis(row.get(4)?),
        moved_at: UnixMillis(row.get(5)?),
        moves: unsigned(row.get(6)?),
        not_after: UnixTime::from_secs(row.get(7)?),
        current: (spki(8)?.ok_or_else(unreadable)?, row.get(9)?, unsigned(row.get(10)?)),
        previous,
        retried: row.get(14)?,
        revoked,
    })
}
