//! A gRPC client over mutual TLS, for scenarios with the real daemon.

use std::fs;

use hallmark_proto::{operator::operator_client::OperatorClient, signer::signer_client::SignerClient};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::daemon::{Daemon, Laboratory};

/// A connection of the coordinator's.
///
/// # Panics
/// If it cannot be made.
pub async fn connect(laboratory: &Laboratory, daemon: &Daemon) -> SignerClient<Channel> {
    SignerClient::new(channel(laboratory, daemon.address(), "coordinator").await)
}

/// A connection of the operator's.
///
/// # Panics
/// If it cannot be made.
pub async fn connect_operator(laboratory: &Laboratory, daemon: &Daemon) -> OperatorClient<Channel> {
    OperatorClient::new(channel(laboratory, daemon.operators(), "operator").await)
}

/// A connection of whose certificate `who` names.
///
/// # Panics
/// If it cannot be made.
pub async fn channel(laboratory: &Laboratory, address: &str, who: &str) -> Channel {
    let read = |name: &str| fs::read(laboratory.path(name)).expect("a file");
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(read("server-ca.pem")))
        .identity(Identity::from_pem(read(&format!("{who}.pem")), read(&format!("{who}.key"))))
        .domain_name("localhost");
    let endpoint = Endpoint::from_shared(format!("https://{address}")).expect("an address");
    endpoint.tls_config(tls).expect("TLS").connect().await.expect("a connection")
}
