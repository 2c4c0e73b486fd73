//! Forgetting old leaf requests: their ids, TBSCertificates and signatures. Log and serial numbers stay.

use rusqlite::params;

use crate::{UnixMillis, batch::Batch};

/// Where the sweep is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sweep {
    /// Rows up to this index were looked at.
    after: i64,
    /// Nothing is old enough before the cutoff has passed this time.
    next_at: i64,
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

    /// Looks at `rows_max` rows at most, and deletes what is older than `cutoff`.
    pub(crate) fn run(
        &mut self,
        batch: &mut Batch<'_>,
        _now: UnixMillis,
        cutoff: i64,
        rows_max: usize,
    ) -> rusqlite::Result<()> {
        let sql = "SELECT log_index, at, stage = 'leaf' FROM request WHERE log_index > ?1 ORDER BY log_index LIMIT ?2";
        let mut statement = batch.connection.prepare_cached(sql)?;
        let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
        let rows =
            statement.query_map(params![self.after, limit], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let rows: Vec<(i64, i64, bool)> = rows.collect::<rusqlite::Result<_>>()?;
        if rows.len() < rows_max {
            self.next_at = cutoff;
        }
        for (log_index, at, is_leaf) in rows {
            if at >= cutoff {
                self.next_at = at;
                break;
            }
            if is_leaf {
                batch.connection.prepare_cached("DELETE FROM request WHERE log_index = ?1")?.execute([log_index])?;
            }
            self.after = log_index;
        }
        Ok(())
    }
}
