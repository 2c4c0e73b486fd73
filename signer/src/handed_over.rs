//! A root that comes from a ceremony: its transcript is in the log of ceremonies, which signed for that, and speaks of this certificate.
//!
//! `hallmark ceremony verify` checks all of a transcript; here it is what the decision log will stand for, and what the token must hold.

use hallmark_backends::KeyReference;
use hallmark_entry::{Value, sha256};
use hallmark_ledger::{CeremonyAction, CeremonyEvent};
use hallmark_policy::{hex, key::SpkiDigest};
use hallmark_tlog::{
    note::VerifierKey,
    receipt::{Receipt, ReceiptError, Verified},
};

/// Steps of a root's ceremony whose facts name its key, and what guards it.
const MADE: &str = "generate";
const GUARDED: &str = "read-back";

/// What the attributes of PKCS #11, of a YubiHSM and of AWS KMS begin with.
const ATTRIBUTES: [&str; 3] = ["CKA_", "yubihsm.", "aws-kms."];

/// What a ceremony has left: the transcript, what stands beside it, and the key of its log.
#[derive(Clone, Debug)]
pub struct HandOver {
    /// The transcript, canonical JSON.
    pub transcript: Vec<u8>,
    /// The entry of the log of ceremonies that has its digest.
    pub entry: Vec<u8>,
    /// The receipt for that entry (C2SP `tlog-proof`).
    pub receipt: Vec<u8>,
    /// Public key of the log of ceremonies, from somewhere else than the transcript.
    pub log_key: VerifierKey,
}

/// Why a ceremony does not speak for a root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandOverError {
    /// The receipt does not prove the entry.
    #[error("the receipt of the ceremony does not hold under the key of the log of ceremonies: {0}")]
    Receipt(#[from] ReceiptError),
    /// The entry is about something else.
    #[error("the entry of the log of ceremonies does not say that this transcript was finished")]
    Entry,
    /// The transcript is another, or none.
    #[error("the transcript of the ceremony is not in its canonical form")]
    Transcript,
    /// It is no root's.
    #[error("the transcript of the ceremony is not that of a root")]
    Task,
    /// It speaks of another certificate.
    #[error("the transcript of the ceremony does not speak of this root's certificate")]
    Certificate,
    /// It does not say which key it is about.
    #[error("the transcript of the ceremony does not say how the token calls the root's key")]
    Key,
}

/// The key of a root, as the transcript of its ceremony tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ToldKey {
    /// What the token calls it.
    pub(crate) reference: KeyReference,
    /// Its public key.
    pub(crate) spki: SpkiDigest,
    /// What guards it, attribute by attribute.
    pub(crate) guards: Vec<(String, String)>,
}

impl HandOver {
    /// Checks that the log of ceremonies has this transcript, and that it speaks of this root's certificate (its TBSCertificate, DER), and
    /// gives what the decision log says before anything else of the authority.
    ///
    /// # Errors
    /// See [`HandOverError`].
    pub fn verify(&self, authority: &str, root_to_be_signed: &[u8]) -> Result<CeremonyEvent, HandOverError> {
        let event = self.verify_log(authority)?;
        let speaks = speaks_of(&self.read()?, &hex(&sha256(root_to_be_signed)));
        if speaks { Ok(event) } else { Err(HandOverError::Certificate) }
    }

    /// Checks that the log of ceremonies has this transcript, and that it is that of a root.
    ///
    /// # Errors
    /// See [`HandOverError`].
    pub fn verify_log(&self, authority: &str) -> Result<CeremonyEvent, HandOverError> {
        let receipt = Receipt::parse(&self.receipt)?;
        let keys = std::slice::from_ref(&self.log_key);
        let Verified { origin, index: _, size, root } = receipt.verify(&self.entry, keys)?;
        let transcript_sha256 = sha256(&self.transcript);
        let entry = Value::read(&self.entry).ok_or(HandOverError::Entry)?;
        let says = |key: &str| entry.member(key).and_then(Value::text);
        let wanted = [("type", "ceremony"), ("action", "finished"), ("transcript-sha256", &hex(&transcript_sha256))];
        if !wanted.iter().all(|(key, value)| says(key) == Some(*value)) {
            return Err(HandOverError::Entry);
        }
        let file_sha256 = says("file-sha256").and_then(digest).ok_or(HandOverError::Entry)?;
        let ceremony = says("ceremony").ok_or(HandOverError::Entry)?.to_owned();
        if self.read()?.member("task").and_then(Value::text) != Some("root") {
            return Err(HandOverError::Task);
        }
        let (authority, root) = (authority.to_owned(), *root.as_bytes());
        let action = CeremonyAction::HandedOver { authority, transcript_sha256, origin, size, root };
        Ok(CeremonyEvent { ceremony, file_sha256, action })
    }

    /// The root's key, as the transcript tells it. Whoever asks has verified the transcript.
    pub(crate) fn told_key(&self) -> Result<ToldKey, HandOverError> {
        let transcript = self.read()?;
        let fact = |step, name| facts(&transcript, step).find(|(found, _)| *found == name).map(|(_, value)| value);
        let reference = fact(MADE, "key").and_then(|text| text.parse().ok());
        let spki = fact(MADE, "spki-sha256").and_then(digest).map(SpkiDigest::from_bytes);
        let guards =
            facts(&transcript, GUARDED).filter(|(name, _)| ATTRIBUTES.iter().any(|begins| name.starts_with(begins)));
        let guards: Vec<_> = guards.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        match (reference, spki) {
            (Some(reference), Some(spki)) if !guards.is_empty() => Ok(ToldKey { reference, spki, guards }),
            (_, _) => Err(HandOverError::Key),
        }
    }

    fn read(&self) -> Result<Value<'_>, HandOverError> {
        Value::read(&self.transcript).ok_or(HandOverError::Transcript)
    }
}

/// Whether one of the files of a root's ceremony has this digest of what was signed in it.
fn speaks_of(transcript: &Value<'_>, digest: &str) -> bool {
    let Some(Value::List(artefacts)) = transcript.member("artefacts") else { return false };
    artefacts.iter().any(|artefact| {
        artefact.member("to-be-signed-sha256").and_then(Value::text) == Some(digest)
            && artefact.member("what").and_then(Value::text) == Some("certificate")
    })
}

/// Names and values of what a step found or made.
fn facts<'a>(transcript: &'a Value<'a>, step: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let list = |value: Option<&'a Value<'a>>| match value {
        Some(Value::List(items)) => items.as_slice(),
        Some(_) | None => &[],
    };
    let is_it = move |done: &&Value<'_>| done.member("step").and_then(Value::text) == Some(step);
    let of = move |done: &'a Value<'a>| list(done.member("facts")).iter();
    let told = |fact: &'a Value<'a>| {
        Some((fact.member("name").and_then(Value::text)?, fact.member("value").and_then(Value::text)?))
    };
    list(transcript.member("steps")).iter().filter(is_it).flat_map(of).filter_map(told)
}

fn digest(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let digits = text.as_bytes().chunks_exact(2);
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits) {
        let pair = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(bytes)
}
