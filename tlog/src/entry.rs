//! What an entry is to the log: some bytes, not too many.

/// Longest entry, in bytes: its length is a uint16 in the bundle (C2SP `tlog-tiles`, log entries).
pub const ENTRY_BYTES_MAX: usize = 65_535;
