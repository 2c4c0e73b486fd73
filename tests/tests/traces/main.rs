//! Traces of calls, from the real daemon to a receiver that reads them by others' definitions.

mod receiver;
mod says;
mod sends;
mod suffers;

use std::fs;

use hallmark_tests::{
    daemon::{Daemon, Laboratory, succeed},
    example_policy,
    metrics::Metrics,
};

/// Where the receiver is, in a laboratory.
const SOCKET: &str = "otlp.sock";

/// What a daemon with keys in files is started with.
const SOFTWARE: &[&str] = &["--allow-software-keys"];

/// A laboratory with keys in files whose calls are traced, with these settings beside the place.
fn laboratory(settings: &str) -> Laboratory {
    let laboratory = Laboratory::with_software_keys(&example_policy());
    trace(&laboratory, &format!("unix:{}", laboratory.text(SOCKET)), settings);
    laboratory
}

/// From its next start on, calls of this laboratory are traced.
fn trace(laboratory: &Laboratory, endpoint: &str, settings: &str) {
    let file = laboratory.path("signer.toml");
    let typed = fs::read_to_string(&file).unwrap();
    fs::write(file, format!("{typed}\n[traces]\nendpoint = {endpoint:?}\n{settings}\n")).unwrap();
}

/// What monitoring reads.
fn metrics(laboratory: &Laboratory, daemon: &Daemon) -> Metrics {
    Metrics::read(&succeed(laboratory.hallmark_operator(daemon).arg("metrics")))
}

/// How many spans came to this.
fn spans(laboratory: &Laboratory, daemon: &Daemon, outcome: &str) -> f64 {
    metrics(laboratory, daemon).sum("hallmark_trace_spans_total", &[("outcome", outcome)])
}
