//! The kinds of keys, and all that is to be known of each: one arm of [`KeyKind::facts`].

use std::fmt;

use super::algorithm::SignatureAlgorithm;

/// The kinds of key that Hallmark knows, of CAs and of subjects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// ECDSA on secp256r1 (RFC 5480).
    EcdsaP256,
    /// ECDSA on secp384r1 (RFC 5480).
    EcdsaP384,
    /// RSA with a modulus of exactly 2048 bits.
    Rsa2048,
    /// RSA with a modulus of exactly 3072 bits.
    Rsa3072,
    /// RSA with a modulus of exactly 4096 bits.
    Rsa4096,
    /// Ed25519 (RFC 8410).
    Ed25519,
    /// ML-DSA-44 (FIPS 204, RFC 9881).
    MlDsa44,
    /// ML-DSA-65 (FIPS 204, RFC 9881).
    MlDsa65,
    /// ML-DSA-87 (FIPS 204, RFC 9881).
    MlDsa87,
}

/// What keys of several kinds have in common: how they are encoded and used, whatever their size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// ECDSA on a named curve.
    Ecdsa,
    /// RSA.
    Rsa,
    /// Ed25519.
    Ed25519,
    /// ML-DSA, of any parameter set.
    MlDsa,
}

impl Family {
    /// Whether its signatures are meant to stand when there are quantum computers.
    #[must_use]
    pub const fn is_post_quantum(self) -> bool {
        match self {
            Self::Ecdsa | Self::Rsa | Self::Ed25519 => false,
            Self::MlDsa => true,
        }
    }
}

/// The parameters in the AlgorithmIdentifier of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parameters {
    /// None.
    Absent,
    /// NULL.
    Null,
    /// The object identifier of a curve.
    Curve(&'static [u32]),
}

/// What is to be known of a kind.
struct Facts {
    name: &'static str,
    family: Family,
    /// Of the key in a SubjectPublicKeyInfo.
    arcs: &'static [u32],
    parameters: Parameters,
    /// Bytes in the BIT STRING, where that says the kind.
    raw_bytes: Option<usize>,
    /// Bits of an RSA modulus or of a curve's field, where devices count them alike.
    bits: Option<usize>,
    /// What its keys sign with unless something else was asked for.
    usual: SignatureAlgorithm,
    /// What they sign with beside that.
    others: &'static [SignatureAlgorithm],
}

const ID_EC_PUBLIC_KEY: &[u32] = &[1, 2, 840, 10045, 2, 1];
const SECP256R1: &[u32] = &[1, 2, 840, 10045, 3, 1, 7];
const SECP384R1: &[u32] = &[1, 3, 132, 0, 34];
const RSA_ENCRYPTION: &[u32] = &[1, 2, 840, 113549, 1, 1, 1];
const ID_ED25519: &[u32] = &[1, 3, 101, 112];
const ID_ML_DSA_44: &[u32] = &[2, 16, 840, 1, 101, 3, 4, 3, 17];
const ID_ML_DSA_65: &[u32] = &[2, 16, 840, 1, 101, 3, 4, 3, 18];
const ID_ML_DSA_87: &[u32] = &[2, 16, 840, 1, 101, 3, 4, 3, 19];

impl KeyKind {
    /// Every kind, in the order in which people list them.
    pub const ALL: [Self; 9] = [
        Self::EcdsaP256,
        Self::EcdsaP384,
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
        Self::Ed25519,
        Self::MlDsa44,
        Self::MlDsa65,
        Self::MlDsa87,
    ];

    const fn facts(self) -> Facts {
        const fn ecdsa(name: &'static str, curve: &'static [u32], bits: usize, usual: SignatureAlgorithm) -> Facts {
            // An uncompressed point (SEC 1, section 2.3.3).
            let raw_bytes = Some(1 + 2 * bits / 8);
            let (arcs, parameters) = (ID_EC_PUBLIC_KEY, Parameters::Curve(curve));
            Facts { name, family: Family::Ecdsa, arcs, parameters, raw_bytes, bits: Some(bits), usual, others: &[] }
        }
        const fn rsa(name: &'static str, bits: usize) -> Facts {
            let (arcs, parameters) = (RSA_ENCRYPTION, Parameters::Null);
            let (usual, others) = (SignatureAlgorithm::RsaPkcs1Sha256, &[SignatureAlgorithm::RsaPssSha256]);
            Facts { name, family: Family::Rsa, arcs, parameters, raw_bytes: None, bits: Some(bits), usual, others }
        }
        const fn bytes(
            (name, family): (&'static str, Family),
            arcs: &'static [u32],
            bytes: usize,
            usual: SignatureAlgorithm,
        ) -> Facts {
            let (parameters, raw_bytes) = (Parameters::Absent, Some(bytes));
            Facts { name, family, arcs, parameters, raw_bytes, bits: None, usual, others: &[] }
        }
        match self {
            Self::EcdsaP256 => ecdsa("ecdsa-p256", SECP256R1, 256, SignatureAlgorithm::EcdsaSha256),
            Self::EcdsaP384 => ecdsa("ecdsa-p384", SECP384R1, 384, SignatureAlgorithm::EcdsaSha384),
            Self::Rsa2048 => rsa("rsa-2048", 2_048),
            Self::Rsa3072 => rsa("rsa-3072", 3_072),
            Self::Rsa4096 => rsa("rsa-4096", 4_096),
            Self::Ed25519 => bytes(("ed25519", Family::Ed25519), ID_ED25519, 32, SignatureAlgorithm::Ed25519),
            // FIPS 204, table 2.
            Self::MlDsa44 => bytes(("ml-dsa-44", Family::MlDsa), ID_ML_DSA_44, 1_312, SignatureAlgorithm::MlDsa44),
            Self::MlDsa65 => bytes(("ml-dsa-65", Family::MlDsa), ID_ML_DSA_65, 1_952, SignatureAlgorithm::MlDsa65),
            Self::MlDsa87 => bytes(("ml-dsa-87", Family::MlDsa), ID_ML_DSA_87, 2_592, SignatureAlgorithm::MlDsa87),
        }
    }

    /// The name that policy and configuration files use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Its family.
    #[must_use]
    pub const fn family(self) -> Family {
        self.facts().family
    }

    /// Bits of the RSA modulus or of the curve's field; none where a kind is not counted in bits.
    #[must_use]
    pub const fn bits(self) -> Option<usize> {
        self.facts().bits
    }

    /// Bytes of the subjectPublicKey, where all keys of the kind have as many: an uncompressed point, or what is no more than bytes.
    #[must_use]
    pub const fn raw_bytes(self) -> Option<usize> {
        self.facts().raw_bytes
    }

    /// Whether `algorithm` signs with a key of this kind.
    #[must_use]
    pub fn signs_with(self, algorithm: SignatureAlgorithm) -> bool {
        let Facts { usual, others, .. } = self.facts();
        usual == algorithm || others.contains(&algorithm)
    }

    /// What its keys sign with unless something else was asked for.
    pub(super) const fn usual(self) -> SignatureAlgorithm {
        self.facts().usual
    }

    /// The object identifier of its keys.
    pub(super) const fn arcs(self) -> &'static [u32] {
        self.facts().arcs
    }

    pub(super) const fn parameters(self) -> Parameters {
        self.facts().parameters
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
