//! What witnesses stand for: initials at each step, and signatures over the transcript.
//!
//! A witness who has a key puts the signature beside the transcript as `TRANSCRIPT.INITIALS.sig`.

use std::path::Path;

use hallmark_entry::Value;
use hallmark_policy::time::UnixTime;

use super::{Verdict, is};
use crate::{
    meaning::beside,
    output,
    transcript::{Present, Transcript},
};

/// Every step that was to be confirmed was, by everybody; and the log says so, too.
pub(super) fn confirmed(read: &Transcript, log: &[Vec<u8>], verdict: &mut Verdict) {
    if read.confirmations.is_empty() {
        let sentence = "nobody confirmed anything: it was run without people";
        if read.witnesses.is_empty() {
            verdict.holds.push(sentence.to_owned())
        } else {
            verdict.broken.push(sentence.to_owned())
        }
        return;
    }
    let missing: Vec<String> = read
        .steps
        .iter()
        .flat_map(|done| read.witnesses.iter().map(move |witness| (done, witness)))
        .filter(|(done, witness)| {
            !read.confirmations.iter().any(|found| found.step == done.step && found.by == witness.name)
        })
        .map(|(done, witness)| format!("`{}` by {}", done.step, witness.name))
        .collect();
    let entries = read.log.entries.iter().filter_map(|index| log.get(usize::try_from(*index).ok()?));
    let logged: Vec<_> = entries
        .filter_map(|entry| Value::read(entry))
        .filter(|entry| is(entry, "action", "confirmed") && is(entry, "ceremony", &read.ceremony))
        .filter_map(|entry| entry.member("step").and_then(Value::text))
        .collect();
    // What was confirmed before the log was open cannot stand in it.
    let open = read.confirmations.iter().skip_while(|found| !logged.contains(&found.step.as_str()));
    let unlogged: Vec<_> =
        open.filter(|found| !logged.contains(&found.step.as_str())).map(|found| found.step.clone()).collect();
    verdict.look(
        missing.is_empty(),
        format!("every step was confirmed by {}", names(&read.witnesses)),
        format!("these were not confirmed: {}", missing.join(", ")),
    );
    verdict.look(
        unlogged.is_empty(),
        "the log says who confirmed what before it was done",
        format!("the log does not say who confirmed {}", unlogged.join(", ")),
    );
}

fn names(witnesses: &[Present]) -> String {
    witnesses.iter().map(|witness| witness.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Every witness who has a key signed the transcript, by a key that was good when the ceremony ended.
pub(super) fn signed(read: &Transcript, bytes: &[u8], transcript: &Path, verdict: &mut Verdict) {
    let ended = UnixTime::from_secs(read.steps.last().map_or(0, |done| done.at).div_euclid(1_000));
    for witness in &read.witnesses {
        let key = match witness.key() {
            Ok(None) => continue,
            Ok(Some(key)) => Ok(key),
            Err(sentence) => Err(sentence),
        };
        let path = beside(transcript, &format!("{}.sig", witness.initials));
        let found = || output::read(&path).map_err(|error| error.to_string());
        let result =
            key.map_err(str::to_owned).and_then(|key| key.signed(bytes, &found()?, ended).map_err(str::to_owned));
        match result {
            Ok(()) => verdict.holds.push(format!("{} signed the transcript", witness.name)),
            Err(sentence) => verdict.broken.push(format!("{} did not sign the transcript: {sentence}", witness.name)),
        }
    }
}
