//! What the entry of a step says.

use hallmark_entry::{Object, sha256};
use hallmark_policy::key::SpkiDigest;
use rusqlite::{Connection, params};

use super::{ROOT_BROUGHT, joined};
use crate::{BroughtKey, Consent, EpochIntent, Step, UnixMillis, schema::signed};

/// The entry of a step.
pub(super) fn of(connection: &Connection, step: &Step, at: UnixMillis) -> rusqlite::Result<Vec<u8>> {
    let object = match step {
        Step::RootIntent { authority, label, owners } => {
            with_owners(named("root-intent", authority).text("label", label), owners)
        }
        Step::RootKey { authority, reference, spki } => named("root-key", authority)
            .text("reference", reference)
            .hex("spki-sha256", SpkiDigest::of(spki).as_bytes()),
        Step::RootReady { authority } => named("root-ready", authority),
        Step::RootBrought { authority, ceremony: _, key, owners, spki, brought } => {
            let object = with_owners(named(ROOT_BROUGHT, authority), owners)
                .hex("spki-sha256", SpkiDigest::of(spki).as_bytes())
                .hex("tbs-sha256", &sha256(&brought.to_be_signed))
                .hex("serial", brought.serial.as_bytes());
            match key {
                Some(BroughtKey { label, reference }) => object.text("label", label).text("reference", reference),
                None => object,
            }
        }
        Step::IntermediateBrought { authority, generation, brought, by } => {
            epoch(connection, "intermediate-brought", authority, *generation)?
                .hex("tbs-sha256", &sha256(&brought.to_be_signed))
                .hex("serial", brought.serial.as_bytes())
                .text("by", by)
        }
        Step::EpochIntent(intent) => intended(intent),
        Step::EpochKey { authority, generation, reference, spki } => {
            epoch(connection, "epoch-key", authority, *generation)?
                .text("reference", reference)
                .hex("spki-sha256", SpkiDigest::of(spki).as_bytes())
        }
        Step::EpochPrepared { authority, generation } => epoch(connection, "epoch-prepared", authority, *generation)?,
        Step::EpochActive { authority, generation, revoke_previous: _, by } => {
            let object = epoch(connection, "epoch-active", authority, *generation)?;
            let sql = "SELECT previous, revoke_previous FROM epoch WHERE authority = ?1 AND generation = ?2";
            let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, [u8; 32]>(0)?, row.get(1)?));
            let (previous, revoke) = connection.query_row(sql, params![authority, signed(*generation)], read)?;
            object.hex("previous", &previous).flag("revoke-previous", revoke).text("by", by)
        }
        Step::EpochAborted { authority, generation, reason, by } => {
            epoch(connection, "epoch-aborted", authority, *generation)?.text("reason", reason).text("by", by)
        }
        Step::EpochDestroyed { authority, generation } => epoch(connection, "epoch-destroyed", authority, *generation)?,
    };
    Ok(object.into_entry("rotation", at.0))
}

/// The digests may be too many for a list: theirs stands for all of them.
fn with_owners(object: Object, owners: &[SpkiDigest]) -> Object {
    let texts = owners.iter().map(ToString::to_string);
    object.texts("owners", "owners-omitted", texts).hex("owners-sha256", &sha256(&joined(owners)))
}

fn intended(intent: &EpochIntent) -> Object {
    let Consent { by, owner_spki, owner_signature } = &intent.consent;
    let object = named("epoch-intent", &intent.authority)
        .object("epoch", Object::new().count("generation", intent.generation).hex("transition", &intent.transition))
        .hex("manifest-sha256", intent.statement.sha256())
        .hex("previous", &intent.previous)
        .count("lifetime", intent.lifetime_secs)
        .flag("revoke-previous", intent.revoke_previous)
        .text("label", &intent.label)
        .text("by", by);
    if owner_spki.is_empty() {
        return object;
    }
    object.hex("owner-spki", owner_spki).hex("owner-signature", owner_signature)
}

fn named(step: &'static str, authority: &str) -> Object {
    Object::new().text("step", step).text("authority", authority)
}

/// Every step of an epoch names its transition, too: generations of another authority or ledger are not meant.
fn epoch(connection: &Connection, step: &'static str, authority: &str, generation: u64) -> rusqlite::Result<Object> {
    let sql = "SELECT transition FROM epoch WHERE authority = ?1 AND generation = ?2";
    let transition: [u8; 32] = connection.query_row(sql, params![authority, signed(generation)], |row| row.get(0))?;
    let epoch = Object::new().count("generation", generation).hex("transition", &transition);
    Ok(named(step, authority).object("epoch", epoch))
}
