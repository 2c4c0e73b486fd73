//! Who signs with which key at this moment, so that a rotation or a freeze can wait for them, and bar those that never come back.
//!
//! A passage is taken before the commit and given back when the reply is put together. The barrier is the ledger's transaction: after it
//! nothing new is committed for the old key. What was committed before is in here, and drains: first it is waited for, then no signature
//! passes any more, and then no reply either.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hallmark_policy::key::SpkiDigest;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

/// How long a drain waits for replies that have their signature already and only need the ledger.
const RELEASE_TIME_MAX: Duration = Duration::from_secs(30);

/// The keys that somebody signs with.
#[derive(Default)]
pub(crate) struct Fences {
    gates: Mutex<Vec<Arc<Gate>>>,
}

/// Where leaves of one key go through, or all else that it signs. Rotations fence both; a freeze fences leaves, and no CRL.
#[derive(Debug)]
struct Gate {
    key: SpkiDigest,
    /// The authority whose leaves these are.
    leaves_of: Option<String>,
    counts: watch::Sender<Counts>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// Committed or about to be, and not signed yet.
    signing: u64,
    /// Signed, and not given to its caller yet.
    releasing: u64,
    /// It is being drained: nobody enters.
    fenced: bool,
    /// The key was retired: what is not signed never is.
    retired: bool,
    /// Nothing passes from signing to releasing any more.
    barred: bool,
    /// Nothing is given to its caller any more.
    shut: bool,
}

/// The way of one certificate past the gate of its issuer's key, until it is dropped.
#[derive(Debug)]
pub(crate) struct Passage {
    gate: Arc<Gate>,
    place: Place,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Signing,
    Releasing,
    Through,
}

impl Counts {
    fn take_out(&mut self, place: Place) {
        match place {
            Place::Signing => self.signing = self.signing.saturating_sub(1),
            Place::Releasing => self.releasing = self.releasing.saturating_sub(1),
            Place::Through => {}
        }
    }
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drained {
    /// Everything came out in time.
    Whole,
    /// So many signatures did not come in time, or could not be given to their callers. What still comes is thrown away.
    Barred(u64),
}

impl Fences {
    /// Begins to sign with a key: a leaf of this authority, or something else.
    pub(crate) fn enter(&self, key: SpkiDigest, leaves_of: Option<&str>) -> Passage {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        let is_this = |gate: &&Arc<Gate>| {
            gate.key == key && gate.leaves_of.as_deref() == leaves_of && !gate.counts.borrow().fenced
        };
        let gate = match gates.iter().find(is_this) {
            Some(gate) => Arc::clone(gate),
            None => {
                let (leaves_of, counts) = (leaves_of.map(str::to_owned), watch::Sender::default());
                let gate = Arc::new(Gate { key, leaves_of, counts });
                gates.push(Arc::clone(&gate));
                gate
            }
        };
        gate.counts.send_modify(|counts| counts.signing += 1);
        Passage { gate, place: Place::Signing }
    }

    /// Waits until nobody signs with a retired key any more; bars those who still do after `patience`. Whoever calls has seen to it that
    /// nobody begins.
    pub(crate) async fn retire(&self, key: SpkiDigest, patience: Duration) -> Drained {
        let gates = self.fence(|gate| gate.key == key, |counts| counts.retired = true);
        self.drain(gates, patience).await
    }

    /// Waits until no leaf of an authority is signed any more, by whatever key; bars those that still are after `patience`. Whoever calls has seen
    /// to it that none begins.
    pub(crate) async fn freeze(&self, authority: &str, patience: Duration) -> Drained {
        let gates = self.fence(|gate| gate.leaves_of.as_deref() == Some(authority), |_| ());
        self.drain(gates, patience).await
    }

    /// Lets nobody enter any more. These gates can be found until they are shut: two may drain one, and both wait for it.
    fn fence(&self, which: impl Fn(&Gate) -> bool, how: impl Fn(&mut Counts)) -> Vec<Arc<Gate>> {
        let gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        let fenced: Vec<_> = gates.iter().filter(|gate| which(gate)).map(Arc::clone).collect();
        for gate in &fenced {
            gate.counts.send_modify(|counts| {
                counts.fenced = true;
                how(counts);
            });
        }
        fenced
    }

    async fn drain(&self, gates: Vec<Arc<Gate>>, patience: Duration) -> Drained {
        let until = Instant::now() + patience;
        for gate in &gates {
            drop(timeout_at(until, gate.counts.subscribe().wait_for(|counts| counts.signing == 0)).await);
        }
        let mut left = 0;
        for gate in &gates {
            gate.counts.send_modify(|counts| {
                counts.barred = true;
                left += counts.signing;
            });
        }
        let until = Instant::now() + RELEASE_TIME_MAX;
        for gate in &gates {
            drop(timeout_at(until, gate.counts.subscribe().wait_for(|counts| counts.releasing == 0)).await);
        }
        for gate in &gates {
            gate.counts.send_modify(|counts| {
                counts.shut = true;
                left += counts.releasing;
            });
        }
        let mut all = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|gate| !gates.iter().any(|shut| Arc::ptr_eq(gate, shut)));
        if left == 0 { Drained::Whole } else { Drained::Barred(left) }
    }
}

impl Passage {
    /// The signature is there: whether it may be released. If not, nobody may ever see it.
    pub(crate) fn signed(&mut self) -> bool {
        let mut passed = false;
        self.gate.counts.send_modify(|counts| {
            passed = !counts.barred && self.place == Place::Signing;
            if passed {
                counts.take_out(self.place);
                counts.releasing += 1;
            }
        });
        if passed {
            self.place = Place::Releasing;
        }
        passed
    }

    /// Whether the key was retired meanwhile.
    pub(crate) fn is_retired(&self) -> bool {
        self.gate.counts.borrow().retired
    }

    /// The reply is put together: whether its caller may have it. If so, it counts as given.
    pub(crate) fn release(mut self) -> bool {
        let mut passed = false;
        // Looked at and given back in one step: no drain ends between the two.
        self.gate.counts.send_modify(|counts| {
            passed = !counts.shut && self.place == Place::Releasing;
            counts.take_out(self.place);
        });
        self.place = Place::Through;
        passed
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        self.gate.counts.send_modify(|counts| counts.take_out(self.place));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> SpkiDigest {
        SpkiDigest::from_bytes([number; 32])
    }

    const LONG: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn a_drain_waits_until_the_last_reply_is_given() {
        let fences = Arc::new(Fences::default());
        let (mut first, second, _other) =
            (fences.enter(key(7), None), fences.enter(key(7), None), fences.enter(key(8), None));
        let draining = tokio::spawn({
            let fences = Arc::clone(&fences);
            async move { fences.retire(key(7), LONG).await }
        });
        tokio::task::yield_now().await;
        assert!(first.signed());
        drop(second);
        tokio::task::yield_now().await;
        assert!(!draining.is_finished(), "the first has its signature and is not given yet");
        drop(first);
        assert_eq!(draining.await.unwrap(), Drained::Whole);
    }

    #[tokio::test(start_paused = true)]
    async fn a_signature_that_comes_after_the_patience_is_never_released() {
        let fences = Fences::default();
        let mut hung = fences.enter(key(7), None);
        assert_eq!(fences.retire(key(7), LONG).await, Drained::Barred(1));
        assert!(!hung.signed());
        assert!(hung.is_retired() && !fences.enter(key(7), None).is_retired());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reply_that_comes_after_the_gate_is_shut_is_never_given() {
        let fences = Fences::default();
        let (mut given, mut late) = (fences.enter(key(7), None), fences.enter(key(7), None));
        assert!(given.signed() && late.signed() && given.release());
        assert_eq!(fences.retire(key(7), LONG).await, Drained::Barred(1));
        assert!(!late.release());
    }

    #[tokio::test]
    async fn where_nobody_signs_there_is_nothing_to_wait_for() {
        let fences = Fences::default();
        drop(fences.enter(key(7), None));
        assert_eq!(fences.retire(key(7), LONG).await, Drained::Whole);
        assert_eq!(fences.retire(key(8), LONG).await, Drained::Whole);
    }

    #[tokio::test(start_paused = true)]
    async fn who_drains_what_another_drains_waits_for_it_too() {
        let fences = Arc::new(Fences::default());
        let mut hung = fences.enter(key(7), Some("a"));
        let freezing = tokio::spawn({
            let fences = Arc::clone(&fences);
            async move { fences.freeze("a", LONG).await }
        });
        tokio::task::yield_now().await;
        let shorter = Duration::from_secs(1);
        assert_eq!(fences.retire(key(7), shorter).await, Drained::Barred(1), "it is found, although it is fenced");
        assert!(!hung.signed() && hung.is_retired(), "the rotation has returned: nothing is released after it");
        drop(hung);
        assert_eq!(freezing.await.unwrap(), Drained::Whole);
    }

    #[tokio::test(start_paused = true)]
    async fn a_freeze_fences_the_leaves_of_its_authority_under_every_key_and_nothing_else() {
        let fences = Fences::default();
        let (mut old, mut new) = (fences.enter(key(7), Some("a")), fences.enter(key(8), Some("a")));
        let (mut crl, mut other) = (fences.enter(key(8), None), fences.enter(key(9), Some("b")));
        assert_eq!(fences.freeze("a", LONG).await, Drained::Barred(2));
        assert!(!old.signed() && !new.signed() && crl.signed() && other.signed());
        assert!(!old.is_retired(), "it is signed again after the thaw");
        assert!(fences.enter(key(8), Some("a")).signed(), "whoever comes after it has a gate of its own");
    }
}
