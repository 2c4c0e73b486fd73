//! `hallmark log verify`, as auditors run it.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::synthetic;

/// How often the memory of the program is looked at; its high-water mark cannot be missed, but for the last moment.
const LOOK_MILLIS: u64 = 5;

/// Publishes a log, then verifies it three times.
pub(crate) fn measure(entries: u64, decision_every: u64) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let log = directory.path().join("log");
    let began = Instant::now();
    let published = synthetic::publish(&log, entries, decision_every)?;
    let (each, files) = (published.entries_bytes / entries, published.files_bytes / entries);
    println!(
        "published {entries} entries in {:.1} s: {each} bytes an entry, {files} with hashes",
        began.elapsed().as_secs_f64()
    );
    for _ in 0..3 {
        let (secs, peak_kib) = verify(&log)?;
        let rate = entries as f64 / secs;
        println!("verified in {secs:.2} s, {rate:.0} entries/s, {} MB of memory at most", peak_kib / 1_024);
    }
    Ok(())
}

/// Seconds, and the most memory in KiB.
fn verify(log: &std::path::Path) -> Result<(f64, u64)> {
    let program = std::env::current_exe()?.parent().context("a directory")?.join("hallmark");
    let key = synthetic::log_key()?.verifier().to_string();
    let began = Instant::now();
    let mut child = Command::new(program)
        .args(["--json", "log", "verify", "--no-state", "--key", &key])
        .arg(log)
        .stdout(Stdio::null())
        .spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    let ended = loop {
        if let Some(ended) = child.try_wait()? {
            break ended;
        }
        let text = fs::read_to_string(&status).unwrap_or_default();
        let mark = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let mark = mark.and_then(|mark| mark.trim().strip_suffix(" kB")).and_then(|kib| kib.parse().ok());
        peak_kib = peak_kib.max(mark.unwrap_or(0));
        thread::sleep(Duration::from_millis(LOOK_MILLIS));
    };
    ensure!(ended.success(), "the log does not verify: {ended}");
    Ok((began.elapsed().as_secs_f64(), peak_kib))
}
