//! What a peer has begun, it has to finish: a connection on which a frame or a header block arrives in a trickle, or which is not read,
//! ends. Between frames a peer may be silent as long as it likes; whether it is still there, pings find out.
//!
//! Frames of HTTP/2 are followed here by their headers alone (RFC 9113, section 4.1), as they pass. They are judged by who reads them.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// Longest time for a frame, or for the frames of one header block, from its first byte to its last: a full frame on a bad line takes a second. Also
/// for a connection's preface, from the end of its handshake.
pub const FRAME_TIME_MAX: Duration = Duration::from_secs(10);
/// Longest time for which a peer may take nothing at all of what is sent to it.
pub const WRITE_TIME_MAX: Duration = Duration::from_secs(20);

/// What a client sends first: 24 bytes, and then frames (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;
/// Bytes before a frame's payload: length (3), type, flags, stream (4).
const FRAME_HEADER_BYTES: usize = 9;
/// Types of frames, and the flag of those that end a header block (RFC 9113, sections 6.2 and 6.10).
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 0x4;

/// A stream whose peer has to go on with what it began.
#[derive(Debug)]
pub(crate) struct Progress<S> {
    stream: S,
    frames: Frames,
    frame_time_max: Duration,
    reads_until: Limit,
    writes_until: Limit,
}

/// A moment by which something has to be done, while something is.
#[derive(Debug, Default)]
struct Limit(Option<Pin<Box<Sleep>>>);

/// Where in the frames of a peer a connection is.
#[derive(Debug)]
struct Frames {
    /// Bytes of the preface or of a payload that are still to come.
    left: usize,
    /// What has come of the next frame's header.
    header: [u8; FRAME_HEADER_BYTES],
    header_bytes: usize,
    /// A header block goes on in the next frame.
    block_goes_on: bool,
}

impl<S> Progress<S> {
    /// From the end of the handshake on; [`FRAME_TIME_MAX`] is what is usual.
    pub(crate) fn of(stream: S, frame_time_max: Duration) -> Self {
        let frames =
            Frames { left: PREFACE_BYTES, header: [0; FRAME_HEADER_BYTES], header_bytes: 0, block_goes_on: false };
        let mut reads_until = Limit::default();
        reads_until.begin(frame_time_max);
        Self { stream, frames, frame_time_max, reads_until, writes_until: Limit::default() }
    }
}

impl Limit {
    /// So long from now on, unless it has begun.
    fn begin(&mut self, time_max: Duration) {
        self.0.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + time_max)));
    }

    fn end(&mut self) {
        self.0 = None;
    }

    /// Whether it is over; who is told that it is not is woken when it is.
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        self.0.as_mut().is_some_and(|limit| limit.as_mut().poll(context).is_ready())
    }
}

impl Frames {
    /// These bytes follow. Whether a frame or a header block ended with them or between them.
    fn follow(&mut self, mut bytes: &[u8]) -> bool {
        let mut one_ended = false;
        while !bytes.is_empty() {
            let (part, rest) =
                bytes.split_at(bytes.len().min(if self.left > 0 { self.left } else { self.header_left() }));
            bytes = rest;
            if self.left > 0 {
                self.left -= part.len();
            } else {
                self.header.iter_mut().skip(self.header_bytes).zip(part).for_each(|(to, from)| *to = *from);
                self.header_bytes += part.len();
                if self.header_left() == 0 {
                    self.begin_frame();
                }
            }
            one_ended |= self.is_between();
        }
        one_ended
    }

    /// Whether nothing has begun that is not finished.
    fn is_between(&self) -> bool {
        self.left == 0 && self.header_bytes == 0 && !self.block_goes_on
    }

    fn header_left(&self) -> usize {
        FRAME_HEADER_BYTES - self.header_bytes
    }

    fn begin_frame(&mut self) {
        let [a, b, c, kind, flags, ..] = self.header;
        self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        self.header_bytes = 0;
        if matches!(kind, HEADERS | CONTINUATION) {
            self.block_goes_on = flags & END_HEADERS == 0;
        }
    }
}

fn too_slow(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl<S: AsyncRead + Unpin> AsyncRead for Progress<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        if Pin::new(&mut this.stream).poll_read(context, buffer)?.is_pending() {
            if this.reads_until.is_over(context) {
                return Poll::Ready(Err(too_slow("a frame or header block did not arrive whole in time")));
            }
            return Poll::Pending;
        }
        let came = buffer.filled().get(before..).unwrap_or_default();
        if this.frames.follow(came) {
            this.reads_until.end();
        }
        if !this.frames.is_between() {
            this.reads_until.begin(this.frame_time_max);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Progress<S> {
    /// What a write came to: one that waits for the peer waits so long only.
    fn written<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.writes_until.end();
            return written;
        }
        self.writes_until.begin(WRITE_TIME_MAX);
        match self.writes_until.is_over(context) {
            true => Poll::Ready(Err(too_slow("the peer does not read what is sent to it"))),
            false => Poll::Pending,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Progress<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.written(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, parts);
        this.written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(context);
        this.written(context, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = Pin::new(&mut this.stream).poll_shutdown(context);
        this.written(context, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
        time::{sleep, timeout},
    };

    use super::*;

    const SETTINGS: u8 = 4;
    const DATA: u8 = 0;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    fn preface() -> Vec<u8> {
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()
    }

    /// Reads for ever; what ended it.
    async fn read_all(mut progress: Progress<DuplexStream>) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        progress.read_to_end(&mut all).await.map(|_| all)
    }

    /// What comes of a peer that sends these bytes with such pauses, and then is silent for an hour.
    async fn after(pieces: &[&[u8]], pause: Duration) -> io::Result<Vec<u8>> {
        let (mut peer, here) = duplex(1 << 20);
        let reading = tokio::spawn(read_all(Progress::of(here, FRAME_TIME_MAX)));
        for piece in pieces {
            let _ = peer.write_all(piece).await;
            sleep(pause).await;
        }
        sleep(Duration::from_secs(3_600)).await;
        drop(peer);
        reading.await.unwrap()
    }

    fn each(bytes: &[u8]) -> Vec<&[u8]> {
        bytes.chunks(1).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_finishes_what_it_begins_may_be_silent_in_between() {
        let (preface, settings) = (preface(), frame(SETTINGS, 0, &[]));
        let block = [frame(HEADERS, 0, &[1; 20]), frame(CONTINUATION, END_HEADERS, &[2; 20])].concat();
        let body = frame(DATA, 0, &[3; 16_384]);
        let all = [&preface[..], &settings, &block, &body, &settings].concat();
        let pieces: [&[u8]; 5] = [&preface, &settings, &block, &body, &settings];
        assert_eq!(after(&pieces, Duration::from_secs(9)).await.unwrap(), all);
        let pieces: [&[u8]; 4] = [&[preface, settings.clone()].concat(), &block, &body, &settings];
        assert_eq!(after(&pieces, Duration::from_secs(600)).await.unwrap(), all);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_ends_the_connection_wherever_it_is() {
        let second = Duration::from_secs(1);
        let begun = [preface(), frame(SETTINGS, 0, &[])].concat();
        let headers = frame(HEADERS, END_HEADERS, &[1; 20]);
        let body = frame(DATA, 0, &[3; 100]);
        for trickle in [each(&preface()), each(&headers), each(&body)] {
            let pieces: Vec<&[u8]> = match trickle[0] {
                [b'P'] => trickle,
                _ => [vec![&begun[..]], trickle].concat(),
            };
            assert_eq!(after(&pieces, second).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        }
        // Whole frames, but a header block without an end.
        let goes_on = [frame(HEADERS, 0, &[1; 20]), vec![]].concat();
        let more = frame(CONTINUATION, 0, &[1; 20]);
        let pieces: Vec<&[u8]> = [&begun[..], &goes_on].into_iter().chain(std::iter::repeat_n(&more[..], 20)).collect();
        assert_eq!(after(&pieces, second).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        // Nothing at all.
        assert_eq!(after(&[], second).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn many_frames_that_each_come_in_time_are_no_trickle() {
        let body = frame(DATA, 0, &[3; 100]);
        let begun = [preface(), frame(SETTINGS, 0, &[])].concat();
        // Each piece ends one frame and begins the next.
        let stream = [begun, body.repeat(50)].concat();
        let pieces: Vec<_> = stream.chunks(109).collect();
        assert_eq!(after(&pieces, Duration::from_secs(5)).await.unwrap(), stream);
        // The last one of these ends within a frame.
        assert_eq!(after(&pieces[..40], Duration::from_secs(5)).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_read_ends_the_connection() {
        let (peer, here) = duplex(64);
        let mut progress = Progress::of(here, FRAME_TIME_MAX);
        let began = Instant::now();
        let error = progress.write_all(&[1; 1_000]).await.unwrap_err();
        assert_eq!((error.kind(), began.elapsed()), (io::ErrorKind::TimedOut, WRITE_TIME_MAX));
        drop(peer);
        let (mut peer, here) = duplex(64);
        let mut progress = Progress::of(here, FRAME_TIME_MAX);
        let writing = tokio::spawn(async move { progress.write_all(&[1; 1_000]).await });
        for _ in 0..1_000 {
            sleep(Duration::from_millis(100)).await;
            timeout(Duration::from_secs(1), peer.read_u8()).await.unwrap().unwrap();
        }
        writing.await.unwrap().unwrap();
    }
}
