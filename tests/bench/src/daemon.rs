//! A daemon that runs, and what it costs.

use std::{
    fs,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    arguments::Scheduling,
    laboratory::Laboratory,
    memory::{self, Figure},
};

/// How long it may take until it serves, and until it has stopped.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often is looked whether it does.
const LOOK: Duration = Duration::from_millis(2);

/// How long it is left alone before its memory is looked at.
const REST: Duration = Duration::from_millis(500);

/// Lines of its log that are shown when it fails.
const LOG_LINES: usize = 20;

/// A daemon.
pub(crate) struct Daemon<'a> {
    pub(crate) laboratory: &'a Laboratory,
    child: Child,
    /// Address and port.
    pub(crate) address: String,
    /// The process with keys and ledger; the only one, if there is one.
    pub(crate) core: u32,
    /// The process that serves callers, if it is another.
    pub(crate) front: Option<u32>,
    /// From its start until it served.
    pub(crate) start: Duration,
    /// Memory before the first request, in megabytes.
    pub(crate) idle_mb: f64,
}

impl<'a> Daemon<'a> {
    /// Starts it, and waits until it serves.
    pub(crate) fn start(laboratory: &'a Laboratory, one_process: bool, scheduling: Scheduling) -> Result<Self> {
        let ready = laboratory.path("address");
        let _ = fs::remove_file(&ready);
        let mut command = laboratory.hallmarkd_by(scheduling);
        command.arg("run").arg(laboratory.path("signer.toml")).arg("--ready-file").arg(&ready);
        if one_process {
            command.arg("--one-process");
        }
        // The same module, so that it counts what the ledger writes, too.
        command.env("LD_PRELOAD", laboratory.device.module());
        let log = fs::File::create(laboratory.path("hallmarkd.log"))?;
        let began = Instant::now();
        let child = command
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("`chrt` of util-linux does not start `hallmarkd`")?;
        let core = child.id();
        let (front, start, address) = (None, Duration::ZERO, String::new());
        let mut daemon = Self { laboratory, child, address, core, front, start, idle_mb: 0.0 };
        daemon.address = daemon.await_address()?;
        daemon.start = began.elapsed();
        if !one_process {
            daemon.core = daemon.child_that(|words| words.first() == Some(&"core")).context("there is no core")?;
            let is_front = |words: &[&str]| words.first() == Some(&"front") && !words.contains(&"--operators");
            daemon.front = Some(daemon.child_that(is_front).context("there is no front")?);
        }
        thread::sleep(REST);
        daemon.idle_mb = memory::of(&daemon.processes(), Figure::Now)?;
        Ok(daemon)
    }

    /// Core and front.
    pub(crate) fn processes(&self) -> Vec<u32> {
        [Some(self.core), self.front].into_iter().flatten().collect()
    }

    /// The end of its log.
    pub(crate) fn log(&self) -> String {
        let log = fs::read_to_string(self.laboratory.path("hallmarkd.log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default().join("\n")
    }

    /// Stops it in order.
    pub(crate) fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a process has a number")?;
        kill_process(pid, Signal::TERM)?;
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(ended) = self.child.try_wait()? {
                anyhow::ensure!(ended.success(), "the daemon ended with {ended}:\n{}", self.log());
                return Ok(());
            }
            thread::sleep(LOOK);
        }
        bail!("the daemon does not stop:\n{}", self.log())
    }

    fn await_address(&mut self) -> Result<String> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let ready = fs::read_to_string(self.laboratory.path("address")).unwrap_or_default();
            if let [address, _operators] = ready.lines().collect::<Vec<_>>()[..] {
                return Ok(address.to_owned());
            }
            if let Some(ended) = self.child.try_wait()? {
                bail!("the daemon ended before it served, with {ended}:\n{}", self.log());
            }
            thread::sleep(LOOK);
        }
        bail!("the daemon does not serve:\n{}", self.log())
    }

    /// A child of the supervisor, by the words after its program's name.
    fn child_that(&self, is: impl Fn(&[&str]) -> bool) -> Option<u32> {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
        children.split_whitespace().filter_map(|child| child.parse().ok()).find(|child: &u32| {
            let line = fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap_or_default();
            is(&line.split('\0').skip(1).collect::<Vec<_>>())
        })
    }
}

impl Drop for Daemon<'_> {
    /// Where it was not stopped; its children end with it.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
