//! Stretches of the sorted table: when the last certificate of each ends, so that it is forgotten as serial numbers are. The log stays.

use rusqlite::{Connection, OptionalExtension as _, params};

/// The sorted table is in stretches of so many entries (log2), each sorted for itself: what is sorted in falls on the pages of the last one, however
/// long the log is. A search looks into every stretch, and so they are not smaller; sorting in writes the more pages the larger they are.
const BITS: u32 = 17;

/// The number of a stretch is where it begins, in so many entries (log2). A database of schema 13 or older has stretches of this size, with odd numbers, too.
pub(super) const NUMBER_BITS: u32 = 16;

/// The stretch that an entry is in.
pub(super) const fn of(log_index: i64) -> i64 {
    (log_index >> BITS) << (BITS - NUMBER_BITS)
}

/// Ends are rounded up to this, in seconds, so that most batches find theirs there and write nothing.
const END_STEP_SECS: i64 = 3_600;

/// Digests that one batch forgets, and twice as many as it adds on top, so that forgetting keeps up. They lie one after another: their pages become
/// free, and few are written.
const FORGOTTEN_EACH: usize = 1_024;

/// Stretches from one on backwards.
pub(super) const BACKWARDS: &str = "SELECT stretch FROM found_stretch WHERE stretch <= ?1 ORDER BY stretch DESC";

/// Keeps that a certificate of a stretch ends then, in seconds.
pub(super) fn keep_end(connection: &Connection, stretch: i64, end: i64) -> rusqlite::Result<()> {
    let end = end.saturating_add(END_STEP_SECS - 1).div_euclid(END_STEP_SECS).saturating_mul(END_STEP_SECS);
    let sql = "INSERT INTO found_stretch (stretch, latest_end) VALUES (?1, ?2) \
               ON CONFLICT (stretch) DO UPDATE SET latest_end = excluded.latest_end WHERE latest_end < excluded.latest_end";
    connection.prepare_cached(sql)?.execute([stretch, end]).map(drop)
}

/// The statement below has them as numbers.
const _: () = assert!(BITS == 17 && NUMBER_BITS == 16);

/// The stretch whose last certificate ended first, if that was before `?1`. What is new is sorted in from the oldest on: before the stretch of the oldest
/// everything is. What the batch under way adds to a stretch begins it anew where it is forgotten.
const OVER: &str = "SELECT stretch FROM found_stretch WHERE latest_end < ?1 \
                    AND stretch < coalesce((SELECT min(log_index) >> 17 << 1 FROM found_new), ?2) ORDER BY latest_end LIMIT 1";

/// The first digest that is kept, where so many before it are not.
const EDGE: &str =
    "SELECT digest, log_index FROM found_by WHERE stretch = ?1 ORDER BY digest, log_index LIMIT 1 OFFSET ?2";

const FORGET: &str = "DELETE FROM found_by WHERE stretch = ?1 AND (digest, log_index) < (?2, ?3)";

/// Forgets digests of a stretch of which everything ended before that moment, in seconds, within a batch that has added so many: a bounded number. Gives
/// whether there may be more.
pub(crate) fn forget_ended(connection: &Connection, ended_before: i64, added: usize) -> rusqlite::Result<bool> {
    let over = connection.prepare_cached(OVER)?.query_row([ended_before, i64::MAX], |row| row.get::<_, i64>(0));
    let Some(stretch) = over.optional()? else { return Ok(false) };
    let most = i64::try_from(FORGOTTEN_EACH + 2 * added).unwrap_or(i64::MAX);
    let edge = connection.prepare_cached(EDGE)?.query_row([stretch, most], |row| Ok((row.get(0)?, row.get(1)?)));
    let edge: Option<(i64, i64)> = edge.optional()?;
    if let Some((digest, log_index)) = edge {
        connection.prepare_cached(FORGET)?.execute(params![stretch, digest, log_index])?;
    } else {
        connection.prepare_cached("DELETE FROM found_by WHERE stretch = ?1")?.execute([stretch])?;
        connection.prepare_cached("DELETE FROM found_stretch WHERE stretch = ?1")?.execute([stretch])?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use hallmark_policy::{Facts, content::Serial, time::UnixTime};

    use super::*;
    use crate::{
        found::Added,
        found::tests::{END, database, found, index, named, rows, sort_in},
        schema::plan,
    };

    /// Everything that is over by then is forgotten. Gives in how many steps.
    fn forget(connection: &Connection, ended_before: i64) -> usize {
        (0..).take_while(|_| forget_ended(connection, ended_before, 0).unwrap()).count()
    }

    #[test]
    fn every_search_goes_along_an_index_and_sorts_nothing() {
        let connection = database();
        let over = plan(&connection, OVER, 2);
        assert!(over[0].contains("USING COVERING INDEX found_stretch_end (latest_end<?)"), "{over:?}");
        assert!(over.iter().all(|step| !step.contains("TEMP")), "{over:?}");
        assert_eq!(plan(&connection, EDGE, 2), ["SEARCH found_by USING PRIMARY KEY (stretch=?)"]);
        let range = "SEARCH found_by USING PRIMARY KEY (stretch=? AND (digest,log_index)<(?,?))";
        assert_eq!(plan(&connection, FORGET, 3), [range]);
    }

    #[test]
    fn a_stretch_is_forgotten_once_its_last_certificate_has_ended_and_the_others_stay() {
        let connection = database();
        for log_index in [1, 131_072, 131_073, 262_144] {
            index(&connection, &named("a.example"), Serial::from_random([7; 16]), log_index);
        }
        keep_end(&connection, of(131_072), END + 86_400).unwrap();
        keep_end(&connection, of(131_072), END - 86_400).unwrap();
        sort_in(&connection);
        assert_eq!(forget(&connection, END), 0, "it ends in that second");
        assert_eq!(forget(&connection, END + END_STEP_SECS), 2);
        assert_eq!(found(&connection, "a.example", i64::MAX), [131_073, 131_072]);
        assert_eq!((rows(&connection, "found_by"), rows(&connection, "found_stretch")), (4, 1));
        assert_eq!(forget(&connection, END + 86_400 + END_STEP_SECS), 1);
        assert_eq!((rows(&connection, "found_by"), rows(&connection, "found_stretch")), (0, 0));
    }

    #[test]
    fn what_is_still_being_sorted_in_is_not_forgotten() {
        let connection = database();
        for log_index in [1, 150_000, 262_144] {
            index(&connection, &named("a.example"), Serial::from_random([7; 16]), log_index);
        }
        assert_eq!(forget(&connection, i64::MAX), 0);
        // The first is sorted in, and the second in part.
        let sql = "INSERT INTO found_by SELECT stretch, 7, 75000 * stretch + (stretch = 0) FROM found_stretch WHERE stretch < 4; \
                   DELETE FROM found_new WHERE log_index = 1";
        connection.execute_batch(sql).unwrap();
        assert_eq!(forget(&connection, i64::MAX), 1);
        assert_eq!((rows(&connection, "found_by"), rows(&connection, "found_stretch")), (1, 2));
        assert_eq!(found(&connection, "a.example", i64::MAX), [262_144, 150_000]);
    }

    #[test]
    fn a_stretch_in_which_a_batch_begins_that_is_not_sorted_in_is_not_forgotten() {
        let connection = database();
        let mut batch = Added::default();
        for log_index in [131_071, 131_072] {
            batch.index(&named("a.example"), Serial::from_random([7; 16]), UnixTime::from_secs(END), log_index);
        }
        batch.write(&connection).unwrap();
        assert_eq!((rows(&connection, "found_new"), rows(&connection, "found_stretch")), (1, 2));
        assert_eq!(forget(&connection, i64::MAX), 0);
        sort_in(&connection);
        assert_eq!(found(&connection, "a.example", i64::MAX), [131_072, 131_071]);
        assert_eq!(forget(&connection, i64::MAX), 2);
    }

    /// As in a batch: first it is forgotten, and then what is new is written.
    #[test]
    fn a_stretch_that_is_over_gets_another_leaf_while_it_is_forgotten() {
        let many = Facts { names: (0..60).map(|name| format!("dns:{name}.example")).collect(), ..Facts::default() };
        for (leaves, left) in [(1, 0), (100, 6_100 - FORGOTTEN_EACH - 4)] {
            let connection = database();
            let all: usize = (0..leaves).map(|at| index(&connection, &many, Serial::from_random([7; 16]), at)).sum();
            assert_eq!(all, if left == 0 { 61 } else { 6_100 });
            sort_in(&connection);
            assert!(forget_ended(&connection, END + 7_200, 2).unwrap());
            let mut batch = Added::default();
            batch.index(&named("new.example"), Serial::from_random([8; 16]), UnixTime::from_secs(END + 86_400), 1_000);
            batch.write(&connection).unwrap();
            assert_eq!(forget(&connection, END + 7_200), 0, "it is not over any more");
            sort_in(&connection);
            assert_eq!(found(&connection, "new.example", i64::MAX), [1_000]);
            assert_eq!(rows(&connection, "found_by"), left + 2);
            assert!(forget(&connection, END + 86_400 + 7_200) > 0);
            assert_eq!((rows(&connection, "found_by"), rows(&connection, "found_stretch")), (0, 0));
        }
    }

    #[test]
    fn what_is_forgotten_at_a_time_is_bounded_and_what_comes_meanwhile_keeps_the_rest() {
        let connection = database();
        let facts = Facts { names: (0..30).map(|name| format!("dns:{name}.example")).collect(), ..Facts::default() };
        let fill = || (0..100).map(|at| index(&connection, &facts, Serial::from_random([7; 16]), at)).sum::<usize>();
        let all = fill();
        sort_in(&connection);
        assert_eq!((all, rows(&connection, "found_by")), (3_100, 3_100));
        assert!(forget_ended(&connection, i64::MAX, 10).unwrap());
        assert_eq!(all - rows(&connection, "found_by"), FORGOTTEN_EACH + 20);
        keep_end(&connection, 0, END + 86_400).unwrap();
        assert!(!forget_ended(&connection, END + 7_200, 10).unwrap(), "another leaf has come");
        assert_eq!(forget(&connection, i64::MAX), 3);
        assert_eq!(rows(&connection, "found_by"), 0);
        assert_eq!(fill(), all);
        assert_eq!(found(&connection, "7.example", i64::MAX).len(), 100, "the stretch begins anew");
    }

    #[test]
    fn most_ends_are_there_already_and_write_nothing() {
        let connection = database();
        let writes = |end| {
            let before = connection.total_changes();
            keep_end(&connection, 3, end).unwrap();
            connection.total_changes() - before
        };
        let ends = [END, END - 5, END + 1, END + END_STEP_SECS, i64::MAX];
        assert_eq!(ends.map(writes), [1, 0, 1, 0, 1]);
    }
}
