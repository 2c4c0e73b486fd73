//! What is signed, as plain data: policy writes it down, `issuance` encodes it, `endorse` compares.

use crate::{
    certification_request::RequestContent,
    claim::Claim,
    constraint::NameConstraints,
    crl::CrlContent,
    key::{PublicKey, SignatureAlgorithm},
    name::{DistinguishedName, GeneralName},
    oid::Oid,
    profile::KeyPurpose,
    time::Interval,
    web::HttpUrl,
};

/// Random bytes of a serial number: 128 bits.
pub const SERIAL_RANDOM_BYTES: usize = 16;

/// The first byte of every serial number. It keeps the number positive and its encoding 17 bytes long.
const SERIAL_FIRST_BYTE: u8 = 0x01;

/// Version of the epoch binding extension.
pub const EPOCH_BINDING_VERSION: u8 = 1;

/// Object identifier of the extension that binds a CA certificate to its epoch.
///
/// It stands under the enterprise number that IANA keeps for documentation (RFC 5612) until the project has its own.
pub const EPOCH_BINDING_ARCS: &[u32] = &[1, 3, 6, 1, 4, 1, 32473, 9901, 1];

/// Most octets of a serial number (RFC 5280, section 4.1.2.2).
const SERIAL_OCTETS_MAX: usize = 20;

/// A serial number: positive, at most 20 octets (RFC 5280, section 4.1.2.2). Those that are given here have 17, 128 bits of them random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial {
    // Before the octets, so that serial numbers are ordered as numbers.
    length: usize,
    octets: [u8; SERIAL_OCTETS_MAX],
}

impl Serial {
    /// The serial number with these random bytes.
    #[must_use]
    pub fn from_random(random: [u8; SERIAL_RANDOM_BYTES]) -> Self {
        let mut octets = [0; SERIAL_OCTETS_MAX];
        let bytes = std::iter::once(SERIAL_FIRST_BYTE).chain(random);
        octets.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        Self { length: SERIAL_RANDOM_BYTES + 1, octets }
    }

    /// A serial number that was stored, or given by an offline root: the contents of a DER INTEGER that is positive.
    #[must_use]
    pub fn from_stored(stored: &[u8]) -> Option<Self> {
        let is_minimal = match stored {
            [] | [0] => false,
            [0, second, ..] => *second >= 0x80,
            [first, ..] => *first < 0x80,
        };
        if !is_minimal || stored.len() > SERIAL_OCTETS_MAX {
            return None;
        }
        let mut octets = [0; SERIAL_OCTETS_MAX];
        octets.iter_mut().zip(stored).for_each(|(to, from)| *to = *from);
        Some(Self { length: stored.len(), octets })
    }

    /// Its octets, big-endian.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.octets.get(..self.length).unwrap_or_default()
    }
}

impl std::fmt::Display for Serial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&crate::hex(self.as_bytes()))
    }
}

/// What a CA key may sign: one of three structures, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A TBSCertificate (RFC 5280, section 4.1).
    Certificate(CertificateContent),
    /// A TBSCertList (RFC 5280, section 5.1).
    Crl(CrlContent),
    /// A CertificationRequestInfo (RFC 2986, section 4.1) about the very key that signs it.
    Request(RequestContent),
}

impl Content {
    /// What the signature is made with.
    #[must_use]
    pub fn algorithm(&self) -> SignatureAlgorithm {
        match self {
            Self::Certificate(content) => content.algorithm,
            Self::Crl(content) => content.algorithm,
            Self::Request(content) => content.algorithm,
        }
    }

    /// What the certificate says, if it is one.
    #[must_use]
    pub fn certificate(&self) -> Option<&CertificateContent> {
        match self {
            Self::Certificate(content) => Some(content),
            Self::Crl(_) | Self::Request(_) => None,
        }
    }
}

/// Everything that a TBSCertificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateContent {
    /// serialNumber.
    pub serial: Serial,
    /// signature.
    pub algorithm: SignatureAlgorithm,
    /// issuer.
    pub issuer: DistinguishedName,
    /// validity.
    pub validity: Interval,
    /// subject.
    pub subject: DistinguishedName,
    /// subjectPublicKeyInfo.
    pub key: PublicKey,
    /// extensions, in their order.
    pub extensions: Vec<Extension>,
}

/// An extension and its criticality.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extension {
    /// basicConstraints of an end entity: cA false; critical.
    EndEntity,
    /// basicConstraints of a CA; critical.
    CertificateAuthority {
        /// pathLenConstraint.
        path_len: u8,
    },
    /// keyUsage digitalSignature; critical.
    DigitalSignature,
    /// keyUsage keyCertSign and cRLSign; critical.
    CertificateAndCrlSigning,
    /// extKeyUsage.
    ExtendedKeyUsage {
        /// Critical for time stamping (RFC 3161, section 2.3).
        critical: bool,
        /// The purposes, in their order.
        purposes: Vec<KeyPurpose>,
    },
    /// subjectAltName.
    SubjectAltName {
        /// Critical where the subject is empty (RFC 5280, section 4.2.1.6).
        critical: bool,
        /// The names, in their order.
        names: Vec<GeneralName>,
    },
    /// subjectKeyIdentifier; not critical.
    SubjectKeyIdentifier([u8; 20]),
    /// authorityKeyIdentifier with a keyIdentifier only; not critical.
    AuthorityKeyIdentifier([u8; 20]),
    /// nameConstraints of a CA; critical.
    NameConstraints(NameConstraints),
    /// certificatePolicies without qualifiers; not critical.
    CertificatePolicies(Vec<Oid>),
    /// cRLDistributionPoints: one point with all these URLs; not critical.
    CrlDistributionPoints(Vec<HttpUrl>),
    /// authorityInfoAccess with caIssuers only; not critical.
    CaIssuers(Vec<HttpUrl>),
    /// An attestation claim; not critical.
    Claim(Claim),
    /// The epoch that a CA certificate belongs to; not critical.
    EpochBinding(EpochBinding),
}

/// What binds a CA certificate to its epoch.
///
/// ```text
/// EpochBinding ::= SEQUENCE {
///     version           INTEGER,      -- 1
///     generation        INTEGER,
///     manifestDigest    OCTET STRING, -- 32 bytes, SHA-256
///     transitionDigest  OCTET STRING  -- 32 bytes, SHA-256
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochBinding {
    /// Generation, from 1.
    pub generation: u64,
    /// SHA-256 of the manifest, or of the authority's statement.
    pub manifest: [u8; 32],
    /// Transition digest.
    pub transition: [u8; 32],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_number_that_is_given_here_has_17_octets_and_is_positive() {
        let serial = Serial::from_random([0xff; SERIAL_RANDOM_BYTES]);
        assert_eq!(serial.as_bytes(), [[1].as_slice(), &[0xff; 16]].concat());
        assert_eq!(serial.to_string(), format!("01{}", "ff".repeat(16)));
        assert_eq!(Serial::from_stored(serial.as_bytes()), Some(serial));
    }

    #[test]
    fn a_stored_serial_number_is_the_one_encoding_of_a_positive_number_of_20_octets_at_most() {
        let most = [0x7f; SERIAL_OCTETS_MAX];
        for stored in [&[1][..], &[0x7f], &[0, 0x80], &[0, 0xff, 0], &[1, 0], &most] {
            assert_eq!(Serial::from_stored(stored).unwrap().as_bytes(), stored);
        }
        for wrong in
            [&[][..], &[0], &[0, 0], &[0, 0x7f], &[0, 1, 2], &[0x80], &[0xff, 0], &[most.as_slice(), &[0]].concat()]
        {
            assert_eq!(Serial::from_stored(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn serial_numbers_are_ordered_as_numbers() {
        let serials = [&[1][..], &[0x7f], &[0, 0x80], &[1, 0], &[0x7f, 0xff], &[1, 0, 0]].map(Serial::from_stored);
        assert!(serials.is_sorted_by(|one, next| one < next));
    }
}
