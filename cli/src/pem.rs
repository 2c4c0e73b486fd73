//! PEM (RFC 7468), written and read.

use pem_rfc7468::LineEnding;

/// How every PEM block begins.
const BEGIN: &[u8] = b"-----BEGIN ";

/// Certificates, one block after the other.
pub(crate) fn certificates<'a>(ders: impl IntoIterator<Item = &'a [u8]>) -> String {
    let encode = |der| pem_rfc7468::encode_string("CERTIFICATE", LineEnding::LF, der).unwrap_or_default();
    ders.into_iter().map(encode).collect()
}

/// A certification request.
pub(crate) fn request(der: &[u8]) -> String {
    pem_rfc7468::encode_string("CERTIFICATE REQUEST", LineEnding::LF, der).unwrap_or_default()
}

/// A CRL.
pub(crate) fn crl(der: &[u8]) -> String {
    pem_rfc7468::encode_string("X509 CRL", LineEnding::LF, der).unwrap_or_default()
}

/// The DER of the first certificate: of a PEM file that others may follow in, or the bytes themselves.
pub(crate) fn first_certificate(bytes: &[u8]) -> Option<Vec<u8>> {
    const END: &[u8] = b"-----END CERTIFICATE-----";
    let bytes = bytes.trim_ascii_start();
    if !bytes.starts_with(BEGIN) {
        return Some(bytes.to_vec()).filter(|bytes| !bytes.is_empty());
    }
    let end = bytes.windows(END.len()).position(|window| window == END)?;
    let first = bytes.get(..end + END.len())?;
    pem_rfc7468::decode_vec(first).ok().filter(|(label, _)| *label == "CERTIFICATE").map(|(_, der)| der)
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
