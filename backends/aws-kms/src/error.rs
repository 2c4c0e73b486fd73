//! What can go wrong on the way to AWS KMS and in it, told apart.

use crate::credentials::CredentialsError;

/// Longest text of an answer that is told, in characters.
const TEXT_CHARS_MAX: usize = 300;

/// The least HTTP status that says the service itself failed (RFC 9110, section 15.6).
const STATUS_SERVER_ERROR: u16 = 500;
/// Too Many Requests (RFC 6585, section 4).
const STATUS_TOO_MANY: u16 = 429;

/// Why a call was not done, or its answer did not come.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The credentials cannot be read. Nothing was asked.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// No connection came about. Nothing was asked.
    #[error("{call} reached nobody at `{place}` ({detail})")]
    NotReached {
        /// The call.
        call: &'static str,
        /// Where.
        place: String,
        /// What the system said.
        detail: String,
    },
    /// The call may have been sent, and its answer did not come.
    #[error("{call} was not answered by `{place}` ({detail})")]
    NoAnswer {
        /// The call.
        call: &'static str,
        /// Where.
        place: String,
        /// What the system said.
        detail: String,
    },
    /// KMS answered with an error.
    #[error("{call} answered {text}")]
    Answered {
        /// The call.
        call: &'static str,
        /// What kind of error.
        code: Code,
        /// Its name and its message, shortened.
        text: String,
    },
    /// The answer lacks what every such answer has.
    #[error("{call} answered without {what}")]
    Lacking {
        /// The call.
        call: &'static str,
        /// What is missing.
        what: &'static str,
    },
    /// The answer is about another key than the one that was asked for.
    #[error("{call} answered of `{found}`, and was asked of `{wanted}`")]
    OtherKey {
        /// The call.
        call: &'static str,
        /// The key's ARN in the answer.
        found: String,
        /// The one that was asked for.
        wanted: String,
    },
    /// The credentials belong to another account than the one that is meant.
    #[error("{call} answered of the account `{found}`, and `{wanted}` is meant")]
    OtherAccount {
        /// The call.
        call: &'static str,
        /// The account's number in the answer.
        found: String,
        /// The one that is meant.
        wanted: String,
    },
    /// Nothing says which account the credentials belong to: there is neither a key nor an alias in the region.
    #[error("ListKeys and ListAliases tell of nothing, and so not whether this is the account `{wanted}`")]
    AccountUntold {
        /// The one that is meant.
        wanted: String,
    },
    /// The call cannot be made as it was asked for.
    #[error("{call} cannot be asked for ({detail})")]
    NotAsked {
        /// The call.
        call: &'static str,
        /// Why.
        detail: String,
    },
    /// The way to KMS cannot be set up in this process.
    #[error("the way to AWS KMS cannot be set up: {detail}")]
    SetUp {
        /// Why.
        detail: String,
    },
}

/// What kind of error KMS answered with: what can be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Asked too often; later it may go.
    Throttled,
    /// There is no such key for these credentials.
    NotFound,
    /// The key is there and does nothing now: it is disabled, or waits for its deletion.
    Away,
    /// These credentials may not do this.
    Denied,
    /// These credentials are none, or not any more.
    CredentialsRefused,
    /// This is not done, whoever asks and however often.
    Refused,
    /// The service failed; nobody knows what it did.
    Failed,
}

impl Error {
    /// An error that KMS answered with, by its name, its message and the HTTP status.
    pub(crate) fn answered(call: &'static str, name: Option<&str>, message: Option<&str>, status: u16) -> Self {
        let name = name.unwrap_or_default();
        let told = if name.is_empty() { format!("HTTP status {status}") } else { name.to_owned() };
        let text = match message.filter(|message| !message.is_empty()) {
            Some(message) => format!("{told}: {message}"),
            None => told,
        };
        Self::Answered { call, code: Code::of(name, status), text: plain(&text) }
    }

    /// Whether it is certain that KMS did not do what it was asked for.
    #[must_use]
    pub fn was_not_done(&self) -> bool {
        match self {
            Self::Credentials(_) | Self::NotReached { .. } | Self::NotAsked { .. } | Self::SetUp { .. } => true,
            Self::Answered { code, .. } => *code != Code::Failed,
            Self::NoAnswer { .. }
            | Self::Lacking { .. }
            | Self::OtherKey { .. }
            | Self::OtherAccount { .. }
            | Self::AccountUntold { .. } => false,
        }
    }

    /// What kind of error KMS answered with, if it did.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Answered { code, .. } => Some(*code),
            Self::Credentials(_)
            | Self::NotReached { .. }
            | Self::NoAnswer { .. }
            | Self::Lacking { .. }
            | Self::OtherKey { .. }
            | Self::OtherAccount { .. }
            | Self::AccountUntold { .. }
            | Self::NotAsked { .. }
            | Self::SetUp { .. } => None,
        }
    }
}

impl Code {
    /// The names are those of the API reference: of KMS, and "Common Errors" of every service.
    fn of(name: &str, status: u16) -> Self {
        match name {
            "ThrottlingException" | "Throttling" | "RequestLimitExceeded" | "TooManyRequestsException" => {
                Self::Throttled
            }
            "NotFoundException" => Self::NotFound,
            "DisabledException" | "KMSInvalidStateException" | "KeyUnavailableException" => Self::Away,
            "AccessDeniedException" | "AccessDenied" | "NotAuthorized" | "OptInRequired" => Self::Denied,
            "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "ExpiredTokenException"
            | "ExpiredToken"
            | "RequestExpired"
            | "IncompleteSignature"
            | "IncompleteSignatureException"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException" => Self::CredentialsRefused,
            "KMSInternalException" | "DependencyTimeoutException" | "InternalFailure" | "ServiceUnavailable" => {
                Self::Failed
            }
            _ if status == STATUS_TOO_MANY => Self::Throttled,
            _ if name.is_empty() || status >= STATUS_SERVER_ERROR => Self::Failed,
            _ => Self::Refused,
        }
    }
}

/// What was answered, as one short line.
pub(crate) fn plain(text: &str) -> String {
    let shown = |character: char| if character.is_control() { ' ' } else { character };
    text.chars().take(TEXT_CHARS_MAX).map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_certainly_not_done_is_told_from_what_may_have_been() {
        for (name, status, code, not_done) in [
            ("ThrottlingException", 400, Code::Throttled, true),
            ("", 429, Code::Throttled, true),
            ("NotFoundException", 400, Code::NotFound, true),
            ("DisabledException", 400, Code::Away, true),
            ("KMSInvalidStateException", 400, Code::Away, true),
            ("KeyUnavailableException", 500, Code::Away, true),
            ("AccessDeniedException", 400, Code::Denied, true),
            ("ExpiredTokenException", 400, Code::CredentialsRefused, true),
            ("InvalidSignatureException", 400, Code::CredentialsRefused, true),
            ("ValidationException", 400, Code::Refused, true),
            ("SomethingNew", 400, Code::Refused, true),
            ("KMSInternalException", 500, Code::Failed, false),
            ("DependencyTimeoutException", 503, Code::Failed, false),
            ("SomethingNew", 503, Code::Failed, false),
            // No error of KMS's: a proxy in between may have said it.
            ("", 400, Code::Failed, false),
            ("", 502, Code::Failed, false),
        ] {
            let error = Error::answered("Sign", Some(name), None, status);
            assert_eq!((error.code(), error.was_not_done()), (Some(code), not_done), "{name} {status}");
        }
    }

    #[test]
    fn an_answer_is_told_in_one_line_of_bounded_length() {
        let error = Error::answered("Sign", Some("AccessDeniedException"), Some(&"a\nb\u{1b}[".repeat(1_000)), 400);
        let told = error.to_string();
        assert!(!told.contains(char::is_control) && told.chars().count() < 2 * TEXT_CHARS_MAX, "{told}");
    }
}
