//! Authorities, files, clock and a running front.

use std::{
    fs::OpenOptions,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hallmark_front::{Counters, Front, FrontConfig, FrontError, FrontFile, HealthHandle, ReloadHandle};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::{RootCertStore, time_provider::TimeProvider};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};

use super::{
    client::{Caller, Dial},
    core::FakeCore,
};

/// 2026-06-15T00:00:00Z, in the middle of the callers' certificates.
const NOW_SECS: u64 = 1_781_481_600;
/// Serial number of every caller's certificate.
const CALLER_SERIAL: u64 = 77;
const PATIENCE: Duration = Duration::from_secs(20);

/// An authority that signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) certificate_pem: String,
    pub(crate) key_pem: String,
}

#[derive(Debug)]
struct FakeClock(AtomicU64);

/// What can be different in a world.
pub(crate) struct WorldBuilder {
    watch_interval: Duration,
    connection_age_max: &'static str,
    default_deadline: &'static str,
    crl: bool,
    unwanted: Option<CertificateDer<'static>>,
    connections_max: usize,
    peer_times: Option<(Duration, Duration)>,
    trace_parents: bool,
}

/// A running front and everything around it.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) core: Arc<FakeCore>,
    pub(crate) callers: Authority,
    pub(crate) servers: Authority,
    pub(crate) reload: ReloadHandle,
    pub(crate) health: HealthHandle,
    pub(crate) counters: Arc<Counters>,
    pub(crate) anchors: Vec<CertificateDer<'static>>,
    caller: Identity,
    clock: Arc<FakeClock>,
    directory: TempDir,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Result<(), FrontError>>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A server's certificate for localhost.
    pub(crate) fn server(&self) -> Identity {
        self.sign(CertificateParams::new(vec!["localhost".to_owned()]).unwrap())
    }

    /// A caller's certificate, valid in 2026.
    pub(crate) fn caller(&self) -> Identity {
        self.caller_named("coordinator")
    }

    /// The same for another caller.
    pub(crate) fn caller_named(&self, name: &str) -> Identity {
        let mut params = params(name);
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2027, 1, 1);
        params.serial_number = Some(SerialNumber::from(CALLER_SERIAL));
        self.sign(params)
    }

    /// A list that is valid until 2026-12-01 and revokes every caller, or nobody.
    pub(crate) fn crl(&self, revoked: bool) -> String {
        let entry = RevokedCertParams {
            serial_number: SerialNumber::from(CALLER_SERIAL),
            revocation_time: date_time_ymd(2026, 2, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2026, 12, 1),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: if revoked { vec![entry] } else { Vec::new() },
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).unwrap().pem().unwrap()
    }

    fn sign(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity {
            certificate: certificate.der().clone(),
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        }
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl TimeProvider for FakeClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.load(Ordering::SeqCst))))
    }
}

impl WorldBuilder {
    /// Looks at files and certificates often, instead of practically never.
    pub(crate) fn watching(mut self) -> Self {
        self.watch_interval = Duration::from_millis(5);
        self
    }

    pub(crate) fn connection_age_max(mut self, typed: &'static str) -> Self {
        self.connection_age_max = typed;
        self
    }

    pub(crate) fn default_deadline(mut self, typed: &'static str) -> Self {
        self.default_deadline = typed;
        self
    }

    pub(crate) fn with_crl(mut self) -> Self {
        self.crl = true;
        self
    }

    pub(crate) fn without_anchor(mut self, unwanted: CertificateDer<'static>) -> Self {
        self.unwanted = Some(unwanted);
        self
    }

    pub(crate) fn connections_max(mut self, connections: usize) -> Self {
        self.connections_max = connections;
        self
    }

    /// How long a frame may take, and an answer to be read.
    pub(crate) fn peer_times(mut self, frame: Duration, read: Duration) -> Self {
        self.peer_times = Some((frame, read));
        self
    }

    /// Before a core that traces calls.
    pub(crate) fn with_trace_parents(mut self) -> Self {
        self.trace_parents = true;
        self
    }

    pub(crate) fn start(self) -> World {
        let directory = TempDir::new().unwrap();
        let (callers, servers) = (Authority::new("callers"), Authority::new("servers"));
        let server = servers.server();
        let write = |name: &str, content: &str| write_file(&directory.path().join(name), content);
        write("server.pem", &server.certificate_pem);
        write("server.key", &server.key_pem);
        write("callers-ca.pem", &callers.pem());
        write("callers.crl", &callers.crl(false));
        let typed = format!(
            "address = '127.0.0.1:0'\ncertificate = 'server.pem'\nkey = 'server.key'\ncallers = 'callers-ca.pem'\n\
             connection-age-max = '{}'\ndefault-deadline = '{}'\n{}",
            self.connection_age_max,
            self.default_deadline,
            if self.crl { "callers-crl = 'callers.crl'\n" } else { "" },
        );
        let file: FrontFile = toml::from_str(&typed).unwrap();
        let clock = Arc::new(FakeClock(AtomicU64::new(NOW_SECS)));
        let unwanted = self.unwanted;
        let config = FrontConfig::from_file(file, directory.path())
            .unwrap()
            .with_clock(clock.clone())
            .with_watch_interval(self.watch_interval)
            .with_connections_max(self.connections_max)
            .with_trace_parents(self.trace_parents)
            .with_anchor_rule(move |anchors| unwanted.as_ref().is_none_or(|unwanted| !anchors.contains(unwanted)));
        let config = match self.peer_times {
            Some((frame, read)) => config.with_peer_times(frame, read),
            None => config,
        };
        let core = FakeCore::new();
        let front = Front::bind(config, core.clone()).unwrap();
        let (stop, stopped) = oneshot::channel();
        let caller = callers.caller();
        World {
            address: front.local_addr(),
            reload: front.reload_handle(),
            health: front.health(),
            counters: front.counters(),
            anchors: front.callers_bundle_anchors(),
            serving: tokio::spawn(front.serve(async move { drop(stopped.await) })),
            core,
            callers,
            servers,
            caller,
            clock,
            directory,
            stop: Some(stop),
        }
    }
}

impl World {
    pub(crate) fn start() -> Self {
        Self::builder().start()
    }

    pub(crate) fn builder() -> WorldBuilder {
        WorldBuilder {
            watch_interval: Duration::from_secs(24 * 60 * 60),
            connection_age_max: "1h",
            default_deadline: "20s",
            crl: false,
            unwanted: None,
            connections_max: 1_024,
            peer_times: None,
            trace_parents: false,
        }
    }

    /// A dial with the caller's certificate.
    pub(crate) fn dial(&self) -> Dial {
        self.dial_as(&self.caller)
    }

    pub(crate) fn dial_as(&self, identity: &Identity) -> Dial {
        use rustls_pki_types::pem::PemObject as _;
        let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(self.servers.der()).unwrap();
        Dial {
            address: self.address,
            roots,
            identity: Some((vec![identity.certificate.clone()], key)),
            version: &rustls::version::TLS13,
            alpn: vec![b"h2".to_vec()],
        }
    }

    pub(crate) async fn connect(&self) -> Caller {
        self.dial().connect().await.unwrap()
    }

    /// Whether the caller gets as far as an answer on a new connection.
    pub(crate) async fn is_served(&self, dial: Dial) -> bool {
        match dial.connect().await {
            Ok(caller) => caller.call("GetChain", b"?").await.is_ok_and(|answer| answer.code() == tonic::Code::Ok),
            Err(_) => false,
        }
    }

    pub(crate) fn caller_certificate(&self) -> &CertificateDer<'static> {
        &self.caller.certificate
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        write_file(&self.path(name), content);
    }

    /// 2026-12-12: the revocation lists are outdated, the callers' certificates valid.
    pub(crate) fn pass_the_end_of_revocation_lists(&self) {
        self.clock.0.store(NOW_SECS + 180 * 24 * 60 * 60, Ordering::SeqCst);
    }

    /// A year later: the callers' certificates have ended.
    pub(crate) fn pass_the_end_of_certificates(&self) {
        self.clock.0.store(NOW_SECS + 366 * 24 * 60 * 60, Ordering::SeqCst);
    }

    /// Asks the front to stop; `stopped` waits for it.
    pub(crate) fn stop(&mut self) {
        self.stop.take().expect("stopped once").send(()).unwrap();
    }

    pub(crate) async fn stopped(self) {
        tokio::time::timeout(PATIENCE, self.serving).await.expect("it stopped in time").unwrap().unwrap();
    }
}

/// Writes a file; a key is its owner's alone.
fn write_file(path: &Path, content: &str) {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mode = if path.extension().is_some_and(|kind| kind == "key") { 0o600 } else { 0o644 };
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path).unwrap();
    file.write_all(content.as_bytes()).unwrap();
}

/// Waits until `holds`, by turns with everything else.
pub(crate) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("in time: {what}"));
}
