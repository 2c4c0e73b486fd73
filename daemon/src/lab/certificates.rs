//! Certificates for TLS between callers and a daemon in a laboratory. Their authorities sign once and their keys are forgotten.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, date_time_ymd,
};

use super::LabFile;
use crate::trouble::Trouble;

/// Every file of the set.
pub(super) const NAMES: [&str; 11] = [
    "server-ca.pem",
    "server.pem",
    "server.key",
    "callers-ca.pem",
    "coordinator.pem",
    "coordinator.key",
    "stranger.pem",
    "stranger.key",
    "operators-ca.pem",
    "operator.pem",
    "operator.key",
];

/// What the server is called in a laboratory.
const SERVER_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The caller of the example policy.
const COORDINATOR: &str = "spiffe://hallmark.lab/coordinator";

/// The operator of the example configuration.
const OPERATOR: &str = "spiffe://hallmark.lab/operator";

/// A caller whom the example policy does not name.
const STRANGER: &str = "spiffe://hallmark.lab/stranger";

/// How long certificates of a laboratory live.
const LIFETIME: Duration = Duration::from_secs(365 * 86_400);

/// How far they begin in the past, for clocks that differ.
const BACKDATE: Duration = Duration::from_secs(300);

/// Makes the whole set.
pub(super) fn make() -> Result<Vec<LabFile>, Trouble> {
    make_set().map_err(|source| Trouble::Certificate { source })
}

fn make_set() -> Result<Vec<LabFile>, rcgen::Error> {
    let server_authority = Authority::make("Hallmark Lab Server CA")?;
    let server_names: Vec<_> = SERVER_NAMES.map(str::to_owned).into();
    let (server, server_key) = server_authority.issue(
        "Hallmark Lab Server",
        CertificateParams::new(server_names)?,
        ExtendedKeyUsagePurpose::ServerAuth,
    )?;
    let callers_authority = Authority::make("Hallmark Lab Callers CA")?;
    let (coordinator, coordinator_key) = callers_authority.caller("coordinator", COORDINATOR)?;
    let (stranger, stranger_key) = callers_authority.caller("stranger", STRANGER)?;
    let operators_authority = Authority::make("Hallmark Lab Operators CA")?;
    let (operator, operator_key) = operators_authority.caller("operator", OPERATOR)?;
    Ok(vec![
        LabFile::public("server-ca.pem", server_authority.pem),
        LabFile::public("server.pem", server),
        LabFile::secret("server.key", server_key),
        LabFile::public("callers-ca.pem", callers_authority.pem),
        LabFile::public("coordinator.pem", coordinator),
        LabFile::secret("coordinator.key", coordinator_key),
        LabFile::public("stranger.pem", stranger),
        LabFile::secret("stranger.key", stranger_key),
        LabFile::public("operators-ca.pem", operators_authority.pem),
        LabFile::public("operator.pem", operator),
        LabFile::secret("operator.key", operator_key),
    ])
}

/// A CA that lives for as long as its set is made.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn make(name: &str) -> Result<Self, rcgen::Error> {
        let mut params = named(name, CertificateParams::new(Vec::new())?);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    fn caller(&self, name: &str, uri: &str) -> Result<(String, String), rcgen::Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
        self.issue(name, params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A certificate and its key, both PEM.
    fn issue(
        &self,
        name: &str,
        params: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<(String, String), rcgen::Error> {
        let mut params = named(name, params);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        Ok((params.signed_by(&key, &self.issuer)?.pem(), key.serialize_pem()))
    }
}

fn named(name: &str, mut params: CertificateParams) -> CertificateParams {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let begin = date_time_ymd(1970, 1, 1) + now.saturating_sub(BACKDATE);
    params.not_before = begin;
    params.not_after = begin + LIFETIME;
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
