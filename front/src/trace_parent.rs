//! The header `traceparent` of a call, which the core reads and the front does not.

use bytes::Bytes;
use hallmark_proto::link::TRACE_PARENT_BYTES_MAX;
use http::{HeaderMap, HeaderName};

const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// The header, if there is exactly one (W3C Trace Context, section 3.2); else nothing.
pub(crate) fn of(headers: &HeaderMap) -> Bytes {
    let mut all = headers.get_all(TRACE_PARENT).iter();
    match (all.next(), all.next()) {
        (Some(one), None) if one.len() <= TRACE_PARENT_BYTES_MAX => Bytes::copy_from_slice(one.as_bytes()),
        _ => Bytes::new(),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn passed(values: &[&[u8]]) -> Bytes {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TRACE_PARENT, HeaderValue::from_bytes(value).unwrap());
        }
        of(&headers)
    }

    #[test]
    fn one_header_is_passed_on_as_it_is_and_more_are_none() {
        assert_eq!(passed(&[]), Bytes::new());
        for one in [b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".as_slice(), b"\xff any bytes", b"x"] {
            assert_eq!(passed(&[one]), one);
        }
        assert_eq!(passed(&[b"one", b"two"]), Bytes::new());
        assert_eq!(passed(&[b"one", b"one"]), Bytes::new());
    }

    #[test]
    fn a_long_one_is_none() {
        let longest = [b'a'; TRACE_PARENT_BYTES_MAX];
        assert_eq!(passed(&[&longest]), longest.as_slice());
        assert_eq!(passed(&[&[b'a'; TRACE_PARENT_BYTES_MAX + 1]]), Bytes::new());
    }
}
