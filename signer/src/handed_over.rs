//! A root that comes from a ceremony: its transcript is in the log of ceremonies, which signed for that, and speaks of this certificate.
//!
//! `hallmark ceremony verify` checks all of a transcript; here it is what the decision log will stand for.

use hallmark_entry::{Value, sha256};
use hallmark_ledger::{CeremonyAction, CeremonyEvent};
use hallmark_policy::hex;
use hallmark_tlog::{
    note::VerifierKey,
    receipt::{Receipt, ReceiptError, Verified},
};

/// What a ceremony has left: the transcript, and what stands beside it.
#[derive(Clone, Debug)]
pub struct HandOver {
    /// The transcript, canonical JSON.
    pub transcript: Vec<u8>,
    /// The entry of the log of ceremonies that has its digest.
    pub entry: Vec<u8>,
    /// The receipt for that entry (C2SP `tlog-proof`).
    pub receipt: Vec<u8>,
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
    /// It speaks of another certificate.
    #[error("the transcript of the ceremony does not speak of this root's certificate")]
    Certificate,
}

impl HandOver {
    /// Checks that the log of ceremonies with that key has this transcript, and that it speaks of this root's certificate (its
    /// TBSCertificate, DER), and gives what the decision log says before anything else of the authority.
    ///
    /// # Errors
    /// See [`HandOverError`].
    pub fn verify(
        &self,
        authority: &str,
        root_to_be_signed: &[u8],
        key: &VerifierKey,
    ) -> Result<CeremonyEvent, HandOverError> {
        let receipt = Receipt::parse(&self.receipt)?;
        let Verified { origin, index: _, size, root } = receipt.verify(&self.entry, std::slice::from_ref(key))?;
        let transcript_sha256 = sha256(&self.transcript);
        let entry = Value::read(&self.entry).ok_or(HandOverError::Entry)?;
        let says = |key: &str| entry.member(key).and_then(Value::text);
        let wanted = [("type", "ceremony"), ("action", "finished"), ("transcript-sha256", &hex(&transcript_sha256))];
        if !wanted.iter().all(|(key, value)| says(key) == Some(*value)) {
            return Err(HandOverError::Entry);
        }
        let file_sha256 = says("file-sha256").and_then(digest).ok_or(HandOverError::Entry)?;
        let ceremony = says("ceremony").ok_or(HandOverError::Entry)?.to_owned();
        let transcript = Value::read(&self.transcript).ok_or(HandOverError::Transcript)?;
        if !speaks_of(&transcript, &hex(&sha256(root_to_be_signed))) {
            return Err(HandOverError::Certificate);
        }
        let (authority, root) = (authority.to_owned(), *root.as_bytes());
        let action = CeremonyAction::HandedOver { authority, transcript_sha256, origin, size, root };
        Ok(CeremonyEvent { ceremony, file_sha256, action })
    }
}

/// Whether one of the files of a root's ceremony has this digest of what was signed in it.
fn speaks_of(transcript: &Value<'_>, digest: &str) -> bool {
    let Some(Value::List(artefacts)) = transcript.member("artefacts") else { return false };
    let is_of_a_root = transcript.member("task").and_then(Value::text) == Some("root");
    is_of_a_root
        && artefacts.iter().any(|artefact| {
            artefact.member("to-be-signed-sha256").and_then(Value::text) == Some(digest)
                && artefact.member("what").and_then(Value::text) == Some("certificate")
        })
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
