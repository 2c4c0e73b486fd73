//! Any bytes as what a peer sends on a connection, in pieces of any size (the first byte), after which it is silent.
#![no_main]

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use libfuzzer_sys::fuzz_target;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, ReadBuf},
    runtime::Builder,
    time::timeout,
};

/// The front's own file: its module is nobody else's to use.
#[path = "../../front/src/progress.rs"]
mod progress;

use progress::{FRAME_TIME_MAX, Progress};

/// Bytes before the first frame, and of a frame before its payload (RFC 9113, sections 3.4 and 4.1).
const PREFACE_BYTES: usize = 24;
const HEADER_BYTES: usize = 9;

/// Types of frames with parts of a header block, and the flag of the last one.
const HEADER_BLOCK: [u8; 2] = [1, 9];
const END_HEADERS: u8 = 4;

/// Longest piece.
const PIECE_BYTES_MAX: usize = 256;

fuzz_target!(|input: &[u8]| {
    let Some((size, sent)) = input.split_first() else { return };
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let pieces = sent.chunks(usize::from(*size) + 1).map(<[u8]>::to_vec).collect();
    let (came, ended) = runtime.block_on(read(Peer(pieces)));
    assert_eq!(came, sent, "what passes is as it was sent");
    assert_eq!(ended, has_begun(sent), "a peer may be silent between frames, and nowhere else");
});

/// Reads all that comes; whether the connection is ended then. Nobody waits: the clock goes on when there is nothing to do.
async fn read(peer: Peer) -> (Vec<u8>, bool) {
    let (mut came, mut buffer) = (Vec::new(), [0; PIECE_BYTES_MAX]);
    let mut progress = Progress::of(peer, FRAME_TIME_MAX);
    loop {
        match timeout(FRAME_TIME_MAX * 2, progress.read(&mut buffer)).await {
            Ok(Ok(count)) => came.extend_from_slice(&buffer[..count]),
            Ok(Err(error)) => {
                assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                return (came, true);
            }
            Err(_) => return (came, false),
        }
    }
}

/// Whether a preface, a frame or a header block has begun that is not finished, read as a whole.
fn has_begun(sent: &[u8]) -> bool {
    let Some(mut rest) = sent.get(PREFACE_BYTES..) else { return true };
    let mut block_goes_on = false;
    while !rest.is_empty() {
        let Some(([a, b, c, kind, flags, ..], payload)) = rest.split_first_chunk::<HEADER_BYTES>() else { return true };
        if HEADER_BLOCK.contains(kind) {
            block_goes_on = flags & END_HEADERS == 0;
        }
        let Some(after) = payload.get(u32::from_be_bytes([0, *a, *b, *c]) as usize..) else { return true };
        rest = after;
    }
    block_goes_on
}

/// Sends its pieces, and then nothing.
struct Peer(VecDeque<Vec<u8>>);

impl AsyncRead for Peer {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(piece) = self.0.pop_front() else { return Poll::Pending };
        buffer.put_slice(&piece);
        Poll::Ready(Ok(()))
    }
}
