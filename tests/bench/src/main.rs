//! `hallmark-bench`: one run, one SoftHSM token, and a table of what the daemon does with it.
//!
//! The ceiling is what the token does when nothing but C_SignInit and C_Sign is called. Everything else goes through the real
//! daemon, release build, with the module of `tests/faulty` between it and SoftHSM, which counts calls and fsyncs (and costs less than a
//! microsecond a call). So ratios are of one run on one machine; times say as much about the machine.

mod arguments;
mod bench;
mod ceiling;
mod commits;
mod daemon;
mod disk;
mod fixture;
mod key;
mod laboratory;
mod load;
mod memory;
#[expect(unsafe_code, reason = "C_SignInit and C_Sign, and nothing else; `cryptoki` makes three calls of them")]
mod raw;
mod row;
mod soak;
mod table;
mod target;
mod times;

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Parser;

use crate::{
    arguments::{Arguments, BenchArguments, Command},
    bench::Bench,
    row::Row,
};

fn main() -> ExitCode {
    let Arguments { command, bench } = Arguments::parse();
    let done = match command {
        Some(Command::Ceiling(arguments)) => ceiling::measure(&arguments).map(|()| true),
        None => measure(bench),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("hallmark-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures and writes; whether every request got its certificate.
fn measure(arguments: BenchArguments) -> Result<bool> {
    let out = arguments.out.clone();
    let table = Bench::new(arguments)?.run()?;
    write(&out, &table.rows)?;
    table::print(&format!("The rows are in `{}`.", out.display()));
    Ok(table.failures() == 0)
}

/// One object a row; each begins a line.
fn write(out: &Path, rows: &[Row]) -> Result<()> {
    if let Some(directory) = out.parent() {
        fs::create_dir_all(directory)?;
    }
    let rows: Vec<_> = rows.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    fs::write(out, format!("[\n{}\n]\n", rows.join(",\n"))).with_context(|| format!("cannot write `{}`", out.display()))
}
