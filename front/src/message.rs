//! One gRPC message out of a request body, and one into a response body.
//!
//! The length prefix is judged before anything after it is kept, so what is too large costs no memory.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full};
use tonic::{Status, body::Body};

use crate::{
    caller::CallerId,
    connection::UnderWay,
    room::{Full as NoRoom, GiveWay, Room, Taken},
    turned_away::Reason,
};

/// Bytes before a message: a flag and a length (gRPC over HTTP/2, "Length-Prefixed-Message").
const PREFIX_BYTES: usize = 5;
/// Flag of a message that is not compressed.
const NOT_COMPRESSED: u8 = 0;
/// Flag of a message that is compressed.
const COMPRESSED: u8 = 1;
/// First allocation for a message, in bytes; more only as it arrives, whatever the prefix says.
const FIRST_BYTES_MAX: usize = 16 * 1_024;

/// A message, and the room that it takes until it is dropped.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) message: Bytes,
    pub(crate) room: Taken,
}

/// Why no message was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missed {
    /// For a reason that the caller and the core hear of.
    Reason(Reason),
    /// The caller took the call back, or the connection broke.
    Gone,
}

impl From<NoRoom> for Missed {
    fn from(NoRoom: NoRoom) -> Self {
        Self::Reason(Reason::Overloaded)
    }
}

/// Receives the one message of a unary call, up to the end of the body.
pub(crate) async fn receive<B>(mut body: B, bytes_max: usize, caller: CallerId, room: &Room) -> Result<Received, Missed>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let mut data = Bytes::new();
    let mut prefix = BytesMut::with_capacity(PREFIX_BYTES);
    while prefix.len() < PREFIX_BYTES {
        data = next_data(&mut body).await?.ok_or(MALFORMED)?;
        prefix.put(data.split_to(data.len().min(PREFIX_BYTES - prefix.len())));
    }
    let (bytes, mut room, give_way) = judge(prefix.freeze(), bytes_max, caller, room)?;
    let message = tokio::select! {
        message = rest(body, data, bytes) => message?,
        Ok(()) = give_way => return Err(Missed::Reason(Reason::BodyTooSlow)),
    };
    if !room.is_whole() {
        return Err(Missed::Reason(Reason::BodyTooSlow));
    }
    Ok(Received { message, room })
}

/// What is no message of its own.
const MALFORMED: Missed = Missed::Reason(Reason::MalformedFrame);

/// The message of so many bytes, which begins with `data`.
async fn rest<B>(mut body: B, mut data: Bytes, bytes: usize) -> Result<Bytes, Missed>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let mut message = BytesMut::with_capacity(bytes.min(FIRST_BYTES_MAX));
    loop {
        if data.len() > bytes - message.len() {
            return Err(MALFORMED);
        }
        message.put(data);
        match next_data(&mut body).await? {
            Some(more) => data = more,
            None if message.len() == bytes => return Ok(message.freeze()),
            None => return Err(MALFORMED),
        }
    }
}

/// The message's length in bytes, and room for it.
fn judge(
    mut prefix: Bytes,
    bytes_max: usize,
    caller: CallerId,
    room: &Room,
) -> Result<(usize, Taken, GiveWay), Missed> {
    match prefix.get_u8() {
        NOT_COMPRESSED => {}
        COMPRESSED => return Err(Missed::Reason(Reason::Compressed)),
        _ => return Err(MALFORMED),
    }
    match usize::try_from(prefix.get_u32()) {
        Ok(bytes) if bytes <= bytes_max => {
            let (taken, give_way) = room.take(caller, bytes)?;
            Ok((bytes, taken, give_way))
        }
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

/// The response that carries `message`, to a call that is over when its peer has taken it, or given it up.
pub(crate) fn respond(message: &[u8], under_way: UnderWay) -> Response<Body> {
    let data = match frame(message) {
        Ok(data) => under_way.answers(data),
        Err(status) => return status.into_http(),
    };
    let body = Full::new(data).with_trailers(async move {
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
        let caller = CallerId::of_name(b"caller");
        receive(body, LIMIT, caller, &Room::default()).await.map(|received| received.message)
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
}
