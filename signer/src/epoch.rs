//! The life of an epoch up to the moment when it signs: intent, key, certificates, fence, drain. Each step is in the ledger before the next
//! begins; what was interrupted goes on from there.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use hallmark_backends::{KeyLabel, KeyPurpose};
use hallmark_ledger::{
    Answer, AuthorityRecord, Consent, EpochIntent, EpochRecord, EpochState, Epochs, Logged, Statement, Step,
};
use hallmark_policy::{
    Bounds, Reason, ReasonCode,
    authority::{CaRequest, statement, transition},
    content::EpochBinding,
    file::RotatesWord,
    key::SpkiDigest,
    profile::Authority,
    time::Span,
};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::{
    apply::BY_START,
    authorities::{self, Serving},
    core::Inner,
    epochs,
    fence::Drained,
    making::{MakingError, epoch_label, generate, refused, sign_ca},
    proven, retire, rotate,
};

/// Transition before the first epoch.
pub(crate) const GENESIS: [u8; 32] = [0; 32];

/// One rotation of an authority at a time.
#[derive(Default)]
pub(crate) struct Rotating {
    authorities: Mutex<HashMap<String, Arc<AsyncMutex<()>>>>,
}

impl Rotating {
    /// Waits until nobody else changes the epochs of this authority.
    pub(crate) async fn alone(&self, authority: &str) -> OwnedMutexGuard<()> {
        let lock = {
            let mut authorities = self.authorities.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(authorities.entry(authority.to_owned()).or_default())
        };
        lock.lock_owned().await
    }

    /// As [`alone`](Self::alone), for a caller who waits until then and no longer.
    pub(crate) async fn alone_before(&self, authority: &str, deadline: Instant) -> Result<OwnedMutexGuard<()>, Reason> {
        tokio::time::timeout_at(deadline.into(), self.alone(authority)).await.map_err(|_| {
            let sentence =
                "something else changed the epochs of this authority until the deadline; make the same call again";
            Reason::new(ReasonCode::DeadlinePassed, "authority", sentence)
        })
    }
}

/// An epoch that was put in force.
#[derive(Debug)]
pub(crate) struct Activated {
    /// How those ended who signed with the key before.
    pub(crate) drained: Drained,
    /// How long nothing could be decided.
    pub(crate) pause: Duration,
}

/// Begins the next epoch of an authority that rotates by age. Gives its generation.
pub(crate) async fn begin_by_age(
    core: &Arc<Inner>,
    authority: &Authority,
    lifetime_secs: u64,
    consent: Consent,
) -> Result<u64, MakingError> {
    let generation = next_generation(core, &authority.name)?;
    let statement = Statement::new(statement(&authority.name, generation).into_bytes());
    begin(core, &authority.name, statement, lifetime_secs, false, consent).await
}

fn next_generation(core: &Inner, authority: &str) -> Result<u64, MakingError> {
    let newest = core.ledger.epoch(authority, Epochs::Before { generation: u64::MAX, most: 1 })?;
    Ok(newest.map_or(1, |epoch| epoch.generation + 1))
}

/// Begins the next epoch. Gives its generation.
pub(crate) async fn begin(
    core: &Arc<Inner>,
    authority: &str,
    statement: Statement,
    lifetime_secs: u64,
    revoke_previous: bool,
    consent: Consent,
) -> Result<u64, MakingError> {
    is_not_stopped(core, authority)?;
    let generation = next_generation(core, authority)?;
    let active = core.ledger.epoch(authority, Epochs::Active)?;
    let previous = active.map_or(GENESIS, |epoch| epoch.transition);
    let label = epoch_label(core, authority, generation).map_err(|reason| refused(authority, "epoch", reason))?;
    let intent = EpochIntent {
        authority: authority.to_owned(),
        generation,
        transition: transition(statement.sha256(), &previous),
        statement,
        previous,
        lifetime_secs,
        revoke_previous,
        label,
        consent,
    };
    core.advance(Step::EpochIntent(Box::new(intent))).await?;
    Ok(generation)
}

/// Brings an epoch as far as prepared, from wherever it is; as far as keyed where its root is offline and its certificate was not
/// brought yet.
pub(crate) async fn prepare(
    core: &Arc<Inner>,
    authority: &Authority,
    record: &AuthorityRecord,
    generation: u64,
    said: &mut Vec<String>,
) -> Result<EpochRecord, MakingError> {
    let name = &authority.name;
    proven::making(core, authority, record, &find(core, name, generation)?)?;
    is_not_stopped(core, name)?;
    loop {
        let epoch = find(core, name, generation)?;
        proven::intent(&core.ledger, &epoch)?;
        match epoch.state {
            EpochState::Intent => make_key(core, authority, &epoch, said).await?,
            EpochState::Keyed => {
                same_policy(authority, &epoch)?;
                sign_both(core, authority, record, &epoch, said).await?;
                let signed = find(core, name, generation)?;
                same_policy(authority, &signed)?;
                if signed.intermediate.is_none() {
                    said.push(format!(
                        "epoch {generation} of `{name}` waits for the certificate that its root signs elsewhere"
                    ));
                    return Ok(signed);
                }
                core.advance(Step::EpochPrepared { authority: name.clone(), generation }).await?;
            }
            EpochState::Prepared => return Ok(epoch),
            EpochState::Active | EpochState::Retired | EpochState::Destroyed | EpochState::Aborted => {
                return Err(other_state(&epoch, "in the making"));
            }
        }
    }
}

/// An authority whose database is an older one makes no epoch, and puts none in force: the newest one has it, and its key.
fn is_not_stopped(core: &Inner, authority: &str) -> Result<(), MakingError> {
    match core.ledger.stopped(authority)? {
        Some(reason) => Err(refused(authority, "epoch", reason)),
        None => Ok(()),
    }
}

/// What an interrupted attempt left under the label is destroyed: nobody was ever told of it.
async fn make_key(
    core: &Arc<Inner>,
    authority: &Authority,
    epoch: &EpochRecord,
    said: &mut Vec<String>,
) -> Result<(), MakingError> {
    let (name, generation) = (&authority.name, epoch.generation);
    let cleared = core.clear(name, KeyLabel::parse(&epoch.label)?).await?;
    if cleared.keys() > 0 {
        tracing::warn!(
            authority = name,
            generation,
            cleared = cleared.keys(),
            "an interrupted attempt had left keys; they are destroyed"
        );
    }
    let key = generate(core, name, &epoch.label, &authority.epoch, KeyPurpose::Epoch).await?;
    said.push(format!("made the key of epoch {generation} of `{name}`: {} {}", authority.epoch.key, key.reference));
    let (reference, spki) = (key.reference.to_string(), key.public.spki().to_vec());
    core.advance(Step::EpochKey { authority: name.clone(), generation, reference, spki }).await?;
    Ok(())
}

async fn sign_both(
    core: &Arc<Inner>,
    authority: &Authority,
    record: &AuthorityRecord,
    epoch: &EpochRecord,
    said: &mut Vec<String>,
) -> Result<(), MakingError> {
    let name = &authority.name;
    let root = authorities::root(record, &authority.root)?;
    if !record.is_offline() {
        core.open_key(name, record.key.clone()).await?;
    }
    let key = core.open_key(name, epoch.key.clone()).await?;
    let binding =
        EpochBinding { generation: epoch.generation, manifest: epoch.manifest_sha256, transition: epoch.transition };
    let lifetime = (epoch.lifetime_secs > 0).then(|| Span::from_secs(epoch.lifetime_secs));
    if epoch.intermediate.is_none() && !record.is_offline() {
        let request = CaRequest::Intermediate { root: &root, epoch: binding, lifetime };
        sign_ca(core, name, &request, &key, "intermediate certificate").await?;
        said.push(format!("signed the intermediate CA certificate of `{name}`: {}", authority.epoch.subject));
    }
    if epoch.mesh_ca.is_none() {
        let request = CaRequest::MeshCa { root: &root, epoch: binding, lifetime };
        sign_ca(core, name, &request, &key, "mesh CA certificate").await?;
        said.push(format!("signed the mesh CA certificate of `{name}` with the same key"));
    }
    Ok(())
}

/// Whether both certificates of an epoch say the same of names and policies. Where one is still to come, it will say what the policy says
/// now, and the other one has to.
pub(crate) fn same_policy(authority: &Authority, epoch: &EpochRecord) -> Result<(), MakingError> {
    let stored = |answer: &Option<Answer>| answer.as_ref().map(|answer| Bounds::stored(&answer.to_be_signed));
    let wanted = Some(Some(Bounds::of(authority)));
    let same = match (stored(&epoch.intermediate), stored(&epoch.mesh_ca)) {
        (None, None) => true,
        (Some(own), Some(mesh)) => own.is_some() && own == mesh,
        (one, None) | (None, one) => one == wanted,
    };
    if same {
        return Ok(());
    }
    let sentence = format!(
        "the policy's name constraints or certificate policies changed since epoch {} was begun, so that its two certificates \
         would differ: abort it and prepare another",
        epoch.generation
    );
    let reason = Reason::new(ReasonCode::StateDiffers, "generation", sentence);
    Err(refused(&authority.name, "epoch", reason.allowing("`hallmark epoch abort`, then begin again")))
}

/// Whether an epoch may be put in force now: it has begun, and has not ended, by a clock that can be trusted.
pub(crate) async fn not_ended(core: &Inner, epoch: &EpochRecord) -> Result<(), MakingError> {
    let now = core.trusted_clock().await.map_err(MakingError::Clock)?.time;
    let Some(validity) = epochs::validity(epoch).filter(|validity| !validity.contains_moment(now)) else {
        return Ok(());
    };
    let sentence = format!(
        "epoch {} is valid from {} to {}, and it is {now}: abort it and prepare another",
        epoch.generation, validity.not_before, validity.not_after
    );
    let reason = Reason::new(ReasonCode::StateDiffers, "generation", sentence);
    Err(refused(&epoch.authority, "epoch", reason.allowing("`hallmark epoch abort`, then begin again")))
}

/// Puts a prepared epoch in force: the ledger's transaction is the fence, and then what is in flight with the old key drains. When it
/// returns, no signature with the old key begins any more, and none is released.
pub(crate) async fn activate(
    core: &Arc<Inner>,
    name: &str,
    generation: u64,
    revoke_previous: bool,
    by: &str,
) -> Result<Activated, MakingError> {
    is_not_stopped(core, name)?;
    // Looked at first: the last CRL of the active key holds to its end, and is not to be signed for nothing.
    ready(core, name, generation).await?;
    if let Some(active) = core.ledger.epoch(name, Epochs::Active)? {
        retire::last_crl(core, &active).await?;
    }
    let _no_other_policy = core.in_force.changing().await;
    let serving = ready(core, name, generation).await?;
    let retired = core.ledger.epoch(name, Epochs::Active)?;
    let old_key = retired.as_ref().and_then(|epoch| epoch.key.as_ref()).map(|key| SpkiDigest::of(&key.spki));

    let since = Instant::now();
    let alone = core.in_force.alone().await;
    core.advance(Step::EpochActive { authority: name.to_owned(), generation, revoke_previous, by: by.to_owned() })
        .await?;
    core.serve_one(name, serving);
    drop(alone);
    let pause = since.elapsed();

    let mut drained = Drained::Whole;
    if let Some(old_key) = old_key {
        drained = core.fences.retire(old_key, core.drain_time_max).await;
        core.keyring.close(old_key);
    }
    if let Drained::Barred(left) = drained {
        tracing::error!(
            authority = name,
            left,
            "the device did not give every signature in time; what comes is thrown away"
        );
    }
    tracing::info!(authority = name, generation, pause_micros = pause.as_micros(), "another epoch is active");
    Ok(Activated { drained, pause })
}

/// A prepared epoch, as it would be served: it was wanted, it has not ended, and its key, certificates and manifest are what they must be.
async fn ready(core: &Arc<Inner>, name: &str, generation: u64) -> Result<Serving, MakingError> {
    let policy = core.policy();
    let missing = |what| MakingError::Missing { authority: name.to_owned(), what };
    let authority = policy.authority(name).ok_or_else(|| missing("description in the policy"))?;
    let record = core.ledger.authority(name)?.ok_or_else(|| missing("root"))?;
    let epoch = find(core, name, generation)?;
    if epoch.state != EpochState::Prepared {
        return Err(other_state(&epoch, "prepared"));
    }
    proven::making(core, authority, &record, &epoch)?;
    not_ended(core, &epoch).await?;
    let key = core.open_key(name, epoch.key.clone()).await?;
    // A manifest may have 16 MiB: nobody who mints waits until it is read.
    let (inner, policy, own) = (Arc::clone(core), Arc::clone(&policy), name.to_owned());
    let reading = tokio::task::spawn_blocking(move || {
        let Some(authority) = policy.authority(&own) else { return Ok(None) };
        let manifest = authorities::manifest(&inner.ledger, authority, &epoch)?;
        authorities::serving(&record, &epoch, authority, key, manifest).map(Some)
    });
    let read = reading.await.map_err(|_| MakingError::Interrupted { authority: name.to_owned() })??;
    read.ok_or_else(|| missing("description in the policy"))
}

/// Goes on with an epoch that a crash or a device interrupted, as far as nobody needs to be asked. Says what was done.
pub(crate) async fn resume(core: &Arc<Inner>, authority: &Authority) -> Result<Vec<String>, MakingError> {
    let name = &authority.name;
    let _alone = core.rotating.alone(name).await;
    let mut said = Vec::new();
    let Some(making) = core.ledger.epoch(name, Epochs::Making)? else { return Ok(said) };
    let Some(record) = core.ledger.authority(name)? else { return Ok(said) };
    if authority.rotates() == RotatesWord::Manifest {
        rotate::finish(core, authority, &record, making.generation, BY_START, &mut said).await?;
    } else if making.state < EpochState::Prepared {
        prepare(core, authority, &record, making.generation, &mut said).await?;
        said.push(format!("epoch {} of `{name}` was interrupted in the making and is prepared now", making.generation));
    }
    Ok(said)
}

/// Gives up an epoch that is in the making. Its key is destroyed with the leftovers.
pub(crate) async fn abort(
    core: &Arc<Inner>,
    epoch: &EpochRecord,
    reason: &str,
    by: &str,
) -> Result<Logged, MakingError> {
    let (authority, generation) = (epoch.authority.clone(), epoch.generation);
    let logged = core
        .advance(Step::EpochAborted { authority, generation, reason: reason.to_owned(), by: by.to_owned() })
        .await?;
    if let Some(key) = &epoch.key {
        core.keyring.close(SpkiDigest::of(&key.spki));
    }
    Ok(logged)
}

fn find(core: &Inner, authority: &str, generation: u64) -> Result<EpochRecord, MakingError> {
    let missing = MakingError::Missing { authority: authority.to_owned(), what: "epoch" };
    core.ledger.epoch(authority, Epochs::Generation(generation))?.ok_or(missing)
}

pub(crate) fn other_state(epoch: &EpochRecord, wanted: &'static str) -> MakingError {
    MakingError::OtherState {
        authority: epoch.authority.clone(),
        generation: epoch.generation,
        state: epoch.state.name(),
        wanted,
    }
}
