//! The TBSCertificate of approved content (RFC 5280, section 4.1.2).

use hallmark_policy::{
    content::CertificateContent,
    key::{PublicKey, SignatureAlgorithm},
    time::Interval,
};
use signature::Keypair;
use spki::{
    AlgorithmIdentifierOwned, Document, DynSignatureAlgorithmIdentifier, EncodePublicKey, SubjectPublicKeyInfoOwned,
    SubjectPublicKeyInfoRef,
};
use x509_cert::{
    TbsCertificate,
    builder::{self, Builder, CertificateBuilder, profile::BuilderProfile},
    ext::Extension,
    name::Name,
    serial_number::SerialNumber,
    time::Validity,
};

use super::{DraftError, algorithm_identifier, extensions::extensions, name, time};

/// Writes the TBSCertificate of what was approved.
pub(super) fn certificate(content: &CertificateContent, issuer: &PublicKey) -> Result<Vec<u8>, DraftError> {
    let serial = SerialNumber::new(content.serial.as_bytes())?;
    let key = SubjectPublicKeyInfoOwned::try_from(content.key.spki())?;
    let mut builder = CertificateBuilder::new(Written::of(content)?, serial, validity(content.validity)?, key)?;
    Ok(builder.finalize(&Issuer { key: issuer, algorithm: content.algorithm })?)
}

/// The profile that the builder asks: everything is decided already.
struct Written {
    issuer: Name,
    subject: Name,
    extensions: Vec<Extension>,
}

impl Written {
    fn of(content: &CertificateContent) -> Result<Self, DraftError> {
        Ok(Self {
            issuer: name(&content.issuer)?,
            subject: name(&content.subject)?,
            extensions: extensions(&content.extensions)?,
        })
    }
}

impl BuilderProfile for Written {
    fn get_issuer(&self, _subject: &Name) -> Name {
        self.issuer.clone()
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        _subject_key: SubjectPublicKeyInfoRef<'_>,
        _issuer_key: SubjectPublicKeyInfoRef<'_>,
        _tbs: &TbsCertificate,
    ) -> builder::Result<Vec<Extension>> {
        Ok(self.extensions.clone())
    }
}

/// The signing key as far as the builder needs it: its public half and its algorithm.
struct Issuer<'a> {
    key: &'a PublicKey,
    algorithm: SignatureAlgorithm,
}

/// A public key that can be encoded.
#[derive(Clone)]
struct Verifying(Vec<u8>);

impl Keypair for Issuer<'_> {
    type VerifyingKey = Verifying;

    fn verifying_key(&self) -> Verifying {
        Verifying(self.key.spki().to_vec())
    }
}

impl EncodePublicKey for Verifying {
    fn to_public_key_der(&self) -> spki::Result<Document> {
        Ok(Document::try_from(self.0.as_slice())?)
    }
}

impl DynSignatureAlgorithmIdentifier for Issuer<'_> {
    fn signature_algorithm_identifier(&self) -> spki::Result<AlgorithmIdentifierOwned> {
        Ok(algorithm_identifier(self.algorithm)?)
    }
}

fn validity(interval: Interval) -> der::Result<Validity> {
    Ok(Validity::new(time(interval.not_before)?, time(interval.not_after)?))
}
