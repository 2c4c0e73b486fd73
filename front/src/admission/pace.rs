//! How fast keys sign, and how many calls the core wants to have at a time for that.
//!
//! Only a call that a key had to do with teaches anything, by how many were signed while the core had it: in a queue, that divided by the time it took is
//! the rate, and never more than that. What the core answers without a key, refusals and repeated answers, is neither counted nor in the way: a caller
//! who asks for nothing else makes the device look neither slow nor fast. One whose time was over while it waited for a key counts as well: where no deadline is
//! long enough, nothing else would say that a device has become slower.

use std::time::Duration;

use tokio::time::Instant;

/// Signatures during one call with which the core had enough to do; or half of its window, where that is less.
pub(super) const BUSY: u32 = 16;

/// Shortest span over which calls are counted.
const SPAN_MIN: Duration = Duration::from_millis(100);

/// Fewest calls by which a rate is told: one after a stall says how long that was, and not how fast the core is.
const CALLS_MIN: u32 = 8;

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
    /// Signatures a second, once they were counted.
    pub(super) rate: Option<f64>,
    /// Calls for which a key signed; it wraps.
    signed: u32,
    /// What calls say with which the core had enough to do, late ones among them.
    busy: Sample,
    /// What the others say: at least so fast it is.
    quiet: Sample,
    /// Seconds that a call takes by itself.
    alone_secs: Option<f64>,
    signs_at_once: Option<u32>,
}

/// A call that the core has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stay {
    began: Instant,
    /// Calls that the core had when it began, with it.
    beside: u32,
    /// What had been signed before.
    signed: u32,
}

impl Stay {
    /// How long it lasts by now.
    pub(super) fn lasted(self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }
}

/// Some calls for which a key signed, or that waited for one until their time was over.
#[derive(Debug, Default)]
struct Sample {
    /// When the first one was answered. So what a stall held up is told once, however much it was.
    since: Option<Instant>,
    calls: u32,
    /// What was signed while the core had each, itself included, and how long that was; both summed up.
    signed: u32,
    took: Duration,
}

impl Pace {
    /// The core makes so many signatures at a time.
    pub(super) fn signs_at_once(&mut self, signatures: u32) {
        self.signs_at_once = Some(signatures.clamp(1, WINDOW_MAX));
    }

    /// How long so many calls take, if that can be told. Which of them a key will sign is not known before: each is taken for one.
    pub(super) fn time_for(&self, calls: u32) -> Option<Duration> {
        let secs = f64::from(calls) / self.rate?;
        Some(Duration::try_from_secs_f64(secs).unwrap_or(Duration::MAX))
    }

    /// How many calls the core has at a time. Each key session has one and the next one, so that no learnt rate, however wrong, keeps the
    /// device idle; what a core wants beyond that, to share commits and verify, is a matter of time.
    pub(super) fn window(&self) -> u32 {
        let Some(rate) = self.rate else { return WINDOW_FIRST };
        let least = self.signs_at_once.map_or(WINDOW_MIN, |signatures| signatures.saturating_mul(2).saturating_add(2));
        let time = self.alone().saturating_mul(WINDOW_TIMES).clamp(WINDOW_TIME_MIN, WINDOW_TIME_MAX);
        let answered = (rate * time.as_secs_f64()).ceil().clamp(0.0, f64::from(WINDOW_MAX));
        // Between 0 and 1,024.
        (answered as u32).max(least).min(WINDOW_MAX)
    }

    /// How long a call takes by itself.
    fn alone(&self) -> Duration {
        self.alone_secs.and_then(|secs| Duration::try_from_secs_f64(secs).ok()).unwrap_or(WINDOW_TIME_MIN)
    }

    /// A call goes to the core, which then has so many.
    pub(super) fn begins(&self, beside: u32, now: Instant) -> Stay {
        Stay { began: now, beside, signed: self.signed }
    }

    /// The core has answered this call, and a key signed for that.
    pub(super) fn signed(&mut self, stay: Stay, now: Instant) {
        self.signed = self.signed.wrapping_add(1);
        let took = stay.lasted(now);
        if stay.beside <= FEW {
            mix(&mut self.alone_secs, took.as_secs_f64());
        }
        let meanwhile = self.signed.wrapping_sub(stay.signed);
        // At least half of what the core has is waiting for keys: were it otherwise, the core and not the device would say how long this takes.
        let is_busy = meanwhile >= BUSY.min(self.window() / 2);
        let sample = if is_busy { &mut self.busy } else { &mut self.quiet };
        if let Some(found) = sample.add(meanwhile, took, now)
            && (is_busy || self.rate.is_some_and(|rate| rate < found))
        {
            mix(&mut self.rate, found);
        }
    }

    /// The core has refused this call, whose time was over while it waited for a key: the device is no faster than what it signed meanwhile, whoever was
    /// served. A call says nothing that was given less time than a busy device takes, nor one beside which keys had too little to do: who chooses deadlines
    /// that no device meets would make it look slow.
    pub(super) fn late(&mut self, stay: Stay, now: Instant) {
        let took = stay.lasted(now);
        let is_busy = stay.beside >= BUSY.min(self.window() / 2);
        if !is_busy || took < SPAN_MIN.max(self.alone().saturating_mul(WINDOW_TIMES)) {
            return;
        }
        let meanwhile = self.signed.wrapping_sub(stay.signed);
        if let Some(found) = self.busy.add(meanwhile, took, now) {
            mix(&mut self.rate, found);
        }
    }
}

impl Sample {
    /// Adds a call that took so long, during which so many were signed. Gives the rate and begins anew, once there is enough of them.
    fn add(&mut self, signed: u32, took: Duration, now: Instant) -> Option<f64> {
        let since = *self.since.get_or_insert(now);
        self.calls = self.calls.saturating_add(1);
        self.signed = self.signed.saturating_add(signed);
        self.took = self.took.saturating_add(took);
        let is_enough = self.calls >= CALLS_MIN && now.saturating_duration_since(since) >= SPAN_MIN;
        if !is_enough || self.took.is_zero() {
            return None;
        }
        let found = f64::from(self.signed) / self.took.as_secs_f64();
        *self = Self::default();
        Some(found)
    }
}

fn mix(mean: &mut Option<f64>, found: f64) {
    let old = mean.unwrap_or(found);
    *mean = Some(old + (found - old) * NEW_PERCENT / 100.0);
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    /// A call that had the core with so many others in this time, while so many were signed, itself included.
    async fn answer(pace: &mut Pace, beside: u32, signed: u32, took: Duration) {
        let stay =
            Stay { signed: pace.signed.wrapping_add(1).wrapping_sub(signed), ..pace.begins(beside, Instant::now()) };
        advance(took).await;
        pace.signed(stay, Instant::now());
    }

    fn learnt(rate: f64, alone_millis: u64, signatures: Option<u32>) -> Pace {
        let alone = Duration::from_millis(alone_millis);
        let mut pace = Pace { rate: Some(rate), alone_secs: Some(alone.as_secs_f64()), ..Pace::default() };
        if let Some(signatures) = signatures {
            pace.signs_at_once(signatures);
        }
        pace
    }

    #[test]
    fn the_window_is_what_the_core_answers_in_twice_the_time_of_a_call() {
        assert_eq!(learnt(200.0, 30, Some(4)).window(), 12);
        assert_eq!(learnt(2_000.0, 3, Some(4)).window(), 100, "for 50 ms at least");
        assert_eq!(learnt(200.0, 10_000, Some(4)).window(), 50, "and for 250 ms at most");
        assert_eq!(learnt(1e9, 3, Some(4)).window(), WINDOW_MAX);
        assert_eq!(Pace::default().window(), WINDOW_FIRST);
    }

    #[test]
    fn no_rate_keeps_the_sessions_of_a_device_idle() {
        for rate in [0.0, 0.1, 1.0, f64::MIN_POSITIVE] {
            assert_eq!(learnt(rate, 3, Some(16)).window(), 34);
            assert_eq!(learnt(rate, 3, None).window(), WINDOW_MIN);
            assert_eq!(learnt(rate, 3, Some(u32::MAX)).window(), WINDOW_MAX);
            assert_eq!(learnt(rate, 3, Some(0)).window(), 4);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_call_after_a_stall_teaches_no_rate_and_neither_does_what_leaves_the_core_idle() {
        const SECOND: Duration = Duration::from_secs(1);
        let mut pace = Pace::default();
        for _ in 1..CALLS_MIN {
            answer(&mut pace, 64, 64, 2 * SECOND).await;
        }
        assert_eq!(pace.rate, None, "too few");
        let mut pace = Pace::default();
        for _ in 0..100 {
            answer(&mut pace, 64, BUSY - 1, SECOND).await;
        }
        assert_eq!(pace.rate, None, "whatever was with the core beside them");
        let mut pace = learnt(200.0, 20, Some(4));
        for _ in 0..100 {
            answer(&mut pace, 64, 4, SECOND).await;
        }
        assert_eq!(pace.rate, Some(200.0), "the window has 10");
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_wait_for_one_another_tell_the_rate_and_others_that_it_is_no_lower() {
        let mut pace = learnt(200.0, 20, Some(4));
        for _ in 0..200 {
            answer(&mut pace, 10, 10, Duration::from_millis(500)).await;
        }
        assert!(pace.rate.is_some_and(|rate| (20.0..25.0).contains(&rate)), "{:?}", pace.rate);
        let mut pace = learnt(1.0, 20, Some(4));
        for _ in 0..100 {
            answer(&mut pace, 10, 1, Duration::from_millis(20)).await;
        }
        let rate = pace.rate;
        assert!(rate.is_some_and(|rate| (40.0..=50.0).contains(&rate)), "{rate:?}");
        for _ in 0..100 {
            answer(&mut pace, 10, 1, Duration::from_secs(20)).await;
        }
        assert!(pace.rate >= rate, "who is alone and slow says nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_has_the_core_by_itself_says_how_long_a_call_takes() {
        let mut pace = learnt(100.0, 40, Some(1));
        for beside in FEW + 1..BUSY {
            answer(&mut pace, beside, 1, Duration::from_secs(1)).await;
        }
        assert_eq!(pace.window(), 8);
    }
}
