//! Steps of authorities and epochs: each is a compare-and-set and an entry, in the batch's transaction.

use hallmark_entry::{Object, sha256};
use hallmark_policy::{authority::transition, key::SpkiDigest};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::{
    LedgerError, Logged, Step, UnixMillis,
    batch::{Batch, Fault},
    schema::{signed, unsigned},
};

/// Largest generation: what all readers of the entries read alike (RFC 7493, section 2.2).
const GENERATION_MAX: u64 = 9_007_199_254_740_991;

impl Batch<'_> {
    /// Takes a step, or says which state it would have wanted.
    pub(crate) fn advance(&mut self, step: &Step, at: UnixMillis) -> Result<Logged, Fault> {
        match step {
            Step::RootIntent { authority, label } => root_intent(self.connection, authority, label)?,
            Step::RootKey { authority, reference, spki } => root_key(self.connection, authority, reference, spki)?,
            Step::RootReady { authority } => root_ready(self.connection, authority)?,
            Step::EpochIntent { .. } => self.epoch_intent(step)?,
            Step::EpochKey { authority, generation, reference, spki } => {
                epoch_key(self.connection, authority, *generation, reference, spki)?;
            }
            Step::EpochPrepared { authority, generation } => epoch_prepared(self.connection, authority, *generation)?,
            Step::EpochActive { authority, generation } => epoch_active(self.connection, authority, *generation)?,
        }
        Ok(self.append(entry(step, at), at)?)
    }

    fn epoch_intent(&self, step: &Step) -> Result<(), Fault> {
        let Step::EpochIntent { authority, generation, manifest_sha256, statement, transition, previous, label } = step
        else {
            return Ok(());
        };
        check_intent(self.connection, step)?;
        let sql = "INSERT INTO epoch (authority, generation, state, manifest_sha256, transition, previous, label) \
                   VALUES (?1, ?2, 'intent', ?3, ?4, ?5, ?6)";
        let values = params![authority, signed(*generation), manifest_sha256, transition, previous, label];
        self.connection.execute(sql, values)?;
        Ok(self.keep_blob(statement.as_bytes())?)
    }
}

fn root_intent(connection: &Connection, authority: &str, label: &str) -> Result<(), Fault> {
    let sql = "INSERT INTO authority (name, state, label) VALUES (?1, 'intent', ?2) ON CONFLICT DO NOTHING";
    let changed = connection.execute(sql, params![authority, label])?;
    one(changed, || format!("authority `{authority}` exists already; hint: go on from the step where it is"))
}

fn root_key(connection: &Connection, authority: &str, reference: &str, spki: &[u8]) -> Result<(), Fault> {
    check_key_is_new(connection, spki)?;
    let sql = "UPDATE authority SET state = 'keyed', reference = ?2, spki = ?3 WHERE name = ?1 AND state = 'intent'";
    let changed = connection.execute(sql, params![authority, reference, spki])?;
    one(changed, || format!("authority `{authority}` is not waiting for a root key"))
}

fn root_ready(connection: &Connection, authority: &str) -> Result<(), Fault> {
    let sql = "UPDATE authority SET state = 'ready' WHERE name = ?1 AND state = 'keyed' AND EXISTS \
               (SELECT 1 FROM request WHERE log_index = authority.root AND signature IS NOT NULL)";
    let changed = connection.execute(sql, [authority])?;
    one(changed, || format!("authority `{authority}` has no kept signature on a root certificate to become ready with"))
}

fn check_intent(connection: &Connection, step: &Step) -> Result<(), Fault> {
    let Step::EpochIntent { authority, generation, manifest_sha256, statement, transition: named, previous, .. } = step
    else {
        return Ok(());
    };
    let sql = "SELECT state = 'ready' FROM authority WHERE name = ?1";
    let ready: Option<bool> = connection.query_row(sql, [authority], |row| row.get(0)).optional()?;
    check(ready == Some(true), || format!("authority `{authority}` has no root that is ready"))?;
    let last = Last::of(connection, authority)?;
    check(!last.in_the_making, || {
        let making = last.generation;
        format!("epoch {making} of authority `{authority}` is in the making; hint: finish it first")
    })?;
    check(*generation == last.generation + 1 && *generation <= GENERATION_MAX, || {
        format!("the next epoch of authority `{authority}` is {}, not {generation}", last.generation + 1)
    })?;
    check(*previous == last.transition, || {
        let current = hallmark_policy::hex(&last.transition);
        format!("the transition in force of authority `{authority}` is {current}; hint: begin from that one")
    })?;
    check(*manifest_sha256 == sha256(statement.as_bytes()), || {
        "the digest is not that of the manifest or statement".to_owned()
    })?;
    check(*named == transition(manifest_sha256, previous), || {
        "the transition does not follow from the manifest and the previous transition".to_owned()
    })
}

/// The newest epoch of an authority; generation 0 and 32 zero bytes if there is none.
struct Last {
    generation: u64,
    transition: [u8; 32],
    in_the_making: bool,
}

impl Last {
    fn of(connection: &Connection, authority: &str) -> rusqlite::Result<Self> {
        let sql = "SELECT generation, transition, state IN ('intent', 'keyed', 'prepared') FROM epoch \
                   WHERE authority = ?1 ORDER BY generation DESC LIMIT 1";
        let found = connection.query_row(sql, [authority], |row| {
            Ok(Self { generation: unsigned(row.get(0)?), transition: row.get(1)?, in_the_making: row.get(2)? })
        });
        Ok(found.optional()?.unwrap_or(Self { generation: 0, transition: [0; 32], in_the_making: false }))
    }
}

fn epoch_key(
    connection: &Connection,
    authority: &str,
    generation: u64,
    reference: &str,
    spki: &[u8],
) -> Result<(), Fault> {
    check_key_is_new(connection, spki)?;
    let sql = "UPDATE epoch SET state = 'keyed', reference = ?3, spki = ?4 \
               WHERE authority = ?1 AND generation = ?2 AND state = 'intent'";
    let changed = connection.execute(sql, params![authority, signed(generation), reference, spki])?;
    one(changed, || format!("epoch {generation} of authority `{authority}` is not waiting for a key"))
}

fn epoch_prepared(connection: &Connection, authority: &str, generation: u64) -> Result<(), Fault> {
    let sql = "UPDATE epoch SET state = 'prepared' WHERE authority = ?1 AND generation = ?2 AND state = 'keyed' \
               AND EXISTS (SELECT 1 FROM request WHERE log_index = epoch.intermediate AND signature IS NOT NULL) \
               AND EXISTS (SELECT 1 FROM request WHERE log_index = epoch.mesh_ca AND signature IS NOT NULL)";
    let changed = connection.execute(sql, params![authority, signed(generation)])?;
    one(changed, || {
        format!(
            "epoch {generation} of authority `{authority}` does not have the kept signatures of both its certificates"
        )
    })
}

/// The fence: what names another transition fails from here on.
fn epoch_active(connection: &Connection, authority: &str, generation: u64) -> Result<(), Fault> {
    let sql = "SELECT 1 FROM epoch WHERE authority = ?1 AND generation = ?2 AND state = 'prepared'";
    let prepared = connection.query_row(sql, params![authority, signed(generation)], |_| Ok(())).optional()?;
    check(prepared.is_some(), || format!("epoch {generation} of authority `{authority}` is not prepared"))?;
    let sql = "UPDATE epoch SET state = 'retired' WHERE authority = ?1 AND state = 'active'";
    connection.execute(sql, [authority])?;
    let sql = "UPDATE epoch SET state = 'active' WHERE authority = ?1 AND generation = ?2";
    connection.execute(sql, params![authority, signed(generation)])?;
    Ok(())
}

/// A key belongs to one root or one epoch.
fn check_key_is_new(connection: &Connection, spki: &[u8]) -> Result<(), Fault> {
    let sql = "SELECT EXISTS (SELECT 1 FROM authority WHERE spki = ?1) OR EXISTS (SELECT 1 FROM epoch WHERE spki = ?1)";
    let known: bool = connection.query_row(sql, [spki], |row| row.get(0))?;
    check(!known, || "the key belongs to another root or epoch already; hint: generate a new one".to_owned())
}

fn one(changed: usize, sentence: impl FnOnce() -> String) -> Result<(), Fault> {
    check(changed == 1, sentence)
}

fn check(holds: bool, sentence: impl FnOnce() -> String) -> Result<(), Fault> {
    if holds { Ok(()) } else { Err(Fault::Alone(LedgerError::Condition { sentence: sentence() })) }
}

fn entry(step: &Step, at: UnixMillis) -> Vec<u8> {
    let object = match step {
        Step::RootIntent { authority, label } => named("root-intent", authority).text("label", label),
        Step::RootKey { authority, reference, spki } => named("root-key", authority)
            .text("reference", reference)
            .hex("spki-sha256", SpkiDigest::of(spki).as_bytes()),
        Step::RootReady { authority } => named("root-ready", authority),
        Step::EpochIntent { authority, generation, manifest_sha256, transition, previous, label, statement: _ } => {
            named("epoch-intent", authority)
                .object("epoch", Object::new().count("generation", *generation).hex("transition", transition))
                .hex("manifest-sha256", manifest_sha256)
                .hex("previous", previous)
                .text("label", label)
        }
        Step::EpochKey { authority, generation, reference, spki } => epoch("epoch-key", authority, *generation)
            .text("reference", reference)
            .hex("spki-sha256", SpkiDigest::of(spki).as_bytes()),
        Step::EpochPrepared { authority, generation } => epoch("epoch-prepared", authority, *generation),
        Step::EpochActive { authority, generation } => epoch("epoch-active", authority, *generation),
    };
    object.into_entry("rotation", at.0)
}

fn named(step: &'static str, authority: &str) -> Object {
    Object::new().text("step", step).text("authority", authority)
}

fn epoch(step: &'static str, authority: &str, generation: u64) -> Object {
    named(step, authority).object("epoch", Object::new().count("generation", generation))
}
