//! The threads that sign, and the one that watches over them.

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
    backend::{Backend, Gate, OpenKey, Signer, in_time},
    breaker::Breakers,
    error::BackendError,
    keyring::Done,
    patience::Patience,
    queue::{NotQueued, Queue},
    reference::KeyReference,
    seat::Seat,
    sign_error::SignError,
    signature::{Message, Signature},
};

/// Threads that sign what was queued. Each owns a session; a call that hangs costs its thread, and another takes its place,
/// as long as there are not more than twice as many as there were at first.
pub(crate) struct Crew {
    backend: Arc<dyn Backend>,
    size: usize,
    patience: Patience,
    queue: Queue<Job>,
    open: RwLock<BTreeMap<SpkiDigest, OpenKey>>,
    openings: AtomicU64,
    key_uses: AtomicU64,
    breakers: Breakers,
    seats: Mutex<Vec<Arc<Seat>>>,
    /// The threads of the seats, and of those who left and may not have ended yet.
    threads: Mutex<Vec<(Arc<Seat>, JoinHandle<()>)>>,
    somebody_left: Condvar,
    alarm: Alarm,
}

struct Job {
    message: Message,
    /// As the key was opened when the message was queued: another opening of it is for others.
    key: OpenKey,
    deadline: Instant,
    done: Done,
}

impl Crew {
    /// Starts a thread for each signer, and the one that watches.
    pub(crate) fn start(
        backend: Arc<dyn Backend>,
        signers: Vec<Box<dyn Signer>>,
        patience: Patience,
    ) -> Result<Arc<Self>, BackendError> {
        let crew = Arc::new(Self {
            backend,
            size: signers.len(),
            patience,
            queue: Queue::new(),
            open: RwLock::default(),
            openings: AtomicU64::new(0),
            key_uses: AtomicU64::new(0),
            breakers: Breakers::default(),
            seats: Mutex::default(),
            threads: Mutex::default(),
            somebody_left: Condvar::new(),
            alarm: Alarm::default(),
        });
        let started = signers.into_iter().try_for_each(|signer| crew.seat(signer)).and_then(|()| {
            let watching = Arc::clone(&crew);
            let watch = thread::Builder::new().name("sign-watch".to_owned()).spawn(move || watching.watch());
            watch.map(drop).map_err(|source| BackendError::Thread { source })
        });
        match started {
            Ok(()) => Ok(crew),
            Err(error) => {
                crew.stop();
                Err(error)
            }
        }
    }

    /// Lets a key sign. Where it is open already, closing it closes it for what was queued before, too.
    pub(crate) fn admit(&self, reference: KeyReference, public: PublicKey) {
        let opening = self.openings.fetch_add(1, Ordering::Relaxed);
        let digest = public.digest();
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let closed = open.get(&digest).map(|before| Arc::clone(&before.closed)).unwrap_or_default();
        open.insert(digest, OpenKey { reference, public: Arc::new(public), opening, closed });
    }

    /// Lets a key sign no longer.
    pub(crate) fn forget(&self, key: SpkiDigest) {
        let open = self.open.write().unwrap_or_else(PoisonError::into_inner).remove(&key);
        if let Some(open) = open {
            open.closed.store(true, Ordering::SeqCst);
        }
    }

    /// Queues a message, or answers at once.
    pub(crate) fn sign(&self, message: Message, deadline: Instant, done: Done) {
        if let Err(resting) = self.breakers.admit(message.issuer, Instant::now()) {
            return done(Err(resting));
        }
        let issuer = message.issuer;
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner).get(&issuer).cloned();
        let Some(key) = open else {
            self.breakers.undecided(issuer);
            return done(Err(SignError::NotOpen { issuer }));
        };
        match self.queue.push(Job { message, key, deadline, done }) {
            Ok(()) => self.alarm.set(deadline),
            Err(NotQueued::Full(job)) => {
                self.breakers.undecided(issuer);
                (job.done)(Err(SignError::Busy));
            }
            Err(NotQueued::Closed(job)) => (job.done)(Err(SignError::Stopped)),
        }
    }

    pub(crate) fn breakers(&self) -> &Breakers {
        &self.breakers
    }

    pub(crate) fn size(&self) -> usize {
        self.size
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
            left.iter().filter_map(|seat| seat.finish()).for_each(|done| answer(done, Err(SignError::Stopped)));
            self.queue.clear().into_iter().for_each(|job| answer(job.done, Err(SignError::Stopped)));
        }
        self.alarm.end();
        self.join(&left, this);
    }

    /// Waits until those who left have ended: a module's library cleans up after each, and falls over itself where it cleans
    /// up after the process meanwhile.
    fn join(&self, left_behind: &[Arc<Seat>], this: ThreadId) {
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
    fn seat(self: &Arc<Self>, signer: Box<dyn Signer>) -> Result<(), BackendError> {
        let (crew, seat) = (Arc::clone(self), Arc::new(Seat::default()));
        let own = Arc::clone(&seat);
        // Held until the seat stands in the list, so that its thread does not leave before it came.
        let mut seats = self.seats();
        let thread = thread::Builder::new()
            .name("sign".to_owned())
            .spawn(move || crew.work(&own, signer))
            .map_err(|source| BackendError::Thread { source })?;
        seat.taken_by(thread.thread().id());
        seats.push(Arc::clone(&seat));
        drop(seats);
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|(_, thread)| !thread.is_finished());
        threads.push((seat, thread));
        Ok(())
    }

    /// The life of a session's thread.
    fn work(&self, seat: &Arc<Seat>, mut signer: Box<dyn Signer>) {
        while !seat.is_dismissed()
            && let Some(job) = self.queue.pop()
        {
            self.work_on(seat, signer.as_mut(), job);
        }
        // Also the session ends here, and that may hang, too.
        drop(signer);
        self.seats().retain(|other| !Arc::ptr_eq(other, seat));
        self.somebody_left.notify_all();
    }

    /// Every job is answered once; a panic ends a job, not the thread.
    fn work_on(&self, seat: &Seat, signer: &mut dyn Signer, job: Job) {
        let Job { message, key, deadline, done } = job;
        let (issuer, began) = (message.issuer, Instant::now());
        if let Err(late) = in_time(deadline) {
            self.breakers.undecided(issuer);
            return answer(done, Err(late));
        }
        if let Err(resting) = self.breakers.still_admits(issuer, began) {
            return answer(done, Err(resting));
        }
        seat.begin(issuer, began, deadline, done);
        self.alarm.set(deadline.min(began + self.patience.hung_after));
        let signed = catch_unwind(AssertUnwindSafe(|| self.sign_now(signer, message, &key, deadline)));
        let signed = signed.unwrap_or_else(|_| {
            signer.distrust();
            Err(SignError::Panicked)
        });
        match &signed {
            Ok(_) => self.breakers.succeeded(issuer),
            Err(error) if error.is_the_device_s() => self.breakers.failed(issuer, Instant::now()),
            Err(_) => self.breakers.undecided(issuer),
        }
        match seat.finish() {
            Some(done) => answer(done, signed),
            None => tracing::warn!(key = %issuer, "a signature came after its deadline, and is thrown away"),
        }
    }

    fn sign_now(
        &self,
        signer: &mut dyn Signer,
        message: Message,
        key: &OpenKey,
        deadline: Instant,
    ) -> Result<Signature, SignError> {
        let (issuer, kind, algorithm) = (message.issuer, key.public.kind(), message.algorithm);
        if !kind.signs_with(algorithm) {
            return Err(SignError::WrongAlgorithm { issuer, kind, algorithm });
        }
        let gate = Gate { deadline, issuer, closed: &key.closed, key_uses: &self.key_uses };
        let bytes = signer.sign(key, algorithm, &message.to_be_signed, &gate)?;
        let signature = Signature::verified(message, bytes, &key.public);
        if signature.is_err() {
            tracing::error!(key = %key.reference, "the device's signature does not verify");
            signer.distrust();
        }
        signature
    }

    /// The life of the thread that watches.
    fn watch(self: &Arc<Self>) {
        while self.alarm.wait() {
            let now = Instant::now();
            let (late, mut next) = self.queue.overdue(now, |job| job.deadline);
            for job in late {
                self.breakers.undecided(job.message.issuer);
                answer(job.done, Err(SignError::DeadlinePassed));
            }
            let seats: Vec<_> = self.seats().iter().map(Arc::clone).collect();
            for seat in seats {
                let seen = seat.look(now, self.patience.hung_after);
                if let Some((issuer, done)) = seen.overdue {
                    tracing::error!(key = %issuer, "the device did not sign until the deadline");
                    answer(done, Err(SignError::Overdue { issuer }));
                }
                if let Some(issuer) = seen.hangs {
                    self.breakers.failed(issuer, now);
                    self.replace(&seat);
                }
                next = next.into_iter().chain(seen.next).min();
            }
            if let Some(next) = next {
                self.alarm.set(next);
            }
        }
    }

    /// Another thread takes the place of one whose call hangs.
    fn replace(self: &Arc<Self>, hung: &Seat) {
        let room = self.seats().len() < 2 * self.size;
        tracing::error!(replaced = room, "a call hangs in the key device; its thread is lost until it comes back");
        if !room {
            return;
        }
        match self.seat(self.backend.signer()) {
            Ok(()) => hung.dismiss(),
            Err(error) => tracing::error!(%error, "no other thread takes its place"),
        }
    }
}

/// Tells whoever waits.
fn answer(done: Done, result: Result<Signature, SignError>) {
    if catch_unwind(AssertUnwindSafe(|| done(result))).is_err() {
        tracing::error!("whoever waited for a signature panicked when it came");
    }
}
