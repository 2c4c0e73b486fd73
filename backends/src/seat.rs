//! Where a signing thread does its work, in sight of whoever watches over it.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
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
    /// Works that began.
    begun: AtomicU64,
    dismissed: AtomicBool,
}

/// What a thread does now.
struct Work {
    /// Its number among the works of this thread.
    number: u64,
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
    /// The work: the thread may be at another one by the time that something is done about it.
    pub(crate) number: u64,
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
            begun: AtomicU64::new(0),
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
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        *self.lock() = Some(Work { number, began, deadline, issuer, done: Some(done), hangs_since: None, elsewhere });
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

    /// Whoever waits for that work is told by the caller; the work goes on for nobody. Nothing, where it has ended meanwhile.
    pub(crate) fn take_over(&self, number: u64) -> Option<Done> {
        self.lock().as_mut().filter(|work| work.number == number)?.done.take()
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
                    number: work.number,
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

#[cfg(test)]
mod tests {
    use hallmark_policy::key::PublicKey;

    use super::*;
    use crate::SignError;

    /// An uncompressed point of P-256: its generator.
    const SPKI: &str = "3059301306072a8648ce3d020106082a8648ce3d030107034200046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";

    fn key() -> OpenKey {
        let spki: Vec<u8> =
            (0..SPKI.len()).step_by(2).map(|at| u8::from_str_radix(&SPKI[at..at + 2], 16).unwrap()).collect();
        OpenKey {
            reference: "software:a".parse().unwrap(),
            public: Arc::new(PublicKey::parse(&spki).unwrap()),
            opening: 0,
            closed: Arc::default(),
            held: Arc::default(),
        }
    }

    fn work(seat: &Seat, key: &OpenKey, began: Instant) -> Arc<Mutex<Option<Result<(), SignError>>>> {
        let answered = Arc::new(Mutex::new(None));
        let told = Arc::clone(&answered);
        seat.begin(Given {
            issuer: key.public.digest(),
            began,
            deadline: began + Duration::from_secs(60),
            done: Box::new(move |answer| *told.lock().unwrap() = Some(answer.map(drop))),
            shared: Some((key.clone(), Tried::default(), Duration::from_secs(1))),
        });
        answered
    }

    #[test]
    fn who_waits_for_the_next_work_is_not_told_that_the_one_before_was_slow() {
        let seat = Seat::of(&Arc::new(Holder::new(0, "token".to_owned()).unwrap()));
        let (key, began) = (key(), Instant::now());
        work(&seat, &key, began);
        let slow = seat.look(began + Duration::from_secs(2), Duration::from_secs(10)).slow.unwrap();
        // Between the look and what follows from it, the device answers, and the thread goes on.
        assert!(seat.finish().0.is_some());
        work(&seat, &key, began);
        assert!(seat.take_over(slow.number).is_none());
        let slow = seat.look(began + Duration::from_secs(2), Duration::from_secs(10)).slow.unwrap();
        assert!(seat.take_over(slow.number).is_some());
    }
}
