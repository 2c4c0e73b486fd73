//! Why a signer was not reached, or did not answer.

use std::{io, path::PathBuf, time::Duration};

use hallmark_policy::time::Span;
use rustls::{AlertDescription, CertificateError};

use crate::{exit::Exit, files::FileError, signer_url::SignerUrlError, watched::Alert};

/// A connection that did not come about, or ended too early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    /// The URL is none.
    #[error(transparent)]
    Url(SignerUrlError),
    /// A TLS file does not serve.
    #[error(transparent)]
    File(#[from] FileError),
    /// A certificate in the CA file cannot be trusted through.
    #[error("a certificate in `{}` cannot be a trust anchor: {source}", path.display())]
    Anchor {
        /// The CA file.
        path: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// Client certificate and key do not serve.
    #[error("`{}` and `{}` do not belong together", cert.display(), key.display())]
    Identity {
        /// The certificate file.
        cert: PathBuf,
        /// The key file.
        key: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// TLS cannot be set up at all.
    #[error("TLS 1.3 cannot be set up")]
    Tls(#[source] rustls::Error),
    /// No TCP connection.
    #[error("the signer at {address} cannot be reached")]
    Unreachable {
        /// Host and port.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// The server is not who it should be.
    #[error("the server at {address} is not trusted: {detail}")]
    NotTrusted {
        /// Host and port.
        address: String,
        /// Why.
        detail: String,
    },
    /// Another failure of the handshake.
    #[error("the server at {address} does not complete the TLS 1.3 handshake")]
    Handshake {
        /// Host and port.
        address: String,
        /// What rustls says.
        source: io::Error,
    },
    /// Not a gRPC server.
    #[error("the server at {address} speaks TLS, but not HTTP/2; it is no signer")]
    NotHttp2 {
        /// Host and port.
        address: String,
    },
    /// The signer does not take the client certificate.
    #[error("the signer at {address} does not take the client certificate: {detail}")]
    ClientNotTaken {
        /// Host and port.
        address: String,
        /// The alert, in words.
        detail: String,
    },
    /// The connection ended.
    #[error("the signer at {address} ended the connection before it answered")]
    Lost {
        /// Host and port.
        address: String,
    },
    /// Too late.
    #[error("the signer at {address} did not answer within {}", Span::from_secs(timeout.as_secs()))]
    NotInTime {
        /// Host and port.
        address: String,
        /// What was waited.
        timeout: Duration,
    },
}

impl ConnectionError {
    /// What a failed handshake means.
    pub(super) fn of_handshake(address: String, source: io::Error) -> Self {
        let tls: Option<&rustls::Error> = source.get_ref().and_then(|error| error.downcast_ref());
        match tls {
            Some(rustls::Error::InvalidCertificate(reason)) => Self::NotTrusted { address, detail: words(reason) },
            Some(rustls::Error::AlertReceived(alert)) => Self::of_alert(address, *alert),
            Some(_) | None => Self::Handshake { address, source },
        }
    }

    /// What the end of a connection means.
    pub(super) fn lost(address: String, alert: &Alert) -> Self {
        match alert.get() {
            Some(alert) => Self::of_alert(address, *alert),
            None => Self::Lost { address },
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the other alerts are not about the client's certificate")]
    fn of_alert(address: String, alert: AlertDescription) -> Self {
        let detail = match alert {
            AlertDescription::CertificateRequired => "it wants one, and none that suits it was sent",
            AlertDescription::UnknownCA => "it does not trust the CA that issued it",
            AlertDescription::CertificateExpired => "it has expired",
            AlertDescription::CertificateRevoked => "it is revoked",
            AlertDescription::BadCertificate => "it cannot be read or its signature is wrong",
            AlertDescription::UnsupportedCertificate => "it is of a kind that is not taken",
            AlertDescription::AccessDenied => "access is denied",
            AlertDescription::DecryptError | AlertDescription::CertificateUnknown => "it does not verify",
            _ => return Self::Lost { address },
        };
        Self::ClientNotTaken { address, detail: detail.to_owned() }
    }

    /// The exit code: a certificate that is turned away will not do better the next time.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Url(_) | Self::File(_) | Self::Anchor { .. } | Self::Identity { .. } | Self::Tls(_) => Exit::Unusable,
            Self::ClientNotTaken { .. } => Exit::No,
            Self::Unreachable { .. }
            | Self::NotTrusted { .. }
            | Self::Handshake { .. }
            | Self::NotHttp2 { .. }
            | Self::Lost { .. }
            | Self::NotInTime { .. } => Exit::NotNow,
        }
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> String {
        let hint = match self {
            Self::File(error) => return error.hint(),
            Self::Url(_) => "write it as https://HOST:PORT",
            Self::Anchor { .. } => "name the PEM file of the CA that issued the signer's own TLS certificate with --ca",
            Self::Identity { .. } => "name the certificate with --cert and the key that it was issued for with --key",
            Self::Tls(_) => "this is a defect of this program",
            Self::Unreachable { .. } => "check the URL, and that the signer is running",
            Self::NotTrusted { .. } => "check --ca and the host name in --signer; do not go on without",
            Self::Handshake { .. } => "check that the port is the signer's; a signer speaks TLS 1.3 only",
            Self::NotHttp2 { .. } => "check the port in --signer",
            Self::ClientNotTaken { .. } => "check --cert: it has to chain to a CA in the signer's own `callers` file",
            Self::Lost { .. } => "try again with the same --request-id: it cannot mint twice",
            Self::NotInTime { .. } => {
                "try again with the same --request-id, which cannot mint twice, or give a longer --timeout"
            }
        };
        hint.to_owned()
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "rare ones are said in rustls' own words")]
fn words(reason: &CertificateError) -> String {
    match reason {
        CertificateError::UnknownIssuer => "its certificate does not chain to a CA in the --ca file".to_owned(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its certificate has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name".to_owned()
        }
        CertificateError::BadSignature => "the signature of its certificate is wrong".to_owned(),
        CertificateError::Revoked => "its certificate is revoked".to_owned(),
        other => other.to_string(),
    }
}
