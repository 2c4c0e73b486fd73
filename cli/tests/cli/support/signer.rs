//! A signer that answers what it is told, over real mutual TLS.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use hallmark_proto::signer::{
    Epoch, GetChainRequest, GetChainResponse, ListEpochsRequest, ListEpochsResponse, MintCertificateRequest,
    MintCertificateResponse, RotateIntermediateRequest, RotateIntermediateResponse, WatchEpochsRequest,
    WatchEpochsResponse,
    signer_server::{Signer, SignerServer},
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
    pki::{Authority, csr},
};

/// What the next calls are answered with; `None` is silence.
pub(crate) type Answer = Option<Result<MintCertificateResponse, Status>>;

/// A running signer, and everything that belongs to it.
pub(crate) struct FakeSigner {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Mutex<Vec<MintCertificateRequest>>>,
    pub(crate) good: MintCertificateResponse,
    answer: Arc<Mutex<Answer>>,
    _runtime: Runtime,
}

struct Told {
    answer: Arc<Mutex<Answer>>,
    seen: Arc<Mutex<Vec<MintCertificateRequest>>>,
    good: MintCertificateResponse,
}

#[tonic::async_trait]
impl Signer for Told {
    async fn mint_certificate(
        &self,
        request: Request<MintCertificateRequest>,
    ) -> Result<Response<MintCertificateResponse>, Status> {
        assert!(request.metadata().get("grpc-timeout").is_some(), "every call says how long it waits");
        self.seen.lock().unwrap().push(request.into_inner());
        let answer = self.answer.lock().unwrap().clone();
        match answer {
            Some(answer) => answer.map(Response::new),
            None => std::future::pending().await,
        }
    }

    async fn get_chain(&self, request: Request<GetChainRequest>) -> Result<Response<GetChainResponse>, Status> {
        if request.get_ref().authority != "athenz" {
            return Err(Status::not_found("there is no such authority"));
        }
        Ok(Response::new(GetChainResponse {
            root: self.good.root.clone(),
            intermediate: self.good.chain[0].clone(),
            mesh_ca: self.good.mesh_ca.clone(),
            epoch: self.good.epoch.clone(),
            active: true,
        }))
    }

    type WatchEpochsStream = tonic::codegen::BoxStream<WatchEpochsResponse>;

    async fn rotate_intermediate(
        &self,
        _: Request<RotateIntermediateRequest>,
    ) -> Result<Response<RotateIntermediateResponse>, Status> {
        Err(not_told())
    }

    async fn list_epochs(&self, _: Request<ListEpochsRequest>) -> Result<Response<ListEpochsResponse>, Status> {
        Err(not_told())
    }

    async fn watch_epochs(&self, _: Request<WatchEpochsRequest>) -> Result<Response<Self::WatchEpochsStream>, Status> {
        Err(not_told())
    }
}

fn not_told() -> Status {
    Status::unimplemented("nobody told this signer what to answer")
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
        let good = minted(&key);
        let (answer, seen) = (Arc::new(Mutex::new(Some(Ok(good.clone())))), Arc::default());
        let told = Told { answer: Arc::clone(&answer), seen: Arc::clone(&seen), good: good.clone() };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(serve(listener, server_config(&servers, &callers), told));
        Self { address, seen, good, answer, _runtime: runtime }
    }

    /// What is answered from now on.
    pub(crate) fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
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
fn minted(key: &KeyPair) -> MintCertificateResponse {
    let root = Authority::root("Lab Root");
    let (intermediate, mesh_ca) = root.intermediate("Lab Issuing");
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

async fn serve(listener: TcpListener, config: Arc<ServerConfig>, told: Told) {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<SignerServer<Told>>().await;
    let routes = Routes::new(SignerServer::new(told)).add_service(health_service).prepare();
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
