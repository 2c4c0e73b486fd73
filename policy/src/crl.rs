//! What a CRL says, as plain data (RFC 5280, section 5).

use crate::{content::Serial, key::SignatureAlgorithm, name::DistinguishedName, time::UnixTime, web::HttpUrl};

/// Most entries of one CRL.
pub const CRL_ENTRIES_MAX: usize = 250_000;

/// Largest TBSCertList that is endorsed, in bytes: [`CRL_ENTRIES_MAX`] entries of the longest kind, and what is around them.
pub const CRL_BYTES_MAX: usize = 16 * 1_048_576;

/// Everything that a TBSCertList says. It is of version 2, complete, and about certificates of its own issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrlContent {
    /// signature.
    pub algorithm: SignatureAlgorithm,
    /// issuer: the subject of the CA certificate.
    pub issuer: DistinguishedName,
    /// thisUpdate.
    pub this_update: UnixTime,
    /// nextUpdate.
    pub next_update: UnixTime,
    /// revokedCertificates: by serial number, each once. Left out where there are none.
    pub revoked: Vec<RevokedCertificate>,
    /// authorityKeyIdentifier with a keyIdentifier only; not critical.
    pub authority_key_identifier: [u8; 20],
    /// cRLNumber; not critical.
    pub number: u64,
    /// issuingDistributionPoint, critical, if there is one.
    pub distribution_point: Option<IssuingDistributionPoint>,
}

/// One revoked certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevokedCertificate {
    /// userCertificate: its serial number.
    pub serial: Serial,
    /// revocationDate.
    pub at: UnixTime,
    /// reasonCode; not critical. [`RevocationReason::Unspecified`] is left out (RFC 5280, section 5.3.1).
    pub reason: RevocationReason,
}

/// Which certificates a CRL is about (RFC 5280, section 5.2.5). Never for some reasons only, never indirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuingDistributionPoint {
    /// fullName of the distribution point: its URLs. Left out where there are none.
    pub urls: Vec<HttpUrl>,
    /// onlyContainsUserCerts or onlyContainsCACerts.
    pub only: OnlyContains,
}

/// The kind of certificates that a CRL is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnlyContains {
    /// End entities.
    UserCerts,
    /// CAs.
    CaCerts,
}

/// Why a certificate is revoked (RFC 5280, section 5.3.1).
///
/// certificateHold and removeFromCRL are missing: a revocation is for good here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RevocationReason {
    /// unspecified.
    Unspecified,
    /// keyCompromise.
    KeyCompromise,
    /// cACompromise.
    CaCompromise,
    /// affiliationChanged.
    AffiliationChanged,
    /// superseded.
    Superseded,
    /// cessationOfOperation.
    CessationOfOperation,
    /// privilegeWithdrawn.
    PrivilegeWithdrawn,
    /// aACompromise.
    AaCompromise,
}

impl RevocationReason {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::CaCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::PrivilegeWithdrawn,
        Self::AaCompromise,
    ];

    /// Its number in the CRLReason of RFC 5280.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::KeyCompromise => 1,
            Self::CaCompromise => 2,
            Self::AffiliationChanged => 3,
            Self::Superseded => 4,
            Self::CessationOfOperation => 5,
            Self::PrivilegeWithdrawn => 9,
            Self::AaCompromise => 10,
        }
    }

    /// The reason of that number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.number() == number)
    }

    /// The name that the log and commands use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "key-compromise",
            Self::CaCompromise => "ca-compromise",
            Self::AffiliationChanged => "affiliation-changed",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessation-of-operation",
            Self::PrivilegeWithdrawn => "privilege-withdrawn",
            Self::AaCompromise => "aa-compromise",
        }
    }

    /// The reason of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

impl std::fmt::Display for RevocationReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_the_numbers_of_the_standard_and_the_two_that_take_back_are_missing() {
        for reason in RevocationReason::ALL {
            assert_eq!(RevocationReason::from_number(reason.number()), Some(reason));
            assert_eq!(RevocationReason::from_name(reason.name()), Some(reason));
            assert_eq!(reason.to_string(), reason.name());
        }
        for missing in [6, 7, 8, 11, 255] {
            assert_eq!(RevocationReason::from_number(missing), None, "{missing}");
        }
    }
}
