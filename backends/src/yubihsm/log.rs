//! Who reads the device's command log: a thread with a session of its own, now and then and after some signatures.

use std::{
    collections::BTreeSet,
    sync::atomic::Ordering,
    sync::{Arc, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{
    access::{Access, Place},
    finding::Finding,
    held::Held,
    keys,
};
use crate::{config::CommandLogUse, error::BackendError};

/// How often it is read, where nothing is signed. A session that is idle for longer than 25 s is opened anew each time.
const READ_INTERVAL: Duration = Duration::from_secs(10);

/// Reads it for the first time, before anything is signed, and goes on with that in a thread. It ends with `read_log`.
pub(super) fn start(access: &Arc<Access>) -> Result<(), BackendError> {
    if access.log_use == CommandLogUse::Off {
        return Ok(());
    }
    let access = Arc::clone(access);
    let (place, mut failed) = (Place::default(), false);
    look(&access, &place, &mut failed);
    let read = move || {
        while access.read_log.wait() {
            look(&access, &place, &mut failed);
        }
    };
    let started = thread::Builder::new().name("yubihsm-log".to_owned()).spawn(read);
    started.map(drop).map_err(|source| BackendError::Thread { source })
}

/// Reads it in that session, and says when it is read again.
fn look(access: &Access, place: &Place, failed: &mut bool) {
    let looked = place.run(access, |held| {
        read(access, held);
        Ok(())
    });
    match looked {
        Ok(()) => *failed = false,
        Err(error) => {
            if !std::mem::replace(failed, true) {
                tracing::warn!(%error, "the device's command log is not read");
            }
        }
    }
    access.read_log.set(Instant::now() + READ_INTERVAL);
}

/// Reads it once, says what is not as it should be, and where that was asked for keeps it and tells the device that it is read.
pub(super) fn read(access: &Access, held: &mut Held<'_>) {
    if access.log_use == CommandLogUse::Off {
        return;
    }
    let tell = |finding: &Finding| {
        access.found.add(finding);
        tell(finding);
    };
    if let Err(error) = read_once(access, held, tell) {
        tracing::warn!(%error, "the device's command log is not read");
    }
}

/// What is found is told, and all of it kept, before the device may forget what it was found in.
pub(super) fn read_once(
    access: &Access,
    held: &mut Held<'_>,
    mut tell: impl FnMut(&Finding),
) -> Result<(), BackendError> {
    // What one has read and not yet compared, another would compare as if it came later.
    let _one = access.reading.lock().unwrap_or_else(PoisonError::into_inner);
    let ours = ours(held)?;
    let before = access.tally.asks();
    let log = held.call(|session| session.log())?;
    access.tally.compare(&log, &before, &ours).iter().for_each(&mut tell);
    let (Some(file), Some(last)) = (&access.kept, log.entries.last()) else { return Ok(()) };
    match file.keep(&log) {
        Ok(()) => {
            access.is_unkept.store(false, Ordering::SeqCst);
            held.call(|session| session.log_was_read(last.number))
        }
        Err(error) => {
            if !access.is_unkept.swap(true, Ordering::SeqCst) {
                tell(&Finding::Unkept { path: file.path().to_owned(), error: error.to_string() });
            }
            Ok(())
        }
    }
}

/// The keys of this signer. A device whose log is full tells of none, until it was read: all that may be ours count then.
fn ours(held: &mut Held<'_>) -> Result<BTreeSet<u16>, BackendError> {
    match held.call(|session| session.keys(None)) {
        Ok(found) => Ok(found.into_iter().filter(|id| keys::ROOTS.contains(id) || keys::EPOCHS.contains(id)).collect()),
        Err(BackendError::LogFull { .. }) => Ok(keys::ROOTS.chain(keys::EPOCHS).collect()),
        Err(error) => Err(error),
    }
}

fn tell(finding: &Finding) {
    if finding.is_alarming() {
        tracing::error!(%finding, "the device's command log and this signer disagree");
    } else {
        tracing::warn!(%finding, "the device's command log");
    }
}
