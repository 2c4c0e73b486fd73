//! Loaded modules: one context per module and process.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use aws_lc_rs::{hmac, rand::SystemRandom};
use cryptoki::{
    context::Pkcs11,
    error::Error,
    mechanism::Mechanism,
    object::ObjectHandle,
    session::Session,
    slot::{Slot, TokenInfo},
};
use secrecy::{ExposeSecret, SecretString};

use super::{
    access::Access,
    raw::{Arguments, RawCalls},
    renewal::{Life, initialize},
};
use crate::{config::ModuleConfig, error::BackendError};

/// Modules by canonical path. PKCS #11 has one state per process: who finalises it, ends everybody's sessions. So nobody
/// does but [`Life::renew`], when they are dead anyway; the end of the process closes them.
static MODULES: Mutex<BTreeMap<PathBuf, Arc<Module>>> = Mutex::new(BTreeMap::new());

/// A module, initialised for use by several threads.
pub(super) struct Module {
    pub(super) path: PathBuf,
    pub(super) context: Pkcs11,
    /// None where the module gives no second way to the instance that is initialised.
    calls: Option<RawCalls>,
    /// What it is initialised with, each time.
    pub(super) arguments: Option<Arguments>,
    pub(super) life: Life,
    proof: hmac::Key,
    proven: Mutex<BTreeMap<String, hmac::Tag>>,
    /// The tokens that are used through it.
    users: Mutex<Vec<Weak<Access>>>,
}

impl Module {
    /// Loads and initialises a module, or gives the one that is loaded already.
    pub(super) fn load(config: &ModuleConfig) -> Result<Arc<Self>, BackendError> {
        let path = &config.path;
        let refused = |detail: String| BackendError::Module { module: path.clone(), detail };
        let arguments = config.arguments.as_deref().map(Arguments::new).transpose()?;
        let path = path.canonicalize().map_err(|error| refused(error.to_string()))?;
        let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = modules.get(&path) {
            if module.arguments == arguments {
                return Ok(Arc::clone(module));
            }
            let detail = format!("the module `{}` is loaded already, with other arguments", path.display());
            return Err(BackendError::Configuration { detail });
        }
        let context = Pkcs11::new(&path).map_err(|error| refused(error.to_string()))?;
        initialize(&context, arguments.as_ref()).map_err(|error| refused(error.to_string()))?;
        let calls = RawCalls::load(&path).map_err(|error| refused(error.to_string()))?;
        let calls = Some(calls).filter(|calls| !calls.are_of_another_instance());
        let proof = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| BackendError::Library { operation: "draw a random key" })?;
        let module = Arc::new(Self {
            path: path.clone(),
            context,
            calls,
            arguments,
            life: Life::new(),
            proof,
            proven: Mutex::default(),
            users: Mutex::default(),
        });
        modules.insert(path, Arc::clone(&module));
        Ok(module)
    }

    /// The slots that hold a token.
    pub(super) fn slots_with_token(&self) -> Result<Vec<Slot>, Error> {
        self.calls.as_ref().map_or_else(|| self.context.get_slots_with_token(), RawCalls::slots_with_token)
    }

    /// What the token in a slot says of itself.
    pub(super) fn token_info(&self, slot: Slot) -> Result<TokenInfo, Error> {
        self.calls.as_ref().map_or_else(|| self.context.get_token_info(slot), |calls| calls.token_info(slot))
    }

    /// Signs `data`. Where only cryptoki's own calls reach the module, a signature is as long as the module says, without a bound of ours. After an error the session may be in the middle of an operation: drop it.
    pub(super) fn sign(
        &self,
        session: &Session,
        mechanism: &Mechanism<'_>,
        key: ObjectHandle,
        data: &[u8],
    ) -> Result<Vec<u8>, Error> {
        match &self.calls {
            Some(calls) => calls.sign(session, mechanism, key, data),
            None => session.sign(mechanism, key, data),
        }
    }

    /// A token is used through it.
    pub(super) fn is_used_by(&self, access: &Arc<Access>) {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.retain(|user| user.strong_count() > 0);
        users.push(Arc::downgrade(access));
    }

    /// Whether another token than this one is there: then the module is well, and finalising it would end the sessions with that token.
    pub(super) fn serves_others(&self, access: &Access) -> bool {
        let users: Vec<_> = {
            let users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
            users.iter().filter_map(Weak::upgrade).collect()
        };
        users.iter().any(|user| !user.is_same_token(access) && user.is_present())
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
