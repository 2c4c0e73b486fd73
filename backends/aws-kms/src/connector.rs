//! HTTP for the client library: hyper over rustls with the provider that this program has everywhere, and no proxy of the environment's.

use std::{
    error::Error as StdError,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use aws_smithy_runtime_api::{
    client::{
        http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
        runtime_components::RuntimeComponents,
    },
    shared::IntoShared as _,
};
use aws_smithy_types::body::SdkBody;
use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs::default_provider};
use tower::Service;

use crate::{error::Error, place::Place};

/// Longest time for a connection to come about: the name's address, TCP and TLS together. Nothing is sent before.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(1);

/// An idle connection is closed before the other end does so: what is sent into one that is just being closed may be lost.
const IDLE_TIME_MAX: Duration = Duration::from_secs(20);

/// No connection came about, so that nothing was sent.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotReached(#[source] legacy::Error);

/// The client library's way to the network.
#[derive(Clone, Debug)]
pub(crate) struct Connector(legacy::Client<InTime, SdkBody>);

/// Makes connections, each in time or not at all.
#[derive(Clone)]
struct InTime(Https);

type Https = HttpsConnector<connect::HttpConnector>;

impl Service<Uri> for InTime {
    type Response = <Https as Service<Uri>>::Response;
    type Error = Box<dyn StdError + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connected = tokio::time::timeout(CONNECT_TIME_MAX, self.0.call(uri));
        Box::pin(async {
            connected.await.unwrap_or_else(|_| {
                let told = format!("no connection within {} ms", CONNECT_TIME_MAX.as_millis());
                Err(io::Error::new(io::ErrorKind::TimedOut, told).into())
            })
        })
    }
}

impl Connector {
    /// A connector that trusts the certificates that this machine does.
    ///
    /// # Errors
    /// [`Error::SetUp`], if this machine trusts none and TLS is spoken.
    pub(crate) fn new(place: &Place) -> Result<Self, Error> {
        let mut tcp = connect::HttpConnector::new();
        tcp.set_nodelay(true);
        // What is told to be without TLS has an address of this machine's own: `Place`.
        tcp.enforce_http(false);
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls(place)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME_MAX)
            .build(InTime(https));
        Ok(Self(client))
    }
}

fn tls(place: &Place) -> Result<ClientConfig, Error> {
    let set_up = |detail: String| Error::SetUp { detail };
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() && place.has_tls() {
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(set_up(format!(
            "this machine has no certificates of authorities{why}; install them, on Debian the package ca-certificates"
        )));
    }
    let config =
        ClientConfig::builder_with_provider(Arc::new(default_provider())).with_safe_default_protocol_versions();
    let config = config.map_err(|error| set_up(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

impl HttpClient for Connector {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        self.clone().into_shared()
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into()))),
        };
        let answer = self.0.request(request);
        HttpConnectorFuture::new(async move {
            let answer = answer.await.map_err(failed)?.map(SdkBody::from_body_1_x);
            HttpResponse::try_from(answer).map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

fn failed(error: legacy::Error) -> ConnectorError {
    ConnectorError::io(if error.is_connect() { NotReached(error).into() } else { io::Error::other(error).into() })
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, time::Instant};

    use crate::{Account, Client, Credentials, CredentialsPlace, Error, Place};

    #[test]
    fn a_server_that_takes_connections_and_begins_no_tls_was_sent_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("https://{}", listener.local_addr().unwrap());
        let credentials = "[a]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = secret\n";
        let client = Client::new(
            Place::parse("eu-central-1", Some(&endpoint)).unwrap(),
            Account::parse("123456789012").unwrap(),
            Credentials::new(CredentialsPlace::Given(credentials.into()), "a"),
        )
        .unwrap();
        let began = Instant::now();
        let error = client.random(1, 3 * super::CONNECT_TIME_MAX).unwrap_err();
        assert!(matches!(error, Error::NotReached { .. }) && error.was_not_done(), "{error}");
        assert!(began.elapsed() < 2 * super::CONNECT_TIME_MAX, "{:?}", began.elapsed());
    }
}
