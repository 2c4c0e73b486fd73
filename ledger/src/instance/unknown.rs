//! Certificates with our signature and without a row: either this database is older than the certificate, or somebody else signs with our
//! key. The first stops the authority. Whoever stole the key of an epoch that is over must not be able to.
//!
//! A database that has an epoch as retired has everything that the epoch issued before, for what is committed is in one order. Only after it
//! was restored, and has rotated since then before anybody noticed, a certificate of a retired epoch can be lost to it: instances refresh daily, so that it
//! is noticed within [`RETIRED_STOPS_MILLIS`].
//!
//! What the database forgets by itself has ended for long, and is refused before it is looked for; unless the clock had run ahead: see
//! [`forgotten_ahead`].

use hallmark_policy::{
    Reason, ReasonCode,
    content::{CertificateContent, Serial},
    instance::PresentedCertificate,
    profile::BACKDATE_MAX,
    time::UnixTime,
};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::rule::{Consequence, FIELD, Verdict, refuse};
use crate::{UnixMillis, batch::Batch, schema::unsigned};

/// How long after its end an epoch's certificates can stop the authority: a day.
const RETIRED_STOPS_MILLIS: i64 = 86_400_000;

/// What an operator does about a stopped authority.
const WAY_OUT: &str = "an operator puts the newest database back, or accepts this one with `hallmark authority resume`";

/// What becomes of a refresh that presents one.
pub(super) fn certificate(
    connection: &Connection,
    authority: &str,
    presented: &PresentedCertificate,
    at: UnixMillis,
) -> rusqlite::Result<Verdict> {
    let PresentedCertificate { serial, not_before, .. } = presented;
    if restored_at(connection, authority)?.is_some_and(|restored| *not_before < restored) {
        let sentence =
            format!("the certificate {serial} was lost when the database was restored, or the clock ran ahead");
        let reason = Reason::new(ReasonCode::InstanceUnknown, FIELD, sentence);
        let allowed = "an operator runs `hallmark instance allow`, and the instance registers anew";
        return Ok(refuse(reason.allowing(allowed), Consequence::Alarm));
    }
    if let Some(why) = Epoch::find(connection, authority, presented)?.forged(presented, at) {
        return Ok(forged(*serial, why));
    }
    let sentence = format!(
        "the certificate {serial} is signed with our key, and this database does not know it: an older database was restored"
    );
    // Once is enough: whoever asks again finds it stopped.
    let consequence = if stopped(connection, authority)?.is_some() { Consequence::Nothing } else { Consequence::Stop };
    Ok(refuse(Reason::new(ReasonCode::AuthorityStopped, "authority", sentence).allowing(WAY_OUT), consequence))
}

/// Somebody else signs with our key.
pub(super) fn forged(serial: Serial, why: &str) -> Verdict {
    let sentence = format!("the certificate {serial} is signed with our key, and is forged: {why}");
    let reason = Reason::new(ReasonCode::InstanceCertificateForeign, FIELD, sentence);
    let allowed = "an operator finds out who has the key, and runs `hallmark epoch revoke`";
    refuse(reason.allowing(allowed), Consequence::Forged)
}

/// What the database knows of the epoch whose key it is. One that is not active yet may have been, if the database was restored.
#[derive(Debug, Default)]
struct Epoch {
    is_aborted: bool,
    active_at: Option<i64>,
    retired_at: Option<i64>,
    /// End of its intermediate CA certificate, in seconds.
    not_after: Option<i64>,
    is_revoked: bool,
}

impl Epoch {
    fn find(connection: &Connection, authority: &str, presented: &PresentedCertificate) -> rusqlite::Result<Self> {
        let sql = "SELECT e.state = 'aborted', e.active_at, e.retired_at, r.not_after, \
                   EXISTS (SELECT 1 FROM revocation v WHERE v.issuer = r.issuer AND v.serial = r.serial) \
                   FROM epoch e LEFT JOIN request r ON r.log_index = e.intermediate \
                   WHERE e.authority = ?1 AND e.spki_sha256 = ?2";
        let mut statement = connection.prepare_cached(sql)?;
        let values = params![authority, presented.issuer.as_bytes()];
        let found = statement.query_row(values, |row| {
            Ok(Self {
                is_aborted: row.get(0)?,
                active_at: row.get(1)?,
                retired_at: row.get(2)?,
                not_after: row.get(3)?,
                is_revoked: row.get(4)?,
            })
        });
        Ok(found.optional()?.unwrap_or_default())
    }

    /// Why it cannot have issued the certificate, if so.
    fn forged(&self, presented: &PresentedCertificate, at: UnixMillis) -> Option<&'static str> {
        let begins = presented.not_before.secs().saturating_mul(1_000);
        let backdate = i64::try_from(BACKDATE_MAX.secs()).unwrap_or(i64::MAX).saturating_mul(1_000);
        let is_long_over = |retired: i64| self.is_revoked || at.0 > retired.saturating_add(RETIRED_STOPS_MILLIS);
        if self.is_aborted {
            Some("its epoch was given up before it signed anything")
        } else if self.active_at.is_some_and(|active| begins < active.saturating_sub(backdate)) {
            Some("it begins before its epoch was active")
        } else if self.retired_at.is_some_and(|retired| begins > retired) {
            Some("it begins after its epoch was replaced")
        } else if begins > at.0 {
            Some("it begins in the future")
        } else if self.not_after.is_some_and(|end| presented.not_after.secs() > end) {
            Some("it ends after its issuer")
        } else if self.retired_at.is_some_and(is_long_over) {
            Some("its epoch is over, and everything that it issued is known")
        } else {
            None
        }
    }
}

/// Why an authority issues nothing, if it was stopped.
pub(crate) fn stopped(connection: &Connection, authority: &str) -> rusqlite::Result<Option<Reason>> {
    let sql = "SELECT stopped_index FROM authority WHERE name = ?1";
    let index =
        connection.prepare_cached(sql)?.query_row([authority], |row| row.get::<_, Option<i64>>(0)).optional()?;
    Ok(index.flatten().map(unsigned).map(|index| {
        let sentence = format!("authority `{authority}` was stopped by log entry {index}: something of ours turned up that this database does not know: it is an older one that was restored");
        Reason::new(ReasonCode::AuthorityStopped, "authority", sentence).allowing(WAY_OUT)
    }))
}

/// When an operator took an older database for good, if ever: what begins before is lost, and what is issued from then on begins then or later.
pub(crate) fn restored_at(connection: &Connection, authority: &str) -> rusqlite::Result<Option<UnixTime>> {
    let sql = "SELECT restored_at FROM authority WHERE name = ?1";
    let at = connection.prepare_cached(sql)?.query_row([authority], |row| row.get::<_, Option<i64>>(0)).optional()?;
    Ok(at.flatten().map(UnixTime::from_secs))
}

/// The clock is set right. Where it had run ahead for so long that certificates may be forgotten that have not ended, they are as lost as
/// if an older database had been put in place and accepted: they stop nobody.
pub(crate) fn forgotten_ahead(batch: &Batch<'_>, at: UnixMillis) -> rusqlite::Result<()> {
    let last = match batch.last_at {
        Some(last) => Some(last.0),
        None => batch.connection.query_row("SELECT at FROM head", [], |row| row.get(0))?,
    };
    if last.is_some_and(|last| last.saturating_sub(batch.ended_millis) > at.0) {
        let sql = "UPDATE authority SET restored_at = ?1";
        batch.connection.prepare_cached(sql)?.execute([at.0.div_euclid(1_000)])?;
        tracing::warn!(
            "the clock had run so far ahead that certificates may be forgotten that have not ended; those that began before now and are not known stop no authority"
        );
    }
    Ok(())
}

/// Why a leaf may not be issued that begins before the authority was resumed: it would pass for one that was lost.
pub(crate) fn before_resumed(
    connection: &Connection,
    authority: &str,
    content: &CertificateContent,
) -> rusqlite::Result<Option<Reason>> {
    let begins = content.validity.not_before;
    Ok(restored_at(connection, authority)?.filter(|restored| begins < *restored).map(|restored| {
        let sentence =
            format!("authority `{authority}` was resumed at {restored}, and the certificate would begin at {begins}");
        Reason::new(ReasonCode::AuthorityStopped, "authority", sentence).allowing("to ask again")
    }))
}

#[cfg(test)]
mod tests {
    use hallmark_policy::{content::Serial, key::SpkiDigest};

    use super::*;
    use crate::schema;

    const KEY: SpkiDigest = SpkiDigest::from_bytes([9; 32]);
    const HOUR: i64 = 3_600;
    const DAY: i64 = 24 * HOUR;
    const ACTIVE: i64 = 1_800_000_000;
    const RETIRED: i64 = ACTIVE + 90 * DAY;
    const EPOCH_ENDS: i64 = ACTIVE + 365 * DAY;

    /// A database with one epoch; its intermediate CA certificate ends with [`EPOCH_ENDS`].
    fn database(state: &str, retired: Option<i64>, is_revoked: bool) -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::create(&mut connection).unwrap();
        connection
            .execute_batch(&format!(
                "PRAGMA foreign_keys = OFF;
                 INSERT INTO authority (name, state, label, owners) VALUES ('a', 'ready', 'l', x'');
                 INSERT INTO issuer (id, spki_sha256, issued) VALUES (1, x'00', 0);
                 INSERT INTO request (log_index, at, authority, caller, id, content, stage, issuer, serial, algorithm, not_after, tbs)
                 VALUES (7, 0, 'a', 'c', 'r', x'', 'intermediate', 1, x'01', 'ed25519', {EPOCH_ENDS}, x'');"
            ))
            .unwrap();
        let sql = "INSERT INTO epoch (authority, generation, state, manifest_sha256, transition, previous, lifetime, revoke_previous, \
                   label, intent_at, spki_sha256, intermediate, active_at, retired_at) \
                   VALUES ('a', 1, ?1, x'', x'', x'', 0, 0, 'l', 0, ?2, 7, ?3, ?4)";
        let active = (!matches!(state, "prepared" | "aborted")).then_some(ACTIVE * 1_000);
        connection.execute(sql, params![state, KEY.as_bytes(), active, retired.map(|at| at * 1_000)]).unwrap();
        if is_revoked {
            let sql = "INSERT INTO revocation (issuer, serial, at, reason, not_after, log_index) VALUES (1, x'01', 0, 4, 0, 9)";
            connection.execute(sql, []).unwrap();
        }
        connection
    }

    /// What follows from a certificate with that validity.
    fn follows(connection: &Connection, (begins, ends): (i64, i64), now: i64) -> (&'static str, Consequence) {
        let presented = PresentedCertificate {
            issuer: KEY,
            serial: Serial::from_random([1; 16]),
            key: SpkiDigest::from_bytes([1; 32]),
            not_before: UnixTime::from_secs(begins),
            not_after: UnixTime::from_secs(ends),
            proven: true,
        };
        match certificate(connection, "a", &presented, UnixMillis(now * 1_000)).unwrap() {
            Verdict::Refuse(reason, consequence) => (reason.code.as_str(), consequence),
            verdict @ (Verdict::Move(_) | Verdict::Same { .. }) => panic!("{verdict:?}"),
        }
    }

    const STOPS: (&str, Consequence) = ("AUTHORITY_STOPPED", Consequence::Stop);
    const FORGED: (&str, Consequence) = ("INSTANCE_CERTIFICATE_FOREIGN", Consequence::Forged);

    #[test]
    fn a_certificate_of_an_epoch_that_may_be_active_stops_the_authority() {
        let now = ACTIVE + 10 * DAY;
        let certificate = (now - DAY, now + 29 * DAY);
        for state in ["active", "prepared"] {
            assert_eq!(follows(&database(state, None, false), certificate, now), STOPS, "{state}");
        }
        let just_active = (ACTIVE - HOUR, now + DAY);
        assert_eq!(follows(&database("active", None, false), just_active, now), STOPS, "it is backdated");
    }

    #[test]
    fn a_certificate_that_its_epoch_cannot_have_issued_stops_nothing() {
        let now = ACTIVE + 10 * DAY;
        let active = database("active", None, false);
        for (certificate, why) in [
            ((ACTIVE - HOUR - 1, now + DAY), "it begins before the epoch"),
            ((now + 1, now + DAY), "it begins in the future"),
            ((now - DAY, EPOCH_ENDS + 1), "it ends after its issuer"),
        ] {
            assert_eq!(follows(&active, certificate, now), FORGED, "{why}");
        }
        assert_eq!(follows(&database("aborted", None, false), (now - DAY, now + DAY), now), FORGED);
    }

    #[test]
    fn whoever_has_the_key_of_an_epoch_that_is_over_stops_nothing() {
        let certificate = (RETIRED - HOUR, RETIRED + 29 * DAY);
        for state in ["retired", "destroyed"] {
            let over = database(state, Some(RETIRED), false);
            assert_eq!(follows(&over, certificate, RETIRED + HOUR), STOPS, "{state}: a restore may not be noticed yet");
            assert_eq!(
                follows(&over, (RETIRED + 1, RETIRED + DAY), RETIRED + HOUR),
                FORGED,
                "{state}: it begins later"
            );
            assert_eq!(follows(&over, certificate, RETIRED + DAY + 1), FORGED, "{state}: everything is known");
            let revoked = database(state, Some(RETIRED), true);
            assert_eq!(follows(&revoked, certificate, RETIRED + HOUR), FORGED, "{state}: its key was stolen");
        }
    }

    #[test]
    fn what_began_before_the_authority_was_resumed_is_lost_and_what_began_then_stops_it() {
        let now = ACTIVE + 10 * DAY;
        let connection = database("active", None, false);
        connection.execute("UPDATE authority SET restored_at = ?1", [now]).unwrap();
        let lost = ("INSTANCE_UNKNOWN", Consequence::Alarm);
        assert_eq!(follows(&connection, (now - 1, now + DAY), now + 10), lost);
        assert_eq!(follows(&connection, (now, now + DAY), now + 10), STOPS);
    }
}
