//! Authorities, and a certificate for a key.

use hallmark_policy::content::EPOCH_BINDING_ARCS;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, CustomExtension, DnType,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};

/// An authority that signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, PEM.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// What an epoch's certificates bind.
#[derive(Clone, Copy)]
pub(crate) struct Binding {
    pub(crate) generation: u8,
    pub(crate) manifest: [u8; 32],
    pub(crate) transition: [u8; 32],
}

impl Authority {
    pub(crate) fn root(name: &str) -> Self {
        Self(CertifiedIssuer::self_signed(ca(name, 1), KeyPair::generate().unwrap()).unwrap())
    }

    /// An intermediate under this one, and the mesh CA: another certificate over the same key that is self-signed.
    pub(crate) fn epoch(&self, name: &str, binding: Binding) -> (Self, Vec<u8>) {
        let mut params = ca(name, 0);
        params.custom_extensions = vec![binding.extension()];
        let key = KeyPair::generate().unwrap();
        let mesh_ca = params.self_signed(&key).unwrap().der().to_vec();
        (Self(CertifiedIssuer::signed_by(params, key, &self.0).unwrap()), mesh_ca)
    }

    /// A CRL of 2026 and 2027 that lists these serial numbers, PEM and DER.
    pub(crate) fn crl(&self, serials: &[u64]) -> (String, Vec<u8>) {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2026, 5, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2028, 1, 1),
            crl_number: SerialNumber::from(3_u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let crl = params.signed_by(&self.0).unwrap();
        (crl.pem().unwrap(), crl.der().to_vec())
    }

    /// A certification request for its key, DER.
    pub(crate) fn request(&self) -> Vec<u8> {
        named("request").serialize_request(self.0.key()).unwrap().der().to_vec()
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
        params.use_authority_key_identifier_extension = true;
        params.signed_by(key, &self.0).unwrap().der().to_vec()
    }
}

impl Binding {
    fn extension(&self) -> CustomExtension {
        let octets = |digest: [u8; 32]| [&[4, 32], digest.as_slice()].concat();
        let numbers = [2, 1, 1, 2, 1, self.generation];
        let content = [&numbers[..], &octets(self.manifest), &octets(self.transition)].concat();
        let der = [&[0x30, u8::try_from(content.len()).unwrap()], content.as_slice()].concat();
        let arcs: Vec<u64> = EPOCH_BINDING_ARCS.iter().map(|arc| u64::from(*arc)).collect();
        CustomExtension::from_oid_content(&arcs, der)
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

fn ca(name: &str, path_len: u8) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_len));
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(SerialNumber::from(7_u64));
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2036, 1, 1);
    params
}
