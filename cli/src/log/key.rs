//! Verifier keys of logs: text, or a file with one a line.

use std::path::Path;

use hallmark_tlog::note::{KeyError, VerifierKey};

use crate::files::{self, FileError};

/// How the text of a secret key begins.
const SECRET_START: &str = "PRIVATE+KEY+";

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

/// Reads keys. Lines that are empty or begin with `#` are passed over.
pub(crate) fn read(text_or_path: &str) -> Result<Vec<VerifierKey>, LogKeyError> {
    if text_or_path.starts_with(SECRET_START) {
        return Err(LogKeyError::Secret);
    }
    if let Ok(key) = VerifierKey::parse(text_or_path.trim()) {
        return Ok(vec![key]);
    }
    let neither = |source| LogKeyError::Neither { text: text_or_path.to_owned(), source };
    let bytes = files::read(Path::new(text_or_path)).map_err(neither)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys: Vec<VerifierKey> = lines.map(parse).collect::<Result<_, _>>()?;
    if keys.is_empty() { Err(LogKeyError::Empty { path: text_or_path.to_owned() }) } else { Ok(keys) }
}

fn parse(line: &str) -> Result<VerifierKey, LogKeyError> {
    if line.starts_with(SECRET_START) {
        return Err(LogKeyError::Secret);
    }
    VerifierKey::parse(line).map_err(|source| LogKeyError::Malformed { source })
}
