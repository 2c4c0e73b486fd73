//! Measures what `docs/performance.md` says of the decision log, over synthetic logs of any size.
//!
//!     cargo build --release -p hallmark-log-bench -p hallmark-cli
//!     target/release/hallmark-log-bench verify --entries 1000000
//!     target/release/hallmark-log-bench growth --entries 10000000
//!     target/release/hallmark-log-bench receipts
//!     target/release/hallmark-log-bench instances --instances 10000000

mod growth;
mod instances;
mod receipts;
mod synthetic;
mod verify;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// What to measure.
#[derive(Debug, Parser)]
#[command(name = "hallmark-log-bench")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Publish a synthetic log into a directory.
    Publish {
        /// The directory.
        directory: PathBuf,
        /// How many entries.
        #[arg(long)]
        entries: u64,
        /// Every so many of them a decision to issue, the others heartbeats: what a full disk has no room for.
        #[arg(long, default_value_t = 1)]
        decision_every: u64,
    },
    /// Time and memory of `hallmark log verify` over a synthetic log.
    Verify {
        /// How many entries.
        #[arg(long)]
        entries: u64,
        /// Every so many of them a decision to issue, the others heartbeats.
        #[arg(long, default_value_t = 1)]
        decision_every: u64,
    },
    /// Start and append over a ledger of that size, and over an empty one.
    Growth {
        /// How many entries.
        #[arg(long)]
        entries: u64,
        /// Bytes of each of them.
        #[arg(long, default_value_t = 400)]
        bytes: usize,
    },
    /// Bytes, start and lookups of a ledger with so many instances.
    Instances {
        /// How many instances.
        #[arg(long)]
        instances: u64,
        /// Certificates of each that have not been forgotten.
        #[arg(long, default_value_t = 2)]
        certificates: u64,
        /// Where the ledger is made, and taken away again: 10 million instances need 10 GB.
        #[arg(long)]
        place: Option<PathBuf>,
    },
    /// How many receipts a second are made, verified and written.
    Receipts,
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Publish { directory, entries, decision_every } => {
            synthetic::publish(&directory, entries, decision_every).map(drop)
        }
        Command::Verify { entries, decision_every } => verify::measure(entries, decision_every),
        Command::Growth { entries, bytes } => growth::measure(entries, bytes),
        Command::Instances { instances, certificates, place } => {
            instances::measure(instances, certificates, place.as_deref())
        }
        Command::Receipts => receipts::measure(),
    }
}
