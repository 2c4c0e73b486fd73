//! What can be typed about epochs: rotating, looking at them, operating them, and checking a chain offline.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use hallmark_policy::time::{Span, UnixTime};

use super::{ConnectionArguments, ReasonWord};
use crate::hex;

const ROTATE_HELP: &str = "\
The owner's key need not be where this runs: print what has to be signed, sign it elsewhere, and bring the signature.
  hallmark rotate .. --expected HEX --print-statement > statement
  openssl dgst -sha256 -sign owner.pem -out statement.sig statement
  hallmark rotate .. --expected HEX --owner-signature statement.sig --owner-public-key owner.pub
With the same --expected and manifest again, the answer is the same epoch; the same manifest over the transition that is \
active by now makes a new epoch and a new key.";

const VERIFY_CHAIN_HELP: &str = "\
Nothing is asked of any signer. The root, or its SHA-256, has to come from somewhere else than the other files: it is what \
everything is measured by. Manifests are named in the order in which they were set, from the first one on; those of epochs that \
were given up before they became active are left out.
  hallmark verify-chain --root root.pem --manifest first.json --manifest second.json --bundle DIR --leaf leaf.pem";

/// `hallmark rotate`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = ROTATE_HELP,
    group = ArgGroup::new("consent").required(true).args(["owner_key", "owner_signature", "print_statement"])
)]
pub struct RotateArguments {
    /// How to reach the signer.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// Authority that is to rotate.
    #[arg(long, value_name = "NAME", env = "HALLMARK_AUTHORITY", hide_env_values = true)]
    pub authority: Option<String>,
    /// The manifest that is to be set.
    #[arg(long, value_name = "FILE")]
    pub manifest: PathBuf,
    /// Transition that is to be replaced, in hexadecimal [default: the active one, which the signer is asked for].
    #[arg(long, value_name = "HEX", value_parser = hex::digest)]
    pub expected: Option<[u8; 32]>,
    /// There is no epoch yet: this is the first manifest.
    #[arg(long, conflicts_with = "expected")]
    pub genesis: bool,
    /// Root CA certificate of the authority, PEM or DER [default: as the signer shows it; required with --genesis].
    #[arg(long, value_name = "FILE")]
    pub root: Option<PathBuf>,
    /// The owner's private key (PEM, not encrypted, ECDSA P-256 or P-384), to sign with here.
    #[arg(long, value_name = "FILE", conflicts_with = "owner_public_key")]
    pub owner_key: Option<PathBuf>,
    /// The owner's signature over the statement, DER, that was made elsewhere.
    #[arg(long, value_name = "FILE", requires = "owner_public_key")]
    pub owner_signature: Option<PathBuf>,
    /// The public key (PEM or DER) of the owner who signed.
    #[arg(long, value_name = "FILE")]
    pub owner_public_key: Option<PathBuf>,
    /// Print the bytes that the owner has to sign, and do nothing else.
    #[arg(long)]
    pub print_statement: bool,
    /// The owner signs the bare transition, as the policy's `owner-signature = "contrast"` has it.
    #[arg(long, conflicts_with_all = ["lifetime", "revoke_previous"])]
    pub contrast: bool,
    /// Lifetime of the epoch, such as 90d [default: the policy's].
    #[arg(long, value_name = "SPAN", value_parser = Span::parse)]
    pub lifetime: Option<Span>,
    /// Put the intermediate that is replaced on the root's CRL.
    #[arg(long)]
    pub revoke_previous: bool,
    /// Do not ask: neither whether the transition that the signer says is active may be replaced, nor whether a manifest
    /// without owners may be set.
    #[arg(long)]
    pub yes: bool,
    /// Verifier key of the decision log, as a file or as text; checks the receipt.
    #[arg(long, value_name = "VKEY", env = "HALLMARK_LOG_KEY", hide_env_values = true)]
    pub log_key: Option<String>,
    /// Directory for intermediate.pem, mesh-ca.pem, root.pem, receipt.txt and entry.json, and root.crl where there is one; made
    /// if it is not there.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Overwrite files that exist.
    #[arg(long)]
    pub force: bool,
}

/// `hallmark epochs`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct EpochsArguments {
    /// What to list.
    #[command(flatten)]
    pub list: EpochsListArguments,
    /// Something else than a list.
    #[command(subcommand)]
    pub command: Option<EpochsCommand>,
}

/// What `hallmark epochs` lists.
#[derive(Clone, Debug, Args)]
pub struct EpochsListArguments {
    /// How to reach the signer.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// Authority whose epochs are wanted.
    #[arg(long, value_name = "NAME", env = "HALLMARK_AUTHORITY", hide_env_values = true)]
    pub authority: Option<String>,
    /// Show every change as it happens, one line each, until interrupted.
    #[arg(long, conflicts_with_all = ["limit", "before"])]
    pub watch: bool,
    /// How many epochs, newest first; at most 100.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub limit: u32,
    /// Only generations below this one.
    #[arg(long, value_name = "GENERATION", value_parser = clap::value_parser!(u64).range(1..))]
    pub before: Option<u64>,
    /// Show digests in all their digits.
    #[arg(long)]
    pub full: bool,
}

/// The commands about epochs that any caller with the right can give.
#[derive(Clone, Debug, Subcommand)]
pub enum EpochsCommand {
    /// Show everything about one epoch.
    Show(EpochsShowArguments),
}

/// `hallmark epochs show`.
#[derive(Clone, Debug, Args)]
pub struct EpochsShowArguments {
    /// How to reach the signer.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// Authority of the epoch.
    #[arg(long, value_name = "NAME", env = "HALLMARK_AUTHORITY", hide_env_values = true)]
    pub authority: Option<String>,
    /// Generation of the epoch.
    #[arg(value_name = "GENERATION", value_parser = clap::value_parser!(u64).range(1..))]
    pub generation: u64,
}

/// The operators' commands about epochs, for their listener.
#[derive(Clone, Debug, Subcommand)]
pub enum EpochCommand {
    /// List epochs, as `hallmark epochs` does for callers.
    List(EpochListArguments),
    /// Make the next epoch of an authority that rotates by age: key and CA certificates, but no leaf yet.
    Prepare(EpochPrepareArguments),
    /// Put a prepared epoch in the place of the active one, after showing whom its chain has reached.
    Activate(EpochActivateArguments),
    /// Give up an epoch that is not active yet, and have its key destroyed.
    Abort(EpochAbortArguments),
    /// Revoke the intermediate of an epoch that is over: its key may be somebody else's.
    Revoke(EpochRevokeArguments),
    /// Bring the intermediate that an offline root has signed.
    Bring(EpochBringArguments),
}

/// `hallmark epoch list`.
#[derive(Clone, Debug, Args)]
pub struct EpochListArguments {
    /// How to reach the signer.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// Authority whose epochs are wanted.
    #[arg(long, value_name = "NAME", env = "HALLMARK_AUTHORITY", hide_env_values = true)]
    pub authority: Option<String>,
    /// How many epochs, newest first; at most 100.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub limit: u32,
    /// Only generations below this one.
    #[arg(long, value_name = "GENERATION", value_parser = clap::value_parser!(u64).range(1..))]
    pub before: Option<u64>,
    /// Show digests in all their digits.
    #[arg(long)]
    pub full: bool,
}

/// `hallmark epoch prepare`.
#[derive(Clone, Debug, Args)]
pub struct EpochPrepareArguments {
    /// How to reach the signer.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// Authority of the epoch.
    #[arg(long, value_name = "NAME", env = "HALLMARK_AUTHORITY", hide_env_values = true)]
    pub authority: Option<String>,
    /// Lifetime of the epoch, such as 90d [default: the policy's].
    #[arg(long, value_name = "SPAN", value_parser = Span::parse)]
    pub lifetime: Option<Span>,
    /// Directory for intermediate.pem, mesh-ca.pem and root.pem, or intermediate.csr where the root is offline.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Overwrite files that exist.
    #[arg(long)]
    pub force: bool,
}

/// `hallmark epoch activate`.
#[derive(Clone, Debug, Args)]
pub struct EpochActivateArguments {
    /// How to reach the signer.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// Authority of the epoch.
    #[arg(long, value_name = "NAME", env = "HALLMARK_AUTHORITY", hide_env_values = true)]
    pub authority: Option<String>,
    /// Generation of the epoch.
    #[arg(value_name = "GENERATION", value_parser = clap::value_parser!(u64).range(1..))]
    pub generation: u64,
    /// Put the intermediate that is replaced on the root's CRL.
    #[arg(long)]
    pub revoke_previous: bool,
    /// Do not ask, whoever has fetched its chain.
    #[arg(long)]
    pub yes: bool,
}

/// `hallmark epoch abort`.
#[derive(Clone, Debug, Args)]
pub struct EpochAbortArguments {
    /// How to reach the signer.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// Authority of the epoch.
    #[arg(long, value_name = "NAME", env = "HALLMARK_AUTHORITY", hide_env_values = true)]
    pub authority: Option<String>,
    /// Generation of the epoch.
    #[arg(value_name = "GENERATION", value_parser = clap::value_parser!(u64).range(1..))]
    pub generation: u64,
    /// Why, for the decision log.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
}

/// `hallmark epoch revoke`.
#[derive(Clone, Debug, Args)]
pub struct EpochRevokeArguments {
    /// How to reach the signer.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// Authority of the epoch.
    #[arg(long, value_name = "NAME", env = "HALLMARK_AUTHORITY", hide_env_values = true)]
    pub authority: Option<String>,
    /// Generation of the epoch.
    #[arg(value_name = "GENERATION", value_parser = clap::value_parser!(u64).range(1..))]
    pub generation: u64,
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

/// `hallmark epoch bring`.
#[derive(Clone, Debug, Args)]
pub struct EpochBringArguments {
    /// How to reach the signer.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// Authority of the epoch.
    #[arg(long, value_name = "NAME", env = "HALLMARK_AUTHORITY", hide_env_values = true)]
    pub authority: Option<String>,
    /// Generation of the epoch.
    #[arg(value_name = "GENERATION", value_parser = clap::value_parser!(u64).range(1..))]
    pub generation: u64,
    /// The intermediate CA certificate, PEM or DER.
    #[arg(long, value_name = "FILE")]
    pub certificate: PathBuf,
}

/// `hallmark verify-chain`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = VERIFY_CHAIN_HELP,
    group = ArgGroup::new("history").required(true).multiple(true).args(["manifest", "generations", "from_transition"]),
    group = ArgGroup::new("epoch").required(true).multiple(true).args(["bundle", "intermediate"])
)]
pub struct VerifyChainArguments {
    /// The root that is trusted: its certificate (PEM or DER), or the SHA-256 of its DER in hexadecimal.
    #[arg(long, value_name = "FILE|HEX")]
    pub root: String,
    /// Root CA certificate, where --root is a SHA-256 and no bundle has it.
    #[arg(long, value_name = "FILE")]
    pub root_certificate: Option<PathBuf>,
    /// A manifest; repeatable, in the order in which they were set.
    #[arg(long, value_name = "FILE", conflicts_with = "generations")]
    pub manifest: Vec<PathBuf>,
    /// Transition that the manifests follow, in hexadecimal [default: none, from genesis on].
    #[arg(long, value_name = "HEX", value_parser = hex::digest)]
    pub from_transition: Option<[u8; 32]>,
    /// Name of an authority that rotates by age.
    #[arg(long, value_name = "NAME", requires = "generations")]
    pub authority: Option<String>,
    /// Generations of an authority that rotates by age, as they became active: 1,2,4.
    #[arg(long, value_name = "N,N", value_delimiter = ',', requires = "authority", value_parser = clap::value_parser!(u64).range(1..))]
    pub generations: Vec<u64>,
    /// Directory with intermediate.pem, mesh-ca.pem and root.pem, as `hallmark rotate --out` writes it.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["intermediate", "mesh_ca"])]
    pub bundle: Option<PathBuf>,
    /// Intermediate CA certificate, PEM or DER.
    #[arg(long, value_name = "FILE", requires = "mesh_ca")]
    pub intermediate: Option<PathBuf>,
    /// Mesh CA certificate, PEM or DER.
    #[arg(long, value_name = "FILE", requires = "intermediate")]
    pub mesh_ca: Option<PathBuf>,
    /// A leaf certificate, PEM (its chain may follow) or DER; repeatable.
    #[arg(long, value_name = "FILE")]
    pub leaf: Vec<PathBuf>,
    /// SHA-256 of the leaves' policy in hexadecimal: their names have to be those of the last manifest's entry.
    #[arg(long, value_name = "HEX", value_parser = hex::digest, requires_all = ["leaf", "manifest"])]
    pub policy_hash: Option<[u8; 32]>,
    /// The root's CRL, PEM or DER.
    #[arg(long, value_name = "FILE")]
    pub root_crl: Option<PathBuf>,
    /// When everything has to be valid, such as 2026-01-31T12:00:00Z [default: now].
    #[arg(long, value_name = "TIME", value_parser = UnixTime::parse)]
    pub at: Option<UnixTime>,
}
