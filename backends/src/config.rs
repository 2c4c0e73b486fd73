//! Which backend, as somebody configured it.

use std::path::PathBuf;

use secrecy::SecretString;

use crate::Exceptions;

/// Most signing sessions that are opened; each has a thread. A YubiHSM 2 has 16 sessions, large devices thousands.
pub const SESSIONS_MAX: usize = 64;

/// Most tokens that hold the same keys.
pub const TOKENS_MAX: usize = 8;

/// Where keys live.
#[derive(Clone, Debug)]
pub enum BackendConfig {
    /// A token behind a PKCS#11 module.
    Pkcs11 {
        /// Path of the module (a shared library), which is loaded into this process.
        module: PathBuf,
        /// The token's label, without the padding.
        token_label: String,
        /// The token's serial, for when labels are not unique.
        token_serial: Option<String>,
        /// The user PIN.
        pin: SecretString,
        /// Signing sessions, 1 to [`SESSIONS_MAX`]; two more are opened for everything else.
        sessions: usize,
        /// Keys that are kept less strictly, each named.
        exceptions: Exceptions,
    },
    /// Several tokens that hold copies of the same keys.
    Replicated {
        /// The tokens, 2 to [`TOKENS_MAX`], in the order in which keys are made on them.
        tokens: Vec<TokenConfig>,
        /// Which of those that serve signs.
        choice: Choice,
    },
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
            Self::Pkcs11 { exceptions, .. } => exceptions.clone(),
            Self::Replicated { tokens, .. } => tokens.first().map(|token| token.exceptions.clone()).unwrap_or_default(),
            Self::Software { .. } => Exceptions::default(),
        }
    }
}

/// One token, and the way into it.
#[derive(Clone, Debug)]
pub struct TokenConfig {
    /// Path of the module (a shared library), which is loaded into this process.
    pub module: PathBuf,
    /// The token's label, without the padding.
    pub label: String,
    /// The token's serial, for when labels are not unique.
    pub serial: Option<String>,
    /// The user PIN.
    pub pin: SecretString,
    /// Signing sessions, 1 to [`SESSIONS_MAX`]; two more are opened for everything else.
    pub sessions: usize,
    /// What need not hold of a key's history in this token.
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

/// What a copy may lack that the key has where it was made: some devices write another history into what was copied into them. How a key is guarded
/// now is waived for keys alone that are named one by one ([`Exceptions`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Waiver {
    /// CKA_LOCAL: it was generated in this token.
    Local,
    /// CKA_ALWAYS_SENSITIVE: it was sensitive since it came to be in this token.
    AlwaysSensitive,
    /// CKA_NEVER_EXTRACTABLE: the same of CKA_EXTRACTABLE.
    NeverExtractable,
    /// CKA_EXTRACTABLE: it can be wrapped and leave the token. For [`Exception::Wrappable`] alone.
    Extractable,
}

impl Waiver {
    /// Those that are about a key's history.
    pub const HISTORY: [Self; 3] = [Self::Local, Self::AlwaysSensitive, Self::NeverExtractable];

    /// The attribute, as the specification names it.
    #[must_use]
    pub fn attribute(self) -> &'static str {
        match self {
            Self::Local => "CKA_LOCAL",
            Self::AlwaysSensitive => "CKA_ALWAYS_SENSITIVE",
            Self::NeverExtractable => "CKA_NEVER_EXTRACTABLE",
            Self::Extractable => "CKA_EXTRACTABLE",
        }
    }
}

/// Whether the caller lets keys live in files. A configuration file alone cannot choose that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoftwareKeys {
    /// Keys live in devices only.
    Refused,
    /// A laboratory: somebody said so where the process was started.
    Admitted,
}
