//! Authorities, and a certificate for a key.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, SanType,
    SerialNumber, date_time_ymd,
};

/// An authority that signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, PEM.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn root(name: &str) -> Self {
        Self(CertifiedIssuer::self_signed(ca(name), KeyPair::generate().unwrap()).unwrap())
    }

    /// An intermediate under this one, and another certificate over the same key that is self-signed.
    pub(crate) fn intermediate(&self, name: &str) -> (Self, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let mesh_ca = ca(name).self_signed(&key).unwrap().der().to_vec();
        (Self(CertifiedIssuer::signed_by(ca(name), key, &self.0).unwrap()), mesh_ca)
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        self.0.der().to_vec()
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for a server or caller, with a key of its own.
    pub(crate) fn identity(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = named("peer");
        let name = match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.try_into().unwrap()),
        };
        params.subject_alt_names.push(name);
        Identity { certificate: params.signed_by(&key, &self.0).unwrap().pem(), key: key.serialize_pem() }
    }

    /// A leaf of 30 days and 5 minutes for `key`, DER.
    pub(crate) fn leaf(&self, key: &KeyPair) -> Vec<u8> {
        let mut params = leaf_params();
        params.serial_number = Some(SerialNumber::from_slice(&[0x5a; 17]));
        params.not_before = date_time_ymd(2026, 11, 1);
        params.not_after = date_time_ymd(2026, 12, 1);
        params.signed_by(key, &self.0).unwrap().der().to_vec()
    }
}

/// A CSR for what [`Authority::leaf`] certifies, PEM.
pub(crate) fn csr(key: &KeyPair) -> String {
    leaf_params().serialize_request(key).unwrap().pem().unwrap()
}

fn leaf_params() -> CertificateParams {
    let mut params = named("sports.api");
    let dns = "api.sports.lab.athenz.cloud".try_into().unwrap();
    let uri = "athenz://instanceid/sys.auth.lab/i-1".try_into().unwrap();
    params.subject_alt_names = vec![SanType::DnsName(dns), SanType::URI(uri)];
    params
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn ca(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(SerialNumber::from(7_u64));
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2036, 1, 1);
    params
}
