//! A key and nothing else.

use hallmark_backends::{KeyPurpose, NewKey};
use hallmark_ledger::{Event, KeyAction};

use super::{Left, OutFile};
use crate::{
    check::Checked,
    error::CeremonyError,
    facts::Fact,
    meaning::KeyTask,
    output,
    run::{Open, Run},
};

pub(super) async fn make(
    run: &mut Run<'_>,
    open: &mut Open,
    checked: &Checked,
    task: &KeyTask,
) -> Result<Left, CeremonyError> {
    run.begin("generate", Some(open)).await?;
    open.journal.touch()?;
    let purpose = if task.destroyable { KeyPurpose::Epoch } else { KeyPurpose::Root };
    let device = open.device()?;
    let (NewKey { reference, public }, is_new) = device.make(&task.label, task.kind, purpose)?;
    let event = Event::KeyEvent {
        authority: checked.authority_name().to_owned(),
        action: if is_new { KeyAction::Generated } else { KeyAction::TakenOver },
        reference: reference.to_string(),
        spki: public.digest(),
        kind: public.kind(),
        backend: device.description.to_string(),
    };
    run.entries.push(open.book.record(event).await?.index);
    let facts = vec![
        Fact::same("kind", public.kind()),
        Fact::varies("key", &reference),
        Fact::varies("spki-sha256", public.digest()),
    ];
    run.done(facts, Some(open)).await?;

    run.begin("read-back", Some(open)).await?;
    run.done(open.device()?.guards(&reference, public.digest())?, Some(open)).await?;

    let pem = output::pem("PUBLIC KEY", public.spki()).into_bytes();
    let file = OutFile::plain("public-key", pem, output::PUBLIC);
    Ok(Left { files: vec![file], key: Some((reference, public)), digests: Vec::new() })
}
