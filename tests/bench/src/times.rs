//! Percentiles of what was taken.

use std::time::Duration;

use crate::row::Row;

/// What each took, in any order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times(pub(crate) Vec<Duration>);

impl Times {
    /// Puts rate and percentiles into a row; `over` is how long all of it took.
    pub(crate) fn put_into(mut self, row: Row, over: Duration) -> Row {
        self.0.sort_unstable();
        Row {
            per_s: Some(self.0.len() as f64 / over.as_secs_f64().max(f64::EPSILON)),
            p50_ms: Some(self.percentile(50)),
            p90_ms: Some(self.percentile(90)),
            p99_ms: Some(self.percentile(99)),
            max_ms: Some(self.percentile(100)),
            ..row
        }
    }

    /// The smallest that at least `percent` in a hundred do not exceed, in milliseconds; they are sorted.
    fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).saturating_sub(1);
        self.0.get(rank).copied().unwrap_or_default().as_secs_f64() * 1e3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let times = Times((1..=100).rev().map(Duration::from_millis).collect());
        let row = times.put_into(Row::default(), Duration::from_secs(2));
        let found = [row.per_s, row.p50_ms, row.p90_ms, row.p99_ms, row.max_ms].map(Option::unwrap);
        assert_eq!(found, [50.0, 50.0, 90.0, 99.0, 100.0]);
    }
}
