//! Histograms and tallies in the encoder's terms.

use std::{collections::BTreeMap, fmt, hash::Hash, time::Duration};

use hallmark_meter::Reading;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeMetric, LabelSetEncoder, MetricEncoder, NoLabelSet},
    metrics::{MetricType, counter::Counter, family::Family, gauge::Gauge},
};

/// Histograms of one name, by labels, as they were read.
#[derive(Debug)]
pub(super) struct Histograms<L> {
    readings: Vec<(L, Reading)>,
    /// What a value is in the unit that is shown.
    value: fn(u64) -> f64,
}

impl<L> Histograms<L> {
    /// Of durations: nanoseconds, shown as seconds.
    pub(super) fn of_durations(readings: impl IntoIterator<Item = (L, Reading)>) -> Self {
        let value = |nanos| Duration::from_nanos(nanos).as_secs_f64();
        Self { readings: readings.into_iter().collect(), value }
    }

    /// Of numbers of things.
    pub(super) fn of_counts(readings: impl IntoIterator<Item = (L, Reading)>) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "beyond 2^53 a sum may be off by one")]
        let value = |count| count as f64;
        Self { readings: readings.into_iter().collect(), value }
    }
}

impl<L: EncodeLabelSet> EncodeMetric for Histograms<L> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (labels, reading) in &self.readings {
            let bounds = reading.buckets.iter().map(|(bound, count)| ((self.value)(*bound), *count));
            let buckets: Vec<_> = bounds.chain([(f64::INFINITY, reading.above)]).collect();
            let mut one = encoder.encode_family(labels)?;
            one.encode_histogram::<NoLabelSet>((self.value)(reading.sum), reading.count(), &buckets, None)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// No labels.
#[derive(Debug)]
pub(super) struct Unlabelled;

impl EncodeLabelSet for Unlabelled {
    fn encode(&self, _: &mut LabelSetEncoder<'_>) -> fmt::Result {
        Ok(())
    }
}

/// Counters of one name, by labels.
pub(super) fn counters<L: Clone + Hash + Eq>(counts: BTreeMap<L, u64>) -> Family<L, Counter> {
    let family = Family::<L, Counter>::default();
    for (labels, count) in counts {
        family.get_or_create(&labels).inc_by(count);
    }
    family
}

/// A counter without labels.
pub(super) fn counter(count: u64) -> Counter {
    let counter = Counter::default();
    counter.inc_by(count);
    counter
}

/// A gauge without labels.
pub(super) fn gauge(value: i64) -> Gauge {
    let gauge = Gauge::default();
    gauge.set(value);
    gauge
}

/// A number of things as a gauge has it.
pub(super) fn number(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}
