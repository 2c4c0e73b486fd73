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

/// Issuers and partitions of theirs that are told apart: some 10 MB. More than that no signer has that rotates every hour for years.
const SCOPES_MAX: usize = 1 << 17;

/// What was revoked so far.
#[derive(Debug, Default)]
pub(crate) struct Revocations {
    issuers: BTreeMap<[u8; 32], Issuer>,
    /// Issuers and partitions in there.
    known: usize,
    /// Revocations and CRLs of others, which nothing was compared with.
    pub(crate) uncompared: u64,
    /// How many CRLs were signed, by their numbers, that the log says it has lost.
    pub(crate) lost: u64,
}

#[derive(Debug, Default)]
struct Issuer {
    last_crl: u64,
    /// By the number of the partition; 0 is the complete list.
    scopes: BTreeMap<u64, Scope>,
}

#[derive(Debug, Default)]
struct Scope {
    newest_revocation: Option<u64>,
    revoked: u64,
}

impl Revocations {
    /// Looks at a revocation. Whether it was issued before, and not revoked yet, its serial number tells.
    pub(crate) fn revoked(&mut self, index: u64, issuer: [u8; 32], partition: u64) {
        if !self.has_room(issuer, partition) {
            return;
        }
        let of = self.issuers.entry(issuer).or_default();
        let scopes = if partition == 0 { vec![0] } else { vec![0, partition] };
        for scope in scopes {
            let scope = of.scopes.entry(scope).or_default();
            scope.newest_revocation = Some(index);
            scope.revoked += 1;
        }
    }

    /// Whether that issuer and partition are known, or can be; if not, it is counted.
    fn has_room(&mut self, issuer: [u8; 32], partition: u64) -> bool {
        let known = self.issuers.get(&issuer);
        let is_new = |scope: u64| known.is_none_or(|issuer| !issuer.scopes.contains_key(&scope));
        let scopes = [Some(0), Some(partition).filter(|partition| *partition > 0)];
        let more = usize::from(known.is_none()) + scopes.into_iter().flatten().filter(|scope| is_new(*scope)).count();
        if self.known + more > SCOPES_MAX {
            self.uncompared += 1;
            return false;
        }
        self.known += more;
        true
    }

    /// Looks at a CRL.
    pub(crate) fn crl(&mut self, crl: &Crl) -> Vec<RevocationFinding> {
        if !self.has_room(crl.issuer, crl.partition) {
            return Vec::new();
        }
        let of = self.issuers.entry(crl.issuer).or_default();
        let issuer = || short(&crl.issuer);
        let mut findings = Vec::new();
        let (wanted, found) = (of.last_crl.saturating_add(1), crl.number);
        if crl.number_after == Some(of.last_crl) && found > wanted {
            self.lost = self.lost.saturating_add(found - wanted);
        } else if wanted != found {
            findings.push(RevocationFinding::NumberGap { issuer: issuer(), wanted, found });
        }
        of.last_crl = found;
        of.scopes.entry(0).or_default();
        let of = of.scopes.entry(crl.partition).or_default();
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
        Crl { issuer: ISSUER, number, number_after: None, partition: 0, entries, newest_revocation }
    }

    fn said(findings: Vec<RevocationFinding>) -> Vec<String> {
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_an_honest_signer_logs_is_no_finding() {
        let mut seen = Revocations::default();
        assert_eq!(seen.crl(&crl(1, 0, None)), []);
        seen.revoked(7, ISSUER, 0);
        assert_eq!(seen.crl(&Crl { issuer: [0xbb; 32], ..crl(1, 0, None) }), [], "another issuer");
        assert_eq!(seen.crl(&crl(2, 1, Some(7))), []);
        assert_eq!(seen.crl(&crl(3, 0, Some(7))), [], "it has ended");
    }

    #[test]
    fn a_revocation_stands_on_the_list_of_its_partition_and_on_the_complete_one() {
        let mut seen = Revocations::default();
        seen.revoked(7, ISSUER, 2);
        let of = |partition, crl| Crl { partition, ..crl };
        assert_eq!(seen.crl(&of(1, crl(1, 0, None))), []);
        assert_eq!(seen.crl(&of(2, crl(2, 1, Some(7)))), []);
        assert_eq!(seen.crl(&crl(3, 1, Some(7))), []);
        assert_eq!(seen.crl(&of(2, crl(4, 1, None))).len(), 1, "it misses entry 7");
        assert_eq!(seen.crl(&of(1, crl(5, 1, None))).len(), 1, "it lists one too many");
    }

    #[test]
    fn partitions_without_end_take_no_more_memory_and_are_counted() {
        let mut seen = Revocations::default();
        for partition in 1..=2 * SCOPES_MAX as u64 {
            seen.revoked(partition, ISSUER, partition);
        }
        let scopes = seen.issuers[&ISSUER].scopes.len();
        assert!(scopes <= SCOPES_MAX, "{scopes}");
        assert_eq!(scopes as u64 + seen.uncompared, 2 * SCOPES_MAX as u64 + 1);
    }

    #[test]
    fn numbers_that_are_said_to_be_lost_are_counted_and_others_are_found() {
        let mut seen = Revocations::default();
        let of = |number, after| Crl { number_after: Some(after), ..crl(number, 0, None) };
        assert_eq!(seen.crl(&crl(1, 0, None)), []);
        assert_eq!(seen.crl(&of(5, 1)), []);
        assert_eq!(seen.lost, 3);
        assert_eq!(seen.crl(&of(9, 7)).len(), 1, "the one before is not number 7");
        assert_eq!(seen.crl(&of(3, 9)).len(), 1, "numbers go on");
        assert_eq!(seen.lost, 3);
    }

    #[test]
    fn a_crl_that_misses_a_revocation_a_number_or_lists_what_was_not_revoked_is_found() {
        let mut seen = Revocations::default();
        seen.revoked(7, ISSUER, 0);
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
