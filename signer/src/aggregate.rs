//! Calls that were turned away before any work: counted, and one entry for each caller, method, reason and minute.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use hallmark_ledger::{Event, UnixMillis};

/// How long calls are counted before an entry says how many they were.
pub(crate) const WINDOW_SECS: u64 = 60;

/// Most different entries of one window; what is beyond is counted under `other`.
const KEYS_MAX: usize = 1_000;

/// Counts of the running window.
#[derive(Default)]
pub(crate) struct Aggregates {
    counts: Mutex<BTreeMap<(String, String, String), Count>>,
}

#[derive(Clone, Copy)]
struct Count {
    calls: u64,
    from: UnixMillis,
    to: UnixMillis,
}

impl Aggregates {
    /// Counts one call.
    pub(crate) fn count(&self, caller: String, method: String, reason: String, at: UnixMillis) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (caller, method, reason);
        let full = counts.len() >= KEYS_MAX && !counts.contains_key(&key);
        let key = if full { ("other".to_owned(), String::new(), "OTHER".to_owned()) } else { key };
        let count = counts.entry(key).or_insert(Count { calls: 0, from: at, to: at });
        count.calls += 1;
        count.to = at;
    }

    /// Ends the window: what is to be logged.
    pub(crate) fn take(&self) -> Vec<Event> {
        let counts = std::mem::take(&mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner));
        let event = |((caller, method, reason), Count { calls, from, to })| Event::Aggregate {
            caller,
            method,
            reason,
            count: calls,
            from,
            to,
        };
        counts.into_iter().map(event).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_were_refused_alike_are_one_entry() {
        let aggregates = Aggregates::default();
        for at in 1..=3 {
            aggregates.count("a".into(), "Mint".into(), "MESSAGE_TOO_LARGE".into(), UnixMillis(at));
        }
        aggregates.count("b".into(), "Mint".into(), "MESSAGE_TOO_LARGE".into(), UnixMillis(4));
        let counts: Vec<_> = aggregates
            .take()
            .into_iter()
            .map(|event| {
                let Event::Aggregate { caller, count, from, to, .. } = event else { panic!("{event:?}") };
                (caller, count, from.0, to.0)
            })
            .collect();
        assert_eq!(counts, [("a".to_owned(), 3, 1, 3), ("b".to_owned(), 1, 4, 4)]);
        assert!(aggregates.take().is_empty());
    }

    #[test]
    fn a_flood_of_names_does_not_grow_without_bound() {
        let aggregates = Aggregates::default();
        for name in 0..KEYS_MAX * 2 {
            aggregates.count(name.to_string(), String::new(), String::new(), UnixMillis(0));
        }
        assert_eq!(aggregates.take().len(), KEYS_MAX + 1);
    }
}
