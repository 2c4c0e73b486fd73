//! Manifests: the cases of `manifests.toml`, places to the column, and what another reader of JSON finds in the same bytes.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on ends by panicking")]

use std::{collections::BTreeMap, sync::LazyLock};

use hallmark_policy::{
    Policy, hex,
    key::SpkiDigest,
    manifest::{MANIFEST_BYTES_MAX, Manifest, ManifestError, PROBLEMS_MAX},
};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    policy: String,
    section: Vec<Section>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    title: String,
    authority: Option<String>,
    around: Option<String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    what: String,
    is: String,
    said: Vec<String>,
    #[serde(default)]
    unordered: bool,
    owners: Option<usize>,
}

#[derive(Deserialize)]
struct Golden {
    keys: BTreeMap<String, String>,
}

static CORPUS: LazyLock<Corpus> = LazyLock::new(|| toml::from_str(include_str!("../manifests.toml")).unwrap());
static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy::parse(&CORPUS.policy).unwrap());
static OWNERS: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    toml::from_str::<toml::Table>(include_str!("../owners.toml")).unwrap().try_into::<Golden>().unwrap().keys
});

/// `<3:ab>`, `<x:ff>`, `<p256>`; see the head of `manifests.toml`.
fn expanded(text: &str) -> Vec<u8> {
    let mut pieces = text.split('<');
    let mut all = pieces.next().unwrap().as_bytes().to_vec();
    for piece in pieces {
        let (word, rest) = piece.split_once('>').unwrap();
        match word.split_once(':') {
            Some(("x", byte)) => all.push(u8::from_str_radix(byte, 16).unwrap()),
            Some((count, "names")) => all.extend(listed(count, |number| format!("\"n{number}.example\"")).bytes()),
            Some((count, "digests")) => all.extend(listed(count, |number| format!("\"{number:064x}\"")).bytes()),
            Some((count, text)) => all.extend(text.repeat(count.parse().unwrap()).bytes()),
            None => all.extend(owner(word).bytes()),
        }
        all.extend(rest.bytes());
    }
    all
}

fn listed(count: &str, item: impl Fn(usize) -> String) -> String {
    (0..count.parse().unwrap()).map(item).collect::<Vec<_>>().join(",")
}

fn owner(word: &str) -> String {
    match word.strip_suffix("-digest") {
        None => OWNERS[word].clone(),
        Some(word) => {
            let key = &OWNERS[word];
            let der: Vec<_> =
                (0..key.len()).step_by(2).map(|at| u8::from_str_radix(&key[at..at + 2], 16).unwrap()).collect();
            SpkiDigest::of(&der).to_string()
        }
    }
}

fn read(authority: &str, bytes: &[u8]) -> Result<Manifest, ManifestError> {
    let read = Manifest::parse_for(bytes, &POLICY, POLICY.authority(authority).unwrap());
    let alone = Manifest::parse(bytes);
    if let Ok(manifest) = &read {
        assert_eq!(
            alone.as_ref(),
            Ok(manifest),
            "a manifest that was set is read again, whatever the policy is by then"
        );
    }
    read
}

fn told(bytes: &[u8]) -> Vec<String> {
    let error = Manifest::parse(bytes).unwrap_err();
    assert_eq!(error.problems.len(), error.count.min(PROBLEMS_MAX));
    error.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn every_manifest_of_the_corpus_is_taken_or_refused_as_it_says() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for Section { title, authority, around, cases } in &CORPUS.section {
        for Case { what, is, said, unordered, owners } in cases {
            count += 1;
            let text = around.as_deref().map_or_else(|| is.clone(), |around| around.replacen('@', is, 1));
            let bytes = expanded(&text);
            let read = read(authority.as_deref().unwrap_or("mesh"), &bytes);
            let mut problems: Vec<_> =
                read.as_ref().err().into_iter().flat_map(|error| &error.problems).map(ToString::to_string).collect();
            let fits = problems.len() == said.len()
                && if *unordered {
                    said.iter().all(|said| problems.iter().any(|problem| problem.contains(said)))
                } else {
                    said.iter().zip(&problems).all(|(said, problem)| problem.contains(said))
                };
            let owners_fit = owners.is_none_or(|owners| read.as_ref().is_ok_and(|read| read.owners().len() == owners));
            if !fits || !owners_fit {
                problems.iter_mut().for_each(|problem| problem.truncate(400));
                wrong.push(format!("{title}: {what}: {problems:#?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 200, "{count} cases were found");
}

#[test]
fn every_problem_has_its_line_its_column_and_its_pointer() {
    let text = "{\n  \"Policies\": {\n    \"é\": {\"SANs\": [\"a.example\", \"*\"], \"Rôle\": 1}},\n\
                  \"WorkloadOwnerPubKeys\": null, \"a/b~c\": 0\n}";
    assert_eq!(
        told(text.as_bytes()),
        [
            "line 3, column 5 (/Policies): the key `é` has characters that are not visible ASCII; readers do not agree when \
             two such keys are the same",
            "line 3, column 5 (/Policies/é): the policy hash `é` is no SHA-256; write 64 digits of 0-9 and a-f",
            "line 3, column 33 (/Policies/é/SANs/1): the name `*` would be good for every host: name the hosts",
            "line 3, column 39 (/Policies/é): the key `Rôle` has characters that are not visible ASCII; readers do not agree \
             when two such keys are the same",
            "line 3, column 39 (/Policies/é/Rôle): there is no key `Rôle` here; there are SANs, WorkloadSecretID, Role",
            "line 4, column 25 (/WorkloadOwnerPubKeys): `WorkloadOwnerPubKeys` is an array, and this is null; write `[]` or \
             `{}` for one that is empty, or leave it out: readers do not agree about null",
            "line 4, column 31 (/a~1b~0c): there is no key `a/b~c` here; there are Policies, ReferenceValues, \
             WorkloadOwnerKeyDigests, WorkloadOwnerPubKeys, SeedshareOwnerPubKeys",
        ]
    );
}

#[test]
fn a_hundred_problems_are_told_and_all_are_counted() {
    let names = "\"*\",".repeat(99) + "\"*\"";
    let workload = |hash: char| format!("\"{}\":{{\"SANs\":[{names}]}}", hash.to_string().repeat(64));
    let text = format!("{{\"Policies\":{{{},{}}},\"WorkloadOwnerPubKeys\":[]}}", workload('a'), workload('b'));
    let error = Manifest::parse(text.as_bytes()).unwrap_err();
    assert_eq!((error.problems.len(), error.count), (PROBLEMS_MAX, 200));
    let reasons = error.reasons();
    assert_eq!(reasons.len(), PROBLEMS_MAX);
    assert!(reasons.iter().all(|reason| reason.code.as_str() == "MANIFEST_INVALID" && reason.field == "manifest"));
    let reasons = Manifest::parse(b"{\"Policies\":{},\"WorkloadOwnerPubKeys\":7}").unwrap_err().reasons();
    let sentence =
        "line 1, column 39 (/WorkloadOwnerPubKeys): `WorkloadOwnerPubKeys` is an array, and this is a number";
    assert_eq!(reasons[0].sentence, sentence);
    let reasons = Manifest::parse(b"{\"Policies\":{},\"WorkloadOwnerPubKeys\":null}").unwrap_err().reasons();
    assert!(!reasons[0].sentence.contains("leave it out"), "{reasons:?}");
    let hint = "write `[]` or `{}` for one that is empty, or leave it out: readers do not agree about null";
    assert_eq!(reasons[0].allowed.as_deref(), Some(hint));
}

#[test]
fn reading_ends_at_a_thousand_problems() {
    let names = "\"*\",".repeat(99) + "\"*\"";
    let count = |workloads: usize| {
        let workloads: Vec<_> =
            (0..workloads).map(|number| format!("\"{number:064x}\":{{\"SANs\":[{names}]}}")).collect();
        let text = format!("{{\"Policies\":{{{}}},\"WorkloadOwnerPubKeys\":[]}}", workloads.join(","));
        Manifest::parse(text.as_bytes()).unwrap_err().count
    };
    assert_eq!([9, 10, 11, 30].map(count), [900, 1_000, 1_000, 1_000]);
}

#[test]
fn what_is_read_is_what_stands_there() {
    let key = "ab".repeat(32);
    let text = format!(
        r#"{{"Policies":{{"{key}":{{"SANs":["cart.shop.example","10.1.2.3","spiffe://zone.example/a"],
        "WorkloadSecretID":"apps/v1/cart","Role":"coordinator"}}}},"WorkloadOwnerKeyDigests":["{key}"]}}"#
    );
    let manifest = read("mesh", text.as_bytes()).unwrap();
    assert_eq!(manifest.owners().iter().map(ToString::to_string).collect::<Vec<_>>(), [key]);
    let workload = manifest.workload(&[0xab; 32]).unwrap();
    let names: Vec<_> = workload.names().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["dns:cart.shop.example", "ip:10.1.2.3", "uri:spiffe://zone.example/a"]);
    assert_eq!((workload.secret_id(), workload.is_coordinator()), (Some("apps/v1/cart"), true));
    assert!(manifest.workload(&[0xac; 32]).is_none());
    assert_eq!(manifest.workloads().count(), 1);
}

#[test]
fn the_digest_is_that_of_the_bytes_and_not_of_what_they_mean() {
    let manifest = |text: &str| Manifest::parse(text.as_bytes()).unwrap();
    let one = manifest("{\"Policies\":{},\"WorkloadOwnerPubKeys\":[]}");
    assert_eq!(hex(one.digest()), "fec19f9b115b2a8c25b1d0794eae2fa831fc18c32720cd4ef34e49b0ad32f0a9");
    assert_ne!(one.digest(), manifest("{\"Policies\":{},\"WorkloadOwnerPubKeys\":[]}\n").digest());
}

#[test]
fn sixteen_mebibytes_are_read_and_not_a_byte_more() {
    let mut text = b"{\"Policies\":{},\"WorkloadOwnerPubKeys\":[]}".to_vec();
    text.resize(MANIFEST_BYTES_MAX, b' ');
    assert!(Manifest::parse(&text).is_ok());
    text.push(b' ');
    assert_eq!(told(&text), ["line 1, column 1: the manifest has 16777217 bytes; at most 16777216 are read"]);
}

/// How another reader sees a manifest.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Theirs {
    policies: BTreeMap<String, TheirWorkload>,
    #[serde(default)]
    workload_owner_pub_keys: Vec<String>,
    #[serde(default)]
    workload_owner_key_digests: Vec<String>,
    #[serde(default, rename = "SeedshareOwnerPubKeys")]
    _seedshare_owner_pub_keys: Vec<String>,
    #[serde(default, rename = "ReferenceValues")]
    _reference_values: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TheirWorkload {
    #[serde(rename = "SANs")]
    sans: Vec<String>,
    #[serde(default, rename = "WorkloadSecretID")]
    secret_id: String,
    #[serde(default, rename = "Role")]
    role: String,
}

/// Whatever is taken, serde_json reads, and finds the same in it.
fn agrees_with_serde_json(bytes: &[u8]) -> Result<bool, TestCaseError> {
    let Ok(ours) = Manifest::parse(bytes) else { return Ok(false) };
    let theirs: Theirs = serde_json::from_slice(bytes).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let their_owners = theirs.workload_owner_pub_keys.len().max(theirs.workload_owner_key_digests.len());
    prop_assert_eq!(ours.owners().len(), their_owners);
    prop_assert_eq!(ours.workloads().count(), theirs.policies.len());
    for (hash, workload) in ours.workloads() {
        let their = &theirs.policies[&hex(hash)];
        prop_assert_eq!(workload.names().iter().map(|name| name.as_str()).collect::<Vec<_>>(), their.sans.clone());
        prop_assert_eq!(workload.secret_id().unwrap_or_default(), &their.secret_id);
        prop_assert_eq!(if workload.is_coordinator() { "coordinator" } else { "" }, &their.role);
    }
    Ok(true)
}

/// A manifest with a little of everything, for pieces to be exchanged in.
fn whole() -> Vec<u8> {
    let text = r#"{"Policies":{"<64:a>":{"SANs":["cart.shop.example","web","10.1.2.3","\u0061.example"],"WorkloadSecretID":"apps\/v1"},
"<64:b>":{"SANs":["spiffe://zone.example/a"],"Role":"coordinator"}},"ReferenceValues":{"snp":[{"a":1.5,"b":-2e3,"c":null}]},
"WorkloadOwnerPubKeys":["<p256>"],"WorkloadOwnerKeyDigests":["<p256-digest>"],"SeedshareOwnerPubKeys":["30"]}"#;
    expanded(text)
}

#[test]
fn the_whole_of_it_is_taken_by_both() {
    assert!(agrees_with_serde_json(&whole()).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn no_bytes_are_read_otherwise_than_serde_json_reads_them(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        agrees_with_serde_json(&bytes)?;
    }

    #[test]
    fn a_manifest_with_any_piece_exchanged_is_refused_or_read_by_all_alike(
        begin in 0..900_usize,
        length in 0..8_usize,
        piece in prop_oneof![
            "[\\[\\]{},:\"0-9a-zA-Z\\\\ .*-]{0,6}",
            Just("null".to_owned()), Just("\\u0000".to_owned()), Just("\\ud800".to_owned()), Just("\u{17f}".to_owned()),
            Just("\"a\":1,".to_owned()), Just("1e400".to_owned()), Just(",\"Policies\":{}".to_owned()),
        ],
    ) {
        let mut bytes = whole();
        let begin = begin.min(bytes.len());
        let end = (begin + length).min(bytes.len());
        bytes.splice(begin..end, piece.bytes());
        agrees_with_serde_json(&bytes)?;
    }

    #[test]
    fn every_json_of_safe_values_is_taken_as_reference_values(value in json()) {
        let text = format!("{{\"Policies\":{{}},\"WorkloadOwnerPubKeys\":[],\"ReferenceValues\":{{\"a\":{value}}}}}");
        let read = Manifest::parse(text.as_bytes());
        prop_assert!(read.is_ok(), "{}", read.unwrap_err());
    }

    #[test]
    fn every_value_stands_once(value in json(), key in "[a-z]{1,8}", other in "[a-zA-Z]{1,8}") {
        let text = format!("{{\"Policies\":{{}},\"WorkloadOwnerPubKeys\":[],\"ReferenceValues\":{{\"{key}\":{value},\"{other}\":0}}}}");
        prop_assert_eq!(Manifest::parse(text.as_bytes()).is_ok(), !key.eq_ignore_ascii_case(&other));
    }
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        (-9_007_199_254_740_991_i64..9_007_199_254_740_992).prop_map(Into::into),
        (-1.0e15..1.0e15_f64).prop_map(Into::into),
        "[^\\x00]{0,8}".prop_map(Into::into),
    ];
    leaf.prop_recursive(6, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            prop::collection::btree_map("[a-z0-9]{1,6}", inner, 0..5)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}
