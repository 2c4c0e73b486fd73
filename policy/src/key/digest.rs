//! SHA-256, and what it makes of a key.

use std::fmt;

use aws_lc_rs::digest;

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

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// A digest of 32 bytes in 64 lower-case hexadecimal digits: one text for one digest. None of any other text.
#[must_use]
pub fn digest_from_hex(text: &str) -> Option<[u8; 32]> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_64_lower_case_digits_in_and_out() {
        let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let digest = SpkiDigest::of(b"");
        assert_eq!((digest_from_hex(text), SpkiDigest::parse(text)), (Some(*digest.as_bytes()), Some(digest)));
        assert_eq!((digest.to_string().as_str(), format!("{digest:?}")), (text, format!("SpkiDigest({text})")));
        for wrong in [&text[1..], &format!("{text}0"), &text.to_uppercase(), &text.replace('e', "g"), &"é".repeat(32)]
        {
            assert_eq!((digest_from_hex(wrong), SpkiDigest::parse(wrong)), (None, None), "{wrong}");
        }
    }
}
