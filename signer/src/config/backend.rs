//! `[backend.*]`: where CA keys live, as it was typed.

use std::path::{Path, PathBuf};

use hallmark_backends::{BackendConfig, CommandLogUse, DeviceLogFindings, YubiHsmConfig, YubiHsmPlace};
use secrecy::SecretString;
use serde::Deserialize;

use super::{
    ConfigError,
    aws_kms::{AWS_CREDENTIALS, AwsKmsTable},
    pkcs11::{PKCS11_PIN, Pkcs11Table, SESSIONS_DEFAULT, read_pin},
};
use crate::secret::SecretSource;

/// Where keys of a YubiHSM are if the configuration does not say.
const DOMAIN_DEFAULT: u8 = 1;

/// Fields of secrets, for people.
const YUBIHSM_PASSWORD: &str = "backend.yubihsm.password";
const SOFTWARE_PASSPHRASE: &str = "backend.software.passphrase";

/// `[backend.*]`: exactly one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum BackendTable {
    /// A token behind a PKCS#11 module.
    Pkcs11(Pkcs11Table),
    /// A YubiHSM 2.
    #[serde(rename = "yubihsm")]
    YubiHsm(YubiHsmTable),
    /// AWS KMS.
    AwsKms(AwsKmsTable),
    /// Encrypted files: laboratories only, and only with `--allow-software-keys`.
    Software {
        /// Directory of the keys.
        directory: PathBuf,
        /// What they are encrypted with.
        passphrase: SecretSource,
    },
}

/// `[backend.yubihsm]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct YubiHsmTable {
    /// Where it is: `http://127.0.0.1:12345`, `usb`, or `usb:` and its serial number.
    pub connector: String,
    /// The number of the authentication key.
    pub authentication_key: u16,
    /// Its password.
    pub password: SecretSource,
    /// Signing sessions; 4 if not set.
    pub sessions: Option<usize>,
    /// The domains that keys are in; the first alone if not set.
    pub domains: Option<Vec<u8>>,
    /// Capabilities that the authentication key may have although they are not needed, each named.
    #[serde(default)]
    pub accept_capabilities: Vec<String>,
    /// What is done with the device's own command log; `read` if not set.
    pub command_log: Option<CommandLogWord>,
    /// With `command-log = "consume"`, and only with that: the file that what was read is kept in.
    pub command_log_file: Option<PathBuf>,
}

/// `command-log`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommandLogWord {
    /// It is read, and compared with what this signer asked for.
    Read,
    /// The same, and it is kept in a file, and its room freed.
    Consume,
    /// It is left to others.
    Off,
}

impl YubiHsmTable {
    /// Whether this machine's USB leads to it.
    #[must_use]
    pub fn is_usb(&self) -> bool {
        matches!(self.connector.parse(), Ok(YubiHsmPlace::Usb { .. }))
    }

    /// Signing sessions.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.unwrap_or(SESSIONS_DEFAULT)
    }

    /// The domains that keys are in.
    #[must_use]
    pub fn domains(&self) -> &[u8] {
        self.domains.as_deref().unwrap_or(&[DOMAIN_DEFAULT])
    }

    /// What is done with the device's command log.
    #[must_use]
    pub fn command_log(&self) -> CommandLogWord {
        self.command_log.unwrap_or(CommandLogWord::Read)
    }

    fn read(&self, directory: &Path) -> Result<YubiHsmConfig, ConfigError> {
        let connector = self.connector.parse().map_err(|source| ConfigError::Connector { source })?;
        let config = YubiHsmConfig {
            connector,
            authentication_key: self.authentication_key,
            password: read_pin(&self.password, YUBIHSM_PASSWORD, directory)?,
            sessions: self.sessions(),
            domains: self.domains().to_vec(),
            accepted: self.accept_capabilities.clone(),
            command_log: match (self.command_log(), &self.command_log_file) {
                (CommandLogWord::Read, None) => CommandLogUse::Read,
                (CommandLogWord::Consume, Some(file)) => CommandLogUse::Consume { file: directory.join(file) },
                (CommandLogWord::Off, None) => CommandLogUse::Off,
                (CommandLogWord::Consume, None) => return Err(ConfigError::NoCommandLogFile),
                (CommandLogWord::Read | CommandLogWord::Off, Some(_)) => return Err(ConfigError::CommandLogFileUnused),
            },
            kinds: None,
            findings: DeviceLogFindings::default(),
        };
        config.check().map_err(|source| ConfigError::YubiHsm { source: Box::new(source) })?;
        Ok(config)
    }
}

impl BackendTable {
    /// Where the PIN of the first token or the passphrase is.
    #[must_use]
    pub fn secret(&self) -> &SecretSource {
        match self {
            Self::Pkcs11(table) => &table.pin,
            Self::YubiHsm(table) => &table.password,
            Self::AwsKms(table) => &table.credentials,
            Self::Software { passphrase, .. } => passphrase,
        }
    }

    pub(super) fn secret_mut(&mut self) -> &mut SecretSource {
        match self {
            Self::Pkcs11(table) => &mut table.pin,
            Self::YubiHsm(table) => &mut table.password,
            Self::AwsKms(table) => &mut table.credentials,
            Self::Software { passphrase, .. } => passphrase,
        }
    }

    /// Whether this secret has several lines, so that nobody types it.
    #[must_use]
    pub fn secret_has_lines(&self) -> bool {
        match self {
            Self::AwsKms(_) => true,
            Self::Pkcs11(_) | Self::YubiHsm(_) | Self::Software { .. } => false,
        }
    }

    /// Reads this secret from where it is.
    ///
    /// # Errors
    /// [`ConfigError::Secret`].
    pub fn read_secret(&self, directory: &Path) -> Result<SecretString, ConfigError> {
        let source = self.secret();
        let secret = if self.secret_has_lines() { source.read_text(directory) } else { source.read(directory) };
        secret.map_err(|source| ConfigError::Secret { field: self.secret_field(), source })
    }

    /// What people call this secret.
    #[must_use]
    pub fn secret_name(&self) -> &'static str {
        match self {
            Self::Pkcs11(_) => "PIN",
            Self::YubiHsm(_) => "password",
            Self::AwsKms(_) => "credentials",
            Self::Software { .. } => "passphrase",
        }
    }

    /// The field that says where this secret is.
    #[must_use]
    pub fn secret_field(&self) -> &'static str {
        match self {
            Self::Pkcs11(_) => PKCS11_PIN,
            Self::YubiHsm(_) => YUBIHSM_PASSWORD,
            Self::AwsKms(_) => AWS_CREDENTIALS,
            Self::Software { .. } => SOFTWARE_PASSPHRASE,
        }
    }

    /// What is there, in the words of whoever is asked for its secret.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Pkcs11(table) => format!("token `{}`", table.token),
            Self::YubiHsm(YubiHsmTable { connector, authentication_key, .. }) => {
                format!("authentication key {authentication_key:#06x} of the YubiHSM at `{connector}`")
            }
            Self::AwsKms(table) => format!("AWS KMS in {}", table.region),
            Self::Software { directory, .. } => format!("keys in `{}`", directory.display()),
        }
    }

    /// Reads the secrets that open the backend.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn read(&self, directory: &Path) -> Result<BackendConfig, ConfigError> {
        match self {
            Self::Pkcs11(table) => table.read(directory),
            Self::YubiHsm(table) => Ok(BackendConfig::YubiHsm(table.read(directory)?)),
            Self::AwsKms(table) => Ok(BackendConfig::AwsKms(table.read(directory)?)),
            Self::Software { directory: keys, passphrase } => {
                let passphrase = passphrase
                    .read(directory)
                    .map_err(|source| ConfigError::Secret { field: SOFTWARE_PASSPHRASE, source })?;
                Ok(BackendConfig::Software { directory: directory.join(keys), passphrase })
            }
        }
    }

    /// What is wrong with it, as far as that can be told without asking a device.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn check(&self, directory: &Path) -> Result<(), ConfigError> {
        self.read(directory).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_yubihsm_is_read_with_what_is_not_said_and_what_cannot_work_is_told() {
        let read = |text: &str| {
            let table: BackendTable = toml::from_str(&format!("[yubihsm]\n{text}")).unwrap();
            table.read(Path::new("/etc")).map_err(|error| error.to_string())
        };
        let least = "connector = 'http://127.0.0.1:12345'\nauthentication-key = 2\npassword = { env = 'PATH' }\n";
        let Ok(BackendConfig::YubiHsm(config)) = read(least) else { panic!() };
        assert_eq!((config.sessions, config.domains, config.command_log), (4, vec![1], CommandLogUse::Read));
        let consumed = read(&format!("{least}command-log = 'consume'\ncommand-log-file = 'commands'"));
        let Ok(BackendConfig::YubiHsm(config)) = consumed else { panic!() };
        assert_eq!(config.command_log, CommandLogUse::Consume { file: "/etc/commands".into() });
        let told = [
            (least.replace("http:", "https:"), "HTTP only"),
            (least.replace("http://127.0.0.1:12345", "usb:1"), "a device is at"),
            (format!("{least}sessions = 13"), "`sessions` is 13"),
            (format!("{least}domains = [17]"), "`domains`"),
            (format!("{least}accept-capabilities = ['reset']"), "`reset`"),
            (least.replace("PATH", "NO_SUCH"), "`backend.yubihsm.password`"),
            (format!("{least}command-log = 'consume'"), "`command-log-file` is missing"),
            (format!("{least}command-log-file = 'commands'"), "stands beside"),
        ];
        for (text, sentence) in told {
            let error = read(&text).unwrap_err();
            assert!(error.contains(sentence), "{error}");
        }
    }
}
