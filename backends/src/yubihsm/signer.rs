//! One session that signs, owned by one thread.

use std::{collections::BTreeMap, sync::Arc};

use aws_lc_rs::digest;
use hallmark_policy::key::{SignatureAlgorithm, SpkiDigest};
use hallmark_yubihsm::{EDDSA_MESSAGE_BYTES_MAX, Session, Signing};

use super::{
    access::{Access, in_session},
    failure::was_not_done,
    keys, log,
};
use crate::{
    backend::{Gate, OpenKey, Signer, in_time},
    error::BackendError,
    reference::KeyReferenceError,
    sign_error::SignError,
};

/// What a YubiHSM never signs over the way that is gone here: a message of so many bytes with this algorithm. Ed25519 signs messages as they are,
/// and all other algorithms their digests.
#[must_use]
pub fn yubihsm_never_signs(algorithm: SignatureAlgorithm, message_bytes: usize) -> Option<String> {
    if keys::signing(algorithm, &[], algorithm.hash().map(|_| &[][..])).is_none() {
        return Some(signature_with(algorithm));
    }
    let too_long = algorithm.hash().is_none() && message_bytes > EDDSA_MESSAGE_BYTES_MAX;
    too_long.then(|| format!("a signature with {algorithm} over more than {EDDSA_MESSAGE_BYTES_MAX} bytes"))
}

fn signature_with(algorithm: SignatureAlgorithm) -> String {
    format!("a signature with {algorithm}")
}

pub(super) struct SessionSigner {
    access: Arc<Access>,
    session: Option<Box<dyn Session>>,
    /// Keys that this session has compared, with the opening that they belong to.
    compared: BTreeMap<SpkiDigest, u64>,
}

impl SessionSigner {
    pub(super) fn new(access: &Arc<Access>) -> Self {
        Self { access: Arc::clone(access), session: None, compared: BTreeMap::new() }
    }

    fn attempt(&mut self, key: &OpenKey, signing: Signing<'_>, gate: &Gate<'_>) -> Result<Vec<u8>, SignError> {
        in_time(gate.deadline)?;
        let Self { access, session, compared } = self;
        let digest = key.public.digest();
        let id = key.reference.yubihsm_id().ok_or_else(|| BackendError::from(KeyReferenceError::OtherBackend))?;
        let signed = in_session(access, session, |held| {
            if held.is_new() {
                compared.clear();
            }
            if compared.get(&digest) != Some(&key.opening) {
                let found = keys::find(held, &key.reference, digest)?;
                keys::check(&found, &key.reference, access.domains)?;
                compared.insert(digest, key.opening);
            }
            if let Err(error) = gate.pass() {
                return Ok(Err(error));
            }
            access.sends(id);
            let signed = held.call(|session| {
                let signed = session.sign(id, signing);
                match &signed {
                    Ok(_) => access.tally.was_answered(id),
                    // The device said that there is no signature.
                    Err(error) if was_not_done(error) => {
                        access.tally.was_not_done(id);
                        gate.was_not_touched();
                    }
                    Err(_) => {}
                }
                signed
            });
            if let Err(BackendError::LogFull { .. }) = &signed {
                // It signs again when its log was read.
                log::read(access, held);
            }
            signed.map(Ok)
        });
        if matches!(&signed, Err(error) if error.is_about_the_key() || matches!(error, BackendError::HandleLost { .. }))
        {
            self.compared.remove(&digest);
        }
        signed?
    }
}

impl Signer for SessionSigner {
    /// Tries once, and once more, in a new session where the first is lost; not where there may be a signature that nobody got.
    fn sign(
        &mut self,
        key: &OpenKey,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        gate: &Gate<'_>,
    ) -> Result<Vec<u8>, SignError> {
        if let Some(what) = yubihsm_never_signs(algorithm, message.len()) {
            return Err(BackendError::Incapable { what }.into());
        }
        let digest = algorithm.hash().map(|hash| digest::digest(hash, message));
        let signing = keys::signing(algorithm, message, digest.as_ref().map(AsRef::as_ref));
        let signing = signing.ok_or_else(|| BackendError::Incapable { what: signature_with(algorithm) })?;
        match self.attempt(key, signing, gate) {
            Err(SignError::Backend(error)) if error.may_pass() && !gate.was_touched() => {
                tracing::warn!(key = %key.reference, %error, "a signature failed; once more");
                gate.tries_again(&error);
                match self.attempt(key, signing, gate) {
                    // The device took the time.
                    Err(SignError::DeadlinePassed) => Err(error.into()),
                    result => result,
                }
            }
            result => result,
        }
    }

    fn connect(&mut self) -> Result<(), BackendError> {
        in_session(&self.access, &mut self.session, |_| Ok(()))
    }

    fn distrust(&mut self) {
        self.compared.clear();
        self.session = None;
    }
}
