//! Two epochs under one root, written by another library than the signer's, so that each can be written wrong.

use hallmark_chain::{Evidence, History, LeafEvidence, Report, Start, verify};
use hallmark_policy::{
    content::EPOCH_BINDING_ARCS,
    key::SpkiDigest,
    name::{DnsName, GeneralName},
    time::UnixTime,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, NameConstraints,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};

/// 2026-06-01T00:00:00Z.
pub(crate) const AT_SECS: i64 = 1_780_272_000;

pub(crate) const MANIFESTS: [&[u8]; 2] = [b"manifest-A", b"manifest-B"];

/// Which certificate is to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Root,
    Intermediate,
    MeshCa,
    Leaf,
}

/// What is done to the certificates before they are signed.
pub(crate) type Change<'a> = &'a dyn Fn(Which, &mut CertificateParams);

/// An epoch with a leaf.
pub(crate) struct World {
    pub(crate) root: Vec<u8>,
    pub(crate) intermediate: Vec<u8>,
    pub(crate) mesh_ca: Vec<u8>,
    pub(crate) leaf: Vec<u8>,
    pub(crate) history: History,
    root_key: KeyPair,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(&|_, _| {})
    }

    pub(crate) fn with(change: Change<'_>) -> Self {
        Self::with_keys(change, &KeyPair::generate().unwrap(), None)
    }

    /// With a key of its own for the mesh CA, if there is one.
    pub(crate) fn with_keys(change: Change<'_>, key: &KeyPair, mesh_key: Option<&KeyPair>) -> Self {
        let history = MANIFESTS.iter().fold(History::new(Start::Genesis), |history, m| history.then(sha256(m)));
        let root_key = KeyPair::generate().unwrap();
        let mut root = ca("Lab Root", 1);
        root.not_after = date_time_ymd(2036, 1, 1);
        change(Which::Root, &mut root);
        let issuer = Issuer::from_params(&root, &root_key);
        let mut intermediate = ca("Lab Issuing", 0);
        intermediate.name_constraints = Some(constraints());
        intermediate.custom_extensions = vec![binding(1, 2, &history)];
        let mut mesh_ca = intermediate.clone();
        change(Which::Intermediate, &mut intermediate);
        change(Which::MeshCa, &mut mesh_ca);
        let mut leaf = leaf();
        change(Which::Leaf, &mut leaf);
        let epoch = Issuer::from_params(&intermediate, key);
        Self {
            intermediate: intermediate.signed_by(key, &issuer).unwrap().der().to_vec(),
            root: root.self_signed(&root_key).unwrap().der().to_vec(),
            mesh_ca: mesh_ca.self_signed(mesh_key.unwrap_or(key)).unwrap().der().to_vec(),
            leaf: leaf.signed_by(&KeyPair::generate().unwrap(), &epoch).unwrap().der().to_vec(),
            history,
            root_key,
        }
    }

    /// A CRL of the root that lists these serial numbers.
    pub(crate) fn crl(&self, serials: &[u64], change: impl Fn(&mut CertificateRevocationListParams)) -> Vec<u8> {
        let mut params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 5, 1),
            next_update: date_time_ymd(2026, 7, 1),
            crl_number: SerialNumber::from(3_u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(|serial| revoked(*serial)).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        change(&mut params);
        let root = ca("Lab Root", 1);
        params.signed_by(&Issuer::from_params(&root, &self.root_key)).unwrap().der().to_vec()
    }

    /// Everything there is, judged; after something was changed.
    pub(crate) fn judged(&self, change: impl FnOnce(&mut Given)) -> Report {
        let mut given = Given {
            root_sha256: sha256(&self.root),
            root: self.root.clone(),
            intermediate: self.intermediate.clone(),
            mesh_ca: self.mesh_ca.clone(),
            history: self.history.clone(),
            leaf: Some(self.leaf.clone()),
            entry: Some(([7; 32], Some(names()))),
            root_crl: None,
            at: Some(UnixTime::from_secs(AT_SECS)),
        };
        change(&mut given);
        given.judged()
    }
}

/// What a data owner has.
pub(crate) struct Given {
    pub(crate) root_sha256: [u8; 32],
    pub(crate) root: Vec<u8>,
    pub(crate) intermediate: Vec<u8>,
    pub(crate) mesh_ca: Vec<u8>,
    pub(crate) history: History,
    pub(crate) leaf: Option<Vec<u8>>,
    pub(crate) entry: Option<([u8; 32], Option<Vec<GeneralName>>)>,
    pub(crate) root_crl: Option<Vec<u8>>,
    pub(crate) at: Option<UnixTime>,
}

impl Given {
    fn judged(&self) -> Report {
        let entry = self.entry.as_ref().map(|(policy_hash, names)| (*policy_hash, names.as_deref()));
        let leaves = self.leaf.iter().map(|certificate| LeafEvidence { name: "leaf.pem", certificate, entry });
        verify(&Evidence {
            root_sha256: self.root_sha256,
            root: &self.root,
            intermediate: &self.intermediate,
            mesh_ca: &self.mesh_ca,
            history: &self.history,
            leaves: &leaves.collect::<Vec<_>>(),
            root_crl: self.root_crl.as_deref(),
            at: self.at,
        })
    }
}

/// The codes of claims that do not hold, each with its findings.
pub(crate) fn failed(report: &Report) -> Vec<(&'static str, Vec<&'static str>)> {
    let failed = report.checks.iter().filter(|check| !check.holds());
    failed.map(|check| (check.claim.code(), check.findings.iter().map(|finding| finding.code()).collect())).collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    *SpkiDigest::of(bytes).as_bytes()
}

/// The names in the leaf.
pub(crate) fn names() -> Vec<GeneralName> {
    vec![GeneralName::Dns(DnsName::parse("web.mesh.example").unwrap())]
}

/// The binding extension.
pub(crate) fn binding(version: u8, generation: u8, history: &History) -> CustomExtension {
    let octets = |digest: [u8; 32]| [&[4, 32], digest.as_slice()].concat();
    let numbers = [2, 1, version, 2, 1, generation];
    let content = [&numbers[..], &octets(history.newest().unwrap()), &octets(history.transition())].concat();
    let der = [&[0x30, u8::try_from(content.len()).unwrap()], content.as_slice()].concat();
    custom(EPOCH_BINDING_ARCS, der)
}

pub(crate) fn custom(arcs: &[u32], der: Vec<u8>) -> CustomExtension {
    let arcs: Vec<u64> = arcs.iter().map(|arc| u64::from(*arc)).collect();
    CustomExtension::from_oid_content(&arcs, der)
}

fn ca(name: &str, path_len: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_len));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(SerialNumber::from(7_u64));
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params
}

fn leaf() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::DnsName("web.mesh.example".try_into().unwrap())];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = date_time_ymd(2026, 5, 25);
    params.not_after = date_time_ymd(2026, 6, 5);
    params
}

fn constraints() -> NameConstraints {
    NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("mesh.example".to_owned())],
        excluded_subtrees: vec![GeneralSubtree::DnsName("bad.mesh.example".to_owned())],
    }
}

fn revoked(serial: u64) -> RevokedCertParams {
    RevokedCertParams {
        serial_number: SerialNumber::from(serial),
        revocation_time: date_time_ymd(2026, 5, 1),
        reason_code: None,
        invalidity_date: None,
    }
}
