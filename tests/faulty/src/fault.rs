//! What shall go wrong, and when.

use std::time::Duration;

use cryptoki_sys::{CK_ATTRIBUTE_TYPE, CK_RV};

/// Which calls of a function a fault meets, counted from when it was set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    /// Each of them.
    Always,
    /// The n-th alone; the next one is the first.
    Nth(u64),
    /// The n-th after the next key that is made, alone.
    AfterKey(u64),
    /// The next so many.
    First(u64),
    /// Each with this probability, from 0.0 to 1.0; drawn from a generator that begins alike on every device.
    Chance(f64),
}

/// What happens to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It answers this CKR code, and nothing is done.
    Refuse(CK_RV),
    /// It is done; where it succeeded, it answers this CKR code.
    LoseAnswer(CK_RV),
    /// It is done so much later.
    Delay(Duration),
    /// It does not go on until [`Device::release`](crate::Device::release) or until its fault is cleared.
    Hang,
    /// The process aborts, and it is not done.
    Crash,
    /// It is done, and the process aborts before it hears of it.
    CrashAfter,
    /// It is done, and bits of the signature that C_Sign or C_SignFinal gives are flipped.
    FlipSignature,
    /// The application is logged out before it is done.
    LogOut,
    /// For C_GetAttributeValue and C_GenerateKeyPair: the module does not know this attribute, as one that is older than it.
    NotKnown(CK_ATTRIBUTE_TYPE),
    /// For C_FindObjectsInit, once somebody has logged in after this fault was set: whoever looks for the objects of one
    /// label is given those of another, whatever their CKA_ID.
    SwapKeys {
        /// CKA_LABEL that is looked for.
        wanted: String,
        /// CKA_LABEL that is found.
        found: String,
        /// Which of the objects.
        scope: Scope,
    },
}

/// Which objects are swapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every object, so that the public key is the other one's too.
    Everything,
    /// Private keys only: the public key object still says what is expected, and nothing but a signature shows the truth.
    PrivateKeys,
}

/// How a device is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absence {
    /// What every call answers, such as CKR_DEVICE_REMOVED.
    pub code: CK_RV,
    /// What becomes of the sessions and log-ins.
    pub sessions: Sessions,
}

/// What becomes of sessions while a device is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sessions {
    /// They are there when it comes back.
    Live,
    /// They are closed.
    Die,
}

/// A fault as it stands on the board: a kind and a number each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words {
    pub(crate) kind: u64,
    pub(crate) value: u64,
}

/// Probabilities are kept in millionths.
const MILLION: f64 = 1e6;

impl When {
    pub(crate) fn words(self) -> Words {
        let (kind, value) = match self {
            Self::Always => (0, 0),
            Self::Nth(call) => (1, call),
            Self::First(calls) => (2, calls),
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=1")]
            Self::Chance(probability) => (3, (probability.clamp(0.0, 1.0) * MILLION) as u64),
            Self::AfterKey(call) => (Self::AFTER_KEY, call),
        };
        Words { kind, value }
    }

    /// What counts no call before a key is made.
    pub(crate) const AFTER_KEY: u64 = 4;

    /// Whether the fault meets a call, before which it saw `seen`; `draw` is a random number.
    pub(crate) fn meets(words: Words, seen: u64, draw: impl FnOnce() -> u64) -> bool {
        match words.kind {
            0 => true,
            1 | Self::AFTER_KEY => seen + 1 == words.value,
            2 => seen < words.value,
            _ => draw() % 1_000_000 < words.value,
        }
    }
}

impl Effect {
    pub(crate) fn words(&self) -> Words {
        let (kind, value) = match self {
            Self::Refuse(code) => (0, *code),
            Self::LoseAnswer(code) => (1, *code),
            Self::Delay(delay) => (2, u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX)),
            Self::Hang => (3, 0),
            Self::Crash => (4, 0),
            Self::FlipSignature => (5, 0),
            Self::LogOut => (6, 0),
            Self::SwapKeys { scope: Scope::Everything, .. } => (7, 0),
            Self::SwapKeys { scope: Scope::PrivateKeys, .. } => (7, 1),
            Self::CrashAfter => (8, 0),
            Self::NotKnown(attribute) => (9, *attribute),
        };
        Words { kind, value }
    }

    /// The labels of [`Effect::SwapKeys`]; empty for the others.
    pub(crate) fn labels(&self) -> (&str, &str) {
        match self {
            Self::SwapKeys { wanted, found, .. } => (wanted, found),
            Self::Refuse(_)
            | Self::LoseAnswer(_)
            | Self::Delay(_)
            | Self::Hang
            | Self::Crash
            | Self::CrashAfter
            | Self::FlipSignature
            | Self::LogOut
            | Self::NotKnown(_) => ("", ""),
        }
    }

    pub(crate) fn read(words: Words, labels: impl FnOnce() -> (String, String)) -> Option<Self> {
        Some(match words.kind {
            0 => Self::Refuse(words.value),
            1 => Self::LoseAnswer(words.value),
            2 => Self::Delay(Duration::from_nanos(words.value)),
            3 => Self::Hang,
            4 => Self::Crash,
            5 => Self::FlipSignature,
            6 => Self::LogOut,
            7 => {
                let (wanted, found) = labels();
                let scope = if words.value == 0 { Scope::Everything } else { Scope::PrivateKeys };
                Self::SwapKeys { wanted, found, scope }
            }
            8 => Self::CrashAfter,
            9 => Self::NotKnown(words.value),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_effect_is_read_as_it_was_written() {
        let effects = [
            Effect::Refuse(0x30),
            Effect::LoseAnswer(0x8000_0001),
            Effect::Delay(Duration::from_micros(1_500)),
            Effect::Hang,
            Effect::Crash,
            Effect::CrashAfter,
            Effect::FlipSignature,
            Effect::LogOut,
            Effect::NotKnown(0x4000_0600),
            Effect::SwapKeys { wanted: "a".to_owned(), found: "b".to_owned(), scope: Scope::Everything },
            Effect::SwapKeys { wanted: "a".to_owned(), found: "b".to_owned(), scope: Scope::PrivateKeys },
        ];
        for effect in effects {
            let labels = || (effect.labels().0.to_owned(), effect.labels().1.to_owned());
            assert_eq!(Effect::read(effect.words(), labels), Some(effect.clone()));
        }
        assert_eq!(Effect::read(Words { kind: 99, value: 0 }, Default::default), None);
    }

    #[test]
    fn a_fault_meets_the_calls_it_was_set_for() {
        let met = |when: When| -> Vec<u64> {
            (0..5).filter(|seen| When::meets(when.words(), *seen, || 499_999)).map(|seen| seen + 1).collect()
        };
        assert_eq!(met(When::Always), [1, 2, 3, 4, 5]);
        assert_eq!(met(When::Nth(3)), [3]);
        assert_eq!(met(When::AfterKey(3)), [3]);
        assert_eq!(met(When::First(2)), [1, 2]);
        assert_eq!(met(When::Chance(0.5)), [1, 2, 3, 4, 5]);
        assert_eq!(met(When::Chance(0.499_999)), [0; 0]);
    }
}
