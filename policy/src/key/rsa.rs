//! RSA public keys: the numbers in an RSAPublicKey (RFC 8017, appendix A.1.1).

use num_bigint::{BigInt, Sign};
use rasn::Decoder as _;

use super::{KeyKind, PublicKeyError, kind::Family, subject_public_key_info};

/// Smallest RSA public exponent taken, F4; smaller ones have a history (NIST SP 800-56B, section 6.2).
const EXPONENT_MIN: u64 = 65_537;

#[derive(rasn::AsnType, rasn::Decode, rasn::Encode)]
struct RsaPublicKey {
    modulus: rasn::types::Integer,
    public_exponent: rasn::types::Integer,
}

/// The kind of an RSAPublicKey, by its modulus.
pub(super) fn kind(key: &[u8]) -> Result<KeyKind, PublicKeyError> {
    const INVALID: &str = "RSA";
    let rsa: RsaPublicKey = rasn::der::decode(key)
        .map_err(|_| PublicKeyError::Invalid { kind: INVALID, detail: "it is not an RSAPublicKey (RFC 8017)" })?;
    if rasn::der::encode(&rsa).ok().as_deref() != Some(key) {
        return Err(PublicKeyError::NotCanonical { detail: "encoding the RSAPublicKey again gives other bytes" });
    }
    let exponent = u64::try_from(&rsa.public_exponent)
        .map_err(|_| PublicKeyError::Invalid { kind: INVALID, detail: "the public exponent is over 64 bits" })?;
    if exponent < EXPONENT_MIN || exponent % 2 == 0 {
        return Err(PublicKeyError::Invalid { kind: INVALID, detail: "the public exponent is even or under 65537" });
    }
    let content = rasn::der::encode(&rsa.modulus).map_err(|_| PublicKeyError::NotDer)?;
    if content.last().is_none_or(|byte| byte % 2 == 0) {
        return Err(PublicKeyError::Invalid { kind: INVALID, detail: "the modulus is even" });
    }
    let bits = positive_bits(&rsa.modulus)
        .ok_or(PublicKeyError::Invalid { kind: INVALID, detail: "the modulus is not positive" })?;
    let of_that_size = |kind: &KeyKind| {
        kind.family() == Family::Rsa && kind.bits().is_some_and(|wanted| u64::try_from(wanted) == Ok(bits))
    };
    KeyKind::ALL
        .into_iter()
        .find(of_that_size)
        .ok_or_else(|| PublicKeyError::Unknown { what: format!("RSA of {bits} bits") })
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
    // What it is of follows from the modulus: all kinds of RSA keys are encoded alike.
    subject_public_key_info(KeyKind::Rsa2048, &rasn::der::encode(&rsa).ok()?)
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
    use crate::key::PublicKey;

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
        assert_eq!(rsa_numbers(key.raw()), Some((modulus.to_vec(), vec![1, 0, 1])));
        assert_eq!(modulus_of(key.raw()).map(|modulus| modulus.bits()), Some(2_048));
        assert_eq!(
            (rsa_public_key(&[0, 1], &[3]), rsa_public_key(&[], &[3]), rsa_public_key(&[3], &[0, 3])),
            (None, None, None)
        );
        assert_eq!((rsa_numbers(&[5, 0]), modulus_of(&[5, 0])), (None, None));
    }
}
