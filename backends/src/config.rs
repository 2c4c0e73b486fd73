//! Which backend, as somebody configured it.

use std::path::PathBuf;

use hallmark_aws_kms::{Account, CredentialsPlace, Place as AwsKmsPlace};
use hallmark_policy::key::KeyKind;
use hallmark_yubihsm::Place;
use secrecy::SecretString;

use crate::{DeviceLogFindings, Exceptions, ModuleWaiver, Waiver};

/// Most signing sessions that are opened; each has a thread. A YubiHSM 2 has 16 sessions, large devices thousands.
pub const SESSIONS_MAX: usize = 64;

/// Most tokens that hold the same keys.
pub const TOKENS_MAX: usize = 8;

/// Where keys live.
#[derive(Clone, Debug)]
pub enum BackendConfig {
    /// A token behind a PKCS#11 module.
    Pkcs11(TokenConfig),
    /// Several tokens that hold copies of the same keys.
    Replicated {
        /// The tokens, 2 to [`TOKENS_MAX`], in the order in which keys are made on them.
        tokens: Vec<TokenConfig>,
        /// Which of those that serve signs.
        choice: Choice,
    },
    /// A YubiHSM 2.
    YubiHsm(YubiHsmConfig),
    /// Keys in AWS KMS.
    AwsKms(AwsKmsConfig),
    /// Encrypted PKCS#8 files: for laboratories. Needs [`SoftwareKeys::Admitted`] beside it.
    Software {
        /// The directory of the files; it is made, with mode 0700, if it does not exist.
        directory: PathBuf,
        /// What the files are encrypted with.
        passphrase: SecretString,
    },
}

impl BackendConfig {
    /// Keys that are kept less strictly than CA keys are; those of several tokens are named at each.
    #[must_use]
    pub fn exceptions(&self) -> Exceptions {
        match self {
            Self::Pkcs11(token) => token.exceptions.clone(),
            Self::Replicated { tokens, .. } => tokens.first().map(|token| token.exceptions.clone()).unwrap_or_default(),
            Self::YubiHsm(_) | Self::AwsKms(_) | Self::Software { .. } => Exceptions::default(),
        }
    }
}

impl BackendConfig {
    /// The same, where keys of these kinds are wanted and no others.
    #[must_use]
    pub fn of_kinds(self, kinds: Vec<KeyKind>) -> Self {
        match self {
            Self::YubiHsm(config) => Self::YubiHsm(YubiHsmConfig { kinds: Some(kinds), ..config }),
            other @ (Self::Pkcs11(_) | Self::Replicated { .. } | Self::AwsKms(_) | Self::Software { .. }) => other,
        }
    }

    /// Where what is found in a device's own command log is counted, if it has one that is read.
    #[must_use]
    pub fn device_log_findings(&self) -> Option<DeviceLogFindings> {
        match self {
            Self::YubiHsm(config) => Some(config.findings.clone()),
            Self::Pkcs11(_) | Self::Replicated { .. } | Self::AwsKms(_) | Self::Software { .. } => None,
        }
    }

    /// Modules of which less is believed or asked, by their paths, each with what that is.
    #[must_use]
    pub fn module_waivers(&self) -> Vec<(String, Vec<Waiver>)> {
        let tokens = match self {
            Self::Pkcs11(token) => std::slice::from_ref(token),
            Self::Replicated { tokens, .. } => tokens.as_slice(),
            Self::YubiHsm(_) | Self::AwsKms(_) | Self::Software { .. } => &[],
        };
        let of = |module: &ModuleConfig| {
            let waived: Vec<_> = module.waived.iter().copied().map(Waiver::from).collect();
            (module.path.display().to_string(), waived)
        };
        let mut waivers: Vec<_> =
            tokens.iter().map(|token| of(&token.module)).filter(|(_, it)| !it.is_empty()).collect();
        waivers.dedup();
        waivers
    }
}

/// A module, and what it needs. A process loads it once, so that all of its tokens are reached with the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleConfig {
    /// Path of the module (a shared library), which is loaded into this process.
    pub path: PathBuf,
    /// What C_Initialize is given through its reserved pointer, for modules that read their configuration there, as NSS does.
    pub arguments: Option<String>,
    /// What this module says otherwise of the history of keys that were made in it, and what it does not know of keys at all.
    pub waived: Vec<ModuleWaiver>,
}

impl<T: Into<PathBuf>> From<T> for ModuleConfig {
    /// A module that needs nothing more than to be loaded.
    fn from(path: T) -> Self {
        Self { path: path.into(), arguments: None, waived: Vec::new() }
    }
}

/// A YubiHSM 2, and the way into it.
#[derive(Clone, Debug)]
pub struct YubiHsmConfig {
    /// Where it is.
    pub connector: Place,
    /// The number of the authentication key.
    pub authentication_key: u16,
    /// Its password.
    pub password: SecretString,
    /// Signing sessions, 1 to [`YUBIHSM_SESSIONS_MAX`](crate::YUBIHSM_SESSIONS_MAX); [`SESSIONS_BESIDE`](crate::SESSIONS_BESIDE) more are opened for
    /// everything else.
    pub sessions: usize,
    /// The domains that keys are in, 1 to 16.
    pub domains: Vec<u8>,
    /// Capabilities that the authentication key may have although they are not needed, by their names in the manual.
    pub accepted: Vec<String>,
    /// What is done with the device's own command log.
    pub command_log: CommandLogUse,
    /// The kinds of keys that are wanted of it, where somebody knows them: the authentication key has to be able to do what these need, and what else
    /// it can do is told.
    pub kinds: Option<Vec<KeyKind>>,
    /// Where what is found in its command log is counted, and waits to be logged.
    pub findings: DeviceLogFindings,
}

/// AWS KMS, and the way into it.
#[derive(Clone, Debug)]
pub struct AwsKmsConfig {
    /// Region and endpoint.
    pub place: AwsKmsPlace,
    /// The account that the keys are in; those of any other are refused.
    pub account: Account,
    /// Where the credentials are.
    pub credentials: CredentialsPlace,
    /// Which of those that are there.
    pub profile: String,
    /// Calls that sign at the same time, 1 to [`SESSIONS_MAX`]; two more are made for everything else.
    pub sessions: usize,
    /// Days that a destroyed key waits for its deletion, 7 to 30. It signs nothing meanwhile.
    pub deletion_days: u8,
}

/// What is done with a device's own command log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CommandLogUse {
    /// It is read, and held against what this signer asked for.
    #[default]
    Read,
    /// The same, and the device is told what was read, so that it has room for more: where it logs everything or does nothing (force-audit).
    Consume {
        /// What it is kept in before the device is told that it was read.
        file: PathBuf,
    },
    /// It is left to others.
    Off,
}

/// One token, and the way into it.
#[derive(Clone, Debug)]
pub struct TokenConfig {
    /// The module that it is reached through.
    pub module: ModuleConfig,
    /// The token's label, without the padding.
    pub label: String,
    /// The token's serial, for when labels are not unique.
    pub serial: Option<String>,
    /// The user PIN.
    pub pin: SecretString,
    /// Signing sessions, 1 to [`SESSIONS_MAX`]; two more are opened for everything else.
    pub sessions: usize,
    /// What need not hold of the history of a key that was copied into this token, where others hold it, too.
    pub waived: Vec<Waiver>,
    /// Keys that are kept less strictly, each named.
    pub exceptions: Exceptions,
}

/// Which of several tokens signs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// Whichever has a session free: the load is shared by what each can do, and a token that fails is found out by the work that it is given, and
    /// not on the day when the others are gone.
    #[default]
    LeastLoaded,
    /// The first that serves, in the order of the configuration; the others when it does not.
    Ordered,
}

/// Whether the caller lets keys live in files. A configuration file alone cannot choose that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoftwareKeys {
    /// Keys live in devices only.
    Refused,
    /// A laboratory: somebody said so where the process was started.
    Admitted,
}
