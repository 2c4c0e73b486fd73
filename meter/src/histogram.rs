//! How often a value lay below which bound.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Bounds for durations, in nanoseconds: 10 us to 10 s, about half as much again each time. A signature of a token lies in the middle.
pub const DURATIONS: &[u64] = &[
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// Bounds for numbers of things.
pub const COUNTS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256];

/// How often a value lay below which bound, and the sum of all.
///
/// An observation is two atomic additions. Who reads meanwhile may see the one and not the other yet.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One for each bound, and one for what lies above the last.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// What a histogram held when it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Each bound, with how many values lay at or below it and above the one before.
    pub buckets: Vec<(u64, u64)>,
    /// How many lay above the last bound.
    pub above: u64,
    /// The sum of all values.
    pub sum: u64,
}

impl Histogram {
    /// An empty one with these upper bounds, which ascend.
    #[must_use]
    pub fn new(bounds: &'static [u64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum: AtomicU64::new(0) }
    }

    /// One for durations, in nanoseconds.
    #[must_use]
    pub fn of_durations() -> Self {
        Self::new(DURATIONS)
    }

    /// Counts a value.
    pub fn observe(&self, value: u64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Counts a duration, in nanoseconds.
    pub fn observe_duration(&self, duration: Duration) {
        self.observe(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// What it holds.
    #[must_use]
    pub fn read(&self) -> Reading {
        let mut counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets = self.bounds.iter().copied().zip(counts.by_ref()).collect();
        Reading { buckets, above: counts.next().unwrap_or(0), sum: self.sum.load(Ordering::Relaxed) }
    }
}

impl Reading {
    /// How many values there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum::<u64>() + self.above
    }
}

#[cfg(test)]
mod tests {
    use std::{hint::black_box, time::Instant};

    use super::*;

    #[test]
    fn a_value_counts_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let histogram = Histogram::new(&[1, 2, 4]);
        [0, 1, 2, 3, 4, 5, 100].into_iter().for_each(|value| histogram.observe(value));
        let reading = histogram.read();
        assert_eq!(reading, Reading { buckets: vec![(1, 2), (2, 1), (4, 2)], above: 2, sum: 115 });
        assert_eq!(reading.count(), 7);
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let histogram = Histogram::of_durations();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| histogram.observe_duration(Duration::from_micros(30))));
            }
        });
        let reading = histogram.read();
        assert_eq!((reading.count(), reading.sum), (40_000, 40_000 * 30_000));
        assert!(reading.buckets.contains(&(50_000, 40_000)));
    }

    #[test]
    fn bounds_ascend() {
        for bounds in [DURATIONS, COUNTS] {
            assert!(bounds.is_sorted_by(|a, b| a < b));
        }
    }

    /// What a certificate costs in all is this, a dozen times, with a look at the clock each time: far below a microsecond in a release build.
    #[test]
    fn an_observation_costs_far_less_than_a_microsecond() {
        const TIMES: u32 = 100_000;
        let histogram = Histogram::of_durations();
        let fastest = (0..5).map(|_| {
            let began = Instant::now();
            (0..TIMES).for_each(|at| histogram.observe(black_box(u64::from(at) * 40)));
            began.elapsed() / TIMES
        });
        let fastest = fastest.min().unwrap();
        assert!(fastest < Duration::from_micros(1), "{fastest:?}");
    }
}
