//! Any bytes as a caller's header `traceparent`.
#![no_main]

use hallmark_traces::{TRACE_PARENT_BYTES_MAX, TraceParent};
use libfuzzer_sys::fuzz_target;

/// Bytes up to the flags.
const IDENTIFIERS_END: usize = 53;

fuzz_target!(|header: &[u8]| {
    let Some(parent) = TraceParent::parse(header) else { return };
    assert!(header.len() <= TRACE_PARENT_BYTES_MAX, "a header without a bound");
    assert!(parent.trace.bytes() != [0; 16] && parent.span.bytes() != [0; 8], "an identifier of zeros");
    let written = parent.to_string();
    assert_eq!(TraceParent::parse(written.as_bytes()), Some(parent), "it does not read as it is written");
    assert_eq!(&written.as_bytes()[2..IDENTIFIERS_END], &header[2..IDENTIFIERS_END], "a second spelling");
    assert!(!header.starts_with(b"ff"), "no version");
    assert!(!header.starts_with(b"00") || header.len() == written.len(), "more than this version has");
});
