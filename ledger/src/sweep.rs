//! Forgetting old leaf requests: their ids, TBSCertificates and signatures. Log and serial numbers stay, and what was
//! committed and never signed gets a void entry first.

use rusqlite::{Connection, params};

use crate::{UnixMillis, batch::Batch, request::RequestRow, resume::about, schema::unsigned};

/// What void entries of forgotten requests say.
const FORGOTTEN: &str = "forgotten";

/// Where the sweep is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sweep {
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
        Self { after: -1, next_at: i64::MIN }
    }

    /// Whether there may be something older than `cutoff`, in milliseconds.
    pub(crate) fn is_due(&self, cutoff: i64) -> bool {
        cutoff > self.next_at
    }

    /// Looks at `rows_max` rows at most, and deletes what is older than `cutoff`. Entries get the time `now`.
    pub(crate) fn run(
        &mut self,
        batch: &mut Batch<'_>,
        now: UnixMillis,
        cutoff: i64,
        rows_max: usize,
    ) -> rusqlite::Result<()> {
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
                forget_pending(batch, log_index, now)?;
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
    // Before the entry, so that a database that is full gets room for it.
    forget(batch.connection, log_index)?;
    batch.append(about(&row).text("result", FORGOTTEN).into_entry("void", now.0), now).map(drop)
}
