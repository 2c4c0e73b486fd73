//! Loaded modules: one context per module and process.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::{hmac, rand::SystemRandom};
use cryptoki::context::Pkcs11;
use secrecy::{ExposeSecret, SecretString};

use super::{
    raw::RawCalls,
    renewal::{Life, initialize},
};
use crate::error::BackendError;

/// Modules by canonical path. PKCS #11 has one state per process: who finalises it, ends everybody's sessions. So nobody
/// does but [`Life::renew`], when they are dead anyway; the end of the process closes them.
static MODULES: Mutex<BTreeMap<PathBuf, Arc<Module>>> = Mutex::new(BTreeMap::new());

/// A module, initialised for use by several threads.
pub(super) struct Module {
    pub(super) path: PathBuf,
    pub(super) context: Pkcs11,
    pub(super) calls: RawCalls,
    pub(super) life: Life,
    proof: hmac::Key,
    proven: Mutex<BTreeMap<String, hmac::Tag>>,
}

impl Module {
    /// Loads and initialises a module, or gives the one that is loaded already.
    pub(super) fn load(path: &Path) -> Result<Arc<Self>, BackendError> {
        let refused = |detail: String| BackendError::Module { module: path.to_owned(), detail };
        let path = path.canonicalize().map_err(|error| refused(error.to_string()))?;
        let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = modules.get(&path) {
            return Ok(Arc::clone(module));
        }
        let context = Pkcs11::new(&path).map_err(|error| refused(error.to_string()))?;
        initialize(&context).map_err(|error| refused(error.to_string()))?;
        let calls = RawCalls::load(&path).map_err(|error| refused(error.to_string()))?;
        let proof = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| BackendError::Library { operation: "draw a random key" })?;
        let module =
            Arc::new(Self { path: path.clone(), context, calls, life: Life::new(), proof, proven: Mutex::default() });
        modules.insert(path, Arc::clone(&module));
        Ok(module)
    }

    /// Remembers, as a keyed digest, that this PIN logged in to the token of that serial.
    pub(super) fn pin_was_right(&self, serial: &str, pin: &SecretString) {
        let tag = hmac::sign(&self.proof, pin.expose_secret().as_bytes());
        self.proven.lock().unwrap_or_else(PoisonError::into_inner).insert(serial.to_owned(), tag);
    }

    /// Whether this PIN is the one that logged in. A token that is logged in already says so to a wrong PIN too.
    pub(super) fn pin_is_proven(&self, serial: &str, pin: &SecretString) -> bool {
        let proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        proven
            .get(serial)
            .is_some_and(|tag| hmac::verify(&self.proof, pin.expose_secret().as_bytes(), tag.as_ref()).is_ok())
    }
}
