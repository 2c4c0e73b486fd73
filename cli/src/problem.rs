//! Why a command did not do what it should: every kind of failure, with its hint and its exit code.

use std::{io, path::PathBuf};

use hallmark_ceremony::CeremonyError;
use hallmark_policy::{manifest::ManifestError, time::SpanError};
use hallmark_tlog::{audit::AuditError, checkpoint::CheckpointError, receipt::ReceiptError};

use crate::{
    ceremony,
    checks::CheckError,
    config::ConfigError,
    connection::ConnectionError,
    exit::Exit,
    files::FileError,
    log::key::LogKeyError,
    policy::{case::CaseError, fault::PolicyFault, stand_in::StandInError},
    refusal::Refused,
    rotate::owner::OwnerError,
    settings::SettingsError,
    when,
};

/// A failure of a command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// The client configuration file does not serve.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Something was not said.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A span of time in the configuration file.
    #[error("the configuration file's timeout is not usable")]
    Timeout(#[from] SpanError),
    /// A file does not serve.
    #[error(transparent)]
    File(#[from] FileError),
    /// The signer was not reached.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The signer did not do it.
    #[error(transparent)]
    Refused(#[from] Box<Refused>),
    /// The signer did it, but what it answered does not hold.
    #[error("the signer's answer does not hold")]
    Check {
        /// The request id, where there is one.
        request_id: Option<String>,
        /// Why.
        source: CheckError,
    },
    /// What became of a request is not known.
    #[error("the request `{request_id}` has no answer")]
    Unanswered {
        /// Its request id.
        request_id: String,
        /// Why.
        source: Box<ConnectionError>,
    },
    /// A log key does not read.
    #[error(transparent)]
    LogKey(#[from] LogKeyError),
    /// A log cannot be audited.
    #[error("the log cannot be audited")]
    Audit(#[source] AuditError<FileError>),
    /// The log's head or the anchor does not hold.
    #[error("`{what}` does not hold")]
    Checkpoint {
        /// Which file.
        what: String,
        /// Why.
        source: CheckpointError,
    },
    /// What was read of the log is not what was signed.
    #[error("the log is not what was signed: {finding}")]
    Unclean {
        /// What was found first.
        finding: String,
    },
    /// An entry cannot be proven from the log.
    #[error("an entry cannot be proven to be in the log: {sentence}")]
    Unproven {
        /// Why.
        sentence: String,
    },
    /// No entry decided on the certificate.
    #[error("none of the {size} entries of the log{} decided on the certificate in `{}`", but_first(.pruned_before), path.display())]
    NotInLog {
        /// The certificate.
        path: PathBuf,
        /// Entries of the log.
        size: u64,
        /// How many of them were not read, because their bundles are pruned.
        pruned_before: u64,
    },
    /// A receipt is about another certificate.
    #[error("entry {index}, which the receipt proves, did not decide on the certificate in `{}`", path.display())]
    OtherCertificate {
        /// The certificate.
        path: PathBuf,
        /// The entry.
        index: u64,
    },
    /// A thread that reads the log ended.
    #[error("a thread that read the log ended before its time")]
    Scan,
    /// No room for what an audit notes down.
    #[error("the audit's notes cannot be kept in a temporary file")]
    Scratch(#[source] io::Error),
    /// A receipt does not prove the entry.
    #[error("the receipt does not prove that this entry is in the log")]
    Receipt(#[from] ReceiptError),
    /// Entries to show are not there.
    #[error("the log has {size} entries, 0 to {}; entry {from} is not among them", size.saturating_sub(1))]
    NoSuchEntry {
        /// Entries of the log.
        size: u64,
        /// Which one was wanted.
        from: u64,
    },
    /// A file of the log does not read.
    #[error("`{path}` of the log cannot be read")]
    Bundle {
        /// Which file.
        path: String,
        /// Why.
        source: hallmark_tlog::bundle::BundleError,
    },
    /// A minted certificate could not be written.
    #[error("the certificate was minted, but not everything was written")]
    MintedNotWritten {
        /// Its request id.
        request_id: String,
        /// Why.
        source: FileError,
    },
    /// The manifest has mistakes.
    #[error("`{}` cannot be set: it has {}", path.display(), mistakes(error))]
    Manifest {
        /// The file.
        path: PathBuf,
        /// All of them.
        error: ManifestError,
    },
    /// A manifest of old does not read.
    #[error("`{}` cannot be looked into: it has {}", path.display(), mistakes(error))]
    ManifestUnread {
        /// The file.
        path: PathBuf,
        /// All that is wrong with it.
        error: ManifestError,
    },
    /// The owner's key or signature does not serve.
    #[error(transparent)]
    Owner(#[from] OwnerError),
    /// What became of a rotation is not known.
    #[error("the rotation has no answer")]
    RotationUnanswered {
        /// The transition that it named.
        expected: String,
        /// Why.
        source: Box<ConnectionError>,
    },
    /// A new epoch's certificates could not be written.
    #[error("the rotation is done, but not everything was written")]
    RotatedNotWritten {
        /// The transition that it named.
        expected: String,
        /// Why.
        source: FileError,
    },
    /// There is no CRL.
    #[error("{whose} has signed no CRL")]
    NoCrl {
        /// Whose it would be.
        whose: &'static str,
    },
    /// There is no such epoch.
    #[error("authority `{authority}` has no epoch of generation {generation}")]
    NoSuchEpoch {
        /// The authority.
        authority: String,
        /// The generation.
        generation: u64,
    },
    /// A policy has mistakes.
    #[error(transparent)]
    Policy(#[from] Box<PolicyFault>),
    /// Nothing could stand in for a part of a signer.
    #[error(transparent)]
    StandIn(#[from] StandInError),
    /// A case cannot be run.
    #[error("the case `{case}` of `{}` cannot be run", path.display())]
    Case {
        /// The file of cases.
        path: PathBuf,
        /// Its name.
        case: String,
        /// Why.
        source: CaseError,
    },
    /// A file of cases does not read.
    #[error("`{}`{} is no file of cases: {sentence}", path.display(), line.map(|line| format!(", line {line},")).unwrap_or_default())]
    Cases {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: Option<usize>,
        /// What is wrong.
        sentence: String,
    },
    /// Cases in one file for several policies.
    #[error("--cases names the cases of one policy, and there are {files}")]
    CasesOfSeveral {
        /// How many policies were named.
        files: usize,
    },
    /// A ceremony does not go on.
    #[error(transparent)]
    Ceremony(#[from] Box<CeremonyError>),
    /// No random request id.
    #[error("the operating system gives no random numbers")]
    NoRandomness,
    /// The runtime does not start.
    #[error("the network cannot be used")]
    Runtime(#[source] io::Error),
    /// What should be metrics is something else.
    #[error("what the signer answered is no text of metrics")]
    NoMetrics,
    /// Stdout is gone.
    #[error("stdout cannot be written")]
    Stdout(#[source] io::Error),
}

/// What was not looked at.
fn but_first(pruned_before: &u64) -> String {
    match pruned_before {
        0 => String::new(),
        count => format!(", but for the first {count}, whose bundles are pruned,"),
    }
}

impl Problem {
    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Refused(refused) => Exit::of_status(refused.code()),
            Self::Manifest { .. }
            | Self::ManifestUnread { .. }
            | Self::Owner(OwnerError::SignatureWrong)
            | Self::NoSuchEpoch { .. }
            | Self::NoCrl { .. } => Exit::No,
            Self::RotationUnanswered { source, .. } => source.exit(),
            Self::Settings(SettingsError::NotConfirmed) => Exit::No,
            Self::Check { .. } | Self::Receipt(_) | Self::Checkpoint { .. } | Self::Bundle { .. } => Exit::No,
            Self::Audit(AuditError::NoCheckpoint | AuditError::Checkpoint(_)) => Exit::No,
            Self::Policy(_) => Exit::No,
            Self::Unclean { .. } | Self::Unproven { .. } | Self::NotInLog { .. } | Self::OtherCertificate { .. } => {
                Exit::No
            }
            Self::Ceremony(error) => ceremony::exit(error),
            Self::Connection(error) => error.exit(),
            Self::Unanswered { source, .. } => source.exit(),
            Self::Config(_)
            | Self::Settings(_)
            | Self::Timeout(_)
            | Self::File(_)
            | Self::LogKey(_)
            | Self::Audit(AuditError::Read { .. })
            | Self::NoSuchEntry { .. }
            | Self::Scan
            | Self::Scratch(_)
            | Self::MintedNotWritten { .. }
            | Self::RotatedNotWritten { .. }
            | Self::Owner(_)
            | Self::StandIn(_)
            | Self::Case { .. }
            | Self::Cases { .. }
            | Self::CasesOfSeveral { .. }
            | Self::NoRandomness
            | Self::Runtime(_)
            | Self::NoMetrics
            | Self::Stdout(_) => Exit::Unusable,
        }
    }

    /// Where there are several mistakes, each of them with its place.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are one thing that happened")]
    pub(crate) fn details(&self) -> Vec<String> {
        match self {
            Self::ManifestUnread { error, .. } => error.problems.iter().map(ToString::to_string).collect(),
            Self::Ceremony(error) => ceremony::details(error),
            _ => Vec::new(),
        }
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Config(error) => error.hint(),
            Self::Settings(error) => error.hint(),
            Self::Timeout(_) => "correct `timeout` in the configuration file".to_owned(),
            Self::File(error) => error.hint(),
            Self::Connection(error) => error.hint(),
            Self::Unanswered { source, .. } => source.hint(),
            Self::Refused(refused) => refused.hint(),
            Self::Check { request_id: Some(id), .. } => {
                format!("nothing was written; tell whoever runs the signer about the request `{id}`")
            }
            Self::Check { request_id: None, .. } => "nothing was written; tell whoever runs the signer".to_owned(),
            Self::LogKey(error) => error.hint(),
            Self::Audit(error) => audit_hint(error),
            Self::Checkpoint { .. } => {
                "compare the key with the one that whoever runs the signer publishes; then ask for the file again"
                    .to_owned()
            }
            Self::Receipt(_) => {
                "entry and receipt belong together byte for byte; check that key, entry and receipt are of one log"
                    .to_owned()
            }
            Self::Unclean { .. } | Self::Unproven { .. } => {
                "`hallmark log verify` says all that is wrong with the log; what was printed is not to be trusted".to_owned()
            }
            Self::NotInLog { pruned_before: 1.., .. } => {
                "it may be one of those whose bundles are pruned: ask whoever runs the signer for its receipt".to_owned()
            }
            Self::NotInLog { .. } => {
                "fetch the log again if the certificate is new; otherwise it was signed behind the log: tell whoever runs \
                 the signer, and `hallmark log reconcile` tells how many there are"
                    .to_owned()
            }
            Self::OtherCertificate { .. } => "give the certificate that came with the receipt".to_owned(),
            Self::Scan => "report this as a defect".to_owned(),
            Self::Scratch(_) => "make room in the directory for temporary files, or name another with TMPDIR".to_owned(),
            Self::NoSuchEntry { .. } => "give a smaller --from, or none for the newest entries".to_owned(),
            Self::Bundle { .. } => "`hallmark log verify` says what is wrong with the log".to_owned(),
            Self::MintedNotWritten { request_id, .. } => format!(
                "make room, then run the same command with `--force --request-id {request_id}`: it gives the same certificate"
            ),
            Self::ManifestUnread { .. } => {
                "no signer takes such a manifest; check that it is the right file".to_owned()
            }
            Self::Manifest { .. } => {
                "correct all of it; the signer reads a manifest in the same way, and refuses it as a whole".to_owned()
            }
            Self::Owner(error) => error.hint(),
            Self::RotationUnanswered { expected, .. } => again(expected),
            Self::RotatedNotWritten { expected, .. } => format!(
                "make room, then run the same command with `--expected {expected} --force`: it gives the same epoch"
            ),
            Self::NoCrl { .. } => "`crl = { .. }` of the authority in the policy has CRLs signed".to_owned(),
            Self::NoSuchEpoch { .. } => "`hallmark epochs` lists those that there are".to_owned(),
            Self::Policy(fault) => fault.hint(),
            Self::StandIn(error) => error.hint(),
            Self::Case { source, .. } => source.hint(),
            Self::Cases { .. } => "`hallmark policy test --help` shows how cases are written".to_owned(),
            Self::CasesOfSeveral { .. } => "test one policy at a time, or put the cases beside each".to_owned(),
            Self::Ceremony(error) => error.hint(),
            Self::NoRandomness => "give a --request-id of your own".to_owned(),
            Self::Runtime(_) => "check the limits on threads and open files".to_owned(),
            Self::NoMetrics => "`hallmark metrics` shows what it answers".to_owned(),
            Self::Stdout(_) => "write into a file with --out instead".to_owned(),
        }
    }
}

fn mistakes(error: &ManifestError) -> String {
    when::count(u64::try_from(error.count).unwrap_or(u64::MAX), "mistake")
}

/// How a rotation is asked for again without becoming another one.
pub(crate) fn again(expected: &str) -> String {
    format!(
        "run the same command with `--expected {expected}`: what was begun goes on, and a rotation that is done gives the \
         same epoch again"
    )
}

fn audit_hint(error: &AuditError<FileError>) -> String {
    match error {
        AuditError::Read { source, .. } => source.hint(),
        AuditError::NoCheckpoint => "name the directory that holds `checkpoint` and `tile/`".to_owned(),
        AuditError::Checkpoint(_) => {
            "compare the key with the one that whoever runs the signer publishes; if it is right, the log is forged"
                .to_owned()
        }
    }
}
