//! What is checked of the entries themselves, beside the tree over them.

use std::collections::{BTreeMap, HashSet};

use hallmark_entry::{ENTRY_VERSION, Summary};
use hallmark_tlog::audit::{Progress, Visitor};
use indicatif::ProgressBar;

use super::revocations::{RevocationFinding, Revocations, id};

/// Types of entries that this program knows (`docs/log-entries.md`). Others are counted and said.
const KINDS: [&str; 15] = [
    "aggregate",
    "ceremony",
    "clock-distrusted",
    "decision",
    "heartbeat",
    "key-event",
    "operator-command",
    "outcome",
    "policy-loaded",
    "recovered",
    "revocation",
    "rotation",
    "start",
    "stop",
    "void",
];

/// How far an entry's time may lie behind that of an earlier one, in milliseconds. Requests are decided at the same time
/// and committed in another order; a signer whose clock is off by more stops minting.
pub(crate) const DISORDER_MILLIS_MAX: i64 = 30_000;

/// The operator's word that the clock is right, as the command of an `operator-command` entry.
const ACCEPT_CLOCK: &str = "accept-clock";

/// Most findings that are kept.
const FINDINGS_MAX: usize = 1_000;

/// What is wrong with an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EntryFinding {
    #[error("entry {index} is no entry of this log's format: {reason}")]
    Unreadable { index: u64, reason: String },
    #[error("entry {index} is not in canonical JSON (RFC 8785)")]
    NotCanonical { index: u64 },
    #[error("entry {index} lies {behind_secs} s before an earlier entry; the clock was set back, or the order changed")]
    OutOfOrder { index: u64, behind_secs: i64 },
    #[error(
        "entry {index} is number {found} of the issuer {issuer}, but {wanted} comes next; issued certificates are not logged"
    )]
    SequenceGap { index: u64, issuer: String, wanted: u64, found: u64 },
    #[error("entry {index} issues serial {serial} of the issuer {issuer} a second time")]
    SerialTwice { index: u64, issuer: String, serial: String },
    #[error("entry {index} says that something was issued, but not with which number and by whom")]
    IssuedIncomplete { index: u64 },
    #[error("entry {index} {what}")]
    Revocation { index: u64, what: RevocationFinding },
}

/// Looks at every entry.
#[derive(Debug)]
pub(crate) struct Entries {
    pub(crate) kinds: BTreeMap<String, u64>,
    pub(crate) unknown_kinds: u64,
    pub(crate) later_versions: u64,
    pub(crate) issued: u64,
    pub(crate) crls: u64,
    pub(crate) revoked: u64,
    pub(crate) refused: u64,
    pub(crate) validated: u64,
    pub(crate) issuers: BTreeMap<String, u64>,
    pub(crate) first_millis: Option<i64>,
    pub(crate) newest_millis: Option<i64>,
    pub(crate) findings: Vec<EntryFinding>,
    pub(crate) findings_dropped: u64,
    /// Entries out of order that issue nothing: a signer whose clock runs behind goes on logging, and mints nothing until an
    /// operator has confirmed the clock. They become findings if nobody does.
    unconfirmed: Vec<EntryFinding>,
    unconfirmed_dropped: u64,
    /// Digests of issuer and serial, cut to 128 bits: 16 bytes for each certificate.
    serials: HashSet<u128>,
    revocations: Revocations,
    bar: ProgressBar,
}

impl Entries {
    pub(crate) fn new(bar: ProgressBar) -> Self {
        Self {
            kinds: BTreeMap::new(),
            unknown_kinds: 0,
            later_versions: 0,
            issued: 0,
            crls: 0,
            revoked: 0,
            refused: 0,
            validated: 0,
            issuers: BTreeMap::new(),
            first_millis: None,
            newest_millis: None,
            findings: Vec::new(),
            findings_dropped: 0,
            unconfirmed: Vec::new(),
            unconfirmed_dropped: 0,
            serials: HashSet::new(),
            revocations: Revocations::default(),
            bar,
        }
    }

    fn look_at(&mut self, index: u64, entry: &Summary) {
        if !KINDS.contains(&entry.kind.as_str()) {
            self.unknown_kinds += 1;
        }
        *self.kinds.entry(entry.kind.clone()).or_default() += 1;
        self.later_versions += u64::from(i64::try_from(entry.version) != Ok(ENTRY_VERSION));
        self.look_at_time(index, entry);
        match (entry.kind.as_str(), entry.decision.as_deref(), entry.stage.as_deref()) {
            ("decision", Some("issued"), Some("crl")) => {
                self.crls += 1;
                self.look_at_crl(index, entry);
            }
            // It is signed by the key that it is about, and numbered by nobody.
            ("decision", Some("issued"), Some("request")) => {}
            ("decision", Some("issued"), _) => {
                self.issued += 1;
                self.look_at_issued(index, entry);
            }
            ("decision", Some("refused"), _) => self.refused += 1,
            ("decision", Some("validated"), _) => self.validated += 1,
            ("revocation", _, _) => {
                self.revoked += 1;
                self.look_at_revocation(index, entry);
            }
            (_, _, _) => {}
        }
    }

    fn look_at_time(&mut self, index: u64, entry: &Summary) {
        let millis = entry.time;
        self.first_millis = self.first_millis.or(Some(millis));
        if is_accepted_clock(entry) {
            // From here on time runs from what the operator confirmed.
            self.newest_millis = Some(millis);
            self.unconfirmed.clear();
            self.unconfirmed_dropped = 0;
            return;
        }
        let newest = self.newest_millis.unwrap_or(millis);
        let behind = newest.saturating_sub(millis);
        if behind > DISORDER_MILLIS_MAX {
            let finding = EntryFinding::OutOfOrder { index, behind_secs: behind / 1_000 };
            if entry.decision.as_deref() == Some("issued") {
                self.find(finding);
            } else if self.unconfirmed.len() < FINDINGS_MAX {
                self.unconfirmed.push(finding);
            } else {
                self.unconfirmed_dropped += 1;
            }
        }
        self.newest_millis = Some(newest.max(millis));
    }

    /// All entries were seen: what nobody confirmed until now is a finding.
    pub(crate) fn close(&mut self) {
        for finding in std::mem::take(&mut self.unconfirmed) {
            self.find(finding);
        }
        self.findings_dropped += std::mem::take(&mut self.unconfirmed_dropped);
    }

    fn look_at_issued(&mut self, index: u64, entry: &Summary) {
        let issuer = entry.issuer.as_ref().and_then(|issuer| Some((&issuer.spki_sha256, issuer.sequence?)));
        let (Some((name, found)), Some(serial)) = (issuer, &entry.serial) else {
            return self.find(EntryFinding::IssuedIncomplete { index });
        };
        let wanted = self.issuers.insert(name.clone(), found).unwrap_or(0).saturating_add(1);
        if wanted != found {
            self.find(EntryFinding::SequenceGap { index, issuer: short(name), wanted, found });
        }
        if !self.serials.insert(id(name, serial)) {
            self.find(EntryFinding::SerialTwice { index, issuer: short(name), serial: serial.clone() });
        }
    }

    fn look_at_crl(&mut self, index: u64, entry: &Summary) {
        match &entry.issuer {
            Some(issuer) => {
                for what in self.revocations.crl(&issuer.spki_sha256, entry) {
                    self.find(EntryFinding::Revocation { index, what });
                }
            }
            None => self.find(EntryFinding::IssuedIncomplete { index }),
        }
    }

    fn look_at_revocation(&mut self, index: u64, entry: &Summary) {
        let (Some(issuer), Some(serial)) = (&entry.issuer, &entry.serial) else {
            return self.find(EntryFinding::Revocation { index, what: RevocationFinding::Incomplete });
        };
        let is_issued = self.serials.contains(&id(&issuer.spki_sha256, serial));
        for what in self.revocations.revoked(index, &issuer.spki_sha256, serial, is_issued) {
            self.find(EntryFinding::Revocation { index, what });
        }
    }

    fn find(&mut self, finding: EntryFinding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.findings_dropped += 1;
        }
    }
}

impl Visitor for Entries {
    fn entry(&mut self, index: u64, bytes: &[u8]) {
        match Summary::parse(bytes) {
            Ok(entry) => {
                if !hallmark_entry::is_canonical(bytes) {
                    self.find(EntryFinding::NotCanonical { index });
                }
                self.look_at(index, &entry);
            }
            Err(error) => self.find(EntryFinding::Unreadable { index, reason: error.to_string() }),
        }
    }

    fn progress(&mut self, progress: Progress) {
        self.bar.set_length(progress.size);
        self.bar.set_position(progress.entries);
    }
}

/// Whether an operator confirmed the clock here (`hallmarkd run --accept-clock`).
fn is_accepted_clock(entry: &Summary) -> bool {
    entry.kind == "operator-command"
        && entry.command.as_ref().is_some_and(|command| command.to_string() == ACCEPT_CLOCK)
}

/// How people name a digest.
pub(super) fn short(digest: &str) -> String {
    let start: String = digest.chars().take(16).collect();
    format!("{start}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(entries: &[&str]) -> Vec<String> {
        let mut seen = Entries::new(ProgressBar::hidden());
        for (entry, index) in entries.iter().zip(0..) {
            seen.entry(index, entry.as_bytes());
        }
        seen.close();
        seen.findings.iter().map(ToString::to_string).collect()
    }

    fn at(kind: &str, time: i64) -> String {
        format!(r#"{{"time":{time},"type":"{kind}","version":1}}"#)
    }

    fn accepted(time: i64) -> String {
        format!(r#"{{"command":"accept-clock","time":{time},"type":"operator-command","version":1}}"#)
    }

    fn issued(serial: &str, sequence: u64, time: i64) -> String {
        format!(
            r#"{{"decision":"issued","issuer":{{"sequence":{sequence},"spki-sha256":"aa"}},"serial":"{serial}","time":{time},"type":"decision","version":1}}"#
        )
    }

    #[test]
    fn a_gap_in_what_an_issuer_issued_is_found() {
        assert_eq!(findings(&[&issued("01", 1, 5), &issued("02", 2, 6)]), [""; 0]);
        assert_eq!(
            findings(&[&issued("01", 1, 5), &issued("02", 3, 6)]),
            ["entry 1 is number 3 of the issuer aa…, but 2 comes next; issued certificates are not logged"]
        );
    }

    #[test]
    fn a_serial_issued_twice_is_found() {
        assert_eq!(
            findings(&[&issued("01", 1, 5), &issued("01", 2, 6)]),
            ["entry 1 issues serial 01 of the issuer aa… a second time"]
        );
    }

    #[test]
    fn time_may_run_back_only_as_far_as_requests_overtake_each_other() {
        assert_eq!(findings(&[&at("heartbeat", 40_000), &at("heartbeat", 10_000)]), [""; 0]);
        assert_eq!(
            findings(&[&at("heartbeat", 41_000), &at("heartbeat", 10_000)]),
            ["entry 1 lies 31 s before an earlier entry; the clock was set back, or the order changed"]
        );
    }

    #[test]
    fn a_clock_that_was_set_back_and_confirmed_is_no_finding() {
        let start = [at("start", 900_000), at("policy-loaded", 900_000), at("clock-distrusted", 901_000)];
        let log: Vec<String> = [at("heartbeat", 4_000_000)].into_iter().chain(start).collect();
        let with = |more: &[String]| {
            let all: Vec<String> = log.iter().chain(more).cloned().collect();
            findings(&all.iter().map(String::as_str).collect::<Vec<_>>())
        };
        assert_eq!(with(&[]).len(), 3, "nobody confirmed");
        assert_eq!(with(&[accepted(902_000), issued("01", 1, 903_000)]), [""; 0]);
        assert_eq!(with(&[accepted(902_000), at("heartbeat", 100_000)]).len(), 1, "set back once more");
        assert_eq!(with(&[accepted(902_000), at("heartbeat", 4_000_000)]), [""; 0]);
    }

    #[test]
    fn what_was_issued_while_the_clock_ran_behind_stays_a_finding() {
        let log = [at("heartbeat", 4_000_000), issued("01", 1, 900_000), accepted(902_000)];
        let found = findings(&log.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(
            found,
            ["entry 1 lies 3100 s before an earlier entry; the clock was set back, or the order changed"]
        );
    }

    #[test]
    fn another_command_of_an_operator_confirms_no_clock() {
        let other = accepted(10_000).replace("accept-clock", "accept-clocks");
        assert_eq!(findings(&[&at("heartbeat", 4_000_000), &other]).len(), 1);
    }

    #[test]
    fn entries_of_unknown_type_are_counted_and_no_finding() {
        let mut seen = Entries::new(ProgressBar::hidden());
        seen.entry(0, br#"{"time":1,"type":"eclipse","version":2}"#);
        assert_eq!((seen.unknown_kinds, seen.later_versions, seen.findings.len()), (1, 1, 0));
    }

    #[test]
    fn what_is_no_canonical_entry_is_found() {
        let found = findings(&[r#"{"type":"start","time":1,"version":1}"#, "nonsense"]);
        assert_eq!(found[0], "entry 0 is not in canonical JSON (RFC 8785)");
        assert!(found[1].starts_with("entry 1 is no entry of this log's format"), "{}", found[1]);
    }
}
