//! The command line.

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::user::User;

/// A certificate signer: nothing reaches a CA key before policy has read it and the decision log has it.
#[derive(Debug, Parser)]
#[command(name = "hallmarkd", version, after_help = EXIT_CODES)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done or stopped, 1 refused to start or failed, 2 wrong usage, 3 the PIN was not right: another start could lock the token.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the daemon and serve until SIGTERM or SIGINT; SIGHUP reads the TLS files and the policy again
    Run(RunArguments),
    /// The core alone, for a service manager that holds its doors: sockets named `callers` and `operators` (LISTEN_FDNAMES)
    #[command(hide = true)]
    Core(CoreArguments),
    /// A front alone, for a service manager
    #[command(hide = true)]
    Front(FrontArguments),
    /// Say in sentences what a configuration means, with every problem. The database is not touched, and the device only where a ceremony made
    /// a root whose key is in it: then it is compared with the transcript
    Check {
        /// The configuration, `signer.toml`
        file: PathBuf,
        /// Type the PIN, so that the token is compared although its PIN is given to the daemon alone (`typed` or `credential`)
        #[arg(long)]
        type_pin: bool,
    },
    /// Make the log key and the CA certificates that are missing; what is there stays as it is
    Init(InitArguments),
    /// Put a backup in the place of a database that is lost, while no daemon runs; one that is older than its log is refused, or goes on as
    /// another log
    Restore(RestoreArguments),
    /// Work on the published decision log while no daemon runs
    #[command(subcommand)]
    Log(LogCommand),
    /// Write a complete set of files for trying things: TLS certificates, signer.toml and policy.toml
    Lab(LabArguments),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages
    Man {
        /// Where to
        directory: PathBuf,
    },
}

/// `hallmarkd run`.
#[derive(Args, Debug)]
pub struct RunArguments {
    /// What the core is told at its start.
    #[command(flatten)]
    pub start: StartArguments,
    /// How log lines are written.
    #[command(flatten)]
    pub logging: LogArguments,
    /// Write the address to this file when the daemon is ready, and the operators' in a second line
    #[arg(long, value_name = "PATH")]
    pub ready_file: Option<PathBuf>,
    /// Run front and core in this one process: for laboratories, where nothing is kept from whom
    #[arg(long)]
    pub one_process: bool,
}

/// What the core is told at its start.
#[derive(Args, Clone, Debug)]
pub struct StartArguments {
    /// The configuration, `signer.toml`
    pub file: PathBuf,
    /// Admit CA keys in encrypted files: for laboratories only, and the log says so
    #[arg(long)]
    pub allow_software_keys: bool,
    /// Confirm that the clock is right after it was found wrong
    #[arg(long)]
    pub accept_clock: bool,
    /// Confirm that the database is the newest, although the published checkpoint is gone
    #[arg(long)]
    pub accept_missing_checkpoint: bool,
    /// Confirm that the database is the newest, although the copy of its checkpoint on another volume is gone
    #[arg(long)]
    pub accept_missing_anchor: bool,
}

/// How log lines are written.
#[derive(Args, Clone, Debug)]
pub struct LogArguments {
    /// How log lines are written to standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "HALLMARK_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// What is logged: a level, or a level for each module, such as `info,hallmark_front=debug`
    #[arg(long, default_value = "info", env = "HALLMARK_LOG", value_name = "FILTER")]
    pub log: String,
}

/// `hallmarkd core`.
#[derive(Args, Debug)]
pub struct CoreArguments {
    /// What it is told at its start.
    #[command(flatten)]
    pub start: StartArguments,
    /// How log lines are written.
    #[command(flatten)]
    pub logging: LogArguments,
    /// Who supervises it.
    #[command(flatten)]
    pub supervised: SupervisedArguments,
}

/// `hallmarkd front`.
#[derive(Args, Debug)]
pub struct FrontArguments {
    /// The configuration, `signer.toml`
    pub file: PathBuf,
    /// Serve operators in place of callers
    #[arg(long)]
    pub operators: bool,
    /// The core's door for this front, a Unix socket
    #[arg(long, value_name = "PATH")]
    pub door: PathBuf,
    /// How log lines are written.
    #[command(flatten)]
    pub logging: LogArguments,
    /// Who supervises it.
    #[command(flatten)]
    pub supervised: SupervisedArguments,
}

/// What only the supervisor says.
#[derive(Args, Clone, Debug)]
pub struct SupervisedArguments {
    /// Standard input is the supervisor's socket: it is told when this process serves, and asks whether it is alive
    #[arg(long, hide = true)]
    pub supervised: bool,
    /// Become this user first, for good: UID:GID, and further groups behind commas
    #[arg(long, hide = true, value_name = "USER")]
    pub become_user: Option<User>,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `hallmarkd log`.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Make the published directory what the database says: files that are missing or damaged are written again
    Rebuild(RebuildArguments),
    /// Close the log and carry it on under another origin, with another key, in another directory: once a year
    Roll(RollArguments),
}

/// `hallmarkd log rebuild`.
#[derive(Args, Debug)]
pub struct RebuildArguments {
    /// The configuration, `signer.toml`
    pub file: PathBuf,
    /// Confirm that the database is the newest, although the published checkpoint is gone
    #[arg(long)]
    pub accept_missing_checkpoint: bool,
    /// A log that was closed, in the place of the one that goes on
    #[arg(long, value_name = "ORIGIN", requires = "into")]
    pub origin: Option<String>,
    /// The directory of that log
    #[arg(long, value_name = "DIR", requires = "origin")]
    pub into: Option<PathBuf>,
}

/// `hallmarkd log roll`.
#[derive(Args, Debug)]
pub struct RollArguments {
    /// The configuration as it is, `signer.toml`
    pub file: PathBuf,
    /// The next origin, such as `signer.example/log/2028`
    #[arg(long)]
    pub origin: String,
    /// The next log key's file; it is made if it is missing. A relative path begins at the directory of the configuration
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// The next directory to publish in
    #[arg(long, value_name = "DIR")]
    pub publish: PathBuf,
}

/// `hallmarkd restore`.
#[derive(Args, Debug)]
pub struct RestoreArguments {
    /// The configuration, `signer.toml`
    pub file: PathBuf,
    /// The backup: a directory with `backup.json`
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,
    /// Put the database that is there aside, under a name that is told
    #[arg(long)]
    pub replace: bool,
    /// What else is known of the log: a file with its newest checkpoint, or a copy of the published log, whose CRLs are looked at, too
    #[arg(long, value_name = "PATH")]
    pub seen: Vec<PathBuf>,
    /// Confirm that the backup is the newest, although no checkpoint tells
    #[arg(long)]
    pub accept_missing_checkpoint: bool,
    /// Go on as another log of this origin, with every authority stopped until an operator resumes it
    #[arg(long, value_name = "ORIGIN", requires_all = ["key", "publish"])]
    pub continue_as: Option<String>,
    /// The next log key's file; it is made if it is missing. A relative path begins at the directory of the configuration
    #[arg(long, value_name = "FILE", requires = "continue_as")]
    pub key: Option<PathBuf>,
    /// The next directory to publish in
    #[arg(long, value_name = "DIR", requires = "continue_as")]
    pub publish: Option<PathBuf>,
    /// Say what was done as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `hallmarkd init`.
#[derive(Args, Debug)]
pub struct InitArguments {
    /// The configuration, `signer.toml`
    pub file: PathBuf,
    /// Admit CA keys in encrypted files: for laboratories only, and the log says so
    #[arg(long)]
    pub allow_software_keys: bool,
    /// Write the CA certificates as PEM and the log's public key to this directory
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Certificate of the root of an authority that was made elsewhere, PEM; once for each such authority that is made. The configuration
    /// names the ceremony that made it
    #[arg(long = "root", value_name = "NAME=FILE")]
    pub roots: Vec<RootFile>,
}

/// An authority, and a file for it.
#[derive(Clone, Debug)]
pub struct RootFile {
    /// The authority.
    pub authority: String,
    /// The file.
    pub path: PathBuf,
}

impl LogArguments {
    /// For commands that a person waits for: warnings, as text.
    pub(crate) fn warnings() -> Self {
        Self { log_format: LogFormat::Text, log: "warn".to_owned() }
    }
}

impl LogFormat {
    /// As it is typed.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

impl FromStr for RootFile {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((authority, path)) if !authority.is_empty() && !path.is_empty() => {
                Ok(Self { authority: authority.to_owned(), path: path.into() })
            }
            Some(_) | None => Err("write NAME=FILE: the authority, and the file"),
        }
    }
}

/// `hallmarkd lab`.
#[derive(Args, Debug)]
pub struct LabArguments {
    /// The directory; it is made if it is missing
    pub directory: PathBuf,
    /// Address that the daemon will listen on
    #[arg(long, default_value = "127.0.0.1:4443", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// PKCS#11 module of the token
    #[arg(long, value_name = "PATH", conflicts_with = "software")]
    pub token_module: Option<PathBuf>,
    /// Keep CA keys in encrypted files instead of a token
    #[arg(long)]
    pub software: bool,
    /// Write all files anew, also those that are there; secrets of keys and the log stay
    #[arg(long)]
    pub force: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }
}
