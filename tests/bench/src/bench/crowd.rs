//! A good client beside a crowd of others, who do nothing or are slow.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdin, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use super::Bench;
use crate::{
    daemon::Daemon,
    key::Key,
    laboratory::Settings,
    load::Load,
    row::Row,
    table::thousands,
    target::Wanted::{Calls, P99},
};

/// How often the good client is measured without them and beside them, in turns; of each the median counts.
const TURNS: usize = 3;

/// Requests that the good client has under way.
const CLIENTS: u32 = 8;

/// The good client's p99 may grow by so much.
const GROWTH_MAX: f64 = 1.2;

/// Others, until this is dropped.
struct Crowd {
    child: Child,
    _stdin: ChildStdin,
}

impl Bench {
    pub(super) fn crowd(&mut self) -> Result<()> {
        let laboratory = self.laboratory("crowd", Settings::of(Key::EcdsaP256))?;
        let daemon = self.start(&laboratory, false)?;
        self.heading("A crowd");
        let row = |name: String| Row::new(name, Some(Key::EcdsaP256), Some(CLIENTS));
        let [idle, slow] = [self.arguments.crowd, self.arguments.slow()].map(|count| thousands(f64::from(count)));
        let beside = format!("beside {idle} idle and {slow} slow");
        let (mut alone, mut crowded) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            alone.push(self.measured(row("without a crowd".to_owned()), &daemon, &Load::of(CLIENTS), None)?);
            let crowd = self.gather(&daemon)?;
            crowded.push(self.measured(row(beside.clone()), &daemon, &Load::of(CLIENTS), None)?);
            drop(crowd);
        }
        let (alone, crowded) = (median(alone)?, median(crowded)?);
        let wanted = (alone.p99_ms.unwrap_or(0.0) * GROWTH_MAX * 10.0).round() / 10.0;
        self.add(alone);
        self.add(crowded.judged(&[P99(wanted), Calls(2.0)]));
        daemon.stop()
    }

    /// Connects the crowd: somebody whom no policy names.
    fn gather(&self, daemon: &Daemon<'_>) -> Result<Crowd> {
        self.tell("a crowd gathers");
        let file = |name: &str| daemon.laboratory.path(name);
        let mut child = Command::new(self.load_program())
            .args(["--signer", &format!("https://{}", daemon.address)])
            .args(["--idle", &self.arguments.crowd.to_string(), "--slow", &self.arguments.slow().to_string()])
            .arg("--ca")
            .arg(file("server-ca.pem"))
            .arg("--cert")
            .arg(file("stranger.pem"))
            .arg("--key")
            .arg(file("stranger.key"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("`hallmark-load` does not start: is it built?")?;
        let stdin = child.stdin.take().context("a pipe")?;
        let mut said = String::new();
        BufReader::new(child.stdout.take().context("a pipe")?).read_line(&mut said)?;
        let crowd = Crowd { child, _stdin: stdin };
        ensure!(said.trim() == "held", "the crowd did not gather:\n{}", daemon.log());
        Ok(crowd)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The one whose p99 lies in the middle.
fn median(mut rows: Vec<Row>) -> Result<Row> {
    rows.sort_by(|a, b| a.p99_ms.unwrap_or(f64::MAX).total_cmp(&b.p99_ms.unwrap_or(f64::MAX)));
    rows.into_iter().nth(TURNS / 2).context("the good client was measured")
}
