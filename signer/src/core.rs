//! The core as the front sees it: bytes in, bytes out.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use hallmark_backends::{BackendError, Health, Keyring, SignError};
use hallmark_ledger::{EpochRecord, Event, Issued, Ledger, LedgerError, Logged};
use hallmark_policy::{
    Caller, Facts, Method, Policy, Reason, ReasonCode, Refusal, admit,
    content::{SERIAL_RANDOM_BYTES, Serial},
    key::{PublicKey, SpkiDigest},
    reason::quote,
};
use hallmark_proto::link::{Call, Reply, TurnedAway, Unary, call::Kind};
use prost::Message;
use tokio::sync::{Notify, watch};

use crate::{
    aggregate::{Aggregates, WINDOW_SECS},
    answer::{self, Failure, Receipt},
    authorities::{self, Chain, Serving},
    chain,
    clock::{ClockGuard, Moment},
    in_flight::{InFlight, Turn},
    mint, order,
};

/// How often the log says that it is alive where nothing else happens.
const HEARTBEAT_SECS: u64 = 600;

/// How long a receipt is waited for: checkpoints are signed within a millisecond of the commit.
const RECEIPT_SECS_MAX: u64 = 5;

/// The core. A cheap handle: clones are the same core.
#[derive(Clone)]
pub struct Core {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) ledger: Ledger,
    pub(crate) keyring: Keyring,
    pub(crate) clock: ClockGuard,
    pub(crate) in_flight: InFlight,
    policy: RwLock<Arc<Policy>>,
    serving: RwLock<Arc<HashMap<String, Serving>>>,
    pub(crate) callers_signed_here: Vec<String>,
    aggregates: Aggregates,
    stopping: AtomicBool,
    working: AtomicU64,
    idle: Notify,
    failed: watch::Sender<Option<String>>,
}

/// What a method needs to know about its call.
pub(crate) struct CallContext {
    pub(crate) method: Method,
    pub(crate) caller: Caller,
    pub(crate) deadline: Instant,
    pub(crate) body: Bytes,
}

impl Core {
    pub(crate) fn new(
        ledger: Ledger,
        keyring: Keyring,
        clock: ClockGuard,
        policy: Policy,
        callers_signed_here: Vec<String>,
    ) -> Self {
        let inner = Inner {
            ledger,
            keyring,
            clock,
            in_flight: InFlight::default(),
            policy: RwLock::new(Arc::new(policy)),
            serving: RwLock::default(),
            callers_signed_here,
            aggregates: Aggregates::default(),
            stopping: AtomicBool::new(false),
            working: AtomicU64::new(0),
            idle: Notify::new(),
            failed: watch::Sender::new(None),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Takes an encoded `hallmark.link.v1.Call` and gives an encoded `Reply`; nothing, for a `TurnedAway`.
    ///
    /// The work is not cancelled when the future is dropped: what was committed is signed and kept.
    pub fn call(&self, frame: Bytes) -> Pin<Box<dyn Future<Output = Bytes> + Send>> {
        let inner = Arc::clone(&self.inner);
        let work = inner.begin();
        let task = tokio::spawn(async move {
            let bytes = inner.answer(frame).await;
            drop(work);
            bytes
        });
        Box::pin(async move { task.await.unwrap_or_default() })
    }

    /// The log's key, as C2SP writes verifier keys.
    #[must_use]
    pub fn verifier_key(&self) -> String {
        self.inner.ledger.verifier_key().to_string()
    }

    /// Authorities of this signer whose certificates callers may present.
    #[must_use]
    pub fn callers_signed_here(&self) -> &[String] {
        &self.inner.callers_signed_here
    }

    /// Asks the key backend how it is. Nothing is signed for it.
    ///
    /// # Errors
    /// If the device does not answer.
    pub fn health(&self) -> Result<Health, BackendError> {
        self.inner.keyring.health()
    }

    /// Waits until the core can do nothing more, because its disk failed; gives the sentence that says so. The daemon ends
    /// then: a new start reads what is durable.
    pub async fn failed(&self) -> String {
        let mut failed = self.inner.failed.subscribe();
        match failed.wait_for(Option::is_some).await {
            Ok(sentence) => sentence.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Stops: takes no more calls, finishes those under way, logs the stop and closes ledger and keys.
    pub async fn stop(&self) {
        let inner = &self.inner;
        inner.stopping.store(true, Ordering::SeqCst);
        loop {
            let idle = inner.idle.notified();
            if inner.working.load(Ordering::SeqCst) == 0 {
                break;
            }
            idle.await;
        }
        inner.log_aggregates().await;
        let stopped = inner.ledger.record(Event::Stop, inner.clock.wall().millis).await;
        if let Err(error) = stopped {
            tracing::error!(%error, "the stop could not be logged");
        }
        let closing = Arc::clone(inner);
        let closed = tokio::task::spawn_blocking(move || {
            closing.ledger.stop();
            closing.keyring.stop();
        });
        if closed.await.is_err() {
            tracing::error!("closing the ledger panicked");
        }
    }

    /// Starts what happens without being asked: aggregates once a minute, heartbeats.
    pub(crate) fn start_background(&self) {
        let weak = Arc::downgrade(&self.inner);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(WINDOW_SECS));
            ticks.tick().await;
            for minute in 1_u64.. {
                ticks.tick().await;
                let Some(inner) = weak.upgrade() else { return };
                if inner.stopping.load(Ordering::SeqCst) {
                    return;
                }
                inner.log_aggregates().await;
                if (minute * WINDOW_SECS).is_multiple_of(HEARTBEAT_SECS) {
                    inner.log(Event::Heartbeat).await;
                }
            }
        });
    }
}

/// Counts a call as under way for as long as it lives.
pub(crate) struct Work {
    inner: Arc<Inner>,
}

impl Drop for Work {
    fn drop(&mut self) {
        if self.inner.working.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.inner.idle.notify_waiters();
        }
    }
}

impl Inner {
    pub(crate) fn begin(self: &Arc<Self>) -> Work {
        self.working.fetch_add(1, Ordering::SeqCst);
        Work { inner: Arc::clone(self) }
    }

    async fn answer(self: &Arc<Self>, frame: Bytes) -> Bytes {
        let reply = match Call::decode(frame).ok().and_then(|call| call.kind) {
            Some(Kind::Unary(unary)) => self.unary(unary).await,
            Some(Kind::TurnedAway(turned_away)) => {
                self.turned_away(turned_away);
                return Bytes::new();
            }
            None => answer::failure(&malformed("the front sent a frame that does not decode").into()),
        };
        reply.encode_to_vec().into()
    }

    async fn unary(self: &Arc<Self>, unary: Unary) -> Reply {
        let result = match self.read(unary).await {
            Ok(call) => match call.method {
                Method::MintCertificate => mint::mint(self, call).await,
                Method::GetChain => chain::chain(self, call).await,
            },
            Err(failure) => Err(failure),
        };
        result.unwrap_or_else(|failure| answer::failure(&failure))
    }

    /// Who calls what, and whether there is still time.
    async fn read(&self, unary: Unary) -> Result<CallContext, Failure> {
        let Some(leaf) = unary.caller_chain.first() else {
            return Err(malformed("the front sent no caller certificate").into());
        };
        let caller = Caller::parse(leaf).map_err(|error| malformed(&error.to_string()))?;
        let Some(method) = Method::from_name(&unary.method) else {
            let sentence = format!("there is no method {}", quote(&unary.method));
            let reason = Reason::new(ReasonCode::MethodUnknown, "method", sentence);
            return Err(self.refuse(vec![reason], self.facts(&unary.method, &caller)).await);
        };
        if self.stopping.load(Ordering::SeqCst) {
            return Err(Reason::new(ReasonCode::Stopping, "method", "the daemon is stopping").into());
        }
        let Some(deadline) = self.deadline(unary.deadline_boottime_nanos) else {
            self.count(&caller, &unary.method, ReasonCode::DeadlinePassed.as_str());
            return Err(Reason::new(ReasonCode::DeadlinePassed, "deadline", "the deadline has passed").into());
        };
        let admitted = admit(&self.policy(), &caller, method, self.clock.wall().time).map(|_| ());
        match admitted {
            Ok(()) => Ok(CallContext { method, caller, deadline, body: unary.body }),
            Err(reasons) => Err(self.refuse(reasons, self.facts(&unary.method, &caller)).await),
        }
    }

    fn deadline(&self, boottime_nanos: u64) -> Option<Instant> {
        let left = boottime_nanos.checked_sub(self.clock.boottime_nanos()).filter(|left| *left > 0)?;
        Instant::now().checked_add(Duration::from_nanos(left))
    }

    fn turned_away(&self, turned_away: TurnedAway) {
        let caller = turned_away.caller_chain.first().and_then(|leaf| Caller::parse(leaf).ok());
        let name = caller.map_or_else(|| "unreadable".to_owned(), |caller| self.caller_name(&caller));
        self.aggregates.count(name, turned_away.method, turned_away.reason, self.clock.wall().millis);
    }

    fn count(&self, caller: &Caller, method: &str, reason: &str) {
        let at = self.clock.wall().millis;
        self.aggregates.count(self.caller_name(caller), method.to_owned(), reason.to_owned(), at);
    }

    /// The caller's name in the policy, or its first identity.
    fn caller_name(&self, caller: &Caller) -> String {
        let policy = self.policy();
        policy
            .caller(caller)
            .map(|rule| rule.name().to_owned())
            .unwrap_or_else(|| caller.identities().first().map_or_else(|| "unnamed".to_owned(), ToString::to_string))
    }

    pub(crate) fn facts(&self, method: &str, caller: &Caller) -> Facts {
        let policy = self.policy();
        Facts {
            method: method.to_owned(),
            caller: policy.caller(caller).map(|rule| rule.name().to_owned()).unwrap_or_default(),
            identities: caller.identities().to_vec(),
            certificate_sha256: Some(*caller.certificate_sha256()),
            ..Facts::default()
        }
    }

    pub(crate) fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Serves what [`authorities::load`] found.
    pub(crate) fn serve(&self, serving: HashMap<String, Serving>) {
        *self.serving.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(serving);
    }

    pub(crate) fn all_serving(&self) -> Arc<HashMap<String, Serving>> {
        Arc::clone(&self.serving.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn serving(&self, authority: &str) -> Result<Serving, Reason> {
        if let Some(serving) = self.all_serving().get(authority) {
            return Ok(serving.clone());
        }
        if self.policy().authority(authority).is_some() {
            let sentence = format!("authority {} has no active epoch", quote(authority));
            let reason = Reason::new(ReasonCode::EpochNotActive, "authority", sentence);
            return Err(reason.allowing("an operator runs `hallmarkd init`"));
        }
        let sentence = format!("there is no authority {}", quote(authority));
        Err(Reason::new(ReasonCode::AuthorityUnknown, "authority", sentence))
    }

    /// The epoch of an authority whose key this is.
    fn epoch_by_key(&self, authority: &str, issuer: SpkiDigest) -> Result<Option<EpochRecord>, Failure> {
        let epochs = self.ledger.epochs(authority).map_err(|error| self.ledger_failed(&error))?;
        let is_key = |epoch: &EpochRecord| epoch.key.as_ref().is_some_and(|key| SpkiDigest::of(&key.spki) == issuer);
        Ok(epochs.into_iter().find(is_key))
    }

    /// The public key of that digest, among those of an authority's epochs and its root.
    pub(crate) fn issuer_key(&self, authority: &str, issuer: SpkiDigest) -> Result<PublicKey, Failure> {
        if let Some(serving) = self.all_serving().get(authority)
            && serving.issuer.key.digest() == issuer
        {
            return Ok(serving.issuer.key.clone());
        }
        let record = self.ledger.authority(authority).map_err(|error| self.ledger_failed(&error))?;
        let root = record.and_then(|record| record.key).filter(|key| SpkiDigest::of(&key.spki) == issuer);
        let stored = match root {
            Some(key) => Some(key),
            None => self.epoch_by_key(authority, issuer)?.and_then(|epoch| epoch.key),
        };
        stored.and_then(|key| PublicKey::parse(&key.spki).ok()).ok_or_else(|| {
            Reason::new(ReasonCode::LedgerFailed, "issuer", "the ledger does not know the key of this certificate")
                .into()
        })
    }

    /// The certificates of the epoch whose key this is.
    pub(crate) fn chain_by_key(&self, authority: &str, issuer: SpkiDigest) -> Result<Chain, Failure> {
        if let Some(serving) = self.all_serving().get(authority)
            && serving.issuer.key.digest() == issuer
        {
            return Ok(serving.chain.clone());
        }
        let unknown =
            || Reason::new(ReasonCode::LedgerFailed, "issuer", "the ledger does not know the certificate's epoch");
        let epoch = self.epoch_by_key(authority, issuer)?.ok_or_else(unknown)?;
        let record = self.ledger.authority(authority).map_err(|error| self.ledger_failed(&error))?;
        authorities::chain(&record.ok_or_else(unknown)?, &epoch).map_err(|error| {
            tracing::error!(%error, "stored CA certificates cannot be read");
            Failure::from(unknown())
        })
    }

    /// The wall clock, if it can be trusted for minting. That it cannot is logged once, and holds across restarts.
    pub(crate) async fn trusted_clock(&self) -> Result<Moment, Reason> {
        let trusted = self.clock.trusted();
        if let Err(reason) = &trusted
            && self.clock.newly_distrusted()
        {
            self.log(Event::ClockDistrusted { sentence: reason.sentence.clone() }).await;
        }
        trusted
    }

    /// 128 random bits of the operating system, as a serial number.
    pub(crate) fn serial(&self) -> Result<Serial, Failure> {
        let mut random = [0; SERIAL_RANDOM_BYTES];
        aws_lc_rs::rand::fill(&mut random)
            .map_err(|_| Reason::new(ReasonCode::DeviceFailed, "serial", "the system gives no random numbers"))?;
        Ok(Serial::from_random(random))
    }

    /// Logs a refusal; the failure says where it stands.
    pub(crate) async fn refuse(&self, reasons: Vec<Reason>, facts: Facts) -> Failure {
        let refusal = Refusal { reasons: reasons.clone(), facts, policy: self.policy().digest() };
        match self.ledger.refuse(refusal, self.clock.wall().millis).await {
            Ok(logged) => Failure { reasons, logged: Some(self.receipt(logged).await) },
            Err(error) => self.ledger_failed(&error),
        }
    }

    /// What the caller is told where nothing was issued.
    pub(crate) async fn not_issued(&self, issued: Issued) -> Failure {
        match issued {
            Issued::Refused { reasons, logged } => Failure { reasons, logged: Some(self.receipt(logged).await) },
            Issued::Committed { .. } | Issued::Answered(_) | Issued::InFlight | Issued::Validated { .. } => {
                let sentence = "the same request is being worked on; ask again with the same request id";
                Reason::new(ReasonCode::QueueFull, "request_id", sentence).into()
            }
        }
    }

    /// An entry with its receipt; the text is empty if the checkpoint does not come in time.
    pub(crate) async fn receipt(&self, logged: Logged) -> Receipt {
        let text = tokio::time::timeout(Duration::from_secs(RECEIPT_SECS_MAX), logged.receipt.text()).await;
        let text = match text {
            Ok(Ok(text)) => text,
            Ok(Err(error)) => {
                tracing::error!(%error, index = logged.index, "no receipt could be made");
                String::new()
            }
            Err(_) => {
                tracing::error!(index = logged.index, "no receipt was made in time");
                String::new()
            }
        };
        Receipt { log_index: logged.index, text, entry: logged.entry }
    }

    /// An older entry with its receipt.
    pub(crate) async fn receipt_of(&self, index: u64) -> Receipt {
        match self.ledger.receipt(index).await {
            Ok(logged) => self.receipt(logged).await,
            Err(error) => {
                tracing::error!(%error, index, "no receipt for an entry that was logged before");
                Receipt { log_index: index, ..Receipt::default() }
            }
        }
    }

    /// Makes a signature durable without the caller waiting; its request id has its turn until then.
    pub(crate) fn keep_in_background(self: &Inner, index: u64, signature: Vec<u8>, turn: Turn) {
        let ledger = self.ledger.clone();
        tokio::spawn(async move {
            if let Err(error) = ledger.keep_signature(index, signature).await {
                tracing::error!(%error, index, "a signature could not be kept; a retry will sign again");
            }
            drop(turn);
        });
    }

    /// Logs that a committed request was not signed, and says so to the caller.
    pub(crate) async fn signing_failed(&self, index: u64, error: &SignError) -> Failure {
        tracing::warn!(%error, index, "a committed request was not signed");
        self.log(order::signing_failed(index, error)).await;
        Failure { reasons: vec![order::sign_reason(error)], logged: Some(self.receipt_of(index).await) }
    }

    pub(crate) fn ledger_failed(&self, error: &LedgerError) -> Failure {
        tracing::error!(%error, "the ledger did not take an entry; nothing was signed");
        if matches!(error, LedgerError::Poisoned { .. }) {
            self.failed.send_replace(Some(error.to_string()));
        }
        let (code, sentence) = match error {
            LedgerError::Busy => (ReasonCode::QueueFull, "too many requests wait for the decision log"),
            LedgerError::Stopped => (ReasonCode::Stopping, "the daemon is stopping"),
            LedgerError::Full
            | LedgerError::Poisoned { .. }
            | LedgerError::Condition { .. }
            | LedgerError::UnknownIndex { .. }
            | LedgerError::UnknownRequest
            | LedgerError::Database { .. }
            | LedgerError::Receipt { .. } => {
                (ReasonCode::LedgerFailed, "the decision log cannot be written, so nothing is signed")
            }
        };
        Reason::new(code, "ledger", sentence).into()
    }

    pub(crate) async fn log(&self, event: Event) {
        if let Err(error) = self.ledger.record(event, self.clock.wall().millis).await {
            tracing::error!(%error, "an event could not be logged");
        }
    }

    async fn log_aggregates(&self) {
        for event in self.aggregates.take() {
            self.log(event).await;
        }
    }
}

fn malformed(sentence: &str) -> Reason {
    Reason::new(ReasonCode::MessageMalformed, "message", sentence)
}
