//! Steps of authorities and epochs: each is a compare-and-set and an entry, in the batch's transaction.

mod entry;

use hallmark_entry::sha256;
use hallmark_policy::{
    EpochId, Stage,
    authority::{OPERATOR, transition},
    key::SpkiDigest,
    offline::Brought,
};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::{
    BroughtKey, CeremonyEvent, EpochIntent, Event, LedgerError, Logged, Step, UnixMillis,
    batch::{Batch, Fault},
    request,
    schema::{signed, unsigned},
};

/// Step of an entry by which an authority begins whose root was made elsewhere.
pub(crate) const ROOT_BROUGHT: &str = "root-brought";

/// What stands in the place of the label and reference of a root's key that is elsewhere.
pub(crate) const OFFLINE: &str = "offline";

/// Largest generation: what all readers of the entries read alike (RFC 7493, section 2.2).
const GENERATION_MAX: u64 = 9_007_199_254_740_991;

impl Batch<'_> {
    /// Takes a step, or says which state it would have wanted.
    pub(crate) fn advance(&mut self, step: &Step, at: UnixMillis) -> Result<Logged, Fault> {
        match step {
            Step::RootIntent { authority, label, owners } => {
                self.root_intent(authority, label, owners, self.next_index())?;
            }
            Step::RootKey { authority, reference, spki } => root_key(self.connection, authority, reference, spki)?,
            Step::RootReady { authority } => root_ready(self.connection, authority)?,
            Step::RootBrought { authority, ceremony, key, owners, spki, brought: _ } => {
                self.root_brought(authority, (ceremony.as_deref(), at), key.as_ref(), owners, spki)?;
            }
            Step::IntermediateBrought { authority, generation, .. } => {
                awaits_intermediate(self.connection, authority, *generation)?;
            }
            Step::EpochIntent(intent) => self.epoch_intent(intent, at)?,
            Step::EpochKey { authority, generation, reference, spki } => {
                epoch_key(self.connection, authority, *generation, reference, spki)?;
            }
            Step::EpochPrepared { authority, generation } => epoch_prepared(self.connection, authority, *generation)?,
            Step::EpochActive { authority, generation, revoke_previous, by: _ } => {
                let index = self.next_index();
                epoch_active(self.connection, authority, *generation, *revoke_previous, (index, at))?;
            }
            Step::EpochAborted { authority, generation, .. } => {
                epoch_aborted(self.connection, authority, *generation, self.next_index())?;
            }
            Step::EpochDestroyed { authority, generation } => {
                epoch_destroyed(self.connection, authority, *generation, at)?;
            }
        }
        let entry = entry::of(self.connection, step, at)?;
        let logged = self.append(entry, at)?;
        // Its row says where in the log it stands, so that it comes after the entry.
        match step {
            Step::RootBrought { authority, spki, brought, .. } => {
                let issuer = SpkiDigest::of(spki);
                self.keep_signed_elsewhere((authority, Stage::Root), (issuer, brought), logged.index, at)?;
                root_ready(self.connection, authority)?;
            }
            Step::IntermediateBrought { authority, generation, brought, by: _ } => {
                let (epoch, issuer) = epoch_and_root(self.connection, authority, *generation)?;
                let stage = Stage::Intermediate { epoch };
                self.keep_signed_elsewhere((authority, stage), (issuer, brought), logged.index, at)?;
            }
            Step::RootIntent { .. }
            | Step::RootKey { .. }
            | Step::RootReady { .. }
            | Step::EpochIntent(_)
            | Step::EpochKey { .. }
            | Step::EpochPrepared { .. }
            | Step::EpochActive { .. }
            | Step::EpochAborted { .. }
            | Step::EpochDestroyed { .. } => {}
        }
        Ok(logged)
    }

    fn epoch_intent(&self, intent: &EpochIntent, at: UnixMillis) -> Result<(), Fault> {
        check_intent(self.connection, intent)?;
        let sql = "INSERT INTO epoch (authority, generation, state, manifest_sha256, transition, previous, lifetime, \
                   revoke_previous, label, intent_at, intent_index) VALUES (?1, ?2, 'intent', ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        self.connection.execute(
            sql,
            params![
                intent.authority,
                signed(intent.generation),
                intent.statement.sha256(),
                intent.transition,
                intent.previous,
                signed(intent.lifetime_secs),
                intent.revoke_previous,
                intent.label,
                at.0,
                signed(self.next_index()),
            ],
        )?;
        Ok(self.keep_hashed_blob(intent.statement.sha256(), intent.statement.bytes())?)
    }

    /// A root that comes whole. What its ceremony says is the last entry before its own: so it is before anything else of the authority.
    fn root_brought(
        &mut self,
        authority: &str,
        (ceremony, at): (Option<&CeremonyEvent>, UnixMillis),
        key: Option<&BroughtKey>,
        owners: &[SpkiDigest],
        spki: &[u8],
    ) -> Result<(), Fault> {
        let (label, reference) = key.map_or((OFFLINE, OFFLINE), |key| (key.label.as_str(), key.reference.as_str()));
        // All that can stand against it, before anything is written.
        check_key_is_new(self.connection, spki)?;
        let index = self.next_index() + u64::from(ceremony.is_some());
        self.root_intent(authority, label, owners, index)?;
        root_key(self.connection, authority, reference, spki)?;
        if let Some(event) = ceremony {
            self.record(&Event::Ceremony(event.clone()), at)?;
        }
        Ok(())
    }

    /// `index`: that of the entry by which it begins.
    fn root_intent(&self, authority: &str, label: &str, owners: &[SpkiDigest], index: u64) -> Result<(), Fault> {
        let sql = "INSERT INTO authority (name, state, label, owners, intent_index) VALUES (?1, 'intent', ?2, ?3, ?4) \
                   ON CONFLICT DO NOTHING";
        let values = params![authority, label, joined(owners), signed(index)];
        let changed = self.connection.execute(sql, values)?;
        one(changed, || format!("authority `{authority}` exists already; hint: go on from the step where it is"))
    }
}

/// Digests one after another.
pub(crate) fn joined(owners: &[SpkiDigest]) -> Vec<u8> {
    owners.iter().flat_map(|owner| *owner.as_bytes()).collect()
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

/// An epoch that has a key, and no intermediate CA certificate yet.
fn awaits_intermediate(connection: &Connection, authority: &str, generation: u64) -> Result<(), Fault> {
    let sql =
        "SELECT 1 FROM epoch WHERE authority = ?1 AND generation = ?2 AND state = 'keyed' AND intermediate IS NULL";
    let waits = connection.query_row(sql, params![authority, signed(generation)], |_| Ok(())).optional()?;
    check(waits.is_some(), || {
        format!("epoch {generation} of authority `{authority}` is not waiting for an intermediate CA certificate")
    })
}

/// Which epoch that is, and the key of its authority's root.
fn epoch_and_root(
    connection: &Connection,
    authority: &str,
    generation: u64,
) -> rusqlite::Result<(EpochId, SpkiDigest)> {
    let sql = "SELECT epoch.transition, authority.spki FROM epoch JOIN authority ON authority.name = epoch.authority \
               WHERE epoch.authority = ?1 AND epoch.generation = ?2";
    connection.query_row(sql, params![authority, signed(generation)], |row| {
        Ok((EpochId { generation, transition: row.get(0)? }, SpkiDigest::of(row.get_ref(1)?.as_blob()?)))
    })
}

impl Batch<'_> {
    /// Keeps a certificate that was signed elsewhere as those are kept that were signed here. Its issuer's numbers are not ours.
    fn keep_signed_elsewhere(
        &mut self,
        (authority, stage): (&str, Stage),
        (issuer, brought): (SpkiDigest, &Brought),
        log_index: u64,
        at: UnixMillis,
    ) -> Result<(), Fault> {
        let issuer = self.issuer(issuer)?.id;
        let (serial, end) = (brought.serial.as_bytes(), brought.validity.not_after.secs());
        let sql =
            "INSERT INTO serial (issuer, serial, not_after, log_index) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
        let taken = self.connection.execute(sql, params![issuer, serial, end, signed(log_index)])?;
        check(taken == 1, || "the root has another certificate with this serial number".to_owned())?;
        let epoch = stage.epoch();
        let id =
            epoch.map_or_else(|| stage.name().to_owned(), |epoch| format!("{}-{}", stage.name(), epoch.generation));
        let sql = "INSERT INTO request (log_index, at, authority, caller, id, content, stage, generation, transition, \
                   issuer, serial, algorithm, not_after, tbs, signature) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
        self.connection.execute(
            sql,
            params![
                signed(log_index),
                at.0,
                authority,
                OPERATOR,
                id,
                sha256(&brought.to_be_signed),
                stage.name(),
                epoch.map(|epoch| signed(epoch.generation)),
                epoch.map(|epoch| epoch.transition),
                issuer,
                serial,
                brought.algorithm.name(),
                end,
                brought.to_be_signed,
                brought.signature,
            ],
        )?;
        request::set_place(self.connection, authority, stage, log_index)?;
        Ok(())
    }
}

fn check_intent(connection: &Connection, intent: &EpochIntent) -> Result<(), Fault> {
    let EpochIntent { authority, generation, statement, transition: named, previous, .. } = intent;
    let sql = "SELECT state = 'ready' FROM authority WHERE name = ?1";
    let ready: Option<bool> = connection.query_row(sql, [authority], |row| row.get(0)).optional()?;
    check(ready == Some(true), || format!("authority `{authority}` has no root that is ready"))?;
    let last = Last::of(connection, authority)?;
    check(last.making.is_none(), || {
        let making = last.making.unwrap_or_default();
        format!("epoch {making} of authority `{authority}` is in the making; hint: finish or abort it first")
    })?;
    check(*generation == last.generation + 1 && *generation <= GENERATION_MAX, || {
        format!("the next epoch of authority `{authority}` is {}, not {generation}", last.generation + 1)
    })?;
    check(*previous == last.transition, || {
        let current = hallmark_policy::hex(&last.transition);
        format!("the transition in force of authority `{authority}` is {current}; hint: begin from that one")
    })?;
    check(*named == transition(statement.sha256(), previous), || {
        "the transition does not follow from the manifest and the previous transition".to_owned()
    })
}

/// How far an authority's epochs are.
struct Last {
    /// The highest generation that was ever used; 0 if none was.
    generation: u64,
    /// The transition in force; 32 zero bytes if there is none.
    transition: [u8; 32],
    /// The epoch in the making.
    making: Option<u64>,
}

impl Last {
    fn of(connection: &Connection, authority: &str) -> rusqlite::Result<Self> {
        let one = |sql: &str| {
            connection.query_row(sql, [authority], |row| row.get::<_, Option<i64>>(0).map(|found| found.map(unsigned)))
        };
        let generation = one("SELECT max(generation) FROM epoch WHERE authority = ?1")?.unwrap_or(0);
        let making = one("SELECT max(generation) FROM epoch WHERE authority = ?1 \
                          AND state IN ('intent', 'keyed', 'prepared')")?;
        let sql = "SELECT transition FROM epoch WHERE authority = ?1 AND state = 'active'";
        let transition = connection.query_row(sql, [authority], |row| row.get(0)).optional()?;
        Ok(Self { generation, transition: transition.unwrap_or([0; 32]), making })
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
    let sql = "UPDATE epoch SET state = 'keyed', reference = ?3, spki = ?4, spki_sha256 = ?5 \
               WHERE authority = ?1 AND generation = ?2 AND state = 'intent'";
    let digest = SpkiDigest::of(spki);
    let values = params![authority, signed(generation), reference, spki, digest.as_bytes()];
    let changed = connection.execute(sql, values)?;
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
fn epoch_active(
    connection: &Connection,
    authority: &str,
    generation: u64,
    revoke_previous: bool,
    (index, at): (u64, UnixMillis),
) -> Result<(), Fault> {
    let sql = "SELECT previous = coalesce((SELECT transition FROM epoch WHERE authority = ?1 AND state = 'active'), \
               zeroblob(32)) FROM epoch WHERE authority = ?1 AND generation = ?2 AND state = 'prepared'";
    let follows: Option<bool> =
        connection.query_row(sql, params![authority, signed(generation)], |row| row.get(0)).optional()?;
    check(follows.is_some(), || format!("epoch {generation} of authority `{authority}` is not prepared"))?;
    check(follows == Some(true), || {
        format!("epoch {generation} of authority `{authority}` does not follow the active one")
    })?;
    let sql = "UPDATE epoch SET state = 'retired', retired_at = ?2 WHERE authority = ?1 AND state = 'active'";
    connection.execute(sql, params![authority, at.0])?;
    let sql = "UPDATE epoch SET state = 'active', active_index = ?3, active_at = ?4, \
               revoke_previous = revoke_previous OR ?5 WHERE authority = ?1 AND generation = ?2";
    connection.execute(sql, params![authority, signed(generation), signed(index), at.0, revoke_previous])?;
    Ok(())
}

fn epoch_aborted(connection: &Connection, authority: &str, generation: u64, index: u64) -> Result<(), Fault> {
    let sql = "UPDATE epoch SET state = 'aborted', aborted_index = ?3 WHERE authority = ?1 AND generation = ?2 \
               AND state IN ('intent', 'keyed', 'prepared')";
    let changed = connection.execute(sql, params![authority, signed(generation), signed(index)])?;
    one(changed, || format!("epoch {generation} of authority `{authority}` is not in the making"))
}

fn epoch_destroyed(connection: &Connection, authority: &str, generation: u64, at: UnixMillis) -> Result<(), Fault> {
    let sql = "UPDATE epoch SET state = iif(state = 'retired', 'destroyed', state), destroyed_at = ?3 \
               WHERE authority = ?1 AND generation = ?2 AND state IN ('retired', 'aborted') AND destroyed_at IS NULL";
    let changed = connection.execute(sql, params![authority, signed(generation), at.0])?;
    one(changed, || format!("the key of epoch {generation} of authority `{authority}` is not to be destroyed"))
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
