//! The TBSCertList of approved content (RFC 5280, section 5.1.2).

use der::{
    Encode,
    asn1::{OctetString, Uint},
};
use hallmark_policy::crl::{
    CrlContent, IssuingDistributionPoint as ApprovedPoint, OnlyContains, RevocationReason,
    RevokedCertificate as ApprovedEntry,
};
use x509_cert::{
    Version,
    certificate::Rfc5280,
    crl::{RevokedCert, TbsCertList},
    ext::{
        Extension,
        pkix::{AuthorityKeyIdentifier, CrlNumber, CrlReason, IssuingDistributionPoint, name::DistributionPointName},
    },
    serial_number::SerialNumber,
};

use super::{
    DraftError, algorithm_identifier,
    extensions::{url, written},
    name, time,
};

/// Writes the TBSCertList of what was approved.
pub(super) fn crl(content: &CrlContent) -> Result<Vec<u8>, DraftError> {
    let revoked = content.revoked.iter().map(entry).collect::<der::Result<Vec<_>>>()?;
    let list = TbsCertList {
        version: Version::V2,
        signature: algorithm_identifier(content.algorithm)?,
        issuer: name(&content.issuer)?,
        this_update: time(content.this_update)?,
        next_update: Some(time(content.next_update)?),
        revoked_certificates: (!revoked.is_empty()).then_some(revoked),
        crl_extensions: Some(extensions(content)?),
    };
    Ok(list.to_der()?)
}

fn entry(approved: &ApprovedEntry) -> der::Result<RevokedCert<Rfc5280>> {
    let reason = reason(approved.reason).map(|reason| written(&[2, 5, 29, 21], false, reason.to_der()?)).transpose()?;
    Ok(RevokedCert {
        serial_number: SerialNumber::new(approved.serial.as_bytes())?,
        revocation_date: time(approved.at)?,
        crl_entry_extensions: reason.map(|reason| vec![reason]),
    })
}

/// None where it is left out (RFC 5280, section 5.3.1).
fn reason(approved: RevocationReason) -> Option<CrlReason> {
    match approved {
        RevocationReason::Unspecified => None,
        RevocationReason::KeyCompromise => Some(CrlReason::KeyCompromise),
        RevocationReason::CaCompromise => Some(CrlReason::CaCompromise),
        RevocationReason::AffiliationChanged => Some(CrlReason::AffiliationChanged),
        RevocationReason::Superseded => Some(CrlReason::Superseded),
        RevocationReason::CessationOfOperation => Some(CrlReason::CessationOfOperation),
        RevocationReason::PrivilegeWithdrawn => Some(CrlReason::PrivilegeWithdrawn),
        RevocationReason::AaCompromise => Some(CrlReason::AaCompromise),
    }
}

fn extensions(content: &CrlContent) -> der::Result<Vec<Extension>> {
    let key_identifier = Some(OctetString::new(content.authority_key_identifier.as_slice())?);
    let key = AuthorityKeyIdentifier { key_identifier, ..Default::default() };
    let number = CrlNumber(Uint::try_from(content.number)?);
    let mut extensions =
        vec![written(&[2, 5, 29, 35], false, key.to_der()?)?, written(&[2, 5, 29, 20], false, number.to_der()?)?];
    if let Some(point) = &content.distribution_point {
        extensions.push(written(&[2, 5, 29, 28], true, distribution_point(point)?.to_der()?)?);
    }
    Ok(extensions)
}

fn distribution_point(approved: &ApprovedPoint) -> der::Result<IssuingDistributionPoint> {
    let names = approved.urls.iter().map(url).collect::<der::Result<Vec<_>>>()?;
    Ok(IssuingDistributionPoint {
        distribution_point: (!names.is_empty()).then_some(DistributionPointName::FullName(names)),
        only_contains_user_certs: approved.only == OnlyContains::UserCerts,
        only_contains_ca_certs: approved.only == OnlyContains::CaCerts,
        only_some_reasons: None,
        indirect_crl: false,
        only_contains_attribute_certs: false,
    })
}
