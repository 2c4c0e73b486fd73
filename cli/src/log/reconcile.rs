//! `hallmark log reconcile`: what is outside against what the log says of one issuer: certificates, CRLs, and how often the
//! device says that it signed.

use std::path::{Path, PathBuf};

use hallmark_entry::{Summary, sha256};
use serde_json::json;

use super::{
    about, but_pruned,
    opened::Opened,
    outside::Outside,
    scan::{Scan, bar},
    unclean,
};
use crate::{
    arguments::ReconcileArguments,
    certificate::{CertificateView, without_zeros},
    exit::Exit,
    hex,
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

/// Compares.
pub(crate) fn reconcile(
    arguments: &ReconcileArguments,
    config: Option<&Path>,
    screen: &Screen,
) -> Result<Exit, Problem> {
    let issuer = about::read(&arguments.issuer)?;
    let name = hallmark_policy::hex(&sha256(&issuer.spki));
    let opened = Opened::new(&arguments.log, config)?;
    let mut outside = Outside::read(arguments, &issuer, opened.pruned_before)?;
    let (source, head) = (&opened.source, &opened.head);
    let scan = Scan { source, head, anchors: Vec::new(), pruned_before: opened.pruned_before, bar: bar(screen) };
    let (mut counted, mut decisions) = (Counted::default(), Decisions::default());
    let look = |_: u64, bytes: &[u8], _: &[_]| say(bytes, &name);
    let scanned = scan.run(&look, &mut |index, said| {
        if let Some(said) = said {
            counted.add(index, said, &mut decisions, &mut outside);
        }
    })?;
    unclean(&scanned)?;
    let findings = findings(&counted, &outside);
    let undecided = undecided(&outside);
    let (result, verdict) = match (findings.is_empty(), undecided.is_empty()) {
        (true, true) => ("agrees", Exit::Done),
        (true, false) => ("undecided", Exit::NotNow),
        (false, _) => ("disagrees", Exit::No),
    };
    screen.say(&render(screen, &issuer, &counted, &outside, &findings, &undecided));
    screen.answer(&json!({
        "result": result,
        "issuer": name,
        "issued": counted.issued,
        "void": counted.void,
        "signed-again": counted.again,
        "signing-failed": counted.failed,
        "certificates": outside.certificates,
        "certificates-of-others": outside.of_others,
        "crls": outside.crls,
        "revoked": outside.revoked,
        "counter": outside.counter,
        "pruned-before": outside.pruned_before,
        "undecided": undecided,
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
                if let Some(device) = &mut outside.device {
                    device.serials.remove(&serial);
                }
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

/// What is outside and not in the entries that were read.
fn strangers(outside: &Outside) -> Vec<String> {
    let certificate = |path: &PathBuf| format!("the log has no decision on a certificate in `{}`", path.display());
    let crl = |path: &PathBuf| format!("the log has no decision on the CRL in `{}`", path.display());
    let not_issued = |what: &str, serial: &Vec<u8>| {
        format!("{what} the serial number {}, which the log did not issue", hallmark_policy::hex(serial))
    };
    let mut strangers: Vec<String> = outside.missing.values().map(certificate).collect();
    strangers.extend(outside.missing_crls.values().map(crl));
    strangers.extend(outside.unknown_serials.iter().map(|serial| not_issued("a CRL revokes", serial)));
    let signed = outside.device.iter().flat_map(|device| &device.serials);
    strangers.extend(signed.map(|serial| not_issued("the device signed", serial)));
    strangers.sort();
    strangers
}

fn findings(counted: &Counted, outside: &Outside) -> Vec<String> {
    let mut findings = if outside.pruned_before == 0 { strangers(outside) } else { Vec::new() };
    findings.extend(outside.device.iter().flat_map(|device| device.findings.kept()).cloned());
    let (least, most) = counted.bounds();
    // What was issued in entries that are gone counts too, and nobody knows how much that is.
    let most = if outside.pruned_before == 0 { most } else { u64::MAX };
    if let Some(counter) = outside.counter.filter(|counter| !(least..=most).contains(counter)) {
        let (counter, bounds) = (when::number(counter), between(least, most));
        findings.push(format!("the device signed {counter} times, and by the log it is {bounds} times"));
    }
    findings
}

/// What cannot be told from the entries that were read, where others are pruned.
fn undecided(outside: &Outside) -> Vec<String> {
    if outside.pruned_before == 0 { Vec::new() } else { strangers(outside) }
}

fn between(least: u64, most: u64) -> String {
    match most {
        u64::MAX => format!("{} or more", when::number(least)),
        most => format!("{} to {}", when::number(least), when::number(most)),
    }
}

fn render(
    screen: &Screen,
    issuer: &CertificateView,
    counted: &Counted,
    outside: &Outside,
    findings: &[String],
    undecided: &[String],
) -> String {
    let subject = printable(&issuer.subject).into_owned();
    let head = if findings.is_empty() && undecided.is_empty() {
        let pruned = but_pruned(outside.pruned_before);
        let stop = if pruned.is_empty() { "" } else { "." };
        format!("{} all that is at hand of `{subject}` is in the log{stop}{pruned}", screen.tone(Tone::Good, "agrees:"))
    } else if findings.is_empty() {
        let word = screen.tone(Tone::Doubtful, "undecided:");
        format!(
            "{word} what is at hand of `{subject}` is not in the entries that are here.{}",
            but_pruned(outside.pruned_before)
        )
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
    if let Some(counter) = outside.counter {
        let (least, most) = counted.bounds();
        let bounds = between(least, if outside.pruned_before == 0 { most } else { u64::MAX });
        table.row(["counter", &format!("{}; by the log {bounds}", when::number(counter))]);
    }
    let mut text = format!("{head}\n{}", table.render(2));
    text.push_str(&list("Found:", findings));
    text.push_str(&list("Undecided:", undecided));
    if !findings.is_empty() {
        text.push_str(hint(counted, outside));
    }
    text.push_str("Not checked:\n");
    let known =
        (outside.certificates + outside.crls).saturating_sub(outside.missing.len() + outside.missing_crls.len());
    let unseen = counted.issued.saturating_sub(known as u64);
    text.push_str(&format!("  {} of what was issued are not at hand.\n", when::number(unseen)));
    if outside.counter.is_none() {
        text.push_str(
            "  How often the device signed: give what it counts with --counter, or its log with --device-log.\n",
        );
    }
    if let Some(unlogged) = outside.device.as_ref().map(|device| device.unlogged).filter(|unlogged| *unlogged > 0) {
        let unlogged = when::number(unlogged);
        text.push_str(&format!("  {unlogged} boots and authentications that the device did not log, as it says.\n"));
    }
    text
}

/// Sentences under a heading, if there are any.
fn list(heading: &str, sentences: &[String]) -> String {
    if sentences.is_empty() {
        return String::new();
    }
    let mut text = format!("{heading}\n");
    for sentence in sentences.iter().take(FINDINGS_SHOWN_MAX) {
        text.push_str(&format!("  {}\n", printable(sentence)));
    }
    let hidden = sentences.len().saturating_sub(FINDINGS_SHOWN_MAX) as u64;
    if hidden > 0 {
        text.push_str(&format!("  and {} more; --json has them all\n", when::number(hidden)));
    }
    text
}

/// What to do about findings.
fn hint(counted: &Counted, outside: &Outside) -> &'static str {
    let strange = outside.pruned_before == 0 && !strangers(outside).is_empty();
    let fewer = outside.counter.is_some_and(|counter| counter < counted.bounds().0);
    let damaged = outside.device.as_ref().is_some_and(|device| !device.findings.kept().is_empty());
    if !strange && damaged {
        return "hint: export the device's log again, all of it and in order; if it stays so, it was changed, or the device lost part of it\n";
    }
    if !strange && fewer {
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
