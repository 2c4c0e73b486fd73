//! What AWS KMS answers, put into our own errors.

use hallmark_aws_kms::{Code, Error};

use crate::{class::Failure, error::BackendError};

/// Sorts an error of KMS or of the way to it.
pub(super) fn failed(error: Error) -> BackendError {
    let failure = |call: &str, answer: String| Failure { call: call.to_owned(), answer };
    match error {
        Error::Credentials(error) => BackendError::CredentialsUnusable { detail: error.to_string() },
        Error::NotReached { call, place, detail } | Error::NoAnswer { call, place, detail } => {
            BackendError::ServiceGone { place, failure: failure(call, format!("nothing ({detail})")) }
        }
        Error::Answered { call, code, text } => of_code(code, failure(call, text)),
        Error::Lacking { call, what } => BackendError::Broken { failure: failure(call, format!("without {what}")) },
        Error::OtherKey { call, found, wanted } => BackendError::Broken {
            failure: failure(call, format!("of the key `{found}`, and was asked of `{wanted}`")),
        },
        Error::OtherAccount { found, wanted, .. } => BackendError::OtherAccount { found, wanted },
        Error::AccountUntold { wanted } => BackendError::AccountUntold { wanted },
        Error::NotAsked { call, detail } => BackendError::Refused { failure: failure(call, detail) },
        Error::SetUp { detail } => BackendError::Configuration { detail },
    }
}

fn of_code(code: Code, failure: Failure) -> BackendError {
    match code {
        Code::Throttled => BackendError::Busy { failure },
        Code::NotFound | Code::Away => BackendError::HandleLost { failure },
        Code::Denied => BackendError::Denied { failure },
        Code::CredentialsRefused => BackendError::CredentialsRefused { failure },
        Code::Refused => BackendError::Refused { failure },
        Code::Failed => BackendError::Broken { failure },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::ErrorClass;

    fn errors() -> [(Error, ErrorClass, bool); 14] {
        let answered = |code, text: &str| Error::Answered { call: "Sign", code, text: text.to_owned() };
        let place = || "eu-central-1".to_owned();
        [
            (
                Error::NotReached { call: "Sign", place: place(), detail: "Connection refused".to_owned() },
                ErrorClass::Gone,
                true,
            ),
            (
                Error::NoAnswer { call: "Sign", place: place(), detail: "it took longer than 2500 ms".to_owned() },
                ErrorClass::Gone,
                true,
            ),
            (answered(Code::Throttled, "ThrottlingException: Rate exceeded"), ErrorClass::Busy, true),
            (answered(Code::NotFound, "NotFoundException: Key does not exist"), ErrorClass::NotFound, true),
            (answered(Code::Away, "DisabledException: the key is disabled"), ErrorClass::NotFound, true),
            (answered(Code::Denied, "AccessDeniedException: not authorized"), ErrorClass::Broken, true),
            (
                answered(Code::CredentialsRefused, "ExpiredTokenException: The security token has expired"),
                ErrorClass::LoggedOut,
                true,
            ),
            (answered(Code::Refused, "ValidationException"), ErrorClass::Refused, false),
            (answered(Code::Failed, "KMSInternalException"), ErrorClass::Broken, true),
            (Error::Lacking { call: "Sign", what: "a signature" }, ErrorClass::Broken, true),
            (
                Error::OtherKey { call: "DescribeKey", found: "arn:a".to_owned(), wanted: "arn:b".to_owned() },
                ErrorClass::Broken,
                true,
            ),
            (
                Error::OtherAccount {
                    call: "ListKeys",
                    found: "000000000000".to_owned(),
                    wanted: "123456789012".to_owned(),
                },
                ErrorClass::LoggedOut,
                true,
            ),
            (Error::AccountUntold { wanted: "123456789012".to_owned() }, ErrorClass::LoggedOut, true),
            (
                Error::SetUp { detail: "this machine has no certificates of authorities".to_owned() },
                ErrorClass::Refused,
                false,
            ),
        ]
    }

    #[test]
    fn answers_are_told_apart_by_what_can_be_done_about_them() {
        for (error, class, may_pass) in errors() {
            let error = failed(error);
            assert_eq!((error.class(), error.may_pass()), (class, may_pass), "{error}");
        }
    }

    #[test]
    fn every_sentence_says_what_happened_and_what_to_do() {
        let sentences: Vec<_> = errors().into_iter().map(|(error, ..)| failed(error).to_string()).collect();
        insta::assert_snapshot!(sentences.join("\n"));
    }
}
