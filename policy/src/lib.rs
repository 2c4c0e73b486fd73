//! What may be certified: requests are read, a profile decides, and a draft is read back before anything is committed.
//!
//! This crate does no IO, reads no clock and draws no random numbers: time and serials are arguments. `clippy.toml` beside
//! it makes files, sockets, clocks and environment errors. It depends on no other crate of this project, and its
//! decoder (`rasn`) is not the encoder that writes certificates (`x509-cert`, in `issuance`).

pub mod key;

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
