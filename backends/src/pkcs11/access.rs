//! The way into a token: which one it is, and sessions that are logged in.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use cryptoki::{
    error::{Error, RvError},
    session::{Session, SessionState, UserType},
    slot::{Slot, TokenInfo},
};
use hallmark_policy::key::SpkiDigest;
use secrecy::SecretString;

use super::{failure::failed, module::Module, session::TokenSession};
use crate::{
    config::ModuleConfig, error::BackendError, exception::Exceptions, refused_pins::RefusedPins, waiver::Waiver,
};

/// A token, as the configuration names it, and the PIN to it.
pub(crate) struct Access {
    pub(super) module: Arc<Module>,
    label: String,
    serial: Option<String>,
    pin: SecretString,
    /// Held while a session is opened, so that sessions are opened one after another.
    opening: Mutex<Opening>,
    /// The PIN was refused: nobody tries again.
    pin_refused: AtomicBool,
    /// What outlasts this way in.
    refused_pins: Arc<RefusedPins>,
    /// What the module says otherwise of the history of keys that were made in it, and what it does not know of keys at all.
    waived: Vec<Waiver>,
    /// Where other tokens hold the same keys: what need not hold of a copy's history. None where it is the only one.
    beside: Option<Vec<Waiver>>,
    /// Keys that are kept less strictly.
    exceptions: Exceptions,
}

/// What is known from earlier openings.
#[derive(Debug, Default)]
struct Opening {
    /// There was a session before, so that the configuration is right and the module may be initialised anew.
    succeeded: bool,
}

/// Whether a session may change what the token stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Read,
    Write,
}

impl Access {
    pub(crate) fn new(
        module: &ModuleConfig,
        label: String,
        serial: Option<String>,
        pin: SecretString,
    ) -> Result<Self, BackendError> {
        Ok(Self {
            module: Module::load(module)?,
            label,
            serial,
            pin,
            opening: Mutex::default(),
            pin_refused: AtomicBool::new(false),
            refused_pins: Arc::new(RefusedPins::of_this_process()?),
            waived: module.waived.iter().map(|word| Waiver::from(*word)).collect(),
            beside: None,
            exceptions: Exceptions::default(),
        })
    }

    /// Other tokens hold the same keys, so that this one can be spared: a token on which a wrong PIN was tried is left to people, since starts
    /// follow each other for other tokens' sake, and each would be one more attempt.
    pub(super) fn beside_others(self, waived: Vec<Waiver>) -> Self {
        Self { beside: Some(waived), ..self }
    }

    /// What was refused is not tried again, whoever it was that tried, and who tries after this one knows it, too.
    pub(super) fn remembering(self, refused_pins: &Arc<RefusedPins>) -> Self {
        Self { refused_pins: Arc::clone(refused_pins), ..self }
    }

    /// Of these keys less is asked than of others.
    pub(super) fn excepting(self, exceptions: Exceptions) -> Self {
        Self { exceptions, ..self }
    }

    /// What need not hold of any key that is made here.
    pub(super) fn waived_of_all(&self) -> &[Waiver] {
        &self.waived
    }

    /// What need not hold of this key where it was made.
    pub(super) fn excepted(&self, key: SpkiDigest) -> Vec<Waiver> {
        [self.exceptions.waived(key), self.waived.clone()].concat()
    }

    /// What need not hold of this key here.
    pub(super) fn waived(&self, key: SpkiDigest) -> Vec<Waiver> {
        let mut waived = self.excepted(key);
        waived.extend(self.beside.iter().flatten());
        waived
    }

    /// Whether both are ways to one token, as the configuration names it.
    pub(super) fn is_same_token(&self, other: &Self) -> bool {
        (&self.label, &self.serial) == (&other.label, &other.serial)
    }

    /// Whether the token is there, without a session of its own.
    pub(super) fn is_present(&self) -> bool {
        let _inside = self.module.life.enter();
        self.token().is_ok()
    }

    /// Whether the PIN was refused.
    pub(super) fn pin_is_refused(&self) -> bool {
        self.pin_refused.load(Ordering::SeqCst)
    }

    /// Opens a session that is logged in as the user. Where that shows that the module lost its state, the module is
    /// initialised anew, and the session opened then.
    pub(crate) fn session(&self, mode: Mode) -> Result<TokenSession, BackendError> {
        let mut opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        let life = *self.module.life.enter();
        let mut session = self.open_session(mode);
        if let Err(error) = &session
            && opening.succeeded
            && self.module.life.is_over(error)
            && !self.module.serves_others(self)
            && self.module.life.renew(&self.module.context, self.module.arguments.as_ref(), life)
        {
            session = self.open_session(mode);
        }
        if session.is_ok() {
            opening.succeeded = true;
            self.module.life.is_well();
        }
        session
    }

    fn open_session(&self, mode: Mode) -> Result<TokenSession, BackendError> {
        if self.pin_is_refused() {
            return Err(self.wrong_pin());
        }
        let inside = self.module.life.enter();
        let (slot, token) = self.token()?;
        let context = &self.module.context;
        let session = match mode {
            Mode::Read => context.open_ro_session(slot),
            Mode::Write => context.open_rw_session(slot),
        }
        .map_err(failed)?;
        if is_user(&session)? {
            self.is_proven(&token)?;
        } else {
            self.log_in(&session, &token)?;
        }
        Ok(TokenSession::new(Arc::clone(&self.module), *inside, session))
    }

    fn log_in(&self, session: &Session, token: &TokenInfo) -> Result<(), BackendError> {
        let name = (token.label(), token.serial_number());
        if self.refused_pins.has(name, &self.pin) {
            self.pin_refused.store(true, Ordering::SeqCst);
            let error = self.wrong_pin();
            tracing::error!(%error, "the token refused this PIN before; it is not tried again");
            return Err(error);
        }
        self.may_try_pin(token)?;
        match session.login(UserType::User, Some(&self.pin)) {
            Ok(()) => {
                self.module.pin_was_right(token.serial_number(), &self.pin);
                Ok(())
            }
            Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => self.is_proven(token),
            Err(Error::Pkcs11(answer, _)) if is_about_the_pin(answer) => {
                self.pin_refused.store(true, Ordering::SeqCst);
                let error = if answer == RvError::PinLocked {
                    BackendError::PinLocked { token: self.name() }
                } else {
                    // At once: who waits for the answer may have gone.
                    self.refused_pins.add(name, &self.pin);
                    self.wrong_pin()
                };
                tracing::error!(%error, "no log-in is tried any more");
                Err(error)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// The slot of the one token that has the configured label and serial. Slots renumber, so it is looked up each time.
    pub(super) fn token(&self) -> Result<(Slot, TokenInfo), BackendError> {
        let slots = self.module.slots_with_token().map_err(failed)?;
        let mut present = Vec::new();
        let mut fitting = Vec::new();
        let mut silent = None;
        for slot in slots {
            let token = match self.module.token_info(slot) {
                Ok(token) => token,
                // What is in this slot is no token of ours.
                Err(Error::Pkcs11(RvError::TokenNotPresent | RvError::TokenNotRecognized, _)) => continue,
                Err(error) => {
                    silent = Some(failed(error));
                    continue;
                }
            };
            if !token.token_initialized() {
                continue;
            }
            present.push(format!("`{}` serial {}", token.label(), token.serial_number()));
            let serial_fits = self.serial.as_ref().is_none_or(|serial| serial == token.serial_number());
            if token.label() == self.label && serial_fits {
                fitting.push((slot, token));
            }
        }
        match (fitting.pop(), fitting.len(), silent) {
            (Some(token), 0, _) => Ok(token),
            (Some(_), others, _) => Err(BackendError::TokenAmbiguous { token: self.name(), count: others + 1 }),
            (None, _, Some(silent)) => Err(silent),
            (None, _, None) => {
                present.truncate(TOKENS_NAMED_MAX);
                let present = if present.is_empty() { "none".to_owned() } else { present.join(", ") };
                Err(BackendError::TokenNotFound { token: self.name(), present })
            }
        }
    }

    /// C_SetPIN: from the PIN that this way in has to another. It is tried once.
    pub(super) fn change_pin(&self, session: &Session, new: &SecretString) -> Result<(), BackendError> {
        session.set_pin(&self.pin, new).map_err(failed)
    }

    fn name(&self) -> String {
        match &self.serial {
            Some(serial) => format!("`{}` with serial {serial}", self.label),
            None => format!("`{}`", self.label),
        }
    }

    fn wrong_pin(&self) -> BackendError {
        BackendError::WrongPin { what: format!("the user PIN of token {}", self.name()) }
    }

    /// A token that is logged in already says nothing about this PIN; only a log-in that this process saw does.
    fn is_proven(&self, token: &TokenInfo) -> Result<(), BackendError> {
        if self.module.pin_is_proven(token.serial_number(), &self.pin) {
            return Ok(());
        }
        Err(BackendError::PinNotProven { token: self.name() })
    }

    fn may_try_pin(&self, token: &TokenInfo) -> Result<(), BackendError> {
        if token.user_pin_locked() {
            return Err(BackendError::PinLocked { token: self.name() });
        }
        if token.user_pin_final_try() {
            return Err(BackendError::PinFinalTry { token: self.name() });
        }
        if !token.user_pin_initialized() {
            return Err(BackendError::PinNotSet { token: self.name() });
        }
        if token.user_pin_count_low() && self.beside.is_some() {
            return Err(BackendError::PinDoubted { token: self.name() });
        }
        if token.user_pin_count_low() {
            tracing::warn!(token = self.name(), "a wrong PIN was tried on this token since the last log-in");
        }
        Ok(())
    }
}

/// Most tokens that an error names.
const TOKENS_NAMED_MAX: usize = 8;

/// Whether the session is logged in as the user; private keys of a session that is not look deleted.
pub(crate) fn is_user(session: &Session) -> Result<bool, BackendError> {
    let state = session.get_session_info().map_err(failed)?.session_state();
    Ok(matches!(state, SessionState::RoUser | SessionState::RwUser))
}

/// Answers after which the same PIN must not be tried again.
pub(super) fn is_about_the_pin(answer: RvError) -> bool {
    matches!(
        answer,
        RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange | RvError::PinExpired | RvError::PinLocked
    )
}
