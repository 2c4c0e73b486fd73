//! `hallmark-load`, run against a daemon.

use std::{collections::BTreeMap, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use hallmark_faulty::Counts;
use serde::Deserialize;

use crate::{
    daemon::Daemon,
    memory::{self, Figure},
    row::Row,
};

/// How a daemon is warmed: enough at a time for every session.
const WARMING_CONNECTIONS: u32 = 64;
const WARMING_REQUESTS: &str = "256";
const WARMING_SECONDS_MAX: u32 = 60;

/// How to ask.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// Connections.
    pub(crate) connections: u32,
    /// Further arguments of `hallmark-load`.
    pub(crate) options: Vec<String>,
}

impl Load {
    /// So many connections, each with one request under way.
    pub(crate) fn of(connections: u32) -> Self {
        Self { connections, options: Vec::new() }
    }

    /// With further arguments.
    pub(crate) fn with(self, options: &[&str]) -> Self {
        Self { options: options.iter().map(|&option| option.to_owned()).collect(), ..self }
    }

    /// Asks a daemon that has just been started, so that what is done once for each of its sessions is done.
    pub(crate) fn warm(program: &Path, daemon: &Daemon<'_>) -> Result<()> {
        let options: &[&str] = if daemon.laboratory.instances {
            &["--register", "--csrs", WARMING_REQUESTS]
        } else {
            &["--csrs", "16", "--count", WARMING_REQUESTS]
        };
        let load = Self::of(WARMING_CONNECTIONS).with(options);
        let row = load.measure(program, daemon, WARMING_SECONDS_MAX, Row::default())?;
        ensure!(row.errors.is_empty(), "the daemon does not certify: {:?}\n{}", row.errors, daemon.log());
        Ok(())
    }

    /// Asks for so many seconds, and fills the row.
    pub(crate) fn measure(&self, program: &Path, daemon: &Daemon<'_>, seconds: u32, row: Row) -> Result<Row> {
        let file = |name: &str| daemon.laboratory.path(name);
        let device = &daemon.laboratory.device;
        let mut command = Command::new(program);
        command
            .args(["--json", "--signer", &format!("https://{}", daemon.address)])
            .args(["--seconds", &seconds.to_string(), "--connections", &self.connections.to_string()])
            .args(&self.options)
            .arg("--ca")
            .arg(file("server-ca.pem"))
            .arg("--cert")
            .arg(file("coordinator.pem"))
            .arg("--key")
            .arg(file("coordinator.key"));
        for process in daemon.processes() {
            command.args(["--pid", &process.to_string()]);
        }
        let (calls, syncs) = (device.counts(), device.syncs());
        let output =
            command.output().with_context(|| format!("`{}` does not start: is it built?", program.display()))?;
        let calls = device.counts().since(&calls);
        let syncs = device.syncs() - syncs;
        // It says what it measured also where requests failed.
        let answer: Answer = serde_json::from_slice(&output.stdout).with_context(|| {
            let error = String::from_utf8_lossy(&output.stderr);
            format!("`hallmark-load` measured nothing:\n{error}{}", daemon.log())
        })?;
        answer.fill(row, daemon, &calls, syncs)
    }
}

/// What it answers.
#[derive(Debug, Deserialize)]
struct Answer {
    certificates: u64,
    certificates_per_second: f64,
    latency_us: Latency,
    refusal_latency_us: Latency,
    signer_cpu_ms_per_certificate: Option<f64>,
    client_cpu_ms_per_certificate: Option<f64>,
    processes: Vec<Process>,
    errors: BTreeMap<String, u64>,
}

#[derive(Debug, Deserialize)]
struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

#[derive(Debug, Deserialize)]
struct Process {
    pid: u32,
    cpu_ms_per_certificate: Option<f64>,
}

impl Answer {
    fn fill(self, row: Row, daemon: &Daemon<'_>, calls: &Counts, syncs: u64) -> Result<Row> {
        let each = |count: u64| (self.certificates > 0).then(|| count as f64 / self.certificates as f64);
        let cpu = |pid| self.processes.iter().find(|process| process.pid == pid)?.cpu_ms_per_certificate;
        Ok(Row {
            per_s: Some(self.certificates_per_second),
            p50_ms: Some(self.latency_us.p50 / 1e3),
            p90_ms: Some(self.latency_us.p90 / 1e3),
            p99_ms: Some(self.latency_us.p99 / 1e3),
            max_ms: Some(self.latency_us.max / 1e3),
            cpu_ms_per_certificate: self.signer_cpu_ms_per_certificate,
            front_cpu_ms_per_certificate: daemon.front.and_then(cpu),
            core_cpu_ms_per_certificate: cpu(daemon.core),
            client_cpu_ms_per_certificate: self.client_cpu_ms_per_certificate,
            pkcs11_calls_per_certificate: each(calls.0.values().sum()),
            pkcs11_calls: calls.0.iter().map(|(function, calls)| (function.to_string(), *calls)).collect(),
            fsyncs_per_certificate: each(syncs),
            memory_idle_mb: Some(daemon.idle_mb),
            memory_peak_mb: Some(memory::of(&daemon.processes(), Figure::Most)?),
            start_ms: row.start_ms.or(Some(daemon.start.as_secs_f64() * 1e3)),
            certificates: Some(self.certificates),
            refusal_p99_ms: (!self.errors.is_empty()).then_some(self.refusal_latency_us.p99 / 1e3),
            errors: self.errors,
            ..row
        })
    }
}
