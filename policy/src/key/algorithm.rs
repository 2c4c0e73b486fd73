//! The signature algorithms of CA keys, and all that is to be known of each: one arm of [`SignatureAlgorithm::facts`].

use std::fmt;

use aws_lc_rs::{
    digest,
    signature::{self, VerificationAlgorithm},
};

use super::kind::{Family, KeyKind};

/// The algorithms that a CA key signs with. The curve fixes the hash, so that nothing is left to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignatureAlgorithm {
    /// ecdsa-with-SHA256 on secp256r1 (RFC 5758, section 3.2).
    EcdsaSha256,
    /// ecdsa-with-SHA384 on secp384r1 (RFC 5758, section 3.2).
    EcdsaSha384,
    /// sha256WithRSAEncryption (RFC 4055, section 5).
    RsaPkcs1Sha256,
    /// id-RSASSA-PSS with SHA-256, MGF1 with SHA-256 and 32 bytes of salt (RFC 4055, section 3.1).
    RsaPssSha256,
    /// id-Ed25519 (RFC 8410, section 3).
    Ed25519,
    /// id-ml-dsa-44 (RFC 9881, section 3): ML-DSA itself with an empty context, over the message and no digest of it.
    MlDsa44,
    /// id-ml-dsa-65, likewise.
    MlDsa65,
    /// id-ml-dsa-87, likewise.
    MlDsa87,
}

/// What is to be known of an algorithm.
struct Facts {
    name: &'static str,
    /// AlgorithmIdentifier, DER.
    identifier: &'static [u8],
    family: Family,
    /// What is signed is the digest by this; none where it is the message itself.
    hash: Option<&'static digest::Algorithm>,
    verifier: &'static dyn VerificationAlgorithm,
}

impl SignatureAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 8] = [
        Self::EcdsaSha256,
        Self::EcdsaSha384,
        Self::RsaPkcs1Sha256,
        Self::RsaPssSha256,
        Self::Ed25519,
        Self::MlDsa44,
        Self::MlDsa65,
        Self::MlDsa87,
    ];

    fn facts(self) -> Facts {
        fn ml_dsa(
            name: &'static str,
            identifier: &'static [u8],
            verifier: &'static dyn VerificationAlgorithm,
        ) -> Facts {
            Facts { name, identifier, family: Family::MlDsa, hash: None, verifier }
        }
        match self {
            Self::EcdsaSha256 => Facts {
                name: "ecdsa-sha256",
                identifier: b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02",
                family: Family::Ecdsa,
                hash: Some(&digest::SHA256),
                verifier: &signature::ECDSA_P256_SHA256_ASN1,
            },
            Self::EcdsaSha384 => Facts {
                name: "ecdsa-sha384",
                identifier: b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03",
                family: Family::Ecdsa,
                hash: Some(&digest::SHA384),
                verifier: &signature::ECDSA_P384_SHA384_ASN1,
            },
            Self::RsaPkcs1Sha256 => Facts {
                name: "rsa-pkcs1-sha256",
                identifier: b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00",
                family: Family::Rsa,
                hash: Some(&digest::SHA256),
                verifier: &signature::RSA_PKCS1_2048_8192_SHA256,
            },
            Self::RsaPssSha256 => Facts {
                name: "rsa-pss-sha256",
                identifier: b"\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\
                              \xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\
                              \xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\
                              \x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\
                              \xa2\x03\x02\x01\x20",
                family: Family::Rsa,
                hash: Some(&digest::SHA256),
                verifier: &signature::RSA_PSS_2048_8192_SHA256,
            },
            Self::Ed25519 => Facts {
                name: "ed25519",
                identifier: b"\x30\x05\x06\x03\x2b\x65\x70",
                family: Family::Ed25519,
                hash: None,
                verifier: &signature::ED25519,
            },
            Self::MlDsa44 => {
                ml_dsa("ml-dsa-44", b"\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x11", &signature::ML_DSA_44)
            }
            Self::MlDsa65 => {
                ml_dsa("ml-dsa-65", b"\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x12", &signature::ML_DSA_65)
            }
            Self::MlDsa87 => {
                ml_dsa("ml-dsa-87", b"\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x13", &signature::ML_DSA_87)
            }
        }
    }

    /// The name that files and the log use.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// The algorithm of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// What a key of `kind` signs with unless something else was asked for.
    #[must_use]
    pub fn default_for(kind: KeyKind) -> Self {
        kind.usual()
    }

    /// The DER of its AlgorithmIdentifier, parameters as its specification wants them.
    #[must_use]
    pub fn identifier(self) -> &'static [u8] {
        self.facts().identifier
    }

    /// The algorithm of an AlgorithmIdentifier, DER: each has one form.
    #[must_use]
    pub fn from_identifier(der: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.identifier() == der)
    }

    /// What its keys have in common.
    #[must_use]
    pub fn family(self) -> Family {
        self.facts().family
    }

    /// What it hashes a message with; none if it signs the message itself.
    #[must_use]
    pub fn hash(self) -> Option<&'static digest::Algorithm> {
        self.facts().hash
    }

    /// What verifies its signatures, as certificates carry them, under keys as the BIT STRING has them.
    pub(crate) fn verifier(self) -> &'static dyn VerificationAlgorithm {
        self.facts().verifier
    }
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
