//! The root's CRL (RFC 5280, section 5): whether it is the root's, whether it is current, and whether it lists the intermediate.

use hallmark_policy::time::UnixTime;
use rasn_pkix::{AuthorityKeyIdentifier, CertificateList, IssuingDistributionPoint, Version};

use crate::{
    ca::{AUTHORITY_KEY_IDENTIFIER, SUBJECT_KEY_IDENTIFIER},
    certificate::{self, Certificate, CertificateError, Extension, Signed},
    finding::Finding,
};

/// Largest CRL that is read, in bytes.
pub const CRL_BYTES_MAX: usize = 16 * 1_048_576;

const ISSUING_DISTRIBUTION_POINT: &[u32] = &[2, 5, 29, 28];

/// A CRL.
pub(crate) struct Crl {
    issuer: Vec<u8>,
    this_update: UnixTime,
    next_update: Option<UnixTime>,
    revoked: Vec<(Vec<u8>, UnixTime)>,
    extensions: Vec<Extension>,
    signed: Signed,
}

/// Why bytes are no CRL that can be judged here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrlError {
    /// Too long.
    #[error("it has over {CRL_BYTES_MAX} bytes")]
    TooLong,
    /// Not DER, or not this structure, or not in its one encoding.
    #[error("it is no CRL of version 2 in DER")]
    NotDer,
    /// An algorithm that no CA here signs with.
    #[error("it is signed with an algorithm that no CA of this kind signs with")]
    Algorithm,
    /// A critical extension that is not known here.
    #[error("it has the critical extension {oid}, which is not known here")]
    UnknownCritical {
        /// Dotted.
        oid: String,
    },
    /// A serial number that no certificate has.
    #[error("it lists a serial number that is not positive or too long")]
    Serial,
    /// Its extensions do not read.
    #[error("its extensions cannot be read: {0}")]
    Extensions(CertificateError),
}

impl Crl {
    /// Reads DER.
    pub(crate) fn read(der: &[u8]) -> Result<Self, CrlError> {
        if der.len() > CRL_BYTES_MAX {
            return Err(CrlError::TooLong);
        }
        let read: CertificateList = rasn::der::decode(der).map_err(|_| CrlError::NotDer)?;
        let content = &read.tbs_cert_list;
        let canonical = rasn::der::encode(&read).is_ok_and(|again| again == der);
        let whole_bytes = read.signature.len().is_multiple_of(8);
        if !canonical || !whole_bytes || content.version != Version::V2 || content.signature != read.signature_algorithm
        {
            return Err(CrlError::NotDer);
        }
        let extensions = certificate::extensions(content.crl_extensions.as_ref()).map_err(CrlError::Extensions)?;
        let unknown = extensions.iter().find(|one| one.critical && one.arcs != ISSUING_DISTRIBUTION_POINT);
        if let Some(one) = unknown {
            return Err(CrlError::UnknownCritical { oid: one.oid() });
        }
        let algorithm = certificate::algorithm(&content.signature).ok_or(CrlError::Algorithm)?;
        let to_be_signed = rasn::der::encode(content).map_err(|_| CrlError::NotDer)?;
        Ok(Self {
            issuer: rasn::der::encode(&content.issuer).map_err(|_| CrlError::NotDer)?,
            this_update: certificate::point(&content.this_update),
            next_update: content.next_update.as_ref().map(certificate::point),
            revoked: content.revoked_certificates.iter().map(entry).collect::<Result<_, _>>()?,
            extensions,
            signed: Signed::new(to_be_signed, algorithm, read.signature.clone().into_vec()),
        })
    }

    /// Whether it is the root's, about CA certificates, and current at that time.
    pub(crate) fn of(&self, root: &Certificate, at: Option<UnixTime>) -> Vec<Finding> {
        let mut findings = Vec::new();
        if self.issuer != root.subject || !self.names_the_key_of(root) {
            findings.push(Finding::CrlOfOther);
        }
        if !self.signed.by(&root.key) {
            findings.push(Finding::CrlNotSigned);
        }
        if !self.covers_authorities() {
            findings.push(Finding::CrlPartial);
        }
        let current = |at: UnixTime| self.this_update <= at && self.next_update.is_some_and(|next| at <= next);
        if at.is_some_and(|at| !current(at)) {
            findings.push(Finding::CrlNotCurrent { from: self.this_update, to: self.next_update });
        }
        findings
    }

    /// Whether it lists a certificate.
    pub(crate) fn revokes(&self, certificate: &Certificate) -> Option<Finding> {
        let entry = self.revoked.iter().find(|(serial, _)| *serial == certificate.serial);
        entry.map(|(serial, at)| Finding::Revoked { serial: serial.clone(), at: *at })
    }

    fn names_the_key_of(&self, root: &Certificate) -> bool {
        let find = |arcs: &[u32]| self.extensions.iter().find(|extension| extension.arcs == arcs);
        let named = find(AUTHORITY_KEY_IDENTIFIER).and_then(Extension::decoded::<AuthorityKeyIdentifier>);
        let key = root.extension(SUBJECT_KEY_IDENTIFIER).and_then(Extension::decoded);
        named.is_some_and(|named| named.key_identifier.is_some() && named.key_identifier == key)
    }

    fn covers_authorities(&self) -> bool {
        let Some(point) = self.extensions.iter().find(|one| one.arcs == ISSUING_DISTRIBUTION_POINT) else {
            return true;
        };
        let Some(point) = Extension::decoded::<IssuingDistributionPoint>(point) else { return false };
        !point.only_contains_user_certs
            && !point.only_contains_attribute_certs
            && !point.indirect_crl
            && point.only_some_reasons.is_none()
    }
}

/// One revoked certificate. A critical extension of an entry changes what it means.
fn entry(read: &rasn_pkix::RevokedCertificate) -> Result<(Vec<u8>, UnixTime), CrlError> {
    let extensions = certificate::extensions(read.crl_entry_extensions.as_ref()).map_err(CrlError::Extensions)?;
    if let Some(one) = extensions.iter().find(|one| one.critical) {
        return Err(CrlError::UnknownCritical { oid: one.oid() });
    }
    let serial = certificate::serial(&read.user_certificate).ok_or(CrlError::Serial)?;
    Ok((serial, certificate::point(&read.revocation_date)))
}
