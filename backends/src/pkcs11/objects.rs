//! Keys in a token: found by id and label, their public key read.

use cryptoki::{
    mechanism::MechanismType,
    object::{Attribute, AttributeType, ObjectClass, ObjectHandle},
    session::Session,
};
use hallmark_policy::key::{Family, KeyKind, PublicKey, SpkiDigest};

use super::{access::is_user, failure::failed, guarded, template};
use crate::{
    encoding,
    error::BackendError,
    reference::{KeyLabel, KeyReference, KeyReferenceError},
    waiver::Waiver,
};

/// Most private keys that are listed.
const KEYS_LISTED_MAX: usize = 4_096;

/// Most keys of one name that are told apart.
const TWINS_MAX: usize = 8;

/// A key that was found: the two objects, and the public key that they say they are.
pub(crate) struct Found {
    pub(crate) private_object: ObjectHandle,
    pub(crate) public_object: ObjectHandle,
    pub(crate) public: PublicKey,
}

/// Finds a key by its name and its public key. Where others have its name, the public key object tells which is meant; of private key
/// objects that are alike, the caller finds the one whose signature verifies.
pub(crate) fn find(
    session: &Session,
    key: &KeyReference,
    expected: SpkiDigest,
    waived: &[Waiver],
) -> Result<Vec<Found>, BackendError> {
    let private = named(session, key, ObjectClass::PRIVATE_KEY)?;
    if private.is_empty() {
        return Err(no_private_key(session, key)?);
    }
    let (public_object, public) = public_object(session, key, expected)?;
    let alone = private.len() == 1;
    let mut found = Vec::new();
    for private_object in private {
        let twin = Found { private_object, public_object, public: public.clone() };
        // What is wrong with the only one is said by whoever checks it.
        if alone || guarded::check(session, &twin, key, waived).is_ok() {
            found.push(twin);
        }
    }
    if found.is_empty() { Err(BackendError::KeyAmbiguous { key: key.clone() }) } else { Ok(found) }
}

/// As [`find`], where it must be one: nothing may be done to a key that could be another.
pub(crate) fn find_one(
    session: &Session,
    key: &KeyReference,
    expected: SpkiDigest,
    waived: &[Waiver],
) -> Result<Found, BackendError> {
    let mut found = find(session, key, expected, waived)?;
    match (found.pop(), found.is_empty()) {
        (Some(found), true) => Ok(found),
        (Some(_) | None, _) => Err(BackendError::KeyAmbiguous { key: key.clone() }),
    }
}

/// The one public key object of that name that has the expected key.
fn public_object(
    session: &Session,
    key: &KeyReference,
    expected: SpkiDigest,
) -> Result<(ObjectHandle, PublicKey), BackendError> {
    let mut other = None;
    let mut matching = Vec::new();
    for object in named(session, key, ObjectClass::PUBLIC_KEY)? {
        match public_key(session, object, key) {
            Ok(public) if public.digest() == expected => matching.push((object, public)),
            Ok(public) => {
                other = Some(BackendError::WrongKey { key: key.clone(), expected, found: public.digest() });
            }
            Err(error) if error.spoils_the_session() => return Err(error),
            Err(error) => other = other.or(Some(error)),
        }
    }
    match (matching.pop(), matching.is_empty()) {
        (Some(one), true) => Ok(one),
        (Some(_), false) => Err(BackendError::KeyAmbiguous { key: key.clone() }),
        (None, _) => Err(other.unwrap_or_else(|| no_public_key(key))),
    }
}

/// A session that is logged out sees no private keys: that is not a key that is gone.
fn no_private_key(session: &Session, key: &KeyReference) -> Result<BackendError, BackendError> {
    Ok(if is_user(session)? { BackendError::KeyNotFound { key: key.clone() } } else { BackendError::LoggedOut })
}

fn no_public_key(key: &KeyReference) -> BackendError {
    wrong(key, "CKO_PUBLIC_KEY", "absent", "one public key object of the same id and label")
}

/// Finds a key that was just made, whose public key is not known yet: asking for two and taking one.
pub(crate) fn find_unproven(session: &Session, key: &KeyReference) -> Result<Found, BackendError> {
    let Some(private_object) = one(session, key, ObjectClass::PRIVATE_KEY)? else {
        return Err(no_private_key(session, key)?);
    };
    let public_object = one(session, key, ObjectClass::PUBLIC_KEY)?.ok_or_else(|| no_public_key(key))?;
    let public = public_key(session, public_object, key)?;
    Ok(Found { private_object, public_object, public })
}

/// Whether there is an object of that class and name.
pub(crate) fn has_name(session: &Session, key: &KeyReference, class: ObjectClass) -> Result<bool, BackendError> {
    Ok(!named(session, key, class)?.is_empty())
}

/// The labels of the objects that a session sees, logged in or not.
pub(crate) fn labels(session: &Session, template: &[Attribute]) -> Result<Vec<String>, BackendError> {
    let of = |object| Ok(bytes(session, object, AttributeType::Label)?.unwrap_or_default());
    let labels =
        search(session, template, KEYS_LISTED_MAX)?.into_iter().map(of).collect::<Result<Vec<_>, BackendError>>()?;
    Ok(labels.iter().map(|label| String::from_utf8_lossy(label).into_owned()).collect())
}

/// Whether there is a private key of that label.
pub(crate) fn has_label(session: &Session, label: &KeyLabel) -> Result<bool, BackendError> {
    let template = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Label(label.as_str().as_bytes().to_vec())];
    Ok(!search(session, &template, 1)?.is_empty())
}

/// The private and the public key objects of that label.
pub(crate) fn labelled(
    session: &Session,
    label: &KeyLabel,
) -> Result<(Vec<ObjectHandle>, Vec<ObjectHandle>), BackendError> {
    let of = |class| {
        let template = [Attribute::Class(class), Attribute::Label(label.as_str().as_bytes().to_vec())];
        search(session, &template, KEYS_LISTED_MAX)
    };
    let private = of(ObjectClass::PRIVATE_KEY)?;
    if private.is_empty() && !is_user(session)? {
        return Err(BackendError::LoggedOut);
    }
    Ok((private, of(ObjectClass::PUBLIC_KEY)?))
}

/// Destroys every object of that id and label, if there is one.
pub(crate) fn remove(session: &Session, key: &KeyReference) -> Result<(), BackendError> {
    let id = key.pkcs11_id().ok_or(KeyReferenceError::OtherBackend)?;
    let label = key.label().as_str().as_bytes().to_vec();
    let template = [Attribute::Token(true), Attribute::Id(id.to_vec()), Attribute::Label(label)];
    let objects = search(session, &template, KEYS_LISTED_MAX)?;
    if objects.is_empty() && !is_user(session)? {
        return Err(BackendError::LoggedOut);
    }
    objects.into_iter().try_for_each(|object| session.destroy_object(object)).map_err(failed)
}

/// What a private key object is called.
pub(crate) fn name(session: &Session, object: ObjectHandle, label: &KeyLabel) -> Result<KeyReference, BackendError> {
    let id = bytes(session, object, AttributeType::Id)?.unwrap_or_default();
    Ok(KeyReference::pkcs11(id, label.clone())?)
}

/// The names of all private keys that this signer could have made.
pub(crate) fn list(session: &Session) -> Result<Vec<KeyReference>, BackendError> {
    let objects = search(session, &[Attribute::Class(ObjectClass::PRIVATE_KEY)], KEYS_LISTED_MAX)?;
    if objects.is_empty() && !is_user(session)? {
        return Err(BackendError::LoggedOut);
    }
    let mut keys = Vec::new();
    for object in objects {
        let id = bytes(session, object, AttributeType::Id)?.unwrap_or_default();
        let label = bytes(session, object, AttributeType::Label)?.unwrap_or_default();
        let label = String::from_utf8(label).ok().and_then(|label| KeyLabel::parse(&label).ok());
        keys.extend(label.and_then(|label| KeyReference::pkcs11(id, label).ok()));
    }
    Ok(keys)
}

fn one(session: &Session, key: &KeyReference, class: ObjectClass) -> Result<Option<ObjectHandle>, BackendError> {
    match named(session, key, class)?.as_slice() {
        [] => Ok(None),
        [object] => Ok(Some(*object)),
        [_, _, ..] => Err(BackendError::KeyAmbiguous { key: key.clone() }),
    }
}

/// The objects of that name, not more than can be told apart.
fn named(session: &Session, key: &KeyReference, class: ObjectClass) -> Result<Vec<ObjectHandle>, BackendError> {
    let id = key.pkcs11_id().ok_or(KeyReferenceError::OtherBackend)?;
    let template = [
        Attribute::Class(class),
        Attribute::Id(id.to_vec()),
        Attribute::Label(key.label().as_str().as_bytes().to_vec()),
    ];
    let found = search(session, &template, TWINS_MAX + 1)?;
    if found.len() > TWINS_MAX { Err(BackendError::KeyAmbiguous { key: key.clone() }) } else { Ok(found) }
}

pub(crate) fn search(
    session: &Session,
    template: &[Attribute],
    most: usize,
) -> Result<Vec<ObjectHandle>, BackendError> {
    session.iter_objects(template).map_err(failed)?.take(most).collect::<Result<_, _>>().map_err(failed)
}

/// The public key of a public key object, in its canonical encoding.
fn public_key(session: &Session, object: ObjectHandle, key: &KeyReference) -> Result<PublicKey, BackendError> {
    let unusable = |source| BackendError::PublicKey { key: key.clone(), source };
    let present = |value: Option<Vec<u8>>, name| value.ok_or_else(|| wrong(key, name, "absent", "a value"));
    let key_type = match read(session, object, AttributeType::KeyType)? {
        Some(Attribute::KeyType(key_type)) => key_type,
        other => return Err(wrong(key, "CKA_KEY_TYPE", &shown(other.as_ref()), "a key type")),
    };
    let kinds: Vec<_> = KeyKind::ALL.into_iter().filter(|kind| template::key_type(*kind) == key_type).collect();
    let Some(first) = kinds.first() else {
        return Err(wrong(key, "CKA_KEY_TYPE", &key_type.to_string(), "the type of a key that this signer knows"));
    };
    if first.family() == Family::Rsa {
        let modulus = present(bytes(session, object, AttributeType::Modulus)?, "CKA_MODULUS")?;
        let exponent = present(bytes(session, object, AttributeType::PublicExponent)?, "CKA_PUBLIC_EXPONENT")?;
        return encoding::rsa(&modulus, &exponent).map_err(unusable);
    }
    let (name, attribute) = template::mark(*first);
    let mark = read(session, object, attribute)?.ok_or_else(|| wrong(key, name, "absent", "a value"))?;
    let says = |kind: &KeyKind| template::ways(*kind).iter().any(|way| way.contains(&mark));
    let Some(kind) = kinds.iter().copied().find(says) else {
        let wanted = kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(" or ");
        return Err(wrong(key, name, &format!("{key_type} with {}", digits(&mark)), &format!("that of {wanted}")));
    };
    match kind.family() {
        Family::MlDsa => {
            let value = present(bytes(session, object, AttributeType::Value)?, "CKA_VALUE")?;
            PublicKey::of_raw(kind, &value).map_err(unusable)
        }
        Family::Ecdsa | Family::Ed25519 | Family::Rsa => {
            let point = present(bytes(session, object, AttributeType::EcPoint)?, "CKA_EC_POINT")?;
            let found = format!("{} bytes", point.len());
            let point = kind.raw_bytes().and_then(|bytes| encoding::point(&point, bytes));
            let point =
                point.ok_or_else(|| wrong(key, "CKA_EC_POINT", &found, "an uncompressed point of its curve"))?;
            PublicKey::of_raw(kind, point).map_err(unusable)
        }
    }
}

/// Compares what the private key tells of itself with the public key: its curve, by either name, or its modulus. The rest
/// is proven by every signature.
pub(super) fn same_key(session: &Session, found: &Found, key: &KeyReference) -> Result<(), BackendError> {
    let (name, attribute) = template::mark(found.public.kind());
    let mark = read(session, found.private_object, attribute)?;
    if mark.as_ref().is_some_and(|mark| template::fits(mark, &found.public)) {
        return Ok(());
    }
    let found = mark.as_ref().map_or_else(|| "absent".to_owned(), digits);
    Err(wrong(key, name, &found, "the same as in the public key object"))
}

/// A value in hexadecimal digits, where it is bytes.
fn digits(value: &Attribute) -> String {
    in_bytes(value).map_or_else(|| shown(Some(value)), hallmark_policy::hex)
}

/// One attribute, alone: of several, absent ones would be dropped silently.
pub(crate) fn read(
    session: &Session,
    object: ObjectHandle,
    attribute: AttributeType,
) -> Result<Option<Attribute>, BackendError> {
    Ok(session.get_attributes(object, &[attribute]).map_err(failed)?.pop())
}

pub(crate) fn bytes(
    session: &Session,
    object: ObjectHandle,
    attribute: AttributeType,
) -> Result<Option<Vec<u8>>, BackendError> {
    Ok(read(session, object, attribute)?.as_ref().and_then(in_bytes).map(<[u8]>::to_vec))
}

fn in_bytes(value: &Attribute) -> Option<&[u8]> {
    if let Attribute::Id(bytes)
    | Attribute::Label(bytes)
    | Attribute::Modulus(bytes)
    | Attribute::PublicExponent(bytes)
    | Attribute::EcParams(bytes)
    | Attribute::EcPoint(bytes)
    | Attribute::Value(bytes) = value
    {
        Some(bytes)
    } else {
        None
    }
}

pub(crate) fn same(value: &Attribute, wanted: &Attribute) -> bool {
    match (value, wanted) {
        (Attribute::AllowedMechanisms(value), Attribute::AllowedMechanisms(wanted)) => sorted(value) == sorted(wanted),
        (value, wanted) => value == wanted,
    }
}

fn sorted(mechanisms: &[MechanismType]) -> Vec<String> {
    let mut names: Vec<_> = mechanisms.iter().map(ToString::to_string).collect();
    names.sort_unstable();
    names
}

/// A value as people read it: `true`, or the mechanisms' names.
pub(crate) fn shown(value: Option<&Attribute>) -> String {
    match value {
        None => "absent".to_owned(),
        Some(Attribute::AllowedMechanisms(mechanisms)) => format!("[{}]", sorted(mechanisms).join(" ")),
        Some(Attribute::KeyType(key_type)) => key_type.to_string(),
        Some(other) => {
            let text = format!("{other:?}");
            let inside = text.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
            inside.unwrap_or(&text).to_owned()
        }
    }
}

pub(super) fn wrong(key: &KeyReference, attribute: &'static str, found: &str, wanted: &str) -> BackendError {
    BackendError::WrongAttribute { key: key.clone(), attribute, found: found.to_owned(), wanted: wanted.to_owned() }
}
