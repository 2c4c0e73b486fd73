//! One connection: TLS 1.3 with a client certificate, HTTP/2, and nothing in front of it that would cost time.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use anyhow::{Context as _, bail};
use hallmark_proto::signer::signer_client::SignerClient;
use hyper::{
    body::Incoming,
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore, client::Resumption, crypto::aws_lc_rs, version::TLS13};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::body::Body;
use tower::Service;

use crate::arguments::Arguments;

/// The ALPN name of HTTP/2 (RFC 9113, section 3.2).
const ALPN_HTTP2: &[u8] = b"h2";

/// The port of an https URL without one.
const HTTPS_PORT: u16 = 443;

/// A client over one connection; a copy asks over the same.
#[derive(Clone)]
pub(crate) struct Client {
    /// Asks.
    pub(crate) signer: SignerClient<Connected>,
    sender: SendRequest<Body>,
}

impl Client {
    /// Whether the connection has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

/// Makes connections to one signer.
#[derive(Clone)]
pub(crate) struct Connector {
    origin: http::Uri,
    address: (String, u16),
    name: ServerName<'static>,
    tls: TlsConnector,
}

impl Connector {
    /// Reads the files.
    pub(crate) fn new(arguments: &Arguments) -> anyhow::Result<Self> {
        let origin = arguments.signer.clone();
        let Some(host) = origin.host().filter(|_| origin.scheme_str() == Some("https")) else {
            bail!("--signer is no https URL: `{origin}`");
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host.clone()).context("the host in --signer is no name")?;
        let tls = TlsConnector::from(Arc::new(client_config(arguments)?));
        Ok(Self { address: (host, origin.port_u16().unwrap_or(HTTPS_PORT)), name, tls, origin })
    }

    /// Where the signer is.
    pub(crate) fn address(&self) -> (&str, u16) {
        (&self.address.0, self.address.1)
    }

    /// A connection on which nothing of HTTP was said.
    pub(crate) async fn secured(&self) -> anyhow::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(&self.address).await.context("cannot connect to the signer")?;
        tcp.set_nodelay(true)?;
        self.tls.connect(self.name.clone(), tcp).await.context("the TLS handshake failed")
    }

    /// Connects.
    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        let tls = self.secured().await?;
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(tls));
        let (sender, connection) = handshake.await.context("the HTTP/2 handshake failed")?;
        tokio::spawn(connection);
        let signer = SignerClient::with_origin(Connected(sender.clone()), self.origin.clone());
        Ok(Client { signer, sender })
    }
}

fn client_config(arguments: &Arguments) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&arguments.ca).context("cannot read --ca")? {
        roots.add(certificate.context("cannot read --ca")?).context("--ca has no CA certificate")?;
    }
    let chain = CertificateDer::pem_file_iter(&arguments.cert).context("cannot read --cert")?;
    let chain = chain.collect::<Result<Vec<_>, _>>().context("cannot read --cert")?;
    let key = PrivateKeyDer::from_pem_file(&arguments.key).context("cannot read --key")?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .context("--cert and --key do not belong together")?;
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
    // A new connection is to cost what it costs a caller who was never here.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// An open connection, as tonic's clients want it.
#[derive(Clone)]
pub(crate) struct Connected(SendRequest<Body>);

impl Service<http::Request<Body>> for Connected {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Answering;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Answering {
        Box::pin(self.0.send_request(request))
    }
}

/// An answer on its way.
type Answering = std::pin::Pin<Box<dyn Future<Output = hyper::Result<http::Response<Incoming>>> + Send>>;
