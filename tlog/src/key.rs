//! Keys of signed notes: their names, ids and texts (C2SP `signed-note`, Ed25519 only).

use alloc::{
    format,
    string::{String, ToString as _},
};
use core::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// Longest name of a key of ours, in bytes.
pub const KEY_NAME_BYTES_MAX: usize = 255;

/// Bytes of an Ed25519 signature (RFC 8032).
pub const SIGNATURE_BYTES: usize = 64;

const ED25519: u8 = 0x01;
const KEY_BYTES: usize = 32;
const TYPED_KEY_BYTES: usize = 1 + KEY_BYTES;
const PRIVATE_PREFIX: &str = "PRIVATE+KEY+";

/// Which key signed, among those of one name: the first four bytes of a hash over name, type and public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 4]);

impl KeyId {
    /// An id that was read.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// The 4 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A public Ed25519 key and its name: what an auditor is given.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: KeyId,
    key: VerifyingKey,
}

/// A secret Ed25519 key and its name. It is wiped when dropped and never shown.
pub struct SignerKey {
    verifier: VerifierKey,
    key: SigningKey,
}

/// Why a text is no key. No secret is ever part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Empty, too long, or with a space, a plus or a control character.
    #[error(
        "a key name has 1 to {KEY_NAME_BYTES_MAX} bytes without spaces, `+` and control characters; choose another name"
    )]
    BadName,
    /// Not `<name>+<id>+<base64>`.
    #[error("a public key reads `<name>+<8 hexadecimal digits>+<base64>`; copy the whole line")]
    NotAVerifierKey,
    /// Not `PRIVATE+KEY+<name>+<id>+<base64>`.
    #[error("a secret key reads `PRIVATE+KEY+<name>+<8 hexadecimal digits>+<base64>`; copy the whole line")]
    NotASignerKey,
    /// Another algorithm than Ed25519.
    #[error("the key `{name}` is of type {kind:#04x}; only Ed25519 (0x01) is known")]
    UnknownType {
        /// Name of the key.
        name: String,
        /// Its type byte.
        kind: u8,
    },
    /// 32 bytes that are no point of the curve, or one of small order.
    #[error("the key `{name}` is no valid Ed25519 key")]
    InvalidKey {
        /// Name of the key.
        name: String,
    },
    /// The id in the text is not that of name and key.
    #[error("the key `{name}` has the id {computed}, but its text says otherwise; the text was altered")]
    WrongId {
        /// Name of the key.
        name: String,
        /// The id that belongs to it.
        computed: KeyId,
    },
}

impl VerifierKey {
    /// The key of that name. `public_key` is encoded as in RFC 8032.
    ///
    /// # Errors
    /// When the name is not allowed or the bytes are no good key.
    pub fn new(name: &str, public_key: &[u8; 32]) -> Result<Self, KeyError> {
        let name = own_name(name)?;
        let key = VerifyingKey::from_bytes(public_key).ok().filter(|key| !key.is_weak());
        let key = key.ok_or_else(|| KeyError::InvalidKey { name: name.to_string() })?;
        let digest: [u8; 32] =
            Sha256::new().chain_update(name).chain_update([b'\n', ED25519]).chain_update(public_key).finalize().into();
        let [first, second, third, fourth, ..] = digest;
        Ok(Self { name: name.to_string(), id: KeyId([first, second, third, fourth]), key })
    }

    /// Reads `<name>+<8 hexadecimal digits>+<base64>`, which [`Display`](fmt::Display) writes.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let (name, id, key) = split(text).ok_or(KeyError::NotAVerifierKey)?;
        let name = own_name(name)?;
        let typed = typed_key(key).ok_or(KeyError::NotAVerifierKey)?;
        let verifier = Self::new(name, &ed25519_only(name, &typed)?)?;
        verifier.has_id(id)?;
        Ok(verifier)
    }

    /// Its name; that of a log is the log's origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The public key, encoded as in RFC 8032.
    #[must_use]
    pub fn public_key(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Whether `signature` is one over `text` by this key. Strict: one encoding, no weak keys (RFC 8032, section 5.1.7).
    #[must_use]
    pub fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature).is_ok_and(|signature| self.key.verify_strict(text, &signature).is_ok())
    }

    fn has_id(&self, id: &str) -> Result<(), KeyError> {
        if self.id.to_string() == id {
            Ok(())
        } else {
            Err(KeyError::WrongId { name: self.name.clone(), computed: self.id })
        }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let typed: [u8; TYPED_KEY_BYTES] = typed(self.key.as_bytes());
        write!(f, "{}+{}+{}", self.name, self.id, BASE64_STANDARD.encode(typed))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}

impl SignerKey {
    /// Makes a key of that name from 32 bytes of the caller's best randomness.
    ///
    /// # Errors
    /// When the name is not allowed.
    pub fn generate(name: &str, seed: [u8; 32]) -> Result<Self, KeyError> {
        let seed = Zeroizing::new(seed);
        let key = SigningKey::from_bytes(&seed);
        Ok(Self { verifier: VerifierKey::new(name, key.verifying_key().as_bytes())?, key })
    }

    /// Reads `PRIVATE+KEY+<name>+<8 hexadecimal digits>+<base64>`.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let rest = text.strip_prefix(PRIVATE_PREFIX).ok_or(KeyError::NotASignerKey)?;
        let (name, id, key) = split(rest).ok_or(KeyError::NotASignerKey)?;
        let name = own_name(name)?;
        let typed = typed_key(key).ok_or(KeyError::NotASignerKey)?;
        let seed = Zeroizing::new(ed25519_only(name, &typed)?);
        let signer = Self::generate(name, *seed)?;
        signer.verifier.has_id(id)?;
        Ok(signer)
    }

    /// The secret text that [`parse`](Self::parse) reads. Seal it; never log it.
    #[must_use]
    pub fn to_secret_text(&self) -> Zeroizing<String> {
        let typed = Zeroizing::new(typed(self.key.as_bytes()));
        let encoded = Zeroizing::new(BASE64_STANDARD.encode(typed.as_slice()));
        Zeroizing::new(format!("{PRIVATE_PREFIX}{}+{}+{}", self.verifier.name, self.verifier.id, encoded.as_str()))
    }

    /// The public half.
    #[must_use]
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Signs `text` (RFC 8032, Ed25519).
    #[must_use]
    pub fn sign(&self, text: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.key.sign(text).to_bytes()
    }
}

impl fmt::Debug for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignerKey({}+{}+redacted)", self.verifier.name, self.verifier.id)
    }
}

/// Whether a signature line can carry that name: not empty, no Unicode space, no plus, no control character.
pub(crate) fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|letter| letter.is_whitespace() || letter.is_control() || letter == '+')
}

/// The rules of [`is_key_name`], and a length, for keys that we are given or make.
fn own_name(name: &str) -> Result<&str, KeyError> {
    if is_key_name(name) && name.len() <= KEY_NAME_BYTES_MAX { Ok(name) } else { Err(KeyError::BadName) }
}

/// Name, id and base64; only the base64 may have a plus.
fn split(text: &str) -> Option<(&str, &str, &str)> {
    let mut parts = text.splitn(3, '+');
    Some((parts.next()?, parts.next()?, parts.next()?))
}

fn typed(key: &[u8; KEY_BYTES]) -> [u8; TYPED_KEY_BYTES] {
    let mut typed = [ED25519; TYPED_KEY_BYTES];
    typed.iter_mut().skip(1).zip(key).for_each(|(to, from)| *to = *from);
    typed
}

/// Type byte and key. Decoded in place, so that no copy of a secret stays behind.
fn typed_key(base64: &str) -> Option<Zeroizing<[u8; TYPED_KEY_BYTES]>> {
    let mut typed = Zeroizing::new([0; TYPED_KEY_BYTES]);
    let decoded = BASE64_STANDARD.decode_slice(base64, typed.as_mut_slice()).ok()?;
    (decoded == TYPED_KEY_BYTES).then_some(typed)
}

fn ed25519_only(name: &str, typed: &[u8; TYPED_KEY_BYTES]) -> Result<[u8; KEY_BYTES], KeyError> {
    let [kind, key @ ..] = typed;
    if *kind == ED25519 { Ok(*key) } else { Err(KeyError::UnknownType { name: name.to_string(), kind: *kind }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> SignerKey {
        SignerKey::generate("example.com/log", [7; 32]).unwrap()
    }

    #[test]
    fn both_halves_read_back() {
        let signer = signer();
        let verifier = VerifierKey::parse(&signer.verifier().to_string()).unwrap();
        assert_eq!(&verifier, signer.verifier());
        let again = SignerKey::parse(&signer.to_secret_text()).unwrap();
        assert!(verifier.verifies(b"text", &again.sign(b"text")));
        assert!(!verifier.verifies(b"other text", &again.sign(b"text")));
    }

    #[test]
    fn the_secret_is_not_shown() {
        let shown = format!("{:?}", signer());
        assert_eq!(shown, format!("SignerKey(example.com/log+{}+redacted)", signer().verifier().id()));
    }

    #[test]
    fn names_that_would_break_a_line_are_refused() {
        let long = "x".repeat(KEY_NAME_BYTES_MAX + 1);
        for wrong in ["", "a b", "a+b", "a\nb", "a\u{a0}b", "a\u{2003}b", "a\u{7f}b", "a\0b", &long] {
            assert_eq!(SignerKey::generate(wrong, [1; 32]).err(), Some(KeyError::BadName), "{wrong:?}");
        }
    }

    #[test]
    fn altered_texts_are_refused() {
        let text = signer().verifier().to_string();
        let secret = signer().to_secret_text();
        assert_eq!(SignerKey::parse(&text).err(), Some(KeyError::NotASignerKey));
        assert!(VerifierKey::parse(&secret).is_err());
        assert_eq!(VerifierKey::parse("name+00000000"), Err(KeyError::NotAVerifierKey));
        assert!(matches!(VerifierKey::parse(&text.replace("log", "dog")), Err(KeyError::WrongId { .. })));
        assert!(matches!(SignerKey::parse(&secret.replace("log", "dog")), Err(KeyError::WrongId { .. })));
        let other_type = BASE64_STANDARD.encode([2; TYPED_KEY_BYTES]);
        assert!(matches!(
            VerifierKey::parse(&format!("name+00000000+{other_type}")),
            Err(KeyError::UnknownType { kind: 2, .. })
        ));
        assert_eq!(VerifierKey::parse(&format!("{text}\n")), Err(KeyError::NotAVerifierKey));
    }

    #[test]
    fn a_weak_key_is_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(VerifierKey::new("name", &identity), Err(KeyError::InvalidKey { name: "name".to_string() }));
    }
}
