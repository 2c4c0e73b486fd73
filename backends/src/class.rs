//! What kind of trouble an error is, and which answer of a device it comes from.

use std::fmt;

use crate::error::BackendError;

/// What kind of trouble an error is: what to expect of the next attempt, and who can do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorClass {
    /// The key is not there.
    NotFound,
    /// The session is not logged in; the next use logs in.
    LoggedOut,
    /// Nobody logs in until a person has done something about the PIN.
    Locked,
    /// The device has no session, memory or time now.
    Busy,
    /// The device, token or session is not there or does not answer.
    Gone,
    /// This will not be done, however often it is asked for.
    Refused,
    /// The device, its key or this program is not as it should be.
    Broken,
}

/// A PKCS#11 call, or a command of another device, and what it answered, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub(crate) call: String,
    pub(crate) answer: String,
}

impl Failure {
    /// The function, such as `C_SignInit`, or the command, such as `SIGN ECDSA`.
    #[must_use]
    pub fn call(&self) -> &str {
        &self.call
    }

    /// The CKR code, such as `CKR_DEVICE_ERROR`; of another device what it or the way to it said.
    #[must_use]
    pub fn answer(&self) -> &str {
        &self.answer
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answered {}", self.call, self.answer)
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "not found",
            Self::LoggedOut => "logged out",
            Self::Locked => "locked",
            Self::Busy => "busy",
            Self::Gone => "gone",
            Self::Refused => "refused",
            Self::Broken => "broken",
        })
    }
}

impl BackendError {
    /// What kind of trouble it is.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::KeyNotFound { .. } | Self::HandleLost { .. } | Self::KeyAway { .. } => ErrorClass::NotFound,
            Self::LoggedOut
            | Self::CredentialsUnusable { .. }
            | Self::CredentialsRefused { .. }
            | Self::OtherAccount { .. }
            | Self::AccountUntold { .. } => ErrorClass::LoggedOut,
            Self::PinNotSet { .. }
            | Self::WrongPin { .. }
            | Self::PinFinalTry { .. }
            | Self::PinLocked { .. }
            | Self::PinNotProven { .. }
            | Self::PinDoubted { .. } => ErrorClass::Locked,
            Self::SessionsExhausted { .. } | Self::Busy { .. } | Self::LogFull { .. } => ErrorClass::Busy,
            Self::Gone { .. }
            | Self::ConnectorGone { .. }
            | Self::ServiceGone { .. }
            | Self::TokenNotFound { .. }
            | Self::TokensAway { .. }
            | Self::Hung { .. }
            | Self::Stopped { .. } => ErrorClass::Gone,
            Self::Refused { .. }
            | Self::Incapable { .. }
            | Self::Configuration { .. }
            | Self::Reference(_)
            | Self::SoftwareNotAdmitted
            | Self::TokenAmbiguous { .. }
            | Self::LabelTaken { .. }
            | Self::NotDestroyable { .. }
            | Self::NotWrappable { .. }
            | Self::NotItsHalf { .. }
            | Self::WrapKeyNotFound { .. } => ErrorClass::Refused,
            Self::Broken { .. }
            | Self::Denied { .. }
            | Self::Module { .. }
            | Self::KeyAmbiguous { .. }
            | Self::WrongKey { .. }
            | Self::WrongAttribute { .. }
            | Self::EndNotShown { .. }
            | Self::OtherAttested { .. }
            | Self::WrapKeyAmbiguous { .. }
            | Self::WrapKeyUnfit { .. }
            | Self::PublicKey { .. }
            | Self::File { .. }
            | Self::Unreadable { .. }
            | Self::Library { .. }
            | Self::Thread { .. }
            | Self::Panicked { .. } => ErrorClass::Broken,
            Self::Several { errors } => match errors.as_slice() {
                [] => ErrorClass::Broken,
                [..] => self.decisive().class(),
            },
        }
    }

    /// The call that failed and its CKR code, where the device gave one.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::SessionsExhausted { failure }
            | Self::Gone { failure }
            | Self::ConnectorGone { failure, .. }
            | Self::ServiceGone { failure, .. }
            | Self::CredentialsRefused { failure }
            | Self::Denied { failure }
            | Self::LogFull { failure }
            | Self::Busy { failure }
            | Self::HandleLost { failure }
            | Self::Refused { failure }
            | Self::Broken { failure } => Some(failure),
            Self::Several { errors } => match errors.as_slice() {
                [] => None,
                [..] => self.decisive().failure(),
            },
            Self::Configuration { .. }
            | Self::Incapable { .. }
            | Self::OtherAttested { .. }
            | Self::CredentialsUnusable { .. }
            | Self::OtherAccount { .. }
            | Self::AccountUntold { .. }
            | Self::EndNotShown { .. }
            | Self::KeyAway { .. }
            | Self::Reference(_)
            | Self::SoftwareNotAdmitted
            | Self::Module { .. }
            | Self::TokenNotFound { .. }
            | Self::TokenAmbiguous { .. }
            | Self::PinNotSet { .. }
            | Self::WrongPin { .. }
            | Self::PinFinalTry { .. }
            | Self::PinLocked { .. }
            | Self::PinNotProven { .. }
            | Self::PinDoubted { .. }
            | Self::TokensAway { .. }
            | Self::LoggedOut
            | Self::KeyNotFound { .. }
            | Self::KeyAmbiguous { .. }
            | Self::LabelTaken { .. }
            | Self::WrongKey { .. }
            | Self::WrongAttribute { .. }
            | Self::PublicKey { .. }
            | Self::NotDestroyable { .. }
            | Self::NotWrappable { .. }
            | Self::NotItsHalf { .. }
            | Self::WrapKeyNotFound { .. }
            | Self::WrapKeyAmbiguous { .. }
            | Self::WrapKeyUnfit { .. }
            | Self::File { .. }
            | Self::Unreadable { .. }
            | Self::Library { .. }
            | Self::Thread { .. }
            | Self::Hung { .. }
            | Self::Stopped { .. }
            | Self::Panicked { .. } => None,
        }
    }

    /// The CKR code that it comes from or stands for, such as `CKR_DEVICE_ERROR`, where there is one.
    #[must_use]
    pub fn ckr(&self) -> Option<&str> {
        let stands_for = [
            (matches!(self, Self::LoggedOut), "CKR_USER_NOT_LOGGED_IN"),
            (matches!(self, Self::WrongPin { .. }), "CKR_PIN_INCORRECT"),
            (matches!(self, Self::PinLocked { .. }), "CKR_PIN_LOCKED"),
            (matches!(self, Self::PinNotSet { .. }), "CKR_USER_PIN_NOT_INITIALIZED"),
        ];
        let own = stands_for.into_iter().find_map(|(fits, code)| fits.then_some(code));
        own.or_else(|| self.failure().map(Failure::answer))
    }

    /// A word for it, of so few that monitoring counts each: the CKR code of the specification, `CKR_VENDOR_DEFINED` for every other one, and
    /// where there is none, the kind of trouble.
    #[must_use]
    pub fn code(&self) -> String {
        match self.ckr() {
            Some(code) if code.starts_with("CKR_") => code.to_owned(),
            Some(code) if code.starts_with("CKR ") => "CKR_VENDOR_DEFINED".to_owned(),
            Some(_) | None => self.class().to_string().to_ascii_uppercase().replace(' ', "_"),
        }
    }

    /// Whether a new session could make a difference. A wrong PIN or a wrong key stays wrong.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self.class() {
            ErrorClass::LoggedOut | ErrorClass::Busy | ErrorClass::Gone => true,
            ErrorClass::NotFound | ErrorClass::Broken => self.failure().is_some(),
            ErrorClass::Locked | ErrorClass::Refused => false,
        }
    }

    /// Whether it says that no signature was begun.
    pub(crate) fn began_nothing(&self) -> bool {
        self.failure().is_some_and(|failure| failure.call() == "C_SignInit")
    }

    /// Whether it leaves the session in doubt: a call failed in it, or it is logged out.
    pub(crate) fn spoils_the_session(&self) -> bool {
        self.failure().is_some() || matches!(self, Self::LoggedOut)
    }

    /// Whether the key itself was found wanting, so that it must not sign, also if it did before.
    #[must_use]
    pub fn is_about_the_key(&self) -> bool {
        matches!(
            self,
            Self::KeyNotFound { .. }
                | Self::KeyAmbiguous { .. }
                | Self::WrongKey { .. }
                | Self::WrongAttribute { .. }
                | Self::PublicKey { .. }
                | Self::Reference(_)
                | Self::Unreadable { .. }
        )
    }
}
