//! What a CRL says, as plain data (RFC 5280, section 5).

use std::{fmt, num::NonZeroU16};

use crate::{content::Serial, key::SignatureAlgorithm, name::DistinguishedName, time::UnixTime, web::HttpUrl};

/// Most entries of one CRL.
pub const CRL_ENTRIES_MAX: usize = 250_000;

/// Largest TBSCertList that is endorsed, in bytes: [`CRL_ENTRIES_MAX`] entries of the longest kind, and what is around them.
pub const CRL_BYTES_MAX: usize = 16 * 1_048_576;

/// Most partitions of the certificates of one epoch: each has a CRL of its own, which is signed as often as any other.
pub const CRL_PARTITIONS_MAX: u16 = 256;

/// The scope of a CRL (RFC 5280, section 5): which of its issuer's certificates it is about.
///
/// Every certificate is in the scope of the complete list, and of its partition's where it has one. Which partition that is follows from its serial
/// number, and stands in its cRLDistributionPoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CrlScope {
    /// All of them.
    #[default]
    Complete,
    /// One partition, by its number, from 1.
    Partition(NonZeroU16),
}

impl CrlScope {
    /// The narrowest scope that a certificate with this serial number is in, where its issuer has that many partitions.
    #[must_use]
    pub fn of(serial: Serial, partitions: Option<NonZeroU16>) -> Self {
        let Some(partitions) = partitions else { return Self::Complete };
        let [.., a, b, c, d] = *serial.as_bytes() else { return Self::Complete };
        let number = u32::from_be_bytes([a, b, c, d]) % u32::from(partitions.get()) + 1;
        Self::numbered(u16::try_from(number).unwrap_or_default())
    }

    /// The scope with that [`CrlScope::number`].
    #[must_use]
    pub fn numbered(number: u16) -> Self {
        NonZeroU16::new(number).map_or(Self::Complete, Self::Partition)
    }

    /// The number of the partition; 0 for the complete list.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::Complete => 0,
            Self::Partition(number) => number.get(),
        }
    }
}

impl fmt::Display for CrlScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete => f.write_str("the complete list"),
            Self::Partition(number) => write!(f, "partition {number}"),
        }
    }
}

/// Everything that a TBSCertList says. It is of version 2, no delta, and about certificates of its own issuer.
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

impl fmt::Display for RevocationReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
    #[test]
    fn a_serial_number_falls_into_one_partition_and_all_partitions_are_used_alike() {
        let partitions = NonZeroU16::new(7);
        let mut counts = [0_u32; 8];
        for number in 0..7_000_u128 {
            let serial =
                Serial::from_random(number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes());
            let scope = CrlScope::of(serial, partitions);
            assert_eq!(scope, CrlScope::of(serial, partitions));
            counts[usize::from(scope.number())] += 1;
            assert_eq!(CrlScope::of(serial, None), CrlScope::Complete);
        }
        assert_eq!(counts[0], 0, "partitions count from 1");
        assert!(counts[1..].iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_scope_has_the_number_by_which_it_is_stored() {
        for number in [0, 1, 256, u16::MAX] {
            assert_eq!(CrlScope::numbered(number).number(), number);
        }
    }
}
