//! Calls that were turned away before any work: counted, and one entry for each caller, method, reason and minute.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use hallmark_ledger::{Event, UnixMillis};

/// How long calls are counted before an entry says how many they were.
pub const WINDOW: Duration = Duration::from_secs(60);

/// Most different entries of one window; what is beyond is counted under `other`.
const KEYS_MAX: usize = 1_000;

/// Most bytes of a method or a reason that are kept: longer ones are none of ours, and nothing but memory.
const WORD_BYTES_MAX: usize = 64;

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
        let key = (caller, cut(method), cut(reason));
        let full = counts.len() >= KEYS_MAX && !counts.contains_key(&key);
        let key = if full { others() } else { key };
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

    /// Counts again what could not be logged.
    pub(crate) fn put_back(&self, event: Event) {
        let Event::Aggregate { caller, method, reason, count: calls, from, to } = event else { return };
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (caller, method, reason);
        let full = counts.len() >= KEYS_MAX && !counts.contains_key(&key);
        let count = counts.entry(if full { others() } else { key }).or_insert(Count { calls: 0, from, to });
        *count = Count { calls: count.calls + calls, from: count.from.min(from), to: count.to.max(to) };
    }
}

/// What is counted for callers for whom there is no room.
fn others() -> (String, String, String) {
    ("other".to_owned(), String::new(), "OTHER".to_owned())
}

fn cut(word: String) -> String {
    if word.len() <= WORD_BYTES_MAX {
        return word;
    }
    // Another allocation: shortening alone would keep the whole one.
    word.get(..word.floor_char_boundary(WORD_BYTES_MAX)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_logged_is_counted_with_what_follows() {
        let aggregates = Aggregates::default();
        let refused = |at: i64| aggregates.count("a".into(), "Mint".into(), "LEDGER_FAILED".into(), UnixMillis(at));
        (10..13).for_each(refused);
        let lost = aggregates.take().remove(0);
        refused(20);
        aggregates.put_back(lost);
        let [Event::Aggregate { count, from, to, .. }] = &aggregates.take()[..] else { panic!("one entry") };
        assert_eq!((*count, *from, *to), (4, UnixMillis(10), UnixMillis(20)));
        assert!(aggregates.take().is_empty());
    }

    #[test]
    fn long_words_of_a_front_that_lies_are_cut() {
        let aggregates = Aggregates::default();
        aggregates.count("a".into(), "ä".repeat(100_000), "R".repeat(100_000), UnixMillis(1));
        let [Event::Aggregate { method, reason, .. }] = &aggregates.take()[..] else { panic!("one entry") };
        assert_eq!((method.len(), reason.len()), (WORD_BYTES_MAX, WORD_BYTES_MAX));
        assert!(reason.capacity() <= 2 * WORD_BYTES_MAX);
    }

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
