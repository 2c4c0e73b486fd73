//! `[backend.pkcs11]`: tokens behind PKCS#11 modules, as they were typed.

use std::path::{Path, PathBuf};

use hallmark_backends::{
    BackendConfig, Choice, HistoryWaiver, ModuleConfig, ModuleWaiver, NamedException, SESSIONS_MAX, TOKENS_MAX,
    TokenConfig,
};
use secrecy::SecretString;
use serde::Deserialize;

use super::ConfigError;
use crate::secret::SecretSource;

/// Sessions if the configuration does not say.
pub(super) const SESSIONS_DEFAULT: usize = 4;

/// The field of the PIN, for people.
pub(super) const PKCS11_PIN: &str = "backend.pkcs11.pin";

/// `[backend.pkcs11]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Pkcs11Table {
    /// Path of the module.
    pub module: PathBuf,
    /// What the module is given when it is initialised, where it reads its configuration there.
    pub module_arguments: Option<String>,
    /// What this module says otherwise of the history of keys that were made in it, and what it does not know of keys at all.
    #[serde(default)]
    pub waive: Vec<ModuleWaiver>,
    /// Label of the token.
    pub token: String,
    /// Serial of the token, where labels are not unique.
    pub serial: Option<String>,
    /// The user PIN.
    pub pin: SecretSource,
    /// Signing sessions; 4 if not set.
    pub sessions: Option<usize>,
    /// Which of several tokens signs; `least-loaded` if not set.
    pub choice: Option<ChoiceWord>,
    /// `[[backend.pkcs11.replica]]`: further tokens, which hold copies of the same keys.
    #[serde(default)]
    pub replica: Vec<ReplicaTable>,
    /// `[[backend.pkcs11.exception]]`: keys that may be kept less strictly than CA keys are, each named.
    #[serde(default)]
    pub exception: Vec<NamedException>,
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

impl Pkcs11Table {
    /// Reads the PINs of all tokens.
    pub(super) fn read(&self, directory: &Path) -> Result<BackendConfig, ConfigError> {
        let exceptions = self.exception.iter().copied().collect();
        let first = TokenConfig {
            module: ModuleConfig {
                path: directory.join(&self.module),
                arguments: read_arguments(self.module_arguments.as_deref())?,
                waived: self.waive.clone(),
            },
            label: self.token.clone(),
            serial: self.serial.clone(),
            pin: read_pin(&self.pin, PKCS11_PIN, directory)?,
            sessions: read_sessions(self.sessions.unwrap_or(SESSIONS_DEFAULT), "backend.pkcs11.sessions")?,
            waived: Vec::new(),
            exceptions,
        };
        if self.replica.is_empty() {
            return if self.choice.is_some() {
                Err(ConfigError::ChoiceOfOne)
            } else {
                Ok(BackendConfig::Pkcs11(first))
            };
        }
        let mut tokens = vec![first];
        for replica in &self.replica {
            let token = replica.read(&tokens, directory)?;
            tokens.push(token);
        }
        let choice = match self.choice {
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

/// Reads a secret.
pub(super) fn read_pin(pin: &SecretSource, field: &'static str, directory: &Path) -> Result<SecretString, ConfigError> {
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
    use crate::config::BackendTable;

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
        let first = "module-arguments = \"configdir='sql:/nss'\"\nwaive = ['CKA_LOCAL', 'CKA_DESTROYABLE']\n";
        let others = format!(
            "replica = [{{ token = 'b', {pin} }}, {{ token = 'c', {pin}, module = '/other.so', module-arguments = 'x' }}]"
        );
        let Ok(BackendConfig::Replicated { tokens, .. }) = read(&format!("{first}{others}")) else { panic!() };
        let [first, same, other] = tokens.as_slice() else { panic!() };
        assert_eq!(first.module.arguments.as_deref(), Some("configdir='sql:/nss'"));
        assert_eq!(first.module.waived, [ModuleWaiver::Local, ModuleWaiver::Destroyable]);
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
            "replica = [{ token = 'b', pin = { env = 'PATH' }, waive = ['CKA_COPYABLE'] }]",
            "waive = 'CKA_LOCAL'",
            "waives = []",
            "module-argument = 'x'",
        ] {
            let text = format!("[pkcs11]\n{FIRST}{misspelt}");
            assert!(toml::from_str::<BackendTable>(&text).is_err(), "{misspelt}");
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

    #[test]
    fn a_token_may_differ_in_keys_history_and_a_module_in_what_it_does_not_know_as_well() {
        #[derive(Debug, Deserialize)]
        struct Table<T> {
            waive: Vec<T>,
        }
        let words: Vec<_> = ModuleWaiver::ALL.map(|word| hallmark_backends::Waiver::from(word).attribute()).into();
        let all = format!("waive = {words:?}");
        assert_eq!(toml::from_str::<Table<ModuleWaiver>>(&all).unwrap().waive, ModuleWaiver::ALL);
        let history =
            format!("waive = {:?}", hallmark_backends::Waiver::HISTORY.map(hallmark_backends::Waiver::attribute));
        assert_eq!(toml::from_str::<Table<HistoryWaiver>>(&history).unwrap().waive, HistoryWaiver::ALL);
        for waiver in hallmark_backends::Waiver::UNKNOWN {
            let word = waiver.attribute();
            let error = toml::from_str::<Table<HistoryWaiver>>(&format!("waive = [{word:?}]")).unwrap_err().to_string();
            assert!(
                error.contains(&format!("{word} is no part of a key's history; write one of CKA_LOCAL")),
                "{error}"
            );
        }
    }
}
