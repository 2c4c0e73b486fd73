//! Warnings before CA certificates end: each once at 60, 30, 7 and 1 days, in the daemon's log and at every start.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use hallmark_ledger::{Answer, Epochs};
use hallmark_policy::{stored_validity, time::UnixTime};

use crate::core::Inner;

/// Days before an end at which it is warned, first to last.
pub(crate) const WARNING_DAYS: [u64; 4] = [60, 30, 7, 1];

const DAY_SECS: u64 = 86_400;

/// What was warned of already, and at how many days.
#[derive(Default)]
pub(crate) struct Warned {
    certificates: Mutex<BTreeMap<String, u64>>,
}

/// The number of days at which a warning is due: the last that was passed. Nothing where the end is far.
fn due(left_secs: u64) -> Option<u64> {
    WARNING_DAYS.into_iter().rfind(|days| left_secs <= days * DAY_SECS)
}

impl Inner {
    /// Sentences about certificates that end soon, of which it was not warned yet.
    pub(crate) fn expiring(&self) -> Vec<String> {
        let now = self.clock.wall().time;
        let Ok(records) = self.ledger.authorities() else { return Vec::new() };
        let mut sentences = Vec::new();
        for record in records {
            let name = &record.name;
            sentences.extend(self.warn(format!("the root certificate of `{name}`"), end(record.root.as_ref()), now));
            for which in [Epochs::Active, Epochs::Making] {
                let Ok(Some(epoch)) = self.ledger.epoch(name, which) else { continue };
                let generation = epoch.generation;
                for (what, answer) in [("intermediate", &epoch.intermediate), ("mesh CA", &epoch.mesh_ca)] {
                    let what = format!("the {what} certificate of epoch {generation} of `{name}`");
                    sentences.extend(self.warn(what, end(answer.as_ref()), now));
                }
            }
        }
        sentences
    }

    fn warn(&self, what: String, end: Option<UnixTime>, now: UnixTime) -> Option<String> {
        let end = end?;
        let days = due(end.secs_since(now))?;
        let mut warned = self.warned.certificates.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.get(&what).is_some_and(|before| *before <= days) {
            return None;
        }
        let sentence = if end <= now {
            format!("{what} ended at {end}")
        } else {
            format!("{what} ends within {days} day(s), at {end}")
        };
        warned.insert(what, days);
        tracing::warn!("{sentence}; hint: rotate before; `hallmark epochs` shows how everything stands");
        Some(sentence)
    }
}

fn end(answer: Option<&Answer>) -> Option<UnixTime> {
    answer.and_then(|answer| stored_validity(&answer.to_be_signed)).map(|validity| validity.not_after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_due_from_each_number_of_days_on() {
        let days = |days: u64, secs: u64| days * DAY_SECS + secs;
        for (left, wanted) in [
            (days(60, 1), None),
            (days(60, 0), Some(60)),
            (days(30, 1), Some(60)),
            (days(30, 0), Some(30)),
            (days(7, 0), Some(7)),
            (days(1, 1), Some(7)),
            (days(1, 0), Some(1)),
            (0, Some(1)),
        ] {
            assert_eq!(due(left), wanted, "{left}");
        }
    }
}
