//! Witnesses with an SSH key. They sign with `ssh-keygen -Y sign -f KEY -n hallmark-ceremony TRANSCRIPT`.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, UnparsedPublicKey, VerificationAlgorithm,
};
use ssh_key::{
    PublicKey, SshSig,
    public::{EcdsaPublicKey, KeyData},
};

use super::{NAMESPACE, WRONG};
use crate::digest::sha256;

/// Bytes of a number of a signature on P-256, and on P-384.
const P256_BYTES: usize = 32;
const P384_BYTES: usize = 48;

/// What a FIDO token puts behind its signature (OpenSSH, PROTOCOL.u2f): flags, and a counter.
const TRAILER_BYTES: usize = 5;

/// The flag that says that somebody touched it.
const PRESENT: u8 = 1;

/// Reads a line of OpenSSH.
pub(super) fn read(text: &str) -> Result<PublicKey, &'static str> {
    let key =
        PublicKey::from_openssh(text).map_err(|_| "it is no public SSH key; copy the whole line of the `.pub` file")?;
    let is_verified = matches!(
        key.key_data(),
        KeyData::Ed25519(_)
            | KeyData::SkEd25519(_)
            | KeyData::SkEcdsaSha2NistP256(_)
            | KeyData::Ecdsa(EcdsaPublicKey::NistP256(_) | EcdsaPublicKey::NistP384(_))
    );
    const OTHER: &str = "it is neither an Ed25519 key nor one on P-256 or P-384; make one with `ssh-keygen -t ed25519` or `-t ed25519-sk`";
    if is_verified { Ok(key) } else { Err(OTHER) }
}

/// Whether an armoured SSH signature is one over these bytes by that key.
pub(super) fn holds(armoured: &[u8], bytes: &[u8], key: &PublicKey) -> Result<(), &'static str> {
    const UNREAD: &str = "its signature does not read";
    let signature = SshSig::from_pem(armoured).map_err(|_| UNREAD)?;
    if signature.public_key() != key.key_data() {
        return Err("its signature is by another key");
    }
    if signature.namespace() != NAMESPACE {
        return Err("its signature is for another purpose");
    }
    let message = SshSig::signed_data(NAMESPACE, signature.hash_alg(), bytes).map_err(|_| UNREAD)?;
    let good = verifies(key.key_data(), &message, signature.signature_bytes());
    if good == Some(true) { Ok(()) } else { Err(WRONG) }
}

fn verifies(key: &KeyData, message: &[u8], raw: &[u8]) -> Option<bool> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the library may come to know more kinds")]
    let good = match key {
        KeyData::Ed25519(public) => by(&ED25519, &public.0, message, raw),
        KeyData::SkEd25519(public) => {
            let (message, raw) = of_a_token(raw, public.application(), message)?;
            by(&ED25519, &public.public_key().0, &message, raw)
        }
        KeyData::Ecdsa(EcdsaPublicKey::NistP256(point)) => {
            by(&ECDSA_P256_SHA256_FIXED, point.as_bytes(), message, &fixed::<P256_BYTES>(raw)?)
        }
        KeyData::Ecdsa(EcdsaPublicKey::NistP384(point)) => {
            by(&ECDSA_P384_SHA384_FIXED, point.as_bytes(), message, &fixed::<P384_BYTES>(raw)?)
        }
        KeyData::SkEcdsaSha2NistP256(public) => {
            let (message, raw) = of_a_token(raw, public.application(), message)?;
            by(&ECDSA_P256_SHA256_FIXED, public.ec_point().as_bytes(), &message, &fixed::<P256_BYTES>(raw)?)
        }
        _ => return None,
    };
    Some(good)
}

fn by(algorithm: &'static dyn VerificationAlgorithm, key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok()
}

/// What a FIDO token signed, and its signature, where somebody touched it (OpenSSH, PROTOCOL.u2f).
fn of_a_token<'a>(raw: &'a [u8], application: &str, message: &[u8]) -> Option<(Vec<u8>, &'a [u8])> {
    let (signature, trailer) = raw.split_at_checked(raw.len().checked_sub(TRAILER_BYTES)?)?;
    let (flags, counter) = trailer.split_first()?;
    if flags & PRESENT == 0 {
        return None;
    }
    let (application, digest) = (sha256(application.as_bytes()), sha256(message));
    Some(([&application[..], &[*flags], counter, &digest[..]].concat(), signature))
}

/// The two numbers of an ECDSA signature, each in so many bytes (RFC 5656, section 3.1.2).
fn fixed<const BYTES: usize>(raw: &[u8]) -> Option<Vec<u8>> {
    let (first, rest) = number::<BYTES>(raw)?;
    let (second, rest) = number::<BYTES>(rest)?;
    rest.is_empty().then(|| [first, second].concat())
}

/// A positive number, as SSH writes it (RFC 4251, section 5), and what follows it.
fn number<const BYTES: usize>(raw: &[u8]) -> Option<([u8; BYTES], &[u8])> {
    let (length, rest) = raw.split_first_chunk::<4>()?;
    let (digits, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    let digits = match digits {
        [0, positive @ ..] if positive.first().is_some_and(|first| *first >= 0x80) => positive,
        [0..=0x7f, ..] if digits.first() != Some(&0) => digits,
        _ => return None,
    };
    let mut out = [0; BYTES];
    let at = BYTES.checked_sub(digits.len())?;
    out.get_mut(at..)?.copy_from_slice(digits);
    Some((out, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_their_one_spelling() {
        let written = |digits: &[u8]| [&u32::try_from(digits.len()).unwrap().to_be_bytes(), digits, &[9]].concat();
        for (digits, value) in [(&[1][..], [0, 1]), (&[0, 0x80], [0, 0x80]), (&[0, 0xff, 0xff], [0xff, 0xff])] {
            assert_eq!(number::<2>(&written(digits)), Some((value, &[9][..])), "{digits:?}");
        }
        for bad in [&[][..], &[0], &[0, 1], &[0x80], &[1, 2, 3], &[0, 0x80, 0, 0]] {
            assert_eq!(number::<2>(&written(bad)), None, "{bad:?}");
        }
        assert_eq!(number::<2>(&[0, 0, 0, 9, 1]), None, "it is cut");
    }
}
