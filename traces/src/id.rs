//! Identifiers of traces and spans (W3C Trace Context, sections 3.2.2.3 and 3.2.2.4): random, and never all zero.

use std::fmt;

/// An identifier of so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id<const BYTES: usize>([u8; BYTES]);

/// Which trace: 16 bytes.
pub type TraceId = Id<16>;

/// Which span of a trace: 8 bytes.
pub type SpanId = Id<8>;

impl<const BYTES: usize> Id<BYTES> {
    /// None of zeros alone, which stand for none.
    #[must_use]
    pub fn new(bytes: [u8; BYTES]) -> Option<Self> {
        (bytes != [0; BYTES]).then_some(Self(bytes))
    }

    /// As it travels.
    #[must_use]
    pub fn bytes(self) -> [u8; BYTES] {
        self.0
    }
}

impl<const BYTES: usize> fmt::Display for Id<BYTES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Bytes of the generator that this process has for serial numbers, too; none where the system gives none.
pub(crate) fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).ok().map(|()| bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_no_identifier_and_anything_else_is_one() {
        assert_eq!((TraceId::new([0; 16]), SpanId::new([0; 8])), (None, None));
        let (mut trace, mut span) = ([0; 16], [0; 8]);
        (trace[15], span[0]) = (1, 0xa0);
        let told = (TraceId::new(trace).unwrap().to_string(), SpanId::new(span).unwrap().to_string());
        assert_eq!(told, ("00000000000000000000000000000001".to_owned(), "a000000000000000".to_owned()));
    }

    #[test]
    fn random_bytes_are_others_each_time() {
        assert_ne!(random::<16>().unwrap(), random::<16>().unwrap());
    }
}
