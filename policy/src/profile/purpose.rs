//! Extended key usages.

use std::borrow::Cow;

use crate::oid::Oid;

/// Extended key usages that profiles can give (RFC 5280, section 4.2.1.12).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyPurpose {
    /// id-kp-serverAuth.
    ServerAuth,
    /// id-kp-clientAuth.
    ClientAuth,
    /// id-kp-codeSigning.
    CodeSigning,
    /// id-kp-emailProtection.
    EmailProtection,
    /// id-kp-timeStamping: alone and critical (RFC 3161, section 2.3).
    TimeStamping,
    /// id-kp-OCSPSigning.
    OcspSigning,
    /// Any other.
    Other(Oid),
}

impl KeyPurpose {
    /// Every purpose that has a name.
    pub const NAMED: [Self; 6] = [
        Self::ServerAuth,
        Self::ClientAuth,
        Self::CodeSigning,
        Self::EmailProtection,
        Self::TimeStamping,
        Self::OcspSigning,
    ];

    /// The name that policy files use.
    #[must_use]
    pub fn name(&self) -> Cow<'static, str> {
        match self {
            Self::ServerAuth => "server-auth".into(),
            Self::ClientAuth => "client-auth".into(),
            Self::CodeSigning => "code-signing".into(),
            Self::EmailProtection => "email-protection".into(),
            Self::TimeStamping => "time-stamping".into(),
            Self::OcspSigning => "ocsp-signing".into(),
            Self::Other(oid) => oid.to_string().into(),
        }
    }

    /// Its object identifier.
    #[must_use]
    pub fn arcs(&self) -> &[u32] {
        match self {
            Self::ServerAuth => &[1, 3, 6, 1, 5, 5, 7, 3, 1],
            Self::ClientAuth => &[1, 3, 6, 1, 5, 5, 7, 3, 2],
            Self::CodeSigning => &[1, 3, 6, 1, 5, 5, 7, 3, 3],
            Self::EmailProtection => &[1, 3, 6, 1, 5, 5, 7, 3, 4],
            Self::TimeStamping => &[1, 3, 6, 1, 5, 5, 7, 3, 8],
            Self::OcspSigning => &[1, 3, 6, 1, 5, 5, 7, 3, 9],
            Self::Other(oid) => oid.arcs(),
        }
    }
}
