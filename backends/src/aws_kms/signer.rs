//! One call at a time that signs, owned by one thread.

use std::{
    collections::BTreeMap,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use aws_lc_rs::digest;
use hallmark_aws_kms::{Algorithm, Input, RAW_MESSAGE_BYTES_MAX};
use hallmark_policy::key::{SignatureAlgorithm, SpkiDigest};

use super::{Service, failure::failed, keys};
use crate::{
    backend::{Gate, OpenKey, Signer, in_time},
    backoff::about,
    class::ErrorClass,
    error::BackendError,
    sign_error::SignError,
};

/// Longest time for one signature, all attempts together: shorter than what is said to hang, since a call that is given up is over.
const SIGN_TIME_MAX: Duration = Duration::from_millis(2_500);

/// Pause after KMS said that it was asked too often; twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// What is never signed in AWS KMS: a message of so many bytes with this algorithm. Ed25519 signs messages as they are, and all other algorithms
/// their digests.
#[must_use]
pub fn aws_kms_never_signs(algorithm: SignatureAlgorithm, message_bytes: usize) -> Option<String> {
    if keys::algorithm(algorithm).is_none() {
        return Some(signature_with(algorithm));
    }
    let too_long = algorithm.hash().is_none() && message_bytes > RAW_MESSAGE_BYTES_MAX;
    too_long.then(|| format!("a signature with {algorithm} over more than {RAW_MESSAGE_BYTES_MAX} bytes"))
}

fn signature_with(algorithm: SignatureAlgorithm) -> String {
    format!("a signature with {algorithm}")
}

pub(super) struct CallSigner {
    service: Arc<Service>,
    /// Keys that this thread has compared, with the opening that they belong to.
    compared: BTreeMap<SpkiDigest, u64>,
}

impl CallSigner {
    pub(super) fn new(service: &Arc<Service>) -> Self {
        Self { service: Arc::clone(service), compared: BTreeMap::new() }
    }

    fn attempt(
        &mut self,
        key: &OpenKey,
        (algorithm, input): (Algorithm, Input<'_>),
        gate: &Gate<'_>,
        until: Instant,
    ) -> Result<Vec<u8>, SignError> {
        in_time(gate.deadline)?;
        let left = || until.saturating_duration_since(Instant::now());
        let digest = key.public.digest();
        let id = keys::id_of(&key.reference)?;
        if self.compared.get(&digest) != Some(&key.opening) {
            let found = keys::find(&self.service, &key.reference, digest, until)?;
            keys::check(&self.service, &found, &key.reference)?;
            self.compared.insert(digest, key.opening);
        }
        gate.pass()?;
        self.service.client.sign(&id, algorithm, input, left()).map_err(|error| {
            if error.was_not_done() {
                gate.was_not_touched();
            }
            let error = failed(error);
            if error.class() != ErrorClass::Busy {
                // Whatever it was, the key is looked at before it signs again.
                self.compared.remove(&digest);
            }
            error.into()
        })
    }
}

impl Signer for CallSigner {
    /// Tries once, and once more where there is certainly no signature. Where KMS is asked too often, it is asked later, as long as somebody waits.
    fn sign(
        &mut self,
        key: &OpenKey,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        gate: &Gate<'_>,
    ) -> Result<Vec<u8>, SignError> {
        if let Some(what) = aws_kms_never_signs(algorithm, message.len()) {
            return Err(BackendError::Incapable { what }.into());
        }
        let digest = algorithm.hash().map(|hash| digest::digest(hash, message));
        let input = digest.as_ref().map_or(Input::Raw(message), |digest| Input::Digest(digest.as_ref()));
        let incapable = || BackendError::Incapable { what: signature_with(algorithm) };
        let what = (keys::algorithm(algorithm).ok_or_else(incapable)?, input);
        let until = gate.deadline.min(Instant::now() + SIGN_TIME_MAX);
        let (mut pause, mut may_repeat) = (FIRST_PAUSE, true);
        loop {
            let error = match self.attempt(key, what, gate, until) {
                Err(SignError::Backend(error)) if error.may_pass() && !gate.was_touched() => error,
                result => return result,
            };
            let is_busy = error.class() == ErrorClass::Busy;
            let wait = if is_busy { about(pause) } else { Duration::ZERO };
            if !(is_busy || may_repeat) || Instant::now() + wait >= until {
                return Err(error.into());
            }
            gate.tries_again(&error);
            tracing::warn!(key = %key.reference, %error, "a signature failed; once more");
            thread::sleep(wait);
            if is_busy { pause *= 2 } else { may_repeat = false }
        }
    }

    /// There is nothing to open: each call is by itself.
    fn connect(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    fn distrust(&mut self) {
        self.compared.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kms_never_signs_is_told_by_algorithm_and_length() {
        for algorithm in [SignatureAlgorithm::MlDsa44, SignatureAlgorithm::MlDsa65, SignatureAlgorithm::MlDsa87] {
            assert_eq!(aws_kms_never_signs(algorithm, 1).as_deref(), Some(&*format!("a signature with {algorithm}")));
        }
        let ed25519 = |bytes| aws_kms_never_signs(SignatureAlgorithm::Ed25519, bytes);
        assert_eq!(ed25519(RAW_MESSAGE_BYTES_MAX), None);
        assert_eq!(
            ed25519(RAW_MESSAGE_BYTES_MAX + 1).as_deref(),
            Some("a signature with ed25519 over more than 4096 bytes")
        );
        for algorithm in [
            SignatureAlgorithm::EcdsaSha256,
            SignatureAlgorithm::EcdsaSha384,
            SignatureAlgorithm::RsaPkcs1Sha256,
            SignatureAlgorithm::RsaPssSha256,
        ] {
            assert_eq!(aws_kms_never_signs(algorithm, usize::MAX), None, "{algorithm}");
        }
    }
}
