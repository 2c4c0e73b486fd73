//! The parts of the table, in their order.

mod crowd;
mod overload;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use tempfile::TempDir;

use crate::{
    arguments::{BenchArguments, Part, Scheduling},
    ceiling::{self, Ceiling},
    commits,
    daemon::Daemon,
    disk, fixture,
    key::Key,
    laboratory::{Laboratory, Settings, Token, succeed},
    load::Load,
    row::Row,
    soak::Held,
    table::{self, Table, thousands},
    target::Wanted::{
        self, Calls, ClientCpu, Cpu, Files, Handles, Idle, MemoryNow, P50, P99, Peak, Rate, Ratio, Start, Threads,
    },
};

/// Where Debian's package `softhsm2` puts its module.
const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// Sessions of the example's configuration.
const SESSIONS: u64 = 4;

/// The slow device: what each signature takes, and how many are made at a time.
const SLOW_LATENCY: Duration = Duration::from_millis(5);
const SLOW_SESSIONS: u64 = 16;

/// How often a daemon is started where its start is measured: the median of them stands.
const STARTS: usize = 9;
/// What is wanted of it, in milliseconds; and by how much more a long log may make it longer. A start takes about 100 ms, and from one to the next a machine
/// moves by some tens: work for each entry, of a million, would take seconds.
const START_MS_MAX: f64 = 1_000.0;
const START_GROWTH_MS_MAX: f64 = 100.0;

/// What the load generator may take of the machine that it shares with the daemon, in milliseconds of CPU a certificate, in every row with so many clients.
const CLIENT_CPU_MS_MAX: f64 = 0.1;
const MANY_CLIENTS: u32 = 64;

/// CSRs for each second of registering.
const REGISTERED_PER_SECOND: u32 = 3_000;
/// What `hallmark-load` makes at most.
const CSRS_MAX: u32 = 65_000;

/// Stretches of the soak. After the first two everything that is kept on purpose is there: what comes then is compared with that.
const SOAK_STRETCHES: u64 = 10;
const SOAK_WARM: u64 = 2;
/// The allocator's pages come and go by so much.
const MEMORY_GROWTH_MAX: f64 = 1.05;
/// How often refreshes and mints are measured in turns, half a row each.
const REFRESH_TURNS: usize = 4;

/// Longest stretch: none of it fails because of a slow machine.
const SOAK_SECONDS_MAX: u32 = 86_400;

/// The parts in their order, and how many rows each has, with those that all of a key's rows need.
const PARTS: [(Part, u64); 11] = [
    (Part::Ledger, 2),
    (Part::P256, 8),
    (Part::OneProcess, 2),
    (Part::Instances, 4),
    (Part::LongLog, 2),
    (Part::SlowDevice, 2),
    (Part::Overload, 4),
    (Part::Crowd, 2),
    (Part::Rsa2048, 5),
    (Part::Rsa4096, 5),
    (Part::Soak, SOAK_STRETCHES),
];

/// A run.
pub(crate) struct Bench {
    arguments: BenchArguments,
    programs: PathBuf,
    place: TempDir,
    /// A directory with a short name, for sockets.
    runtime: TempDir,
    token: Token,
    table: Table,
    /// Signatures a second by two threads, of the keys that were measured so far.
    ceilings: Vec<(Key, f64)>,
    /// What one fdatasync takes, half of the time at most.
    fdatasync_ms: f64,
    bar: ProgressBar,
}

impl Bench {
    /// Makes a token and finds the programs.
    pub(crate) fn new(arguments: BenchArguments) -> Result<Self> {
        let own = std::env::current_exe()?;
        let beside = || own.parent().map(Path::to_owned).context("this program is in no directory");
        let programs = arguments.programs.clone().map_or_else(beside, Ok)?;
        std::fs::create_dir_all(&arguments.place)?;
        let place = tempfile::Builder::new().prefix("bench-").tempdir_in(std::path::absolute(&arguments.place)?)?;
        let token = Token::make(place.path())?;
        let parts = PARTS.iter().filter(|(part, _)| arguments.wants(*part));
        let bar = ProgressBar::new(parts.map(|(_, rows)| rows).sum());
        bar.set_style(ProgressStyle::with_template("{spinner} {pos} of {len} rows after {elapsed}; now {msg}")?);
        let runtime = TempDir::new()?;
        let (table, ceilings) = (Table::default(), Vec::new());
        Ok(Self { arguments, programs, place, runtime, token, table, ceilings, fdatasync_ms: 0.0, bar })
    }

    /// Measures all that is wanted.
    pub(crate) fn run(mut self) -> Result<Table> {
        self.bar.enable_steady_tick(Duration::from_millis(200));
        let began = Instant::now();
        for (part, _) in PARTS {
            if self.arguments.wants(part) {
                self.measure(part)?;
            }
        }
        self.bar.finish_and_clear();
        table::print(&format!("\n{}", self.table.verdict()));
        table::print(&format!("All of it took {} s.", began.elapsed().as_secs()));
        Ok(self.table)
    }

    fn measure(&mut self, part: Part) -> Result<()> {
        match part {
            Part::Ledger => self.ledger(),
            Part::P256 => self.p256(),
            Part::OneProcess => self.one_process(),
            Part::Instances => self.instances(),
            Part::LongLog => self.long_log(),
            Part::SlowDevice => self.slow_device(),
            Part::Overload => self.overload(),
            Part::Crowd => self.crowd(),
            Part::Rsa2048 => self.rsa(Key::Rsa2048, 0.73),
            Part::Rsa4096 => self.rsa(Key::Rsa4096, 0.92),
            Part::Soak => self.soak(),
        }
    }

    fn ledger(&mut self) -> Result<()> {
        self.heading("Ledger");
        self.fdatasync()?;
        self.tell("group commit alone");
        let row = commits::measure(self.place.path(), self.short())?;
        self.add(row);
        Ok(())
    }

    fn p256(&mut self) -> Result<()> {
        let ceiling = self.ceiling(Key::EcdsaP256)?;
        let fdatasync_ms = self.fdatasync()?;
        let laboratory = self.laboratory("p-256", Settings::of(Key::EcdsaP256))?;
        let daemon = self.start(&laboratory, false)?;
        let targets: [(u32, &[Wanted]); 3] = [
            (1, &[P50(1.2 + fdatasync_ms), Calls(2.0)]),
            (8, &[Calls(2.0)]),
            (64, &[Ratio(0.18), Cpu(0.43), P99(35.0), Calls(2.0), Idle(40.0), Peak(80.0)]),
        ];
        for (clients, wanted) in targets {
            let row = Row::new("two processes", Some(Key::EcdsaP256), Some(clients));
            self.mint(row, &daemon, &Load::of(clients), Some(ceiling), wanted)?;
        }
        let row = Row::new("streams on one connection", Some(Key::EcdsaP256), Some(64));
        self.mint(row, &daemon, &Load::of(1).with(&["--streams", "64"]), Some(ceiling), &[Calls(2.0)])?;
        let row = Row::new("each on a new connection", Some(Key::EcdsaP256), Some(8));
        self.mint(row, &daemon, &Load::of(8).with(&["--new-connections"]), Some(ceiling), &[Calls(2.0)])?;
        daemon.stop()?;
        let daemon = self.start_by(&laboratory, false, Scheduling::Other)?;
        let row = Row::new("two processes, SCHED_OTHER", Some(Key::EcdsaP256), Some(64));
        self.mint(row, &daemon, &Load::of(64), Some(ceiling), &[Calls(2.0)])?;
        daemon.stop()
    }

    fn one_process(&mut self) -> Result<()> {
        let ceiling = self.ceiling(Key::EcdsaP256)?;
        let laboratory = self.laboratory("one-process", Settings::of(Key::EcdsaP256))?;
        let daemon = self.start(&laboratory, true)?;
        for (clients, wanted) in [(1, &[][..]), (64, &[Ratio(0.2), Cpu(0.38), P99(30.0), Calls(2.0)])] {
            let row = Row::new("one process", Some(Key::EcdsaP256), Some(clients));
            self.mint(row, &daemon, &Load::of(clients), Some(ceiling), wanted)?;
        }
        daemon.stop()
    }

    /// Refreshes and mints take turns, so that what the machine does meanwhile counts for both.
    fn instances(&mut self) -> Result<()> {
        let ceiling = self.ceiling(Key::EcdsaP256)?;
        let laboratory = self.laboratory("plain", Settings::of(Key::EcdsaP256))?;
        let plain = self.start(&laboratory, false)?;
        let settings = Settings { instances: true, ..Settings::of(Key::EcdsaP256) };
        let laboratory = self.laboratory("instances", settings)?;
        let daemon = self.start(&laboratory, false)?;
        let row = |name: &str| Row::new(name, Some(Key::EcdsaP256), Some(64));
        let csrs = (self.arguments.seconds * REGISTERED_PER_SECOND).min(CSRS_MAX).to_string();
        let register = Load::of(64).with(&["--register", "--csrs", &csrs]);
        self.mint(row("register instances"), &daemon, &register, Some(ceiling), &[Calls(2.0)])?;
        let (mint, refresh) = (Load::of(64), Load::of(64).with(&["--refresh", "--without-proof"]));
        let seconds = self.arguments.seconds.div_ceil(2);
        let (mut minted, mut refreshed) = (Vec::new(), Vec::new());
        for turn in 0..REFRESH_TURNS {
            self.tell(&format!("refreshes and mints in turns, {} of {REFRESH_TURNS}", turn + 1));
            refreshed.push(refresh.measure(&self.load_program(), &daemon, seconds, row("refresh"))?);
            minted.push(mint.measure(&self.load_program(), &plain, seconds, row("mint, in turns with refreshes"))?);
        }
        let minted = Row::mean(minted).against(ceiling);
        let wanted = [ClientCpu(CLIENT_CPU_MS_MAX), Calls(2.0), Rate(minted.per_s.unwrap_or(0.0) * 0.85)];
        self.add(minted.judged(&[ClientCpu(CLIENT_CPU_MS_MAX)]));
        self.add(Row::mean(refreshed).against(ceiling).judged(&wanted));
        let proof = Load::of(64).with(&["--refresh"]);
        self.mint(row("refresh, with proof"), &daemon, &proof, Some(ceiling), &[Calls(2.0)])?;
        plain.stop()?;
        daemon.stop()
    }

    /// The same load on the same laboratory, before and after its ledger was filled.
    fn long_log(&mut self) -> Result<()> {
        let ceiling = self.ceiling(Key::EcdsaP256)?;
        let laboratory = self.laboratory("long-log", Settings::of(Key::EcdsaP256))?;
        let empty_ms = self.starts(&laboratory)?;
        let daemon = self.start(&laboratory, false)?;
        let row = Row::new("0 log entries before", Some(Key::EcdsaP256), Some(64));
        let row = Row { start_ms: Some(empty_ms), ..row };
        let rate = self.mint(row, &daemon, &Load::of(64), Some(ceiling), &[])?;
        daemon.stop()?;
        let count = self.arguments.log_entries();
        let entries = thousands(count as f64);
        self.tell(&format!("{entries} log entries are made"));
        fixture::fill(&laboratory.directory, count)?;
        let start_ms = self.starts(&laboratory)?;
        let daemon = self.start(&laboratory, false)?;
        let row = Row::new(format!("{entries} before"), Some(Key::EcdsaP256), Some(64));
        let row = Row { start_ms: Some(start_ms), ..row };
        let wanted = [Start((empty_ms + START_GROWTH_MS_MAX).min(START_MS_MAX)), Rate(rate * 0.9)];
        self.mint(row, &daemon, &Load::of(64), Some(ceiling), &wanted)?;
        daemon.stop()
    }

    /// From the start of a daemon until it serves, in milliseconds: the median of several.
    fn starts(&self, laboratory: &Laboratory) -> Result<f64> {
        let mut took = Vec::with_capacity(STARTS);
        for _ in 0..STARTS {
            self.tell("the starts of a daemon");
            let daemon = Daemon::start(laboratory, false, self.arguments.scheduling)?;
            took.push(daemon.start.as_secs_f64() * 1e3);
            daemon.stop()?;
        }
        took.sort_by(f64::total_cmp);
        took.get(STARTS / 2).copied().context("a daemon was started")
    }

    fn slow_device(&mut self) -> Result<()> {
        let latency_ms = SLOW_LATENCY.as_secs_f64() * 1e3;
        let fdatasync_ms = self.fdatasync()?;
        let settings = Settings { sessions: SLOW_SESSIONS, ..Settings::of(Key::EcdsaP256) };
        let laboratory = self.laboratory("slow-device", settings)?;
        laboratory.device.pace(SLOW_LATENCY, SLOW_SESSIONS);
        let daemon = self.start(&laboratory, false)?;
        let ceiling = SLOW_SESSIONS as f64 / SLOW_LATENCY.as_secs_f64();
        self.heading(&format!("{latency_ms} ms, {SLOW_SESSIONS} sessions"));
        let one = [P50(latency_ms + 1.5 + fdatasync_ms), Calls(2.0)];
        for (clients, wanted) in [(1, &one[..]), (64, &[Ratio(0.95), Calls(2.0)])] {
            let row = Row::new(format!("a device that takes {latency_ms} ms"), Some(Key::EcdsaP256), Some(clients));
            self.mint(row, &daemon, &Load::of(clients), Some(ceiling), wanted)?;
        }
        daemon.stop()
    }

    fn rsa(&mut self, key: Key, ratio: f64) -> Result<()> {
        let ceiling = self.ceiling(key)?;
        let laboratory = self.laboratory(key.setting(), Settings::of(key))?;
        let daemon = self.start(&laboratory, false)?;
        for (clients, wanted) in [(1, &[Calls(2.0)][..]), (8, &[Calls(2.0)]), (64, &[Ratio(ratio), Calls(2.0)])] {
            let row = Row::new("two processes", Some(key), Some(clients));
            self.mint(row, &daemon, &Load::of(clients), Some(ceiling), wanted)?;
        }
        daemon.stop()
    }

    /// Many certificates in stretches, after each of which is looked what the daemon holds on to.
    fn soak(&mut self) -> Result<()> {
        let ceiling = self.ceiling(Key::EcdsaP256)?;
        let laboratory = self.laboratory("soak", Settings::of(Key::EcdsaP256))?;
        let daemon = self.start(&laboratory, false)?;
        let each = self.arguments.soak / SOAK_STRETCHES;
        let load = Load::of(64).with(&["--count", &each.to_string()]);
        let mut warm = None;
        for stretch in 1..=SOAK_STRETCHES {
            let minted = thousands((each * stretch) as f64);
            let row = Row::new(format!("after {minted}"), Some(Key::EcdsaP256), Some(64));
            self.tell(&row.title());
            let row = load.measure(&self.load_program(), &daemon, SOAK_SECONDS_MAX, row)?;
            let held = Held::for_long(&daemon)?;
            let wanted = warm.map(|Held { memory_mb, handles, threads, files }| {
                let counts = [Handles(handles as f64), Threads(threads as f64), Files(files as f64)];
                let client = ClientCpu(CLIENT_CPU_MS_MAX);
                [&[MemoryNow(memory_mb * MEMORY_GROWTH_MAX), Peak(80.0), client, Calls(2.0)][..], &counts].concat()
            });
            self.add(row.against(ceiling).holding(held).judged(&wanted.unwrap_or_default()));
            warm = warm.or_else(|| (stretch == SOAK_WARM).then_some(held));
        }
        daemon.stop()
    }

    /// Has certificates minted; gives how many a second. Of many clients it is wanted, too, that they leave the machine to the daemon.
    fn mint(
        &mut self,
        row: Row,
        daemon: &Daemon<'_>,
        load: &Load,
        ceiling: Option<f64>,
        wanted: &[Wanted],
    ) -> Result<f64> {
        let row = self.measured(row, daemon, load, ceiling)?;
        let rate = row.per_s.unwrap_or(0.0);
        let client = row.clients.filter(|clients| *clients == MANY_CLIENTS).map(|_| ClientCpu(CLIENT_CPU_MS_MAX));
        self.add(row.judged(&wanted.iter().copied().chain(client).collect::<Vec<_>>()));
        Ok(rate)
    }

    /// Has certificates minted, and adds no row yet.
    fn measured(&self, row: Row, daemon: &Daemon<'_>, load: &Load, ceiling: Option<f64>) -> Result<Row> {
        self.tell(&row.title());
        let row = load.measure(&self.load_program(), daemon, self.arguments.seconds, row)?;
        Ok(ceiling.map_or_else(|| row.clone(), |ceiling| row.clone().against(ceiling)))
    }

    /// What the token does for this key by two threads, measured once in a run; the heading of what follows comes with it.
    fn ceiling(&mut self, key: Key) -> Result<f64> {
        if let Some((_, ceiling)) = self.ceilings.iter().find(|(of, _)| *of == key) {
            return Ok(*ceiling);
        }
        self.heading(key.name());
        self.tell(&format!("the ceiling of {}", key.name()));
        let seconds = u32::try_from(self.short().as_secs())?;
        let mut command = ceiling::command(Path::new(SOFTHSM), self.token.label(), &self.token.pin(), key, seconds)?;
        let answer = succeed(command.env("SOFTHSM2_CONF", self.token.configuration()))?;
        let measured: Vec<Ceiling> = serde_json::from_str(&answer)?;
        let most = measured.iter().map(|ceiling| ceiling.per_s).fold(0.0, f64::max);
        ensure!(most > 0.0, "the token signs nothing");
        for Ceiling { threads, per_s, p50_ms } in measured {
            let name = format!("ceiling: {threads} thread{}", if threads == 1 { "" } else { "s" });
            let row = Row { per_s: Some(per_s), p50_ms: Some(p50_ms), ..Row::new(name, Some(key), None) };
            self.add(row.against(most));
        }
        self.ceilings.push((key, most));
        Ok(most)
    }

    /// The median of an fdatasync in milliseconds, measured once in a run.
    fn fdatasync(&mut self) -> Result<f64> {
        if self.fdatasync_ms == 0.0 {
            self.tell("fdatasync");
            let row = disk::measure(self.place.path(), self.short())?;
            self.fdatasync_ms = row.p50_ms.unwrap_or(0.0);
            self.add(row);
        }
        Ok(self.fdatasync_ms)
    }

    fn laboratory(&self, name: &str, settings: Settings) -> Result<Laboratory> {
        self.tell(&format!("a laboratory, {name}"));
        let directory = self.place.path().join(name);
        let hallmarkd = self.programs.join("hallmarkd");
        Laboratory::lay_out(directory, &self.token, &hallmarkd, self.runtime.path(), settings)
    }

    fn start<'a>(&self, laboratory: &'a Laboratory, one_process: bool) -> Result<Daemon<'a>> {
        self.start_by(laboratory, one_process, self.arguments.scheduling)
    }

    fn start_by<'a>(
        &self,
        laboratory: &'a Laboratory,
        one_process: bool,
        scheduling: Scheduling,
    ) -> Result<Daemon<'a>> {
        self.tell("the start of a daemon");
        let daemon = Daemon::start(laboratory, one_process, scheduling)?;
        Load::warm(&self.load_program(), &daemon)?;
        Ok(daemon)
    }

    fn load_program(&self) -> PathBuf {
        self.programs.join("hallmark-load")
    }

    /// The time for rows without a daemon.
    fn short(&self) -> Duration {
        Duration::from_secs(u64::from(self.arguments.seconds.div_ceil(3)))
    }

    /// Says what is being done, where somebody looks.
    fn tell(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }

    fn heading(&self, title: &str) {
        self.bar.suspend(|| table::print(&Table::heading(title)));
    }

    fn add(&mut self, row: Row) {
        self.bar.suspend(|| table::print(&Table::line(&row)));
        self.bar.inc(1);
        self.table.add(row);
    }
}

impl Settings {
    /// As in the example, with this kind of key.
    fn of(key: Key) -> Self {
        Self { key, sessions: SESSIONS, instances: false }
    }
}
