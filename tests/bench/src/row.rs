//! A row of the table, as `run/bench.json` has it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{key::Key, soak::Held, target::Wanted};

/// What was measured under one name; what does not apply is null.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Row {
    /// What was done.
    pub(crate) name: String,
    /// The kind of CA key.
    pub(crate) key: Option<&'static str>,
    /// Requests under way at a time.
    pub(crate) clients: Option<u32>,
    /// Certificates a second; signatures, commits or writes where the name says so.
    pub(crate) per_s: Option<f64>,
    /// Half took at most so long, in milliseconds.
    pub(crate) p50_ms: Option<f64>,
    /// 99 in a hundred took at most so long.
    pub(crate) p99_ms: Option<f64>,
    /// CPU time of front and core together.
    pub(crate) cpu_ms_per_certificate: Option<f64>,
    /// The rate in parts of what the device can do: C_SignInit and C_Sign by two threads, or sessions by latency.
    pub(crate) ratio_to_ceiling: Option<f64>,
    /// What is wanted, in words.
    pub(crate) target: Option<String>,
    /// Whether all of it was reached.
    pub(crate) met: Option<bool>,
    /// 90 in a hundred took at most so long.
    pub(crate) p90_ms: Option<f64>,
    /// The longest.
    pub(crate) max_ms: Option<f64>,
    /// CPU time of the process that serves callers.
    pub(crate) front_cpu_ms_per_certificate: Option<f64>,
    /// CPU time of the process with keys and ledger; of the only one where there is one.
    pub(crate) core_cpu_ms_per_certificate: Option<f64>,
    /// CPU time of the load generator.
    pub(crate) client_cpu_ms_per_certificate: Option<f64>,
    /// Calls of the PKCS #11 module.
    pub(crate) pkcs11_calls_per_certificate: Option<f64>,
    /// The same by function.
    pub(crate) pkcs11_calls: BTreeMap<String, u64>,
    /// Calls of fsync and fdatasync.
    pub(crate) fsyncs_per_certificate: Option<f64>,
    /// Resident memory of front and core before the daemon's first request, in megabytes (10^6 bytes).
    pub(crate) memory_idle_mb: Option<f64>,
    /// The most that they had since the daemon started.
    pub(crate) memory_peak_mb: Option<f64>,
    /// From the start of the daemon until it served; the median, where it was started several times for that.
    pub(crate) start_ms: Option<f64>,
    /// Certificates that came.
    pub(crate) certificates: Option<u64>,
    /// Requests without a certificate, by status code.
    pub(crate) errors: BTreeMap<String, u64>,
    /// 99 in a hundred of those that were refused were answered within this time, in milliseconds.
    pub(crate) refusal_p99_ms: Option<f64>,
    /// What front and core had after the row: resident memory in megabytes.
    pub(crate) memory_now_mb: Option<f64>,
    /// Their open file descriptors.
    pub(crate) handles: Option<u64>,
    /// Their threads.
    pub(crate) threads: Option<u64>,
    /// Files in the daemon's directories, but for those of the published log.
    pub(crate) files: Option<u64>,
    /// Whether requests without a certificate are what is expected.
    #[serde(skip)]
    pub(crate) is_overload: bool,
    /// What was wanted and not reached, for people.
    #[serde(skip)]
    pub(crate) missed: Vec<String>,
}

impl Row {
    /// Nothing yet.
    pub(crate) fn new(name: impl Into<String>, key: Option<Key>, clients: Option<u32>) -> Self {
        Self { name: name.into(), key: key.map(Key::name), clients, ..Self::default() }
    }

    /// Says what the daemon had afterwards.
    pub(crate) fn holding(self, held: Held) -> Self {
        let Held { memory_mb, handles, threads, files } = held;
        Self {
            // It is read a moment later, and memory may have grown since.
            memory_peak_mb: self.memory_peak_mb.map(|peak| peak.max(memory_mb)),
            memory_now_mb: Some(memory_mb),
            handles: Some(handles),
            threads: Some(threads),
            files: Some(files),
            ..self
        }
    }

    /// One of several that were measured in equally long parts: what is counted is added, and the rest the mean of the parts, but for what is the most.
    /// Nothing of none.
    pub(crate) fn mean(parts: Vec<Self>) -> Self {
        let Some(last) = parts.last().cloned() else { return Self::default() };
        let values = |of: fn(&Self) -> Option<f64>| parts.iter().map(of).collect::<Option<Vec<_>>>();
        let mean = |of: fn(&Self) -> Option<f64>| {
            values(of).map(|values| values.iter().sum::<f64>() / values.len().max(1) as f64)
        };
        let most = |of: fn(&Self) -> Option<f64>| values(of).map(|values| values.into_iter().fold(0.0, f64::max));
        let mut sum = Self::default();
        for part in &parts {
            sum.certificates = Some(sum.certificates.unwrap_or(0) + part.certificates.unwrap_or(0));
            part.errors.iter().for_each(|(code, count)| *sum.errors.entry(code.clone()).or_default() += count);
            part.pkcs11_calls
                .iter()
                .for_each(|(call, count)| *sum.pkcs11_calls.entry(call.clone()).or_default() += count);
        }
        Self {
            per_s: mean(|part| part.per_s),
            p50_ms: mean(|part| part.p50_ms),
            p90_ms: mean(|part| part.p90_ms),
            p99_ms: mean(|part| part.p99_ms),
            max_ms: most(|part| part.max_ms),
            cpu_ms_per_certificate: mean(|part| part.cpu_ms_per_certificate),
            front_cpu_ms_per_certificate: mean(|part| part.front_cpu_ms_per_certificate),
            core_cpu_ms_per_certificate: mean(|part| part.core_cpu_ms_per_certificate),
            client_cpu_ms_per_certificate: mean(|part| part.client_cpu_ms_per_certificate),
            pkcs11_calls_per_certificate: mean(|part| part.pkcs11_calls_per_certificate),
            fsyncs_per_certificate: mean(|part| part.fsyncs_per_certificate),
            memory_peak_mb: most(|part| part.memory_peak_mb),
            certificates: sum.certificates,
            errors: sum.errors,
            pkcs11_calls: sum.pkcs11_calls,
            ..last
        }
    }

    /// Says how the rate compares with this one.
    pub(crate) fn against(mut self, ceiling: f64) -> Self {
        self.ratio_to_ceiling = self.per_s.filter(|_| ceiling > 0.0).map(|rate| rate / ceiling);
        self
    }

    /// Judges it; a row of which nothing is wanted has no target.
    pub(crate) fn judged(mut self, wanted: &[Wanted]) -> Self {
        if wanted.is_empty() {
            return self;
        }
        let texts: Vec<_> = wanted.iter().map(Wanted::to_string).collect();
        self.target = Some(texts.join(", "));
        self.missed = wanted.iter().filter_map(|wanted| wanted.missed_by(&self)).collect();
        self.met = Some(self.missed.is_empty());
        self
    }

    /// What it is called where no heading says the key.
    pub(crate) fn title(&self) -> String {
        let clients = self.clients.map(|clients| format!("{clients} client{}", if clients == 1 { "" } else { "s" }));
        let parts = [self.key.map(ToOwned::to_owned), Some(self.name.clone()), clients];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_parts_what_is_counted_is_added_and_the_rest_their_mean() {
        let part = |per_s: f64, max_ms: f64, certificates: u64| Row {
            per_s: Some(per_s),
            max_ms: Some(max_ms),
            certificates: Some(certificates),
            errors: BTreeMap::from([("INTERNAL".to_owned(), certificates)]),
            ..Row::new("refresh", None, Some(64))
        };
        let row = Row::mean(vec![part(1.0, 9.0, 10), part(3.0, 7.0, 30)]);
        assert_eq!((row.per_s, row.max_ms, row.certificates, row.p50_ms), (Some(2.0), Some(9.0), Some(40), None));
        assert_eq!((row.errors.get("INTERNAL"), row.name.as_str(), row.clients), (Some(&40), "refresh", Some(64)));
        assert_eq!(Row::mean(Vec::new()).name, "");
    }
}
