//! What operators find leaf certificates by: for the serial number, the key and each name of a leaf, a digest and the index of its decision.
//!
//! A digest falls anywhere in a sorted table, and whoever writes 8 bytes into a page writes all 4,096. So what is new stands in the log's order,
//! a row a leaf, in `found_new`, and is sorted into `found_by` some thirty thousand digests at a time, a part with each batch: then each page that is written
//! gets many. What stands in both meanwhile is found once.
//!
//! A stretch of which everything has ended for long is forgotten as a whole (`stretch.rs`).

mod sorting;
mod stretch;

use std::{collections::BTreeMap, ops::ControlFlow};

use hallmark_entry::sha256;
use hallmark_policy::{Facts, content::Serial, key::SpkiDigest, name::NameKind, time::UnixTime};
use rusqlite::{Connection, params};

use crate::schema::signed;

pub(crate) use sorting::Sorting;
pub(crate) use stretch::forget_ended;

/// The sorted table is in stretches of so many entries (log2), each sorted for itself: what is sorted in falls on the pages of the last one, however
/// long the log is.
const STRETCH_BITS: u32 = 16;

/// Stretches that one search looks through at most. Each is a walk down the tree of the table: all are about a hundredth of a second, or some tenths where
/// the pages are on the disk.
const STRETCHES_MAX: usize = 1_024;

/// Bytes of a digest.
const DIGEST_BYTES: usize = 8;

/// Kinds of names, which may stand before one.
pub(crate) const KINDS: [NameKind; 5] =
    [NameKind::CommonName, NameKind::Dns, NameKind::Uri, NameKind::Ip, NameKind::Email];

/// What a certificate is found by. Where two things have the same digest, their entries tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest(i64);

impl Digest {
    /// Of a serial number.
    pub(crate) fn of_serial(serial: &[u8]) -> Self {
        Self::of(b"serial:", serial)
    }

    /// Of a key.
    pub(crate) fn of_key(key: SpkiDigest) -> Self {
        Self::of(b"spki:", key.as_bytes())
    }

    /// Of a name, with its kind or without.
    pub(crate) fn of_name(name: &str) -> Self {
        Self::of(b"name:", bare(name).as_bytes())
    }

    fn of(what: &[u8], value: &[u8]) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = sha256(&[what, value].concat());
        Self(i64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }
}

/// A name without its kind.
fn bare(name: &str) -> &str {
    let with_kind = name.split_once(':').filter(|(kind, _)| KINDS.iter().any(|known| known.short() == *kind));
    with_kind.map_or(name, |(_, bare)| bare)
}

/// What a batch has added.
#[derive(Debug, Default)]
pub(crate) struct Added {
    digests: usize,
    /// The latest end of what was added to each stretch, in seconds.
    ends: BTreeMap<i64, i64>,
}

impl Added {
    /// Lets a leaf be found by its serial number, its key and its names.
    pub(crate) fn index(
        &mut self,
        connection: &Connection,
        facts: &Facts,
        serial: Serial,
        not_after: UnixTime,
        log_index: u64,
    ) -> rusqlite::Result<()> {
        let names = facts.names.iter().map(|name| Digest::of_name(name));
        let digests = names.chain(facts.spki.map(Digest::of_key)).chain([Digest::of_serial(serial.as_bytes())]);
        let bytes: Vec<u8> = digests.flat_map(|digest| digest.0.to_be_bytes()).collect();
        let log_index = signed(log_index);
        let sql = "INSERT INTO found_new (log_index, digests) VALUES (?1, ?2)";
        connection.prepare_cached(sql)?.execute(params![log_index, bytes])?;
        self.digests += bytes.len() / DIGEST_BYTES;
        let end = self.ends.entry(log_index >> STRETCH_BITS).or_insert(i64::MIN);
        *end = not_after.secs().max(*end);
        Ok(())
    }

    /// How many digests.
    pub(crate) fn digests(&self) -> usize {
        self.digests
    }
}

/// Shows the decisions of leaves with that digest before an index, newest first, until enough was seen. Gives before which index to go on where so many
/// stretches were looked through that the rest is for another search.
pub(crate) fn each(
    connection: &Connection,
    digest: Digest,
    before: i64,
    mut see: impl FnMut(i64) -> rusqlite::Result<ControlFlow<()>>,
) -> rusqlite::Result<Option<i64>> {
    let mut sorted_before = before;
    let mut statement = connection.prepare_cached(NEW)?;
    let mut rows = statement.query([before])?;
    while let Some(row) = rows.next()? {
        // What was sorted in already stands here, too, and so all that stands in the other table alone is before what stands here.
        sorted_before = row.get(0)?;
        let is_there = digests(row.get_ref(1)?.as_blob()?).any(|other| other == digest);
        if is_there && see(sorted_before)?.is_break() {
            return Ok(None);
        }
    }
    let mut backwards = connection.prepare_cached(stretch::BACKWARDS)?;
    let mut stretches = backwards.query([sorted_before >> STRETCH_BITS])?;
    let mut statement = connection.prepare_cached(SORTED)?;
    let mut looked = 0;
    while let Some(row) = stretches.next()? {
        let stretch: i64 = row.get(0)?;
        if looked == STRETCHES_MAX {
            return Ok(Some((stretch + 1) << STRETCH_BITS));
        }
        looked += 1;
        let mut rows = statement.query(params![stretch, digest.0, sorted_before])?;
        while let Some(row) = rows.next()? {
            if see(row.get(0)?)?.is_break() {
                return Ok(None);
            }
        }
    }
    Ok(None)
}

const NEW: &str = "SELECT log_index, digests FROM found_new WHERE log_index < ?1 ORDER BY log_index DESC";

const SORTED: &str =
    "SELECT log_index FROM found_by WHERE stretch = ?1 AND digest = ?2 AND log_index < ?3 ORDER BY log_index DESC";

fn digests(bytes: &[u8]) -> impl Iterator<Item = Digest> {
    let (digests, _) = bytes.as_chunks::<DIGEST_BYTES>();
    digests.iter().map(|digest| Digest(i64::from_be_bytes(*digest)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::schema::{self, plan};

    /// When what these tests index ends, in seconds.
    pub(super) const END: i64 = 1_800_000_000;

    pub(super) fn database() -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::create(&mut connection).unwrap();
        connection
    }

    pub(super) fn named(name: &str) -> Facts {
        Facts { names: vec![format!("dns:{name}")], ..Facts::default() }
    }

    pub(super) fn found(connection: &Connection, name: &str, before: i64) -> Vec<i64> {
        let (found, next) = page(connection, name, before);
        assert_eq!(next, None);
        found
    }

    fn page(connection: &Connection, name: &str, before: i64) -> (Vec<i64>, Option<i64>) {
        let mut found = Vec::new();
        let see = |log_index| {
            found.push(log_index);
            Ok(ControlFlow::Continue(()))
        };
        let next = each(connection, Digest::of_name(name), before, see).unwrap();
        (found, next)
    }

    /// What is new is sorted in, as if there were more of it.
    pub(super) fn sort_in(connection: &Connection) {
        sorting::sort_all_in(connection);
    }

    /// Indexes a leaf as a batch of its own does. Gives how many digests it has.
    pub(super) fn index(connection: &Connection, facts: &Facts, serial: Serial, log_index: u64) -> usize {
        let mut added = Added::default();
        added.index(connection, facts, serial, UnixTime::from_secs(END), log_index).unwrap();
        added.ends.iter().for_each(|(stretch, end)| stretch::keep_end(connection, *stretch, *end).unwrap());
        added.digests
    }

    pub(super) fn rows(connection: &Connection, table: &str) -> usize {
        let count: i64 = connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        usize::try_from(count).unwrap()
    }

    #[test]
    fn every_search_goes_along_an_index_and_sorts_nothing() {
        let connection = database();
        assert_eq!(plan(&connection, NEW, 1), ["SEARCH found_new USING INTEGER PRIMARY KEY (rowid<?)"]);
        let sorted = "SEARCH found_by USING PRIMARY KEY (stretch=? AND digest=? AND log_index<?)";
        assert_eq!(plan(&connection, SORTED, 3), [sorted]);
        let stretches = "SEARCH found_stretch USING INTEGER PRIMARY KEY (rowid<?)";
        assert_eq!(plan(&connection, stretch::BACKWARDS, 1), [stretches]);
    }

    #[test]
    fn what_lies_in_several_stretches_is_found_newest_first_and_from_wherever_a_page_ended() {
        for is_sorted in [false, true] {
            let connection = database();
            for log_index in [3, 65_535, 65_536, 70_000, 400_000] {
                index(&connection, &named("a.example"), Serial::from_random([7; 16]), log_index);
                index(&connection, &named("b.example"), Serial::from_random([8; 16]), log_index + 2);
            }
            if is_sorted {
                sort_in(&connection);
            }
            assert_eq!(found(&connection, "a.example", i64::MAX), [400_000, 70_000, 65_536, 65_535, 3]);
            assert_eq!(found(&connection, "a.example", 65_536), [65_535, 3]);
            assert!(found(&connection, "a.example", 3).is_empty());
        }
    }

    #[test]
    fn a_search_ends_when_enough_was_seen() {
        let connection = database();
        for log_index in 0..10 {
            index(&connection, &named("a.example"), Serial::from_random([7; 16]), log_index);
        }
        let mut seen = Vec::new();
        each(&connection, Digest::of_name("a.example"), i64::MAX, |log_index| {
            seen.push(log_index);
            Ok(if seen.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
        .unwrap();
        assert_eq!(seen, [9, 8, 7]);
    }

    #[test]
    fn a_search_looks_through_a_bounded_number_of_stretches_and_says_where_to_go_on() {
        let connection = database();
        let many = STRETCHES_MAX as u64 + 10;
        // Every tenth stretch is there, as where others were forgotten.
        for stretch in 0..many {
            let name = if stretch == 3 { "rare.example" } else { "a.example" };
            index(&connection, &named(name), Serial::from_random([7; 16]), (stretch * 10) << STRETCH_BITS);
        }
        sort_in(&connection);
        let (found, next) = page(&connection, "rare.example", i64::MAX);
        assert_eq!((found, next), (vec![], Some((90 << STRETCH_BITS) + (1 << STRETCH_BITS))));
        assert_eq!(page(&connection, "rare.example", next.unwrap()), (vec![30 << STRETCH_BITS], None));
        let (newest, next) = page(&connection, "a.example", i64::MAX);
        let (oldest, end) = page(&connection, "a.example", next.unwrap());
        assert_eq!((newest.len(), oldest.len(), end), (STRETCHES_MAX, 9, None));
    }

    #[test]
    fn names_are_found_with_their_kind_and_without() {
        for (name, found) in
            [("dns:a.example", "a.example"), ("uri:spiffe://a/b", "spiffe://a/b"), ("spiffe://a/b", "spiffe://a/b")]
        {
            assert_eq!(bare(name), found);
        }
    }
}
