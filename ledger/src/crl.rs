//! CRLs: their numbers follow each other, each takes every revocation into account, and old ones are forgotten.

use hallmark_policy::{
    Numbering, PreviousCrl, Reason, ReasonCode, RequestIdentity,
    crl::{CrlContent, CrlScope},
    key::SpkiDigest,
    time::UnixTime,
};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::{
    Answer,
    batch::Issuer,
    request::RequestRow,
    revocation,
    schema::{signed, unsigned},
};

/// Most revocations of ended certificates that one CRL makes forgotten, so that its commit stays short.
const FORGOTTEN_MAX: u32 = 10_000;

/// How far the CRLs of an issuer with one scope are. All of an issuer share one sequence of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CrlStatus {
    /// Number of the last one of the issuer that was committed, of whatever scope; 0 if none was.
    pub last_number: u64,
    /// That last one, where it is not signed yet: it comes before any other.
    pub pending: Option<RequestIdentity>,
    /// The newest with this scope that is signed.
    pub newest: Option<CrlRecord>,
    /// Index of the newest revocation in this scope.
    pub newest_revocation: Option<u64>,
    /// Largest number of a partition that one of its certificates is in; 0 if none is.
    pub partitions: u16,
    /// End of the certificate of this issuer that lives longest; self-signed ones do not count.
    pub latest_end: Option<UnixTime>,
}

/// A CRL that was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrlRecord {
    /// cRLNumber.
    pub number: u64,
    /// thisUpdate.
    pub this_update: UnixTime,
    /// nextUpdate.
    pub next_update: UnixTime,
    /// How many certificates it lists.
    pub entries: u64,
    /// Index of the newest revocation that it takes into account.
    pub newest_revocation: Option<u64>,
    /// Index of its decision.
    pub log_index: u64,
}

impl CrlRecord {
    /// What policy wants to know of it.
    #[must_use]
    pub fn previous(&self) -> PreviousCrl {
        PreviousCrl { this_update: self.this_update, newest_revocation: self.newest_revocation }
    }
}

/// Why a CRL after the one of that number, with that newest revocation, is not the next one; nothing if it is.
pub(crate) fn objection(
    connection: &Connection,
    issuer: &Issuer,
    scope: CrlScope,
    after: u64,
    newest_revocation: Option<u64>,
) -> rusqlite::Result<Option<Reason>> {
    let stale = |sentence: String| Ok(Some(Reason::new(ReasonCode::CrlStale, "number", sentence)));
    if after != issuer.last_crl {
        return stale(format!("the last CRL of this issuer is number {}, not {after}", issuer.last_crl));
    }
    let newest = newest(connection, issuer.id, scope)?;
    if newest_revocation != self::newest_revocation(connection, issuer, scope, newest.as_ref())? {
        return stale("a certificate was revoked while the CRL was made".to_owned());
    }
    match pending(connection, issuer)? {
        Some(_) => stale(format!("CRL {} of this issuer is committed and not signed yet", issuer.last_crl)),
        None => Ok(None),
    }
}

/// Keeps a CRL that is committed, and forgets those that a newer signed one has replaced.
pub(crate) fn keep(
    connection: &Connection,
    issuer: i64,
    content: &CrlContent,
    numbering: Numbering,
    log_index: u64,
) -> rusqlite::Result<()> {
    let scope = numbering.scope();
    if let Some(newest) = newest(connection, issuer, scope)? {
        forget(connection, issuer, scope, &newest)?;
    }
    let newest_revocation = match numbering {
        Numbering::Crl { newest_revocation, .. } => newest_revocation,
        Numbering::Serial { .. } | Numbering::Unnumbered => None,
    };
    let sql = "INSERT INTO crl (issuer, number, log_index, this_update, next_update, entries, newest_revocation, \
               crl_partition) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    connection.prepare_cached(sql)?.execute(params![
        issuer,
        signed(content.number),
        signed(log_index),
        content.this_update.secs(),
        content.next_update.secs(),
        signed(content.revoked.len() as u64),
        newest_revocation.map(signed),
        scope.number(),
    ])?;
    Ok(())
}

/// Forgets the bytes of CRLs before that one, and revocations that have stood on the complete list and on their partition's after the
/// certificate's end.
fn forget(connection: &Connection, issuer: i64, scope: CrlScope, newest: &CrlRecord) -> rusqlite::Result<()> {
    // Each forgets those before it: of the others that are remembered, none has any left.
    let sql = "DELETE FROM request WHERE log_index IN (SELECT log_index FROM crl \
               WHERE issuer = ?1 AND crl_partition = ?2 AND number < ?3 ORDER BY number DESC LIMIT 8)";
    connection.prepare_cached(sql)?.execute(params![issuer, scope.number(), signed(newest.number)])?;
    let Some(newest_revocation) = newest.newest_revocation else { return Ok(()) };
    let complete = match scope {
        CrlScope::Complete => None,
        CrlScope::Partition(_) => match self::newest(connection, issuer, CrlScope::Complete)? {
            Some(complete) => Some(complete),
            None => return Ok(()),
        },
    };
    let listed = complete.as_ref().map_or(Some(newest_revocation), |complete| complete.newest_revocation);
    let Some(listed) = listed else { return Ok(()) };
    let made = complete.map_or(newest.this_update, |complete| complete.this_update.min(newest.this_update));
    let sql = "DELETE FROM revocation WHERE issuer = ?1 AND serial IN (SELECT serial FROM revocation \
               WHERE issuer = ?1 AND crl_partition = ?5 AND not_after < ?2 AND log_index <= ?3 LIMIT ?4)";
    let listed = signed(listed.min(newest_revocation));
    let values = params![issuer, made.secs(), listed, FORGOTTEN_MAX, scope.number()];
    connection.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

/// Index of the newest revocation in a scope, also where it is not remembered any more.
fn newest_revocation(
    connection: &Connection,
    issuer: &Issuer,
    scope: CrlScope,
    newest: Option<&CrlRecord>,
) -> rusqlite::Result<Option<u64>> {
    let remembered = revocation::newest(connection, issuer, scope)?;
    Ok(remembered.max(newest.and_then(|newest| newest.newest_revocation)))
}

/// How far the CRLs of an issuer with that scope are.
pub(crate) fn status(connection: &Connection, key: SpkiDigest, scope: CrlScope) -> rusqlite::Result<CrlStatus> {
    let Some(issuer) = Issuer::find(connection, key)? else { return Ok(CrlStatus::default()) };
    let newest = newest(connection, issuer.id, scope)?;
    Ok(CrlStatus {
        last_number: issuer.last_crl,
        pending: pending(connection, &issuer)?,
        newest_revocation: newest_revocation(connection, &issuer, scope, newest.as_ref())?,
        newest,
        partitions: issuer.crl_partitions,
        latest_end: issuer.latest_end.map(UnixTime::from_secs),
    })
}

/// The newest CRL of an issuer with that scope that is signed, with what it takes to put it together.
pub(crate) fn latest(
    connection: &Connection,
    key: SpkiDigest,
    scope: CrlScope,
) -> rusqlite::Result<Option<(CrlRecord, Answer)>> {
    let Some(issuer) = Issuer::find(connection, key)? else { return Ok(None) };
    let Some(record) = newest(connection, issuer.id, scope)? else { return Ok(None) };
    let answer = RequestRow::at(connection, record.log_index)?.and_then(RequestRow::answer);
    Ok(answer.map(|answer| (record, answer)))
}

/// The last CRL of an issuer, if it is committed and neither signed nor void.
fn pending(connection: &Connection, issuer: &Issuer) -> rusqlite::Result<Option<RequestIdentity>> {
    let sql = "SELECT r.authority, r.caller, r.id, r.content FROM crl c JOIN request r ON r.log_index = c.log_index \
               WHERE c.issuer = ?1 AND c.number = ?2 AND r.signature IS NULL AND r.void = 0";
    let mut statement = connection.prepare_cached(sql)?;
    let read = |row: &rusqlite::Row<'_>| {
        Ok(RequestIdentity {
            authority: row.get(0)?,
            caller: row.get(1)?,
            id: row.get(2)?,
            content_sha256: row.get(3)?,
        })
    };
    statement.query_row(params![issuer.id, signed(issuer.last_crl)], read).optional()
}

/// The newest CRL of an issuer with that scope that is signed. What is older than the one before has no request any more.
fn newest(connection: &Connection, issuer: i64, scope: CrlScope) -> rusqlite::Result<Option<CrlRecord>> {
    let sql = "SELECT c.number, c.this_update, c.next_update, c.entries, c.newest_revocation, c.log_index \
               FROM crl c JOIN request r ON r.log_index = c.log_index \
               WHERE c.issuer = ?1 AND c.crl_partition = ?2 AND r.signature IS NOT NULL ORDER BY c.number DESC LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    let read = |row: &rusqlite::Row<'_>| {
        Ok(CrlRecord {
            number: unsigned(row.get(0)?),
            this_update: UnixTime::from_secs(row.get(1)?),
            next_update: UnixTime::from_secs(row.get(2)?),
            entries: unsigned(row.get(3)?),
            newest_revocation: row.get::<_, Option<i64>>(4)?.map(unsigned),
            log_index: unsigned(row.get(5)?),
        })
    };
    statement.query_row(params![issuer, scope.number()], read).optional()
}
