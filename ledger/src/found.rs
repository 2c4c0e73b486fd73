//! What operators find leaf certificates by: for the serial number, the key and each name of a leaf, a digest and the index of its decision.
//!
//! A digest falls anywhere in a sorted table, and whoever writes 8 bytes into a page writes all 4,096. So what is new stands in the log's order,
//! a row a batch, in `found_new`, and is sorted into `found_by` some thirty thousand digests at a time, a part with each batch: then each page that is written
//! gets many. What stands in both meanwhile is found once. A search reads all that is new (`new.rs`): up to three quarters of a megabyte, and more only while the disk has no
//! room to sort it in.
//!
//! A stretch of which everything has ended for long is forgotten as a whole (`stretch.rs`).

mod new;
mod sorting;
mod stretch;

use std::ops::ControlFlow;

use hallmark_entry::sha256;
use hallmark_policy::{key::SpkiDigest, name::NameKind};
use rusqlite::{Connection, params};

use new::New;
pub(crate) use new::{Added, upgrade};
pub(crate) use sorting::Sorting;
pub(crate) use stretch::forget_ended;

/// Stretches that one search looks through at most. Each is a walk down the tree of the table: all are about a hundredth of a second, or some tenths where
/// the pages are on the disk.
const STRETCHES_MAX: usize = 1_024;

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

/// Shows the decisions of leaves with that digest before an index, newest first, until enough was seen. Gives before which index to go on where so many
/// stretches were looked through that the rest is for another search.
pub(crate) fn each(
    connection: &Connection,
    digest: Digest,
    before: i64,
    mut see: impl FnMut(i64) -> rusqlite::Result<ControlFlow<()>>,
) -> rusqlite::Result<Option<i64>> {
    // What was sorted in already stands here, too, and so all that stands in the other table alone is before the first that stands here.
    let mut sorted_before = before;
    let mut last = None;
    let mut statement = connection.prepare_cached(NEW)?;
    let mut rows = statement.query([before])?;
    while let Some(row) = rows.next()? {
        for new in New::of_row(row.get_ref(0)?.as_blob()?).rev().filter(|new| new.log_index < before) {
            sorted_before = new.log_index;
            // A leaf that has a name twice is one.
            let is_next = new.digest == digest && last.replace(new.log_index) != Some(new.log_index);
            if is_next && see(new.log_index)?.is_break() {
                return Ok(None);
            }
        }
    }
    let mut backwards = connection.prepare_cached(stretch::BACKWARDS)?;
    let mut stretches = backwards.query([sorted_before.saturating_sub(1) >> stretch::NUMBER_BITS])?;
    let mut statement = connection.prepare_cached(SORTED)?;
    let (mut looked, mut begin) = (0, sorted_before);
    while let Some(row) = stretches.next()? {
        let stretch: i64 = row.get(0)?;
        if looked == STRETCHES_MAX {
            return Ok(Some(begin));
        }
        (looked, begin) = (looked + 1, stretch << stretch::NUMBER_BITS);
        let mut rows = statement.query(params![stretch, digest.0, sorted_before])?;
        while let Some(row) = rows.next()? {
            if see(row.get(0)?)?.is_break() {
                return Ok(None);
            }
        }
    }
    Ok(None)
}

/// A row begins with its leaf that was decided first, by which it is found.
const NEW: &str = "SELECT digests FROM found_new WHERE log_index < ?1 ORDER BY log_index DESC";

const SORTED: &str =
    "SELECT log_index FROM found_by WHERE stretch = ?1 AND digest = ?2 AND log_index < ?3 ORDER BY log_index DESC";

#[cfg(test)]
pub(super) mod tests {
    use hallmark_policy::{Facts, content::Serial, time::UnixTime};

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
        added.index(facts, serial, UnixTime::from_secs(END), log_index);
        added.write(connection).unwrap();
        added.digests()
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
            for log_index in [3, 131_071, 131_072, 140_000, 800_000] {
                index(&connection, &named("a.example"), Serial::from_random([7; 16]), log_index);
                index(&connection, &named("b.example"), Serial::from_random([8; 16]), log_index + 2);
            }
            if is_sorted {
                sort_in(&connection);
            }
            assert_eq!(found(&connection, "a.example", i64::MAX), [800_000, 140_000, 131_072, 131_071, 3]);
            assert_eq!(found(&connection, "a.example", 131_072), [131_071, 3]);
            assert!(found(&connection, "a.example", 3).is_empty());
        }
    }

    /// A database of schema 13 has stretches of 65,536 entries, and the newest of them get no more.
    #[test]
    fn what_lies_in_older_smaller_stretches_is_found_newest_first_too() {
        let connection = database();
        for log_index in [3, 65_536, 131_072, 200_000, 300_000] {
            index(&connection, &named("a.example"), Serial::from_random([7; 16]), log_index);
        }
        sort_in(&connection);
        let sql = "UPDATE found_by SET stretch = log_index >> 16 WHERE log_index < 262144; \
                   INSERT INTO found_stretch SELECT stretch + 1, latest_end FROM found_stretch WHERE stretch < 4";
        connection.execute_batch(sql).unwrap();
        let all = [300_000, 200_000, 131_072, 65_536, 3];
        for (from, before) in [i64::MAX, 300_000, 200_000, 131_072, 65_536, 3].into_iter().enumerate() {
            assert_eq!(found(&connection, "a.example", before), all[from..]);
        }
    }

    #[test]
    fn of_a_batch_each_leaf_is_found_once_and_from_wherever_a_page_ended() {
        let connection = database();
        let mut batch = Added::default();
        let twice = Facts { names: vec!["cn:a.example".to_owned(), "dns:a.example".to_owned()], ..Facts::default() };
        for log_index in [7, 131_071, 131_072, 131_075] {
            batch.index(&twice, Serial::from_random([7; 16]), UnixTime::from_secs(END), log_index);
            batch.index(&named("b.example"), Serial::from_random([7; 16]), UnixTime::from_secs(END), log_index + 1);
        }
        batch.write(&connection).unwrap();
        assert_eq!(rows(&connection, "found_new"), 1);
        let all = [131_075, 131_072, 131_071, 7];
        for is_sorted in [false, true] {
            for (from, before) in [i64::MAX, 131_075, 131_072, 131_071, 7].into_iter().enumerate() {
                assert_eq!(found(&connection, "a.example", before), all[from..], "sorted: {is_sorted}");
            }
            sort_in(&connection);
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
            index(&connection, &named(name), Serial::from_random([7; 16]), (stretch * 10) << stretch::NUMBER_BITS);
        }
        sort_in(&connection);
        let (found, next) = page(&connection, "rare.example", i64::MAX);
        assert_eq!((found, next), (vec![], Some(100 << stretch::NUMBER_BITS)));
        assert_eq!(page(&connection, "rare.example", next.unwrap()), (vec![30 << stretch::NUMBER_BITS], None));
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
