//! The serial rule: whether a record moves, and what follows if it does not. It reads and decides; nothing is written here.
//!
//! A refresh presents the certificate that it replaces. In this order:
//!
//! | it is | then |
//! |---|---|
//! | not in the ledger | the authority stops: a database was restored; refused, alarm, if its epoch cannot have issued it |
//! | one whose serial number was given to another key, or with another end | refused, alarm: somebody else signs with our key |
//! | of no record, or of another registration or service | refused, alarm |
//! | of a revoked instance | refused |
//! | one that is revoked, or the one before or a twin of the current one, which is revoked, for the same key | refused, alarm |
//! | the current one | the record moves |
//! | the one before, and the new key is the current one's | the current certificate again, or another in its place where it is not kept or another was asked for |
//! | the one before, with another key, and nobody was given the current one | the record moves, and what it displaces is superseded |
//! | the one before, with another key, once | the record moves, and what it displaces is superseded, alarm |
//! | the one before, with another key, again | refused |
//! | an older one, and the request is one that had an answer, as far as is known | refused, alarm: somebody repeats what he recorded |
//! | one that a retry displaced which proved nothing | refused, alarm: its holder lost a race, or somebody has seen the one before |
//! | an older one, or one that a proven retry displaced, and its key is proven | the instance is revoked, alarm |
//! | an older one | refused, alarm |
//!
//! A certificate that was given once more with the same key is what was given in its place.

use hallmark_policy::{
    Reason, ReasonCode,
    instance::{InstanceMove, InstanceName, InstanceStep, PresentedCertificate},
    time::UnixTime,
};
use rusqlite::{Connection, params};

use super::{Change, Displaced, Record, SerialRow, Withheld, is_revoked, unknown, was_asked_before};
use crate::{
    UnixMillis,
    schema::{signed, unsigned},
};

pub(super) const FIELD: &str = "instance";

/// What becomes of a wish.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and mostly it is the large one")]
pub(crate) enum Verdict {
    /// The record moves so.
    Move(Change),
    /// The certificate of that decision answers this, too.
    Same {
        /// Index of the decision.
        log_index: u64,
    },
    /// Nothing moves.
    Refuse(Box<Reason>, Consequence),
}

/// What else follows from a refusal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Consequence {
    /// Nothing.
    Nothing,
    /// Somebody should look.
    Alarm,
    /// Somebody signs with a key of ours.
    Forged,
    /// The instance is revoked.
    Revoke(Box<Record>),
    /// The authority issues nothing any more.
    Stop,
}

/// Whether an alarm, or worse, follows from a wish.
pub(crate) fn is_alarming(
    connection: &Connection,
    authority: &str,
    moved: &InstanceMove,
    at: UnixMillis,
) -> rusqlite::Result<bool> {
    Ok(match judge(connection, authority, moved, at)? {
        Verdict::Refuse(_, consequence) => consequence != Consequence::Nothing,
        Verdict::Move(_) | Verdict::Same { .. } => false,
    })
}

/// Whether a record may move so.
pub(crate) fn judge(
    connection: &Connection,
    authority: &str,
    moved: &InstanceMove,
    at: UnixMillis,
) -> rusqlite::Result<Verdict> {
    match &moved.step {
        InstanceStep::Register { replace, alive_max } => {
            register(connection, authority, moved, *replace, *alive_max, at)
        }
        InstanceStep::Refresh(presented) => refresh(connection, authority, moved, presented, at),
    }
}

fn register(
    connection: &Connection,
    authority: &str,
    moved: &InstanceMove,
    replace: bool,
    alive_max: Option<u64>,
    at: UnixMillis,
) -> rusqlite::Result<Verdict> {
    let InstanceMove { name, key, .. } = moved;
    let record = Record::find(connection, authority, name)?;
    if let Some(record) = &record {
        if record.revoked {
            return Ok(revoked(name));
        }
        if record.is_alive(at) {
            let is_retry = record.current.spki == *key.as_bytes() && record.is_first();
            if is_retry && record.service == name.service && is_kept(connection, record, moved, at)? {
                return Ok(Verdict::Same { log_index: record.current.log_index });
            }
            if !replace && !record.was_given_to_nobody_but(*key) {
                let until = UnixTime::from_secs(record.not_after);
                let sentence =
                    format!("{name} is registered since log entry {}, and its certificates end at {until}", record.id);
                let reason = Reason::new(ReasonCode::InstanceExists, FIELD, sentence);
                return Ok(refuse(reason.allowing("`refresh` with its current certificate"), Consequence::Nothing));
            }
        }
    }
    if let Some(reason) = over_quota(connection, authority, name, alive_max, at)? {
        return Ok(refuse(reason, Consequence::Nothing));
    }
    Ok(Verdict::Move(match record {
        Some(record) if record.is_alive(at) && !record.was_given_to_nobody_but(*key) => Change::Replaced(record),
        Some(_) | None => Change::Registered,
    }))
}

/// How many instances of a service are alive, beside one; at most so many are counted.
pub(super) const ALIVE: &str = "SELECT count(*) FROM (SELECT 1 FROM instance WHERE authority = ?1 AND provider = ?2 AND service = ?3 \
                               AND counted_until > ?4 AND not_after > ?4 AND revoked_at IS NULL AND name <> ?5 \
                               AND (withheld <> 2 OR previous_serial IS NOT NULL) LIMIT ?6)";

/// Instances of the service that are alive, beside this one.
fn over_quota(
    connection: &Connection,
    authority: &str,
    name: &InstanceName,
    alive_max: Option<u64>,
    at: UnixMillis,
) -> rusqlite::Result<Option<Reason>> {
    let Some(most) = alive_max else { return Ok(None) };
    let now = at.0.div_euclid(1_000);
    let values = params![authority, name.provider, name.service, now, name.id, signed(most)];
    let alive: i64 = connection.prepare_cached(ALIVE)?.query_row(values, |row| row.get(0))?;
    let sentence =
        || format!("service `{}` has {most} instances of provider `{}` already", name.service, name.provider);
    Ok((unsigned(alive) >= most).then(|| Reason::new(ReasonCode::QuotaExceeded, FIELD, sentence())))
}

fn refresh(
    connection: &Connection,
    authority: &str,
    moved: &InstanceMove,
    presented: &PresentedCertificate,
    at: UnixMillis,
) -> rusqlite::Result<Verdict> {
    let InstanceMove { name, key, asked, .. } = moved;
    let PresentedCertificate { issuer, serial, key: presented_key, not_after, proven, .. } = presented;
    let Some(row) = SerialRow::find(connection, *issuer, *serial)? else {
        return unknown::certificate(connection, authority, presented, at);
    };
    if row.spki_sha256.is_some_and(|given| given != *presented_key.as_bytes()) || row.not_after != not_after.secs() {
        return Ok(unknown::forged(*serial, "its serial number was given to another key, or with another end"));
    }
    let Some(record) = Record::find_at(connection, row.instance, authority, name)? else {
        let reason = Reason::new(ReasonCode::InstanceUnknown, FIELD, format!("{name} is not registered"));
        return Ok(refuse(reason.allowing("`register`"), Consequence::Alarm));
    };
    if record.revoked {
        return Ok(revoked(name));
    }
    if row.instance != Some(record.id) {
        let sentence = format!("the certificate {serial} is none of {name} since log entry {}", record.id);
        let reason = Reason::new(ReasonCode::InstanceDiffers, FIELD, sentence);
        return Ok(refuse(reason.allowing("the certificate that was given to it last"), Consequence::Alarm));
    }
    if record.service != name.service {
        let sentence = format!("{name} runs `{}`, and the names say `{}`", record.service, name.service);
        let reason = Reason::new(ReasonCode::InstanceDiffers, "names", sentence);
        return Ok(refuse(reason.allowing(record.service), Consequence::Alarm));
    }
    let is_current = row.group == record.current_group;
    let is_previous = record.previous_group == Some(row.group);
    if (is_current || is_previous) && row.is_revoked {
        let reason =
            Reason::new(ReasonCode::InstanceCertificateRevoked, FIELD, format!("the certificate {serial} is revoked"));
        return Ok(refuse(reason, Consequence::Alarm));
    }
    let of_current = record.current.spki == *key.as_bytes();
    let is_other = record.current.serial != serial.as_bytes();
    if (is_current && is_other || is_previous && of_current)
        && is_revoked(connection, record.current.issuer, &record.current.serial)?
    {
        let sentence = format!("the current certificate of {name} is revoked, and its key gets no other one");
        return Ok(refuse(Reason::new(ReasonCode::InstanceCertificateRevoked, FIELD, sentence), Consequence::Alarm));
    }
    if is_current {
        return Ok(Verdict::Move(Change::Moved(record)));
    }
    if is_previous {
        if of_current {
            return Ok(if is_kept(connection, &record, moved, at)? {
                Verdict::Same { log_index: record.current.log_index }
            } else {
                Verdict::Move(Change::Reissued(record))
            });
        }
        if matches!(record.withheld, Some(Withheld::Failed | Withheld::Void)) {
            return Ok(Verdict::Move(Change::MovedAgain(record)));
        }
        if !record.retried {
            return Ok(Verdict::Move(Change::Retried(record)));
        }
        let sentence = format!("the certificate {serial} was replaced, and the one retry with another key was used");
        let reason = Reason::new(ReasonCode::InstanceRetryUsed, FIELD, sentence);
        return Ok(refuse(reason.allowing("the certificate that was given last"), Consequence::Nothing));
    }
    if was_asked_before(connection, record.id, *key, *asked)? {
        let sentence = format!(
            "the certificate {serial} of {name} was replaced, and this request or its key had an answer before: an earlier refresh is repeated"
        );
        let reason = Reason::new(ReasonCode::InstanceCertificateReplaced, FIELD, sentence);
        let allowed = "the certificate that was given last, and a request id that was never used";
        return Ok(refuse(reason.allowing(allowed), Consequence::Alarm));
    }
    if let (Some(Displaced::Unproven), _) | (Some(Displaced::Proven), false) = (row.displaced, *proven) {
        let sentence = format!(
            "the certificate {serial} of {name} was displaced: the one before it was presented again with another key"
        );
        let reason = Reason::new(ReasonCode::InstanceCertificateReplaced, FIELD, sentence);
        let allowed = "an operator finds out who presented the other key (`hallmark instance show`), and runs `hallmark instance revoke` and `allow`";
        return Ok(refuse(reason.allowing(allowed), Consequence::Alarm));
    }
    if *proven {
        let sentence = format!(
            "the certificate {serial} of {name} was replaced, and its key is still in use: the instance is revoked"
        );
        let reason = Reason::new(ReasonCode::InstanceStolen, FIELD, sentence);
        let reason = reason.allowing("an operator finds out who has the key, and runs `hallmark instance allow`");
        return Ok(refuse(reason, Consequence::Revoke(Box::new(record))));
    }
    let sentence =
        format!("the certificate {serial} of {name} was replaced long ago, and nobody proves to have its key");
    let reason = Reason::new(ReasonCode::InstanceCertificateReplaced, FIELD, sentence);
    Ok(refuse(reason.allowing("the certificate that was given last"), Consequence::Alarm))
}

/// Whether the current certificate can be given again to whoever asks for that: it is kept, and says what is asked for.
fn is_kept(connection: &Connection, record: &Record, moved: &InstanceMove, at: UnixMillis) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM request WHERE log_index = ?1 AND void = 0 AND not_after * 1000 > ?2 AND wish = ?3";
    let values = params![signed(record.current.log_index), at.0, moved.wish_sha256];
    let kept = connection.prepare_cached(sql)?.exists(values)?;
    Ok(kept && !is_revoked(connection, record.current.issuer, &record.current.serial)?)
}

fn revoked(name: &InstanceName) -> Verdict {
    let reason = Reason::new(ReasonCode::InstanceRevoked, FIELD, format!("{name} is revoked"));
    refuse(reason.allowing("an operator runs `hallmark instance allow`"), Consequence::Nothing)
}

pub(super) fn refuse(reason: Reason, consequence: Consequence) -> Verdict {
    Verdict::Refuse(Box::new(reason), consequence)
}
