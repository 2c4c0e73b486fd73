//! Keys in KMS: how they are asked for, found, and guarded.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use hallmark_aws_kms::{Algorithm, Code, Error, Key, KeyId, NewKey, STATE_ENABLED, STATE_PENDING_DELETION, Spec};
use hallmark_policy::key::{KeyKind, PublicKey, SignatureAlgorithm, SpkiDigest};

use super::{
    Service,
    failure::failed,
    name::{Name, TAG_LABEL, TAG_PURPOSE},
};
use crate::{
    backend::{Guard, KeyPurpose},
    error::BackendError,
    reference::{KeyReference, KeyReferenceError},
};

/// What KMS makes and keeps in its own hardware, and what this signer wants of it (API reference, KeyMetadata).
const ORIGIN: &str = "AWS_KMS";
const USAGE: &str = "SIGN_VERIFY";
const MANAGER: &str = "CUSTOMER";
const MULTI_REGION: &str = "false";

/// What is compared, as the API names it.
const KEY_SPEC: &str = "KeySpec";
const KEY_USAGE: &str = "KeyUsage";
const KEY_ORIGIN: &str = "Origin";
const KEY_MANAGER: &str = "KeyManager";
const KEY_MULTI_REGION: &str = "MultiRegion";
const KEY_ACCOUNT: &str = "AWSAccountId";

/// The same, as evidence.
const GUARD_KEY_ID: &str = "aws-kms.key-id";
const GUARD_ACCOUNT: &str = "aws-kms.account";
const GUARD_REGION: &str = "aws-kms.region";
const GUARD_SPEC: &str = "aws-kms.key-spec";
const GUARD_USAGE: &str = "aws-kms.key-usage";
const GUARD_ORIGIN: &str = "aws-kms.origin";
const GUARD_MANAGER: &str = "aws-kms.key-manager";
const GUARD_MULTI_REGION: &str = "aws-kms.multi-region";
const GUARD_PURPOSE: &str = "aws-kms.purpose";

/// How long a key that was just made may be unknown elsewhere in KMS: it says of itself that it is consistent in the end.
pub(super) const MADE_TIME_MAX: Duration = Duration::from_secs(20);
/// Between two looks.
pub(super) const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// What stands for a tag that is not there.
const ABSENT: &str = "absent";

/// Longest time for one call, and for one list.
const CALL_TIME_MAX: Duration = Duration::from_secs(3);
const LIST_TIME_MAX: Duration = Duration::from_secs(9);

/// A key that was found, and what KMS tells of it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) public: PublicKey,
    pub(super) name: Name,
    key: Key,
}

/// What one call may take where all of them end then.
pub(super) fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now()).min(CALL_TIME_MAX)
}

/// What KMS calls a kind. It has ML-DSA, too, which moto has not: nobody here has tried that.
fn spec(kind: KeyKind) -> Option<Spec> {
    Some(match kind {
        KeyKind::EcdsaP256 => Spec::P256,
        KeyKind::EcdsaP384 => Spec::P384,
        KeyKind::Ed25519 => Spec::Ed25519,
        KeyKind::Rsa2048 => Spec::Rsa2048,
        KeyKind::Rsa3072 => Spec::Rsa3072,
        KeyKind::Rsa4096 => Spec::Rsa4096,
        KeyKind::MlDsa44 | KeyKind::MlDsa65 | KeyKind::MlDsa87 => return None,
    })
}

/// What KMS calls an algorithm; none of those that nothing is signed with.
pub(super) fn algorithm(algorithm: SignatureAlgorithm) -> Option<Algorithm> {
    Some(match algorithm {
        SignatureAlgorithm::EcdsaSha256 => Algorithm::EcdsaSha256,
        SignatureAlgorithm::EcdsaSha384 => Algorithm::EcdsaSha384,
        SignatureAlgorithm::RsaPkcs1Sha256 => Algorithm::RsaPkcs1Sha256,
        SignatureAlgorithm::RsaPssSha256 => Algorithm::RsaPssSha256,
        SignatureAlgorithm::Ed25519 => Algorithm::Ed25519,
        SignatureAlgorithm::MlDsa44 | SignatureAlgorithm::MlDsa65 | SignatureAlgorithm::MlDsa87 => return None,
    })
}

/// The kinds of keys that are made in AWS KMS.
pub fn aws_kms_kinds() -> impl Iterator<Item = KeyKind> {
    KeyKind::ALL.into_iter().filter(|kind| spec(*kind).is_some())
}

/// A key as it is asked for.
pub(super) fn asked(name: &Name, kind: KeyKind) -> Result<NewKey, BackendError> {
    let spec = spec(kind).ok_or_else(|| BackendError::Incapable { what: format!("a key of kind {kind}") })?;
    Ok(NewKey { spec, description: name.description(), tags: tags(name) })
}

fn tags(name: &Name) -> BTreeMap<String, String> {
    let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    BTreeMap::from([tag(TAG_PURPOSE, name.purpose.name()), tag(TAG_LABEL, name.label.as_str())])
}

/// Finds a key, and compares its public key with the expected one.
pub(super) fn find(
    service: &Service,
    reference: &KeyReference,
    expected: SpkiDigest,
    until: Instant,
) -> Result<Found, BackendError> {
    let found = find_unproven(service, reference, until)?;
    let digest = found.public.digest();
    if digest == expected {
        return Ok(found);
    }
    Err(BackendError::WrongKey { key: reference.clone(), expected, found: digest })
}

/// The same, where its public key is not on record yet.
pub(super) fn find_unproven(
    service: &Service,
    reference: &KeyReference,
    until: Instant,
) -> Result<Found, BackendError> {
    let id = id_of(reference)?;
    let key = service.client.key(&id, left(until)).map_err(|error| missing(reference, error))?;
    let name = Name::read(&key.description).filter(|name| name.label == *reference.label());
    let name = name.ok_or_else(|| BackendError::KeyNotFound { key: reference.clone() })?;
    if key.state == STATE_PENDING_DELETION {
        tracing::warn!(key = %reference, deletion = key.deletion, "AWS KMS deletes this key, at that time (in seconds since 1970) unless somebody cancels it");
        return Err(BackendError::KeyNotFound { key: reference.clone() });
    }
    let public = public(service, reference, &key, &id, until)?;
    Ok(Found { public, name, key })
}

/// The public key of what was described.
pub(super) fn public(
    service: &Service,
    reference: &KeyReference,
    key: &Key,
    id: &KeyId,
    until: Instant,
) -> Result<PublicKey, BackendError> {
    let spki = service.client.public_key(id, left(until)).map_err(|error| match error.code() {
        Some(Code::Away) => away(reference, key),
        Some(_) | None => missing(reference, error),
    })?;
    PublicKey::parse(&spki).map_err(|source| BackendError::PublicKey { key: reference.clone(), source })
}

/// Whether it is guarded as a CA key must be, and signs.
pub(super) fn check(service: &Service, found: &Found, reference: &KeyReference) -> Result<(), BackendError> {
    let Found { public, key, .. } = found;
    let multi_region = key.multi_region.to_string();
    for (attribute, found, wanted) in [
        (KEY_ACCOUNT, key.account.as_str(), service.client.account().as_str()),
        (KEY_SPEC, &key.spec, spec(public.kind()).map_or("none", Spec::name)),
        (KEY_USAGE, &key.usage, USAGE),
        (KEY_ORIGIN, &key.origin, ORIGIN),
        (KEY_MANAGER, &key.manager, MANAGER),
        (KEY_MULTI_REGION, &multi_region, MULTI_REGION),
    ] {
        if found != wanted {
            return Err(wrong(reference, attribute, found, wanted));
        }
    }
    if key.state == STATE_ENABLED { Ok(()) } else { Err(away(reference, key)) }
}

/// Whether its tags, by which an IAM policy tells it from others, say the same as its name.
pub(super) fn check_tags(
    service: &Service,
    reference: &KeyReference,
    name: &Name,
    until: Instant,
) -> Result<(), BackendError> {
    let there = service.client.tags(&id_of(reference)?, left(until)).map_err(|error| missing(reference, error))?;
    for (tag, wanted) in [(TAG_PURPOSE, name.purpose.name()), (TAG_LABEL, name.label.as_str())] {
        let found = there.get(tag).map_or(ABSENT, String::as_str);
        if found != wanted {
            return Err(wrong(reference, tag, found, wanted));
        }
    }
    Ok(())
}

/// Whether it was made for this.
pub(super) fn check_purpose(found: &Found, reference: &KeyReference, purpose: KeyPurpose) -> Result<(), BackendError> {
    if found.name.purpose == purpose {
        return Ok(());
    }
    Err(wrong(reference, TAG_PURPOSE, found.name.purpose.name(), purpose.name()))
}

fn wrong(key: &KeyReference, attribute: &'static str, found: &str, wanted: &str) -> BackendError {
    let (found, wanted) = (found.to_owned(), wanted.to_owned());
    BackendError::WrongAttribute { key: key.clone(), attribute, found, wanted }
}

fn away(key: &KeyReference, found: &Key) -> BackendError {
    BackendError::KeyAway { key: key.clone(), state: found.state.clone() }
}

pub(super) fn missing(reference: &KeyReference, error: Error) -> BackendError {
    match error.code() {
        Some(Code::NotFound) => BackendError::KeyNotFound { key: reference.clone() },
        Some(_) | None => failed(error),
    }
}

/// The id of a key of this backend.
pub(super) fn id_of(reference: &KeyReference) -> Result<KeyId, BackendError> {
    Ok(reference.aws_kms_id().cloned().ok_or(KeyReferenceError::OtherBackend)?)
}

/// Has a key that was just made looked for until KMS knows it, and its tags, everywhere.
pub(super) fn settled<T>(look: impl Fn() -> Result<T, BackendError>) -> Result<T, BackendError> {
    let lacks_tags = |error: &BackendError| matches!(error, BackendError::WrongAttribute { attribute: TAG_PURPOSE | TAG_LABEL, found, .. } if found == ABSENT);
    let is_early = |error: &BackendError| matches!(error, BackendError::KeyNotFound { .. }) || lacks_tags(error);
    let began = Instant::now();
    loop {
        match look() {
            Err(error) if is_early(&error) && began.elapsed() < MADE_TIME_MAX => thread::sleep(LOOK_AGAIN_AFTER),
            result => return result,
        }
    }
}

/// This signer's keys with what their descriptions say, those of which the deletion is scheduled left out. It is an error if it is another account's
/// list, or may be, or if one of them may not be seen.
pub(super) fn names(service: &Service, until: Instant) -> Result<Vec<(KeyReference, Name)>, BackendError> {
    let within = until.saturating_duration_since(Instant::now()).min(LIST_TIME_MAX);
    let listed = service.client.keys(within).map_err(failed)?;
    let ours = |key: Key| {
        let name = Name::read(&key.description).filter(|_| key.state != STATE_PENDING_DELETION)?;
        Some((KeyReference::aws_kms(KeyId::parse(&key.id)?, name.label.clone()), name))
    };
    Ok(listed.into_iter().filter_map(ours).collect())
}

/// What guards a key, as evidence. Who may use it stands in its key policy, in grants and in IAM, and is no attribute of it.
pub(super) fn guards(service: &Service, found: &Found) -> Vec<Guard> {
    let Found { key, name, .. } = found;
    let guard = |attribute, value: &str| Guard { attribute, value: value.to_owned() };
    vec![
        guard(GUARD_KEY_ID, &key.id),
        guard(GUARD_ACCOUNT, &key.account),
        guard(GUARD_REGION, service.client.place().region()),
        guard(GUARD_SPEC, &key.spec),
        guard(GUARD_USAGE, &key.usage),
        guard(GUARD_ORIGIN, &key.origin),
        guard(GUARD_MANAGER, &key.manager),
        guard(GUARD_MULTI_REGION, &key.multi_region.to_string()),
        guard(GUARD_PURPOSE, name.purpose.name()),
    ]
}

/// What guards a key of this kind in KMS: its guards, with a value where that is always the same. For whoever foretells what KMS will say.
#[must_use]
pub fn aws_kms_guards(kind: KeyKind) -> Vec<(&'static str, Option<String>)> {
    vec![
        (GUARD_KEY_ID, None),
        (GUARD_ACCOUNT, None),
        (GUARD_REGION, None),
        (GUARD_SPEC, spec(kind).map(|spec| spec.name().to_owned())),
        (GUARD_USAGE, Some(USAGE.to_owned())),
        (GUARD_ORIGIN, Some(ORIGIN.to_owned())),
        (GUARD_MANAGER, Some(MANAGER.to_owned())),
        (GUARD_MULTI_REGION, Some(MULTI_REGION.to_owned())),
        (GUARD_PURPOSE, None),
    ]
}

pub(super) fn not_wrapped() -> BackendError {
    let detail = "keys of AWS KMS are made so that none leaves it, and are not wrapped; those that are backed up are made in a token".to_owned();
    BackendError::Configuration { detail }
}
