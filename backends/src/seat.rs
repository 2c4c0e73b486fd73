//! Where a signing thread does its work, in sight of whoever watches over it.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::ThreadId,
    time::{Duration, Instant},
};

use hallmark_policy::key::SpkiDigest;

use crate::{backend::OpenKey, holder::Holder, keyring::Done, tried::Tried};

/// One signing thread's place.
pub(crate) struct Seat {
    /// The token whose session it has.
    holder: Arc<Holder>,
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
    /// Where other tokens may have the key.
    elsewhere: Option<Elsewhere>,
}

/// How work could go on with another token.
struct Elsewhere {
    key: OpenKey,
    tried: Tried,
    /// When to ask whether another token can do it; none once that was asked for the last time.
    at: Option<Instant>,
}

/// What a thread was given to do.
pub(crate) struct Given {
    pub(crate) issuer: SpkiDigest,
    pub(crate) began: Instant,
    pub(crate) deadline: Instant,
    pub(crate) done: Done,
    /// The key, who has failed it, and how long one token is waited for, where several may have it.
    pub(crate) shared: Option<(OpenKey, Tried, Duration)>,
}

/// What is to be done about a thread.
#[derive(Default)]
pub(crate) struct Seen {
    /// Whoever waits is to be told that it took too long.
    pub(crate) overdue: Option<(SpkiDigest, Done)>,
    /// The device hangs, since now.
    pub(crate) hangs: Option<SpkiDigest>,
    /// It takes so long that another token should be asked, if one can do it.
    pub(crate) slow: Option<Slow>,
    /// When to look again.
    pub(crate) next: Option<Instant>,
}

/// Work that takes long.
pub(crate) struct Slow {
    pub(crate) key: OpenKey,
    /// Who has failed it, this one included.
    pub(crate) tried: Tried,
    pub(crate) waited: Duration,
}

impl Seat {
    pub(crate) fn of(holder: &Arc<Holder>) -> Self {
        Self {
            holder: Arc::clone(holder),
            thread: OnceLock::new(),
            work: Mutex::default(),
            dismissed: AtomicBool::new(false),
        }
    }

    /// The token whose session it has.
    pub(crate) fn holder(&self) -> &Arc<Holder> {
        &self.holder
    }

    /// The thread that sits here.
    pub(crate) fn taken_by(&self, thread: ThreadId) {
        // A seat is taken once.
        let _ = self.thread.set(thread);
    }

    pub(crate) fn is_taken_by(&self, thread: ThreadId) -> bool {
        self.thread.get() == Some(&thread)
    }

    /// Work begins.
    pub(crate) fn begin(&self, given: Given) {
        let Given { issuer, began, deadline, done, shared } = given;
        let elsewhere = shared.map(|(key, tried, patience)| Elsewhere { key, tried, at: Some(began + patience) });
        *self.lock() = Some(Work { began, deadline, issuer, done: Some(done), hangs_since: None, elsewhere });
    }

    /// Work ends; whoever still waits for it, and whether the device had been said to hang in it.
    pub(crate) fn finish(&self) -> (Option<Done>, bool) {
        let mut work = self.lock();
        let Some(work) = work.take() else { return (None, false) };
        if work.hangs_since.is_some() {
            self.holder.hung.fetch_sub(1, Ordering::SeqCst);
        }
        (work.done, work.hangs_since.is_some())
    }

    /// Whoever waits is told by the caller; the work goes on for nobody.
    pub(crate) fn take_over(&self) -> Option<Done> {
        self.lock().as_mut()?.done.take()
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
            self.holder.hung.fetch_add(1, Ordering::SeqCst);
            seen.hangs = Some(work.issuer);
        }
        let waits = work.done.is_some();
        let mut slow_at = None;
        if let Some(elsewhere) = work.elsewhere.as_mut().filter(|_| waits) {
            if elsewhere.at.is_some_and(|at| now >= at) {
                seen.slow = Some(Slow {
                    key: elsewhere.key.clone(),
                    tried: elsewhere.tried.and(self.holder.index),
                    waited: now.saturating_duration_since(work.began),
                });
                // Once more when the device hangs: another token may be back by then.
                elsewhere.at = (now < hung_at).then_some(hung_at);
            }
            slow_at = elsewhere.at;
        }
        let deadline = waits.then_some(work.deadline);
        seen.next = [deadline, work.hangs_since.is_none().then_some(hung_at), slow_at].into_iter().flatten().min();
        seen
    }

    fn lock(&self) -> MutexGuard<'_, Option<Work>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
