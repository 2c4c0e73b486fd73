//! The rung of the ladder that ends a module's state and begins it anew: C_Finalize and C_Initialize.
//!
//! PKCS #11 has one state per process, and finalising it while another thread is inside is undefined. So every thread that
//! calls into a module holds [`Life::enter`] meanwhile, and a session knows the life it was opened in: after a renewal, its
//! handle may belong to somebody else.

use std::{
    sync::{
        Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11},
    error::{Error, RvError},
};

use super::{failure::failed, raw::Arguments};
use crate::{backoff::Backoff, error::BackendError};

/// How soon a module that was renewed in vain is renewed again, at first and at most.
const RENEWALS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(1_500));

/// How long a renewal waits for calls that are under way. One that hangs makes it impossible in this process.
const WAIT_MAX: Duration = Duration::from_millis(500);

/// How often it looks whether they are over.
const LOOK: Duration = Duration::from_millis(2);

/// How many sessions in a row must fail to open, with an answer that could be one session's trouble alone, before the
/// module is renewed.
const OPENINGS_MAX: u32 = 3;

/// The state of a module in this process.
#[derive(Debug)]
pub(super) struct Life {
    /// Counts renewals.
    number: RwLock<u64>,
    renewals: Mutex<Backoff>,
    openings_failed: AtomicU32,
}

/// A thread is inside the module.
pub(super) type Inside<'a> = RwLockReadGuard<'a, u64>;

impl Life {
    pub(super) fn new() -> Self {
        let (first, most) = RENEWALS;
        Self {
            number: RwLock::new(0),
            renewals: Mutex::new(Backoff::new(first, most)),
            openings_failed: AtomicU32::new(0),
        }
    }

    /// Held while a thread is inside the module; it tells which life it is.
    pub(super) fn enter(&self) -> Inside<'_> {
        self.number.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session was opened and logged in: the module is well.
    pub(super) fn is_well(&self) {
        self.openings_failed.store(0, Ordering::Relaxed);
        self.renewals.lock().unwrap_or_else(PoisonError::into_inner).reset();
    }

    /// Whether no session can be opened any more, as far as this answer to an attempt tells.
    pub(super) fn is_over(&self, error: &BackendError) -> bool {
        if matches!(error, BackendError::Broken { .. }) {
            return self.openings_failed.fetch_add(1, Ordering::Relaxed) + 1 >= OPENINGS_MAX;
        }
        matches!(error, BackendError::Gone { .. } | BackendError::TokenNotFound { .. })
    }

    /// Ends this life of the module and begins another, unless somebody did so since `seen`, or it was tried in vain a
    /// moment ago. Whether it is worth asking again.
    pub(super) fn renew(&self, context: &Pkcs11, arguments: Option<&Arguments>, seen: u64) -> bool {
        let mut renewals = self.renewals.lock().unwrap_or_else(PoisonError::into_inner);
        if *self.enter() != seen {
            return true;
        }
        if !renewals.is_due(Instant::now()) {
            return false;
        }
        renewals.failed(Instant::now());
        let Some(mut number) = self.alone() else {
            tracing::error!(
                "the PKCS#11 module cannot be initialised anew, because a call hangs in it; restart the daemon if it stays so"
            );
            return false;
        };
        let finalized = context.clone().finalize();
        let initialized = initialize(context, arguments);
        if finalized.is_ok() || matches!(initialized, Ok(Initialized::Now)) {
            *number += 1;
            tracing::warn!("the PKCS#11 module was finalised, because its sessions were dead");
        }
        match initialized {
            // Also where it could not be finalised: perhaps the device is back meanwhile.
            Ok(Initialized::Now | Initialized::Before) => true,
            Err(error) => {
                tracing::warn!(error = %failed(error), "the PKCS#11 module does not initialise; it is tried again");
                false
            }
        }
    }

    /// The module, with no thread inside.
    fn alone(&self) -> Option<RwLockWriteGuard<'_, u64>> {
        let until = Instant::now() + WAIT_MAX;
        loop {
            match self.number.try_write() {
                Ok(number) => return Some(number),
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) if Instant::now() >= until => return None,
                Err(TryLockError::WouldBlock) => thread::sleep(LOOK),
            }
        }
    }
}

/// Whether a module was initialised by this call or before.
pub(super) enum Initialized {
    Now,
    Before,
}

/// Initialises a module for use by several threads.
pub(super) fn initialize(context: &Pkcs11, arguments: Option<&Arguments>) -> Result<Initialized, Error> {
    let flags = CInitializeFlags::OS_LOCKING_OK;
    match context.initialize(arguments.map_or_else(|| CInitializeArgs::new(flags), |own| own.with(flags))) {
        Ok(()) => Ok(Initialized::Now),
        Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, Function::Initialize)) => Ok(Initialized::Before),
        Err(error) => Err(error),
    }
}
