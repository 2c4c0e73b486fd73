//! Co-signatures of witnesses on checkpoints (C2SP `tlog-cosignature`, Ed25519): somebody else saw this log at this size, and
//! every size that they saw is consistent with it.

use alloc::{
    format,
    string::{String, ToString as _},
};
use core::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::{
    key::{KeyError, KeyId, SIGNATURE_BYTES, is_key_name},
    note::{Note, NoteSignature},
};

const COSIGNATURE: u8 = 0x04;
const TIMESTAMP_BYTES: usize = 8;

/// A witness: its name and public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessKey {
    name: String,
    id: KeyId,
    key: VerifyingKey,
}

/// A witness that signs.
pub struct Witness {
    verifier: WitnessKey,
    key: SigningKey,
}

impl WitnessKey {
    /// The witness of that name. `public_key` is encoded as in RFC 8032.
    ///
    /// # Errors
    /// When the name is not allowed or the bytes are no good key.
    pub fn new(name: &str, public_key: &[u8; 32]) -> Result<Self, KeyError> {
        if !is_key_name(name) {
            return Err(KeyError::BadName);
        }
        let key = VerifyingKey::from_bytes(public_key).ok().filter(|key| !key.is_weak());
        let key = key.ok_or_else(|| KeyError::InvalidKey { name: name.to_string() })?;
        let hash = Sha256::new().chain_update(name).chain_update([b'\n', COSIGNATURE]).chain_update(public_key);
        let digest: [u8; 32] = hash.finalize().into();
        let [first, second, third, fourth, ..] = digest;
        Ok(Self { name: name.to_string(), id: KeyId::from_bytes([first, second, third, fourth]), key })
    }

    /// Reads `<name>+<8 hexadecimal digits>+<base64 of 0x04 and the key>`, which [`Display`](fmt::Display) writes.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::NotAVerifierKey);
        };
        let bytes = BASE64_STANDARD.decode(encoded).map_err(|_| KeyError::NotAVerifierKey)?;
        let (kind, key) = bytes.split_first().ok_or(KeyError::NotAVerifierKey)?;
        if *kind != COSIGNATURE {
            return Err(KeyError::UnknownType { name: name.to_string(), kind: *kind });
        }
        let key = Self::new(name, key.try_into().map_err(|_| KeyError::NotAVerifierKey)?)?;
        if key.id.to_string() == id { Ok(key) } else { Err(KeyError::WrongId { name: key.name, computed: key.id }) }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When it co-signed the note, in seconds since 1970; nothing if it did not, or if its signature is wrong.
    #[must_use]
    pub fn cosigned(&self, note: &Note) -> Option<u64> {
        let by = |signature: &&NoteSignature| signature.name() == self.name && signature.key_id() == self.id;
        let signature = note.signatures().iter().find(by)?.as_bytes();
        let (timestamp, signature) = signature.split_first_chunk::<TIMESTAMP_BYTES>()?;
        let (secs, signature) = (u64::from_be_bytes(*timestamp), Signature::from_slice(signature).ok()?);
        self.key.verify_strict(message(secs, note.text()).as_bytes(), &signature).ok().map(|()| secs)
    }
}

impl fmt::Display for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&[COSIGNATURE], self.key.as_bytes().as_slice()].concat();
        write!(f, "{}+{}+{}", self.name, self.id, BASE64_STANDARD.encode(bytes))
    }
}

impl Witness {
    /// The witness of that name with the key that a seed gives.
    ///
    /// # Errors
    /// When the name is not allowed.
    pub fn new(name: &str, seed: [u8; 32]) -> Result<Self, KeyError> {
        let seed = Zeroizing::new(seed);
        let key = SigningKey::from_bytes(&seed);
        Ok(Self { verifier: WitnessKey::new(name, key.verifying_key().as_bytes())?, key })
    }

    /// What its co-signatures are verified with.
    #[must_use]
    pub fn verifier(&self) -> &WitnessKey {
        &self.verifier
    }

    /// Its co-signature on a note that it has found consistent with all it saw.
    ///
    /// # Errors
    /// Never for a name that was allowed.
    pub fn cosign(&self, note: &Note, secs: u64) -> Result<NoteSignature, KeyError> {
        let signature: [u8; SIGNATURE_BYTES] = self.key.sign(message(secs, note.text()).as_bytes()).to_bytes();
        let bytes = [secs.to_be_bytes().as_slice(), &signature].concat();
        NoteSignature::new(&self.verifier.name, self.verifier.id, bytes)
    }
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Witness({})", self.verifier)
    }
}

fn message(secs: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {secs}\n{text}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::SignerKey;

    #[test]
    fn a_cosignature_is_the_witness_s_on_this_text_at_this_time() {
        let log = SignerKey::generate("example.com/log", [1; 32]).unwrap();
        let witness = Witness::new("witness.example/w", [2; 32]).unwrap();
        let note =
            Note::sign("example.com/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n".to_string(), &[&log])
                .unwrap();
        assert_eq!(witness.verifier().cosigned(&note), None);
        let line = witness.cosign(&note, 1_800_000_000).unwrap();
        let both = note.clone().with_signature(line.clone()).unwrap();
        assert_eq!(witness.verifier().cosigned(&both), Some(1_800_000_000));
        assert!(both.verify(core::slice::from_ref(log.verifier())).is_ok());
        let other = Witness::new("witness.example/w", [3; 32]).unwrap();
        assert_eq!(other.verifier().cosigned(&both), None);
        for at in [0, 7, 8, 71] {
            let mut bytes = line.as_bytes().to_vec();
            bytes[at] ^= 1;
            let changed = NoteSignature::new(line.name(), line.key_id(), bytes).unwrap();
            assert_eq!(witness.verifier().cosigned(&note.clone().with_signature(changed).unwrap()), None, "byte {at}");
        }
    }

    #[test]
    fn the_key_of_a_witness_reads_back_and_other_keys_are_none() {
        let witness = Witness::new("witness.example/w", [2; 32]).unwrap();
        let text = witness.verifier().to_string();
        assert_eq!(WitnessKey::parse(&text), Ok(witness.verifier().clone()));
        let log = SignerKey::generate("example.com/log", [1; 32]).unwrap();
        assert!(matches!(WitnessKey::parse(&log.verifier().to_string()), Err(KeyError::UnknownType { kind: 1, .. })));
        assert!(matches!(WitnessKey::parse(&text.replace("/w", "/x")), Err(KeyError::WrongId { .. })));
        for wrong in ["", "a", "a+b", "a+b+c", "+00000000+AAAA"] {
            assert!(WitnessKey::parse(wrong).is_err(), "{wrong}");
        }
    }
}
