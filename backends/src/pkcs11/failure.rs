//! What a module answers, put into our own errors.

use cryptoki::error::{Error, RvError};

use crate::error::{BackendError, Failure};

/// Sorts an error of a module: the device is gone, it has no session left, or it says no.
pub(super) fn failed(error: Error) -> BackendError {
    let Error::Pkcs11(answer, function) = error else {
        let answer = error.to_string();
        return BackendError::Refused { failure: Failure { call: "the module".to_owned(), answer } };
    };
    let failure = Failure { call: format!("C_{function:?}"), answer: name(answer) };
    if answer == RvError::SessionCount {
        BackendError::SessionsExhausted { failure }
    } else if answer == RvError::UserNotLoggedIn {
        BackendError::LoggedOut
    } else if gone(answer) {
        BackendError::Gone { failure }
    } else {
        BackendError::Refused { failure }
    }
}

fn gone(answer: RvError) -> bool {
    matches!(
        answer,
        RvError::DeviceError
            | RvError::DeviceRemoved
            | RvError::TokenNotPresent
            | RvError::TokenNotRecognized
            | RvError::SlotIdInvalid
            | RvError::SessionClosed
            | RvError::SessionHandleInvalid
            | RvError::CryptokiNotInitialized
    )
}

/// The name in the specification: `CKR_PIN_INCORRECT` for `PinIncorrect`.
fn name(answer: RvError) -> String {
    let plain = format!("{answer:?}");
    if !plain.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return format!("CKR {plain}");
    }
    plain.chars().fold("CKR".to_owned(), |mut name, letter| {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
        name
    })
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::*;

    #[test]
    fn an_answer_is_named_as_the_specification_names_it() {
        let error = failed(Error::Pkcs11(RvError::DeviceRemoved, Function::SignInit));
        assert!(
            matches!(&error, BackendError::Gone { failure } if failure.to_string() == "C_SignInit answered CKR_DEVICE_REMOVED")
        );
        assert_eq!(name(RvError::VendorDefined(0x8000_0001)), "CKR VendorDefined(2147483649)");
    }
}
