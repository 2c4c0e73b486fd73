//! A new PIN for the token, which only enough custodians have together. Their shares are durable before the token has it.

use std::fs;

use super::{Left, OutFile};
use crate::{
    device::{self, Device},
    error::CeremonyError,
    facts::Fact,
    meaning::{Custodian, DevicePlace, QuorumTask, Task},
    output,
    quorum::{self, QuorumRecord, Secret, Share, Shared, paper::Paper},
    run::{Open, Run, defect, digest_fact},
};

/// Whether an interrupted run may have given the token its new PIN.
pub(super) fn may_be_changed(run: &Run<'_>, open: &Open) -> bool {
    matches!(run.ceremony.task, Task::Quorum(_)) && open.journal.is_touching()
}

/// Logs in with the PIN that an interrupted run gave the token: the shares are where it wrote them.
pub(super) fn open(run: &mut Run<'_>, place: &DevicePlace) -> Result<Device, CeremonyError> {
    let Task::Quorum(task) = &run.ceremony.task else { return Err(defect("the task has no quorum")) };
    let pin = device::pin_of_quorum(&QuorumRecord::read(&task.record)?, run.people)?;
    Device::open_with(place, pin)
}

pub(super) async fn split(run: &mut Run<'_>, open: &mut Open, task: &QuorumTask) -> Result<Left, CeremonyError> {
    run.begin("split", Some(open)).await?;
    let names: Vec<String> = task.custodians.iter().map(|custodian| custodian.name.clone()).collect();
    let fresh = match open.pin_is_changed {
        true => None,
        false => Some(quorum::split(&names, task.threshold, Shared::Pin)?),
    };
    let record = match &fresh {
        Some((_, record, _)) => record.clone(),
        None => QuorumRecord::read(&task.record)?,
    };
    let facts = vec![
        Fact::same("threshold", record.threshold),
        Fact::same("custodians", record.custodians.join(", ")),
        Fact::varies("set", record.set()),
    ];
    run.done(facts, Some(open)).await?;
    if !open.pin_is_changed {
        begin_sharing(run, open)?;
    }
    let files = files(run, &task.custodians, &record, fresh.as_ref().map(|(_, _, shares)| shares.as_slice()))?;
    let digest = digest_fact("quorum-record-sha256", &crate::digest::sha256(&record.to_json()));
    super::write(run, open, &Left { files, ..Left::default() }).await?;

    run.begin("change-pin", Some(open)).await?;
    if let Some((secret, ..)) = fresh {
        change(run, open, &secret)?;
    }
    run.done(vec![Fact::same("log-in", "with the new PIN, which nobody has alone")], Some(open)).await?;
    Ok(Left { digests: vec![digest], ..Left::default() })
}

/// Gives the token the PIN, and logs in with it: whoever leaves the room knows that it is right.
fn change(run: &Run<'_>, open: &mut Open, secret: &Secret) -> Result<(), CeremonyError> {
    let Some(place) = &run.ceremony.device else { return Err(defect("the file names no device")) };
    open.journal.touch()?;
    let pin = secret.pin();
    open.device()?.keyring.change_pin(&pin)?;
    // Its sessions end, and the log-in with them.
    open.device = None;
    open.device = Some(Device::open_with(place, pin)?);
    Ok(())
}

/// Remembers that shares are about to be written, where nothing was or what an interrupted run wrote.
pub(super) fn begin_sharing(run: &Run<'_>, open: &mut Open) -> Result<(), CeremonyError> {
    if open.journal.is_sharing() {
        // Shares of what the token never had, where nothing was before.
        forget(run)?;
    }
    open.journal.share()
}

fn forget(run: &Run<'_>) -> Result<(), CeremonyError> {
    for (_, path) in run.ceremony.task.outputs() {
        match fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(CeremonyError::Unwritable { path, source });
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// The record, and each share for its custodian. Where they were written before, nothing is written but the record, once more.
pub(super) fn files(
    run: &Run<'_>,
    custodians: &[Custodian],
    record: &QuorumRecord,
    shares: Option<&[Share]>,
) -> Result<Vec<OutFile>, CeremonyError> {
    let mut files = vec![OutFile::plain("quorum-record", record.to_json(), output::PUBLIC)];
    for (at, custodian) in custodians.iter().enumerate() {
        let content = match (shares, &custodian.sealer) {
            (None, _) => output::read(&custodian.share)?.into(),
            (Some(shares), sealer) => {
                let share = shares.get(at).ok_or_else(|| defect("a custodian has no share"))?;
                match sealer {
                    Some(sealer) => sealer.seal(&share.text(record))?.into(),
                    None => Paper::of(&custodian.share).page(&run.ceremony.name, record, share)?,
                }
            }
        };
        let file = OutFile::plain("share", Vec::new(), output::SECRET);
        files.push(OutFile { place: Some(custodian.share.clone()), content, ..file });
    }
    Ok(files)
}
