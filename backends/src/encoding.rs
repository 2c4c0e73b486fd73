//! Encodings of keys and signatures: SubjectPublicKeyInfo and Ecdsa-Sig-Value. Nothing of certificates.

use hallmark_policy::key::{KeyKind, PublicKey, PublicKeyError};
use pkcs8::{
    der::{Decode as _, Error, Reader as _, SliceReader, asn1::UintRef},
    spki::SubjectPublicKeyInfoRef,
};

/// AlgorithmIdentifier of id-ecPublicKey with secp256r1 (RFC 5480, section 2.1.1), DER.
const EC_P256: &[u8] =
    &[0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
/// AlgorithmIdentifier of id-ecPublicKey with secp384r1 (RFC 5480, section 2.1.1), DER.
const EC_P384: &[u8] = &[0x30, 0x10, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b, 0x81, 4, 0, 0x22];
/// AlgorithmIdentifier of rsaEncryption (RFC 3279, section 2.3.1), DER.
const RSA: &[u8] = &[0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
/// AlgorithmIdentifier of id-Ed25519 (RFC 8410, section 3), DER.
const ED25519: &[u8] = &[0x30, 5, 6, 3, 0x2b, 0x65, 0x70];

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// Bytes of an uncompressed point on secp256r1.
pub(crate) const P256_POINT_BYTES: usize = 65;
/// Bytes of an uncompressed point on secp384r1.
pub(crate) const P384_POINT_BYTES: usize = 97;
/// Bytes of an Ed25519 public key.
pub(crate) const ED25519_POINT_BYTES: usize = 32;

/// The key on secp256r1 whose uncompressed point this is.
pub(crate) fn p256(point: &[u8]) -> Result<PublicKey, PublicKeyError> {
    public_key(EC_P256, point)
}

/// The key on secp384r1 whose uncompressed point this is.
pub(crate) fn p384(point: &[u8]) -> Result<PublicKey, PublicKeyError> {
    public_key(EC_P384, point)
}

/// The Ed25519 key of these 32 bytes.
pub(crate) fn ed25519(point: &[u8]) -> Result<PublicKey, PublicKeyError> {
    public_key(ED25519, point)
}

/// The RSA key of these big-endian numbers.
pub(crate) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<PublicKey, PublicKeyError> {
    rsa_from_der(&tlv(SEQUENCE, &[unsigned(modulus), unsigned(exponent)].concat()))
}

/// The RSA key of this RSAPublicKey, DER.
pub(crate) fn rsa_from_der(key: &[u8]) -> Result<PublicKey, PublicKeyError> {
    public_key(RSA, key)
}

/// Ecdsa-Sig-Value (RFC 3279, section 2.2.3) of `r` and `s`, which follow each other at equal length.
pub(crate) fn ecdsa_signature(fixed: &[u8]) -> Vec<u8> {
    let (r, s) = fixed.split_at(fixed.len() / 2);
    tlv(SEQUENCE, &[unsigned(r), unsigned(s)].concat())
}

/// A point of `bytes` bytes, out of a CKA_EC_POINT that is raw or wrapped in an OCTET STRING; the length tells.
pub(crate) fn point(attribute: &[u8], bytes: usize) -> Option<&[u8]> {
    if attribute.len() == bytes {
        return Some(attribute);
    }
    let length = u8::try_from(bytes).ok().filter(|length| *length < 0x80)?;
    attribute.strip_prefix(&[OCTET_STRING, length]).filter(|content| content.len() == bytes)
}

/// What a public key consists of.
pub(crate) enum Parts {
    /// An OCTET STRING with the point, DER: CKA_EC_POINT.
    Point(Vec<u8>),
    /// Big-endian numbers.
    Rsa {
        /// n.
        modulus: Vec<u8>,
        /// e.
        exponent: Vec<u8>,
    },
}

/// Takes a public key apart.
pub(crate) fn parts(public: &PublicKey) -> Option<Parts> {
    let info = SubjectPublicKeyInfoRef::from_der(public.spki()).ok()?;
    let key = info.subject_public_key.as_bytes()?;
    Some(match public.kind() {
        KeyKind::EcdsaP256 | KeyKind::EcdsaP384 | KeyKind::Ed25519 => {
            Parts::Point(tlv(OCTET_STRING, &[key.to_vec()].concat()))
        }
        KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => {
            let mut reader = SliceReader::new(key).ok()?;
            let next = |reader: &mut SliceReader<'_>| Ok::<_, Error>(UintRef::decode(reader)?.as_bytes().to_vec());
            let (modulus, exponent) = reader.sequence(|reader| Ok::<_, Error>((next(reader)?, next(reader)?))).ok()?;
            Parts::Rsa { modulus, exponent }
        }
    })
}

fn public_key(algorithm: &[u8], key: &[u8]) -> Result<PublicKey, PublicKeyError> {
    let no_unused_bits = [&[0], key].concat();
    PublicKey::parse(&tlv(SEQUENCE, &[algorithm, &tlv(BIT_STRING, &no_unused_bits)].concat()))
}

/// An INTEGER that is not negative: shortest form, with a zero byte before a set top bit (X.690, section 8.3).
fn unsigned(big_endian: &[u8]) -> Vec<u8> {
    let start = big_endian.iter().position(|byte| *byte != 0).unwrap_or(big_endian.len());
    let digits = big_endian.get(start..).unwrap_or_default();
    let mut content = Vec::with_capacity(digits.len() + 1);
    if digits.first().is_none_or(|byte| byte & 0x80 != 0) {
        content.push(0);
    }
    content.extend_from_slice(digits);
    tlv(INTEGER, &content)
}

/// Tag, length and content (X.690, section 10.1). Keys and signatures are far below 64 KiB; a longer content gets a length
/// that no decoder takes.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 4);
    out.push(tag);
    match u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes() {
        [0, low] if low < 0x80 => out.push(low),
        [0, low] => out.extend([0x81, low]),
        [high, low] => out.extend([0x82, high, low]),
    }
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_two_shortest_positive_integers() {
        assert_eq!(ecdsa_signature(&[0, 0x80, 0, 1]), [0x30, 7, 2, 2, 0, 0x80, 2, 1, 1]);
        assert_eq!(ecdsa_signature(&[0, 0, 0x7f, 0xff]), [0x30, 7, 2, 1, 0, 2, 2, 0x7f, 0xff]);
        assert_eq!(ecdsa_signature(&[0xff; 192])[..8], [0x30, 0x81, 198, 2, 97, 0, 0xff, 0xff]);
    }

    #[test]
    fn a_point_is_read_raw_and_wrapped_and_in_no_other_way() {
        let raw = [7; ED25519_POINT_BYTES];
        let wrapped = [&[4, 32], &raw[..]].concat();
        assert_eq!(point(&raw, 32), Some(&raw[..]));
        assert_eq!(point(&wrapped, 32), Some(&raw[..]));
        assert_eq!(point(&[&wrapped[..], &[0]].concat(), 32), None);
        assert_eq!(point(&[&[3, 32], &raw[..]].concat(), 32), None);
        assert_eq!(point(&[], 32), None);
    }
}
