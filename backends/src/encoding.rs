//! Encodings of keys and signatures, as devices have them: numbers, points and Ecdsa-Sig-Value. Nothing of certificates.

use hallmark_policy::key::{PublicKey, PublicKeyError};

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// The RSA key of these big-endian numbers, whatever zeros they begin with.
pub(crate) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<PublicKey, PublicKeyError> {
    PublicKey::of_rsa(without_zeros(modulus), without_zeros(exponent))
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

/// A point as CKA_EC_POINT has it: an OCTET STRING, DER.
pub(crate) fn wrapped_point(point: &[u8]) -> Vec<u8> {
    tlv(OCTET_STRING, point)
}

/// A number as it is written shortest.
pub(crate) fn without_zeros(big_endian: &[u8]) -> &[u8] {
    let start = big_endian.iter().position(|byte| *byte != 0).unwrap_or(big_endian.len());
    big_endian.get(start..).unwrap_or_default()
}

/// An INTEGER that is not negative: shortest form, with a zero byte before a set top bit (X.690, section 8.3).
fn unsigned(big_endian: &[u8]) -> Vec<u8> {
    let digits = without_zeros(big_endian);
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
        let raw = [7; 32];
        let wrapped = [&[4, 32], &raw[..]].concat();
        assert_eq!(point(&raw, 32), Some(&raw[..]));
        assert_eq!(point(&wrapped, 32), Some(&raw[..]));
        assert_eq!(point(&[&wrapped[..], &[0]].concat(), 32), None);
        assert_eq!(point(&[&[3, 32], &raw[..]].concat(), 32), None);
        assert_eq!(point(&[], 32), None);
    }
}
