//! The thread that signs checkpoints over what is durable already, and makes receipts. It never delays the writer.

use std::sync::{Arc, mpsc};

use hallmark_tlog::{
    checkpoint::Checkpoint,
    frontier::Frontier,
    hash::Hash,
    note::{Note, SignerKey},
    proof::{BatchProver, prove_consistency, prove_inclusion, verify_consistency, verify_inclusion},
    receipt::Receipt,
};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::{BackupFault, LedgerError, LogKeys, nodes::StoredNodes, publish::Newest};

/// Somebody who may be waiting for the receipt of an entry.
pub(crate) struct Waiting {
    pub(crate) index: u64,
    pub(crate) leaf: Hash,
    pub(crate) sender: oneshot::Sender<Result<String, LedgerError>>,
}

/// What there is to do.
pub(crate) enum Job {
    /// A batch is durable.
    Batch { before: Frontier, leaves: Vec<Hash>, waiting: Vec<Waiting> },
    /// A receipt for an older entry is wanted.
    Old(Waiting),
    /// A checkpoint is wanted for a backup, with that line in it. Size and root are what a copied file says, and are not believed.
    Backup { size: u64, root: Hash, line: Option<String>, sender: mpsc::Sender<Result<Signed, BackupFault>> },
    /// Nothing more comes.
    Stop,
}

/// A signed tree head.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) size: u64,
    pub(crate) root: Hash,
    pub(crate) note: Note,
}

/// What the thread owns.
pub(crate) struct Signing {
    pub(crate) keys: LogKeys,
    pub(crate) connection: Connection,
    pub(crate) newest: Arc<Newest>,
    pub(crate) last: Option<Signed>,
}

impl Signing {
    /// Works until [`Job::Stop`].
    pub(crate) fn run(mut self, jobs: &mpsc::Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            match job {
                Job::Batch { before, leaves, waiting } => self.batch(&before, &leaves, waiting),
                Job::Old(waiting) => self.old(waiting),
                Job::Backup { size, root, line, sender } => {
                    // Nobody waits any more where this fails: the backup was given up.
                    drop(sender.send(self.backup(size, root, line.as_deref())));
                }
                Job::Stop => return,
            }
        }
    }

    fn batch(&mut self, before: &Frontier, leaves: &[Hash], waiting: Vec<Waiting>) {
        let prover = BatchProver::new(before, leaves);
        match sign(&self.keys, prover.size(), prover.root()) {
            Ok(signed) => {
                self.newest.offer(signed.clone());
                for waiting in waiting.into_iter().filter(|waiting| !waiting.sender.is_closed()) {
                    let path = prover.inclusion(waiting.index).unwrap_or_default();
                    waiting.answer(path, &signed);
                }
                self.last = Some(signed);
            }
            Err(cause) => {
                tracing::error!(cause, "no checkpoint could be signed; entries stay durable, receipts are missing");
                waiting.into_iter().for_each(|waiting| waiting.fail(cause.clone()));
            }
        }
    }

    /// Signs for a copy only what this thread has signed as a part of the log already: a file that was exchanged meanwhile would give a fork.
    fn backup(&self, size: u64, root: Hash, line: Option<&str>) -> Result<Signed, BackupFault> {
        let unsigned = || BackupFault::Unsignable("nothing is signed yet".to_owned());
        let last = self.last.as_ref().ok_or_else(unsigned)?;
        // The proof's hashes come from the database, which is not believed either: others prove nothing.
        let path = prove_consistency(&StoredNodes(&self.connection), size, last.size);
        let proven = path.is_ok_and(|path| verify_consistency(size, &root, last.size, &last.root, &path).is_ok());
        if !proven {
            return Err(BackupFault::Foreign { size });
        }
        sign_with(&self.keys, size, root, line).map_err(BackupFault::Unsignable)
    }

    fn old(&self, waiting: Waiting) {
        let Some(signed) = &self.last else { return waiting.fail("nothing is signed yet".to_owned()) };
        match prove_inclusion(&StoredNodes(&self.connection), waiting.index, signed.size) {
            Ok(path) => waiting.answer(path, signed),
            Err(error) => waiting.fail(error.to_string()),
        }
    }
}

/// Signs, and verifies what was signed as everybody else will.
pub(crate) fn sign(keys: &LogKeys, size: u64, root: Hash) -> Result<Signed, String> {
    sign_with(keys, size, root, None)
}

/// The same with one more line in the checkpoint.
fn sign_with(keys: &LogKeys, size: u64, root: Hash, line: Option<&str>) -> Result<Signed, String> {
    let words = |error: &dyn std::error::Error| error.to_string();
    let LogKeys { current, previous } = keys;
    let checkpoint = Checkpoint::new(current.verifier().name(), size, root).map_err(|error| words(&error))?;
    let checkpoint = match line {
        Some(line) => checkpoint.with_extension(line).map_err(|error| words(&error))?,
        None => checkpoint,
    };
    let keys: Vec<&SignerKey> = std::iter::once(current).chain(previous).collect();
    let note = checkpoint.sign_by(&keys).map_err(|error| words(&error))?;
    for key in keys {
        let read = Checkpoint::open_note(&note, std::slice::from_ref(key.verifier()));
        if read.map_err(|error| words(&error))? != checkpoint {
            return Err("it reads otherwise".to_owned());
        }
    }
    Ok(Signed { size, root, note })
}

impl Signed {
    /// A checkpoint that was signed before.
    pub(crate) fn read(note: &str) -> Option<Self> {
        let note = Note::parse(note.as_bytes()).ok()?;
        let checkpoint = Checkpoint::parse_unverified(note.text()).ok()?;
        Some(Self { size: checkpoint.size(), root: checkpoint.root(), note })
    }
}

impl Waiting {
    /// Sends the receipt, once it is verified.
    fn answer(self, path: Vec<Hash>, signed: &Signed) {
        match verify_inclusion(&self.leaf, self.index, signed.size, &path, &signed.root) {
            Ok(()) => {
                let receipt = Receipt::new(self.index, path, signed.note.clone()).to_string();
                // Nobody waits any more where this fails, which is their right.
                drop(self.sender.send(Ok(receipt)));
            }
            Err(error) => self.fail(error.to_string()),
        }
    }

    fn fail(self, cause: String) {
        drop(self.sender.send(Err(LedgerError::Receipt { log_index: self.index, cause })));
    }
}
