//! The contract as JSON Schema (draft 2020-12), for tools that nobody here wrote.

use serde_json::{Map, Value, json};

use super::{Form, HEAD, KINDS, Kind, Member, OMITTED, Variants};
use crate::ENTRY_VERSION;

/// The text of `docs/log-entries.schema.json`.
#[must_use]
pub fn json_schema() -> String {
    let kinds = KINDS.iter().map(rule).collect::<Vec<_>>();
    let mut definitions = definitions();
    for kind in KINDS {
        definitions.insert(kind.name.to_owned(), definition(kind));
    }
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": format!("urn:hallmark:log-entry:{ENTRY_VERSION}"),
        "title": "An entry of Hallmark's decision log",
        "description": "Version 1. Types, members and words that are not listed may come in later releases: readers pass \
                        over them. Entries are canonical JSON (RFC 8785) of at most 65,535 bytes.",
        "type": "object",
        "required": keys(HEAD),
        "properties": properties(HEAD, false),
        "allOf": kinds,
        "$defs": definitions,
    });
    format!("{schema:#}\n")
}

/// Whatever has this type, and is of this version, fits its definition, unless all of it had to be left out.
fn rule(kind: &Kind) -> Value {
    json!({
        "if": { "properties": { "type": { "const": kind.name }, "version": { "const": ENTRY_VERSION } } },
        "then": {
            "if": { "required": ["omitted-sha256"] },
            "then": { "$ref": "#/$defs/omitted" },
            "else": { "$ref": format!("#/$defs/{}", kind.name) },
        },
    })
}

fn definition(kind: &Kind) -> Value {
    let mut definition = object(kind.members, true);
    definition.insert("description".to_owned(), kind.about.into());
    with_variants(definition, kind.variants)
}

fn with_variants(mut definition: Map<String, Value>, variants: Variants) -> Value {
    if let Some((key, variants)) = variants {
        let rules = variants.iter().map(|variant| {
            json!({
                "if": { "properties": { key: { "const": variant.word } } },
                "then": with_variants(object(variant.members, true), variant.variants),
            })
        });
        definition.insert("allOf".to_owned(), rules.collect());
    }
    definition.into()
}

fn definitions() -> Map<String, Value> {
    let digest = json!({ "type": "string", "pattern": "^[0-9a-f]{64}$" });
    let cut = json!({
        "description": "A text that was too long: how it begins, its length in bytes and its SHA-256",
        "type": "object",
        "required": ["bytes", "sha256", "start"],
        "properties": {
            "bytes": { "type": "integer" },
            "sha256": { "$ref": "#/$defs/digest" },
            "start": { "type": "string" },
        },
        "additionalProperties": false,
    });
    let commitment = json!({
        "description": "A private value: SHA-256 over `hallmark-commitment-v1`, a newline, the key, a newline, 32 bytes of \
                        salt, and the value in canonical JSON",
        "type": "object",
        "required": ["commitment"],
        "properties": { "commitment": { "$ref": "#/$defs/digest" } },
        "additionalProperties": false,
    });
    let all = [
        ("digest", digest),
        ("cut", cut),
        ("commitment", commitment),
        ("text", json!({ "anyOf": [{ "type": "string" }, { "$ref": "#/$defs/cut" }] })),
        ("bytes", json!({ "anyOf": [{ "type": "string", "pattern": "^([0-9a-f]{2})*$" }, { "$ref": "#/$defs/cut" }] })),
        ("omitted", object(OMITTED, false).into()),
    ];
    all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn object(members: &[Member], outermost: bool) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("type".to_owned(), "object".into());
    object.insert("required".to_owned(), keys(members));
    object.insert("properties".to_owned(), properties(members, outermost));
    object
}

fn keys(members: &[Member]) -> Value {
    members.iter().filter(|member| member.needed).map(|member| member.key).collect()
}

fn properties(members: &[Member], outermost: bool) -> Value {
    let property = |member: &Member| {
        let form = form(member.form);
        let private = json!({ "anyOf": [form, { "$ref": "#/$defs/commitment" }] });
        (member.key.to_owned(), if outermost && member.may_be_private() { private } else { form })
    };
    Value::Object(members.iter().map(property).collect())
}

fn form(form: Form) -> Value {
    match form {
        Form::Text => json!({ "$ref": "#/$defs/text" }),
        Form::Name => json!({ "type": "string", "minLength": 1 }),
        Form::Word(words) => json!({ "type": "string", "minLength": 1, "examples": words }),
        Form::Bytes => json!({ "$ref": "#/$defs/bytes" }),
        Form::Digest => json!({ "$ref": "#/$defs/digest" }),
        Form::Integer => json!({ "type": "integer" }),
        Form::Count => json!({ "type": "integer", "minimum": 0 }),
        Form::Flag => json!({ "type": "boolean" }),
        Form::Texts => json!({ "type": "array", "items": { "$ref": "#/$defs/text" } }),
        Form::Object(members) => object(members, false).into(),
        Form::Objects(members) => json!({ "type": "array", "items": object(members, false) }),
    }
}
