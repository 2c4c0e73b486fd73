//! Which PINs tokens have refused: remembered for longer than one way into a token, and for longer than a process, where somebody keeps it.
//!
//! Tokens lock after a few wrong PINs, and not all of them tell that one was tried. Where several hold the same keys, the others go on, and so do the
//! starts of their processes; without a memory each would be one more attempt. What is remembered is a digest under a key that never leaves
//! memory: whoever reads the digests alone cannot try short PINs against them.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use aws_lc_rs::{hmac, rand::SystemRandom};
use secrecy::{ExposeSecret as _, SecretString};

use crate::error::BackendError;

/// Bytes of the digest of a PIN, and of the key that it is made with.
pub const PIN_DIGEST_BYTES: usize = 32;

/// HMAC-SHA-256 of a token's label and serial and a PIN.
pub type PinDigest = [u8; PIN_DIGEST_BYTES];

/// Who is told of a PIN that was refused.
type Tell = Box<dyn Fn(PinDigest) + Send + Sync>;

/// PINs that were refused, each by one token.
pub struct RefusedPins {
    key: hmac::Key,
    refused: Mutex<BTreeSet<PinDigest>>,
    tell: Option<Tell>,
}

impl RefusedPins {
    /// What is forgotten with this process.
    ///
    /// # Errors
    /// If there is no randomness.
    pub fn of_this_process() -> Result<Self, BackendError> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| BackendError::Library { operation: "draw a random key" })?;
        Ok(Self { key, refused: Mutex::default(), tell: None })
    }

    /// What somebody keeps who lives longer: the same key each time, what was refused so far, and how to tell of one more. That must not wait.
    #[must_use]
    pub fn kept(
        key: &[u8; PIN_DIGEST_BYTES],
        refused: impl IntoIterator<Item = PinDigest>,
        tell: impl Fn(PinDigest) + Send + Sync + 'static,
    ) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        Self { key, refused: Mutex::new(refused.into_iter().collect()), tell: Some(Box::new(tell)) }
    }

    /// The token refused this PIN.
    pub(crate) fn add(&self, token: (&str, &str), pin: &SecretString) {
        let digest = self.digest(token, pin);
        if self.lock().insert(digest)
            && let Some(tell) = &self.tell
        {
            tell(digest);
        }
    }

    /// Whether the token refused this PIN.
    pub(crate) fn has(&self, token: (&str, &str), pin: &SecretString) -> bool {
        self.lock().contains(&self.digest(token, pin))
    }

    fn digest(&self, (label, serial): (&str, &str), pin: &SecretString) -> PinDigest {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [label, serial] {
            // So that no two tokens and PINs read alike.
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(part.as_bytes());
        }
        context.update(pin.expose_secret().as_bytes());
        let mut digest = [0; PIN_DIGEST_BYTES];
        // HMAC-SHA-256 has as many bytes.
        digest.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
        digest
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<PinDigest>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RefusedPins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RefusedPins({} of them)", self.lock().len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_pin_is_remembered_of_the_token_that_refused_it_and_told_once() {
        let told = Arc::<Mutex<Vec<PinDigest>>>::default();
        let tell = Arc::clone(&told);
        let pins = RefusedPins::kept(&[7; 32], [], move |digest| tell.lock().unwrap().push(digest));
        let pin = SecretString::from("1234");
        pins.add(("a", "12"), &pin);
        pins.add(("a", "12"), &pin);
        assert!(pins.has(("a", "12"), &pin) && !pins.has(("a", "12"), &"1235".into()));
        for other in [("a", "1"), ("a1", "2"), ("b", "12")] {
            assert!(!pins.has(other, &pin) && !pins.has(other, &"21234".into()), "{other:?}");
        }
        let told = told.lock().unwrap().clone();
        assert_eq!(told.len(), 1);
        // Who has them and another key knows nothing.
        assert!(RefusedPins::kept(&[7; 32], told.clone(), drop).has(("a", "12"), &pin));
        assert!(!RefusedPins::kept(&[8; 32], told, drop).has(("a", "12"), &pin));
        assert!(!format!("{pins:?}").contains("1234"));
    }
}
