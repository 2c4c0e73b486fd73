//! What can be wrong with the core's configuration.

use std::path::PathBuf;

use hallmark_ledger::NotPrivate;
use hallmark_policy::{
    profile::PolicyError,
    time::{Span, SpanError},
};

use super::{DRAIN_TIME_LEAST, DRAIN_TIME_MOST, ENDED_RETENTION_LEAST};
use crate::secret::SecretError;

/// Why the core's configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("`{}` cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The policy has mistakes.
    #[error("`{}`: {source}", path.display())]
    Policy {
        /// The policy file.
        path: PathBuf,
        /// The mistakes.
        source: PolicyError,
    },
    /// A span of time.
    #[error("`{field}`: {source}")]
    Span {
        /// The field.
        field: &'static str,
        /// What is wrong.
        source: SpanError,
    },
    /// A secret.
    #[error("`{field}`: {source}")]
    Secret {
        /// The field.
        field: &'static str,
        /// What is wrong.
        source: SecretError,
    },
    /// A member of entries cannot be private.
    #[error("`log.private`: {0}")]
    Private(NotPrivate),
    /// The log key is not there yet.
    #[error("there is no log key at `{}`; hint: run `hallmarkd init` once, which makes it", path.display())]
    NoLogKey {
        /// Where it should be.
        path: PathBuf,
    },
    /// The log key does not read, or has another name than the log.
    #[error("the log key `{}` is not one of the log `{origin}`: {detail}", path.display())]
    LogKey {
        /// Its file.
        path: PathBuf,
        /// The configured origin.
        origin: String,
        /// What is wrong.
        detail: String,
    },
    /// A number of sessions that makes no sense.
    #[error("`{field}` is {sessions}; 1 to {} work", hallmark_backends::SESSIONS_MAX)]
    Sessions {
        /// Where it stands.
        field: &'static str,
        /// What was typed.
        sessions: usize,
    },
    /// A YubiHSM's place that is none.
    #[error("`backend.yubihsm.connector`: {source}")]
    Connector {
        /// What it is instead.
        source: hallmark_backends::YubiHsmPlaceError,
    },
    /// Something of a YubiHSM that cannot work.
    #[error("[backend.yubihsm]: {source}")]
    YubiHsm {
        /// What.
        source: Box<hallmark_backends::BackendError>,
    },
    /// What is consumed has to be kept.
    #[error(
        "`backend.yubihsm.command-log` is `consume`, and `command-log-file` is missing; hint: name a file in a directory of the core's, which keeps what the device is told to forget"
    )]
    NoCommandLogFile,
    /// Nothing is consumed.
    #[error(
        "`backend.yubihsm.command-log-file` stands beside a `command-log` that is not `consume`, so that nothing would be in it; hint: write `command-log = \"consume\"`, or take it away"
    )]
    CommandLogFileUnused,
    /// A region, an endpoint or an account that is none.
    #[error("[backend.aws-kms]: {source}")]
    AwsKmsPlace {
        /// What it is instead.
        source: hallmark_backends::AwsKmsPlaceError,
    },
    /// Something of AWS KMS that cannot work.
    #[error("[backend.aws-kms]: {source}")]
    AwsKms {
        /// What.
        source: Box<hallmark_backends::BackendError>,
    },
    /// Credentials that cannot be used.
    #[error("`backend.aws-kms.credentials`: {source}")]
    AwsCredentials {
        /// Why.
        source: hallmark_backends::AwsCredentialsError,
    },
    /// Credentials that are to come from where they cannot be read again.
    #[error(
        "`backend.aws-kms.credentials` are a file, `{{ file = \"..\" }}`, which is read again when it changes, or `{{ credential = \"..\" }}` of the service manager, and neither typed nor in the environment"
    )]
    AwsCredentialsPlace,
    /// More tokens than are looked after.
    #[error("`backend.pkcs11` has {tokens} tokens with its replicas; {} work at most", hallmark_backends::TOKENS_MAX)]
    Tokens {
        /// How many there are.
        tokens: usize,
    },
    /// One token that stands there twice.
    #[error(
        "`backend.pkcs11.replica` names the token `{token}` once more; a replica is another token, and `serial` tells those of one label apart"
    )]
    SameToken {
        /// Its label.
        token: String,
    },
    /// A choice where there is none.
    #[error(
        "`backend.pkcs11.choice` is for several tokens; name the others in `[[backend.pkcs11.replica]]`, or leave it out"
    )]
    ChoiceOfOne,
    /// Arguments that no module can be given.
    #[error(
        "`module-arguments` is empty or has a zero byte; write what the module's documentation says, or leave it out"
    )]
    Arguments,
    /// Arguments without a module of their own.
    #[error(
        "the replica `{token}` has `module-arguments` and no `module`: one module is started once, with what stands in `[backend.pkcs11]`"
    )]
    ArgumentsOfNone {
        /// The replica.
        token: String,
    },
    /// A module that is to be started in two ways.
    #[error(
        "the replica `{token}` has the module of a token before it, with other `module-arguments`: one process starts a module once; hint: give both the same"
    )]
    OtherArguments {
        /// The replica.
        token: String,
    },
    /// The PIN of a replica cannot be typed.
    #[error(
        "the PIN of the replica `{token}` is to be typed, and only that of the first token can be; hint: name a file or a credential"
    )]
    TypedReplica {
        /// Label of its token.
        token: String,
    },
    /// What has ended would be forgotten too early.
    #[error(
        "`ledger.ended-retention` is {typed}, and is {ENDED_RETENTION_LEAST} at least: what has just ended may still be presented, and must be known"
    )]
    EndedRetention {
        /// What was typed.
        typed: Span,
    },
    /// A time of waiting that makes no sense.
    #[error("`rotation.drain-time-max` is {typed}; {DRAIN_TIME_LEAST} to {DRAIN_TIME_MOST} work")]
    DrainTime {
        /// What was typed.
        typed: Span,
    },
    /// Where traces are sent to is no place.
    #[error("`traces.endpoint` {source}")]
    TracesEndpoint {
        /// What it is instead.
        source: hallmark_traces::EndpointError,
    },
    /// A share of calls that is none.
    #[error("`traces.ratio`: {source}")]
    TracesRatio {
        /// What it is instead.
        source: hallmark_traces::RatioError,
    },
    /// A queue that makes no sense.
    #[error("`traces.queue` is {queue}; 1 to {} calls may wait", hallmark_traces::QUEUE_MAX)]
    TracesQueue {
        /// What was typed.
        queue: usize,
    },
    /// An authority that the policy does not have.
    #[error("`policy.callers-signed-here` names `{0}`, which the policy does not have")]
    UnknownAuthority(String),
    /// An authority whose root comes from a ceremony, and needs none.
    #[error(
        "`policy.roots-without-ceremony` names `{0}`, and [ceremony.{0}] says that a ceremony made its root; hint: one of the two"
    )]
    WithAndWithoutCeremony(String),
    /// The key of the log of ceremonies does not read.
    #[error("`{}` is no public key of a log; hint: it is `log.vkey` in the directory of the log of ceremonies", path.display())]
    CeremonyKey {
        /// The file.
        path: PathBuf,
    },
}
