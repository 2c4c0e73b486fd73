//! As much of HTTP/1.1 as is passed on here: a head, and a body of a length that the head tells.

use std::io::Read;

/// Longest head of a request or an answer, in bytes.
const HEAD_BYTES_MAX: usize = 16_384;

/// The end of a head.
const END: &[u8; 4] = b"\r\n\r\n";

/// A request or an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its lines, without the empty one after them.
    pub head: String,
    /// What comes after it.
    pub body: Vec<u8>,
}

impl Message {
    /// The next one; none where whoever sends has gone, or sends something else.
    #[must_use]
    pub fn read(stream: &mut impl Read) -> Option<Self> {
        let (mut read, mut part) = (Vec::new(), [0; 4_096]);
        loop {
            if let Some(end) = read.windows(END.len()).position(|end| end == END) {
                let head = String::from_utf8(read.get(..end)?.to_vec()).ok()?;
                let length = header(&head, "content-length").map_or(Some(0), |length| length.parse().ok())?;
                let body = read.get(end + END.len()..)?;
                if body.len() >= length {
                    let body = body.get(..length)?.to_vec();
                    return Some(Self { head, body });
                }
            } else if read.len() > HEAD_BYTES_MAX {
                return None;
            }
            match stream.read(&mut part).ok()? {
                0 => return None,
                got => read.extend_from_slice(part.get(..got)?),
            }
        }
    }

    /// The value of a header, whatever the case of its name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// As it was sent.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        [self.head.as_bytes(), END, &self.body].concat()
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let of = |line: &'a str| line.split_once(':').filter(|(key, _)| key.eq_ignore_ascii_case(name));
    head.lines().find_map(of).map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_whole_and_is_the_same_again() {
        let bytes = b"POST / HTTP/1.1\r\nContent-LENGTH: 4\r\nA:  b \r\n\r\nbody";
        let message = Message::read(&mut &bytes[..]).unwrap();
        assert_eq!((message.header("a"), message.body.as_slice()), (Some("b"), &b"body"[..]));
        assert_eq!(message.bytes(), bytes);
        let bare = b"GET / HTTP/1.1\r\n\r\n";
        assert_eq!(Message::read(&mut &bare[..]).unwrap().bytes(), bare);
    }

    #[test]
    fn what_ends_early_or_has_no_end_is_no_message() {
        for bytes in [&b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nbody"[..], b"GET / HTTP/1.1\r\n", b""] {
            assert_eq!(Message::read(&mut &bytes[..]), None);
        }
        assert_eq!(Message::read(&mut &b"a".repeat(2 * HEAD_BYTES_MAX)[..]), None);
        assert_eq!(Message::read(&mut &b"A: b\r\nContent-Length: x\r\n\r\n"[..]), None);
    }
}
