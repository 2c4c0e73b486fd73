//! The threads that sign, and the one that watches over them.

mod watch;

use std::{
    collections::BTreeMap,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle, ThreadId},
    time::Instant,
};

use hallmark_policy::key::{PublicKey, SpkiDigest};

use crate::{
    alarm::Alarm,
    backend::{Gate, OpenKey, Signer, in_time},
    choosing::{Holders, ORDER_TIME_MAX, RETRY_AFTER, Verdict},
    config::Choice,
    error::BackendError,
    holder::Holder,
    keeper::lacks,
    keyring::Done,
    patience::Patience,
    queue::{NotQueued, Queue},
    reference::KeyReference,
    seat::{Given, Seat},
    sign_error::SignError,
    signature::{Message, Moments, Signature},
    tried::Tried,
};

/// Threads that sign what was queued. Each owns a session; a call that hangs costs its thread, and another takes its place,
/// as long as there are not more than twice as many of its token as there were at first.
pub(crate) struct Crew {
    holders: Holders,
    patience: Patience,
    queue: Queue<Job>,
    open: RwLock<BTreeMap<SpkiDigest, OpenKey>>,
    openings: AtomicU64,
    key_uses: AtomicU64,
    seats: Mutex<Vec<Arc<Seat>>>,
    /// The threads of the seats, and of those who left and may not have ended yet.
    threads: Mutex<Vec<(Arc<Seat>, JoinHandle<()>)>>,
    /// The thread that watches, which never calls into a module; none once it was waited for.
    watch: Mutex<Option<JoinHandle<()>>>,
    somebody_left: Condvar,
    alarm: Alarm,
}

struct Job {
    message: Message,
    /// As the key was opened when the message was queued: another opening of it is for others.
    key: OpenKey,
    deadline: Instant,
    done: Done,
    came: Instant,
    tried: Tried,
    /// What became of it with the last token that tried.
    failed: Option<SignError>,
}

impl Crew {
    /// Starts the thread that watches; those that sign come with [`Crew::join`].
    pub(crate) fn start(holders: Holders, patience: Patience) -> Result<Arc<Self>, BackendError> {
        let queue = Queue::new(holders.are_several());
        let crew = Arc::new(Self {
            holders,
            patience,
            queue,
            open: RwLock::default(),
            openings: AtomicU64::new(0),
            key_uses: AtomicU64::new(0),
            seats: Mutex::default(),
            threads: Mutex::default(),
            watch: Mutex::default(),
            somebody_left: Condvar::new(),
            alarm: Alarm::default(),
        });
        let watching = Arc::clone(&crew);
        let watch = thread::Builder::new().name("sign-watch".to_owned()).spawn(move || watching.watch());
        let watch = watch.map_err(|source| BackendError::Thread { source })?;
        *crew.watch.lock().unwrap_or_else(PoisonError::into_inner) = Some(watch);
        Ok(crew)
    }

    /// Starts a thread for each signer of a token.
    pub(crate) fn join(
        self: &Arc<Self>,
        holder: &Arc<Holder>,
        signers: Vec<Box<dyn Signer>>,
    ) -> Result<(), BackendError> {
        signers.into_iter().try_for_each(|signer| self.seat(holder, signer))
    }

    pub(crate) fn holders(&self) -> &Holders {
        &self.holders
    }

    /// Lets a key sign in one more token. Where it is open already, closing it closes it for what was queued before, too.
    pub(crate) fn admit(&self, reference: KeyReference, public: PublicKey, holder: usize) {
        let opening = self.openings.fetch_add(1, Ordering::Relaxed);
        let digest = public.digest();
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let before = open.get(&digest);
        let closed = before.map(|before| Arc::clone(&before.closed)).unwrap_or_default();
        let held = before.map(|before| Arc::clone(&before.held)).unwrap_or_default();
        held.set(holder, true);
        open.insert(digest, OpenKey { reference, public: Arc::new(public), opening, closed, held });
        drop(open);
        self.look_again();
    }

    /// Lets a key sign no longer.
    pub(crate) fn forget(&self, key: SpkiDigest) {
        let open = self.open.write().unwrap_or_else(PoisonError::into_inner).remove(&key);
        if let Some(open) = open {
            open.closed.store(true, Ordering::SeqCst);
        }
    }

    /// The keys that may sign.
    pub(crate) fn open_keys(&self) -> Vec<OpenKey> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(crate) fn open_key(&self, key: SpkiDigest) -> Option<OpenKey> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }

    /// Queues a message, or answers at once.
    pub(crate) fn sign(&self, message: Message, deadline: Instant, tried: Tried, done: Done) {
        let (issuer, came) = (message.issuer, Instant::now());
        let Some(key) = self.open_key(issuer) else {
            return done(Err(SignError::NotOpen { issuer }));
        };
        if let Err(resting) = self.holders.admit(&key, tried, came) {
            return done(Err(resting));
        }
        match self.queue.push(Job { message, key, deadline, done, came, tried, failed: None }) {
            Ok(()) if self.holders.are_several() && self.holders.choice == Choice::Ordered => {
                self.alarm.set(deadline.min(came + ORDER_TIME_MAX));
            }
            Ok(()) => self.alarm.set(deadline),
            Err(NotQueued::Full(job)) => {
                self.undecided(issuer);
                (job.done)(Err(SignError::Busy));
            }
            Err(NotQueued::Closed(job)) => (job.done)(Err(SignError::Stopped)),
        }
    }

    /// How long a key is left alone.
    pub(crate) fn resting(&self, key: SpkiDigest) -> Option<std::time::Duration> {
        match self.open_key(key) {
            Some(key) => self.holders.resting(&key, Instant::now()),
            // It is taken in again when one of the tokens that have it is back.
            None => self.holders.are_several().then_some(RETRY_AFTER),
        }
    }

    pub(crate) fn size(&self) -> usize {
        self.holders.all.iter().map(|holder| holder.size()).sum()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.queue.waiting()
    }

    /// Since when each call hangs that does.
    pub(crate) fn hanging_since(&self) -> Vec<Instant> {
        self.seats().iter().filter_map(|seat| seat.hangs_since()).collect()
    }

    pub(crate) fn key_uses(&self) -> u64 {
        self.key_uses.load(Ordering::Relaxed)
    }

    /// Something has changed that decides who takes which job.
    pub(crate) fn look_again(&self) {
        if self.holders.are_several() {
            self.queue.look_again();
        }
    }

    /// Takes no further jobs, finishes those that wait, and waits until the threads have gone; not for those that hang.
    pub(crate) fn stop(&self) {
        self.queue.close();
        let this = thread::current().id();
        let others = |seats: &mut Vec<Arc<Seat>>| seats.iter().any(|seat| !seat.is_taken_by(this));
        let waited = self.somebody_left.wait_timeout_while(self.seats(), self.patience.stop, others);
        let (seats, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        let left: Vec<_> = seats.iter().map(Arc::clone).collect();
        drop(seats);
        if timeout.timed_out() {
            tracing::error!("signatures are still under way in the key device; it is left alone with them");
            left.iter().filter_map(|seat| seat.finish().0).for_each(|done| answer(done, Err(SignError::Stopped)));
        }
        self.queue.clear().into_iter().for_each(|job| answer(job.done, Err(SignError::Stopped)));
        self.alarm.end();
        // First: where a call hung just now, it starts another thread yet.
        let watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(watch) = watch.filter(|watch| watch.thread().id() != this)
            && watch.join().is_err()
        {
            tracing::error!("the thread that watches signatures ended by a fault in this program");
        }
        self.join_threads(&left, this);
    }

    /// Waits until those who left have ended: a module's library cleans up after each, and falls over itself where it cleans
    /// up after the process meanwhile.
    fn join_threads(&self, left_behind: &[Arc<Seat>], this: ThreadId) {
        let threads = mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for (seat, thread) in threads {
            let hangs = left_behind.iter().any(|other| Arc::ptr_eq(other, &seat));
            if !hangs && thread.thread().id() != this {
                // Panics end a job, not the thread.
                let _ = thread.join();
            }
        }
    }

    fn seats(&self) -> MutexGuard<'_, Vec<Arc<Seat>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a signer a thread of its own.
    fn seat(self: &Arc<Self>, holder: &Arc<Holder>, signer: Box<dyn Signer>) -> Result<(), BackendError> {
        let (crew, seat) = (Arc::clone(self), Arc::new(Seat::of(holder)));
        let (own, of) = (Arc::clone(&seat), Arc::clone(holder));
        // Held until the seat stands in the list, so that its thread does not leave before it came.
        let mut seats = self.seats();
        let thread = thread::Builder::new()
            .name("sign".to_owned())
            .spawn(move || crew.work(&of, &own, signer))
            .map_err(|source| BackendError::Thread { source })?;
        holder.seated.fetch_add(1, Ordering::SeqCst);
        seat.taken_by(thread.thread().id());
        seats.push(Arc::clone(&seat));
        drop(seats);
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|(_, thread)| !thread.is_finished());
        threads.push((seat, thread));
        Ok(())
    }

    /// The life of a session's thread.
    fn work(&self, holder: &Holder, seat: &Arc<Seat>, mut signer: Box<dyn Signer>) {
        while !seat.is_dismissed() {
            let mut verdict = Verdict::Leave;
            let job = self.queue.pop(|job| {
                let now = Instant::now();
                let waited = now.saturating_duration_since(job.came);
                verdict = self.holders.verdict(holder, &job.key, job.tried, waited, now);
                verdict != Verdict::Leave
            });
            match job {
                Some(job) if verdict == Verdict::Refuse => self.turn_away(job),
                Some(job) => self.work_on(holder, seat, signer.as_mut(), job),
                None => break,
            }
        }
        // Also the session ends here, and that may hang, too.
        drop(signer);
        self.seats().retain(|other| !Arc::ptr_eq(other, seat));
        holder.seated.fetch_sub(1, Ordering::SeqCst);
        self.somebody_left.notify_all();
    }

    /// No token can do it now.
    fn turn_away(&self, job: Job) {
        let now = Instant::now();
        let error = match in_time(job.deadline) {
            Err(late) => late,
            Ok(()) => job.failed.unwrap_or_else(|| self.holders.rests(&job.key, now)),
        };
        answer(job.done, Err(error));
    }

    /// Every job is answered once; a panic ends a job, not the thread.
    fn work_on(&self, holder: &Holder, seat: &Seat, signer: &mut dyn Signer, job: Job) {
        let Job { message, key, deadline, done, came, tried, failed: _ } = job;
        let (issuer, began) = (message.issuer, Instant::now());
        if let Err(late) = in_time(deadline) {
            holder.breakers.undecided(issuer);
            return answer(done, Err(late));
        }
        if !self.holders.are_several()
            && let Err(resting) = holder.breakers.still_admits(issuer, began)
        {
            return answer(done, Err(resting));
        }
        // One token of several is waited for half the time, so that another has the other half.
        let several = self.holders.are_several();
        let half = if several { deadline.saturating_duration_since(began) / 2 } else { self.patience.hung_after };
        let patience = self.patience.hung_after.min(half);
        let shared = several.then(|| (key.clone(), tried, patience));
        seat.begin(Given { issuer, began, deadline, done, shared });
        self.alarm.set(deadline.min(began + patience));
        let gate = Gate {
            deadline,
            issuer,
            closed: &key.closed,
            key_uses: &self.key_uses,
            touched: false.into(),
            errors: &holder.errors,
        };
        let bytes = catch_unwind(AssertUnwindSafe(|| bytes(signer, &message, &key, &gate)));
        let bytes = bytes.unwrap_or_else(|_| {
            signer.distrust();
            Err(SignError::Panicked)
        });
        let ended = Instant::now();
        holder.took.observe_duration(ended.saturating_duration_since(began));
        let moments = Moments { came, began, signed: ended, verified: ended, token: holder.index };
        // None where the message went into a signature, good or bad.
        let (message, signed) = match bytes {
            Ok(bytes) => (None, verified(signer, message, bytes, &key, moments)),
            Err(error) => (Some(message), Err(error)),
        };
        if let Err(SignError::Backend(error)) = &signed
            && error.is_about_the_key()
        {
            self.has_it_no_longer(holder, &key, error);
        }
        let again = signed.as_ref().err().and_then(|error| {
            let tried = tried.and(holder.index);
            self.goes_on(&key, tried, deadline, error, &gate)
        });
        match again {
            // How the token is, the second try says.
            Some(_) if !several => {
                holder.failures.fetch_add(1, Ordering::Relaxed);
                count_error(holder, &signed);
                holder.breakers.undecided(issuer);
            }
            Some(_) | None => self.count(holder, issuer, &signed),
        }
        let (done, had_hung) = seat.finish();
        if had_hung {
            self.look_again();
        }
        let Some(done) = done else {
            return tracing::warn!(key = %issuer, token = holder.name, "a signature came after nobody waited for it any more, and is thrown away");
        };
        match signed {
            Err(error) => match again {
                Some(tried) => {
                    tracing::warn!(key = %issuer, token = holder.name, %error, "a token failed; it is signed again");
                    match message.filter(|_| !gate.was_touched()) {
                        Some(message) => {
                            self.put_back(Job {
                                message,
                                key: key.clone(),
                                deadline,
                                done,
                                came,
                                tried,
                                failed: Some(error),
                            });
                        }
                        None => answer(done, Err(SignError::SignAgain { failed: Box::new(error), tried })),
                    }
                }
                None => answer(done, Err(error)),
            },
            Ok(signature) => answer(done, Ok(signature)),
        }
    }

    /// One of several tokens that was to sign with a key does not have it as it should: it is given no more of that work until it was found to have
    /// the key, which whoever looks after it looks for soon.
    fn has_it_no_longer(&self, holder: &Holder, key: &OpenKey, error: &BackendError) {
        if self.holders.are_several() && key.held.set(holder.index, false) {
            lacks(holder, error);
            holder.doubt();
            self.look_again();
        }
    }

    /// Whether another token does what this one failed to, or this one once more where no other is there; and who is not asked then.
    fn goes_on(
        &self,
        key: &OpenKey,
        tried: Tried,
        deadline: Instant,
        error: &SignError,
        gate: &Gate<'_>,
    ) -> Option<Tried> {
        if !error.is_the_device_s() || in_time(deadline).is_err() {
            return None;
        }
        if !self.holders.are_several() {
            // What it never began, its session has tried twice.
            let may_pass = matches!(error, SignError::Backend(error) if error.may_pass());
            return tried.anew().filter(|_| may_pass && gate.was_touched());
        }
        let now = Instant::now();
        [Some(tried), tried.anew()].into_iter().flatten().find(|tried| self.holders.can(key, *tried, now))
    }

    fn put_back(&self, job: Job) {
        let deadline = job.deadline;
        match self.queue.put_back(job) {
            Ok(()) => self.alarm.set(deadline),
            Err(NotQueued::Closed(job) | NotQueued::Full(job)) => answer(job.done, Err(SignError::Stopped)),
        }
    }

    /// What came of a job says how the token is.
    fn count(&self, holder: &Holder, issuer: SpkiDigest, signed: &Result<Signature, SignError>) {
        match signed {
            Ok(_) => {
                holder.signatures.fetch_add(1, Ordering::Relaxed);
                if holder.breakers.succeeded(issuer) {
                    self.look_again();
                }
            }
            Err(error) if error.is_the_device_s() => {
                holder.failures.fetch_add(1, Ordering::Relaxed);
                count_error(holder, signed);
                if holder.breakers.failed(issuer, Instant::now()) && self.holders.are_several() {
                    self.look_again();
                    holder.alarm.set(Instant::now());
                }
            }
            Err(_) => {
                count_error(holder, signed);
                holder.breakers.undecided(issuer);
            }
        }
    }

    /// A job that one token was let in for ends without it.
    fn undecided(&self, issuer: SpkiDigest) {
        if let [only] = self.holders.all.as_slice() {
            only.breakers.undecided(issuer);
        }
    }
}

/// The token's answer, not verified yet.
fn bytes(signer: &mut dyn Signer, message: &Message, key: &OpenKey, gate: &Gate<'_>) -> Result<Vec<u8>, SignError> {
    let (issuer, kind, algorithm) = (message.issuer, key.public.kind(), message.algorithm);
    if !kind.signs_with(algorithm) {
        return Err(SignError::WrongAlgorithm { issuer, kind, algorithm });
    }
    signer.sign(key, algorithm, &message.to_be_signed, gate)
}

/// Counts what a device did wrong.
fn count_error(holder: &Holder, signed: &Result<Signature, SignError>) {
    if let Some(code) = signed.as_ref().err().and_then(SignError::device_code) {
        holder.errors.count(code);
    }
}

fn verified(
    signer: &mut dyn Signer,
    message: Message,
    bytes: Vec<u8>,
    key: &OpenKey,
    moments: Moments,
) -> Result<Signature, SignError> {
    let signature = Signature::verified(message, bytes, &key.public, moments);
    if signature.is_err() {
        tracing::error!(key = %key.reference, "the device's signature does not verify");
        signer.distrust();
    }
    signature
}

/// Tells whoever waits.
fn answer(done: Done, result: Result<Signature, SignError>) {
    if catch_unwind(AssertUnwindSafe(|| done(result))).is_err() {
        tracing::error!("whoever waited for a signature panicked when it came");
    }
}
