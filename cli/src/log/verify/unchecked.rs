//! What was not checked, and what to do about what was found.

use super::{Audit, Verdict};
use crate::{log::entries_of, when};

impl Audit {
    /// A sentence for each thing that was not looked at.
    pub(super) fn not_checked(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        let mut say = |sentence: &str| sentences.push(sentence.to_owned());
        if self.quorum.asked == 0 {
            say("Others may be shown another log under the same key: no co-signatures of witnesses were checked.");
        }
        say(
            "Whether what the entries say is true: the certificates themselves were not looked at. See `hallmark log reconcile`.",
        );
        if self.anchor.is_none() && self.remembered.is_none() {
            say("Whether this log continues what you saw before: give an earlier checkpoint with --anchor.");
        }
        if self.under_other_keys > 0 {
            sentences.push(
                "Whether this log continues what you saw of it under another key: give that key, too; a file may hold both.".to_owned(),
            );
        }
        sentences.extend(self.not_given.iter().cloned());
        if let Some(entry) = self.report.ended_before {
            let entry = when::number(entry);
            sentences.push(format!(
                "What comes from entry {entry} on: so much was missing before it that nothing more was looked for."
            ));
        }
        if self.pruned_before > 0 {
            let pruned = when::number(self.pruned_before);
            sentences
                .push(format!("What the first {pruned} entries say: their bundles are pruned, and their hashes hold."));
        }
        let (private, opened) = (self.entries.private, self.entries.opened);
        if private > opened {
            let hidden = when::number(private - opened);
            sentences.push(format!("What {hidden} private values are: their salts are not here."));
        }
        if let Some(leftovers) = self.leftovers.as_ref().filter(|leftovers| leftovers.others > 0) {
            let others = when::count(leftovers.others, "file");
            sentences.push(format!("What {others} beside the log hold: they are no part of one."));
        }
        if self.leftovers.is_none() {
            sentences.push(
                "What else the server has: it was asked for what the checkpoint and the entries call for.".to_owned(),
            );
        }
        if self.has_previous {
            sentences.push("The hash tiles of the logs before, and what else lies there: only their last checkpoints, bundles, openings and policies were read.".to_owned());
        }
        if self.texts.missing > 0 {
            let missing = when::count(self.texts.missing, "policy text");
            sentences.push(format!("What {missing} say: entries bring them into force, and they are not here."));
        }
        let unfollowed = self.entries.unnumbered + self.entries.uncompared();
        if unfollowed > 0 {
            let unfollowed = entries_of(unfollowed);
            sentences.push(format!(
                "Whether {unfollowed} of further issuers follow each other: there are more issuers than are told apart."
            ));
        }
        let lost = self.entries.lost_crls();
        if lost > 0 {
            let lost = when::count(lost, "CRL");
            sentences.push(format!("What {lost} say: the signer says that they were signed before an older database was restored, and the log has lost them."));
        }
        let unknown = self.entries.unknown_kinds + self.entries.other_versions;
        if unknown > 0 {
            let unknown = entries_of(unknown);
            sentences.push(format!("What {unknown} of unknown types or versions say: a newer program knows them."));
        }
        sentences
    }

    /// What to do, where it is not good.
    pub(super) fn hint(&self) -> Option<&'static str> {
        let silent = !self.entries.silences.is_empty();
        let says_more = self.leftovers.as_ref().and_then(|left| left.pruned_before) > Some(self.pruned_before);
        match self.verdict() {
            Verdict::Good => None,
            Verdict::Doubtful if !self.quorum.is_there() => {
                Some("fetch the log again: witnesses co-sign a little later")
            }
            Verdict::Doubtful if silent => {
                Some("ask whoever runs the signer what happened then; --silence says how long it may be silent")
            }
            Verdict::Doubtful if self.age_millis.is_some_and(|age| age < 0) => {
                Some("set this machine's clock; if it is right, ask whoever runs the signer about theirs")
            }
            Verdict::Doubtful => {
                Some("fetch the log again; if it stays so, ask whoever runs the signer why it stands still")
            }
            // With --previous, what it says is there.
            Verdict::Failed if says_more && !self.has_previous => Some(
                "`pruned-before` says how many entries have no bundles here: if that is what whoever runs the signer states, give --pruned-before; if they went on under another name, give --previous",
            ),
            Verdict::Failed => {
                Some("fetch the log again; if it stays so, keep this copy and ask whoever runs the signer")
            }
        }
    }
}
