//! The threads that sign: which of them is in the device, and who takes the place of one that the device does not let go.
//!
//! A call into a module cannot be ended from here. So a thread that hangs in one is left to itself and another takes its place, as often as
//! there are sessions; if it comes back, what it brings is answered as ever, and it ends. What hangs beyond that waits for the device, or for
//! a new process.

use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

/// How long a signature may take in the device before its thread is called hung. The slowest known (RSA-4096) takes about a second.
pub(crate) const SIGNATURE_TIME_MAX: Duration = Duration::from_secs(10);

/// In how many steps that time is watched.
const WATCH_STEPS: u32 = 10;

/// The threads that sign.
#[derive(Debug)]
pub(crate) struct Crew {
    state: Mutex<State>,
    changed: Condvar,
    /// Most threads at a time, hung ones included.
    threads_max: usize,
    signature_time_max: Duration,
}

#[derive(Debug, Default)]
struct State {
    seats: BTreeMap<u64, Seat>,
    next: u64,
    closed: bool,
}

/// One thread.
#[derive(Debug, Default)]
struct Seat {
    thread: Option<ThreadId>,
    /// When it went into the device.
    since: Option<Instant>,
    hung: bool,
    /// Another has its place.
    replaced: bool,
}

/// A thread's place among the others, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    crew: &'a Crew,
    number: u64,
}

/// A thread that hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hung {
    /// Its number.
    pub(crate) number: u64,
    /// Whether another may take its place; the device has so many sessions and no more otherwise.
    pub(crate) replaceable: bool,
}

impl Crew {
    /// For so many sessions.
    pub(crate) fn new(sessions: usize, signature_time_max: Duration) -> Self {
        let threads_max = sessions.saturating_mul(2);
        Self { state: Mutex::default(), changed: Condvar::new(), threads_max, signature_time_max }
    }

    /// The number of a thread that is about to start.
    pub(crate) fn enlist(&self) -> u64 {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        state.seats.insert(number, Seat::default());
        number
    }

    /// Takes the place of that number, on the thread itself.
    pub(crate) fn take_place(&self, number: u64) -> Place<'_> {
        if let Some(seat) = self.lock().seats.get_mut(&number) {
            seat.thread = Some(thread::current().id());
        }
        Place { crew: self, number }
    }

    /// A thread of that number will not start.
    pub(crate) fn strike(&self, number: u64) {
        self.lock().seats.remove(&number);
        self.changed.notify_all();
    }

    /// Waits until a thread hangs; none, once the crew is dismissed.
    pub(crate) fn next_hung(&self) -> Option<Hung> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            let threads = state.seats.len();
            let hangs = |seat: &&mut Seat| !seat.hung && self.is_late(seat);
            if let Some((number, seat)) =
                state.seats.iter_mut().map(|(number, seat)| (*number, seat)).find(|(_, seat)| hangs(&seat))
            {
                seat.hung = true;
                seat.replaced = threads < self.threads_max;
                return Some(Hung { number, replaceable: seat.replaced });
            }
            let step = self.signature_time_max / WATCH_STEPS;
            state = self.changed.wait_timeout(state, step).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Nobody could take the place of a thread after all.
    pub(crate) fn keep_place(&self, number: u64) {
        if let Some(seat) = self.lock().seats.get_mut(&number) {
            seat.replaced = false;
        }
    }

    /// How many threads hang, and how many there are.
    pub(crate) fn hung(&self) -> (usize, usize) {
        let state = self.lock();
        (state.seats.values().filter(|seat| seat.hung).count(), state.seats.len())
    }

    /// Waits until the others have ended, but for those that hang. Gives how many are left behind.
    pub(crate) fn dismiss(&self) -> usize {
        let this = thread::current().id();
        let mut state = self.lock();
        state.closed = true;
        self.changed.notify_all();
        loop {
            let others = || state.seats.values().filter(|seat| seat.thread != Some(this));
            if others().all(|seat| self.is_late(seat)) {
                return others().count();
            }
            let step = self.signature_time_max / WATCH_STEPS;
            state = self.changed.wait_timeout(state, step).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn is_late(&self, seat: &Seat) -> bool {
        seat.since.is_some_and(|since| since.elapsed() >= self.signature_time_max)
    }

    /// No code runs under this lock that could leave the state half changed, so a poisoned one is as good.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place<'_> {
    /// Goes into the device.
    pub(crate) fn enter(&self) {
        self.with(|seat| seat.since = Some(Instant::now()));
    }

    /// Is back. Whether it may go on: nobody else has its place.
    pub(crate) fn leave(&self) -> bool {
        self.with(|seat| {
            seat.since = None;
            seat.hung = false;
            !seat.replaced
        })
        .unwrap_or(false)
    }

    fn with<T>(&self, change: impl FnOnce(&mut Seat) -> T) -> Option<T> {
        self.crew.lock().seats.get_mut(&self.number).map(change)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.crew.strike(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_session_has_one_to_take_its_place_and_no_more() {
        let crew = Crew::new(1, Duration::ZERO);
        let first = crew.take_place(crew.enlist());
        first.enter();
        assert_eq!(crew.next_hung(), Some(Hung { number: 0, replaceable: true }));
        let second = crew.take_place(crew.enlist());
        second.enter();
        assert_eq!(crew.next_hung(), Some(Hung { number: 1, replaceable: false }));
        assert_eq!(crew.hung(), (2, 2));
        assert!(!first.leave(), "the second has its place");
        assert!(second.leave(), "nobody has its place");
        assert_eq!(crew.hung(), (0, 2));
    }

    #[test]
    fn who_hangs_is_left_behind_and_the_others_are_waited_for() {
        let crew = Crew::new(2, Duration::from_millis(1));
        let hung = crew.take_place(crew.enlist());
        hung.enter();
        assert!(crew.next_hung().is_some());
        thread::scope(|scope| {
            let number = crew.enlist();
            let (crew, (release, released)) = (&crew, std::sync::mpsc::channel::<()>());
            scope.spawn(move || {
                let _place = crew.take_place(number);
                released.recv().unwrap();
            });
            let dismissed = scope.spawn(|| crew.dismiss());
            while !crew.lock().closed {
                thread::yield_now();
            }
            assert!(!dismissed.is_finished(), "one is still at work");
            release.send(()).unwrap();
            // The hung one's place was taken on this thread.
            assert_eq!(dismissed.join().unwrap(), 1);
        });
        assert_eq!(crew.next_hung(), None);
    }
}
