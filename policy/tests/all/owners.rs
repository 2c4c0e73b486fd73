//! Who may set a manifest: signatures that openssl made, over exactly this rotation, by a key that is an owner's.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on ends by panicking")]

use std::{collections::BTreeMap, sync::LazyLock};

use hallmark_policy::{
    Policy, Reason,
    key::SpkiDigest,
    owner::{self, RotationStatement},
    profile::Authority,
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Golden {
    keys: BTreeMap<String, String>,
    signatures: BTreeMap<String, String>,
}

static GOLDEN: LazyLock<Golden> = LazyLock::new(|| toml::from_str(include_str!("../owners.toml")).unwrap());

const ROOT: &str = "4813494d137e1631bba301d5acab6e7bb7aa74ce1185d456565ef51d737677b2";
const TRANSITION: &str = "6b0e8483f2df31f24271c14d133669bf08000d3502c0e44078bf3aa8339e5c77";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn key(name: &str) -> Vec<u8> {
    bytes(&GOLDEN.keys[name])
}

fn digest(name: &str) -> SpkiDigest {
    SpkiDigest::of(&key(name))
}

fn plain() -> RotationStatement {
    RotationStatement {
        root: SpkiDigest::from_bytes(bytes(ROOT).try_into().unwrap()),
        transition: bytes(TRANSITION).try_into().unwrap(),
        lifetime_seconds: 0,
        revoke_previous: false,
    }
}

fn full() -> RotationStatement {
    RotationStatement { lifetime_seconds: 604_800, revoke_previous: true, ..plain() }
}

fn authority(name: &str, rotates: &str) -> String {
    format!(
        "[authority.{name}]\n{rotates}\n\
         root = {{ common-name = \"root\", lifetime = \"3650d\", key = \"ecdsa-p256\" }}\n\
         epoch = {{ common-name = \"epoch\", lifetime = \"365d\", key = \"ecdsa-p256\" }}\n"
    )
}

fn policy(authorities: &[(&str, String)]) -> Policy {
    let tables: String = authorities.iter().map(|(name, rotates)| authority(name, rotates)).collect();
    Policy::parse(&format!("version = 1\n{tables}")).unwrap()
}

fn manifest_authority(more: &str) -> Authority {
    let owners =
        format!("rotates = \"manifest\"\nowner-keys = [\"{}\", \"{}\"]\n{more}", digest("p256"), digest("p384"));
    policy(&[("a", owners)]).authority("a").unwrap().clone()
}

/// Codes of the reasons, and nothing where it is agreed to.
fn told(authority: &Authority, statement: &RotationStatement, key: &[u8], signature: &[u8]) -> Vec<&'static str> {
    let checked = owner::check(authority, authority.owner_keys(), statement, key, signature);
    let reasons: Vec<Reason> = checked.err().unwrap_or_default();
    reasons.iter().map(|reason| reason.code.as_str()).collect()
}

#[test]
fn the_statement_says_everything_about_a_rotation_line_by_line() {
    let text = String::from_utf8(full().to_bytes()).unwrap();
    assert_eq!(text, format!("hallmark-rotate-v1\n{ROOT}\n{TRANSITION}\n604800\n1\n"));
    let text = String::from_utf8(plain().to_bytes()).unwrap();
    assert_eq!(text, format!("hallmark-rotate-v1\n{ROOT}\n{TRANSITION}\n0\n0\n"));
    let contrast = manifest_authority("owner-signature = \"contrast\"");
    assert_eq!(String::from_utf8(plain().signed_bytes(&contrast)).unwrap(), TRANSITION);
}

#[test]
fn what_openssl_signed_for_this_rotation_is_taken_and_for_no_other() {
    let hallmark = manifest_authority("");
    let contrast = manifest_authority("owner-signature = \"contrast\"");
    let mut taken = Vec::new();
    for (name, signature) in &GOLDEN.signatures {
        for (way, authority, statement) in
            [("plain", &hallmark, plain()), ("full", &hallmark, full()), ("contrast", &contrast, plain())]
        {
            for owner in ["p256", "p384"] {
                match told(authority, &statement, &key(owner), &bytes(signature)).as_slice() {
                    [] => taken.push(format!("{name} for {owner}-{way}")),
                    codes => assert_eq!(codes, ["OWNER_SIGNATURE_WRONG"], "{name} for {owner}-{way}"),
                }
            }
        }
    }
    let same = ["p256-contrast", "p256-full", "p256-plain", "p384-contrast", "p384-full", "p384-plain"];
    assert_eq!(taken, same.map(|name| format!("{name} for {name}")));
}

#[test]
fn a_signature_for_another_root_transition_lifetime_or_revocation_is_wrong() {
    let authority = manifest_authority("");
    let signature = bytes(&GOLDEN.signatures["p256-full"]);
    assert_eq!(told(&authority, &full(), &key("p256"), &signature), [""; 0]);
    for other in [
        RotationStatement { root: SpkiDigest::from_bytes([0; 32]), ..full() },
        RotationStatement { transition: [0; 32], ..full() },
        RotationStatement { lifetime_seconds: 604_801, ..full() },
        RotationStatement { revoke_previous: false, ..full() },
    ] {
        assert_eq!(told(&authority, &other, &key("p256"), &signature), ["OWNER_SIGNATURE_WRONG"], "{other:?}");
    }
}

#[test]
fn no_flipped_bit_of_a_signature_and_no_other_length_is_taken() {
    let authority = manifest_authority("");
    let good = bytes(&GOLDEN.signatures["p256-plain"]);
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(told(&authority, &plain(), &key("p256"), &bad), ["OWNER_SIGNATURE_WRONG"], "bit {bit}");
    }
    for bad in [vec![], good[1..].to_vec(), [good.as_slice(), &[0]].concat(), vec![0; 256]] {
        assert_eq!(told(&authority, &plain(), &key("p256"), &bad), ["OWNER_SIGNATURE_WRONG"]);
    }
    for bad in [vec![0; 257], vec![0x30; 100_000]] {
        assert_eq!(told(&authority, &plain(), &key("p256"), &bad), ["FIELD_OUT_OF_LIMITS"]);
    }
}

#[test]
fn only_a_key_of_an_owner_in_force_is_looked_at() {
    let authority = manifest_authority("");
    let signature = bytes(&GOLDEN.signatures["p256-plain"]);
    let check = |in_force: &[SpkiDigest], key: &[u8]| {
        let checked = owner::check(&authority, in_force, &plain(), key, &signature);
        checked.err().unwrap_or_default().iter().map(|reason| reason.code.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(check(&[digest("p256")], &key("p256")), [""; 0]);
    assert_eq!(check(&[digest("p384")], &key("p256")), ["OWNER_UNKNOWN"], "the policy's owners no longer count");
    assert_eq!(check(&[digest("ed25519")], &key("ed25519")), ["KEY_NOT_ALLOWED"]);
    assert_eq!(check(&[digest("p256")], &[]), ["FIELD_MISSING"]);
    assert_eq!(check(&[digest("p256")], &[0x30; 8_193]), ["FIELD_OUT_OF_LIMITS"]);
    assert_eq!(check(&[digest("p256")], &[0x30; 8_192]), ["KEY_MALFORMED"]);
    let mut compressed = key("p256");
    compressed.push(0);
    assert_eq!(check(&[SpkiDigest::of(&compressed)], &compressed), ["KEY_MALFORMED"]);
}

#[test]
fn without_owners_a_manifest_stays_for_ever() {
    let authority = manifest_authority("");
    let signature = bytes(&GOLDEN.signatures["p256-plain"]);
    let reasons = owner::check(&authority, &[], &plain(), &key("p256"), &signature).unwrap_err();
    assert_eq!(reasons.len(), 1);
    assert_eq!(reasons[0].code.as_str(), "MANIFEST_IMMUTABLE");
    assert_eq!(reasons[0].sentence, "no owner of authority `a` is named, so that nobody may ever set another manifest");
}

#[test]
fn what_contrasts_signature_does_not_say_the_caller_does_not_say_either() {
    let contrast = manifest_authority("owner-signature = \"contrast\"");
    let signature = bytes(&GOLDEN.signatures["p256-contrast"]);
    assert_eq!(told(&contrast, &plain(), &key("p256"), &signature), [""; 0]);
    assert_eq!(told(&contrast, &full(), &key("p256"), &signature), ["FIELDS_CONFLICT", "FIELDS_CONFLICT"]);
}

#[test]
fn an_authority_that_rotates_by_age_takes_no_manifest_whoever_signs_it() {
    let policy = policy(&[("a", String::new())]);
    let authority = policy.authority("a").unwrap();
    let signature = bytes(&GOLDEN.signatures["p256-plain"]);
    let reasons = owner::check(authority, &[digest("p256")], &plain(), &key("p256"), &signature).unwrap_err();
    assert_eq!(reasons.iter().map(|reason| reason.code.as_str()).collect::<Vec<_>>(), ["ROTATES_BY_AGE"]);
}

#[test]
fn owners_are_shared_only_where_a_signature_says_more_than_the_transition() {
    let authority = |way: &str| format!("rotates = \"manifest\"\nowner-keys = []\nowner-signature = \"{way}\"");
    let policy = policy(&[("a", authority("contrast")), ("b", authority("contrast")), ("c", authority("hallmark"))]);
    let (one, two) = ([digest("p256"), digest("p384")], [digest("p384")]);
    let check = |name: &str, others: &[(&str, &[SpkiDigest])]| {
        let checked = owner::check_shared(&policy, policy.authority(name).unwrap(), &one, others.iter().copied());
        checked.err().unwrap_or_default().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let told = check("a", &[("b", &two), ("c", &two)]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("OWNER_KEY_SHARED (manifest): the owner with the key f2b62534"), "{told:?}");
    assert_eq!(check("c", &[("a", &two), ("b", &two)]), [""; 0]);
    assert_eq!(check("a", &[("a", &two)]), [""; 0], "itself, from the manifest before");
    assert_eq!(check("a", &[("b", &[digest("ed25519")])]), [""; 0]);
}
