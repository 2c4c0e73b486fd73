//! A caller: the certificate chain that a connection proved, and whether it still counts.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::digest;
use bytes::Bytes;
use der::{Decode as _, Encode as _};
use rustls::time_provider::TimeProvider;
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_cert::{
    Certificate,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use crate::tls_files::Trust;

/// Most certificates taken from a caller; a frame to the core carries them with every call.
pub const CHAIN_CERTIFICATES_MAX: usize = 8;

/// How long a verified chain counts as verified under the same trust, in seconds. The leaf's own validity is compared every
/// time; this bounds how long an intermediate or a revocation list may have been outdated.
const VERIFIED_SECS_MAX: u64 = 60;

/// Who a caller is, whatever certificates and connections it has: a digest of its names.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CallerId([u8; 32]);

/// The caller of one connection.
#[derive(Debug)]
pub(crate) struct Caller {
    /// Who it is, for turns and bounds.
    pub(crate) id: CallerId,
    leaf: CertificateDer<'static>,
    others: Vec<CertificateDer<'static>>,
    /// The same for frames: leaf first, DER. Only the leaf is proven to be the caller's; the rest is what it presented.
    certificate: Bytes,
    /// SHA-256 of the leaf, in hex: what the caller is called in the front's log.
    pub(crate) fingerprint: String,
    pub(crate) peer: SocketAddr,
    not_before_secs: u64,
    not_after_secs: u64,
    verified: Mutex<Verified>,
}

/// Under which trust the chain was verified, and when.
#[derive(Debug)]
struct Verified {
    trust: Arc<Trust>,
    at_secs: u64,
}

/// Why a chain makes no caller.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallerError {
    #[error("the caller presented no certificate")]
    NoCertificate,
    #[error("the caller presented more than {CHAIN_CERTIFICATES_MAX} certificates")]
    TooManyCertificates,
    #[error("the caller's certificate cannot be read")]
    Unreadable,
}

/// Why a caller is admitted no longer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAdmitted {
    #[error("the caller's certificate is outside its validity")]
    OutsideValidity,
    #[error("the caller's chain is not trusted: {0}")]
    NotTrusted(rustls::Error),
    #[error("the wall clock cannot be read")]
    NoClock,
}

impl CallerId {
    /// By the names that policies know callers by, URIs and dNSNames of the subjectAltName in any order; by the subject where there is none of
    /// these. A certificate that is renewed is the same caller.
    fn of(certificate: &Certificate) -> Self {
        let tbs = certificate.tbs_certificate();
        let names = tbs.get_extension::<SubjectAltName>().ok().flatten().map(|(_, SubjectAltName(names))| names);
        let mut names: Vec<_> = names.unwrap_or_default().iter().filter_map(identity).collect();
        if names.is_empty() {
            return Self::of_name(&tbs.subject().to_der().unwrap_or_default());
        }
        names.sort_unstable();
        names.dedup();
        let mut text = Vec::new();
        for name in names {
            text.extend_from_slice(&name.len().to_be_bytes());
            text.extend_from_slice(name.as_bytes());
        }
        Self::of_name(&text)
    }

    /// By these bytes.
    pub(crate) fn of_name(name: &[u8]) -> Self {
        let mut id = [0; 32];
        id.copy_from_slice(digest::digest(&digest::SHA256, name).as_ref());
        Self(id)
    }
}

impl fmt::Debug for CallerId {
    /// The beginning tells callers apart in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallerId(")?;
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// As policies write it, with its kind.
fn identity(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::UniformResourceIdentifier(uri) => Some(format!("uri:{uri}")),
        GeneralName::DnsName(name) => Some(format!("dns:{name}")),
        GeneralName::OtherName(_)
        | GeneralName::Rfc822Name(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EdiPartyName(_)
        | GeneralName::IpAddress(_)
        | GeneralName::RegisteredId(_) => None,
    }
}

impl Caller {
    /// The caller with the chain that a handshake has just verified under `trust`.
    pub(crate) fn of_handshake(
        presented: Option<&[CertificateDer<'_>]>,
        peer: SocketAddr,
        trust: Arc<Trust>,
        clock: &dyn TimeProvider,
    ) -> Result<Self, CallerError> {
        let (leaf, others) = presented.and_then(<[_]>::split_first).ok_or(CallerError::NoCertificate)?;
        if others.len() >= CHAIN_CERTIFICATES_MAX {
            return Err(CallerError::TooManyCertificates);
        }
        let parsed = Certificate::from_der(leaf).map_err(|_| CallerError::Unreadable)?;
        let validity = parsed.tbs_certificate().validity();
        let at_secs = clock.current_time().map_or(0, |now| now.as_secs());
        Ok(Self {
            id: CallerId::of(&parsed),
            leaf: leaf.clone().into_owned(),
            others: others.iter().map(|other| other.clone().into_owned()).collect(),
            certificate: Bytes::copy_from_slice(leaf),
            fingerprint: fingerprint(leaf),
            peer,
            not_before_secs: validity.not_before.to_unix_duration().as_secs(),
            not_after_secs: validity.not_after.to_unix_duration().as_secs(),
            verified: Mutex::new(Verified { trust, at_secs }),
        })
    }

    /// Its certificate, DER, as the core is told of it.
    pub(crate) fn certificate(&self) -> Bytes {
        self.certificate.clone()
    }

    /// Whether the caller counts now, under the `trust` in force: its certificate is within its validity, and its chain verifies.
    pub(crate) fn admit(&self, trust: &Arc<Trust>, clock: &dyn TimeProvider) -> Result<(), NotAdmitted> {
        let now = clock.current_time().ok_or(NotAdmitted::NoClock)?;
        // Both ends belong to the validity (RFC 5280, section 4.1.2.5).
        if !(self.not_before_secs..=self.not_after_secs).contains(&now.as_secs()) {
            return Err(NotAdmitted::OutsideValidity);
        }
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&verified.trust, trust) && now.as_secs().abs_diff(verified.at_secs) <= VERIFIED_SECS_MAX {
            return Ok(());
        }
        self.verify(trust, now)?;
        *verified = Verified { trust: Arc::clone(trust), at_secs: now.as_secs() };
        Ok(())
    }

    fn verify(&self, trust: &Trust, now: UnixTime) -> Result<(), NotAdmitted> {
        trust.verifier.verify_client_cert(&self.leaf, &self.others, now).map_err(NotAdmitted::NotTrusted)?;
        Ok(())
    }
}

fn fingerprint(leaf: &[u8]) -> String {
    digest::digest(&digest::SHA256, leaf).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn id(common_name: &str, names: &[SanType]) -> CallerId {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.subject_alt_names = names.to_vec();
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        CallerId::of(&Certificate::from_der(certificate.der()).unwrap())
    }

    #[test]
    fn a_caller_is_its_names_whatever_certificate_they_stand_in() {
        let uri = |name: &str| SanType::URI(format!("spiffe://hallmark.lab/{name}").try_into().unwrap());
        let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
        let coordinator = id("a", &[uri("coordinator"), dns("coordinator.lab")]);
        assert_eq!(coordinator, id("b", &[dns("coordinator.lab"), uri("coordinator"), uri("coordinator")]));
        for other in [&[uri("coordinator")][..], &[uri("coordinator"), dns("other.lab")], &[dns("coordinator.lab")]] {
            assert_ne!(coordinator, id("a", other));
        }
        assert_eq!(id("a", &[]), id("a", &[SanType::IpAddress([127, 0, 0, 1].into())]), "no policy knows it by that");
        assert_ne!(id("a", &[]), id("b", &[]));
    }
}
