//! What can be typed about policies.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hallmark_policy::time::{Span, UnixTime};

use super::ConnectionArguments;
use crate::hex;

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
