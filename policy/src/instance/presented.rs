//! A certificate that is presented to be replaced: read strictly, and ours only once its signature verifies.

use num_bigint::BigInt;
use rasn_pkix::{AuthorityKeyIdentifier, Certificate};

use super::{FIELD, PresentedClaim};
use crate::{
    content::Serial,
    key::{Family, PublicKey, SignatureAlgorithm, SpkiDigest, arcs},
    readback,
    reason::{Reason, ReasonCode},
    signed::to_be_signed,
    time::UnixTime,
};

/// Longest certificate that is read, in bytes.
pub const CERTIFICATE_BYTES_MAX: usize = 65_536;

/// Longest proof of possession, in bytes: a signature of RSA-4096 has 512.
const PROOF_BYTES_MAX: usize = 8_192;

const AUTHORITY_KEY_IDENTIFIER: &[u32] = &[2, 5, 29, 35];

/// A certificate with the proof that came beside it.
#[derive(Clone, Debug)]
pub(crate) struct Presented {
    pub(crate) serial: Serial,
    /// Of its own key.
    pub(crate) key: SpkiDigest,
    pub(crate) not_before: UnixTime,
    pub(crate) not_after: UnixTime,
    pub(crate) proof: Vec<u8>,
    /// SubjectPublicKeyInfo of its own key, DER.
    spki: Vec<u8>,
    issuer_key_identifier: Option<[u8; 20]>,
    signed_sha256: [u8; 32],
    to_be_signed: Vec<u8>,
    algorithm: SignatureAlgorithm,
    signature: Vec<u8>,
    issuer: Option<PublicKey>,
}

impl Presented {
    pub(crate) fn parse(der: &[u8], proof: Vec<u8>) -> Result<Self, Reason> {
        let malformed = |sentence: &str| Reason::new(ReasonCode::InstanceCertificateMalformed, FIELD, sentence);
        if der.is_empty() {
            let sentence = "`refresh` presents no certificate";
            return Err(Reason::new(ReasonCode::FieldMissing, FIELD, sentence).allowing("the one to be replaced, DER"));
        }
        for (what, bytes, most) in
            [("certificate", der.len(), CERTIFICATE_BYTES_MAX), ("proof", proof.len(), PROOF_BYTES_MAX)]
        {
            if bytes > most {
                let reason = Reason::new(ReasonCode::FieldOutOfLimits, FIELD, format!("the {what} has {bytes} bytes"));
                return Err(reason.allowing(format!("at most {most} bytes")));
            }
        }
        let read: Certificate = rasn::der::decode(der)
            .map_err(|_| malformed("the certificate to be replaced is not the DER of RFC 5280, section 4.1"))?;
        if rasn::der::encode(&read).ok().as_deref() != Some(der) {
            return Err(malformed("the certificate to be replaced is not in its canonical DER, or bytes follow it"));
        }
        let tbs = &read.tbs_certificate;
        let to_be_signed =
            to_be_signed(der).ok_or_else(|| malformed("the certificate is no SEQUENCE of what was signed"))?;
        let algorithm = rasn::der::encode(&read.signature_algorithm)
            .map_err(|_| malformed("the certificate's algorithm cannot be encoded again"))?;
        let algorithm = SignatureAlgorithm::from_identifier(&algorithm);
        let algorithm = algorithm.filter(|_| tbs.signature == read.signature_algorithm);
        let algorithm =
            algorithm.ok_or_else(|| malformed("the certificate is signed with an algorithm that no CA here has"))?;
        let serial = BigInt::from(tbs.serial_number.clone()).to_signed_bytes_be();
        let serial = Serial::from_stored(&serial);
        let validity = readback::interval(&tbs.validity);
        let spki = rasn::der::encode(&tbs.subject_public_key_info)
            .map_err(|_| malformed("the certificate's key cannot be encoded again"))?;
        let signature = read.signature_value.clone().into_vec();
        Ok(Self {
            serial: serial
                .ok_or_else(|| malformed("the certificate's serial number is none (RFC 5280, section 4.1.2.2)"))?,
            key: SpkiDigest::of(&spki),
            not_before: validity.not_before,
            not_after: validity.not_after,
            proof,
            spki,
            issuer_key_identifier: issuer_key_identifier(&read),
            signed_sha256: super::signed_sha256(to_be_signed, &signature),
            to_be_signed: to_be_signed.to_vec(),
            algorithm,
            signature,
            issuer: None,
        })
    }

    /// Whether the proof is a signature over `message` by its own key, with the algorithm that every tool has for that kind of key. One that is no key
    /// proves nothing.
    pub(crate) fn is_proven(&self, message: &[u8]) -> bool {
        let Ok(key) = PublicKey::parse(&self.spki) else { return false };
        match key.kind().family() {
            Family::Ecdsa => key.verifies_ecdsa_sha256(message, &self.proof),
            Family::Rsa | Family::Ed25519 | Family::MlDsa => {
                key.verifies(SignatureAlgorithm::default_for(key.kind()), message, &self.proof)
            }
        }
    }

    /// What it says of itself; nothing where it does not say who signed it.
    pub(crate) fn claim(&self) -> Option<PresentedClaim> {
        let issuer_key_identifier = self.issuer_key_identifier?;
        Some(PresentedClaim { issuer_key_identifier, serial: self.serial, signed_sha256: self.signed_sha256 })
    }

    /// The key that signed it, if it is known and the signature verifies under it.
    pub(crate) fn issuer(&self) -> Option<&PublicKey> {
        self.issuer.as_ref()
    }

    /// Takes `key` for its issuer's, if it is what was signed with that key under its serial number, to the byte, or the signature says so.
    pub(crate) fn verify_under(&mut self, key: &PublicKey, signed_sha256: Option<&[u8; 32]>) {
        let is_known = signed_sha256 == Some(&self.signed_sha256);
        if is_known || key.verifies(self.algorithm, &self.to_be_signed, &self.signature) {
            self.issuer = Some(key.clone());
        }
    }
}

fn issuer_key_identifier(certificate: &Certificate) -> Option<[u8; 20]> {
    let extensions = certificate.tbs_certificate.extensions.as_ref()?;
    let extension = extensions.iter().find(|extension| arcs(&extension.extn_id) == AUTHORITY_KEY_IDENTIFIER)?;
    let read: AuthorityKeyIdentifier = rasn::der::decode(&extension.extn_value).ok()?;
    read.key_identifier?.as_ref().try_into().ok()
}
