//! SubjectPublicKeyInfos by name: good keys, and keys with one thing wrong each.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on ends by panicking")]

use std::collections::BTreeMap;

use aws_lc_rs::{encoding::AsDer, rsa, signature::KeyPair as _};
use num_bigint::BigUint;

const RSA_ENCRYPTION: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const NULL: &[u8] = &[5, 0];
const F4: u64 = 65_537;

/// A fresh P-256 key.
pub(crate) fn p256() -> Vec<u8> {
    of(&rcgen::PKCS_ECDSA_P256_SHA256)
}

/// All of them.
pub(crate) fn all() -> BTreeMap<&'static str, Vec<u8>> {
    let good = modulus(2048);
    let exponent = |exponent: u64| rsa_key(&good, &BigUint::from(exponent));
    let with_factor = |factor: u32| rsa_f4(&multiple_of(factor));
    let (base, order_8) = (near_base(1_037), hex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"));
    let mut off_curve = p256();
    *off_curve.last_mut().unwrap() ^= 1;
    let mut trailing = p256();
    trailing.push(0);
    BTreeMap::from([
        ("ecdsa-p256", p256()),
        ("ecdsa-p384", of(&rcgen::PKCS_ECDSA_P384_SHA384)),
        ("ed25519", of(&rcgen::PKCS_ED25519)),
        ("rsa-2048", rsa_generated(rsa::KeySize::Rsa2048)),
        ("rsa-3072", rsa_generated(rsa::KeySize::Rsa3072)),
        ("rsa-4096", rsa_generated(rsa::KeySize::Rsa4096)),
        ("denied", p256()),
        ("rsa-of-1024-bits", rsa_f4(&modulus(1024))),
        ("rsa-of-2047-bits", rsa_f4(&modulus(2047))),
        ("rsa-of-2056-bits", rsa_f4(&modulus(2056))),
        ("rsa-exponent-3", exponent(3)),
        ("rsa-exponent-65535", exponent(65_535)),
        ("rsa-exponent-65538", exponent(65_538)),
        ("rsa-exponent-65539", rsa_key(&(&base * prime()), &BigUint::from(65_539_u32))),
        ("rsa-exponent-huge", rsa_key(&good, &((BigUint::from(1_u32) << 64_u32) + 1_u32))),
        ("rsa-even", rsa_f4(&(&good - 1_u32))),
        ("rsa-negative", rsa_negative(&good)),
        ("rsa-factor-3", with_factor(3)),
        ("rsa-factor-751", with_factor(751)),
        ("rsa-factor-8191", with_factor(8_191)),
        ("rsa-neighbours", rsa_f4(&(&base * near_base(1_697)))),
        ("rsa-square", rsa_f4(&(&base * &base))),
        (
            "rsa-roca",
            rsa_f4(
                &(roca(9_100_522_078_094_763, 75_396_592_607_427_989)
                    * roca(9_026_629_310_519_097, 307_887_277_672_520_436)),
            ),
        ),
        ("rsa-no-null", spki(&[], &rsa_public_key(&unsigned(&good), &unsigned(&BigUint::from(F4))))),
        ("p256-off-curve", off_curve),
        ("p256-compressed", compressed()),
        ("p256-trailing", trailing),
        ("secp256k1", secp256k1()),
        ("ed25519-short", edwards(&[5; 31])),
        ("ed25519-off-the-curve", edwards(&[&[2][..], &[0; 31]].concat())),
        ("ed25519-not-canonical", edwards(&[&[0xf0][..], &[0xff; 30], &[0x7f]].concat())),
        ("ed25519-not-canonical-other-sign", edwards(&[&[0xf1][..], &[0xff; 31]].concat())),
        ("ed25519-identity", edwards(&[&[1][..], &[0; 31]].concat())),
        ("ed25519-order-8", edwards(&order_8)),
        ("ml-dsa-44", ml_dsa(17, &[], &[7; 1_312])),
        ("ml-dsa-65", of(&rcgen::PKCS_ML_DSA_65)),
        ("ml-dsa-87", of(&rcgen::PKCS_ML_DSA_87)),
        ("ml-dsa-44-with-null", ml_dsa(17, NULL, &[7; 1_312])),
        ("ml-dsa-44-short", ml_dsa(17, &[], &[7; 1_311])),
        ("ml-dsa-44-long", ml_dsa(17, &[], &[7; 1_313])),
        ("ml-dsa-44-called-65", ml_dsa(18, &[], &[7; 1_312])),
        ("ml-dsa-empty", ml_dsa(19, &[], &[])),
        ("hash-ml-dsa-44-with-sha512", ml_dsa(32, &[], &[7; 1_312])),
        ("ml-dsa-65-zero", ml_dsa(18, &[], &[&[7; 32][..], &[0; 1_920]].concat())),
    ])
}

fn of(algorithm: &'static rcgen::SignatureAlgorithm) -> Vec<u8> {
    use rcgen::PublicKeyData as _;
    rcgen::KeyPair::generate_for(algorithm).unwrap().subject_public_key_info()
}

pub(crate) fn rsa_generated(size: rsa::KeySize) -> Vec<u8> {
    rsa::KeyPair::generate(size).unwrap().public_key().as_der().unwrap().as_ref().to_vec()
}

/// An odd number of so many bits. What it is made of does not matter where its size or exponent is what is wrong.
fn modulus(bits: u32) -> BigUint {
    (BigUint::from(3_u32) << (bits - 2)) + 1_u32
}

/// A number of 2,048 bits that the factor divides, and that is odd.
fn multiple_of(factor: u32) -> BigUint {
    let rest = modulus(2048) / factor;
    let odd = &rest + (BigUint::from(1_u32) - (&rest % 2_u32));
    odd * factor
}

/// A prime of 1,024 bits at this distance from 3 * 2^1022.
fn near_base(distance: u32) -> BigUint {
    (BigUint::from(3_u32) << 1022_u32) + distance
}

/// Another one, far away.
fn prime() -> BigUint {
    near_base(555) + (BigUint::from(1_u32) << 900_u32)
}

/// A prime as the library of CVE-2017-15361 makes them: `k * M + (65537^a mod M)`.
fn roca(k: u64, a: u64) -> BigUint {
    let prime = |number: &u32| (2..*number).take_while(|by| by * by <= *number).all(|by| !number.is_multiple_of(by));
    let product: BigUint = (2_u32..).filter(prime).take(126).map(BigUint::from).product();
    BigUint::from(F4).modpow(&BigUint::from(a), &product) + product * k
}

fn rsa_f4(modulus: &BigUint) -> Vec<u8> {
    rsa_key(modulus, &BigUint::from(F4))
}

fn rsa_key(modulus: &BigUint, exponent: &BigUint) -> Vec<u8> {
    spki(NULL, &rsa_public_key(&unsigned(modulus), &unsigned(exponent)))
}

fn rsa_negative(modulus: &BigUint) -> Vec<u8> {
    spki(NULL, &rsa_public_key(&modulus.to_bytes_be(), &unsigned(&BigUint::from(F4))))
}

fn rsa_public_key(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    element(0x30, &[element(2, modulus), element(2, exponent)].concat())
}

/// The content of an INTEGER.
fn unsigned(number: &BigUint) -> Vec<u8> {
    let bytes = number.to_bytes_be();
    if bytes[0] < 0x80 { bytes } else { [vec![0], bytes].concat() }
}

fn spki(parameters: &[u8], key: &[u8]) -> Vec<u8> {
    info(&[RSA_ENCRYPTION, parameters].concat(), key)
}

fn edwards(point: &[u8]) -> Vec<u8> {
    info(&[6, 3, 0x2b, 0x65, 0x70], point)
}

/// One below 2.16.840.1.101.3.4.3, where the signature algorithms of NIST are (RFC 9881, section 2).
fn ml_dsa(last: u8, parameters: &[u8], key: &[u8]) -> Vec<u8> {
    info(&[&[6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, last], parameters].concat(), key)
}

fn compressed() -> Vec<u8> {
    let key = p256();
    let point = &key[key.len() - 64..];
    info(&key[4..25], &[&[2 + point[63] % 2], &point[..32]].concat())
}

/// The base point of secp256k1.
fn secp256k1() -> Vec<u8> {
    let point = "0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8";
    let algorithm = [6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b, 0x81, 4, 0, 10];
    info(&algorithm, &hex(point))
}

fn info(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    element(0x30, &[element(0x30, algorithm), element(3, &[&[0], key].concat())].concat())
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let head = match length {
        0..0x80 => vec![tag, length as u8],
        0x80..0x100 => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    [head, content.to_vec()].concat()
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
