//! What holds in the end: flag, then environment, then configuration file.

use std::{path::PathBuf, time::Duration};

use hallmark_policy::time::Span;

use crate::{arguments::ConnectionArguments, config::Config, problem::Problem};

/// How long to wait for an answer unless something else was said: what the daemon takes for calls without a deadline.
const TIMEOUT_DEFAULT: Span = Span::from_secs(20);

/// The same for calls in which a device makes a key: a token can take a minute for an RSA key of 4096 bits.
const TIMEOUT_OF_KEYS: Span = Span::from_secs(120);

/// How to reach the signer, complete.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionSettings {
    pub(crate) signer: String,
    pub(crate) ca: PathBuf,
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) timeout: Duration,
}

/// What was said nowhere, or in two ways.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// A setting is missing.
    #[error("{what} is not given")]
    Missing {
        /// In words.
        what: &'static str,
        /// The flag without dashes, which is the key of the configuration file, too.
        name: &'static str,
    },
    /// The authority was said twice.
    #[error("the profile `{profile}` names the authority `{inside}`, but --authority names `{beside}`")]
    TwoAuthorities {
        /// As typed.
        profile: String,
        /// The one before the slash.
        inside: String,
        /// The other.
        beside: String,
    },
    /// The root is not said where the signer cannot show one.
    #[error("the root is not given, and the signer shows none before the first epoch")]
    NoRoot,
    /// Only the digest of the root is there.
    #[error("--root is a SHA-256, and the root certificate itself is not given")]
    NoRootCertificate,
    /// Nobody is there to ask.
    #[error("this needs a yes, because {question}; and nobody can be asked here")]
    NotAsked {
        /// What needs a yes.
        question: &'static str,
    },
    /// The answer was no.
    #[error("it was not confirmed; nothing was changed")]
    NotConfirmed,
    /// JSON and PEM cannot share stdout.
    #[error("`--out -` and --json both want stdout")]
    StdoutTwice,
}

impl SettingsError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Missing { name, .. } => {
                let variable = name.replace('-', "_").to_uppercase();
                let variable = if *name == "key" && self.is_log_key() { "LOG_KEY".to_owned() } else { variable };
                let entry = if self.is_log_key() { "log-key" } else { name };
                format!(
                    "give --{name}, set HALLMARK_{variable}, or write `{entry} = \"..\"` into \
                     ~/.config/hallmark/client.toml"
                )
            }
            Self::TwoAuthorities { .. } => "name the authority once".to_owned(),
            Self::NoRoot => "give --root with the root.pem that `hallmarkd init` wrote".to_owned(),
            Self::NoRootCertificate => "give --root-certificate, or a --bundle with root.pem in it".to_owned(),
            Self::NotAsked { .. } => "give --yes, or run it in a terminal without --json".to_owned(),
            Self::NotConfirmed => "type `yes` in full to go on".to_owned(),
            Self::StdoutTwice => "leave --out away: the JSON holds the certificates; or name a file".to_owned(),
        }
    }

    /// The verifier key of a log where `--key` means that.
    pub(crate) fn no_log_key() -> Self {
        Self::Missing { what: LOG_KEY, name: "key" }
    }

    fn is_log_key(&self) -> bool {
        matches!(self, Self::Missing { what: LOG_KEY, .. })
    }
}

const LOG_KEY: &str = "the verifier key of the log";

impl ConnectionSettings {
    /// Flags and environment (which clap has merged), then the file.
    pub(crate) fn resolve(arguments: &ConnectionArguments, config: &Config) -> Result<Self, Problem> {
        Self::resolve_within(arguments, config, TIMEOUT_DEFAULT)
    }

    /// As [`resolve`](Self::resolve), for calls in which a device makes a key.
    pub(crate) fn resolve_for_keys(arguments: &ConnectionArguments, config: &Config) -> Result<Self, Problem> {
        Self::resolve_within(arguments, config, TIMEOUT_OF_KEYS)
    }

    fn resolve_within(arguments: &ConnectionArguments, config: &Config, default: Span) -> Result<Self, Problem> {
        let missing = |what, name| SettingsError::Missing { what, name };
        let path = |typed: &Option<PathBuf>, filed: &Option<PathBuf>| typed.clone().or_else(|| filed.clone());
        let timeout = match (arguments.timeout, &config.timeout) {
            (Some(timeout), _) => timeout,
            (None, Some(text)) => Span::parse(text)?,
            (None, None) => default,
        };
        Ok(Self {
            signer: first(&arguments.signer, &config.signer).ok_or_else(|| missing("the signer's URL", "signer"))?,
            ca: path(&arguments.ca, &config.ca).ok_or_else(|| missing("the CA file of the signer", "ca"))?,
            cert: path(&arguments.cert, &config.cert).ok_or_else(|| missing("the client certificate", "cert"))?,
            key: path(&arguments.key, &config.key).ok_or_else(|| missing("the client's private key", "key"))?,
            timeout: Duration::from_secs(timeout.secs()),
        })
    }
}

/// The typed one, or that of the file; empty text is none.
pub(crate) fn first(typed: &Option<String>, filed: &Option<String>) -> Option<String> {
    [typed, filed].into_iter().flatten().find(|text| !text.is_empty()).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config {
            signer: Some("https://file".to_owned()),
            ca: Some("file-ca".into()),
            cert: Some("file-cert".into()),
            key: Some("file-key".into()),
            timeout: Some("7s".to_owned()),
            ..Config::default()
        }
    }

    #[test]
    fn what_was_typed_goes_before_the_file() {
        let typed = ConnectionArguments {
            signer: Some("https://typed".to_owned()),
            timeout: Some(Span::from_secs(3)),
            ..ConnectionArguments::default()
        };
        let settings = ConnectionSettings::resolve(&typed, &config()).unwrap();
        assert_eq!((settings.signer.as_str(), settings.timeout.as_secs()), ("https://typed", 3));
        assert_eq!(settings.ca, PathBuf::from("file-ca"));
        let settings = ConnectionSettings::resolve(&ConnectionArguments::default(), &config()).unwrap();
        assert_eq!((settings.signer.as_str(), settings.timeout.as_secs()), ("https://file", 7));
    }

    #[test]
    fn what_is_missing_is_named_with_its_flag_variable_and_key() {
        let config = Config { cert: None, ..config() };
        let error = ConnectionSettings::resolve(&ConnectionArguments::default(), &config).unwrap_err();
        assert_eq!(error.to_string(), "the client certificate is not given");
        let hint = "give --cert, set HALLMARK_CERT, or write `cert = \"..\"` into ~/.config/hallmark/client.toml";
        assert_eq!(error.hint(), hint);
        let hint = "give --key, set HALLMARK_LOG_KEY, or write `log-key = \"..\"` into ~/.config/hallmark/client.toml";
        assert_eq!(SettingsError::no_log_key().hint(), hint);
    }
}
