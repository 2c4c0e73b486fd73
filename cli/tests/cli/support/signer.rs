//! A signer that answers what it is told, over real mutual TLS.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use hallmark_proto::{
    operator::operator_server::OperatorServer,
    signer::{MintCertificateResponse, RotateIntermediateResponse, signer_server::SignerServer},
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
use tonic::{Status, service::Routes};

use super::{
    World, log,
    pki::{Authority, csr},
    state::{Answer, State, Told, minted},
};

/// Largest message that is taken, as a signer takes it for rotations.
const MESSAGE_BYTES_MAX: usize = 17 * 1_048_576;

/// A running signer, and everything that belongs to it.
pub(crate) struct FakeSigner {
    pub(crate) address: SocketAddr,
    pub(crate) good: MintCertificateResponse,
    pub(crate) state: Arc<State>,
    _runtime: Runtime,
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
        let state = Arc::new(State::new(root, good.clone()));
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
