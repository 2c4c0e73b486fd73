//! How fast the core answers, and how many calls it wants to have at a time for that.

use std::time::Duration;

use tokio::time::Instant;

/// Calls under way with which the core has enough to do.
pub(super) const BUSY: u32 = 16;

/// Shortest span over which answers are counted.
const SPAN_MIN: Duration = Duration::from_millis(100);

/// Fewest answers by which a rate is told: one after a stall says how long that was, and not how fast the core is.
const ANSWERS_MIN: u32 = 8;

/// The part of what is new in a mean, in percent.
const NEW_PERCENT: f64 = 30.0;

/// Calls that are with the core at most before its rate is known, and in any case.
const WINDOW_FIRST: u32 = 64;
const WINDOW_MAX: u32 = 1_024;

/// Smallest window while it is not known how many signatures the core makes at a time.
const WINDOW_MIN: u32 = 16;

/// The window is what the core answers in twice the time that a call takes by itself, since what comes after another waits for it: for its
/// commit, and for its key. It is so long at least, so that commits are shared, and so long at most, whatever was learnt.
const WINDOW_TIMES: u32 = 2;
const WINDOW_TIME_MIN: Duration = Duration::from_millis(50);
const WINDOW_TIME_MAX: Duration = Duration::from_millis(250);

/// A call has the core by itself while no more are there than these.
const FEW: u32 = 4;

/// What was learnt of the core.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Answers a second, once they were counted.
    pub(super) rate: Option<f64>,
    /// Since when the core has always had enough to do, and its answers since then.
    busy: Option<(Instant, u32)>,
    /// Seconds that a call takes by itself.
    alone_secs: Option<f64>,
    signs_at_once: Option<u32>,
}

impl Pace {
    /// The core makes so many signatures at a time.
    pub(super) fn signs_at_once(&mut self, signatures: u32) {
        self.signs_at_once = Some(signatures.clamp(1, WINDOW_MAX));
    }

    /// How long so many calls take, if that can be told.
    pub(super) fn time_for(&self, calls: u32) -> Option<Duration> {
        let secs = f64::from(calls) / self.rate?;
        Some(Duration::try_from_secs_f64(secs).unwrap_or(Duration::MAX))
    }

    /// How many calls the core has at a time. Each key session has one and the next one, so that no learnt rate, however wrong, keeps the
    /// device idle; what a core wants beyond that, to share commits and verify, is a matter of time.
    pub(super) fn window(&self) -> u32 {
        let Some(rate) = self.rate else { return WINDOW_FIRST };
        let least = self.signs_at_once.map_or(WINDOW_MIN, |signatures| signatures.saturating_mul(2).saturating_add(2));
        let alone = self.alone_secs.and_then(|secs| Duration::try_from_secs_f64(secs).ok()).unwrap_or(WINDOW_TIME_MIN);
        let time = alone.saturating_mul(WINDOW_TIMES).clamp(WINDOW_TIME_MIN, WINDOW_TIME_MAX);
        let answered = (rate * time.as_secs_f64()).ceil().clamp(0.0, f64::from(WINDOW_MAX));
        // Between 0 and 1,024.
        (answered as u32).max(least).min(WINDOW_MAX)
    }

    /// Another call is under way.
    pub(super) fn began(&mut self, under_way: u32, now: Instant) {
        if under_way >= BUSY && self.busy.is_none() {
            self.busy = Some((now, 0));
        }
    }

    /// The core has answered a call after so long, with so many others when it began.
    pub(super) fn answered(&mut self, now: Instant, took: Duration, beside: u32) {
        if beside <= FEW {
            mix(&mut self.alone_secs, took.as_secs_f64());
        }
        if let Some((since, answers)) = &mut self.busy {
            *answers += 1;
            let span = now.saturating_duration_since(*since);
            if span >= SPAN_MIN && *answers >= ANSWERS_MIN {
                let found = f64::from(*answers) / span.as_secs_f64();
                mix(&mut self.rate, found);
                self.busy = Some((now, 0));
            }
        }
    }

    /// So many calls are under way yet. A span that ends too early to be counted for what it is says at least that the core is no slower.
    pub(super) fn left(&mut self, under_way: u32, now: Instant) {
        if under_way < BUSY
            && let Some((since, answers)) = self.busy.take()
            && answers >= ANSWERS_MIN
        {
            let found = f64::from(answers) / now.saturating_duration_since(since).max(SPAN_MIN).as_secs_f64();
            if self.rate.is_some_and(|rate| rate < found) {
                mix(&mut self.rate, found);
            }
        }
    }
}

fn mix(mean: &mut Option<f64>, found: f64) {
    let old = mean.unwrap_or(found);
    *mean = Some(old + (found - old) * NEW_PERCENT / 100.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learnt(rate: f64, alone_millis: u64, signatures: Option<u32>) -> Pace {
        let mut pace = Pace { rate: Some(rate), ..Pace::default() };
        pace.answered(Instant::now(), Duration::from_millis(alone_millis), 1);
        if let Some(signatures) = signatures {
            pace.signs_at_once(signatures);
        }
        pace
    }

    #[tokio::test]
    async fn the_window_is_what_the_core_answers_in_twice_the_time_of_a_call() {
        assert_eq!(learnt(200.0, 30, Some(4)).window(), 12);
        assert_eq!(learnt(2_000.0, 3, Some(4)).window(), 100, "for 50 ms at least");
        assert_eq!(learnt(200.0, 10_000, Some(4)).window(), 50, "and for 250 ms at most");
        assert_eq!(learnt(1e9, 3, Some(4)).window(), WINDOW_MAX);
        assert_eq!(Pace::default().window(), WINDOW_FIRST);
    }

    #[tokio::test]
    async fn no_rate_keeps_the_sessions_of_a_device_idle() {
        for rate in [0.0, 0.1, 1.0, f64::MIN_POSITIVE] {
            assert_eq!(learnt(rate, 3, Some(16)).window(), 34);
            assert_eq!(learnt(rate, 3, None).window(), WINDOW_MIN);
            assert_eq!(learnt(rate, 3, Some(u32::MAX)).window(), WINDOW_MAX);
            assert_eq!(learnt(rate, 3, Some(0)).window(), 4);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_teaches_no_rate_and_a_short_burst_that_the_core_is_no_slower() {
        let mut pace = Pace::default();
        pace.began(BUSY, Instant::now());
        tokio::time::advance(Duration::from_secs(2)).await;
        pace.answered(Instant::now(), Duration::from_secs(2), BUSY);
        assert_eq!(pace.rate, None, "one answer after a stall");
        pace.left(BUSY - 1, Instant::now());
        pace.rate = Some(0.1);
        pace.began(BUSY, Instant::now());
        for _ in 0..ANSWERS_MIN {
            pace.answered(Instant::now(), Duration::from_millis(1), BUSY);
        }
        pace.left(BUSY - 1, Instant::now());
        assert!(pace.rate.unwrap() > 20.0, "{:?}", pace.rate);
        let before = pace.rate;
        pace.began(BUSY, Instant::now());
        tokio::time::advance(Duration::from_secs(60)).await;
        pace.left(BUSY - 1, Instant::now());
        assert_eq!(pace.rate, before, "nothing was answered in it");
    }

    #[tokio::test]
    async fn only_what_has_the_core_by_itself_says_how_long_a_call_takes() {
        let mut pace = learnt(100.0, 40, Some(1));
        for beside in FEW + 1..BUSY {
            pace.answered(Instant::now(), Duration::from_secs(1), beside);
        }
        assert_eq!(pace.window(), 8);
    }
}
