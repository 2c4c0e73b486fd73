//! Certificates, read so strictly that encoding them again gives the same bytes.

use hallmark_policy::{
    key::{PublicKey, PublicKeyError, SignatureAlgorithm},
    time::{Interval, UnixTime},
};
use rasn_pkix::{AlgorithmIdentifier, Time, Version};

/// Largest certificate that is read, in bytes.
pub const CERTIFICATE_BYTES_MAX: usize = 65_536;

/// Octets of the longest serial number (RFC 5280, section 4.1.2.2).
const SERIAL_OCTETS_MAX: usize = 20;

/// A certificate (RFC 5280, section 4.1).
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    /// All of it, DER.
    pub(crate) der: Vec<u8>,
    /// serialNumber, big-endian.
    pub(crate) serial: Vec<u8>,
    /// issuer, DER.
    pub(crate) issuer: Vec<u8>,
    /// subject, DER.
    pub(crate) subject: Vec<u8>,
    /// validity.
    pub(crate) validity: Interval,
    /// subjectPublicKeyInfo.
    pub(crate) key: PublicKey,
    /// extensions, in their order, no two of one kind.
    pub(crate) extensions: Vec<Extension>,
    signed: Signed,
}

/// An extension as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extension {
    /// extnID.
    pub(crate) arcs: Vec<u32>,
    /// critical.
    pub(crate) critical: bool,
    /// extnValue.
    pub(crate) value: Vec<u8>,
}

/// What was signed, how, and the signature.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    to_be_signed: Vec<u8>,
    algorithm: SignatureAlgorithm,
    signature: Vec<u8>,
}

/// Why bytes are no certificate that can be judged here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Too long.
    #[error("it has over {CERTIFICATE_BYTES_MAX} bytes")]
    TooLong,
    /// Not DER, or not this structure.
    #[error("it is no X.509 certificate in DER")]
    NotDer,
    /// Another encoding of the same certificate is DER.
    #[error("it is not in DER: encoding it again gives other bytes")]
    NotCanonical,
    /// Not version 3.
    #[error("it is not of version 3")]
    NotVersion3,
    /// Unique identifiers, which RFC 5280 forbids.
    #[error("it has unique identifiers, which RFC 5280 forbids")]
    UniqueIdentifier,
    /// A serial number that RFC 5280 forbids.
    #[error("its serial number is not positive or has over {SERIAL_OCTETS_MAX} octets")]
    Serial,
    /// An extension twice.
    #[error("it has the extension {oid} twice")]
    Twice {
        /// Which.
        oid: String,
    },
    /// Two names for the algorithm.
    #[error("it names two signature algorithms")]
    TwoAlgorithms,
    /// An algorithm that no CA here signs with.
    #[error("it is signed with an algorithm that no CA of this kind signs with")]
    Algorithm,
    /// A signature that is no whole number of bytes.
    #[error("its signature has unused bits")]
    SignatureBits,
    /// A key that is not taken.
    #[error("its key cannot be used: {0}")]
    Key(#[from] PublicKeyError),
}

impl Certificate {
    /// Reads DER.
    pub(crate) fn read(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > CERTIFICATE_BYTES_MAX {
            return Err(CertificateError::TooLong);
        }
        let read: rasn_pkix::Certificate = rasn::der::decode(der).map_err(|_| CertificateError::NotDer)?;
        if encoded(&read)? != der {
            return Err(CertificateError::NotCanonical);
        }
        let content = &read.tbs_certificate;
        if content.version != Version::V3 {
            return Err(CertificateError::NotVersion3);
        }
        if content.issuer_unique_id.is_some() || content.subject_unique_id.is_some() {
            return Err(CertificateError::UniqueIdentifier);
        }
        if content.signature != read.signature_algorithm {
            return Err(CertificateError::TwoAlgorithms);
        }
        let signature = read.signature_value.clone();
        if !signature.len().is_multiple_of(8) {
            return Err(CertificateError::SignatureBits);
        }
        Ok(Self {
            der: der.to_vec(),
            serial: serial(&content.serial_number).ok_or(CertificateError::Serial)?,
            issuer: encoded(&content.issuer)?,
            subject: encoded(&content.subject)?,
            validity: Interval {
                not_before: point(&content.validity.not_before),
                not_after: point(&content.validity.not_after),
            },
            key: PublicKey::parse(&encoded(&content.subject_public_key_info)?)?,
            extensions: extensions(content.extensions.as_ref())?,
            signed: Signed {
                to_be_signed: encoded(content)?,
                algorithm: algorithm(&content.signature).ok_or(CertificateError::Algorithm)?,
                signature: signature.into_vec(),
            },
        })
    }

    /// Whether `key` made its signature.
    pub(crate) fn is_signed_by(&self, key: &PublicKey) -> bool {
        self.signed.by(key)
    }

    /// The extension of a kind.
    pub(crate) fn extension(&self, arcs: &[u32]) -> Option<&Extension> {
        self.extensions.iter().find(|extension| extension.arcs == arcs)
    }
}

impl Signed {
    pub(crate) fn new(to_be_signed: Vec<u8>, algorithm: SignatureAlgorithm, signature: Vec<u8>) -> Self {
        Self { to_be_signed, algorithm, signature }
    }

    /// Whether `key` made the signature.
    pub(crate) fn by(&self, key: &PublicKey) -> bool {
        key.verifies(self.algorithm, &self.to_be_signed, &self.signature)
    }
}

impl Extension {
    /// Its object identifier, dotted.
    pub(crate) fn oid(&self) -> String {
        let arcs: Vec<String> = self.arcs.iter().map(ToString::to_string).collect();
        arcs.join(".")
    }

    /// Its value, if that is DER of this structure.
    pub(crate) fn decoded<T: rasn::Decode + rasn::Encode>(&self) -> Option<T> {
        let value: T = rasn::der::decode(&self.value).ok()?;
        (rasn::der::encode(&value).ok()? == self.value).then_some(value)
    }
}

/// DER of what was read; it is its own encoding, so that this does not fail.
fn encoded(value: &impl rasn::Encode) -> Result<Vec<u8>, CertificateError> {
    rasn::der::encode(value).map_err(|_| CertificateError::NotCanonical)
}

/// The extensions, none of them twice (RFC 5280, section 4.2).
pub(crate) fn extensions(read: Option<&rasn_pkix::Extensions>) -> Result<Vec<Extension>, CertificateError> {
    let mut extensions: Vec<Extension> = Vec::new();
    for extension in read.iter().flat_map(|list| list.iter()) {
        let arcs: &[u32] = extension.extn_id.as_ref();
        let one = Extension { arcs: arcs.to_vec(), critical: extension.critical, value: extension.extn_value.to_vec() };
        if extensions.iter().any(|other| other.arcs == one.arcs) {
            return Err(CertificateError::Twice { oid: one.oid() });
        }
        extensions.push(one);
    }
    Ok(extensions)
}

/// The algorithm of an AlgorithmIdentifier.
pub(crate) fn algorithm(identifier: &AlgorithmIdentifier) -> Option<SignatureAlgorithm> {
    SignatureAlgorithm::from_identifier(&rasn::der::encode(identifier).ok()?)
}

/// A serial number's octets, if it is positive and not too long.
pub(crate) fn serial(number: &rasn::types::Integer) -> Option<Vec<u8>> {
    let der = rasn::der::encode(number).ok()?;
    // Tag and a length of one byte: a serial number has far fewer than 128 octets.
    let octets = der.get(2..).filter(|octets| octets.len() <= SERIAL_OCTETS_MAX)?;
    let positive = octets.first().is_some_and(|first| *first < 0x80) && octets.iter().any(|octet| *octet != 0);
    positive.then(|| octets.to_vec())
}

/// A point in time, whatever its form.
pub(crate) fn point(time: &Time) -> UnixTime {
    match time {
        Time::Utc(time) => UnixTime::from_secs(time.timestamp()),
        Time::General(time) => UnixTime::from_secs(time.timestamp()),
    }
}
