//! The daemon `hallmarkd`: reads `signer.toml`, starts the core, puts the front before it, and stops both in order.
//!
//! It decides nothing about certificates and never sees a request: it wires. Secrets are read after the process was closed
//! to debuggers and core files, and are never printed.

pub mod arguments;
mod callers_trust;
mod check;
mod files;
mod hardening;
mod init;
mod lab;
mod link;
mod logging;
mod manuals;
mod operators;
mod probe;
mod published;
mod run;
mod service_manager;
mod settings;
mod stdout;
mod trouble;

use std::process::ExitCode;

use arguments::{Arguments, Command};

/// Does what the command line asks for, and tells the shell how it ended: 0 done, 1 refused or failed.
#[must_use]
pub fn execute(arguments: Arguments) -> ExitCode {
    let done = match arguments.command {
        Command::Run(run) => run::run(run),
        Command::Check { file } => check::check(&file),
        Command::Init(init) => init::init(init),
        Command::Log(command) => published::log(command),
        Command::Lab(lab) => lab::lab(lab),
        Command::Completions { shell } => manuals::completions(shell),
        Command::Man { directory } => manuals::man(&directory),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("hallmarkd: {}", trouble::sentence(&trouble));
            ExitCode::FAILURE
        }
    }
}
