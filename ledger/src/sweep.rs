//! Forgetting: old leaf requests with their ids, TBSCertificates and signatures, and, long after their end, serial numbers, records
//! of instances, and what certificates are found by. The log stays, and what was committed and never signed gets a void entry first.
//!
//! A request goes with the last of the ids that its certificate answers, each of which has a retention of its own.

use hallmark_policy::time::Span;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::{
    LedgerConfig, RevokeAt, UnixMillis,
    batch::{Batch, Fault},
    found, instance,
    request::RequestRow,
    resume::about,
    schema::unsigned,
};

/// What void entries of forgotten requests say.
const FORGOTTEN: &str = "forgotten";

/// How long it is waited at most before it is looked again for what has ended.
const ENDED_LOOK_MILLIS: i64 = 3_600_000;

/// How long things are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retention {
    /// Requests, from when they were asked.
    pub(crate) requests_millis: i64,
    /// Serial numbers and records of instances, from their end.
    pub(crate) ended_millis: i64,
}

/// What is older than that is forgotten.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cutoffs {
    requests: i64,
    ended: i64,
}

impl Retention {
    /// As the configuration has it.
    pub(crate) fn of(config: &LedgerConfig) -> Self {
        let millis = |span: Span| i64::try_from(span.secs()).unwrap_or(i64::MAX).saturating_mul(1_000);
        Self { requests_millis: millis(config.retention), ended_millis: millis(config.ended_retention) }
    }

    /// What is old at that moment.
    pub(crate) fn cutoffs(self, at: UnixMillis) -> Cutoffs {
        Cutoffs { requests: at.0.saturating_sub(self.requests_millis), ended: at.0.saturating_sub(self.ended_millis) }
    }
}

/// Where the sweep is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sweep {
    /// Nothing that has ended is old enough before its cutoff has passed this time.
    ended_next_at: i64,
    /// The same of what certificates are found by.
    found_next_at: i64,
    /// Whether certificates of a revoked instance may still have to be revoked.
    revoking: bool,
    /// No id that another request's certificate answers is old enough before the cutoff has passed this time.
    bound_next_at: i64,
    /// Rows up to this index were looked at.
    after: i64,
    /// Nothing is old enough before the cutoff has passed this time.
    next_at: i64,
}

/// A row that the sweep looks at.
struct Seen {
    log_index: i64,
    at: i64,
    is_leaf: bool,
    is_pending: bool,
    /// Whether its certificate answers another id, too.
    is_bound: bool,
}

impl Sweep {
    /// From the beginning.
    pub(crate) fn new() -> Self {
        Self {
            ended_next_at: i64::MIN,
            found_next_at: i64::MIN,
            revoking: true,
            bound_next_at: i64::MIN,
            after: -1,
            next_at: i64::MIN,
        }
    }

    /// A batch has left certificates that are to be revoked.
    pub(crate) fn note(&mut self, revoking: bool) {
        self.revoking |= revoking;
    }

    /// Whether there may be something that is old enough.
    pub(crate) fn is_due(&self, cutoffs: Cutoffs) -> bool {
        self.revoking
            || cutoffs.requests > self.next_at.min(self.bound_next_at)
            || cutoffs.ended > self.ended_next_at.min(self.found_next_at)
    }

    /// Looks at `rows_max` rows of each kind at most, and at some thousand of what certificates are found by, and deletes what is old enough. Entries get the time `now.at`.
    pub(crate) fn run(
        &mut self,
        batch: &mut Batch<'_>,
        now: RevokeAt,
        cutoffs: Cutoffs,
        rows_max: usize,
    ) -> rusqlite::Result<()> {
        if self.revoking {
            self.revoking = match batch.go_on_revoking(now, rows_max) {
                Ok(more) => more,
                Err(Fault::Sql(error)) => return Err(error),
                Err(Fault::Alone(error)) => {
                    tracing::error!(%error, "certificates of a revoked instance are left; revoke it again");
                    false
                }
            };
        }
        if cutoffs.ended > self.ended_next_at {
            self.ended_next_at = forget_ended(batch.connection, cutoffs.ended, rows_max)?;
        }
        if cutoffs.ended > self.found_next_at {
            let (ended_before, added) = (cutoffs.ended.div_euclid(1_000), batch.found.digests());
            let more = found::forget_ended(batch.connection, ended_before, added)?;
            self.found_next_at = if more { i64::MIN } else { cutoffs.ended.saturating_add(ENDED_LOOK_MILLIS) };
        }
        let cutoff = cutoffs.requests;
        if cutoff > self.bound_next_at {
            self.forget_bound(batch, now.at, cutoff, rows_max)?;
        }
        if cutoff <= self.next_at {
            return Ok(());
        }
        let rows = seen(batch.connection, self.after, rows_max)?;
        if rows.len() < rows_max {
            self.next_at = cutoff;
        }
        for row in rows {
            if row.at >= cutoff {
                self.next_at = row.at;
                break;
            }
            self.after = row.log_index;
            // It goes with the last id that its certificate answers.
            if !row.is_bound {
                forget(batch, &row, now.at)?;
            }
        }
        Ok(())
    }

    /// Forgets ids that other requests' certificates answer, and old requests with the last of theirs, where they were passed before.
    fn forget_bound(
        &mut self,
        batch: &mut Batch<'_>,
        now: UnixMillis,
        cutoff: i64,
        rows_max: usize,
    ) -> rusqlite::Result<()> {
        let rows = bound(batch.connection, rows_max)?;
        if rows.len() < rows_max {
            self.bound_next_at = cutoff;
        }
        for Bound { authority, caller, id, log_index, at } in rows {
            if at >= cutoff {
                self.bound_next_at = at;
                break;
            }
            let sql = "DELETE FROM same_request WHERE authority = ?1 AND caller = ?2 AND id = ?3";
            batch.connection.prepare_cached(sql)?.execute([authority, caller, id])?;
            if let Some(row) = seen_at(batch.connection, log_index)?
                && !row.is_bound
                && (row.at < cutoff || log_index <= self.after)
            {
                forget(batch, &row, now)?;
            }
        }
        Ok(())
    }
}

/// An id that another request's certificate answers.
struct Bound {
    authority: String,
    caller: String,
    id: String,
    /// Index of the other's decision.
    log_index: i64,
    at: i64,
}

const BOUND: &str = "SELECT authority, caller, id, log_index, at FROM same_request ORDER BY at LIMIT ?1";

/// The oldest of them.
fn bound(connection: &Connection, rows_max: usize) -> rusqlite::Result<Vec<Bound>> {
    let mut statement = connection.prepare_cached(BOUND)?;
    let rows = statement.query_map([i64::try_from(rows_max).unwrap_or(i64::MAX)], |row| {
        let (authority, caller, id) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(Bound { authority, caller, id, log_index: row.get(3)?, at: row.get(4)? })
    })?;
    rows.collect()
}

/// The columns of [`Seen`], under a condition.
macro_rules! seen_where {
    ($condition:literal) => {
        concat!(
            "SELECT log_index, at, stage = 'leaf', stage = 'leaf' AND signature IS NULL AND void = 0, ",
            "EXISTS (SELECT 1 FROM same_request b WHERE b.log_index = request.log_index) FROM request WHERE ",
            $condition
        )
    };
}

impl Seen {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let (is_leaf, is_pending, is_bound) = (row.get(2)?, row.get(3)?, row.get(4)?);
        Ok(Self { log_index: row.get(0)?, at: row.get(1)?, is_leaf, is_pending, is_bound })
    }
}

fn seen(connection: &Connection, after: i64, rows_max: usize) -> rusqlite::Result<Vec<Seen>> {
    let mut statement = connection.prepare_cached(seen_where!("log_index > ?1 ORDER BY log_index LIMIT ?2"))?;
    let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
    statement.query_map([after, limit], Seen::read)?.collect()
}

fn seen_at(connection: &Connection, log_index: i64) -> rusqlite::Result<Option<Seen>> {
    let mut statement = connection.prepare_cached(seen_where!("log_index = ?1"))?;
    statement.query_row([log_index], Seen::read).optional()
}

/// Forgets serial numbers, and the records of instances with them: a record ends with the last of its certificates. Who is revoked is
/// remembered. Gives the time before which it is not looked again.
fn forget_ended(connection: &Connection, cutoff: i64, rows_max: usize) -> rusqlite::Result<i64> {
    let sql = "SELECT issuer, serial, instance, log_index FROM serial WHERE not_after < ?1 ORDER BY not_after LIMIT ?2";
    let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
    let cutoff_secs = cutoff.div_euclid(1_000);
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![cutoff_secs, limit], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, Option<i64>>(2)?, row.get::<_, i64>(3)?))
    })?;
    let rows: Vec<_> = rows.collect::<Result<_, _>>()?;
    for (issuer, serial, instance, log_index) in &rows {
        let sql = "DELETE FROM serial WHERE issuer = ?1 AND serial = ?2";
        connection.prepare_cached(sql)?.execute(params![issuer, serial])?;
        if let Some(instance) = instance {
            connection.prepare_cached("DELETE FROM signed WHERE log_index = ?1")?.execute([log_index])?;
            let sql = "DELETE FROM instance WHERE id = ?1 AND not_after < ?2 AND revoked_at IS NULL";
            connection.prepare_cached(sql)?.execute(params![instance, cutoff_secs])?;
        }
    }
    Ok(if rows.len() < rows_max { cutoff.saturating_add(ENDED_LOOK_MILLIS) } else { i64::MIN })
}

/// Forgets a leaf's request that answers no other id. All others stay.
fn forget(batch: &mut Batch<'_>, row: &Seen, now: UnixMillis) -> rusqlite::Result<()> {
    if row.is_pending {
        forget_pending(batch, row.log_index, now)
    } else if row.is_leaf {
        delete(batch.connection, row.log_index)
    } else {
        Ok(())
    }
}

fn delete(connection: &Connection, log_index: i64) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM request WHERE log_index = ?1")?.execute([log_index]).map(drop)
}

/// Forgets a request that was committed and never signed, and says so in the log. A row that cannot be read stays.
fn forget_pending(batch: &mut Batch<'_>, log_index: i64, now: UnixMillis) -> rusqlite::Result<()> {
    let row = match RequestRow::at(batch.connection, unsigned(log_index)) {
        Ok(Some(row)) => row,
        Ok(None) => return Ok(()),
        Err(error @ rusqlite::Error::SqliteFailure(..)) => return Err(error),
        Err(error) => {
            tracing::error!(log_index, %error, "a stored request cannot be read: the database was changed; it stays");
            return Ok(());
        }
    };
    instance::make_void(batch.connection, row.log_index)?;
    // Before the entry, so that a database that is full gets room for it.
    delete(batch.connection, log_index)?;
    batch.append(about(&row).text("result", FORGOTTEN).into_entry("void", now.0), now).map(drop)
}

#[cfg(test)]
mod tests {
    use hallmark_entry::privacy::Private;
    use hallmark_tlog::frontier::Frontier;

    use super::*;
    use crate::schema::{self, plan};

    const HOUR: i64 = 3_600_000;
    const RETENTION: Retention = Retention { requests_millis: 24 * HOUR, ended_millis: 30 * 24 * HOUR };

    /// A database and its sweep.
    struct World {
        connection: Connection,
        frontier: Frontier,
        sweep: Sweep,
    }

    impl World {
        fn new() -> Self {
            let mut connection = Connection::open_in_memory().unwrap();
            schema::create(&mut connection).unwrap();
            connection.execute("INSERT INTO issuer (id, spki_sha256, issued) VALUES (1, zeroblob(32), 0)", []).unwrap();
            Self { connection, frontier: Frontier::empty(), sweep: Sweep::new() }
        }

        /// A leaf is decided; where it is pending, its signature is missing.
        fn decide(&self, log_index: i64, at: i64, is_pending: bool) {
            let sql = "INSERT INTO entry (log_index, leaf, bytes) VALUES (?1, x'', x'')";
            self.connection.execute(sql, [log_index]).unwrap();
            let sql = "INSERT INTO request (log_index, at, authority, caller, id, content, stage, generation, transition, issuer, serial, \
                       algorithm, not_after, signature, tbs) \
                       VALUES (?1, ?2, 'a', 'c', 'own-' || ?1, zeroblob(32), 'leaf', 1, zeroblob(32), 1, x'01', 'ed25519', 0, ?3, x'')";
            let signature = (!is_pending).then_some([7_u8]);
            self.connection.execute(sql, params![log_index, at, signature]).unwrap();
        }

        /// Its certificate answers another id, too.
        fn bind(&self, id: &str, log_index: u64, at: i64) {
            let (authority, caller, id) = ("a".to_owned(), "c".to_owned(), id.to_owned());
            let request = hallmark_policy::RequestIdentity { authority, caller, id, content_sha256: [0; 32] };
            RequestRow::bind(&self.connection, &request, log_index, UnixMillis(at)).unwrap();
        }

        /// One batch sweeps at that moment. Gives how many entries it wrote.
        fn sweep(&mut self, at: i64, rows_max: usize) -> usize {
            let private = Private::default();
            let mut batch = Batch::new(&self.connection, &private, &self.frontier, None);
            let now = RevokeAt { at: UnixMillis(at), ended_by: UnixMillis(at) };
            self.sweep.run(&mut batch, now, RETENTION.cutoffs(UnixMillis(at)), rows_max).unwrap();
            batch.leaves.len()
        }

        /// How many requests there are, and how many ids are bound to them.
        fn rows(&self) -> (i64, i64) {
            let sql = "SELECT (SELECT count(*) FROM request), (SELECT count(*) FROM same_request)";
            self.connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
        }
    }

    #[test]
    fn the_oldest_ids_are_found_along_an_index_and_nothing_is_sorted() {
        let world = World::new();
        assert_eq!(plan(&world.connection, BOUND, 1), ["SCAN same_request USING INDEX same_request_at"]);
    }

    #[test]
    fn a_request_goes_with_the_last_id_that_its_certificate_answers_also_where_it_was_passed_before() {
        let mut world = World::new();
        world.decide(1, 0, false);
        world.decide(2, 0, false);
        world.bind("x", 1, 5 * HOUR);
        world.bind("y", 1, 23 * HOUR);
        for (hour, expected) in [(24, (2, 2)), (25, (1, 2)), (30, (1, 1)), (47, (1, 1)), (48, (0, 0))] {
            world.sweep(hour * HOUR, 64);
            assert_eq!(world.rows(), expected, "after {hour} hours");
        }
        assert!(!world.sweep.is_due(RETENTION.cutoffs(UnixMillis(48 * HOUR))));
    }

    #[test]
    fn however_many_ids_it_answers_a_batch_looks_at_few_and_in_the_end_nothing_is_left() {
        let mut world = World::new();
        world.decide(1, 0, false);
        (0..95).for_each(|number| world.bind(&format!("id-{number}"), 1, HOUR));
        let mut left = Vec::new();
        while world.sweep.is_due(RETENTION.cutoffs(UnixMillis(50 * HOUR))) {
            world.sweep(50 * HOUR, 10);
            left.push(world.rows());
        }
        assert_eq!(left.first(), Some(&(1, 85)));
        assert_eq!(left.last(), Some(&(0, 0)));
        assert_eq!(left.len(), 10);
    }

    #[test]
    fn what_was_never_signed_is_void_in_the_log_when_the_last_id_goes() {
        let mut world = World::new();
        world.decide(1, 0, true);
        world.bind("x", 1, 12 * HOUR);
        assert_eq!(world.sweep(25 * HOUR, 64), 0);
        assert_eq!(world.rows(), (1, 1));
        // The log has two entries before.
        world.frontier.append(hallmark_tlog::hash::Hash::of_leaf(b""));
        world.frontier.append(hallmark_tlog::hash::Hash::of_leaf(b""));
        assert_eq!(world.sweep(37 * HOUR, 64), 1);
        assert_eq!(world.rows(), (0, 0));
    }

    #[test]
    fn a_request_from_when_the_clock_ran_ahead_goes_with_its_last_id_where_it_was_passed() {
        let mut world = World::new();
        world.decide(1, 40 * HOUR, false);
        world.bind("x", 1, 10 * HOUR);
        world.bind("y", 1, 50 * HOUR);
        world.sweep(65 * HOUR, 64);
        assert_eq!(world.rows(), (1, 1), "it was passed");
        world.connection.execute("UPDATE same_request SET at = 20 * 3600000", []).unwrap();
        world.sweep.bound_next_at = i64::MIN;
        world.sweep(45 * HOUR, 64);
        assert_eq!(world.rows(), (0, 0));
    }
}
