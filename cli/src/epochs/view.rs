//! Epochs as people and programs see them.

use hallmark_proto::signer::{EpochState, EpochStatus};
use serde_json::{Value, json};

use crate::{chain::epoch_to_json, screen::printable, table::Table, when};

/// Digits of a digest where it is only to be told from others.
pub(super) const DIGITS_SHORT: usize = 16;

/// Callers that a row names.
const FETCHED_SHOWN_MAX: usize = 3;

/// What stands where there is nothing to say.
const NONE: &str = "-";

const SECS_PER_HOUR: i64 = 3_600;
const SECS_PER_DAY: i64 = 86_400;

/// From how many days before the end on it is said, and in which word: the first that fits.
const WARNINGS_DAYS: [(i64, &str); 4] = [(1, "urgent:"), (7, "warning:"), (30, "warning:"), (60, "note:")];

/// How far an epoch is, in one word.
pub(crate) fn state(epoch: &EpochStatus) -> &'static str {
    match epoch.state() {
        EpochState::Unspecified => "unknown",
        EpochState::Intent => "intent",
        EpochState::Keyed => "keyed",
        EpochState::Prepared => "prepared",
        EpochState::Active => "active",
        EpochState::Retired => "retired",
        EpochState::Destroyed => "destroyed",
        EpochState::Aborted => "aborted",
    }
}

/// Generation; 0 if the signer says none.
pub(crate) fn generation(epoch: &EpochStatus) -> u64 {
    epoch.epoch.as_ref().map_or(0, |epoch| epoch.generation)
}

/// Transition, in all its digits or in as many as tell it from others.
pub(crate) fn transition(epoch: &EpochStatus, full: bool) -> String {
    let digits = epoch.epoch.as_ref().map(|epoch| hallmark_policy::hex(&epoch.transition)).unwrap_or_default();
    if full { digits } else { digits.chars().take(DIGITS_SHORT).collect() }
}

/// The table: one row an epoch, newest first.
pub(crate) fn table(epochs: &[EpochStatus], full: bool, now: i64) -> Table {
    let mut table = Table::new();
    table.row(["GENERATION", "STATE", "TRANSITION", "VALID UNTIL", "LEFT", "ACTIVE SINCE", "REVOKED", "FETCHED BY"]);
    for epoch in epochs {
        table.row([
            &generation(epoch).to_string(),
            state(epoch),
            &transition(epoch, full),
            &time(epoch.not_after),
            &epoch.not_after.map_or_else(|| NONE.to_owned(), |end| left(end, now)),
            &time(epoch.active_at),
            if epoch.revoked { "yes" } else { NONE },
            &fetched_in_short(epoch),
        ]);
    }
    table
}

/// Everything about one epoch.
pub(super) fn details(epoch: &EpochStatus, now: i64) -> Table {
    let hex = |bytes: &[u8]| if bytes.is_empty() { NONE.to_owned() } else { hallmark_policy::hex(bytes) };
    let of_epoch = epoch.epoch.clone().unwrap_or_default();
    let mut table = Table::new();
    table.row(["state", state(epoch)]);
    table.row(["transition", &hex(&of_epoch.transition)]);
    table.row(["previous", &previous(epoch)]);
    table.row(["manifest SHA-256", &hex(&of_epoch.manifest_sha256)]);
    table.row(["key SHA-256", &hex(&epoch.spki_sha256)]);
    table.row(["intermediate SHA-256", &hex(&epoch.intermediate_sha256)]);
    table.row(["mesh CA SHA-256", &hex(&epoch.mesh_ca_sha256)]);
    match (epoch.not_before, epoch.not_after) {
        (Some(from), Some(to)) => {
            table.row([
                "valid",
                &format!("{} to {}, {}", when::rfc3339(from), when::rfc3339(to), left_in_words(to, now)),
            ]);
        }
        (None, _) | (_, None) => table.row(["valid", NONE]),
    }
    for (name, at) in [
        ("wanted", Some(epoch.intent_at)),
        ("active since", epoch.active_at),
        ("replaced", epoch.retired_at),
        ("key destroyed", epoch.destroyed_at),
    ] {
        table.row([name, &time(at)]);
    }
    table.row(["revoked", if epoch.revoked { "yes: it stands on the root's CRL" } else { "no" }]);
    table.list("fetched by", fetched(epoch).iter().map(String::as_str));
    table
}

/// Who has fetched its chain, one line each; one line if nobody has.
pub(crate) fn fetched(epoch: &EpochStatus) -> Vec<String> {
    if epoch.fetched.is_empty() {
        return vec!["nobody".to_owned()];
    }
    let name = |fetched: &hallmark_proto::signer::Fetched| format!("{}, {}", fetched.caller, when::rfc3339(fetched.at));
    epoch.fetched.iter().map(name).collect()
}

/// How long an epoch lasts still, in words that fit a sentence.
pub(crate) fn left_in_words(end: i64, now: i64) -> String {
    if end < now { "which has passed".to_owned() } else { format!("{} left", left(end, now)) }
}

/// What should be done about ends that come near. Only active epochs count: the ends of others stop nothing.
pub(crate) fn warnings(epochs: &[EpochStatus], now: i64) -> Vec<Warning> {
    let active = epochs.iter().filter(|epoch| epoch.state() == EpochState::Active);
    active.filter_map(|epoch| Warning::of(epoch, now)).collect()
}

/// The end of an active epoch is near, or has come.
#[derive(Clone, Debug)]
pub(crate) struct Warning {
    /// How urgent it is, in a word.
    pub(crate) word: &'static str,
    /// What is the case, in a sentence.
    pub(crate) sentence: String,
}

impl Warning {
    fn of(epoch: &EpochStatus, now: i64) -> Option<Self> {
        let end = epoch.not_after?;
        let generation = generation(epoch);
        if end < now {
            let sentence = format!(
                "the active epoch, generation {generation}, ended at {}: nothing is minted",
                when::rfc3339(end)
            );
            return Some(Self { word: "urgent:", sentence });
        }
        let word = urgency(end - now, epoch.not_before.map(|begin| end - begin))?;
        let sentence = format!(
            "the active epoch, generation {generation}, ends in {}, at {}; no certificate outlives it",
            left(end, now),
            when::rfc3339(end)
        );
        Some(Self { word, sentence })
    }
}

/// How urgent it is that so much time is left of a life. Who gave an epoch 30 days need not hear of it from the first day on: numbers
/// of days over half of its life do not count, and where none counts, the last tenth does.
fn urgency(left_secs: i64, life_secs: Option<i64>) -> Option<&'static str> {
    let counts = |days: i64| life_secs.is_none_or(|life| days * SECS_PER_DAY * 2 <= life);
    let mut counting = WARNINGS_DAYS.into_iter().filter(|(days, _)| counts(*days)).peekable();
    if counting.peek().is_none() {
        return life_secs.filter(|life| left_secs * 10 <= *life).map(|_| "urgent:");
    }
    counting.find(|(days, _)| left_secs <= days * SECS_PER_DAY).map(|(_, word)| word)
}

/// An epoch in JSON.
pub(crate) fn to_json(epoch: &EpochStatus) -> Value {
    let hex = |bytes: &[u8]| if bytes.is_empty() { Value::Null } else { hallmark_policy::hex(bytes).into() };
    let time = |at: Option<i64>| at.map(when::rfc3339);
    json!({
        "epoch": epoch.epoch.as_ref().map(epoch_to_json),
        "state": state(epoch),
        "previous": hex(&epoch.previous),
        "spki-sha256": hex(&epoch.spki_sha256),
        "intermediate-sha256": hex(&epoch.intermediate_sha256),
        "mesh-ca-sha256": hex(&epoch.mesh_ca_sha256),
        "not-before": time(epoch.not_before),
        "not-after": time(epoch.not_after),
        "intent-at": when::rfc3339(epoch.intent_at),
        "active-at": time(epoch.active_at),
        "retired-at": time(epoch.retired_at),
        "destroyed-at": time(epoch.destroyed_at),
        "revoked": epoch.revoked,
        "fetched": epoch.fetched.iter().map(|fetched| json!({
            "caller": fetched.caller,
            "at": when::rfc3339(fetched.at),
        })).collect::<Vec<_>>(),
    })
}

fn previous(epoch: &EpochStatus) -> String {
    if epoch.previous.iter().all(|byte| *byte == 0) {
        return "none: it is the first".to_owned();
    }
    hallmark_policy::hex(&epoch.previous)
}

fn fetched_in_short(epoch: &EpochStatus) -> String {
    let names: Vec<_> = epoch.fetched.iter().map(|fetched| printable(&fetched.caller).into_owned()).collect();
    match names.get(FETCHED_SHOWN_MAX..).map(<[_]>::len).filter(|more| *more > 0) {
        Some(more) => {
            format!("{} and {more} more", names.iter().take(FETCHED_SHOWN_MAX).cloned().collect::<Vec<_>>().join(", "))
        }
        None if names.is_empty() => NONE.to_owned(),
        None => names.join(", "),
    }
}

fn time(at: Option<i64>) -> String {
    at.map_or_else(|| NONE.to_owned(), when::rfc3339)
}

/// The time until an end, rounded down: days, or hours on the last day.
fn left(end: i64, now: i64) -> String {
    let count = |value: i64, unit| when::count(u64::try_from(value).unwrap_or(0), unit);
    match end - now {
        past if past < 0 => "ended".to_owned(),
        secs if secs < SECS_PER_HOUR => "under an hour".to_owned(),
        secs if secs < SECS_PER_DAY => count(secs / SECS_PER_HOUR, "hour"),
        secs => count(secs / SECS_PER_DAY, "day"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn active(days: i64) -> EpochStatus {
        EpochStatus { state: EpochState::Active.into(), not_after: Some(days * SECS_PER_DAY), ..EpochStatus::default() }
    }

    #[test]
    fn ends_are_warned_of_from_60_30_7_and_1_days_on() {
        let words = |days| warnings(&[active(days)], 0).first().map(|warning| warning.word);
        assert_eq!(
            [61, 60, 31, 30, 8, 7, 2, 1, 0].map(words),
            [
                None,
                Some("note:"),
                Some("note:"),
                Some("warning:"),
                Some("warning:"),
                Some("warning:"),
                Some("warning:"),
                Some("urgent:"),
                Some("urgent:"),
            ]
        );
        assert_eq!(words(-1), Some("urgent:"));
        let retired = EpochStatus { state: EpochState::Retired.into(), ..active(1) };
        assert!(warnings(&[retired], 0).is_empty(), "nothing ends with it");
    }

    #[test]
    fn an_epoch_of_30_days_is_warned_of_from_7_days_on_and_one_of_an_hour_in_its_last_minutes() {
        let words = |lefts: [i64; 4], life| lefts.map(|left| urgency(left, Some(life)));
        let days = [30, 14, 7, 1].map(|days| days * SECS_PER_DAY);
        assert_eq!(words(days, 30 * SECS_PER_DAY), [None, None, Some("warning:"), Some("urgent:")]);
        let minutes = [60, 7, 6, 1].map(|minutes| minutes * 60);
        assert_eq!(words(minutes, SECS_PER_HOUR), [None, None, Some("urgent:"), Some("urgent:")]);
    }

    #[test]
    fn what_is_left_is_rounded_down() {
        assert_eq!(
            [2 * SECS_PER_DAY - 1, SECS_PER_DAY, SECS_PER_DAY - 1, 3_599, -1].map(|end| left(end, 0)),
            ["1 day", "1 day", "23 hours", "under an hour", "ended"]
        );
    }
}
