//! Making an authority: its root, and its first epoch where it rotates by age. Every step is in the ledger before the next begins, so
//! that an interrupted start goes on where it stopped.

use std::sync::Arc;

use hallmark_backends::{BackendError, KeyPurpose, NewKey};
use hallmark_ledger::{AuthorityRecord, AuthorityState, Consent, EpochState, Epochs, KeyAction, Step};
use hallmark_policy::{authority::CaRequest, file::RotatesWord, profile::Authority};

use crate::{
    authorities,
    bring::{Roots, bring_root},
    core::Inner,
    epoch,
    making::{self, MakingError, backend, generate, label, refused, sign_ca},
    proven,
};

/// Who begins the first epoch and puts it in force, in the log.
const BY_INIT: &str = "init";

/// Brings an authority as far as serving. Says in sentences what was made.
pub(crate) async fn create(
    core: &Arc<Inner>,
    authority: &Authority,
    roots: &Roots,
) -> Result<Vec<String>, MakingError> {
    let mut said = Vec::new();
    let record = root(core, authority, roots, &mut said).await?;
    first_epoch(core, authority, &record, &mut said).await?;
    Ok(said)
}

async fn root(
    core: &Arc<Inner>,
    authority: &Authority,
    roots: &Roots,
    said: &mut Vec<String>,
) -> Result<AuthorityRecord, MakingError> {
    let name = &authority.name;
    loop {
        let Some(record) = core.ledger.authority(name)? else {
            if authority.root.offline || roots.contains_key(name) {
                let record = bring_root(core, authority, roots).await?;
                let by_ceremony = roots.get(name).is_some_and(|root| root.ceremony.is_some());
                let from =
                    if by_ceremony { "from its ceremony, which the log says" } else { "which no ceremony speaks for" };
                let place = if record.is_offline() { "elsewhere" } else { "here" };
                said.push(format!("took the root certificate of `{name}`, whose key is {place}, {from}"));
                return Ok(record);
            }
            core.may_do_without_ceremony(name)?;
            let label = label(core, name, "root").map_err(|reason| refused(name, "root", reason))?;
            let owners = authority.owner_keys().to_vec();
            core.advance(Step::RootIntent { authority: name.clone(), label, owners }).await?;
            continue;
        };
        proven::authority(&core.ledger, &record)?;
        core.spoken_for(&record)?;
        match record.state {
            AuthorityState::Intent => {
                let (key, done) = root_key(core, authority, &record.label).await?;
                said.push(format!("{done} the root key of `{name}`: {} {}", authority.root.key, key.reference));
                let (reference, spki) = (key.reference.to_string(), key.public.spki().to_vec());
                core.advance(Step::RootKey { authority: name.clone(), reference, spki }).await?;
            }
            AuthorityState::Keyed => {
                let key = authorities::open_key(&core.keyring, name, record.key.as_ref())?;
                if record.root.is_none() {
                    sign_ca(core, name, &CaRequest::Root, &key, "root certificate").await?;
                    said.push(format!("signed the root CA certificate of `{name}`: {}", authority.root.subject));
                }
                core.advance(Step::RootReady { authority: name.clone() }).await?;
            }
            AuthorityState::Ready => return Ok(record),
        }
    }
}

/// Generates the root's key under its label. The one key that an interrupted start left under that label is taken over, if it is
/// as strictly kept as a new one: its label is random and stood in this ledger's log before the key was made, and a root's key
/// cannot be destroyed from here.
async fn root_key(
    core: &Arc<Inner>,
    authority: &Authority,
    label: &str,
) -> Result<(NewKey, &'static str), MakingError> {
    let (name, purpose) = (&authority.name, KeyPurpose::Root);
    let left = core.device(name, making::labelled(label)?).await?.map_err(backend(name))?;
    match left.as_slice() {
        [] => Ok((generate(core, name, label, &authority.root, purpose).await?, "made")),
        [reference] => {
            let public = core.keyring.inspect(reference, purpose).map_err(backend(name))?;
            tracing::warn!(%reference, "took over the key that an interrupted start had left");
            core.key_event(name, KeyAction::TakenOver, &reference.to_string(), &public).await?;
            Ok((NewKey { reference: reference.clone(), public }, "took over"))
        }
        [first, ..] => Err(backend(name)(BackendError::KeyAmbiguous { key: first.clone() })),
    }
}

/// The first epoch of an authority that rotates by age. One that rotates by manifest waits for its first manifest.
async fn first_epoch(
    core: &Arc<Inner>,
    authority: &Authority,
    record: &AuthorityRecord,
    said: &mut Vec<String>,
) -> Result<(), MakingError> {
    let name = &authority.name;
    if authority.rotates() == RotatesWord::Manifest || core.ledger.epoch(name, Epochs::Active)?.is_some() {
        return Ok(());
    }
    let generation = match core.ledger.epoch(name, Epochs::Making)? {
        Some(making) => making.generation,
        None => {
            let consent = Consent { by: BY_INIT.to_owned(), ..Consent::default() };
            epoch::begin_by_age(core, authority, 0, consent).await?
        }
    };
    let prepared = epoch::prepare(core, authority, record, generation, said).await?;
    if prepared.state != EpochState::Prepared {
        return Ok(());
    }
    epoch::not_ended(core, &prepared).await?;
    let by = BY_INIT.to_owned();
    core.advance(Step::EpochActive { authority: name.clone(), generation, revoke_previous: false, by }).await?;
    said.push(format!("epoch {generation} of `{name}` is active"));
    Ok(())
}
