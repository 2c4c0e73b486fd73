//! Outside judges: openssl and others, run on files.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use hallmark_proto::signer::MintCertificateResponse;

/// Runs a command and gives its output; both streams, in order.
///
/// # Panics
/// If it cannot be run or fails.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let (success, text) = attempt(program, arguments);
    assert!(success, "{program} {arguments:?} failed:\n{text}");
    text
}

/// Runs a command; whether it succeeded, and its output.
///
/// # Panics
/// If it cannot be run.
pub fn attempt(program: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// The certificates of a response, as PEM files in a directory.
#[derive(Debug)]
pub struct Pem {
    /// The leaf.
    pub leaf: PathBuf,
    /// The intermediate.
    pub intermediate: PathBuf,
    /// The mesh CA.
    pub mesh_ca: PathBuf,
    /// The root.
    pub root: PathBuf,
}

impl Pem {
    /// Writes them.
    ///
    /// # Panics
    /// If they cannot be written.
    #[must_use]
    pub fn write(directory: &Path, response: &MintCertificateResponse) -> Self {
        let write = |name: &str, der: &[u8]| {
            let path = directory.join(name);
            std::fs::write(&path, pem("CERTIFICATE", der)).expect("a file is written");
            path
        };
        Self {
            leaf: write("leaf.pem", &response.certificate),
            intermediate: write("intermediate.pem", &response.chain[0]),
            mesh_ca: write("mesh-ca.pem", &response.mesh_ca),
            root: write("root.pem", &response.root),
        }
    }
}

/// One PEM block.
#[must_use]
pub fn pem(label: &str, der: &[u8]) -> String {
    pem_rfc7468::encode_string(label, pem_rfc7468::LineEnding::LF, der).expect("PEM")
}

/// The TBSCertificate in a certificate: the first element of the outer SEQUENCE.
#[must_use]
pub fn tbs(certificate: &[u8]) -> &[u8] {
    let inner = &certificate[header(certificate).0..];
    let (start, length) = header(inner);
    &inner[..start + length]
}

/// Bytes of an element's header, and of its content.
fn header(der: &[u8]) -> (usize, usize) {
    match der[1] {
        short @ 0..=0x7f => (2, usize::from(short)),
        long => {
            let bytes = usize::from(long & 0x7f);
            let length = der[2..2 + bytes].iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            (2 + bytes, length)
        }
    }
}

/// The SubjectPublicKeyInfo in a certificate: the element that holds its raw EC point is found by its algorithm.
///
/// # Panics
/// If the key is not on P-256.
#[must_use]
pub fn spki(certificate: &[u8]) -> &[u8] {
    const P256: &[u8] = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
    let at = certificate.windows(P256.len()).position(|window| window == P256).expect("a P-256 key");
    &certificate[at..at + 91]
}

/// SHA-256.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref().try_into().expect("32 bytes")
}

/// Reads hexadecimal digits.
///
/// # Panics
/// If they are none.
#[must_use]
pub fn from_hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2) && text.is_ascii(), "{text}");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal")).collect()
}

/// The DER of one PEM block.
///
/// # Panics
/// If it is none.
#[must_use]
pub fn der(label: &str, text: &str) -> Vec<u8> {
    let (found, der) = pem_rfc7468::decode_vec(text.trim().as_bytes()).expect("PEM");
    assert_eq!(found, label);
    der
}
