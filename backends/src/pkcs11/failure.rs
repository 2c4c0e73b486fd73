//! What a module answers, put into our own errors.

use cryptoki::error::{Error, RvError};

use crate::{class::Failure, error::BackendError};

/// Sorts an error of a module. What is not known is a device that is broken.
pub(crate) fn failed(error: Error) -> BackendError {
    let Error::Pkcs11(answer, function) = error else {
        let answer = error.to_string();
        return BackendError::Broken { failure: Failure { call: "the module".to_owned(), answer } };
    };
    let failure = Failure { call: format!("C_{function:?}"), answer: name(answer) };
    if answer == RvError::SessionCount {
        BackendError::SessionsExhausted { failure }
    } else if answer == RvError::UserNotLoggedIn {
        BackendError::LoggedOut
    } else if matches!(answer, RvError::KeyHandleInvalid | RvError::ObjectHandleInvalid) {
        BackendError::HandleLost { failure }
    } else if gone(answer) {
        BackendError::Gone { failure }
    } else if busy(answer) {
        BackendError::Busy { failure }
    } else if refused(answer) {
        BackendError::Refused { failure }
    } else {
        BackendError::Broken { failure }
    }
}

/// The device, token, session or the module's own state is not there.
fn gone(answer: RvError) -> bool {
    matches!(
        answer,
        RvError::DeviceRemoved
            | RvError::TokenNotPresent
            | RvError::TokenNotRecognized
            | RvError::SlotIdInvalid
            | RvError::SessionClosed
            | RvError::SessionHandleInvalid
            | RvError::CryptokiNotInitialized
    )
}

/// There is no room or time now.
fn busy(answer: RvError) -> bool {
    matches!(
        answer,
        RvError::DeviceMemory
            | RvError::HostMemory
            | RvError::FunctionCanceled
            | RvError::CantLock
            | RvError::SessionReadWriteSoExists
    )
}

/// The answer is about what was asked for. Another request may succeed, so it is nobody's fault but the caller's.
fn refused(answer: RvError) -> bool {
    matches!(
        answer,
        RvError::ActionProhibited
            | RvError::ArgumentsBad
            | RvError::AttributeReadOnly
            | RvError::AttributeSensitive
            | RvError::AttributeTypeInvalid
            | RvError::AttributeValueInvalid
            | RvError::CurveNotSupported
            | RvError::DataInvalid
            | RvError::DataLenRange
            | RvError::DomainParamsInvalid
            | RvError::FunctionNotSupported
            | RvError::KeyFunctionNotPermitted
            | RvError::KeyNotWrappable
            | RvError::KeySizeRange
            | RvError::KeyTypeInconsistent
            | RvError::KeyUnextractable
            | RvError::MechanismInvalid
            | RvError::MechanismParamInvalid
            | RvError::SessionReadOnly
            | RvError::TemplateIncomplete
            | RvError::TemplateInconsistent
            | RvError::TokenWriteProtected
            | RvError::UnwrappingKeyHandleInvalid
            | RvError::UnwrappingKeySizeRange
            | RvError::UnwrappingKeyTypeInconsistent
            | RvError::WrappedKeyInvalid
            | RvError::WrappedKeyLenRange
            | RvError::WrappingKeyHandleInvalid
            | RvError::WrappingKeySizeRange
            | RvError::WrappingKeyTypeInconsistent
    )
}

/// The name in the specification: `CKR_PIN_INCORRECT` for `PinIncorrect`.
fn name(answer: RvError) -> String {
    if let RvError::VendorDefined(code) | RvError::UnknownErrorCode(code) = answer {
        return format!("CKR {code:#010x}");
    }
    format!("{answer:?}").chars().fold("CKR".to_owned(), |mut name, letter| {
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
    use crate::class::ErrorClass;

    #[test]
    fn an_answer_is_named_as_the_specification_names_it() {
        let error = failed(Error::Pkcs11(RvError::DeviceRemoved, Function::SignInit));
        assert!(
            matches!(&error, BackendError::Gone { failure } if failure.to_string() == "C_SignInit answered CKR_DEVICE_REMOVED")
        );
        assert_eq!(name(RvError::VendorDefined(0x8000_0001)), "CKR 0x80000001");
    }

    #[test]
    fn answers_are_told_apart_by_what_can_be_done_about_them() {
        let classes = [
            (RvError::ObjectHandleInvalid, ErrorClass::NotFound, true),
            (RvError::UserNotLoggedIn, ErrorClass::LoggedOut, true),
            (RvError::SessionCount, ErrorClass::Busy, true),
            (RvError::DeviceMemory, ErrorClass::Busy, true),
            (RvError::TokenNotPresent, ErrorClass::Gone, true),
            (RvError::SessionHandleInvalid, ErrorClass::Gone, true),
            (RvError::DataLenRange, ErrorClass::Refused, false),
            (RvError::GeneralError, ErrorClass::Broken, true),
            (RvError::VendorDefined(0x8000_0001), ErrorClass::Broken, true),
        ];
        for (answer, class, may_pass) in classes {
            let error = failed(Error::Pkcs11(answer, Function::Sign));
            assert_eq!((error.class(), error.may_pass()), (class, may_pass), "{error}");
            assert_eq!(error.failure().is_some(), class != ErrorClass::LoggedOut, "{error}");
        }
    }
}
