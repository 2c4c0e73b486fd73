//! What a ledger is opened with, and what opening it finds.

use std::path::PathBuf;

use hallmark_entry::privacy::Private;
use hallmark_policy::time::Span;
use hallmark_tlog::{
    hash::Hash,
    note::{SignerKey, VerifierKey},
};

use crate::{KeyChange, Ledger, Unlogged};

/// Where a ledger is kept and within which bounds.
#[derive(Clone, Debug)]
pub struct LedgerConfig {
    /// The SQLite file; its directory must exist. The lock file stands beside it: `<database>.lock`.
    pub database: PathBuf,
    /// Directory of the published log (C2SP `tlog-tiles`). It is made if it is missing.
    pub publish: PathBuf,
    /// How long request ids of leaves, their TBSCertificates and signatures are kept. CA certificates are kept for ever.
    pub retention: Span,
    /// How long serial numbers and records of instances are kept after their end. The log keeps them in any case.
    pub ended_retention: Span,
    /// Whether to start although the published checkpoint is missing that there was before. Nothing tells then whether
    /// the database is an older copy: for an operator who moved the directory, once.
    pub accept_missing_checkpoint: bool,
    /// A file, on another volume than the database, that gets every published checkpoint. A database that does not continue
    /// it is not opened.
    pub anchor: Option<PathBuf>,
    /// Whether to start although that file is missing and was there before: for an operator who moved it, once.
    pub accept_missing_anchor: bool,
    /// Members of entries in whose place commitments stand.
    pub private: Private,
    /// Bound on the size of the database, in pages of 4,096 bytes; unbounded without.
    pub pages_max: Option<u32>,
}

/// The keys that sign checkpoints: the log's own, and for a time of overlap the one before, so that auditors who know only one
/// of the two find their signature.
#[derive(Debug)]
pub struct LogKeys {
    pub(crate) current: SignerKey,
    pub(crate) previous: Option<SignerKey>,
}

impl LogKeys {
    /// With the key before, which signs beside the current one.
    #[must_use]
    pub fn with_previous(current: SignerKey, previous: SignerKey) -> Self {
        Self { current, previous: Some(previous) }
    }

    /// What either signature is verified with, the current one first.
    pub(crate) fn verifiers(&self) -> Vec<VerifierKey> {
        [Some(&self.current), self.previous.as_ref()].into_iter().flatten().map(|key| key.verifier().clone()).collect()
    }
}

impl From<SignerKey> for LogKeys {
    fn from(current: SignerKey) -> Self {
        Self { current, previous: None }
    }
}

/// Wall-clock time in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub i64);

/// An open ledger, and what was found in it.
#[derive(Debug)]
pub struct Opened {
    /// The ledger.
    pub ledger: Ledger,
    /// What was found.
    pub recovery: Recovery,
    /// What an [`Event::LogKeys`](crate::Event::LogKeys) has to say before anything else: no checkpoint is signed before the next entry.
    pub key_change: Option<KeyChange>,
}

/// What opening a database found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Entries in the log.
    pub entries: u64,
    /// Time of the last entry.
    pub last_entry_at: Option<UnixMillis>,
    /// Whether the log does not end in a stop entry: the daemon was killed, or the machine.
    pub unclean: bool,
    /// Requests that were committed and have neither a signature nor a void entry.
    pub pending: u64,
    /// Whether the clock was found wrong and no operator has confirmed it since.
    pub clock_distrusted: bool,
    /// What operators accepted that no entry says yet.
    pub unlogged: Unlogged,
}

/// The newest durable state of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Entries in the log.
    pub size: u64,
    /// Root of the tree of that size.
    pub root: Hash,
    /// Time of the last entry.
    pub last_entry_at: Option<UnixMillis>,
}
