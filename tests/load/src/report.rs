//! What was measured, for people and for programs.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde_json::json;

/// What was measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    /// From the first request to the last answer.
    pub(crate) time: Duration,
    /// Connections.
    pub(crate) connections: u16,
    /// CPU time of this client meanwhile.
    pub(crate) client_cpu: Duration,
    /// CPU time of each process of the signer meanwhile, where they are known.
    pub(crate) signer_cpu: Vec<(u32, Duration)>,
    /// Failures by status code.
    pub(crate) errors: BTreeMap<&'static str, u64>,
    latencies: Vec<Duration>,
    refusals: Vec<Duration>,
}

impl Report {
    /// A certificate came.
    pub(crate) fn answered(&mut self, latency: Duration) {
        self.latencies.push(latency);
    }

    /// None came.
    pub(crate) fn failed(&mut self, code: &'static str) {
        *self.errors.entry(code).or_default() += 1;
    }

    /// None came, but an answer.
    pub(crate) fn refused(&mut self, code: &'static str, latency: Duration) {
        self.failed(code);
        self.refusals.push(latency);
    }

    /// Adds what another connection saw.
    pub(crate) fn add(&mut self, mut other: Self) {
        self.latencies.append(&mut other.latencies);
        self.refusals.append(&mut other.refusals);
        for (code, count) in other.errors {
            *self.errors.entry(code).or_default() += count;
        }
    }

    /// Certificates that came.
    pub(crate) fn minted(&self) -> usize {
        self.latencies.len()
    }

    /// All of it as JSON.
    pub(crate) fn to_json(&self) -> String {
        json!({
            "certificates": self.minted(),
            "seconds": self.time.as_secs_f64(),
            "connections": self.connections,
            "certificates_per_second": self.rate(),
            "latency_us": Latency::of(&self.latencies).to_json(),
            "refusal_latency_us": Latency::of(&self.refusals).to_json(),
            "signer_cpu_ms_per_certificate": self.signer_millis_each(),
            "processes": self.signer_cpu.iter().map(|(pid, cpu)| json!({
                "pid": pid,
                "cpu_ms_per_certificate": self.millis_each(*cpu),
            })).collect::<Vec<_>>(),
            "client_cpu_ms_per_certificate": self.millis_each(self.client_cpu),
            "errors": self.errors,
        })
        .to_string()
    }

    fn rate(&self) -> f64 {
        self.minted() as f64 / self.time.as_secs_f64().max(f64::EPSILON)
    }

    /// That of all processes together.
    fn signer_millis_each(&self) -> Option<f64> {
        let all = self.signer_cpu.iter().map(|(_, cpu)| *cpu).sum();
        (!self.signer_cpu.is_empty()).then(|| self.millis_each(all)).flatten()
    }

    fn millis_each(&self, cpu: Duration) -> Option<f64> {
        (self.minted() > 0).then(|| cpu.as_secs_f64() * 1_000.0 / self.minted() as f64)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Latency { p50, p90, p99, max } = Latency::of(&self.latencies);
        let millis = |time: Duration| time.as_secs_f64() * 1_000.0;
        writeln!(
            f,
            "{} certificates in {:.1} s over {} connections: {:.0} a second",
            self.minted(),
            self.time.as_secs_f64(),
            self.connections,
            self.rate()
        )?;
        write!(
            f,
            "latency: p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
            millis(p50),
            millis(p90),
            millis(p99),
            millis(max)
        )?;
        if let Some(each) = self.signer_millis_each() {
            write!(f, "\nsigner: {each:.3} ms of CPU a certificate")?;
        }
        if let Some(each) = self.millis_each(self.client_cpu) {
            write!(f, "\nclient: {each:.3} ms of CPU a certificate")?;
        }
        self.errors.iter().try_for_each(|(code, count)| write!(f, "\nfailed: {count} with {code}"))?;
        if self.refusals.is_empty() {
            return Ok(());
        }
        let Latency { p50, p99, max, .. } = Latency::of(&self.refusals);
        write!(f, "\nrefusals: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms", millis(p50), millis(p99), millis(max))
    }
}

/// How long answers took.
struct Latency {
    p50: Duration,
    p90: Duration,
    p99: Duration,
    max: Duration,
}

impl Latency {
    /// In microseconds.
    fn to_json(&self) -> serde_json::Value {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        json!({ "p50": micros(self.p50), "p90": micros(self.p90), "p99": micros(self.p99), "max": micros(self.max) })
    }

    fn of(latencies: &[Duration]) -> Self {
        let mut sorted = latencies.to_vec();
        sorted.sort_unstable();
        Self {
            p50: percentile(&sorted, 50),
            p90: percentile(&sorted, 90),
            p99: percentile(&sorted, 99),
            max: sorted.last().copied().unwrap_or_default(),
        }
    }
}

/// The smallest value that at least `percent` in a hundred do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(rank).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(latencies: impl IntoIterator<Item = u64>) -> Report {
        let mut report = Report { time: Duration::from_secs(2), connections: 4, ..Report::default() };
        latencies.into_iter().for_each(|millis| report.answered(Duration::from_millis(millis)));
        report
    }

    #[test]
    fn percentiles_are_of_the_sorted_latencies() {
        let Latency { p50, p90, p99, max } = Latency::of(&report((1..=100).rev()).latencies);
        assert_eq!([p50, p90, p99, max].map(|time| time.as_millis()), [50, 90, 99, 100]);
    }

    #[test]
    fn a_run_without_an_answer_is_reported_too() {
        let mut report = report([]);
        report.failed("UNAVAILABLE");
        report.failed("UNAVAILABLE");
        assert_eq!(
            report.to_string(),
            "0 certificates in 2.0 s over 4 connections: 0 a second\n\
             latency: p50 0.0 ms, p90 0.0 ms, p99 0.0 ms, max 0.0 ms\n\
             failed: 2 with UNAVAILABLE"
        );
    }

    #[test]
    fn refusals_have_latencies_of_their_own() {
        let mut report = report([3]);
        report.refused("RESOURCE_EXHAUSTED", Duration::from_millis(2));
        let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!([&json["latency_us"]["max"], &json["refusal_latency_us"]["max"]], [3_000, 2_000]);
        assert!(report.to_string().ends_with("\nrefusals: p50 2.0 ms, p99 2.0 ms, max 2.0 ms"));
    }

    #[test]
    fn cost_is_per_certificate() {
        let mut report = report(vec![3; 200]);
        report.signer_cpu = vec![(7, Duration::from_millis(50)), (8, Duration::from_millis(100))];
        report.client_cpu = Duration::from_millis(10);
        let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!(json["certificates_per_second"], 100.0);
        assert_eq!(json["signer_cpu_ms_per_certificate"], 0.75);
        assert_eq!(json["processes"][1], json!({ "pid": 8, "cpu_ms_per_certificate": 0.5 }));
        assert_eq!(json["client_cpu_ms_per_certificate"], 0.05);
        assert_eq!(json["latency_us"]["p99"], 3_000);
    }
}
