//! What is checked of the entries together, beside the tree over them: their order.

use std::{collections::BTreeMap, io};

use hallmark_entry::schema::Misfit;

use super::{
    findings::FINDINGS_MAX,
    names::{NameFinding, Names},
    policies::Policies,
    revocations::{RevocationFinding, Revocations},
    seen::{AuthorityMark, Issued, Kind, Seen, What},
    serials::{Fault, Faults, Serials},
};
use crate::when;

/// How far an entry's time may lie behind that of an earlier one, in milliseconds. Requests are decided at the same time
/// and committed in another order; a signer whose clock is off by more stops minting.
pub(crate) const DISORDER_MILLIS_MAX: i64 = 30_000;

/// Different types that are counted apart; what comes on top is counted together.
const KINDS_MAX: usize = 1_000;

/// What types on top are counted as.
const OTHER_KINDS: &str = "(others)";

/// Issuers whose numbers are followed: some 10 MB. A signer that rotates every hour has as many in 14 years.
const ISSUERS_MAX: usize = 1 << 17;

/// Authorities that are frozen at one time; of more it is not looked at whether they issue.
const FROZEN_MAX: usize = 1 << 12;

/// What is wrong with an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EntryFinding {
    #[error("entry {index} is no entry of this log's format: {misfit}")]
    Misfit { index: u64, misfit: Misfit },
    #[error("entry {index} lies {behind_secs} s before an earlier entry; the clock was set back, or the order changed")]
    OutOfOrder { index: u64, behind_secs: i64 },
    #[error(
        "entry {index} is number {found} of the issuer {issuer}, but {wanted} comes next; issued certificates are not logged"
    )]
    SequenceGap { index: u64, issuer: String, wanted: u64, found: u64 },
    #[error("entry {index} issues the serial number that entry {earlier} issued, by the same issuer")]
    SerialTwice { index: u64, earlier: u64 },
    #[error("entry {index} says that something was issued, but not with which number and by whom")]
    IssuedIncomplete { index: u64 },
    #[error(
        "entry {index} has a leaf signed of an authority that entry {frozen} froze, and that nobody has thawed since"
    )]
    SignedWhileFrozen { index: u64, frozen: u64 },
    #[error("entry {index} {what}")]
    Revocation { index: u64, what: RevocationFinding },
    #[error("entry {index} {what}")]
    Name { index: u64, what: NameFinding },
}

/// A time in which a signer that ran should have logged a heartbeat, and did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Silence {
    /// The entry after it.
    pub(crate) index: u64,
    /// How long it was.
    pub(crate) secs: u64,
    /// When the entry before it was logged.
    pub(crate) since_millis: i64,
}

impl std::fmt::Display for Silence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (index, since) = (self.index, when::rfc3339_of_millis(self.since_millis));
        write!(
            f,
            "before entry {index} nothing was logged for {} from {since} on, not even a heartbeat",
            when::span(self.secs)
        )
    }
}

/// Looks at every entry, in order.
#[derive(Debug)]
pub(crate) struct Entries {
    pub(crate) kinds: BTreeMap<String, u64>,
    pub(crate) unknown_kinds: u64,
    pub(crate) other_versions: u64,
    pub(crate) issued: u64,
    pub(crate) crls: u64,
    pub(crate) revoked: u64,
    pub(crate) refused: u64,
    pub(crate) validated: u64,
    pub(crate) private: u64,
    pub(crate) opened: u64,
    pub(crate) issuers: BTreeMap<[u8; 32], u64>,
    /// Certificates of issuers on top of [`ISSUERS_MAX`], whose numbers were not followed.
    pub(crate) unnumbered: u64,
    /// The policies that came into force.
    pub(crate) policies: Policies,
    pub(crate) first_millis: Option<i64>,
    pub(crate) newest_millis: Option<i64>,
    pub(crate) findings: Vec<EntryFinding>,
    pub(crate) findings_dropped: u64,
    pub(crate) silences: Vec<Silence>,
    pub(crate) silences_dropped: u64,
    /// Entries out of order that issue nothing: a signer whose clock runs behind goes on logging, and mints nothing until an
    /// operator has confirmed the clock. They become findings if nobody does.
    unconfirmed: Vec<EntryFinding>,
    unconfirmed_dropped: u64,
    /// What it says of itself.
    pub(crate) names: Names,
    serials: Serials,
    revocations: Revocations,
    /// The authorities that are frozen, and the entry that froze each.
    frozen: BTreeMap<AuthorityMark, u64>,
    silence_millis_max: i64,
    /// The first entries may be gone: numbering begins with what is there.
    begins_later: bool,
    seen: u64,
    stopped: bool,
}

impl Entries {
    /// A silence longer than that is told, unless the signer was stopped or started anew.
    pub(crate) fn new(silence_secs_max: u64, begins_later: bool) -> Self {
        Self {
            kinds: BTreeMap::new(),
            unknown_kinds: 0,
            other_versions: 0,
            issued: 0,
            crls: 0,
            revoked: 0,
            refused: 0,
            validated: 0,
            private: 0,
            opened: 0,
            issuers: BTreeMap::new(),
            unnumbered: 0,
            policies: Policies::default(),
            first_millis: None,
            newest_millis: None,
            findings: Vec::new(),
            findings_dropped: 0,
            silences: Vec::new(),
            silences_dropped: 0,
            unconfirmed: Vec::new(),
            unconfirmed_dropped: 0,
            names: Names::default(),
            serials: Serials::default(),
            revocations: Revocations::default(),
            frozen: BTreeMap::new(),
            silence_millis_max: i64::try_from(silence_secs_max).unwrap_or(i64::MAX).saturating_mul(1_000),
            begins_later,
            seen: 0,
            stopped: false,
        }
    }

    /// How many CRLs were signed, as the log says, that it has lost.
    pub(crate) fn lost_crls(&self) -> u64 {
        self.revocations.lost
    }

    /// How many revocations and CRLs are of more issuers than are told apart.
    pub(crate) fn uncompared(&self) -> u64 {
        self.revocations.uncompared
    }

    /// The next entry.
    pub(crate) fn add(&mut self, index: u64, seen: Seen) -> io::Result<()> {
        let Seen { kind, time, what, misfit, private, opened, statement, policy } = seen;
        let is_first = self.begins_later && self.seen == 0;
        self.seen += 1;
        if let Some(what) = self.names.add(index, statement.map(|statement| *statement), is_first) {
            self.find(EntryFinding::Name { index, what });
        }
        if let Some(digest) = policy {
            self.policies.add(digest);
        }
        self.private += u64::from(private);
        self.opened += u64::from(opened);
        match kind {
            Kind::Known(name) => self.count(name),
            Kind::Unknown(name) => {
                self.unknown_kinds += 1;
                self.count(&name);
            }
            Kind::OtherVersion(name) => {
                self.other_versions += 1;
                self.count(&name);
            }
            Kind::None => {}
        }
        if let Some(misfit) = misfit {
            self.find(EntryFinding::Misfit { index, misfit: *misfit });
        }
        if let Some(millis) = time {
            self.look_at_time(index, millis, what);
        }
        self.stopped = what == What::Stop;
        match what {
            What::Issued(issued) => {
                self.issued += 1;
                self.look_at_issued(index, issued)?;
            }
            What::Refused => self.refused += 1,
            What::Validated => self.validated += 1,
            What::Incomplete => self.find(EntryFinding::IssuedIncomplete { index }),
            What::Crl(crl) => {
                self.crls += 1;
                for what in self.revocations.crl(&crl) {
                    self.find(EntryFinding::Revocation { index, what });
                }
            }
            What::Revoked { issuer, serial, partition } => {
                self.revoked += 1;
                self.revocations.revoked(index, issuer, partition);
                self.serials.revoke(serial, index)?;
            }
            What::Frozen(authority) => {
                if self.frozen.len() < FROZEN_MAX {
                    self.frozen.entry(authority).or_insert(index);
                }
            }
            What::LeafAgain(authority) => self.look_at_frozen(index, authority),
            What::Thawed(authority) => drop(self.frozen.remove(&authority)),
            What::ClockAccepted | What::Start | What::Stop | What::Other => {}
        }
        Ok(())
    }

    fn count(&mut self, kind: &str) {
        let is_one_more = self.kinds.len() >= KINDS_MAX && !self.kinds.contains_key(kind);
        let kind = if is_one_more { OTHER_KINDS } else { kind };
        match self.kinds.get_mut(kind) {
            Some(count) => *count += 1,
            None => drop(self.kinds.insert(kind.to_owned(), 1)),
        }
    }

    fn look_at_time(&mut self, index: u64, millis: i64, what: What) {
        self.first_millis = self.first_millis.or(Some(millis));
        let newest = self.newest_millis.unwrap_or(millis);
        if what == What::ClockAccepted {
            // From here on time runs from what the operator confirmed.
            self.newest_millis = Some(millis);
            self.unconfirmed.clear();
            self.unconfirmed_dropped = 0;
            return;
        }
        self.look_at_silence(index, newest, millis, what);
        let behind = newest.saturating_sub(millis);
        if behind > DISORDER_MILLIS_MAX {
            let finding = EntryFinding::OutOfOrder { index, behind_secs: behind / 1_000 };
            if matches!(what, What::Issued(_)) {
                self.find(finding);
            } else if self.unconfirmed.len() < FINDINGS_MAX {
                self.unconfirmed.push(finding);
            } else {
                self.unconfirmed_dropped += 1;
            }
        }
        self.newest_millis = Some(newest.max(millis));
    }

    /// A signer that runs logs a heartbeat at least; one that was stopped or killed begins with `start`.
    fn look_at_silence(&mut self, index: u64, newest: i64, millis: i64, what: What) {
        let silent = millis.saturating_sub(newest);
        if silent <= self.silence_millis_max || self.stopped || what == What::Start {
            return;
        }
        if self.silences.len() == FINDINGS_MAX {
            self.silences_dropped += 1;
        } else {
            let secs = u64::try_from(silent / 1_000).unwrap_or(0);
            self.silences.push(Silence { index, secs, since_millis: newest });
        }
    }

    /// All entries were seen: what nobody confirmed until now is a finding, and so is a serial number that came twice.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        for finding in std::mem::take(&mut self.unconfirmed) {
            self.find(finding);
        }
        self.findings_dropped += std::mem::take(&mut self.unconfirmed_dropped);
        let Faults { first, dropped } = std::mem::take(&mut self.serials).faults()?;
        self.findings_dropped += dropped;
        for (index, fault) in first {
            match fault {
                Fault::IssuedTwice { earlier } => self.find(EntryFinding::SerialTwice { index, earlier }),
                // What issued it may be in a bundle that is gone.
                Fault::NeverIssued if self.begins_later => {}
                Fault::NeverIssued => {
                    self.find(EntryFinding::Revocation { index, what: RevocationFinding::NeverIssued });
                }
                Fault::RevokedTwice { earlier } => {
                    self.find(EntryFinding::Revocation { index, what: RevocationFinding::Twice { earlier } });
                }
            }
        }
        Ok(())
    }

    fn look_at_issued(&mut self, index: u64, issued: Issued) -> io::Result<()> {
        let Issued { issuer, sequence: found, serial, leaf_of } = issued;
        if let Some(authority) = leaf_of {
            self.look_at_frozen(index, authority);
        }
        if self.issuers.len() >= ISSUERS_MAX && !self.issuers.contains_key(&issuer) {
            self.unnumbered += 1;
            return self.serials.add(serial, index);
        }
        let last = self.issuers.insert(issuer, found);
        let wanted = last.unwrap_or(0).saturating_add(1);
        if wanted != found && !(self.begins_later && last.is_none()) {
            self.find(EntryFinding::SequenceGap { index, issuer: short(&issuer), wanted, found });
        }
        self.serials.add(serial, index)
    }

    fn look_at_frozen(&mut self, index: u64, authority: AuthorityMark) {
        if let Some(frozen) = self.frozen.get(&authority).copied() {
            self.find(EntryFinding::SignedWhileFrozen { index, frozen });
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

/// How people name a digest.
pub(super) fn short(digest: &[u8; 32]) -> String {
    let start: String = hallmark_policy::hex(digest).chars().take(16).collect();
    format!("{start}…")
}

#[cfg(test)]
mod tests;
