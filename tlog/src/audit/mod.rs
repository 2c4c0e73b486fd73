//! The audit of a whole published log: every entry, every hash tile and the signed root must agree.
//!
//! It holds one bundle and one row of nodes for each level in memory, whatever the size of the log. It reads exactly the
//! files that the signed size calls for: partial files left over from smaller sizes are not looked at.

mod finding;
mod part;
mod run;
mod walk;

use alloc::{
    string::{String, ToString as _},
    vec::Vec,
};

use crate::{
    checkpoint::{Checkpoint, CheckpointError},
    hash::Hash,
    note::VerifierKey,
    tile::{CHECKPOINT_PATH, TilePath},
};

pub use finding::{FINDINGS_MAX, Finding};
pub use part::Part;
pub use run::Audit;

/// Where the published files are.
pub trait LogFiles {
    /// What a failed read is.
    type Error: core::error::Error + 'static;

    /// The content of the file at `path`, such as `tile/0/x001/234`; `None` where there is no such file. No file of a
    /// log is longer than [`BUNDLE_BYTES_MAX`](crate::bundle::BUNDLE_BYTES_MAX): refuse longer ones before reading them.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Self::Error>;
}

impl<F: LogFiles> LogFiles for &F {
    type Error = F::Error;

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Self::Error> {
        (**self).read(path)
    }
}

/// Who looks on. What is seen here is not verified before the [`Report`] is clean.
pub trait Visitor {
    /// An entry, in order of the indexes.
    fn entry(&mut self, index: u64, bytes: &[u8]) {
        let _ = (index, bytes);
    }

    /// How far the audit is, after each bundle.
    fn progress(&mut self, progress: Progress) {
        let _ = progress;
    }
}

impl Visitor for () {}

/// How far an audit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Entries that were looked at.
    pub entries: u64,
    /// Entries that the log has.
    pub size: u64,
    /// Bytes of these entries so far.
    pub entries_bytes: u64,
}

/// What an audit found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which log.
    pub origin: String,
    /// How many entries its checkpoint signs.
    pub size: u64,
    /// The root that its checkpoint signs.
    pub root: Hash,
    /// Entry bundles that were read.
    pub bundles: u64,
    /// Hash tiles that were read.
    pub tiles: u64,
    /// Bytes of all entries that were read, without their lengths.
    pub entries_bytes: u64,
    /// What is wrong, in the order in which it was met; at most [`FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// How many findings more there were.
    pub findings_dropped: u64,
    /// The first entry that was not looked for any more, where so much was missing that the audit ended early.
    pub ended_before: Option<u64>,
}

impl Report {
    /// Whether the log is what its checkpoint says, to the last byte.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Why no audit took place.
#[derive(Debug, thiserror::Error)]
pub enum AuditError<E: core::error::Error + 'static> {
    /// A file is there and cannot be read.
    #[error("`{path}` could not be read; see the cause")]
    Read {
        /// Which file.
        path: String,
        /// What the files said.
        #[source]
        source: E,
    },
    /// There is no checkpoint.
    #[error("`{CHECKPOINT_PATH}` is missing; this is no published log, or its head was removed")]
    NoCheckpoint,
    /// The checkpoint does not hold.
    #[error("`{CHECKPOINT_PATH}` does not hold, so there is nothing to compare the log with")]
    Checkpoint(#[from] CheckpointError),
}

/// Audits logs whose keys are known.
#[derive(Clone, Debug)]
pub struct Auditor<'a> {
    keys: &'a [VerifierKey],
    anchors: Vec<Checkpoint>,
}

impl<'a> Auditor<'a> {
    /// Trusts these keys.
    #[must_use]
    pub fn new(keys: &'a [VerifierKey]) -> Self {
        Self { keys, anchors: Vec::new() }
    }

    /// Demands that the log is a continuation of this checkpoint, which was verified earlier.
    #[must_use]
    pub fn with_anchor(mut self, earlier: Checkpoint) -> Self {
        self.anchors.push(earlier);
        self
    }

    /// Reads the whole log, tells `visitor` what it sees, and reports what is wrong.
    ///
    /// # Errors
    /// When the checkpoint is missing or does not hold, or a file cannot be read. Everything else is a [`Finding`].
    pub fn audit<F: LogFiles, V: Visitor>(&self, files: &F, visitor: &mut V) -> Result<Report, AuditError<F::Error>> {
        let mut audit = self.begin(files)?;
        for index in 0..audit.parts() {
            audit.add(Part::read(files, audit.size(), index, |index, bytes| visitor.entry(index, bytes))?)?;
            visitor.progress(audit.progress());
            if audit.is_hopeless() {
                break;
            }
        }
        audit.finish()
    }

    /// Begins an audit whose parts are read elsewhere, as on other threads.
    ///
    /// # Errors
    /// When the checkpoint is missing or does not hold.
    pub fn begin<'f, F: LogFiles>(&'f self, files: &'f F) -> Result<Audit<'f, F>, AuditError<F::Error>> {
        let head = read(files, CHECKPOINT_PATH)?.ok_or(AuditError::NoCheckpoint)?;
        let head = Checkpoint::open(&head, self.keys)?;
        Ok(self.begin_at(files, &head))
    }

    /// The same against a checkpoint that was verified already.
    pub fn begin_at<'f, F: LogFiles>(&'f self, files: &'f F, head: &Checkpoint) -> Audit<'f, F> {
        Audit::new(files, head, &self.anchors)
    }
}

/// What was read, and from which file: a full one may stand in for a partial one.
pub(crate) type Found<T> = Option<(TilePath, T)>;

fn read<F: LogFiles>(files: &F, path: &str) -> Result<Option<Vec<u8>>, AuditError<F::Error>> {
    files.read(path).map_err(|source| AuditError::Read { path: path.into(), source })
}

/// Reads a tile or bundle. A full one stands in for a partial one that is gone (C2SP `tlog-tiles`, partial tiles).
pub(crate) fn read_tile<F: LogFiles>(files: &F, path: TilePath) -> Result<Found<Vec<u8>>, AuditError<F::Error>> {
    let text = path.to_string();
    match read(files, &text)? {
        Some(bytes) => Ok(Some((path, bytes))),
        None if path.is_full() => Ok(None),
        None => read_tile(files, path.full()),
    }
}
