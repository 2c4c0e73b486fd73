//! Making a key in a device: once more where the first attempt was lost, and without leaving behind what nobody was told of.

use std::{
    cell::Cell,
    sync::{Mutex, PoisonError},
};

use crate::{
    backend::{KeyRequest, NewKey},
    error::BackendError,
    reference::KeyReference,
};

/// Most keys that are remembered to be removed.
const LEFTOVERS_MAX: usize = 16;

/// Keys whose making failed and that could not be removed yet.
#[derive(Debug, Default)]
pub(crate) struct Making(Mutex<Vec<KeyReference>>);

impl Making {
    /// Makes a key. `make` sets the cell to what may be in the device from when it was asked; `remove` removes that.
    pub(crate) fn make(
        &self,
        request: &KeyRequest,
        make: impl Fn(&Cell<Option<KeyReference>>) -> Result<NewKey, BackendError>,
        remove: impl Fn(&KeyReference) -> Result<(), BackendError>,
    ) -> Result<NewKey, BackendError> {
        match self.once(&make, &remove) {
            Err(error) if error.may_pass() => {
                tracing::warn!(label = %request.label, %error, "a key was not made; once more in a new session");
                match self.once(&make, &remove) {
                    // By the first attempt, which could not be undone.
                    Err(BackendError::LabelTaken { .. }) => Err(error),
                    result => result,
                }
            }
            result => result,
        }
    }

    fn once(
        &self,
        make: impl Fn(&Cell<Option<KeyReference>>) -> Result<NewKey, BackendError>,
        remove: impl Fn(&KeyReference) -> Result<(), BackendError>,
    ) -> Result<NewKey, BackendError> {
        self.sweep(&remove);
        let begun = Cell::new(None);
        let made = make(&begun);
        if made.is_err()
            && let Some(reference) = begun.take()
        {
            let mut leftovers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if leftovers.len() < LEFTOVERS_MAX {
                leftovers.push(reference);
            }
            drop(leftovers);
            self.sweep(&remove);
        }
        made
    }

    /// Removes keys whose making failed. What cannot be removed now is tried again before the next key is made; such a key
    /// is used by nobody, because nobody was told of it.
    fn sweep(&self, remove: impl Fn(&KeyReference) -> Result<(), BackendError>) {
        let mut leftovers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        leftovers.retain(|reference| match remove(reference) {
            Ok(()) => false,
            Err(error) => {
                tracing::error!(key = %reference, %error, "a key whose making failed could not be removed from the device");
                error.may_pass()
            }
        });
    }
}
