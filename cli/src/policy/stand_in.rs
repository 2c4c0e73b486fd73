//! Who and what stands in for the parts of a signer: callers, issuers and keys that live as long as this process.

use std::collections::{BTreeMap, btree_map::Entry};

use hallmark_policy::{
    Bounds, Caller, EpochId, Issuer, Policy,
    caller::Identity,
    key::{Family, KeyKind, PublicKey},
    profile::Authority,
    time::{Interval, UnixTime},
};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PublicKeyData as _, RsaKeySize, SanType};

/// Why nothing could stand in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StandInError {
    /// No such caller.
    #[error("the policy has no caller `{caller}`")]
    NoCaller {
        /// What was named.
        caller: String,
        /// The policy's callers.
        known: Vec<String>,
    },
    /// The policy signs nothing.
    #[error("the policy has no authority, so nobody signs")]
    NoAuthority,
    /// No such kind of key.
    #[error("there is no key kind `{kind}`")]
    NoKeyKind {
        /// What was named.
        kind: String,
    },
    /// Text that no certificate can have as a name.
    #[error("`{text}` cannot be written into a CSR or certificate")]
    Name {
        /// The text.
        text: String,
    },
    /// The library failed.
    #[error("a stand-in for a key or certificate cannot be made")]
    Made(#[from] rcgen::Error),
    /// What was made does not read.
    #[error("a stand-in does not read")]
    Read,
}

impl StandInError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::NoCaller { known, .. } => format!(
                "name one of {}, or an identity such as `uri:spiffe://zone/who` or `dns:who.example.com`",
                hallmark_policy::meaning::quoted(known)
            ),
            Self::NoAuthority => "give the policy an [authority.NAME]".to_owned(),
            Self::NoKeyKind { .. } => format!("there are {}", KeyKind::ALL.map(KeyKind::name).join(", ")),
            Self::Name { .. } => "names are ASCII; make the CSR with another tool to try something else".to_owned(),
            Self::Made(_) | Self::Read => "this is a defect; tell whoever maintains this program".to_owned(),
        }
    }
}

/// Names for a CSR.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub(crate) common_name: Option<String>,
    pub(crate) dns: Vec<String>,
    pub(crate) uri: Vec<String>,
    pub(crate) ip: Vec<String>,
    pub(crate) email: Vec<String>,
}

/// Keys that were made so far: one of each kind serves every purpose here.
#[derive(Debug, Default)]
pub(crate) struct StandIns {
    keys: BTreeMap<KeyKind, KeyPair>,
}

impl StandIns {
    /// The caller of that name in the policy, or of the identity `uri:..` or `dns:..`, with a certificate of its own.
    pub(crate) fn caller(&mut self, policy: &Policy, name: &str) -> Result<Caller, StandInError> {
        let rule = policy.callers().iter().find(|rule| rule.name() == name);
        let identity = match (rule, name.split_once(':')) {
            (Some(rule), _) => rule.identity().clone(),
            (None, Some(("uri", uri))) => Identity::Uri(uri.to_owned()),
            (None, Some(("dns", dns))) => Identity::Dns(dns.to_owned()),
            (None, _) => {
                let known = policy.callers().iter().map(|rule| rule.name().to_owned()).collect();
                return Err(StandInError::NoCaller { caller: name.to_owned(), known });
            }
        };
        let mut params = nameless();
        params.subject_alt_names.push(match &identity {
            Identity::Uri(uri) => SanType::URI(ia5(uri)?),
            Identity::Dns(dns) => SanType::DnsName(ia5(dns)?),
        });
        let certificate = params.self_signed(self.key(KeyKind::EcdsaP256)?)?;
        Caller::parse(certificate.der()).map_err(|_| StandInError::Read)
    }

    /// The active epoch of an authority, just begun. An ECDSA key stands in for an RSA key, which takes long to make.
    pub(crate) fn issuer(&mut self, authority: &Authority, at: UnixTime) -> Result<Issuer, StandInError> {
        let kind = issuer_kind(authority);
        let spki = self.key(kind)?.subject_public_key_info();
        Ok(Issuer {
            authority: authority.name.clone(),
            epoch: EpochId { generation: 1, transition: [0; 32] },
            subject: authority.epoch.subject.clone(),
            key: PublicKey::parse(&spki).map_err(|_| StandInError::Read)?,
            algorithm: authority.epoch.algorithm,
            validity: Interval {
                not_before: at.before(hallmark_policy::profile::BACKDATE_MAX),
                not_after: at.after(authority.epoch.lifetime),
            },
            bounds: Bounds::of(authority),
            manifest: None,
        })
    }

    /// SubjectPublicKeyInfo, DER.
    pub(crate) fn spki(&mut self, kind: KeyKind) -> Result<Vec<u8>, StandInError> {
        Ok(self.key(kind)?.subject_public_key_info())
    }

    /// A CSR, DER.
    pub(crate) fn csr(&mut self, kind: KeyKind, names: &Names) -> Result<Vec<u8>, StandInError> {
        let mut params = nameless();
        if let Some(name) = &names.common_name {
            params.distinguished_name.push(DnType::CommonName, name.as_str());
        }
        for dns in &names.dns {
            params.subject_alt_names.push(SanType::DnsName(ia5(dns)?));
        }
        for uri in &names.uri {
            params.subject_alt_names.push(SanType::URI(ia5(uri)?));
        }
        for ip in &names.ip {
            let address = ip.parse().map_err(|_| StandInError::Name { text: ip.clone() })?;
            params.subject_alt_names.push(SanType::IpAddress(address));
        }
        for email in &names.email {
            params.subject_alt_names.push(SanType::Rfc822Name(ia5(email)?));
        }
        Ok(params.serialize_request(self.key(kind)?)?.der().to_vec())
    }

    fn key(&mut self, kind: KeyKind) -> Result<&KeyPair, StandInError> {
        Ok(match self.keys.entry(kind) {
            Entry::Occupied(key) => key.into_mut(),
            Entry::Vacant(place) => place.insert(generate(kind)?),
        })
    }
}

/// The kind of key that stands in for the issuer's.
pub(crate) fn issuer_kind(authority: &Authority) -> KeyKind {
    let kind = authority.epoch.key;
    if kind.family() == Family::Rsa { KeyKind::EcdsaP256 } else { kind }
}

fn generate(kind: KeyKind) -> Result<KeyPair, rcgen::Error> {
    let rsa = |size| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size);
    match kind {
        KeyKind::EcdsaP256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        KeyKind::EcdsaP384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        KeyKind::Ed25519 => KeyPair::generate_for(&rcgen::PKCS_ED25519),
        KeyKind::MlDsa44 => KeyPair::generate_for(&rcgen::PKCS_ML_DSA_44),
        KeyKind::MlDsa65 => KeyPair::generate_for(&rcgen::PKCS_ML_DSA_65),
        KeyKind::MlDsa87 => KeyPair::generate_for(&rcgen::PKCS_ML_DSA_87),
        KeyKind::Rsa2048 => rsa(RsaKeySize::_2048),
        KeyKind::Rsa3072 => rsa(RsaKeySize::_3072),
        KeyKind::Rsa4096 => rsa(RsaKeySize::_4096),
    }
}

fn nameless() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
}

fn ia5(text: &str) -> Result<rcgen::string::Ia5String, StandInError> {
    text.try_into().map_err(|_| StandInError::Name { text: text.to_owned() })
}
