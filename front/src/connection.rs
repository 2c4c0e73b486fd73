//! One connection: its handshake, its requests, and its end.

use std::{
    convert::Infallible,
    error::Error,
    hash::{BuildHasher as _, RandomState},
    io,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use rustls::time_provider::TimeProvider;
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tonic::{body::Body, service::Routes};
use tower::Service as _;

use crate::{
    caller::{Caller, NotAdmitted},
    calls::Calls,
    config::DEADLINE_MAX,
    counters::Counters,
    crowd::{Crowd, Full, LEAVE_TIME_MAX, Membership},
    handshakes::Handshake,
    progress::Progress,
    reload::TlsWatch,
    tls_files::ALPN_HTTP_2,
    turned_away::Reason,
    unread::{Unread, UnreadBytes},
};

/// Longest handshake: three round trips on a bad line. Until then a stranger holds a place.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// Most streams of one connection at one time; a coordinator that needs more opens another connection.
pub const STREAMS_MAX: u32 = 256;
/// Largest header list of a request, in bytes. gRPC headers take some hundreds.
pub const HEADER_BYTES_MAX: u32 = 16 * 1_024;
/// Flow-control window of a stream, in bytes: one usual message without waiting.
pub const STREAM_WINDOW_BYTES: u32 = 256 * 1_024;
/// Flow-control window of a connection, in bytes: what one connection can make us hold unread.
pub const CONNECTION_WINDOW_BYTES: u32 = 2 * 1_024 * 1_024;
/// Most bytes of answers that wait for one connection to read them.
pub const SEND_BUFFER_BYTES_MAX: usize = 256 * 1_024;
/// How often a silent peer is asked whether it is still there.
pub const PING_INTERVAL: Duration = Duration::from_secs(30);
/// How long it may take to answer that.
pub const PING_TIME_MAX: Duration = Duration::from_secs(20);
/// Longest time for calls under way to end after the last new one was refused. No call has more time than this.
pub const DRAIN_TIME_MAX: Duration = DEADLINE_MAX.saturating_add(Duration::from_secs(5));
/// Time for the peer to read its last answers, and to hear that no new calls are taken.
pub const FAREWELL_TIME: Duration = Duration::from_millis(500);

/// Part of the maximum age that is left to chance, so that connections that began together do not end together: a tenth.
const AGE_JITTER_DIVISOR: u64 = 10;

/// What every connection needs of the front.
pub(crate) struct Edge {
    pub(crate) tls: Arc<TlsWatch>,
    pub(crate) clock: Arc<dyn TimeProvider>,
    pub(crate) crowd: Crowd,
    pub(crate) unread: UnreadBytes,
    pub(crate) counters: Arc<Counters>,
    pub(crate) calls: Calls,
    pub(crate) routes: Routes,
    pub(crate) stopping: watch::Receiver<bool>,
    pub(crate) connection_age_max: Duration,
    pub(crate) watch_interval: Duration,
    pub(crate) frame_time_max: Duration,
    pub(crate) read_time_max: Duration,
}

/// One authenticated connection, as its requests see it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) caller: Caller,
    membership: Membership,
    /// Its answers that were not read yet.
    unread: Arc<Unread>,
    calls: watch::Sender<usize>,
    dismissed: watch::Sender<bool>,
}

/// How a connection ends.
#[derive(Clone, Copy)]
enum End {
    /// It takes no new calls, and those under way are answered.
    InOrder(&'static str),
    /// Another one needs its place; it has no calls.
    GivesWay,
    /// Its peer does not read its answers.
    Unread,
}

impl Connection {
    /// Says when its caller is admitted no longer.
    pub(crate) fn dismissed(&self) -> watch::Receiver<bool> {
        self.dismissed.subscribe()
    }
}

impl End {
    fn reason(self) -> &'static str {
        match self {
            Self::InOrder(reason) => reason,
            Self::GivesWay => "it was idle, and its place is needed",
            Self::Unread => "its peer does not read its answers",
        }
    }
}

/// A call under way, until it is dropped: when its answer has been taken.
#[derive(Debug)]
pub(crate) struct UnderWay {
    connection: Arc<Connection>,
    is_stream: bool,
}

impl Connection {
    pub(crate) fn enter(self: &Arc<Self>) -> UnderWay {
        self.calls.send_modify(|calls| *calls += 1);
        self.membership.begins();
        UnderWay { connection: Arc::clone(self), is_stream: false }
    }

    /// The same bytes, which are part of an answer; `held` is dropped when its peer has taken them.
    pub(crate) fn follow<H: Send + 'static>(&self, content: Bytes, held: H) -> Bytes {
        self.unread.follow(content, held)
    }
}

impl UnderWay {
    /// It goes on for long: a connection that has no other calls is idle.
    pub(crate) fn goes_on_as_stream(mut self) -> Self {
        self.is_stream = true;
        self.connection.membership.ends();
        self
    }

    /// The same bytes, which are its answer: it is over when its peer has taken them.
    pub(crate) fn answers(self, content: Bytes) -> Bytes {
        let unread = Arc::clone(&self.connection.unread);
        unread.follow(content, self)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if !self.is_stream {
            self.connection.membership.ends();
        }
        self.connection.calls.send_modify(|calls| *calls = calls.saturating_sub(1));
    }
}

impl Edge {
    /// Serves one connection from its handshake to its end. `handshaking` is given back after the handshake.
    pub(crate) async fn run(self: Arc<Self>, tcp: TcpStream, peer: SocketAddr, handshaking: Handshake) {
        let mut stopping = self.stopping.clone();
        let shaken = tokio::select! {
            shaken = timeout(HANDSHAKE_TIME_MAX, self.handshake(tcp, peer)) => shaken,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        drop(handshaking);
        match shaken {
            Ok(Ok((stream, caller))) => self.serve(stream, caller).await,
            Ok(Err(error)) => {
                self.counters.handshake_failed();
                tracing::debug!(%peer, %error, "a connection was turned away");
            }
            Err(_) => {
                self.counters.handshake_failed();
                tracing::debug!(%peer, "a handshake took too long");
            }
        }
    }

    async fn handshake(&self, tcp: TcpStream, peer: SocketAddr) -> std::io::Result<(TlsStream<TcpStream>, Caller)> {
        tcp.set_nodelay(true)?;
        let tls = self.tls.current();
        let stream = TlsAcceptor::from(Arc::clone(&tls.server)).accept(tcp).await?;
        let (_, session) = stream.get_ref();
        if session.alpn_protocol() != Some(ALPN_HTTP_2) {
            return Err(std::io::Error::other("the caller did not ask for h2"));
        }
        let trust = Arc::clone(&tls.trust);
        let caller = Caller::of_handshake(session.peer_certificates(), peer, trust, &*self.clock)
            .map_err(std::io::Error::other)?;
        Ok((stream, caller))
    }

    async fn serve(self: Arc<Self>, stream: TlsStream<TcpStream>, caller: Caller) {
        let Ok(membership) = self.crowd.join(caller.id).inspect_err(|Full| self.counters.refused()) else {
            return tracing::debug!(
                peer = %caller.peer, caller = caller.fingerprint,
                "a connection was refused: there are too many, and none is idle"
            );
        };
        let _connected = self.counters.accepted();
        tracing::debug!(peer = %caller.peer, caller = caller.fingerprint, "a caller connected");
        let connection = Arc::new(Connection {
            caller,
            membership,
            unread: Arc::new(Unread::new(self.unread.clone(), self.read_time_max)),
            calls: watch::Sender::new(0),
            dismissed: watch::Sender::new(false),
        });
        let service = service_fn(|request| Arc::clone(&self).answer(Arc::clone(&connection), request));
        let http = http();
        let mut serving = pin!(http.serve_connection(TokioIo::new(Progress::of(stream, self.frame_time_max)), service));
        let end = tokio::select! {
            served = serving.as_mut() => return self.served(&connection, served),
            end = self.end_of(&connection) => end,
        };
        tracing::debug!(peer = %connection.caller.peer, reason = end.reason(), "a connection is ended");
        let gives_way = match end {
            End::Unread => return self.counters.too_slow(),
            End::GivesWay => {
                self.counters.gave_way();
                true
            }
            End::InOrder(_) => false,
        };
        let left = async {
            if gives_way {
                sleep(LEAVE_TIME_MAX).await;
                has_no_calls(&connection).await;
            }
        };
        serving.as_mut().graceful_shutdown();
        tokio::select! {
            _ = serving => {}
            () = farewell(&connection) => {}
            () = left, if gives_way => {}
            () = sleep(DRAIN_TIME_MAX) => {}
            () = self.is_not_read(&connection) => self.counters.too_slow(),
        }
    }

    /// A connection that its peer ended, or that broke.
    fn served(&self, connection: &Connection, served: Result<(), Box<dyn Error + Send + Sync>>) {
        let Err(error) = served else { return };
        tracing::debug!(peer = %connection.caller.peer, error, "a connection broke");
        if is_too_slow(&*error) {
            self.counters.too_slow();
        }
    }

    /// Resolves when the peer has left an answer unread for too long.
    async fn is_not_read(&self, connection: &Connection) {
        let mut tick = interval(self.watch_interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !connection.unread.is_too_long() {
            tick.tick().await;
        }
    }

    /// Returns when the connection is to take no new calls, and how it ends.
    async fn end_of(&self, connection: &Connection) -> End {
        let mut stopping = self.stopping.clone();
        let mut dismissed = connection.dismissed.subscribe();
        let mut tls = self.tls.subscribe();
        let mut tick = interval(self.watch_interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut old = pin!(sleep(jittered(self.connection_age_max)));
        loop {
            tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => return End::InOrder("the daemon is stopping"),
                _ = dismissed.wait_for(|dismissed| *dismissed) => {
                    return End::InOrder("its caller is admitted no longer");
                }
                () = connection.membership.has_to_leave() => return End::GivesWay,
                () = old.as_mut() => return End::InOrder("it reached its maximum age"),
                _ = tls.changed() => {}
                _ = tick.tick() => {}
            }
            if connection.unread.is_too_long() {
                return End::Unread;
            }
            // The answer is in `dismissed` at the next turn.
            drop(self.admit(connection));
        }
    }

    fn admit(&self, connection: &Connection) -> Result<(), NotAdmitted> {
        let admitted = connection.caller.admit(&self.tls.current().trust, &*self.clock);
        if let Err(reason) = &admitted
            && !connection.dismissed.send_replace(true)
        {
            self.counters.dismissed();
            tracing::warn!(
                peer = %connection.caller.peer, caller = connection.caller.fingerprint, %reason,
                "a connected caller is admitted no longer"
            );
        }
        admitted
    }

    async fn answer(
        self: Arc<Self>,
        connection: Arc<Connection>,
        mut request: Request<Incoming>,
    ) -> Result<Response<Body>, Infallible> {
        self.counters.request();
        if self.admit(&connection).is_err() {
            return Ok(self.calls.turn_away(&connection, request.uri().path(), Reason::CallerNotAdmitted));
        }
        if self.calls.is_for_metrics(&request) {
            return Ok(self.calls.metrics(&connection).await);
        }
        request.extensions_mut().insert(connection);
        self.routes.clone().call(request).await
    }
}

/// Whether a connection broke because its peer did not go on in time.
fn is_too_slow(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Returns when no call is under way: one may have begun before the peer heard that it has to leave.
async fn has_no_calls(connection: &Connection) {
    let mut calls = connection.calls.subscribe();
    while connection.membership.has_calls() && calls.changed().await.is_ok() {}
}

/// Returns when the last call has been answered and the peer had time to read that.
async fn farewell(connection: &Connection) {
    let mut calls = connection.calls.subscribe();
    loop {
        drop(calls.wait_for(|calls| *calls == 0).await);
        sleep(FAREWELL_TIME).await;
        if *calls.borrow() == 0 {
            return;
        }
    }
}

fn http() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new()).http2_only();
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIME_MAX);
    http
}

/// The age less a random part of a tenth at most.
fn jittered(age: Duration) -> Duration {
    let span_millis = u64::try_from(age.as_millis()).unwrap_or(u64::MAX) / AGE_JITTER_DIVISOR;
    let random = RandomState::new().hash_one(span_millis);
    age.saturating_sub(Duration::from_millis(random % span_millis.max(1)))
}
