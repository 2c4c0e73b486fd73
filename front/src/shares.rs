//! Each caller's share of the core: how many of its calls are under way that are not admitted one by one, as mints are.
//!
//! The core has some of a caller at a time, a few more wait here, in their order, and what is beyond is refused. So nobody keeps the core from
//! others by questions that take it long, over however many connections.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::caller::CallerId;

/// Calls of one caller that the core has at one time, but for mints and streams.
pub const CALLS_WITH_CORE_MAX: usize = 16;
/// The same with those that wait for their turn.
pub const CALLS_UNDER_WAY_MAX: usize = 64;
/// Streams of one caller at one time; the core has no more of a caller, either.
pub const STREAMS_OF_CALLER_MAX: usize = 256;

/// The shares of all callers. A cheap handle: clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Shares(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    with_core_max: usize,
    under_way_max: usize,
    callers: Mutex<HashMap<CallerId, Share>>,
}

/// A caller's.
#[derive(Debug)]
struct Share {
    under_way: usize,
    turns: Arc<Semaphore>,
}

/// A call's part of it, until it is dropped: when the core has done with the call.
#[derive(Debug)]
pub(crate) struct Part {
    // Given back before its place is, so that the core never has more than that.
    _turn: OwnedSemaphorePermit,
    _place: Place,
}

/// One of those that are under way.
#[derive(Debug)]
struct Place {
    shares: Shares,
    caller: CallerId,
}

/// The caller has too many calls under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Shares {
    /// For calls.
    pub(crate) fn of_calls() -> Self {
        Self::new(CALLS_WITH_CORE_MAX, CALLS_UNDER_WAY_MAX)
    }

    /// For streams, of which none waits.
    pub(crate) fn of_streams() -> Self {
        Self::new(STREAMS_OF_CALLER_MAX, STREAMS_OF_CALLER_MAX)
    }

    fn new(with_core_max: usize, under_way_max: usize) -> Self {
        Self(Arc::new(Inner { with_core_max, under_way_max, callers: Mutex::default() }))
    }

    /// Waits until a call of this caller may go to the core.
    pub(crate) async fn take(&self, caller: CallerId) -> Result<Part, TooMany> {
        let (place, turns) = self.place(caller)?;
        // It is never closed.
        let turn = turns.acquire_owned().await.map_err(|_| TooMany)?;
        Ok(Part { _turn: turn, _place: place })
    }

    fn place(&self, caller: CallerId) -> Result<(Place, Arc<Semaphore>), TooMany> {
        let mut callers = self.lock();
        let new = || Share { under_way: 0, turns: Arc::new(Semaphore::new(self.0.with_core_max)) };
        let share = callers.entry(caller).or_insert_with(new);
        if share.under_way >= self.0.under_way_max {
            return Err(TooMany);
        }
        share.under_way += 1;
        Ok((Place { shares: self.clone(), caller }, Arc::clone(&share.turns)))
    }

    /// No code runs under this lock that could leave the state half changed, so a poisoned one is as good.
    fn lock(&self) -> MutexGuard<'_, HashMap<CallerId, Share>> {
        self.0.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut callers = self.shares.lock();
        if let Some(share) = callers.get_mut(&self.caller) {
            share.under_way = share.under_way.saturating_sub(1);
            if share.under_way == 0 {
                callers.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_has_nothing_under_way_leaves_no_trace() {
        let shares = Shares::of_streams();
        let callers = [b"one", b"two"].map(|name| CallerId::of_name(name));
        let mut parts = Vec::new();
        for _ in 0..STREAMS_OF_CALLER_MAX {
            for caller in callers {
                parts.push(shares.take(caller).await.unwrap());
            }
        }
        assert_eq!(shares.take(callers[0]).await.unwrap_err(), TooMany);
        parts.truncate(1);
        assert_eq!(shares.lock().len(), 1);
        drop(parts);
        assert!(shares.lock().is_empty());
    }
}
