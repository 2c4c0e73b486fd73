//! The certificate: a TBSCertificate with its signature, verified under the issuer's key.

use der::{
    Encode, Sequence,
    asn1::{AnyRef, BitStringRef},
};
use hallmark_backends::Signature;
use hallmark_policy::key::{PublicKey, SignatureAlgorithm};
use spki::AlgorithmIdentifierOwned;

use crate::draft::algorithm_identifier;

/// A certificate whose signature verified under the issuer's public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate(Vec<u8>);

impl Certificate {
    /// Its DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.0
    }

    /// Its DER.
    #[must_use]
    pub fn into_der(self) -> Vec<u8> {
        self.0
    }
}

/// Why parts make no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// The signature was made by another key than the issuer's.
    #[error("the signature is by another key than the issuer's; nothing was handed out")]
    WrongIssuer,
    /// A stored signature does not verify.
    #[error(
        "the stored signature does not verify under the issuer's key: the database is damaged; run `hallmark log verify`"
    )]
    SignatureWrong,
    /// The parts cannot be encoded.
    #[error("the certificate cannot be encoded: {0}")]
    Encoding(#[from] der::Error),
}

#[derive(Sequence)]
struct Parts<'a> {
    tbs_certificate: AnyRef<'a>,
    signature_algorithm: AlgorithmIdentifierOwned,
    signature: BitStringRef<'a>,
}

/// Puts a certificate together. A [`Signature`] was verified by the backend that made it; here it must be the issuer's.
///
/// # Errors
/// See [`AssembleError`].
pub fn assemble(signature: &Signature, issuer: &PublicKey) -> Result<Certificate, AssembleError> {
    if signature.issuer() != issuer.digest() {
        return Err(AssembleError::WrongIssuer);
    }
    encode(signature.to_be_signed(), signature.algorithm(), signature.bytes())
}

/// Puts a certificate together again from parts that were stored, verifying the signature.
///
/// # Errors
/// See [`AssembleError`].
pub fn reassemble(
    to_be_signed: &[u8],
    algorithm: SignatureAlgorithm,
    signature: &[u8],
    issuer: &PublicKey,
) -> Result<Certificate, AssembleError> {
    if !issuer.verifies(algorithm, to_be_signed, signature) {
        return Err(AssembleError::SignatureWrong);
    }
    encode(to_be_signed, algorithm, signature)
}

fn encode(to_be_signed: &[u8], algorithm: SignatureAlgorithm, signature: &[u8]) -> Result<Certificate, AssembleError> {
    let parts = Parts {
        tbs_certificate: AnyRef::try_from(to_be_signed)?,
        signature_algorithm: algorithm_identifier(algorithm)?,
        signature: BitStringRef::from_bytes(signature)?,
    };
    Ok(Certificate(parts.to_der()?))
}
