//! Where a signing thread does its work, in sight of whoever watches over it.

use std::{
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::ThreadId,
    time::{Duration, Instant},
};

use hallmark_policy::key::SpkiDigest;

use crate::keyring::Done;

/// One signing thread's place.
#[derive(Default)]
pub(crate) struct Seat {
    thread: OnceLock<ThreadId>,
    work: Mutex<Option<Work>>,
    dismissed: AtomicBool,
}

/// What a thread does now.
struct Work {
    began: Instant,
    deadline: Instant,
    issuer: SpkiDigest,
    /// Whoever waits; nobody once the deadline has passed.
    done: Option<Done>,
    hangs_since: Option<Instant>,
}

/// What is to be done about a thread.
#[derive(Default)]
pub(crate) struct Seen {
    /// Whoever waits is to be told that it took too long.
    pub(crate) overdue: Option<(SpkiDigest, Done)>,
    /// The device hangs, since now.
    pub(crate) hangs: Option<SpkiDigest>,
    /// When to look again.
    pub(crate) next: Option<Instant>,
}

impl Seat {
    /// The thread that sits here.
    pub(crate) fn taken_by(&self, thread: ThreadId) {
        // A seat is taken once.
        let _ = self.thread.set(thread);
    }

    pub(crate) fn is_taken_by(&self, thread: ThreadId) -> bool {
        self.thread.get() == Some(&thread)
    }

    /// Work begins.
    pub(crate) fn begin(&self, issuer: SpkiDigest, began: Instant, deadline: Instant, done: Done) {
        *self.lock() = Some(Work { began, deadline, issuer, done: Some(done), hangs_since: None });
    }

    /// Work ends; whoever still waits for it.
    pub(crate) fn finish(&self) -> Option<Done> {
        self.lock().take()?.done
    }

    /// Since when the device hangs in this thread's work, if it does.
    pub(crate) fn hangs_since(&self) -> Option<Instant> {
        self.lock().as_ref()?.hangs_since
    }

    /// The thread is to go when its work ends: another took its place.
    pub(crate) fn dismiss(&self) {
        self.dismissed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_dismissed(&self) -> bool {
        self.dismissed.load(Ordering::SeqCst)
    }

    /// Looks whether the work takes longer than its deadline, or so long that the device hangs.
    pub(crate) fn look(&self, now: Instant, hung_after: Duration) -> Seen {
        let mut seen = Seen::default();
        let mut work = self.lock();
        let Some(work) = work.as_mut() else { return seen };
        if now >= work.deadline {
            seen.overdue = work.done.take().map(|done| (work.issuer, done));
        }
        let hung_at = work.began + hung_after;
        if now >= hung_at && work.hangs_since.is_none() {
            work.hangs_since = Some(hung_at);
            seen.hangs = Some(work.issuer);
        }
        let deadline = work.done.as_ref().map(|_| work.deadline);
        seen.next = [deadline, work.hangs_since.is_none().then_some(hung_at)].into_iter().flatten().min();
        seen
    }

    fn lock(&self) -> MutexGuard<'_, Option<Work>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
