//! How the frames of `hallmark.link.v1` follow one another on a stream socket between front and core.
//!
//! Pure: no socket is touched here. No bytes make it panic, and what a header announces is judged before anything is kept.

use bytes::{Buf as _, BufMut as _};

/// Bytes before a frame's content: its length (4, big-endian), its kind (1) and its number (8, big-endian).
pub const HEADER_BYTES: usize = 13;

/// Largest content in bytes: a manifest of 16 MiB with room, and the caller's certificate.
pub const CONTENT_BYTES_MAX: u32 = (17 * 1_024 + 256) * 1_024;

/// Largest content of a call, in bytes, whose method does not take a whole file.
pub const USUAL_CALL_BYTES_MAX: u32 = 512 * 1_024;

/// Largest content of what a front has counted, in bytes: some hundred numbers.
pub const COUNTS_BYTES_MAX: u32 = 4 * 1_024;

/// Methods that take a whole file, a manifest or a policy, and the largest message of each, in bytes: 16 MiB and room, 1 MiB and room.
pub const LARGE_METHODS: [(&str, usize); 2] =
    [("RotateIntermediate", 17 * 1_024 * 1_024), ("ApplyPolicy", (1_024 + 64) * 1_024)];

/// Methods that answer with a stream: the core may keep each of their calls until something happens.
pub const STREAMING_METHODS: [&str; 1] = ["WatchEpochs"];

/// Largest message of these, in bytes: a name of 64, a revision of 64, and room.
pub const STREAMING_MESSAGE_BYTES_MAX: usize = 1_024;

/// Largest content of a call of these, in bytes: its message, and a caller's certificate, which is less than the 64 KiB that a handshake takes.
pub const STREAMING_CALL_BYTES_MAX: u32 = 68 * 1_024;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// From front to core: an encoded `Call`.
    Call,
    /// From core to front: the encoded `Reply` to the call of the same number; nothing for a `TurnedAway`.
    Reply,
    /// From front to core: how is the core? Its content is empty.
    AskState,
    /// From front to core: how is the core, and which CA keys does it know? Its content is empty.
    AskKeys,
    /// From core to front: the encoded `CoreState`, to the question of the same number.
    State,
    /// From front to core: encoded `FrontCounts`; answered as `AskState` is.
    Counts,
}

/// What stands before a frame's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it is.
    pub kind: Kind,
    /// Bytes of content.
    pub content_bytes: u32,
    /// Which question it is, or answers. The front chooses it; the core gives it back as it is.
    pub number: u64,
}

/// Why a connection cannot go on: after such a header nobody knows where the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// More content than a frame may have.
    #[error("a frame announces {0} bytes, over what its kind may have")]
    TooLarge(u32),
    /// Content where there is none.
    #[error("a question without content announces {0} bytes")]
    NotEmpty(u32),
    /// A kind that nobody knows.
    #[error("a frame is of kind {0}, which does not exist")]
    Kind(u8),
}

impl Kind {
    const ALL: [Self; 6] = [Self::Call, Self::Reply, Self::AskState, Self::AskKeys, Self::State, Self::Counts];

    fn byte(self) -> u8 {
        match self {
            Self::Call => 1,
            Self::Reply => 2,
            Self::AskState => 3,
            Self::AskKeys => 4,
            Self::State => 5,
            Self::Counts => 6,
        }
    }

    /// Whether it is the front that sends it.
    #[must_use]
    pub fn is_asked(self) -> bool {
        match self {
            Self::Call | Self::AskState | Self::AskKeys | Self::Counts => true,
            Self::Reply | Self::State => false,
        }
    }
}

impl Header {
    /// As it stands on the socket.
    #[must_use]
    pub fn bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut rest = &mut bytes[..];
        rest.put_u32(self.content_bytes);
        rest.put_u8(self.kind.byte());
        rest.put_u64(self.number);
        bytes
    }

    /// Reads a header.
    ///
    /// # Errors
    /// See [`FrameError`]; the connection ends then.
    pub fn read(bytes: [u8; HEADER_BYTES]) -> Result<Self, FrameError> {
        let mut rest = &bytes[..];
        let (content_bytes, kind, number) = (rest.get_u32(), rest.get_u8(), rest.get_u64());
        let kind = Kind::ALL.into_iter().find(|known| known.byte() == kind).ok_or(FrameError::Kind(kind))?;
        match kind {
            Kind::Call | Kind::Reply | Kind::State if content_bytes > CONTENT_BYTES_MAX => {
                Err(FrameError::TooLarge(content_bytes))
            }
            Kind::Counts if content_bytes > COUNTS_BYTES_MAX => Err(FrameError::TooLarge(content_bytes)),
            Kind::AskState | Kind::AskKeys if content_bytes > 0 => Err(FrameError::NotEmpty(content_bytes)),
            Kind::Call | Kind::Reply | Kind::State | Kind::AskState | Kind::AskKeys | Kind::Counts => {
                Ok(Self { kind, content_bytes, number })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_as_it_was_written() {
        for kind in Kind::ALL {
            let content_bytes = match kind {
                Kind::AskState | Kind::AskKeys => 0,
                Kind::Counts => COUNTS_BYTES_MAX,
                Kind::Call | Kind::Reply | Kind::State => CONTENT_BYTES_MAX,
            };
            let header = Header { kind, content_bytes, number: u64::MAX - 1 };
            assert_eq!(Header::read(header.bytes()), Ok(header));
        }
        let call = Header { kind: Kind::Call, content_bytes: 258, number: 3 };
        assert_eq!(call.bytes(), [0, 0, 1, 2, 1, 0, 0, 0, 0, 0, 0, 0, 3]);
    }

    #[test]
    fn every_other_header_ends_the_connection() {
        let header = |content_bytes: u32, kind: u8| {
            let mut bytes = [0; HEADER_BYTES];
            bytes[..4].copy_from_slice(&content_bytes.to_be_bytes());
            bytes[4] = kind;
            Header::read(bytes)
        };
        for kind in (0..=u8::MAX).filter(|kind| !(1..=6).contains(kind)) {
            assert_eq!(header(0, kind), Err(FrameError::Kind(kind)));
        }
        for kind in [1, 2, 5] {
            assert_eq!(header(CONTENT_BYTES_MAX + 1, kind), Err(FrameError::TooLarge(CONTENT_BYTES_MAX + 1)));
            assert!(header(CONTENT_BYTES_MAX, kind).is_ok());
        }
        for kind in [3, 4] {
            assert_eq!(header(1, kind), Err(FrameError::NotEmpty(1)));
        }
        assert_eq!(header(COUNTS_BYTES_MAX + 1, 6), Err(FrameError::TooLarge(COUNTS_BYTES_MAX + 1)));
        assert_eq!(header(u32::MAX, 1), Err(FrameError::TooLarge(u32::MAX)));
    }
}
