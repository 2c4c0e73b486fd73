//! Who looks after one of several tokens: opens it, finds out that it has left, and takes it in again when it is back and has the right keys.
//!
//! A token that serves is asked now and then for the keys that are open, also for those that it is known to have: somebody may have restored it, or taken
//! them away, while it answered. One that has signed since the last look is asked for nothing else.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use hallmark_policy::key::SpkiDigest;

use crate::{
    backend::OpenKey,
    backoff::{Backoff, about},
    crew::Crew,
    error::BackendError,
    holder::{Holder, Open, Stage},
    patience::Patience,
};

/// How often a token that serves is looked at.
const SERVES_INTERVAL: Duration = Duration::from_secs(3);

/// How often is looked for keys that a token did not have, and some of those that it had are compared anew.
const KEYS_INTERVAL: Duration = Duration::from_secs(5);

/// How many of these, of a token that has signed since the last look and of one that has not. The others follow in turn.
const COMPARED_MAX: (usize, usize) = (1, 8);

/// How soon a token that is away is asked again, at first and at most.
const AWAY_INTERVALS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Looks after one token, on a thread of its own, which never calls into a module itself.
pub(crate) struct Keeper {
    crew: Arc<Crew>,
    holder: Arc<Holder>,
    open: Arc<Open>,
    patience: Patience,
    away: Backoff,
    signatures_seen: u64,
    keys_due: Instant,
    /// Which of the keys that the token is known to have was compared last.
    compared: Option<SpkiDigest>,
    /// What was said last of a key that the token does not have as it should.
    said: BTreeMap<SpkiDigest, String>,
}

impl Keeper {
    pub(crate) fn new(crew: &Arc<Crew>, holder: &Arc<Holder>, open: Arc<Open>, patience: Patience) -> Self {
        let (first, most) = AWAY_INTERVALS;
        Self {
            crew: Arc::clone(crew),
            holder: Arc::clone(holder),
            open,
            patience,
            away: Backoff::new(first, most),
            signatures_seen: 0,
            keys_due: Instant::now(),
            compared: None,
            said: BTreeMap::new(),
        }
    }

    /// Opens the token for the first time, and says what came of it.
    pub(crate) fn begin(&mut self) -> Result<(), BackendError> {
        let opened = self.open();
        match &opened {
            Ok(()) => self.serves(),
            Err(error) => self.left(error),
        }
        opened
    }

    /// Looks after it until that is over, or nothing can be done without a person.
    pub(crate) fn keep(mut self) {
        self.holder.alarm.set(self.next());
        while !matches!(self.holder.stage(), Stage::Out(_)) && self.holder.alarm.wait() {
            self.look();
            self.holder.alarm.set(self.next());
        }
    }

    fn next(&self) -> Instant {
        let now = Instant::now();
        match self.holder.stage() {
            Stage::Serves => now + about(SERVES_INTERVAL),
            Stage::Opens | Stage::Away(_) | Stage::Out(_) => now + self.away.left(now).unwrap_or_default(),
        }
    }

    fn look(&mut self) {
        let looked = if self.holder.serves() {
            self.look_at_one_that_serves()
        } else if !self.away.is_due(Instant::now()) {
            // It was called before its time.
            return;
        } else if self.holder.backend().is_none() {
            self.open()
        } else {
            self.is_well().and_then(|()| self.check_keys(usize::MAX))
        };
        match looked {
            Ok(()) => self.serves(),
            Err(error) => self.left(&error),
        }
    }

    fn look_at_one_that_serves(&mut self) -> Result<(), BackendError> {
        let signatures = self.holder.signatures.load(Ordering::Relaxed);
        let has_signed = signatures != self.signatures_seen;
        if !has_signed {
            self.is_well()?;
        }
        self.signatures_seen = signatures;
        let doubted = self.holder.was_doubted();
        if !doubted && Instant::now() < self.keys_due {
            return Ok(());
        }
        self.keys_due = Instant::now() + about(KEYS_INTERVAL);
        let compared = if has_signed { COMPARED_MAX.0 } else { COMPARED_MAX.1 };
        // Other work with its keys may take long, and is no reason to send it away.
        if let Err(error) = self.check_keys(compared) {
            tracing::warn!(token = self.holder.name, %error, "a token could not be asked for its keys");
        }
        Ok(())
    }

    fn is_well(&self) -> Result<(), BackendError> {
        self.holder.ask("tell its health", self.patience.probe, |backend| backend.health())
    }

    /// Opens it with all its sessions, and compares the keys that are open.
    fn open(&mut self) -> Result<(), BackendError> {
        let (holder, open) = (Arc::clone(&self.holder), Arc::clone(&self.open));
        let ((backend, signers), description) = holder.run_open(self.patience.start, move || open())?;
        let holders = self.crew.holders();
        let joining = holders.joining.lock().unwrap_or_else(PoisonError::into_inner);
        let same = holders.all.iter().find(|other| other.description().is_some_and(|it| it.is_of_token(&description)));
        if let Some(other) = same {
            let detail = format!("tokens {} and {} are one and the same; write one of them", other.name, holder.name);
            return Err(BackendError::Configuration { detail });
        }
        holder.is_opened(backend, description, signers.len());
        drop(joining);
        self.crew.join(&holder, signers)?;
        self.check_keys(usize::MAX)
    }

    /// Finds the keys that are open in this token, and compares their public keys and attributes: so many of those that it had, in turn, while nobody
    /// else works on its keys, and all that it lacks. An error is the device's.
    fn check_keys(&mut self, compared_max: usize) -> Result<(), BackendError> {
        let (mut held, lacking): (Vec<_>, Vec<_>) =
            self.crew.open_keys().into_iter().partition(|key| key.held.by(self.holder.index));
        let next = held.partition_point(|key| self.compared.is_some_and(|last| key.public.digest() <= last));
        held.rotate_left(next);
        for key in held.iter().take(compared_max) {
            if compared_max != usize::MAX && !self.holder.is_left_alone() {
                break;
            }
            self.compared = Some(key.public.digest());
            self.check(key)?;
        }
        // After these: one that the token will not tell of keeps nobody from finding out what became of the others.
        lacking.iter().try_for_each(|key| self.check(key))
    }

    fn check(&mut self, key: &OpenKey) -> Result<(), BackendError> {
        let (reference, expected) = (key.reference.clone(), key.public.digest());
        let find = move |backend: &dyn crate::backend::Backend| backend.open(&reference, expected);
        match self.holder.operate("open a key", self.patience.operate, find, drop) {
            Ok(_) => self.has(key),
            Err(error) if error.is_about_the_key() => self.has_not(key, &error),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn has(&mut self, key: &OpenKey) {
        self.said.remove(&key.public.digest());
        if !key.held.set(self.holder.index, true) {
            tracing::info!(key = %key.reference, token = self.holder.name, "a token has the key, and signs with it");
            self.crew.look_again();
        }
    }

    fn has_not(&mut self, key: &OpenKey, error: &BackendError) {
        let had = key.held.set(self.holder.index, false);
        let sentence = error.to_string();
        if self.said.insert(key.public.digest(), sentence.clone()).as_ref() != Some(&sentence) || had {
            lacks(&self.holder, error);
            self.crew.look_again();
        }
    }

    fn serves(&mut self) {
        self.away.reset();
        if self.holder.stage() == Stage::Serves {
            return;
        }
        self.holder.breakers.end_rests();
        self.holder.enter(Stage::Serves);
        tracing::info!(token = self.holder.name, what = self.holder.told(), "a token is there, and signs");
        self.crew.look_again();
    }

    fn left(&mut self, error: &BackendError) {
        self.away.failed(Instant::now());
        let out = error.forbids_another_log_in() || matches!(error, BackendError::Configuration { .. });
        let sentence = error.to_string();
        let is_new = self.holder.enter(if out { Stage::Out(sentence) } else { Stage::Away(sentence) });
        if is_new {
            let last = self.crew.holders().is_last(&self.holder);
            let then = if last { "no other serves" } else { "the others sign" };
            let back = if out { "it stays out until the next start" } else { "it is taken in when it is back" };
            tracing::error!(token = self.holder.name, %error, "a token is away; {then}, and {back}");
            self.crew.look_again();
        }
    }
}

/// Says that a token does not have a key as it should. That it has none yet is how copying begins.
pub(crate) fn lacks(holder: &Holder, error: &BackendError) {
    if matches!(error, BackendError::KeyNotFound { .. }) {
        tracing::warn!(token = holder.name, %error, "a token does not have this key yet; others sign with it");
    } else {
        tracing::error!(token = holder.name, %error, "this token is not used for this key");
    }
}
