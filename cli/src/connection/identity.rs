//! The TLS configuration of a caller: whom it trusts, and who it is.

use std::{path::Path, sync::Arc};

use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use super::ConnectionError;
use crate::{
    files::{self, FileError},
    settings::ConnectionSettings,
};

pub(super) fn client_config(
    settings: &ConnectionSettings,
    application: &[u8],
) -> Result<Arc<ClientConfig>, ConnectionError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&settings.ca)? {
        let added = roots.add(certificate);
        added.map_err(|source| ConnectionError::Anchor { path: settings.ca.clone(), source })?;
    }
    let chain = certificates(&settings.cert)?;
    let key = private_key(&settings.key)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(ConnectionError::Tls)?
        .with_root_certificates(roots);
    let mut config = builder.with_client_auth_cert(chain, key).map_err(|source| ConnectionError::Identity {
        cert: settings.cert.clone(),
        key: settings.key.clone(),
        source,
    })?;
    config.alpn_protocols = vec![application.to_vec()];
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let bytes = files::read(path)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let read = read.ok().filter(|certificates| !certificates.is_empty());
    read.ok_or_else(|| FileError::Unexpected { path: path.to_owned(), expected: "certificate in PEM" })
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, FileError> {
    let bytes = files::read_secret(path)?;
    let unexpected = |_| FileError::Unexpected { path: path.to_owned(), expected: "unencrypted private key in PEM" };
    PrivateKeyDer::from_pem_slice(&bytes).map_err(unexpected)
}
