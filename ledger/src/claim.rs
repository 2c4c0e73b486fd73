//! Names whose dots are written as dashes: each written form belongs to the first name that comes with it, until an operator
//! releases it.

use hallmark_entry::Object;
use hallmark_policy::{NameClaim, Reason, ReasonCode, time::UnixTime};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::{
    Logged, UnixMillis,
    batch::{Batch, Fault},
    issue::has_passed,
    schema::{signed, unsigned},
};

/// A written form, and the name that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedName {
    /// The form with dashes, for example `a-b-c`.
    pub form: String,
    /// The name that it stands for.
    pub name: String,
    /// Index of the decision that claimed it.
    pub log_index: u64,
    /// End of the last certificate that was committed with it.
    pub not_after: UnixTime,
}

/// An operator's wish that a form be free again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRelease {
    /// The authority.
    pub authority: String,
    /// The form, and the name that must have it.
    pub claim: NameClaim,
    /// Although certificates with it have not ended.
    pub forced: bool,
    /// The operator.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// What became of it.
#[derive(Debug)]
pub enum Released {
    /// The form is free from this entry on.
    Free(Logged),
    /// It is not, for these reasons. Nothing was written.
    Kept(Vec<Reason>),
}

impl Batch<'_> {
    /// Logs an operator's command and frees the form, in one transaction.
    pub(crate) fn release_name(&mut self, release: &NameRelease, at: UnixMillis) -> Result<Released, Fault> {
        let NameRelease { authority, claim: NameClaim { form, name }, forced, by, reason } = release;
        let Some(holder) = holder(self.connection, authority, form)? else {
            let sentence = format!("`{form}` belongs to no name");
            return Ok(Released::Kept(vec![Reason::new(ReasonCode::NameNotClaimed, "form", sentence)]));
        };
        if holder.name != *name {
            let sentence = format!("`{form}` belongs to `{}`, not to `{name}`", holder.name);
            let kept = Reason::new(ReasonCode::NameNotClaimed, "name", sentence).allowing(holder.name);
            return Ok(Released::Kept(vec![kept]));
        }
        if !forced && !has_passed(holder.not_after, at) {
            let sentence = format!("the last certificate with `{form}` for `{name}` ends at {}", holder.not_after);
            return Ok(Released::Kept(vec![Reason::new(ReasonCode::NameInUse, "form", sentence)]));
        }
        let entry = Object::new()
            .text("command", "release-name")
            .text("authority", authority)
            .text("form", form)
            .text("name", name)
            .text("by", by)
            .text("reason", reason)
            .flag("forced", *forced)
            .integer("not-after", holder.not_after.secs());
        let logged = self.append(entry.into_entry("operator-command", at.0), at)?;
        let sql = "DELETE FROM name_claim WHERE authority = ?1 AND form = ?2";
        self.connection.prepare_cached(sql)?.execute([authority, form])?;
        Ok(Released::Free(logged))
    }
}

/// Why the claims cannot be had; nothing if all of them are free, or these names' already.
pub(crate) fn objections(
    connection: &Connection,
    authority: &str,
    claims: &[NameClaim],
) -> rusqlite::Result<Vec<Reason>> {
    let mut reasons = Vec::new();
    for claim in claims {
        if let Some(ClaimedName { name, log_index, .. }) = holder(connection, authority, &claim.form)?
            && name != claim.name
        {
            let sentence = format!(
                "`{}` is written `{}`, and that form belongs to `{name}` since log entry {log_index}",
                claim.name, claim.form
            );
            let reason = Reason::new(ReasonCode::NameClaimed, "names", sentence);
            reasons.push(reason.allowing(format!("`{name}`, or a name that is written otherwise")));
        }
    }
    Ok(reasons)
}

/// Takes what is free, and remembers until when it is used. Nobody else has any of it.
pub(crate) fn take(
    connection: &Connection,
    authority: &str,
    claims: &[NameClaim],
    not_after: UnixTime,
    log_index: u64,
) -> rusqlite::Result<()> {
    for NameClaim { form, name } in claims {
        let sql = "INSERT INTO name_claim (authority, form, name, log_index, not_after) VALUES (?1, ?2, ?3, ?4, ?5) \
                   ON CONFLICT DO UPDATE SET not_after = max(not_after, excluded.not_after)";
        let values = params![authority, form, name, signed(log_index), not_after.secs()];
        connection.prepare_cached(sql)?.execute(values)?;
    }
    Ok(())
}

/// Forms of an authority behind one, in the order of their bytes.
pub(crate) fn page(
    connection: &Connection,
    authority: &str,
    after: &str,
    most: u32,
) -> rusqlite::Result<Vec<ClaimedName>> {
    let sql = "SELECT form, name, log_index, not_after FROM name_claim \
               WHERE authority = ?1 AND form > ?2 ORDER BY form LIMIT ?3";
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_map(params![authority, after, most], claimed)?.collect()
}

fn holder(connection: &Connection, authority: &str, form: &str) -> rusqlite::Result<Option<ClaimedName>> {
    let sql = "SELECT form, name, log_index, not_after FROM name_claim WHERE authority = ?1 AND form = ?2";
    connection.prepare_cached(sql)?.query_row([authority, form], claimed).optional()
}

fn claimed(row: &Row<'_>) -> rusqlite::Result<ClaimedName> {
    let (log_index, not_after) = (unsigned(row.get(2)?), UnixTime::from_secs(row.get(3)?));
    Ok(ClaimedName { form: row.get(0)?, name: row.get(1)?, log_index, not_after })
}
