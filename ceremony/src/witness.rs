//! Keys by which witnesses sign transcripts: SSH keys, in files and in FIDO tokens, and those of X.509 certificates.
//!
//! What is signed is the transcript, byte by byte. The file of the ceremony has the key or the certificate itself, so that nothing else has to
//! be believed for it: no chain is looked at.

mod certificate;
mod ssh;

use hallmark_policy::time::UnixTime;

pub use certificate::WitnessCertificate;

/// The namespace of SSH signatures over transcripts (OpenSSH, PROTOCOL.sshsig).
pub const NAMESPACE: &str = "hallmark-ceremony";

/// What is said of a signature that does not verify.
const WRONG: &str = "its signature is wrong";

/// The key of a witness.
#[derive(Clone, Debug)]
pub enum WitnessKey {
    /// An SSH key, by which `ssh-keygen -Y sign` signs.
    Ssh(Box<ssh_key::PublicKey>),
    /// The key of a certificate, by which `openssl` signs.
    Certificate(Box<WitnessCertificate>),
}

impl WitnessKey {
    /// Reads a line of OpenSSH.
    pub(crate) fn ssh(text: &str) -> Result<Self, &'static str> {
        ssh::read(text).map(|key| Self::Ssh(Box::new(key)))
    }

    /// Reads a certificate, PEM.
    pub(crate) fn certificate(text: &str) -> Result<Self, &'static str> {
        WitnessCertificate::read(text).map(|certificate| Self::Certificate(Box::new(certificate)))
    }

    /// The command by which a transcript is signed, and where its result belongs.
    #[must_use]
    pub fn how_to_sign(&self, transcript: &str, initials: &str) -> String {
        let out = format!("{transcript}.{initials}.sig");
        match self {
            Self::Ssh(_) => {
                format!("`ssh-keygen -Y sign -f KEY -n {NAMESPACE} {transcript}`, and calls the result `{out}`")
            }
            Self::Certificate(certificate) if certificate.is_ed25519() => {
                format!("`openssl pkeyutl -sign -rawin -inkey KEY -in {transcript} -out {out}`")
            }
            Self::Certificate(_) => format!("`openssl dgst -sha256 -sign KEY -out {out} {transcript}`"),
        }
    }

    /// Whether a signature is one over these bytes by this key, and the key was good then.
    pub(crate) fn signed(&self, bytes: &[u8], signature: &[u8], then: UnixTime) -> Result<(), &'static str> {
        match self {
            Self::Ssh(key) => ssh::holds(signature, bytes, key),
            Self::Certificate(certificate) => certificate.holds(signature, bytes, then),
        }
    }
}
