//! The device's command log, held against what this process asked for.
//!
//! Every command that signs is counted here when it is sent, which is after the decision log has what is signed, and when it is answered. What the
//! device's log has beyond that, somebody else asked for; what it lacks, it does not keep. Whenever a part of the log was not seen, counting begins
//! anew: nobody knows what was in it, so that neither is said of it, and what was sent in that time is no allowance for later.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use hallmark_yubihsm::{ChainEnd, CommandLog, LogEntry};

use super::finding::Finding;

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
    counts: BTreeMap<u16, Counts>,
    since_read: u64,
    end: Option<ChainEnd>,
    /// A log was read, so that what comes is of this process's time.
    begun: bool,
    /// What was said and stays so.
    said: BTreeSet<String>,
    unlogged: u32,
}

/// Of one key, since its counting began.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    sent: u64,
    answered: u64,
    logged: u64,
    /// Of those that were sent, how many may be in a part of the log that was not seen.
    unseen: u64,
    /// The device is known to log what this key signs.
    is_kept: bool,
}

impl Counts {
    /// Begins anew with what was not answered when the log was asked for: it may be in what was read, and may yet come.
    fn begin_anew(&mut self, answered: u64) {
        self.sent = self.sent.saturating_sub(answered);
        self.answered = self.answered.saturating_sub(answered);
        self.logged = 0;
        self.unseen = self.sent;
    }
}

/// What was answered when the log was asked for.
#[derive(Clone, Debug)]
pub(super) struct Answered(BTreeMap<u16, u64>);

impl Answered {
    fn of(&self, key: u16) -> u64 {
        self.0.get(&key).copied().unwrap_or_default()
    }
}

impl Tally {
    pub(super) fn new(own: u16) -> Self {
        Self { own, state: Mutex::default() }
    }

    /// A key is about to be used. Says whether the log should be read soon.
    pub(super) fn sends(&self, key: u16) -> bool {
        let mut state = self.lock();
        state.counts.entry(key).or_default().sent += 1;
        state.since_read += 1;
        let soon = state.since_read >= READ_AFTER;
        if soon {
            // A log that cannot be read is not tried at each signature.
            state.since_read = 0;
        }
        soon
    }

    /// The device said that it did not use it.
    pub(super) fn was_not_done(&self, key: u16) {
        if let Some(counts) = self.lock().counts.get_mut(&key) {
            counts.sent = counts.sent.saturating_sub(1);
        }
    }

    /// There is a signature.
    pub(super) fn was_answered(&self, key: u16) {
        self.lock().counts.entry(key).or_default().answered += 1;
    }

    /// Called before the log is asked for: what is answered by then must be in it. Until `compare` nobody else may ask.
    pub(super) fn asks(&self) -> Answered {
        let mut state = self.lock();
        state.since_read = 0;
        Answered(state.counts.iter().map(|(key, counts)| (*key, counts.answered)).collect())
    }

    /// Holds a log against the counts. `ours` are the keys of this signer. Each finding is told once.
    pub(super) fn compare(&self, log: &CommandLog, before: &Answered, ours: &BTreeSet<u16>) -> Vec<Finding> {
        let mut state = self.lock();
        let mut findings = Vec::new();
        let new = state.follow(log, &mut findings);
        let mut signatures = 0;
        let mut logged_first = BTreeSet::new();
        for entry in new.entries {
            let Some(key) = entry.signer().filter(|key| ours.contains(key) || state.counts.contains_key(key)) else {
                continue;
            };
            let authentication_key = entry.session_key;
            if authentication_key != self.own {
                findings.push(Finding::ByAnother { key, authentication_key, entry: entry.number });
                continue;
            }
            signatures += 1;
            let counts = state.counts.entry(key).or_default();
            counts.logged += 1;
            if !std::mem::replace(&mut counts.is_kept, true) {
                logged_first.insert(key);
            }
        }
        if std::mem::replace(&mut state.begun, true) {
            state.count(before, &new, &logged_first, &mut findings);
        } else {
            // Some of these may be of this process, if it signed before it could read.
            let sent: u64 = state.counts.values().map(|counts| counts.sent).sum();
            if signatures > sent {
                findings.push(Finding::Before { signatures: signatures - sent });
            }
            state.begin_anew(before);
        }
        findings.retain(|finding| !finding.is_standing() || state.said.insert(finding.to_string()));
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

    /// Compares the counts. What was told is not counted again.
    fn count(&mut self, before: &Answered, new: &New<'_>, logged_first: &BTreeSet<u16>, findings: &mut Vec<Finding>) {
        for (key, counts) in &mut self.counts {
            let answered = before.of(*key);
            let Counts { sent, logged, unseen, is_kept, .. } = *counts;
            let is_settled = if logged > sent {
                findings.push(Finding::Unasked { key: *key, logged, sent });
                true
            } else if !new.nothing_is_missing {
                true
            } else if !is_kept {
                findings.extend((answered > 0).then_some(Finding::NotKept { key: *key }));
                true
            } else if logged + unseen < answered {
                // Where these are the first that are logged, that was turned on meanwhile.
                let missing = Finding::Missing { key: *key, logged, answered };
                findings.extend((!logged_first.contains(key)).then_some(missing));
                true
            } else {
                // Nothing is under way, so that nothing unseen is to come either.
                unseen > 0 && sent == answered
            };
            if is_settled {
                counts.begin_anew(answered);
            }
        }
    }

    fn begin_anew(&mut self, before: &Answered) {
        for (key, counts) in &mut self.counts {
            counts.begin_anew(before.of(*key));
        }
    }
}
