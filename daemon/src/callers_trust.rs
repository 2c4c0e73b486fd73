//! Callers' trust is a bundle of its own: who gets a certificate from here may not call by it.

use der::{Decode as _, Encode as _, Reader as _, SliceReader};
use hallmark_policy::key::{PublicKey, SignatureAlgorithm};
use rustls_pki_types::CertificateDer;
use x509_cert::Certificate;

/// A CA key of this signer, with which callers' bundles are compared.
#[derive(Clone, Debug)]
pub(crate) struct CaKey {
    /// The authority.
    pub(crate) authority: String,
    /// SubjectPublicKeyInfo, DER.
    pub(crate) spki: Vec<u8>,
}

struct SignedHere {
    authority: String,
    spki: Vec<u8>,
    /// None if it cannot be read: then nothing more than its bytes can be compared.
    key: Option<PublicKey>,
}

/// The rule for callers' bundles: none of their certificates has the key of an authority signed here, or was signed with
/// it, unless `admitted` names the authority. A certificate that cannot be read is not admitted.
pub(crate) fn anchor_rule(
    keys: impl IntoIterator<Item = CaKey>,
    admitted: &[String],
) -> impl Fn(&[CertificateDer<'static>]) -> bool + Send + Sync + 'static {
    let unwanted: Vec<_> = keys
        .into_iter()
        .filter(|key| !admitted.contains(&key.authority))
        .map(|CaKey { authority, spki }| SignedHere { authority, key: PublicKey::parse(&spki).ok(), spki })
        .collect();
    move |bundle| bundle.iter().all(|certificate| admits(&unwanted, certificate))
}

fn admits(unwanted: &[SignedHere], anchor: &[u8]) -> bool {
    let Ok(read) = Anchor::read(anchor) else {
        tracing::error!("a certificate of the callers' bundle cannot be read");
        return false;
    };
    let is_of =
        |here: &&SignedHere| here.spki == read.spki || here.key.as_ref().is_some_and(|key| read.is_signed_by(key));
    match unwanted.iter().find(is_of) {
        None => true,
        Some(here) => {
            tracing::error!(
                subject = read.subject,
                authority = here.authority,
                "the callers' bundle trusts callers through an authority that is signed here; \
                 hint: name it in `policy.callers-signed-here` if that is meant"
            );
            false
        }
    }
}

/// What is looked at in a bundle's certificate.
struct Anchor<'a> {
    subject: String,
    spki: Vec<u8>,
    to_be_signed: &'a [u8],
    signature: Vec<u8>,
}

impl<'a> Anchor<'a> {
    fn read(certificate: &'a [u8]) -> Result<Self, der::Error> {
        let read = Certificate::from_der(certificate)?;
        let to_be_signed = SliceReader::new(certificate)?.sequence(|fields| {
            let to_be_signed = fields.tlv_bytes()?;
            while !fields.is_finished() {
                fields.tlv_bytes()?;
            }
            Ok::<_, der::Error>(to_be_signed)
        })?;
        Ok(Self {
            subject: read.tbs_certificate().subject().to_string(),
            spki: read.tbs_certificate().subject_public_key_info().to_der()?,
            to_be_signed,
            signature: read.signature().raw_bytes().to_vec(),
        })
    }

    fn is_signed_by(&self, key: &PublicKey) -> bool {
        SignatureAlgorithm::ALL.into_iter().any(|algorithm| key.verifies(algorithm, self.to_be_signed, &self.signature))
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PublicKeyData as _};

    use super::*;

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    fn here(key: &KeyPair) -> Vec<CaKey> {
        vec![CaKey { authority: "athenz".into(), spki: key.subject_public_key_info() }]
    }

    #[test]
    fn a_bundle_of_its_own_is_admitted() {
        let (ours, theirs) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let bundle = [params("theirs").self_signed(&theirs).unwrap().der().clone()];
        assert!(anchor_rule(here(&ours), &[])(&bundle));
    }

    #[test]
    fn another_certificate_of_an_authoritys_key_is_not_admitted_unless_named() {
        let ours = KeyPair::generate().unwrap();
        let bundle = [params("disguise").self_signed(&ours).unwrap().der().clone()];
        assert!(!anchor_rule(here(&ours), &[])(&bundle));
        assert!(!anchor_rule(here(&ours), &["another".to_owned()])(&bundle));
        assert!(anchor_rule(here(&ours), &["athenz".to_owned()])(&bundle));
    }

    #[test]
    fn a_certificate_signed_here_is_not_admitted_beside_others() {
        let (ours, theirs, subordinate) =
            (KeyPair::generate().unwrap(), KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let fine = params("theirs").self_signed(&theirs).unwrap().der().clone();
        let issuer = Issuer::new(params("here"), &ours);
        let below = params("below").signed_by(&subordinate, &issuer).unwrap().der().clone();
        assert!(!anchor_rule(here(&ours), &[])(&[fine.clone(), below]));
        assert!(!anchor_rule(here(&ours), &[])(&[fine, CertificateDer::from(vec![0x30, 0x00])]));
    }
}
