//! Wrap keys in a token, and private keys that leave it and come back in wrapped form.

use cryptoki::{
    mechanism::{Mechanism, MechanismType},
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::Session,
};
use hallmark_policy::key::{PublicKey, SpkiDigest};

use super::{
    Device, ID_BYTES,
    access::is_user,
    failure::failed,
    guarded, objects,
    template::{self, Wanted},
};
use crate::{
    backend::{Guard, KeyPurpose, Wrapping},
    error::BackendError,
    exception::Exception,
    reference::{KeyLabel, KeyReference},
    wrap_key::{CheckValue, WrapKey, WrapKeyFound, WrapValue},
};

/// Most secret keys of one label that are looked at: two are too many.
const TWINS_MAX: usize = 2;

/// The attribute by which a security officer marks wrap keys.
const TRUSTED: &str = "CKA_TRUSTED";

/// What a wrap key does. None does both: whoever may use such a one wraps a key with it, and has it come out again as a readable one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// It wraps. All that last in a token are of this kind.
    Wraps,
    /// It unwraps, for the one call in which its value is brought.
    Unwraps,
}

impl Wrapping for Device {
    fn make_wrap_key(&self, label: &KeyLabel, value: &WrapValue) -> Result<WrapKeyFound, BackendError> {
        self.anchored(|session| {
            if object(session, label)?.is_some() {
                return Err(BackendError::LabelTaken { label: label.to_string() });
            }
            let mut id = vec![0; ID_BYTES];
            session.generate_random_slice(&mut id).map_err(failed)?;
            make(session, &lasting(&id, label), value, Direction::Wraps)?;
            found(session, label)?.ok_or_else(|| BackendError::WrapKeyNotFound { label: label.to_string() })
        })
    }

    fn wrap_key(&self, label: &KeyLabel) -> Result<Option<WrapKeyFound>, BackendError> {
        self.anchored_twice(|session| found(session, label))
    }

    fn wrap(&self, key: &KeyReference, expected: SpkiDigest, by: &WrapKey) -> Result<Vec<u8>, BackendError> {
        self.anchored_twice(|session| {
            let waived = self.access.waived(expected);
            let found = objects::find_one(session, key, expected, &waived)?;
            guarded::check(session, &found, key, &waived)?;
            if !guarded::is_extractable(session, found.private_object)? {
                return Err(BackendError::NotWrappable { key: key.clone() });
            }
            let wrap =
                |wrapper| session.wrap_key(&Mechanism::AesKeyWrapPad, wrapper, found.private_object).map_err(failed);
            match by {
                WrapKey::InToken(label) => {
                    let missing = || BackendError::WrapKeyNotFound { label: label.to_string() };
                    let wrapper = object(session, label)?.ok_or_else(missing)?;
                    checked(session, wrapper, label)?;
                    wrap(wrapper)
                }
                WrapKey::Brought(value) => brought(session, value, Direction::Wraps, wrap),
            }
        })
    }

    fn unwrap(
        &self,
        key: &KeyReference,
        public: &PublicKey,
        wrapped: &[u8],
        by: &WrapValue,
    ) -> Result<(), BackendError> {
        self.anchored_twice(|session| {
            if !objects::has_name(session, key, ObjectClass::PRIVATE_KEY)? {
                let (trial, lasting) = (on_trial(key, public)?, private_key(key, public)?);
                brought(session, by, Direction::Unwraps, |wrapper| {
                    let bring = |template: &[Attribute]| {
                        session.unwrap_key(&Mechanism::AesKeyWrapPad, wrapper, wrapped, template).map_err(failed)
                    };
                    // A key like a root's is not destroyed again: what is another is found out by one that does not last.
                    let object = bring(&trial)?;
                    let fits = is_half_of(session, object, public);
                    session.destroy_object(object).map_err(failed)?;
                    if !fits? {
                        return Err(BackendError::NotItsHalf { key: key.clone() });
                    }
                    bring(&lasting).map(drop)
                })?;
            }
            if !objects::has_name(session, key, ObjectClass::PUBLIC_KEY)? {
                session.create_object(&template::stored_public_key(key, public)?).map_err(failed)?;
            }
            let waived = Exception::Restored.waived();
            let found = objects::find_one(session, key, public.digest(), waived)?;
            guarded::check(session, &found, key, waived)
        })
    }
}

/// Runs `work` with a wrap key of the session alone, which is gone afterwards, whatever came of it.
fn brought<T>(
    session: &Session,
    value: &WrapValue,
    direction: Direction,
    work: impl FnOnce(ObjectHandle) -> Result<T, BackendError>,
) -> Result<T, BackendError> {
    let wrapper = make(session, &[Attribute::Token(false), Attribute::Private(true)], value, direction)?;
    let done = work(wrapper);
    let ended = session.destroy_object(wrapper).map_err(failed);
    done.and_then(|done| ended.map(|()| done))
}

/// Makes a wrap key in the token. Our copy of the value is wiped; the module's is its own to wipe.
pub(super) fn make(
    session: &Session,
    place: &[Attribute],
    value: &WrapValue,
    direction: Direction,
) -> Result<ObjectHandle, BackendError> {
    let mut template = place.to_vec();
    template.extend(guards(direction).into_iter().map(|(_, attribute)| attribute));
    template.extend([Attribute::Class(ObjectClass::SECRET_KEY), Attribute::KeyType(KeyType::AES)]);
    template.push(Attribute::Value(value.bytes().to_vec()));
    let made = session.create_object(&template).map_err(failed);
    if let Some(Attribute::Value(bytes)) = template.last_mut() {
        zeroize::Zeroize::zeroize(bytes);
    }
    made
}

/// What guards a wrap key: it does its one thing and no other, so that nobody gets with it what it wrapped, neither decrypted nor as a key that
/// can be read.
fn guards(direction: Direction) -> Vec<Wanted> {
    vec![
        ("CKA_SENSITIVE", Attribute::Sensitive(true)),
        (template::EXTRACTABLE, Attribute::Extractable(false)),
        ("CKA_WRAP", Attribute::Wrap(direction == Direction::Wraps)),
        ("CKA_UNWRAP", Attribute::Unwrap(direction == Direction::Unwraps)),
        ("CKA_ENCRYPT", Attribute::Encrypt(false)),
        ("CKA_DECRYPT", Attribute::Decrypt(false)),
        ("CKA_SIGN", Attribute::Sign(false)),
        ("CKA_VERIFY", Attribute::Verify(false)),
        ("CKA_DERIVE", Attribute::Derive(false)),
        ("CKA_MODIFIABLE", Attribute::Modifiable(false)),
        ("CKA_COPYABLE", Attribute::Copyable(false)),
        (template::ALLOWED_MECHANISMS, Attribute::AllowedMechanisms(vec![MechanismType::AES_KEY_WRAP_PAD])),
    ]
}

/// Where a wrap key is kept that stays.
fn lasting(id: &[u8], label: &KeyLabel) -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Id(id.to_vec()),
        Attribute::Label(label.as_str().as_bytes().to_vec()),
    ]
}

/// The secret key object of that label.
fn object(session: &Session, label: &KeyLabel) -> Result<Option<ObjectHandle>, BackendError> {
    match secrets_labelled(session, label)?.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(*one)),
        [_, _, ..] => Err(BackendError::WrapKeyAmbiguous { label: label.to_string() }),
    }
}

fn found(session: &Session, label: &KeyLabel) -> Result<Option<WrapKeyFound>, BackendError> {
    object(session, label)?.map(|object| checked(session, object, label)).transpose()
}

/// Reads back what a lasting wrap key is; one that could do anything but wrap is none.
fn checked(session: &Session, object: ObjectHandle, label: &KeyLabel) -> Result<WrapKeyFound, BackendError> {
    let mut told = Vec::new();
    for (attribute, wanted) in
        [("CKA_KEY_TYPE", Attribute::KeyType(KeyType::AES))].into_iter().chain(guards(Direction::Wraps))
    {
        let value = objects::read(session, object, wanted.attribute_type())?;
        let (found, needed) = (objects::shown(value.as_ref()), objects::shown(Some(&wanted)));
        if !value.as_ref().is_some_and(|value| objects::same(value, &wanted)) {
            return Err(BackendError::WrapKeyUnfit { label: label.to_string(), attribute, found, wanted: needed });
        }
        told.push(Guard { attribute, value: found });
    }
    // Who generated it and who marked it is told, and nothing more: the answers differ with how it came to be.
    for (attribute, kind) in [("CKA_LOCAL", AttributeType::Local), (TRUSTED, AttributeType::Trusted)] {
        let value = objects::read(session, object, kind)?;
        told.push(Guard { attribute, value: objects::shown(value.as_ref()) });
    }
    let check_value = match objects::read(session, object, AttributeType::CheckValue) {
        Ok(Some(Attribute::CheckValue(bytes))) => CheckValue::read(&bytes),
        Ok(_) | Err(_) => None,
    };
    Ok(WrapKeyFound { reference: objects::name(session, object, label)?, check_value, guards: told })
}

/// A private key as it is brought out of its wrapping: as strictly kept as a root's that was made here.
fn private_key(key: &KeyReference, public: &PublicKey) -> Result<Vec<Attribute>, BackendError> {
    let id = key.pkcs11_id().ok_or(crate::reference::KeyReferenceError::OtherBackend)?;
    let mut template = template::private_key(public.kind(), id, key.label().as_str(), KeyPurpose::Root);
    template
        .extend([Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::KeyType(template::key_type(public.kind()))]);
    // SoftHSM 2.6 takes nothing that stands behind CKA_MODIFIABLE = false here.
    template.sort_by_key(|attribute| matches!(attribute, Attribute::Modifiable(_)));
    Ok(template)
}

/// The same for a moment: a key of the session, which ends with it.
fn on_trial(key: &KeyReference, public: &PublicKey) -> Result<Vec<Attribute>, BackendError> {
    let mut template = private_key(key, public)?;
    template.retain(|attribute| !matches!(attribute, Attribute::Token(_) | Attribute::Destroyable(_)));
    template.insert(0, Attribute::Token(false));
    Ok(template)
}

/// Whether a private key can be the other half of a public key, as far as that is told without a signature.
fn is_half_of(session: &Session, private: ObjectHandle, public: &PublicKey) -> Result<bool, BackendError> {
    let (_, attribute) = template::mark(public.kind());
    Ok(objects::read(session, private, attribute)?.is_some_and(|mark| template::fits(&mark, public)))
}

/// The secret key objects of that label.
fn secrets_labelled(session: &Session, label: &KeyLabel) -> Result<Vec<ObjectHandle>, BackendError> {
    let template = [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Label(label.as_str().as_bytes().to_vec())];
    let found = objects::search(session, &template, TWINS_MAX)?;
    if found.is_empty() && !is_user(session)? { Err(BackendError::LoggedOut) } else { Ok(found) }
}
