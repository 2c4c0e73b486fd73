//! Admission: whether a call can be answered in time, judged before any work is done for it.
//!
//! What the core does is learnt from its answers: calls that were answered in a span in which it always had enough to do, by that span.
//! By Little's law a new call then waits for those under way, divided by this rate. One that would wait for too long is refused at once,
//! so that those which were taken are answered in time, however much is offered. Nothing here can refuse what an idle core could do: few calls
//! are always taken, and a rate that was learnt too low is learnt anew from these.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Calls under way at one time that are always taken.
pub(crate) const ALWAYS_TAKEN: u32 = 64;

/// Longest wait for which a call is taken, whatever its deadline: so much work is left at most when an overload ends.
pub(crate) const WAIT_MAX: Duration = Duration::from_millis(500);

/// Calls under way with which the core has enough to do.
const BUSY: u32 = 16;

/// Shortest span over which answers are counted.
const SPAN_MIN: Duration = Duration::from_millis(100);

/// The part of a new span in the rate, in percent.
const NEW_PERCENT: f64 = 30.0;

/// The part of the time until its deadline that a call may wait, in percent: the rest is for what comes after.
const DEADLINE_PERCENT: u32 = 80;

/// What is under way, and how fast it goes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Admission(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    under_way: u32,
    /// Answers a second, once they were counted.
    rate: Option<f64>,
    /// Since when the core has always had enough to do, and its answers since then.
    busy: Option<(Instant, u32)>,
}

/// A call that was taken, until it is dropped: when the core has answered.
#[derive(Debug)]
pub(crate) struct Pass(Admission);

/// It would not be answered in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMuch;

impl Admission {
    /// Takes a call that has until `deadline`.
    pub(crate) fn admit(&self, deadline: Instant) -> Result<Pass, TooMuch> {
        let now = Instant::now();
        let mut state = self.lock();
        let left = deadline.saturating_duration_since(now) * DEADLINE_PERCENT / 100;
        if state.under_way >= ALWAYS_TAKEN && state.wait().is_some_and(|wait| wait > left.min(WAIT_MAX)) {
            return Err(TooMuch);
        }
        state.under_way += 1;
        if state.under_way == BUSY {
            state.busy = Some((now, 0));
        }
        drop(state);
        Ok(Pass(self.clone()))
    }

    /// No code runs under this lock that could leave the state half changed, so a poisoned one is as good.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How long the next call would wait, if that can be told.
    fn wait(&self) -> Option<Duration> {
        let secs = f64::from(self.under_way + 1) / self.rate?;
        Some(Duration::try_from_secs_f64(secs).unwrap_or(Duration::MAX))
    }

    fn answered(&mut self, now: Instant) {
        if let Some((since, answers)) = &mut self.busy {
            *answers += 1;
            let span = now.saturating_duration_since(*since);
            if span >= SPAN_MIN {
                let found = f64::from(*answers) / span.as_secs_f64();
                let old = self.rate.unwrap_or(found);
                self.rate = Some(old + (found - old) * NEW_PERCENT / 100.0);
                self.busy = Some((now, 0));
            }
        }
        self.under_way = self.under_way.saturating_sub(1);
        if self.under_way < BUSY {
            self.busy = None;
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.lock().answered(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn take(admission: &Admission, number: u32) -> Vec<Pass> {
        (0..number).filter_map(|_| admission.admit(Instant::now() + LONG).ok()).collect()
    }

    /// A core that answers one call in 5 ms, with so many under way all the time.
    async fn at_200_a_second(admission: &Admission, under_way: u32) -> Vec<Pass> {
        let mut passes = take(admission, under_way);
        for _ in 0..400 {
            advance(Duration::from_millis(5)).await;
            passes.remove(0);
            passes.extend(take(admission, 1));
        }
        passes
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_is_what_is_served_within_the_longest_wait() {
        let admission = Admission::default();
        let mut passes = at_200_a_second(&admission, 80).await;
        passes.extend(take(&admission, 1_000));
        assert_eq!(passes.len(), 100, "half a second at 200 a second");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_cannot_wait_so_long_is_refused_earlier() {
        let admission = Admission::default();
        let passes = at_200_a_second(&admission, 80).await;
        let wait = |left: u64| admission.admit(Instant::now() + Duration::from_millis(left)).map(drop);
        assert_eq!(passes.len(), 80);
        assert_eq!(
            wait(500),
            Err(TooMuch),
            "80 of 200 a second are 0.405 s with it, and a fifth is for what comes after"
        );
        assert_eq!(wait(510), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn few_calls_are_always_taken_and_nothing_is_refused_before_a_rate_is_known() {
        let admission = Admission::default();
        assert_eq!(take(&admission, 2_000).len(), 2_000);
        drop(at_200_a_second(&admission, 80).await);
        let slow = admission.0.lock().unwrap().rate.replace(0.01);
        assert!(slow.is_some());
        let passes = take(&admission, 1_000);
        assert_eq!(passes.len(), usize::try_from(ALWAYS_TAKEN).unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_core_teaches_nothing() {
        let admission = Admission::default();
        for _ in 0..100 {
            advance(Duration::from_secs(1)).await;
            drop(take(&admission, BUSY - 1));
        }
        assert_eq!(admission.0.lock().unwrap().rate, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_core_that_becomes_faster_again_is_believed() {
        let admission = Admission::default();
        drop(at_200_a_second(&admission, 80).await);
        let mut passes = take(&admission, 1_000);
        let before = passes.len();
        for _ in 0..1_000 {
            advance(Duration::from_millis(1)).await;
            passes.remove(0);
            passes.extend(take(&admission, 2));
        }
        assert!(passes.len() > before * 4, "{}", passes.len());
    }
}
