//! Checkpoints: a signed statement of how large the log is and what its root is (C2SP `tlog-checkpoint`).

use alloc::{
    string::{String, ToString as _},
    vec::Vec,
};
use core::fmt;

use crate::{
    decimal,
    frontier::TREE_SIZE_MAX,
    hash::Hash,
    note::{Note, NoteError, SignerKey, VerifierKey},
};

/// A tree head: which log, how many leaves, which root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
    extensions: Vec<String>,
}

/// Why something is no checkpoint of a log that is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Empty, or more than one line of text.
    #[error("the origin or an extension line is empty, or has control characters; each is one line of text")]
    BadLine,
    /// Fewer than three lines.
    #[error("a checkpoint has three lines: origin, size and root; this text has fewer")]
    TooShort,
    /// The second line is not a size.
    #[error("the second line of a checkpoint is the size, a decimal number up to {TREE_SIZE_MAX}")]
    BadSize,
    /// The third line is not a root.
    #[error("the third line of a checkpoint is the root, 32 bytes in base64")]
    BadRoot,
    /// The empty tree has one root only.
    #[error("the checkpoint says that the log is empty, but its root is not that of an empty tree")]
    EmptyTreeWithOtherRoot,
    /// The note around it is wrong.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The log's own key did not sign.
    #[error("the checkpoint is of `{origin}`, and no key of that name signed it; give that log's verifier key")]
    NotSignedByItsLog {
        /// What the first line says.
        origin: String,
    },
}

impl Checkpoint {
    /// The head of the log `origin` with `size` leaves and that root.
    ///
    /// # Errors
    /// When the origin is not one line of text, the size is beyond [`TREE_SIZE_MAX`], or an empty log has another root.
    pub fn new(origin: &str, size: u64, root: Hash) -> Result<Self, CheckpointError> {
        if !is_line(origin) {
            return Err(CheckpointError::BadLine);
        }
        if size > TREE_SIZE_MAX {
            return Err(CheckpointError::BadSize);
        }
        if size == 0 && root != Hash::of_empty_tree() {
            return Err(CheckpointError::EmptyTreeWithOtherRoot);
        }
        Ok(Self { origin: origin.to_string(), size, root, extensions: Vec::new() })
    }

    /// The same with one more extension line. Monitors do not check what it says; better do without.
    ///
    /// # Errors
    /// When it is not one line of text.
    pub fn with_extension(mut self, line: &str) -> Result<Self, CheckpointError> {
        if !is_line(line) {
            return Err(CheckpointError::BadLine);
        }
        self.extensions.push(line.to_string());
        Ok(self)
    }

    /// Reads the text of a note, which [`Display`](fmt::Display) writes. It proves nothing: see [`open`](Self::open).
    ///
    /// # Errors
    /// When it has another form.
    pub fn parse_unverified(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.strip_suffix('\n').ok_or(CheckpointError::TooShort)?.split('\n');
        let mut line = || lines.next().ok_or(CheckpointError::TooShort);
        let origin = line()?;
        let size = decimal::parse(line()?).ok_or(CheckpointError::BadSize)?;
        let root = Hash::from_base64(line()?).ok_or(CheckpointError::BadRoot)?;
        lines.try_fold(Self::new(origin, size, root)?, Self::with_extension)
    }

    /// Signs it. The key's name is the origin, or nobody could [`open`](Self::open) it.
    ///
    /// # Errors
    /// When the key has another name.
    pub fn sign(&self, key: &SignerKey) -> Result<Note, CheckpointError> {
        self.sign_by(&[key])
    }

    /// Signs it with several keys of the log, as while a new key takes the place of an old one.
    ///
    /// # Errors
    /// When a key has another name, or is named twice.
    pub fn sign_by(&self, keys: &[&SignerKey]) -> Result<Note, CheckpointError> {
        if keys.iter().any(|key| key.verifier().name() != self.origin) {
            return Err(CheckpointError::NotSignedByItsLog { origin: self.origin.clone() });
        }
        Ok(Note::sign(self.to_string(), keys)?)
    }

    /// Reads and verifies a signed checkpoint.
    ///
    /// # Errors
    /// When it is not well-formed, a known key's signature is wrong, or no known key named like the origin signed it.
    pub fn open(bytes: &[u8], keys: &[VerifierKey]) -> Result<Self, CheckpointError> {
        Self::open_note(&Note::parse(bytes)?, keys)
    }

    /// Verifies a signed checkpoint that was read as a note.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_note(note: &Note, keys: &[VerifierKey]) -> Result<Self, CheckpointError> {
        let signers = note.verify(keys)?;
        let checkpoint = Self::parse_unverified(note.text())?;
        if signers.iter().any(|key| key.name() == checkpoint.origin) {
            Ok(checkpoint)
        } else {
            Err(CheckpointError::NotSignedByItsLog { origin: checkpoint.origin })
        }
    }

    /// Which log.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How many leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree of that size.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.root
    }

    /// Lines after the root.
    #[must_use]
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, self.root)?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

fn is_line(text: &str) -> bool {
    !text.is_empty() && !text.bytes().any(|byte| byte < b' ')
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    const ORIGIN: &str = "example.com/log";

    fn key(name: &str, seed: u8) -> SignerKey {
        SignerKey::generate(name, [seed; 32]).unwrap()
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint::new(ORIGIN, 3, Hash::of_leaf(b"root")).unwrap()
    }

    #[test]
    fn a_signed_checkpoint_opens_under_its_key_alone() {
        let log = key(ORIGIN, 1);
        let note = checkpoint().with_extension("more").unwrap().sign(&log).unwrap().to_string();
        let opened = Checkpoint::open(note.as_bytes(), &[log.verifier().clone()]).unwrap();
        assert_eq!(opened, checkpoint().with_extension("more").unwrap());
        let other = key(ORIGIN, 2).verifier().clone();
        assert_eq!(
            Checkpoint::open(note.as_bytes(), &[other]),
            Err(CheckpointError::Note(NoteError::NoKnownSignature))
        );
    }

    #[test]
    fn a_known_key_of_another_name_does_not_speak_for_the_log() {
        let stranger = key("example.com/other", 1);
        assert!(matches!(checkpoint().sign(&stranger), Err(CheckpointError::NotSignedByItsLog { .. })));
        let note = Note::sign(checkpoint().to_string(), &[&stranger]).unwrap();
        let refused = CheckpointError::NotSignedByItsLog { origin: ORIGIN.to_string() };
        assert_eq!(Checkpoint::open_note(&note, &[stranger.verifier().clone()]), Err(refused));
    }

    #[test]
    fn texts_of_another_form_are_refused() {
        let root = Hash::of_leaf(b"root");
        let cases = [
            (format!("{ORIGIN}\n3\n{root}"), CheckpointError::TooShort),
            (format!("{ORIGIN}\n3\n"), CheckpointError::TooShort),
            (format!("\n3\n{root}\n"), CheckpointError::BadLine),
            (format!("{ORIGIN}\n03\n{root}\n"), CheckpointError::BadSize),
            (format!("{ORIGIN}\n9223372036854775808\n{root}\n"), CheckpointError::BadSize),
            (format!("{ORIGIN}\n3\n{}\n", root.to_string().replace('=', "")), CheckpointError::BadRoot),
            (format!("{ORIGIN}\n0\n{root}\n"), CheckpointError::EmptyTreeWithOtherRoot),
            (format!("{ORIGIN}\n3\n{root}\n\n"), CheckpointError::BadLine),
        ];
        for (text, error) in cases {
            assert_eq!(Checkpoint::parse_unverified(&text), Err(error), "{text:?}");
        }
    }
}
