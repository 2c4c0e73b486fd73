//! Keeping CRLs fresh without being asked, and published. What is due stands in the ledger, so that a restart goes on where it was.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hallmark_ledger::{AuthorityRecord, AuthorityState, CrlStatus, EpochState, Epochs};
use hallmark_policy::{
    ReasonCode,
    profile::CrlProfile,
    time::{Span, UnixTime},
};
use tokio::sync::Notify;

use crate::{
    answer::Failure,
    ca::{Ca, CrlList, described},
    core::{Core, Inner},
    crl::{Crl, interrupted, unfit},
    crl_due::is_due,
};

/// How often it is looked whether a CRL is due.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How long it is waited after a failure, doubled after each, and the longest: what passes soon costs no minute, and when a device that was away is
/// back, what was revoked meanwhile stands on a list within one.
const RETRY_AFTER_SECS: u64 = 1;
const RETRY_SECS_MAX: u64 = 60;

/// The longest after a refusal that only another list can change: each try is an entry of the log.
const RETRY_REFUSED_SECS_MAX: u64 = 3_600;

/// What keeps CRLs fresh.
#[derive(Default)]
pub(crate) struct Refreshing {
    /// A certificate was revoked.
    revoked: Notify,
    failing: Mutex<BTreeMap<(String, CrlList), Failing>>,
}

struct Failing {
    times: u32,
    again_at: UnixTime,
}

/// A list that is kept fresh.
#[derive(PartialEq, Eq)]
struct Kept {
    authority: String,
    list: CrlList,
    retired: bool,
}

impl Core {
    /// Signs every CRL that is due, and publishes what is not; the background does this every minute, after revocations and when an epoch
    /// follows another. Says in sentences what was done and what failed.
    pub async fn refresh_crls(&self) -> Vec<String> {
        let _work = self.inner.begin();
        self.inner.refresh_crls().await
    }

    /// Keeps CRLs fresh until the core stops.
    pub(crate) fn start_refreshing(&self) {
        let weak = Arc::downgrade(&self.inner);
        let mut epochs_changed = self.inner.epochs_changed.subscribe();
        tokio::spawn(async move {
            loop {
                let Some(inner) = weak.upgrade() else { return };
                if inner.is_stopping() {
                    return;
                }
                let work = inner.begin();
                inner.refresh_crls().await;
                drop(work);
                let pause = inner.crls.refreshing.pause(inner.clock.wall().time);
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = inner.crls.refreshing.revoked.notified() => {}
                    _ = epochs_changed.changed() => {}
                }
            }
        });
    }
}

impl Refreshing {
    /// A certificate was revoked: whoever keeps CRLs fresh looks at once.
    pub(crate) fn was_revoked(&self) {
        self.revoked.notify_one();
    }

    fn may_try(&self, kept: &Kept, now: UnixTime) -> bool {
        let failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        failing.get(&kept.key()).is_none_or(|failing| now >= failing.again_at)
    }

    /// How long until it is looked again: until something that failed may be tried again, at the latest.
    fn pause(&self, now: UnixTime) -> Duration {
        let failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let soonest = failing.values().map(|failing| failing.again_at.secs_since(now).max(1)).min();
        soonest.map_or(LOOK_EVERY, |secs| LOOK_EVERY.min(Duration::from_secs(secs)))
    }

    fn succeeded(&self, kept: &Kept) {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).remove(&kept.key());
    }

    fn failed(&self, kept: &Kept, now: UnixTime, failure: &Failure) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let failing = failing.entry(kept.key()).or_insert(Failing { times: 0, again_at: now });
        let longest = if is_never_signed(failure) { RETRY_REFUSED_SECS_MAX } else { RETRY_SECS_MAX };
        let wait = RETRY_AFTER_SECS.saturating_mul(1_u64.checked_shl(failing.times).unwrap_or(u64::MAX)).min(longest);
        failing.times = failing.times.saturating_add(1);
        failing.again_at = now.after(Span::from_secs(wait));
    }
}

/// Whether a list is longer than one may be, or than its device signs.
pub(crate) fn is_never_signed(failure: &Failure) -> bool {
    failure.reasons.iter().all(|reason| matches!(reason.code, ReasonCode::CrlTooLarge | ReasonCode::DeviceIncapable))
}

impl Kept {
    fn key(&self) -> (String, CrlList) {
        (self.authority.clone(), self.list)
    }
}

impl Inner {
    /// Signs every CRL that is due, and publishes what is not.
    pub(crate) async fn refresh_crls(self: &Arc<Self>) -> Vec<String> {
        let (now, mut said) = (self.clock.wall().time, Vec::new());
        let kept = self.kept_crls().unwrap_or_else(|failure| {
            let reasons: Vec<_> = failure.reasons.iter().map(ToString::to_string).collect();
            let sentence = format!("it is not known which CRLs are due: {}", reasons.join("; "));
            tracing::error!("{sentence}; it is tried again");
            said.push(sentence);
            Vec::new()
        });
        for kept in kept {
            if !self.crls.refreshing.may_try(&kept, now) {
                continue;
            }
            match self.refresh(&kept, now).await {
                Ok(None) => self.crls.refreshing.succeeded(&kept),
                Ok(Some(crl)) => {
                    self.crls.refreshing.succeeded(&kept);
                    said.push(format!("signed CRL {} of `{}` {}", crl.number, kept.authority, kept.list));
                }
                Err(failure) => {
                    self.crls.refreshing.failed(&kept, now, &failure);
                    said.push(self.said_of(&kept, &failure));
                }
            }
        }
        said
    }

    /// Signs the next CRL if it is due; else publishes the newest, if it is not published.
    async fn refresh(self: &Arc<Self>, kept: &Kept, now: UnixTime) -> Result<Option<Crl>, Failure> {
        let Kept { authority, list, retired } = kept;
        let Some((profile, ends)) = self.crl_profile(authority, list.ca)? else { return Ok(None) };
        let record = self.ca(authority, list.ca)?;
        let key = record.public_key().map_err(unfit)?.digest();
        let status = self.ledger.crl_status(key, list.scope).map_err(|error| self.ledger_failed(&error))?;
        if now <= ends && is_due(&profile, &status, key, *retired, now) {
            let _alone = self.rotating.alone(authority).await;
            if !self.is_kept(kept)? {
                // A rotation came first: it is looked at again with what it left.
                return Ok(None);
            }
            return self.sign_crl(authority, *list, None).await.map(Some);
        }
        if let Some(newest) = status.newest
            && !self.crls.files.has(authority, *list, newest.number)
        {
            let (inner, authority, list) = (Arc::clone(self), authority.clone(), *list);
            let published = tokio::task::spawn_blocking(move || {
                let Some(crl) = inner.latest_crl(&authority, list)? else { return Ok(()) };
                inner.publish_crl(&authority, list, &crl);
                Ok(())
            });
            published.await.unwrap_or_else(|_| Err(interrupted()))?;
        }
        Ok(None)
    }

    /// What the policy says of the CRLs of a CA, and when the CA ends; nothing where it signs none.
    fn crl_profile(&self, authority: &str, ca: Ca) -> Result<Option<(CrlProfile, UnixTime)>, Failure> {
        let policy = self.policy();
        let Ok(described) = described(&policy, authority) else { return Ok(None) };
        let Some(profile) = described.crl.clone() else { return Ok(None) };
        let issuer = self.ca(authority, ca)?.issuer(described).map_err(unfit)?;
        Ok(Some((profile, issuer.validity().not_after)))
    }

    /// The lists that are kept fresh, of roots whose keys are here, and epochs that have CA certificates and a key.
    fn kept_crls(&self) -> Result<Vec<Kept>, Failure> {
        let failed = |error| self.ledger_failed(&error);
        let policy = self.policy();
        let mut kept = Vec::new();
        for record in self.ledger.authorities().map_err(failed)? {
            let has_crls = policy.authority(&record.name).is_some_and(|authority| authority.crl.is_some());
            if has_crls && record.state == AuthorityState::Ready {
                kept.extend(self.kept_of(&record)?);
            }
        }
        Ok(kept)
    }

    /// When the newest CRL of each CA is to be replaced: of partitioned ones the first. What needs no other list any more is left out.
    pub(crate) fn crls_due(&self) -> Vec<(String, Ca, UnixTime)> {
        let mut due = BTreeMap::<(String, Ca), UnixTime>::new();
        for Kept { authority, list, retired } in self.kept_crls().unwrap_or_default() {
            let Ok(CrlStatus { newest: Some(newest), latest_end, .. }) = self.crl_status(&authority, list) else {
                continue;
            };
            if retired && latest_end.is_none_or(|end| end < newest.next_update) {
                continue;
            }
            let first = due.entry((authority, list.ca)).or_insert(newest.next_update);
            *first = newest.next_update.min(*first);
        }
        due.into_iter().map(|((authority, ca), at)| (authority, ca, at)).collect()
    }

    /// Whether the CA of a list is still what it was when it was looked for.
    fn is_kept(&self, kept: &Kept) -> Result<bool, Failure> {
        let record = self.ledger.authority(&kept.authority).map_err(|error| self.ledger_failed(&error))?;
        let now = record.map(|record| self.kept_of(&record)).transpose()?.unwrap_or_default();
        Ok(now.contains(kept))
    }

    fn kept_of(&self, record: &AuthorityRecord) -> Result<Vec<Kept>, Failure> {
        let failed = |error| self.ledger_failed(&error);
        let name = &record.name;
        let of = |ca, retired| {
            let lists = self.crl_lists(name, ca)?;
            Ok::<_, Failure>(lists.into_iter().map(move |list| Kept { authority: name.clone(), list, retired }))
        };
        let mut kept = Vec::new();
        if !record.is_offline() {
            kept.extend(of(Ca::Root, false)?);
        }
        for which in [Epochs::Active, Epochs::Making, Epochs::Leftover] {
            for epoch in self.ledger.epochs(name, which).map_err(failed)? {
                let ca = Ca::Epoch { generation: epoch.generation };
                match epoch.state {
                    EpochState::Prepared | EpochState::Active => kept.extend(of(ca, false)?),
                    EpochState::Retired => kept.extend(of(ca, true)?),
                    EpochState::Intent | EpochState::Keyed | EpochState::Destroyed | EpochState::Aborted => {}
                }
            }
        }
        Ok(kept)
    }

    /// A CRL that is missing is an alarm: relying parties go on with the one before until it ends, and then refuse everything.
    fn said_of(&self, kept: &Kept, failure: &Failure) -> String {
        let Kept { authority, list, .. } = kept;
        let reasons: Vec<_> = failure.reasons.iter().map(ToString::to_string).collect();
        let until = self.crl_status(authority, *list).ok().and_then(|status| status.newest);
        let until = until.map_or_else(
            || "there is none before it".to_owned(),
            |newest| format!("the one before it holds until {}", newest.next_update),
        );
        let sentence =
            format!("the next CRL of `{authority}` {list} could not be signed, and {until}: {}", reasons.join("; "));
        tracing::error!("{sentence}; it is tried again");
        sentence
    }
}
