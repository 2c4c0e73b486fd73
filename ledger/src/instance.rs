//! Records of instances: which certificate each has now, which it had before, and whether it is revoked.

mod command;
mod consequence;
#[cfg(test)]
mod model;
mod page;
mod rule;
mod unknown;
mod withheld;

use hallmark_policy::{
    Reason, ReasonCode,
    content::Serial,
    instance::{Asked, InstanceMove, InstanceName, InstanceStep, signed_sha256},
    key::SpkiDigest,
    time::UnixTime,
};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::{
    UnixMillis,
    schema::{signed, unsigned},
};

pub use command::{Allowed, InstanceRevocation, InstanceRevoked};
pub(crate) use consequence::{Alarm, Change};
pub use page::{InstanceFilter, InstancePage, InstanceRecord, InstanceState};
pub(crate) use page::{page, show};
pub(crate) use rule::{Consequence, Verdict, is_alarming, judge};
pub(crate) use unknown::{before_resumed, forgotten_ahead, restored_at, stopped};
pub(crate) use withheld::{Withheld, make_void, release, withhold};

/// A certificate of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// Row of its issuer.
    pub(crate) issuer: i64,
    pub(crate) serial: Vec<u8>,
    pub(crate) spki: [u8; 32],
    /// Index of its decision.
    pub(crate) log_index: u64,
}

/// A record as the rule needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Index of the decision that registered it: no two registrations have the same.
    pub(crate) id: u64,
    pub(crate) service: String,
    /// End of what lives longest among its certificates, in seconds.
    pub(crate) not_after: i64,
    /// That, or a little later.
    counted_until: i64,
    pub(crate) current: Held,
    pub(crate) previous: Option<Held>,
    /// The first decision of those with the current certificate's key that were given in each other's place.
    pub(crate) current_group: u64,
    pub(crate) previous_group: Option<u64>,
    /// Whether the one retry with another key was used since the record moved last.
    pub(crate) retried: bool,
    /// Why nobody was given the current certificate, if so.
    pub(crate) withheld: Option<Withheld>,
    pub(crate) revoked: bool,
}

/// The query of all columns that [`Record::read`] reads, under a condition.
macro_rules! select_where {
    ($condition:literal) => {
        concat!(
            "SELECT id, service, not_after, issuer, serial, spki_sha256, log_index, previous_issuer, previous_serial, previous_spki_sha256, ",
            "previous_index, retried, revoked_at IS NOT NULL, withheld, current_group, previous_group, counted_until FROM instance WHERE ",
            $condition
        )
    };
}

impl Record {
    const AT: &str = select_where!("id = ?4 AND authority = ?1 AND provider = ?2 AND name = ?3");

    /// The record of that provider's instance.
    pub(crate) fn find(
        connection: &Connection,
        authority: &str,
        name: &InstanceName,
    ) -> rusqlite::Result<Option<Self>> {
        let sql = select_where!("authority = ?1 AND provider = ?2 AND name = ?3");
        let mut statement = connection.prepare_cached(sql)?;
        statement.query_row(params![authority, name.provider, name.id], Self::read).optional()
    }

    /// The same; looked for first where a registration has it, which takes no index.
    fn find_at(
        connection: &Connection,
        registration: Option<u64>,
        authority: &str,
        name: &InstanceName,
    ) -> rusqlite::Result<Option<Self>> {
        let mut statement = connection.prepare_cached(Self::AT)?;
        let values = params![authority, name.provider, name.id, registration.map(signed)];
        match statement.query_row(values, Self::read).optional()? {
            Some(record) => Ok(Some(record)),
            None => Self::find(connection, authority, name),
        }
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let held = |from: usize| -> rusqlite::Result<Option<Held>> {
            let issuer = row.get::<_, Option<i64>>(from)?;
            let parts =
                (row.get::<_, Option<Vec<u8>>>(from + 1)?, row.get(from + 2)?, row.get::<_, Option<i64>>(from + 3)?);
            Ok(match (issuer, parts) {
                (Some(issuer), (Some(serial), Some(spki), Some(index))) => {
                    Some(Held { issuer, serial, spki, log_index: unsigned(index) })
                }
                _ => None,
            })
        };
        let unreadable = || rusqlite::Error::InvalidColumnName("instance.serial".to_owned());
        Ok(Self {
            id: unsigned(row.get(0)?),
            service: row.get(1)?,
            not_after: row.get(2)?,
            counted_until: row.get(16)?,
            current: held(3)?.ok_or_else(unreadable)?,
            previous: held(7)?,
            current_group: unsigned(row.get(14)?),
            previous_group: row.get::<_, Option<i64>>(15)?.map(unsigned),
            retried: row.get(11)?,
            withheld: Withheld::read(row.get(13)?),
            revoked: row.get(12)?,
        })
    }

    /// Whether its current certificate is the one that it was registered with.
    fn is_first(&self) -> bool {
        self.current.log_index == self.id
    }

    /// Whether it was registered with a certificate that is void, and nobody but this key's owner can have it.
    fn was_given_to_nobody_but(&self, key: SpkiDigest) -> bool {
        let owners = self.current.spki == *key.as_bytes();
        self.is_first()
            && (self.withheld == Some(Withheld::Void) || owners && self.withheld == Some(Withheld::Doubtful))
    }

    /// Whether one of its certificates has not ended.
    fn is_alive(&self, at: UnixMillis) -> bool {
        !crate::issue::has_passed(UnixTime::from_secs(self.not_after), at)
    }
}

/// An end, or up to an eighth of what is left until then later, in seconds: of the ends that follow each other while an instance is refreshed, many have the same.
fn counted_until(not_after: i64, at: UnixMillis) -> i64 {
    let eighth = not_after.saturating_sub(at.0.div_euclid(1_000)).max(8) / 8;
    let step = 1_i64 << eighth.ilog2();
    not_after.saturating_add(step - 1).div_euclid(step).saturating_mul(step).max(not_after)
}

/// How a retry with another key took a certificate's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Displaced {
    /// Whoever sent it has the certificate before, which is public.
    Unproven,
    /// Whoever sent it has the key of the certificate before.
    Proven,
}

impl Displaced {
    fn read(column: i64) -> Option<Self> {
        match column {
            0 => None,
            2 => Some(Self::Proven),
            _ => Some(Self::Unproven),
        }
    }

    fn column(self) -> i64 {
        match self {
            Self::Unproven => 1,
            Self::Proven => 2,
        }
    }
}

/// The row of a serial number that was given.
#[derive(Clone, Copy, Debug)]
struct SerialRow {
    /// The registration that it was given to.
    instance: Option<u64>,
    /// The first decision of those with the same key that were given in each other's place.
    group: u64,
    displaced: Option<Displaced>,
    /// Digest of its key; none where it has no registration.
    spki_sha256: Option<[u8; 32]>,
    /// Its end, in seconds.
    not_after: i64,
    is_revoked: bool,
}

impl SerialRow {
    fn find(connection: &Connection, issuer: SpkiDigest, serial: Serial) -> rusqlite::Result<Option<Self>> {
        let sql = "SELECT s.instance, coalesce(s.same_as, s.log_index), s.displaced, s.spki_sha256, s.not_after, \
                   EXISTS (SELECT 1 FROM revocation r WHERE r.issuer = s.issuer AND r.serial = s.serial) \
                   FROM serial s JOIN issuer i ON i.id = s.issuer \
                   WHERE i.spki_sha256 = ?1 AND s.serial = ?2";
        let mut statement = connection.prepare_cached(sql)?;
        let read = |row: &Row<'_>| {
            Ok(Self {
                instance: row.get::<_, Option<i64>>(0)?.map(unsigned),
                group: unsigned(row.get(1)?),
                displaced: Displaced::read(row.get(2)?),
                spki_sha256: row.get(3)?,
                not_after: row.get(4)?,
                is_revoked: row.get(5)?,
            })
        };
        statement.query_row(params![issuer.as_bytes(), serial.as_bytes()], read).optional()
    }
}

/// Digest of what was signed with that key under that serial number, where it is kept: of instances' certificates.
pub(crate) fn signed_before(
    connection: &Connection,
    issuer: SpkiDigest,
    serial: Serial,
) -> rusqlite::Result<Option<[u8; 32]>> {
    let sql = "SELECT d.sha256 FROM issuer i JOIN serial s ON s.issuer = i.id JOIN signed d ON d.log_index = s.log_index \
               WHERE i.spki_sha256 = ?1 AND s.serial = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row(params![issuer.as_bytes(), serial.as_bytes()], |row| row.get(0)).optional()
}

/// Digest of what was signed by that decision, as its row says; none where that is no instance's certificate.
pub(crate) fn signed_of_row(
    connection: &Connection,
    log_index: u64,
    signature: &[u8],
) -> rusqlite::Result<Option<[u8; 32]>> {
    let sql = "SELECT tbs FROM request WHERE log_index = ?1 AND wish IS NOT NULL";
    let mut statement = connection.prepare_cached(sql)?;
    let read = |row: &Row<'_>| Ok(signed_sha256(row.get_ref(0)?.as_blob()?, signature));
    statement.query_row([signed(log_index)], read).optional()
}

/// Keeps the digest of what was signed.
pub(crate) fn keep_signed(connection: &Connection, log_index: u64, digest: [u8; 32]) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO signed (log_index, sha256) VALUES (?1, ?2)";
    connection.prepare_cached(sql)?.execute(params![signed(log_index), digest]).map(drop)
}

/// Whether a registration was given a certificate for this key and this request already. Where one of the two had no id, nobody can tell, and the key alone says so.
fn was_asked_before(
    connection: &Connection,
    registration: u64,
    key: SpkiDigest,
    asked: Option<Asked>,
) -> rusqlite::Result<bool> {
    let sql =
        "SELECT 1 FROM serial WHERE instance = ?1 AND spki_sha256 = ?2 AND (asked IS NULL OR ?3 IS NULL OR asked = ?3)";
    let values = params![signed(registration), key.as_bytes(), asked.map(Asked::to_number)];
    connection.prepare_cached(sql)?.exists(values)
}

/// The certificate of that decision answers another request, too: its key alone says from then on that a request had it for an answer.
pub(crate) fn forget_asked(connection: &Connection, log_index: u64) -> rusqlite::Result<()> {
    let sql = "UPDATE serial SET asked = NULL WHERE (issuer, serial) = (SELECT issuer, serial FROM request WHERE log_index = ?1)";
    connection.prepare_cached(sql)?.execute([signed(log_index)]).map(drop)
}

/// Whether a certificate is revoked.
fn is_revoked(connection: &Connection, issuer: i64, serial: &[u8]) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM revocation WHERE issuer = ?1 AND serial = ?2";
    connection.prepare_cached(sql)?.exists(params![issuer, serial])
}

/// Why a certificate that was committed and not signed is not signed any more: it is revoked, or its registration is revoked or over.
pub(crate) fn objection(
    connection: &Connection,
    issuer: SpkiDigest,
    serial: &[u8],
) -> rusqlite::Result<Option<Reason>> {
    let sql = "SELECT EXISTS (SELECT 1 FROM revocation r WHERE r.issuer = s.issuer AND r.serial = s.serial), \
               s.instance IS NOT NULL, n.id IS NOT NULL, n.revoked_at IS NOT NULL \
               FROM serial s JOIN issuer i ON i.id = s.issuer LEFT JOIN instance n ON n.id = s.instance \
               WHERE i.spki_sha256 = ?1 AND s.serial = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
    let row = statement.query_row(params![issuer.as_bytes(), serial], read).optional()?;
    let (code, sentence) = match row {
        Some((true, _, _, _)) => (ReasonCode::InstanceCertificateRevoked, "the certificate is revoked"),
        Some((false, true, false, _)) => (ReasonCode::InstanceUnknown, "the instance's registration is over"),
        Some((false, true, true, true)) => (ReasonCode::InstanceRevoked, "the instance is revoked"),
        Some((false, _, _, _)) | None => return Ok(None),
    };
    Ok(Some(Reason::new(code, "instance", sentence)))
}

/// The registration that a new certificate belongs to, where the record moves so and this is its decision's index.
pub(crate) fn registration(change: Option<&Change>, next_index: u64) -> Option<i64> {
    change.map(|change| signed(change.record().map_or(next_index, |record| record.id)))
}

/// The group that a new certificate joins, where it is given in another's place.
pub(crate) fn group(change: Option<&Change>) -> Option<i64> {
    match change? {
        Change::Reissued(record) => Some(signed(record.current_group)),
        Change::Registered | Change::Replaced(_) | Change::Moved(_) | Change::Retried(_) | Change::MovedAgain(_) => {
            None
        }
    }
}

/// What the log calls a wish.
pub(crate) fn presented_serial(moved: &InstanceMove) -> Option<Serial> {
    match &moved.step {
        InstanceStep::Register { .. } => None,
        InstanceStep::Refresh(presented) => Some(presented.serial),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    #[test]
    fn the_record_of_a_registration_is_found_without_an_index_and_only_if_it_is_that_instances() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("a.db");
        std::fs::write(&database, "").unwrap();
        let mut connection = schema::writer(&database).unwrap();
        schema::create(&mut connection).unwrap();
        assert_eq!(schema::plan(&connection, Record::AT, 4), ["SEARCH instance USING INTEGER PRIMARY KEY (rowid=?)"]);
        let sql = "INSERT INTO issuer (id, spki_sha256, issued) VALUES (1, zeroblob(32), 0); \
                   INSERT INTO instance (id, authority, provider, name, service, registered_at, moved_at, not_after, issuer, serial, spki_sha256, \
                   log_index, current_group) VALUES (7, 'a', 'p', 'n', 's', 0, 0, 0, 1, x'01', zeroblob(32), 7, 7), \
                   (8, 'a', 'p', 'm', 's', 0, 0, 0, 1, x'02', zeroblob(32), 8, 8)";
        connection.execute_batch(sql).unwrap();
        let found = |registration, authority: &str, id: &str| {
            let name = InstanceName { provider: "p".to_owned(), id: id.to_owned(), service: "s".to_owned() };
            Record::find_at(&connection, registration, authority, &name).unwrap().map(|record| record.id)
        };
        for registration in [Some(7), Some(8), Some(9), None] {
            assert_eq!(found(registration, "a", "n"), Some(7), "{registration:?}");
            assert_eq!(found(registration, "b", "n"), None, "{registration:?}");
            assert_eq!(found(registration, "a", "o"), None, "{registration:?}");
        }
    }
}
