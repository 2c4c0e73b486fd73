//! The end of a key: what may be ended, and what shows that it was.
//!
//! Whoever asks for an end believes afterwards that nothing signs with the key any more. So a key that is not there, or is another account's, or has
//! another name by now, has not ended: it may be enabled where nobody looked.

use std::{
    cell::Cell,
    thread,
    time::{Duration, Instant},
};

use hallmark_aws_kms::{Code, Error, Key, KeyId, STATE_PENDING_DELETION};
use hallmark_policy::key::SpkiDigest;

use super::{
    Service,
    failure::failed,
    keys::{self, LOOK_AGAIN_AFTER, id_of, left},
    name::Name,
};
use crate::{
    backend::KeyPurpose,
    class::Failure,
    error::BackendError,
    reference::{KeyLabel, KeyReference},
};

/// How long what KMS has done to a key may be unknown elsewhere in it.
const SETTLING_TIME_MAX: Duration = Duration::from_secs(6);

/// What the last look at what has become of it is given at least.
const LOOK_TIME: Duration = Duration::from_secs(1);

/// The state of a key that somebody disabled.
const STATE_DISABLED: &str = "Disabled";

/// Ends the key of an epoch, or sees that its deletion is scheduled already.
pub(super) fn destroy(
    service: &Service,
    reference: &KeyReference,
    expected: SpkiDigest,
    until: Instant,
) -> Result<(), BackendError> {
    let id = id_of(reference)?;
    let (key, name) = look(service, reference, &id, until)?;
    if name.purpose != KeyPurpose::Epoch {
        return Err(not_destroyable(reference));
    }
    if key.state == STATE_PENDING_DELETION {
        tracing::warn!(key = %reference, deletion = key.deletion, "the deletion of this key was scheduled before; AWS KMS deletes it at that time (in seconds since 1970)");
        return Ok(());
    }
    check_tags(service, reference, &name, until)?;
    // KMS tells the public key of none that is disabled; its id, which it gives to no other, stands for it.
    if key.state != STATE_DISABLED {
        let found = keys::public(service, reference, &key, &id, until)?.digest();
        if found != expected {
            return Err(BackendError::WrongKey { key: reference.clone(), expected, found });
        }
    }
    end(service, reference, &id, until)
}

/// Ends every key of that label, if all of them are epochs'. `begun` says how many there are before the first ends, and keeps the greatest number: a
/// second attempt finds what the first left.
pub(super) fn clear(
    service: &Service,
    label: &KeyLabel,
    until: Instant,
    begun: &Cell<usize>,
) -> Result<(), BackendError> {
    let mut named = keys::names(service, until)?;
    named.retain(|(reference, _)| reference.label() == label);
    for (reference, name) in &named {
        if name.purpose != KeyPurpose::Epoch {
            return Err(not_destroyable(reference));
        }
        look(service, reference, &id_of(reference)?, until)?;
        check_tags(service, reference, name, until)?;
    }
    begun.set(begun.get().max(named.len()));
    named.iter().try_for_each(|(reference, _)| end(service, reference, &id_of(reference)?, until))
}

/// Ends what was just made, whatever it was made for. Its id is known from who made it.
pub(super) fn remove(service: &Service, reference: &KeyReference, until: Instant) -> Result<(), BackendError> {
    let id = id_of(reference)?;
    let found = keys::settled(|| service.client.key(&id, left(until)).map_err(|error| keys::missing(reference, error)));
    let key = match found {
        Err(BackendError::KeyNotFound { .. }) => {
            tracing::warn!(key = %reference, "AWS KMS knows nothing of a key that it made; what becomes of it is cleared with its label");
            return Ok(());
        }
        found => found?,
    };
    named(service, reference, &key)?;
    if key.state == STATE_PENDING_DELETION { Ok(()) } else { end(service, reference, &id, until) }
}

/// What KMS says of a key that is to end.
fn look(service: &Service, reference: &KeyReference, id: &KeyId, until: Instant) -> Result<(Key, Name), BackendError> {
    let key = service.client.key(id, left(until)).map_err(|error| lost(service, reference, error))?;
    let name = named(service, reference, &key)?;
    Ok((key, name))
}

/// Its name, if it is the account's that is meant and has the label that is meant.
fn named(service: &Service, reference: &KeyReference, key: &Key) -> Result<Name, BackendError> {
    if key.account != service.client.account().as_str() {
        return Err(not_shown(service, reference, format!("it is said to be in the account {}", key.account)));
    }
    let name = Name::read(&key.description).filter(|name| name.label == *reference.label());
    name.ok_or_else(|| not_shown(service, reference, "what has its id has another description".to_owned()))
}

/// Whether both tags say that it is an epoch's, and of that label.
fn check_tags(service: &Service, reference: &KeyReference, name: &Name, until: Instant) -> Result<(), BackendError> {
    match keys::check_tags(service, reference, name, until) {
        Err(BackendError::WrongAttribute { attribute: super::name::TAG_PURPOSE, .. }) => {
            Err(not_destroyable(reference))
        }
        Err(BackendError::KeyNotFound { .. }) => {
            Err(not_shown(service, reference, "ListResourceTags does not find it".to_owned()))
        }
        // Whoever retires epochs goes on after a wrong attribute.
        Err(BackendError::WrongAttribute { attribute, found, .. }) => {
            Err(not_shown(service, reference, format!("what has its id has {attribute} = {found}")))
        }
        result => result,
    }
}

/// Schedules the deletion of a key, and looks whether KMS says so itself. A key that waits for its deletion signs nothing, and needs to be disabled
/// by nobody: there is no moment between the two in which an interruption leaves it otherwise.
fn end(service: &Service, reference: &KeyReference, id: &KeyId, until: Instant) -> Result<(), BackendError> {
    let days = service.deletion_days;
    match service.client.schedule_deletion(id, days, left(until)) {
        Ok(()) => {}
        // By an earlier attempt, whose answer was lost: what is read back says so.
        Err(error) if error.code() == Some(Code::Away) => {}
        Err(error) => return Err(lost(service, reference, error)),
    }
    // The last look has time for its answer.
    let settled = until.checked_sub(LOOK_TIME).unwrap_or(until).min(Instant::now() + SETTLING_TIME_MAX);
    loop {
        let key = service.client.key(id, left(until)).map_err(|error| lost(service, reference, error))?;
        if key.state == STATE_PENDING_DELETION {
            tracing::warn!(key = %reference, days, deletion = key.deletion, "this key signs nothing any more; AWS KMS deletes it at that time (in seconds since 1970), and gives it back until then to whoever may cancel that");
            return Ok(());
        }
        if Instant::now() + LOOK_AGAIN_AFTER >= settled {
            let answer = format!("that the key is {} although its deletion is scheduled", key.state);
            return Err(BackendError::Broken { failure: Failure { call: "DescribeKey".to_owned(), answer } });
        }
        thread::sleep(LOOK_AGAIN_AFTER);
    }
}

fn not_destroyable(key: &KeyReference) -> BackendError {
    BackendError::NotDestroyable { key: key.clone() }
}

fn lost(service: &Service, reference: &KeyReference, error: Error) -> BackendError {
    if let Error::Answered { code: Code::NotFound, text, .. } = error {
        return not_shown(service, reference, text);
    }
    failed(error)
}

fn not_shown(service: &Service, key: &KeyReference, found: String) -> BackendError {
    let place = format!("the account {}, region {}", service.client.account(), service.client.place().region());
    BackendError::EndNotShown { key: key.clone(), place, found }
}
