//! The state that an authority must be in for a certificate to be signed.

use hallmark_policy::{EpochId, Reason, ReasonCode, Stage, hex, key::SpkiDigest};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::schema::{signed, unsigned};

/// Why the state of the authority does not permit this; nothing if it does.
pub(crate) fn objection(
    connection: &Connection,
    authority: &str,
    stage: Stage,
    issuer: SpkiDigest,
) -> rusqlite::Result<Option<Reason>> {
    match stage {
        Stage::Root => root_objection(connection, authority, issuer),
        Stage::Intermediate { epoch } => {
            let wanted = root_key(connection, authority, "ready")?;
            Ok(making_objection(connection, authority, epoch)?.or_else(|| key_objection(wanted, issuer)))
        }
        Stage::MeshCa { epoch } | Stage::Request { epoch } => {
            let wanted = epoch_key(connection, authority, epoch.generation)?;
            Ok(making_objection(connection, authority, epoch)?.or_else(|| key_objection(wanted, issuer)))
        }
        Stage::Leaf { epoch } => active_objection(connection, authority, epoch, issuer),
        Stage::OfflineIntermediate { .. } | Stage::Cross | Stage::Crl { epoch: None } => {
            Ok(key_objection(root_key(connection, authority, "ready")?, issuer))
        }
        // It says of a key that it is there, and nothing for the authority.
        Stage::Possession => Ok(None),
        Stage::Crl { epoch: Some(epoch) } => crl_objection(connection, authority, epoch, issuer),
    }
}

/// An epoch that has its CA certificates, and may have its key yet. Where that is destroyed, no device signs.
fn crl_objection(
    connection: &Connection,
    authority: &str,
    epoch: EpochId,
    issuer: SpkiDigest,
) -> rusqlite::Result<Option<Reason>> {
    let sql = "SELECT 1 FROM epoch WHERE authority = ?1 AND generation = ?2 AND transition = ?3 \
               AND state IN ('prepared', 'active', 'retired')";
    let mut statement = connection.prepare_cached(sql)?;
    let values = params![authority, signed(epoch.generation), epoch.transition];
    if statement.query_row(values, |_| Ok(())).optional()?.is_none() {
        let sentence =
            format!("epoch {} signs no CRLs: it has no CA certificates, or no key any more", epoch.generation);
        return Ok(Some(Reason::new(ReasonCode::EpochNotActive, "authority", sentence)));
    }
    Ok(key_objection(epoch_key(connection, authority, epoch.generation)?, issuer))
}

fn root_objection(connection: &Connection, authority: &str, issuer: SpkiDigest) -> rusqlite::Result<Option<Reason>> {
    match root_key(connection, authority, "keyed")? {
        Some(key) => Ok(key_objection(Some(key), issuer)),
        None => {
            let sentence = "the authority is not waiting for its root certificate";
            Ok(Some(Reason::new(ReasonCode::EpochNotActive, "authority", sentence)))
        }
    }
}

/// An epoch whose CA certificates may be made.
fn making_objection(connection: &Connection, authority: &str, epoch: EpochId) -> rusqlite::Result<Option<Reason>> {
    let sql = "SELECT transition, state = 'keyed' FROM epoch WHERE authority = ?1 AND generation = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, [u8; 32]>(0)?, row.get::<_, bool>(1)?));
    let found = statement.query_row(params![authority, signed(epoch.generation)], read).optional()?;
    Ok(match found {
        Some((transition, _)) if transition != epoch.transition => Some(stale(transition)),
        Some((_, true)) => None,
        Some((_, false)) | None => {
            let sentence = format!("epoch {} is not waiting for its CA certificates", epoch.generation);
            Some(Reason::new(ReasonCode::EpochNotActive, "authority", sentence))
        }
    })
}

fn active_objection(
    connection: &Connection,
    authority: &str,
    epoch: EpochId,
    issuer: SpkiDigest,
) -> rusqlite::Result<Option<Reason>> {
    let sql = "SELECT generation, transition, spki FROM epoch WHERE authority = ?1 AND state = 'active'";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_row([authority], |row| {
        let active = EpochId { generation: unsigned(row.get(0)?), transition: row.get(1)? };
        Ok((active, SpkiDigest::of(row.get_ref(2)?.as_blob()?)))
    });
    Ok(match found.optional()? {
        None => {
            let sentence = "the authority has no active epoch";
            Some(Reason::new(ReasonCode::EpochNotActive, "authority", sentence))
        }
        Some((active, _)) if active != epoch => Some(stale(active.transition)),
        Some((_, key)) => key_objection(Some(key), issuer),
    })
}

fn stale(current: [u8; 32]) -> Reason {
    let sentence = "another transition is active than the one this was decided under";
    Reason::new(ReasonCode::TransitionStale, "transition", sentence).allowing(hex(&current))
}

fn key_objection(wanted: Option<SpkiDigest>, issuer: SpkiDigest) -> Option<Reason> {
    let sentence = "the authority signs with another key than the one this was decided for";
    (wanted != Some(issuer)).then(|| Reason::new(ReasonCode::EpochNotActive, "authority", sentence))
}

fn root_key(connection: &Connection, authority: &str, state: &str) -> rusqlite::Result<Option<SpkiDigest>> {
    let sql = "SELECT spki FROM authority WHERE name = ?1 AND state = ?2 AND spki IS NOT NULL";
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row(params![authority, state], |row| Ok(SpkiDigest::of(row.get_ref(0)?.as_blob()?))).optional()
}

fn epoch_key(connection: &Connection, authority: &str, generation: u64) -> rusqlite::Result<Option<SpkiDigest>> {
    let sql = "SELECT spki FROM epoch WHERE authority = ?1 AND generation = ?2 AND spki IS NOT NULL";
    let mut statement = connection.prepare_cached(sql)?;
    let values = params![authority, signed(generation)];
    statement.query_row(values, |row| Ok(SpkiDigest::of(row.get_ref(0)?.as_blob()?))).optional()
}
