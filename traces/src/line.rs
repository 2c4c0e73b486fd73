//! The connection to the receiver: HTTP/2 over a socket, made when there is something to send, and made again when it has ended.

use std::{
    fmt::Write as _,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::uri::PathAndQuery;
use hyper::{
    body::Incoming,
    client::conn::http2::{self, SendRequest},
    rt::{Read, Write},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::{TcpStream, UnixStream},
    task::AbortHandle,
    time::timeout,
};
use tonic::{Code, Request, Status, body::Body, client::Grpc};
use tonic_prost::ProstCodec;
use tower::Service;

use crate::{
    endpoint::Endpoint,
    wire::{EXPORT, ExportRequest, ExportResponse, PartialSuccess},
};

/// Longest time that one try of a batch may take, from connecting to its answer.
pub const EXPORT_TIME_MAX: Duration = Duration::from_secs(5);

/// Largest answer that is read, in bytes: a number and a sentence.
const ANSWER_BYTES_MAX: usize = 64 * 1_024;

/// Most of a receiver's sentence that is told, in characters.
const TOLD_CHARS_MAX: usize = 200;

/// The way to one receiver.
pub(crate) struct Line {
    endpoint: Endpoint,
    sender: Option<SendRequest<Body>>,
    /// What drives the connection.
    driver: Option<AbortHandle>,
}

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("it cannot be reached: {0}{hint}", hint = hint(.0))]
    Unreachable(io::Error),
    #[error("it speaks no HTTP/2, or went away: {0}")]
    Lost(String),
    #[error("it did not answer within {} s", EXPORT_TIME_MAX.as_secs())]
    Late,
    #[error("it refuses: {}", told(.0))]
    Refused(Box<Status>),
}

impl Failure {
    /// Which of them it is.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Lost(_) => "lost",
            Self::Late => "late",
            Self::Refused(_) => "refused",
        }
    }

    /// Whether the same batch may be taken another time (OTLP 1.10, "Failures"). One that was too much for the receiver is not sent to it again, nor one whose answer was too much for us
    /// (OUT_OF_RANGE): it was taken.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Lost(_) | Self::Late => true,
            Self::Refused(status) => matches!(
                status.code(),
                Code::Cancelled | Code::DeadlineExceeded | Code::Aborted | Code::Unavailable | Code::DataLoss
            ),
        }
    }
}

/// What a receiver's answer comes to.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// Spans that it did not take.
    pub(crate) rejected: u64,
    /// What it says of that.
    pub(crate) sentence: String,
}

impl Line {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, sender: None, driver: None }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends a batch, once.
    pub(crate) async fn export(&mut self, batch: ExportRequest) -> Result<Taken, Failure> {
        let exported = timeout(EXPORT_TIME_MAX, self.send(batch)).await.unwrap_or(Err(Failure::Late));
        if let Err(Failure::Unreachable(_) | Failure::Lost(_) | Failure::Late) = &exported {
            // What is not over comes to nothing: the next batch has a connection of its own.
            self.sender = None;
            self.end();
        }
        exported
    }

    /// Ends the connection, whatever its other side still owes.
    fn end(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.abort();
        }
    }

    async fn send(&mut self, batch: ExportRequest) -> Result<Taken, Failure> {
        let sender = match self.sender.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        self.sender = Some(sender.clone());
        let origin = self.endpoint.origin().unwrap_or_default();
        let mut client = Grpc::with_origin(Connected(sender), origin).max_decoding_message_size(ANSWER_BYTES_MAX);
        client.ready().await.map_err(|error| lost(&error))?;
        let mut request = Request::new(batch);
        request.set_timeout(EXPORT_TIME_MAX);
        let codec = ProstCodec::<ExportRequest, ExportResponse>::default();
        match client.unary(request, PathAndQuery::from_static(EXPORT), codec).await {
            Ok(response) => {
                let PartialSuccess { rejected_spans, error_message } =
                    response.into_inner().partial_success.unwrap_or_default();
                let rejected = u64::try_from(rejected_spans).unwrap_or(0);
                Ok(Taken { rejected, sentence: shortened(&error_message) })
            }
            // A status that the receiver sent has no source.
            Err(status) => Err(match std::error::Error::source(&status) {
                Some(error) => lost(error),
                None => Failure::Refused(Box::new(status)),
            }),
        }
    }

    async fn connect(&mut self) -> Result<SendRequest<Body>, Failure> {
        self.end();
        let (sender, driver) = match &self.endpoint {
            Endpoint::Unix(path) => shake_hands(UnixStream::connect(path).await.map_err(Failure::Unreachable)?).await,
            Endpoint::Http { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(Failure::Unreachable)?;
                stream.set_nodelay(true).map_err(Failure::Unreachable)?;
                shake_hands(stream).await
            }
        }?;
        self.driver = Some(driver);
        Ok(sender)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.end();
    }
}

async fn shake_hands<S>(stream: S) -> Result<(SendRequest<Body>, AbortHandle), Failure>
where
    TokioIo<S>: Read + Write + Unpin + Send + 'static,
{
    let shaken = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (sender, connection) = shaken.map_err(|error| lost(&error))?;
    // How it ends is told by the batch that was under way.
    let driver = tokio::spawn(async move { drop(connection.await) });
    Ok((sender, driver.abort_handle()))
}

fn lost(error: &dyn std::error::Error) -> Failure {
    Failure::Lost(shortened(&error.to_string()))
}

/// What a process that gave up the internet cannot know of itself.
fn hint(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied {
        "; hint: the core makes sockets of the internet only with `core-network = true` in [process], and a Unix socket must be writable for its user"
    } else {
        ""
    }
}

/// A receiver's sentence, without what would write more than a line.
fn shortened(sentence: &str) -> String {
    sentence.chars().take(TOLD_CHARS_MAX).flat_map(char::escape_debug).collect()
}

fn told(status: &Status) -> String {
    let mut told = format!("{:?}", status.code());
    if !status.message().is_empty() {
        // Writing into a text does not fail.
        let _ = write!(told, ": {}", shortened(status.message()));
    }
    told
}

/// An open connection, as tonic's clients want it.
#[derive(Clone)]
struct Connected(SendRequest<Body>);

impl Service<http::Request<Body>> for Connected {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<http::Response<Incoming>>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_s_sentence_is_one_line_and_not_long() {
        assert_eq!(shortened("no\nmore\u{1b}[2J"), "no\\nmore\\u{1b}[2J");
        assert_eq!(shortened(&"ß".repeat(10_000)).chars().count(), TOLD_CHARS_MAX);
    }

    #[test]
    fn what_a_receiver_cannot_use_is_not_sent_again() {
        let refused = |code| Failure::Refused(Box::new(Status::new(code, "why")));
        for code in [Code::InvalidArgument, Code::Unimplemented, Code::PermissionDenied, Code::ResourceExhausted] {
            assert!(!refused(code).may_pass(), "{code:?}");
        }
        assert!(refused(Code::Unavailable).may_pass() && Failure::Late.may_pass());
        assert_eq!(refused(Code::Unavailable).to_string(), "it refuses: Unavailable: why");
    }
}
