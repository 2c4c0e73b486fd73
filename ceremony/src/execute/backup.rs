//! A key leaves its token in wrapped form. The log says so before it does.

use hallmark_backends::BackendError;
use hallmark_ledger::{Event, KeyAction};
use hallmark_policy::key::PublicKey;

use super::{Left, OutFile, source};
use crate::{
    backup::Backup,
    check::Checked,
    error::CeremonyError,
    facts::Fact,
    meaning::BackupTask,
    output,
    run::{Open, Run},
};

/// The guard that says whether a key can be wrapped.
const EXTRACTABLE: &str = "CKA_EXTRACTABLE";

/// What is told of a key of any kind otherwise: the rehearsal has one of its own.
const OF_ITS_KIND: [&str; 3] = ["CKA_KEY_TYPE", "CKA_ALLOWED_MECHANISMS", "CKA_WRAP_WITH_TRUSTED"];

pub(super) async fn back_up(
    run: &mut Run<'_>,
    open: &mut Open,
    checked: &Checked,
    task: &BackupTask,
) -> Result<Left, CeremonyError> {
    let public = read_back(run, open, task).await?;

    run.begin("wrap", Some(open)).await?;
    let device = open.device()?;
    let (by, check_value) = source::wrap_key(device, &task.by, run.people)?;
    let event = Event::KeyEvent {
        authority: checked.authority_name().to_owned(),
        action: KeyAction::BackedUp,
        reference: task.key.to_string(),
        spki: task.spki,
        kind: public.kind(),
        backend: device.description.to_string(),
    };
    run.entries.push(open.book.record(event).await?.index);
    let wrapped = device.keyring.wrap(&task.key, task.spki, &by)?;
    drop(by);
    let facts = vec![
        Fact::same("mechanism", hallmark_backends::WRAP_MECHANISM),
        Fact::varies("check-value", &check_value),
        Fact::varies("bytes", wrapped.len()),
    ];
    let backup = Backup::new(&task.key, &public, check_value, &wrapped);
    run.done(facts, Some(open)).await?;
    let file = OutFile::plain("backup", backup.to_json(), output::SEALED);
    Ok(Left { files: vec![file], ..Left::default() })
}

/// Finds the key, which was made to be wrapped.
async fn read_back(run: &mut Run<'_>, open: &Open, task: &BackupTask) -> Result<PublicKey, CeremonyError> {
    run.begin("read-back", Some(open)).await?;
    let (public, guards) = open.device()?.read_back(&task.key, task.spki)?;
    if !guards.iter().any(|guard| guard.name == EXTRACTABLE && guard.value == "true") {
        return Err(BackendError::NotWrappable { key: task.key.clone() }.into());
    }
    let of_its_kind = |fact: &Fact| OF_ITS_KIND.contains(&fact.name.as_str());
    let mut facts: Vec<Fact> =
        guards.into_iter().map(|fact| Fact { varies: fact.varies || of_its_kind(&fact), ..fact }).collect();
    facts.push(Fact::varies("kind", public.kind()));
    facts.push(Fact::varies("key", &task.key));
    facts.push(Fact::varies("spki-sha256", public.digest()));
    run.done(facts, Some(open)).await?;
    Ok(public)
}
