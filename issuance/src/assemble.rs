//! The whole: what was committed, with its signature, verified under the key that was to make it.

use der::{
    Decode, Encode, Sequence,
    asn1::{AnyRef, BitStringRef},
    oid::AssociatedOid as _,
};
use hallmark_backends::Signature;
use hallmark_policy::key::{PublicKey, SignatureAlgorithm};
use spki::AlgorithmIdentifierOwned;
use x509_cert::{certificate::Rfc5280, crl::TbsCertList, ext::pkix::CrlNumber};

use crate::draft::algorithm_identifier;

/// A certificate, CRL or certification request whose signature verified under the issuer's public key.
///
/// All three have the same parts (RFC 5280, sections 4.1 and 5.1; RFC 2986, section 4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed(Vec<u8>);

impl Signed {
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

/// Why parts make no whole.
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
    #[error("the parts cannot be encoded together: {0}")]
    Encoding(#[from] der::Error),
}

#[derive(Sequence)]
struct Parts<'a> {
    to_be_signed: AnyRef<'a>,
    signature_algorithm: AlgorithmIdentifierOwned,
    signature: BitStringRef<'a>,
}

/// Puts the parts together. A [`Signature`] was verified by the backend that made it; here it must be the issuer's.
///
/// # Errors
/// See [`AssembleError`].
pub fn assemble(signature: &Signature, issuer: &PublicKey) -> Result<Signed, AssembleError> {
    if signature.issuer() != issuer.digest() {
        return Err(AssembleError::WrongIssuer);
    }
    encode(signature.to_be_signed(), signature.algorithm(), signature.bytes())
}

/// Puts parts together again that were stored, verifying the signature.
///
/// # Errors
/// See [`AssembleError`].
pub fn reassemble(
    to_be_signed: &[u8],
    algorithm: SignatureAlgorithm,
    signature: &[u8],
    issuer: &PublicKey,
) -> Result<Signed, AssembleError> {
    if !issuer.verifies(algorithm, to_be_signed, signature) {
        return Err(AssembleError::SignatureWrong);
    }
    encode(to_be_signed, algorithm, signature)
}

/// The cRLNumber of a CertificateList, if it has one and its signature verifies under that key, whatever the algorithm.
#[must_use]
pub fn crl_number(der: &[u8], issuer: &PublicKey) -> Option<u64> {
    let Parts { to_be_signed, signature, .. } = Parts::from_der(der).ok()?;
    let to_be_signed = to_be_signed.to_der().ok()?;
    let signature = signature.as_bytes()?;
    let verifies = |algorithm| issuer.verifies(algorithm, &to_be_signed, signature);
    SignatureAlgorithm::ALL.into_iter().any(verifies).then_some(())?;
    let list = TbsCertList::<Rfc5280>::from_der(&to_be_signed).ok()?;
    let number = list.crl_extensions?.into_iter().find(|extension| extension.extn_id == CrlNumber::OID)?;
    let CrlNumber(number) = CrlNumber::from_der(number.extn_value.as_bytes()).ok()?;
    let octets = number.as_bytes();
    let first = 8_usize.checked_sub(octets.len())?;
    let mut padded = [0; 8];
    padded.get_mut(first..)?.copy_from_slice(octets);
    Some(u64::from_be_bytes(padded))
}

fn encode(to_be_signed: &[u8], algorithm: SignatureAlgorithm, signature: &[u8]) -> Result<Signed, AssembleError> {
    let parts = Parts {
        to_be_signed: AnyRef::try_from(to_be_signed)?,
        signature_algorithm: algorithm_identifier(algorithm)?,
        signature: BitStringRef::from_bytes(signature)?,
    };
    Ok(Signed(parts.to_der()?))
}
