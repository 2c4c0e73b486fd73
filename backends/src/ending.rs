//! Keys in one or several tokens, destroyed on each: what was destroyed where, and what is still to be.

use std::time::Duration;

use hallmark_policy::key::SpkiDigest;

use crate::{
    backend::Backend,
    choosing::Holders,
    error::BackendError,
    reference::{KeyLabel, KeyReference},
};

/// On which tokens a key was destroyed, and which may still have it. Of a token that is named nowhere here, something of the key's name is there that
/// cannot be told to be the key, or be destroyed as such: a twin, a key without its public half. That goes with its label, as another key of its name does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Everywhere {
    /// What the tokens are on which it was destroyed.
    pub on: Vec<String>,
    /// What the tokens are that have nothing of that name.
    pub without: Vec<String>,
    /// What the tokens are that have another key of that name.
    pub others: Vec<String>,
    /// The names of those that were away or failed. It is to be done again.
    pub away: Vec<String>,
}

/// What was destroyed with a label, and which tokens may still have some of it.
#[derive(Debug, Default)]
#[must_use = "one of the tokens may have refused"]
pub struct Cleared {
    /// What the tokens are on which private keys were destroyed, and how many on each.
    pub on: Vec<(String, usize)>,
    /// The names of the tokens that were away or failed. It is to be done again.
    pub away: Vec<String>,
    /// Why keys of that label are not to be destroyed on one of the tokens, although they were on others.
    pub refused: Option<BackendError>,
}

impl Cleared {
    /// How many keys were destroyed, in all.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.on.iter().map(|(_, keys)| keys).sum()
    }
}

impl Holders {
    /// Destroys a key on every token that has it.
    pub(crate) fn destroy(
        &self,
        reference: &KeyReference,
        expected: SpkiDigest,
        within: Duration,
    ) -> Result<Everywhere, BackendError> {
        let (there, away) = self.there_and_away();
        let (mut done, mut failed, mut left) = (Everywhere { away, ..Everywhere::default() }, Vec::new(), false);
        for holder in there {
            let own = reference.clone();
            let destroy = move |backend: &dyn Backend| backend.destroy(&own, expected);
            match holder.operate("destroy a key", within, destroy, drop) {
                Ok(()) => done.on.push(holder.told()),
                Err(BackendError::KeyNotFound { .. }) if self.are_several() => done.without.push(holder.told()),
                // What else has its name goes with its label.
                Err(error @ BackendError::WrongKey { .. }) if self.are_several() => {
                    tracing::warn!(token = holder.name, %error, "this token has another key of that name; it goes with its label");
                    done.others.push(holder.told());
                }
                Err(error @ (BackendError::KeyAmbiguous { .. } | BackendError::WrongAttribute { .. }))
                    if self.are_several() =>
                {
                    tracing::warn!(token = holder.name, %error, "what this token has of a key's name cannot be told to be the key; it goes with its label");
                    left = true;
                }
                Err(error) => {
                    tracing::error!(token = holder.name, %error, "a key is not destroyed on this token");
                    done.away.push(holder.name.clone());
                    failed.push((holder.name.clone(), error));
                }
            }
        }
        match BackendError::of_tokens(failed) {
            Some(error) if done.on.is_empty() => Err(error),
            None if done.on.is_empty() && done.away.is_empty() && done.others.is_empty() && !left => {
                Err(BackendError::KeyNotFound { key: reference.clone() })
            }
            Some(_) | None => Ok(done),
        }
    }

    /// Destroys every key of a label on every token.
    pub(crate) fn clear(&self, label: &KeyLabel, within: Duration) -> Result<Cleared, BackendError> {
        let (there, away) = self.there_and_away();
        let (mut done, mut failed) = (Cleared { away, ..Cleared::default() }, Vec::new());
        for holder in there {
            let own = label.clone();
            match holder.operate("destroy keys", within, move |backend| backend.clear(&own), drop) {
                Ok(0) => {}
                Ok(keys) => done.on.push((holder.told(), keys)),
                Err(error) => {
                    tracing::error!(token = holder.name, %error, "keys are not destroyed on this token");
                    done.away.push(holder.name.clone());
                    failed.push((holder.name.clone(), error));
                }
            }
        }
        // Also where others did it: one that may not be destroyed is an error, wherever it is.
        done.refused = BackendError::of_tokens(failed).filter(|error| !self.are_several() || !error.may_pass());
        match done.refused.take_if(|_| done.on.is_empty()) {
            Some(error) => Err(error),
            None => Ok(done),
        }
    }
}
