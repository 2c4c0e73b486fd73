//! Quotas and keys' names: looked at, and counted, inside the transaction that issues. Of racing requests in one batch each
//! sees what those before it took, and a batch that is lost takes nothing.

use hallmark_policy::{
    Conditions, Reason, ReasonCode,
    limits::KeyNames,
    time::{DAY_SECS, UnixTime},
};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::{
    UnixMillis,
    schema::{signed, unsigned},
};

/// The caller of the row that counts a whole epoch: no caller has this name.
const ANY_CALLER: &str = "";

/// Milliseconds of a day of UTC.
const DAY_MILLIS: i64 = DAY_SECS as i64 * 1_000;

/// One count: of whom, and in which period.
struct Counter<'a> {
    caller: &'a str,
    period: i64,
}

/// Why the limits do not permit this; nothing if they do.
pub(crate) fn objections(
    connection: &Connection,
    conditions: &Conditions,
    at: UnixMillis,
) -> rusqlite::Result<Vec<Reason>> {
    let Conditions { limits, request, .. } = conditions;
    let mut reasons = Vec::new();
    if let (Some(quota), Some(counter)) = (limits.per_epoch, per_epoch(conditions))
        && used(connection, conditions, &counter)? >= quota
    {
        let sentence = format!("profile `{}` has given the {quota} certificates of this epoch", limits.profile);
        reasons.push(Reason::new(ReasonCode::QuotaExceeded, "profile", sentence).allowing("more in the next epoch"));
    }
    let counter = per_day(conditions, at);
    if let Some(quota) = limits.per_caller_per_day
        && used(connection, conditions, &counter)? >= quota
    {
        let sentence =
            format!("profile `{}` has given `{}` the {quota} certificates of this day", limits.profile, request.caller);
        let tomorrow = UnixTime::from_secs((counter.period + 1).saturating_mul(DAY_MILLIS / 1_000));
        let reason = Reason::new(ReasonCode::QuotaExceeded, "profile", sentence);
        reasons.push(reason.allowing(format!("more from {tomorrow}")));
    }
    if let Some(names) = &limits.key_names {
        reasons.extend(other_names(connection, &conditions.authority, names)?);
    }
    Ok(reasons)
}

/// Counts a certificate that is issued.
pub(crate) fn count(
    connection: &Connection,
    conditions: &Conditions,
    at: UnixMillis,
    log_index: u64,
) -> rusqlite::Result<()> {
    let limits = &conditions.limits;
    if let (Some(_), Some(counter)) = (limits.per_epoch, per_epoch(conditions)) {
        add(connection, conditions, &counter)?;
    }
    if limits.per_caller_per_day.is_some() {
        add(connection, conditions, &per_day(conditions, at))?;
    }
    if let Some(KeyNames { spki, names_sha256, only: _ }) = &limits.key_names {
        let sql = "INSERT INTO key_names (authority, spki_sha256, names_sha256, log_index) VALUES (?1, ?2, ?3, ?4) \
                   ON CONFLICT DO NOTHING";
        let values = params![conditions.authority, spki.as_bytes(), names_sha256, signed(log_index)];
        connection.prepare_cached(sql)?.execute(values)?;
    }
    Ok(())
}

fn per_epoch(conditions: &Conditions) -> Option<Counter<'static>> {
    let epoch = conditions.stage.epoch()?;
    Some(Counter { caller: ANY_CALLER, period: signed(epoch.generation) })
}

fn per_day(conditions: &Conditions, at: UnixMillis) -> Counter<'_> {
    Counter { caller: &conditions.request.caller, period: at.0.div_euclid(DAY_MILLIS) }
}

/// How many were given in the counter's period.
fn used(connection: &Connection, conditions: &Conditions, counter: &Counter<'_>) -> rusqlite::Result<u64> {
    let sql = "SELECT used FROM quota WHERE authority = ?1 AND profile = ?2 AND caller = ?3 AND period = ?4";
    let values = params![conditions.authority, conditions.limits.profile, counter.caller, counter.period];
    let used = connection.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional()?;
    Ok(used.map_or(0, unsigned))
}

/// One more; the first of a new period begins at one.
fn add(connection: &Connection, conditions: &Conditions, counter: &Counter<'_>) -> rusqlite::Result<()> {
    let sql = "INSERT INTO quota (authority, profile, caller, period, used) VALUES (?1, ?2, ?3, ?4, 1) \
               ON CONFLICT DO UPDATE SET used = iif(period = excluded.period, used + 1, 1), period = excluded.period";
    let values = params![conditions.authority, conditions.limits.profile, counter.caller, counter.period];
    connection.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

fn other_names(connection: &Connection, authority: &str, names: &KeyNames) -> rusqlite::Result<Option<Reason>> {
    if !names.only {
        return Ok(None);
    }
    let sql = "SELECT log_index FROM key_names WHERE authority = ?1 AND spki_sha256 = ?2 AND names_sha256 <> ?3";
    let values = params![authority, names.spki.as_bytes(), names.names_sha256];
    let other = connection.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional()?;
    Ok(other.map(unsigned).map(|log_index| {
        let sentence = format!("entry {log_index} of the log certified this key under other names");
        Reason::new(ReasonCode::KeyHasOtherNames, "key", sentence).allowing("a new key, or the same names")
    }))
}
