//! A key and nothing else; and what every key that is made goes through.

use hallmark_backends::{KeyLabel, KeyPurpose, KeyReference, NewKey};
use hallmark_ledger::{Event, KeyAction};
use hallmark_policy::key::{KeyKind, PublicKey};

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
    let purpose = run.ceremony.task.purpose();
    let key = generate(run, open, checked, (&task.label, task.kind, purpose)).await?;
    generated(run, open, &key).await?;
    read_back(run, open, &key).await?;
    let pem = output::pem("PUBLIC KEY", key.1.spki()).into_bytes();
    let file = OutFile::plain("public-key", pem, output::PUBLIC);
    Ok(Left { files: vec![file], key: Some(key), digests: Vec::new() })
}

/// Makes a key, or takes over the one that an interrupted run made, and writes it into the log.
pub(super) async fn generate(
    run: &mut Run<'_>,
    open: &Open,
    checked: &Checked,
    (label, kind, purpose): (&KeyLabel, KeyKind, KeyPurpose),
) -> Result<(KeyReference, PublicKey), CeremonyError> {
    let device = open.device()?;
    let (NewKey { reference, public }, is_new) = device.make(label, kind, purpose)?;
    let event = Event::KeyEvent {
        authority: checked.authority_name().to_owned(),
        action: if is_new { KeyAction::Generated } else { KeyAction::TakenOver },
        reference: reference.to_string(),
        spki: public.digest(),
        kind: public.kind(),
        backend: device.description.to_string(),
    };
    run.entries.push(open.book.record(event).await?.index);
    Ok((reference, public))
}

/// Ends the step `generate`.
pub(super) async fn generated(
    run: &mut Run<'_>,
    open: &Open,
    (reference, public): &(KeyReference, PublicKey),
) -> Result<(), CeremonyError> {
    let mut facts = vec![
        Fact::same("kind", public.kind()),
        Fact::varies("key", reference),
        Fact::varies("spki-sha256", public.digest()),
    ];
    if let KeyPurpose::Wrappable(by) = run.ceremony.task.purpose() {
        facts.push(Fact::same("wrappable", crate::wrappable(by)));
    }
    run.done(facts, Some(open)).await
}

/// The step `read-back`: nothing is done with a key that could be another, or that is less strictly kept than it should be.
pub(super) async fn read_back(
    run: &mut Run<'_>,
    open: &Open,
    (reference, public): &(KeyReference, PublicKey),
) -> Result<(), CeremonyError> {
    run.begin("read-back", Some(open)).await?;
    let (_, guards) = open.device()?.read_back(reference, public.digest())?;
    run.done(guards, Some(open)).await
}
