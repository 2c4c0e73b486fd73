//! `hallmark log reconcile`: what is outside against what the log says of one issuer: certificates, CRLs, and how often the
//! device says that it signed.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use hallmark_entry::{Summary, sha256};
use serde_json::json;

use super::{
    about,
    opened::Opened,
    scan::{Scan, bar},
    unclean,
};
use crate::{
    arguments::ReconcileArguments,
    certificate::{CertificateView, CrlView, without_zeros},
    exit::Exit,
    files::{self, FileError},
    hex, pem,
    problem::Problem,
    screen::{Screen, Tone, printable},
    table::Table,
    when,
};

/// Most findings that are printed; JSON has them all.
const FINDINGS_SHOWN_MAX: usize = 20;

/// What an entry says about the issuer.
enum Said {
    /// A certificate or CRL may be signed.
    Issued {
        to_be_signed: String,
        serial: Vec<u8>,
    },
    /// Something about the decision of that index.
    Void(u64),
    Again(u64),
    Failed(u64),
}

/// What the log says of the issuer.
#[derive(Default)]
struct Counted {
    /// Indexes of its decisions are kept as they are needed: those of the entries about them follow later.
    issued: u64,
    void: u64,
    again: u64,
    failed: u64,
}

/// What is outside.
struct Outside {
    /// Digests of certificates at hand that the issuer signed, with the file each came from; those found in the log leave.
    missing: HashMap<String, PathBuf>,
    /// CRLs, by the digest of what was signed.
    missing_crls: HashMap<String, PathBuf>,
    /// Serials that CRLs revoke; those that were issued leave.
    unknown_serials: HashSet<Vec<u8>>,
    certificates: usize,
    of_others: usize,
    crls: usize,
    revoked: usize,
}

/// Compares.
pub(crate) fn reconcile(
    arguments: &ReconcileArguments,
    config: Option<&Path>,
    screen: &Screen,
) -> Result<Exit, Problem> {
    let issuer = about::read(&arguments.issuer)?;
    let name = hallmark_policy::hex(&sha256(&issuer.spki));
    let mut outside = Outside::read(arguments, &issuer)?;
    let opened = Opened::new(&arguments.log, config)?;
    let (source, head) = (&opened.source, &opened.head);
    let scan = Scan { source, head, anchors: Vec::new(), pruned_before: 0, bar: bar(screen) };
    let (mut counted, mut decisions) = (Counted::default(), Decisions::default());
    let look = |_: u64, bytes: &[u8], _: &[_]| say(bytes, &name);
    let scanned = scan.run(&look, &mut |index, said| {
        if let Some(said) = said {
            counted.add(index, said, &mut decisions, &mut outside);
        }
    })?;
    unclean(&scanned)?;
    let findings = findings(&counted, &outside, arguments.counter);
    let verdict = if findings.is_empty() { Exit::Done } else { Exit::No };
    screen.say(&render(screen, &issuer, &counted, &outside, arguments.counter, &findings));
    screen.answer(&json!({
        "result": if findings.is_empty() { "agrees" } else { "disagrees" },
        "issuer": name,
        "issued": counted.issued,
        "void": counted.void,
        "signed-again": counted.again,
        "signing-failed": counted.failed,
        "certificates": outside.certificates,
        "certificates-of-others": outside.of_others,
        "crls": outside.crls,
        "revoked": outside.revoked,
        "counter": arguments.counter,
        "findings": findings,
    }))?;
    Ok(verdict)
}

/// Which decisions are the issuer's, as ranges of indexes: entries about a decision name its index alone.
#[derive(Default)]
struct Decisions(Vec<(u64, u64)>);

impl Decisions {
    /// One more, larger than all before.
    fn add(&mut self, index: u64) {
        match self.0.last_mut() {
            Some((_, end)) if *end == index => *end += 1,
            Some(_) | None => self.0.push((index, index + 1)),
        }
    }

    fn has(&self, index: u64) -> bool {
        let after = self.0.partition_point(|(start, _)| *start <= index);
        after.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|(_, end)| index < *end)
    }
}

impl Counted {
    fn add(&mut self, index: u64, said: Said, decisions: &mut Decisions, outside: &mut Outside) {
        match said {
            Said::Issued { to_be_signed, serial } => {
                self.issued += 1;
                decisions.add(index);
                outside.missing.remove(&to_be_signed);
                outside.missing_crls.remove(&to_be_signed);
                outside.unknown_serials.remove(&serial);
            }
            Said::Void(of) => self.void += u64::from(decisions.has(of)),
            Said::Again(of) => self.again += u64::from(decisions.has(of)),
            Said::Failed(of) => self.failed += u64::from(decisions.has(of)),
        }
    }

    /// Between these lies what the device has signed: all but what is void, and each attempt once more. What failed is signed again
    /// or void in the end.
    fn bounds(&self) -> (u64, u64) {
        (self.issued.saturating_sub(self.void), self.issued.saturating_add(self.again))
    }
}

fn say(bytes: &[u8], issuer: &str) -> Option<Said> {
    let entry = Summary::parse(bytes).ok()?;
    let of = entry.decision_index;
    match (entry.kind.as_str(), entry.result.as_deref()) {
        ("void", _) => of.map(Said::Void),
        ("outcome", Some("signing-again")) => of.map(Said::Again),
        ("outcome", Some("signing-failed")) => of.map(Said::Failed),
        ("decision", _) if entry.decision.as_deref() == Some("issued") => {
            let is_its = entry.issuer.as_ref().is_some_and(|found| found.spki_sha256 == issuer);
            // A CRL has none.
            let serial = entry.serial.as_deref().and_then(hex::bytes).unwrap_or_default();
            let serial = without_zeros(&serial).to_vec();
            is_its.then_some(Said::Issued { to_be_signed: entry.tbs_sha256?, serial })
        }
        (_, _) => None,
    }
}

impl Outside {
    fn read(arguments: &ReconcileArguments, issuer: &CertificateView) -> Result<Self, Problem> {
        let mut outside = Self {
            missing: HashMap::new(),
            missing_crls: HashMap::new(),
            unknown_serials: HashSet::new(),
            certificates: 0,
            of_others: 0,
            crls: 0,
            revoked: 0,
        };
        for path in files_of(&arguments.certificates)? {
            outside.read_certificates(&path, issuer)?;
        }
        for path in &arguments.crl {
            outside.read_crl(path, issuer)?;
        }
        Ok(outside)
    }

    fn read_certificates(&mut self, path: &Path, issuer: &CertificateView) -> Result<(), Problem> {
        let unexpected = || FileError::Unexpected { path: path.to_owned(), expected: "certificates" };
        for der in pem::all(&files::read(path)?).ok_or_else(unexpected)? {
            let certificate = CertificateView::read(&der).ok_or_else(unexpected)?;
            if certificate.is_signed_by(issuer) {
                self.certificates += 1;
                self.missing.insert(about::digest(&certificate), path.to_owned());
            } else {
                self.of_others += 1;
            }
        }
        Ok(())
    }

    fn read_crl(&mut self, path: &Path, issuer: &CertificateView) -> Result<(), Problem> {
        let unexpected = || FileError::Unexpected { path: path.to_owned(), expected: "CRL of this issuer" };
        let der = pem::first(&files::read(path)?).ok_or_else(unexpected)?;
        let crl = CrlView::read(&der).filter(|crl| crl.is_signed_by(issuer)).ok_or_else(unexpected)?;
        self.crls += 1;
        self.revoked += crl.serials.len();
        self.unknown_serials.extend(crl.serials);
        self.missing_crls.insert(hallmark_policy::hex(&sha256(&crl.to_be_signed)), path.to_owned());
        Ok(())
    }
}

/// The files that were named, and those in directories that were.
fn files_of(named: &[PathBuf]) -> Result<Vec<PathBuf>, Problem> {
    let mut found = Vec::new();
    for path in named {
        if path.is_dir() {
            let failed = |source| FileError::Read { path: path.clone(), source };
            for file in fs::read_dir(path).map_err(failed)? {
                found.push(file.map_err(failed)?.path());
            }
        } else {
            found.push(path.clone());
        }
    }
    found.sort();
    Ok(found)
}

fn findings(counted: &Counted, outside: &Outside, counter: Option<u64>) -> Vec<String> {
    let certificate = |path: &PathBuf| format!("the log has no decision on a certificate in `{}`", path.display());
    let crl = |path: &PathBuf| format!("the log has no decision on the CRL in `{}`", path.display());
    let serial = |serial: &Vec<u8>| {
        format!("a CRL revokes the serial number {}, which the log did not issue", hallmark_policy::hex(serial))
    };
    let mut findings: Vec<String> = outside.missing.values().map(certificate).collect();
    findings.extend(outside.missing_crls.values().map(crl));
    findings.extend(outside.unknown_serials.iter().map(serial));
    findings.sort();
    let (least, most) = counted.bounds();
    if let Some(counter) = counter.filter(|counter| !(least..=most).contains(counter)) {
        let (counter, least, most) = (when::number(counter), when::number(least), when::number(most));
        findings.push(format!("the device signed {counter} times, and by the log it is {least} to {most} times"));
    }
    findings
}

fn render(
    screen: &Screen,
    issuer: &CertificateView,
    counted: &Counted,
    outside: &Outside,
    counter: Option<u64>,
    findings: &[String],
) -> String {
    let subject = printable(&issuer.subject).into_owned();
    let head = if findings.is_empty() {
        format!("{} all that is at hand of `{subject}` is in the log", screen.tone(Tone::Good, "agrees:"))
    } else {
        format!("{} what is at hand of `{subject}` is not what the log says", screen.tone(Tone::Bad, "disagrees:"))
    };
    let number = |value: usize| when::number(value as u64);
    let mut table = Table::new();
    table.row(["issued", &when::number(counted.issued)]);
    let (void, again, failed) = (when::number(counted.void), when::number(counted.again), when::number(counted.failed));
    table.row(["of these", &format!("{void} void, {failed} not signed, {again} attempts to sign once more")]);
    let (certificates, others) = (number(outside.certificates), number(outside.of_others));
    table.row(["certificates", &format!("{certificates} at hand, and {others} of other issuers")]);
    table.row(["CRLs", &format!("{} with {} serial numbers", number(outside.crls), number(outside.revoked))]);
    if let Some(counter) = counter {
        let (least, most) = counted.bounds();
        let bounds = format!("{} to {}", when::number(least), when::number(most));
        table.row(["counter", &format!("{}; by the log {bounds}", when::number(counter))]);
    }
    let mut text = format!("{head}\n{}", table.render(2));
    if !findings.is_empty() {
        text.push_str("Found:\n");
        for finding in findings.iter().take(FINDINGS_SHOWN_MAX) {
            text.push_str(&format!("  {}\n", printable(finding)));
        }
        let hidden = findings.len().saturating_sub(FINDINGS_SHOWN_MAX);
        if hidden > 0 {
            text.push_str(&format!("  and {} more; --json has them all\n", number(hidden)));
        }
        text.push_str(hint(counted, outside, counter));
    }
    text.push_str("Not checked:\n");
    let unseen = counted.issued.saturating_sub((outside.certificates + outside.crls - outside.missing.len()) as u64);
    text.push_str(&format!("  {} of what was issued are not at hand.\n", when::number(unseen)));
    if counter.is_none() {
        text.push_str("  How often the device signed: give what it counts with --counter.\n");
    }
    text
}

/// What to do about findings.
fn hint(counted: &Counted, outside: &Outside, counter: Option<u64>) -> &'static str {
    let strange =
        !(outside.missing.is_empty() && outside.missing_crls.is_empty() && outside.unknown_serials.is_empty());
    if !strange && counter.is_some_and(|counter| counter < counted.bounds().0) {
        return "hint: fewer signatures than entries: read the counter again when nothing is under way and what failed is void; if it stays \
                so, another device signed\n";
    }
    "hint: something was signed without an entry: tell whoever runs the signer, and stop trusting this issuer\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_lies_between_what_is_not_void_and_each_attempt() {
        let counted = Counted { issued: 10, void: 2, again: 3, failed: 4 };
        assert_eq!(counted.bounds(), (8, 13), "issued minus void, and issued plus logged attempts");
    }

    #[test]
    fn decisions_are_found_again_in_runs() {
        let mut decisions = Decisions::default();
        for index in [3, 4, 5, 9, 20, 21] {
            decisions.add(index);
        }
        assert_eq!(decisions.0, [(3, 6), (9, 10), (20, 22)]);
        let found: Vec<u64> = (0..30).filter(|index| decisions.has(*index)).collect();
        assert_eq!(found, [3, 4, 5, 9, 20, 21]);
    }
}
