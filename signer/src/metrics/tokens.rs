//! How the tokens (or the directory) stand. No device is asked.

use hallmark_backends::{DEVICE_LOG_FINDINGS, DeviceLogFindings};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::shown::{Histograms, counters, number};
use crate::core::Inner;

/// Which token.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfToken {
    token: String,
}

/// Which error of which token.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfError {
    token: String,
    code: String,
}

/// What was found in a device's own command log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EncodeLabelSet)]
struct OfFinding {
    finding: &'static str,
}

impl Inner {
    pub(super) fn token_metrics(&self, registry: &mut Registry) {
        let [serves, sessions, hanging, keys] = [(); 4].map(|()| Family::<OfToken, Gauge>::default());
        let [signatures, failures] = [(); 2].map(|()| Family::<OfToken, Counter>::default());
        let errors = Family::<OfError, Counter>::default();
        let mut took = Vec::new();
        for token in self.keyring.tokens() {
            let of = OfToken { token: token.name };
            serves.get_or_create(&of).set(token.away.is_none().into());
            sessions.get_or_create(&of).set(number(token.sessions));
            hanging.get_or_create(&of).set(number(token.hanging));
            keys.get_or_create(&of).set(number(token.keys));
            signatures.get_or_create(&of).inc_by(token.signatures);
            failures.get_or_create(&of).inc_by(token.failures);
            for (code, count) in token.errors {
                errors.get_or_create(&OfError { token: of.token.clone(), code }).inc_by(count);
            }
            took.push((of, token.took));
        }
        registry.register(
            "token_serves",
            "Whether a token signs: 0 while it is away, or out until the next start",
            serves,
        );
        registry.register("token_sessions", "Signing sessions of a token", sessions);
        registry.register("token_hanging", "Sessions of a token whose calls hang", hanging);
        registry.register("token_keys", "Open keys that a token has, checked", keys);
        registry.register("token_signatures", "Signatures that a token gave, each verified", signatures);
        registry.register("token_failures", "Jobs that a token failed", failures);
        registry.register(
            "token_errors",
            "What a token answered instead of a signature, by CKR code: each try, also where the next went well",
            errors,
        );
        registry.register_with_unit(
            "token_sign_duration",
            "How long a token took for a signature, or to fail",
            Unit::Seconds,
            Histograms::of_durations(took),
        );
        let found = self.device_log.as_ref().map(DeviceLogFindings::counts).unwrap_or_default();
        let count = |finding: &str| found.get(finding).copied().unwrap_or_default();
        registry.register(
            "device_log_findings",
            "What was found in a YubiHSM's own command log; 0 with every other device",
            counters(DEVICE_LOG_FINDINGS.into_iter().map(|finding| (OfFinding { finding }, count(finding))).collect()),
        );
    }
}
