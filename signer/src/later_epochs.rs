//! Keys of epochs that this ledger made and does not know: its database was restored from before they were.
//!
//! Every token is asked once after the start, by itself: one that is away or fails then is asked again in the background until it has answered.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use hallmark_backends::KeyReference;
use hallmark_ledger::Epochs;

use crate::{
    core::Inner,
    making::{self, MakingError},
};

/// Which tokens have answered since the start, for which authority.
#[derive(Default)]
pub(crate) struct LookedAt(Mutex<BTreeSet<(String, String)>>);

impl LookedAt {
    fn tokens(&self, authority: &str) -> BTreeSet<String> {
        let looked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        looked.iter().filter(|(name, _)| name == authority).map(|(_, token)| token.clone()).collect()
    }

    fn has_answered(&self, authority: &str, token: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((authority.to_owned(), token));
    }
}

/// Asks the tokens that have not answered yet, and stops the authority where one has such a key. Gives sentences about what was found, and about who
/// is still to answer.
pub(crate) async fn look(core: &Arc<Inner>, authority: &str) -> Result<Vec<String>, MakingError> {
    let answered = core.looked_at.tokens(authority);
    if core.keyring.tokens().iter().all(|token| answered.contains(&token.name)) {
        return Ok(Vec::new());
    }
    let mut said = Vec::new();
    let ask = move |keyring: &hallmark_backends::Keyring| keyring.list_each(|token| !answered.contains(token));
    for (token, listed) in core.device(authority, ask).await? {
        match listed {
            Ok(keys) => {
                for key in keys {
                    said.extend(judge(core, authority, &token, &key).await?);
                }
                core.looked_at.has_answered(authority, token);
            }
            Err(error) => said.push(format!(
                "it is not known whether token {token} has keys of later epochs of `{authority}` ({error}); it is asked until it answers"
            )),
        }
    }
    Ok(said)
}

/// Stops the authority, if it has to be for this key and was not before.
async fn judge(
    core: &Arc<Inner>,
    authority: &str,
    token: &str,
    key: &KeyReference,
) -> Result<Option<String>, MakingError> {
    let label = key.label();
    let Some(generation) = making::generation_of(label, authority) else { return Ok(None) };
    if !making::is_of_this_ledger(core, label, authority, generation) {
        return Ok(None);
    }
    let known = core.ledger.epoch(authority, Epochs::Generation(generation))?;
    if known.is_some_and(|epoch| epoch.label == label.as_str()) {
        return Ok(None);
    }
    let sentence = format!(
        "token {token} has a key of epoch {generation}, `{label}`, which this ledger made and does not know: an older database was restored"
    );
    let at = core.clock.wall().millis;
    let stopped = core.ledger.stop_authority(authority, label.as_str(), &sentence, at).await?;
    Ok(stopped.map(|_| sentence))
}
