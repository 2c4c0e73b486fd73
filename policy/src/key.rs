//! Public keys: which kinds there are, their one canonical encoding, and verifying a signature under one.

use std::fmt;

use aws_lc_rs::{digest, signature};
use curve25519_dalek::edwards::CompressedEdwardsY;
use num_bigint::{BigInt, Sign};
use rasn::{Decoder as _, types::ObjectIdentifier};
use rasn_pkix::SubjectPublicKeyInfo;

/// Largest SubjectPublicKeyInfo that is looked at, in bytes (an RSA-8192 key takes 1,062).
pub const SPKI_BYTES_MAX: usize = 8_192;

/// Smallest RSA public exponent taken, F4; smaller ones have a history (NIST SP 800-56B, section 6.2).
const RSA_EXPONENT_MIN: u64 = 65_537;

const ID_EC_PUBLIC_KEY: &[u32] = &[1, 2, 840, 10045, 2, 1];
const SECP256R1: &[u32] = &[1, 2, 840, 10045, 3, 1, 7];
const SECP384R1: &[u32] = &[1, 3, 132, 0, 34];
const RSA_ENCRYPTION: &[u32] = &[1, 2, 840, 113549, 1, 1, 1];
const ID_ED25519: &[u32] = &[1, 3, 101, 112];

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
}

impl KeyKind {
    /// Every kind, in the order in which people list them.
    pub const ALL: [Self; 6] =
        [Self::EcdsaP256, Self::EcdsaP384, Self::Rsa2048, Self::Rsa3072, Self::Rsa4096, Self::Ed25519];

    /// The name that policy and configuration files use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa3072 => "rsa-3072",
            Self::Rsa4096 => "rsa-4096",
            Self::Ed25519 => "ed25519",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether `algorithm` signs with a key of this kind.
    #[must_use]
    pub fn signs_with(self, algorithm: SignatureAlgorithm) -> bool {
        match algorithm {
            SignatureAlgorithm::EcdsaSha256 => self == Self::EcdsaP256,
            SignatureAlgorithm::EcdsaSha384 => self == Self::EcdsaP384,
            SignatureAlgorithm::RsaPkcs1Sha256 | SignatureAlgorithm::RsaPssSha256 => {
                matches!(self, Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096)
            }
            SignatureAlgorithm::Ed25519 => self == Self::Ed25519,
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

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
}

impl SignatureAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 5] =
        [Self::EcdsaSha256, Self::EcdsaSha384, Self::RsaPkcs1Sha256, Self::RsaPssSha256, Self::Ed25519];

    /// The name that files and the log use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EcdsaSha256 => "ecdsa-sha256",
            Self::EcdsaSha384 => "ecdsa-sha384",
            Self::RsaPkcs1Sha256 => "rsa-pkcs1-sha256",
            Self::RsaPssSha256 => "rsa-pss-sha256",
            Self::Ed25519 => "ed25519",
        }
    }

    /// The algorithm of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// What a key of `kind` signs with unless something else was asked for.
    #[must_use]
    pub fn default_for(kind: KeyKind) -> Self {
        match kind {
            KeyKind::EcdsaP256 => Self::EcdsaSha256,
            KeyKind::EcdsaP384 => Self::EcdsaSha384,
            KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => Self::RsaPkcs1Sha256,
            KeyKind::Ed25519 => Self::Ed25519,
        }
    }
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// SHA-256 over the DER of a SubjectPublicKeyInfo: what a key is called where it matters which one it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpkiDigest([u8; 32]);

impl SpkiDigest {
    /// The digest of `spki`, DER.
    #[must_use]
    pub fn of(spki: &[u8]) -> Self {
        Self(sha256(spki))
    }

    /// Reads 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        digest_from_hex(text).map(Self)
    }

    /// A digest that was stored.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for SpkiDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::hex(&self.0))
    }
}

impl fmt::Debug for SpkiDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpkiDigest({self})")
    }
}

/// A public key of a known kind, on its curve or of its exact size, in its canonical encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    spki: Vec<u8>,
    raw: Vec<u8>,
    kind: KeyKind,
    digest: SpkiDigest,
}

/// Why bytes are no public key that Hallmark takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// Longer than [`SPKI_BYTES_MAX`].
    #[error("the SubjectPublicKeyInfo has {bytes} bytes; at most {SPKI_BYTES_MAX} are read")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not DER, or not this structure.
    #[error("the SubjectPublicKeyInfo is not DER of RFC 5280, section 4.1.2.7")]
    NotDer,
    /// It reads, but another encoding of the same key is the canonical one.
    #[error("the SubjectPublicKeyInfo is not in its canonical encoding: {detail}")]
    NotCanonical {
        /// What differs.
        detail: &'static str,
    },
    /// An algorithm, curve or size that no profile can allow.
    #[error("the key is {what}, which this signer does not know")]
    Unknown {
        /// What it is, as far as it can be told.
        what: String,
    },
    /// The numbers are not those of a key of its kind.
    #[error("the key is no valid {kind} key: {detail}")]
    Invalid {
        /// The kind it claims.
        kind: &'static str,
        /// What is wrong with it.
        detail: &'static str,
    },
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo, DER.
    ///
    /// Canonical means: named curve, uncompressed point, NULL parameters for RSA, absent parameters for Ed25519
    /// (RFC 3279, RFC 5480, RFC 8410), and the bytes are what encoding the same key again gives.
    ///
    /// # Errors
    /// See [`PublicKeyError`].
    pub fn parse(spki: &[u8]) -> Result<Self, PublicKeyError> {
        if spki.len() > SPKI_BYTES_MAX {
            return Err(PublicKeyError::TooLong { bytes: spki.len() });
        }
        let info: SubjectPublicKeyInfo = rasn::der::decode(spki).map_err(|_| PublicKeyError::NotDer)?;
        let key = Self::of(&info)?;
        if key.spki != spki {
            return Err(PublicKeyError::NotCanonical { detail: "encoding it again gives other bytes" });
        }
        Ok(key)
    }

    /// The same of one that was read as a part of something else, which is the one encoding of what it says.
    ///
    /// # Errors
    /// See [`PublicKeyError`].
    pub fn of(info: &SubjectPublicKeyInfo) -> Result<Self, PublicKeyError> {
        let spki = rasn::der::encode(info).map_err(|_| PublicKeyError::NotDer)?;
        if spki.len() > SPKI_BYTES_MAX {
            return Err(PublicKeyError::TooLong { bytes: spki.len() });
        }
        if !info.subject_public_key.len().is_multiple_of(8) {
            return Err(PublicKeyError::NotCanonical { detail: "the BIT STRING has unused bits" });
        }
        let raw = info.subject_public_key.clone().into_vec();
        let parameters = info.algorithm.parameters.as_ref().map(|any| any.as_bytes());
        let kind = match arcs(&info.algorithm.algorithm) {
            ID_EC_PUBLIC_KEY => curve(parameters, &raw)?,
            RSA_ENCRYPTION => modulus(parameters, &raw)?,
            ID_ED25519 => edwards(parameters, &raw)?,
            _ => return Err(PublicKeyError::Unknown { what: format!("of algorithm {}", info.algorithm.algorithm) }),
        };
        let digest = SpkiDigest::of(&spki);
        Ok(Self { spki, raw, kind, digest })
    }

    /// Its SubjectPublicKeyInfo, DER.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The content of the subjectPublicKey BIT STRING.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// SHA-256 of its SubjectPublicKeyInfo.
    #[must_use]
    pub fn digest(&self) -> SpkiDigest {
        self.digest
    }

    /// Its key identifier: the leftmost 160 bits of SHA-256 over the BIT STRING (RFC 7093, section 2, method 1).
    #[must_use]
    pub fn key_identifier(&self) -> [u8; 20] {
        let mut identifier = [0; 20];
        identifier.iter_mut().zip(sha256(&self.raw)).for_each(|(to, from)| *to = from);
        identifier
    }

    /// Whether `signature` is one over `message` by this key; ECDSA signatures are DER (RFC 3279, section 2.2.3).
    #[must_use]
    pub fn verifies(&self, algorithm: SignatureAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.kind.signs_with(algorithm) {
            return false;
        }
        let verifier: &dyn signature::VerificationAlgorithm = match algorithm {
            SignatureAlgorithm::EcdsaSha256 => &signature::ECDSA_P256_SHA256_ASN1,
            SignatureAlgorithm::EcdsaSha384 => &signature::ECDSA_P384_SHA384_ASN1,
            SignatureAlgorithm::RsaPkcs1Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            SignatureAlgorithm::RsaPssSha256 => &signature::RSA_PSS_2048_8192_SHA256,
            SignatureAlgorithm::Ed25519 => &signature::ED25519,
        };
        verifier.verify_sig(&self.raw, message, signature).is_ok()
    }

    /// Whether `signature` is one over `message` by this ECDSA key with SHA-256, DER, whatever its curve: what
    /// `openssl dgst -sha256 -sign` writes. Keys of other kinds verify nothing.
    #[must_use]
    pub fn verifies_ecdsa_sha256(&self, message: &[u8], signature: &[u8]) -> bool {
        let verifier: &dyn signature::VerificationAlgorithm = match self.kind {
            KeyKind::EcdsaP256 => &signature::ECDSA_P256_SHA256_ASN1,
            KeyKind::EcdsaP384 => &signature::ECDSA_P384_SHA256_ASN1,
            KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 | KeyKind::Ed25519 => return false,
        };
        verifier.verify_sig(&self.raw, message, signature).is_ok()
    }
}

pub(crate) fn arcs(oid: &ObjectIdentifier) -> &[u32] {
    oid.as_ref()
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// A SHA-256 in 64 lower-case hexadecimal digits: one text for one digest.
pub(crate) fn digest_from_hex(text: &str) -> Option<[u8; 32]> {
    let fine = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if !fine {
        return None;
    }
    let mut digest = [0; 32];
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    Some(digest)
}

fn curve(parameters: Option<&[u8]>, point: &[u8]) -> Result<KeyKind, PublicKeyError> {
    let named: ObjectIdentifier = parameters
        .and_then(|der| rasn::der::decode(der).ok())
        .ok_or(PublicKeyError::NotCanonical { detail: "an EC key names its curve by object identifier" })?;
    let (kind, bytes, algorithm): (_, _, &dyn signature::VerificationAlgorithm) = match arcs(&named) {
        SECP256R1 => (KeyKind::EcdsaP256, 65, &signature::ECDSA_P256_SHA256_ASN1),
        SECP384R1 => (KeyKind::EcdsaP384, 97, &signature::ECDSA_P384_SHA384_ASN1),
        _ => return Err(PublicKeyError::Unknown { what: format!("on curve {named}") }),
    };
    if point.first() != Some(&4) || point.len() != bytes {
        return Err(PublicKeyError::NotCanonical { detail: "the point is not uncompressed" });
    }
    on_its_curve(kind, algorithm, point)
}

fn on_its_curve(
    kind: KeyKind,
    algorithm: &'static dyn signature::VerificationAlgorithm,
    point: &[u8],
) -> Result<KeyKind, PublicKeyError> {
    match signature::ParsedPublicKey::new(algorithm, point) {
        Ok(_) => Ok(kind),
        Err(_) => Err(PublicKeyError::Invalid { kind: kind.name(), detail: "the point is not on the curve" }),
    }
}

fn edwards(parameters: Option<&[u8]>, point: &[u8]) -> Result<KeyKind, PublicKeyError> {
    if parameters.is_some() {
        return Err(PublicKeyError::NotCanonical { detail: "Ed25519 takes no parameters" });
    }
    let invalid = |detail| PublicKeyError::Invalid { kind: "ed25519", detail };
    let point: &[u8; 32] = point.try_into().map_err(|_| invalid("it does not have 32 bytes"))?;
    if !is_canonical(point) {
        return Err(PublicKeyError::NotCanonical { detail: "the Ed25519 coordinate is not below the field's prime" });
    }
    match CompressedEdwardsY(*point).decompress() {
        Some(_) => Ok(KeyKind::Ed25519),
        None => Err(invalid("the point is not on the curve")),
    }
}

/// Whether the y coordinate is below 2^255 - 19 (RFC 8032, section 5.1.3): little-endian, without the sign of x in its last bit.
fn is_canonical(point: &[u8; 32]) -> bool {
    let [lowest, middle @ .., highest] = point;
    let is_top = *highest & 0x7f == 0x7f && middle.iter().all(|byte| *byte == 0xff);
    !(is_top && *lowest >= 0xed)
}

#[derive(rasn::AsnType, rasn::Decode, rasn::Encode)]
struct RsaPublicKey {
    modulus: rasn::types::Integer,
    public_exponent: rasn::types::Integer,
}

fn modulus(parameters: Option<&[u8]>, key: &[u8]) -> Result<KeyKind, PublicKeyError> {
    const INVALID: &str = "RSA";
    if parameters != Some(&[5, 0]) {
        return Err(PublicKeyError::NotCanonical { detail: "an RSA key has NULL parameters" });
    }
    let rsa: RsaPublicKey = rasn::der::decode(key)
        .map_err(|_| PublicKeyError::Invalid { kind: INVALID, detail: "it is not an RSAPublicKey (RFC 8017)" })?;
    if rasn::der::encode(&rsa).ok().as_deref() != Some(key) {
        return Err(PublicKeyError::NotCanonical { detail: "encoding the RSAPublicKey again gives other bytes" });
    }
    let exponent = u64::try_from(&rsa.public_exponent)
        .map_err(|_| PublicKeyError::Invalid { kind: INVALID, detail: "the public exponent is over 64 bits" })?;
    if exponent < RSA_EXPONENT_MIN || exponent % 2 == 0 {
        return Err(PublicKeyError::Invalid { kind: INVALID, detail: "the public exponent is even or under 65537" });
    }
    let content = rasn::der::encode(&rsa.modulus).map_err(|_| PublicKeyError::NotDer)?;
    if content.last().is_none_or(|byte| byte % 2 == 0) {
        return Err(PublicKeyError::Invalid { kind: INVALID, detail: "the modulus is even" });
    }
    match positive_bits(&rsa.modulus) {
        Some(2048) => Ok(KeyKind::Rsa2048),
        Some(3072) => Ok(KeyKind::Rsa3072),
        Some(4096) => Ok(KeyKind::Rsa4096),
        Some(bits) => Err(PublicKeyError::Unknown { what: format!("RSA of {bits} bits") }),
        None => Err(PublicKeyError::Invalid { kind: INVALID, detail: "the modulus is not positive" }),
    }
}

/// Modulus and exponent of an RSAPublicKey that was read before, big-endian without leading zeros.
pub(crate) fn rsa_numbers(key: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let rsa: RsaPublicKey = rasn::der::decode(key).ok()?;
    let bytes = |number| Some(BigInt::from(number).to_biguint()?.to_bytes_be());
    Some((bytes(rsa.modulus)?, bytes(rsa.public_exponent)?))
}

/// The SubjectPublicKeyInfo of an RSA key with these numbers, big-endian without leading zeros.
pub(crate) fn rsa_public_key(modulus: &[u8], exponent: &[u8]) -> Option<Vec<u8>> {
    let number = |bytes: &[u8]| {
        let has_no_zero = bytes.first().is_some_and(|first| *first != 0);
        has_no_zero.then(|| rasn::types::Integer::from(BigInt::from_bytes_be(Sign::Plus, bytes)))
    };
    let rsa = RsaPublicKey { modulus: number(modulus)?, public_exponent: number(exponent)? };
    let raw = rasn::der::encode(&rsa).ok()?;
    let algorithm = rasn_pkix::AlgorithmIdentifier {
        algorithm: ObjectIdentifier::new(RSA_ENCRYPTION.to_vec())?,
        parameters: Some(rasn::types::Any::new(vec![5, 0])),
    };
    let subject_public_key = rasn::types::BitString::from_vec(raw);
    rasn::der::encode(&SubjectPublicKeyInfo { algorithm, subject_public_key }).ok()
}

/// The modulus of an RSAPublicKey that was read before.
pub(crate) fn modulus_of(key: &[u8]) -> Option<num_bigint::BigUint> {
    let rsa: RsaPublicKey = rasn::der::decode(key).ok()?;
    BigInt::from(rsa.modulus).to_biguint()
}

/// Bits of a positive number, `None` for any other.
fn positive_bits(number: &rasn::types::Integer) -> Option<u64> {
    let number = BigInt::from(number.clone());
    (number.sign() == Sign::Plus).then(|| number.bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rsa(last: u8, exponent: u32) -> Result<KeyKind, PublicKeyError> {
        let mut modulus = [0xc5; 256];
        modulus[255] = last;
        let exponent: Vec<u8> = exponent.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
        PublicKey::parse(&rsa_public_key(&modulus, &exponent).unwrap()).map(|key| key.kind())
    }

    #[test]
    fn modulus_and_exponent_are_odd_and_the_exponent_is_65537_at_least() {
        let even = PublicKeyError::Invalid { kind: "RSA", detail: "the modulus is even" };
        for last in [0, 2, 0xfe] {
            assert_eq!(rsa(last, 65_537), Err(even.clone()));
        }
        for last in [1, 3, 0xff] {
            assert_eq!(rsa(last, 65_537), Ok(KeyKind::Rsa2048));
        }
        let exponent = PublicKeyError::Invalid { kind: "RSA", detail: "the public exponent is even or under 65537" };
        for number in [65_535, 65_536, 65_538] {
            assert_eq!(rsa(1, number), Err(exponent.clone()), "{number}");
        }
        assert_eq!(rsa(1, 65_539), Ok(KeyKind::Rsa2048));
    }

    #[test]
    fn numbers_of_an_rsa_key_have_no_leading_zeros_and_come_back() {
        let modulus = [0xc5; 256];
        let spki = rsa_public_key(&modulus, &[1, 0, 1]).unwrap();
        let key = PublicKey::parse(&spki).unwrap();
        let digest = key.digest().to_string();
        assert_eq!(SpkiDigest::parse(&digest), Some(key.digest()));
        for bad in
            [digest.to_uppercase(), digest[1..].to_owned(), format!("{digest}0"), digest.replacen(|_| true, "g", 1)]
        {
            assert_eq!(SpkiDigest::parse(&bad), None, "{bad}");
        }
        assert_eq!(rsa_numbers(key.raw()), Some((modulus.to_vec(), vec![1, 0, 1])));
        assert_eq!(modulus_of(key.raw()).map(|modulus| modulus.bits()), Some(2_048));
        assert_eq!(
            (rsa_public_key(&[0, 1], &[3]), rsa_public_key(&[], &[3]), rsa_public_key(&[3], &[0, 3])),
            (None, None, None)
        );
        assert_eq!((rsa_numbers(&[5, 0]), modulus_of(&[5, 0])), (None, None));
    }

    #[test]
    fn an_edwards_coordinate_is_below_the_fields_prime() {
        let point = |lowest: u8, middle: u8, highest: u8| {
            let mut point = [middle; 32];
            (point[0], point[31]) = (lowest, highest);
            is_canonical(&point)
        };
        for sign in [0, 0x80] {
            assert!(
                point(0xec, 0xff, 0x7f | sign) && !point(0xed, 0xff, 0x7f | sign) && !point(0xff, 0xff, 0x7f | sign)
            );
            assert!(point(0xff, 0xfe, 0x7f | sign) && point(0xff, 0xff, 0x7e | sign) && point(0xff, 0, 0x7f | sign));
        }
    }

    #[test]
    fn a_key_has_8192_bytes_at_most() {
        assert_eq!(PublicKey::parse(&[0; SPKI_BYTES_MAX]), Err(PublicKeyError::NotDer));
        let bytes = SPKI_BYTES_MAX + 1;
        assert_eq!(PublicKey::parse(&vec![0; bytes]), Err(PublicKeyError::TooLong { bytes }));
    }

    #[test]
    fn a_point_is_uncompressed_and_has_its_curves_length() {
        let with = |first: u8, bytes: usize| {
            let mut point = vec![0; bytes];
            point[0] = first;
            curve(Some(&[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]), &point)
        };
        let compressed = Err(PublicKeyError::NotCanonical { detail: "the point is not uncompressed" });
        for (first, bytes) in [(2, 65), (3, 33), (4, 64), (4, 66), (4, 97)] {
            assert_eq!(with(first, bytes), compressed);
        }
        let off = Err(PublicKeyError::Invalid { kind: "ecdsa-p256", detail: "the point is not on the curve" });
        assert_eq!(with(4, 65), off);
    }

    #[test]
    fn a_digest_is_64_lower_case_digits_in_and_out() {
        let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let digest = SpkiDigest::of(b"");
        assert_eq!(digest_from_hex(text), Some(*digest.as_bytes()));
        assert_eq!((digest.to_string().as_str(), format!("{digest:?}")), (text, format!("SpkiDigest({text})")));
        for wrong in [&text[1..], &format!("{text}0"), &text.to_uppercase(), &text.replace('e', "g"), &"é".repeat(32)]
        {
            assert_eq!(digest_from_hex(wrong), None, "{wrong}");
        }
    }
}
