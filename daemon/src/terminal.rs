//! Asking for a secret at the terminal. Nothing of what is typed is shown, and no buffer but the one that is wiped ever has it.

use std::io::{self, Write as _};

use hallmark_signer::{config::BackendTable, secret::SECRET_BYTES_MAX};
use rustix::{
    stdio::stdin,
    termios::{LocalModes, OptionalActions, Termios, isatty, tcgetattr, tcsetattr},
};
use zeroize::Zeroizing;

use crate::trouble::Trouble;

/// Asks for the PIN of a token, or the passphrase of keys in files.
///
/// # Errors
/// [`Trouble::NoTerminal`] if standard input is none, or is closed before a line is typed.
pub(crate) fn ask(backend: &BackendTable) -> Result<Zeroizing<String>, Trouble> {
    let what = backend.secret_name();
    let no_terminal = |source: io::Error| Trouble::NoTerminal { what, source };
    if !isatty(stdin()) {
        return Err(no_terminal(io::ErrorKind::NotConnected.into()));
    }
    // Before the prompt: what somebody typed ahead was seen, and is thrown away.
    let silence = Silence::begin().map_err(no_terminal)?;
    say(&format!("{what} of {} (nothing is shown): ", backend.place()));
    let typed = line();
    drop(silence);
    say("\n");
    typed.map_err(no_terminal)
}

/// The terminal shows nothing of what is typed while this lives.
struct Silence(Termios);

impl Silence {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), OptionalActions::Drain, &self.0);
    }
}

fn say(text: &str) {
    let mut stderr = io::stderr().lock();
    // Who does not see the prompt types all the same.
    let _ = write!(stderr, "{text}").and_then(|()| stderr.flush());
}

/// One line, read byte by byte. What is too long for a secret is one byte longer than those are.
fn line() -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX + 1));
    let mut byte = Zeroizing::new([0; 1]);
    loop {
        match rustix::io::read(stdin(), byte.as_mut_slice()) {
            Ok(0) if text.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(0) => break,
            Ok(_) if *byte == [b'\n'] => break,
            Ok(_) if text.len() <= SECRET_BYTES_MAX => text.extend_from_slice(byte.as_slice()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let text = std::str::from_utf8(&text).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(Zeroizing::new(text.to_owned()))
}
