//! The contract about entries stands in the repository, in three places that agree.

use std::{fs, path::Path};

use hallmark_entry::{
    Object, Value, is_canonical,
    privacy::PRIVATE_KEYS,
    schema::{Fit, KINDS, Misfit, Variant, check, json_schema},
};

#[cfg(test)]
fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)).unwrap()
}

#[cfg(test)]
fn checked(entry: &[u8]) -> Result<Fit, Misfit> {
    check(&Value::read(entry).expect("canonical"))
}

#[test]
fn the_json_schema_in_the_repository_is_the_contract() {
    let found = read("log-entries.schema.json");
    assert!(found == json_schema(), "docs/log-entries.schema.json should be:\n{}", json_schema());
}

#[test]
fn the_page_for_people_names_every_type_and_member() {
    let page = read("log-entries.md");
    for kind in KINDS {
        assert!(page.contains(&format!("\n| `{}` |", kind.name)), "the type `{}`", kind.name);
        let variants = kind.variants.iter().flat_map(|(_, variants)| variants.iter()).flat_map(Variant::all);
        let members = kind.members.iter().chain(variants.flat_map(|variant| variant.members));
        for member in members.filter(|member| !member.key.ends_with("-omitted")) {
            assert!(page.contains(&format!("`{}`", member.key)), "`{}` of `{}`", member.key, kind.name);
        }
    }
}

#[test]
fn the_page_for_people_names_every_member_that_can_be_private() {
    let page = read("log-entries.md");
    let (_, rest) = page.split_once("that can be private are ").unwrap();
    let (list, _) = rest.split_once(';').unwrap();
    let named: Vec<&str> = list.split('`').skip(1).step_by(2).collect();
    assert_eq!(named, PRIVATE_KEYS);
}

#[test]
fn types_of_the_future_pass_and_what_is_known_must_fit() {
    assert_eq!(checked(br#"{"moon":1,"time":5,"type":"eclipse","version":1}"#), Ok(Fit::UnknownKind));
    assert_eq!(checked(br#"{"decision":7,"time":5,"type":"decision","version":2}"#), Ok(Fit::OtherVersion));
    let more = br#"{"command":"x","later":{"a":[1]},"time":5,"type":"operator-command","version":1}"#;
    assert!(matches!(checked(more), Ok(Fit::Known(kind)) if kind.name == "operator-command"));
    let cases: [(&[u8], &str); 8] = [
        (br#"{"type":"stop","version":1}"#, "it has no `time`, which `stop` has"),
        (br#"{"time":"now","type":"stop","version":1}"#, "its `time` is not an integer, which `stop` wants"),
        (br#"{"time":1,"type":7,"version":1}"#, "its `type` is not a short text, which `entry` wants"),
        (br#"{"time":1,"type":"operator-command","version":1}"#, "it has no `command`, which `operator-command` has"),
        (
            br#"{"time":1,"type":"recovered","unsigned":-1,"version":1}"#,
            "its `unsigned` is not a count, which `recovered` wants",
        ),
        (
            br#"{"decision":"issued","time":1,"type":"decision","version":1}"#,
            "it has no `algorithm`, which `decision` has",
        ),
        (
            br#"{"decision":"refused","reasons":[{"code":"A"},{"field":"b"}],"time":1,"type":"decision","version":1}"#,
            "it has no `reasons.code`, which `decision` has",
        ),
        (br#"[]"#, "it is not one object in canonical JSON (RFC 8785)"),
    ];
    for (entry, sentence) in cases {
        assert_eq!(checked(entry).unwrap_err().to_string(), sentence);
    }
}

#[test]
fn what_is_issued_has_the_members_of_its_stage() {
    let issued = |stage: &str, more: &str| {
        format!(
            r#"{{"algorithm":"ed25519","authority":"a",{more}"issuer":{{"spki-sha256":"{0}"}},"stage":"{stage}","tbs-sha256":"{0}","time":1,"type":"decision","version":1}}"#,
            "ab".repeat(32)
        )
        .replacen(r#""issuer""#, r#""decision":"issued","issuer""#, 1)
    };
    let missing = |entry: String| checked(entry.as_bytes()).unwrap_err().to_string();
    assert_eq!(missing(issued("leaf", "")), "it has no `issuer.sequence`, which `decision` has");
    assert_eq!(missing(issued("crl", "")), "it has no `crl-number`, which `decision` has");
    assert_eq!(missing(issued("request", "")), "it has no `spki-sha256`, which `decision` has");
    assert!(matches!(checked(issued("moon", "").as_bytes()), Ok(Fit::Known(_))), "a stage of the future");
    let crl = issued("crl", r#""crl-number":1,"#).replacen(r#""issuer""#, r#""entries":0,"issuer""#, 1);
    let crl = crl.replacen(r#""stage""#, r#""next-update":2,"stage""#, 1);
    let crl = crl.replacen(r#""time""#, r#""this-update":1,"time""#, 1);
    assert!(matches!(checked(crl.as_bytes()), Ok(Fit::Known(_))), "{crl}");
}

#[test]
fn what_was_too_long_fits_the_contract_too() {
    let long = "x".repeat(500);
    let keys: Vec<&'static str> = (0..200).map(|number| &*format!("key-{number}").leak()).collect();
    let entry = keys.iter().fold(Object::new(), |object, key| object.text(key, &long)).into_entry("decision", 7);
    assert!(is_canonical(&entry));
    assert!(matches!(checked(&entry), Ok(Fit::Known(_))), "{}", String::from_utf8_lossy(&entry));
}
