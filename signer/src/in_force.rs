//! The policy in force, and the door between deciding and changing it.
//!
//! Whoever decides passes the door with others, and holds it open until the decision is committed. Whoever changes the policy
//! passes alone: it is logged, takes its place, and only then is anything decided again. So no decision is made under a
//! policy that is not in the log, and none is refused because the policy changed under it.

use std::sync::{Arc, PoisonError, RwLock};

use hallmark_ledger::UnixMillis;
use hallmark_policy::Policy;
use tokio::sync::{Mutex, MutexGuard, RwLock as AsyncRwLock, RwLockReadGuard, RwLockWriteGuard};

/// The policy in force.
pub(crate) struct InForce {
    current: RwLock<Current>,
    door: AsyncRwLock<()>,
    changing: Mutex<()>,
}

/// A policy, and since when it is in force.
#[derive(Clone)]
pub(crate) struct Current {
    pub(crate) policy: Arc<Policy>,
    pub(crate) since: Since,
}

/// Where a policy came into force.
#[derive(Clone, Debug)]
pub(crate) struct Since {
    /// Index of the entry.
    pub(crate) log_index: u64,
    /// Its time.
    pub(crate) at: UnixMillis,
    /// Who brought it.
    pub(crate) by: String,
}

/// Held from a decision to its commit.
pub(crate) type Deciding<'a> = RwLockReadGuard<'a, ()>;

impl InForce {
    pub(crate) fn new(current: Current) -> Self {
        Self { current: RwLock::new(current), door: AsyncRwLock::default(), changing: Mutex::default() }
    }

    /// What is in force at this moment.
    pub(crate) fn current(&self) -> Current {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// While this is held, no other policy comes into force.
    pub(crate) async fn deciding(&self) -> Deciding<'_> {
        self.door.read().await
    }

    /// While this is held, nobody else prepares a change.
    pub(crate) async fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().await
    }

    /// While this is held, nothing is being decided.
    pub(crate) async fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.door.write().await
    }

    /// Puts another policy in its place. Whoever calls holds the door alone.
    pub(crate) fn replace(&self, current: Current) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
    }
}
