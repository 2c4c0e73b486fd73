//! Rates, in memory: who asks too often waits, before anything is decoded for him or written about him one by one.
//!
//! The generic cell rate algorithm (ITU-T I.371): for each caller or instance one number, the moment at which it could make all
//! its calls at once again. The boot-time clock counts, so that nobody gains by setting the wall clock.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use hallmark_policy::limits::Rate;

/// Most callers or instances that are remembered at one time: some MiB.
const REMEMBERED_MAX: usize = 65_536;

/// What is used up, by name.
#[derive(Default)]
pub(crate) struct Rates {
    used: Mutex<Used>,
}

#[derive(Default)]
struct Used {
    /// When each is as fresh as one never seen, in nanoseconds of the boot-time clock.
    fresh_at: HashMap<String, u64>,
    /// Nobody can be forgotten before that moment.
    crowded_until: u64,
}

impl Rates {
    /// Takes one call, or says how long it takes until one can be taken.
    pub(crate) fn take(&self, name: &str, rate: Rate, now_nanos: u64) -> Result<(), Duration> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let period = rate.period_nanos();
        let each = period / u64::from(rate.calls());
        // Whatever was used under another rate: nobody waits longer than a period.
        let latest = now_nanos.saturating_add(period);
        let known = used.fresh_at.get(name).map(|fresh_at| (*fresh_at).clamp(now_nanos, latest));
        if known.is_none() {
            used.make_room(now_nanos)?;
        }
        let fresh_at = known.unwrap_or(now_nanos).saturating_add(each);
        match fresh_at.checked_sub(latest) {
            Some(wait) if wait > 0 => Err(Duration::from_nanos(wait)),
            Some(_) | None => {
                used.fresh_at.insert(name.to_owned(), fresh_at);
                Ok(())
            }
        }
    }
}

impl Rates {
    /// Gives back a call that was taken for nothing.
    pub(crate) fn give_back(&self, name: &str, rate: Rate) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fresh_at) = used.fresh_at.get_mut(name) {
            *fresh_at = fresh_at.saturating_sub(rate.period_nanos() / u64::from(rate.calls()));
        }
    }
}

impl Used {
    /// Forgets who is fresh. Where all places are taken by others, strangers wait: memory has a bound.
    fn make_room(&mut self, now_nanos: u64) -> Result<(), Duration> {
        if self.fresh_at.len() < REMEMBERED_MAX {
            return Ok(());
        }
        if now_nanos >= self.crowded_until {
            self.fresh_at.retain(|_, fresh_at| *fresh_at > now_nanos);
            self.crowded_until = self.fresh_at.values().min().copied().unwrap_or(now_nanos);
        }
        if self.fresh_at.len() < REMEMBERED_MAX {
            return Ok(());
        }
        Err(Duration::from_nanos(self.crowded_until.saturating_sub(now_nanos).max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn rate(text: &str) -> Rate {
        Rate::parse(text).unwrap()
    }

    #[test]
    fn a_burst_passes_and_what_follows_comes_evenly() {
        let (rates, rate) = (Rates::default(), rate("4/s"));
        for _ in 0..4 {
            assert_eq!(rates.take("a", rate, SECOND), Ok(()));
        }
        assert_eq!(rates.take("a", rate, SECOND), Err(Duration::from_millis(250)));
        assert_eq!(rates.take("b", rate, SECOND), Ok(()), "another caller has a rate of its own");
        assert_eq!(rates.take("a", rate, SECOND + SECOND / 4), Ok(()));
        assert_eq!(rates.take("a", rate, SECOND + SECOND / 4), Err(Duration::from_millis(250)));
    }

    #[test]
    fn a_call_that_is_given_back_can_be_taken_again() {
        let (rates, rate) = (Rates::default(), rate("2/h"));
        for _ in 0..5 {
            assert_eq!(rates.take("a", rate, SECOND), Ok(()));
            rates.give_back("a", rate);
        }
        assert_eq!(rates.take("a", rate, SECOND), Ok(()));
        assert_eq!(rates.take("a", rate, SECOND), Ok(()));
        assert!(rates.take("a", rate, SECOND).is_err());
        rates.give_back("b", rate);
    }

    #[test]
    fn the_delay_is_the_time_until_the_call_would_pass() {
        let (rates, rate) = (Rates::default(), rate("7/m"));
        let mut now = SECOND;
        for _ in 0..50 {
            if let Err(wait) = rates.take("a", rate, now) {
                let wait = u64::try_from(wait.as_nanos()).unwrap();
                assert!(rates.take("a", rate, now + wait - 1).is_err());
                now += wait;
                assert_eq!(rates.take("a", rate, now), Ok(()));
            }
        }
        assert!(now > 5 * 60 * SECOND);
    }

    #[test]
    fn a_rate_that_is_raised_counts_at_once() {
        let rates = Rates::default();
        assert_eq!(rates.take("a", rate("1/d"), SECOND), Ok(()));
        assert!(rates.take("a", rate("1/d"), SECOND).unwrap_err() > Duration::from_secs(86_399));
        assert!(rates.take("a", rate("10/s"), SECOND).unwrap_err() <= Duration::from_secs(1));
    }

    #[test]
    fn a_flood_of_names_does_not_grow_without_bound() {
        let (rates, rate) = (Rates::default(), rate("1/s"));
        for name in 0..REMEMBERED_MAX {
            assert_eq!(rates.take(&name.to_string(), rate, SECOND), Ok(()));
        }
        assert_eq!(rates.take("one more", rate, SECOND + SECOND / 2), Err(Duration::from_millis(500)));
        assert_eq!(rates.take("one more", rate, 2 * SECOND), Ok(()));
        assert_eq!(rates.used.lock().unwrap().fresh_at.len(), 1);
    }
}
