//! `hallmark-publish`: carries the log that a daemon publishes in a directory to an object store, has witnesses co-sign its
//! checkpoints, and serves such a directory over HTTP, read-only.
//!
//! It runs beside the daemon, not in it: the core that holds the database has no network, and whoever steals this program's
//! credentials can neither sign a checkpoint nor change what is in the ledger. What it carries it has verified: a checkpoint that is
//! not signed by the log's key, or that does not continue the one at the target, is not carried, and nor are entries that do not
//! give its root.
//!
//! It must never write into the daemon's directory, never replace a newer checkpoint by an older one, and never make public
//! a checkpoint before everything that it signs is there. It must not make private values public unless that was asked for.

pub mod arguments;
mod carry;
mod crls;
mod directory;
mod growth;
mod guests;
mod left;
mod notify;
mod policies;
mod problem;
mod serve;
mod target;
mod webhook;
mod witness;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{
    arguments::{Arguments, Command},
    problem::Problem,
};

/// Reads the arguments, does what they ask for, and gives the exit code: 0 done, 1 refused, 2 wrong usage or IO.
#[must_use]
pub fn start() -> ExitCode {
    match obey(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}\nhint: {}", problem.hint());
            problem.exit().into()
        }
    }
}

fn obey(arguments: Arguments) -> Result<(), Problem> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Problem::Runtime)?;
    match arguments.command {
        Command::Push(push) => runtime.block_on(carry::push(&push)),
        Command::Check(push) => runtime.block_on(carry::check(&push)),
        Command::Serve(serve) => runtime.block_on(serve::serve(&serve)),
        Command::Notify(notify) => runtime.block_on(notify::notify(&notify)),
    }
}
