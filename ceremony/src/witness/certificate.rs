//! Witnesses with an X.509 certificate. They sign with `openssl dgst -sha256 -sign KEY -out TRANSCRIPT.INITIALS.sig TRANSCRIPT`, or where the
//! key is an Ed25519 key with `openssl pkeyutl -sign -rawin -inkey KEY -in TRANSCRIPT -out TRANSCRIPT.INITIALS.sig`.

use hallmark_policy::{
    key::{KeyKind, PublicKey, SignatureAlgorithm},
    stored_validity,
    time::{Interval, UnixTime},
    to_be_signed,
};
use rasn_pkix::{Certificate, Extension, KeyUsage};

use super::WRONG;
use crate::output;

/// Label of a PEM block with a certificate (RFC 7468, section 5).
const CERTIFICATE: &str = "CERTIFICATE";

/// Object identifier of keyUsage (RFC 5280, section 4.2.1.3), and its bit for signatures over what is no certificate.
const KEY_USAGE: &[u32] = &[2, 5, 29, 15];
const DIGITAL_SIGNATURE: usize = 0;

/// Longest signature, in bytes: one of the largest RSA key.
const SIGNATURE_BYTES_MAX: usize = 1_024;

/// A certificate whose key signs transcripts.
#[derive(Clone, Debug)]
pub struct WitnessCertificate {
    der: Vec<u8>,
    key: PublicKey,
    validity: Interval,
}

impl WitnessCertificate {
    /// Reads one PEM block. Keys are those that may stand in certificates of ours: P-256, P-384, RSA from 2048 bits, Ed25519.
    pub(super) fn read(text: &str) -> Result<Self, &'static str> {
        const NONE: &str = "it is no X.509 certificate in PEM; copy all of it, with its first and last line";
        let der = match pem_rfc7468::decode_vec(text.trim().as_bytes()) {
            Ok((CERTIFICATE, der)) => der,
            Ok(_) | Err(_) => return Err(NONE),
        };
        let certificate: Certificate = rasn::der::decode(&der).map_err(|_| NONE)?;
        // Whatever is read has one encoding.
        if rasn::der::encode(&certificate).ok().as_deref() != Some(der.as_slice()) {
            return Err(NONE);
        }
        let signed = &certificate.tbs_certificate;
        let validity = to_be_signed(&der).and_then(stored_validity).ok_or(NONE)?;
        let spki = rasn::der::encode(&signed.subject_public_key_info).map_err(|_| NONE)?;
        let key = PublicKey::parse(&spki).ok().filter(|key| !key.kind().family().is_post_quantum());
        let key = key.ok_or(
            "the key of its certificate is not taken; P-256, P-384, RSA from 2048 to 4096 bits and Ed25519 are",
        )?;
        if !may_sign(&certificate) {
            return Err("its certificate is not for signatures; keyUsage has to have digitalSignature");
        }
        Ok(Self { der, key, validity })
    }

    /// As PEM, in the one form of it.
    pub(crate) fn to_pem(&self) -> String {
        output::pem(CERTIFICATE, &self.der)
    }

    /// Whether its key is an Ed25519 key, which signs by another command.
    pub(super) fn is_ed25519(&self) -> bool {
        self.key.kind() == KeyKind::Ed25519
    }

    /// Whether a signature is one over these bytes, and the certificate held at that time.
    pub(super) fn holds(&self, signature: &[u8], bytes: &[u8], then: UnixTime) -> Result<(), &'static str> {
        if then < self.validity.not_before || then > self.validity.not_after {
            return Err("its certificate did not hold when the ceremony ended");
        }
        if signature.len() > SIGNATURE_BYTES_MAX {
            return Err(WRONG);
        }
        // ECDSA with SHA-256 on any curve, as the same command makes it for all kinds of keys.
        let own = SignatureAlgorithm::default_for(self.key.kind());
        let good = self.key.verifies(own, bytes, signature) || self.key.verifies_ecdsa_sha256(bytes, signature);
        if good { Ok(()) } else { Err(WRONG) }
    }
}

/// Whether the key may sign what is no certificate: keyUsage says so, or nothing.
fn may_sign(certificate: &Certificate) -> bool {
    let extensions = certificate.tbs_certificate.extensions.iter().flat_map(|list| list.iter());
    let is_usage = |extension: &&Extension| {
        let arcs: &[u32] = extension.extn_id.as_ref();
        arcs == KEY_USAGE
    };
    let mut usages = extensions.filter(is_usage);
    match (usages.next(), usages.next()) {
        (None, _) => true,
        (Some(usage), None) => rasn::der::decode::<KeyUsage>(&usage.extn_value)
            .is_ok_and(|usage| usage.get(DIGITAL_SIGNATURE).is_some_and(|set| *set)),
        (Some(_), Some(_)) => false,
    }
}
