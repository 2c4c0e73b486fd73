//! Which backend, as somebody configured it.

use std::path::PathBuf;

use secrecy::SecretString;

/// Most signing sessions that are opened; each has a thread. A YubiHSM 2 has 16 sessions, large devices thousands.
pub const SESSIONS_MAX: usize = 64;

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
    },
    /// Encrypted PKCS#8 files: for laboratories. Needs [`SoftwareKeys::Admitted`] beside it.
    Software {
        /// The directory of the files; it is made, with mode 0700, if it does not exist.
        directory: PathBuf,
        /// What the files are encrypted with.
        passphrase: SecretString,
    },
}

/// Whether the caller lets keys live in files. A configuration file alone cannot choose that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoftwareKeys {
    /// Keys live in devices only.
    Refused,
    /// A laboratory: somebody said so where the process was started.
    Admitted,
}
