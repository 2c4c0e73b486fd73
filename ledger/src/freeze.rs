//! Authorities that an operator froze: whatever callers ask for, no leaf is signed for them until they are thawed. CRLs go on, and epochs can be
//! rotated, so that a key that may be stolen is replaced while nobody gets a certificate under it.

use hallmark_entry::Object;
use hallmark_policy::{Reason, ReasonCode};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::{
    Logged, UnixMillis,
    batch::{Batch, Fault},
    schema::{signed, unsigned},
};

/// An operator's wish about one authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreezeWish {
    /// The authority, which the ledger has.
    pub authority: String,
    /// The operator.
    pub by: String,
    /// Why, in words.
    pub why: String,
}

/// What became of freezing an authority.
#[derive(Debug)]
pub enum Frozen {
    /// It is frozen from this entry on.
    Now(Logged),
    /// It was frozen before; nothing was written.
    Before {
        /// Index of that entry.
        log_index: u64,
    },
    /// The ledger has no such authority; nothing was written.
    Unknown,
}

impl Batch<'_> {
    /// Freezes an authority, unless it is frozen.
    pub(crate) fn freeze_authority(&mut self, wish: &FreezeWish, at: UnixMillis) -> Result<Frozen, Fault> {
        let FreezeWish { authority, by, why } = wish;
        match frozen_index(self.connection, authority)? {
            None => return Ok(Frozen::Unknown),
            Some(Some(log_index)) => return Ok(Frozen::Before { log_index }),
            Some(None) => {}
        }
        let object = Object::new()
            .text("command", "freeze-authority")
            .text("authority", authority)
            .text("by", by)
            .text("reason", why);
        let logged = self.append(object.into_entry("operator-command", at.0), at)?;
        self.set_frozen(authority, Some(logged.index))?;
        Ok(Frozen::Now(logged))
    }

    /// Lets a frozen authority issue again. None: it is not frozen, and nothing was written.
    pub(crate) fn thaw_authority(&mut self, wish: &FreezeWish, at: UnixMillis) -> Result<Option<Logged>, Fault> {
        let FreezeWish { authority, by, why } = wish;
        let Some(index) = frozen_index(self.connection, authority)?.flatten() else { return Ok(None) };
        let object = Object::new()
            .text("command", "thaw-authority")
            .text("authority", authority)
            .count("frozen-index", index)
            .text("by", by)
            .text("reason", why);
        let logged = self.append(object.into_entry("operator-command", at.0), at)?;
        self.set_frozen(authority, None)?;
        Ok(Some(logged))
    }

    fn set_frozen(&self, authority: &str, index: Option<u64>) -> rusqlite::Result<()> {
        let sql = "UPDATE authority SET frozen_index = ?2 WHERE name = ?1";
        self.connection.prepare_cached(sql)?.execute(params![authority, index.map(signed)]).map(drop)
    }
}

/// The entry since which an authority is frozen, if it is; none at all of one that the ledger does not have.
fn frozen_index(connection: &Connection, authority: &str) -> rusqlite::Result<Option<Option<u64>>> {
    let sql = "SELECT frozen_index FROM authority WHERE name = ?1";
    let read = |row: &rusqlite::Row<'_>| Ok(row.get::<_, Option<i64>>(0)?.map(unsigned));
    connection.prepare_cached(sql)?.query_row([authority], read).optional()
}

/// Why an authority signs no leaf, if it is frozen.
pub(crate) fn frozen(connection: &Connection, authority: &str) -> rusqlite::Result<Option<Reason>> {
    Ok(frozen_index(connection, authority)?.flatten().map(|index| {
        let sentence = format!("authority `{authority}` was frozen by an operator: log entry {index} says why");
        let way_out = "an operator thaws it with `hallmark authority thaw`";
        Reason::new(ReasonCode::AuthorityFrozen, "authority", sentence).allowing(way_out)
    }))
}
