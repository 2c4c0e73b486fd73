//! How often each of several things happened.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// How often each of several things happened; of so many things at most. What is beyond is counted under the thing that stands for all others.
#[derive(Debug)]
pub struct Tally<K> {
    counts: Mutex<BTreeMap<K, u64>>,
    most: usize,
    others: K,
}

impl<K: Ord + Clone> Tally<K> {
    /// An empty one of `most` things, and one more for all others.
    #[must_use]
    pub fn new(most: usize, others: K) -> Self {
        Self { counts: Mutex::default(), most, others }
    }

    /// It happened once more.
    pub fn count(&self, thing: K) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = counts.len() >= self.most;
        match counts.get_mut(&thing) {
            Some(count) => *count += 1,
            None if is_full => *counts.entry(self.others.clone()).or_default() += 1,
            None => drop(counts.insert(thing, 1)),
        }
    }

    /// How often each happened.
    #[must_use]
    pub fn read(&self) -> BTreeMap<K, u64> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_bound_is_counted_as_others_and_what_is_known_goes_on() {
        let tally = Tally::new(2, "others");
        ["a", "b", "c", "a", "d", "b"].into_iter().for_each(|thing| tally.count(thing));
        assert_eq!(tally.read(), BTreeMap::from([("a", 2), ("b", 2), ("others", 2)]));
    }
}
