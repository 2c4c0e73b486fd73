//! What a verdict writes: the record's new state, alarms, and revocations, all in the transaction of the decision.

use hallmark_entry::Object;
use hallmark_policy::{
    Conditions, Facts,
    content::Serial,
    crl::RevocationReason,
    instance::{InstanceMove, InstanceName, InstanceStep},
    key::SpkiDigest,
};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Consequence, Displaced, Held, Record, counted_until, presented_serial};
use crate::{
    Revoke, UnixMillis,
    batch::{Batch, Fault},
    revocation::{RevokeAt, SERIALS_EACH_MAX},
    schema::signed,
};

/// The alarm of a database that is an older one.
const RESTORED: &str = "database-restored";

/// Who revokes what the rule revokes.
const BY_RULE: &str = hallmark_policy::SIGNER;

/// How a record moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It begins.
    Registered,
    /// It begins anew, in the place of one that is alive, whose certificates are superseded.
    Replaced(Record),
    /// The current certificate becomes the one before.
    Moved(Record),
    /// The one before stays, and what is displaced is superseded.
    Retried(Record),
    /// The one before stays, and what nobody was given is superseded.
    MovedAgain(Record),
    /// The one before stays; the certificate that should have been given again is not kept any more.
    Reissued(Record),
}

impl Change {
    /// The record that goes on; none where one begins.
    pub(crate) fn record(&self) -> Option<&Record> {
        match self {
            Self::Registered | Self::Replaced(_) => None,
            Self::Moved(record) | Self::Retried(record) | Self::MovedAgain(record) | Self::Reissued(record) => {
                Some(record)
            }
        }
    }

    /// The word that the log uses.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Replaced(_) => "replaced",
            Self::Moved(_) => "moved",
            Self::MovedAgain(_) => "moved-again",
            Self::Retried(_) => "retried",
            Self::Reissued(_) => "reissued",
        }
    }
}

/// An alarm that is raised once its entry is durable: what is rolled back has alarmed nobody.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Alarm {
    alarm: &'static str,
    authority: String,
    log_index: u64,
    sentence: String,
}

impl Alarm {
    pub(crate) fn new(alarm: &'static str, authority: &str, log_index: u64, sentence: &str) -> Self {
        Self { alarm, authority: authority.to_owned(), log_index, sentence: sentence.to_owned() }
    }

    /// Tells whoever reads the daemon's log. Gives what is counted: the authority, and the alarm's word.
    pub(crate) fn raise(self) -> (String, &'static str) {
        let Self { alarm, authority, log_index, sentence } = self;
        tracing::error!(authority, alarm, log_index, "{sentence}");
        (authority, alarm)
    }
}

/// Whose request raised an alarm.
struct About<'a> {
    authority: &'a str,
    caller: &'a str,
    request_id: &'a str,
}

impl Batch<'_> {
    /// Writes the record as it stands after the decision at that index. `held` is its new certificate.
    pub(crate) fn move_record(
        &mut self,
        conditions: &Conditions,
        moved: &InstanceMove,
        change: &Change,
        held: &Held,
        at: UnixMillis,
    ) -> Result<(), Fault> {
        let not_after = conditions.not_after.secs();
        match change {
            Change::Registered | Change::Replaced(_) => {
                if let Some(before) = Record::find(self.connection, &conditions.authority, &moved.name)? {
                    let reason = RevocationReason::Superseded;
                    self.revoke_living(&conditions.authority, before.id, reason, BY_RULE, SERIALS_EACH_MAX, at.into())?;
                }
                insert(self.connection, conditions, moved, held, at)?;
            }
            Change::Moved(record) => {
                let sql = "UPDATE instance SET previous_issuer = issuer, previous_serial = serial, \
                           previous_spki_sha256 = spki_sha256, previous_index = log_index, \
                           previous_group = current_group, issuer = ?3, serial = ?4, spki_sha256 = ?5, log_index = ?6, \
                           current_group = ?6, retried = 0, withheld = 0, moved_at = ?7, moves = moves + 1, \
                           not_after = max(not_after, ?8) WHERE id = ?1 AND log_index = ?2";
                self.set(sql, record, held, at, not_after)?;
            }
            Change::Retried(record) | Change::MovedAgain(record) => {
                let is_retry = matches!(change, Change::Retried(_));
                let sql = "UPDATE instance SET issuer = ?3, serial = ?4, spki_sha256 = ?5, log_index = ?6, current_group = ?6, \
                           withheld = 0, moved_at = ?7, moves = moves + 1, not_after = max(not_after, ?8) WHERE id = ?1 AND log_index = ?2";
                self.set(sql, record, held, at, not_after)?;
                self.displace(conditions, record, is_retry && is_proven(moved), at)?;
                if is_retry {
                    let sql = "UPDATE instance SET retried = 1 WHERE id = ?1";
                    self.connection.prepare_cached(sql)?.execute([signed(record.id)])?;
                    self.alarm_of_retry(conditions, moved, record, held, at)?;
                }
            }
            Change::Reissued(record) => {
                let sql = "UPDATE instance SET issuer = ?3, serial = ?4, spki_sha256 = ?5, log_index = ?6, withheld = 0, \
                           moved_at = ?7, moves = moves + 1, not_after = max(not_after, ?8) WHERE id = ?1 AND log_index = ?2";
                // Its group stays: whoever has the one that is not kept any more has a current certificate, too.
                self.set(sql, record, held, at, not_after)?;
            }
        }
        Ok(())
    }

    /// Supersedes the current certificate of a record, with those that were given in its place over the same key. Whoever presents one of them later has lost a race or its
    /// key where the retry that displaces them was not proven: nobody can tell, and so it revokes nobody. Where it was proven, two have keys of the instance.
    fn displace(
        &mut self,
        conditions: &Conditions,
        record: &Record,
        is_proven: bool,
        at: UnixMillis,
    ) -> Result<(), Fault> {
        let of_group = "instance = ?1 AND log_index >= ?2 AND coalesce(same_as, log_index) = ?2";
        let sql = format!(
            "SELECT issuer, serial, log_index FROM serial s WHERE {of_group} AND not_after * 1000 > ?4 \
             AND NOT EXISTS (SELECT 1 FROM revocation r WHERE r.issuer = s.issuer AND r.serial = s.serial) \
             ORDER BY log_index DESC LIMIT ?3"
        );
        let group = (signed(record.id), signed(record.current_group));
        let displaced: Vec<Held> = {
            let mut statement = self.connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params![group.0, group.1, SERIALS_EACH_MAX, at.0], |row| {
                let log_index = crate::schema::unsigned(row.get(2)?);
                Ok(Held { issuer: row.get(0)?, serial: row.get(1)?, spki: record.current.spki, log_index })
            })?;
            rows.collect::<Result<_, _>>()?
        };
        for held in displaced.iter().rev() {
            let reason = RevocationReason::Superseded;
            self.revoke_held(&conditions.authority, held, reason, BY_RULE, at.into())?;
        }
        let how = if is_proven { Displaced::Proven } else { Displaced::Unproven };
        let sql = format!("UPDATE serial SET displaced = ?3 WHERE {of_group}");
        self.connection.prepare_cached(&sql)?.execute(params![group.0, group.1, how.column()])?;
        Ok(())
    }

    /// Two keys were certified in the place of one certificate: an answer was lost, or somebody else has that certificate.
    fn alarm_of_retry(
        &mut self,
        conditions: &Conditions,
        moved: &InstanceMove,
        record: &Record,
        held: &Held,
        at: UnixMillis,
    ) -> Result<(), Fault> {
        let displaced = hallmark_policy::hex(&record.current.serial);
        let sentence = format!(
            "the certificate before was presented again with another key: {displaced} of {} is superseded, and whoever has it is shut out",
            moved.name
        );
        let request = &conditions.request;
        let about = About { authority: &request.authority, caller: &request.caller, request_id: &request.id };
        self.alarm("instance-retried", about, moved, &sentence, held.log_index, at).map(drop)
    }

    /// Compares and sets: the record is what it was judged by, or the whole batch is wrong.
    fn set(&self, sql: &str, record: &Record, held: &Held, at: UnixMillis, not_after: i64) -> Result<(), Fault> {
        let values = params![
            signed(record.id),
            signed(record.current.log_index),
            held.issuer,
            held.serial,
            held.spki,
            signed(held.log_index),
            at.0,
            not_after
        ];
        if self.connection.prepare_cached(sql)?.execute(values)? != 1 {
            return Err(Fault::Sql(rusqlite::Error::QueryReturnedNoRows));
        }
        if not_after > record.counted_until {
            let sql = "UPDATE instance SET counted_until = ?2 WHERE id = ?1";
            self.connection.prepare_cached(sql)?.execute(params![signed(record.id), counted_until(not_after, at)])?;
        }
        Ok(())
    }

    /// Writes what follows from a refusal whose entry stands at that index.
    pub(crate) fn follow(
        &mut self,
        consequence: Consequence,
        moved: &InstanceMove,
        facts: &Facts,
        sentence: &str,
        decision: u64,
        at: UnixMillis,
    ) -> Result<(), Fault> {
        let alarm = match &consequence {
            Consequence::Nothing => return Ok(()),
            Consequence::Alarm => "stray-certificate",
            Consequence::Forged => "forged-certificate",
            Consequence::Revoke(_) => "instance-stolen",
            Consequence::Stop => RESTORED,
        };
        let about = About { authority: &facts.authority, caller: &facts.caller, request_id: &facts.request_id };
        let logged = self.alarm(alarm, about, moved, sentence, decision, at)?;
        match consequence {
            Consequence::Nothing | Consequence::Alarm | Consequence::Forged => {}
            Consequence::Revoke(record) => {
                let reason = RevocationReason::KeyCompromise;
                self.revoke_record(&facts.authority, &moved.name, &record, reason, BY_RULE, sentence, at.into())?;
            }
            Consequence::Stop => {
                let sql = "UPDATE authority SET stopped_index = ?2 WHERE name = ?1 AND stopped_index IS NULL";
                self.connection.prepare_cached(sql)?.execute(params![facts.authority, signed(logged.index)])?;
            }
        }
        Ok(())
    }

    /// Logs that an authority's database is an older one, where no request shows it.
    pub(crate) fn alarm_of_restore(
        &mut self,
        authority: &str,
        sentence: &str,
        at: UnixMillis,
    ) -> Result<crate::Logged, Fault> {
        let object = Object::new().text("alarm", RESTORED).text("authority", authority).text("sentence", sentence);
        let logged = self.append(object.into_entry("alarm", at.0), at)?;
        self.alarms.push(Alarm::new(RESTORED, authority, logged.index, sentence));
        Ok(logged)
    }

    /// Logs something that an operator should look at.
    fn alarm(
        &mut self,
        alarm: &'static str,
        about: About<'_>,
        moved: &InstanceMove,
        sentence: &str,
        decision: u64,
        at: UnixMillis,
    ) -> Result<crate::Logged, Fault> {
        let object = Object::new()
            .text("alarm", alarm)
            .text("authority", about.authority)
            .text("caller", about.caller)
            .text("request-id", about.request_id)
            .object("instance", describe(&moved.name))
            .maybe_hex("presented-serial", presented_serial(moved).as_ref().map(Serial::as_bytes))
            .text("sentence", sentence)
            .count("decision-index", decision);
        let logged = self.append(object.into_entry("alarm", at.0), at)?;
        self.alarms.push(Alarm::new(alarm, about.authority, logged.index, sentence));
        Ok(logged)
    }

    /// Revokes an instance and the certificates of its registration that have not ended: as many as one transaction does, and the others in the
    /// background. Gives its entry, how many were revoked, and how many are left.
    #[expect(clippy::too_many_arguments, reason = "what its entry says comes in here")]
    pub(crate) fn revoke_record(
        &mut self,
        authority: &str,
        name: &InstanceName,
        record: &Record,
        reason: RevocationReason,
        by: &str,
        why: &str,
        at: RevokeAt,
    ) -> Result<(crate::Logged, u64, u64), Fault> {
        let unlisted = crate::revocation::unlisted(self.connection, record.id, at.ended_by)?;
        let object = Object::new()
            .text("action", "revoked")
            .text("authority", authority)
            .object("instance", describe(name))
            .count("registered-index", record.id)
            .text("reason", reason.name())
            .text("by", by)
            .text("sentence", why);
        let object = if unlisted > 0 { object.count("unlisted", unlisted) } else { object };
        let logged = self.append(object.into_entry("instance", at.at.0), at.at)?;
        let sql = "UPDATE instance SET revoked_at = ?2, revoked_index = ?3 WHERE id = ?1";
        self.connection.prepare_cached(sql)?.execute(params![signed(record.id), at.at.0, signed(logged.index)])?;
        let (revoked, left) = self.revoke_living(authority, record.id, reason, by, SERIALS_EACH_MAX, at)?;
        Ok((logged, revoked, left))
    }

    /// Revokes certificates of a revoked registration, the newest first, and remembers where to go on. Gives how many were, and are left.
    pub(crate) fn revoke_living(
        &mut self,
        authority: &str,
        registration: u64,
        reason: RevocationReason,
        by: &str,
        most: u32,
        at: RevokeAt,
    ) -> Result<(u64, u64), Fault> {
        let (revoked, rest) = self.revoke_before(authority, registration, i64::MAX, (reason, by), most, at)?;
        let left = match rest {
            Some(before) => count_living(self.connection, registration, before, at.ended_by)?,
            None => 0,
        };
        if let Some(before) = rest.filter(|_| left > 0) {
            let sql = "INSERT OR REPLACE INTO revoking (registration, authority, reason, revoked_by, before) \
                       VALUES (?1, ?2, ?3, ?4, ?5)";
            let values = params![signed(registration), authority, reason.number(), by, before];
            self.connection.prepare_cached(sql)?.execute(values)?;
            self.revoking = true;
        } else {
            self.end_revoking(registration)?;
        }
        Ok((revoked, left))
    }

    /// Goes on with a registration whose certificates are not all revoked yet. Gives whether there is more to do.
    pub(crate) fn go_on_revoking(&mut self, at: RevokeAt, most: usize) -> Result<bool, Fault> {
        let sql = "SELECT registration, authority, reason, revoked_by, before FROM revoking LIMIT 1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let read = |row: &rusqlite::Row<'_>| {
            let id = crate::schema::unsigned(row.get(0)?);
            Ok((id, row.get::<_, String>(1)?, row.get(2)?, row.get::<_, String>(3)?, row.get(4)?))
        };
        let found = statement.query_row([], read).optional()?;
        let Some((id, authority, reason, by, before)) = found else { return Ok(false) };
        let reason = RevocationReason::from_number(reason).unwrap_or(RevocationReason::Unspecified);
        let most = u32::try_from(most).unwrap_or(SERIALS_EACH_MAX).min(SERIALS_EACH_MAX);
        let (_, rest) = self.revoke_before(&authority, id, before, (reason, &by), most, at)?;
        match rest {
            Some(before) => {
                let sql = "UPDATE revoking SET before = ?2 WHERE registration = ?1";
                self.connection.prepare_cached(sql)?.execute(params![signed(id), before])?;
            }
            None => self.end_revoking(id)?,
        }
        Ok(true)
    }

    fn end_revoking(&self, registration: u64) -> rusqlite::Result<()> {
        let sql = "DELETE FROM revoking WHERE registration = ?1";
        self.connection.prepare_cached(sql)?.execute([signed(registration)]).map(drop)
    }

    /// Revokes at most so many certificates of a registration that were decided before that index. Gives how many, and where to go on if there may be more.
    fn revoke_before(
        &mut self,
        authority: &str,
        registration: u64,
        before: i64,
        (reason, by): (RevocationReason, &str),
        most: u32,
        at: RevokeAt,
    ) -> Result<(u64, Option<i64>), Fault> {
        let living = living(self.connection, registration, before, most, at.ended_by)?;
        let mut revoked = 0;
        for held in &living {
            revoked += u64::from(self.revoke_held(authority, held, reason, by, at)?);
        }
        let is_full = living.len() as u64 >= u64::from(most);
        let rest = living.last().filter(|_| is_full).map(|held| signed(held.log_index));
        Ok((revoked, rest))
    }

    /// Revokes a certificate. Gives whether it could be: not one whose serial number does not read.
    fn revoke_held(
        &mut self,
        authority: &str,
        held: &Held,
        reason: RevocationReason,
        by: &str,
        at: RevokeAt,
    ) -> Result<bool, Fault> {
        let sql = "SELECT spki_sha256 FROM issuer WHERE id = ?1";
        let issuer = self.connection.prepare_cached(sql)?.query_row([held.issuer], |row| row.get(0))?;
        let Some(serial) = Serial::from_stored(&held.serial) else {
            tracing::error!(
                log_index = held.log_index,
                "a serial number in the database does not read, and is not revoked"
            );
            return Ok(false);
        };
        let (authority, by) = (authority.to_owned(), by.to_owned());
        let revoke = Revoke { authority, issuer: SpkiDigest::from_bytes(issuer), serial, reason, by };
        self.revoke(&revoke, at).map(|_| true)
    }
}

/// Certificates of a registration that were decided before that index, have not ended and are not revoked, the newest first.
fn living(
    connection: &Connection,
    registration: u64,
    before: i64,
    most: u32,
    ended_by: UnixMillis,
) -> rusqlite::Result<Vec<Held>> {
    let sql = "SELECT s.issuer, s.serial, s.log_index FROM serial s WHERE s.instance = ?1 AND s.log_index < ?4 \
               AND s.not_after * 1000 > ?2 \
               AND NOT EXISTS (SELECT 1 FROM revocation r WHERE r.issuer = s.issuer AND r.serial = s.serial) \
               ORDER BY s.log_index DESC LIMIT ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![signed(registration), ended_by.0, most, before], |row| {
        let log_index = crate::schema::unsigned(row.get(2)?);
        Ok(Held { issuer: row.get(0)?, serial: row.get(1)?, spki: [0; 32], log_index })
    })?;
    rows.collect()
}

/// How many there are.
fn count_living(
    connection: &Connection,
    registration: u64,
    before: i64,
    ended_by: UnixMillis,
) -> rusqlite::Result<u64> {
    let sql = "SELECT count(*) FROM serial s WHERE s.instance = ?1 AND s.log_index < ?3 AND s.not_after * 1000 > ?2 \
               AND NOT EXISTS (SELECT 1 FROM revocation r WHERE r.issuer = s.issuer AND r.serial = s.serial)";
    let values = params![signed(registration), ended_by.0, before];
    let count = connection.prepare_cached(sql)?.query_row(values, |row| row.get(0));
    count.map(crate::schema::unsigned)
}

fn is_proven(moved: &InstanceMove) -> bool {
    matches!(&moved.step, InstanceStep::Refresh(presented) if presented.proven)
}

/// A record begins. Whatever was registered under its name is over.
fn insert(
    connection: &Connection,
    conditions: &Conditions,
    moved: &InstanceMove,
    held: &Held,
    at: UnixMillis,
) -> rusqlite::Result<()> {
    let InstanceMove { name: InstanceName { provider, id, service }, .. } = moved;
    let sql = "DELETE FROM instance WHERE authority = ?1 AND provider = ?2 AND name = ?3";
    connection.prepare_cached(sql)?.execute(params![conditions.authority, provider, id])?;
    let sql = "INSERT INTO instance (id, authority, provider, name, service, registered_at, moved_at, not_after, issuer, \
               serial, spki_sha256, log_index, current_group, counted_until) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8, ?9, ?10, ?1, ?1, ?11)";
    let not_after = conditions.not_after.secs();
    let values = params![
        signed(held.log_index),
        conditions.authority,
        provider,
        id,
        service,
        at.0,
        not_after,
        held.issuer,
        held.serial,
        held.spki,
        counted_until(not_after, at)
    ];
    connection.prepare_cached(sql)?.execute(values).map(drop)
}

/// An instance, for an entry.
pub(crate) fn describe(name: &InstanceName) -> Object {
    Object::new().text("provider", &name.provider).text("id", &name.id).text("service", &name.service)
}
