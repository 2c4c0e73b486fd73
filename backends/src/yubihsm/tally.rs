//! The device's command log, held against what this process asked for.
//!
//! Every command that signs is counted here when it is sent, which is after the decision log has what is signed, and when it is answered. What the
//! device's log has beyond that, somebody else asked for; what it lacks, it does not keep.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use hallmark_yubihsm::{ChainEnd, CommandLog, LogEntry};

/// How many commands make it worth to read the log before its time: a device holds 62 entries.
const READ_AFTER: u64 = 20;

/// What was sent, answered and logged, since this process started.
#[derive(Debug)]
pub(super) struct Tally {
    /// The authentication key of this process.
    own: u16,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sent: BTreeMap<u16, u64>,
    answered: BTreeMap<u16, u64>,
    logged: BTreeMap<u16, u64>,
    since_read: u64,
    end: Option<ChainEnd>,
    /// A log was read, so that what comes is of this process's time.
    begun: bool,
    /// What was said and stays so.
    said: BTreeSet<String>,
    unlogged: u32,
}

/// What was answered when the log was asked for.
#[derive(Clone, Debug)]
pub(super) struct Answered(BTreeMap<u16, u64>);

/// What is not as it should be with a command log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// A key of this signer signed for somebody else.
    ByAnother { key: u16, authentication_key: u16, entry: u16 },
    /// A key signed for this authentication key more often than this process asked.
    Unasked { key: u16, logged: u64, sent: u64 },
    /// The device gave signatures that its log does not have, though it keeps one.
    Missing { key: u16, logged: u64, answered: u64 },
    /// It keeps no log of signatures.
    NotKept,
    /// An entry does not follow the one before.
    Broken { entry: u16 },
    /// Entries were overwritten before they were read.
    Overwritten { entries: u16 },
    /// Entries that the client library does not read.
    Unread { after: Option<u16>, entries: usize },
    /// Things that the device had no room to log.
    NoRoom { boots: u16, authentications: u16 },
    /// What it signed for this authentication key before this process read its log for the first time.
    Before { signatures: u64 },
}

impl Finding {
    /// Whether somebody has to look at it at once.
    pub(super) fn is_alarming(&self) -> bool {
        match self {
            Self::ByAnother { .. } | Self::Unasked { .. } | Self::Missing { .. } | Self::Broken { .. } => true,
            Self::NotKept
            | Self::Overwritten { .. }
            | Self::Unread { .. }
            | Self::NoRoom { .. }
            | Self::Before { .. } => false,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByAnother { key, authentication_key, entry } => write!(
                f,
                "key {key:#06x} signed for authentication key {authentication_key:#06x} (entry {entry}): this signer did not ask for it; find out who has that key's \
                 password, and treat the CA key as stolen"
            ),
            Self::Unasked { key, logged, sent } => write!(
                f,
                "key {key:#06x} signed {logged} times for this signer's authentication key, which asked {sent} times: somebody else has its password; treat the CA \
                 key as stolen"
            ),
            Self::Missing { key, logged, answered } => write!(
                f,
                "key {key:#06x} gave {answered} signatures, of which the device's log has {logged}: have the device examined"
            ),
            Self::NotKept => f.write_str(
                "the device does not log signatures, so that nothing is compared with the decision log; turn it on with yubihsm-shell (put option command-audit)",
            ),
            Self::Broken { entry } => write!(
                f,
                "entry {entry} of the device's command log does not follow the one before: something between here and the device changes what it says, or it is another device"
            ),
            Self::Overwritten { entries } => write!(
                f,
                "{entries} entries of the device's command log were overwritten before they were read; with force-audit, none is"
            ),
            Self::Unread { after, entries } => {
                write!(f, "{entries} entries of the device's command log are not read by the client library, ")?;
                match after {
                    Some(after) => write!(f, "from {} on, ", after.wrapping_add(1))?,
                    None => f.write_str("from the first on, ")?,
                }
                f.write_str("which is a start of the device, most likely; look at them with yubihsm-shell (audit get), and say that they are read (audit set)")
            }
            Self::NoRoom { boots, authentications } => write!(
                f,
                "the device had no room to log {boots} starts and {authentications} openings of sessions; its log is read too seldom"
            ),
            Self::Before { signatures } => write!(
                f,
                "the device's command log has {signatures} signatures for this signer's authentication key from before this start; `hallmark log reconcile` compares them"
            ),
        }
    }
}

impl Tally {
    pub(super) fn new(own: u16) -> Self {
        Self { own, state: Mutex::default() }
    }

    /// A key is about to be used. Says whether the log should be read soon.
    pub(super) fn sends(&self, key: u16) -> bool {
        let mut state = self.lock();
        *state.sent.entry(key).or_default() += 1;
        state.since_read += 1;
        state.since_read == READ_AFTER
    }

    /// The device said that it did not use it.
    pub(super) fn was_not_done(&self, key: u16) {
        if let Some(sent) = self.lock().sent.get_mut(&key) {
            *sent = sent.saturating_sub(1);
        }
    }

    /// There is a signature.
    pub(super) fn was_answered(&self, key: u16) {
        *self.lock().answered.entry(key).or_default() += 1;
    }

    /// Called before the log is asked for: what is answered by then must be in it.
    pub(super) fn asks(&self) -> Answered {
        let mut state = self.lock();
        state.since_read = 0;
        Answered(state.answered.clone())
    }

    /// Holds a log against the counts. `ours` are the keys of this signer. Each finding is told once.
    pub(super) fn compare(&self, log: &CommandLog, before: &Answered, ours: &BTreeSet<u16>) -> Vec<Finding> {
        let mut state = self.lock();
        let mut findings = Vec::new();
        let is_whole = state.follow(log, &mut findings);
        for entry in is_whole.entries {
            if !entry.signed() || !(ours.contains(&entry.target_key) || state.sent.contains_key(&entry.target_key)) {
                continue;
            }
            let (key, authentication_key) = (entry.target_key, entry.session_key);
            if authentication_key != self.own {
                findings.push(Finding::ByAnother { key, authentication_key, entry: entry.number });
            } else if state.begun {
                *state.logged.entry(key).or_default() += 1;
            }
        }
        let earlier = is_whole.entries.iter().filter(|entry| entry.signed() && entry.session_key == self.own).count();
        if !state.begun && earlier > 0 {
            findings.push(Finding::Before { signatures: u64::try_from(earlier).unwrap_or(u64::MAX) });
        }
        let begun = std::mem::replace(&mut state.begun, true);
        if begun {
            state.count(before, is_whole.nothing_is_missing, &mut findings);
        }
        findings.retain(|finding| state.said.insert(finding.to_string()));
        findings
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The entries that are new.
struct New<'a> {
    entries: &'a [LogEntry],
    /// Neither overwritten nor unread.
    nothing_is_missing: bool,
}

impl State {
    /// Finds what is new, and whether it follows what was read before.
    fn follow<'a>(&mut self, log: &'a CommandLog, findings: &mut Vec<Finding>) -> New<'a> {
        let CommandLog { unlogged_boots: boots, unlogged_authentications: authentications, entries, unread } = log;
        let unlogged = u32::from(*boots) + u32::from(*authentications);
        if unlogged > self.unlogged {
            findings.push(Finding::NoRoom { boots: *boots, authentications: *authentications });
        }
        self.unlogged = unlogged;
        let seen = self.end.and_then(|end| entries.iter().position(|entry| entry.end() == end));
        let new = seen.map_or(&entries[..], |seen| entries.get(seen + 1..).unwrap_or_default());
        let mut nothing_is_missing = *unread == 0;
        for entry in new {
            match self.end {
                Some(end) if !entry.follows(end) => {
                    let skipped = entry.number.wrapping_sub(end.number).wrapping_sub(1);
                    // One number is given once.
                    if skipped == 0 || skipped > u16::MAX / 2 {
                        findings.push(Finding::Broken { entry: entry.number });
                    } else {
                        findings.push(Finding::Overwritten { entries: skipped });
                    }
                    nothing_is_missing = false;
                }
                Some(_) | None => {}
            }
            self.end = Some(entry.end());
        }
        if *unread > 0 {
            findings.push(Finding::Unread { after: entries.last().map(|entry| entry.number), entries: *unread });
        }
        New { entries: new, nothing_is_missing }
    }

    fn count(&self, before: &Answered, nothing_is_missing: bool, findings: &mut Vec<Finding>) {
        for (key, logged) in &self.logged {
            let sent = self.sent.get(key).copied().unwrap_or_default();
            if *logged > sent {
                findings.push(Finding::Unasked { key: *key, logged: *logged, sent });
            }
        }
        if !nothing_is_missing {
            return;
        }
        let keeps = !self.logged.is_empty();
        for (key, answered) in &before.0 {
            let logged = self.logged.get(key).copied().unwrap_or_default();
            if keeps && logged < *answered {
                findings.push(Finding::Missing { key: *key, logged, answered: *answered });
            }
        }
        if !keeps && before.0.values().any(|answered| *answered > 0) {
            findings.push(Finding::NotKept);
        }
    }
}
