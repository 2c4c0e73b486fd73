//! What a device answers, put into our own errors.

use hallmark_yubihsm::{DeviceCode, Error};

use crate::{class::Failure, error::BackendError};

/// Sorts an error of a device or of the way to it. What is not known is a device that is broken.
pub(super) fn failed(error: Error) -> BackendError {
    match error {
        Error::PasswordRefused { key } => {
            BackendError::WrongPin { what: format!("the password of authentication key {key:#06x} (or its number)") }
        }
        Error::Gone { command, place, detail } => {
            BackendError::ConnectorGone { place, failure: Failure { call: command.to_owned(), answer: detail } }
        }
        Error::SessionLost { command, detail } => {
            BackendError::Gone { failure: Failure { call: command.to_owned(), answer: detail } }
        }
        Error::Device { command, code } => {
            of_code(code, Failure { call: command.to_owned(), answer: code.to_string() })
        }
        Error::Unsupported { what } => BackendError::Incapable { what: what.to_owned() },
        Error::Panicked { command } => {
            let answer = "something that is no answer to it".to_owned();
            BackendError::Broken { failure: Failure { call: command.to_owned(), answer } }
        }
    }
}

fn of_code(code: DeviceCode, failure: Failure) -> BackendError {
    match code {
        DeviceCode::InvalidSession | DeviceCode::SessionFailed | DeviceCode::AuthenticationFailed => {
            BackendError::Gone { failure }
        }
        DeviceCode::SessionsFull => BackendError::SessionsExhausted { failure },
        DeviceCode::StorageFailed => BackendError::Busy { failure },
        DeviceCode::LogFull => BackendError::LogFull { failure },
        DeviceCode::ObjectNotFound => BackendError::HandleLost { failure },
        DeviceCode::InvalidCommand
        | DeviceCode::InvalidData
        | DeviceCode::WrongLength
        | DeviceCode::InsufficientPermissions
        | DeviceCode::InvalidId
        | DeviceCode::ObjectExists => BackendError::Refused { failure },
        DeviceCode::CommandUnexecuted | DeviceCode::Other(_) => BackendError::Broken { failure },
    }
}

/// Whether the device said itself that it did not do it, so that the session goes on.
pub(super) fn was_not_done(error: &Error) -> bool {
    match error {
        Error::Device { code, .. } => {
            !matches!(code, DeviceCode::InvalidSession | DeviceCode::SessionFailed | DeviceCode::AuthenticationFailed)
        }
        Error::Unsupported { .. } => true,
        Error::PasswordRefused { .. } | Error::Gone { .. } | Error::SessionLost { .. } | Error::Panicked { .. } => {
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::ErrorClass;

    #[test]
    fn answers_are_told_apart_by_what_can_be_done_about_them() {
        let device = |code| Error::Device { command: "SIGN ECDSA", code };
        let gone = Error::Gone { command: "CREATE SESSION", place: "usb".to_owned(), detail: "no device".to_owned() };
        let lost = Error::SessionLost { command: "SIGN ECDSA", detail: "idle".to_owned() };
        for (error, class, may_pass, goes_on) in [
            (Error::PasswordRefused { key: 2 }, ErrorClass::Locked, false, false),
            (gone, ErrorClass::Gone, true, false),
            (lost, ErrorClass::Gone, true, false),
            (device(DeviceCode::InvalidSession), ErrorClass::Gone, true, false),
            (device(DeviceCode::SessionsFull), ErrorClass::Busy, true, true),
            (device(DeviceCode::StorageFailed), ErrorClass::Busy, true, true),
            (device(DeviceCode::LogFull), ErrorClass::Busy, true, true),
            (device(DeviceCode::ObjectNotFound), ErrorClass::NotFound, true, true),
            (device(DeviceCode::InsufficientPermissions), ErrorClass::Refused, false, true),
            (device(DeviceCode::ObjectExists), ErrorClass::Refused, false, true),
            (device(DeviceCode::Other(0x10)), ErrorClass::Broken, true, true),
            (Error::Unsupported { what: "a key of this algorithm" }, ErrorClass::Refused, false, true),
            (Error::Panicked { command: "GET DEVICE INFO" }, ErrorClass::Broken, true, false),
        ] {
            assert_eq!(was_not_done(&error), goes_on, "{error}");
            let error = failed(error);
            assert_eq!((error.class(), error.may_pass()), (class, may_pass), "{error}");
        }
    }

    #[test]
    fn every_sentence_says_what_happened_and_what_to_do() {
        let gone = Error::Gone {
            command: "CREATE SESSION",
            place: "http://127.0.0.1:12345".to_owned(),
            detail: "Connection refused (os error 111)".to_owned(),
        };
        let device = |code| Error::Device { command: "GENERATE ASYMMETRIC KEY", code };
        let sentences = [
            Error::PasswordRefused { key: 2 },
            gone,
            device(DeviceCode::SessionsFull),
            device(DeviceCode::LogFull),
            device(DeviceCode::InsufficientPermissions),
            Error::Unsupported { what: "a signature by RSASSA-PSS" },
            Error::Panicked { command: "GET DEVICE INFO" },
        ]
        .map(|error| failed(error).to_string());
        insta::assert_snapshot!(sentences.join("\n"));
    }
}
