//! What became of the spans of traces.

use std::collections::BTreeMap;

use hallmark_traces::{Spans, Traces};
use prometheus_client::{encoding::EncodeLabelSet, registry::Registry};

use super::shown::counters;
use crate::core::Inner;

/// What became of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EncodeLabelSet)]
struct OfOutcome {
    outcome: &'static str,
}

impl Inner {
    /// From 0 on, also where nothing is traced.
    pub(super) fn trace_metrics(&self, registry: &mut Registry) {
        let Spans { exported, dropped, failed } = self.traces.as_ref().map(Traces::spans).unwrap_or_default();
        let outcomes = [("exported", exported), ("dropped", dropped), ("failed", failed)];
        let spans: BTreeMap<_, _> = outcomes.map(|(outcome, count)| (OfOutcome { outcome }, count)).into();
        registry.register("trace_spans", "Spans of traced calls, by what became of them", counters(spans));
    }
}
