//! The bounded queue between those who ask for signatures and the threads that own the sessions.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// Most jobs that wait for a session. At 200 us a signature and two sessions the last one waits about 0.1 s.
pub const QUEUE_JOBS_MAX: usize = 1_024;

/// Jobs in the order in which they came.
#[derive(Debug)]
pub(crate) struct Queue<Job> {
    state: Mutex<State<Job>>,
    changed: Condvar,
    /// Not everybody who waits takes every job.
    choosy: bool,
}

#[derive(Debug)]
struct State<Job> {
    jobs: VecDeque<Job>,
    closed: bool,
}

/// Why a job was not taken; the job comes back.
#[derive(Debug)]
pub(crate) enum NotQueued<Job> {
    Full(Job),
    Closed(Job),
}

impl<Job> Queue<Job> {
    /// `choosy`, where not everybody who waits takes every job: then all of them look at each.
    pub(crate) fn new(choosy: bool) -> Self {
        let state = Mutex::new(State { jobs: VecDeque::new(), closed: false });
        Self { state, changed: Condvar::new(), choosy }
    }

    /// Takes a job unless [`QUEUE_JOBS_MAX`] wait already; never blocks.
    pub(crate) fn push(&self, job: Job) -> Result<(), NotQueued<Job>> {
        let mut state = self.lock();
        if state.closed {
            return Err(NotQueued::Closed(job));
        }
        if state.jobs.len() >= QUEUE_JOBS_MAX {
            return Err(NotQueued::Full(job));
        }
        state.jobs.push_back(job);
        drop(state);
        if self.choosy {
            self.changed.notify_all();
        } else {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Takes a job back that was handed out, before all others; there is room for it.
    pub(crate) fn put_back(&self, job: Job) -> Result<(), NotQueued<Job>> {
        let mut state = self.lock();
        if state.closed {
            return Err(NotQueued::Closed(job));
        }
        state.jobs.push_front(job);
        drop(state);
        self.changed.notify_all();
        Ok(())
    }

    /// Those who wait look again at what they left: something else has changed.
    pub(crate) fn look_again(&self) {
        // So that nobody is between looking and waiting.
        drop(self.lock());
        self.changed.notify_all();
    }

    /// The next job that the caller takes, waiting for one; `None` once the queue is closed and has none for it. `takes` is called until it
    /// says yes once.
    pub(crate) fn pop(&self, mut takes: impl FnMut(&Job) -> bool) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(at) = state.jobs.iter().position(&mut takes) {
                return state.jobs.remove(at);
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes out the jobs whose deadline has passed, and tells the earliest deadline of the others.
    pub(crate) fn overdue(&self, now: Instant, deadline: impl Fn(&Job) -> Instant) -> (Vec<Job>, Option<Instant>) {
        let mut state = self.lock();
        let earliest = state.jobs.iter().map(&deadline).min();
        if earliest.is_none_or(|earliest| earliest > now) {
            return (Vec::new(), earliest);
        }
        let (overdue, rest): (Vec<_>, _) = state.jobs.drain(..).partition(|job| deadline(job) <= now);
        let earliest = rest.iter().map(&deadline).min();
        state.jobs = rest.into();
        (overdue, earliest)
    }

    /// Takes no further jobs, and takes out those that wait.
    pub(crate) fn clear(&self) -> Vec<Job> {
        let mut state = self.lock();
        state.closed = true;
        state.jobs.drain(..).collect()
    }

    /// Takes no further jobs; those inside are still handed out.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    pub(crate) fn waiting(&self) -> usize {
        self.lock().jobs.len()
    }

    /// No code runs under this lock that could leave the state half changed, so a poisoned one is as good.
    fn lock(&self) -> MutexGuard<'_, State<Job>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_closed_queue_hands_out_what_it_holds_and_takes_nothing() {
        let queue = Queue::new(false);
        queue.push(1).unwrap();
        queue.push(2).unwrap();
        queue.close();
        assert!(matches!(queue.push(3), Err(NotQueued::Closed(3))));
        assert_eq!([queue.pop(|_| true), queue.pop(|_| true), queue.pop(|_| true)], [Some(1), Some(2), None]);
    }

    #[test]
    fn jobs_whose_deadline_passed_are_taken_out_and_the_others_keep_their_order() {
        let queue = Queue::new(false);
        let start = Instant::now();
        let deadline = |job: &u64| start + Duration::from_secs(*job);
        [5, 1, 4, 2, 3].into_iter().for_each(|job| queue.push(job).unwrap());
        assert_eq!(queue.overdue(start, deadline), (vec![], Some(deadline(&1))));
        assert_eq!(queue.overdue(deadline(&2), deadline), (vec![1, 2], Some(deadline(&3))));
        assert_eq!([queue.pop(|_| true), queue.pop(|_| true), queue.pop(|_| true)], [Some(5), Some(4), Some(3)]);
        assert_eq!(queue.overdue(deadline(&9), deadline), (vec![], None));
    }

    #[test]
    fn who_takes_not_every_job_leaves_the_others_where_they_are() {
        let queue = Queue::new(true);
        (1..=4).for_each(|job| queue.push(job).unwrap());
        assert_eq!(queue.pop(|job| job % 2 == 0), Some(2));
        queue.put_back(6).unwrap();
        assert_eq!([queue.pop(|job| job % 2 == 0), queue.pop(|_| true)], [Some(6), Some(1)]);
        queue.close();
        assert_eq!([queue.pop(|job| *job > 4), queue.pop(|_| true)], [None, Some(3)]);
        assert!(matches!(queue.put_back(7), Err(NotQueued::Closed(7))));
    }

    #[test]
    fn a_full_queue_gives_the_job_back_at_once() {
        let queue = Queue::new(false);
        (0..QUEUE_JOBS_MAX).for_each(|job| queue.push(job).unwrap());
        assert!(matches!(queue.push(7), Err(NotQueued::Full(7))));
        assert_eq!(queue.waiting(), QUEUE_JOBS_MAX);
    }
}
