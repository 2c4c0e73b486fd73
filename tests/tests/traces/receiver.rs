//! A receiver of traces: a gRPC server made of the messages of `opentelemetry-proto`, and a record of every byte that it was sent.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{ResourceSpans, Span},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, UnixListener},
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Request, Response, Status,
    transport::{Server, server::Connected},
};

/// How long something may take to arrive.
const PATIENCE: Duration = Duration::from_secs(60);

/// What it does with a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    Take,
    /// It says that it did not take so many of the spans.
    Reject(i64),
    Refuse(Code),
    Hang,
}

/// The receiver. It ends its connections and is gone when it is dropped.
pub(crate) struct Receiver {
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
    /// Dropped, it is the signal to end.
    _serving: oneshot::Sender<()>,
    port: u16,
}

struct Shared {
    act: Mutex<Act>,
    batches: Mutex<Vec<ExportTraceServiceRequest>>,
    asked: AtomicUsize,
    connections: AtomicUsize,
    heard: Mutex<Vec<u8>>,
}

impl Receiver {
    /// At a Unix socket.
    pub(crate) fn at(path: &Path) -> Self {
        Self::over(0, Listener::Unix(UnixListener::bind(path).unwrap()))
    }

    /// At a free port of this machine.
    pub(crate) async fn at_a_port() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::over(listener.local_addr().unwrap().port(), Listener::Tcp(listener))
    }

    fn over(port: u16, listener: Listener) -> Self {
        let shared = Arc::new(Shared {
            act: Mutex::new(Act::Take),
            batches: Mutex::default(),
            asked: AtomicUsize::default(),
            connections: AtomicUsize::default(),
            heard: Mutex::default(),
        });
        let (came, connections) = mpsc::channel(16);
        let of_all = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            while let Ok(stream) = listener.accept().await {
                of_all.connections.fetch_add(1, Ordering::SeqCst);
                let heard = Heard { stream, shared: Arc::clone(&of_all) };
                if came.send(Ok::<_, io::Error>(heard)).await.is_err() {
                    return;
                }
            }
        });
        let service = TraceServiceServer::new(Service(Arc::clone(&shared)));
        let (serving, served) = oneshot::channel::<()>();
        tokio::spawn(async move {
            let server = Server::builder().add_service(service);
            let end = async { drop(served.await) };
            server.serve_with_incoming_shutdown(ReceiverStream::new(connections), end).await.unwrap();
        });
        Self { shared, accepting, _serving: serving, port }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn act(&self, act: Act) {
        *self.shared.act.lock().unwrap() = act;
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How often it was asked to take a batch.
    pub(crate) fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// Every byte that it was sent, with HTTP/2 around it, and every message as it was read.
    pub(crate) fn heard(&self) -> Vec<u8> {
        let texts = format!("{:?}", self.shared.batches.lock().unwrap());
        [self.shared.heard.lock().unwrap().clone(), texts.into_bytes()].concat()
    }

    /// What it took, with who sent it.
    pub(crate) fn resources(&self) -> Vec<ResourceSpans> {
        self.shared.batches.lock().unwrap().iter().flat_map(|batch| batch.resource_spans.clone()).collect()
    }

    /// Every span that it took.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let scopes = self.resources().into_iter().flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    /// Spans that are of no other span in the same process: one for each call.
    pub(crate) fn calls(&self) -> Vec<Span> {
        self.spans().into_iter().filter(|span| span.name.contains('/')).collect()
    }

    /// Spans of stages of a call.
    pub(crate) fn stages_of(&self, call: &Span) -> Vec<Span> {
        let mut stages = self.spans();
        stages.retain(|span| span.parent_span_id == call.span_id);
        stages
    }

    /// As many calls as these, as soon as they are there.
    pub(crate) async fn await_calls(&self, count: usize) -> Vec<Span> {
        self.awaited(|| self.calls().len() >= count).await;
        let calls = self.calls();
        assert_eq!(calls.len(), count, "{calls:?}");
        calls
    }

    /// Waits until something holds.
    pub(crate) async fn awaited(&self, holds: impl Fn() -> bool) {
        until(holds).await;
    }
}

/// Waits until something holds.
pub(crate) async fn until(holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "it does not come");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The attributes of a span or of who sent it, as texts.
pub(crate) fn attributes(attributes: &[KeyValue]) -> BTreeMap<&str, String> {
    let value = |attribute: &KeyValue| match attribute.value.clone().and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{other:?}"),
    };
    let read: BTreeMap<_, _> = attributes.iter().map(|attribute| (attribute.key.as_str(), value(attribute))).collect();
    assert_eq!(read.len(), attributes.len(), "an attribute stands there twice");
    read
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Listener {
    async fn accept(&self) -> io::Result<Box<dyn Io>> {
        Ok(match self {
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

struct Service(Arc<Shared>);

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        let act = *self.0.act.lock().unwrap();
        let rejected_spans = match act {
            Act::Take => 0,
            Act::Reject(spans) => spans,
            Act::Refuse(code) => return Err(Status::new(code, "as it was told")),
            Act::Hang => std::future::pending().await,
        };
        self.0.batches.lock().unwrap().push(request.into_inner());
        let error_message = if rejected_spans > 0 { "as it was told".to_owned() } else { String::new() };
        let partial_success = Some(ExportTracePartialSuccess { rejected_spans, error_message });
        Ok(Response::new(ExportTraceServiceResponse { partial_success }))
    }
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A connection of which every byte is kept.
struct Heard {
    stream: Box<dyn Io>,
    shared: Arc<Shared>,
}

impl Connected for Heard {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.shared.heard.lock().unwrap().extend_from_slice(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Heard {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
