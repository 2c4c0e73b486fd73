//! What is checked of revocations and CRLs: nothing that was never issued is revoked, and no CRL misses what was revoked before it.

use std::collections::{BTreeMap, HashSet};

use hallmark_entry::Summary;

use super::entries::short;

/// What is wrong with a revocation or a CRL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RevocationFinding {
    #[error("revokes a certificate, but does not say which")]
    Incomplete,
    #[error("revokes serial {serial} of the issuer {issuer}, which no entry before it issues")]
    NeverIssued { issuer: String, serial: String },
    #[error("revokes serial {serial} of the issuer {issuer} a second time")]
    Twice { issuer: String, serial: String },
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
pub(crate) struct Revocations {
    issuers: BTreeMap<String, Issuer>,
    /// Digests of issuer and serial, cut to 128 bits.
    serials: HashSet<u128>,
}

#[derive(Debug, Default)]
struct Issuer {
    last_crl: u64,
    newest_revocation: Option<u64>,
    revoked: u64,
}

impl Revocations {
    /// Looks at a revocation.
    pub(crate) fn revoked(
        &mut self,
        index: u64,
        issuer: &str,
        serial: &str,
        is_issued: bool,
    ) -> Vec<RevocationFinding> {
        let of = self.issuers.entry(issuer.to_owned()).or_default();
        of.newest_revocation = Some(index);
        of.revoked += 1;
        let (issuer_name, serial_name) = (short(issuer), serial.to_owned());
        let mut findings = Vec::new();
        if !is_issued {
            let (issuer, serial) = (issuer_name.clone(), serial_name.clone());
            findings.push(RevocationFinding::NeverIssued { issuer, serial });
        }
        if !self.serials.insert(id(issuer, serial)) {
            findings.push(RevocationFinding::Twice { issuer: issuer_name, serial: serial_name });
        }
        findings
    }

    /// Looks at a CRL.
    pub(crate) fn crl(&mut self, issuer: &str, entry: &Summary) -> Vec<RevocationFinding> {
        let of = self.issuers.entry(issuer.to_owned()).or_default();
        let issuer = || short(issuer);
        let mut findings = Vec::new();
        let (wanted, found) = (of.last_crl.saturating_add(1), entry.crl_number.unwrap_or(0));
        if wanted != found {
            findings.push(RevocationFinding::NumberGap { issuer: issuer(), wanted, found });
        }
        of.last_crl = found;
        if entry.newest_revocation != of.newest_revocation {
            let name = |index: Option<u64>| index.map_or_else(|| "none".to_owned(), |index| format!("entry {index}"));
            let (wanted, found) = (name(of.newest_revocation), name(entry.newest_revocation));
            findings.push(RevocationFinding::Overtaken { issuer: issuer(), wanted, found });
        }
        let (most, found) = (of.revoked, entry.entries.unwrap_or(0));
        if found > most {
            findings.push(RevocationFinding::TooMany { issuer: issuer(), most, found });
        }
        findings
    }
}

/// One number for an issuer and a serial.
pub(crate) fn id(issuer: &str, serial: &str) -> u128 {
    let [_, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, half @ ..] =
        hallmark_entry::sha256(format!("{issuer} {serial}").as_bytes());
    u128::from_be_bytes(half)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crl(number: u64, entries: u64, newest: Option<u64>) -> Summary {
        let newest = newest.map_or_else(String::new, |index| format!(r#""newest-revocation":{index},"#));
        let text =
            format!(r#"{{"crl-number":{number},"entries":{entries},{newest}"time":1,"type":"decision","version":1}}"#);
        Summary::parse(text.as_bytes()).unwrap()
    }

    fn said(findings: Vec<RevocationFinding>) -> Vec<String> {
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_an_honest_signer_logs_is_no_finding() {
        let mut seen = Revocations::default();
        assert_eq!(seen.crl("aa", &crl(1, 0, None)), []);
        assert_eq!(seen.revoked(7, "aa", "01", true), []);
        assert_eq!(seen.crl("bb", &crl(1, 0, None)), [], "another issuer");
        assert_eq!(seen.crl("aa", &crl(2, 1, Some(7))), []);
        assert_eq!(seen.crl("aa", &crl(3, 0, Some(7))), [], "it has ended");
    }

    #[test]
    fn a_crl_that_misses_a_revocation_a_number_or_lists_what_was_not_revoked_is_found() {
        let mut seen = Revocations::default();
        seen.revoked(7, "aa", "01", true);
        assert_eq!(
            said(seen.crl("aa", &crl(2, 2, None))),
            [
                "is CRL 2 of the issuer aa…, but 1 comes next; CRLs are not logged",
                "is a CRL of the issuer aa… that takes revocations into account up to none, but the newest is entry 7",
                "is a CRL of the issuer aa… that lists 2 certificates, but only 1 were ever revoked",
            ]
        );
    }

    #[test]
    fn a_revocation_of_nothing_and_one_that_stands_twice_are_found() {
        let mut seen = Revocations::default();
        assert_eq!(
            said(seen.revoked(1, "aa", "01", false)),
            ["revokes serial 01 of the issuer aa…, which no entry before it issues"]
        );
        assert_eq!(said(seen.revoked(2, "aa", "01", true)), ["revokes serial 01 of the issuer aa… a second time"]);
    }
}
