//! Signed notes: a text and signatures over it that people can read (C2SP `signed-note`).

use alloc::{
    string::{String, ToString as _},
    vec::Vec,
};
use core::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::key::is_key_name;

pub use crate::key::{KEY_NAME_BYTES_MAX, KeyError, KeyId, SIGNATURE_BYTES, SignerKey, VerifierKey};

/// Longest note, in bytes.
pub const NOTE_BYTES_MAX: usize = 1_000_000;

/// Most signatures on a note. The specification demands room for 16.
pub const SIGNATURES_MAX: usize = 100;

const LINE_START: &str = "\u{2014} ";
const KEY_ID_BYTES: usize = 4;

/// A well-formed note. Nothing is said about its signatures until [`verify`](Self::verify).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// One signature line, of any algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    name: String,
    key_id: KeyId,
    bytes: Vec<u8>,
}

/// Why a note is not well-formed, or not signed by a known key. Lines count from 1 among the signatures.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Longer than [`NOTE_BYTES_MAX`].
    #[error("the note has {bytes} bytes; at most {NOTE_BYTES_MAX} are read")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not UTF-8, or with a control character other than the newline.
    #[error("the note has bytes that are not text; it is damaged, or no note")]
    NotText,
    /// The text is empty or does not end in a newline.
    #[error("the text of a note ends in a newline")]
    TextUnfinished,
    /// No blank line and signatures after the text.
    #[error("the note has no signatures after a blank line; it was cut off, or is no note")]
    NoSignatures,
    /// More than [`SIGNATURES_MAX`].
    #[error("the note has more than {SIGNATURES_MAX} signatures")]
    TooManySignatures,
    /// A line that is not em dash, space, name, space, canonical base64 of id and signature.
    #[error("signature line {line} is not `\u{2014} <name> <base64>`; the note is damaged")]
    MalformedSignature {
        /// Which line.
        line: usize,
    },
    /// Two signatures by one key.
    #[error("signature line {line} repeats the key `{name}+{id}`; remove one of the two")]
    RepeatedSignature {
        /// The second line.
        line: usize,
        /// Name of the key.
        name: String,
        /// Id of the key.
        id: KeyId,
    },
    /// A known key did not sign this.
    #[error("the signature by `{name}+{id}` is wrong; the note was altered")]
    WrongSignature {
        /// Name of the key.
        name: String,
        /// Id of the key.
        id: KeyId,
    },
    /// Nobody known signed this.
    #[error("no known key signed this note; give the verifier key of whoever did, if you trust it")]
    NoKnownSignature,
}

impl Note {
    /// Reads a note: text, blank line, signature lines. One spelling only.
    ///
    /// # Errors
    /// See [`NoteError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLong { bytes: bytes.len() });
        }
        let note = core::str::from_utf8(bytes).map_err(|_| NoteError::NotText)?;
        let blank = note.rfind("\n\n").ok_or(NoteError::NoSignatures)?;
        let (text, lines) = note.split_at_checked(blank + 1).ok_or(NoteError::NoSignatures)?;
        let lines = lines.strip_prefix('\n').and_then(|lines| lines.strip_suffix('\n'));
        let lines = lines.ok_or(NoteError::NoSignatures)?;
        if lines.split('\n').nth(SIGNATURES_MAX).is_some() {
            return Err(NoteError::TooManySignatures);
        }
        let signatures = lines.split('\n').zip(1..);
        let signatures = signatures
            .map(|(line, number)| NoteSignature::parse(line).ok_or(NoteError::MalformedSignature { line: number }));
        Self::assemble(text.to_string(), signatures.collect::<Result<_, _>>()?)
    }

    /// Signs `text`, which ends in a newline, with each key.
    ///
    /// # Errors
    /// When the text cannot be that of a note, or a key is named twice.
    pub fn sign(text: String, keys: &[&SignerKey]) -> Result<Self, NoteError> {
        let signatures = keys.iter().map(|key| NoteSignature::by(key.verifier(), &key.sign(text.as_bytes())));
        let signatures = signatures.collect();
        Self::assemble(text, signatures)
    }

    /// Puts a text and signatures made elsewhere, as in a device, together. Signatures are over the bytes of `text`.
    ///
    /// # Errors
    /// When they make no well-formed note.
    pub fn assemble(text: String, signatures: Vec<NoteSignature>) -> Result<Self, NoteError> {
        if text.bytes().any(|byte| byte < b' ' && byte != b'\n') {
            return Err(NoteError::NotText);
        }
        if !text.ends_with('\n') {
            return Err(NoteError::TextUnfinished);
        }
        if signatures.is_empty() {
            return Err(NoteError::NoSignatures);
        }
        if signatures.len() > SIGNATURES_MAX {
            return Err(NoteError::TooManySignatures);
        }
        for (position, signature) in signatures.iter().enumerate() {
            if signatures.iter().take(position).any(|earlier| earlier.is_of(&signature.name, signature.key_id)) {
                let (name, id) = (signature.name.clone(), signature.key_id);
                return Err(NoteError::RepeatedSignature { line: position + 1, name, id });
            }
        }
        let note = Self { text, signatures };
        let bytes = note.bytes();
        if bytes > NOTE_BYTES_MAX { Err(NoteError::TooLong { bytes }) } else { Ok(note) }
    }

    /// The same note with one more signature, such as a witness's.
    ///
    /// # Errors
    /// When they make no well-formed note.
    pub fn with_signature(mut self, signature: NoteSignature) -> Result<Self, NoteError> {
        self.signatures.push(signature);
        Self::assemble(self.text, self.signatures)
    }

    /// Which of `keys` signed the text. Signatures by other keys are ignored; a wrong one by a known key is an error.
    ///
    /// # Errors
    /// When a known key's signature is wrong, or no known key signed.
    pub fn verify<'a>(&self, keys: &'a [VerifierKey]) -> Result<Vec<&'a VerifierKey>, NoteError> {
        let mut signers = Vec::new();
        for signature in &self.signatures {
            let mut candidates = keys.iter().filter(|key| signature.is_of(key.name(), key.id())).peekable();
            if candidates.peek().is_none() {
                continue;
            }
            let signer = candidates.find(|key| key.verifies(self.text.as_bytes(), &signature.bytes));
            let (name, id) = (&signature.name, signature.key_id);
            signers.push(signer.ok_or_else(|| NoteError::WrongSignature { name: name.clone(), id })?);
        }
        if signers.is_empty() { Err(NoteError::NoKnownSignature) } else { Ok(signers) }
    }

    /// The text that is signed, with its last newline. Not to be believed before [`verify`](Self::verify).
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, in their order.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    fn bytes(&self) -> usize {
        let encoded = |bytes: usize| (KEY_ID_BYTES + bytes).div_ceil(3) * 4;
        let line = |signature: &NoteSignature| {
            LINE_START.len() + signature.name.len() + " ".len() + encoded(signature.bytes.len()) + "\n".len()
        };
        self.text.len() + "\n".len() + self.signatures.iter().map(line).sum::<usize>()
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

impl NoteSignature {
    /// A signature by an Ed25519 key.
    #[must_use]
    pub fn by(key: &VerifierKey, signature: &[u8; SIGNATURE_BYTES]) -> Self {
        Self { name: key.name().to_string(), key_id: key.id(), bytes: signature.to_vec() }
    }

    /// A signature of any algorithm.
    ///
    /// # Errors
    /// When the name is not allowed in a line.
    pub fn new(name: &str, key_id: KeyId, signature: Vec<u8>) -> Result<Self, KeyError> {
        if is_key_name(name) && !signature.is_empty() {
            Ok(Self { name: name.to_string(), key_id, bytes: signature })
        } else {
            Err(KeyError::BadName)
        }
    }

    /// Reads one line, without its newline; `None` unless it is exactly what [`Display`](fmt::Display) writes.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix(LINE_START)?.split_once(' ')?;
        let decoded = BASE64_STANDARD.decode(encoded).ok()?;
        let (id, signature) = decoded.split_first_chunk::<KEY_ID_BYTES>()?;
        Self::new(name, KeyId::from_bytes(*id), signature.to_vec()).ok()
    }

    /// Name of the key.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Id of the key.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The signature itself, without the key id.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn is_of(&self, name: &str, id: KeyId) -> bool {
        self.name == name && self.key_id == id
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.key_id.as_bytes(), self.bytes.as_slice()].concat();
        write!(f, "{LINE_START}{} {}", self.name, BASE64_STANDARD.encode(bytes))
    }
}
