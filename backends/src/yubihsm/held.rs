//! A session that somebody uses, and whether it can be used again afterwards.

use hallmark_yubihsm::{Error, Session};

use super::failure::{failed, was_not_done};
use crate::error::BackendError;

/// A session in use.
pub(super) struct Held<'a> {
    session: &'a mut dyn Session,
    is_new: bool,
    spoiled: bool,
}

impl<'a> Held<'a> {
    pub(super) fn new(session: &'a mut dyn Session, is_new: bool) -> Self {
        Self { session, is_new, spoiled: false }
    }

    /// Whether nothing was done in it before.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
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
