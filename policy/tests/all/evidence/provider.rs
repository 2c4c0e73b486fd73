//! The provider: its keys, the policy that trusts them, and the JWTs that it signs, good and bad.

use std::collections::BTreeMap;

use aws_lc_rs::{
    encoding::AsDer as _,
    hmac,
    rand::SystemRandom,
    rsa,
    signature::{self as lc, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hallmark_policy::{evidence::thumbprint, key::PublicKey};
use rcgen::PublicKeyData as _;

/// The second of every question.
pub(crate) const NOW: i64 = 1_795_400_000;

/// A key of the provider.
pub(crate) enum Key {
    Ec(rcgen::KeyPair),
    Edwards(rcgen::KeyPair),
    Rsa(rsa::KeyPair),
}

pub(crate) fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn decoded(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

impl Key {
    pub(crate) fn spki(&self) -> Vec<u8> {
        match self {
            Self::Ec(pair) | Self::Edwards(pair) => pair.subject_public_key_info(),
            Self::Rsa(pair) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
        }
    }

    pub(crate) fn pem(&self) -> String {
        pem_rfc7468::encode_string("PUBLIC KEY", pem_rfc7468::LineEnding::LF, &self.spki()).unwrap()
    }

    /// As a JWK, with these members beside.
    pub(crate) fn jwk(&self, more: &str) -> String {
        let key = PublicKey::parse(&self.spki()).unwrap();
        let raw = key.raw();
        match self {
            Self::Ec(_) => {
                let (x, y) = raw[1..].split_at(raw.len() / 2);
                let crv = if raw.len() == 65 { "P-256" } else { "P-384" };
                format!(r#"{{"kty":"EC","crv":"{crv}","x":"{}","y":"{}"{more}}}"#, encoded(x), encoded(y))
            }
            Self::Edwards(_) => format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"{more}}}"#, encoded(raw)),
            // RSAPublicKey of 2048 bits: the modulus is 256 bytes behind the heads of SEQUENCE and INTEGER.
            Self::Rsa(_) => format!(r#"{{"kty":"RSA","n":"{}","e":"AQAB"{more}}}"#, encoded(&raw[9..265])),
        }
    }

    /// Signs with its own algorithm, or with the one that is named.
    #[expect(clippy::disallowed_methods, reason = "a test signs; policy does not")]
    pub(crate) fn sign(&self, algorithm: Option<&str>, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            _ if algorithm == Some("HS256") => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, self.pem().as_bytes());
                hmac::sign(&key, message).as_ref().to_vec()
            }
            Self::Ec(pair) => {
                let with: &'static EcdsaSigningAlgorithm = match (algorithm, pair.algorithm()) {
                    (Some("DER"), _) => &lc::ECDSA_P256_SHA256_ASN1_SIGNING,
                    (_, curve) if *curve == rcgen::PKCS_ECDSA_P256_SHA256 => &lc::ECDSA_P256_SHA256_FIXED_SIGNING,
                    _ => &lc::ECDSA_P384_SHA384_FIXED_SIGNING,
                };
                let pair = EcdsaKeyPair::from_pkcs8(with, &pair.serialize_der()).unwrap();
                pair.sign(&random, message).unwrap().as_ref().to_vec()
            }
            Self::Edwards(pair) => {
                let pair = Ed25519KeyPair::from_pkcs8(&pair.serialize_der()).unwrap();
                pair.sign(message).as_ref().to_vec()
            }
            Self::Rsa(pair) => {
                let with: &dyn lc::RsaEncoding =
                    if algorithm == Some("PS256") { &lc::RSA_PSS_SHA256 } else { &lc::RSA_PKCS1_SHA256 };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(with, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }
}

/// Everything that the cases stand on.
pub(crate) struct Provider {
    pub(crate) keys: BTreeMap<&'static str, Key>,
    /// The request's key, and another.
    pub(crate) subject: Vec<u8>,
    pub(crate) other: Vec<u8>,
}

impl Provider {
    pub(crate) fn new() -> Self {
        let of = |algorithm| rcgen::KeyPair::generate_for(algorithm).unwrap();
        let p256 = || Key::Ec(of(&rcgen::PKCS_ECDSA_P256_SHA256));
        let keys = BTreeMap::from([
            ("p256", p256()),
            ("p384", Key::Ec(of(&rcgen::PKCS_ECDSA_P384_SHA384))),
            ("ed25519", Key::Edwards(of(&rcgen::PKCS_ED25519))),
            ("rsa", Key::Rsa(RsaKeyPair::generate(rsa::KeySize::Rsa2048).unwrap())),
            ("nameless", p256()),
            ("stranger", p256()),
        ]);
        Self { keys, subject: p256().spki(), other: p256().spki() }
    }

    /// Text in which `NOW+5`, `JKT` and the like are what they stand for.
    pub(crate) fn expanded(&self, text: &str) -> String {
        let thumb = |spki: &[u8]| thumbprint(&PublicKey::parse(spki).unwrap());
        let digest = |spki: &[u8]| PublicKey::parse(spki).unwrap().digest().to_string();
        let text = text.replace("OTHER-JKT", &thumb(&self.other)).replace("JKT", &thumb(&self.subject));
        let text = text.replace("OTHER-SPKI", &digest(&self.other)).replace("SPKI", &digest(&self.subject));
        let mut pieces = text.split("NOW");
        let mut all = pieces.next().unwrap().to_owned();
        for piece in pieces {
            let end = piece.find(|letter: char| !letter.is_ascii_digit() && letter != '+' && letter != '-');
            let (moved, rest) = piece.split_at(end.unwrap_or(piece.len()));
            let moved: i64 = if moved.is_empty() { 0 } else { moved.parse().unwrap() };
            all.push_str(&format!("{}{rest}", NOW + moved));
        }
        all
    }
}
