//! The byte-level interface to the core: frames of `hallmark.link.v1`, and nothing else.

use std::{future::Future, pin::Pin};

use bytes::Bytes;
use hallmark_proto::link::{Call, Reply, TurnedAway, Unary, call::Kind};
use prost::Message as _;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::turned_away::Reason;

/// Longest status message passed on, in bytes; percent-encoding may triple it, and callers' libraries take 8 KiB of headers.
const STATUS_MESSAGE_BYTES_MAX: usize = 1_024;
/// Largest status details passed on, in bytes; base64 adds a third, and most callers' libraries take 16 KiB of headers.
const STATUS_DETAILS_BYTES_MAX: usize = 10 * 1_024;

/// How long an answer is waited for, and what may be done where the core goes away with the call.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Then nobody waits any more.
    pub until: Instant,
    /// Whether the same call may be sent again.
    pub repeatable: bool,
}

/// One end of the byte-level interface to the core.
pub trait Core: Send + Sync + 'static {
    /// Takes an encoded `Call`, answers with an encoded `Reply`, or with no bytes for a `TurnedAway`.
    ///
    /// A core that comes back is waited for, as long as there is patience. The work must not end when the future is dropped, because callers go away: implementations detach it. (The front
    /// itself polls every such future to its end.) No bytes for a `Unary`, or bytes that are no `Reply`, mean that the core is
    /// away: the caller is told to try again.
    fn call(&self, frame: Bytes, patience: Patience) -> Pin<Box<dyn Future<Output = Bytes> + Send>>;
}

/// The frame of a call that wants an answer.
pub(crate) fn unary(
    method: &str,
    caller_certificate: Bytes,
    deadline_boottime_nanos: u64,
    body: Bytes,
    trace_parent: Bytes,
) -> Bytes {
    let unary = Unary { method: method.to_owned(), caller_certificate, deadline_boottime_nanos, body, trace_parent };
    encode(Kind::Unary(unary))
}

/// The frame that tells of a call that was turned away; `method` is empty where it is not known.
pub(crate) fn turned_away(method: &str, caller_certificate: Bytes, reason: Reason) -> Bytes {
    let reason = reason.code().to_owned();
    encode(Kind::TurnedAway(TurnedAway { method: method.to_owned(), caller_certificate, reason }))
}

fn encode(kind: Kind) -> Bytes {
    Call { kind: Some(kind) }.encode_to_vec().into()
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The message; of a streaming method empty where there is nothing to say yet.
    pub(crate) message: Bytes,
    /// What to ask a streaming method with next.
    pub(crate) next: Bytes,
    /// Whether a key signed for it.
    pub(crate) signed: bool,
}

/// What the core refuses.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// What the caller hears.
    pub(crate) status: Status,
    /// Whether its time was over while it waited for a key.
    pub(crate) late_for_key: bool,
}

/// What the core answers or refuses; `None` if it is no answer.
pub(crate) fn answer(frame: Bytes) -> Option<Result<Answer, Refusal>> {
    if frame.is_empty() {
        return None;
    }
    let reply = Reply::decode(frame).ok()?;
    let code = Code::from_i32(reply.code);
    if code == Code::Ok {
        return Some(Ok(Answer { message: reply.body, next: reply.next, signed: reply.signed }));
    }
    let status = Status::with_details(code, shortened(reply.message), details(reply.details));
    Some(Err(Refusal { status, late_for_key: reply.late_for_key }))
}

fn shortened(mut message: String) -> String {
    message.truncate(message.floor_char_boundary(STATUS_MESSAGE_BYTES_MAX));
    message
}

fn details(details: Bytes) -> Bytes {
    if details.len() > STATUS_DETAILS_BYTES_MAX {
        tracing::warn!(bytes = details.len(), "the core's status details are too large for headers and were left out");
        return Bytes::new();
    }
    details
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: i32, message: String, details: Vec<u8>) -> Bytes {
        Reply { code, message, details: details.into(), body: Bytes::from_static(b"body"), ..Reply::default() }
            .encode_to_vec()
            .into()
    }

    #[test]
    fn no_bytes_and_garbage_are_no_answer() {
        assert!(answer(Bytes::new()).is_none());
        assert!(answer(Bytes::from_static(&[0xff; 9])).is_none());
    }

    #[test]
    fn a_code_that_nobody_knows_is_an_error_all_the_same() {
        let status = answer(reply(99, "odd".into(), vec![])).unwrap().unwrap_err().status;
        assert_eq!((status.code(), status.message()), (Code::Unknown, "odd"));
        assert_eq!(answer(reply(0, String::new(), vec![])).unwrap().unwrap().message, Bytes::from_static(b"body"));
    }

    #[test]
    fn long_messages_and_details_do_not_break_the_headers() {
        let status = answer(reply(7, "ß".repeat(2_000), vec![1; 20_000])).unwrap().unwrap_err().status;
        assert_eq!(status.message().len(), STATUS_MESSAGE_BYTES_MAX);
        assert!(status.details().is_empty());
    }
}
