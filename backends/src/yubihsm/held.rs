//! A session that somebody uses, and whether it can be used again afterwards.

use hallmark_yubihsm::{Error, Session};

use super::failure::{failed, was_not_done};
use crate::error::BackendError;

/// A session in use.
pub(super) struct Held<'a> {
    session: &'a mut dyn Session,
    spoiled: bool,
}

impl<'a> Held<'a> {
    pub(super) fn new(session: &'a mut dyn Session) -> Self {
        Self { session, spoiled: false }
    }

    /// One command.
    pub(super) fn call<T>(
        &mut self,
        work: impl FnOnce(&mut dyn Session) -> Result<T, Error>,
    ) -> Result<T, BackendError> {
        work(self.session).map_err(|error| {
            self.spoiled |= !was_not_done(&error);
            failed(error)
        })
    }

    /// Whether a command failed such that the session is in doubt.
    pub(super) fn is_spoiled(&self) -> bool {
        self.spoiled
    }
}
