//! What is done with a token that no keyring is open of: it is looked at, initialised for a rehearsal, or given a trusted wrap key.

use std::path::Path;

use secrecy::SecretString;

use crate::{
    config::ModuleConfig,
    desk::Desk,
    error::BackendError,
    patience::Patience,
    pkcs11::{self, survey::Survey},
    reference::KeyLabel,
    wrap_key::WrapValue,
};

/// Asks a token what it says of itself. Nobody logs in for it, and nothing is written.
///
/// # Errors
/// See [`BackendError`].
pub fn survey(module: &ModuleConfig, token_label: &str, token_serial: Option<&str>) -> Result<Survey, BackendError> {
    let (module, label, serial) = (module.clone(), token_label.to_owned(), token_serial.map(str::to_owned));
    let desk = Desk::open("survey")?;
    desk.run("say what it is", Patience::default().start, move || pkcs11::survey::survey(&module, label, serial), drop)
}

/// Initialises a token for a rehearsal, in a slot whose token was never initialised.
///
/// # Errors
/// See [`BackendError`]; a token that is somebody's is never touched.
pub fn make_throwaway_token(module: &Path, label: &str, pin: &SecretString) -> Result<(), BackendError> {
    let (module, label, pin) = (module.to_owned(), label.to_owned(), pin.clone());
    let desk = Desk::open("rehearsal")?;
    desk.run(
        "initialise a token",
        Patience::default().start,
        move || pkcs11::throwaway::make(&module, &label, &pin),
        drop,
    )
}

/// Makes a wrap key that the token's security officer marks as trusted, of this value and under a label that no other has. It wraps, and unwraps nothing.
/// No keyring of the token is open in this process.
///
/// # Errors
/// See [`BackendError`]; a wrong PIN is tried once.
pub fn make_trusted_wrap_key(
    module: &ModuleConfig,
    (token_label, token_serial): (&str, Option<&str>),
    so_pin: &SecretString,
    label: &KeyLabel,
    value: &WrapValue,
) -> Result<(), BackendError> {
    let token = (token_label.to_owned(), token_serial.map(str::to_owned));
    let (module, so_pin, label, value) = (module.clone(), so_pin.clone(), label.clone(), value.clone());
    let desk = Desk::open("officer")?;
    let make = move || pkcs11::officer::make_trusted(&module, token, &so_pin, &label, &value);
    desk.run("make a trusted wrap key", Patience::default().start, make, drop)
}
