//! One session that signs, owned by one thread.

use std::{collections::BTreeMap, sync::Arc};

use aws_lc_rs::digest;
use cryptoki::{object::ObjectHandle, session::Session};
use hallmark_policy::key::{SignatureAlgorithm, SpkiDigest};

use super::{
    access::{Access, Mode},
    failure::failed,
    objects, template,
};
use crate::{
    backend::{Gate, OpenKey, Signer},
    encoding,
    error::{BackendError, SignError},
};

/// How often a signature is tried, each time in a new session. The second attempt finds a device that came back.
const ATTEMPTS_MAX: usize = 2;

/// Handles that a session remembers: those of the keys that sign now, and of some that did.
const HANDLES_MAX: usize = 64;

pub(super) struct SessionSigner {
    access: Arc<Access>,
    session: Option<Session>,
    /// Handles by key, with the opening that they belong to.
    handles: BTreeMap<SpkiDigest, (u64, ObjectHandle)>,
}

impl SessionSigner {
    pub(super) fn open(access: &Arc<Access>) -> Result<Self, BackendError> {
        Ok(Self { session: Some(access.session(Mode::Read)?), ..Self::later(access) })
    }

    /// Opens its session when it first signs.
    pub(super) fn later(access: &Arc<Access>) -> Self {
        Self { access: Arc::clone(access), session: None, handles: BTreeMap::new() }
    }

    fn attempt(
        &mut self,
        key: &OpenKey,
        algorithm: SignatureAlgorithm,
        data: &[u8],
        gate: &Gate<'_>,
    ) -> Result<Vec<u8>, SignError> {
        let session = match self.session.take() {
            Some(session) => session,
            None => self.access.session(Mode::Read)?,
        };
        let session = self.session.insert(session);
        let digest = key.public.digest();
        let handle = match self.handles.get(&digest).filter(|(opening, _)| *opening == key.opening) {
            Some((_, handle)) => *handle,
            None => {
                let found = objects::find(session, &key.reference, digest)?;
                if self.handles.len() >= HANDLES_MAX {
                    self.handles.clear();
                }
                self.handles.insert(digest, (key.opening, found.private_object));
                found.private_object
            }
        };
        gate.pass()?;
        let signed = self.access.module.calls.sign(session, &template::signing(algorithm), handle, data);
        Ok(signed.map_err(failed)?)
    }
}

impl Signer for SessionSigner {
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
        let mut attempts = 1;
        let bytes = loop {
            match self.attempt(key, algorithm, data, gate) {
                Ok(bytes) => break bytes,
                Err(SignError::Backend(error)) => {
                    // A failure may leave an operation active in the session, so it is not used again.
                    self.distrust();
                    if attempts == ATTEMPTS_MAX || !error.may_pass() {
                        return Err(SignError::Backend(error));
                    }
                    tracing::warn!(key = %key.reference, %error, "a signature failed; once more in a new session");
                    attempts += 1;
                }
                Err(error) => return Err(error),
            }
        };
        match algorithm {
            SignatureAlgorithm::EcdsaSha256 | SignatureAlgorithm::EcdsaSha384 => Ok(encoding::ecdsa_signature(&bytes)),
            SignatureAlgorithm::RsaPkcs1Sha256 | SignatureAlgorithm::RsaPssSha256 | SignatureAlgorithm::Ed25519 => {
                Ok(bytes)
            }
        }
    }

    fn distrust(&mut self) {
        self.handles.clear();
        self.session = None;
    }
}

/// Who hashes: for ECDSA we do, because not every device has CKM_ECDSA_SHA256.
fn hash_for(algorithm: SignatureAlgorithm) -> Option<&'static digest::Algorithm> {
    match algorithm {
        SignatureAlgorithm::EcdsaSha256 => Some(&digest::SHA256),
        SignatureAlgorithm::EcdsaSha384 => Some(&digest::SHA384),
        SignatureAlgorithm::RsaPkcs1Sha256 | SignatureAlgorithm::RsaPssSha256 | SignatureAlgorithm::Ed25519 => None,
    }
}
