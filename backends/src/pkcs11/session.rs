//! A session that is logged in, for as long as the module lives in which it was opened.

use std::{fmt, mem, sync::Arc};

use cryptoki::session::Session;

use super::module::Module;
use crate::{class::Failure, error::BackendError};

/// A session of one life of its module.
pub(crate) struct TokenSession {
    module: Arc<Module>,
    life: u64,
    /// `None` only while it is dropped.
    session: Option<Session>,
}

impl TokenSession {
    pub(super) fn new(module: Arc<Module>, life: u64, session: Session) -> Self {
        Self { module, life, session: Some(session) }
    }

    /// Works in the session. After the module was initialised anew it is none any more: its handle may be another's.
    pub(crate) fn run<T>(&self, work: impl FnOnce(&Session) -> Result<T, BackendError>) -> Result<T, BackendError> {
        let inside = self.module.life.enter();
        match &self.session {
            Some(session) if *inside == self.life => work(session),
            Some(_) | None => {
                let failure =
                    Failure { call: "C_Initialize".to_owned(), answer: "CKR_SESSION_HANDLE_INVALID since".to_owned() };
                Err(BackendError::Gone { failure })
            }
        }
    }
}

impl Drop for TokenSession {
    fn drop(&mut self) {
        let inside = self.module.life.enter();
        if *inside != self.life {
            // Closing it could close a session of somebody else.
            mem::forget(self.session.take());
        }
        // Closed while this thread is inside.
        self.session = None;
        drop(inside);
    }
}

impl fmt::Debug for TokenSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenSession of life {}", self.life)
    }
}
