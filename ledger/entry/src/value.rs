//! Reading canonical JSON in one pass: what is not spelt as the log spells it is no entry.

/// Largest integer whose spelling all readers agree on (RFC 8785, section 3.2.2.3; RFC 7493, section 2.2): 2^53 - 1.
pub(crate) const INTEGER_MAX: i64 = 9_007_199_254_740_991;

/// Objects and lists within each other. Entries need four.
const DEPTH_MAX: usize = 16;

/// Digits of the largest integer.
const DIGITS_MAX: usize = 16;

/// A value of an entry. Texts are as they are written, between their quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// True or false.
    Bool(bool),
    /// An integer.
    Integer(i64),
    /// A text, with its escapes.
    Text(&'a str),
    /// A list.
    List(Vec<Value<'a>>),
    /// An object: its members, by ascending keys.
    Object(Vec<(&'a str, Value<'a>)>),
}

impl<'a> Value<'a> {
    /// Reads one canonical value (RFC 8785; integers only, ASCII keys without escapes, no null) and nothing after it.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(DEPTH_MAX)?;
        (reader.at == text.len()).then_some(value)
    }

    /// The member of that key, if this is an object that has one.
    #[must_use]
    pub fn member(&self, key: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        let at = members.binary_search_by(|(found, _)| (*found).cmp(key)).ok()?;
        members.get(at).map(|(_, value)| value)
    }

    /// Writes it as it was read.
    pub fn write(&self, out: &mut String) {
        match self {
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Integer(value) => out.push_str(&value.to_string()),
            Self::Text(text) => write_quoted(text, out),
            Self::List(items) => {
                out.push('[');
                for (position, item) in items.iter().enumerate() {
                    out.push_str(if position == 0 { "" } else { "," });
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (position, (key, value)) in members.iter().enumerate() {
                    out.push_str(if position == 0 { "" } else { "," });
                    write_quoted(key, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    /// What [`write`](Self::write) writes.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    /// The text as it is written, if this is one.
    #[must_use]
    pub fn text(&self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Bool(_) | Self::Integer(_) | Self::List(_) | Self::Object(_) => None,
        }
    }

    /// The integer, if this is one.
    #[must_use]
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(*value),
            Self::Bool(_) | Self::Text(_) | Self::List(_) | Self::Object(_) => None,
        }
    }
}

/// A text that is escaped already.
fn write_quoted(text: &str, out: &mut String) {
    out.push('"');
    out.push_str(text);
    out.push('"');
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Option<Value<'a>> {
        let depth = depth.checked_sub(1)?;
        match self.peek()? {
            b'"' => self.text().map(Value::Text),
            b'{' => self.object(depth),
            b'[' => self.list(depth),
            b't' => self.word("true").map(|()| Value::Bool(true)),
            b'f' => self.word("false").map(|()| Value::Bool(false)),
            _ => self.integer().map(Value::Integer),
        }
    }

    fn object(&mut self, depth: usize) -> Option<Value<'a>> {
        self.word("{")?;
        let mut members: Vec<(&str, Value<'_>)> = Vec::new();
        while self.peek()? != b'}' {
            if !members.is_empty() {
                self.word(",")?;
            }
            let key = self.text()?;
            let ascends = members.last().is_none_or(|(last, _)| *last < key);
            if !ascends || !key.is_ascii() || key.contains('\\') {
                return None;
            }
            self.word(":")?;
            members.push((key, self.value(depth)?));
        }
        self.word("}")?;
        Some(Value::Object(members))
    }

    fn list(&mut self, depth: usize) -> Option<Value<'a>> {
        self.word("[")?;
        let mut items = Vec::new();
        while self.peek()? != b']' {
            if !items.is_empty() {
                self.word(",")?;
            }
            items.push(self.value(depth)?);
        }
        self.word("]")?;
        Some(Value::List(items))
    }

    /// A text as RFC 8785, section 3.2.2.2, writes it: the short escapes, `\u00..` for other control characters, no more.
    fn text(&mut self) -> Option<&'a str> {
        self.word("\"")?;
        let bytes = self.text.as_bytes().get(self.at..)?;
        let mut end = 0;
        loop {
            match bytes.get(end)? {
                b'"' => break,
                b'\\' => end += escape_bytes(bytes.get(end..)?)?,
                0..=0x1f => return None,
                _ => end += 1,
            }
        }
        let text = self.text.get(self.at..self.at + end)?;
        self.at += end + 1;
        Some(text)
    }

    fn integer(&mut self) -> Option<i64> {
        let rest = self.text.get(self.at..)?;
        let digits = rest.strip_prefix('-').unwrap_or(rest);
        let count = digits.bytes().take_while(u8::is_ascii_digit).take(DIGITS_MAX + 1).count();
        let digits = digits.get(..count)?;
        let negative = rest.starts_with('-');
        let padded = count > 1 && digits.starts_with('0') || negative && digits == "0";
        if padded {
            return None;
        }
        let value: i64 = digits.parse().ok().filter(|value| *value <= INTEGER_MAX)?;
        self.at += count + usize::from(negative);
        Some(if negative { -value } else { value })
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.text.get(self.at..)?.starts_with(word).then(|| self.at += word.len())
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

/// How long the escape is that `bytes` begin with, if it is the one that RFC 8785 has for its character.
fn escape_bytes(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'\\', b'"' | b'\\' | b'b' | b't' | b'n' | b'f' | b'r', ..] => Some(2),
        [b'\\', b'u', b'0', b'0', high @ (b'0' | b'1'), low @ (b'0'..=b'9' | b'a'..=b'f'), ..] => {
            let is_short = *high == b'0' && matches!(low, b'8' | b'9' | b'a' | b'c' | b'd');
            (!is_short).then_some(6)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json;

    fn is_canonical(bytes: &[u8]) -> bool {
        matches!(Value::read(bytes), Some(Value::Object(_)))
    }

    #[test]
    fn members_are_found_by_their_keys() {
        let value = Value::read(br#"{"a":-5,"b":["x",true],"c":{"d":"e\n"}}"#).unwrap();
        assert_eq!(value.member("a").and_then(Value::integer), Some(-5));
        assert_eq!(value.member("b"), Some(&Value::List(vec![Value::Text("x"), Value::Bool(true)])));
        assert_eq!(value.member("c").and_then(|c| c.member("d")).and_then(Value::text), Some("e\\n"));
        assert_eq!(value.member("z"), None);
    }

    #[test]
    fn deep_and_long_things_end() {
        let deep = [b"{\"a\":".repeat(10_000), b"1".to_vec(), b"}".repeat(10_000)].concat();
        assert_eq!(Value::read(&deep), None);
        assert_eq!(Value::read(&b"1".repeat(60_000)), None);
    }

    /// Text that is nearly JSON.
    fn nearly_json() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            Just("{".to_owned()),
            Just("}".to_owned()),
            Just("[".to_owned()),
            Just("]".to_owned()),
            Just(":".to_owned()),
            Just(",".to_owned()),
            Just("\"a\"".to_owned()),
            Just("\"b\"".to_owned()),
            Just("true".to_owned()),
            Just("null".to_owned()),
            Just("-0".to_owned()),
            Just("1.5".to_owned()),
            Just("1e3".to_owned()),
            Just("9007199254740991".to_owned()),
            Just("9007199254740992".to_owned()),
            Just("\"\\u001f\"".to_owned()),
            Just("\"\\u0041\"".to_owned()),
            Just("\"\\/\"".to_owned()),
            Just("\"\\u000a\"".to_owned()),
            Just("\"\\u001F\"".to_owned()),
            Just("\" \\n\\\"\"".to_owned()),
            Just(" ".to_owned()),
            Just("{\"a\":1}".to_owned()),
            Just("{\"a\":1,\"b\":[]}".to_owned()),
            (-20_i64..20).prop_map(|n| n.to_string()),
            any::<char>().prop_map(|letter| format!("\"{letter}\"")),
        ];
        proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn what_is_canonical_here_is_what_is_read_and_written_the_same_by_another_reader(text in nearly_json()) {
            for text in [text.clone(), format!("{{\"a\":{text}}}"), format!("{{\"a\":[{text}],\"b\":{{}}}}")] {
                prop_assert_eq!(is_canonical(text.as_bytes()), json::is_written_the_same(text.as_bytes()), "{}", text);
                if let Some(value) = Value::read(text.as_bytes()) {
                    prop_assert_eq!(value.to_text(), text);
                }
            }
        }
    }
}
