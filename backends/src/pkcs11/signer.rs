//! One session that signs, owned by one thread.

use std::{collections::BTreeMap, sync::Arc};

use aws_lc_rs::digest;
use cryptoki::object::ObjectHandle;
use hallmark_policy::key::{Family, SignatureAlgorithm, SpkiDigest};

use super::{
    access::{Access, Mode},
    failure::failed,
    objects,
    session::TokenSession,
    template,
};
use crate::{
    backend::{Gate, OpenKey, Signer, in_time},
    encoding,
    error::BackendError,
    sign_error::SignError,
};

pub(super) struct SessionSigner {
    access: Arc<Access>,
    session: Option<TokenSession>,
    /// Handles by key, with the opening that they belong to.
    handles: BTreeMap<SpkiDigest, (u64, ObjectHandle)>,
}

impl SessionSigner {
    pub(super) fn new(access: &Arc<Access>) -> Self {
        Self { access: Arc::clone(access), session: None, handles: BTreeMap::new() }
    }

    fn session(&mut self) -> Result<TokenSession, BackendError> {
        match self.session.take() {
            Some(session) => Ok(session),
            None => {
                self.handles.clear();
                self.access.session(Mode::Read)
            }
        }
    }

    fn attempt(
        &mut self,
        key: &OpenKey,
        algorithm: SignatureAlgorithm,
        (message, data): (&[u8], &[u8]),
        gate: &Gate<'_>,
    ) -> Result<Vec<u8>, SignError> {
        in_time(gate.deadline)?;
        let session = self.session()?;
        let session = self.session.insert(session);
        let digest = key.public.digest();
        let handle = match self.handles.get(&digest).filter(|(opening, _)| *opening == key.opening) {
            Some((_, handle)) => *handle,
            None => {
                let found = session
                    .run(|session| objects::find(session, &key.reference, digest, &self.access.waived(digest)))?;
                match found.as_slice() {
                    [found] => {
                        self.handles.insert(digest, (key.opening, found.private_object));
                        found.private_object
                    }
                    twins => {
                        let twins = twins.iter().map(|twin| twin.private_object).collect();
                        return self.of_twins(twins, key, algorithm, (message, data), gate);
                    }
                }
            }
        };
        let module = &self.access.module;
        let mechanism = template::signing(algorithm);
        // Inside, because it may have been waited for the module, and the key closed meanwhile.
        let signed = session.run(|session| match gate.pass() {
            Ok(()) => module.sign(session, &mechanism, handle, data).map_err(failed).map(Ok),
            Err(error) => Ok(Err(error)),
        });
        if signed.as_ref().is_err_and(BackendError::began_nothing) {
            gate.was_not_touched();
        }
        Ok(encoded(algorithm, signed??))
    }

    /// The first signature with a key whose name others have: each of them signs what was committed, and the one whose signature verifies
    /// under the public key on record is the key. It must be exactly one.
    fn of_twins(
        &mut self,
        twins: Vec<ObjectHandle>,
        key: &OpenKey,
        algorithm: SignatureAlgorithm,
        (message, data): (&[u8], &[u8]),
        gate: &Gate<'_>,
    ) -> Result<Vec<u8>, SignError> {
        let session = self.session()?;
        let module = &self.access.module;
        let mechanism = template::signing(algorithm);
        let mut good = Vec::new();
        for handle in twins {
            let signed = session.run(|session| match gate.pass() {
                Ok(()) => module.sign(session, &mechanism, handle, data).map_err(failed).map(Ok),
                Err(error) => Ok(Err(error)),
            })??;
            let signed = encoded(algorithm, signed);
            if key.public.verifies(algorithm, message, &signed) {
                good.push((handle, signed));
            }
        }
        self.session = Some(session);
        match (good.pop(), good.is_empty()) {
            (Some((handle, signed)), true) => {
                tracing::warn!(key = %key.reference, "other keys have this name; a signature told which is meant");
                self.handles.insert(key.public.digest(), (key.opening, handle));
                Ok(signed)
            }
            (Some(_) | None, _) => Err(BackendError::KeyAmbiguous { key: key.reference.clone() }.into()),
        }
    }
}

impl Signer for SessionSigner {
    /// Tries once, and once more in a new session, which finds a device that came back; not where there may be a signature that nobody got.
    fn sign(
        &mut self,
        key: &OpenKey,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        gate: &Gate<'_>,
    ) -> Result<Vec<u8>, SignError> {
        let digest;
        let data = match hash_for(algorithm) {
            Some(hash) => {
                digest = digest::digest(hash, message);
                digest.as_ref()
            }
            None => message,
        };
        match self.attempt(key, algorithm, (message, data), gate) {
            Err(SignError::Backend(error)) => {
                // A failure may leave an operation active in the session, so it is not used again.
                self.distrust();
                // What may have been signed is signed again when the log says so.
                if !error.may_pass() || gate.was_touched() {
                    return Err(error.into());
                }
                tracing::warn!(key = %key.reference, %error, "a signature failed; once more in a new session");
                gate.tries_again(&error);
                match self.attempt(key, algorithm, (message, data), gate) {
                    // The device took the time.
                    Err(SignError::DeadlinePassed) => Err(error.into()),
                    Err(SignError::Backend(again)) => {
                        self.distrust();
                        Err(again.into())
                    }
                    result => result,
                }
            }
            result => result,
        }
    }

    fn connect(&mut self) -> Result<(), BackendError> {
        let session = self.session()?;
        self.session = Some(session);
        Ok(())
    }

    fn distrust(&mut self) {
        self.handles.clear();
        self.session = None;
    }
}

/// A signature as X.509 has it.
fn encoded(algorithm: SignatureAlgorithm, bytes: Vec<u8>) -> Vec<u8> {
    match algorithm.family() {
        Family::Ecdsa => encoding::ecdsa_signature(&bytes),
        Family::Rsa | Family::Ed25519 | Family::MlDsa => bytes,
    }
}

/// Who hashes: for ECDSA we do, because not every device has CKM_ECDSA_SHA256.
fn hash_for(algorithm: SignatureAlgorithm) -> Option<&'static digest::Algorithm> {
    match algorithm.family() {
        Family::Ecdsa => algorithm.hash(),
        Family::Rsa | Family::Ed25519 | Family::MlDsa => None,
    }
}
