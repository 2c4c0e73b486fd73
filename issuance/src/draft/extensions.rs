//! Extensions of certificates and certification requests.

use der::{
    Encode, Sequence,
    asn1::{Ia5String, OctetString},
};
use hallmark_policy::{
    constraint::{NameConstraints as ApprovedConstraints, Subtree},
    content::{EPOCH_BINDING_ARCS, EPOCH_BINDING_VERSION, EpochBinding, Extension as Approval},
    name::GeneralName as ApprovedName,
    oid::Oid,
    web::HttpUrl,
};
use x509_cert::ext::{
    Extension,
    pkix::{
        AccessDescription, AuthorityInfoAccessSyntax, AuthorityKeyIdentifier, BasicConstraints, CertificatePolicies,
        CrlDistributionPoints, ExtendedKeyUsage, KeyUsage, KeyUsages, NameConstraints, SubjectAltName,
        SubjectKeyIdentifier,
        certpolicy::PolicyInformation,
        constraints::name::GeneralSubtree,
        crl::dp::DistributionPoint,
        name::{DistributionPointName, GeneralName},
    },
};

use super::oid;

/// The extensions, in their order.
pub(super) fn extensions(approved: &[Approval]) -> der::Result<Vec<Extension>> {
    approved.iter().map(extension).collect()
}

/// One extension with that value.
pub(super) fn written(arcs: &[u32], critical: bool, value: Vec<u8>) -> der::Result<Extension> {
    Ok(Extension { extn_id: oid(arcs)?, critical, extn_value: OctetString::new(value)? })
}

/// A URL as a GeneralName.
pub(super) fn url(url: &HttpUrl) -> der::Result<GeneralName> {
    Ok(GeneralName::UniformResourceIdentifier(Ia5String::new(url.as_str())?))
}

/// ```text
/// EpochBinding ::= SEQUENCE { version INTEGER, generation INTEGER, manifestDigest OCTET STRING, transitionDigest OCTET STRING }
/// ```
#[derive(Sequence)]
struct Binding {
    version: u8,
    generation: u64,
    manifest_digest: OctetString,
    transition_digest: OctetString,
}

fn extension(approved: &Approval) -> der::Result<Extension> {
    const BASIC_CONSTRAINTS: &[u32] = &[2, 5, 29, 19];
    const KEY_USAGE: &[u32] = &[2, 5, 29, 15];
    match approved {
        Approval::EndEntity => {
            let constraints = BasicConstraints { ca: false, path_len_constraint: None };
            written(BASIC_CONSTRAINTS, true, constraints.to_der()?)
        }
        Approval::CertificateAuthority { path_len } => {
            let constraints = BasicConstraints { ca: true, path_len_constraint: Some(*path_len) };
            written(BASIC_CONSTRAINTS, true, constraints.to_der()?)
        }
        Approval::DigitalSignature => written(KEY_USAGE, true, KeyUsage(KeyUsages::DigitalSignature.into()).to_der()?),
        Approval::CertificateAndCrlSigning => {
            let usages = KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign);
            written(KEY_USAGE, true, usages.to_der()?)
        }
        Approval::ExtendedKeyUsage { critical, purposes } => {
            let purposes = purposes.iter().map(|purpose| oid(purpose.arcs())).collect::<der::Result<_>>()?;
            written(&[2, 5, 29, 37], *critical, ExtendedKeyUsage(purposes).to_der()?)
        }
        Approval::SubjectAltName { critical, names } => {
            let names = names.iter().map(general_name).collect::<der::Result<_>>()?;
            written(&[2, 5, 29, 17], *critical, SubjectAltName(names).to_der()?)
        }
        Approval::SubjectKeyIdentifier(identifier) => {
            let identifier = SubjectKeyIdentifier(OctetString::new(identifier.as_slice())?);
            written(&[2, 5, 29, 14], false, identifier.to_der()?)
        }
        Approval::AuthorityKeyIdentifier(identifier) => {
            let key_identifier = Some(OctetString::new(identifier.as_slice())?);
            let identifier = AuthorityKeyIdentifier { key_identifier, ..Default::default() };
            written(&[2, 5, 29, 35], false, identifier.to_der()?)
        }
        Approval::NameConstraints(constraints) => {
            written(&[2, 5, 29, 30], true, name_constraints(constraints)?.to_der()?)
        }
        Approval::CertificatePolicies(policies) => {
            let information = |policy: &Oid| {
                Ok(PolicyInformation { policy_identifier: oid(policy.arcs())?, policy_qualifiers: None })
            };
            let policies = policies.iter().map(information).collect::<der::Result<_>>()?;
            written(&[2, 5, 29, 32], false, CertificatePolicies(policies).to_der()?)
        }
        Approval::CrlDistributionPoints(urls) => {
            let names = urls.iter().map(url).collect::<der::Result<_>>()?;
            let distribution_point = Some(DistributionPointName::FullName(names));
            let point = DistributionPoint { distribution_point, reasons: None, crl_issuer: None };
            written(&[2, 5, 29, 31], false, CrlDistributionPoints(vec![point]).to_der()?)
        }
        Approval::CaIssuers(urls) => {
            let description = |address: &HttpUrl| {
                let access_method = oid(&[1, 3, 6, 1, 5, 5, 7, 48, 2])?;
                Ok(AccessDescription { access_method, access_location: url(address)? })
            };
            let descriptions = urls.iter().map(description).collect::<der::Result<_>>()?;
            written(&[1, 3, 6, 1, 5, 5, 7, 1, 1], false, AuthorityInfoAccessSyntax(descriptions).to_der()?)
        }
        Approval::Claim(claim) => written(claim.oid.arcs(), false, claim.value.clone()),
        Approval::EpochBinding(EpochBinding { generation, manifest, transition }) => {
            let binding = Binding {
                version: EPOCH_BINDING_VERSION,
                generation: *generation,
                manifest_digest: OctetString::new(manifest.as_slice())?,
                transition_digest: OctetString::new(transition.as_slice())?,
            };
            written(EPOCH_BINDING_ARCS, false, binding.to_der()?)
        }
    }
}

fn name_constraints(constraints: &ApprovedConstraints) -> der::Result<NameConstraints> {
    let subtree = |subtree: &Subtree| {
        let base = match subtree {
            Subtree::Dns(base) => GeneralName::DnsName(Ia5String::new(base)?),
            Subtree::Uri(base) => GeneralName::UniformResourceIdentifier(Ia5String::new(base)?),
            Subtree::Email(base) => GeneralName::Rfc822Name(Ia5String::new(base)?),
            Subtree::Ip(block) => GeneralName::IpAddress(OctetString::new(block.address_and_mask())?),
        };
        Ok(GeneralSubtree { base, minimum: 0, maximum: None })
    };
    let list = |subtrees: &[Subtree]| match subtrees {
        [] => Ok(None),
        _ => subtrees.iter().map(subtree).collect::<der::Result<_>>().map(Some),
    };
    Ok(NameConstraints {
        permitted_subtrees: list(&constraints.permitted)?,
        excluded_subtrees: list(&constraints.excluded)?,
    })
}

fn general_name(name: &ApprovedName) -> der::Result<GeneralName> {
    Ok(match name {
        ApprovedName::Dns(name) => GeneralName::DnsName(Ia5String::new(name.as_str())?),
        ApprovedName::Uri(uri) => GeneralName::UniformResourceIdentifier(Ia5String::new(uri.as_str())?),
        ApprovedName::Ip(address) => GeneralName::IpAddress(OctetString::new(address.octets())?),
        ApprovedName::Email(email) => GeneralName::Rfc822Name(Ia5String::new(email.as_str())?),
    })
}
