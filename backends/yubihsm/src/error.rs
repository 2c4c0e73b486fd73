//! What can go wrong on the way to a device and in it, told apart.

use std::fmt;

use yubihsm::{client, connector, device, session};

/// Why a command was not done, or its answer did not come.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The device does not let this password in. Nobody knows whether it is the password or the key that is wrong.
    #[error("the password of authentication key {key:#06x} is wrong, or the device has no such key")]
    PasswordRefused {
        /// The authentication key.
        key: u16,
    },
    /// The connector is not there, or the device behind it.
    #[error("{command} reached no device at `{place}` ({detail})")]
    Gone {
        /// The command.
        command: &'static str,
        /// Where it was looked for.
        place: String,
        /// What the system or the connector said.
        detail: String,
    },
    /// The session is over: it was idle too long, the device was restarted, or its answer was not what a session gives.
    #[error("{command} was not answered in its session ({detail})")]
    SessionLost {
        /// The command.
        command: &'static str,
        /// What the library said.
        detail: String,
    },
    /// The device answered, and did not do it.
    #[error("{command} answered {code}")]
    Device {
        /// The command.
        command: &'static str,
        /// Its answer.
        code: DeviceCode,
    },
    /// The client library does not do this, or not rightly.
    #[error("{what} cannot be done with this client library")]
    Unsupported {
        /// What.
        what: &'static str,
    },
    /// The client library ended by a fault: what it was answered is nothing that it knows.
    #[error("{command} was answered with something that ended the client library")]
    Panicked {
        /// The command.
        command: &'static str,
    },
}

/// What a device answers when it does not do something (yubihsm.h: `yh_rc`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceCode {
    /// YHR_DEVICE_INVALID_COMMAND.
    InvalidCommand,
    /// YHR_DEVICE_INVALID_DATA.
    InvalidData,
    /// YHR_DEVICE_INVALID_SESSION.
    InvalidSession,
    /// YHR_DEVICE_AUTHENTICATION_FAILED.
    AuthenticationFailed,
    /// YHR_DEVICE_SESSIONS_FULL.
    SessionsFull,
    /// YHR_DEVICE_SESSION_FAILED.
    SessionFailed,
    /// YHR_DEVICE_STORAGE_FAILED: no room, too.
    StorageFailed,
    /// YHR_DEVICE_WRONG_LENGTH.
    WrongLength,
    /// YHR_DEVICE_INSUFFICIENT_PERMISSIONS.
    InsufficientPermissions,
    /// YHR_DEVICE_LOG_FULL: it does nothing that is logged until its command log is read.
    LogFull,
    /// YHR_DEVICE_OBJECT_NOT_FOUND.
    ObjectNotFound,
    /// YHR_DEVICE_INVALID_ID.
    InvalidId,
    /// YHR_DEVICE_COMMAND_UNEXECUTED.
    CommandUnexecuted,
    /// YHR_DEVICE_OBJECT_EXISTS.
    ObjectExists,
    /// Another one, by its number where the library has it.
    Other(u8),
}

impl fmt::Display for DeviceCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidCommand => "YHR_DEVICE_INVALID_COMMAND",
            Self::InvalidData => "YHR_DEVICE_INVALID_DATA",
            Self::InvalidSession => "YHR_DEVICE_INVALID_SESSION",
            Self::AuthenticationFailed => "YHR_DEVICE_AUTHENTICATION_FAILED",
            Self::SessionsFull => "YHR_DEVICE_SESSIONS_FULL",
            Self::SessionFailed => "YHR_DEVICE_SESSION_FAILED",
            Self::StorageFailed => "YHR_DEVICE_STORAGE_FAILED",
            Self::WrongLength => "YHR_DEVICE_WRONG_LENGTH",
            Self::InsufficientPermissions => "YHR_DEVICE_INSUFFICIENT_PERMISSIONS",
            Self::LogFull => "YHR_DEVICE_LOG_FULL",
            Self::ObjectNotFound => "YHR_DEVICE_OBJECT_NOT_FOUND",
            Self::InvalidId => "YHR_DEVICE_INVALID_ID",
            Self::CommandUnexecuted => "YHR_DEVICE_COMMAND_UNEXECUTED",
            Self::ObjectExists => "YHR_DEVICE_OBJECT_EXISTS",
            Self::Other(number) => return write!(f, "device error {number:#04x}"),
        })
    }
}

impl Error {
    /// Sorts an error of the library that came of this command at this place.
    pub(crate) fn of(command: &'static str, place: &str, error: &client::Error) -> Self {
        if let Some(kind) = error.device_error() {
            return Self::Device { command, code: code(kind) };
        }
        if let Some(connector) = of_connector(error) {
            let detail = connector.to_string();
            return Self::Gone { command, place: place.to_owned(), detail };
        }
        Self::SessionLost { command, detail: error.to_string() }
    }
}

/// The connector's error in which it ended, if it did.
fn of_connector(error: &client::Error) -> Option<&connector::Error> {
    use std::error::Error as _;
    let own = error.source()?;
    own.downcast_ref().or_else(|| own.downcast_ref::<session::Error>()?.source()?.downcast_ref())
}

fn code(kind: device::ErrorKind) -> DeviceCode {
    match kind {
        device::ErrorKind::InvalidCommand => DeviceCode::InvalidCommand,
        device::ErrorKind::InvalidData => DeviceCode::InvalidData,
        device::ErrorKind::InvalidSession => DeviceCode::InvalidSession,
        device::ErrorKind::AuthenticationFailed => DeviceCode::AuthenticationFailed,
        device::ErrorKind::SessionsFull => DeviceCode::SessionsFull,
        device::ErrorKind::SessionFailed => DeviceCode::SessionFailed,
        device::ErrorKind::StorageFailed => DeviceCode::StorageFailed,
        device::ErrorKind::WrongLength => DeviceCode::WrongLength,
        device::ErrorKind::InsufficientPermissions => DeviceCode::InsufficientPermissions,
        device::ErrorKind::LogFull => DeviceCode::LogFull,
        device::ErrorKind::ObjectNotFound => DeviceCode::ObjectNotFound,
        device::ErrorKind::InvalidId => DeviceCode::InvalidId,
        device::ErrorKind::CommandUnexecuted => DeviceCode::CommandUnexecuted,
        device::ErrorKind::ObjectExists => DeviceCode::ObjectExists,
        device::ErrorKind::InvalidOtp => DeviceCode::Other(0x0d),
        device::ErrorKind::DemoMode => DeviceCode::Other(0x0e),
        device::ErrorKind::GenericError => DeviceCode::Other(0x10),
        device::ErrorKind::SshCaConstraintViolation => DeviceCode::Other(0x12),
        device::ErrorKind::Unknown { code } => DeviceCode::Other(code),
    }
}
