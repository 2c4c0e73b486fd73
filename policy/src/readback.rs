//! Writing expected fields with this crate's own encoder, so that a draft can be compared with them byte by byte.
//!
//! The encoder here is `rasn`; drafts come from another library. Where both give the same bytes, neither was tricked.

use std::borrow::Cow;

use num_bigint::BigInt;
use rasn::prelude::*;
use rasn_pkix::{AttributeTypeAndValue, GeneralNames, Name, RelativeDistinguishedName, Time, Validity};

use crate::{
    constraint::{NameConstraints, Subtree},
    content::{EPOCH_BINDING_ARCS, EPOCH_BINDING_VERSION, EpochBinding, Extension},
    crl::{CrlContent, IssuingDistributionPoint, OnlyContains, RevocationReason},
    name::{DistinguishedName, GeneralName, NameAttribute},
    oid::Oid,
    time::{Interval, UnixTime},
    web::HttpUrl,
};

/// The first second that must be written as GeneralizedTime: 2050-01-01T00:00:00Z (RFC 5280, section 4.1.2.5).
const GENERALIZED_FROM_SECS: i64 = 2_524_608_000;

/// An extension as it must stand in the certificate.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) arcs: Cow<'static, [u32]>,
    pub(crate) critical: bool,
    pub(crate) value: Vec<u8>,
}

/// Field and encoding could not be made; only reachable through a defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unencodable;

fn der(value: &impl Encode) -> Result<Vec<u8>, Unencodable> {
    rasn::der::encode(value).map_err(|_| Unencodable)
}

fn oid(arcs: &[u32]) -> Result<ObjectIdentifier, Unencodable> {
    ObjectIdentifier::new(arcs.to_vec()).ok_or(Unencodable)
}

/// notBefore and notAfter in seconds, whatever their encoding.
pub(crate) fn interval(validity: &Validity) -> Interval {
    let point = |time: &Time| match time {
        Time::Utc(time) => UnixTime::from_secs(time.timestamp()),
        Time::General(time) => UnixTime::from_secs(time.timestamp()),
    };
    Interval { not_before: point(&validity.not_before), not_after: point(&validity.not_after) }
}

/// Whether a time says exactly this second, in the form that RFC 5280 wants for its year.
pub(crate) fn says(time: &Time, expected: UnixTime) -> bool {
    match time {
        Time::Utc(time) => {
            expected.secs() < GENERALIZED_FROM_SECS
                && time.timestamp() == expected.secs()
                && time.timestamp_subsec_nanos() == 0
        }
        Time::General(time) => {
            expected.secs() >= GENERALIZED_FROM_SECS
                && time.timestamp() == expected.secs()
                && time.timestamp_subsec_nanos() == 0
        }
    }
}

/// The DER of a distinguished name.
pub(crate) fn name(name: &DistinguishedName) -> Result<Vec<u8>, Unencodable> {
    let mut rdns = Vec::new();
    for (attribute, value) in name.attributes() {
        let value = match attribute {
            NameAttribute::Country => der(&PrintableString::from_bytes(value.as_bytes()).map_err(|_| Unencodable)?)?,
            NameAttribute::Organization | NameAttribute::CommonName => der(&Utf8String::from(value.as_str()))?,
        };
        let attribute = AttributeTypeAndValue { r#type: oid(attribute.arcs())?, value: Any::new(value) };
        rdns.push(RelativeDistinguishedName::from(SetOf::from_vec(vec![attribute])));
    }
    der(&Name::RdnSequence(rdns))
}

/// Whether a value has this encoding.
pub(crate) fn is_encoded<T: AsRef<[u8]>>(value: &impl Encode, expected: Result<T, Unencodable>) -> bool {
    match (der(value), expected) {
        (Ok(found), Ok(expected)) => found == expected.as_ref(),
        (Err(Unencodable), _) | (_, Err(Unencodable)) => false,
    }
}

#[derive(AsnType, Decode, Encode)]
struct Binding {
    version: Integer,
    generation: Integer,
    manifest_digest: OctetString,
    transition_digest: OctetString,
}

/// The epoch that the value of the extension names, if it is the one encoding of what it says.
pub(crate) fn epoch_binding(value: &[u8]) -> Option<EpochBinding> {
    let Binding { version: _, generation, manifest_digest, transition_digest } = rasn::der::decode(value).ok()?;
    let binding = EpochBinding {
        generation: u64::try_from(BigInt::from(generation)).ok()?,
        manifest: manifest_digest.as_ref().try_into().ok()?,
        transition: transition_digest.as_ref().try_into().ok()?,
    };
    (extension(&Extension::EpochBinding(binding)).ok()?.value == value).then_some(binding)
}

/// An extension as it must stand in the certificate.
pub(crate) fn extension(extension: &Extension) -> Result<Expected, Unencodable> {
    let expected = |arcs: &'static [u32], critical, value| Ok(Expected { arcs: Cow::Borrowed(arcs), critical, value });
    match extension {
        Extension::EndEntity => {
            let constraints = rasn_pkix::BasicConstraints { ca: false, path_len_constraint: None };
            expected(&[2, 5, 29, 19], true, der(&constraints)?)
        }
        Extension::CertificateAuthority { path_len } => {
            let path_len_constraint = Some(Integer::from(*path_len));
            let constraints = rasn_pkix::BasicConstraints { ca: true, path_len_constraint };
            expected(&[2, 5, 29, 19], true, der(&constraints)?)
        }
        // digitalSignature is bit 0, keyCertSign bit 5, cRLSign bit 6; DER drops the zero bits at the end.
        Extension::DigitalSignature => expected(&[2, 5, 29, 15], true, b"\x03\x02\x07\x80".to_vec()),
        Extension::CertificateAndCrlSigning => expected(&[2, 5, 29, 15], true, b"\x03\x02\x01\x06".to_vec()),
        Extension::ExtendedKeyUsage { critical, purposes } => {
            let purposes: Vec<_> = purposes.iter().map(|purpose| oid(purpose.arcs())).collect::<Result<_, _>>()?;
            expected(&[2, 5, 29, 37], *critical, der(&purposes)?)
        }
        Extension::SubjectAltName { critical, names } => {
            let names: GeneralNames = names.iter().map(general_name).collect::<Result<_, _>>()?;
            expected(&[2, 5, 29, 17], *critical, der(&names)?)
        }
        Extension::SubjectKeyIdentifier(identifier) => {
            expected(&[2, 5, 29, 14], false, der(&OctetString::from_slice(identifier))?)
        }
        Extension::AuthorityKeyIdentifier(identifier) => {
            let key_identifier = Some(OctetString::from_slice(identifier));
            let identifier = rasn_pkix::AuthorityKeyIdentifier { key_identifier, ..Default::default() };
            expected(&[2, 5, 29, 35], false, der(&identifier)?)
        }
        Extension::NameConstraints(constraints) => {
            expected(&[2, 5, 29, 30], true, der(&name_constraints(constraints)?)?)
        }
        Extension::CertificatePolicies(policies) => {
            let information = |policy: &Oid| {
                let policy_identifier = oid(policy.arcs())?;
                Ok(rasn_pkix::PolicyInformation { policy_identifier, policy_qualifiers: None })
            };
            let policies: Vec<_> = policies.iter().map(information).collect::<Result<_, _>>()?;
            expected(&[2, 5, 29, 32], false, der(&policies)?)
        }
        Extension::CrlDistributionPoints(urls) => {
            let names: GeneralNames = urls.iter().map(url).collect::<Result<_, _>>()?;
            let point = rasn_pkix::DistributionPoint {
                distribution_point: Some(rasn_pkix::DistributionPointName::FullName(names)),
                reasons: None,
                crl_issuer: None,
            };
            expected(&[2, 5, 29, 31], false, der(&vec![point])?)
        }
        Extension::CaIssuers(urls) => {
            let description = |address: &HttpUrl| {
                let (access_method, access_location) = (oid(&[1, 3, 6, 1, 5, 5, 7, 48, 2])?, url(address)?);
                Ok(rasn_pkix::AccessDescription { access_method, access_location })
            };
            let descriptions: Vec<_> = urls.iter().map(description).collect::<Result<_, _>>()?;
            expected(&[1, 3, 6, 1, 5, 5, 7, 1, 1], false, der(&descriptions)?)
        }
        Extension::Claim(claim) => {
            Ok(Expected { arcs: Cow::Owned(claim.oid.arcs().to_vec()), critical: false, value: claim.value.clone() })
        }
        Extension::EpochBinding(EpochBinding { generation, manifest, transition }) => {
            let binding = Binding {
                version: Integer::from(EPOCH_BINDING_VERSION),
                generation: Integer::from(BigInt::from(*generation)),
                manifest_digest: OctetString::from_slice(manifest),
                transition_digest: OctetString::from_slice(transition),
            };
            expected(EPOCH_BINDING_ARCS, false, der(&binding)?)
        }
    }
}

/// The extensions of a CRL, in their order.
pub(crate) fn crl_extensions(content: &CrlContent) -> Result<Vec<Expected>, Unencodable> {
    let key = extension(&Extension::AuthorityKeyIdentifier(content.authority_key_identifier))?;
    let number = Integer::from(BigInt::from(content.number));
    let number = Expected { arcs: Cow::Borrowed(&[2, 5, 29, 20]), critical: false, value: der(&number)? };
    let mut expected = vec![key, number];
    if let Some(point) = &content.distribution_point {
        let value = der(&issuing_distribution_point(point)?)?;
        expected.push(Expected { arcs: Cow::Borrowed(&[2, 5, 29, 28]), critical: true, value });
    }
    Ok(expected)
}

/// The reasonCode of an entry; none where the reason is left out.
pub(crate) fn reason_code(reason: RevocationReason) -> Option<Expected> {
    let value = vec![0x0a, 0x01, reason.number()];
    let code = || Expected { arcs: Cow::Borrowed(&[2, 5, 29, 21]), critical: false, value };
    (reason != RevocationReason::Unspecified).then(code)
}

fn issuing_distribution_point(
    point: &IssuingDistributionPoint,
) -> Result<rasn_pkix::IssuingDistributionPoint, Unencodable> {
    let names: GeneralNames = point.urls.iter().map(url).collect::<Result<_, _>>()?;
    let distribution_point = (!names.is_empty()).then_some(rasn_pkix::DistributionPointName::FullName(names));
    Ok(rasn_pkix::IssuingDistributionPoint {
        distribution_point,
        only_contains_user_certs: point.only == OnlyContains::UserCerts,
        only_contains_ca_certs: point.only == OnlyContains::CaCerts,
        only_some_reasons: None,
        indirect_crl: false,
        only_contains_attribute_certs: false,
    })
}

fn url(url: &HttpUrl) -> Result<rasn_pkix::GeneralName, Unencodable> {
    ia5(url.as_str()).map(rasn_pkix::GeneralName::Uri)
}

fn name_constraints(constraints: &NameConstraints) -> Result<rasn_pkix::NameConstraints, Unencodable> {
    let subtree = |subtree: &Subtree| {
        let base = match subtree {
            Subtree::Dns(base) => rasn_pkix::GeneralName::DnsName(ia5(base)?),
            Subtree::Uri(base) => rasn_pkix::GeneralName::Uri(ia5(base)?),
            Subtree::Email(base) => rasn_pkix::GeneralName::Rfc822Name(ia5(base)?),
            Subtree::Ip(block) => rasn_pkix::GeneralName::IpAddress(OctetString::from(block.address_and_mask())),
        };
        Ok(rasn_pkix::GeneralSubtree { base, minimum: Integer::from(0), maximum: None })
    };
    let list = |subtrees: &[Subtree]| match subtrees {
        [] => Ok(None),
        _ => subtrees.iter().map(subtree).collect::<Result<_, _>>().map(Some),
    };
    Ok(rasn_pkix::NameConstraints {
        permitted_subtrees: list(&constraints.permitted)?,
        excluded_subtrees: list(&constraints.excluded)?,
    })
}

fn ia5(text: &str) -> Result<Ia5String, Unencodable> {
    Ia5String::from_iso646_bytes(text.as_bytes()).map_err(|_| Unencodable)
}

fn general_name(name: &GeneralName) -> Result<rasn_pkix::GeneralName, Unencodable> {
    match name {
        GeneralName::Dns(name) => ia5(name.as_str()).map(rasn_pkix::GeneralName::DnsName),
        GeneralName::Uri(uri) => ia5(uri.as_str()).map(rasn_pkix::GeneralName::Uri),
        GeneralName::Ip(address) => Ok(rasn_pkix::GeneralName::IpAddress(OctetString::from_slice(&address.octets()))),
        GeneralName::Email(email) => ia5(email.as_str()).map(rasn_pkix::GeneralName::Rfc822Name),
    }
}
