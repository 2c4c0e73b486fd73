//! Keys that are kept less strictly than CA keys are, because somebody named each and said why.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use hallmark_policy::key::SpkiDigest;
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::Waiver;

/// Why a key is kept less strictly than a CA key is. Whoever wants it used names the key and says so.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum Exception {
    /// A ceremony made it so that it can be wrapped and leave its token.
    Wrappable,
    /// A ceremony brought it back out of its wrapping: it was not made in this token, and was outside of every token in wrapped form.
    Restored,
}

impl Exception {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Wrappable, Self::Restored];

    /// The word for it in configurations.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Wrappable => "wrappable",
            Self::Restored => "restored",
        }
    }

    /// What it means, as a sentence's end after the key.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Wrappable => {
                "may leave its token in wrapped form: whoever has the PIN, and a key that may wrap it, can take it out"
            }
            Self::Restored => {
                "came out of a backup: it was outside of every token in wrapped form, and its history here proves nothing"
            }
        }
    }

    /// Whether some exception is about this attribute.
    #[must_use]
    pub fn is_about(attribute: &str) -> bool {
        Self::ALL.iter().flat_map(|exception| exception.waived()).any(|waiver| waiver.attribute() == attribute)
    }

    /// What need not hold of such a key.
    #[must_use]
    pub fn waived(self) -> &'static [Waiver] {
        match self {
            Self::Wrappable => &[Waiver::Extractable, Waiver::NeverExtractable],
            Self::Restored => &Waiver::HISTORY,
        }
    }
}

/// A key and why, as one entry of `exception` in a configuration says it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NamedException {
    /// SHA-256 of the key's SubjectPublicKeyInfo, lower-case hexadecimal, as the transcript of its ceremony has it.
    #[serde(deserialize_with = "digest")]
    pub spki_sha256: SpkiDigest,
    /// Why.
    pub because: Exception,
}

fn digest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SpkiDigest, D::Error> {
    let text = String::deserialize(deserializer)?;
    let no_digest = || D::Error::custom(format!("`{text}` is no SHA-256: write its 64 lower-case hexadecimal digits"));
    SpkiDigest::parse(&text).ok_or_else(no_digest)
}

/// Keys that are kept less strictly than CA keys are, each named by its public key. There is none unless somebody names it; clones share what is
/// added later.
#[derive(Clone, Debug, Default)]
pub struct Exceptions(Arc<Mutex<BTreeMap<SpkiDigest, BTreeSet<Exception>>>>);

impl FromIterator<NamedException> for Exceptions {
    fn from_iter<T: IntoIterator<Item = NamedException>>(named: T) -> Self {
        let exceptions = Self::default();
        named.into_iter().for_each(|named| exceptions.add(named.spki_sha256, named.because));
        exceptions
    }
}

impl Exceptions {
    /// Names a key.
    pub fn add(&self, key: SpkiDigest, exception: Exception) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().insert(exception);
    }

    /// What need not hold of this key.
    #[must_use]
    pub fn waived(&self, key: SpkiDigest) -> Vec<Waiver> {
        let named = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let exceptions = named.get(&key).into_iter().flatten();
        exceptions.flat_map(|exception| exception.waived()).copied().collect()
    }

    /// The keys that are named, each with why.
    #[must_use]
    pub fn all(&self) -> Vec<(SpkiDigest, Exception)> {
        let named = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        named.iter().flat_map(|(key, exceptions)| exceptions.iter().map(|exception| (*key, *exception))).collect()
    }
}

/// What to do about a key that is not guarded as it should be: one that a ceremony had wrapped lacks what its exception lets it lack.
pub(crate) fn remedy(attribute: &str) -> &'static str {
    if Exception::is_about(attribute) {
        "generate a new key, or name it in an `exception` if a ceremony made it to be wrapped, or restored it"
    } else {
        "generate a new key"
    }
}
