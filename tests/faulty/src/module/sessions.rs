//! The sessions that this process has open.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use cryptoki_sys::{CK_RV, CK_SESSION_HANDLE, CK_SLOT_ID, CKR_OK, CKR_SESSION_COUNT};

use super::state::State;

/// Sessions, with the slot of each.
pub(super) struct Open {
    sessions: Mutex<BTreeMap<CK_SESSION_HANDLE, CK_SLOT_ID>>,
    /// How often all sessions were ended from outside, as far as this process did it.
    deaths: AtomicU64,
}

impl Open {
    pub(super) fn new(deaths: u64) -> Self {
        Self { sessions: Mutex::default(), deaths: AtomicU64::new(deaths) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<CK_SESSION_HANDLE, CK_SLOT_ID>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Opens a session, unless the device has no more.
    pub(super) fn open_session(&self, slot: CK_SLOT_ID, open: impl FnOnce() -> (CK_RV, CK_SESSION_HANDLE)) -> CK_RV {
        let mut sessions = self.open.lock();
        let most = self.board.sessions_max.load(SeqCst);
        if most != 0 && sessions.len() as u64 >= most - 1 {
            return CKR_SESSION_COUNT;
        }
        let (answer, session) = open();
        if answer == CKR_OK {
            sessions.insert(session, slot);
        }
        self.board.sessions.store(sessions.len() as u64, SeqCst);
        answer
    }

    /// These sessions are closed.
    pub(super) fn closed(&self, which: impl Fn(CK_SESSION_HANDLE, CK_SLOT_ID) -> bool) {
        let mut sessions = self.open.lock();
        sessions.retain(|session, slot| !which(*session, *slot));
        self.board.sessions.store(sessions.len() as u64, SeqCst);
    }

    /// Closes every session, if the test let them die since the last call.
    pub(super) fn end_sessions_that_died(&self) {
        let deaths = self.board.deaths.load(SeqCst);
        if self.open.deaths.load(SeqCst) == deaths || self.open.deaths.swap(deaths, SeqCst) == deaths {
            return;
        }
        // SoftHSM frees a session that it closes, whoever is signing in it.
        let _nobody_inside = self.inside.write().unwrap_or_else(PoisonError::into_inner);
        let mut sessions = self.open.lock();
        let slots: BTreeSet<_> = std::mem::take(&mut *sessions).into_values().collect();
        self.board.sessions.store(0, SeqCst);
        let Some(close_all) = self.real().C_CloseAllSessions else { return };
        for slot in slots {
            // SAFETY: the call takes a number, which the module behind checks.
            unsafe { close_all(slot) };
        }
    }
}
