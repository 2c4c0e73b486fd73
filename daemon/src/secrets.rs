//! The PIN or passphrase, where a core cannot get it by itself: it is typed once, or is a credential that the service manager gave to this
//! process's user.
//!
//! A supervisor keeps it in memory that is wiped, and hands it to each core that it starts over a socket made for that, which nobody else
//! has. It is never an argument, and never in the environment.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixDatagram},
};

use hallmark_signer::{
    config::ConfigError,
    secret::{SECRET_BYTES_MAX, SecretSource, typed},
};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use crate::{settings::Settings, terminal, trouble::Trouble};

/// Name of the socket with the secret, among those that a core is given.
pub(crate) const SECRET_SOCKET: &str = "secret";

/// Asks for the secret, or reads it, where that is for this process to do; nothing where the core reads it from a file or its environment.
///
/// # Errors
/// [`Trouble::NoTerminal`], and [`Trouble::Config`].
pub(crate) fn asked(settings: &Settings) -> Result<Option<SecretString>, Trouble> {
    let backend = &settings.core.backend;
    let secret = match backend.secret() {
        // Told as a mistake where it is read.
        SecretSource::Typed if backend.secret_has_lines() => return Ok(None),
        SecretSource::Typed => typed(&terminal::ask(backend)?),
        SecretSource::Credential(_) => return Ok(backend.read_secret(&settings.directory).map(Some)?),
        SecretSource::File(_) | SecretSource::Env(_) | SecretSource::Given(_) => return Ok(None),
    };
    let secret = secret.map_err(|source| ConfigError::Secret { field: backend.secret_field(), source })?;
    Ok(Some(secret))
}

/// Asks for the secret where no file and no variable has it, for one look at the token.
///
/// # Errors
/// As [`asked`].
pub(crate) fn typed_for_check(settings: &Settings) -> Result<Option<SecretString>, Trouble> {
    let backend = &settings.core.backend;
    match backend.secret() {
        SecretSource::Typed | SecretSource::Credential(_) if backend.secret_has_lines() => {
            Ok(backend.read_secret(&settings.directory).map(Some)?)
        }
        SecretSource::Typed | SecretSource::Credential(_) => {
            let secret = typed(&terminal::ask(backend)?);
            secret.map(Some).map_err(|source| ConfigError::Secret { field: backend.secret_field(), source }.into())
        }
        SecretSource::File(_) | SecretSource::Env(_) | SecretSource::Given(_) => Ok(None),
    }
}

/// A socket in which the secret lies, for one core.
pub(crate) fn handed_over(secret: &SecretString) -> io::Result<OwnedFd> {
    let (own, its) = UnixDatagram::pair()?;
    own.send(secret.expose_secret().as_bytes())?;
    Ok(its.into())
}

/// The secret that lies in a socket.
pub(crate) fn taken(socket: &UnixDatagram) -> Result<SecretString, Trouble> {
    let mut bytes = Zeroizing::new(vec![0; SECRET_BYTES_MAX]);
    let received = socket.set_nonblocking(true).and_then(|()| socket.recv(&mut bytes));
    let length = received.map_err(|source| Trouble::Door { source })?;
    let text = bytes.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok());
    text.map(SecretString::from).ok_or_else(|| Trouble::Door { source: io::ErrorKind::InvalidData.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_core_gets_the_secret_once() {
        let secret = SecretString::from("a".repeat(SECRET_BYTES_MAX));
        for _ in 0..2 {
            let socket = UnixDatagram::from(handed_over(&secret).unwrap());
            assert_eq!(taken(&socket).unwrap().expose_secret(), secret.expose_secret());
            assert!(taken(&socket).is_err());
        }
    }
}
