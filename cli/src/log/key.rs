//! Verifier keys of logs: text, or a file with one a line.

use std::path::Path;

use hallmark_tlog::{
    cosignature::WitnessKey,
    note::{KeyError, VerifierKey},
};

use crate::files::{self, FileError};

/// What the text of a secret key contains, in capitals.
const SECRET_MARK: &str = "PRIVATE+KEY";

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogKeyError {
    /// Neither a key nor a file.
    #[error("`{text}` is neither a verifier key nor a file with one")]
    Neither {
        /// What was given.
        text: String,
        /// What the system says of it as a file.
        source: FileError,
    },
    /// The secret half.
    #[error("that is a secret log key; auditors need its public half only")]
    Secret,
    /// A file without keys.
    #[error("`{path}` holds no verifier key")]
    Empty {
        /// The file.
        path: String,
    },
    /// Not a key.
    #[error("the verifier key cannot be read: {source}")]
    Malformed {
        /// Why.
        source: KeyError,
    },
}

impl LogKeyError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Neither { .. } | Self::Empty { .. } | Self::Malformed { .. } => {
                "a key reads `<name>+<8 hexadecimal digits>+<base64>`; whoever runs the signer publishes it".to_owned()
            }
            Self::Secret => "put it back where only the signer can read it, and name the .vkey file".to_owned(),
        }
    }
}

/// Reads keys. Space around the text is passed over, as are lines of a file that are empty or begin with `#`.
pub(crate) fn read(text_or_path: &str) -> Result<Vec<VerifierKey>, LogKeyError> {
    // Before anything else: whatever comes later may say what was given.
    let text_or_path = not_secret(text_or_path)?;
    if let Ok(key) = VerifierKey::parse(text_or_path) {
        return Ok(vec![key]);
    }
    let neither = |source| LogKeyError::Neither { text: text_or_path.to_owned(), source };
    let bytes = files::read(Path::new(text_or_path)).map_err(neither)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys: Vec<VerifierKey> = lines.map(parse).collect::<Result<_, _>>()?;
    if keys.is_empty() { Err(LogKeyError::Empty { path: text_or_path.to_owned() }) } else { Ok(keys) }
}

/// Reads the key of a witness: text, or a file that holds nothing else.
pub(crate) fn witness(text_or_path: &str) -> Result<WitnessKey, LogKeyError> {
    let text_or_path = not_secret(text_or_path)?;
    if let Ok(key) = WitnessKey::parse(text_or_path) {
        return Ok(key);
    }
    let neither = |source| LogKeyError::Neither { text: text_or_path.to_owned(), source };
    let bytes = files::read(Path::new(text_or_path)).map_err(neither)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    WitnessKey::parse(not_secret(&text)?).map_err(|source| LogKeyError::Malformed { source })
}

fn parse(line: &str) -> Result<VerifierKey, LogKeyError> {
    VerifierKey::parse(not_secret(line)?).map_err(|source| LogKeyError::Malformed { source })
}

/// The text without the space around it, unless a secret key is in it, however it is quoted.
fn not_secret(text: &str) -> Result<&str, LogKeyError> {
    if text.to_ascii_uppercase().contains(SECRET_MARK) { Err(LogKeyError::Secret) } else { Ok(text.trim()) }
}
