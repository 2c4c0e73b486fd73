//! The core as the front sees it: bytes in, bytes out.

use std::{
    collections::HashMap,
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use hallmark_backends::{BackendError, DeviceLogFindings, Health, Keyring, TokenStatus};
use hallmark_ledger::{Event, Ledger, RevokeAt, UnixMillis};
use hallmark_policy::{
    Caller, Facts, Method, Policy, Reason, ReasonCode, Warrant, admit,
    caller::{CallerError, Identity},
    content::{SERIAL_RANDOM_BYTES, Serial},
    key::SpkiDigest,
    reason::quote,
    time::UnixTime,
};
use hallmark_proto::{
    SIGNER_SERVICE,
    link::{Call, Reply, TRACE_PARENT_BYTES_MAX, TurnedAway, Unary, call::Kind},
};
use hallmark_traces::Traces;
use prost::Message;
use tokio::{
    sync::{Mutex, Notify, Semaphore, watch},
    time::MissedTickBehavior,
};

use crate::{
    aggregate::Aggregates,
    answer::{self, Failure},
    authorities::Serving,
    backups::Backups,
    being_kept::BeingKept,
    chain,
    clock::{self, ClockGuard, Moment},
    crl::Crls,
    device_log::DEVICE_LOG_WINDOW,
    epoch::Rotating,
    epochs::{self, EpochTurns, Watchers},
    expiry::Warned,
    fence::Fences,
    fronts::Fronts,
    in_flight::InFlight,
    in_force::{Current, InForce},
    later_epochs::LookedAt,
    lookup::EarlierKeys,
    meters::{Meters, OfProfile},
    mint,
    rates::Rates,
    rotate,
    traced::Traced,
};

/// Calls that are worked on at the same time; one more is shed. Each may hold a message of 256 KiB.
const CALLS_MAX: usize = 4_096;

/// Streams whose next message is waited for at the same time; one more is shed.
const WATCHES_MAX: usize = 1_024;

/// How long a stop waits for calls under way, in seconds. A device that hangs longer is left behind.
const STOP_SECS_MAX: u64 = 25;

/// After how many windows the log says again that the signer is alive.
const HEARTBEAT_WINDOWS: u64 = 10;

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
    pub(crate) being_kept: BeingKept,
    pub(crate) in_force: InForce,
    pub(crate) fences: Fences,
    pub(crate) rotating: Rotating,
    pub(crate) drain_time_max: Duration,
    /// One at a time makes, opens and destroys keys.
    pub(crate) device_turn: Arc<Mutex<()>>,
    pub(crate) epochs_changed: watch::Sender<u64>,
    pub(crate) warned: Warned,
    pub(crate) earlier_keys: EarlierKeys,
    pub(crate) looked_at: LookedAt,
    pub(crate) policy_file: PathBuf,
    pub(crate) operators: Vec<Identity>,
    pub(crate) monitors: Vec<Identity>,
    caller_rates: Rates,
    pub(crate) instance_rates: Rates,
    serving: RwLock<Arc<HashMap<String, Serving>>>,
    pub(crate) callers_signed_here: Vec<String>,
    pub(crate) roots_without_ceremony: Vec<String>,
    pub(crate) aggregates: Aggregates,
    pub(crate) fronts: Fronts,
    pub(crate) crls: Crls,
    pub(crate) backups: Backups,
    pub(crate) meters: Meters,
    /// What is found in the device's own command log; none where there is no such log.
    pub(crate) device_log: Option<DeviceLogFindings>,
    /// None where calls are not traced.
    pub(crate) traces: Option<Traces>,
    /// When it started.
    pub(crate) began: UnixTime,
    /// Answers that reached no front.
    pub(crate) unsent: AtomicU64,
    stopping: AtomicBool,
    working: AtomicU64,
    idle: Notify,
    calls: Semaphore,
    watches: Semaphore,
    pub(crate) watchers: Watchers,
    pub(crate) epoch_turns: EpochTurns,
    pub(crate) failed: watch::Sender<Option<String>>,
}

/// What the core was configured with, beside what it stands on.
pub(crate) struct Setting {
    pub(crate) policy_file: PathBuf,
    pub(crate) operators: Vec<Identity>,
    pub(crate) monitors: Vec<Identity>,
    pub(crate) callers_signed_here: Vec<String>,
    pub(crate) roots_without_ceremony: Vec<String>,
    pub(crate) drain_time_max: Duration,
    /// Directory of the published log, and of the CRLs below it.
    pub(crate) publish: PathBuf,
    /// Backups of the ledger.
    pub(crate) backups: Backups,
    /// What is found in the device's own command log; none where there is no such log.
    pub(crate) device_log: Option<DeviceLogFindings>,
    /// How calls are traced, if they are.
    pub(crate) traces: Option<hallmark_traces::Setting>,
}

/// What a method needs to know about its call.
pub(crate) struct CallContext {
    pub(crate) method: Method,
    pub(crate) caller: Caller,
    pub(crate) deadline: Instant,
    pub(crate) body: Bytes,
}

impl Core {
    pub(crate) fn new(ledger: Ledger, keyring: Keyring, clock: ClockGuard, current: Current, setting: Setting) -> Self {
        let Setting {
            policy_file,
            operators,
            monitors,
            callers_signed_here,
            roots_without_ceremony,
            drain_time_max,
            publish,
            backups,
            device_log,
            traces,
        } = setting;
        let began = clock.wall().time;
        let inner = Inner {
            ledger,
            keyring,
            clock,
            in_flight: InFlight::default(),
            being_kept: BeingKept::default(),
            in_force: InForce::new(current),
            fences: Fences::default(),
            rotating: Rotating::default(),
            drain_time_max,
            device_turn: Arc::default(),
            epochs_changed: watch::Sender::new(0),
            warned: Warned::default(),
            earlier_keys: EarlierKeys::default(),
            looked_at: LookedAt::default(),
            policy_file,
            operators,
            monitors,
            caller_rates: Rates::default(),
            instance_rates: Rates::default(),
            serving: RwLock::default(),
            callers_signed_here,
            roots_without_ceremony,
            aggregates: Aggregates::default(),
            fronts: Fronts::default(),
            crls: Crls::published_below(&publish),
            backups,
            meters: Meters::default(),
            device_log,
            traces: traces.map(Traces::start),
            began,
            unsent: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            working: AtomicU64::new(0),
            idle: Notify::new(),
            calls: Semaphore::new(CALLS_MAX),
            watches: Semaphore::new(WATCHES_MAX),
            watchers: Watchers::default(),
            epoch_turns: EpochTurns::default(),
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

    /// How the threads that sign are doing; the device is not asked.
    #[must_use]
    pub fn threads(&self) -> Health {
        self.inner.keyring.threads()
    }

    /// How each token (or the directory) with the keys stands; no device is asked.
    #[must_use]
    pub fn tokens(&self) -> Vec<TokenStatus> {
        self.inner.keyring.tokens()
    }

    /// Whether a PIN was refused since the start, so that nothing logs in any more; the device is not asked.
    #[must_use]
    pub fn pin_is_refused(&self) -> bool {
        self.inner.keyring.pin_is_refused()
    }

    /// Counts an answer that could not be given to the front that had asked: it went away, or did not read.
    pub fn answer_was_unsent(&self) {
        self.inner.unsent.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a key is being made, opened or destroyed: some devices sign nothing meanwhile.
    #[must_use]
    pub fn works_on_keys(&self) -> bool {
        self.inner.device_turn.try_lock().is_err()
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
        // Whoever watches hears of it.
        inner.epochs_changed.send_modify(|changes| *changes = changes.wrapping_add(1));
        let idle = async {
            loop {
                let idle = inner.idle.notified();
                if inner.working.load(Ordering::SeqCst) == 0 {
                    break;
                }
                idle.await;
            }
        };
        let patience = Duration::from_secs(STOP_SECS_MAX);
        let hung = tokio::time::timeout(patience, idle).await.is_err();
        if hung {
            tracing::error!("calls are still under way after {STOP_SECS_MAX} s; the daemon stops without them");
        }
        inner.log_aggregates().await;
        inner.log_device_alarms().await;
        let stopped = inner.ledger.record(Event::Stop, inner.clock.wall().millis).await;
        if let Err(error) = stopped {
            tracing::error!(%error, "the stop could not be logged");
        }
        let closing = Arc::clone(inner);
        let closed = tokio::task::spawn_blocking(move || {
            closing.ledger.stop();
            if !hung {
                closing.keyring.stop();
            }
        });
        let sent = async {
            if let Some(traces) = &inner.traces {
                traces.stop().await;
            }
        };
        let (closed, ()) = tokio::join!(closed, sent);
        if closed.is_err() {
            tracing::error!("closing the ledger panicked");
        }
    }

    /// Starts what happens without being asked, once a window: aggregates and heartbeats; and beside them what may wait for a device or for a
    /// rotation, for auditors take a log without heartbeats for one that is withheld.
    pub(crate) fn start_background(&self, window: Duration) {
        self.every(window, |inner, windows| async move {
            inner.log_aggregates().await;
            drop(inner.expiring());
            if windows.is_multiple_of(HEARTBEAT_WINDOWS) {
                inner.log(Event::Heartbeat).await;
            }
        });
        self.every(window, |inner, _| async move { inner.settle_all().await });
        if self.inner.device_log.is_some() {
            self.every(window.min(DEVICE_LOG_WINDOW), |inner, _| async move { inner.log_device_alarms().await });
        }
    }

    /// Does something once a window, the first time when one has passed, until the core stops or is gone. What takes longer than a window leaves
    /// some out.
    fn every<F: Future<Output = ()> + Send>(
        &self,
        window: Duration,
        work: impl Fn(Arc<Inner>, u64) -> F + Send + 'static,
    ) {
        let weak = Arc::downgrade(&self.inner);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(window);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            ticks.tick().await;
            for windows in 1_u64.. {
                ticks.tick().await;
                let Some(inner) = weak.upgrade() else { return };
                if inner.is_stopping() {
                    return;
                }
                work(inner, windows).await;
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

    async fn unary(self: &Arc<Self>, mut unary: Unary) -> Reply {
        let method = unary.method.clone();
        let caller = Caller::parse(&unary.caller_certificate);
        let (began, known) = (Instant::now(), Method::from_name(&method));
        let traced = Traced { service: SIGNER_SERVICE, method: known.map(Method::name), began };
        // A part of the frame, which would be held for as long as the call waits. One that no front sends is none.
        let parent = std::mem::take(&mut unary.trace_parent);
        let parent = if parent.len() <= TRACE_PARENT_BYTES_MAX { parent.to_vec() } else { Vec::new() };
        let reply = match self.traced(traced, &parent, || self.work(unary, caller.clone())).await {
            Ok(reply) => reply,
            Err(failure) => {
                // What has no entry of its own is counted: nothing that a caller was refused stays unsaid.
                if failure.logged.is_none()
                    && let Some(reason) = failure.reasons.first()
                {
                    self.count(caller.as_ref().ok(), method, reason.code.as_str().to_owned());
                }
                answer::failure(&failure)
            }
        };
        self.meters.called(known, reply.code, began.elapsed());
        reply
    }

    async fn work(self: &Arc<Self>, unary: Unary, caller: Result<Caller, CallerError>) -> Result<Reply, Failure> {
        let full = || Failure::from(Reason::new(ReasonCode::QueueFull, "method", "too many calls are under way"));
        let method = Method::from_name(&unary.method);
        let refused = |failure: &Failure| {
            self.meters.refused(method.map(Method::name), OfProfile::default(), failure);
        };
        // Whoever waits for something to happen takes no place of those who work.
        let _one_of_many = match method {
            Some(Method::WatchEpochs) => self.watches.try_acquire(),
            Some(_) | None => self.calls.try_acquire(),
        }
        .map_err(|_| full())
        .inspect_err(refused)?;
        let call = self.read(unary, caller).await.inspect_err(refused)?;
        match call.method {
            // It counts by profile what it refuses.
            Method::MintCertificate => mint::mint(self, call).await,
            Method::GetChain => chain::chain(self, call).await.inspect_err(refused),
            Method::RotateIntermediate => rotate::rotate(self, call).await.inspect_err(refused),
            Method::ListEpochs => epochs::list(self, call).await.inspect_err(refused),
            Method::WatchEpochs => epochs::watch(self, call).await.inspect_err(refused),
        }
    }

    /// Calls that are worked on.
    pub(crate) fn calls_under_way(&self) -> usize {
        CALLS_MAX.saturating_sub(self.calls.available_permits())
    }

    /// Who calls what, and whether there is still time.
    async fn read(&self, unary: Unary, caller: Result<Caller, CallerError>) -> Result<CallContext, Failure> {
        let caller = caller.map_err(|error| malformed(&error.to_string()))?;
        let Some(method) = Method::from_name(&unary.method) else {
            let sentence = format!("there is no method {}", quote(&unary.method));
            let reason = Reason::new(ReasonCode::MethodUnknown, "method", sentence);
            return Err(self.refuse(vec![reason], self.facts(&unary.method, &caller)).await);
        };
        if self.is_stopping() {
            return Err(Reason::new(ReasonCode::Stopping, "method", "the daemon is stopping").into());
        }
        let Some(deadline) = self.deadline(unary.deadline_boottime_nanos) else {
            return Err(Reason::new(ReasonCode::DeadlinePassed, "deadline", "the deadline has passed").into());
        };
        let policy = self.policy();
        let rule = match admit(&policy, &caller, method, self.clock.wall().time) {
            Ok(rule) => rule,
            Err(reasons) => {
                let facts = self.facts(&unary.method, &caller);
                return Err(self.refuse_under(&policy, reasons, facts).await);
            }
        };
        if let Some(rate) = rule.rate() {
            let taken = self.caller_rates.take(rule.name(), rate, self.clock.boottime_nanos());
            let whose = || format!("the caller `{}` may make {rate} calls", rule.name());
            taken.map_err(|wait| Self::over_rate(whose(), wait))?;
        }
        Ok(CallContext { method, caller, deadline, body: unary.body })
    }

    /// Turns a request away before anything is committed, while its key is left alone because the device failed it.
    pub(crate) fn check_device(&self, key: SpkiDigest) -> Result<(), Failure> {
        let Some(retry_after) = self.keyring.resting(key) else { return Ok(()) };
        let millis = retry_after.as_nanos().div_ceil(1_000_000);
        let sentence = format!("the key's device failed several times in a row and is asked again in {millis} ms");
        let reason = Reason::new(ReasonCode::DeviceFailed, "key", sentence);
        Err(Failure { reasons: vec![reason], logged: None, retry_after: Some(retry_after) })
    }

    /// Why the device never signs this: then it is not to be committed.
    pub(crate) fn beyond_the_device(&self, warrant: &Warrant) -> Option<Reason> {
        let (algorithm, length) = (warrant.content().algorithm(), warrant.to_be_signed().len());
        let what = self.keyring.never_signs(algorithm, length)?;
        let sentence = format!("{length} bytes would have to be signed, and the key's device does not do this: {what}");
        Some(Reason::new(ReasonCode::DeviceIncapable, "certificate", sentence))
    }

    /// It has no entry, and so is counted, not logged one by one: whoever asks too often must not fill the log.
    pub(crate) fn over_rate(whose: String, wait: Duration) -> Failure {
        let sentence = format!("{whose}, and they are used up for {} ms", wait.as_nanos().div_ceil(1_000_000));
        let reason = Reason::new(ReasonCode::RateExceeded, "caller", sentence);
        Failure { reasons: vec![reason], logged: None, retry_after: Some(wait) }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    pub(crate) fn deadline(&self, boottime_nanos: u64) -> Option<Instant> {
        Instant::now().checked_add(clock::time_left(boottime_nanos, self.clock.boottime_nanos())?)
    }

    pub(crate) fn turned_away(&self, turned_away: TurnedAway) {
        let caller = Caller::parse(&turned_away.caller_certificate).ok();
        self.count(caller.as_ref(), turned_away.method, turned_away.reason);
    }

    pub(crate) fn count(&self, caller: Option<&Caller>, method: String, reason: String) {
        let name = caller.map_or_else(|| "unreadable".to_owned(), |caller| self.caller_name(caller));
        self.aggregates.count(name, method, reason, self.clock.wall().millis);
    }

    /// The caller's name in the policy, or its first identity.
    pub(crate) fn caller_name(&self, caller: &Caller) -> String {
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
        self.in_force.current().policy
    }

    /// Serves what [`authorities::load`] found.
    pub(crate) fn serve(&self, serving: HashMap<String, Serving>) {
        *self.serving.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(serving);
    }

    /// Serves another epoch of one authority. Whoever calls holds the door alone.
    pub(crate) fn serve_one(&self, authority: &str, serving: Serving) {
        let mut all = self.serving.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = HashMap::clone(&all);
        changed.insert(authority.to_owned(), serving);
        *all = Arc::new(changed);
    }

    pub(crate) fn all_serving(&self) -> Arc<HashMap<String, Serving>> {
        Arc::clone(&self.serving.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn serving(&self, authority: &str) -> Result<Serving, Reason> {
        if let Some(serving) = self.all_serving().get(authority) {
            return Ok(serving.clone());
        }
        if let Some(described) = self.policy().authority(authority) {
            let waits = self.waits(described);
            let sentence = format!("authority {} has no active epoch: it {}", quote(authority), waits.what);
            return Err(Reason::new(ReasonCode::EpochNotActive, "authority", sentence).allowing(waits.hint));
        }
        let sentence = format!("there is no authority {}", quote(authority));
        Err(Reason::new(ReasonCode::AuthorityUnknown, "authority", sentence))
    }

    /// The wall clock, if it can be trusted for minting. That it cannot is logged once, and holds across restarts.
    pub(crate) async fn trusted_clock(&self) -> Result<Moment, Reason> {
        let trusted = self.clock.trusted();
        if let Err(reason) = &trusted
            && self.clock.newly_distrusted()
            && !self.log(Event::ClockDistrusted { sentence: reason.sentence.clone() }).await
        {
            self.clock.say_again();
        }
        trusted
    }

    /// When something is revoked now. The clock may be wrong: who is to be shut out is shut out nevertheless, and while it cannot be trusted, no certificate
    /// passes for ended.
    pub(crate) async fn revoke_at(&self) -> RevokeAt {
        let trusted = self.trusted_clock().await;
        let ended_by = trusted.map_or(UnixMillis(i64::MIN), |now| now.millis);
        RevokeAt { at: self.clock.wall().millis, ended_by }
    }

    /// 128 random bits of the operating system, as a serial number.
    pub(crate) fn serial(&self) -> Result<Serial, Failure> {
        let mut random = [0; SERIAL_RANDOM_BYTES];
        aws_lc_rs::rand::fill(&mut random)
            .map_err(|_| Reason::new(ReasonCode::DeviceFailed, "serial", "the system gives no random numbers"))?;
        Ok(Serial::from_random(random))
    }
}

pub(crate) fn malformed(sentence: &str) -> Reason {
    Reason::new(ReasonCode::MessageMalformed, "message", sentence)
}
