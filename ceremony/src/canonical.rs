//! Canonical JSON (RFC 8785): sorted keys, no spaces; only integers, and keys of ASCII letters.

use serde::Serialize;
use serde_json::Value;

/// The canonical text of a value whose numbers are integers.
pub(crate) fn bytes(value: &impl Serialize) -> Vec<u8> {
    // Nothing here has maps whose keys are no texts, which is all that could fail.
    let value = serde_json::to_value(value).unwrap_or_default();
    let mut out = String::new();
    write(&value, &mut out);
    out.into_bytes()
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(key, _)| key.encode_utf16().collect::<Vec<_>>());
            out.push('{');
            for (position, (key, value)) in members.into_iter().enumerate() {
                out.push_str(if position == 0 { "" } else { "," });
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (position, item) in items.iter().enumerate() {
                out.push_str(if position == 0 { "" } else { "," });
                write(item, out);
            }
            out.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => out.push_str(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_readers_of_the_log_take_for_canonical() {
        let value = serde_json::json!({ "b": [1, -2, true], "a": { "z": "\u{1}\"\\\n\u{7f}ü😀", "y": "" } });
        let written = bytes(&value);
        assert_eq!(
            String::from_utf8(written.clone()).unwrap(),
            "{\"a\":{\"y\":\"\",\"z\":\"\\u0001\\\"\\\\\\n\u{7f}ü😀\"},\"b\":[1,-2,true]}"
        );
        assert!(hallmark_entry::Value::read(&written).is_some());
        assert_eq!(serde_json::from_slice::<Value>(&written).unwrap(), value);
    }
}
