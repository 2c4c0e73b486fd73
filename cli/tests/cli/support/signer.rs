//! A signer that answers what it is told, over real mutual TLS.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use hallmark_proto::{
    operator::{
        AbortEpochRequest, ActivateEpochRequest, ApplyPolicyRequest, ApplyPolicyResponse, BringIntermediateRequest,
        EpochResponse, PolicyStatusRequest, PolicyStatusResponse, PrepareEpochRequest,
        operator_server::{Operator, OperatorServer},
    },
    signer::{
        Epoch, EpochState, EpochStatus, GetChainRequest, GetChainResponse, ListEpochsRequest, ListEpochsResponse,
        MintCertificateRequest, MintCertificateResponse, RotateIntermediateRequest, RotateIntermediateResponse,
        WatchEpochsRequest, WatchEpochsResponse,
        signer_server::{Signer, SignerServer},
    },
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use rcgen::KeyPair;
use rustls::{RootCertStore, ServerConfig, crypto::aws_lc_rs, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_rustls::TlsAcceptor;
use tonic::{Request, Response, Status, service::Routes};

use super::{
    World, log,
    pki::{Authority, Binding, csr},
};

/// Largest message that is taken, as a signer takes it for rotations.
const MESSAGE_BYTES_MAX: usize = 17 * 1_048_576;

/// What the next calls are answered with; `None` is silence.
pub(crate) type Answer = Option<Result<MintCertificateResponse, Status>>;

/// What is done to good answers of a rotation before they are sent.
type Change = Box<dyn Fn(RotateIntermediateResponse) -> Result<RotateIntermediateResponse, Status> + Send>;

/// A running signer, and everything that belongs to it.
pub(crate) struct FakeSigner {
    pub(crate) address: SocketAddr,
    pub(crate) good: MintCertificateResponse,
    pub(crate) state: Arc<State>,
    _runtime: Runtime,
}

/// What the signer was asked, and what it answers.
pub(crate) struct State {
    pub(crate) minted: Mutex<Vec<MintCertificateRequest>>,
    pub(crate) rotated: Mutex<Vec<RotateIntermediateRequest>>,
    pub(crate) operated: Mutex<Vec<String>>,
    pub(crate) watched: Mutex<Vec<WatchEpochsRequest>>,
    pub(crate) root: Authority,
    /// The epochs that are listed, newest first.
    pub(crate) epochs: Mutex<Vec<EpochStatus>>,
    /// What calls to watch hear, one after the other; those that come later hear nothing.
    pub(crate) watching: Mutex<VecDeque<Vec<Result<WatchEpochsResponse, Status>>>>,
    /// Whether rotations are answered at all.
    pub(crate) silent: AtomicBool,
    /// Whether the root is on another device.
    pub(crate) offline: AtomicBool,
    answer: Mutex<Answer>,
    change: Mutex<Option<Change>>,
    good: MintCertificateResponse,
}

struct Told(Arc<State>);

#[tonic::async_trait]
impl Signer for Told {
    async fn mint_certificate(
        &self,
        request: Request<MintCertificateRequest>,
    ) -> Result<Response<MintCertificateResponse>, Status> {
        assert!(request.metadata().get("grpc-timeout").is_some(), "every call says how long it waits");
        self.0.minted.lock().unwrap().push(request.into_inner());
        let answer = self.0.answer.lock().unwrap().clone();
        match answer {
            Some(answer) => answer.map(Response::new),
            None => std::future::pending().await,
        }
    }

    async fn get_chain(&self, request: Request<GetChainRequest>) -> Result<Response<GetChainResponse>, Status> {
        if request.get_ref().authority != "athenz" {
            return Err(Status::not_found("there is no such authority"));
        }
        let good = &self.0.good;
        Ok(Response::new(GetChainResponse {
            root_crl: bytes::Bytes::new(),
            crl: bytes::Bytes::new(),
            root: good.root.clone(),
            intermediate: good.chain[0].clone(),
            mesh_ca: good.mesh_ca.clone(),
            epoch: good.epoch.clone(),
            active: true,
        }))
    }

    type WatchEpochsStream = tonic::codegen::BoxStream<WatchEpochsResponse>;

    async fn rotate_intermediate(
        &self,
        request: Request<RotateIntermediateRequest>,
    ) -> Result<Response<RotateIntermediateResponse>, Status> {
        let request = request.into_inner();
        let good = rotated(&self.0.root, &request, self.0.offline.load(Ordering::SeqCst));
        self.0.rotated.lock().unwrap().push(request);
        if self.0.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let changed =
            self.0.change.lock().unwrap().as_ref().map_or_else(|| Ok(good.clone()), |change| change(good.clone()));
        changed.map(Response::new)
    }

    async fn list_epochs(&self, request: Request<ListEpochsRequest>) -> Result<Response<ListEpochsResponse>, Status> {
        Ok(Response::new(self.0.list(request.get_ref())))
    }

    async fn watch_epochs(
        &self,
        request: Request<WatchEpochsRequest>,
    ) -> Result<Response<Self::WatchEpochsStream>, Status> {
        self.0.watched.lock().unwrap().push(request.into_inner());
        let heard = self.0.watching.lock().unwrap().pop_front();
        let stream: Self::WatchEpochsStream = match heard {
            Some(heard) => Box::pin(tokio_stream::iter(heard)),
            None => Box::pin(tokio_stream::pending()),
        };
        Ok(Response::new(stream))
    }
}

#[tonic::async_trait]
impl Operator for Told {
    async fn apply_policy(&self, _: Request<ApplyPolicyRequest>) -> Result<Response<ApplyPolicyResponse>, Status> {
        Err(not_told())
    }

    async fn policy_status(&self, _: Request<PolicyStatusRequest>) -> Result<Response<PolicyStatusResponse>, Status> {
        Err(not_told())
    }

    async fn list_epochs(&self, request: Request<ListEpochsRequest>) -> Result<Response<ListEpochsResponse>, Status> {
        Ok(Response::new(self.0.list(request.get_ref())))
    }

    async fn prepare_epoch(&self, request: Request<PrepareEpochRequest>) -> Result<Response<EpochResponse>, Status> {
        let lifetime = request.get_ref().lifetime_seconds;
        self.0.operate(format!("prepare, lifetime {lifetime}"), None, EpochState::Prepared)
    }

    async fn activate_epoch(&self, request: Request<ActivateEpochRequest>) -> Result<Response<EpochResponse>, Status> {
        let ActivateEpochRequest { generation, revoke_previous, .. } = *request.get_ref();
        let asked = format!("activate {generation}, revoke {revoke_previous}");
        self.0.operate(asked, Some(generation), EpochState::Active)
    }

    async fn abort_epoch(&self, request: Request<AbortEpochRequest>) -> Result<Response<EpochResponse>, Status> {
        let AbortEpochRequest { generation, reason, .. } = request.into_inner();
        self.0.operate(format!("abort {generation}: {reason}"), Some(generation), EpochState::Aborted)
    }

    async fn bring_intermediate(
        &self,
        request: Request<BringIntermediateRequest>,
    ) -> Result<Response<EpochResponse>, Status> {
        let BringIntermediateRequest { generation, certificate, .. } = request.into_inner();
        let asked = format!("bring {} bytes for {generation}", certificate.len());
        self.0.operate(asked, Some(generation), EpochState::Prepared)
    }
}

fn not_told() -> Status {
    Status::unimplemented("nobody told this signer what to answer")
}

impl State {
    fn list(&self, request: &ListEpochsRequest) -> ListEpochsResponse {
        let before = if request.before_generation == 0 { u64::MAX } else { request.before_generation };
        let epochs = self.epochs.lock().unwrap();
        let older = epochs.iter().filter(|epoch| epoch.epoch.as_ref().unwrap().generation < before);
        let limit = request.limit as usize;
        ListEpochsResponse { epochs: older.clone().take(limit).cloned().collect(), more: older.count() > limit }
    }

    /// The newest epoch, or that of a generation, in the state that was wished for.
    fn operate(
        &self,
        asked: String,
        generation: Option<u64>,
        state: EpochState,
    ) -> Result<Response<EpochResponse>, Status> {
        self.operated.lock().unwrap().push(asked);
        let epochs = self.epochs.lock().unwrap();
        let of = |epoch: &&EpochStatus| generation.is_none_or(|it| epoch.epoch.as_ref().unwrap().generation == it);
        let found = epochs.iter().find(of).ok_or_else(|| Status::not_found("there is no such epoch"))?;
        Ok(Response::new(EpochResponse {
            epoch: Some(EpochStatus { state: state.into(), ..found.clone() }),
            log_index: 41,
            root: self.good.root.clone(),
            intermediate: self.good.chain[0].clone(),
            mesh_ca: self.good.mesh_ca.clone(),
            certification_request: bytes::Bytes::new(),
            notes: vec!["nothing was decided for 950 us".to_owned()],
        }))
    }
}

/// A good answer to a rotation: generation 2, bound to what was asked for.
fn rotated(root: &Authority, request: &RotateIntermediateRequest, offline: bool) -> RotateIntermediateResponse {
    let manifest = hallmark_entry::sha256(&request.manifest);
    let expected = request.expected_transition.as_ref().try_into().unwrap();
    let transition = hallmark_policy::authority::transition(&manifest, &expected);
    let (intermediate, mesh_ca) = root.epoch("Lab Issuing 2", Binding { generation: 2, manifest, transition });
    let entry = log::activated("athenz", 2, &transition, log::THEN_MILLIS);
    let good = RotateIntermediateResponse {
        root: root.der().into(),
        intermediate: intermediate.der().into(),
        mesh_ca: mesh_ca.into(),
        epoch: Some(Epoch {
            authority: request.authority.clone(),
            generation: 2,
            transition: transition.to_vec().into(),
            manifest_sha256: manifest.to_vec().into(),
        }),
        state: EpochState::Active.into(),
        replayed: false,
        log_index: Some(0),
        receipt: log::receipt(std::slice::from_ref(&entry), 0),
        log_entry: entry.into(),
        certification_request: bytes::Bytes::new(),
        pause_micros: 950,
        root_crl: bytes::Bytes::new(),
    };
    if !offline {
        return good;
    }
    RotateIntermediateResponse {
        state: EpochState::Keyed.into(),
        certification_request: intermediate.request().into(),
        intermediate: bytes::Bytes::new(),
        log_index: None,
        receipt: String::new(),
        log_entry: bytes::Bytes::new(),
        ..good
    }
}

impl FakeSigner {
    /// Starts one; the world gets the files of a caller, a CSR and the log's key.
    pub(crate) fn start(world: &World) -> Self {
        let (servers, callers) = (Authority::root("servers"), Authority::root("callers"));
        let caller = callers.identity("coordinator.example");
        world.write("server-ca.pem", servers.pem());
        world.write("coordinator.pem", caller.certificate);
        world.write("coordinator.key", caller.key);
        world.write("log.vkey", log::verifier());
        let key = KeyPair::generate().unwrap();
        world.write("service.csr", csr(&key));
        world.write("service.pub", key.public_key_pem());
        let root = Authority::root("Lab Root");
        let good = minted(&key, &root);
        let state = Arc::new(State {
            minted: Mutex::default(),
            rotated: Mutex::default(),
            operated: Mutex::default(),
            watched: Mutex::default(),
            epochs: Mutex::default(),
            watching: Mutex::default(),
            silent: AtomicBool::new(false),
            offline: AtomicBool::new(false),
            answer: Mutex::new(Some(Ok(good.clone()))),
            change: Mutex::default(),
            good: good.clone(),
            root,
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(serve(listener, server_config(&servers, &callers), Arc::clone(&state)));
        Self { address, good, state, _runtime: runtime }
    }

    /// What is answered from now on.
    pub(crate) fn answer(&self, answer: Answer) {
        *self.state.answer.lock().unwrap() = answer;
    }

    /// What is done to answers of a rotation from now on.
    pub(crate) fn change_rotations(
        &self,
        change: impl Fn(RotateIntermediateResponse) -> Result<RotateIntermediateResponse, Status> + Send + 'static,
    ) {
        *self.state.change.lock().unwrap() = Some(Box::new(change));
    }

    /// The flags that reach it.
    pub(crate) fn flags(&self) -> Vec<String> {
        let signer = format!("https://{}", self.address);
        ["--signer", &signer, "--ca", "server-ca.pem", "--cert", "coordinator.pem", "--key", "coordinator.key"]
            .map(str::to_owned)
            .to_vec()
    }

    /// A command with these flags.
    pub(crate) fn command(&self, words: &str) -> Vec<String> {
        let mut command: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        command.extend(self.flags());
        command
    }
}

/// A good answer: its certificate is for `key`, and its log has this one entry.
fn minted(key: &KeyPair, root: &Authority) -> MintCertificateResponse {
    let binding = Binding { generation: 1, manifest: [0xc1; 32], transition: [0xc0; 32] };
    let (intermediate, mesh_ca) = root.epoch("Lab Issuing", binding);
    let leaf = intermediate.leaf(key);
    let entry = log::issued(1, &hallmark_entry::sha256(to_be_signed(&leaf)), log::THEN_MILLIS);
    MintCertificateResponse {
        certificate: leaf.into(),
        chain: vec![intermediate.der().into()],
        mesh_ca: mesh_ca.into(),
        root: root.der().into(),
        serial: vec![0x5a; 17].into(),
        epoch: Some(Epoch {
            authority: "athenz".to_owned(),
            generation: 1,
            transition: vec![0xc0; 32].into(),
            manifest_sha256: vec![0xc1; 32].into(),
        }),
        log_index: 0,
        receipt: log::receipt(std::slice::from_ref(&entry), 0),
        not_before: 1_793_491_200,
        not_after: 1_796_083_200,
        replayed: false,
        log_entry: entry.into(),
    }
}

fn to_be_signed(certificate: &[u8]) -> &[u8] {
    use der::{Decode as _, Reader as _};
    let content = der::asn1::AnyRef::from_der(certificate).unwrap().value();
    der::SliceReader::new(content).unwrap().tlv_bytes().unwrap()
}

fn server_config(servers: &Authority, callers: &Authority) -> Arc<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut trusted = RootCertStore::empty();
    trusted.add(CertificateDer::from(callers.der())).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(trusted), Arc::clone(&provider)).build().unwrap();
    let identity = servers.identity("127.0.0.1");
    let chain = vec![CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap()];
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

async fn serve(listener: TcpListener, config: Arc<ServerConfig>, state: Arc<State>) {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<SignerServer<Told>>().await;
    let signer = SignerServer::new(Told(Arc::clone(&state))).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let operator = OperatorServer::new(Told(state));
    let routes = Routes::new(signer).add_service(operator).add_service(health_service).prepare();
    let acceptor = TlsAcceptor::from(config);
    while let Ok((tcp, _)) = listener.accept().await {
        let (acceptor, routes) = (acceptor.clone(), routes.clone());
        tokio::spawn(async move {
            if let Ok(tls) = acceptor.accept(tcp).await {
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(tls), TowerToHyperService::new(routes)).await;
            }
        });
    }
}
