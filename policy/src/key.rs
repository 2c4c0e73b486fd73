//! Public keys: which kinds there are, their one canonical encoding, and verifying a signature under one.
//!
//! What is to be known of a kind of key stands in one arm of a table (`kind.rs`), of a signature algorithm in another (`algorithm.rs`). Others ask
//! those tables, or treat a [`Family`] alike.

mod algorithm;
mod digest;
mod kind;
mod rsa;

use std::{fmt, sync::Arc};

use aws_lc_rs::signature::{self, ParsedPublicKey};
use curve25519_dalek::edwards::CompressedEdwardsY;
use rasn::types::{Any, BitString, ObjectIdentifier};
use rasn_pkix::{AlgorithmIdentifier, SubjectPublicKeyInfo};

pub use algorithm::SignatureAlgorithm;
pub use digest::SpkiDigest;
pub use digest::digest_from_hex;
pub(crate) use digest::sha256;
use kind::Parameters;
pub use kind::{Family, KeyKind};
pub(crate) use rsa::{modulus_of, rsa_numbers, rsa_public_key};

/// Largest SubjectPublicKeyInfo that is looked at, in bytes (an RSA-8192 key takes 1,062).
pub const SPKI_BYTES_MAX: usize = 8_192;

/// A public key of a known kind, on its curve or of its exact size, in its canonical encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    spki: Vec<u8>,
    raw: Vec<u8>,
    kind: KeyKind,
    digest: SpkiDigest,
    /// Of an elliptic curve.
    prepared: Option<Prepared>,
}

/// A key as the verifier of its kind's usual algorithm wants it. It follows from the bytes, and is kept since making it takes a twentieth of verifying.
#[derive(Clone)]
struct Prepared(Arc<ParsedPublicKey>);

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prepared")
    }
}

impl PartialEq for Prepared {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Prepared {}

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
    /// and ML-DSA (RFC 3279, RFC 5480, RFC 8410, RFC 9881), and the bytes are what encoding the same key again gives.
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
        let (kind, prepared) = kind_of(&info.algorithm, &raw)?;
        let digest = SpkiDigest::of(&spki);
        Ok(Self { spki, raw, kind, digest, prepared })
    }

    /// The key of that kind with these bytes in its BIT STRING: an uncompressed point, an RSAPublicKey, or what is no more than bytes.
    ///
    /// # Errors
    /// See [`PublicKeyError`]; also where it turns out to be of another kind.
    pub fn of_raw(kind: KeyKind, raw: &[u8]) -> Result<Self, PublicKeyError> {
        let spki = subject_public_key_info(kind, raw).ok_or(PublicKeyError::NotDer)?;
        let key = Self::parse(&spki)?;
        if key.kind == kind {
            Ok(key)
        } else {
            Err(PublicKeyError::Invalid { kind: kind.name(), detail: "it is of another size" })
        }
    }

    /// The RSA key of these numbers, big-endian without leading zeros.
    ///
    /// # Errors
    /// See [`PublicKeyError`].
    pub fn of_rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, PublicKeyError> {
        Self::parse(&rsa_public_key(modulus, exponent).ok_or(PublicKeyError::NotDer)?)
    }

    /// Modulus and exponent of an RSA key, big-endian without leading zeros; of no other key.
    #[must_use]
    pub fn rsa_numbers(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        if self.kind.family() == Family::Rsa { rsa_numbers(&self.raw) } else { None }
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
        let verified = match &self.prepared {
            Some(Prepared(key)) if algorithm == SignatureAlgorithm::default_for(self.kind) => {
                key.verify_sig(message, signature)
            }
            Some(_) | None => algorithm.verifier().verify_sig(&self.raw, message, signature),
        };
        verified.is_ok()
    }

    /// Whether `signature` is one over `message` by this ECDSA key with SHA-256, DER, whatever its curve: what
    /// `openssl dgst -sha256 -sign` writes. Keys of other kinds verify nothing.
    #[must_use]
    pub fn verifies_ecdsa_sha256(&self, message: &[u8], signature: &[u8]) -> bool {
        let verifier: &dyn signature::VerificationAlgorithm = match (self.kind.family(), self.kind.bits()) {
            (Family::Ecdsa, Some(256)) => &signature::ECDSA_P256_SHA256_ASN1,
            (Family::Ecdsa, Some(384)) => &signature::ECDSA_P384_SHA256_ASN1,
            (Family::Ecdsa | Family::Rsa | Family::Ed25519 | Family::MlDsa, _) => return false,
        };
        verifier.verify_sig(&self.raw, message, signature).is_ok()
    }
}

pub(crate) fn arcs(oid: &ObjectIdentifier) -> &[u32] {
    oid.as_ref()
}

/// NULL, DER.
const NULL: &[u8] = &[5, 0];

/// The SubjectPublicKeyInfo of a key of that kind.
fn subject_public_key_info(kind: KeyKind, raw: &[u8]) -> Option<Vec<u8>> {
    let parameters = match kind.parameters() {
        Parameters::Absent => None,
        Parameters::Null => Some(NULL.to_vec()),
        Parameters::Curve(curve) => Some(rasn::der::encode(&ObjectIdentifier::new(curve.to_vec())?).ok()?),
    };
    let algorithm = AlgorithmIdentifier {
        algorithm: ObjectIdentifier::new(kind.arcs().to_vec())?,
        parameters: parameters.map(Any::new),
    };
    let subject_public_key = BitString::from_vec(raw.to_vec());
    rasn::der::encode(&SubjectPublicKeyInfo { algorithm, subject_public_key }).ok()
}

/// Of which kind a key is, and whether it is one of that kind.
fn kind_of(algorithm: &AlgorithmIdentifier, raw: &[u8]) -> Result<(KeyKind, Option<Prepared>), PublicKeyError> {
    let parameters = algorithm.parameters.as_ref().map(|any| any.as_bytes());
    let named = |kind: &KeyKind| kind.arcs() == arcs(&algorithm.algorithm);
    let kind = KeyKind::ALL.into_iter().find(named);
    let kind = kind.ok_or_else(|| PublicKeyError::Unknown { what: format!("of algorithm {}", algorithm.algorithm) })?;
    let kind = match kind.family() {
        Family::Ecdsa => return curve(parameters, raw).map(|(kind, prepared)| (kind, Some(prepared))),
        Family::Rsa if parameters == Some(NULL) => rsa::kind(raw)?,
        Family::Rsa => return Err(PublicKeyError::NotCanonical { detail: "an RSA key has NULL parameters" }),
        Family::Ed25519 if parameters.is_some() => {
            return Err(PublicKeyError::NotCanonical { detail: "Ed25519 takes no parameters" });
        }
        Family::Ed25519 => edwards(kind, raw)?,
        Family::MlDsa if parameters.is_some() => {
            return Err(PublicKeyError::NotCanonical { detail: "ML-DSA takes no parameters" });
        }
        // All bytes of that length are a key (FIPS 204, algorithm 23).
        Family::MlDsa if kind.raw_bytes() == Some(raw.len()) => kind,
        Family::MlDsa => return Err(PublicKeyError::Invalid { kind: kind.name(), detail: "it has another length" }),
    };
    Ok((kind, None))
}

fn curve(parameters: Option<&[u8]>, point: &[u8]) -> Result<(KeyKind, Prepared), PublicKeyError> {
    let named: ObjectIdentifier = parameters
        .and_then(|der| rasn::der::decode(der).ok())
        .ok_or(PublicKeyError::NotCanonical { detail: "an EC key names its curve by object identifier" })?;
    let on_it = |kind: &KeyKind| matches!(kind.parameters(), Parameters::Curve(curve) if curve == arcs(&named));
    let kind = KeyKind::ALL.into_iter().find(on_it);
    let kind = kind.ok_or_else(|| PublicKeyError::Unknown { what: format!("on curve {named}") })?;
    if point.first() != Some(&4) || Some(point.len()) != kind.raw_bytes() {
        return Err(PublicKeyError::NotCanonical { detail: "the point is not uncompressed" });
    }
    match ParsedPublicKey::new(SignatureAlgorithm::default_for(kind).verifier(), point) {
        Ok(key) => Ok((kind, Prepared(Arc::new(key)))),
        Err(_) => Err(PublicKeyError::Invalid { kind: kind.name(), detail: "the point is not on the curve" }),
    }
}

fn edwards(kind: KeyKind, point: &[u8]) -> Result<KeyKind, PublicKeyError> {
    let invalid = |detail| PublicKeyError::Invalid { kind: kind.name(), detail };
    let point: &[u8; 32] = point.try_into().map_err(|_| invalid("it does not have 32 bytes"))?;
    if !is_canonical(point) {
        return Err(PublicKeyError::NotCanonical { detail: "the Ed25519 coordinate is not below the field's prime" });
    }
    match CompressedEdwardsY(*point).decompress() {
        Some(_) => Ok(kind),
        None => Err(invalid("the point is not on the curve")),
    }
}

/// Whether the y coordinate is below 2^255 - 19 (RFC 8032, section 5.1.3): little-endian, without the sign of x in its last bit.
fn is_canonical(point: &[u8; 32]) -> bool {
    let [lowest, middle @ .., highest] = point;
    let is_top = *highest & 0x7f == 0x7f && middle.iter().all(|byte| *byte == 0xff);
    !(is_top && *lowest >= 0xed)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn an_ml_dsa_signature_is_over_the_message_itself_and_has_the_length_of_its_set() {
        let sets = [
            (KeyKind::MlDsa44, &signature::ML_DSA_44_SIGNING, 2_420),
            (KeyKind::MlDsa65, &signature::ML_DSA_65_SIGNING, 3_309),
            (KeyKind::MlDsa87, &signature::ML_DSA_87_SIGNING, 4_627),
        ];
        for (kind, set, length) in sets {
            let pair = signature::PqdsaKeyPair::from_seed(set, &[1; 32]).unwrap();
            let key = PublicKey::of_raw(kind, signature::KeyPair::public_key(&pair).as_ref()).unwrap();
            let algorithm = SignatureAlgorithm::default_for(kind);
            let sign = |message: &[u8]| {
                let mut signature = vec![0; set.signature_len()];
                assert_eq!(pair.sign(message, &mut signature), Ok(length));
                signature
            };
            let good = sign(b"message");
            assert!(key.verifies(algorithm, b"message", &good) && !key.verifies(algorithm, b"another", &good));
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, b"message");
            assert!(!key.verifies(algorithm, b"message", &sign(digest.as_ref())), "a digest is another message");
            for wrong in [&good[..length - 1], &[&good[..], &[0]].concat(), &[]] {
                assert!(!key.verifies(algorithm, b"message", wrong));
            }
            for other in SignatureAlgorithm::ALL.into_iter().filter(|other| *other != algorithm) {
                assert!(!key.verifies(other, b"message", &good), "{other}");
            }
            assert!(!key.verifies_ecdsa_sha256(b"message", &good));
            assert_eq!(PublicKey::parse(key.spki()).unwrap(), key);
        }
    }

    #[test]
    fn a_key_is_made_of_its_bytes_if_they_are_of_its_kind() {
        let key = PublicKey::of_raw(KeyKind::MlDsa44, &[7; 1_312]).unwrap();
        assert_eq!((key.kind(), key.raw(), key.rsa_numbers()), (KeyKind::MlDsa44, &[7; 1_312][..], None));
        for kind in KeyKind::ALL {
            assert!(PublicKey::of_raw(kind, &[7; 100]).is_err(), "{kind}");
        }
        let rsa = PublicKey::of_rsa(&[0xc5; 256], &[1, 0, 1]).unwrap();
        assert!(PublicKey::of_raw(KeyKind::Rsa2048, rsa.raw()).is_ok_and(|key| key == rsa));
        let size = PublicKeyError::Invalid { kind: "rsa-3072", detail: "it is of another size" };
        assert_eq!(PublicKey::of_raw(KeyKind::Rsa3072, rsa.raw()), Err(size));
    }
}
