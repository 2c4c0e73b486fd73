//! The DER of approved content, before it is signed.

mod certificate;
mod crl;
mod extensions;
mod request;

use der::{
    Decode, Encode, Sequence,
    asn1::{Any, ObjectIdentifier, PrintableString, Utf8StringRef},
};
use hallmark_policy::{
    Approved,
    content::Content,
    key::SignatureAlgorithm,
    name::{DistinguishedName, NameAttribute},
    time::UnixTime,
};
use spki::AlgorithmIdentifierOwned;
use x509_cert::{
    attr::AttributeTypeAndValue,
    builder,
    name::{Name, RdnSequence, RelativeDistinguishedName},
    time::Time,
};

/// The DER of a structure that claims to say what was approved. Policy checks the claim.
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
    #[error("a field cannot be encoded: {0}")]
    Field(#[from] der::Error),
    /// A field, said by the builder.
    #[error("the certificate cannot be built: {0}")]
    Builder(#[from] builder::Error),
    /// A key.
    #[error("the public key cannot be read again: {0}")]
    Key(#[from] spki::Error),
}

/// Writes the TBSCertificate, TBSCertList or CertificationRequestInfo of what was approved.
///
/// # Errors
/// [`DraftError`]: nothing that policy approves gives one.
pub fn draft(approved: &Approved) -> Result<Draft, DraftError> {
    let der = match approved.content() {
        Content::Certificate(content) => certificate::certificate(content, approved.issuer())?,
        Content::Crl(content) => crl::crl(content)?,
        Content::Request(content) => request::request(content)?,
    };
    Ok(Draft(der))
}

const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const SHA256_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const ML_DSA_44: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.17");
const ML_DSA_65: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.18");
const ML_DSA_87: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.19");

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
        SignatureAlgorithm::MlDsa44 => plain(ML_DSA_44),
        SignatureAlgorithm::MlDsa65 => plain(ML_DSA_65),
        SignatureAlgorithm::MlDsa87 => plain(ML_DSA_87),
        SignatureAlgorithm::RsaPssSha256 => {
            let mask_generation =
                AlgorithmIdentifierOwned { oid: MGF1, parameters: Some(Any::encode_from(&with_null(SHA256))?) };
            let parameters = PssParameters { hash: with_null(SHA256), mask_generation, salt_length: PSS_SALT_BYTES };
            AlgorithmIdentifierOwned { oid: RSASSA_PSS, parameters: Some(Any::encode_from(&parameters)?) }
        }
    })
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
            NameAttribute::Organization | NameAttribute::CommonName => Any::encode_from(&Utf8StringRef::new(value)?)?,
        };
        let attribute = AttributeTypeAndValue { oid: oid(attribute.arcs())?, value };
        rdns.push(RelativeDistinguishedName::try_from(vec![attribute])?);
    }
    Name::from_der(&RdnSequence::from(rdns).to_der()?)
}

fn oid(arcs: &[u32]) -> der::Result<ObjectIdentifier> {
    ObjectIdentifier::from_arcs(arcs.iter().copied()).map_err(|_| der::ErrorKind::OidMalformed.into())
}
