//! Serving a directory over HTTP: the files of a published log and nothing else, read-only.

use std::{convert::Infallible, fs, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use hallmark_tlog::tile::{CHECKPOINT_PATH, TilePath};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use crate::{arguments::ServeArguments, directory::Directory, problem::Problem, target::Caching};
use hallmark_tlog::audit::LogFiles as _;

/// Connections at the same time; more wait.
const CONNECTIONS_MAX: usize = 256;

/// How long a client may take for a handshake, or for the head of a request.
const HEAD_SECS_MAX: u64 = 10;

/// How long a connection may last.
const CONNECTION_SECS_MAX: u64 = 300;

/// Listens until it is stopped.
pub(crate) async fn serve(arguments: &ServeArguments) -> Result<(), Problem> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Problem::File { path, source }
    };
    let tls = match (&arguments.cert, &arguments.key) {
        (Some(cert), Some(key)) => Some(TlsAcceptor::from(Arc::new(config(cert, key)?))),
        (_, _) => None,
    };
    let listener = TcpListener::bind(arguments.listen).await.map_err(Problem::Runtime)?;
    let address = listener.local_addr().map_err(Problem::Runtime)?;
    eprintln!("serving `{}` on {address}", arguments.directory.display());
    if let Some(path) = &arguments.ready_file {
        fs::write(path, format!("{address}\n")).map_err(failed(path))?;
    }
    let directory = Arc::new(Directory(arguments.directory.clone()));
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
        // A connection that failed before it was one is nobody's.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (directory, tls) = (Arc::clone(&directory), tls.clone());
        tokio::spawn(async move {
            let within = Duration::from_secs(CONNECTION_SECS_MAX);
            let _ = timeout(within, converse(stream, tls, directory)).await;
            drop(place);
        });
    }
}

async fn converse(stream: TcpStream, tls: Option<TlsAcceptor>, directory: Arc<Directory>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let directory = Arc::clone(&directory);
        async move { Ok::<_, Infallible>(answer(&directory, request.method(), request.uri().path())) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(HEAD_SECS_MAX));
    // How a connection ends is its client's affair.
    match tls {
        None => drop(builder.serve_connection(TokioIo::new(stream), service).await),
        Some(tls) => {
            if let Ok(Ok(stream)) = timeout(Duration::from_secs(HEAD_SECS_MAX), tls.accept(stream)).await {
                drop(builder.serve_connection(TokioIo::new(stream), service).await);
            }
        }
    }
}

fn answer(directory: &Directory, method: &Method, path: &str) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        return empty(StatusCode::METHOD_NOT_ALLOWED);
    }
    let path = path.strip_prefix('/').unwrap_or(path);
    let Some((caching, kind)) = known(path) else { return empty(StatusCode::NOT_FOUND) };
    let content = match directory.read(path) {
        Ok(Some(content)) => Bytes::from(content),
        Ok(None) => return empty(StatusCode::NOT_FOUND),
        Err(_) => return empty(StatusCode::INTERNAL_SERVER_ERROR),
    };
    let length = content.len();
    let mut response = Response::new(Full::new(if method == Method::HEAD { Bytes::new() } else { content }));
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching.header()));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(Caching::Revalidated.header()));
    response
}

/// How a file may be kept, and what it holds; nothing for what belongs to no published log.
fn known(path: &str) -> Option<(Caching, &'static str)> {
    const TEXT: &str = "text/plain; charset=utf-8";
    if path == CHECKPOINT_PATH || path == "pruned-before" {
        return Some((Caching::Revalidated, TEXT));
    }
    if let Some(digest) = path.strip_prefix("policies/") {
        let is_digest = digest.len() == 64 && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        return is_digest.then_some((Caching::Immutable, TEXT));
    }
    if let Some(rest) = path.strip_prefix("openings/") {
        return TilePath::parse(&format!("tile/entries/{rest}")).ok().map(|_| (Caching::Revalidated, TEXT));
    }
    TilePath::parse(path).ok().map(|_| (Caching::Immutable, "application/octet-stream"))
}

fn config(cert: &Path, key: &Path) -> Result<ServerConfig, Problem> {
    let wrong = |error: &dyn std::fmt::Display| Problem::Tls { sentence: error.to_string() };
    let chain = CertificateDer::pem_file_iter(cert).map_err(|error| wrong(&error))?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|error| wrong(&error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(&error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| wrong(&error))?.with_no_client_auth().with_single_cert(chain, key);
    let mut config = config.map_err(|error| wrong(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_a_published_log_are_served() {
        for path in ["checkpoint", "tile/0/000", "tile/entries/x001/234.p/7", "openings/000.p/7", "pruned-before"] {
            assert!(known(path).is_some(), "{path}");
        }
        for path in [
            "",
            "../checkpoint",
            "tile/0/../../checkpoint",
            "tile/0/0",
            "policies/x",
            "log.key",
            "checkpoint.tmp",
            "openings/0",
        ] {
            assert!(known(path).is_none(), "{path}");
        }
        assert_eq!(known("tile/0/000.p/5").map(|(caching, _)| caching), Some(Caching::Immutable));
        assert_eq!(known("checkpoint").map(|(caching, _)| caching), Some(Caching::Revalidated));
    }
}
