//! Secrets come from files, the environment, credentials of the service manager, or from somebody who types them at the start;
//! configuration files name the place, never the secret.

use std::{
    env, fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use secrecy::SecretString;
use serde::{Deserialize, Deserializer, de::Error as _};
use zeroize::Zeroizing;

/// Longest secret, in bytes.
pub const SECRET_BYTES_MAX: usize = 4_096;

/// Permission bits that a secret's file must not have: anything for group and others.
const FORBIDDEN_MODE: u32 = 0o077;

/// Permission bits that a credential must not have. systemd gives it to the unit's user by an access control list, whose mask shows as the
/// group's bits: 0440 in a directory of mode 0550 (systemd.exec(5), LoadCredential=).
const FORBIDDEN_CREDENTIAL_MODE: u32 = 0o037;

/// The same of their directory, of which nobody else may have anything.
const FORBIDDEN_CREDENTIALS_MODE: u32 = 0o027;

/// Names the directory of credentials (systemd.exec(5)).
const CREDENTIALS_VARIABLE: &str = "CREDENTIALS_DIRECTORY";

/// Longest name of a credential, in bytes: as systemd has it.
const CREDENTIAL_NAME_BYTES_MAX: usize = 255;

/// What is said of everything else that stands in the place of a [`SecretSource`]: it may be the secret itself.
const EXPECTED: &str = "a secret never stands in the configuration, only its place: `{ file = \"..\" }`, \
                        `{ env = \"..\" }` with the name of a variable, `{ credential = \"..\" }` with the name of a \
                        credential of the service manager, or `{ typed = true }`";

/// Where a secret is: `{ file = "pin.txt" }`, `{ env = "HALLMARK_PIN" }`, `{ credential = "pin" }` or `{ typed = true }`.
///
/// What is typed instead may be the secret itself, so an error of reading never contains it.
#[derive(Clone, Debug)]
pub enum SecretSource {
    /// A file of mode 0600 or stricter; one line.
    File(PathBuf),
    /// A variable of the environment.
    Env(String),
    /// A credential of the service manager, by its name (systemd.exec(5), LoadCredential=).
    Credential(String),
    /// Somebody types it at the start. Whoever asks them puts [`SecretSource::Given`] in its place.
    Typed,
    /// What was typed, or read by a process that may. No configuration says this.
    Given(SecretString),
}

/// Why a secret cannot be read. The secret itself is never part of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("the secret's file `{}` cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others can read the file.
    #[error("the secret's file `{}` can be read by others (mode {mode:04o}); hint: chmod 600 {}", path.display(), path.display())]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// No service manager gave credentials.
    #[error(
        "the configuration wants the credential `{0}`, and no service manager gave any ({CREDENTIALS_VARIABLE} is not set); hint: `LoadCredential={0}:FILE` in the unit, or by hand `systemd-run --pty -p LoadCredential={0}:FILE hallmarkd ..`"
    )]
    NoCredentials(String),
    /// The directory of credentials is open to others.
    #[error("the directory of credentials `{}` is open to others (mode {mode:04o}), which is not as the service manager makes it", path.display())]
    CredentialsOpen {
        /// The directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Nobody typed it.
    #[error(
        "the configuration wants the secret to be typed at the start, and nobody was asked; hint: start `hallmarkd run` in a terminal, or name a file or a credential where a service manager starts the core"
    )]
    NotTyped,
    /// The variable is not set.
    #[error("the environment has no variable `{0}`, which the configuration names for a secret")]
    NotSet(String),
    /// Empty, too long, or not text, where several lines may be.
    #[error("the secret from {place} is empty, over {SECRET_BYTES_MAX} bytes, or not UTF-8 text")]
    Lines {
        /// Where it came from.
        place: String,
    },
    /// Empty, too long, or not text.
    #[error("the secret from {place} is empty, over {SECRET_BYTES_MAX} bytes, or not UTF-8 text of one line")]
    Unusable {
        /// Where it came from.
        place: String,
    },
}

impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        enum Written {
            File(PathBuf),
            Env(String),
            Credential(String),
            Typed(bool),
        }
        // The reader's own error quotes what was typed.
        match Written::deserialize(deserializer) {
            Ok(Written::File(path)) => Ok(Self::File(path)),
            Ok(Written::Env(name)) if is_variable_name(&name) => Ok(Self::Env(name)),
            Ok(Written::Credential(name)) if is_credential_name(&name) => Ok(Self::Credential(name)),
            Ok(Written::Typed(true)) => Ok(Self::Typed),
            Ok(Written::Env(_) | Written::Credential(_) | Written::Typed(false)) | Err(_) => {
                Err(D::Error::custom(EXPECTED))
            }
        }
    }
}

/// Whether a text is the name of a variable (POSIX, "Environment Variables"), and not, say, a PIN.
fn is_variable_name(text: &str) -> bool {
    !text.starts_with(|letter: char| letter.is_ascii_digit())
        && !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether a text is the name of a credential: one component of a path that begins with a letter, and so is no PIN either.
fn is_credential_name(text: &str) -> bool {
    text.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && text.len() <= CREDENTIAL_NAME_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

impl SecretSource {
    /// Reads a secret of several lines.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn read_text(&self, directory: &Path) -> Result<SecretString, SecretError> {
        match self {
            Self::File(path) => {
                let path = directory.join(path);
                lines(&read_private(&path)?, || format!("the file `{}`", path.display()))
            }
            Self::Credential(name) => lines(&credential_text(name)?, || format!("the credential `{name}`")),
            Self::Env(_) | Self::Typed | Self::Given(_) => self.read(directory),
        }
    }

    /// Reads the secret; relative files are looked for beside the configuration, in `directory`.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn read(&self, directory: &Path) -> Result<SecretString, SecretError> {
        match self {
            Self::Env(name) => {
                let value = env::var(name).map(Zeroizing::new).map_err(|_| SecretError::NotSet(name.clone()))?;
                one_line(&value, || format!("the variable `{name}`"))
            }
            Self::File(path) => {
                let path = directory.join(path);
                let text = read_private(&path)?;
                one_line(&text, || format!("the file `{}`", path.display()))
            }
            Self::Credential(name) => one_line(&credential_text(name)?, || format!("the credential `{name}`")),
            Self::Typed => Err(SecretError::NotTyped),
            Self::Given(secret) => Ok(secret.clone()),
        }
    }
}

/// What somebody typed, as a secret.
///
/// # Errors
/// [`SecretError::Unusable`].
pub fn typed(text: &str) -> Result<SecretString, SecretError> {
    one_line(text, || "the terminal".to_owned())
}

/// What the service manager gave under this name.
fn credential_text(name: &str) -> Result<Zeroizing<String>, SecretError> {
    let directory = env::var_os(CREDENTIALS_VARIABLE).map(PathBuf::from);
    let directory = directory.ok_or_else(|| SecretError::NoCredentials(name.to_owned()))?;
    read_credential(&directory, name)
}

fn read_credential(directory: &Path, name: &str) -> Result<Zeroizing<String>, SecretError> {
    let unreadable = |source| SecretError::Unreadable { path: directory.to_owned(), source };
    let mode = fs::metadata(directory).map_err(unreadable)?.permissions().mode() & 0o7777;
    if mode & FORBIDDEN_CREDENTIALS_MODE != 0 {
        return Err(SecretError::CredentialsOpen { path: directory.to_owned(), mode });
    }
    read_closed(&directory.join(name), FORBIDDEN_CREDENTIAL_MODE)
}

/// Reads a small file that nobody else may read.
///
/// # Errors
/// See [`SecretError`].
pub fn read_private(path: &Path) -> Result<Zeroizing<String>, SecretError> {
    read_closed(path, FORBIDDEN_MODE)
}

/// Reads a small file that has none of these permission bits.
fn read_closed(path: &Path, forbidden: u32) -> Result<Zeroizing<String>, SecretError> {
    let unreadable = |source| SecretError::Unreadable { path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o7777;
    if mode & forbidden != 0 {
        return Err(SecretError::Readable { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::with_capacity(SECRET_BYTES_MAX + 1));
    file.take(SECRET_BYTES_MAX as u64 + 1).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

fn lines(text: &str, place: impl Fn() -> String) -> Result<SecretString, SecretError> {
    let usable = !text.trim().is_empty() && text.len() <= SECRET_BYTES_MAX && !text.contains('\0');
    if usable { Ok(SecretString::from(text)) } else { Err(SecretError::Lines { place: place() }) }
}

fn one_line(text: &str, place: impl Fn() -> String) -> Result<SecretString, SecretError> {
    let line = text.strip_suffix('\n').unwrap_or(text);
    let usable = !line.is_empty() && line.len() <= SECRET_BYTES_MAX && !line.contains(['\n', '\r', '\0']);
    if usable { Ok(SecretString::from(line)) } else { Err(SecretError::Unusable { place: place() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of credentials with one in it.
    fn credentials(directory_mode: u32, mode: u32) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let credential = directory.path().join("pin");
        fs::write(&credential, "12345678\n").unwrap();
        fs::set_permissions(credential, fs::Permissions::from_mode(mode)).unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(directory_mode)).unwrap();
        directory
    }

    #[test]
    fn a_credential_is_read_as_the_service_manager_makes_it() {
        for (directory_mode, mode) in [(0o500, 0o400), (0o550, 0o440), (0o700, 0o600)] {
            let directory = credentials(directory_mode, mode);
            assert_eq!(read_credential(directory.path(), "pin").unwrap().as_str(), "12345678\n");
        }
    }

    #[test]
    fn a_credential_that_others_can_reach_is_refused_and_not_told() {
        for (directory_mode, mode) in [(0o500, 0o444), (0o500, 0o460), (0o555, 0o400), (0o551, 0o400), (0o570, 0o400)] {
            let directory = credentials(directory_mode, mode);
            let error = read_credential(directory.path(), "pin").unwrap_err();
            assert!(
                matches!(error, SecretError::Readable { .. } | SecretError::CredentialsOpen { .. }),
                "{directory_mode:o} {mode:o}: {error}"
            );
            assert!(!format!("{error} {error:?}").contains("5678"));
        }
    }

    #[test]
    fn a_credential_s_name_is_one_component_of_a_path_and_no_pin() {
        for name in ["pin", "hallmark.pin", "PIN_2"] {
            assert!(is_credential_name(name), "{name}");
        }
        let long = "a".repeat(CREDENTIAL_NAME_BYTES_MAX + 1);
        for name in ["", ".", "..", "../pin", "a/b", "/pin", "12345678", "a b", "a:b", "pin\n", "p\0", &long] {
            assert!(!is_credential_name(name), "{name:?}");
        }
    }

    #[test]
    fn what_was_given_is_not_shown() {
        assert!(!format!("{:?}", SecretSource::Given("12345678".into())).contains("5678"));
    }
}
