//! What a manifest consists of: Contrast's shape, read strictly. What is not named here is refused.

use std::collections::BTreeMap;

use super::{
    Manifest, Workload,
    json::{Kind, Reader, Stop, folded},
    names::{self, Rules},
};
use crate::{
    key::{Family, PublicKey, SpkiDigest, sha256},
    reason::quote,
};

/// Most owners of a manifest.
pub const OWNERS_MAX: usize = 64;

/// Longest workload secret id, in bytes.
pub const WORKLOAD_SECRET_ID_BYTES_MAX: usize = 1_024;

/// Longest hexadecimal key, in digits.
const KEY_DIGITS_MAX: usize = 16_384;

const POLICIES: &str = "Policies";
const REFERENCE_VALUES: &str = "ReferenceValues";
const OWNER_KEY_DIGESTS: &str = "WorkloadOwnerKeyDigests";
const OWNER_PUB_KEYS: &str = "WorkloadOwnerPubKeys";
const SEEDSHARE_OWNER_PUB_KEYS: &str = "SeedshareOwnerPubKeys";
const SANS: &str = "SANs";
const WORKLOAD_SECRET_ID: &str = "WorkloadSecretID";
const ROLE: &str = "Role";

const KEYS: [&str; 5] = [POLICIES, REFERENCE_VALUES, OWNER_KEY_DIGESTS, OWNER_PUB_KEYS, SEEDSHARE_OWNER_PUB_KEYS];
const KEYS_OF_WORKLOAD: [&str; 3] = [SANS, WORKLOAD_SECRET_ID, ROLE];

/// The one role that Contrast knows.
const COORDINATOR: &str = "coordinator";

/// What was read so far.
#[derive(Default)]
struct Parts {
    workloads: Option<BTreeMap<[u8; 32], Workload>>,
    digests: Option<Vec<SpkiDigest>>,
    keys: Option<Vec<SpkiDigest>>,
}

/// Reads the manifest. It means something only if no problem was noted.
pub(super) fn read(reader: &mut Reader<'_>, bytes: &[u8], rules: Option<Rules<'_>>) -> Result<Manifest, Stop> {
    let mut parts = Parts::default();
    if reader.kind()? == Kind::Object {
        reader.object(&mut |reader, key| member(reader, key, &mut parts, rules))?;
    } else {
        wrong_kind(reader, "the manifest is an object")?;
    }
    reader.end()?;
    if parts.workloads.is_none() {
        reader.note(0, format!("`{POLICIES}` is missing"), Some("write `{}` for a deployment without workloads"));
    }
    let owners = owners(reader, parts.digests, parts.keys);
    Ok(Manifest { digest: sha256(bytes), owners, workloads: parts.workloads.unwrap_or_default() })
}

fn member(reader: &mut Reader<'_>, key: &str, parts: &mut Parts, rules: Option<Rules<'_>>) -> Result<(), Stop> {
    match key {
        POLICIES => {
            let workloads = parts.workloads.insert(BTreeMap::new());
            object(reader, "`Policies` is an object of policy hashes", &mut |reader, hash| {
                let hash = policy_hash(reader, hash);
                let workload = workload(reader, rules)?;
                workloads.extend(hash.map(|hash| (hash, workload)));
                Ok(())
            })
        }
        REFERENCE_VALUES if reader.kind()? == Kind::Object => reader.skip(),
        REFERENCE_VALUES => wrong_kind(reader, "`ReferenceValues` is an object"),
        OWNER_KEY_DIGESTS => owner_list(reader, OWNER_KEY_DIGESTS, parts.digests.insert(Vec::new()), &key_digest),
        OWNER_PUB_KEYS => owner_list(reader, OWNER_PUB_KEYS, parts.keys.insert(Vec::new()), &owner_key),
        SEEDSHARE_OWNER_PUB_KEYS => strings(reader, SEEDSHARE_OWNER_PUB_KEYS, &mut |reader, at, text| {
            if hex_bytes(text).is_none() {
                let sentence = format!("{} is no key in hexadecimal digits", quote(text));
                reader.note(at, sentence, Some("write its DER in digits of 0-9 and a-f"));
            }
        }),
        other => unknown(reader, other, &KEYS),
    }
}

fn policy_hash(reader: &mut Reader<'_>, text: &str) -> Option<[u8; 32]> {
    let hash = crate::key::digest_from_hex(text);
    if hash.is_none() {
        let sentence = format!("the policy hash {} is no SHA-256", quote(text));
        reader.note(reader.key_at, sentence, Some("write 64 digits of 0-9 and a-f"));
    }
    hash
}

fn workload(reader: &mut Reader<'_>, rules: Option<Rules<'_>>) -> Result<Workload, Stop> {
    let begin = reader.at;
    let mut names = None;
    let mut secret_id = None;
    let mut is_coordinator = false;
    object(reader, "a policy is an object with `SANs`", &mut |reader, key| match key {
        SANS => {
            names = Some(names::read(reader, rules)?);
            Ok(())
        }
        WORKLOAD_SECRET_ID => string(reader, "`WorkloadSecretID` is a string", &mut |reader, at, text| {
            if text.len() > WORKLOAD_SECRET_ID_BYTES_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
                let sentence = format!("the workload secret id {} is not taken", quote(text));
                reader.note(at, sentence, Some("it has at most 1024 bytes of visible ASCII"));
            }
            secret_id = Some(text.to_owned()).filter(|text| !text.is_empty());
        }),
        ROLE => string(reader, "`Role` is a string", &mut |reader, at, text| {
            is_coordinator = text == COORDINATOR;
            if !is_coordinator && !text.is_empty() {
                let hint = "there is `coordinator`; other workloads have none";
                reader.note(at, format!("there is no role {}", quote(text)), Some(hint));
            }
        }),
        other => unknown(reader, other, &KEYS_OF_WORKLOAD),
    })?;
    let names = names.unwrap_or_else(|| {
        reader.note(begin, "`SANs` is missing", Some("write `[]` for a workload without a certificate"));
        Vec::new()
    });
    Ok(Workload { names, secret_id, is_coordinator })
}

/// Those who may replace the manifest. Without a list nobody could, ever: that is said, and not left out.
fn owners(reader: &mut Reader<'_>, digests: Option<Vec<SpkiDigest>>, keys: Option<Vec<SpkiDigest>>) -> Vec<SpkiDigest> {
    match (digests, keys) {
        (Some(owners), None) | (None, Some(owners)) => owners,
        (Some(mut digests), Some(mut keys)) => {
            digests.sort_unstable();
            keys.sort_unstable();
            if digests != keys {
                let sentence = format!("`{OWNER_KEY_DIGESTS}` and `{OWNER_PUB_KEYS}` do not name the same keys");
                reader.note(0, sentence, Some("coordinators of different versions would obey different owners"));
            }
            digests
        }
        (None, None) => {
            let sentence = format!("neither `{OWNER_PUB_KEYS}` nor `{OWNER_KEY_DIGESTS}` is there");
            reader.note(0, sentence, Some("write `[]` if no other manifest may ever take this one's place"));
            Vec::new()
        }
    }
}

/// Reads one text as an owner's key, or says why it is none.
type OwnerRule = dyn Fn(&str) -> Result<SpkiDigest, String>;

fn owner_list(reader: &mut Reader<'_>, list: &str, owners: &mut Vec<SpkiDigest>, rule: &OwnerRule) -> Result<(), Stop> {
    strings(reader, list, &mut |reader, at, text| match rule(text) {
        Ok(owner) if owners.contains(&owner) => {
            reader.note(at, format!("`{list}` has the key {} twice", quote(text)), None);
        }
        Ok(_) if owners.len() == OWNERS_MAX => {
            reader.note(at, format!("`{list}` has more than {OWNERS_MAX} keys"), None);
        }
        Ok(owner) => owners.push(owner),
        Err(sentence) => reader.note(at, sentence, None),
    })
}

fn key_digest(text: &str) -> Result<SpkiDigest, String> {
    crate::key::digest_from_hex(text)
        .map(SpkiDigest::from_bytes)
        .ok_or_else(|| format!("{} is no SHA-256 of a key: write 64 digits of 0-9 and a-f", quote(text)))
}

fn owner_key(text: &str) -> Result<SpkiDigest, String> {
    let der = hex_bytes(text)
        .ok_or_else(|| format!("{} is no key: write its PKIX DER in digits of 0-9 and a-f", quote(text)))?;
    let key = PublicKey::parse(&der).map_err(|error| format!("{} is no key: {error}", quote(text)))?;
    if key.kind().family() == Family::Ecdsa {
        return Ok(key.digest());
    }
    Err(format!("an owner's key is ecdsa-p256 or ecdsa-p384, and this is {}", key.kind()))
}

/// Bytes in lower-case hexadecimal digits: one text for one value.
fn hex_bytes(text: &str) -> Option<Vec<u8>> {
    let fine = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.is_empty() || text.len() > KEY_DIGITS_MAX || !text.bytes().all(fine) {
        return None;
    }
    let pairs = (0..text.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

/// Reads a value that is an object; any other is noted and left out.
fn object(
    reader: &mut Reader<'_>,
    wanted: &str,
    member: &mut dyn FnMut(&mut Reader<'_>, &str) -> Result<(), Stop>,
) -> Result<(), Stop> {
    if reader.kind()? != Kind::Object {
        return wrong_kind(reader, wanted);
    }
    reader.object(&mut |reader, key| member(reader, key))
}

/// Reads a value that is a string; any other is noted and left out.
pub(super) fn string(
    reader: &mut Reader<'_>,
    wanted: &str,
    taken: &mut dyn FnMut(&mut Reader<'_>, usize, &str),
) -> Result<(), Stop> {
    if reader.kind()? != Kind::String {
        return wrong_kind(reader, wanted);
    }
    let begin = reader.at;
    let text = reader.string()?;
    taken(reader, begin, &text);
    Ok(())
}

/// Reads a value that is an array of strings; all others are noted and left out.
pub(super) fn strings(
    reader: &mut Reader<'_>,
    list: &str,
    taken: &mut dyn FnMut(&mut Reader<'_>, usize, &str),
) -> Result<(), Stop> {
    if reader.kind()? != Kind::Array {
        return wrong_kind(reader, &format!("`{list}` is an array"));
    }
    reader.array(&mut |reader| string(reader, &format!("`{list}` is an array of strings"), taken))
}

fn wrong_kind(reader: &mut Reader<'_>, wanted: &str) -> Result<(), Stop> {
    let kind = reader.kind()?;
    let hint = match kind {
        Kind::Null => {
            Some("write `[]` or `{}` for one that is empty, or leave it out: readers do not agree about null")
        }
        Kind::Object | Kind::Array | Kind::String | Kind::Number | Kind::Boolean => None,
    };
    reader.note(reader.at, format!("{wanted}, and this is {}", kind.name()), hint);
    reader.skip()
}

/// What is not known is refused; what is nearly known would be read by those who do not tell capitals from small letters.
fn unknown(reader: &mut Reader<'_>, key: &str, known: &[&str]) -> Result<(), Stop> {
    let meant = known.iter().find(|known| folded(known) == folded(key));
    let (sentence, hint) = match meant {
        Some(meant) => (
            format!("the key {} is not `{meant}`", quote(key)),
            "some readers take it for that one; write it as it is known".to_owned(),
        ),
        None => (format!("there is no key {} here", quote(key)), format!("there are {}", known.join(", "))),
    };
    reader.note(reader.key_at, sentence, Some(&hint));
    reader.skip()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_so_many_digits_at_most_and_two_for_each_byte() {
        assert_eq!(hex_bytes("00ff1a"), Some(vec![0, 255, 26]));
        assert!(
            hex_bytes(&"0".repeat(KEY_DIGITS_MAX)).is_some() && hex_bytes(&"0".repeat(KEY_DIGITS_MAX + 2)).is_none()
        );
        for text in ["", "0", "0g", "0A", "é"] {
            assert_eq!(hex_bytes(text), None, "{text}");
        }
    }
}
