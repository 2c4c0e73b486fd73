//! The TBSCertificate of approved content (RFC 5280, section 4.1.2).

use der::{
    Decode, Encode, Sequence,
    asn1::{Any, Ia5String, ObjectIdentifier, OctetString, PrintableString, Utf8StringRef},
};
use hallmark_policy::{
    Approved,
    constraint::{NameConstraints as ApprovedConstraints, Subtree},
    content::{Content, EPOCH_BINDING_ARCS, EPOCH_BINDING_VERSION, EpochBinding, Extension as Approval},
    key::{PublicKey, SignatureAlgorithm},
    name::{DistinguishedName, GeneralName as ApprovedName, NameAttribute},
    oid::Oid,
    time::{Interval, UnixTime},
    web::HttpUrl,
};
use signature::Keypair;
use spki::{
    AlgorithmIdentifierOwned, Document, DynSignatureAlgorithmIdentifier, EncodePublicKey, SubjectPublicKeyInfoOwned,
    SubjectPublicKeyInfoRef,
};
use x509_cert::{
    TbsCertificate,
    attr::AttributeTypeAndValue,
    builder::{self, Builder, CertificateBuilder, profile::BuilderProfile},
    ext::{
        Extension,
        pkix::{
            AccessDescription, AuthorityInfoAccessSyntax, AuthorityKeyIdentifier, BasicConstraints,
            CertificatePolicies, CrlDistributionPoints, ExtendedKeyUsage, KeyUsage, KeyUsages, NameConstraints,
            SubjectAltName, SubjectKeyIdentifier,
            certpolicy::PolicyInformation,
            constraints::name::GeneralSubtree,
            crl::dp::DistributionPoint,
            name::{DistributionPointName, GeneralName},
        },
    },
    name::{Name, RdnSequence, RelativeDistinguishedName},
    serial_number::SerialNumber,
    time::{Time, Validity},
};

/// The DER of a TBSCertificate that claims to say what was approved. Policy checks the claim.
#[derive(Debug)]
pub struct Draft(Vec<u8>);

impl Draft {
    /// Its DER.
    #[must_use]
    pub fn into_der(self) -> Vec<u8> {
        self.0
    }
}

/// Approved content that cannot be encoded: a defect, since policy admits only what can.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// A field.
    #[error("a field of the certificate cannot be encoded: {0}")]
    Field(#[from] der::Error),
    /// A field, said by the builder.
    #[error("the certificate cannot be built: {0}")]
    Builder(#[from] builder::Error),
    /// A key.
    #[error("the public key cannot be read again: {0}")]
    Key(#[from] spki::Error),
}

/// Writes the TBSCertificate of what was approved.
///
/// # Errors
/// [`DraftError`]: nothing that policy approves gives one.
pub fn draft(approved: &Approved) -> Result<Draft, DraftError> {
    let content = approved.content();
    let serial = SerialNumber::new(content.serial.as_bytes())?;
    let key = SubjectPublicKeyInfoOwned::try_from(content.key.spki())?;
    let mut builder = CertificateBuilder::new(Written::of(content)?, serial, validity(content.validity)?, key)?;
    let issuer = Issuer { key: approved.issuer(), algorithm: content.algorithm };
    Ok(Draft(builder.finalize(&issuer)?))
}

/// The profile that the builder asks: everything is decided already.
struct Written {
    issuer: Name,
    subject: Name,
    extensions: Vec<Extension>,
}

impl Written {
    fn of(content: &Content) -> Result<Self, DraftError> {
        Ok(Self {
            issuer: name(&content.issuer)?,
            subject: name(&content.subject)?,
            extensions: content.extensions.iter().map(extension).collect::<Result<_, _>>()?,
        })
    }
}

impl BuilderProfile for Written {
    fn get_issuer(&self, _subject: &Name) -> Name {
        self.issuer.clone()
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        _subject_key: SubjectPublicKeyInfoRef<'_>,
        _issuer_key: SubjectPublicKeyInfoRef<'_>,
        _tbs: &TbsCertificate,
    ) -> builder::Result<Vec<Extension>> {
        Ok(self.extensions.clone())
    }
}

/// The signing key as far as the builder needs it: its public half and its algorithm.
struct Issuer<'a> {
    key: &'a PublicKey,
    algorithm: SignatureAlgorithm,
}

/// A public key that can be encoded.
#[derive(Clone)]
struct Verifying(Vec<u8>);

impl Keypair for Issuer<'_> {
    type VerifyingKey = Verifying;

    fn verifying_key(&self) -> Verifying {
        Verifying(self.key.spki().to_vec())
    }
}

impl EncodePublicKey for Verifying {
    fn to_public_key_der(&self) -> spki::Result<Document> {
        Ok(Document::try_from(self.0.as_slice())?)
    }
}

impl DynSignatureAlgorithmIdentifier for Issuer<'_> {
    fn signature_algorithm_identifier(&self) -> spki::Result<AlgorithmIdentifierOwned> {
        Ok(algorithm_identifier(self.algorithm)?)
    }
}

const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const SHA256_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Bytes of salt in an RSASSA-PSS signature: the length of the hash (RFC 4055, section 3.1).
const PSS_SALT_BYTES: u8 = 32;

/// RSASSA-PSS-params (RFC 4055, section 3.1) with the trailer field at its default.
#[derive(Sequence)]
struct PssParameters {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    hash: AlgorithmIdentifierOwned,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT")]
    mask_generation: AlgorithmIdentifierOwned,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT")]
    salt_length: u8,
}

pub(crate) fn algorithm_identifier(algorithm: SignatureAlgorithm) -> der::Result<AlgorithmIdentifierOwned> {
    let plain = |oid| AlgorithmIdentifierOwned { oid, parameters: None };
    let with_null = |oid| AlgorithmIdentifierOwned { oid, parameters: Some(Any::null()) };
    Ok(match algorithm {
        SignatureAlgorithm::EcdsaSha256 => plain(ECDSA_WITH_SHA256),
        SignatureAlgorithm::EcdsaSha384 => plain(ECDSA_WITH_SHA384),
        SignatureAlgorithm::RsaPkcs1Sha256 => with_null(SHA256_WITH_RSA),
        SignatureAlgorithm::Ed25519 => plain(ED25519),
        SignatureAlgorithm::RsaPssSha256 => {
            let mask_generation =
                AlgorithmIdentifierOwned { oid: MGF1, parameters: Some(Any::encode_from(&with_null(SHA256))?) };
            let parameters = PssParameters { hash: with_null(SHA256), mask_generation, salt_length: PSS_SALT_BYTES };
            AlgorithmIdentifierOwned { oid: RSASSA_PSS, parameters: Some(Any::encode_from(&parameters)?) }
        }
    })
}

fn validity(interval: Interval) -> der::Result<Validity> {
    Ok(Validity::new(time(interval.not_before)?, time(interval.not_after)?))
}

/// The builder writes UTCTime until 2049 and GeneralizedTime from 2050 on (RFC 5280, section 4.1.2.5).
fn time(point: UnixTime) -> der::Result<Time> {
    let since = core::time::Duration::from_secs(u64::try_from(point.secs()).unwrap_or(0));
    let date = der::DateTime::from_unix_duration(since)?;
    Ok(Time::from(date))
}

fn name(name: &DistinguishedName) -> der::Result<Name> {
    let mut rdns = Vec::new();
    for (attribute, value) in name.attributes() {
        let value = match attribute {
            NameAttribute::Country => Any::encode_from(&PrintableString::new(value)?)?,
            NameAttribute::Organization | NameAttribute::OrganizationalUnit | NameAttribute::CommonName => {
                Any::encode_from(&Utf8StringRef::new(value)?)?
            }
        };
        let attribute = AttributeTypeAndValue { oid: oid(attribute.arcs())?, value };
        rdns.push(RelativeDistinguishedName::try_from(vec![attribute])?);
    }
    Name::from_der(&RdnSequence::from(rdns).to_der()?)
}

fn oid(arcs: &[u32]) -> der::Result<ObjectIdentifier> {
    ObjectIdentifier::from_arcs(arcs.iter().copied()).map_err(|_| der::ErrorKind::OidMalformed.into())
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
    let written = |arcs: &[u32], critical, value: Vec<u8>| {
        Ok(Extension { extn_id: oid(arcs)?, critical, extn_value: OctetString::new(value)? })
    };
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

fn url(url: &HttpUrl) -> der::Result<GeneralName> {
    Ok(GeneralName::UniformResourceIdentifier(Ia5String::new(url.as_str())?))
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
