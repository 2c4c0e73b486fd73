//! What operators find leaf certificates by: for the serial number, the key and each name of a leaf, a digest and the index of its decision.
//!
//! A digest falls anywhere in a sorted table, and whoever writes 8 bytes into a page writes all 4,096. So what is new stands in the log's order,
//! a row a leaf, in `found_new`, and is sorted into `found_by` some thirty thousand digests at a time, a part with each batch: then each page that is written
//! gets many. What stands in both meanwhile is found once.

use std::ops::ControlFlow;

use hallmark_entry::sha256;
use hallmark_policy::{Facts, content::Serial, key::SpkiDigest, name::NameKind};
use rusqlite::{Connection, params};

use crate::schema::signed;

/// The sorted table is in stretches of so many entries (log2), each sorted for itself: what is sorted in falls on the pages of the last one, however
/// long the log is.
const STRETCH_BITS: u32 = 16;

/// Digests from which on what is new is sorted in: each page of a stretch, of which there are about 1,500, gets some twenty.
const SORTED_TOGETHER: usize = 32_768;

/// Digests that one batch sorts in, and as many again as it adds twice over, so that sorting keeps up.
const SORTED_EACH: usize = 256;

/// Digests that one batch finds sorted in already, by an earlier life of the program, for each that it sorts in.
const PASSED_EACH: usize = 8;

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

/// Lets a leaf be found by its serial number, its key and its names. Gives how many digests these are.
pub(crate) fn index(connection: &Connection, facts: &Facts, serial: Serial, log_index: u64) -> rusqlite::Result<usize> {
    let names = facts.names.iter().map(|name| Digest::of_name(name));
    let digests = names.chain(facts.spki.map(Digest::of_key)).chain([Digest::of_serial(serial.as_bytes())]);
    let bytes: Vec<u8> = digests.flat_map(|digest| digest.0.to_be_bytes()).collect();
    let sql = "INSERT INTO found_new (log_index, digests) VALUES (?1, ?2)";
    connection.prepare_cached(sql)?.execute(params![signed(log_index), bytes])?;
    Ok(bytes.len() / DIGEST_BYTES)
}

/// Shows the decisions of leaves with that digest before an index, newest first, until enough was seen.
pub(crate) fn each(
    connection: &Connection,
    digest: Digest,
    before: i64,
    mut see: impl FnMut(i64) -> rusqlite::Result<ControlFlow<()>>,
) -> rusqlite::Result<()> {
    let mut sorted_before = before;
    let mut statement = connection.prepare_cached(NEW)?;
    let mut rows = statement.query([before])?;
    while let Some(row) = rows.next()? {
        // What was sorted in already stands here, too, and so all that stands in the other table alone is before what stands here.
        sorted_before = row.get(0)?;
        let is_there = digests(row.get_ref(1)?.as_blob()?).any(|other| other == digest);
        if is_there && see(sorted_before)?.is_break() {
            return Ok(());
        }
    }
    let newest: Option<i64> = connection.query_row("SELECT max(stretch) FROM found_by", [], |row| row.get(0))?;
    let newest = newest.unwrap_or(-1).min(sorted_before >> STRETCH_BITS);
    let mut statement = connection.prepare_cached(SORTED)?;
    for stretch in (0..=newest).rev() {
        let mut rows = statement.query(params![stretch, digest.0, sorted_before])?;
        while let Some(row) = rows.next()? {
            if see(row.get(0)?)?.is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

const NEW: &str = "SELECT log_index, digests FROM found_new WHERE log_index < ?1 ORDER BY log_index DESC";

const SORTED: &str =
    "SELECT log_index FROM found_by WHERE stretch = ?1 AND digest = ?2 AND log_index < ?3 ORDER BY log_index DESC";

fn digests(bytes: &[u8]) -> impl Iterator<Item = Digest> {
    let (digests, _) = bytes.as_chunks::<DIGEST_BYTES>();
    digests.iter().map(|digest| Digest(i64::from_be_bytes(*digest)))
}

/// How far what is new is sorted in. It can be forgotten at any time, as after a batch that was lost: then it is looked, and begun again.
#[derive(Debug, Default)]
pub(crate) struct Sorting {
    /// Digests in `found_new`; none if that is not known.
    new: Option<usize>,
    /// Those of them that are being sorted in.
    taken: Option<Taken>,
}

#[derive(Debug)]
struct Taken {
    /// Stretch, digest and index, in the order of the table.
    rows: Vec<(i64, i64, i64)>,
    /// How many of them are there.
    done: usize,
    /// The last index of them.
    through: i64,
}

impl Sorting {
    /// Sorts a part in, within a batch that has added so many; where there is no room on the disk, that waits.
    pub(crate) fn step(&mut self, connection: &Connection, added: usize, has_room: bool) -> rusqlite::Result<()> {
        let new = match self.new {
            Some(new) => new + added,
            None => count(connection)?,
        };
        self.new = Some(new);
        if !has_room {
            return Ok(());
        }
        if self.taken.is_none() && new >= SORTED_TOGETHER {
            self.taken = Some(Taken::take(connection)?);
        }
        let Some(taken) = &mut self.taken else { return Ok(()) };
        taken.sort_in(connection, SORTED_EACH + 2 * added)?;
        if taken.done == taken.rows.len() {
            let sql = "DELETE FROM found_new WHERE log_index <= ?1";
            connection.prepare_cached(sql)?.execute([taken.through])?;
            self.new = Some(new.saturating_sub(taken.rows.len()));
            self.taken = None;
        }
        Ok(())
    }
}

impl Taken {
    /// The oldest of what is new.
    fn take(connection: &Connection) -> rusqlite::Result<Self> {
        let mut taken = Self { rows: Vec::with_capacity(SORTED_TOGETHER), done: 0, through: -1 };
        let mut statement = connection.prepare_cached("SELECT log_index, digests FROM found_new ORDER BY log_index")?;
        let mut rows = statement.query([])?;
        while taken.rows.len() < SORTED_TOGETHER
            && let Some(row) = rows.next()?
        {
            let log_index: i64 = row.get(0)?;
            let each = digests(row.get_ref(1)?.as_blob()?);
            taken.rows.extend(each.map(|digest| (log_index >> STRETCH_BITS, digest.0, log_index)));
            taken.through = log_index;
        }
        taken.rows.sort_unstable();
        Ok(taken)
    }

    fn sort_in(&mut self, connection: &Connection, most: usize) -> rusqlite::Result<()> {
        // Some are there where it was begun before.
        let sql = "INSERT INTO found_by (stretch, digest, log_index) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        let mut statement = connection.prepare_cached(sql)?;
        let mut sorted = 0;
        for row in self.rows.iter().skip(self.done).take(most.saturating_mul(PASSED_EACH)) {
            sorted += statement.execute(*row)?;
            self.done += 1;
            if sorted >= most {
                break;
            }
        }
        Ok(())
    }
}

fn count(connection: &Connection) -> rusqlite::Result<usize> {
    let sql = "SELECT coalesce(sum(length(digests)), 0) FROM found_new";
    let bytes: i64 = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    Ok(usize::try_from(bytes).unwrap_or(0) / DIGEST_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{self, plan};

    fn database() -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::create(&mut connection).unwrap();
        connection
    }

    fn named(name: &str) -> Facts {
        Facts { names: vec![format!("dns:{name}")], ..Facts::default() }
    }

    fn found(connection: &Connection, name: &str, before: i64) -> Vec<i64> {
        let mut found = Vec::new();
        each(connection, Digest::of_name(name), before, |log_index| {
            found.push(log_index);
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
        found
    }

    fn rows(connection: &Connection, table: &str) -> usize {
        let count: i64 = connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        usize::try_from(count).unwrap()
    }

    #[test]
    fn every_search_goes_along_an_index_and_sorts_nothing() {
        let connection = database();
        assert_eq!(plan(&connection, NEW, 1), ["SEARCH found_new USING INTEGER PRIMARY KEY (rowid<?)"]);
        let sorted = "SEARCH found_by USING PRIMARY KEY (stretch=? AND digest=? AND log_index<?)";
        assert_eq!(plan(&connection, SORTED, 3), [sorted]);
    }

    #[test]
    fn what_lies_in_several_stretches_is_found_newest_first_and_from_wherever_a_page_ended() {
        for is_sorted in [false, true] {
            let connection = database();
            for log_index in [3, 65_535, 65_536, 70_000, 400_000] {
                index(&connection, &named("a.example"), Serial::from_random([7; 16]), log_index).unwrap();
                index(&connection, &named("b.example"), Serial::from_random([8; 16]), log_index + 2).unwrap();
            }
            if is_sorted {
                Taken::take(&connection).unwrap().sort_in(&connection, 100).unwrap();
                connection.execute("DELETE FROM found_new", []).unwrap();
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
            index(&connection, &named("a.example"), Serial::from_random([7; 16]), log_index).unwrap();
        }
        let mut seen = Vec::new();
        each(&connection, Digest::of_name("a.example"), i64::MAX, |log_index| {
            seen.push(log_index);
            Ok(if seen.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
        .unwrap();
        assert_eq!(seen, [9, 8, 7]);
    }

    /// Leaves with two digests each come in batches of 50; after every batch everything is found once. Now and then what is known of the sorting is lost.
    #[test]
    fn everything_is_found_once_while_it_is_sorted_in_and_what_is_new_stays_small() {
        let connection = database();
        let mut sorting = Sorting::default();
        let (mut largest, mut added) = (0, 0);
        for batch in 0..1_500_u64 {
            let before = added;
            for each in 0..50 {
                let log_index = batch * 50 + each;
                let serial = Serial::from_random(u128::from(log_index).to_be_bytes());
                added +=
                    index(&connection, &named(&format!("{}.example", log_index % 1_000)), serial, log_index).unwrap();
            }
            sorting.step(&connection, added - before, true).unwrap();
            if batch % 331 == 330 {
                sorting = Sorting::default();
            }
            largest = largest.max(count(&connection).unwrap());
            if batch % 20 == 19 {
                let newest = i64::try_from((batch + 1) * 50).unwrap() - 1;
                let wanted = (0..=newest).rev().filter(|index| index % 1_000 == 7).collect::<Vec<_>>();
                assert_eq!(found(&connection, "7.example", i64::MAX), wanted, "after batch {batch}");
            }
        }
        assert!(largest < 2 * SORTED_TOGETHER, "{largest}");
        assert_eq!(added, 150_000);
        let sorted = rows(&connection, "found_by");
        assert!(sorted >= added - 2 * SORTED_TOGETHER && sorted < added, "{sorted}");
    }

    #[test]
    fn what_is_new_is_counted_after_a_start() {
        let connection = database();
        let facts = Facts { names: (0..31).map(|name| format!("dns:{name}.example")).collect(), ..Facts::default() };
        for log_index in 0..1_024 {
            assert_eq!(index(&connection, &facts, Serial::from_random([7; 16]), log_index).unwrap(), 32);
        }
        let mut sorting = Sorting::default();
        sorting.step(&connection, 0, true).unwrap();
        assert!(sorting.taken.is_some(), "{SORTED_TOGETHER} are there");
        let mut steps = 1;
        while sorting.taken.is_some() {
            sorting.step(&connection, 0, true).unwrap();
            steps += 1;
        }
        assert_eq!(steps, SORTED_TOGETHER / SORTED_EACH);
        assert_eq!((sorting.new, rows(&connection, "found_new")), (Some(0), 0));
        assert_eq!(found(&connection, "7.example", 900).len(), 900);
    }

    #[test]
    fn without_room_nothing_is_sorted_and_what_an_earlier_life_has_sorted_is_passed_quickly() {
        let connection = database();
        let facts = Facts { names: (0..31).map(|name| format!("dns:{name}.example")).collect(), ..Facts::default() };
        for log_index in 0..1_024_u64 {
            let serial = Serial::from_random([1; 16]);
            index(&connection, &facts, serial, log_index).unwrap();
        }
        let mut sorting = Sorting::default();
        sorting.step(&connection, 0, false).unwrap();
        assert!(sorting.taken.is_none());
        for _ in 0..100 {
            sorting.step(&connection, 0, true).unwrap();
        }
        assert_eq!(rows(&connection, "found_by"), 100 * SORTED_EACH);
        let mut again = Sorting::default();
        for _ in 0..13 {
            again.step(&connection, 0, true).unwrap();
        }
        assert!(rows(&connection, "found_by") > 100 * SORTED_EACH, "12.5 steps pass what was there");
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
