//! The TLS files: read whole and bounded, told apart by digest, and built into what new handshakes use.

use std::{
    fs::File,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_lc_rs::digest;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    time_provider::TimeProvider,
};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem::PemObject};
use zeroize::Zeroizing;

use crate::{
    config::{AnchorRule, TlsPaths},
    error::FrontError,
};

/// Largest TLS file that is read, in bytes: room for a revocation list of some hundred thousand entries.
pub const TLS_FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Permission bits that the key's file must not have: anything for group and others.
const KEY_FORBIDDEN_MODE: u32 = 0o077;

/// The only protocol spoken over TLS (RFC 9113, section 3.1).
pub(crate) const ALPN_HTTP_2: &[u8] = b"h2";

/// What the files hold, unread.
pub(crate) struct TlsFiles {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    callers: Vec<u8>,
    callers_crl: Option<Vec<u8>>,
}

/// What one set of files says: how handshakes are done, and whom to trust.
#[derive(Debug)]
pub(crate) struct TlsState {
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) trust: Arc<Trust>,
}

/// Whom to trust as a caller, by one set of files.
#[derive(Debug)]
pub(crate) struct Trust {
    pub(crate) verifier: Arc<dyn ClientCertVerifier>,
    pub(crate) anchors: Vec<CertificateDer<'static>>,
}

impl TlsFiles {
    pub(crate) fn read(paths: &TlsPaths) -> Result<Self, FrontError> {
        Ok(Self {
            certificate: read_bounded(&paths.certificate)?,
            key: Zeroizing::new(read_key(&paths.key)?),
            callers: read_bounded(&paths.callers)?,
            callers_crl: paths.callers_crl.as_deref().map(read_bounded).transpose()?,
        })
    }

    /// SHA-256 over the lengths and contents of all files.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut sum = digest::Context::new(&digest::SHA256);
        let crl = self.callers_crl.as_deref().unwrap_or_default();
        for content in [self.certificate.as_slice(), &self.key, &self.callers, crl] {
            sum.update(&content.len().to_be_bytes());
            sum.update(content);
        }
        let mut out = [0; 32];
        out.copy_from_slice(sum.finish().as_ref());
        out
    }

    /// Builds what the files say, or says what is wrong with them.
    pub(crate) fn build(
        &self,
        paths: &TlsPaths,
        clock: Arc<dyn TimeProvider>,
        rule: &AnchorRule,
    ) -> Result<TlsState, FrontError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let trust = self.trust(paths, &provider)?;
        if !rule.admits(&trust.anchors) {
            return Err(FrontError::AnchorNotWanted { path: paths.callers.clone() });
        }
        let chain = certificates(&self.certificate, &paths.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| FrontError::Unreadable { path: paths.key.clone(), expected: "private key" })?;
        let mut server = ServerConfig::builder_with_details(provider, clock)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|source| FrontError::NoTls13 { source })?
            .with_client_cert_verifier(Arc::clone(&trust.verifier))
            .with_single_cert(chain, key)
            .map_err(|source| FrontError::Identity {
                certificate: paths.certificate.clone(),
                key: paths.key.clone(),
                source,
            })?;
        server.alpn_protocols = vec![ALPN_HTTP_2.to_vec()];
        // A resumed session would skip the caller's certificate (RFC 8446, section 4.6.1): every connection proves itself.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Ok(TlsState { server: Arc::new(server), trust: Arc::new(trust) })
    }

    fn trust(&self, paths: &TlsPaths, provider: &Arc<CryptoProvider>) -> Result<Trust, FrontError> {
        let anchors = certificates(&self.callers, &paths.callers)?;
        let mut store = RootCertStore::empty();
        for anchor in &anchors {
            store.add(anchor.clone()).map_err(|source| FrontError::Anchor { path: paths.callers.clone(), source })?;
        }
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider));
        if let (Some(content), Some(path)) = (&self.callers_crl, &paths.callers_crl) {
            // An outdated list says nothing about today (RFC 5280, section 6.3.3).
            builder = builder.with_crls(revocation_lists(content, path)?).enforce_revocation_expiration();
        }
        let verifier =
            builder.build().map_err(|source| FrontError::Verifier { path: paths.callers.clone(), source })?;
        Ok(Trust { verifier, anchors })
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, FrontError> {
    let file = File::open(path).map_err(|source| FrontError::Read { path: path.to_path_buf(), source })?;
    read_open(file, path)
}

/// Reads a file that nobody else may read.
fn read_key(path: &Path) -> Result<Vec<u8>, FrontError> {
    let failed = |source| FrontError::Read { path: path.to_path_buf(), source };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    if mode & KEY_FORBIDDEN_MODE != 0 {
        return Err(FrontError::KeyReadable { path: path.to_path_buf(), mode });
    }
    read_open(file, path)
}

fn read_open(file: File, path: &Path) -> Result<Vec<u8>, FrontError> {
    let failed = |source| FrontError::Read { path: path.to_path_buf(), source };
    let mut content = Vec::new();
    let bytes = file.take(TLS_FILE_BYTES_MAX + 1).read_to_end(&mut content).map_err(failed)?;
    if bytes as u64 > TLS_FILE_BYTES_MAX {
        return Err(FrontError::TooLarge { path: path.to_path_buf() });
    }
    Ok(content)
}

fn certificates(content: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, FrontError> {
    let unreadable = || FrontError::Unreadable { path: PathBuf::from(path), expected: "certificate" };
    let found: Vec<_> = CertificateDer::pem_slice_iter(content).collect::<Result<_, _>>().map_err(|_| unreadable())?;
    if found.is_empty() { Err(unreadable()) } else { Ok(found) }
}

fn revocation_lists(content: &[u8], path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, FrontError> {
    const DER_SEQUENCE: u8 = 0x30;
    if content.first() == Some(&DER_SEQUENCE) {
        return Ok(vec![CertificateRevocationListDer::from(content.to_vec())]);
    }
    let unreadable = || FrontError::Unreadable { path: PathBuf::from(path), expected: "revocation list" };
    let found: Vec<_> =
        CertificateRevocationListDer::pem_slice_iter(content).collect::<Result<_, _>>().map_err(|_| unreadable())?;
    if found.is_empty() { Err(unreadable()) } else { Ok(found) }
}
