//! The client configuration file: what need not be typed each time.

use std::{
    env, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::files::{self, FileError};

/// Where the file is below the user's configuration directory.
const PLACE: &str = "hallmark/client.toml";

/// What the file can say. Paths are relative to the file's directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Config {
    pub(crate) signer: Option<String>,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) authority: Option<String>,
    pub(crate) profile: Option<String>,
    pub(crate) log_key: Option<String>,
    pub(crate) timeout: Option<String>,
}

/// Why the file does not serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It says what nobody understands.
    #[error("`{}`, line {line}: {message}", path.display())]
    NotUnderstood {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, as the TOML reader says it.
        message: String,
    },
}

impl ConfigError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::File(error) => error.hint(),
            Self::NotUnderstood { .. } => {
                "the file can have signer, ca, cert, key, authority, profile, log-key and timeout; all are text"
                    .to_owned()
            }
        }
    }
}

impl Config {
    /// Reads the file that was named, or the user's own if there is one.
    pub(crate) fn load(named: Option<&Path>) -> Result<Self, ConfigError> {
        if let Some(path) = named {
            return Self::read(path);
        }
        let Some(path) = place() else { return Ok(Self::default()) };
        match Self::read(&path) {
            Err(ConfigError::File(FileError::Read { source, .. })) if source.kind() == io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            read => read,
        }
    }

    fn read(path: &Path) -> Result<Self, ConfigError> {
        let bytes = files::read(path)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| FileError::Unexpected { path: path.to_owned(), expected: "text (UTF-8)" })?;
        let config: Self = toml::from_str(&text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            ConfigError::NotUnderstood { path: path.to_owned(), line, message: error.message().to_owned() }
        })?;
        Ok(config.relative_to(path.parent().unwrap_or_else(|| Path::new(""))))
    }

    fn relative_to(mut self, directory: &Path) -> Self {
        for path in [&mut self.ca, &mut self.cert, &mut self.key].into_iter().flatten() {
            *path = directory.join(&*path);
        }
        // A log key can be text or a path. Only a path that is there is one.
        let beside = self.log_key.as_ref().map(|key| directory.join(key)).filter(|path| path.is_file());
        if let Some(path) = beside.and_then(|path| path.to_str().map(str::to_owned)) {
            self.log_key = Some(path);
        }
        self
    }
}

/// The user's own file.
fn place() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let directory = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")))?;
    Some(directory.join(PLACE))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ALL: &str = r#"
signer = "https://127.0.0.1:4443"
ca = "server-ca.pem"
cert = "/etc/hallmark/coordinator.pem"
key = "coordinator.key"
authority = "athenz"
profile = "athenz-service"
log-key = "log.vkey"
timeout = "5s"
"#;

    fn read(text: &str) -> (tempfile::TempDir, Result<Config, ConfigError>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("client.toml");
        fs::write(&path, text).unwrap();
        let config = Config::load(Some(&path));
        (directory, config)
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let (directory, config) = read(ALL);
        let config = config.unwrap();
        assert_eq!(config.ca, Some(directory.path().join("server-ca.pem")));
        assert_eq!(config.cert, Some(PathBuf::from("/etc/hallmark/coordinator.pem")));
        assert_eq!(config.log_key.as_deref(), Some("log.vkey"), "there is no such file, so it is text");
        assert_eq!(config.timeout.as_deref(), Some("5s"));
    }

    #[test]
    fn every_misspelling_of_a_key_is_an_error_with_its_line() {
        for (line, text) in ALL.lines().enumerate().filter(|(_, text)| !text.is_empty()) {
            let misspelt = ALL.replace(text, &format!("x{text}"));
            let error = read(&misspelt).1.unwrap_err();
            let ConfigError::NotUnderstood { line: found, message, .. } = &error else { panic!("{error}") };
            assert_eq!(*found, line + 1, "{message}");
            assert!(message.contains("unknown field `x"), "{message}");
        }
    }

    #[test]
    fn a_file_that_was_named_must_be_there() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(Config::load(Some(&directory.path().join("none.toml"))), Err(ConfigError::File(_))));
    }
}
