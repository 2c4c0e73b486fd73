//! Answers on the wire: the one place where reasons become gRPC status codes and details.

use std::{collections::HashMap, time::Duration};

use hallmark_policy::{
    Reason, ReasonCode,
    reason::{REASONS_MAX, ReasonClass},
};
use hallmark_proto::{link::Reply, signer::Refusal as RefusalDetail, status as code};
use prost::Message;
use tonic_types::pb::{ErrorInfo, RetryInfo, Status};

/// `domain` of every ErrorInfo.
const ERROR_DOMAIN: &str = "hallmark";

/// When a caller may try again after UNAVAILABLE, unless more is known.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Longest status message, in characters: it travels in an HTTP/2 header.
const MESSAGE_CHARS_MAX: usize = 1_024;

/// Most bytes of details: they travel in an HTTP/2 header, too.
const DETAILS_BYTES_MAX: usize = 6_000;

/// The field of reasons that are about the key that was to sign.
pub(crate) const KEY: &str = "key";

/// What a method answers if it does not succeed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// All the reasons, at least one.
    pub(crate) reasons: Vec<Reason>,
    /// The refusal's place in the log, if it has one.
    pub(crate) logged: Option<Receipt>,
    /// When the same call would pass, where that is known.
    pub(crate) retry_after: Option<Duration>,
}

/// An entry and its receipt.
#[derive(Clone, Debug, Default)]
pub(crate) struct Receipt {
    pub(crate) log_index: u64,
    pub(crate) text: String,
    pub(crate) entry: Vec<u8>,
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Self { reasons: vec![reason], logged: None, retry_after: None }
    }
}

fn status_code(class: ReasonClass) -> i32 {
    match class {
        ReasonClass::NotSupported => code::UNIMPLEMENTED,
        ReasonClass::Malformed => code::INVALID_ARGUMENT,
        ReasonClass::NotPermitted => code::PERMISSION_DENIED,
        ReasonClass::Precondition => code::FAILED_PRECONDITION,
        ReasonClass::Conflict => code::ALREADY_EXISTS,
        ReasonClass::NotFound => code::NOT_FOUND,
        ReasonClass::Exhausted => code::RESOURCE_EXHAUSTED,
        ReasonClass::Deadline => code::DEADLINE_EXCEEDED,
        ReasonClass::Unavailable => code::UNAVAILABLE,
        ReasonClass::Internal => code::INTERNAL,
    }
}

/// The reply to a call that succeeded.
pub(crate) fn success(message: &impl Message) -> Reply {
    Reply { body: message.encode_to_vec().into(), answered: true, ..Reply::default() }
}

/// The reply to a call that did not. The code is that of the first class, in [`ReasonClass`]'s order, that a reason has.
pub(crate) fn failure(failure: &Failure) -> Reply {
    let class = class(failure);
    let code = status_code(class);
    let message = message(failure);
    let details = details(failure, class);
    let status = Status { code, message: message.clone(), details };
    let details = status.encode_to_vec().into();
    Reply { code, message, details, answered: true, late_for_key: is_late_for_key(failure), ..Reply::default() }
}

/// Whether the deadline passed while a key, or its device, was waited for.
fn is_late_for_key(failure: &Failure) -> bool {
    failure.reasons.iter().any(|reason| reason.code == ReasonCode::DeadlinePassed && reason.field == KEY)
}

/// The gRPC status of that reply.
pub(crate) fn code(failure: &Failure) -> i32 {
    status_code(class(failure))
}

fn class(failure: &Failure) -> ReasonClass {
    failure.reasons.iter().map(|reason| reason.code.class()).min().unwrap_or(ReasonClass::Internal)
}

fn message(failure: &Failure) -> String {
    let reasons: Vec<_> = failure.reasons.iter().map(ToString::to_string).collect();
    let place = failure.logged.as_ref().map(|logged| format!(" [log index {}]", logged.log_index));
    let text = format!("{}{}", reasons.join("; "), place.unwrap_or_default());
    match text.char_indices().nth(MESSAGE_CHARS_MAX) {
        None => text,
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

fn details(failure: &Failure, class: ReasonClass) -> Vec<prost_types::Any> {
    let mut details = Vec::new();
    if let Some(logged) = &failure.logged {
        let refusal = RefusalDetail { log_index: logged.log_index, receipt: logged.text.clone() };
        details.push(any("hallmark.signer.v1.Refusal", &refusal));
    }
    let retry_after = failure.retry_after.or_else(|| (class == ReasonClass::Unavailable).then_some(RETRY_AFTER));
    if let Some(retry_after) = retry_after {
        let retry_delay = prost_types::Duration::try_from(retry_after).ok();
        details.push(any("google.rpc.RetryInfo", &RetryInfo { retry_delay }));
    }
    let mut bytes: usize = details.iter().map(Message::encoded_len).sum();
    for reason in failure.reasons.iter().take(REASONS_MAX) {
        let mut metadata = HashMap::from([
            ("field".to_owned(), reason.field.to_owned()),
            ("sentence".to_owned(), reason.sentence.clone()),
        ]);
        metadata.extend(reason.allowed.clone().map(|allowed| ("allowed".to_owned(), allowed)));
        let info = ErrorInfo { reason: reason.code.as_str().to_owned(), domain: ERROR_DOMAIN.to_owned(), metadata };
        let info = any("google.rpc.ErrorInfo", &info);
        bytes += info.encoded_len();
        if bytes > DETAILS_BYTES_MAX {
            break;
        }
        details.push(info);
    }
    details
}

fn any(name: &str, message: &impl Message) -> prost_types::Any {
    prost_types::Any { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() }
}

#[cfg(test)]
mod tests {
    use hallmark_backends::SignError;
    use hallmark_policy::{RequestIdentity, key::SpkiDigest};

    use super::*;
    use crate::order;

    #[test]
    fn a_mint_is_late_for_a_key_if_its_time_was_over_while_it_waited_for_one_and_for_nothing_else() {
        let asked =
            RequestIdentity { authority: "a".into(), caller: "c".into(), id: "r".into(), content_sha256: [0; 32] };
        let says = |reason: Reason| failure(&reason.into()).late_for_key;
        let issuer = SpkiDigest::of(b"key");
        assert!(says(order::sign_reason(&SignError::DeadlinePassed, &asked)));
        assert!(says(order::sign_reason(&SignError::Overdue { issuer }, &asked)));
        for error in [SignError::Busy, SignError::Stopped, SignError::Panicked] {
            assert!(!says(order::sign_reason(&error, &asked)), "{error}");
        }
        assert!(!says(Reason::new(ReasonCode::DeadlinePassed, "deadline", "the deadline has passed")));
    }
}
