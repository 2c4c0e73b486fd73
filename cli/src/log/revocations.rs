//! What is checked of revocations and CRLs: nothing that was never issued is revoked, and no CRL misses what was revoked before it.

use std::collections::BTreeMap;

use super::{entries::short, seen::Crl};

/// What is wrong with a revocation or a CRL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RevocationFinding {
    #[error("revokes a certificate that no entry before it issues")]
    NeverIssued,
    #[error("revokes a certificate that entry {earlier} revoked already")]
    Twice { earlier: u64 },
    #[error("is CRL {found} of the issuer {issuer}, but {wanted} comes next; CRLs are not logged")]
    NumberGap { issuer: String, wanted: u64, found: u64 },
    #[error(
        "is a CRL of the issuer {issuer} that takes revocations into account up to {found}, but the newest is {wanted}"
    )]
    Overtaken { issuer: String, wanted: String, found: String },
    #[error("is a CRL of the issuer {issuer} that lists {found} certificates, but only {most} were ever revoked")]
    TooMany { issuer: String, most: u64, found: u64 },
}

/// What was revoked so far.
#[derive(Debug, Default)]
pub(crate) struct Revocations(BTreeMap<[u8; 32], Issuer>);

#[derive(Debug, Default)]
struct Issuer {
    last_crl: u64,
    newest_revocation: Option<u64>,
    revoked: u64,
}

impl Revocations {
    /// Looks at a revocation. Whether it was issued before, and not revoked yet, its serial number tells.
    pub(crate) fn revoked(&mut self, index: u64, issuer: [u8; 32]) {
        let of = self.0.entry(issuer).or_default();
        of.newest_revocation = Some(index);
        of.revoked += 1;
    }

    /// Looks at a CRL.
    pub(crate) fn crl(&mut self, crl: &Crl) -> Vec<RevocationFinding> {
        let of = self.0.entry(crl.issuer).or_default();
        let issuer = || short(&crl.issuer);
        let mut findings = Vec::new();
        let (wanted, found) = (of.last_crl.saturating_add(1), crl.number);
        if wanted != found {
            findings.push(RevocationFinding::NumberGap { issuer: issuer(), wanted, found });
        }
        of.last_crl = found;
        if crl.newest_revocation != of.newest_revocation {
            let name = |index: Option<u64>| index.map_or_else(|| "none".to_owned(), |index| format!("entry {index}"));
            let (wanted, found) = (name(of.newest_revocation), name(crl.newest_revocation));
            findings.push(RevocationFinding::Overtaken { issuer: issuer(), wanted, found });
        }
        let (most, found) = (of.revoked, crl.entries);
        if found > most {
            findings.push(RevocationFinding::TooMany { issuer: issuer(), most, found });
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: [u8; 32] = [0xaa; 32];

    fn crl(number: u64, entries: u64, newest_revocation: Option<u64>) -> Crl {
        Crl { issuer: ISSUER, number, entries, newest_revocation }
    }

    fn said(findings: Vec<RevocationFinding>) -> Vec<String> {
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_an_honest_signer_logs_is_no_finding() {
        let mut seen = Revocations::default();
        assert_eq!(seen.crl(&crl(1, 0, None)), []);
        seen.revoked(7, ISSUER);
        assert_eq!(seen.crl(&Crl { issuer: [0xbb; 32], ..crl(1, 0, None) }), [], "another issuer");
        assert_eq!(seen.crl(&crl(2, 1, Some(7))), []);
        assert_eq!(seen.crl(&crl(3, 0, Some(7))), [], "it has ended");
    }

    #[test]
    fn a_crl_that_misses_a_revocation_a_number_or_lists_what_was_not_revoked_is_found() {
        let mut seen = Revocations::default();
        seen.revoked(7, ISSUER);
        let issuer = "aaaaaaaaaaaaaaaa…";
        assert_eq!(
            said(seen.crl(&crl(2, 2, None))),
            [
                format!("is CRL 2 of the issuer {issuer}, but 1 comes next; CRLs are not logged"),
                format!(
                    "is a CRL of the issuer {issuer} that takes revocations into account up to none, but the newest is entry 7"
                ),
                format!("is a CRL of the issuer {issuer} that lists 2 certificates, but only 1 were ever revoked"),
            ]
        );
    }
}
