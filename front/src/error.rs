//! Why a front does not start, or keeps its old TLS files.

use std::{io, net::SocketAddr, path::PathBuf};

use crate::tls_files::TLS_FILE_BYTES_MAX;

/// Why a front does not start, or a reload changes nothing.
#[derive(Debug, thiserror::Error)]
pub enum FrontError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}; free it or name another in [listen] address")]
    Listen {
        /// The address of the configuration.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A TLS file cannot be read.
    #[error("cannot read `{}`; check the path and its permissions", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others can read the server's key.
    #[error("the key `{}` can be read by others (mode {mode:04o}); hint: chmod 600 {}", path.display(), path.display())]
    KeyReadable {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A TLS file is too large to be one.
    #[error("`{}` has more than {TLS_FILE_BYTES_MAX} bytes; check that it is the right file", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A TLS file does not hold what it should.
    #[error("`{}` holds no readable {expected}; write it as PEM", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        expected: &'static str,
    },
    /// The server's certificate and key do not serve.
    #[error("`{}` and `{}` cannot serve; check that the key belongs to the first certificate", certificate.display(), key.display())]
    Identity {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// A certificate of the callers' bundle is no trust anchor.
    #[error("a certificate in `{}` cannot be trusted through; remove it", path.display())]
    Anchor {
        /// The bundle.
        path: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// Callers cannot be verified with this bundle and these revocation lists.
    #[error("callers cannot be verified with `{}` and its revocation lists; check both", path.display())]
    Verifier {
        /// The bundle.
        path: PathBuf,
        /// What rustls says.
        source: rustls::client::VerifierBuilderError,
    },
    /// The bundle trusts callers through an authority that the daemon does not want there.
    #[error("`{}` trusts callers through an authority that is signed here; use a bundle of its own", path.display())]
    AnchorNotWanted {
        /// The bundle.
        path: PathBuf,
    },
    /// The provider has no TLS 1.3.
    #[error("the TLS library offers no TLS 1.3; build with aws-lc-rs")]
    NoTls13 {
        /// What rustls says.
        source: rustls::Error,
    },
    /// The descriptors compiled in cannot be read.
    #[error("the interface's descriptors cannot be read; this is a fault of the build")]
    Descriptors {
        /// What prost says.
        source: prost::DecodeError,
    },
    /// Reflection cannot be offered.
    #[error("the interface's descriptors cannot be reflected; this is a fault of the build")]
    Reflection {
        /// What tonic says.
        source: tonic_reflection::server::Error,
    },
    /// The thread that reads TLS files ended early.
    #[error("reading the TLS files was interrupted; try the reload again")]
    Interrupted,
}
