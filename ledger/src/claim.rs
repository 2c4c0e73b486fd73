//! Names whose dots are written as dashes: each written form belongs to the first name that comes with it, for ever.

use hallmark_policy::{NameClaim, Reason, ReasonCode};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::schema::{signed, unsigned};

/// Why the claims cannot be had; nothing if all of them are free, or these names' already.
pub(crate) fn objections(
    connection: &Connection,
    authority: &str,
    claims: &[NameClaim],
) -> rusqlite::Result<Vec<Reason>> {
    let mut reasons = Vec::new();
    for claim in claims {
        if let Some((name, log_index)) = holder(connection, authority, &claim.form)?
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

/// Takes what is free.
pub(crate) fn take(
    connection: &Connection,
    authority: &str,
    claims: &[NameClaim],
    log_index: u64,
) -> rusqlite::Result<()> {
    for NameClaim { form, name } in claims {
        if holder(connection, authority, form)?.is_none() {
            let sql = "INSERT INTO name_claim (authority, form, name, log_index) VALUES (?1, ?2, ?3, ?4)";
            connection.prepare_cached(sql)?.execute(params![authority, form, name, signed(log_index)])?;
        }
    }
    Ok(())
}

fn holder(connection: &Connection, authority: &str, form: &str) -> rusqlite::Result<Option<(String, u64)>> {
    let sql = "SELECT name, log_index FROM name_claim WHERE authority = ?1 AND form = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row([authority, form], |row| Ok((row.get(0)?, unsigned(row.get(1)?)))).optional()
}
