//! CRLs, read back.

use num_bigint::BigInt;
use rasn_pkix::{RevokedCertificate, TbsCertList, Version};

use super::{extensions, field, read};
use crate::{
    crl::{CRL_BYTES_MAX, CrlContent, RevokedCertificate as Approved},
    readback::{self, Unencodable, is_encoded},
};

/// The first field in which a TBSCertList differs from its approved content.
pub(super) fn difference(content: &CrlContent, draft: &[u8]) -> Option<&'static str> {
    let read: TbsCertList = match read(draft, CRL_BYTES_MAX) {
        Ok(read) => read,
        Err(what) => return Some(what),
    };
    let next_update = read.next_update.as_ref();
    field("version", read.version == Version::V2)
        .or_else(|| field("signature", is_encoded(&read.signature, Ok(content.algorithm.identifier()))))
        .or_else(|| field("issuer", is_encoded(&read.issuer, readback::name(&content.issuer))))
        .or_else(|| field("thisUpdate", readback::says(&read.this_update, content.this_update)))
        .or_else(|| field("nextUpdate", next_update.is_some_and(|time| readback::says(time, content.next_update))))
        .or_else(|| entries_differ(&content.revoked, &read.revoked_certificates))
        .or_else(|| match readback::crl_extensions(content) {
            Ok(expected) => extensions::disagreement(&expected, read.crl_extensions.as_ref()),
            Err(Unencodable) => Some("an extension that cannot be encoded"),
        })
}

/// The entries must be exactly the approved ones, and stand in the order of their serial numbers, each once.
fn entries_differ(approved: &[Approved], found: &[RevokedCertificate]) -> Option<&'static str> {
    if found.len() != approved.len() {
        return Some("the number of revokedCertificates");
    }
    if !approved.is_sorted_by(|one, next| one.serial < next.serial) {
        return Some("the order of revokedCertificates");
    }
    approved.iter().zip(found).find_map(|(approved, found)| entry_differs(approved, found))
}

fn entry_differs(approved: &Approved, found: &RevokedCertificate) -> Option<&'static str> {
    let serial = || BigInt::from(found.user_certificate.clone()).to_signed_bytes_be();
    field("userCertificate", serial() == approved.serial.as_bytes())
        .or_else(|| field("revocationDate", readback::says(&found.revocation_date, approved.at)))
        .or_else(|| {
            let expected = readback::reason_code(approved.reason);
            extensions::disagreement(expected.as_slice(), found.crl_entry_extensions.as_ref())
        })
}

/// Reads any TBSCertList; for fuzzing the decoder.
pub fn read_back_crl(draft: &[u8]) -> bool {
    read::<TbsCertList>(draft, CRL_BYTES_MAX).is_ok()
}

#[cfg(test)]
mod tests {
    use rasn::types::Integer;
    use rasn_pkix::Time;

    use super::*;
    use crate::{content::Serial, crl::RevocationReason, time::UnixTime};

    #[test]
    fn entries_that_were_approved_twice_or_in_no_order_are_not_endorsed() {
        let approved = |number: u8| Approved {
            serial: Serial::from_stored(&[number]).unwrap(),
            at: UnixTime::from_secs(0),
            reason: RevocationReason::Unspecified,
        };
        let found = |number: u8| RevokedCertificate {
            user_certificate: Integer::from(number),
            revocation_date: Time::Utc(Default::default()),
            crl_entry_extensions: None,
        };
        let differ = |numbers: &[u8]| {
            let approved: Vec<_> = numbers.iter().copied().map(approved).collect();
            let found: Vec<_> = numbers.iter().copied().map(found).collect();
            entries_differ(&approved, &found)
        };
        assert_eq!((differ(&[]), differ(&[1]), differ(&[1, 2])), (None, None, None));
        for numbers in [[1, 1], [2, 1]] {
            assert_eq!(differ(&numbers), Some("the order of revokedCertificates"));
        }
    }
}
