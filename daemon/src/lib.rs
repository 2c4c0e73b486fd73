//! The daemon `hallmarkd`: reads `signer.toml`, starts the core, puts the front before it, and stops both in order.
//!
//! It decides nothing about certificates and never sees a request: it wires. Secrets are read after the process was closed
//! to debuggers and core files, and are never printed.

pub mod arguments;
mod callers_trust;
mod check;
mod child_process;
mod confine;
mod core_process;
mod door;
mod files;
mod front_process;
mod hang;
mod hardening;
mod health;
mod heart;
mod init;
mod lab;
mod link;
mod logging;
mod manuals;
mod one_process;
mod operators;
mod own_files;
mod pins;
mod probe;
mod process;
mod published;
mod restore;
mod run;
mod runtime;
mod secrets;
mod service_manager;
mod settings;
mod signals;
mod starting;
mod stdout;
mod supervisor;
mod terminal;
mod trouble;
mod user;

use std::process::ExitCode;

use arguments::{Arguments, Command};

/// Exit code of what must not be started again by itself: the PIN was not right, and tokens lock after a few.
pub(crate) const NOT_AGAIN: u8 = 3;

/// Does what the command line asks for, and tells the shell how it ended: 0 done, 1 refused or failed, 3 not to be tried again.
#[must_use]
pub fn execute(arguments: Arguments) -> ExitCode {
    let done = match arguments.command {
        Command::Run(run) => run::run(&run),
        Command::Core(core) => core_process::core(&core),
        Command::Front(front) => front_process::front(&front),
        Command::Check { file, type_pin } => check::check(&file, type_pin),
        Command::Init(init) => init::init(init),
        Command::Restore(arguments) => restore::restore(&arguments),
        Command::Log(command) => published::log(command),
        Command::Lab(lab) => lab::lab(lab),
        Command::Completions { shell } => manuals::completions(shell),
        Command::Man { directory } => manuals::man(&directory),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("hallmarkd: {}", trouble::sentence(&trouble));
            if trouble.is_final() { ExitCode::from(NOT_AGAIN) } else { ExitCode::FAILURE }
        }
    }
}
