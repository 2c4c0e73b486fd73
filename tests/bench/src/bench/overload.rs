//! Ten times as many requests as a device can sign: who is taken hears in time, who is not hears soon, memory does not grow meanwhile, and
//! a moment later it is as if nothing had been.

use std::time::Duration;

use anyhow::Result;

use super::{Bench, MEMORY_GROWTH_MAX, SESSIONS};
use crate::{
    daemon::Daemon,
    key::Key,
    laboratory::Settings,
    load::Load,
    row::Row,
    soak::Held,
    table::thousands,
    target::Wanted::{MemoryNow, P50, P99, Ratio, Refusal},
};

/// What each signature takes, of as many at a time as there are sessions.
const LATENCY: Duration = Duration::from_millis(20);

/// How many are asked for a second, over how many connections, and how long each of their callers waits.
const OFFERED_PER_S: u32 = 2_000;
const CONNECTIONS: u32 = 64;
const DEADLINE_MS: u32 = 1_000;

/// A part of the time that is judged. What is kept on purpose is there after it: memory is compared with what it was then.
const WARM_PART: u32 = 4;

/// What is left of it so long after is looked at.
const AFTERWARDS: Duration = Duration::from_secs(1);

/// What a single client waits then may be so many times what it waited before: two runs on a machine that does nothing else differ by a fifth.
const NORMAL_MAX: f64 = 1.25;

impl Bench {
    pub(super) fn overload(&mut self) -> Result<()> {
        let ceiling = SESSIONS as f64 / LATENCY.as_secs_f64();
        let laboratory = self.laboratory("overload", Settings::of(Key::EcdsaP256))?;
        laboratory.device.pace(LATENCY, SESSIONS);
        let daemon = self.start(&laboratory, false)?;
        self.heading(&format!("{} ms, {SESSIONS} sessions", LATENCY.as_millis()));
        let row = |name: &str| Row::new(name, Some(Key::EcdsaP256), Some(1));
        let before = self.measured(row("before overload"), &daemon, &Load::of(1), Some(ceiling))?;
        self.add(before.clone());

        let seconds = self.arguments.overload_seconds();
        let (first, warm) = self.offer(&daemon, seconds.div_ceil(WARM_PART), ceiling)?;
        self.add(first);
        let (overloaded, _) = self.offer(&daemon, seconds, ceiling)?;
        let flat = MemoryNow(warm.memory_mb * MEMORY_GROWTH_MAX);
        self.add(overloaded.judged(&[Ratio(0.9), P99(f64::from(DEADLINE_MS)), Refusal(5.0), flat]));

        std::thread::sleep(AFTERWARDS);
        let after = self.measured(row("1 s after overload"), &daemon, &Load::of(1), Some(ceiling))?;
        let normal = |millis: Option<f64>| (millis.unwrap_or(0.0) * NORMAL_MAX * 10.0).round() / 10.0;
        self.add(after.judged(&[P50(normal(before.p50_ms)), P99(normal(before.p99_ms))]));
        daemon.stop()
    }

    /// Asks for too much for so many seconds; what the daemon held when it was over comes with the row.
    fn offer(&self, daemon: &Daemon<'_>, seconds: u32, ceiling: f64) -> Result<(Row, Held)> {
        let name = format!("{}/s offered for {seconds} s", thousands(f64::from(OFFERED_PER_S)));
        self.tell(&name);
        let (rate, deadline) = (OFFERED_PER_S.to_string(), DEADLINE_MS.to_string());
        let load = Load::of(CONNECTIONS).with(&["--rate", &rate, "--deadline", &deadline]);
        let row = Row { is_overload: true, ..Row::new(name, Some(Key::EcdsaP256), None) };
        let row = load.measure(&self.load_program(), daemon, seconds, row)?.against(ceiling);
        let held = Held::by(daemon)?;
        Ok((row.holding(held), held))
    }
}
