//! The subset of JSON that entries are written in, with one spelling for each value (RFC 8785).

use std::{borrow::Cow, collections::BTreeMap};

use crate::value::{INTEGER_MAX, Value};

/// Object keys are ASCII, so that sorting bytes is sorting as RFC 8785, section 3.2.3, wants it.
pub(crate) type Members = BTreeMap<Cow<'static, str>, Json>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Json {
    Bool(bool),
    Integer(i64),
    Text(String),
    List(Vec<Json>),
    Object(Members),
}

impl Json {
    /// The integer, or the nearest that every reader reads alike.
    pub(crate) fn integer(value: i64) -> Self {
        Self::Integer(value.clamp(-INTEGER_MAX, INTEGER_MAX))
    }

    #[cfg(test)]
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = String::with_capacity(1_024);
        self.write(&mut out);
        out.into_bytes()
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Integer(value) => out.push_str(&value.to_string()),
            Self::Text(text) => write_text(text, out),
            Self::List(items) => {
                out.push('[');
                for (position, item) in items.iter().enumerate() {
                    separate(position, out);
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(members) => write_members(members, out),
        }
    }
}

pub(crate) fn write_members(members: &Members, out: &mut String) {
    out.push('{');
    for (position, (key, value)) in members.iter().enumerate() {
        separate(position, out);
        write_text(key, out);
        out.push(':');
        value.write(out);
    }
    out.push('}');
}

/// Whether `entry` is one JSON object of this subset in its one spelling.
#[must_use]
pub fn is_canonical(entry: &[u8]) -> bool {
    matches!(Value::read(entry), Some(Value::Object(_)))
}

fn separate(position: usize, out: &mut String) {
    if position > 0 {
        out.push(',');
    }
}

/// A string as RFC 8785, section 3.2.2.2, writes it.
fn write_text(text: &str, out: &mut String) {
    out.push('"');
    // Few texts have anything to be escaped.
    if !text.bytes().any(is_escaped) {
        out.push_str(text);
        out.push('"');
        return;
    }
    for letter in text.chars() {
        match escape(letter) {
            Escape::None => out.push(letter),
            Escape::Short(short) => {
                out.push('\\');
                out.push(short);
            }
            Escape::Long => out.push_str(&format!("\\u{:04x}", u32::from(letter))),
        }
    }
    out.push('"');
}

/// Most bytes that a byte of a text takes in a string.
pub(crate) const WRITTEN_BYTES_MAX: usize = 6;

/// Bytes that a character takes in a string.
pub(crate) fn written_bytes(letter: char) -> usize {
    match escape(letter) {
        Escape::None => letter.len_utf8(),
        Escape::Short(_) => 2,
        Escape::Long => WRITTEN_BYTES_MAX,
    }
}

enum Escape {
    None,
    Short(char),
    Long,
}

/// Whether a byte of a text is a character that is escaped; those are ASCII.
fn is_escaped(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn escape(letter: char) -> Escape {
    match letter {
        '"' | '\\' => Escape::Short(letter),
        '\u{8}' => Escape::Short('b'),
        '\t' => Escape::Short('t'),
        '\n' => Escape::Short('n'),
        '\u{c}' => Escape::Short('f'),
        '\r' => Escape::Short('r'),
        '\0'..='\u{1f}' => Escape::Long,
        _ => Escape::None,
    }
}

/// Whether `entry` is one JSON object that serde_json reads and we write to the same bytes: the long way.
#[cfg(test)]
pub(crate) fn is_written_the_same(entry: &[u8]) -> bool {
    let read: Option<Json> = serde_json::from_slice(entry).ok().and_then(from_value);
    matches!(&read, Some(json @ Json::Object(_)) if json.encode() == entry)
}

#[cfg(test)]
fn from_value(value: serde_json::Value) -> Option<Json> {
    use serde_json::Value;
    match value {
        Value::Null => None,
        Value::Bool(value) => Some(Json::Bool(value)),
        Value::Number(number) => {
            number.as_i64().filter(|value| (-INTEGER_MAX..=INTEGER_MAX).contains(value)).map(Json::Integer)
        }
        Value::String(text) => Some(Json::Text(text)),
        Value::Array(items) => items.into_iter().map(from_value).collect::<Option<_>>().map(Json::List),
        Value::Object(members) => {
            let member =
                |(key, value): (String, _)| is_plain(&key).then(|| Some((Cow::Owned(key), from_value(value)?)));
            members.into_iter().map(|pair| member(pair).flatten()).collect::<Option<_>>().map(Json::Object)
        }
    }
}

/// Keys are ASCII that needs no escape.
#[cfg(test)]
fn is_plain(key: &str) -> bool {
    key.chars().all(|letter| letter.is_ascii() && matches!(escape(letter), Escape::None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_written_as_serde_json_writes_them() {
        for letter in (0..=0xFFFF_u32).filter_map(char::from_u32).chain(['😀', '\u{10FFFF}']) {
            let text = letter.to_string();
            let json = Json::Text(text.clone()).encode();
            assert_eq!(json, serde_json::to_vec(&text).unwrap(), "{letter:?}");
            assert_eq!(json.len(), written_bytes(letter) + 2);
        }
    }

    #[test]
    fn only_one_spelling_is_canonical() {
        assert!(is_canonical(br#"{"a":1,"b":[true,"x"],"c":{}}"#));
        for other in [
            r#"{"b":1,"a":1}"#,
            r#"{"a": 1}"#,
            r#"{"a":1,"a":1}"#,
            r#"{"a":1.0}"#,
            r#"{"a":1e3}"#,
            r#"{"a":null}"#,
            r#"{"a":9007199254740992}"#,
            r#"{"a":"\u0041"}"#,
            r#"{"ä":1}"#,
            r#"{"a":1} "#,
            "[]",
            "",
        ] {
            assert!(!is_canonical(other.as_bytes()), "{other}");
        }
    }
}
