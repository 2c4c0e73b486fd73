//! Warnings before CA certificates end: each once at 60, 30, 7 and 1 days, in the daemon's log and at every start.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use hallmark_ledger::{Answer, Epochs};
use hallmark_policy::{
    stored_validity,
    time::{Interval, UnixTime},
};

use crate::core::Inner;

/// Days before an end at which it is warned, first to last.
pub(crate) const WARNING_DAYS: [u64; 4] = [60, 30, 7, 1];

const DAY_SECS: u64 = 86_400;

/// What was warned of already, and at how many days.
#[derive(Default)]
pub(crate) struct Warned {
    certificates: Mutex<BTreeMap<String, u64>>,
}

/// The number of days at which a warning is due: the last that was passed, or 0 where nothing is left. Nothing where the end is far. Who gave
/// a certificate 30 days need not hear of it from the first day on: numbers of days over half of its life do not count, and where none counts, the
/// last tenth of it counts as one day.
fn due(left_secs: u64, life_secs: u64) -> Option<u64> {
    if left_secs == 0 {
        return Some(0);
    }
    let counting = || WARNING_DAYS.into_iter().filter(|days| days * DAY_SECS * 2 <= life_secs);
    match counting().next() {
        Some(_) => counting().rfind(|days| left_secs <= days * DAY_SECS),
        None => (left_secs.saturating_mul(10) <= life_secs).then_some(1),
    }
}

impl Inner {
    /// Sentences about certificates that end soon, of which it was not warned yet.
    pub(crate) fn expiring(&self) -> Vec<String> {
        let now = self.clock.wall().time;
        let Ok(records) = self.ledger.authorities() else { return Vec::new() };
        let (mut sentences, mut looked_at) = (Vec::new(), BTreeSet::new());
        for record in records {
            let name = &record.name;
            let mut look = |what: String, answer: Option<&Answer>| {
                sentences.extend(self.warn(&what, answer, now));
                looked_at.insert(what);
            };
            look(format!("the root certificate of `{name}`"), record.root.as_ref());
            for which in [Epochs::Active, Epochs::Making] {
                let Ok(Some(epoch)) = self.ledger.epoch(name, which) else { continue };
                let generation = epoch.generation;
                for (what, answer) in [("intermediate", &epoch.intermediate), ("mesh CA", &epoch.mesh_ca)] {
                    look(format!("the {what} certificate of epoch {generation} of `{name}`"), answer.as_ref());
                }
            }
        }
        // Epochs that are over are not warned of any more.
        let mut warned = self.warned.certificates.lock().unwrap_or_else(PoisonError::into_inner);
        warned.retain(|what, _| looked_at.contains(what));
        drop(warned);
        sentences
    }

    fn warn(&self, what: &str, answer: Option<&Answer>, now: UnixTime) -> Option<String> {
        let Interval { not_before, not_after: end } =
            answer.and_then(|answer| stored_validity(&answer.to_be_signed))?;
        let days = due(end.secs_since(now), end.secs_since(not_before))?;
        let mut warned = self.warned.certificates.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.get(what).is_some_and(|before| *before <= days) {
            return None;
        }
        let sentence = if days == 0 {
            format!("{what} ended at {end}")
        } else {
            format!("{what} ends within {days} day(s), at {end}")
        };
        warned.insert(what.to_owned(), days);
        tracing::warn!("{sentence}; hint: rotate before; `hallmark epochs` shows how everything stands");
        Some(sentence)
    }
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
            (1, Some(1)),
            (0, Some(0)),
        ] {
            assert_eq!(due(left, days(365, 0)), wanted, "{left}");
        }
    }

    #[test]
    fn numbers_of_days_over_half_of_a_life_do_not_count() {
        let day = DAY_SECS;
        for (left, life, wanted) in [
            (30 * day, 30 * day, None),
            (7 * day, 30 * day, Some(7)),
            (day, day, None),
            (day / 10, day, Some(1)),
            (0, day, Some(0)),
        ] {
            assert_eq!(due(left, life), wanted, "{left} of {life}");
        }
    }
}
