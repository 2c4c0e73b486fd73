//! A gRPC client over mutual TLS, for scenarios with the real daemon.

use std::fs;

use hallmark_proto::signer::signer_client::SignerClient;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::daemon::{Daemon, Laboratory};

/// A connection of the coordinator's.
///
/// # Panics
/// If it cannot be made.
pub async fn connect(laboratory: &Laboratory, daemon: &Daemon) -> SignerClient<Channel> {
    let read = |name: &str| fs::read(laboratory.path(name)).expect("a file");
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(read("server-ca.pem")))
        .identity(Identity::from_pem(read("coordinator.pem"), read("coordinator.key")))
        .domain_name("localhost");
    let endpoint = Endpoint::from_shared(format!("https://{}", daemon.address())).expect("an address");
    SignerClient::new(endpoint.tls_config(tls).expect("TLS").connect().await.expect("a connection"))
}
