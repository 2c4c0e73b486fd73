//! Sorting in: what is new goes into the sorted table, many digests at a time.

use rusqlite::Connection;

use super::{
    new::{NEW_BYTES, New},
    stretch,
};

/// Digests from which on what is new is sorted in: each page of a stretch, of which there are about 3,000 in the end, gets ten or more.
const SORTED_TOGETHER: usize = 32_768;

/// Digests that one batch sorts in, and as many again as it adds twice over, so that sorting keeps up.
const SORTED_EACH: usize = 256;

/// Digests that one batch finds sorted in already, by an earlier life of the program, for each that it sorts in.
const PASSED_EACH: usize = 8;

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
    /// Sorts a part in, after so many were added; where there is no room on the disk, that waits.
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
            let each = New::of_row(row.get_ref(1)?.as_blob()?);
            taken.rows.extend(each.map(|new| (stretch::of(new.log_index), new.digest.0, new.log_index)));
            taken.through = row.get(0)?;
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
    Ok(usize::try_from(bytes).unwrap_or(0) / NEW_BYTES)
}

/// Sorts all in at once, as if there were more of it.
#[cfg(test)]
pub(super) fn sort_all_in(connection: &Connection) {
    while count(connection).unwrap() > 0 {
        let mut taken = Taken::take(connection).unwrap();
        taken.sort_in(connection, taken.rows.len()).unwrap();
        connection.execute("DELETE FROM found_new WHERE log_index <= ?1", [taken.through]).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use hallmark_policy::{Facts, content::Serial, time::UnixTime};

    use super::*;
    use crate::found::{
        Added,
        tests::{END, database, found, index, named, rows},
    };

    /// A stretch ends within a batch after this.
    const FIRST: u64 = 100_000;

    /// Leaves with two digests each come in batches of 50; after every batch everything is found once. Now and then what is known of the sorting is lost.
    #[test]
    fn everything_is_found_once_while_it_is_sorted_in_and_what_is_new_stays_small() {
        let connection = database();
        let mut sorting = Sorting::default();
        let (mut largest, mut added) = (0, 0);
        for batch in 0..1_500_u64 {
            let mut of_batch = Added::default();
            for each in 0..50 {
                let log_index = FIRST + batch * 50 + each;
                let serial = Serial::from_random(u128::from(log_index).to_be_bytes());
                of_batch.index(
                    &named(&format!("{}.example", log_index % 1_000)),
                    serial,
                    UnixTime::from_secs(END),
                    log_index,
                );
            }
            of_batch.write(&connection).unwrap();
            sorting.step(&connection, of_batch.digests(), true).unwrap();
            added += of_batch.digests();
            if batch % 331 == 330 {
                sorting = Sorting::default();
            }
            largest = largest.max(count(&connection).unwrap());
            if batch % 20 == 19 {
                let first = i64::try_from(FIRST).unwrap();
                let next = first + i64::try_from((batch + 1) * 50).unwrap();
                let wanted = (first..next).rev().filter(|index| index % 1_000 == 7).collect::<Vec<_>>();
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
            assert_eq!(index(&connection, &facts, Serial::from_random([7; 16]), log_index), 32);
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
            index(&connection, &facts, serial, log_index);
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
}
