//! What can be typed. The help texts here are the manual pages, too.

mod ceremonies;
mod instances;
mod names;
mod rotation;

use std::{net::IpAddr, path::PathBuf};

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use hallmark_policy::time::{Span, UnixTime};

pub use ceremonies::{
    CeremonyCommand, CeremonyPlanArguments, CeremonyRehearseArguments, CeremonyReportArguments, CeremonyRunArguments,
    CeremonyVerifyArguments, DoctorArguments, RehearseHereArguments,
};
pub use instances::{
    AuthorityArguments, AuthorityCommand, CertificateCommand, CertificateFindArguments, CertificateRevokeArguments,
    InstanceAllowArguments, InstanceCommand, InstanceListArguments, InstanceRevokeArguments, InstanceShowArguments,
    InstanceStateWord, OneInstanceArguments, ReasonWord, SelectionArguments,
};
pub use names::{NameCommand, NameListArguments, NameReleaseArguments};
pub use rotation::{
    EpochAbortArguments, EpochActivateArguments, EpochBringArguments, EpochCommand, EpochListArguments,
    EpochPrepareArguments, EpochRevokeArguments, EpochsArguments, EpochsCommand, EpochsListArguments,
    EpochsShowArguments, RotateArguments, VerifyChainArguments,
};

use crate::hex;

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  the answer is no: the signer refused, or a check failed
  2  not asked: wrong usage, a file that cannot be read or written
  3  not now: the signer cannot be reached, is not serving or has failed; a log is good but stale, silent or without quorum

The client configuration file is ~/.config/hallmark/client.toml unless --config names another. It is TOML and can have \
signer, ca, cert, key, authority, profile, log-key and timeout. Flags go before the environment, and the environment \
goes before the file.";

const CASES_HELP: &str = "\
A file of cases is TOML:
  at = \"2026-01-31T12:00:00Z\"         # when it is asked; now if not said
  [[case]]
  name = \"a service gets its name\"
  caller = \"coordinator\"              # a caller of the policy, or uri:URI, or dns:NAME
  profile = \"athenz-service\"
  common-name = \"sports.api\"
  dns = [\"api.sports.example.com\"]    # as well as uri, ip and email
  key = \"ecdsa-p256\"                  # a CSR is made; or csr = \"FILE\" beside the cases
  possession = \"csr\"                  # or \"caller\": the key without a CSR
  claims = []                          # such as { oid = \"1.2.3\", value = \"0101ff\" }, DER in hexadecimal
  manifest = \"manifest.json\"         # beside the cases; also once before all of them
  policy-hash = \"<64 digits>\"        # where names come from the manifest
  evidence-jwt = \"FILE\"              # the provider's JWT, beside the cases; it goes with a csr
  lifetime = \"24h\"
  expect = \"approve\"                  # or \"refuse\"
  reasons = []                         # of a refusal: all of its codes
  names = [\"cn:sports.api\", \"dns:api.sports.example.com\"]
  lifetime-seconds = 86400             # from the moment of asking";

/// The heading of the flags that say how to reach a signer.
const SIGNER: &str = "Signer";

/// Asks a Hallmark certificate signer for certificates, and checks its decision log.
#[derive(Clone, Debug, Parser)]
#[command(name = "hallmark", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Arguments {
    /// Client configuration file.
    #[arg(long, global = true, value_name = "FILE", env = "HALLMARK_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Answer with JSON on stdout, failures included.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Mint a certificate from a CSR (or a bare public key), and check it.
    Mint(Box<MintArguments>),
    /// Show the CA certificates of an authority: intermediate, mesh CA and root.
    Chain(ChainArguments),
    /// Set a manifest, as an owner: a new epoch with a key of its own takes the place of the active one.
    Rotate(Box<RotateArguments>),
    /// List the epochs of an authority, or watch them change.
    Epochs(Box<EpochsArguments>),
    /// As an operator, prepare, activate and give up epochs of authorities that rotate by age.
    #[command(subcommand)]
    Epoch(EpochCommand),
    /// Check offline, trusting nobody, that an epoch is bound to manifests under a root, and where leaves come from.
    VerifyChain(Box<VerifyChainArguments>),
    /// Ask a signer whether it is serving.
    Health(HealthArguments),
    /// Check and read a published decision log; offline, unless a URL is named.
    #[command(subcommand)]
    Log(LogCommand),
    /// Check, explain and test policies offline; as an operator, bring one into force and ask which one is.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// As an operator, list and free written forms of names whose dots are written as dashes.
    #[command(subcommand)]
    Name(NameCommand),
    /// As an operator, list, show, revoke and allow instances.
    #[command(subcommand)]
    Instance(InstanceCommand),
    /// As an operator or monitor, look at how a signer stands: authorities, rates, refusals, queues, tokens, log and disk, on one screen.
    Status(SignerStatusArguments),
    /// As an operator or monitor, print what the signer counts (OpenMetrics 1.0), as `GET /metrics` on the operators' listener gives it.
    Metrics(HealthArguments),
    /// As an operator, find certificates, and revoke them.
    #[command(subcommand)]
    Certificate(CertificateCommand),
    /// As an operator, freeze an authority and thaw it, or let it issue again that was stopped.
    #[command(subcommand)]
    Authority(AuthorityCommand),
    /// As an operator, have a backup of the ledger made while the signer serves, and wait until it is whole.
    Backup(BackupArguments),
    /// Have roots sign in front of witnesses, from one reviewed file: plan, rehearse, run and verify.
    #[command(subcommand)]
    Ceremony(CeremonyCommand),
    /// Look at a signer's or a ceremony's device, clock, disks and certificates; no PIN is tried, nothing is written.
    Doctor(DoctorArguments),
    /// Print a completion script for a shell.
    Completions(CompletionsArguments),
    /// Print the manual page, or write those of all commands into a directory.
    Man(ManArguments),
}

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

/// The commands for policies.
#[derive(Clone, Debug, Subcommand)]
pub enum PolicyCommand {
    /// Say every mistake in a policy file at its line, or what the policy means.
    Check(CheckArguments),
    /// Show rule by rule what would become of a CSR, and the certificate; touches no key and no network.
    Explain(Box<ExplainArguments>),
    /// Run the cases beside policies: requests with the decisions that are expected.
    Test(TestArguments),
    /// Have a policy checked by the signer and brought into force; a bad one changes nothing.
    Apply(ApplyArguments),
    /// Show which policy is in force, and since when.
    Status(StatusArguments),
}

/// How to reach a signer.
#[derive(Clone, Debug, Default, Args)]
pub struct ConnectionArguments {
    /// URL of the signer, such as https://signer.example.com:4443.
    #[arg(long, help_heading = SIGNER, value_name = "URL", env = "HALLMARK_SIGNER", hide_env_values = true)]
    pub signer: Option<String>,
    /// CA certificates (PEM) that the signer's own certificate must chain to.
    #[arg(long, help_heading = SIGNER, value_name = "FILE", env = "HALLMARK_CA", hide_env_values = true)]
    pub ca: Option<PathBuf>,
    /// Client certificate (PEM), followed by its intermediates.
    #[arg(long, help_heading = SIGNER, value_name = "FILE", env = "HALLMARK_CERT", hide_env_values = true)]
    pub cert: Option<PathBuf>,
    /// Private key (PEM) of the client certificate.
    #[arg(long, help_heading = SIGNER, value_name = "FILE", env = "HALLMARK_KEY", hide_env_values = true)]
    pub key: Option<PathBuf>,
    /// How long to wait for the answer, connecting included [default: 20s, and 2m where a key is made].
    #[arg(long, help_heading = SIGNER, value_name = "SPAN", env = "HALLMARK_TIMEOUT", hide_env_values = true, value_parser = Span::parse)]
    pub timeout: Option<Span>,
}

/// `hallmark mint`.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("subject").required(true).args(["csr", "spki"]))]
pub struct MintArguments {
    /// How to reach the signer.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// Authority to mint under; not needed where its profile names it.
    #[arg(long, value_name = "NAME", env = "HALLMARK_AUTHORITY", hide_env_values = true)]
    pub authority: Option<String>,
    /// Profile of the policy, or AUTHORITY/PROFILE.
    #[arg(long, value_name = "NAME", env = "HALLMARK_PROFILE", hide_env_values = true)]
    pub profile: Option<String>,
    /// Certificate signing request, PEM or DER.
    #[arg(long, value_name = "FILE")]
    pub csr: Option<PathBuf>,
    /// Public key (SubjectPublicKeyInfo), PEM or DER, for profiles in which the caller vouches for possession.
    #[arg(long, value_name = "FILE")]
    pub spki: Option<PathBuf>,
    /// A dNSName; with --spki, repeatable.
    #[arg(long, value_name = "NAME", requires = "spki", conflicts_with = "csr")]
    pub dns: Vec<String>,
    /// A URI name; with --spki, repeatable.
    #[arg(long, value_name = "URI", requires = "spki", conflicts_with = "csr")]
    pub uri: Vec<String>,
    /// An IP address, such as 192.0.2.1 or 2001:db8::1; with --spki, repeatable.
    #[arg(long, value_name = "ADDRESS", requires = "spki", conflicts_with = "csr")]
    pub ip: Vec<IpAddr>,
    /// A mail address; with --spki, repeatable.
    #[arg(long, value_name = "ADDRESS", requires = "spki", conflicts_with = "csr")]
    pub email: Vec<String>,
    /// The subject's common name; with --spki.
    #[arg(long, value_name = "NAME", requires = "spki", conflicts_with = "csr")]
    pub common_name: Option<String>,
    /// Wished lifetime, such as 24h [default: the profile's].
    #[arg(long, value_name = "SPAN", value_parser = Span::parse)]
    pub lifetime: Option<Span>,
    /// Transition of the epoch that is meant, in hexadecimal; another active epoch is refused.
    #[arg(long, value_name = "HEX", value_parser = hex::digest)]
    pub transition: Option<[u8; 32]>,
    /// SHA-256 of the workload's policy in hexadecimal: the names are those that the manifest in force has for it.
    #[arg(long, value_name = "HEX", value_parser = hex::digest)]
    pub policy_hash: Option<[u8; 32]>,
    /// SHA-256 of evidence that was checked, in hexadecimal; logged, not interpreted.
    #[arg(long, value_name = "HEX", value_parser = hex::digest)]
    pub evidence_sha256: Option<[u8; 32]>,
    /// Evidence that the signer checks: the provider's JWT.
    #[arg(long, value_name = "FILE")]
    pub evidence_jwt: Option<PathBuf>,
    /// Begin the record of an instance with it, for profiles that keep records; the names say which instance.
    #[arg(long, conflicts_with = "refresh")]
    pub register: bool,
    /// The instance's certificate that it replaces, PEM or DER.
    #[arg(long, value_name = "FILE")]
    pub refresh: Option<PathBuf>,
    /// Proof that whoever refreshes has the key of that certificate: its signature over what `docs/instances.md` says, where the CSR
    /// is not signed with it.
    #[arg(long, value_name = "FILE", requires = "refresh")]
    pub refresh_proof: Option<PathBuf>,
    /// Name of this request: the same one again gives the same certificate [default: a random one].
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// Only ask whether it would be minted.
    #[arg(long)]
    pub validate_only: bool,
    /// Verifier key of the decision log, as a file or as text; checks the receipt.
    #[arg(long, value_name = "VKEY", env = "HALLMARK_LOG_KEY", hide_env_values = true)]
    pub log_key: Option<String>,
    /// Where to write the certificate and its chain, PEM; `-` is stdout [default: -].
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Where to write the chain alone, PEM.
    #[arg(long, value_name = "FILE")]
    pub chain_out: Option<PathBuf>,
    /// Where to write the receipt.
    #[arg(long, value_name = "FILE")]
    pub receipt_out: Option<PathBuf>,
    /// Where to write the decision log's entry, which the receipt is about.
    #[arg(long, value_name = "FILE")]
    pub entry_out: Option<PathBuf>,
    /// Overwrite files that exist.
    #[arg(long)]
    pub force: bool,
}

/// `hallmark chain`.
#[derive(Clone, Debug, Args)]
pub struct ChainArguments {
    /// How to reach the signer.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// Authority whose certificates are wanted.
    #[arg(long, value_name = "NAME", env = "HALLMARK_AUTHORITY", hide_env_values = true)]
    pub authority: Option<String>,
    /// Generation of the epoch, from 1 [default: the active epoch].
    #[arg(long, value_name = "N", conflicts_with = "transition")]
    pub generation: Option<u64>,
    /// Transition of the epoch, in hexadecimal.
    #[arg(long, value_name = "HEX", value_parser = hex::digest)]
    pub transition: Option<[u8; 32]>,
    /// Where to write the intermediate, PEM; `-` is stdout [default: -].
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Where to write the root, PEM.
    #[arg(long, value_name = "FILE")]
    pub root_out: Option<PathBuf>,
    /// Where to write the mesh CA, PEM.
    #[arg(long, value_name = "FILE")]
    pub mesh_ca_out: Option<PathBuf>,
    /// Where to write the root's newest CRL, PEM: it lists revoked intermediates.
    #[arg(long, value_name = "FILE")]
    pub root_crl_out: Option<PathBuf>,
    /// Where to write the epoch's newest CRL, PEM: it lists revoked leaves.
    #[arg(long, value_name = "FILE")]
    pub crl_out: Option<PathBuf>,
    /// Overwrite files that exist.
    #[arg(long)]
    pub force: bool,
}

/// `hallmark health`.
#[derive(Clone, Debug, Args)]
pub struct HealthArguments {
    /// How to reach the signer.
    #[command(flatten)]
    pub connection: ConnectionArguments,
}

/// `hallmark status`.
#[derive(Clone, Debug, Args)]
pub struct SignerStatusArguments {
    /// How to reach the signer.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// Look again and again, with rates since the time before: in place in a terminal until q or Ctrl-C, otherwise one block after the other; with
    /// --json one object a line.
    #[arg(long)]
    pub watch: bool,
    /// How long is waited between two looks.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=3600), requires = "watch")]
    pub interval: u16,
}

/// `hallmark backup`.
#[derive(Clone, Debug, Args)]
pub struct BackupArguments {
    /// How to reach the signer.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// Name of the backup, a new directory below `ledger.backups` of signer.toml on the signer's machine; the time, unless it is given. The same
    /// name again waits for a backup that is under way.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Why, for the decision log.
    #[arg(long, value_name = "TEXT")]
    pub why: String,
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

/// `hallmark policy apply`.
#[derive(Clone, Debug, Args)]
pub struct ApplyArguments {
    /// How to reach the signer.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// The policy file.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only have it checked: nothing is logged and nothing changes.
    #[arg(long)]
    pub dry_run: bool,
    /// SHA-256 of the policy that is to be replaced, in hexadecimal; with another one in force nothing changes.
    #[arg(long, value_name = "HEX", value_parser = hex::digest)]
    pub expect: Option<[u8; 32]>,
}

/// `hallmark policy status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArguments {
    /// How to reach the signer.
    #[command(flatten)]
    pub connection: ConnectionArguments,
}

/// `hallmark policy check`.
#[derive(Clone, Debug, Args)]
pub struct CheckArguments {
    /// The policy file.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// `hallmark policy explain`.
#[derive(Clone, Debug, Args)]
pub struct ExplainArguments {
    /// Certificate signing request, PEM or DER.
    #[arg(value_name = "CSR")]
    pub csr: PathBuf,
    /// The policy file.
    #[arg(long, value_name = "FILE")]
    pub policy: PathBuf,
    /// Profile of the policy.
    #[arg(long, value_name = "NAME")]
    pub profile: String,
    /// Caller of the policy by its name, or any identity: uri:URI or dns:NAME.
    #[arg(long, value_name = "NAME")]
    pub caller: String,
    /// The manifest in force, for profiles whose names come from it.
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
    /// SHA-256 of the workload's policy, in hexadecimal, by which the manifest is asked for names.
    #[arg(long, value_name = "HEX", value_parser = hex::digest)]
    pub policy_hash: Option<[u8; 32]>,
    /// Evidence that the signer checks: the provider's JWT.
    #[arg(long, value_name = "FILE")]
    pub evidence_jwt: Option<PathBuf>,
    /// Wished lifetime, such as 24h [default: the profile's].
    #[arg(long, value_name = "SPAN", value_parser = Span::parse)]
    pub lifetime: Option<Span>,
    /// When it is asked, such as 2026-01-31T12:00:00Z [default: now].
    #[arg(long, value_name = "TIME", value_parser = UnixTime::parse)]
    pub at: Option<UnixTime>,
}

/// `hallmark policy test`.
#[derive(Clone, Debug, Args)]
#[command(after_help = CASES_HELP)]
pub struct TestArguments {
    /// The policy files; the cases of `x.toml` are in `x.tests.toml` beside it.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// The cases, where they are in another file.
    #[arg(long, value_name = "FILE")]
    pub cases: Option<PathBuf>,
    /// Write what was decided into the cases that failed, as what is expected from now on. Read the diff.
    #[arg(long)]
    pub bless: bool,
}

/// `hallmark completions`.
#[derive(Clone, Debug, Args)]
pub struct CompletionsArguments {
    /// The shell.
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// `hallmark man`.
#[derive(Clone, Debug, Args)]
pub struct ManArguments {
    /// Where to write the pages; without it the main page goes to stdout.
    #[arg(value_name = "DIR")]
    pub directory: Option<PathBuf>,
}
