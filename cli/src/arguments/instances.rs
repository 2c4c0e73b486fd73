//! What operators can type about instances, certificates and authorities.

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use hallmark_policy::time::UnixTime;

use super::ConnectionArguments;
use crate::hex;

/// The operators' commands about records of instances, for their listener.
#[derive(Clone, Debug, Subcommand)]
pub enum InstanceCommand {
    /// List records of instances.
    List(InstanceListArguments),
    /// Show the record of an instance, with its certificates.
    Show(InstanceShowArguments),
    /// Revoke an instance with all its certificates: it registers and refreshes no more.
    Revoke(InstanceRevokeArguments),
    /// Let an instance register anew, whether it is revoked or alive.
    Allow(InstanceAllowArguments),
}

/// In which state instances are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InstanceStateWord {
    /// Not revoked, and one of its certificates has not ended.
    Alive,
    /// Revoked.
    Revoked,
    /// Not revoked, and all of its certificates have ended.
    Ended,
}

/// Why a leaf is revoked, as CRLs say it (RFC 5280, section 5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReasonWord {
    /// No reason is said.
    Unspecified,
    /// Somebody else has the key.
    KeyCompromise,
    /// Names or organisation have changed.
    AffiliationChanged,
    /// Another certificate has taken its place.
    Superseded,
    /// It is needed no more.
    CessationOfOperation,
    /// What it stood for was withdrawn.
    PrivilegeWithdrawn,
}

impl ReasonWord {
    /// As the wire writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "key-compromise",
            Self::AffiliationChanged => "affiliation-changed",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessation-of-operation",
            Self::PrivilegeWithdrawn => "privilege-withdrawn",
        }
    }
}

/// `hallmark instance list`.
#[derive(Clone, Debug, Args)]
pub struct InstanceListArguments {
    /// How to reach the signer.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// Authority whose instances are wanted.
    #[arg(long, value_name = "NAME", env = "HALLMARK_AUTHORITY", hide_env_values = true)]
    pub authority: Option<String>,
    /// Only those of this provider.
    #[arg(long, value_name = "NAME")]
    pub provider: Option<String>,
    /// Only those that run this service.
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// Only those in this state.
    #[arg(long, value_name = "STATE")]
    pub state: Option<InstanceStateWord>,
    /// How many; at most 1,000.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub limit: u32,
    /// Only those behind this one, for the next page: its id, with --after-provider.
    #[arg(long, value_name = "ID", requires = "after_provider")]
    pub after: Option<String>,
    /// Provider of the last one that was seen.
    #[arg(long, value_name = "NAME", requires = "after")]
    pub after_provider: Option<String>,
}

/// Which instance.
#[derive(Clone, Debug, Args)]
pub struct OneInstanceArguments {
    /// How to reach the signer.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// Authority of the instance.
    #[arg(long, value_name = "NAME", env = "HALLMARK_AUTHORITY", hide_env_values = true)]
    pub authority: Option<String>,
    /// Who launched it.
    #[arg(long, value_name = "NAME")]
    pub provider: String,
    /// What the provider calls it.
    #[arg(value_name = "ID")]
    pub id: String,
}

/// `hallmark instance show`.
#[derive(Clone, Debug, Args)]
pub struct InstanceShowArguments {
    /// Which.
    #[command(flatten)]
    pub instance: OneInstanceArguments,
    /// How many of its certificates, the newest first; at most 1,000.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub limit: u32,
    /// Only certificates whose decisions are below this index of the log: for the next page.
    #[arg(long, value_name = "INDEX")]
    pub before: Option<u64>,
}

/// `hallmark instance revoke`.
#[derive(Clone, Debug, Args)]
pub struct InstanceRevokeArguments {
    /// Which.
    #[command(flatten)]
    pub instance: OneInstanceArguments,
    /// What CRLs say.
    #[arg(long, value_name = "REASON", default_value = "unspecified")]
    pub reason: ReasonWord,
    /// Why, for the decision log.
    #[arg(long, value_name = "TEXT")]
    pub why: String,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
}

/// `hallmark instance allow`.
#[derive(Clone, Debug, Args)]
pub struct InstanceAllowArguments {
    /// Which.
    #[command(flatten)]
    pub instance: OneInstanceArguments,
    /// Why, for the decision log.
    #[arg(long, value_name = "TEXT")]
    pub why: String,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
}

/// The operators' commands about leaf certificates, for their listener.
#[derive(Clone, Debug, Subcommand)]
pub enum CertificateCommand {
    /// Find certificates by serial number, name, instance, key, caller, profile and time.
    ///
    /// By serial number, name, instance and key, those are found that have not ended for longer than the signer's `ended-retention`; `hallmark log query` finds
    /// the others in the published log. By caller, profile and time alone, the signer reads its log backwards, and finds all.
    Find(Box<CertificateFindArguments>),
    /// Count certificates and, after a yes, revoke them all.
    Revoke(Box<CertificateRevokeArguments>),
}

/// Which certificates are meant: those to which everything that is given applies.
#[derive(Clone, Debug, Args)]
pub struct SelectionArguments {
    /// Serial number, in hexadecimal.
    #[arg(long, value_name = "HEX", value_parser = hex::serial)]
    pub serial: Option<Vec<u8>>,
    /// A name in it, with its kind (dns:a.example) or without.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Provider of the instance.
    #[arg(long, value_name = "NAME", requires = "instance")]
    pub provider: Option<String>,
    /// Id of the instance: certificates of its present registration.
    #[arg(long, value_name = "ID", requires = "provider")]
    pub instance: Option<String>,
    /// SHA-256 of its SubjectPublicKeyInfo, in hexadecimal.
    #[arg(long, value_name = "HEX", value_parser = hex::digest)]
    pub spki: Option<[u8; 32]>,
    /// Who asked for it: the caller's name in the policy.
    #[arg(long, value_name = "NAME")]
    pub caller: Option<String>,
    /// Its profile.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Decided at this moment or later, such as 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = UnixTime::parse)]
    pub since: Option<UnixTime>,
    /// Decided at this moment or before.
    #[arg(long, value_name = "TIME", value_parser = UnixTime::parse)]
    pub until: Option<UnixTime>,
}

/// `hallmark certificate find`.
#[derive(Clone, Debug, Args)]
pub struct CertificateFindArguments {
    /// How to reach the signer.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// Authority whose certificates are wanted.
    #[arg(long, value_name = "NAME", env = "HALLMARK_AUTHORITY", hide_env_values = true)]
    pub authority: Option<String>,
    /// Which.
    #[command(flatten)]
    pub selection: SelectionArguments,
    /// Leave out those that have ended, and those that are revoked.
    #[arg(long)]
    pub living: bool,
    /// How many; at most 1,000.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub limit: u32,
    /// Only decisions below this index of the log: for the next page.
    #[arg(long, value_name = "INDEX")]
    pub before: Option<u64>,
}

/// `hallmark certificate revoke`.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("selected").required(true).multiple(true)
    .args(["serial", "name", "instance", "spki", "caller", "profile"]))]
pub struct CertificateRevokeArguments {
    /// How to reach the signer.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// Authority of the certificates.
    #[arg(long, value_name = "NAME", env = "HALLMARK_AUTHORITY", hide_env_values = true)]
    pub authority: Option<String>,
    /// Which. Those that have ended or are revoked are left out.
    #[command(flatten)]
    pub selection: SelectionArguments,
    /// What CRLs say.
    #[arg(long, value_name = "REASON", default_value = "unspecified")]
    pub reason: ReasonWord,
    /// Why, for the decision log.
    #[arg(long, value_name = "TEXT")]
    pub why: String,
    /// Only count.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
}

/// The operators' commands about authorities, for their listener.
#[derive(Clone, Debug, Subcommand)]
pub enum AuthorityCommand {
    /// Have an authority sign nothing for callers until it is thawed, whatever is asked: CRLs go on, and epochs can be rotated.
    Freeze(AuthorityArguments),
    /// Let a frozen authority issue again.
    Thaw(AuthorityArguments),
    /// Let an authority issue again that a certificate unknown to its database has stopped.
    Resume(AuthorityArguments),
}

/// `hallmark authority freeze`, `thaw` and `resume`.
#[derive(Clone, Debug, Args)]
pub struct AuthorityArguments {
    /// How to reach the signer.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// The authority.
    #[arg(long, value_name = "NAME", env = "HALLMARK_AUTHORITY", hide_env_values = true)]
    pub authority: Option<String>,
    /// Why, for the decision log.
    #[arg(long, value_name = "TEXT")]
    pub why: String,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
}
