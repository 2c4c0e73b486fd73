//! Certificates and requests, read as far as a client wants to look at them.

use der::{Decode as _, Encode as _, Reader as _, SliceReader, asn1::AnyRef};
use hallmark_policy::key::{PublicKey, SignatureAlgorithm};
use x509_cert::{
    Certificate,
    crl::CertificateList,
    ext::{
        Extension,
        pkix::{SubjectAltName, name::GeneralName},
    },
    request::CertReq,
    spki::AlgorithmIdentifierOwned,
};

/// extensionRequest (RFC 2985, section 5.4.2).
const EXTENSION_REQUEST: &str = "1.2.840.113549.1.9.14";

/// subjectAltName.
const SUBJECT_ALT_NAME: &str = "2.5.29.17";

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertificateView {
    /// Subject, as RFC 4514 writes it.
    pub(crate) subject: String,
    /// subjectAltName entries, each with its kind.
    pub(crate) names: Vec<String>,
    /// Serial number, big-endian, without leading zeros.
    pub(crate) serial: Vec<u8>,
    /// notBefore, seconds since 1970.
    pub(crate) not_before: i64,
    /// notAfter, seconds since 1970.
    pub(crate) not_after: i64,
    /// SubjectPublicKeyInfo, DER.
    pub(crate) spki: Vec<u8>,
    /// TBSCertificate, as it was signed.
    pub(crate) to_be_signed: Vec<u8>,
    algorithm: Option<SignatureAlgorithm>,
    signature: Vec<u8>,
}

impl CertificateView {
    /// Reads DER; `None` for everything else.
    pub(crate) fn read(certificate: &[u8]) -> Option<Self> {
        let read = Certificate::from_der(certificate).ok()?;
        let content = read.tbs_certificate();
        let secs = |time: x509_cert::time::Time| i64::try_from(time.to_unix_duration().as_secs()).ok();
        let names = content.get_extension::<SubjectAltName>().ok()?;
        Some(Self {
            subject: content.subject().to_string(),
            names: names.map(|(_, names)| names.0.iter().map(name).collect()).unwrap_or_default(),
            serial: without_zeros(content.serial_number().as_bytes()).to_vec(),
            not_before: secs(content.validity().not_before)?,
            not_after: secs(content.validity().not_after)?,
            spki: content.subject_public_key_info().to_der().ok()?,
            to_be_signed: first_element(certificate)?.to_vec(),
            algorithm: algorithm(read.signature_algorithm()),
            signature: read.signature().as_bytes()?.to_vec(),
        })
    }

    /// Whether the key of `issuer` made its signature. Says nothing about time, names and constraints.
    pub(crate) fn is_signed_by(&self, issuer: &Self) -> bool {
        let key = PublicKey::parse(&issuer.spki).ok();
        key.zip(self.algorithm)
            .is_some_and(|(key, algorithm)| key.verifies(algorithm, &self.to_be_signed, &self.signature))
    }
}

/// What a CRL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CrlView {
    /// Serial numbers of what it revokes, without leading zeros.
    pub(crate) serials: Vec<Vec<u8>>,
    /// TBSCertList, as it was signed.
    pub(crate) to_be_signed: Vec<u8>,
    algorithm: Option<SignatureAlgorithm>,
    signature: Vec<u8>,
}

impl CrlView {
    /// Reads DER; `None` for everything else.
    pub(crate) fn read(crl: &[u8]) -> Option<Self> {
        let read: CertificateList = CertificateList::from_der(crl).ok()?;
        let revoked = read.tbs_cert_list.revoked_certificates.iter().flatten();
        let serials = revoked.map(|revoked| without_zeros(revoked.serial_number.as_bytes()).to_vec());
        Some(Self {
            serials: serials.collect(),
            to_be_signed: first_element(crl)?.to_vec(),
            algorithm: algorithm(&read.signature_algorithm),
            signature: read.signature.as_bytes()?.to_vec(),
        })
    }

    /// Whether the key of `issuer` made its signature.
    pub(crate) fn is_signed_by(&self, issuer: &CertificateView) -> bool {
        let key = PublicKey::parse(&issuer.spki).ok();
        key.zip(self.algorithm)
            .is_some_and(|(key, algorithm)| key.verifies(algorithm, &self.to_be_signed, &self.signature))
    }
}

/// The SubjectPublicKeyInfo, DER, of a CSR in PEM or DER. The signer is who judges it.
pub(crate) fn spki_of_csr(csr: &[u8]) -> Option<Vec<u8>> {
    CertReq::from_der(&crate::pem::der_of(csr)?).ok()?.info.public_key.to_der().ok()
}

/// The SubjectPublicKeyInfo, DER, of a CSR in DER, if the key in it signed it.
pub(crate) fn spki_of_signed_csr(csr: &[u8]) -> Option<Vec<u8>> {
    let request = CertReq::from_der(csr).ok()?;
    let spki = request.info.public_key.to_der().ok()?;
    let algorithm = algorithm(&request.algorithm)?;
    let signed = PublicKey::parse(&spki).ok()?.verifies(algorithm, first_element(csr)?, request.signature.as_bytes()?);
    signed.then_some(spki)
}

/// What a CSR asks for beside names, as object identifiers; `None` for what is no CSR.
pub(crate) fn asked_of_csr(csr: &[u8]) -> Option<Vec<String>> {
    let request = CertReq::from_der(&crate::pem::der_of(csr)?).ok()?;
    let mut asked = Vec::new();
    for attribute in request.info.attributes.iter() {
        if attribute.oid.to_string() != EXTENSION_REQUEST {
            asked.push(format!("attribute {}", attribute.oid));
            continue;
        }
        for value in attribute.values.iter() {
            let extensions: Vec<Extension> = value.decode_as().ok()?;
            let others = extensions.iter().map(|extension| extension.extn_id.to_string());
            asked.extend(others.filter(|oid| oid != SUBJECT_ALT_NAME).map(|oid| format!("extension {oid}")));
        }
    }
    Some(asked)
}

/// A number without leading zeros.
pub(crate) fn without_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

fn first_element(sequence: &[u8]) -> Option<&[u8]> {
    let content = AnyRef::from_der(sequence).ok()?.value();
    SliceReader::new(content).ok()?.tlv_bytes().ok()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "kinds of names that nobody shows are shown alike")]
fn name(name: &GeneralName) -> String {
    match name {
        GeneralName::DnsName(dns) => format!("dns:{dns}"),
        GeneralName::UniformResourceIdentifier(uri) => format!("uri:{uri}"),
        GeneralName::Rfc822Name(email) => format!("email:{email}"),
        GeneralName::IpAddress(octets) => format!("ip:{}", address(octets.as_bytes())),
        other => format!("another kind of name, {}", hallmark_policy::hex(&other.to_der().unwrap_or_default())),
    }
}

fn address(octets: &[u8]) -> String {
    if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        return std::net::Ipv4Addr::from(octets).to_string();
    }
    match <[u8; 16]>::try_from(octets) {
        Ok(octets) => std::net::Ipv6Addr::from(octets).to_string(),
        Err(_) => hallmark_policy::hex(octets),
    }
}

/// An algorithm that a CA key signs with, in its one form.
fn algorithm(identifier: &AlgorithmIdentifierOwned) -> Option<SignatureAlgorithm> {
    SignatureAlgorithm::from_identifier(&identifier.to_der().ok()?)
}
