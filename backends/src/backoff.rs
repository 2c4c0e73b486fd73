//! How long to leave something alone that failed: longer each time, bounded, and never all at the same moment.

use std::time::{Duration, Instant};

use aws_lc_rs::rand;

/// Doubles a pause with each failure, from a first to a longest one. Each pause is shortened by a random part, at most
/// half of it, so that those who wait do not come back together.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, failures: 0, until: None }
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
        self.until = None;
    }

    /// The pause begins, or begins again.
    pub(crate) fn failed(&mut self, now: Instant) {
        let doubled = 2_u32.saturating_pow(self.failures);
        let pause = self.first.saturating_mul(doubled).min(self.most);
        self.failures = self.failures.saturating_add(1);
        self.until = Some(now + about(pause));
    }

    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.left(now).is_none()
    }

    /// How long the pause still is.
    pub(crate) fn left(&self, now: Instant) -> Option<Duration> {
        self.until?.checked_duration_since(now).filter(|left| !left.is_zero())
    }
}

/// A time, shortened by a random part, at most half of it.
pub(crate) fn about(time: Duration) -> Duration {
    time.mul_f64(1.0 - jitter() / 2.0)
}

/// From 0.0 to 1.0. A system that gives no random numbers gives no jitter; the pauses stay bounded.
fn jitter() -> f64 {
    let mut random = [0; 2];
    if rand::fill(&mut random).is_err() {
        return 0.0;
    }
    f64::from(u16::from_be_bytes(random)) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_differ_and_end_with_a_success() {
        let (first, most) = (Duration::from_millis(100), Duration::from_secs(1));
        let now = Instant::now();
        let mut backoff = Backoff::new(first, most);
        assert!(backoff.is_due(now));
        for longest in [100, 200, 400, 800, 1_000, 1_000] {
            backoff.failed(now);
            let left = backoff.left(now).unwrap();
            let longest = Duration::from_millis(longest);
            assert!(left <= longest && left >= longest / 2, "{left:?} of {longest:?}");
            assert!(backoff.is_due(now + longest));
        }
        let pauses: std::collections::BTreeSet<_> = (0..16)
            .map(|_| {
                backoff.failed(now);
                backoff.left(now)
            })
            .collect();
        assert!(pauses.len() > 1, "all of them are {pauses:?}");
        backoff.reset();
        assert!(backoff.is_due(now));
    }
}
