//! Secrets come from files or the environment; configuration files name the place, never the secret.

use std::{
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use secrecy::SecretString;
use serde::{Deserialize, Deserializer, de::Error as _};
use zeroize::Zeroizing;

/// Longest secret, in bytes.
const SECRET_BYTES_MAX: u64 = 4_096;

/// Permission bits that a secret's file must not have: anything for group and others.
const FORBIDDEN_MODE: u32 = 0o077;

/// What is said of everything else that stands in the place of a [`SecretSource`]: it may be the secret itself.
const EXPECTED: &str = "a secret never stands in the configuration, only its place: `{ file = \"..\" }`, or \
                        `{ env = \"..\" }` with the name of a variable";

/// Where a secret is: `{ file = "pin.txt" }` or `{ env = "HALLMARK_PIN" }`.
///
/// What is typed instead may be the secret itself, so an error of reading never contains it.
#[derive(Clone, Debug)]
pub enum SecretSource {
    /// A file of mode 0600 or stricter; one line.
    File(PathBuf),
    /// A variable of the environment.
    Env(String),
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
    /// The variable is not set.
    #[error("the environment has no variable `{0}`, which the configuration names for a secret")]
    NotSet(String),
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
        enum Typed {
            File(PathBuf),
            Env(String),
        }
        // The reader's own error quotes what was typed.
        match Typed::deserialize(deserializer) {
            Ok(Typed::File(path)) => Ok(Self::File(path)),
            Ok(Typed::Env(name)) if is_variable_name(&name) => Ok(Self::Env(name)),
            Ok(Typed::Env(_)) | Err(_) => Err(D::Error::custom(EXPECTED)),
        }
    }
}

/// Whether a text is the name of a variable (POSIX, "Environment Variables"), and not, say, a PIN.
fn is_variable_name(text: &str) -> bool {
    !text.starts_with(|letter: char| letter.is_ascii_digit())
        && !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl SecretSource {
    /// Reads the secret; relative files are looked for beside the configuration, in `directory`.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn read(&self, directory: &Path) -> Result<SecretString, SecretError> {
        match self {
            Self::Env(name) => {
                let value = std::env::var(name).map(Zeroizing::new).map_err(|_| SecretError::NotSet(name.clone()))?;
                one_line(&value, || format!("the variable `{name}`"))
            }
            Self::File(path) => {
                let path = directory.join(path);
                let text = read_private(&path)?;
                one_line(&text, || format!("the file `{}`", path.display()))
            }
        }
    }
}

/// Reads a small file that nobody else may read.
///
/// # Errors
/// See [`SecretError`].
pub fn read_private(path: &Path) -> Result<Zeroizing<String>, SecretError> {
    let unreadable = |source| SecretError::Unreadable { path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o7777;
    if mode & FORBIDDEN_MODE != 0 {
        return Err(SecretError::Readable { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(SECRET_BYTES_MAX).unwrap_or(0) + 1));
    file.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

fn one_line(text: &str, place: impl Fn() -> String) -> Result<SecretString, SecretError> {
    let line = text.strip_suffix('\n').unwrap_or(text);
    let usable = !line.is_empty() && line.len() as u64 <= SECRET_BYTES_MAX && !line.contains(['\n', '\r', '\0']);
    if usable { Ok(SecretString::from(line)) } else { Err(SecretError::Unusable { place: place() }) }
}
