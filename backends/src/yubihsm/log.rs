//! Who reads the device's command log: a thread with a session of its own, now and then and after some signatures.

use std::{
    collections::BTreeSet,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    access::{Access, Place},
    held::Held,
    keys,
    tally::Finding,
};
use crate::{config::CommandLogUse, error::BackendError};

/// How often it is read, where nothing is signed. A session that is idle for longer than 25 s is opened anew each time.
const READ_INTERVAL: Duration = Duration::from_secs(10);

/// Starts it. It ends with `read_log`.
pub(super) fn start(access: &Arc<Access>) -> Result<(), BackendError> {
    if access.log_use == CommandLogUse::Off {
        return Ok(());
    }
    let access = Arc::clone(access);
    access.read_log.set(Instant::now());
    let read = move || {
        let place = Place::default();
        let mut failed = false;
        while access.read_log.wait() {
            let looked = place.run(&access, |held| {
                read(&access, held);
                Ok(())
            });
            match looked {
                Ok(()) => failed = false,
                Err(error) => {
                    if !std::mem::replace(&mut failed, true) {
                        tracing::warn!(%error, "the device's command log is not read");
                    }
                }
            }
            access.read_log.set(Instant::now() + READ_INTERVAL);
        }
    };
    let started = thread::Builder::new().name("yubihsm-log".to_owned()).spawn(read);
    started.map(drop).map_err(|source| BackendError::Thread { source })
}

/// Reads it once, says what is not as it should be, and tells the device that it is read where that was asked for.
pub(super) fn read(access: &Access, held: &mut Held<'_>) {
    if access.log_use == CommandLogUse::Off {
        return;
    }
    match read_once(access, held) {
        Ok(findings) => findings.iter().for_each(tell),
        Err(error) => tracing::warn!(%error, "the device's command log is not read"),
    }
}

pub(super) fn read_once(access: &Access, held: &mut Held<'_>) -> Result<Vec<Finding>, BackendError> {
    let is_ours = |id: &u16| keys::ROOTS.contains(id) || keys::EPOCHS.contains(id);
    let ours: BTreeSet<u16> = held.call(|session| session.keys(None))?.into_iter().filter(is_ours).collect();
    let before = access.tally.asks();
    let log = held.call(|session| session.log())?;
    let findings = access.tally.compare(&log, &before, &ours);
    if access.log_use == CommandLogUse::Consume
        && let Some(last) = log.entries.last()
    {
        held.call(|session| session.log_was_read(last.number))?;
    }
    Ok(findings)
}

fn tell(finding: &Finding) {
    if finding.is_alarming() {
        tracing::error!(%finding, "the device's command log and this signer disagree");
    } else {
        tracing::warn!(%finding, "the device's command log");
    }
}
