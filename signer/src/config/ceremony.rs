//! `[ceremony.NAME]`: the ceremony that made the root of an authority.

use std::{
    fs,
    path::{Path, PathBuf},
};

use hallmark_tlog::note::VerifierKey;
use serde::Deserialize;

use super::ConfigError;
use crate::handed_over::HandOver;

/// `[ceremony.NAME]`, as typed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CeremonyTable {
    /// The transcript; `FILE.entry` and `FILE.receipt` stand beside it.
    pub transcript: PathBuf,
    /// Public key of the log of ceremonies.
    pub log_key: PathBuf,
}

impl CeremonyTable {
    /// Reads what the ceremony has left, beside the configuration file in `directory`.
    ///
    /// # Errors
    /// [`ConfigError::Unreadable`] and [`ConfigError::CeremonyKey`].
    pub fn read(&self, directory: &Path) -> Result<HandOver, ConfigError> {
        let read =
            |path: &Path| fs::read(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source });
        let path = directory.join(&self.log_key);
        let log_key = std::str::from_utf8(&read(&path)?).ok().and_then(|text| VerifierKey::parse(text.trim()).ok());
        let log_key = log_key.ok_or(ConfigError::CeremonyKey { path })?;
        let transcript = directory.join(&self.transcript);
        let beside = |ending: &str| {
            let mut name = transcript.clone().into_os_string();
            name.push(ending);
            read(Path::new(&name))
        };
        Ok(HandOver { transcript: read(&transcript)?, entry: beside(".entry")?, receipt: beside(".receipt")?, log_key })
    }
}
