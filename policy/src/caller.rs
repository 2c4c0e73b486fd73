//! Who calls: the identities in a caller's TLS client certificate.

use std::sync::Arc;

use rasn_pkix::{Certificate, GeneralName, GeneralNames};

use crate::{
    key::arcs,
    name::{DnsName, NameError, Uri},
    readback,
    time::Interval,
};

/// Largest caller certificate that is read, in bytes.
pub const CALLER_CERTIFICATE_BYTES_MAX: usize = 16_384;

const SUBJECT_ALT_NAME: &[u32] = &[2, 5, 29, 17];

/// One identity in a caller's certificate: a URI or a dNSName of its subjectAltName. The common name is not read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// uniformResourceIdentifier.
    Uri(String),
    /// dNSName.
    Dns(String),
}

impl Identity {
    /// Reads a URI, which has `://`, or else a dNSName.
    ///
    /// # Errors
    /// The rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.contains("://") {
            return Uri::parse(text).map(|uri| Self::Uri(uri.as_str().to_owned()));
        }
        DnsName::parse(text).map(|name| Self::Dns(name.as_str().to_owned()))
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uri(uri) => write!(f, "uri:{uri}"),
            Self::Dns(name) => write!(f, "dns:{name}"),
        }
    }
}

/// A caller as its certificate tells it. That the chain verifies is the front's word.
#[derive(Clone, Debug)]
pub struct Caller {
    identities: Arc<[Identity]>,
    certificate_sha256: [u8; 32],
    validity: Interval,
}

/// Why a caller's certificate cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallerError {
    /// Over [`CALLER_CERTIFICATE_BYTES_MAX`].
    #[error("the caller's certificate has over {CALLER_CERTIFICATE_BYTES_MAX} bytes")]
    TooLong,
    /// It does not decode.
    #[error("the caller's certificate does not decode")]
    NotDer,
}

impl Caller {
    /// Reads the leaf of a caller's chain, DER.
    ///
    /// # Errors
    /// See [`CallerError`].
    pub fn parse(certificate: &[u8]) -> Result<Self, CallerError> {
        if certificate.len() > CALLER_CERTIFICATE_BYTES_MAX {
            return Err(CallerError::TooLong);
        }
        let read: Certificate = rasn::der::decode(certificate).map_err(|_| CallerError::NotDer)?;
        let extensions = read.tbs_certificate.extensions.map(|list| list.to_vec()).unwrap_or_default();
        let mut identities = Vec::new();
        for extension in extensions.iter().filter(|extension| arcs(&extension.extn_id) == SUBJECT_ALT_NAME) {
            let names: GeneralNames = rasn::der::decode(&extension.extn_value).map_err(|_| CallerError::NotDer)?;
            identities.extend(names.iter().filter_map(identity));
        }
        Ok(Self {
            identities: identities.into(),
            certificate_sha256: crate::key::sha256(certificate),
            validity: readback::interval(&read.tbs_certificate.validity),
        })
    }

    /// Its identities, in the certificate's order.
    #[must_use]
    pub fn identities(&self) -> &[Identity] {
        &self.identities
    }

    /// SHA-256 of its certificate's DER.
    #[must_use]
    pub fn certificate_sha256(&self) -> &[u8; 32] {
        &self.certificate_sha256
    }

    /// The validity of its certificate.
    #[must_use]
    pub fn validity(&self) -> Interval {
        self.validity
    }
}

fn identity(name: &GeneralName) -> Option<Identity> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    match name {
        GeneralName::Uri(uri) => text(uri.as_iso646_bytes()).map(Identity::Uri),
        GeneralName::DnsName(name) => text(name.as_iso646_bytes()).map(Identity::Dns),
        GeneralName::OtherName(_)
        | GeneralName::Rfc822Name(_)
        | GeneralName::X400Address(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EdiPartyName(_)
        | GeneralName::IpAddress(_)
        | GeneralName::RegisteredId(_) => None,
    }
}
