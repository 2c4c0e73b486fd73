//! What can be typed.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  refused: what is at the target or at a witness is no beginning of this log
  2  wrong usage, or something cannot be read, written or reached

S3 is configured with the variables that its tools share: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT.";

/// Carries a published decision log to an object store, has witnesses co-sign it, serves it read-only, and sends its alarms.
#[derive(Clone, Debug, Parser)]
#[command(name = "hallmark-publish", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Carry what is new to the target, again and again.
    Push(PushArguments),
    /// Only ask target and witnesses whether this log continues what they have: before a daemon is started.
    Check(CheckArguments),
    /// Serve a published log over HTTP, read-only.
    Serve(ServeArguments),
    /// Send alarms, and other entries, to a webhook, as they are published.
    Notify(NotifyArguments),
}

/// Which log, and who has seen it.
#[derive(Clone, Debug, Args)]
pub struct SeenArguments {
    /// Directory in which the daemon publishes its log.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Verifier key of the log: a file with one a line.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Where it is carried: s3://BUCKET/PREFIX or file:///PATH.
    #[arg(long, value_name = "URL")]
    pub to: String,
    /// A witness to ask for a co-signature: URL=VKEY, repeatable.
    #[arg(long, value_name = "URL=VKEY")]
    pub witness: Vec<String>,
}

/// `hallmark-publish check`.
#[derive(Clone, Debug, Args)]
pub struct CheckArguments {
    /// Which log, and who has seen it.
    #[command(flatten)]
    pub seen: SeenArguments,
    /// How many of the witnesses must have answered and co-signed [default: all].
    #[arg(long, value_name = "N", requires = "witness")]
    pub quorum: Option<usize>,
    /// The log was carried to the target before: a target or a directory without a checkpoint was emptied, and is refused.
    #[arg(long)]
    pub expect_seen: bool,
}

/// `hallmark-publish push`.
#[derive(Clone, Debug, Args)]
pub struct PushArguments {
    /// Which log, and who has seen it.
    #[command(flatten)]
    pub seen: SeenArguments,
    /// Carry once what is there, and end.
    #[arg(long)]
    pub once: bool,
    /// How often the directory is looked at, in milliseconds.
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub every_millis: u64,
    /// Keep the bundles of that many newest entries at the target and remove older ones; hashes stay. State it to auditors,
    /// who give `hallmark log verify --pruned-before` what the file `pruned-before` says [default: keep all].
    #[arg(long, value_name = "N")]
    pub keep_entries: Option<u64>,
    /// Carry what opens private values, too: whoever may read the target may read them.
    #[arg(long)]
    pub with_openings: bool,
}

/// `hallmark-publish notify`.
#[derive(Clone, Debug, Args)]
pub struct NotifyArguments {
    /// Directory in which the daemon publishes its log.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Verifier key of the log: a file with one a line.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Webhook that takes them (Standard Webhooks 1.0): https, or http to this machine.
    #[arg(long, value_name = "URL")]
    pub to: String,
    /// File with the secret that messages are signed with: `whsec_` and base64 of 24 to 64 bytes.
    #[arg(long, value_name = "FILE")]
    pub secret: PathBuf,
    /// Certificates of CAs, PEM, that vouch for the webhook [default: those of the system].
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// File that keeps how far it is; made by the first run.
    #[arg(long, value_name = "FILE")]
    pub state: PathBuf,
    /// Where the first run begins: the index of an entry [default: with what comes next].
    #[arg(long, value_name = "N")]
    pub from: Option<u64>,
    /// Types of entries to send, repeatable.
    #[arg(long = "type", value_name = "TYPE", default_value = "alarm")]
    pub kind: Vec<String>,
    /// For how long after a message alarms of the same kind and authority are gathered, in seconds: they are one message then, with their count; 0 sends each.
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub fold_secs: u64,
    /// For how long an entry is sent again that is not taken, in seconds since it was read here; afterwards it is dropped, and the next has its turn.
    #[arg(long, value_name = "N", default_value_t = 86_400)]
    pub give_up_after_secs: u64,
    /// File in which the metrics are kept, as a textfile collector reads them: what was sent, folded and dropped since the start, and what waits.
    #[arg(long, value_name = "FILE")]
    pub metrics: Option<PathBuf>,
    /// How often the directory is looked at, in milliseconds.
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub every_millis: u64,
    /// Send once what is new, each with one attempt, and end.
    #[arg(long)]
    pub once: bool,
}

/// `hallmark-publish serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeArguments {
    /// Directory of the published log.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Address and port to listen on.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Certificate of the server with its chain, PEM; with it, HTTPS is served.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Serve what opens private values, too: to everybody who asks.
    #[arg(long)]
    pub with_openings: bool,
    /// Write the address to this file when it is served.
    #[arg(long, value_name = "PATH")]
    pub ready_file: Option<PathBuf>,
}
