//! Wrap keys: AES-256 keys that wrap private keys (RFC 5649), so that a token that breaks is not the end of what it held.
//!
//! A wrap key has a direction. One that lives in a token wraps, and never unwraps: whoever may use it could have what it wrapped come out
//! readable otherwise. What unwraps is in the token for one call and no longer, and its value is brought by those who have it together. A value is
//! wiped when it is dropped, and is never shown.

use std::sync::Arc;

use aws_lc_rs::cipher::{AES_256, EncryptingKey, UnboundCipherKey};
use hallmark_policy::key::{PublicKey, SpkiDigest};
use zeroize::Zeroizing;

use crate::{
    backend::Guard,
    error::BackendError,
    keyring::Keyring,
    reference::{KeyLabel, KeyReference},
};

/// Bytes of a wrap key.
pub const WRAP_KEY_BYTES: usize = 32;

/// How private keys are wrapped: AES key wrap with padding (RFC 5649), as PKCS #11 v2.40, section 2.14, names it.
pub const WRAP_MECHANISM: &str = "CKM_AES_KEY_WRAP_PAD";

/// Bytes of a check value.
const CHECK_VALUE_BYTES: usize = 3;

/// Bytes of a block of AES.
const BLOCK_BYTES: usize = 16;

/// The value of a wrap key.
#[derive(Clone)]
pub struct WrapValue(Arc<Zeroizing<[u8; WRAP_KEY_BYTES]>>);

/// What tells one wrap key from another without saying anything of its value: the first bytes of a block of zeros that it encrypts
/// (PKCS #11 v2.40, section 4.10.2). It is no proof: two keys in 16 millions have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckValue([u8; CHECK_VALUE_BYTES]);

/// What wraps.
#[derive(Clone)]
pub enum WrapKey {
    /// A key of the token.
    InToken(KeyLabel),
    /// One that is in the token for one call alone.
    Brought(WrapValue),
}

/// A wrap key that is in a token, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrapKeyFound {
    /// What it is called.
    pub reference: KeyReference,
    /// Its check value, where the token tells it.
    pub check_value: Option<CheckValue>,
    /// What guards it.
    pub guards: Vec<Guard>,
}

impl WrapValue {
    /// A value that `fill` writes where it stays: no copy of it is left elsewhere.
    #[must_use]
    pub fn filled(fill: impl FnOnce(&mut [u8; WRAP_KEY_BYTES])) -> Self {
        let mut value = Arc::new(Zeroizing::new([0; WRAP_KEY_BYTES]));
        // Nobody else has it yet.
        if let Some(bytes) = Arc::get_mut(&mut value) {
            fill(bytes);
        }
        Self(value)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// Its check value.
    ///
    /// # Errors
    /// If the library fails.
    pub fn check_value(&self) -> Result<CheckValue, BackendError> {
        const FAILED: BackendError = BackendError::Library { operation: "encrypt a block" };
        let key = UnboundCipherKey::new(&AES_256, self.bytes()).map_err(|_| FAILED)?;
        let mut block = [0; BLOCK_BYTES];
        EncryptingKey::ecb(key).and_then(|key| key.encrypt(&mut block)).map_err(|_| FAILED)?;
        CheckValue::read(&block).ok_or(FAILED)
    }
}

impl CheckValue {
    /// The check value that some bytes begin with.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        bytes.get(..CHECK_VALUE_BYTES)?.try_into().ok().map(Self)
    }
}

impl std::fmt::Display for CheckValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hallmark_policy::hex(&self.0))
    }
}

impl Keyring {
    /// Makes a wrap key of this value under a label that no other has. It wraps, and unwraps nothing.
    ///
    /// # Errors
    /// See [`BackendError`]; keys in files are not wrapped.
    pub fn make_wrap_key(&self, label: &KeyLabel, value: &WrapValue) -> Result<WrapKeyFound, BackendError> {
        let (label, value) = (label.clone(), value.clone());
        self.wrapping("make a wrap key", move |wrapping| wrapping.make_wrap_key(&label, &value))
    }

    /// The wrap key of that label, checked; none if there is none.
    ///
    /// # Errors
    /// See [`BackendError`].
    pub fn wrap_key(&self, label: &KeyLabel) -> Result<Option<WrapKeyFound>, BackendError> {
        let label = label.clone();
        self.wrapping("find a wrap key", move |wrapping| wrapping.wrap_key(&label))
    }

    /// Wraps a private key, found by its name and its public key: PKCS #8 under [`WRAP_MECHANISM`]. The same keys give the same bytes.
    ///
    /// # Errors
    /// See [`BackendError`]; [`BackendError::NotWrappable`] where it was not made to be wrapped.
    pub fn wrap(&self, key: &KeyReference, expected: SpkiDigest, by: &WrapKey) -> Result<Vec<u8>, BackendError> {
        let (key, by) = (key.clone(), by.clone());
        self.wrapping("wrap a key", move |wrapping| wrapping.wrap(&key, expected, &by))
    }

    /// Brings a private key out of its wrapping, under its old name, as a root's key that is not extractable any more, with its public half. What
    /// an earlier attempt brought is taken up. The wrap key is in the token for this call alone. That the two belong together is proven by the
    /// first signature alone.
    ///
    /// # Errors
    /// See [`BackendError`].
    pub fn unwrap(
        &self,
        key: &KeyReference,
        public: &PublicKey,
        wrapped: &[u8],
        by: &WrapValue,
    ) -> Result<(), BackendError> {
        let (key, public, wrapped, by) = (key.clone(), public.clone(), wrapped.to_vec(), by.clone());
        self.wrapping("unwrap a key", move |wrapping| wrapping.unwrap(&key, &public, &wrapped, &by))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_value_is_what_pkcs_11_says_it_is() {
        let value = WrapValue::filled(|bytes| bytes.fill(0));
        // FIPS 197 in ECB: AES-256 of the zero key over zeros begins dc95c0.
        assert_eq!(value.check_value().unwrap().to_string(), "dc95c0");
        assert_eq!(CheckValue::read(&[1, 2]), None);
    }
}
