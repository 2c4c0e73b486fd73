//! A key that wraps others: drawn here and split, or brought by those who have it together.

use hallmark_backends::{BackendError, WrapKeyFound, WrapValue};
use hallmark_ledger::Event;

use super::{Left, quorum, source};
use crate::{
    check::Checked,
    device,
    digest::{from_hex, sha256},
    error::CeremonyError,
    facts::Fact,
    meaning::{Custodian, WrapKeyTask, WrapKeyValue},
    quorum::{QuorumRecord, Shared, split},
    run::{Open, Run, defect, digest_fact},
};

pub(super) async fn make(
    run: &mut Run<'_>,
    open: &mut Open,
    checked: &Checked,
    task: &WrapKeyTask,
) -> Result<Left, CeremonyError> {
    // What has this label was made by an interrupted run: nothing had it before.
    let there = open.device()?.keyring.wrap_key(&task.label)?;
    let mut left = Left::default();
    let found = match &task.value {
        WrapKeyValue::Quorum { record } => {
            run.begin("bring-in", Some(open)).await?;
            let record = QuorumRecord::read_of(record, Shared::WrapKey)?;
            let value = match &there {
                Some(found) => source::is_that_of(&record, &source::told(found)).map(|()| None)?,
                None => Some(source::brought(&record, run.people)?),
            };
            bring_in(run, open, checked, task, (there, value)).await?
        }
        WrapKeyValue::Split { threshold, record, custodians } => {
            let value = divide(run, open, there.as_ref(), (*threshold, record, custodians), &mut left).await?;
            run.begin("bring-in", Some(open)).await?;
            bring_in(run, open, checked, task, (there, value)).await?
        }
    };
    run.begin("read-back", Some(open)).await?;
    let guards = found.guards.iter().map(|guard| Fact::same(guard.attribute, &guard.value));
    run.done(guards.collect(), Some(open)).await?;
    Ok(left)
}

/// Draws the value, splits it and writes the shares; where the token has it from an interrupted run, the shares that were written are the good
/// ones, and there is no value.
async fn divide(
    run: &mut Run<'_>,
    open: &mut Open,
    there: Option<&WrapKeyFound>,
    (threshold, place, custodians): (usize, &std::path::Path, &[Custodian]),
    left: &mut Left,
) -> Result<Option<WrapValue>, CeremonyError> {
    run.begin("split", Some(open)).await?;
    let names: Vec<String> = custodians.iter().map(|custodian| custodian.name.clone()).collect();
    let fresh = match there {
        Some(_) => None,
        None => Some(split(&names, threshold, Shared::WrapKey)?),
    };
    let record = match (&fresh, there) {
        (Some((_, record, _)), _) => record.clone(),
        (None, found) => {
            let record = QuorumRecord::read_of(place, Shared::WrapKey)?;
            source::is_that_of(&record, &found.map(source::told).unwrap_or_default())?;
            record
        }
    };
    let facts = vec![
        Fact::same("threshold", record.threshold),
        Fact::same("custodians", record.custodians.join(", ")),
        Fact::varies("set", record.set()),
        Fact::varies("check-value", &record.check_value),
    ];
    run.done(facts, Some(open)).await?;
    if fresh.is_some() {
        quorum::begin_sharing(run, open)?;
    }
    let shares = fresh.as_ref().map(|(_, _, shares)| shares.as_slice());
    let files = quorum::files(run, custodians, &record, shares)?;
    super::write(run, open, &Left { files, ..Left::default() }).await?;
    left.digests.push(digest_fact("quorum-record-sha256", &sha256(&record.to_json())));
    Ok(fresh.map(|(secret, ..)| secret.wrap_value()))
}

/// Makes the key in the token, unless it is there, and writes that into the log.
async fn bring_in(
    run: &mut Run<'_>,
    open: &mut Open,
    checked: &Checked,
    task: &WrapKeyTask,
    (there, value): (Option<WrapKeyFound>, Option<WrapValue>),
) -> Result<WrapKeyFound, CeremonyError> {
    open.journal.touch()?;
    let found = match there {
        Some(found) => found,
        None => {
            let value = value.as_ref().ok_or_else(|| defect("the wrap key has no value"))?;
            match task.trusted {
                true => trusted(run, open, task, value)?,
                false => open.device()?.keyring.make_wrap_key(&task.label, value)?,
            }
        }
    };
    let told = source::told(&found);
    if let Some(value) = &value {
        let wanted = value.check_value()?.to_string();
        if !told.is_empty() && told != wanted {
            return Err(CeremonyError::OtherWrapKey { found: told, wanted });
        }
    }
    let check_value = match told.as_str() {
        "" => None,
        told => Some(
            from_hex(told)
                .and_then(|bytes| bytes.try_into().ok())
                .ok_or_else(|| defect("a check value does not read"))?,
        ),
    };
    let event = Event::WrapKeyMade {
        authority: checked.authority_name().to_owned(),
        reference: found.reference.to_string(),
        check_value,
        backend: open.device()?.description.to_string(),
    };
    run.entries.push(open.book.record(event).await?.index);
    let facts = vec![Fact::varies("wrap-key", &found.reference), Fact::varies("check-value", told)];
    run.done(facts, Some(open)).await?;
    Ok(found)
}

/// Has the security officer make it, who logs in once the user is logged out.
fn trusted(
    run: &mut Run<'_>,
    open: &mut Open,
    task: &WrapKeyTask,
    value: &WrapValue,
) -> Result<WrapKeyFound, CeremonyError> {
    let Some(place) = &run.ceremony.device else { return Err(defect("the file names no device")) };
    let so_pin = device::so_pin(place, run.people)?;
    let device = open.device.take().ok_or_else(|| defect("no device is open"))?;
    let device = device.make_trusted_wrap_key(place, &so_pin, &task.label, value)?;
    let found = device.keyring.wrap_key(&task.label)?;
    open.device = Some(device);
    found.ok_or_else(|| BackendError::WrapKeyNotFound { label: task.label.to_string() }.into())
}
