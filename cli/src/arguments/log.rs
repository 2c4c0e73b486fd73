//! What auditors and operators can type about the decision log.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use hallmark_policy::time::{Span, UnixTime};

/// The commands for decision logs.
#[derive(Clone, Debug, Subcommand)]
pub enum LogCommand {
    /// Check a whole published log: every entry, every hash, the signed root, and what was seen before.
    Verify(Box<VerifyArguments>),
    /// Show entries of a published log, without checking it.
    Show(ShowArguments),
    /// Check the receipt of one entry, and that it is about a certificate.
    Receipt(ReceiptArguments),
    /// Find the entry of a certificate and make a receipt for it.
    Prove(ProveArguments),
    /// Find entries by what they say; the whole log is checked on the way.
    ///
    /// Entries are printed as they are found, before the log is read to its end: they count only if this ends with 0.
    Query(Box<QueryArguments>),
    /// Show entries from one index to another, each proven to be in the log.
    Range(RangeArguments),
    /// Compare certificates, CRLs and a device's counter with what an issuer's entries say.
    Reconcile(ReconcileArguments),
    /// Count what was issued, refused and why, over time.
    Stats(Box<StatsArguments>),
    /// Copy a published log, with private values or without.
    Export(ExportArguments),
}

/// Which log, and who speaks for it.
#[derive(Clone, Debug, Args)]
pub struct LogArguments {
    /// The published log: a directory with `checkpoint` and `tile/`, or the URL of one.
    #[arg(value_name = "LOG")]
    pub log: String,
    /// Verifier key of the log, as a file or as text. Get it from whoever runs the signer, not from the log.
    #[arg(long, value_name = "VKEY", env = "HALLMARK_LOG_KEY", hide_env_values = true)]
    pub key: Option<String>,
    /// CA certificates (PEM) that an https server must chain to [default: those of the system].
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// A log that this one continues under another name: a directory or a URL; repeatable, the latest first.
    #[arg(long, value_name = "LOG")]
    pub previous: Vec<String>,
    /// Verifier key of such a log, as a file or as text; repeatable.
    #[arg(long, value_name = "VKEY")]
    pub previous_key: Vec<String>,
    /// Entries before this one have no bundles any more, by the policy that whoever runs the signer states.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub pruned_before: u64,
}

/// `hallmark log verify`.
#[derive(Clone, Debug, Args)]
pub struct VerifyArguments {
    /// Which log.
    #[command(flatten)]
    pub log: LogArguments,
    /// An earlier checkpoint of this log: nothing may have changed before it.
    #[arg(long, value_name = "FILE")]
    pub anchor: Option<PathBuf>,
    /// Where checkpoints are remembered from run to run [default: ~/.local/state/hallmark/logs].
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Neither use nor remember anything from run to run.
    #[arg(long, conflicts_with = "state")]
    pub no_state: bool,
    /// Verifier key of a witness, as a file or as text; repeatable.
    #[arg(long, value_name = "VKEY")]
    pub witness: Vec<String>,
    /// How many of the witnesses must have co-signed [default: all].
    #[arg(long, value_name = "N", requires = "witness")]
    pub quorum: Option<usize>,
    /// Age of the newest entry from which the log counts as stale.
    #[arg(long, value_name = "SPAN", default_value = "25h", value_parser = Span::parse)]
    pub stale_after: Span,
    /// Longest time without an entry, while the signer runs; it logs a heartbeat every 10 minutes.
    #[arg(long, value_name = "SPAN", default_value = "15m", value_parser = Span::parse)]
    pub silence: Span,
}

/// `hallmark log show`.
#[derive(Clone, Debug, Args)]
pub struct ShowArguments {
    /// The published log: a directory, or a URL.
    #[arg(value_name = "LOG")]
    pub log: String,
    /// CA certificates (PEM) that an https server must chain to [default: those of the system].
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Index of the first entry, from 0 [default: so that the newest are shown].
    #[arg(long, value_name = "N")]
    pub from: Option<u64>,
    /// How many entries.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub count: u64,
}

/// `hallmark log receipt`.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("about").required(true).multiple(true).args(["entry", "log"]))]
pub struct ReceiptArguments {
    /// The receipt.
    #[arg(value_name = "FILE")]
    pub receipt: PathBuf,
    /// The certificate that the entry must be about, PEM or DER.
    #[arg(value_name = "CERT")]
    pub certificate: Option<PathBuf>,
    /// The entry that it is about, verbatim, as `mint --entry-out` writes it.
    #[arg(long, value_name = "FILE")]
    pub entry: Option<PathBuf>,
    /// The published log to take the entry from: a directory, or a URL.
    #[arg(long, value_name = "LOG", conflicts_with = "entry")]
    pub log: Option<String>,
    /// CA certificates (PEM) that an https server must chain to [default: those of the system].
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Verifier key of the log, as a file or as text.
    #[arg(long, value_name = "VKEY", env = "HALLMARK_LOG_KEY", hide_env_values = true)]
    pub key: Option<String>,
}

/// `hallmark log prove`.
#[derive(Clone, Debug, Args)]
pub struct ProveArguments {
    /// Which log.
    #[command(flatten)]
    pub log: LogArguments,
    /// The certificate, PEM or DER.
    #[arg(value_name = "CERT")]
    pub certificate: PathBuf,
    /// Where to write the receipt; `-` is stdout [default: -].
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Where to write the entry that the receipt is about.
    #[arg(long, value_name = "FILE")]
    pub entry_out: Option<PathBuf>,
    /// Overwrite files that exist.
    #[arg(long)]
    pub force: bool,
}

/// How entries are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EntryFormat {
    /// Columns for people.
    Table,
    /// One JSON object a line: index and entry.
    Json,
    /// Comma-separated values (RFC 4180).
    Csv,
}

/// `hallmark log query`.
#[derive(Clone, Debug, Args)]
pub struct QueryArguments {
    /// Which log.
    #[command(flatten)]
    pub log: LogArguments,
    /// Which entries.
    #[command(flatten)]
    pub filter: FilterArguments,
    /// How they are printed.
    #[arg(long, value_enum, default_value_t = EntryFormat::Table)]
    pub format: EntryFormat,
}

/// Which entries are meant: those to which everything that is given applies.
#[derive(Clone, Debug, Default, Args)]
pub struct FilterArguments {
    /// Type of the entry, such as decision or rotation.
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<String>,
    /// issued, refused or validated.
    #[arg(long, value_name = "WORD")]
    pub decision: Option<String>,
    /// Code of a reason, such as NAME_OUTSIDE_FORMAT.
    #[arg(long, value_name = "CODE")]
    pub reason: Option<String>,
    /// Caller, by its name in the policy or one of its identities.
    #[arg(long, value_name = "NAME")]
    pub caller: Option<String>,
    /// A name in the certificate or request, with its kind or without; `*` stands for any text.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Instance id: of the instance that the entry names, or in a dNSName (before `.instanceid.`) or an athenz URI (after the provider).
    #[arg(long, value_name = "ID")]
    pub instance: Option<String>,
    /// Serial number, in hexadecimal.
    #[arg(long, value_name = "HEX")]
    pub serial: Option<String>,
    /// SHA-256 of the policy that decided, in hexadecimal, or its beginning.
    #[arg(long, value_name = "HEX")]
    pub policy: Option<String>,
    /// Authority.
    #[arg(long, value_name = "NAME")]
    pub authority: Option<String>,
    /// Profile.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Request id.
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// Not before this moment, such as 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = UnixTime::parse)]
    pub since: Option<UnixTime>,
    /// Not after this moment.
    #[arg(long, value_name = "TIME", value_parser = UnixTime::parse)]
    pub until: Option<UnixTime>,
}

/// `hallmark log range`.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).multiple(true).args(["from", "to", "since", "until"]))]
pub struct RangeArguments {
    /// Which log.
    #[command(flatten)]
    pub log: LogArguments,
    /// Index of the first entry, from 0.
    #[arg(long, value_name = "N")]
    pub from: Option<u64>,
    /// Index of the last entry [default: the newest].
    #[arg(long, value_name = "N")]
    pub to: Option<u64>,
    /// Not before this moment, such as 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = UnixTime::parse)]
    pub since: Option<UnixTime>,
    /// Not after this moment.
    #[arg(long, value_name = "TIME", value_parser = UnixTime::parse)]
    pub until: Option<UnixTime>,
    /// How they are printed.
    #[arg(long, value_enum, default_value_t = EntryFormat::Table)]
    pub format: EntryFormat,
}

/// `hallmark log reconcile`.
#[derive(Clone, Debug, Args)]
pub struct ReconcileArguments {
    /// Which log.
    #[command(flatten)]
    pub log: LogArguments,
    /// Certificate of the issuer, PEM or DER.
    #[arg(long, value_name = "FILE")]
    pub issuer: PathBuf,
    /// Certificates at hand: files, PEM with any number of them or DER; or directories of such files. Repeatable.
    #[arg(long = "certificates", value_name = "PATH")]
    pub certificates: Vec<PathBuf>,
    /// CRLs of the issuer, PEM or DER, up to 16 MiB each; repeatable.
    #[arg(long, value_name = "FILE")]
    pub crl: Vec<PathBuf>,
    /// How often the device says that it signed with the issuer's key.
    #[arg(long, value_name = "N")]
    pub counter: Option<u64>,
    /// What the device logged: commands of a YubiHSM2 as `yubihsm-shell` lists them, serial numbers one a line, or JSON lines.
    #[arg(long, value_name = "FILE", conflicts_with = "counter")]
    pub device_log: Option<PathBuf>,
    /// Object id of the issuer's key, such as 0x0123: commands of other keys in the device's log are passed over.
    #[arg(long, value_name = "ID", requires = "device_log", value_parser = object_id)]
    pub device_key: Option<u16>,
}

/// The id of an object in a YubiHSM2, in hexadecimal.
fn object_id(text: &str) -> Result<u16, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u16::from_str_radix(digits, 16).map_err(|_| "it is no number of four hexadecimal digits, such as 0x0123".to_owned())
}

/// `hallmark log stats`.
#[derive(Clone, Debug, Args)]
pub struct StatsArguments {
    /// Which log.
    #[command(flatten)]
    pub log: LogArguments,
    /// Which entries.
    #[command(flatten)]
    pub filter: FilterArguments,
}

/// `hallmark log export`.
#[derive(Clone, Debug, Args)]
pub struct ExportArguments {
    /// Which log.
    #[command(flatten)]
    pub log: LogArguments,
    /// Directory to write the copy to; it must not exist.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Leave the salts of private values out: nobody can tell the values, and the copy still verifies.
    #[arg(long)]
    pub redact: bool,
}
