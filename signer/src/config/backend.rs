//! `[backend.*]`: where CA keys live, as it was typed.

use std::path::{Path, PathBuf};

use hallmark_backends::{
    BackendConfig, Choice, CommandLogUse, HistoryWaiver, ModuleConfig, NamedException, SESSIONS_MAX, TOKENS_MAX,
    TokenConfig, YubiHsmConfig, YubiHsmPlace,
};
use secrecy::SecretString;
use serde::Deserialize;

use super::ConfigError;
use crate::secret::SecretSource;

/// Sessions if the configuration does not say.
const SESSIONS_DEFAULT: usize = 4;

/// Where keys of a YubiHSM are if the configuration does not say.
const DOMAIN_DEFAULT: u8 = 1;

/// Fields of secrets, for people.
const PKCS11_PIN: &str = "backend.pkcs11.pin";
const YUBIHSM_PASSWORD: &str = "backend.yubihsm.password";
const SOFTWARE_PASSPHRASE: &str = "backend.software.passphrase";

/// `[backend.*]`: exactly one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum BackendTable {
    /// A token behind a PKCS#11 module.
    Pkcs11 {
        /// Path of the module.
        module: PathBuf,
        /// What the module is given when it is initialised, where it reads its configuration there.
        module_arguments: Option<String>,
        /// What this module says otherwise of the history of keys that were made in it.
        #[serde(default)]
        waive: Vec<HistoryWaiver>,
        /// Label of the token.
        token: String,
        /// Serial of the token, where labels are not unique.
        serial: Option<String>,
        /// The user PIN.
        pin: SecretSource,
        /// Signing sessions; 4 if not set.
        sessions: Option<usize>,
        /// Which of several tokens signs; `least-loaded` if not set.
        choice: Option<ChoiceWord>,
        /// `[[backend.pkcs11.replica]]`: further tokens, which hold copies of the same keys.
        #[serde(default)]
        replica: Vec<ReplicaTable>,
        /// `[[backend.pkcs11.exception]]`: keys that may be kept less strictly than CA keys are, each named.
        #[serde(default)]
        exception: Vec<NamedException>,
    },
    /// A YubiHSM 2.
    #[serde(rename = "yubihsm")]
    YubiHsm(YubiHsmTable),
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
}

/// `command-log`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommandLogWord {
    /// It is read, and compared with what this signer asked for.
    Read,
    /// The same, and its room is freed.
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
            command_log: match self.command_log() {
                CommandLogWord::Read => CommandLogUse::Read,
                CommandLogWord::Consume => CommandLogUse::Consume,
                CommandLogWord::Off => CommandLogUse::Off,
            },
        };
        config.check().map_err(|source| ConfigError::YubiHsm { source: Box::new(source) })?;
        Ok(config)
    }
}

/// `[[backend.pkcs11.replica]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ReplicaTable {
    /// Path of the module; that of the first token, with its arguments and waivers, if not set.
    pub module: Option<PathBuf>,
    /// What a module of its own is given when it is initialised.
    pub module_arguments: Option<String>,
    /// Label of the token.
    pub token: String,
    /// Serial of the token, where labels are not unique.
    pub serial: Option<String>,
    /// The user PIN.
    pub pin: SecretSource,
    /// Signing sessions; as many as those of the first token if not set.
    pub sessions: Option<usize>,
    /// What a copy's history may lack here.
    #[serde(default)]
    pub waive: Vec<HistoryWaiver>,
}

/// `choice`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChoiceWord {
    /// Whichever has a session free.
    LeastLoaded,
    /// The first that serves.
    Ordered,
}

impl BackendTable {
    /// Where the PIN of the first token or the passphrase is.
    #[must_use]
    pub fn secret(&self) -> &SecretSource {
        match self {
            Self::Pkcs11 { pin: secret, .. } | Self::Software { passphrase: secret, .. } => secret,
            Self::YubiHsm(table) => &table.password,
        }
    }

    pub(super) fn secret_mut(&mut self) -> &mut SecretSource {
        match self {
            Self::Pkcs11 { pin: secret, .. } | Self::Software { passphrase: secret, .. } => secret,
            Self::YubiHsm(table) => &mut table.password,
        }
    }

    /// What people call this secret.
    #[must_use]
    pub fn secret_name(&self) -> &'static str {
        match self {
            Self::Pkcs11 { .. } => "PIN",
            Self::YubiHsm(_) => "password",
            Self::Software { .. } => "passphrase",
        }
    }

    /// The field that says where this secret is.
    #[must_use]
    pub fn secret_field(&self) -> &'static str {
        match self {
            Self::Pkcs11 { .. } => PKCS11_PIN,
            Self::YubiHsm(_) => YUBIHSM_PASSWORD,
            Self::Software { .. } => SOFTWARE_PASSPHRASE,
        }
    }

    /// What is there, in the words of whoever is asked for its secret.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Pkcs11 { token, .. } => format!("token `{token}`"),
            Self::YubiHsm(YubiHsmTable { connector, authentication_key, .. }) => {
                format!("authentication key {authentication_key:#06x} of the YubiHSM at `{connector}`")
            }
            Self::Software { directory, .. } => format!("keys in `{}`", directory.display()),
        }
    }

    /// Reads the secrets that open the backend.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn read(&self, directory: &Path) -> Result<BackendConfig, ConfigError> {
        match self {
            Self::Pkcs11 {
                module,
                module_arguments,
                waive,
                token,
                serial,
                pin,
                sessions,
                choice,
                replica,
                exception,
            } => {
                let exceptions = exception.iter().copied().collect();
                let first = TokenConfig {
                    module: ModuleConfig {
                        path: directory.join(module),
                        arguments: read_arguments(module_arguments.as_deref())?,
                        waived: waive.clone(),
                    },
                    label: token.clone(),
                    serial: serial.clone(),
                    pin: read_pin(pin, PKCS11_PIN, directory)?,
                    sessions: read_sessions(sessions.unwrap_or(SESSIONS_DEFAULT), "backend.pkcs11.sessions")?,
                    waived: Vec::new(),
                    exceptions,
                };
                if replica.is_empty() {
                    return if choice.is_some() {
                        Err(ConfigError::ChoiceOfOne)
                    } else {
                        Ok(BackendConfig::Pkcs11(first))
                    };
                }
                let mut tokens = vec![first];
                for table in replica {
                    let token = table.read(&tokens, directory)?;
                    tokens.push(token);
                }
                let choice = match choice {
                    None | Some(ChoiceWord::LeastLoaded) => Choice::LeastLoaded,
                    Some(ChoiceWord::Ordered) => Choice::Ordered,
                };
                let fits = tokens.len() <= TOKENS_MAX;
                if fits {
                    Ok(BackendConfig::Replicated { tokens, choice })
                } else {
                    Err(ConfigError::Tokens { tokens: tokens.len() })
                }
            }
            Self::YubiHsm(table) => Ok(BackendConfig::YubiHsm(table.read(directory)?)),
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

impl ReplicaTable {
    /// The module's path: its own, or that of the first token.
    #[must_use]
    pub fn module<'a>(&'a self, first: &'a Path) -> &'a Path {
        self.module.as_deref().unwrap_or(first)
    }

    /// Beside those before it.
    fn read(&self, before: &[TokenConfig], directory: &Path) -> Result<TokenConfig, ConfigError> {
        let first = before.first();
        let arguments = read_arguments(self.module_arguments.as_deref())?;
        let module = match (&self.module, first) {
            (Some(path), _) => ModuleConfig { path: directory.join(path), arguments, waived: Vec::new() },
            (None, Some(first)) if arguments.is_none() => first.module.clone(),
            (None, _) => return Err(ConfigError::ArgumentsOfNone { token: self.token.clone() }),
        };
        let named = (&module.path, &self.token, &self.serial);
        if before.iter().any(|token| (&token.module.path, &token.label, &token.serial) == named) {
            return Err(ConfigError::SameToken { token: self.token.clone() });
        }
        if before.iter().any(|token| token.module.path == module.path && token.module.arguments != module.arguments) {
            return Err(ConfigError::OtherArguments { token: self.token.clone() });
        }
        if matches!(self.pin, SecretSource::Typed) {
            return Err(ConfigError::TypedReplica { token: self.token.clone() });
        }
        let sessions = self.sessions.or_else(|| first.map(|first| first.sessions)).unwrap_or(SESSIONS_DEFAULT);
        Ok(TokenConfig {
            label: self.token.clone(),
            serial: self.serial.clone(),
            pin: read_pin(&self.pin, "backend.pkcs11.replica.pin", directory)?,
            sessions: read_sessions(sessions, "backend.pkcs11.replica.sessions")?,
            waived: self.waive.iter().map(|word| (*word).into()).collect(),
            exceptions: first.map(|first| first.exceptions.clone()).unwrap_or_default(),
            module,
        })
    }
}

/// Text without a zero byte, which would end it, and not empty.
fn read_arguments(arguments: Option<&str>) -> Result<Option<String>, ConfigError> {
    match arguments {
        Some(text) if text.is_empty() || text.contains('\0') => Err(ConfigError::Arguments),
        text => Ok(text.map(str::to_owned)),
    }
}

fn read_pin(pin: &SecretSource, field: &'static str, directory: &Path) -> Result<SecretString, ConfigError> {
    pin.read(directory).map_err(|source| ConfigError::Secret { field, source })
}

fn read_sessions(sessions: usize, field: &'static str) -> Result<usize, ConfigError> {
    let fits = (1..=SESSIONS_MAX).contains(&sessions);
    if fits { Ok(sessions) } else { Err(ConfigError::Sessions { field, sessions }) }
}

#[cfg(test)]
mod tests {
    use hallmark_backends::Waiver;

    use super::*;

    const FIRST: &str = "module = '/m.so'\ntoken = 'a'\npin = { env = 'PATH' }\nsessions = 3\n";

    fn read(more: &str) -> Result<BackendConfig, String> {
        let table: BackendTable = toml::from_str(&format!("[pkcs11]\n{FIRST}{more}")).unwrap();
        table.read(Path::new("/etc")).map_err(|error| error.to_string())
    }

    #[test]
    fn one_token_is_no_choice_and_several_are_the_least_loaded_first() {
        assert!(matches!(read(""), Ok(BackendConfig::Pkcs11(TokenConfig { sessions: 3, .. }))));
        assert!(read("choice = 'ordered'").unwrap_err().contains("is for several tokens"));
        let replica = "replica = [{ token = 'b', pin = { env = 'PATH' }, waive = ['CKA_LOCAL'] }]";
        let Ok(BackendConfig::Replicated { tokens, choice }) = read(replica) else { panic!() };
        assert_eq!(choice, Choice::LeastLoaded);
        let [_, second] = tokens.as_slice() else { panic!() };
        assert_eq!((second.module.path.as_path(), second.sessions), (Path::new("/m.so"), 3));
        assert_eq!(second.waived, [Waiver::Local]);
        let ordered = read(&format!("choice = 'ordered'\n{replica}"));
        assert!(matches!(ordered, Ok(BackendConfig::Replicated { choice: Choice::Ordered, .. })));
    }

    #[test]
    fn what_a_module_needs_is_that_of_its_tokens_and_a_replica_of_another_module_has_its_own() {
        let pin = "pin = { env = 'PATH' }";
        let first = "module-arguments = \"configdir='sql:/nss'\"\nwaive = ['CKA_LOCAL', 'CKA_NEVER_EXTRACTABLE']\n";
        let others = format!(
            "replica = [{{ token = 'b', {pin} }}, {{ token = 'c', {pin}, module = '/other.so', module-arguments = 'x' }}]"
        );
        let Ok(BackendConfig::Replicated { tokens, .. }) = read(&format!("{first}{others}")) else { panic!() };
        let [first, same, other] = tokens.as_slice() else { panic!() };
        assert_eq!(first.module.arguments.as_deref(), Some("configdir='sql:/nss'"));
        assert_eq!(first.module.waived, [HistoryWaiver::Local, HistoryWaiver::NeverExtractable]);
        assert_eq!((&first.module, first.waived.len()), (&same.module, 0));
        assert_eq!((other.module.arguments.as_deref(), other.module.waived.len()), (Some("x"), 0));

        let told = [
            ("module-arguments = ''".to_owned(), "`module-arguments` is empty"),
            ("module-arguments = \"a\\u0000b\"".to_owned(), "`module-arguments` is empty or has a zero byte"),
            (format!("replica = [{{ token = 'b', {pin}, module-arguments = 'x' }}]"), "and no `module`"),
            (
                format!(
                    "module-arguments = 'y'\nreplica = [{{ token = 'b', {pin}, module = '/m.so', module-arguments = 'x' }}]"
                ),
                "with other `module-arguments`",
            ),
            (
                format!("waive = ['CKA_LOCAL']\nreplica = [{{ token = 'a', {pin}, module = '/m.so' }}]"),
                "names the token `a` once more",
            ),
        ];
        for (more, sentence) in told {
            let error = read(&more).unwrap_err();
            assert!(error.contains(sentence), "{error}");
        }
        for misspelt in [
            "waive = ['CKA_SENSITIVE']",
            "waive = ['CKA_EXTRACTABLE']",
            "waive = ['LOCAL']",
            "waive = 'CKA_LOCAL'",
            "waives = []",
            "module-argument = 'x'",
        ] {
            let text = format!("[pkcs11]\n{FIRST}{misspelt}");
            assert!(toml::from_str::<BackendTable>(&text).is_err(), "{misspelt}");
        }
    }

    #[test]
    fn a_yubihsm_is_read_with_what_is_not_said_and_what_cannot_work_is_told() {
        let read = |text: &str| {
            let table: BackendTable = toml::from_str(&format!("[yubihsm]\n{text}")).unwrap();
            table.read(Path::new("/etc")).map_err(|error| error.to_string())
        };
        let least = "connector = 'http://127.0.0.1:12345'\nauthentication-key = 2\npassword = { env = 'PATH' }\n";
        let Ok(BackendConfig::YubiHsm(config)) = read(least) else { panic!() };
        assert_eq!((config.sessions, config.domains, config.command_log), (4, vec![1], CommandLogUse::Read));
        let told = [
            (least.replace("http:", "https:"), "HTTP only"),
            (least.replace("http://127.0.0.1:12345", "usb:1"), "a device is at"),
            (format!("{least}sessions = 13"), "`sessions` is 13"),
            (format!("{least}domains = [17]"), "`domains`"),
            (format!("{least}accept-capabilities = ['reset']"), "`reset`"),
            (least.replace("PATH", "NO_SUCH"), "`backend.yubihsm.password`"),
        ];
        for (text, sentence) in told {
            let error = read(&text).unwrap_err();
            assert!(error.contains(sentence), "{error}");
        }
    }

    #[test]
    fn what_cannot_work_with_several_tokens_is_told() {
        let pin = "pin = { env = 'PATH' }";
        let told = [
            (format!("replica = [{{ token = 'a', {pin} }}]"), "names the token `a` once more"),
            (format!("replica = [{{ token = 'b', {pin}, sessions = 0 }}]"), "`backend.pkcs11.replica.sessions` is 0"),
            ("replica = [{ token = 'b', pin = { typed = true } }]".to_owned(), "only that of the first token can be"),
            ("replica = [{ token = 'b', pin = { env = 'NO_SUCH' } }]".to_owned(), "`backend.pkcs11.replica.pin`"),
            (
                format!(
                    "replica = [{}]",
                    "{ token = 'b', serial = '@', pin = { env = 'PATH' } }, "
                        .repeat(9)
                        .split_inclusive('@')
                        .enumerate()
                        .map(|(n, part)| part.replace('@', &n.to_string()))
                        .collect::<String>()
                ),
                "has 10 tokens",
            ),
        ];
        for (more, sentence) in told {
            let error = read(&more).unwrap_err();
            assert!(error.contains(sentence), "{error}");
        }
        for unknown in ["waive = ['CKA_SENSITIVE']", "waive = ['CKA_EXTRACTABLE']", "sesions = 2"] {
            let text = format!("[pkcs11]\n{FIRST}replica = [{{ token = 'b', {pin}, {unknown} }}]");
            assert!(toml::from_str::<BackendTable>(&text).is_err(), "{unknown}");
        }
    }
}
