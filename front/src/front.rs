//! The front as a whole: bind, serve, stop.

use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use hallmark_proto::FILE_DESCRIPTOR_SET;
use rustix::process::{Resource, getrlimit};
use rustls_pki_types::CertificateDer;
use tokio::{
    net::TcpStream,
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at, sleep, timeout},
};
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;

use crate::{
    admission::Admission,
    calls::{Calls, Mounted},
    config::{FrontConfig, Whose},
    connection::Edge,
    counters::Counters,
    crowd::Crowd,
    error::FrontError,
    handshakes::Handshakes,
    health::{HealthHandle, QUESTION_BYTES_MAX},
    link::Core,
    methods::{Offered, Operator, Signer},
    reload::{Look, ReloadHandle, TlsWatch},
    unread::UnreadBytes,
};

/// Most connections at one time, and half of them of one caller; callers are coordinators and operators, not workloads. Fewer where the
/// system does not give the process files for so many.
pub const CONNECTIONS_MAX: usize = 4_096;
/// Longest time for calls under way to be answered after a stop; service managers kill after 90 s.
pub const STOP_TIME_MAX: Duration = Duration::from_secs(30);

/// Files of the process that are not for connections: handshakes, those that are leaving, and the rest of the daemon.
const FILES_KEPT: u64 = 1_024;

/// Pause after the system refused a connection, which it does when files run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Tells a front what the core behind it can do, so that it has enough calls at a time to be kept busy and no more.
#[derive(Clone, Debug)]
pub struct PaceHandle(Admission);

impl PaceHandle {
    /// The core makes so many signatures at a time. Until this is known, a number is assumed.
    pub fn signs_at_once(&self, signatures: u32) {
        self.0.signs_at_once(signatures);
    }
}

/// A front that has its port and its TLS files, and serves nobody yet.
pub struct Front {
    listener: TcpListener,
    address: SocketAddr,
    edge: Arc<Edge>,
    health: HealthHandle,
    stopping: watch::Sender<bool>,
}

impl Front {
    /// Reads the TLS files and takes the port, so that `local_addr` is known. Needs no runtime.
    ///
    /// # Errors
    /// See [`FrontError`].
    pub fn bind(config: FrontConfig, core: Arc<dyn Core>) -> Result<Self, FrontError> {
        let counters = Arc::new(Counters::default());
        let tls = Arc::new(TlsWatch::start(&config, Arc::clone(&counters))?);
        let (stopping, stop) = watch::channel(false);
        let service = match config.whose {
            Whose::Coordinators => Signer::NAME,
            Whose::Operators => Operator::NAME,
        };
        let (deadline, counted) = (config.default_deadline, Arc::clone(&counters));
        let calls = Calls::new(service, core, deadline, counted, Arc::clone(&config.clock), stop.clone())?;
        let calls = if config.passes_trace_parents { calls.with_trace_parents() } else { calls };
        let (health, routes) = match config.whose {
            Whose::Coordinators => routes::<Signer>(calls.clone())?,
            Whose::Operators => routes::<Operator>(calls.clone())?,
        };
        let (listener, address) =
            listen(&config).map_err(|source| FrontError::Listen { address: config.address, source })?;
        let edge = Edge {
            tls,
            clock: config.clock,
            crowd: Crowd::new(config.connections_max.unwrap_or_else(connections_max)),
            unread: UnreadBytes::default(),
            counters,
            calls,
            routes,
            stopping: stop,
            connection_age_max: config.connection_age_max,
            watch_interval: config.watch_interval,
            frame_time_max: config.frame_time_max,
            read_time_max: config.read_time_max,
        };
        Ok(Self { listener, address, edge: Arc::new(edge), health, stopping })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The certificates (DER) of the callers' bundle in force.
    #[must_use]
    pub fn callers_bundle_anchors(&self) -> Vec<CertificateDer<'static>> {
        self.edge.tls.current().trust.anchors.clone()
    }

    /// What it counts.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.edge.counters)
    }

    /// Sets what health checks hear.
    #[must_use]
    pub fn health(&self) -> HealthHandle {
        self.health.clone()
    }

    /// Tells it what the core can do.
    #[must_use]
    pub fn pace(&self) -> PaceHandle {
        PaceHandle(self.edge.calls.admission().clone())
    }

    /// Reloads the TLS files on demand.
    #[must_use]
    pub fn reload_handle(&self) -> ReloadHandle {
        ReloadHandle(Arc::clone(&self.edge.tls))
    }

    /// Serves until `shutdown` resolves. Then no new connection and no new call is taken, calls under way are answered, for at
    /// most [`STOP_TIME_MAX`], and it returns.
    ///
    /// # Errors
    /// [`FrontError::Listen`] if the runtime does not take the listener.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), FrontError> {
        let listener = tokio::net::TcpListener::from_std(self.listener)
            .map_err(|source| FrontError::Listen { address: self.address, source })?;
        let mut connections = JoinSet::new();
        tokio::select! {
            () = shutdown => {}
            () = accept(&listener, &self.edge, &mut connections) => {}
            () = watch_files(&self.edge) => {}
        }
        drop(listener);
        self.health.set_serving(false);
        self.stopping.send_replace(true);
        tracing::info!(connections = connections.len(), "the front is stopping");
        let drained = timeout(STOP_TIME_MAX, async { while connections.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "calls were still under way when the time to stop was over"
            );
            connections.shutdown().await;
        }
        Ok(())
    }
}

fn routes<S: Offered>(calls: Calls) -> Result<(HealthHandle, Routes), FrontError> {
    let (handle, health) = HealthHandle::new(S::NAME);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name(S::NAME)
        .with_service_name("grpc.health.v1.Health")
        .build_v1()
        .map_err(|source| FrontError::Reflection { source })?;
    let routes = Routes::new(Mounted::<S>::new(calls))
        .add_service(HealthServer::new(health).max_decoding_message_size(QUESTION_BYTES_MAX))
        .add_service(reflection.max_decoding_message_size(QUESTION_BYTES_MAX))
        .prepare();
    Ok((handle, routes))
}

fn listen(config: &FrontConfig) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = match &config.listener {
        Some(given) => given.try_clone()?,
        None => TcpListener::bind(config.address)?,
    };
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Takes connections for ever, each into a task of its own.
async fn accept(listener: &tokio::net::TcpListener, edge: &Arc<Edge>, connections: &mut JoinSet<()>) {
    let handshakes = Handshakes::default();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((tcp, peer)) => begin(edge, connections, &handshakes, tcp, peer),
                Err(error) => {
                    tracing::warn!(%error, "the system refuses connections; raise its limit on open files");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

fn begin(edge: &Arc<Edge>, connections: &mut JoinSet<()>, handshakes: &Handshakes, tcp: TcpStream, peer: SocketAddr) {
    let (handshake, broken_off) = handshakes.begin(peer.ip());
    if broken_off {
        edge.counters.refused();
        tracing::debug!(%peer, "an older handshake was broken off for another: too many at once");
    }
    let number = handshake.number();
    let task = connections.spawn(Arc::clone(edge).run(tcp, peer, handshake));
    handshakes.is_done_by(number, task);
}

/// As many as there are files for; half of them where they are few.
fn connections_max() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let connections = files.saturating_sub(FILES_KEPT).max(files / 2);
    usize::try_from(connections).unwrap_or(usize::MAX).clamp(1, CONNECTIONS_MAX)
}

/// Looks at the TLS files for ever; a look that fails has logged why.
async fn watch_files(edge: &Edge) {
    let mut tick = interval_at(Instant::now() + edge.watch_interval, edge.watch_interval);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        drop(TlsWatch::look_aside(Arc::clone(&edge.tls), Look::IfChanged).await);
    }
}
