//! Receipts: a file that proves offline that an entry is in the log (C2SP `tlog-proof`).

use alloc::{
    string::{String, ToString as _},
    vec::Vec,
};
use core::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::{
    checkpoint::{Checkpoint, CheckpointError},
    decimal,
    hash::Hash,
    note::{NOTE_BYTES_MAX, Note, NoteError, VerifierKey},
    proof::{ProofError, verify_inclusion},
};

/// First line of every receipt.
pub const RECEIPT_HEADER: &str = "c2sp.org/tlog-proof@v1";

/// Longest receipt, in bytes.
pub const RECEIPT_BYTES_MAX: usize = 2 * NOTE_BYTES_MAX;

/// Most hashes in a receipt: the height of the largest tree.
pub const PATH_HASHES_MAX: usize = 63;

const EXTRA: &str = "extra ";
const INDEX: &str = "index ";

/// A well-formed receipt. It proves nothing until [`verify`](Self::verify).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    extra: Option<Vec<u8>>,
    index: u64,
    path: Vec<Hash>,
    checkpoint: Note,
}

/// What a receipt proved: this entry has this place in this log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Which log.
    pub origin: String,
    /// Index of the entry.
    pub index: u64,
    /// Size of the log that the receipt's checkpoint signs.
    pub size: u64,
    /// Root of the log at that size.
    pub root: Hash,
}

/// Why something is no receipt, or does not prove what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Longer than [`RECEIPT_BYTES_MAX`].
    #[error("the receipt has {bytes} bytes; at most {RECEIPT_BYTES_MAX} are read")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not UTF-8.
    #[error("the receipt has bytes that are not text; it is damaged, or no receipt")]
    NotText,
    /// Another first line.
    #[error("a receipt begins with the line `{RECEIPT_HEADER}`; this is none, or of another version")]
    NoHeader,
    /// An `extra` line that is empty or not base64.
    #[error("the `extra` line of the receipt is empty or not base64")]
    BadExtra,
    /// No `index` line.
    #[error("the receipt has no line `index <decimal number>` where it belongs")]
    BadIndex,
    /// A line of the proof is no hash.
    #[error("hash {number} of the receipt is not 32 bytes in base64")]
    BadHash {
        /// Which one, from 1.
        number: usize,
    },
    /// More than [`PATH_HASHES_MAX`] hashes.
    #[error("the receipt has more than {PATH_HASHES_MAX} hashes, which no log needs")]
    TooManyHashes,
    /// No blank line and checkpoint after the hashes.
    #[error("the receipt has no checkpoint after a blank line; it was cut off")]
    NoCheckpoint,
    /// The note in it is not well-formed.
    #[error("the checkpoint in the receipt is not a signed note")]
    Note(#[from] NoteError),
    /// The checkpoint in it does not hold.
    #[error("the checkpoint in the receipt does not hold")]
    Checkpoint(#[from] CheckpointError),
    /// The proof in it does not hold.
    #[error("the proof in the receipt does not hold for this entry")]
    Proof(#[from] ProofError),
}

impl Receipt {
    /// The receipt for the entry `index`. `path` comes from a prover, `checkpoint` from [`Checkpoint::sign`].
    #[must_use]
    pub fn new(index: u64, path: Vec<Hash>, checkpoint: Note) -> Self {
        Self { extra: None, index, path, checkpoint }
    }

    /// The same with extra data, which nothing authenticates; empty data is none.
    #[must_use]
    pub fn with_extra(mut self, extra: Vec<u8>) -> Self {
        self.extra = Some(extra).filter(|extra| !extra.is_empty());
        self
    }

    /// Reads what [`Display`](fmt::Display) writes, and no other spelling.
    ///
    /// # Errors
    /// See [`ReceiptError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ReceiptError> {
        if bytes.len() > RECEIPT_BYTES_MAX {
            return Err(ReceiptError::TooLong { bytes: bytes.len() });
        }
        let text = core::str::from_utf8(bytes).map_err(|_| ReceiptError::NotText)?;
        let (header, text) = text.split_once('\n').ok_or(ReceiptError::NoHeader)?;
        if header != RECEIPT_HEADER {
            return Err(ReceiptError::NoHeader);
        }
        let (extra, text) = parse_extra(text)?;
        let (index, text) = text.split_once('\n').ok_or(ReceiptError::BadIndex)?;
        let index = index.strip_prefix(INDEX).and_then(decimal::parse).ok_or(ReceiptError::BadIndex)?;
        let (path, checkpoint) = parse_path(text)?;
        let checkpoint = Note::parse(checkpoint.as_bytes())?;
        Checkpoint::parse_unverified(checkpoint.text())?;
        Ok(Self { extra, index, path, checkpoint })
    }

    /// Checks that the log which one of `keys` speaks for has exactly this entry at this index.
    ///
    /// # Errors
    /// See [`ReceiptError`].
    pub fn verify(&self, entry: &[u8], keys: &[VerifierKey]) -> Result<Verified, ReceiptError> {
        let checkpoint = Checkpoint::open_note(&self.checkpoint, keys)?;
        let (size, root) = (checkpoint.size(), checkpoint.root());
        verify_inclusion(&Hash::of_leaf(entry), self.index, size, &self.path, &root)?;
        Ok(Verified { origin: checkpoint.origin().to_string(), index: self.index, size, root })
    }

    /// Index of the entry, as claimed.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The hashes from the leaf's sibling up to the root's child.
    #[must_use]
    pub fn path(&self) -> &[Hash] {
        &self.path
    }

    /// The signed checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> &Note {
        &self.checkpoint
    }

    /// Extra data. Nothing authenticates it.
    #[must_use]
    pub fn extra_unverified(&self) -> Option<&[u8]> {
        self.extra.as_deref()
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{RECEIPT_HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "{EXTRA}{}", BASE64_STANDARD.encode(extra))?;
        }
        writeln!(f, "{INDEX}{}", self.index)?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

fn parse_extra(text: &str) -> Result<(Option<Vec<u8>>, &str), ReceiptError> {
    let Some(rest) = text.strip_prefix(EXTRA) else {
        return Ok((None, text));
    };
    let (extra, text) = rest.split_once('\n').ok_or(ReceiptError::BadExtra)?;
    let extra = BASE64_STANDARD.decode(extra).ok().filter(|extra| !extra.is_empty());
    Ok((Some(extra.ok_or(ReceiptError::BadExtra)?), text))
}

/// The hashes, and what comes after the blank line.
fn parse_path(text: &str) -> Result<(Vec<Hash>, &str), ReceiptError> {
    let mut path = Vec::new();
    let mut rest = text;
    loop {
        let (line, after) = rest.split_once('\n').ok_or(ReceiptError::NoCheckpoint)?;
        rest = after;
        if line.is_empty() {
            return Ok((path, rest));
        }
        if path.len() == PATH_HASHES_MAX {
            return Err(ReceiptError::TooManyHashes);
        }
        path.push(Hash::from_base64(line).ok_or(ReceiptError::BadHash { number: path.len() + 1 })?);
    }
}
