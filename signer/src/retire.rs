//! What is left to do with epochs that are over: their keys are destroyed, when the policy says so. All of it may be done twice, and goes on at the
//! next start and every minute where a device or a crash stopped it.

use std::{sync::Arc, time::Duration};

use hallmark_backends::{BackendError, Everywhere, KeyLabel, KeyReference, Keyring};
use hallmark_ledger::{EpochRecord, EpochState, Epochs, Step, StoredKey};
use hallmark_policy::{
    ReasonCode, SIGNER,
    crl::{CrlScope, RevocationReason},
    file::RetiredKeyWord,
    key::{PublicKey, SpkiDigest},
    profile::Authority,
};

use crate::{
    answer::Failure,
    ca::Ca,
    core::Inner,
    crl_refresh::is_never_signed,
    epochs, later_epochs,
    making::{self, MakingError, backend},
    proven,
};

/// How long the device may take to destroy a key before that is left for later: nobody's rotation waits for it, the key signs no more.
const DESTROY_TIME_MAX: Duration = Duration::from_secs(10);

/// Does what is left to do with an authority's epochs. Gives sentences about what was done. Whoever calls changes its epochs alone. One thing
/// that cannot be done holds up no other; the first failure is told.
pub(crate) async fn settle(core: &Arc<Inner>, authority: &str) -> Result<Vec<String>, MakingError> {
    let (mut said, mut failed) = (Vec::new(), None);
    match revoke_replaced(core, authority).await {
        Ok(done) => said.extend(done),
        Err(error) => failed = Some(error),
    }
    for epoch in core.ledger.epochs(authority, Epochs::Leftover)? {
        if epoch.state == EpochState::Retired && !is_over(core, &epoch).await? {
            continue;
        }
        match destroy(core, &epoch).await {
            Ok(()) => said.push(format!("destroyed the key of epoch {} of `{authority}`", epoch.generation)),
            Err(error) => {
                tracing::error!(authority, generation = epoch.generation, %error, "an old key is not destroyed yet");
                failed.get_or_insert(error);
            }
        }
    }
    failed.map_or(Ok(said), Err)
}

/// Puts the intermediate that the active epoch replaced on the root's CRL, if that was wanted and is not done.
async fn revoke_replaced(core: &Arc<Inner>, authority: &str) -> Result<Vec<String>, MakingError> {
    let none = Ok(Vec::new());
    let Some(active) = core.ledger.epoch(authority, Epochs::Active)?.filter(|active| active.revoke_previous) else {
        return none;
    };
    core.ledger.prove_active(&active)?;
    let Some(replaced) = core.ledger.epoch(authority, Epochs::Transition(active.previous))? else { return none };
    // Nobody takes it any more, and the ledger has forgotten that it was revoked. By a clock that cannot be trusted nothing has ended.
    let Some(validity) = epochs::validity(&replaced) else { return none };
    if core.trusted_clock().await.is_ok_and(|now| now.time > validity.not_after) {
        return none;
    }
    let refused = |failure: Failure| making::refused_all(authority, "revocation", failure.reasons);
    let (generation, reason) = (replaced.generation, RevocationReason::Superseded);
    let revoked = match core.revoke_epoch(authority, generation, reason, SIGNER).await {
        Ok(revoked) => revoked,
        // It has ended meanwhile: nobody takes it any more.
        Err(failure) if failure.reasons.iter().all(|reason| reason.code == ReasonCode::CertificateUnknown) => {
            return none;
        }
        Err(failure) => return Err(refused(failure)),
    };
    let newest = core.crl_status(authority, Ca::Root).map_err(refused)?.newest;
    if newest.and_then(|crl| crl.newest_revocation).is_some_and(|listed| listed >= revoked.log_index) {
        return none;
    }
    let crl = core.sign_crl(authority, Ca::Root, None).await.map_err(refused)?;
    Ok(vec![format!("epoch {generation} of `{authority}` stands on the root's CRL number {}", crl.number)])
}

/// Signs the last CRLs of an epoch whose key is to be destroyed, of each list: they hold until everything that the key signed has ended. A key with which the
/// device does not sign is retired without one: that it fails may be why it is to be replaced.
pub(crate) async fn last_crl(core: &Arc<Inner>, epoch: &EpochRecord) -> Result<(), MakingError> {
    let policy = core.policy();
    let Some(authority) = policy.authority(&epoch.authority) else { return Ok(()) };
    let Some(validity) = epochs::validity(epoch) else { return Ok(()) };
    if authority.crl.is_none() || authority.retired_key() != RetiredKeyWord::Destroy {
        return Ok(());
    }
    let refused = |reasons| making::refused_all(&epoch.authority, "last CRL", reasons);
    let now = core.trusted_clock().await.map_err(|reason| refused(vec![reason]))?;
    if now.time > validity.not_after {
        return Ok(());
    }
    let ca = Ca::Epoch { generation: epoch.generation };
    let (authority, generation) = (&epoch.authority, epoch.generation);
    let mut lists = core.crl_lists(authority, ca).map_err(|failure| refused(failure.reasons))?;
    // Leaves name their partition's, where they have one.
    lists.reverse();
    let mut has_signed = false;
    for list in lists {
        let mut signed = core.sign_crl(authority, list, Some(validity.not_after)).await;
        if has_signed && signed.as_ref().is_err_and(is_the_device_s) {
            signed = core.sign_crl(authority, list, Some(validity.not_after)).await;
        }
        match signed {
            Ok(_) => has_signed = true,
            Err(failure) if is_never_signed(&failure) => {
                let why = failure.reasons.first().map(|reason| reason.sentence.as_str()).unwrap_or_default();
                tracing::error!(authority, generation, %list, "there is no last CRL of this list, which is never signed: {why}");
            }
            // A key that has just signed others fails for a while, and not for good.
            Err(failure) if is_the_device_s(&failure) && !has_signed => {
                tracing::error!(
                    authority,
                    generation,
                    "the device does not sign with this key: there is no last CRL of it"
                );
                return Ok(());
            }
            Err(failure) => return Err(refused(failure.reasons)),
        }
    }
    Ok(())
}

/// Whether the device, and not a decision, stands in the way of a signature.
fn is_the_device_s(failure: &Failure) -> bool {
    failure.reasons.iter().all(|reason| matches!(reason.code, ReasonCode::DeviceFailed | ReasonCode::DeadlinePassed))
}

/// Whether the key of a retired epoch is needed no longer: at once, or when the last certificate that it signed has ended. An authority that
/// the policy does not have keeps its keys, and so does one whose clock cannot be trusted.
async fn is_over(core: &Arc<Inner>, epoch: &EpochRecord) -> Result<bool, MakingError> {
    let policy = core.policy();
    match policy.authority(&epoch.authority).map(Authority::retired_key) {
        Some(RetiredKeyWord::Destroy) => Ok(true),
        Some(RetiredKeyWord::CrlOnly) => {
            let Some(key) = &epoch.key else { return Ok(true) };
            let status = core.ledger.crl_status(SpkiDigest::of(&key.spki), CrlScope::Complete)?;
            let Some(latest_end) = status.latest_end else { return Ok(true) };
            Ok(core.trusted_clock().await.is_ok_and(|now| now.time > latest_end))
        }
        None => Ok(false),
    }
}

/// Destroys the key of an epoch with everything else under its label, and says so in the log, of each token.
async fn destroy(core: &Arc<Inner>, epoch: &EpochRecord) -> Result<(), MakingError> {
    // Before anything under its label is destroyed.
    proven::intent(&core.ledger, epoch)?;
    core.ledger.prove_over(epoch)?;
    let (authority, generation) = (epoch.authority.clone(), epoch.generation);
    let known = match &epoch.key {
        Some(key) => Some((key, destroy_key(core, &authority, key).await?)),
        None => None,
    };
    let label = KeyLabel::parse(&epoch.label)?;
    let cleared = core.device_within(&authority, DESTROY_TIME_MAX, move |keyring| keyring.clear(&label)).await?;
    let cleared = cleared.map_err(backend(&authority))?;
    let mut logged = Ok(());
    for (token, keys) in cleared.on {
        let mut others = keys;
        if let Some((key, _)) = known.as_ref().filter(|(_, done)| may_have_had_it(done, &token)) {
            let public = PublicKey::parse(&key.spki)?;
            logged = logged.and(core.key_destroyed(&authority, &key.reference, &public, token.clone()).await);
            others = keys.saturating_sub(1);
        }
        // Also where an entry of another token failed: what is destroyed is not found again.
        logged = logged.and(core.keys_cleared(&authority, &epoch.label, others, token).await);
    }
    logged?;
    if let Some(error) = cleared.refused {
        return Err(backend(&authority)(error));
    }
    let mut away = known.map(|(_, done)| done.away).unwrap_or_default();
    away.extend(cleared.away);
    away.sort();
    away.dedup();
    if !away.is_empty() {
        return Err(MakingError::CopiesLeft { authority, key: epoch.label.clone(), tokens: away });
    }
    core.advance(Step::EpochDestroyed { authority, generation }).await?;
    Ok(())
}

/// Whether what a token had under the label may have been the key: it had something of its name, or could not be asked, and the key was not destroyed on
/// it already.
fn may_have_had_it(done: &Everywhere, token: &String) -> bool {
    !done.on.contains(token) && !done.without.contains(token) && !done.others.contains(token)
}

/// Destroys the key where it is told to be the key, and logs that of each token. What is left of it, or has its name, goes with its label.
async fn destroy_key(core: &Arc<Inner>, authority: &str, key: &StoredKey) -> Result<Everywhere, MakingError> {
    let expected = SpkiDigest::of(&key.spki);
    core.keyring.close(expected);
    let reference: KeyReference = key.reference.parse()?;
    let work = move |keyring: &Keyring| keyring.destroy(&reference, expected);
    match core.device_within(authority, DESTROY_TIME_MAX, work).await? {
        Ok(done) => {
            let public = PublicKey::parse(&key.spki)?;
            let mut logged = Ok(());
            for token in &done.on {
                logged = logged.and(core.key_destroyed(authority, &key.reference, &public, token.clone()).await);
            }
            logged?;
            Ok(done)
        }
        // Destroyed before, and the answer or the entry was lost.
        Err(BackendError::KeyNotFound { .. }) => {
            Ok(Everywhere { without: core.keyring.describe_all(), ..Everywhere::default() })
        }
        // There are twins, or its public half is gone.
        Err(BackendError::KeyAmbiguous { .. } | BackendError::WrongAttribute { .. }) => Ok(Everywhere::default()),
        Err(error) => Err(backend(authority)(error)),
    }
}

/// Destroys what came into the token under the label of an epoch after that had been cleared: a device may still be making a key when the
/// process that wanted it is gone. Keys of other ledgers have other labels.
pub(crate) async fn destroy_strays(core: &Arc<Inner>, authority: &str) -> Result<Vec<String>, MakingError> {
    let mut said = Vec::new();
    let keys = core.device(authority, Keyring::list).await?.map_err(backend(authority))?;
    for key in keys {
        let Some(generation) = making::generation_of(key.label(), authority) else { continue };
        let epoch = core.ledger.epoch(authority, Epochs::Generation(generation))?;
        let over = |epoch: &EpochRecord| epoch.label == key.label().as_str() && epoch.destroyed_at.is_some();
        if let Some(epoch) = epoch.filter(over) {
            proven::intent(&core.ledger, &epoch)?;
            let cleared = core.clear(authority, key.label().clone()).await?;
            if !cleared.away.is_empty() {
                let (authority, key) = (authority.to_owned(), key.to_string());
                return Err(MakingError::CopiesLeft { authority, key, tokens: cleared.away });
            }
            said.push(format!("destroyed the stray key `{key}` of epoch {generation}, which is over"));
        }
    }
    Ok(said)
}

impl Inner {
    /// Does what is left to do, for every authority. What fails is tried again.
    pub(crate) async fn settle_all(self: &Arc<Self>) {
        let Ok(records) = self.ledger.authorities() else { return };
        for record in records {
            let _alone = self.rotating.alone(&record.name).await;
            // First, as at a start: what an older database says is to be done is not done.
            if let Err(error) = later_epochs::look(self, &record.name).await {
                tracing::error!(%error, "it is not known whether tokens have keys of later epochs; they are asked again");
            }
            match settle(self, &record.name).await {
                Ok(said) => said.iter().for_each(|sentence| tracing::info!("{sentence}")),
                Err(error) => tracing::error!(%error, "an old epoch's key is still there; this is tried again"),
            }
        }
    }
}
