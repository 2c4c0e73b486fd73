//! Who signs with which key at this moment, so that a rotation can wait for them, and bar those that never come back.
//!
//! A passage is taken before the commit and given back when the reply is put together. The barrier is the ledger's transaction: after it
//! nothing new is committed for the old key. What was committed before is in here, and drains.

use std::{
    collections::HashMap,
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
    gates: Mutex<HashMap<SpkiDigest, Arc<Gate>>>,
}

#[derive(Default)]
struct Gate {
    counts: watch::Sender<Counts>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// Committed or about to be, and not signed yet.
    signing: u64,
    /// Signed, and not given to its caller yet.
    releasing: u64,
    /// Nothing passes from signing to releasing any more.
    barred: bool,
}

/// The way of one certificate past the gate of its issuer's key, until it is dropped.
pub(crate) struct Passage {
    gate: Arc<Gate>,
    releasing: bool,
}

impl std::fmt::Debug for Passage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passage").field("releasing", &self.releasing).finish_non_exhaustive()
    }
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drained {
    /// Everything came out in time.
    Whole,
    /// So many signatures did not come in time. Whatever the device still gives is thrown away.
    Barred(u64),
}

impl Fences {
    /// Begins to sign with a key.
    pub(crate) fn enter(&self, issuer: SpkiDigest) -> Passage {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        let gate = Arc::clone(gates.entry(issuer).or_default());
        gate.counts.send_modify(|counts| counts.signing += 1);
        Passage { gate, releasing: false }
    }

    /// Waits until nobody signs with a key any more; bars those who still do after `patience`. Whoever calls has seen to it that
    /// nobody begins.
    pub(crate) async fn drain(&self, issuer: SpkiDigest, patience: Duration) -> Drained {
        let gate = self.gates.lock().unwrap_or_else(PoisonError::into_inner).remove(&issuer);
        let Some(gate) = gate else { return Drained::Whole };
        let mut counts = gate.counts.subscribe();
        let until = Instant::now() + patience;
        drop(timeout_at(until, counts.wait_for(|counts| counts.signing == 0)).await);
        let mut left = 0;
        gate.counts.send_modify(|counts| {
            counts.barred = true;
            left = counts.signing;
        });
        let until = Instant::now() + RELEASE_TIME_MAX;
        drop(timeout_at(until, counts.wait_for(|counts| counts.releasing == 0)).await);
        if left == 0 { Drained::Whole } else { Drained::Barred(left) }
    }
}

impl Passage {
    /// The signature is there: whether it may be released. If not, nobody may ever see it.
    pub(crate) fn signed(&mut self) -> bool {
        let mut passed = false;
        self.gate.counts.send_modify(|counts| {
            passed = !counts.barred && !self.releasing;
            if passed {
                counts.signing -= 1;
                counts.releasing += 1;
            }
        });
        self.releasing |= passed;
        passed
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let releasing = self.releasing;
        self.gate.counts.send_modify(|counts| {
            let count = if releasing { &mut counts.releasing } else { &mut counts.signing };
            *count = count.saturating_sub(1);
        });
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
        let (mut first, second, _other) = (fences.enter(key(7)), fences.enter(key(7)), fences.enter(key(8)));
        let draining = tokio::spawn({
            let fences = Arc::clone(&fences);
            async move { fences.drain(key(7), LONG).await }
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
        let mut hung = fences.enter(key(7));
        assert_eq!(fences.drain(key(7), LONG).await, Drained::Barred(1));
        assert!(!hung.signed());
    }

    #[tokio::test]
    async fn where_nobody_signs_there_is_nothing_to_wait_for() {
        let fences = Fences::default();
        drop(fences.enter(key(7)));
        assert_eq!(fences.drain(key(7), LONG).await, Drained::Whole);
        assert_eq!(fences.drain(key(8), LONG).await, Drained::Whole);
    }
}
