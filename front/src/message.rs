//! One gRPC message out of a request body, and one into a response body.
//!
//! The length prefix is judged before anything after it is kept, so what is too large costs no memory.

use std::sync::Arc;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Status, body::Body};

use crate::turned_away::Reason;

/// Bytes before a message: a flag and a length (gRPC over HTTP/2, "Length-Prefixed-Message").
const PREFIX_BYTES: usize = 5;
/// Flag of a message that is not compressed.
const NOT_COMPRESSED: u8 = 0;
/// Flag of a message that is compressed.
const COMPRESSED: u8 = 1;
/// First allocation for a message, in bytes; more only as it arrives, whatever the prefix says.
const FIRST_BYTES_MAX: usize = 16 * 1_024;
/// What one permit of the budget stands for, in bytes.
const BUDGET_UNIT_BYTES: usize = 1_024;
/// Bytes of request messages held at one time, over all connections: three of the largest and thousands of usual ones.
const BUDGET_BYTES: usize = 64 * 1_024 * 1_024;

/// Room for messages, shared by all connections.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Arc<Semaphore>);

/// A message, and the room that it takes until it is dropped.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) message: Bytes,
    pub(crate) room: OwnedSemaphorePermit,
}

/// Why no message was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missed {
    /// For a reason that the caller and the core hear of.
    Reason(Reason),
    /// The caller took the call back, or the connection broke.
    Gone,
}

impl Budget {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(BUDGET_BYTES / BUDGET_UNIT_BYTES)))
    }

    /// Room for so many bytes, if there is any.
    pub(crate) fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Missed> {
        let units = u32::try_from(bytes.div_ceil(BUDGET_UNIT_BYTES)).unwrap_or(u32::MAX);
        Arc::clone(&self.0).try_acquire_many_owned(units).map_err(|_| Missed::Reason(Reason::Overloaded))
    }
}

/// Receives the one message of a unary call, up to the end of the body.
pub(crate) async fn receive<B>(mut body: B, bytes_max: usize, budget: &Budget) -> Result<Received, Missed>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    const MALFORMED: Missed = Missed::Reason(Reason::MalformedFrame);
    let mut data = Bytes::new();
    let mut prefix = BytesMut::with_capacity(PREFIX_BYTES);
    while prefix.len() < PREFIX_BYTES {
        data = next_data(&mut body).await?.ok_or(MALFORMED)?;
        prefix.put(data.split_to(data.len().min(PREFIX_BYTES - prefix.len())));
    }
    let (bytes, room) = judge(prefix.freeze(), bytes_max, budget)?;
    let mut message = BytesMut::with_capacity(bytes.min(FIRST_BYTES_MAX));
    loop {
        if data.len() > bytes - message.len() {
            return Err(MALFORMED);
        }
        message.put(data);
        match next_data(&mut body).await? {
            Some(more) => data = more,
            None if message.len() == bytes => return Ok(Received { message: message.freeze(), room }),
            None => return Err(MALFORMED),
        }
    }
}

/// The message's length in bytes, and room for it.
fn judge(mut prefix: Bytes, bytes_max: usize, budget: &Budget) -> Result<(usize, OwnedSemaphorePermit), Missed> {
    match prefix.get_u8() {
        NOT_COMPRESSED => {}
        COMPRESSED => return Err(Missed::Reason(Reason::Compressed)),
        _ => return Err(Missed::Reason(Reason::MalformedFrame)),
    }
    match usize::try_from(prefix.get_u32()) {
        Ok(bytes) if bytes <= bytes_max => Ok((bytes, budget.take(bytes)?)),
        Ok(_) | Err(_) => Err(Missed::Reason(Reason::MessageTooLarge)),
    }
}

/// The next data of the body, `None` at its end.
async fn next_data<B>(body: &mut B) -> Result<Option<Bytes>, Missed>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|_| Missed::Gone)?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// The response that carries `message`. `held` is dropped when the body has been sent, or given up.
pub(crate) fn respond<H: Send + 'static>(message: &[u8], held: H) -> Response<Body> {
    let data = match frame(message) {
        Ok(data) => data,
        Err(status) => return status.into_http(),
    };
    let body = Full::new(data).with_trailers(async move {
        drop(held);
        let ok = HeaderValue::from_static("0");
        Some(Ok(HeaderMap::from_iter([(Status::GRPC_STATUS, ok)])))
    });
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// The message with its prefix.
pub(crate) fn frame(message: &[u8]) -> Result<Bytes, Status> {
    let bytes = u32::try_from(message.len());
    let bytes = bytes.map_err(|_| Status::internal("the answer is longer than gRPC can say"))?;
    let mut data = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    data.put_u8(NOT_COMPRESSED);
    data.put_u32(bytes);
    data.put_slice(message);
    Ok(data.freeze())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::*;

    const LIMIT: usize = 1_000;

    async fn received(chunks: &[&[u8]]) -> Result<Bytes, Missed> {
        let frames: Vec<_> =
            chunks.iter().map(|chunk| Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(chunk)))).collect();
        let body = StreamBody::new(tokio_stream::iter(frames));
        receive(body, LIMIT, &Budget::new()).await.map(|received| received.message)
    }

    #[tokio::test]
    async fn a_message_may_come_in_any_pieces() {
        for chunks in [vec![&[0, 0, 0, 0, 2, 7, 8][..]], vec![&[0], &[0, 0], &[], &[0, 2], &[7], &[8], &[]]] {
            assert_eq!(received(&chunks).await.unwrap(), [7, 8].as_slice());
        }
        assert_eq!(received(&[&[0, 0, 0, 0, 0]]).await.unwrap(), Bytes::new());
    }

    #[tokio::test]
    async fn the_limit_itself_is_within_the_limit() {
        let mut body = vec![0, 0, 0, 3, 232];
        body.resize(PREFIX_BYTES + LIMIT, 1);
        assert_eq!(received(&[&body]).await.unwrap().len(), LIMIT);
        assert_eq!(received(&[&[0, 0, 0, 3, 233]]).await, Err(Missed::Reason(Reason::MessageTooLarge)));
        assert_eq!(received(&[&[0, 255, 255, 255, 255]]).await, Err(Missed::Reason(Reason::MessageTooLarge)));
    }

    #[tokio::test]
    async fn too_little_too_much_and_odd_flags_are_malformed() {
        let bodies: [&[&[u8]]; 7] = [
            &[],
            &[&[0, 0, 0]],
            &[&[0, 0, 0, 0, 2, 7]],
            &[&[0, 0, 0, 0, 2, 7, 8, 9]],
            &[&[0, 0, 0, 0, 2, 7, 8], &[9]],
            &[&[0, 0, 0, 0, 0], &[0, 0, 0, 0, 0]],
            &[&[2, 0, 0, 0, 0]],
        ];
        for body in bodies {
            assert_eq!(received(body).await, Err(Missed::Reason(Reason::MalformedFrame)), "{body:?}");
        }
        assert_eq!(received(&[&[1, 0, 0, 0, 0]]).await, Err(Missed::Reason(Reason::Compressed)));
    }

    #[tokio::test]
    async fn a_full_budget_sheds_and_recovers() {
        let budget = Budget::new();
        let all = budget.take(BUDGET_BYTES).unwrap();
        assert_eq!(budget.take(1).unwrap_err(), Missed::Reason(Reason::Overloaded));
        drop(all);
        assert!(budget.take(1).is_ok());
    }
}
