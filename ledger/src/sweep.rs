//! Forgetting: old leaf requests with their ids, TBSCertificates and signatures, and, long after their end, serial numbers and records
//! of instances. The log stays, and what was committed and never signed gets a void entry first.

use hallmark_policy::time::Span;
use rusqlite::{Connection, params};

use crate::{
    LedgerConfig, RevokeAt, UnixMillis,
    batch::{Batch, Fault},
    instance,
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
    /// Whether certificates of a revoked instance may still have to be revoked.
    revoking: bool,
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
}

impl Sweep {
    /// From the beginning.
    pub(crate) fn new() -> Self {
        Self { ended_next_at: i64::MIN, revoking: true, after: -1, next_at: i64::MIN }
    }

    /// A batch has left certificates that are to be revoked.
    pub(crate) fn note(&mut self, revoking: bool) {
        self.revoking |= revoking;
    }

    /// Whether there may be something that is old enough.
    pub(crate) fn is_due(&self, cutoffs: Cutoffs) -> bool {
        self.revoking || cutoffs.requests > self.next_at || cutoffs.ended > self.ended_next_at
    }

    /// Looks at `rows_max` rows of each kind at most, and deletes what is old enough. Entries get the time `now.at`.
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
        let cutoff = cutoffs.requests;
        if cutoff <= self.next_at {
            return Ok(());
        }
        let rows = seen(batch.connection, self.after, rows_max)?;
        if rows.len() < rows_max {
            self.next_at = cutoff;
        }
        for Seen { log_index, at, is_leaf, is_pending } in rows {
            if at >= cutoff {
                self.next_at = at;
                break;
            }
            self.after = log_index;
            if is_pending {
                forget_pending(batch, log_index, now.at)?;
            } else if is_leaf {
                forget(batch.connection, log_index)?;
            }
        }
        Ok(())
    }
}

fn seen(connection: &Connection, after: i64, rows_max: usize) -> rusqlite::Result<Vec<Seen>> {
    let sql = "SELECT log_index, at, stage = 'leaf', stage = 'leaf' AND signature IS NULL AND void = 0 FROM request \
               WHERE log_index > ?1 ORDER BY log_index LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
    let rows = statement.query_map(params![after, limit], |row| {
        Ok(Seen { log_index: row.get(0)?, at: row.get(1)?, is_leaf: row.get(2)?, is_pending: row.get(3)? })
    })?;
    rows.collect()
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

fn forget(connection: &Connection, log_index: i64) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM same_request WHERE log_index = ?1")?.execute([log_index])?;
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
    instance::make_void(batch.connection, row.log_index, batch.begun_at)?;
    // Before the entry, so that a database that is full gets room for it.
    forget(batch.connection, log_index)?;
    batch.append(about(&row).text("result", FORGOTTEN).into_entry("void", now.0), now).map(drop)
}
