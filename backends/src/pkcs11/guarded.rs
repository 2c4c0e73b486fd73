//! What guards a key in a token, read back: whether it is kept as it must be, or lacks what need not hold of it.

use cryptoki::{
    object::{Attribute, AttributeType, ObjectHandle},
    session::Session,
};
use hallmark_policy::hex;

use super::{
    objects::{Found, bytes, read, same, same_key, shown, wrong},
    purpose, template,
};
use crate::{
    backend::{Guard, KeyPurpose},
    error::BackendError,
    reference::{KeyReference, KeyReferenceError},
    waiver::{Asked, Waiver},
};

/// Reads every guard of a private key back, one by one; absent is wrong, but for what is waived. Of CKA_DESTROYABLE the device must say which, if it
/// knows it.
pub(crate) fn check(
    session: &Session,
    found: &Found,
    key: &KeyReference,
    waived: &[Waiver],
) -> Result<(), BackendError> {
    let kind = found.public.kind();
    let guards = template::asked_for(kind).into_iter().chain(template::told_by_the_device(kind));
    for wanted in guards {
        check_one(session, found, key, wanted, waived)?;
    }
    if destroyable(session, found.private_object)?.is_none()
        && Waiver::asked(template::DESTROYABLE, waived) == Asked::Whole
    {
        return Err(wrong(key, template::DESTROYABLE, "absent", "true or false"));
    }
    same_key(session, found, key)
}

/// As [`check`], for a key that was made for a known purpose. `excepted`: what need not hold of it, beside what follows from the purpose.
pub(crate) fn check_made(
    session: &Session,
    found: &Found,
    key: &KeyReference,
    purpose: KeyPurpose,
    excepted: &[Waiver],
) -> Result<(), BackendError> {
    check(session, found, key, &[purpose.waived(), excepted].concat())?;
    template::lets_wrap(purpose).into_iter().try_for_each(|wanted| check_one(session, found, key, wanted, &[]))?;
    check_one(session, found, key, template::needed_for(purpose), excepted)?;
    if destroyable(session, found.private_object)?.is_some() || purpose::is(id_of(key)?, purpose, excepted) {
        return Ok(());
    }
    Err(wrong(key, "CKA_ID", &hex(id_of(key)?), &format!("that of a key whose purpose is `{}`", purpose.name())))
}

fn check_one(
    session: &Session,
    found: &Found,
    key: &KeyReference,
    (name, wanted): template::Wanted,
    waived: &[Waiver],
) -> Result<(), BackendError> {
    let asked = Waiver::asked(name, waived);
    if asked == Asked::Nothing {
        return Ok(());
    }
    let value = read(session, found.private_object, wanted.attribute_type())?;
    let is_fine = match &value {
        Some(value) => same(value, &wanted),
        None => asked == Asked::IfKnown,
    };
    if is_fine {
        return Ok(());
    }
    Err(wrong(key, name, &shown(value.as_ref()), &shown(Some(&wanted))))
}

/// Every guard of a private key as the device tells it; of one that can be wrapped, which keys may do that, too.
pub(crate) fn guards(session: &Session, found: &Found) -> Result<Vec<Guard>, BackendError> {
    let kind = found.public.kind();
    let names = template::asked_for(kind).into_iter().chain(template::told_by_the_device(kind));
    let one = |(attribute, wanted): template::Wanted| {
        let value = read(session, found.private_object, wanted.attribute_type())?;
        Ok(Guard { attribute, value: shown(value.as_ref()) })
    };
    let mut guards: Vec<Guard> =
        names.chain([template::needed_for(KeyPurpose::Root)]).map(one).collect::<Result<_, BackendError>>()?;
    if is_extractable(session, found.private_object)? {
        guards.push(one((template::WRAP_WITH_TRUSTED, Attribute::WrapWithTrusted(false)))?);
    }
    Ok(guards)
}

/// Whether a private key can be wrapped.
pub(crate) fn is_extractable(session: &Session, object: ObjectHandle) -> Result<bool, BackendError> {
    Ok(read(session, object, AttributeType::Extractable)? == Some(Attribute::Extractable(true)))
}

/// Whether the token says that the private key may be destroyed. Where it does not say, it may be a root's, unless the module does not know that
/// and the key's own id says that it is an epoch's. A key whose id says that it is a root's may not, whatever a younger module says of it.
pub(crate) fn is_destroyable(session: &Session, object: ObjectHandle, waived: &[Waiver]) -> Result<bool, BackendError> {
    let told = destroyable(session, object)?;
    let id = bytes(session, object, AttributeType::Id)?.unwrap_or_default();
    Ok(match told {
        Some(is_so) => is_so && !purpose::is(&id, KeyPurpose::Root, waived),
        None => purpose::is(&id, KeyPurpose::Epoch, waived),
    })
}

fn id_of(key: &KeyReference) -> Result<&[u8], BackendError> {
    Ok(key.pkcs11_id().ok_or(KeyReferenceError::OtherBackend)?)
}

fn destroyable(session: &Session, object: ObjectHandle) -> Result<Option<bool>, BackendError> {
    Ok(match read(session, object, AttributeType::Destroyable)? {
        Some(Attribute::Destroyable(value)) => Some(value),
        Some(_) | None => None,
    })
}
