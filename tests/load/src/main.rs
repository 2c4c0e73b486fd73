//! `hallmark-load`: measures how many certificates a signer mints, how long each takes, and what it costs.
//!
//! A closed loop: every connection has exactly one request under way, or as many as it has streams. With a rate it is an open one. One thread, requests made beforehand, so that the
//! client costs little of the machine that it shares with the signer. It verifies the signer's TLS certificate and no
//! minted one; `hallmark mint` does that.

mod arguments;
mod connection;
mod cpu;
mod crowd;
mod load;
mod open;
mod report;
mod requests;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::Arguments;

fn main() -> ExitCode {
    match measure(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("hallmark-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures and prints; whether every request got its certificate. Or holds a crowd.
fn measure(arguments: &Arguments) -> anyhow::Result<bool> {
    if arguments.idle > 0 || arguments.slow > 0 {
        return crowd::hold(arguments).map(|()| true);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(load::run(arguments))?;
    println!("{}", if arguments.json { report.to_json() } else { report.to_string() });
    Ok(report.minted() > 0 && report.errors.is_empty())
}
