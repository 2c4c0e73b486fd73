//! Records, as operators see them.

use std::cmp::Ordering;

use hallmark_policy::{content::Serial, instance::InstanceName, key::SpkiDigest, time::UnixTime};
use rusqlite::{Connection, OptionalExtension as _, Row, params_from_iter};

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
    pub most: usize,
}

/// A part of what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstancePage {
    /// The records.
    pub instances: Vec<InstanceRecord>,
    /// Behind whom to go on, by provider and id; none at the end.
    pub next: Option<(String, String)>,
}

/// Rows that one page reads at most: some tens of milliseconds.
const ROWS_MAX: usize = 20_000;

const COLUMNS: &str = "provider, name, service, id, registered_at, moved_at, moves, not_after, spki_sha256, serial, \
                       log_index, previous_spki_sha256, previous_serial, previous_index, retried, revoked_at, revoked_index";

/// One page of records of an authority, in the order of providers and ids. It reads so many rows at most, whatever is looked for.
pub(crate) fn page(
    connection: &Connection,
    authority: &str,
    filter: &InstanceFilter,
    at: UnixMillis,
) -> rusqlite::Result<InstancePage> {
    let mut page = InstancePage::default();
    let Some((sql, values)) = source(authority, filter) else { return Ok(page) };
    let mut statement = connection.prepare_cached(&sql)?;
    let now = UnixTime::from_secs(at.0.div_euclid(1_000));
    let mut last = None;
    for (read_rows, record) in statement.query_map(params_from_iter(values), read)?.enumerate() {
        // Somebody is behind the last one that was looked at.
        if page.instances.len() >= filter.most || read_rows >= ROWS_MAX {
            page.next = last;
            return Ok(page);
        }
        let record = record?;
        last = Some((record.name.provider.clone(), record.name.id.clone()));
        if fits(filter, &record, now) {
            page.instances.push(record);
        }
    }
    Ok(page)
}

/// The rows that can be meant, in their order, by an index alone; none where all of them are before the page.
fn source(authority: &str, filter: &InstanceFilter) -> Option<(String, Vec<String>)> {
    let (index, revoked) = match filter.state {
        InstanceState::Revoked => ("instance_revoked", " AND revoked_at IS NOT NULL"),
        InstanceState::Any | InstanceState::Alive | InstanceState::Ended => ("instance_name", ""),
    };
    let (provider, name) = &filter.after;
    let select = format!("SELECT {COLUMNS} FROM instance INDEXED BY {index} WHERE authority = ?1{revoked}");
    if filter.provider.is_empty() {
        let sql = format!("{select} AND (provider, name) > (?2, ?3) ORDER BY provider, name");
        return Some((sql, vec![authority.to_owned(), provider.clone(), name.clone()]));
    }
    let after = match provider.cmp(&filter.provider) {
        Ordering::Less => "",
        Ordering::Equal => name,
        Ordering::Greater => return None,
    };
    let sql = format!("{select} AND provider = ?2 AND name > ?3 ORDER BY name");
    Some((sql, vec![authority.to_owned(), filter.provider.clone(), after.to_owned()]))
}

fn fits(filter: &InstanceFilter, record: &InstanceRecord, now: UnixTime) -> bool {
    let state = match filter.state {
        InstanceState::Any => true,
        InstanceState::Alive => record.revoked.is_none() && record.not_after > now,
        InstanceState::Revoked => record.revoked.is_some(),
        InstanceState::Ended => record.revoked.is_none() && record.not_after <= now,
    };
    state && (filter.service.is_empty() || record.name.service == filter.service)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{self, plan};

    const AUTHORITY: &str = "a";

    fn database(count: usize) -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::create(&mut connection).unwrap();
        connection.execute("INSERT INTO issuer (id, spki_sha256, issued) VALUES (1, x'00', 0)", []).unwrap();
        let sql = "INSERT INTO instance (authority, provider, name, service, registered_at, moved_at, not_after, issuer, serial, \
                   spki_sha256, log_index, current_group, revoked_at, revoked_index) \
                   SELECT 'a', 'p' || (value / 30000), printf('i-%06d', value), 's' || (value % 7), 0, 0, 100, 1, x'01', zeroblob(32), 0, 0, \
                   iif(value % 10000 = 9999, 5, NULL), iif(value % 10000 = 9999, 6, NULL) FROM generate_series(1, ?1)";
        let sql = sql.replace("generate_series(1, ?1)", "(WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < ?1) SELECT value FROM n)");
        connection.execute(&sql, [count as i64]).unwrap();
        connection
    }

    fn filters() -> Vec<InstanceFilter> {
        let states = [InstanceState::Any, InstanceState::Alive, InstanceState::Revoked, InstanceState::Ended];
        let mut filters = Vec::new();
        for state in states {
            for provider in ["", "p1"] {
                for service in ["", "s3"] {
                    let (provider, service) = (provider.to_owned(), service.to_owned());
                    filters.push(InstanceFilter { provider, service, state, most: 50, ..InstanceFilter::default() });
                }
            }
        }
        filters
    }

    #[test]
    fn every_page_goes_along_an_index_and_sorts_nothing() {
        let connection = database(10);
        for filter in filters() {
            let (sql, values) = source(AUTHORITY, &filter).unwrap();
            let plan = plan(&connection, &sql, values.len());
            assert!(plan.iter().all(|step| step.starts_with("SEARCH instance USING INDEX instance_")), "{plan:?}");
        }
    }

    #[test]
    fn pages_read_a_bounded_number_of_rows_and_find_everything_together() {
        let connection = database(70_000);
        for filter in filters() {
            let (mut found, mut pages, mut filter) = (Vec::new(), 0, InstanceFilter { most: 1_000, ..filter });
            loop {
                let page = page(&connection, AUTHORITY, &filter, UnixMillis(50_000)).unwrap();
                assert!(page.instances.len() <= 1_000);
                found.extend(page.instances.into_iter().map(|record| record.name));
                pages += 1;
                let Some(next) = page.next else { break };
                filter.after = next;
            }
            let condition = match filter.state {
                InstanceState::Any => "1",
                InstanceState::Alive => "revoked_at IS NULL",
                InstanceState::Revoked => "revoked_at IS NOT NULL",
                InstanceState::Ended => "0",
            };
            let sql = format!(
                "SELECT count(*) FROM instance WHERE {condition} AND (?1 = '' OR provider = ?1) AND (?2 = '' OR service = ?2)"
            );
            let count: i64 = connection.query_row(&sql, [&filter.provider, &filter.service], |row| row.get(0)).unwrap();
            assert_eq!(found.len() as i64, count, "{filter:?}");
            assert!(found.is_sorted(), "{filter:?}");
            let is_searched = filter.state == InstanceState::Ended;
            assert_eq!(pages >= 2, is_searched || found.len() > 1_000, "{filter:?}: {pages}");
        }
    }
}
