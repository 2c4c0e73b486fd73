//! What can be typed. The help texts here are the manual pages, too.

mod ceremonies;
mod instances;
mod log;
mod names;
mod policy;
mod rotation;

use std::{net::IpAddr, path::PathBuf};

use clap::{ArgGroup, Args, Parser, Subcommand};
use clap_complete::Shell;
use hallmark_policy::time::Span;

pub use ceremonies::{
    CeremonyCommand, CeremonyPlanArguments, CeremonyRehearseArguments, CeremonyReportArguments, CeremonyRunArguments,
    CeremonyVerifyArguments, DoctorArguments, RehearseHereArguments,
};
pub use instances::{
    AuthorityArguments, AuthorityCommand, CertificateCommand, CertificateFindArguments, CertificateRevokeArguments,
    InstanceAllowArguments, InstanceCommand, InstanceListArguments, InstanceRevokeArguments, InstanceShowArguments,
    InstanceStateWord, OneInstanceArguments, ReasonWord, SelectionArguments,
};
pub use log::{
    EntryFormat, ExportArguments, FilterArguments, LogArguments, LogCommand, ProveArguments, QueryArguments,
    RangeArguments, ReceiptArguments, ReconcileArguments, ShowArguments, StatsArguments, VerifyArguments,
};
pub use names::{NameCommand, NameListArguments, NameReleaseArguments};
pub use policy::{ApplyArguments, CheckArguments, ExplainArguments, PolicyCommand, StatusArguments, TestArguments};
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
