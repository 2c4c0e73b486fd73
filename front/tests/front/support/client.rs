//! A caller: rustls and hyper by hand, so that tests can also do what no gRPC library would.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_rustls::TlsConnector;
use tonic::{Code, Status, body::Body};

pub(crate) const SIGNER: &str = "/hallmark.signer.v1.Signer";
const PATIENCE: Duration = Duration::from_secs(20);

type Error = Box<dyn std::error::Error + Send + Sync>;

/// How to connect.
pub(crate) struct Dial {
    pub(crate) address: SocketAddr,
    pub(crate) roots: RootCertStore,
    pub(crate) identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    pub(crate) version: &'static SupportedProtocolVersion,
    pub(crate) alpn: Vec<Vec<u8>>,
}

/// A connection.
pub(crate) struct Caller {
    pub(crate) sender: SendRequest<Body>,
    pub(crate) server_certificate: CertificateDer<'static>,
    pub(crate) handshake: HandshakeKind,
    ended: JoinHandle<()>,
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) http: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) status: Status,
    pub(crate) body: Bytes,
}

impl Dial {
    pub(crate) async fn connect(self) -> Result<Caller, Error> {
        let address = self.address;
        Caller::connect(address, self.config()?).await
    }

    pub(crate) fn config(self) -> Result<Arc<ClientConfig>, Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[self.version])?
            .with_root_certificates(self.roots);
        let mut config = match self.identity {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn;
        Ok(Arc::new(config))
    }
}

impl Caller {
    pub(crate) async fn connect(address: SocketAddr, config: Arc<ClientConfig>) -> Result<Self, Error> {
        let tcp = TcpStream::connect(address).await?;
        let tls = TlsConnector::from(config).connect(ServerName::try_from("localhost")?, tcp).await?;
        let handshake = tls.get_ref().1.handshake_kind().unwrap();
        let server_certificate = tls.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned();
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(tls)).await?;
        let ended = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender, server_certificate, handshake, ended })
    }

    /// A whole call with one message.
    pub(crate) async fn call(&self, method: &str, message: &[u8]) -> Result<Answer, Error> {
        self.send(request(method).body(body(framed(message))).unwrap()).await
    }

    /// A whole call with a grpc-timeout.
    pub(crate) async fn call_within(&self, timeout: &str, method: &str, message: &[u8]) -> Result<Answer, Error> {
        self.send(request(method).header("grpc-timeout", timeout).body(body(framed(message))).unwrap()).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Answer, Error> {
        let mut sender = self.sender.clone();
        tokio::time::timeout(PATIENCE, async {
            sender.ready().await?;
            let response = sender.send_request(request).await?;
            let (parts, body) = response.into_parts();
            let body = body.collect().await?;
            let trailers = body.trailers().cloned().unwrap_or_default();
            let status = Status::from_header_map(&trailers)
                .or_else(|| Status::from_header_map(&parts.headers))
                .unwrap_or_else(|| Status::new(Code::Unknown, "no status at all"));
            Ok(Answer { http: parts.status, headers: parts.headers, status, body: body.to_bytes() })
        })
        .await
        .expect("an answer came in time")
    }

    /// The connection as generated clients want it.
    pub(crate) fn service(
        &self,
    ) -> impl tower::Service<
        http::Request<Body>,
        Response = http::Response<hyper::body::Incoming>,
        Error = hyper::Error,
        Future: Send,
    > + Clone
    + Send
    + use<> {
        let sender = self.sender.clone();
        tower::service_fn(move |request| sender.clone().send_request(request))
    }

    /// Waits until the connection has ended.
    pub(crate) async fn ended(self) {
        // Held meanwhile: a client without senders would end the connection itself.
        let _sender = self.sender;
        tokio::time::timeout(PATIENCE, self.ended).await.expect("the connection ended in time").unwrap();
    }
}

impl Answer {
    pub(crate) fn code(&self) -> Code {
        self.status.code()
    }

    /// The message of an answer that is OK.
    pub(crate) fn message(&self) -> Bytes {
        assert_eq!(self.code(), Code::Ok, "{:?}", self.status);
        self.body.slice(5..)
    }

    /// The reason of the first ErrorInfo.
    pub(crate) fn reason(&self) -> String {
        use tonic_types::StatusExt as _;
        self.status.get_error_details().error_info().expect("an ErrorInfo").reason.clone()
    }
}

/// What generated clients put before a path.
pub(crate) fn origin() -> http::Uri {
    http::Uri::from_static("https://localhost")
}

/// A POST of gRPC without a body.
pub(crate) fn request(path: &str) -> http::request::Builder {
    let path = if path.starts_with('/') { path.to_owned() } else { format!("{SIGNER}/{path}") };
    Request::post(format!("https://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
}

pub(crate) fn body(bytes: impl Into<Bytes>) -> Body {
    Body::new(Full::new(bytes.into()))
}

/// A message behind its prefix.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(message.len().try_into().unwrap());
    frame.put_slice(message);
    frame.freeze()
}
