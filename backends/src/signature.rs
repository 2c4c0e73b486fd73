//! A signature that was verified, and the message it was made for.

use std::time::Instant;

use hallmark_ledger::Committed;
use hallmark_policy::key::{PublicKey, SignatureAlgorithm, SpkiDigest};

use crate::sign_error::SignError;

/// A signature over what the ledger committed, verified under the issuer's public key before it left the backend.
///
/// Made only by this crate. Not `Clone`: one [`Committed`] gives one.
#[derive(Debug)]
pub struct Signature {
    message: Message,
    bytes: Vec<u8>,
    moments: Moments,
}

/// When what happened to a signature: for monitoring.
#[derive(Clone, Copy, Debug)]
pub struct Moments {
    /// It was asked for, and queued.
    pub came: Instant,
    /// A session's thread began with it.
    pub began: Instant,
    /// The device gave it.
    pub signed: Instant,
    /// It was verified.
    pub verified: Instant,
    /// Which token gave it: its place among those of [`Keyring::tokens`](crate::Keyring::tokens).
    pub token: usize,
}

/// The parts of a [`Signature`], for whoever assembles and stores them.
#[derive(Debug)]
pub struct SignatureParts {
    /// The message: DER of a TBSCertificate, TBSCertList or CertificationRequestInfo.
    pub to_be_signed: Vec<u8>,
    /// The key that signed it.
    pub issuer: SpkiDigest,
    /// With which algorithm.
    pub algorithm: SignatureAlgorithm,
    /// Index of its entry in the decision log.
    pub log_index: u64,
    /// The signature as it stands in the BIT STRING of what was signed.
    pub bytes: Vec<u8>,
}

impl Signature {
    /// The one place where signatures are made: `bytes` verify, or there is none.
    /// `moments` so far, and it is verified now.
    pub(crate) fn verified(
        message: Message,
        bytes: Vec<u8>,
        public: &PublicKey,
        moments: Moments,
    ) -> Result<Self, SignError> {
        let right_key = public.digest() == message.issuer;
        if !right_key || !public.verifies(message.algorithm, &message.to_be_signed, &bytes) {
            return Err(SignError::Lied { issuer: message.issuer });
        }
        Ok(Self { message, bytes, moments: Moments { verified: Instant::now(), ..moments } })
    }

    /// The message: DER of a TBSCertificate, TBSCertList or CertificationRequestInfo.
    #[must_use]
    pub fn to_be_signed(&self) -> &[u8] {
        &self.message.to_be_signed
    }

    /// The key that signed it.
    #[must_use]
    pub fn issuer(&self) -> SpkiDigest {
        self.message.issuer
    }

    /// With which algorithm.
    #[must_use]
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.message.algorithm
    }

    /// Index of its entry in the decision log.
    #[must_use]
    pub fn log_index(&self) -> u64 {
        self.message.log_index
    }

    /// ECDSA: DER of Ecdsa-Sig-Value (RFC 3279, section 2.2.3). RSA: as long as the modulus. Ed25519: 64 bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// When what happened to it.
    #[must_use]
    pub fn moments(&self) -> Moments {
        self.moments
    }

    /// Takes it apart.
    #[must_use]
    pub fn into_parts(self) -> SignatureParts {
        let Message { to_be_signed, issuer, algorithm, log_index } = self.message;
        SignatureParts { to_be_signed, issuer, algorithm, log_index, bytes: self.bytes }
    }
}

/// What is signed. Outside of this crate's tests it comes out of a [`Committed`] and nowhere else.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) to_be_signed: Vec<u8>,
    pub(crate) issuer: SpkiDigest,
    pub(crate) algorithm: SignatureAlgorithm,
    pub(crate) log_index: u64,
}

impl From<Committed> for Message {
    fn from(committed: Committed) -> Self {
        Self {
            to_be_signed: committed.to_be_signed().to_vec(),
            issuer: committed.issuer(),
            algorithm: committed.algorithm(),
            log_index: committed.log_index(),
        }
    }
}
