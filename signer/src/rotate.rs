//! RotateIntermediate: a manifest is set, and with it a key that nobody had before.
//!
//! Everything is looked at before anything begins: the transition that is replaced, the manifest with all its names, the owner's
//! signature. What was begun goes on with the next call that wants the same, and at the next start.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hallmark_ledger::{
    AuthorityRecord, AuthorityState, Consent, EpochRecord, EpochState, Epochs, LedgerError, Statement,
};
use hallmark_policy::{
    Facts, Policy, Reason, ReasonCode,
    authority::{lifetime_objection, transition},
    file::{OwnerSignatureWord, RotatesWord},
    hex,
    key::SpkiDigest,
    manifest::{MANIFEST_BYTES_MAX, Manifest},
    owner::{self, RotationStatement},
    profile::Authority,
    time::Span,
};
use hallmark_proto::{
    link::Reply,
    signer::{Epoch, RotateIntermediateRequest, RotateIntermediateResponse},
};

use crate::{
    answer::{self, Failure, Receipt},
    authorities,
    ca::Ca,
    core::{CallContext, Inner},
    crl,
    epoch::{self, GENESIS},
    epochs,
    making::{self, MakingError},
    operate::decode,
    proven,
};

/// A rotation that is wanted, with everything that was looked at.
struct Wanted {
    policy: Arc<Policy>,
    record: AuthorityRecord,
    statement: Statement,
    expected: [u8; 32],
    lifetime_secs: u64,
    revoke_previous: bool,
    consent: Consent,
}

/// Answers RotateIntermediate.
pub(crate) async fn rotate(core: &Arc<Inner>, call: CallContext) -> Result<Reply, Failure> {
    let facts = core.facts(call.method.name(), &call.caller);
    let by = core.caller_name(&call.caller);
    let message: RotateIntermediateRequest = decode(call.body)?;
    let name = message.authority.clone();
    core.trace_authority(&name);
    let statement = Statement::new(message.manifest.to_vec());
    let facts = Facts { authority: name.clone(), manifest_sha256: Some(*statement.sha256()), ..facts };
    if let Err(failure) = epochs::known(core, &name).and_then(|()| limits(&message)) {
        return Err(epochs::refused(core, failure, facts, name).await);
    }
    let _alone = core.rotating.alone_before(&name, call.deadline).await?;
    match rotate_alone(core, &message, statement, by).await {
        Ok(response) => Ok(answer::success(&response)),
        Err(failure) => Err(epochs::refused(core, failure, facts, name).await),
    }
}

async fn rotate_alone(
    core: &Arc<Inner>,
    message: &RotateIntermediateRequest,
    statement: Statement,
    by: String,
) -> Result<RotateIntermediateResponse, Failure> {
    let wanted = wanted(core, message, statement, by)?;
    let name = &message.authority;
    let active = core.one_epoch(name, Epochs::Active)?;
    if let Some(active) = active.as_ref().filter(|active| wanted.is(active)) {
        return response(core, &wanted.record, active, true).await;
    }
    check(core, message, &wanted, active.as_ref()).await?;
    let Some(authority) = wanted.policy.authority(name) else { return Err(no_root(name).into()) };
    let generation = generation(core, authority, &wanted).await?;
    let mut said = Vec::new();
    let done = finish(core, authority, &wanted.record, generation, &wanted.consent.by, &mut said).await;
    let pause = done.map_err(|error| core.making_failed(&error))?;
    let epoch = core.one_epoch(name, Epochs::Generation(generation))?.ok_or_else(|| no_root(name))?;
    let pause_micros = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
    Ok(RotateIntermediateResponse { pause_micros, ..response(core, &wanted.record, &epoch, false).await? })
}

/// Brings an epoch of a manifest into force, from wherever it is. Says for how long nothing was decided.
pub(crate) async fn finish(
    core: &Arc<Inner>,
    authority: &Authority,
    record: &AuthorityRecord,
    generation: u64,
    by: &str,
    said: &mut Vec<String>,
) -> Result<Duration, making::MakingError> {
    let prepared = epoch::prepare(core, authority, record, generation, said).await?;
    if prepared.state == EpochState::Keyed {
        return Ok(Duration::ZERO);
    }
    let activated = epoch::activate(core, &authority.name, generation, prepared.revoke_previous, by).await?;
    said.push(format!("epoch {generation} of `{}` is active", authority.name));
    said.extend(core.after_activation(&authority.name).await);
    said.iter().for_each(|sentence| tracing::info!(authority = authority.name, "{sentence}"));
    Ok(activated.pause)
}

/// What the message's comments promise about its fields.
fn limits(message: &RotateIntermediateRequest) -> Result<(), Failure> {
    let mut reasons = Vec::new();
    if message.expected_transition.len() != GENESIS.len() {
        let sentence = format!("`expected_transition` has {} bytes", message.expected_transition.len());
        let reason = Reason::new(ReasonCode::FieldOutOfLimits, "expected_transition", sentence);
        reasons.push(reason.allowing("32 bytes"));
    }
    match message.manifest.len() {
        0 => reasons.push(Reason::new(ReasonCode::FieldMissing, "manifest", "`manifest` is empty")),
        bytes if bytes > MANIFEST_BYTES_MAX => {
            let reason = Reason::new(ReasonCode::FieldOutOfLimits, "manifest", format!("`manifest` has {bytes} bytes"));
            reasons.push(reason.allowing(format!("at most {MANIFEST_BYTES_MAX} bytes")));
        }
        _ => {}
    }
    if reasons.is_empty() { Ok(()) } else { Err(failed(reasons)) }
}

fn wanted(
    core: &Inner,
    message: &RotateIntermediateRequest,
    statement: Statement,
    by: String,
) -> Result<Wanted, Failure> {
    let (name, policy) = (&message.authority, core.policy());
    let authority = policy.authority(name).ok_or_else(|| no_root(name))?;
    if authority.rotates() == RotatesWord::Age {
        let sentence = format!("authority `{name}` rotates by age, and takes no manifest");
        return Err(Reason::new(ReasonCode::RotatesByAge, "authority", sentence).into());
    }
    let revoke_previous = match authority.owner_signature() {
        OwnerSignatureWord::Hallmark => message.revoke_previous,
        OwnerSignatureWord::Contrast => authority.revoke_previous(),
    };
    let record = core.ledger.authority(name).map_err(|error| core.ledger_failed(&error))?;
    let record = record.filter(|record| record.state == AuthorityState::Ready).ok_or_else(|| no_root(name))?;
    Ok(Wanted {
        record,
        statement,
        expected: <[u8; 32]>::try_from(message.expected_transition.as_ref()).unwrap_or_default(),
        lifetime_secs: message.lifetime_seconds,
        revoke_previous,
        consent: Consent {
            by,
            owner_spki: message.owner_key.to_vec(),
            owner_signature: message.owner_signature.to_vec(),
        },
        policy,
    })
}

impl Wanted {
    /// Whether an epoch is the one that is wanted.
    fn is(&self, epoch: &EpochRecord) -> bool {
        epoch.previous == self.expected
            && epoch.manifest_sha256 == *self.statement.sha256()
            && epoch.lifetime_secs == self.lifetime_secs
            && epoch.revoke_previous == self.revoke_previous
    }
}

/// Everything that can be wrong, before anything begins.
async fn check(
    core: &Arc<Inner>,
    message: &RotateIntermediateRequest,
    wanted: &Wanted,
    active: Option<&EpochRecord>,
) -> Result<(), Failure> {
    let name = &message.authority;
    let current = active.map_or(GENESIS, |active| active.transition);
    if wanted.expected != current {
        let sentence = "another transition is active than the expected one";
        let reason = Reason::new(ReasonCode::TransitionStale, "expected_transition", sentence);
        return Err(reason.allowing(hex(&current)).into());
    }
    core.trusted_clock().await?;
    let (checking, policy) = (Arc::clone(core), Arc::clone(&wanted.policy));
    let (record, active) = (wanted.record.clone(), active.cloned());
    let statement = RotationStatement {
        root: wanted.record.key.as_ref().map_or(SpkiDigest::from_bytes([0; 32]), |key| SpkiDigest::of(&key.spki)),
        transition: transition(wanted.statement.sha256(), &current),
        lifetime_seconds: message.lifetime_seconds,
        revoke_previous: message.revoke_previous,
    };
    let (name, message) = (name.clone(), message.clone());
    // A manifest of 16 MiB takes its time.
    let checked = tokio::task::spawn_blocking(move || {
        let authority = policy.authority(&name).ok_or_else(|| no_root(&name))?;
        reasons(&checking, &policy, authority, &record, active.as_ref(), &statement, &message)
    });
    let interrupted = |_| {
        Reason::new(
            ReasonCode::LedgerFailed,
            "manifest",
            "reading the manifest was interrupted; make the same call again",
        )
    };
    let reasons = checked.await.map_err(interrupted)??;
    if reasons.is_empty() { Ok(()) } else { Err(failed(reasons)) }
}

/// Every reason why the manifest may not be set.
fn reasons(
    core: &Inner,
    policy: &Policy,
    authority: &Authority,
    record: &AuthorityRecord,
    active: Option<&EpochRecord>,
    statement: &RotationStatement,
    message: &RotateIntermediateRequest,
) -> Result<Vec<Reason>, Failure> {
    let mut reasons = Vec::new();
    let in_force = core.owners_in_force(record, active).map_err(|error| core.authority_failed(error))?;
    let (key, signature) = (&message.owner_key, &message.owner_signature);
    let consent = owner::check(authority, &in_force, statement, key, signature);
    reasons.extend(consent.err().unwrap_or_default());
    if statement.revoke_previous {
        reasons.extend(crl::not_configured(authority).or_else(|| crl::offline(record)));
    }
    if message.lifetime_seconds > 0 {
        reasons.extend(lifetime_objection(&authority.epoch, Span::from_secs(message.lifetime_seconds)));
    }
    match Manifest::parse_for(&message.manifest, policy, authority) {
        Ok(manifest) => {
            reasons.extend(core.owners_shared(policy, authority, manifest.owners())?);
        }
        Err(error) => reasons.extend(error.reasons()),
    }
    Ok(reasons)
}

/// The epoch to go on with: the one in the making, if it is the wanted one, else a new one.
async fn generation(core: &Arc<Inner>, authority: &Authority, wanted: &Wanted) -> Result<u64, Failure> {
    let name = &wanted.record.name;
    if let Some(making) = core.one_epoch(name, Epochs::Making)? {
        let proof = match wanted.is(&making) {
            true => proven::making(core, authority, &wanted.record, &making),
            false => Ok(()),
        };
        let reason = match proof {
            Ok(()) if wanted.is(&making) => return Ok(making.generation),
            Ok(()) => "another manifest is set in its place",
            Err(MakingError::Ledger(LedgerError::Tampered { .. }) | MakingError::Refused { .. }) => {
                "the log, or its owner's signature, does not stand behind it"
            }
            Err(error) => return Err(core.making_failed(&error)),
        };
        let aborted = epoch::abort(core, &making, reason, &wanted.consent.by).await;
        aborted.map_err(|error| core.making_failed(&error))?;
    }
    let Wanted { statement, lifetime_secs, revoke_previous, consent, .. } = wanted;
    let begun = epoch::begin(core, name, statement.clone(), *lifetime_secs, *revoke_previous, consent.clone()).await;
    begun.map_err(|error| core.making_failed(&error))
}

async fn response(
    core: &Arc<Inner>,
    record: &AuthorityRecord,
    epoch: &EpochRecord,
    replayed: bool,
) -> Result<RotateIntermediateResponse, Failure> {
    if epoch.state == EpochState::Keyed {
        return waiting(core, record, epoch).await;
    }
    let chain = authorities::chain(record, epoch).map_err(|error| {
        tracing::error!(%error, "stored CA certificates cannot be read");
        Failure::from(Reason::new(ReasonCode::LedgerFailed, "epoch", error.to_string()))
    })?;
    let receipt = match epoch.active_index.filter(|_| epoch.state == EpochState::Active) {
        Some(index) => core.receipt_of(index).await?,
        None => Receipt::default(),
    };
    let root_crl = match core.one_epoch(&record.name, Epochs::Transition(epoch.previous))? {
        Some(previous) if epoch.revoke_previous && core.is_listed(&previous)? => {
            core.newest_crl(&record.name, Ca::Root)?
        }
        Some(_) | None => Bytes::new(),
    };
    Ok(RotateIntermediateResponse {
        root: chain.root.into(),
        intermediate: chain.intermediate.into(),
        mesh_ca: chain.mesh_ca.into(),
        epoch: Some(Epoch {
            authority: record.name.clone(),
            generation: epoch.generation,
            transition: epoch.transition.to_vec().into(),
            manifest_sha256: epoch.manifest_sha256.to_vec().into(),
        }),
        state: epochs::state(epoch.state).into(),
        replayed,
        log_index: epoch.active_index,
        receipt: receipt.text,
        log_entry: receipt.entry.into(),
        certification_request: Bytes::new(),
        pause_micros: 0,
        root_crl,
    })
}

/// An epoch whose root is offline: what is there, and what the root is to sign.
async fn waiting(
    core: &Arc<Inner>,
    record: &AuthorityRecord,
    epoch: &EpochRecord,
) -> Result<RotateIntermediateResponse, Failure> {
    let (root, mesh_ca) = authorities::without_intermediate(record, epoch).map_err(crl::unfit)?;
    Ok(RotateIntermediateResponse {
        root: root.into(),
        mesh_ca: mesh_ca.into(),
        epoch: Some(Epoch {
            authority: record.name.clone(),
            generation: epoch.generation,
            transition: epoch.transition.to_vec().into(),
            manifest_sha256: epoch.manifest_sha256.to_vec().into(),
        }),
        state: epochs::state(epoch.state).into(),
        certification_request: core.certification_request(epoch).await?,
        ..RotateIntermediateResponse::default()
    })
}

fn failed(reasons: Vec<Reason>) -> Failure {
    Failure { reasons, logged: None, retry_after: None }
}

fn no_root(authority: &str) -> Reason {
    let sentence = format!("authority `{authority}` has no root yet");
    Reason::new(ReasonCode::EpochNotActive, "authority", sentence).allowing("an operator runs `hallmarkd init`")
}
