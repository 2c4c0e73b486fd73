//! What only a token's security officer can do: mark a wrap key as trusted. Whoever asks has nobody logged in to the token in this process.

use cryptoki::{error::Error, object::Attribute, session::UserType, slot::TokenInfo};
use secrecy::SecretString;

use super::{
    ID_BYTES,
    access::{Access, is_about_the_pin},
    failure::failed,
    wrapping::{self, Direction},
};
use crate::{config::ModuleConfig, error::BackendError, reference::KeyLabel, wrap_key::WrapValue};

/// Makes a trusted wrap key of this value. The PIN is tried once, and not at all where that could lock it.
///
/// An officer sees and makes public objects alone (PKCS #11 v2.40, section 2.4), so that CKA_PRIVATE of the key is false: whoever reaches the device
/// can use it without a PIN. The device guards its value; and what it wrapped is guarded by its direction, since it unwraps nothing.
pub(crate) fn make_trusted(
    module: &ModuleConfig,
    (token, serial): (String, Option<String>),
    so_pin: &SecretString,
    label: &KeyLabel,
    value: &WrapValue,
) -> Result<(), BackendError> {
    let what = format!("the security officer's PIN of token `{token}`");
    let access = Access::new(module, token.clone(), serial, SecretString::default())?;
    let _inside = access.module.life.enter();
    let (slot, info) = access.token()?;
    may_try(&info, &token)?;
    let session = access.module.context.open_rw_session(slot).map_err(failed)?;
    match session.login(UserType::So, Some(so_pin)) {
        Ok(()) => {}
        Err(Error::Pkcs11(answer, _)) if is_about_the_pin(answer) => return Err(BackendError::WrongPin { what }),
        Err(error) => return Err(failed(error)),
    }
    let mut id = vec![0; ID_BYTES];
    session.generate_random_slice(&mut id).map_err(failed)?;
    let place = [
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Trusted(true),
        Attribute::Id(id),
        Attribute::Label(label.as_str().as_bytes().to_vec()),
    ];
    wrapping::make(&session, &place, value, Direction::Wraps)?;
    session.close().map_err(failed)
}

fn may_try(info: &TokenInfo, token: &str) -> Result<(), BackendError> {
    let token = || format!("`{token}` for its security officer");
    match (info.so_pin_locked(), info.so_pin_final_try()) {
        (true, _) => Err(BackendError::PinLocked { token: token() }),
        (false, true) => Err(BackendError::PinFinalTry { token: token() }),
        (false, false) => Ok(()),
    }
}
