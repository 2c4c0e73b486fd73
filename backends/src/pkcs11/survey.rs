//! What a token says of itself to whoever asks. Nobody logs in for it, and nothing is written.

use cryptoki::{
    error::{Error, RvError},
    mechanism::MechanismType,
    object::{Attribute, ObjectClass},
    session::Session,
    slot::{Limit, Slot, TokenInfo},
    types::UtcTime,
};
use hallmark_policy::{
    key::{KeyKind, SignatureAlgorithm},
    time::UnixTime,
};
use secrecy::SecretString;

use super::{access::Access, describe, failure::failed, objects, template};
use crate::{backend::Description, config::ModuleConfig, error::BackendError};

/// Whoever says that it gives more sessions than this says that it gives as many as are wanted: openCryptoki writes a number near the largest.
const SESSIONS_COUNTED_MAX: u64 = 1 << 32;

/// What a token says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// Which module and token it is.
    pub description: Description,
    /// Kinds of keys that it can make, and sign with in the usual way.
    pub kinds: Vec<KeyKind>,
    /// Whether it wraps keys, and takes wrapped keys in ([`WRAP_MECHANISM`](crate::WRAP_MECHANISM)).
    pub wrapping: WrapAbility,
    /// The user PIN.
    pub pin: PinState,
    /// Whether nothing can be stored.
    pub write_protected: bool,
    /// Sessions that are open now, where it tells.
    pub sessions_open: Option<u64>,
    /// Most sessions that it gives, where it tells and bounds them.
    pub sessions_max: Option<u64>,
    /// Bytes that are free for private objects, where it tells.
    pub free_private_bytes: Option<u64>,
    /// Its own clock, if it has one.
    pub clock: Option<UnixTime>,
    /// Labels of the public keys that it shows without a log-in: every key that this signer makes has one.
    pub labels: Vec<String>,
}

/// Whether a token wraps keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WrapAbility {
    /// Keys can leave it in wrapped form.
    pub wraps: bool,
    /// Wrapped keys can be brought into it.
    pub unwraps: bool,
}

/// The flags of the user PIN. They are read; no PIN is tried to find them out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinState {
    /// One was set.
    pub is_set: bool,
    /// A wrong one was tried since the last log-in.
    pub count_low: bool,
    /// One more wrong one locks it.
    pub final_try: bool,
    /// It is locked.
    pub locked: bool,
    /// It must be changed before anything else.
    pub to_be_changed: bool,
}

/// Asks the token of that label and serial.
pub(crate) fn survey(module: &ModuleConfig, label: String, serial: Option<String>) -> Result<Survey, BackendError> {
    // The PIN is not used: no session is logged in.
    let access = Access::new(module, label, serial, SecretString::default())?;
    let _inside = access.module.life.enter();
    let (slot, token) = access.token()?;
    let session = access.module.context.open_ro_session(slot).map_err(failed)?;
    Ok(Survey {
        description: describe(&access, Some(&token)),
        kinds: kinds(&access, slot)?,
        wrapping: wrapping(&access, slot)?,
        pin: pin(&token),
        write_protected: token.write_protected(),
        sessions_open: token.session_count(),
        sessions_max: match token.max_session_count() {
            Limit::Max(most) => Some(most).filter(|most| *most <= SESSIONS_COUNTED_MAX),
            Limit::Unavailable | Limit::Infinite => None,
        },
        free_private_bytes: token.free_private_memory().and_then(|bytes| u64::try_from(bytes).ok()),
        clock: token.utc_time().and_then(clock),
        labels: labels(&session)?,
    })
}

fn clock(time: UtcTime) -> Option<UnixTime> {
    let UtcTime { year, month, day, hour, minute, second } = time;
    UnixTime::parse(&format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")).ok()
}

fn pin(token: &TokenInfo) -> PinState {
    PinState {
        is_set: token.user_pin_initialized(),
        count_low: token.user_pin_count_low(),
        final_try: token.user_pin_final_try(),
        locked: token.user_pin_locked(),
        to_be_changed: token.user_pin_to_be_changed(),
    }
}

/// The kinds for which there are mechanisms that make and sign, with keys of that size.
fn kinds(access: &Access, slot: Slot) -> Result<Vec<KeyKind>, BackendError> {
    let context = &access.module.context;
    let known = context.get_mechanism_list(slot).map_err(failed)?;
    let takes = |mechanism: MechanismType, bits: Option<usize>| {
        known.contains(&mechanism)
            && context.get_mechanism_info(slot, mechanism).is_ok_and(|info| {
                // Modules count what has no bits as they please.
                bits.is_none_or(|bits| (info.min_key_size()..=info.max_key_size()).contains(&bits))
            })
    };
    let fits = |kind: &KeyKind| {
        let (makes, signs) = (template::generation(*kind), template::signing(SignatureAlgorithm::default_for(*kind)));
        [makes.mechanism_type(), signs.mechanism_type()].into_iter().all(|mechanism| takes(mechanism, kind.bits()))
    };
    Ok(KeyKind::ALL.into_iter().filter(fits).collect())
}

/// What the mechanism's flags say: some devices only take wrapped keys in.
fn wrapping(access: &Access, slot: Slot) -> Result<WrapAbility, BackendError> {
    let context = &access.module.context;
    if !context.get_mechanism_list(slot).map_err(failed)?.contains(&MechanismType::AES_KEY_WRAP_PAD) {
        return Ok(WrapAbility::default());
    }
    match context.get_mechanism_info(slot, MechanismType::AES_KEY_WRAP_PAD) {
        Ok(info) => Ok(WrapAbility { wraps: info.wrap(), unwraps: info.unwrap() }),
        // It has it for something else.
        Err(Error::Pkcs11(RvError::MechanismInvalid, _)) => Ok(WrapAbility::default()),
        Err(error) => Err(failed(error)),
    }
}

fn labels(session: &Session) -> Result<Vec<String>, BackendError> {
    let mut labels = objects::labels(session, &[Attribute::Class(ObjectClass::PUBLIC_KEY)])?;
    labels.sort_unstable();
    Ok(labels)
}
