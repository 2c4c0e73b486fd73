//! Which of the tokens that hold a key signs with it.
//!
//! Nobody gives jobs out: all wait in one queue, and a thread that is free takes the first that its token can do. So the load is shared by what each
//! token can do, and what waited for a token that has left is simply taken by the others.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crate::{
    backend::OpenKey,
    breaker::{FAILURES_MAX, Readiness},
    config::Choice,
    holder::Holder,
    sign_error::SignError,
    tried::Tried,
};

/// How long a job waits for the token that comes first in the order; then whoever is free takes it.
pub(crate) const ORDER_TIME_MAX: Duration = Duration::from_millis(250);

/// When to ask again, where no token is there that has the key: one that comes back is found about as soon.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What a thread does with a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It signs.
    Work,
    /// It says that nobody can.
    Refuse,
    /// Another token's thread takes it.
    Leave,
}

/// The tokens, in the order of the configuration.
#[derive(Debug)]
pub(crate) struct Holders {
    pub(crate) all: Vec<Arc<Holder>>,
    pub(crate) choice: Choice,
    /// Held while one of them is compared with the others.
    pub(crate) joining: Mutex<()>,
}

impl Holders {
    pub(crate) fn new(all: Vec<Arc<Holder>>, choice: Choice) -> Self {
        Self { all, choice, joining: Mutex::default() }
    }

    /// Whether there is a choice at all.
    pub(crate) fn are_several(&self) -> bool {
        self.all.len() > 1
    }

    /// What a thread of `own` does with a job that has waited for so long.
    pub(crate) fn verdict(&self, own: &Holder, key: &OpenKey, tried: Tried, waited: Duration, now: Instant) -> Verdict {
        if !self.are_several() {
            return Verdict::Work;
        }
        let issuer = key.public.digest();
        match readiness(own, key, tried, now) {
            Some(_) if self.is_anothers(own, key, tried, waited, now) => Verdict::Leave,
            Some(Readiness::Due) => {
                own.breakers.begin_trial(issuer, now);
                Verdict::Work
            }
            Some(Readiness::Ready | Readiness::Rests) => Verdict::Work,
            None if self.can(key, tried, now) => Verdict::Leave,
            None => Verdict::Refuse,
        }
    }

    /// Whether a token signs that comes before this one. One that has yet to show that it is back is not waited for.
    fn is_anothers(&self, own: &Holder, key: &OpenKey, tried: Tried, waited: Duration, now: Instant) -> bool {
        self.choice == Choice::Ordered
            && waited < ORDER_TIME_MAX
            && self.all.iter().take(own.index).any(|other| readiness(other, key, tried, now) == Some(Readiness::Ready))
    }

    /// Whether a token can sign that has not failed the job.
    pub(crate) fn can(&self, key: &OpenKey, tried: Tried, now: Instant) -> bool {
        self.all.iter().any(|holder| readiness(holder, key, tried, now).is_some())
    }

    /// Lets a job in, or says when one would be. Where there is one token, and its key rested, one job is let in to try.
    pub(crate) fn admit(&self, key: &OpenKey, tried: Tried, now: Instant) -> Result<(), SignError> {
        let issuer = key.public.digest();
        match self.all.as_slice() {
            [only] => only.breakers.admit(issuer, now),
            _ if self.can(key, tried, now) => Ok(()),
            _ => Err(self.rests(key, now)),
        }
    }

    /// How long it is until a job would be let in, if one would not be now.
    pub(crate) fn resting(&self, key: &OpenKey, now: Instant) -> Option<Duration> {
        match self.all.as_slice() {
            [only] => only.breakers.resting(key.public.digest(), now),
            _ if self.can(key, Tried::default(), now) => None,
            _ => Some(self.retry_after(key, now)),
        }
    }

    /// What whoever asks hears when no token can sign.
    pub(crate) fn rests(&self, key: &OpenKey, now: Instant) -> SignError {
        let retry_after = self.retry_after(key, now);
        SignError::Resting { issuer: key.public.digest(), failures: FAILURES_MAX, retry_after }
    }

    fn retry_after(&self, key: &OpenKey, now: Instant) -> Duration {
        let holding = self.all.iter().filter(|holder| holder.serves() && key.held.by(holder.index));
        holding.filter_map(|holder| holder.breakers.resting(key.public.digest(), now)).min().unwrap_or(RETRY_AFTER)
    }

    /// Whether no other token than this one serves.
    pub(crate) fn is_last(&self, holder: &Holder) -> bool {
        !self.all.iter().any(|other| other.index != holder.index && other.serves())
    }
}

/// How a token stands with a job; none if it cannot do it now.
fn readiness(holder: &Holder, key: &OpenKey, tried: Tried, now: Instant) -> Option<Readiness> {
    let could = holder.serves() && holder.has_free_seat() && key.held.by(holder.index) && !tried.has(holder.index);
    let readiness = could.then(|| holder.breakers.readiness(key.public.digest(), now))?;
    (readiness != Readiness::Rests).then_some(readiness)
}
