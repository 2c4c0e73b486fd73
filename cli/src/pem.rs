//! PEM (RFC 7468), written and read.

use pem_rfc7468::LineEnding;

/// How every PEM block begins.
const BEGIN: &[u8] = b"-----BEGIN ";

/// Certificates, one block after the other.
pub(crate) fn certificates<'a>(ders: impl IntoIterator<Item = &'a [u8]>) -> String {
    let encode = |der| pem_rfc7468::encode_string("CERTIFICATE", LineEnding::LF, der).unwrap_or_default();
    ders.into_iter().map(encode).collect()
}

/// The DER in one PEM block, or the bytes themselves where there is no PEM.
pub(crate) fn der_of(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.trim_ascii_start().starts_with(BEGIN) {
        pem_rfc7468::decode_vec(bytes).ok().map(|(_, der)| der)
    } else {
        Some(bytes.to_vec())
    }
}

/// The DER of the first PEM block, or the bytes themselves where there is no PEM.
pub(crate) fn first(bytes: &[u8]) -> Option<Vec<u8>> {
    all(bytes)?.into_iter().next()
}

/// The DER of every PEM block, or the bytes themselves where there is no PEM.
pub(crate) fn all(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    if !bytes.trim_ascii_start().starts_with(BEGIN) {
        return Some(vec![bytes.to_vec()]);
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let mut found = Vec::new();
    let mut block = String::new();
    for line in text.lines() {
        if line.starts_with("-----BEGIN ") {
            block.clear();
        }
        block.push_str(line.trim_end());
        block.push('\n');
        if line.starts_with("-----END ") {
            found.push(pem_rfc7468::decode_vec(block.as_bytes()).ok()?.1);
        }
    }
    Some(found)
}
