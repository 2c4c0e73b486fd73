//! A published log on a server: HTTP/1.1, with TLS or without. Everything in a log is signed, so a server cannot forge;
//! TLS keeps what is looked up from others.

use std::{
    env,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use hallmark_tlog::bundle::BUNDLE_BYTES_MAX;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::{
    net::TcpStream,
    runtime::{Builder, Runtime},
    time,
};
use tokio_rustls::TlsConnector;

use crate::files::FileError;

/// How long one file may take.
const FETCH_SECS_MAX: u64 = 30;

/// Certificates of authorities that the system trusts, where Debian and others keep them.
const SYSTEM_CA: &str = "/etc/ssl/certs/ca-certificates.crt";

/// A server, and connections to it that are idle. Several threads fetch at the same time.
pub(crate) struct Remote {
    base: String,
    host: String,
    address: String,
    prefix: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    idle: Mutex<Vec<Connection>>,
}

/// One connection, and what runs it.
struct Connection {
    runtime: Runtime,
    sender: SendRequest<Empty<Bytes>>,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Remote({})", self.base)
    }
}

impl Remote {
    /// Reads the URL and, where it is `https`, the authorities to trust. Nothing is connected yet.
    pub(crate) fn new(url: &str, ca: Option<&Path>) -> Result<Self, FileError> {
        let base = url.trim_end_matches('/').to_owned();
        let wrong = |sentence: &str| FileError::Fetch { url: url.to_owned(), sentence: sentence.to_owned() };
        let (scheme, rest) = base.split_once("://").ok_or_else(|| wrong("it has no scheme"))?;
        let (host, prefix) =
            rest.split_once('/').map_or((rest, String::new()), |(host, path)| (host, format!("/{path}")));
        let is_plain =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'@'));
        if host.is_empty() || !is_plain(rest) {
            return Err(wrong("it is not a scheme, a host and a path"));
        }
        let (host, prefix) = (host.to_owned(), prefix.clone());
        let (name, port) = parted(&host);
        let usual = if scheme == "https" { 443 } else { 80 };
        let address = format!("{name}:{}", port.unwrap_or(usual));
        let tls = if scheme == "https" { Some(tls(name, ca, &wrong)?) } else { None };
        Ok(Self { base, host, address, prefix, tls, idle: Mutex::default() })
    }

    pub(crate) fn url_of(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }

    /// A file; nothing where the server says that there is none.
    pub(crate) fn fetch(&self, path: &str) -> Result<Option<Vec<u8>>, FileError> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(mut connection) = kept
            && let Ok(fetched) = self.fetch_over(&mut connection, path)
        {
            self.keep(connection);
            return Ok(fetched);
        }
        // There was none, or it was closed meanwhile.
        let mut connection = self.connect()?;
        let fetched = self.fetch_over(&mut connection, path)?;
        self.keep(connection);
        Ok(fetched)
    }

    fn keep(&self, connection: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }

    fn failed(&self, path: &str, cause: &dyn std::fmt::Display) -> FileError {
        FileError::Fetch { url: self.url_of(path), sentence: cause.to_string() }
    }

    fn connect(&self) -> Result<Connection, FileError> {
        let failed = |cause: &dyn std::fmt::Display| self.failed("", cause);
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| failed(&error))?;
        let sender = runtime.block_on(async {
            let within = Duration::from_secs(FETCH_SECS_MAX);
            let tcp = time::timeout(within, TcpStream::connect(&self.address)).await;
            let tcp = tcp.map_err(|_| failed(&"it did not answer in time"))?.map_err(|error| failed(&error))?;
            match &self.tls {
                Some((connector, name)) => {
                    let tls = time::timeout(within, connector.connect(name.clone(), tcp)).await;
                    let tls = tls.map_err(|_| failed(&"it did not answer in time"))?.map_err(|error| failed(&error))?;
                    shake(TokioIo::new(tls)).await.map_err(|error| failed(&error))
                }
                None => shake(TokioIo::new(tcp)).await.map_err(|error| failed(&error)),
            }
        })?;
        Ok(Connection { runtime, sender })
    }

    fn fetch_over(&self, connection: &mut Connection, path: &str) -> Result<Option<Vec<u8>>, FileError> {
        let failed = |cause: &dyn std::fmt::Display| self.failed(path, cause);
        let target = format!("{}/{path}", self.prefix);
        let request = Request::get(target).header(header::HOST, &self.host).body(Empty::new());
        let request = request.map_err(|error| failed(&error))?;
        let Connection { runtime, sender } = connection;
        let asked = async {
            sender.ready().await.map_err(|error| failed(&error))?;
            let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), BUNDLE_BYTES_MAX).collect().await;
            Ok((status, body.map_err(|error| failed(&error))?.to_bytes()))
        };
        // The clock of a timeout is the runtime's: it is made inside.
        let answered = runtime.block_on(async { time::timeout(Duration::from_secs(FETCH_SECS_MAX), asked).await });
        let (status, body) = answered.map_err(|_| failed(&"it did not answer in time"))??;
        match status {
            StatusCode::OK => Ok(Some(body.to_vec())),
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
            other => Err(failed(&format!("the server answered {other}"))),
        }
    }
}

async fn shake<T>(stream: TokioIo<T>) -> hyper::Result<SendRequest<Empty<Bytes>>>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(stream).await?;
    // How it ends is told by the request that was under way.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// A host and its port, if there is one. An IPv6 address stands in brackets (RFC 3986, section 3.2.2).
fn parted(host: &str) -> (&str, Option<u16>) {
    match host.rsplit_once(':').map(|(name, port)| (name, port.parse())) {
        Some((name, Ok(port))) if !name.starts_with('[') || name.ends_with(']') => (name, Some(port)),
        Some(_) | None => (host, None),
    }
}

fn tls(
    host: &str,
    ca: Option<&Path>,
    wrong: &dyn Fn(&str) -> FileError,
) -> Result<(TlsConnector, ServerName<'static>), FileError> {
    let name = host.trim_matches(['[', ']']);
    let name = ServerName::try_from(name.to_owned()).map_err(|_| wrong("its host is no name and no address"))?;
    let system = || env::var_os("SSL_CERT_FILE").map_or_else(|| PathBuf::from(SYSTEM_CA), PathBuf::from);
    let path = ca.map_or_else(system, Path::to_owned);
    let unexpected = || FileError::Unexpected { path: path.clone(), expected: "CA certificate (PEM)" };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&path).map_err(|_| unexpected())? {
        roots.add(certificate.map_err(|_| unexpected())?).map_err(|_| unexpected())?;
    }
    if roots.is_empty() {
        return Err(unexpected());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| wrong(&error.to_string()))?.with_root_certificates(roots).with_no_client_auth();
    Ok((TlsConnector::from(Arc::new(config)), name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_with_a_port_or_without() {
        for (host, parts) in [
            ("signer.example", ("signer.example", None)),
            ("signer.example:8443", ("signer.example", Some(8443))),
            ("127.0.0.1:80", ("127.0.0.1", Some(80))),
            ("[::1]", ("[::1]", None)),
            ("[::1]:8443", ("[::1]", Some(8443))),
            ("[fe80::1:2]", ("[fe80::1:2]", None)),
        ] {
            assert_eq!(parted(host), parts);
        }
        let directory = tempfile::tempdir().unwrap();
        let (ca, wrong) = (directory.path().join("ca.pem"), |sentence: &str| panic!("{sentence}"));
        let made = rcgen::generate_simple_self_signed(["signer.example".to_owned()]).unwrap();
        std::fs::write(&ca, made.cert.pem()).unwrap();
        let (_, name) = tls("[::1]", Some(&ca), &wrong).unwrap();
        assert!(matches!(name, ServerName::IpAddress(_)), "{name:?}");
        assert_eq!(Remote::new("https://[::1]/log", Some(&ca)).unwrap().address, "[::1]:443");
    }
}
