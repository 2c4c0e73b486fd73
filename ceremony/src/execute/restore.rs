//! A key comes back out of its wrapping, and proves that it is the one that it should be. The log says so before it does, and after.

use hallmark_ledger::{Event, KeyAction};

use super::{Left, key, source};
use crate::{
    check::{self, Checked, Crl},
    error::CeremonyError,
    facts::Fact,
    meaning::RestoreTask,
    order,
    run::{Open, Run, defect},
};

pub(super) async fn restore(
    run: &mut Run<'_>,
    open: &mut Open,
    checked: &Checked,
    task: &RestoreTask,
) -> Result<Left, CeremonyError> {
    run.begin("restore", Some(open)).await?;
    let backup = checked.backup.as_ref().ok_or_else(|| defect("no backup was read"))?;
    let public = backup.public.clone();
    let (by, found) = source::unwrapping(&task.quorum, run.people)?;
    if !backup.check_value.is_empty() && found != backup.check_value {
        return Err(CeremonyError::OtherWrapKey { found, wanted: backup.check_value.clone() });
    }
    open.journal.touch()?;
    let device = open.device()?;
    let event = |action| Event::KeyEvent {
        authority: checked.authority_name().to_owned(),
        action,
        reference: task.key.to_string(),
        spki: task.spki,
        kind: public.kind(),
        backend: device.description.to_string(),
    };
    run.entries.push(open.book.record(event(KeyAction::Restoring)).await?.index);
    device.keyring.unwrap(&task.key, &public, &backup.wrapped, &by)?;
    drop(by);
    run.entries.push(open.book.record(event(KeyAction::Restored)).await?.index);
    let restored = (task.key.clone(), public.clone());
    key::generated(run, open, &restored).await?;
    key::read_back(run, open, &restored).await?;

    // The key signs a request that asks for nothing: what comes out is verified under the public key of the backup, and kept by nobody.
    let (now, serial) = (open.journal.now(), open.journal.serial()?);
    let approved = check::decide(run.ceremony, checked, Some(&public), now, serial, Crl::default())?
        .ok_or_else(|| defect("nothing was decided"))?;
    order::certify(run, open, approved, &public).await?;
    run.begin("verify", Some(open)).await?;
    run.done(vec![Fact::same("signature", "verifies under the public key of the backup")], Some(open)).await?;
    Ok(Left { key: Some(restored), ..Left::default() })
}
