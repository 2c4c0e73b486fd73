//! Key pairs in memory, in types of the cryptographic library that wipe themselves.

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
        ML_DSA_44_SIGNING, ML_DSA_65_SIGNING, ML_DSA_87_SIGNING, PqdsaKeyPair, PqdsaSigningAlgorithm, RSA_PKCS1_SHA256,
        RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
    },
};
use hallmark_policy::key::{KeyKind, PublicKey, SignatureAlgorithm};
use zeroize::Zeroizing;

use crate::error::BackendError;

/// A private key with its public key.
pub(super) struct Pair {
    private: Private,
    public: PublicKey,
}

enum Private {
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
    MlDsa(PqdsaKeyPair),
}

const GENERATE: BackendError = BackendError::Library { operation: "generate a key" };

impl Pair {
    /// Makes a pair, and its PKCS #8 encoding (RFC 5208), version 1.
    pub(super) fn generate(kind: KeyKind) -> Result<(Self, Zeroizing<Vec<u8>>), BackendError> {
        let (private, pkcs8) = match kind {
            KeyKind::EcdsaP256 => ecdsa(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)),
            KeyKind::EcdsaP384 => ecdsa(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING)),
            KeyKind::Rsa2048 => rsa(KeySize::Rsa2048),
            KeyKind::Rsa3072 => rsa(KeySize::Rsa3072),
            KeyKind::Rsa4096 => rsa(KeySize::Rsa4096),
            KeyKind::Ed25519 => ed25519(),
            KeyKind::MlDsa44 => ml_dsa(&ML_DSA_44_SIGNING),
            KeyKind::MlDsa65 => ml_dsa(&ML_DSA_65_SIGNING),
            KeyKind::MlDsa87 => ml_dsa(&ML_DSA_87_SIGNING),
        }
        .ok_or(GENERATE)?;
        let pair = Self::of(private).filter(|pair| pair.public.kind() == kind).ok_or(GENERATE)?;
        Ok((pair, pkcs8))
    }

    /// Reads PKCS #8, DER; `None` if it holds no key of a known kind. A curve that does not fit makes the library refuse.
    pub(super) fn from_pkcs8(pkcs8: &[u8]) -> Option<Self> {
        let ecdsa = |algorithm| EcdsaKeyPair::from_pkcs8(algorithm, pkcs8).ok().map(Private::Ecdsa);
        let ml_dsa = |algorithm| PqdsaKeyPair::from_pkcs8(algorithm, pkcs8).ok().map(Private::MlDsa);
        let private = ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING)
            .or_else(|| ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING))
            .or_else(|| RsaKeyPair::from_pkcs8(pkcs8).ok().map(Private::Rsa))
            .or_else(|| Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).ok().map(Private::Ed25519))
            .or_else(|| [&ML_DSA_44_SIGNING, &ML_DSA_65_SIGNING, &ML_DSA_87_SIGNING].into_iter().find_map(ml_dsa))?;
        Self::of(private)
    }

    pub(super) fn public(&self) -> &PublicKey {
        &self.public
    }

    /// `None` if the library fails, or the algorithm is not one of this key.
    pub(super) fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match (&self.private, algorithm) {
            (Private::Ecdsa(pair), SignatureAlgorithm::EcdsaSha256 | SignatureAlgorithm::EcdsaSha384) => {
                pair.sign(&random, message).ok().map(|signature| signature.as_ref().to_vec())
            }
            (Private::Rsa(pair), SignatureAlgorithm::RsaPkcs1Sha256) => sign_rsa(pair, &RSA_PKCS1_SHA256, message),
            (Private::Rsa(pair), SignatureAlgorithm::RsaPssSha256) => sign_rsa(pair, &RSA_PSS_SHA256, message),
            (Private::Ed25519(pair), SignatureAlgorithm::Ed25519) => {
                pair.try_sign(message).ok().map(|signature| signature.as_ref().to_vec())
            }
            // Its parameter set is that of the key, which was compared with the algorithm before.
            (
                Private::MlDsa(pair),
                SignatureAlgorithm::MlDsa44 | SignatureAlgorithm::MlDsa65 | SignatureAlgorithm::MlDsa87,
            ) => {
                let mut signature = vec![0; pair.algorithm().signature_len()];
                pair.sign(message, &mut signature).ok()?;
                Some(signature)
            }
            (Private::Ecdsa(_) | Private::Rsa(_) | Private::Ed25519(_) | Private::MlDsa(_), _) => None,
        }
    }

    fn of(private: Private) -> Option<Self> {
        let spki: PublicKeyX509Der<'_> = match &private {
            Private::Ecdsa(pair) => pair.public_key().as_der(),
            Private::Rsa(pair) => pair.public_key().as_der(),
            Private::Ed25519(pair) => pair.public_key().as_der(),
            Private::MlDsa(pair) => pair.public_key().as_der(),
        }
        .ok()?;
        let public = PublicKey::parse(spki.as_ref()).ok()?;
        Some(Self { private, public })
    }
}

type Made = Option<(Private, Zeroizing<Vec<u8>>)>;

fn ecdsa(pair: Result<EcdsaKeyPair, aws_lc_rs::error::Unspecified>) -> Made {
    let pair = pair.ok()?;
    let pkcs8 = Zeroizing::new(pair.to_pkcs8v1().ok()?.as_ref().to_vec());
    Some((Private::Ecdsa(pair), pkcs8))
}

fn rsa(size: KeySize) -> Made {
    let pair = RsaKeyPair::generate(size).ok()?;
    let der: Pkcs8V1Der<'_> = pair.as_der().ok()?;
    let pkcs8 = Zeroizing::new(der.as_ref().to_vec());
    Some((Private::Rsa(pair), pkcs8))
}

fn ed25519() -> Made {
    let pair = Ed25519KeyPair::generate().ok()?;
    let pkcs8 = Zeroizing::new(pair.to_pkcs8v1().ok()?.as_ref().to_vec());
    Some((Private::Ed25519(pair), pkcs8))
}

/// Its encoding has the seed of 32 bytes and nothing else (RFC 9881, section 6).
fn ml_dsa(algorithm: &'static PqdsaSigningAlgorithm) -> Made {
    let pair = PqdsaKeyPair::generate(algorithm).ok()?;
    let pkcs8 = Zeroizing::new(pair.to_pkcs8v1().ok()?.as_ref().to_vec());
    Some((Private::MlDsa(pair), pkcs8))
}

fn sign_rsa(pair: &RsaKeyPair, padding: &'static dyn RsaEncoding, message: &[u8]) -> Option<Vec<u8>> {
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(padding, &SystemRandom::new(), message, &mut signature).ok()?;
    Some(signature)
}
