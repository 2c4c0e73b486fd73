//! Serving a directory over HTTP: the files of a published log and the CRLs beside them, and nothing else, read-only.

use std::{convert::Infallible, fs, path::Path, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use hallmark_tlog::{
    hash::Hash,
    tile::{CHECKPOINT_PATH, TilePath},
};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{
    body::{Body, Incoming},
    rt::bounds::Http2ServerConnExec,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::{Builder, Connection},
};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    arguments::ServeArguments,
    directory::{Directory, FILE_BYTES_MAX},
    guests::{Guests, Room},
    problem::Problem,
    target::Caching,
};
use hallmark_tlog::audit::LogFiles as _;

/// Connections at the same time; more wait.
const CONNECTIONS_MAX: usize = 256;

/// How long a client may take for a handshake, or for the head of a request.
const HEAD_SECS_MAX: u64 = 10;

/// How long a connection may last.
const CONNECTION_SECS_MAX: u64 = 300;

/// How long a connection may be without a request; what is being answered then goes on.
const IDLE_SECS_MAX: u64 = 10;

/// Streams of one connection at the same time (HTTP/2).
const STREAMS_MAX: u32 = 8;

/// How long is waited where no connection can be taken, such as for want of file descriptors.
const AGAIN_AFTER_MILLIS: u64 = 100;

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
    let guests = Guests::new();
    let with_openings = arguments.with_openings;
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            // One that failed before it was a connection is nobody's; others are waiting, and none may come for a while.
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(AGAIN_AFTER_MILLIS)).await;
                continue;
            }
        };
        let Some(guest) = guests.admit(from.ip()) else { continue };
        let (room, tls) = (guest.room(), tls.clone());
        let host = Host { directory: Arc::clone(&directory), with_openings, room };
        tokio::spawn(async move {
            let within = Duration::from_secs(CONNECTION_SECS_MAX);
            let _ = timeout(within, converse(stream, tls, host)).await;
            drop((place, guest));
        });
    }
}

/// What is served to a connection.
#[derive(Clone)]
struct Host {
    directory: Arc<Directory>,
    with_openings: bool,
    room: Room,
}

async fn converse(stream: TcpStream, tls: Option<TlsAcceptor>, host: Host) {
    let (asked, mut last) = watch::channel(());
    let service = service_fn(move |request: Request<Incoming>| {
        asked.send_replace(());
        let host = host.clone();
        async move { Ok::<_, Infallible>(answer(&host, &request).await) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(HEAD_SECS_MAX));
    builder.http2().max_concurrent_streams(STREAMS_MAX);
    match tls {
        None => until_idle(builder.serve_connection(TokioIo::new(stream), service), &mut last).await,
        Some(tls) => {
            if let Ok(Ok(stream)) = timeout(Duration::from_secs(HEAD_SECS_MAX), tls.accept(stream)).await {
                until_idle(builder.serve_connection(TokioIo::new(stream), service), &mut last).await;
            }
        }
    }
}

/// Serves a connection until it ends or asks for nothing any more. How it ends is its client's affair.
async fn until_idle<I, S, B>(connection: Connection<'_, I, S, TokioExecutor>, last: &mut watch::Receiver<()>)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    TokioExecutor: Http2ServerConnExec<S::Future, B>,
{
    let mut connection = pin!(connection);
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            again = timeout(Duration::from_secs(IDLE_SECS_MAX), last.changed()) => match again {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => break,
            },
        }
    }
    connection.as_mut().graceful_shutdown();
    drop(connection.await);
}

async fn answer<B>(host: &Host, request: &Request<B>) -> Response<Full<Bytes>> {
    let (method, path) = (request.method(), request.uri().path());
    if method != Method::GET && method != Method::HEAD {
        return empty(StatusCode::METHOD_NOT_ALLOWED);
    }
    let path = path.strip_prefix('/').unwrap_or(path);
    let Some((caching, kind)) = known(path, host.with_openings) else { return empty(StatusCode::NOT_FOUND) };
    let Ok(found) = fs::metadata(host.directory.0.join(path)) else { return empty(StatusCode::NOT_FOUND) };
    if !found.is_file() || found.len() > FILE_BYTES_MAX {
        return empty(StatusCode::INTERNAL_SERVER_ERROR);
    }
    let Some(room) = host.room.for_bytes(found.len()).await else { return empty(StatusCode::SERVICE_UNAVAILABLE) };
    let content = match host.directory.read(path) {
        // A file that grew meanwhile has no room.
        Ok(Some(content)) if content.len() as u64 > found.len() => return empty(StatusCode::SERVICE_UNAVAILABLE),
        Ok(Some(content)) => room.hold(content),
        Ok(None) => return empty(StatusCode::NOT_FOUND),
        Err(_) => return empty(StatusCode::INTERNAL_SERVER_ERROR),
    };
    let tag = format!("\"{}\"", Hash::of_leaf(&content));
    let length = content.len();
    // Whoever has it already is told so, and no more (RFC 9110, section 13.1.2).
    let has_it = request.headers().get(header::IF_NONE_MATCH).is_some_and(|tags| names(tags, &tag));
    let without = has_it || method == Method::HEAD;
    let mut response = Response::new(Full::new(if without { Bytes::new() } else { content }));
    if has_it {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching.header()));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    if !has_it {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    response
}

/// Whether a list of tags has this one.
fn names(tags: &HeaderValue, tag: &str) -> bool {
    let tags = tags.to_str().unwrap_or_default();
    tags.split(',').map(str::trim).any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(Caching::Revalidated.header()));
    response
}

/// How a file may be kept, and what it holds; nothing for what belongs to no published log, or is private.
fn known(path: &str, with_openings: bool) -> Option<(Caching, &'static str)> {
    const TEXT: &str = "text/plain; charset=utf-8";
    if path == CHECKPOINT_PATH || path == "pruned-before" {
        return Some((Caching::Revalidated, TEXT));
    }
    if let Some(digest) = path.strip_prefix("policies/") {
        let is_digest = digest.len() == 64 && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        return is_digest.then_some((Caching::Immutable, TEXT));
    }
    if let Some(rest) = path.strip_prefix("openings/").filter(|_| with_openings) {
        return TilePath::parse(&format!("tile/entries/{rest}")).ok().map(|_| (Caching::Revalidated, TEXT));
    }
    if let Some(place) = path.strip_prefix("crl/") {
        return is_crl(place).then_some((Caching::Minutes, "application/pkix-crl"));
    }
    TilePath::parse(path).ok().map(|_| (Caching::Immutable, "application/octet-stream"))
}

/// `AUTHORITY/root.crl`, `AUTHORITY/epoch-GENERATION.crl` or `AUTHORITY/epoch-GENERATION-PARTITION.crl`.
pub(crate) fn is_crl(place: &str) -> bool {
    let Some((authority, file)) = place.split_once('/') else { return false };
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_name = authority.bytes().all(fine) && authority.bytes().any(|byte| byte != b'.');
    let numbers = file.strip_prefix("epoch-").and_then(|rest| rest.strip_suffix(".crl"));
    let is_number = |digits: &str| digits.parse::<u64>().is_ok_and(|number| number.to_string() == digits);
    let are_numbers = |numbers: &str| match numbers.split_once('-') {
        Some((generation, partition)) => is_number(generation) && partition != "0" && is_number(partition),
        None => is_number(numbers),
    };
    is_name && (file == "root.crl" || numbers.is_some_and(are_numbers))
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
            assert!(known(path, true).is_some(), "{path}");
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
            assert!(known(path, true).is_none(), "{path}");
        }
        for path in ["crl/athenz/root.crl", "crl/a.b/epoch-7.crl", "crl/a.b/epoch-7-12.crl"] {
            assert_eq!(known(path, true).map(|(caching, _)| caching), Some(Caching::Minutes), "{path}");
        }
        for path in [
            "crl/root.crl",
            "crl/../root.crl",
            "crl/a/epoch-07.crl",
            "crl/a/epoch-7-0.crl",
            "crl/a/epoch-7-1-2.crl",
            "crl/a/epoch-7-.crl",
            "crl/a/epoch-1.crl.tmp",
            "crl/a/b/root.crl",
        ] {
            assert!(known(path, true).is_none(), "{path}");
        }
        assert!(known("openings/000", false).is_none(), "what is private is not for everybody");
        assert_eq!(known("tile/0/000.p/5", false).map(|(caching, _)| caching), Some(Caching::Immutable));
        assert_eq!(known("checkpoint", false).map(|(caching, _)| caching), Some(Caching::Revalidated));
    }
}
