//! The service `hallmark.signer.v1.Signer` or that of the operators, without knowing its messages, but for how urgent a mint is: bytes in, frame to the core, bytes out.

use std::{
    convert::Infallible,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hallmark_proto::operator::MetricsResponse;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE, request::Parts,
};
use http_body_util::Full;
use prost::Message as _;
use rustls::time_provider::TimeProvider;
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, timeout_at},
};
use tonic::{Code, Status, body::Body, server::NamedService};

use crate::{
    admission::{Admission, NotAdmitted, Pass, Urgency},
    config::DEADLINE_MAX,
    connection::{Connection, UnderWay},
    counters::Counters,
    deadline::Deadline,
    error::FrontError,
    link::{self, Core, Patience},
    message::{self, Missed, Received},
    methods::{Methods, Offered, Shape},
    room::Room,
    shares::{Part, Shares, TooMany},
    stream::{self, Stream},
    trace_parent,
    turned_away::{self, Reason},
};

/// Longest time that a request's body may take to arrive, so that a trickle does not hold room until its deadline.
pub const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// Most frames about calls turned away that are on their way to the core at one time; beyond, they are only counted.
const TURNED_AWAY_FRAMES_MAX: usize = 64;

/// How long such a frame may be on its way.
const TURNED_AWAY_TIME_MAX: Duration = Duration::from_secs(10);

const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
/// The method that gives metrics.
const METRICS: &str = "/hallmark.operator.v1.Operator/Metrics";

/// The text format of OpenMetrics 1.0.
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

/// The calls of one service, shared by all connections.
#[derive(Clone)]
pub(crate) struct Calls(Arc<Inner>);

/// The same under its service's name.
pub(crate) struct Mounted<S> {
    calls: Calls,
    service: PhantomData<S>,
}

impl<S> Clone for Mounted<S> {
    fn clone(&self) -> Self {
        Self::new(self.calls.clone())
    }
}

struct Inner {
    core: Arc<dyn Core>,
    methods: Methods,
    room: Room,
    admission: Admission,
    /// Of callers in what is not admitted one by one.
    shares: Shares,
    streams: Shares,
    default_deadline: Duration,
    counters: Arc<Counters>,
    clock: Arc<dyn TimeProvider>,
    stopping: watch::Receiver<bool>,
    turned_away_frames: Arc<Semaphore>,
    /// Where it does not, callers' headers cost nothing, and nothing of them reaches the core.
    passes_trace_parents: bool,
}

/// A call that may go to the core.
struct Taken<'a> {
    method: &'a str,
    shape: Shape,
    deadline: Deadline,
    received: Received,
    /// The caller's header, or nothing.
    trace_parent: Bytes,
    turn: Turn,
}

/// What lets a call go to the core; held until the core has answered.
enum Turn {
    /// Of one that uses a CA key.
    Admitted(Pass),
    /// Of any other.
    OfShare { _part: Part },
}

impl<S> Mounted<S> {
    pub(crate) fn new(calls: Calls) -> Self {
        Self { calls, service: PhantomData }
    }
}

impl Calls {
    pub(crate) fn new(
        service: &'static str,
        core: Arc<dyn Core>,
        default_deadline: Duration,
        counters: Arc<Counters>,
        clock: Arc<dyn TimeProvider>,
        stopping: watch::Receiver<bool>,
    ) -> Result<Self, FrontError> {
        let methods = Methods::read(service)?;
        let turned_away_frames = Arc::new(Semaphore::new(TURNED_AWAY_FRAMES_MAX));
        let admission = Admission::new(Arc::clone(&counters));
        Ok(Self(Arc::new(Inner {
            core,
            methods,
            room: Room::default(),
            admission,
            shares: Shares::of_calls(),
            streams: Shares::of_streams(),
            default_deadline,
            counters,
            clock,
            stopping,
            turned_away_frames,
            passes_trace_parents: false,
        })))
    }

    /// The same, before anybody has it, with callers' headers `traceparent` passed on.
    pub(crate) fn with_trace_parents(mut self) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.passes_trace_parents = true;
        }
        self
    }

    /// Who is admitted, and when.
    pub(crate) fn admission(&self) -> &Admission {
        &self.0.admission
    }

    /// Whether a request asks for metrics, as Prometheus does: the operators' listener gives them.
    pub(crate) fn is_for_metrics<B>(&self, request: &Request<B>) -> bool {
        let is_theirs = self.0.methods.of_path(METRICS).is_some();
        is_theirs && request.method() == Method::GET && request.uri().path() == "/metrics"
    }

    /// The core's metrics as text: what the method `Metrics` answers, over plain HTTP.
    pub(crate) async fn metrics(&self, connection: &Arc<Connection>) -> Response<Body> {
        let under_way = connection.enter();
        let answered = match self.0.question(METRICS, connection).await {
            Ok(question) => self.0.ask(connection, question).await,
            Err(Missed::Reason(reason)) => Err(reason.status()),
            Err(Missed::Gone) => Err(taken_back()),
        };
        let mut response = Response::new(Body::empty());
        match answered.map(MetricsResponse::decode) {
            Ok(Ok(MetricsResponse { text })) => {
                *response.body_mut() = Body::new(Full::new(under_way.answers(Bytes::from(text))));
                response.headers_mut().insert(CONTENT_TYPE, OPEN_METRICS);
            }
            Ok(Err(_)) => *response.status_mut() = StatusCode::BAD_GATEWAY,
            Err(status) if status.code() == Code::PermissionDenied => *response.status_mut() = StatusCode::FORBIDDEN,
            Err(_) => *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE,
        }
        response
    }

    /// Answers a request of any service that does not go further, and tells the core of it.
    pub(crate) fn turn_away(&self, connection: &Connection, path: &str, reason: Reason) -> Response<Body> {
        self.0.turn_away(connection, path, reason)
    }
}

impl<S: Offered> NamedService for Mounted<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: Offered> tower::Service<Request<Body>> for Mounted<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let service = Arc::clone(&self.calls.0);
        Box::pin(async move { Ok(service.answer(request).await) })
    }
}

impl Inner {
    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let Some(connection) = parts.extensions.get::<Arc<Connection>>() else {
            return Status::internal("the request belongs to no connection; this is a fault of the daemon").into_http();
        };
        let under_way = connection.enter();
        match self.take(connection, &parts, body).await {
            Ok(taken) if taken.shape.streams => self.stream(connection, taken, under_way),
            Ok(taken) => match self.ask(connection, taken).await {
                Ok(message) => message::respond(&message, under_way),
                Err(status) => status.into_http(),
            },
            Err(Missed::Reason(reason)) => self.turn_away(connection, parts.uri.path(), reason),
            Err(Missed::Gone) => taken_back().into_http(),
        }
    }

    /// Everything that is judged without the core.
    async fn take(&self, connection: &Connection, parts: &Parts, body: Body) -> Result<Taken<'_>, Missed> {
        if *self.stopping.borrow() {
            return Err(Missed::Reason(Reason::Stopping));
        }
        if parts.method != Method::POST || !is_grpc(&parts.headers) {
            return Err(Missed::Reason(Reason::NotGrpc));
        }
        let (method, shape) = self.methods.of_path(parts.uri.path()).ok_or(Missed::Reason(Reason::MethodUnknown))?;
        if parts.headers.get(GRPC_ENCODING).is_some_and(|encoding| encoding != IDENTITY) {
            return Err(Missed::Reason(Reason::Compressed));
        }
        let default_deadline = if shape.streams { DEADLINE_MAX } else { self.default_deadline };
        let deadline = Deadline::of(&parts.headers, default_deadline).map_err(Missed::Reason)?;
        let slow_at = Instant::now() + BODY_TIME_MAX;
        let received = timeout_at(
            deadline.at.min(slow_at),
            message::receive(body, shape.bytes_max, connection.caller.id, &self.room),
        )
        .await
        .map_err(|_| {
            Missed::Reason(if deadline.at <= slow_at { Reason::DeadlinePassed } else { Reason::BodyTooSlow })
        })??;
        let turn = self.turn(connection, shape, deadline, &received.message).await?;
        let passes = self.passes_trace_parents && !shape.streams;
        let trace_parent = if passes { trace_parent::of(&parts.headers) } else { Bytes::new() };
        Ok(Taken { method, shape, deadline, received, trace_parent, turn })
    }

    /// Waits until a call may go to the core. Its message is looked at only where it is a mint that waits.
    async fn turn(
        &self,
        connection: &Connection,
        shape: Shape,
        deadline: Deadline,
        message: &Bytes,
    ) -> Result<Turn, Missed> {
        let caller = connection.caller.id;
        if !shape.queues {
            let shares = if shape.streams { &self.streams } else { &self.shares };
            let part = timeout_at(deadline.at, shares.take(caller)).await;
            let part = part.map_err(|_| Missed::Reason(Reason::DeadlinePassed))?;
            return part
                .map(|part| Turn::OfShare { _part: part })
                .map_err(|TooMany| Missed::Reason(Reason::Overloaded));
        }
        let now_secs = || self.clock.current_time().map_or(0, |now| now.as_secs());
        let urgency = || Urgency::of(message, now_secs());
        let admitted = self.admission.admit(caller, deadline.at, urgency).await;
        admitted.map(Turn::Admitted).map_err(|why| match why {
            NotAdmitted::TooMuch => Missed::Reason(Reason::Overloaded),
            NotAdmitted::Late => Missed::Reason(Reason::DeadlinePassed),
        })
    }

    /// A call of a method whose message is empty.
    async fn question(&self, path: &str, connection: &Connection) -> Result<Taken<'_>, Missed> {
        if *self.stopping.borrow() {
            return Err(Missed::Reason(Reason::Stopping));
        }
        let (method, shape) = self.methods.of_path(path).ok_or(Missed::Reason(Reason::MethodUnknown))?;
        let deadline = Deadline::of(&HeaderMap::new(), self.default_deadline).map_err(Missed::Reason)?;
        let (room, _) = self.room.take(connection.caller.id, 0)?;
        let received = Received { message: Bytes::new(), room };
        let turn = self.turn(connection, shape, deadline, &received.message).await?;
        Ok(Taken { method, shape, deadline, received, trace_parent: Bytes::new(), turn })
    }

    /// Asks the core, and waits no longer than the deadline. The core's work goes on by itself in any case.
    async fn ask(&self, connection: &Connection, taken: Taken<'_>) -> Result<Bytes, Status> {
        let Taken { method, shape, deadline, received: Received { message, room }, trace_parent, mut turn } = taken;
        let caller = connection.caller.certificate();
        let frame = link::unary(method, caller, deadline.boottime_nanos, message, trace_parent);
        let patience = Patience { until: deadline.at, repeatable: shape.repeatable };
        let call = self.core.call(frame, patience);
        // Until the core has done with it: what nobody waits for any more takes its room all the same.
        let work = tokio::spawn(async move {
            let answer = link::answer(call.await);
            if let Turn::Admitted(pass) = &mut turn {
                match &answer {
                    Some(Ok(answer)) if answer.signed => pass.key_signed(),
                    Some(Err(refusal)) if refusal.late_for_key => pass.late_for_key(),
                    Some(_) | None => {}
                }
            }
            drop((room, turn));
            answer
        });
        let Ok(done) = timeout_at(deadline.at, work).await else {
            self.counters.late();
            return Err(turned_away::late());
        };
        match done.ok().flatten() {
            Some(answered) => answered.map(|answer| answer.message).map_err(|refusal| refusal.status),
            None => {
                self.counters.core_was_away();
                tracing::warn!(method, "the core gave no readable answer");
                Err(turned_away::core_away(shape.repeatable))
            }
        }
    }

    /// Answers with a stream, which goes on by itself.
    fn stream(&self, connection: &Arc<Connection>, taken: Taken<'_>, under_way: UnderWay) -> Response<Body> {
        let Taken { method, shape, deadline, received: Received { message, room }, trace_parent: _, turn } = taken;
        let under_way = under_way.goes_on_as_stream();
        let stream = Stream {
            core: Arc::clone(&self.core),
            connection: Arc::clone(connection),
            stopping: self.stopping.clone(),
            method: method.to_owned(),
            deadline,
            repeatable: shape.repeatable,
            counters: Arc::clone(&self.counters),
            held: Arc::new((room, turn)),
        };
        stream::respond(stream, message, under_way)
    }

    /// Answers a call that does not reach the core, and tells the core of it: the caller was authenticated.
    fn turn_away(&self, connection: &Connection, path: &str, reason: Reason) -> Response<Body> {
        let method = self.methods.of_path(path).map_or("", |(method, _)| method);
        self.counters.turn_away(reason);
        tracing::debug!(
            caller = connection.caller.fingerprint,
            method,
            reason = reason.code(),
            "a call was turned away"
        );
        if let Ok(place) = Arc::clone(&self.turned_away_frames).try_acquire_owned() {
            let patience = Patience { until: Instant::now() + TURNED_AWAY_TIME_MAX, repeatable: false };
            let told = self.core.call(link::turned_away(method, connection.caller.certificate(), reason), patience);
            tokio::spawn(async move {
                told.await;
                drop(place);
            });
        }
        let mut response: Response<Body> = reason.status().into_http();
        match reason {
            Reason::Compressed => {
                response.headers_mut().insert(GRPC_ACCEPT_ENCODING, IDENTITY);
            }
            // What is not gRPC is told so by HTTP (gRPC over HTTP/2, "Requests").
            Reason::NotGrpc => *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Reason::MessageTooLarge
            | Reason::MalformedFrame
            | Reason::MethodUnknown
            | Reason::MalformedDeadline
            | Reason::DeadlinePassed
            | Reason::BodyTooSlow
            | Reason::Overloaded
            | Reason::Stopping
            | Reason::CallerNotAdmitted => {}
        }
        response
    }
}

/// Nobody waits for it.
fn taken_back() -> Status {
    Status::cancelled("the call was taken back")
}

/// Whether the content is gRPC with protobuf messages.
fn is_grpc(headers: &HeaderMap) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let rest = headers.get(CONTENT_TYPE).and_then(|value| value.as_bytes().strip_prefix(GRPC));
    matches!(rest, Some(b"" | b"+proto")) || rest.is_some_and(|rest| rest.starts_with(b";"))
}
