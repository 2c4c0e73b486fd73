//! Why the front answers a call itself, and in which words.

use std::{collections::HashMap, time::Duration};

use hallmark_proto::status as code;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Domain of the error details, as in signer.proto.
const DOMAIN: &str = "hallmark";

/// When a call that could go through later is worth another try: soon, since other replicas may answer.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a call never reached the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The length prefix announces more than the method takes.
    MessageTooLarge,
    /// Not exactly one gRPC message.
    MalformedFrame,
    /// The message is compressed.
    Compressed,
    /// Not gRPC at all.
    NotGrpc,
    /// No such method.
    MethodUnknown,
    /// The header grpc-timeout is none.
    MalformedDeadline,
    /// The deadline had passed before the whole message was there.
    DeadlinePassed,
    /// The message did not come in time, though the deadline has not passed.
    BodyTooSlow,
    /// It would not be answered in time, or there are too many large messages at once.
    Overloaded,
    /// The daemon is stopping.
    Stopping,
    /// The caller's certificate is admitted no longer.
    CallerNotAdmitted,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 11] = [
        Self::MessageTooLarge,
        Self::MalformedFrame,
        Self::Compressed,
        Self::NotGrpc,
        Self::MethodUnknown,
        Self::MalformedDeadline,
        Self::DeadlinePassed,
        Self::BodyTooSlow,
        Self::Overloaded,
        Self::Stopping,
        Self::CallerNotAdmitted,
    ];

    /// The stable code that error details, frames and metrics use.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::MessageTooLarge => "MESSAGE_TOO_LARGE",
            Self::MalformedFrame => "MALFORMED_FRAME",
            Self::Compressed => "COMPRESSED",
            Self::NotGrpc => "NOT_GRPC",
            Self::MethodUnknown => "METHOD_UNKNOWN",
            Self::MalformedDeadline => "MALFORMED_DEADLINE",
            Self::DeadlinePassed => "DEADLINE_PASSED",
            Self::BodyTooSlow => "BODY_TOO_SLOW",
            Self::Overloaded => "OVERLOADED",
            Self::Stopping => "STOPPING",
            Self::CallerNotAdmitted => "CALLER_NOT_ADMITTED",
        }
    }

    /// The answer to the caller.
    pub(crate) fn status(self) -> Status {
        let retry_after = self.is_passing().then_some(RETRY_AFTER);
        status(self.status_code(), self.code(), self.field(), self.sentence(), retry_after)
    }

    fn status_code(self) -> i32 {
        match self {
            Self::MessageTooLarge | Self::Overloaded => code::RESOURCE_EXHAUSTED,
            Self::MalformedFrame | Self::NotGrpc | Self::MalformedDeadline => code::INVALID_ARGUMENT,
            Self::Compressed | Self::MethodUnknown => code::UNIMPLEMENTED,
            Self::DeadlinePassed | Self::BodyTooSlow => code::DEADLINE_EXCEEDED,
            Self::Stopping => code::UNAVAILABLE,
            Self::CallerNotAdmitted => code::UNAUTHENTICATED,
        }
    }

    /// What of the call it is about: a header, or a part.
    fn field(self) -> &'static str {
        match self {
            Self::MessageTooLarge | Self::MalformedFrame | Self::BodyTooSlow => "message",
            Self::Compressed => "grpc-encoding",
            Self::NotGrpc => "content-type",
            Self::MethodUnknown => "method",
            Self::MalformedDeadline | Self::DeadlinePassed => "grpc-timeout",
            Self::Overloaded | Self::Stopping => "daemon",
            Self::CallerNotAdmitted => "caller",
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::MessageTooLarge => "the message is over the method's limit; send a smaller one",
            Self::MalformedFrame => "the body is not exactly one gRPC message; send one length-prefixed message",
            Self::Compressed => "compressed messages are not taken; send the message as it is",
            Self::NotGrpc => "the request is not gRPC; POST it with content-type application/grpc",
            Self::MethodUnknown => "there is no such method; see the service's reflection",
            Self::MalformedDeadline => "the header grpc-timeout is no timeout; write 1 to 8 digits and a unit",
            Self::DeadlinePassed => "the deadline passed before the call could begin; allow more time",
            Self::BodyTooSlow => "the message did not arrive in time; send it again",
            Self::Overloaded => "too much is under way; make the same call again, with its request id if it has one",
            Self::Stopping => "the daemon is stopping; make the same call again, with its request id if it has one",
            Self::CallerNotAdmitted => {
                "the caller's certificate is expired, revoked or no longer trusted; connect with another"
            }
        }
    }

    /// Whether the same call can go through later.
    fn is_passing(self) -> bool {
        matches!(self, Self::Overloaded | Self::Stopping)
    }
}

/// The answer where the deadline passed while the core had the call.
pub(crate) fn late() -> Status {
    const SENTENCE: &str = "the deadline passed while the call was under way; the same call, with its request id if it has one, gives what was decided";
    let reason = Reason::DeadlinePassed;
    status(code::DEADLINE_EXCEEDED, reason.code(), reason.field(), SENTENCE, None)
}

/// The answer where the core gave none that can be read; whether the call may be made again without a look at what was done.
pub(crate) fn core_away(repeatable: bool) -> Status {
    const SENTENCE: &str =
        "the signing core gave no answer; make the same call again, with its request id if it has one";
    const PERHAPS_DONE: &str =
        "the signing core went away with the call, and may have done it; look before you make the same call again";
    match repeatable {
        true => status(code::UNAVAILABLE, "CORE_AWAY", "daemon", SENTENCE, Some(RETRY_AFTER)),
        false => status(code::UNAVAILABLE, "CORE_AWAY", "daemon", PERHAPS_DONE, None),
    }
}

fn status(
    code: i32,
    reason: &'static str,
    field: &'static str,
    sentence: &'static str,
    retry_after: Option<Duration>,
) -> Status {
    let metadata = [("field", field), ("sentence", sentence)].map(|(key, text)| (key.to_owned(), text.to_owned()));
    let metadata = HashMap::from(metadata);
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    if retry_after.is_some() {
        details.set_retry_info(retry_after);
    }
    Status::with_error_details(Code::from_i32(code), sentence, details)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_place_and_a_code_of_its_own() {
        for (place, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place);
            assert_eq!(Reason::ALL.iter().filter(|other| other.code() == reason.code()).count(), 1);
            let details = reason.status().get_error_details();
            let info = details.error_info().unwrap();
            assert_eq!(info.reason, reason.code());
            assert!(["field", "sentence"].iter().all(|key| !info.metadata[*key].is_empty()), "{reason:?}");
        }
    }

    #[test]
    fn what_passes_says_when_to_try_again() {
        assert!(Reason::Stopping.status().get_error_details().retry_info().is_some());
        assert!(core_away(true).get_error_details().retry_info().is_some());
        assert!(core_away(false).get_error_details().retry_info().is_none());
        assert!(Reason::MessageTooLarge.status().get_error_details().retry_info().is_none());
    }
}
