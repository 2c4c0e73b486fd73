//! ListEpochs and WatchEpochs: how an authority's epochs stand. Touches no key.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use hallmark_ledger::{Answer, EpochRecord, EpochState as Stored, Epochs, UnixMillis};
use hallmark_policy::{
    Facts, LABEL_BYTES_MAX, Reason, ReasonCode,
    content::Serial,
    crl::CrlScope,
    key::{PublicKey, SpkiDigest},
    reason::quote,
    stored_validity,
    time::Interval,
};
use hallmark_proto::{
    link::Reply,
    signer::{
        Epoch, EpochState, EpochStatus, Fetched, ListEpochsRequest, ListEpochsResponse, WatchEpochsRequest,
        WatchEpochsResponse,
    },
};
use prost::Message;
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout_at};

use crate::{
    answer::{self, Failure},
    core::{CallContext, Inner},
    crl::interrupted,
    operate::decode,
};

/// Most epochs of one answer, and how many there are where the caller does not say. Each is some queries and two verified signatures.
const PAGE_MAX: u32 = 100;
/// Most callers that an epoch's status names.
const FETCHED_MAX: u32 = 1_000;
/// Most streams that one caller has under way.
const WATCHES_OF_CALLER_MAX: usize = 256;
/// Longest revision that is taken, in bytes.
const REVISION_BYTES_MAX: usize = 64;
/// How long before a question's deadline it is said that there is nothing new.
const NOTHING_NEW_BEFORE: Duration = Duration::from_millis(500);

/// Answers ListEpochs.
pub(crate) async fn list(core: &Arc<Inner>, call: CallContext) -> Result<Reply, Failure> {
    let facts = core.facts(call.method.name(), &call.caller);
    let message: ListEpochsRequest = decode(call.body)?;
    core.trace_authority(&message.authority);
    let authority = message.authority.clone();
    let listed = match checked(core, &message) {
        Ok(()) => in_turn(core, &core.epoch_turns.lists, call.deadline, move |core| page(core, &message)).await,
        Err(failure) => Err(failure),
    };
    match listed {
        Ok(response) => Ok(answer::success(&response)),
        Err(failure) => Err(refused(core, failure, facts, authority).await),
    }
}

/// Answers an operator's ListEpochs, who waits for no caller's.
pub(crate) async fn list_for_operator(core: &Arc<Inner>, deadline: Instant, body: Bytes) -> Result<Reply, Failure> {
    let message: ListEpochsRequest = decode(body)?;
    checked(core, &message)?;
    let listed = in_turn(core, &core.epoch_turns.of_operators, deadline, move |core| page(core, &message));
    listed.await.map(|response| answer::success(&response))
}

/// Who reads epochs at this moment: one of each kind, in the order in which they came. Reading takes time of a processor, which mints need, too.
pub(crate) struct EpochTurns {
    lists: Arc<Semaphore>,
    of_operators: Arc<Semaphore>,
    news: Arc<Semaphore>,
}

impl Default for EpochTurns {
    fn default() -> Self {
        let one = || Arc::new(Semaphore::new(1));
        Self { lists: one(), of_operators: one(), news: one() }
    }
}

/// Reads, when its turn has come, in a thread for slow work, so that other calls do not wait for it.
async fn in_turn<T: Send + 'static>(
    core: &Arc<Inner>,
    turns: &Arc<Semaphore>,
    deadline: Instant,
    read: impl FnOnce(&Inner) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let late =
        || Failure::from(Reason::new(ReasonCode::DeadlinePassed, "deadline", "the deadline passed before its turn"));
    let turn = timeout_at(deadline.into(), Arc::clone(turns).acquire_owned()).await.map_err(|_| late())?;
    let turn = turn.map_err(|_| interrupted())?;
    let core = Arc::clone(core);
    let reading = spawn_blocking(move || {
        let found = read(&core);
        drop(turn);
        found
    });
    reading.await.map_err(|_| interrupted())?
}

/// What the message's comments promise about its fields.
fn checked(core: &Inner, message: &ListEpochsRequest) -> Result<(), Failure> {
    known(core, &message.authority)?;
    if message.limit > PAGE_MAX {
        let reason = Reason::new(ReasonCode::FieldOutOfLimits, "limit", format!("`limit` is {}", message.limit));
        return Err(reason.allowing(format!("at most {PAGE_MAX}")).into());
    }
    Ok(())
}

fn page(core: &Inner, message: &ListEpochsRequest) -> Result<ListEpochsResponse, Failure> {
    let most = if message.limit == 0 { PAGE_MAX } else { message.limit };
    let generation = if message.before_generation == 0 { u64::MAX } else { message.before_generation };
    let which = Epochs::Before { generation, most: most + 1 };
    let mut found = core.ledger.epochs(&message.authority, which).map_err(|error| core.ledger_failed(&error))?;
    let wanted = usize::try_from(most).unwrap_or(usize::MAX);
    let more = found.len() > wanted;
    found.truncate(wanted);
    let epochs = found.iter().map(|epoch| core.epoch_status(epoch)).collect::<Result<_, _>>()?;
    Ok(ListEpochsResponse { epochs, more })
}

/// Answers WatchEpochs: with the epochs when they are others than the caller knows, else with nothing shortly before the deadline.
pub(crate) async fn watch(core: &Arc<Inner>, call: CallContext) -> Result<Reply, Failure> {
    let facts = core.facts(call.method.name(), &call.caller);
    let message: WatchEpochsRequest = decode(call.body)?;
    let checked = known(core, &message.authority).and_then(|()| match message.after_revision.len() {
        0..=REVISION_BYTES_MAX => Ok(()),
        bytes => {
            let sentence = format!("`after_revision` has {bytes} bytes");
            let reason = Reason::new(ReasonCode::FieldOutOfLimits, "after_revision", sentence);
            Err(reason.allowing(format!("at most {REVISION_BYTES_MAX} bytes")).into())
        }
    });
    if let Err(failure) = checked {
        return Err(refused(core, failure, facts, message.authority).await);
    }
    let Some(_one_of_few) = core.watchers.enter(&facts.caller) else {
        let sentence = format!("this caller has {WATCHES_OF_CALLER_MAX} streams under way");
        return Err(Reason::new(ReasonCode::QueueFull, "method", sentence).into());
    };
    // What the front sent is let go: this call may stay for long.
    let seen = Bytes::copy_from_slice(&message.after_revision);
    let authority = message.authority;
    drop(message.after_revision);
    let until = tokio::time::Instant::from_std(call.deadline) - NOTHING_NEW_BEFORE;
    let mut changes = core.epochs_changed.subscribe();
    loop {
        changes.mark_unchanged();
        if core.is_stopping() {
            return Err(Reason::new(ReasonCode::Stopping, "method", "the daemon is stopping").into());
        }
        let (epochs, revision) = standing(core, &authority)?;
        if revision != seen {
            let news = move |core: &Inner| told(core, &authority, epochs, revision);
            return in_turn(core, &core.epoch_turns.news, call.deadline, news).await;
        }
        if timeout_at(until, changes.changed()).await.is_err() {
            return Ok(nothing_new(&authority, &revision));
        }
    }
}

fn told(core: &Inner, authority: &str, epochs: [Option<EpochRecord>; 2], revision: Bytes) -> Result<Reply, Failure> {
    let [active, next] = epochs.map(|epoch| epoch.map(|epoch| core.epoch_status(&epoch)).transpose());
    let told = WatchEpochsResponse { active: active?, next: next?, revision: revision.clone() };
    Ok(Reply { body: told.encode_to_vec().into(), ..nothing_new(authority, &revision) })
}

fn nothing_new(authority: &str, revision: &Bytes) -> Reply {
    let next = WatchEpochsRequest { authority: authority.to_owned(), after_revision: revision.clone() };
    Reply { next: next.encode_to_vec().into(), answered: true, ..Reply::default() }
}

/// The active epoch and the one in the making, and what says whether a watcher has seen them so.
fn standing(core: &Inner, authority: &str) -> Result<([Option<EpochRecord>; 2], Bytes), Failure> {
    let one = |which| core.ledger.epoch(authority, which).map_err(|error| core.ledger_failed(&error));
    let epochs = [one(Epochs::Active)?, one(Epochs::Making)?];
    let revision = epochs.each_ref().map(|epoch| match epoch {
        Some(epoch) => format!("{}.{}", epoch.generation, epoch.state.name()),
        None => "none".to_owned(),
    });
    Ok((epochs, revision.join("-").into()))
}

/// How many streams each caller has under way.
#[derive(Default)]
pub(crate) struct Watchers {
    counts: Mutex<HashMap<String, usize>>,
}

/// One stream's question, until it is answered.
struct Watching<'a> {
    watchers: &'a Watchers,
    caller: String,
}

impl Watchers {
    /// Nothing if the caller has too many under way.
    fn enter(&self, caller: &str) -> Option<Watching<'_>> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(caller.to_owned()).or_default();
        (*count < WATCHES_OF_CALLER_MAX).then(|| {
            *count += 1;
            Watching { watchers: self, caller: caller.to_owned() }
        })
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        let mut counts = self.watchers.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.caller);
            }
        }
    }
}

impl Inner {
    /// An epoch as callers are told of it.
    pub(crate) fn epoch_status(&self, epoch: &EpochRecord) -> Result<EpochStatus, Failure> {
        let validity = validity(epoch);
        let secs = |at: UnixMillis| at.0.div_euclid(1_000);
        let fetches = self.ledger.fetches(&epoch.authority, epoch.generation, FETCHED_MAX);
        let fetches = fetches.map_err(|error| self.ledger_failed(&error))?;
        let sha256 = |answer: Option<&Answer>, issuer: Option<PublicKey>| match (answer, issuer) {
            (Some(answer), Some(issuer)) => certificate_sha256(answer, &issuer),
            (Some(_), None) | (None, _) => Bytes::new(),
        };
        let record = self.ledger.authority(&epoch.authority).map_err(|error| self.ledger_failed(&error))?;
        let root_key = record.and_then(|record| record.key).and_then(|key| PublicKey::parse(&key.spki).ok());
        let own_key = epoch.key.as_ref().and_then(|key| PublicKey::parse(&key.spki).ok());
        Ok(EpochStatus {
            epoch: Some(Epoch {
                authority: epoch.authority.clone(),
                generation: epoch.generation,
                transition: epoch.transition.to_vec().into(),
                manifest_sha256: epoch.manifest_sha256.to_vec().into(),
            }),
            state: state(epoch.state).into(),
            previous: epoch.previous.to_vec().into(),
            spki_sha256: epoch
                .key
                .as_ref()
                .map(|key| SpkiDigest::of(&key.spki).as_bytes().to_vec().into())
                .unwrap_or_default(),
            intermediate_sha256: sha256(epoch.intermediate.as_ref(), root_key),
            mesh_ca_sha256: sha256(epoch.mesh_ca.as_ref(), own_key),
            not_before: validity.map(|validity| validity.not_before.secs()),
            not_after: validity.map(|validity| validity.not_after.secs()),
            intent_at: secs(epoch.intent_at),
            active_at: epoch.active_at.map(secs),
            retired_at: epoch.retired_at.map(secs),
            destroyed_at: epoch.destroyed_at.map(secs),
            revoked: self.is_listed(epoch)?,
            fetched: fetches.into_iter().map(|fetch| Fetched { at: secs(fetch.at), caller: fetch.caller }).collect(),
        })
    }
}

impl Inner {
    /// Whether an epoch's intermediate stands on the root's newest CRL. The ledger forgets one that has ended.
    pub(crate) fn is_listed(&self, epoch: &EpochRecord) -> Result<bool, Failure> {
        let failed = |error| self.ledger_failed(&error);
        let Some(intermediate) = &epoch.intermediate else { return Ok(false) };
        let Some(serial) = Serial::from_stored(&intermediate.serial) else { return Ok(false) };
        let revoked = self.ledger.revocation(intermediate.issuer, serial).map_err(failed)?;
        let Some(revoked) = revoked else { return Ok(false) };
        let newest = self.ledger.crl_status(intermediate.issuer, CrlScope::Complete).map_err(failed)?.newest;
        Ok(newest.and_then(|crl| crl.newest_revocation).is_some_and(|listed| listed >= revoked.log_index))
    }
}

/// Until when both CA certificates are valid.
pub(crate) fn validity(epoch: &EpochRecord) -> Option<Interval> {
    let of = |answer: Option<&Answer>| answer.and_then(|answer| stored_validity(&answer.to_be_signed));
    let (own, mesh) = (of(epoch.intermediate.as_ref())?, of(epoch.mesh_ca.as_ref())?);
    Some(Interval { not_before: own.not_before.max(mesh.not_before), not_after: own.not_after.min(mesh.not_after) })
}

/// SHA-256 of a stored certificate; nothing if it does not verify.
fn certificate_sha256(answer: &Answer, issuer: &PublicKey) -> Bytes {
    let certificate = hallmark_issuance::reassemble(&answer.to_be_signed, answer.algorithm, &answer.signature, issuer);
    certificate.map(|certificate| digest(&SHA256, &certificate.into_der()).as_ref().to_vec().into()).unwrap_or_default()
}

pub(crate) fn state(stored: Stored) -> EpochState {
    match stored {
        Stored::Intent => EpochState::Intent,
        Stored::Keyed => EpochState::Keyed,
        Stored::Prepared => EpochState::Prepared,
        Stored::Active => EpochState::Active,
        Stored::Retired => EpochState::Retired,
        Stored::Destroyed => EpochState::Destroyed,
        Stored::Aborted => EpochState::Aborted,
    }
}

/// Whether there is such an authority.
pub(crate) fn known(core: &Inner, authority: &str) -> Result<(), Failure> {
    if authority.is_empty() {
        return Err(Reason::new(ReasonCode::FieldMissing, "authority", "`authority` is empty").into());
    }
    if authority.len() > LABEL_BYTES_MAX {
        let sentence = format!("`authority` has {} bytes", authority.len());
        let reason = Reason::new(ReasonCode::FieldOutOfLimits, "authority", sentence);
        return Err(reason.allowing(format!("at most {LABEL_BYTES_MAX} bytes")).into());
    }
    if core.policy().authority(authority).is_none() {
        let sentence = format!("there is no authority {}", quote(authority));
        return Err(Reason::new(ReasonCode::AuthorityUnknown, "authority", sentence).into());
    }
    Ok(())
}

/// Logs a refusal. What the ledger could not do is no refusal.
pub(crate) async fn refused(core: &Inner, failure: Failure, facts: Facts, authority: String) -> Failure {
    let is_refusal = failure.reasons.iter().all(|reason| reason.code.is_refusal());
    if failure.logged.is_some() || !is_refusal {
        return failure;
    }
    core.refuse(failure.reasons, Facts { authority, ..facts }).await
}
