//! The end of a key.

use hallmark_backends::BackendError;
use hallmark_ledger::{Event, KeyAction};

use super::Left;
use crate::{
    check::Checked,
    error::CeremonyError,
    facts::Fact,
    meaning::DestroyTask,
    run::{Open, Run, digest_fact},
};

/// The guard that says whether a key may be destroyed: the one that must be as it was rehearsed.
const DESTROYABLE: &str = "CKA_DESTROYABLE";

pub(super) async fn destroy(
    run: &mut Run<'_>,
    open: &mut Open,
    checked: &Checked,
    task: &DestroyTask,
) -> Result<Left, CeremonyError> {
    run.begin("read-back", Some(open)).await?;
    open.device()?.is_alone(&task.key)?;
    let guards = match open.device()?.guards(&task.key, task.spki) {
        // An interrupted run of this ceremony destroyed it.
        Err(CeremonyError::Device(error)) if open.journal.is_touching() && is_gone(&error) => None,
        found => Some(found?),
    };
    let is_there = guards.is_some();
    // Other kinds of keys have other guards, and keys behind other interfaces have not this one.
    let gone = if open.device()?.is_behind_pkcs11() { vec![Fact::same(DESTROYABLE, "true")] } else { Vec::new() };
    let facts = guards.unwrap_or(gone);
    let destroyable = facts.into_iter().filter(|fact| fact.name == DESTROYABLE);
    run.done(destroyable.collect(), Some(open)).await?;

    run.begin("destroy", Some(open)).await?;
    open.journal.touch()?;
    if is_there {
        let public = open.device()?.open_key(&task.key, task.spki)?;
        open.journal.end(public.kind())?;
        open.device()?.keyring.destroy(&task.key, task.spki)?;
    } else {
        // Where a key ends slowly, the device says so once more; it may also be elsewhere.
        match open.device()?.keyring.destroy(&task.key, task.spki) {
            Ok(_) => {}
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if open.device()?.labelled(task.key.label())?.contains(&task.key) {
        return Err(CeremonyError::Wrong { what: "end of the key", sentence: "the token still has it".to_owned() });
    }
    run.entries.extend(log(open, checked, task).await?);
    run.done(vec![Fact::varies("destroyed", &task.key)], Some(open)).await?;
    Ok(Left { digests: vec![digest_fact("spki-sha256", task.spki.as_bytes())], ..Left::default() })
}

/// Has the log say that the key was destroyed: also where an earlier run destroyed it and was interrupted. One that died between the entry and its own note of that
/// has it said twice, which is true both times.
async fn log(open: &mut Open, checked: &Checked, task: &DestroyTask) -> Result<Option<u64>, CeremonyError> {
    if let Some(index) = open.journal.end_in_log() {
        return Ok(Some(index));
    }
    let Some(kind) = open.journal.ending() else { return Ok(None) };
    let event = Event::KeyEvent {
        authority: checked.authority_name().to_owned(),
        action: KeyAction::Destroyed,
        reference: task.key.to_string(),
        spki: task.spki,
        kind,
        backend: open.device()?.description.to_string(),
    };
    let index = open.book.record(event).await?.index;
    open.journal.end_is_logged(index)?;
    Ok(Some(index))
}

fn is_gone(error: &BackendError) -> bool {
    matches!(error, BackendError::KeyNotFound { .. })
}
