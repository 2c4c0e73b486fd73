//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::ceiling::CeilingArguments;

/// Measures the daemon, and in the same run what its token can do without it.
///
/// It lays out laboratories with a SoftHSM token in a directory of its own, starts `hallmarkd` in them, and has `hallmark-load` ask for
/// certificates. The table goes to standard output row by row, and to a file as JSON. Ends with 1 if a request got no certificate;
/// targets that were missed are told and end with 0, since they say as much about the machine.
#[derive(Debug, Parser)]
#[command(name = "hallmark-bench", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) bench: BenchArguments,
}

/// What it starts itself as.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure a token alone.
    #[command(hide = true)]
    Ceiling(CeilingArguments),
}

/// What to measure, and how long.
#[derive(Args, Clone, Debug)]
pub(crate) struct BenchArguments {
    /// Directory of `hallmarkd` and `hallmark-load`; that of this program without it.
    #[arg(long, value_name = "DIR")]
    pub(crate) programs: Option<PathBuf>,
    /// Seconds for each row; a third of it for rows without a daemon.
    #[arg(long, value_name = "SECONDS", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) seconds: u32,
    /// Only this part; can be repeated.
    #[arg(long, value_name = "PART")]
    pub(crate) only: Vec<Part>,
    /// Everything: entries of the long log are 10,000,000 if nothing else is said, the overload lasts a minute, and the soak comes last.
    #[arg(long)]
    pub(crate) full: bool,
    /// Entries of the long log; 1,000,000 without it.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) entries: Option<u64>,
    /// Certificates of the soak.
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(100..))]
    pub(crate) soak: u64,
    /// Connections of the crowd that do nothing; a tenth as many are slow.
    #[arg(long, value_name = "NUMBER", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    pub(crate) crowd: u32,
    /// How the system schedules the daemon.
    #[arg(long, value_name = "POLICY", value_enum, default_value_t = Scheduling::Batch)]
    pub(crate) scheduling: Scheduling,
    /// Directory for databases and tokens, in a directory of its own that is removed in the end. Its disk is measured, too.
    #[arg(long, value_name = "DIR", default_value = "run")]
    pub(crate) place: PathBuf,
    /// File for the rows as JSON.
    #[arg(long, value_name = "FILE", default_value = "run/bench.json")]
    pub(crate) out: PathBuf,
}

/// A policy by which the system shares the processors (sched(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scheduling {
    /// As the units of the package have it (SCHED_BATCH): who wakes up waits until whoever runs has had their time.
    Batch,
    /// As programs are started otherwise (SCHED_OTHER).
    Other,
}

/// A part of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// The disk, and group commit without daemon and key.
    Ledger,
    /// A P-256 CA, two processes.
    #[value(name = "p-256")]
    P256,
    /// The same in one process.
    OneProcess,
    /// Instances that register and refresh.
    Instances,
    /// The same without and with many log entries.
    LongLog,
    /// A device with a fixed latency and few sessions.
    SlowDevice,
    /// Ten times as many requests as a device can serve, and what is left of it a second later.
    Overload,
    /// A good client beside thousands of connections that do nothing or are slow.
    Crowd,
    /// An RSA-2048 CA.
    #[value(name = "rsa-2048")]
    Rsa2048,
    /// An RSA-4096 CA.
    #[value(name = "rsa-4096")]
    Rsa4096,
    /// A million certificates, and what the daemon holds on to meanwhile; it takes ten minutes and comes only if it is asked for.
    Soak,
}

/// Entries of the long log, if nothing else is said.
const ENTRIES: u64 = 1_000_000;
const ENTRIES_OF_ALL: u64 = 10_000_000;

/// Of the crowd's connections that do nothing, as many as there is one slow one for.
const IDLE_FOR_EACH_SLOW: u32 = 10;

/// How long more is asked for than a device can sign, at least, where everything is measured.
const OVERLOAD_SECONDS_OF_ALL: u32 = 60;

impl BenchArguments {
    /// Whether this part is measured.
    pub(crate) fn wants(&self, part: Part) -> bool {
        if self.only.is_empty() { self.full || part != Part::Soak } else { self.only.contains(&part) }
    }

    /// Entries of the long log.
    pub(crate) fn log_entries(&self) -> u64 {
        self.entries.unwrap_or(if self.full { ENTRIES_OF_ALL } else { ENTRIES })
    }
    /// Connections of the crowd that send what they began byte by byte.
    pub(crate) fn slow(&self) -> u32 {
        self.crowd / IDLE_FOR_EACH_SLOW
    }

    /// Seconds of the overload that is judged.
    pub(crate) fn overload_seconds(&self) -> u32 {
        if self.full { self.seconds.max(OVERLOAD_SECONDS_OF_ALL) } else { self.seconds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_everything_an_overload_lasts_a_minute() {
        let seconds = |typed: &[&str]| {
            let arguments = Arguments::parse_from([&["hallmark-bench"], typed].concat());
            arguments.bench.overload_seconds()
        };
        assert_eq!([seconds(&[]), seconds(&["--full"]), seconds(&["--full", "--seconds", "90"])], [8, 60, 90]);
    }
}
