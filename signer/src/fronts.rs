//! What fronts count, as they tell it. A front may be in somebody else's hands: nothing is taken from it but numbers, under names that stand
//! here and in `proto`, and only under that of the door through which it came. What it tells may go back, since it begins anew with its process.

use std::{
    fmt,
    sync::{Mutex, PoisonError, atomic::AtomicU64},
    time::{Duration, Instant},
};

use hallmark_proto::{
    counts::{REASONS, URGENCIES, WAIT_BOUNDS_MILLIS},
    link::{FrontCounts, WaitCounts},
};
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use crate::core::Core;

/// Through which door a front comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrontDoor {
    /// That of callers.
    Callers,
    /// That of operators.
    Operators,
}

/// What was told last through each door.
#[derive(Debug, Default)]
pub(crate) struct Fronts {
    callers: Mutex<Option<(Instant, FrontCounts)>>,
    operators: Mutex<Option<(Instant, FrontCounts)>>,
}

/// How old what a front has told may be until it says nothing any more of what is now: it tells once a second.
const NOW_MAX: Duration = Duration::from_secs(5);

/// Which front.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfFront {
    front: &'static str,
}

/// Which reason of a front's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfReason {
    front: &'static str,
    reason: &'static str,
}

/// Which calls of a front.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfUrgency {
    front: &'static str,
    urgency: &'static str,
}

/// How long calls waited.
#[derive(Debug, Default)]
struct Waits(Vec<(OfUrgency, WaitCounts)>);

impl Core {
    /// Takes what the front behind this door has counted since it began.
    pub fn front_counted(&self, door: FrontDoor, counts: FrontCounts) {
        let told = match door {
            FrontDoor::Callers => &self.inner.fronts.callers,
            FrontDoor::Operators => &self.inner.fronts.operators,
        };
        *told.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), counts));
    }
}

impl Fronts {
    /// Puts it among the metrics.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let told = [("callers", &self.callers), ("operators", &self.operators)];
        let told: Vec<_> = told
            .into_iter()
            .filter_map(|(front, told)| Some((front, told.lock().unwrap_or_else(PoisonError::into_inner).clone()?)))
            .collect();
        for (name, help, value) in COUNTERS {
            let family = Family::<OfFront, Counter>::default();
            for (front, (_, counts)) in &told {
                family.get_or_create(&OfFront { front }).inc_by(value(counts));
            }
            registry.register(name, help, family);
        }
        let turned_away = Family::<OfReason, Counter>::default();
        let connections = Family::<OfFront, Gauge>::default();
        let ages = Family::<OfFront, Gauge<f64, AtomicU64>>::default();
        let (waiting, mut waits) = (Family::<OfUrgency, Gauge>::default(), Waits::default());
        for (front, (at, counts)) in told {
            ages.get_or_create(&OfFront { front }).set(at.elapsed().as_secs_f64());
            let is_of_now = at.elapsed() <= NOW_MAX;
            if is_of_now {
                connections.get_or_create(&OfFront { front }).set(gauge(counts.connections));
            }
            for (reason, count) in REASONS.into_iter().zip(counts.turned_away) {
                turned_away.get_or_create(&OfReason { front, reason }).inc_by(count);
            }
            for (urgency, wait) in URGENCIES.into_iter().zip(counts.waits) {
                let of = OfUrgency { front, urgency };
                if is_of_now {
                    waiting.get_or_create(&of).set(gauge(wait.waiting));
                }
                waits.0.push((of, wait));
            }
        }
        registry.register_with_unit("front_told_age", "Time since a front told what it counts", Unit::Seconds, ages);
        registry.register("front_connections", "Authenticated connections of a front", connections);
        registry.register("front_turned_away", "Calls that a front answered itself, by reason", turned_away);
        registry.register("front_calls_waiting", "Mints that wait for the core in a front, by urgency", waiting);
        let help = "How long mints that had to wait for the core did so in a front, by urgency";
        registry.register_with_unit("front_wait", help, Unit::Seconds, waits);
    }
}

/// A counter's name and meaning, and where it stands.
type Told = (&'static str, &'static str, fn(&FrontCounts) -> u64);

const COUNTERS: [Told; 12] = [
    ("front_connections_accepted", "Connections of a front with a finished handshake", |it| it.connections_accepted),
    ("front_connections_refused", "Connections closed and handshakes broken off at a limit", |it| {
        it.connections_refused
    }),
    ("front_connections_dismissed", "Connections ended since their callers are admitted no longer", |it| {
        it.connections_dismissed
    }),
    ("front_connections_gave_way", "Idle connections that were told to leave for others", |it| it.connections_gave_way),
    ("front_connections_too_slow", "Connections ended since their peers were too slow", |it| it.connections_too_slow),
    ("front_handshakes_failed", "Handshakes that failed", |it| it.handshakes_failed),
    ("front_requests", "Requests on authenticated connections", |it| it.requests),
    ("front_answered_late", "Calls whose deadline passed while the core had them", |it| it.answered_late),
    ("front_core_away", "Calls that the core gave no readable answer to", |it| it.core_away),
    ("front_reloads", "Times that changed TLS files came into force", |it| it.reloads),
    ("front_reloads_failed", "Times that changed TLS files could not be used", |it| it.reloads_failed),
    ("front_went_at_once", "Mints that went to the core without waiting", |it| it.went_at_once),
];

fn gauge(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl EncodeMetric for Waits {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let bounds = WAIT_BOUNDS_MILLIS.into_iter().map(|millis| millis as f64 / 1e3).chain([f64::INFINITY]);
        for (of, wait) in &self.0 {
            let waited = wait.waited.iter().copied().chain(std::iter::repeat(0));
            let buckets: Vec<_> = bounds.clone().zip(waited).collect();
            // Whatever is told, nothing overflows.
            let count = buckets.iter().fold(0, |sum: u64, (_, count)| sum.saturating_add(*count));
            if count == u64::MAX {
                continue;
            }
            let secs = wait.waited_micros as f64 / 1e6;
            encoder.encode_family(of)?.encode_histogram::<NoLabelSet>(secs, count, &buckets, None)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    fn text(counts: FrontCounts) -> String {
        let fronts = Fronts { operators: Mutex::new(Some((Instant::now(), counts))), ..Fronts::default() };
        let mut registry = Registry::with_prefix("hallmark");
        fronts.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn numbers_of_a_front_stand_under_the_name_of_its_door() {
        let wait = WaitCounts { waiting: 3, waited: vec![1, 2], waited_micros: 2_500 };
        let text = text(FrontCounts {
            requests: 7,
            turned_away: vec![4],
            waits: vec![wait],
            connections: 2,
            ..FrontCounts::default()
        });
        for line in [
            "hallmark_front_requests_total{front=\"operators\"} 7",
            "hallmark_front_connections{front=\"operators\"} 2",
            "hallmark_front_turned_away_total{front=\"operators\",reason=\"MESSAGE_TOO_LARGE\"} 4",
            "hallmark_front_calls_waiting{front=\"operators\",urgency=\"nearly-expired\"} 3",
            "hallmark_front_wait_seconds_sum{front=\"operators\",urgency=\"nearly-expired\"} 0.0025",
            "hallmark_front_wait_seconds_count{front=\"operators\",urgency=\"nearly-expired\"} 3",
            "hallmark_front_wait_seconds_bucket{le=\"0.001\",front=\"operators\",urgency=\"nearly-expired\"} 1",
            "hallmark_front_wait_seconds_bucket{le=\"+Inf\",front=\"operators\",urgency=\"nearly-expired\"} 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("front=\"callers\""), "nothing was told through that door");
    }

    #[test]
    fn a_front_that_tells_nonsense_fills_its_own_numbers_and_no_more() {
        let wait = WaitCounts { waiting: u64::MAX, waited: vec![u64::MAX; 1_000], waited_micros: u64::MAX };
        let text = text(FrontCounts {
            requests: u64::MAX,
            turned_away: vec![u64::MAX; 1_000],
            waits: vec![wait; 1_000],
            ..FrontCounts::default()
        });
        assert!(text.lines().count() < 100, "{text}");
    }
}
