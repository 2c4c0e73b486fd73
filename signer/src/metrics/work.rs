//! What came of calls, and how long each stage took.

use prometheus_client::{
    encoding::EncodeLabelSet,
    registry::{Registry, Unit},
};

use super::shown::{Histograms, counter, counters, gauge, number};
use crate::core::Inner;

/// Which stage.
#[derive(Clone, Debug, EncodeLabelSet)]
struct OfStage {
    stage: &'static str,
}

/// Which method.
#[derive(Clone, Debug, EncodeLabelSet)]
struct OfMethod {
    method: &'static str,
}

impl Inner {
    pub(super) fn work_metrics(&self, registry: &mut Registry) {
        let meters = &self.meters;
        let issued = counters(meters.issued.read());
        registry.register("certificates_issued", "Leaf certificates that were signed and answered", issued);
        registry.register(
            "certificates_repeated",
            "Requests that were answered with the certificate that an earlier call had got",
            counters(meters.repeated.read()),
        );
        registry.register(
            "requests_refused",
            "Calls that were not granted, each once by its first reason",
            counters(meters.refused.read()),
        );
        registry.register("calls", "Calls that reached the core, by gRPC status", counters(meters.calls.read()));
        registry.register("calls_under_way", "Calls that the core works on", gauge(number(self.calls_under_way())));
        let durations = meters.durations().map(|(method, reading)| (OfMethod { method: method.name() }, reading));
        registry.register_with_unit(
            "call_duration",
            "From a call's arrival in the core to its answer",
            Unit::Seconds,
            Histograms::of_durations(durations),
        );
        let stages = meters.stages().map(|(stage, reading)| (OfStage { stage: stage.name() }, reading));
        registry.register_with_unit(
            "stage_duration",
            "How long each stage of the order of events took",
            Unit::Seconds,
            Histograms::of_durations(stages),
        );
        let threads = self.keyring.threads();
        registry.register("key_queue_jobs", "Jobs that wait for a session", gauge(number(threads.waiting)));
        registry.register("key_uses", "Times that a private key was touched", counter(threads.key_uses));
    }
}
