//! The header `traceparent` of a caller (W3C Trace Context, section 3.2): which trace its call belongs to, and the span that made it.
//!
//! It is a caller's word. Two identifiers and a flag are all that is read of it, in one spelling, and what is not exactly that is as if it were not there.

use std::fmt;

use crate::id::{SpanId, TraceId};

/// Longest header that is looked at, in bytes: a version after this one may have more fields.
pub const TRACE_PARENT_BYTES_MAX: usize = 256;

/// Bytes of version, trace, span and flags with the dashes between them, which every version begins with.
const KNOWN_BYTES: usize = 55;

/// The version that is no version.
const NO_VERSION: u8 = 0xff;

/// The flag that says that the caller records its span.
const SAMPLED: u8 = 0x01;

/// What a caller says of the trace that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace.
    pub trace: TraceId,
    /// The caller's span in it.
    pub span: SpanId,
    /// Whether the caller records it.
    pub sampled: bool,
}

impl TraceParent {
    /// Reads a header; none where it is not exactly one. Of a later version, the fields that this one has are read.
    #[must_use]
    pub fn parse(header: &[u8]) -> Option<Self> {
        if header.len() > TRACE_PARENT_BYTES_MAX {
            return None;
        }
        let (known, rest) = header.split_at_checked(KNOWN_BYTES)?;
        let mut fields = known.split(|byte| *byte == b'-');
        let [version] = bytes_of(fields.next()?)?;
        let trace = TraceId::new(bytes_of(fields.next()?)?)?;
        let span = SpanId::new(bytes_of(fields.next()?)?)?;
        let [flags] = bytes_of(fields.next()?)?;
        let is_whole = match (version, rest) {
            (NO_VERSION, _) => false,
            (0, rest) => rest.is_empty(),
            (_, rest) => matches!(rest, [] | [b'-', ..]),
        };
        (is_whole && fields.next().is_none()).then_some(Self { trace, span, sampled: flags & SAMPLED != 0 })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

/// Lower-case hexadecimal digits of exactly so many bytes.
fn bytes_of<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = value_of(*high)? << 4 | value_of(*low)?;
    }
    Some(bytes)
}

fn value_of(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification.
    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn parsed(header: &str) -> Option<String> {
        TraceParent::parse(header.as_bytes()).map(|parent| parent.to_string())
    }

    #[test]
    fn a_header_of_this_version_reads_as_it_is_written() {
        assert_eq!(parsed(EXAMPLE).as_deref(), Some(EXAMPLE));
        let not_sampled = EXAMPLE.replace("-01", "-00");
        assert_eq!(parsed(&not_sampled), Some(not_sampled));
        let parent = TraceParent::parse(EXAMPLE.as_bytes()).unwrap();
        assert!(parent.sampled);
        assert_eq!(parent.span.bytes(), [0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
    }

    #[test]
    fn of_the_flags_one_is_known_and_the_others_say_nothing() {
        for (flags, sampled) in [("02", false), ("03", true), ("fe", false), ("ff", true)] {
            let header = EXAMPLE.replace("-01", &format!("-{flags}"));
            assert_eq!(TraceParent::parse(header.as_bytes()).unwrap().sampled, sampled, "{flags}");
        }
    }

    #[test]
    fn of_a_later_version_the_known_fields_are_read() {
        for later in ["01", "7f", "fe"] {
            let header = EXAMPLE.replacen("00", later, 1);
            for header in [header.clone(), format!("{header}-"), format!("{header}-what-will-be")] {
                assert_eq!(parsed(&header).as_deref(), Some(EXAMPLE), "{header}");
            }
            for joined in ["0", "x", " ", "_-"] {
                assert_eq!(parsed(&format!("{header}{joined}")), None, "{later} {joined}");
            }
        }
    }

    #[test]
    fn every_other_header_is_none() {
        let long = format!("{}-{}", EXAMPLE.replacen("00", "01", 1), "a".repeat(TRACE_PARENT_BYTES_MAX));
        let wrong = [
            "",
            "-",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-011",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "FE-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0-04bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00F067AA0BA902B7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736 00f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 ",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01,00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            &long,
        ];
        for header in wrong {
            assert_eq!(parsed(header), None, "{header:?}");
        }
        assert_eq!(TraceParent::parse(&[0xff; KNOWN_BYTES]), None);
    }
}
