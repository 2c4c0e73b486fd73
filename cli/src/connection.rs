//! One connection to a signer: TLS 1.3 with a client certificate, HTTP/2, and a deadline for everything together.

mod error;
mod identity;

use std::{
    error::Error as _,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use hallmark_proto::{operator::operator_client::OperatorClient, signer::signer_client::SignerClient};
use hyper::{body::Incoming, client::conn::http2::SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{net::TcpStream, runtime::Runtime, time};
use tokio_rustls::TlsConnector;
use tonic::{Request, Response, Status, body::Body};
use tonic_health::pb::health_client::HealthClient;

pub(crate) use error::ConnectionError;

use crate::{
    problem::Problem,
    refusal::Refused,
    settings::ConnectionSettings,
    signer_url::SignerUrl,
    watched::{Alert, Watched},
};

/// The ALPN name of HTTP/2 (RFC 9113, section 3.2).
const ALPN_HTTP2: &[u8] = b"h2";

/// How often a connection that waits for an answer is asked whether it still stands.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// What is waited beyond the deadline, so that a signer that keeps it can say what became of the request.
const GRACE: Duration = Duration::from_secs(1);

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Body>,
    url: SignerUrl,
    until: Instant,
    timeout: Duration,
    alert: Alert,
}

/// What runs connections.
pub(crate) fn runtime() -> Result<Runtime, Problem> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Problem::Runtime)
}

/// Opens a connection, makes one call to the operators' service, and is done.
pub(crate) fn operate<Q, A, F>(
    settings: &ConnectionSettings,
    question: Q,
    call: impl FnOnce(OperatorClient<Service>, Request<Q>) -> F,
) -> Result<A, Problem>
where
    F: Future<Output = Result<Response<A>, Status>>,
{
    runtime()?.block_on(async {
        let connection = Connection::open(settings).await?;
        connection.call_operator(question, call).await
    })
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(settings: &ConnectionSettings) -> Result<Self, Problem> {
        let until = Instant::now() + settings.timeout;
        let url = SignerUrl::parse(&settings.signer).map_err(ConnectionError::Url)?;
        let config = identity::client_config(settings, ALPN_HTTP2)?;
        let connecting = Self::connect(url.clone(), config, until, settings.timeout);
        let connected = time::timeout_at(until.into(), connecting).await;
        Ok(connected.map_err(|_| ConnectionError::NotInTime { address: url.address, timeout: settings.timeout })??)
    }

    async fn connect(
        url: SignerUrl,
        config: Arc<rustls::ClientConfig>,
        until: Instant,
        timeout: Duration,
    ) -> Result<Self, ConnectionError> {
        let address = || url.address.clone();
        let tcp = TcpStream::connect((url.host.as_str(), url.port)).await;
        let tcp = tcp.map_err(|source| ConnectionError::Unreachable { address: address(), source })?;
        let tls = TlsConnector::from(config).connect(url.name.clone(), tcp).await;
        let tls = tls.map_err(|source| ConnectionError::of_handshake(address(), source))?;
        if tls.get_ref().1.alpn_protocol() != Some(ALPN_HTTP2) {
            return Err(ConnectionError::NotHttp2 { address: address() });
        }
        let (stream, alert) = Watched::new(tls);
        let shaken = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .handshake(TokioIo::new(stream))
            .await;
        let (sender, connection) = shaken.map_err(|_| ConnectionError::lost(address(), &alert))?;
        // How it ends is told by the call that was under way.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender, url, until, timeout, alert })
    }

    /// The same connection, for calls that may take so long from now on.
    pub(crate) fn lasting(self, time: Duration) -> Self {
        Self { until: Instant::now() + time, ..self }
    }

    /// The next message of a stream; `None` at its end.
    pub(crate) async fn next<M>(&self, stream: &mut tonic::Streaming<M>) -> Result<Option<M>, Problem> {
        self.wait(async { stream.message().await.map(Response::new) }).await
    }

    /// Makes one call to the signer's service.
    pub(crate) async fn call<Q, A, F>(
        &self,
        question: Q,
        call: impl FnOnce(SignerClient<Service>, Request<Q>) -> F,
    ) -> Result<A, Problem>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let client = SignerClient::with_origin(Service(self.sender.clone()), self.url.origin.clone());
        self.wait(call(client, self.request(question))).await
    }

    /// Makes one call to the operators' service.
    pub(crate) async fn call_operator<Q, A, F>(
        &self,
        question: Q,
        call: impl FnOnce(OperatorClient<Service>, Request<Q>) -> F,
    ) -> Result<A, Problem>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let client = OperatorClient::with_origin(Service(self.sender.clone()), self.url.origin.clone());
        self.wait(call(client, self.request(question))).await
    }

    /// Makes one call to the health service.
    pub(crate) async fn call_health<Q, A, F>(
        &self,
        question: Q,
        call: impl FnOnce(HealthClient<Service>, Request<Q>) -> F,
    ) -> Result<A, Problem>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let client = HealthClient::with_origin(Service(self.sender.clone()), self.url.origin.clone());
        self.wait(call(client, self.request(question))).await
    }

    /// Host and port of the signer.
    pub(crate) fn address(&self) -> &str {
        &self.url.address
    }

    fn request<Q>(&self, question: Q) -> Request<Q> {
        let mut request = Request::new(question);
        request.set_timeout(self.until.saturating_duration_since(Instant::now()));
        request
    }

    async fn wait<A>(&self, call: impl Future<Output = Result<Response<A>, Status>>) -> Result<A, Problem> {
        let answered = time::timeout_at((self.until + GRACE).into(), call).await;
        let late = |_| ConnectionError::NotInTime { address: self.url.address.clone(), timeout: self.timeout };
        match answered.map_err(late)? {
            Ok(response) => Ok(response.into_inner()),
            // A status that the signer sent has no source.
            Err(status) if status.source().is_some() => {
                Err(ConnectionError::lost(self.url.address.clone(), &self.alert).into())
            }
            Err(status) => Err(Box::new(Refused::of(&status)).into()),
        }
    }
}

/// A connection as generated clients want it.
#[derive(Clone, Debug)]
pub(crate) struct Service(SendRequest<Body>);

impl tower::Service<http::Request<Body>> for Service {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
