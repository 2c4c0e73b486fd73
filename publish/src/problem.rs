//! Why something was not done.

use std::{io, path::PathBuf};

use hallmark_tlog::{audit::AuditError, checkpoint::CheckpointError, note::KeyError, published::PublishedError};

use crate::directory::Snapshot;

/// A failure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// No threads.
    #[error("the network cannot be used: {0}")]
    Runtime(#[source] io::Error),
    /// A file cannot be read or written.
    #[error("`{}` cannot be used: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// No key.
    #[error("`{}` holds no verifier key: {source}", path.display())]
    Key {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: KeyError,
    },
    /// A witness that is not named by URL and key.
    #[error("a witness is named as URL=VKEY, such as https://witness.example/=witness.example+1f2e3d4c+BA..")]
    WitnessNamed,
    /// A URL that is none of a store.
    #[error("`{url}` is no object store that is known here: {sentence}")]
    Store {
        /// The URL.
        url: String,
        /// Why.
        sentence: String,
    },
    /// The store fails.
    #[error("`{path}` at the target: {source}")]
    Target {
        /// Which object.
        path: String,
        /// What it says.
        source: object_store::Error,
    },
    /// The log in the directory is not complete or does not read.
    #[error("the log in the directory does not hold: {0}")]
    Log(#[from] PublishedError<io::Error>),
    /// A file of the log does not read.
    #[error("the log in the directory does not read: {0}")]
    Read(#[from] AuditError<io::Error>),
    /// A proof could not be made.
    #[error("the log in the directory proves nothing: {sentence}")]
    Unproven {
        /// Why.
        sentence: String,
    },
    /// A checkpoint does not hold.
    #[error("the checkpoint {place} does not hold: {source}")]
    Checkpoint {
        /// Where.
        place: &'static str,
        /// Why.
        source: CheckpointError,
    },
    /// Somebody has seen more, or something else.
    #[error("{who} has {theirs} entries of this log, and the directory {ours}: {what}")]
    Rolled {
        /// Who.
        who: String,
        /// Entries there.
        theirs: u64,
        /// Entries here.
        ours: u64,
        /// What follows.
        what: &'static str,
    },
    /// What was there before is gone.
    #[error("the log was carried before, and there is no checkpoint of it at the target or in the directory")]
    NotSeen,
    /// Too few witnesses say that they know of nothing newer.
    #[error("{cosigned} of {asked} witnesses co-signed what is in the directory, and {wanted} are wanted")]
    NoQuorum {
        /// Witnesses that co-signed.
        cosigned: usize,
        /// Witnesses that were asked.
        asked: usize,
        /// Witnesses that have to.
        wanted: usize,
    },
    /// A CRL that relying parties have seen would be replaced by one from before it, or by another of that number.
    #[error("`{path}` at the target has the number {theirs}, and the one in the directory {ours}, with other content")]
    OlderCrl {
        /// Which.
        path: String,
        /// cRLNumber there.
        theirs: u64,
        /// cRLNumber here.
        ours: u64,
    },
    /// A webhook that cannot be used.
    #[error("the webhook cannot be used: {sentence}")]
    Webhook {
        /// Why.
        sentence: String,
    },
    /// A message was not taken.
    #[error("entry {index} was not taken: {why}")]
    NotTaken {
        /// Which entry.
        index: u64,
        /// Why.
        why: String,
    },
    /// TLS files that do not serve.
    #[error("certificate and key of the server cannot be used: {sentence}")]
    Tls {
        /// Why.
        sentence: String,
    },
}

impl Problem {
    /// What to do about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Runtime(_) => "check the limits on threads and open files",
            Self::File { .. } => "check the path, its owner and the free space",
            Self::Key { .. } => "name the .vkey file that `hallmarkd init` wrote",
            Self::WitnessNamed => "whoever runs the witness publishes both",
            Self::Store { .. } => "s3://BUCKET/PREFIX and file:///PATH are known",
            Self::Target { .. } => "check the credentials and the endpoint; it is tried again",
            Self::Log(_) | Self::Read(_) | Self::Unproven { .. } => "`hallmark log verify` says what is wrong with it",
            Self::Checkpoint { .. } => "name the key of this log; at the target there may be another log",
            Self::Rolled { .. } | Self::OlderCrl { .. } => {
                "the daemon's database is older than what was made public, or another: stop it, and bring back the newest \
                 database before it signs anything else"
            }
            Self::NotSeen => {
                "find out who emptied it before the daemon signs anything else; only before the first push there is no --expect-seen"
            }
            Self::NoQuorum { .. } => {
                "see why above; --quorum says how many must have answered before a daemon is started"
            }
            Self::Webhook { .. } => {
                "make a secret with `echo whsec_$(openssl rand -base64 32)`, and give it to the receiver, too"
            }
            Self::NotTaken { .. } => "it is sent again by the next run",
            Self::Tls { .. } => "give a PEM certificate with its chain, and its PEM key",
        }
    }

    pub(crate) fn exit(&self) -> u8 {
        match self {
            Self::Rolled { .. } | Self::NotSeen | Self::OlderCrl { .. } | Self::Checkpoint { .. } => 1,
            Self::Runtime(_)
            | Self::File { .. }
            | Self::Key { .. }
            | Self::WitnessNamed
            | Self::Store { .. }
            | Self::Target { .. }
            | Self::Log(_)
            | Self::Read(_)
            | Self::Unproven { .. }
            | Self::NoQuorum { .. }
            | Self::Webhook { .. }
            | Self::NotTaken { .. }
            | Self::Tls { .. } => 2,
        }
    }

    /// Whether trying again can help.
    pub(crate) fn passes(&self) -> bool {
        matches!(self, Self::Target { .. } | Self::Log(_) | Self::Read(_) | Self::Unproven { .. } | Self::File { .. })
    }
}

/// Proofs are made from the directory.
impl From<hallmark_tlog::proof::ProveError<PublishedError<io::Error>>> for Problem {
    fn from(error: hallmark_tlog::proof::ProveError<PublishedError<io::Error>>) -> Self {
        Self::Unproven { sentence: error.to_string() }
    }
}

/// The log of one checkpoint is what proofs are read from.
pub(crate) type Nodes<'a> = hallmark_tlog::published::PublishedNodes<&'a Snapshot>;
