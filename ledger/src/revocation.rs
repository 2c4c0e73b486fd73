//! Revoking certificates: an entry and a row, inside the transaction.

use hallmark_entry::{Object, Summary};
use hallmark_policy::{
    Revocation,
    content::Serial,
    crl::{CrlScope, RevocationReason},
    key::SpkiDigest,
    time::UnixTime,
};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::{
    Logged, UnixMillis,
    batch::{Batch, Fault, Issuer},
    issue::has_passed,
    schema::{signed, unsigned},
};

/// Most certificates that one operation revokes: they share one transaction, and everybody else waits for it.
pub const REVOCATIONS_MAX: usize = 1_000;

/// Most certificates that are revoked with one instance.
pub(crate) const SERIALS_EACH_MAX: u32 = 1_000;

/// A certificate that is to be revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoke {
    /// The authority.
    pub authority: String,
    /// The key that signed it.
    pub issuer: SpkiDigest,
    /// Its serial number.
    pub serial: Serial,
    /// Why.
    pub reason: RevocationReason,
    /// Who asked.
    pub by: String,
}

/// When something is revoked. Who revokes does so whatever the clock says; but only by a clock that can be trusted a certificate has ended, so
/// that it need not be revoked any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevokeAt {
    /// The time of the entries.
    pub at: UnixMillis,
    /// What ended by then has ended.
    pub ended_by: UnixMillis,
}

/// A moment that can be trusted.
impl From<UnixMillis> for RevokeAt {
    fn from(at: UnixMillis) -> Self {
        Self { at, ended_by: at }
    }
}

/// What became of it.
#[derive(Debug)]
pub enum Revoked {
    /// It is revoked from this entry on.
    Now(Logged),
    /// It was revoked before; nothing was written, and the first reason stands.
    Before(Revocation),
    /// It has ended, so that nobody takes it any more; nothing was written.
    Ended(UnixTime),
    /// The issuer never signed it; nothing was written.
    Unknown,
}

/// Whether a certificate of that issuer was committed with that serial number.
pub(crate) fn is_known(connection: &Connection, issuer: SpkiDigest, serial: Serial) -> rusqlite::Result<bool> {
    let Some(issuer) = Issuer::find(connection, issuer)? else { return Ok(false) };
    Ok(Found::of(connection, &issuer, serial)?.is_some())
}

/// How many certificates of a registration that have not ended and are not revoked no CRL will ever name: the key that signed them is destroyed.
pub(crate) fn unlisted(connection: &Connection, registration: u64, ended_by: UnixMillis) -> rusqlite::Result<u64> {
    let sql = "SELECT count(*) FROM serial s JOIN issuer i ON i.id = s.issuer \
               JOIN epoch e ON e.spki_sha256 = i.spki_sha256 AND e.state = 'destroyed' \
               WHERE s.instance = ?1 AND s.not_after * 1000 > ?2 \
               AND NOT EXISTS (SELECT 1 FROM revocation r WHERE r.issuer = s.issuer AND r.serial = s.serial)";
    let values = params![signed(registration), ended_by.0];
    connection.prepare_cached(sql)?.query_row(values, |row| row.get(0)).map(unsigned)
}

/// A certificate that was committed, found by its issuer and serial number.
struct Found {
    not_after: UnixTime,
    log_index: u64,
    scope: CrlScope,
}

impl Batch<'_> {
    /// Revokes certificates, each with an entry of its own.
    pub(crate) fn revoke_all(&mut self, revokes: &[Revoke], at: RevokeAt) -> Result<Vec<Revoked>, Fault> {
        revokes.iter().map(|revoke| self.revoke(revoke, at)).collect()
    }

    /// Revokes one certificate.
    pub(crate) fn revoke(&mut self, revoke: &Revoke, at: RevokeAt) -> Result<Revoked, Fault> {
        let RevokeAt { at, ended_by } = at;
        let Some(issuer) = Issuer::find(self.connection, revoke.issuer)? else { return Ok(Revoked::Unknown) };
        let Some(found) = Found::of(self.connection, &issuer, revoke.serial)? else { return Ok(Revoked::Unknown) };
        if let Some(before) = one(self.connection, &issuer, revoke.serial)? {
            return Ok(Revoked::Before(before));
        }
        if has_passed(found.not_after, ended_by) {
            return Ok(Revoked::Ended(found.not_after));
        }
        let entry = entry(self.connection, revoke, &found, at)?;
        let logged = self.append(entry, at)?;
        let sql = "INSERT INTO revocation (issuer, serial, at, reason, not_after, log_index, crl_partition) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        self.connection.prepare_cached(sql)?.execute(params![
            issuer.id,
            revoke.serial.as_bytes(),
            at.0.div_euclid(1_000),
            revoke.reason.number(),
            found.not_after.secs(),
            signed(logged.index),
            found.scope.number(),
        ])?;
        self.issuer(revoke.issuer)?.newest_revocation = Some(logged.index);
        self.revoked += 1;
        Ok(Revoked::Now(logged))
    }
}

impl Found {
    fn of(connection: &Connection, issuer: &Issuer, serial: Serial) -> rusqlite::Result<Option<Self>> {
        let sql = "SELECT not_after, log_index, crl_partition FROM serial WHERE issuer = ?1 AND serial = ?2";
        let mut statement = connection.prepare_cached(sql)?;
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Self {
                not_after: UnixTime::from_secs(row.get(0)?),
                log_index: unsigned(row.get(1)?),
                scope: CrlScope::numbered(row.get(2)?),
            })
        };
        statement.query_row(params![issuer.id, serial.as_bytes()], read).optional()
    }
}

/// The entry repeats what the certificate's decision says, where that can still be read.
fn entry(connection: &Connection, revoke: &Revoke, found: &Found, at: UnixMillis) -> rusqlite::Result<Vec<u8>> {
    let sql = "SELECT bytes FROM entry WHERE log_index = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let decision = statement.query_row([signed(found.log_index)], |row| row.get::<_, Vec<u8>>(0)).optional()?;
    let decision = decision.and_then(|bytes| Summary::parse(&bytes).ok());
    let stage = decision.as_ref().and_then(|decision| decision.stage.clone()).unwrap_or_default();
    let object = Object::new()
        .text("authority", &revoke.authority)
        .object("issuer", Object::new().hex("spki-sha256", revoke.issuer.as_bytes()))
        .hex("serial", revoke.serial.as_bytes())
        .text("stage", &stage)
        .text("reason", revoke.reason.name())
        .text("by", &revoke.by)
        .integer("not-after", found.not_after.secs())
        .count("decision-index", found.log_index);
    let object = match found.scope {
        CrlScope::Complete => object,
        CrlScope::Partition(number) => object.count("crl-partition", number.get().into()),
    };
    let object = match decision.and_then(|decision| decision.epoch) {
        Some(epoch) => {
            let id = Object::new().count("generation", epoch.generation);
            object.object("epoch", id.text("transition", epoch.transition.as_deref().unwrap_or_default()))
        }
        None => object,
    };
    Ok(object.into_entry("revocation", at.0))
}

const COLUMNS: &str = "SELECT serial, at, reason, not_after, log_index FROM revocation WHERE issuer = ?1";

/// The revocation of one certificate.
fn one(connection: &Connection, issuer: &Issuer, serial: Serial) -> rusqlite::Result<Option<Revocation>> {
    let mut statement = connection.prepare_cached(&format!("{COLUMNS} AND serial = ?2"))?;
    statement.query_row(params![issuer.id, serial.as_bytes()], read).optional()
}

/// The revocation of a certificate by its issuer's key.
pub(crate) fn find(connection: &Connection, key: SpkiDigest, serial: Serial) -> rusqlite::Result<Option<Revocation>> {
    match Issuer::find(connection, key)? {
        Some(issuer) => one(connection, &issuer, serial),
        None => Ok(None),
    }
}

/// Every revocation of an issuer that is remembered and belongs on a CRL with this scope.
pub(crate) fn all(connection: &Connection, key: SpkiDigest, scope: CrlScope) -> rusqlite::Result<Vec<Revocation>> {
    let Some(issuer) = Issuer::find(connection, key)? else { return Ok(Vec::new()) };
    match scope {
        CrlScope::Complete => connection.prepare_cached(COLUMNS)?.query_map([issuer.id], read)?.collect(),
        CrlScope::Partition(number) => {
            let mut statement = connection.prepare_cached(&format!("{COLUMNS} AND crl_partition = ?2"))?;
            statement.query_map(params![issuer.id, number.get()], read)?.collect()
        }
    }
}

/// Index of the newest revocation that belongs on a CRL with this scope, as far as it is remembered.
pub(crate) fn newest(connection: &Connection, issuer: &Issuer, scope: CrlScope) -> rusqlite::Result<Option<u64>> {
    let CrlScope::Partition(number) = scope else { return Ok(issuer.newest_revocation) };
    let sql = "SELECT max(log_index) FROM revocation WHERE issuer = ?1 AND crl_partition = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let newest: Option<i64> = statement.query_row(params![issuer.id, number.get()], |row| row.get(0))?;
    Ok(newest.map(unsigned))
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Revocation> {
    let unreadable = |name: &str| rusqlite::Error::InvalidColumnName(format!("revocation.{name}"));
    Ok(Revocation {
        serial: Serial::from_stored(row.get_ref(0)?.as_blob()?).ok_or_else(|| unreadable("serial"))?,
        at: UnixTime::from_secs(row.get(1)?),
        reason: RevocationReason::from_number(row.get(2)?).ok_or_else(|| unreadable("reason"))?,
        not_after: UnixTime::from_secs(row.get(3)?),
        log_index: unsigned(row.get(4)?),
    })
}
