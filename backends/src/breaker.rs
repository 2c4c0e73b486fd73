//! One breaker for each key of a token: after some failures of the device in a row, the key is left alone there for a while, and whoever
//! asks hears so at once, unless another token has the key. Errors of callers never count.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hallmark_policy::key::SpkiDigest;

use crate::{backoff::Backoff, sign_error::SignError};

/// How many failures of the device in a row open the breaker of a key.
pub(crate) const FAILURES_MAX: u32 = 3;

/// How long a key rests at first and at most.
const RESTS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// How long one request may try a key that rested, before another one is let through.
const TRIAL_MAX: Duration = Duration::from_secs(1);

/// The breakers of all keys that failed since their last success.
#[derive(Debug, Default)]
pub(crate) struct Breakers {
    troubled: Mutex<BTreeMap<SpkiDigest, Breaker>>,
}

/// How it stands with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// The device signs with it, as far as is known.
    Ready,
    /// It has rested: one request may try.
    Due,
    /// It is left alone, or somebody tries.
    Rests,
}

#[derive(Debug)]
struct Breaker {
    failures: u32,
    rest: Backoff,
    /// Since when one request tries whether the device is back.
    trial: Option<Instant>,
}

impl Breakers {
    /// Lets a request through, or says when one would be. Of those that ask after a rest, one is let through.
    pub(crate) fn admit(&self, key: SpkiDigest, now: Instant) -> Result<(), SignError> {
        let mut troubled = self.lock();
        let Some(breaker) = troubled.get_mut(&key).filter(|breaker| breaker.failures >= FAILURES_MAX) else {
            return Ok(());
        };
        if let Some(left) = breaker.left(now) {
            return Err(SignError::Resting { issuer: key, failures: breaker.failures, retry_after: left });
        }
        breaker.trial = Some(now);
        Ok(())
    }

    /// Whether a request that was let through before still is: the key may rest since.
    pub(crate) fn still_admits(&self, key: SpkiDigest, now: Instant) -> Result<(), SignError> {
        let troubled = self.lock();
        let Some(breaker) = troubled.get(&key).filter(|breaker| breaker.failures >= FAILURES_MAX) else {
            return Ok(());
        };
        match breaker.rest.left(now) {
            Some(left) => Err(SignError::Resting { issuer: key, failures: breaker.failures, retry_after: left }),
            None => Ok(()),
        }
    }

    /// How long it is until a request would be let through, if one would not be now.
    pub(crate) fn resting(&self, key: SpkiDigest, now: Instant) -> Option<Duration> {
        let troubled = self.lock();
        troubled.get(&key).filter(|breaker| breaker.failures >= FAILURES_MAX)?.left(now)
    }

    /// How it stands with the key, where several tokens have it and nobody is turned away because of one.
    pub(crate) fn readiness(&self, key: SpkiDigest, now: Instant) -> Readiness {
        let troubled = self.lock();
        match troubled.get(&key).filter(|breaker| breaker.failures >= FAILURES_MAX) {
            None => Readiness::Ready,
            Some(breaker) if breaker.left(now).is_none() => Readiness::Due,
            Some(_) => Readiness::Rests,
        }
    }

    /// A request tries whether the device is back.
    pub(crate) fn begin_trial(&self, key: SpkiDigest, now: Instant) {
        if let Some(breaker) = self.lock().get_mut(&key).filter(|breaker| breaker.failures >= FAILURES_MAX) {
            breaker.trial = Some(now);
        }
    }

    /// The device is back, as far as can be told without a signature: one request for each key may try at once.
    pub(crate) fn end_rests(&self) {
        for breaker in self.lock().values_mut() {
            breaker.rest.reset();
            breaker.trial = None;
        }
    }

    /// The device signed with this key. Whether it had been left alone.
    pub(crate) fn succeeded(&self, key: SpkiDigest) -> bool {
        let was_open = self.lock().remove(&key).is_some_and(|breaker| breaker.failures >= FAILURES_MAX);
        if was_open {
            tracing::info!(key = %key, "the device signs with this key again");
        }
        was_open
    }

    /// The device hangs with this key, and another token has it: that is failure enough.
    pub(crate) fn hung(&self, key: SpkiDigest, now: Instant) {
        let mut troubled = self.lock();
        let breaker = troubled.entry(key).or_insert_with(Breaker::new);
        breaker.failures = breaker.failures.max(FAILURES_MAX - 1);
        drop(troubled);
        self.failed(key, now);
    }

    /// The device failed to sign with this key. Whether it is left alone.
    pub(crate) fn failed(&self, key: SpkiDigest, now: Instant) -> bool {
        let mut troubled = self.lock();
        let breaker = troubled.entry(key).or_insert_with(Breaker::new);
        breaker.failures = breaker.failures.saturating_add(1);
        if breaker.failures >= FAILURES_MAX && breaker.rest.is_due(now) {
            if breaker.failures == FAILURES_MAX {
                tracing::warn!(key = %key, "the device failed this key {FAILURES_MAX} times in a row; it rests");
            }
            breaker.rest.failed(now);
            breaker.trial = None;
        }
        breaker.failures >= FAILURES_MAX
    }

    /// A request ended that says nothing about the device; if it was the one that tried, another may.
    pub(crate) fn undecided(&self, key: SpkiDigest) {
        if let Some(breaker) = self.lock().get_mut(&key) {
            breaker.trial = None;
        }
    }

    /// No code runs under this lock that could leave a breaker half changed, so a poisoned one is as good.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<SpkiDigest, Breaker>> {
        self.troubled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Breaker {
    fn new() -> Self {
        let (first, most) = RESTS;
        Self { failures: 0, rest: Backoff::new(first, most), trial: None }
    }

    /// When a request would be let through.
    fn left(&self, now: Instant) -> Option<Duration> {
        let trial = self.trial.and_then(|began| (began + TRIAL_MAX).checked_duration_since(now));
        self.rest.left(now).or_else(|| trial.filter(|left| !left.is_zero()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    static KEY: LazyLock<SpkiDigest> = LazyLock::new(|| SpkiDigest::from_bytes([7; 32]));
    static OTHER: LazyLock<SpkiDigest> = LazyLock::new(|| SpkiDigest::from_bytes([8; 32]));

    fn opened(now: Instant) -> Breakers {
        let breakers = Breakers::default();
        for _ in 0..FAILURES_MAX {
            breakers.failed(*KEY, now);
        }
        breakers
    }

    fn hint(refused: Result<(), SignError>) -> Duration {
        let Err(SignError::Resting { retry_after, .. }) = refused else { panic!("{refused:?}") };
        retry_after
    }

    #[test]
    fn failures_in_a_row_open_the_breaker_of_their_key_alone() {
        let now = Instant::now();
        let breakers = Breakers::default();
        for _ in 1..FAILURES_MAX {
            breakers.failed(*KEY, now);
            breakers.admit(*KEY, now).unwrap();
        }
        breakers.succeeded(*KEY);
        for _ in 1..FAILURES_MAX {
            breakers.failed(*KEY, now);
            breakers.admit(*KEY, now).unwrap();
        }
        breakers.failed(*KEY, now);
        assert!(hint(breakers.admit(*KEY, now)) <= RESTS.0);
        assert!(breakers.resting(*KEY, now).is_some());
        breakers.admit(*OTHER, now).unwrap();
        assert_eq!(breakers.resting(*OTHER, now), None);
    }

    #[test]
    fn after_a_rest_one_request_tries_and_the_others_wait_for_what_it_finds() {
        let now = Instant::now();
        let breakers = opened(now);
        let later = now + hint(breakers.admit(*KEY, now));
        breakers.admit(*KEY, later).unwrap();
        assert!(hint(breakers.admit(*KEY, later)) <= TRIAL_MAX);
        breakers.failed(*KEY, later);
        let rest = hint(breakers.admit(*KEY, later));
        assert!(rest > RESTS.0 / 2 && rest <= RESTS.0 * 2, "{rest:?}");
        breakers.admit(*KEY, later + rest).unwrap();
        breakers.succeeded(*KEY);
        breakers.admit(*KEY, later + rest).unwrap();
        breakers.admit(*KEY, later + rest).unwrap();
    }

    #[test]
    fn a_trial_that_says_nothing_or_never_ends_makes_room_for_another() {
        let now = Instant::now();
        let breakers = opened(now);
        let later = now + RESTS.0;
        breakers.admit(*KEY, later).unwrap();
        breakers.undecided(*KEY);
        breakers.admit(*KEY, later).unwrap();
        hint(breakers.admit(*KEY, later));
        breakers.admit(*KEY, later + TRIAL_MAX).unwrap();
    }

    #[test]
    fn where_others_have_the_key_a_hang_is_failure_enough_and_one_request_tries_after_the_rest() {
        let now = Instant::now();
        let breakers = Breakers::default();
        assert_eq!(breakers.readiness(*KEY, now), Readiness::Ready);
        breakers.hung(*KEY, now);
        assert_eq!(breakers.readiness(*KEY, now), Readiness::Rests);
        let later = now + RESTS.0;
        assert_eq!(breakers.readiness(*KEY, later), Readiness::Due);
        breakers.begin_trial(*KEY, later);
        assert_eq!(breakers.readiness(*KEY, later), Readiness::Rests);
        breakers.hung(*KEY, later);
        breakers.end_rests();
        assert_eq!(breakers.readiness(*KEY, later), Readiness::Due);
        breakers.begin_trial(*KEY, later);
        assert!(breakers.succeeded(*KEY) && !breakers.succeeded(*KEY));
        assert_eq!(breakers.readiness(*KEY, later), Readiness::Ready);
        breakers.begin_trial(*KEY, later);
        assert_eq!(breakers.readiness(*KEY, later), Readiness::Ready);
    }

    #[test]
    fn failures_of_requests_that_were_under_way_do_not_lengthen_the_rest() {
        let now = Instant::now();
        let breakers = opened(now);
        for _ in 0..50 {
            breakers.failed(*KEY, now);
        }
        assert!(hint(breakers.admit(*KEY, now)) <= RESTS.0);
    }
}
