//! Keys in a device: how they are made, found, and guarded.

use hallmark_policy::key::{KeyKind, PublicKey, SignatureAlgorithm, SpkiDigest};
use hallmark_yubihsm::{Algorithm, Capabilities, Domains, NewKey, Object, Origin, PublicPart, Signing};

use super::{held::Held, label};
use crate::{
    backend::{Guard, KeyPurpose},
    encoding,
    error::BackendError,
    reference::{KeyLabel, KeyReference, KeyReferenceError},
};

/// The numbers of roots' keys, and of epochs'. A device has no key that cannot be deleted by who may delete any, so that it is the number that says
/// which are never deleted from here.
pub(super) const ROOTS: std::ops::RangeInclusive<u16> = 0x4000..=0x5fff;
pub(super) const EPOCHS: std::ops::RangeInclusive<u16> = 0x6000..=0x7fff;

/// Attributes, as the manual names them.
const CAPABILITIES: &str = "capabilities";
const DELEGATED: &str = "delegated-capabilities";
const ORIGIN: &str = "origin";
const DOMAINS: &str = "domains";
const ALGORITHM: &str = "algorithm";
const OBJECT_ID: &str = "object-id";

/// The same, as evidence.
const GUARD_CAPABILITIES: &str = "yubihsm.capabilities";
const GUARD_DELEGATED: &str = "yubihsm.delegated-capabilities";
const GUARD_ORIGIN: &str = "yubihsm.origin";
const GUARD_DOMAINS: &str = "yubihsm.domains";
const GUARD_ALGORITHM: &str = "yubihsm.algorithm";
const GUARD_OBJECT_ID: &str = "yubihsm.object-id";
const GUARD_SEQUENCE: &str = "yubihsm.sequence";

/// A key that was found, and what the device tells of it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) public: PublicKey,
    object: Object,
}

/// The algorithm of a kind, and the one thing that its key may do; none of kinds that the device does not make.
pub(super) fn algorithm(kind: KeyKind) -> Option<(Algorithm, Capabilities)> {
    Some(match kind {
        KeyKind::EcdsaP256 => (Algorithm::EcP256, Capabilities::SIGN_ECDSA),
        KeyKind::EcdsaP384 => (Algorithm::EcP384, Capabilities::SIGN_ECDSA),
        KeyKind::Ed25519 => (Algorithm::Ed25519, Capabilities::SIGN_EDDSA),
        KeyKind::Rsa2048 => (Algorithm::Rsa2048, Capabilities::SIGN_PKCS),
        KeyKind::Rsa3072 => (Algorithm::Rsa3072, Capabilities::SIGN_PKCS),
        KeyKind::Rsa4096 => (Algorithm::Rsa4096, Capabilities::SIGN_PKCS),
        KeyKind::MlDsa44 | KeyKind::MlDsa65 | KeyKind::MlDsa87 => return None,
    })
}

/// What is signed with an algorithm, of a message and its digest by that algorithm's hash, if it has one; none of those that nothing is signed with.
pub(super) fn signing<'a>(
    algorithm: SignatureAlgorithm,
    message: &'a [u8],
    digest: Option<&'a [u8]>,
) -> Option<Signing<'a>> {
    Some(match algorithm {
        SignatureAlgorithm::EcdsaSha256 | SignatureAlgorithm::EcdsaSha384 => Signing::EcdsaDigest(digest?),
        SignatureAlgorithm::Ed25519 => Signing::EddsaMessage(message),
        SignatureAlgorithm::RsaPkcs1Sha256 => Signing::Pkcs1Sha256Message(message),
        SignatureAlgorithm::RsaPssSha256
        | SignatureAlgorithm::MlDsa44
        | SignatureAlgorithm::MlDsa65
        | SignatureAlgorithm::MlDsa87 => return None,
    })
}

fn made_of(kind: KeyKind) -> Result<(Algorithm, Capabilities), BackendError> {
    algorithm(kind).ok_or_else(|| BackendError::Incapable { what: format!("a key of kind {kind}") })
}

/// The kinds of keys that a YubiHSM makes.
pub fn yubihsm_kinds() -> impl Iterator<Item = KeyKind> {
    KeyKind::ALL.into_iter().filter(|kind| algorithm(*kind).is_some())
}

/// The numbers of keys of a purpose; none of keys that can be wrapped, which a device is not asked for.
pub(super) fn numbers(purpose: KeyPurpose) -> Option<std::ops::RangeInclusive<u16>> {
    match purpose {
        KeyPurpose::Root => Some(ROOTS),
        KeyPurpose::Epoch => Some(EPOCHS),
        KeyPurpose::Wrappable(_) => None,
    }
}

/// Generates the key: nothing of it ever leaves the device, and it does nothing but sign.
pub(super) fn generate(
    held: &mut Held<'_>,
    id: u16,
    (label, kind): (&KeyLabel, KeyKind),
    domains: Domains,
) -> Result<(), BackendError> {
    let (algorithm, capabilities) = made_of(kind)?;
    let key = NewKey { id, label: label::stored(label)?, algorithm, capabilities, domains };
    held.call(|session| session.generate(&key))
}

/// Finds a key, and compares its public key with the expected one.
pub(super) fn find(held: &mut Held<'_>, reference: &KeyReference, expected: SpkiDigest) -> Result<Found, BackendError> {
    let found = find_unproven(held, reference)?;
    let digest = found.public.digest();
    if digest == expected {
        return Ok(found);
    }
    Err(BackendError::WrongKey { key: reference.clone(), expected, found: digest })
}

/// The same, where its public key is not on record yet.
pub(super) fn find_unproven(held: &mut Held<'_>, reference: &KeyReference) -> Result<Found, BackendError> {
    let id = reference.yubihsm_id().ok_or(KeyReferenceError::OtherBackend)?;
    let missing = |error| {
        let is_missing = matches!(error, BackendError::HandleLost { .. });
        if is_missing { BackendError::KeyNotFound { key: reference.clone() } } else { error }
    };
    let object = held.call(|session| session.key(id)).map_err(missing)?;
    if label::read(&object.label).as_ref() != Some(reference.label()) {
        return Err(BackendError::KeyNotFound { key: reference.clone() });
    }
    let part = held.call(|session| session.public_key(id)).map_err(missing)?;
    Ok(Found { public: public_key(reference, &part)?, object })
}

/// Whether it is guarded as a CA key must be.
pub(super) fn check(found: &Found, reference: &KeyReference, domains: Domains) -> Result<(), BackendError> {
    let Found { public, object } = found;
    let (algorithm, capabilities) = made_of(public.kind())?;
    let wrong = |attribute, found: String, wanted: String| {
        Err(BackendError::WrongAttribute { key: reference.clone(), attribute, found, wanted })
    };
    if object.algorithm != algorithm {
        return wrong(ALGORITHM, object.algorithm.to_string(), algorithm.to_string());
    }
    if object.capabilities != capabilities {
        return wrong(CAPABILITIES, object.capabilities.to_string(), capabilities.to_string());
    }
    if !object.delegated.is_empty() {
        return wrong(DELEGATED, object.delegated.to_string(), Capabilities::NONE.to_string());
    }
    if object.origin != Origin::Generated {
        return wrong(ORIGIN, object.origin.to_string(), Origin::Generated.to_string());
    }
    if !domains.has(object.domains) {
        return wrong(DOMAINS, object.domains.to_string(), format!("none but {domains}"));
    }
    Ok(())
}

/// Whether it was made for this.
pub(super) fn check_purpose(reference: &KeyReference, purpose: KeyPurpose) -> Result<(), BackendError> {
    let id = reference.yubihsm_id().ok_or(KeyReferenceError::OtherBackend)?;
    let Some(wanted) = numbers(purpose) else { return Err(not_wrapped()) };
    if wanted.contains(&id) {
        return Ok(());
    }
    Err(BackendError::WrongAttribute {
        key: reference.clone(),
        attribute: OBJECT_ID,
        found: format!("{id:#06x}"),
        wanted: format!("one from {:#06x} to {:#06x} (purpose: {})", wanted.start(), wanted.end(), purpose.name()),
    })
}

/// Whether a key is one of those that are deleted from here.
pub(super) fn is_destroyable(id: u16) -> bool {
    EPOCHS.contains(&id)
}

/// What guards a key, as evidence. The names have a word before them, so that they are no others' in a record.
pub(super) fn guards(found: &Found) -> Vec<Guard> {
    let Object { id, label: _, algorithm, capabilities, delegated, domains, origin, sequence } = &found.object;
    let guard = |attribute, value: String| Guard { attribute, value };
    vec![
        guard(GUARD_OBJECT_ID, format!("{id:#06x}")),
        guard(GUARD_ALGORITHM, algorithm.to_string()),
        guard(GUARD_CAPABILITIES, capabilities.to_string()),
        guard(GUARD_DELEGATED, delegated.to_string()),
        guard(GUARD_DOMAINS, domains.to_string()),
        guard(GUARD_ORIGIN, origin.to_string()),
        guard(GUARD_SEQUENCE, sequence.to_string()),
    ]
}

/// What guards a key of this kind in every YubiHSM: its guards, with a value where that is always the same. For whoever foretells what a device will say.
#[must_use]
pub fn yubihsm_guards(kind: KeyKind) -> Vec<(&'static str, Option<String>)> {
    let (algorithm, capabilities) = algorithm(kind).unzip();
    vec![
        (GUARD_OBJECT_ID, None),
        (GUARD_ALGORITHM, algorithm.map(|algorithm| algorithm.to_string())),
        (GUARD_CAPABILITIES, capabilities.map(|capabilities| capabilities.to_string())),
        (GUARD_DELEGATED, Some(Capabilities::NONE.to_string())),
        (GUARD_DOMAINS, None),
        (GUARD_ORIGIN, Some(Origin::Generated.to_string())),
        (GUARD_SEQUENCE, None),
    ]
}

/// The names of the keys of these numbers that this signer could have made.
pub(super) fn names(held: &mut Held<'_>, label: Option<&[u8]>) -> Result<Vec<KeyReference>, BackendError> {
    let mut keys = Vec::new();
    for id in held.call(|session| session.keys(label))? {
        match held.call(|session| session.key(id)) {
            Ok(object) => keys.extend(label::read(&object.label).map(|label| KeyReference::yubihsm(id, label))),
            // It was deleted meanwhile.
            Err(BackendError::HandleLost { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(keys)
}

pub(super) fn not_wrapped() -> BackendError {
    let detail = "keys of a YubiHSM are made so that none leaves it, and are not wrapped; those that are backed up are made in a token".to_owned();
    BackendError::Configuration { detail }
}

/// The exponent of every RSA key of a device, F4.
const RSA_EXPONENT: [u8; 3] = [1, 0, 1];
/// What an uncompressed point begins with (SEC 1, section 2.3.3).
const UNCOMPRESSED: u8 = 4;

fn public_key(reference: &KeyReference, part: &PublicPart) -> Result<PublicKey, BackendError> {
    let point = || [&[UNCOMPRESSED], &part.bytes[..]].concat();
    let public = match part.algorithm {
        Algorithm::EcP256 => PublicKey::of_raw(KeyKind::EcdsaP256, &point()),
        Algorithm::EcP384 => PublicKey::of_raw(KeyKind::EcdsaP384, &point()),
        Algorithm::Ed25519 => PublicKey::of_raw(KeyKind::Ed25519, &part.bytes),
        Algorithm::Rsa2048 | Algorithm::Rsa3072 | Algorithm::Rsa4096 => encoding::rsa(&part.bytes, &RSA_EXPONENT),
        Algorithm::Other(_) => {
            return Err(BackendError::WrongAttribute {
                key: reference.clone(),
                attribute: ALGORITHM,
                found: part.algorithm.to_string(),
                wanted: "one of ecp256, ecp384, ed25519, rsa2048, rsa3072 and rsa4096".to_owned(),
            });
        }
    };
    public.map_err(|source| BackendError::PublicKey { key: reference.clone(), source })
}
