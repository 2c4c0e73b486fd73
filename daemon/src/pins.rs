//! What a supervisor remembers for its cores: which PINs tokens have refused.
//!
//! A core may end and be started again without end for the sake of one token, while the PIN of another is wrong. So it is told which PINs are not to be tried,
//! and tells of one more. What goes to and fro are digests under a key of this supervisor's life (`RefusedPins`): they are in memory alone, a core has them in a
//! datagram of a socket that is made for it, as a secret that was typed, and a front has neither.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixDatagram},
};

use hallmark_policy::key::digest_from_hex;
use hallmark_signer::{PIN_DIGEST_BYTES, PinDigest, RefusedPins};
use zeroize::Zeroizing;

use crate::trouble::Trouble;

/// Name of the socket with them, among those that a core is given.
pub(crate) const PINS_SOCKET: &str = "pins";

/// What a core says of a PIN that was refused; the digest follows, in hexadecimal digits.
pub(crate) const PIN_REFUSED: &str = "pin-refused ";

/// Most that are remembered: far more than there are tokens, each with a PIN that was mistyped again and again.
pub(crate) const PINS_MAX: usize = 64;

/// The memory of a supervisor.
pub(crate) struct Pins {
    key: Zeroizing<[u8; PIN_DIGEST_BYTES]>,
    refused: Vec<PinDigest>,
}

impl Pins {
    /// Nothing is known yet.
    pub(crate) fn new() -> io::Result<Self> {
        let mut key = Zeroizing::new([0; PIN_DIGEST_BYTES]);
        aws_lc_rs::rand::fill(key.as_mut_slice()).map_err(|_| io::Error::other("there is no randomness"))?;
        Ok(Self { key, refused: Vec::new() })
    }

    /// One more; the oldest is forgotten where they are too many.
    pub(crate) fn remember(&mut self, digest: PinDigest) {
        if !self.refused.contains(&digest) {
            if self.refused.len() >= PINS_MAX {
                self.refused.remove(0);
            }
            self.refused.push(digest);
        }
    }

    /// A socket in which all of it lies, for one core.
    pub(crate) fn handed_over(&self) -> io::Result<OwnedFd> {
        let (own, its) = UnixDatagram::pair()?;
        let mut bytes = Zeroizing::new(Vec::with_capacity((1 + PINS_MAX) * PIN_DIGEST_BYTES));
        bytes.extend_from_slice(self.key.as_slice());
        bytes.extend(self.refused.iter().flatten());
        own.send(&bytes)?;
        Ok(its.into())
    }
}

/// What lies in a socket, for a core that tells of more with `tell`.
pub(crate) fn taken(
    socket: &UnixDatagram,
    tell: impl Fn(PinDigest) + Send + Sync + 'static,
) -> Result<RefusedPins, Trouble> {
    let mut bytes = Zeroizing::new(vec![0; (1 + PINS_MAX) * PIN_DIGEST_BYTES]);
    let received = socket.set_nonblocking(true).and_then(|()| socket.recv(&mut bytes));
    let length = received.map_err(|source| Trouble::Door { source })?;
    let (parts, rest) = bytes.get(..length).unwrap_or_default().as_chunks::<PIN_DIGEST_BYTES>();
    match parts.split_first() {
        Some((key, refused)) if rest.is_empty() => Ok(RefusedPins::kept(key, refused.iter().copied(), tell)),
        Some(_) | None => Err(Trouble::Door { source: io::ErrorKind::InvalidData.into() }),
    }
}

/// As a core says it, in a line of its own.
pub(crate) fn said(digest: &PinDigest) -> String {
    format!("{PIN_REFUSED}{}\n", hallmark_policy::hex(digest))
}

/// What a core says with a line, if it says that a PIN was refused.
pub(crate) fn heard(line: &[u8]) -> Option<PinDigest> {
    digest_from_hex(std::str::from_utf8(line).ok()?.strip_prefix(PIN_REFUSED)?.strip_suffix('\n')?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_core_is_told_of_what_was_refused_before_it_and_of_no_more_than_there_is_room_for() {
        let mut pins = Pins::new().unwrap();
        let told = |pins: &Pins| taken(&UnixDatagram::from(pins.handed_over().unwrap()), drop).unwrap();
        assert_eq!(format!("{:?}", told(&pins)), "RefusedPins(0 of them)");
        for byte in 0..=u8::try_from(PINS_MAX).unwrap() {
            pins.remember([byte; PIN_DIGEST_BYTES]);
            pins.remember([byte; PIN_DIGEST_BYTES]);
        }
        assert_eq!(format!("{:?}", told(&pins)), format!("RefusedPins({PINS_MAX} of them)"));
        assert_eq!(pins.refused.first(), Some(&[1; PIN_DIGEST_BYTES]), "the oldest has gone");
        assert_ne!(*pins.key, *Pins::new().unwrap().key);
    }

    #[test]
    fn what_a_core_says_is_read_strictly() {
        let digest = [0xa5; PIN_DIGEST_BYTES];
        assert_eq!(heard(said(&digest).as_bytes()), Some(digest));
        let digits = "a5".repeat(PIN_DIGEST_BYTES);
        for line in [
            "",
            "pin-refused\n",
            "pin-refused \n",
            &format!("pin-refused {digits}"),
            &format!("pin-refused {digits}a5\n"),
            &format!("{digits}\n"),
            &format!("pin-refused {}\n", digits.to_uppercase()),
        ] {
            assert_eq!(heard(line.as_bytes()), None, "{line:?}");
        }
    }
}
