//! Why there is no signature.

use std::time::Duration;

use hallmark_policy::key::{KeyKind, SignatureAlgorithm, SpkiDigest};

use crate::{class::ErrorClass, error::BackendError, tried::Tried};

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The queue in front of the keys is full.
    #[error("all key sessions are busy and the queue is full; try again later")]
    Busy,
    /// The deadline passed before the key was touched.
    #[error("the deadline passed while the request waited for a key; the key was not touched")]
    DeadlinePassed,
    /// The keyring was stopped.
    #[error("the key backend is stopped; the key was not touched")]
    Stopped,
    /// No key with that public key was opened.
    #[error("the key with SPKI SHA-256 {issuer} is not open; it was destroyed or not opened at the start")]
    NotOpen {
        /// The key that was asked for.
        issuer: SpkiDigest,
    },
    /// The key is of another kind.
    #[error("{algorithm} does not fit key {issuer}, which is {kind}; correct the profile")]
    WrongAlgorithm {
        /// The key.
        issuer: SpkiDigest,
        /// Its kind.
        kind: KeyKind,
        /// What was asked for.
        algorithm: SignatureAlgorithm,
    },
    /// The device gave a signature that does not verify.
    #[error(
        "the device's signature does not verify under key {issuer}; nothing was released, have the device examined"
    )]
    Lied {
        /// The key.
        issuer: SpkiDigest,
    },
    /// The device did not answer until the deadline.
    #[error(
        "the device did not sign with key {issuer} until the deadline; nothing was released, and what it still gives is thrown away"
    )]
    Overdue {
        /// The key.
        issuer: SpkiDigest,
    },
    /// The device failed this key several times in a row, so that it is left alone for a while.
    #[error("the device failed key {issuer} {failures} times in a row; it is asked again in {} ms", retry_after.as_millis())]
    Resting {
        /// The key.
        issuer: SpkiDigest,
        /// How often in a row.
        failures: u32,
        /// When a request would be let through again.
        retry_after: Duration,
    },
    /// The device has taken long, and another token has the key.
    #[error("the device did not sign with key {issuer} within {} ms; what it still gives is thrown away", waited.as_millis())]
    Slow {
        /// The key.
        issuer: SpkiDigest,
        /// How long it was waited for.
        waited: Duration,
    },
    /// One of several tokens failed, and there may be a signature that nobody got. Another one, or the same where no other is there, signs again
    /// with [`Keyring::sign_again`](crate::Keyring::sign_again) once the log says that it does.
    #[error("{failed}; it can be signed again")]
    SignAgain {
        /// What became of it.
        failed: Box<SignError>,
        /// For the one who asks again.
        tried: Tried,
    },
    /// A fault in this program, not in the device.
    #[error("signing ended by a fault in this program, which is in its log; nothing was released")]
    Panicked,
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

impl SignError {
    /// A word for what a device did wrong, of so few that monitoring counts each; none where it did nothing wrong.
    pub(crate) fn device_code(&self) -> Option<String> {
        match self {
            Self::Backend(error) => Some(error.code()),
            Self::Lied { .. } => Some("SIGNATURE_WRONG".to_owned()),
            Self::SignAgain { failed, .. } => failed.device_code(),
            Self::Busy
            | Self::DeadlinePassed
            | Self::Stopped
            | Self::NotOpen { .. }
            | Self::WrongAlgorithm { .. }
            | Self::Overdue { .. }
            | Self::Resting { .. }
            | Self::Slow { .. }
            | Self::Panicked => None,
        }
    }

    /// Whether the device is at fault, and not whoever asked, the deadline or this program. Only such errors open a breaker.
    pub(crate) fn is_the_device_s(&self) -> bool {
        match self {
            Self::Lied { .. } => true,
            Self::Backend(error) => error.class() != ErrorClass::Refused,
            // An overdue signature may have had a short deadline. Whether the device hangs, who watches it decides.
            Self::Overdue { .. }
            | Self::Busy
            | Self::DeadlinePassed
            | Self::Stopped
            | Self::NotOpen { .. }
            | Self::WrongAlgorithm { .. }
            | Self::Resting { .. }
            | Self::Slow { .. }
            | Self::SignAgain { .. }
            | Self::Panicked => false,
        }
    }
}
