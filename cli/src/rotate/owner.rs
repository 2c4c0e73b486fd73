//! The owner's consent: a signature that is made here with the owner's key, or was made elsewhere.

use std::path::{Path, PathBuf};

use aws_lc_rs::{
    digest,
    encoding::AsDer as _,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use hallmark_policy::{
    key::{Family, KeyKind, PublicKey, PublicKeyError},
    owner::OWNER_SIGNATURE_BYTES_MAX,
};
use p384::{
    SecretKey,
    ecdsa::{DerSignature, SigningKey, signature::hazmat::PrehashSigner as _},
    pkcs8::{DecodePrivateKey as _, EncodePublicKey as _},
};
use zeroize::Zeroizing;

use crate::{
    arguments::RotateArguments,
    files::{self, FileError},
    pem,
    problem::Problem,
};

/// How the PEM blocks of private keys begin, and the words that end both lines of one (RFC 7468, section 13; RFC 5915).
const LABELS: [&str; 2] = ["PRIVATE KEY", "EC PRIVATE KEY"];

/// Why an owner's key or signature does not serve. No key is ever part of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OwnerError {
    /// The private key is encrypted.
    #[error("the private key in `{}` is encrypted", path.display())]
    Encrypted {
        /// The file.
        path: PathBuf,
    },
    /// There is no private key that owners have.
    #[error("`{}` holds no private key in PEM for ECDSA on P-256 or P-384", path.display())]
    NoPrivateKey {
        /// The file.
        path: PathBuf,
    },
    /// The public key does not read.
    #[error("`{}` holds no public key that an owner can have", path.display())]
    PublicKey {
        /// The file.
        path: PathBuf,
        /// Why.
        source: PublicKeyError,
    },
    /// The public key is of another kind.
    #[error("the owner's key in `{}` is {kind}; owners sign with ECDSA on P-256 or P-384", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: KeyKind,
    },
    /// The signature is not one over this rotation.
    #[error("the owner's signature does not verify over this rotation with the owner's public key")]
    SignatureWrong,
    /// Signing failed.
    #[error("the owner's key cannot sign")]
    CannotSign,
}

impl OwnerError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Encrypted { .. } => "sign with openssl, which asks for the passphrase: `hallmark rotate --help` shows how",
            Self::NoPrivateKey { .. } => {
                "name a file that begins with `-----BEGIN PRIVATE KEY-----` or `-----BEGIN EC PRIVATE KEY-----`"
            }
            Self::PublicKey { .. } | Self::Kind { .. } => "name the owner's public key, such as `openssl pkey -pubout` prints it",
            Self::SignatureWrong => {
                "sign exactly what --print-statement prints with the same --manifest, --expected, --lifetime and the rest, with \
                 ECDSA and SHA-256, as `openssl dgst -sha256 -sign` does"
            }
            Self::CannotSign => "try again; if it stays so, sign with openssl",
        }
        .to_owned()
    }
}

/// A signature that an owner made.
#[derive(Clone, Debug)]
pub(crate) struct Consent {
    /// The owner's key.
    pub(crate) key: PublicKey,
    /// ECDSA with SHA-256, DER.
    pub(crate) signature: Vec<u8>,
}

impl Consent {
    /// Signs, or reads what was signed elsewhere. Whatever it is, it verifies.
    pub(crate) fn obtain(arguments: &RotateArguments, statement: &[u8]) -> Result<Self, Problem> {
        let consent = match (&arguments.owner_key, &arguments.owner_signature, &arguments.owner_public_key) {
            (Some(path), ..) => OwnerKey::read(path)?.sign(statement)?,
            (None, Some(signature), Some(key)) => Self::read(signature, key)?,
            // The arguments are read in such a way that one of the two is there.
            (None, ..) => return Err(OwnerError::SignatureWrong.into()),
        };
        let verifies = consent.key.verifies_ecdsa_sha256(statement, &consent.signature);
        if verifies { Ok(consent) } else { Err(OwnerError::SignatureWrong.into()) }
    }

    fn read(signature: &Path, key: &Path) -> Result<Self, Problem> {
        let signature = files::read_up_to(signature, OWNER_SIGNATURE_BYTES_MAX)?;
        let unexpected = || FileError::Unexpected { path: key.to_owned(), expected: "public key in PEM or DER" };
        let spki = pem::der_of(&files::read(key)?).ok_or_else(unexpected)?;
        let read = PublicKey::parse(&spki).map_err(|source| OwnerError::PublicKey { path: key.to_owned(), source })?;
        let kind = read.kind();
        if kind.family() == Family::Ecdsa {
            return Ok(Self { key: read, signature });
        }
        Err(OwnerError::Kind { path: key.to_owned(), kind }.into())
    }
}

/// An owner's private key. Both kinds overwrite theirs when they are dropped.
enum OwnerKey {
    P256(EcdsaKeyPair),
    P384(SigningKey),
}

impl OwnerKey {
    fn read(path: &Path) -> Result<Self, Problem> {
        let text = files::read_secret(path)?;
        let none = || OwnerError::NoPrivateKey { path: path.to_owned() };
        if contains(&text, b"ENCRYPTED") {
            return Err(OwnerError::Encrypted { path: path.to_owned() }.into());
        }
        let der = LABELS.iter().find_map(|label| der_of(&text, label)).ok_or_else(none)?;
        if let Ok(key) = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, &der) {
            return Ok(Self::P256(key));
        }
        let key = SecretKey::from_pkcs8_der(&der).ok().or_else(|| SecretKey::from_sec1_der(&der).ok());
        key.map(|key| Self::P384(SigningKey::from(key))).ok_or_else(|| none().into())
    }

    fn sign(&self, statement: &[u8]) -> Result<Consent, OwnerError> {
        let (spki, signature) = match self {
            Self::P256(key) => {
                let spki = key.public_key().as_der().map_err(|_| OwnerError::CannotSign)?;
                let signature = key.sign(&SystemRandom::new(), statement).map_err(|_| OwnerError::CannotSign)?;
                (spki.as_ref().to_vec(), signature.as_ref().to_vec())
            }
            Self::P384(key) => {
                let spki = key.verifying_key().to_public_key_der().map_err(|_| OwnerError::CannotSign)?;
                let digest = digest::digest(&digest::SHA256, statement);
                let signature: DerSignature = key.sign_prehash(digest.as_ref()).map_err(|_| OwnerError::CannotSign)?;
                (spki.as_bytes().to_vec(), signature.as_bytes().to_vec())
            }
        };
        Ok(Consent { key: PublicKey::parse(&spki).map_err(|_| OwnerError::CannotSign)?, signature })
    }
}

/// The DER in the block of this label; others, such as the parameters that openssl writes before a key, are passed over.
fn der_of(text: &[u8], label: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let from = position(text, begin.as_bytes())?;
    let block = text.get(from..)?;
    let block = block.get(..position(block, end.as_bytes())? + end.len())?;
    // The DER is shorter than its PEM, so that nothing grows and leaves a copy behind.
    let mut der = Zeroizing::new(vec![0; block.len()]);
    let length = pem_rfc7468::decode(block, &mut der).ok().map(|(_, der)| der.len())?;
    der.truncate(length);
    Some(der)
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    position(text, word).is_some()
}

fn position(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|window| window == word)
}
