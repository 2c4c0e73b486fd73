//! Private members: a salted commitment stands in the entry, and the value with its salt apart from it. Whoever drops the
//! salts redacts the log, and what is left still verifies.
//!
//! A commitment is SHA-256 over a version line, the key, 32 random bytes, and the value in canonical JSON. Without the salt
//! nobody can try out values; with it everybody can check the one that was logged.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

use crate::{ENTRY_BYTES_MAX, Value};

/// The one member of the object that stands in the place of a private value.
pub const COMMITMENT: &str = "commitment";

/// Bytes of a salt.
pub const SALT_BYTES: usize = 32;

/// Members that can be private. All others are needed to check a log, or to find what was asked.
pub const PRIVATE_KEYS: [&str; 13] = [
    "caller-certificate-sha256",
    "caller-identities",
    "evidence",
    "evidence-sha256",
    "instance",
    "names",
    "policy-hash",
    "reasons",
    "request-sha256",
    "sentence",
    "sentences",
    "spki-sha256",
    "subject",
];

/// Types of entries whose members are never private: what a key event or a rotation is about must be readable.
const PUBLIC_KINDS: [&str; 3] = ["key-event", "rotation", "start"];

const DOMAIN: &[u8] = b"hallmark-commitment-v1\n";

/// Which members are private.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Private(BTreeSet<&'static str>);

/// A member that cannot be private.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` cannot be private; hint: these can: {}", PRIVATE_KEYS.join(", "))]
pub struct NotPrivate {
    /// What was named.
    pub key: String,
}

/// A private value and its salt.
#[derive(Clone, PartialEq, Eq)]
pub struct Opening {
    key: String,
    salt: [u8; SALT_BYTES],
    value: String,
}

/// Why a line is no opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line of openings has index, key, salt and value in canonical JSON; this one has not")]
pub struct NotAnOpening;

impl Private {
    /// These.
    ///
    /// # Errors
    /// When one of them cannot be.
    pub fn new<T: AsRef<str>>(keys: impl IntoIterator<Item = T>) -> Result<Self, NotPrivate> {
        let known = |key: T| PRIVATE_KEYS.into_iter().find(|known| *known == key.as_ref()).ok_or(key);
        let keys = keys.into_iter().map(known).collect::<Result<_, T>>();
        keys.map(Self).map_err(|key| NotPrivate { key: key.as_ref().to_owned() })
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entry with commitments in the place of private values, and what opens them. `salt` gives random bytes.
    ///
    /// # Errors
    /// When there is no salt.
    pub fn commit<E>(
        &self,
        entry: Vec<u8>,
        mut salt: impl FnMut() -> Result<[u8; SALT_BYTES], E>,
    ) -> Result<(Vec<u8>, Vec<Opening>), E> {
        let Some(Value::Object(members)) = Value::read(&entry).filter(|entry| self.concerns(entry)) else {
            return Ok((entry, Vec::new()));
        };
        let (mut out, mut openings) = (String::with_capacity(entry.len()), Vec::new());
        for (key, value) in &members {
            out.push_str(if out.is_empty() { "{" } else { "," });
            out.push_str(&format!("\"{key}\":"));
            if self.0.contains(key) {
                let opening = Opening { key: (*key).to_owned(), salt: salt()?, value: value.to_text() };
                out.push_str(&format!("{{\"{COMMITMENT}\":\"{}\"}}", hallmark_policy::hex(&opening.commitment())));
                openings.push(opening);
            } else {
                value.write(&mut out);
            }
        }
        out.push('}');
        // A commitment may be longer than what it stands for. An entry at the very limit stays readable instead.
        if out.len() > ENTRY_BYTES_MAX { Ok((entry, Vec::new())) } else { Ok((out.into_bytes(), openings)) }
    }

    fn concerns(&self, entry: &Value<'_>) -> bool {
        let kind = entry.member("type").and_then(Value::text).unwrap_or_default();
        !self.is_empty() && !PUBLIC_KINDS.contains(&kind)
    }
}

impl Opening {
    /// One that was kept.
    #[must_use]
    pub fn new(key: String, salt: [u8; SALT_BYTES], value: String) -> Self {
        Self { key, salt, value }
    }

    /// The member.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Its salt.
    #[must_use]
    pub fn salt(&self) -> &[u8; SALT_BYTES] {
        &self.salt
    }

    /// The value, in canonical JSON.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// What stands in the entry.
    #[must_use]
    pub fn commitment(&self) -> [u8; 32] {
        let hash = Sha256::new().chain_update(DOMAIN).chain_update(&self.key).chain_update(b"\n");
        hash.chain_update(self.salt).chain_update(&self.value).finalize().into()
    }

    /// Whether it opens a commitment of that entry.
    #[must_use]
    pub fn opens(&self, entry: &Value<'_>) -> bool {
        let committed = entry.member(&self.key).and_then(|member| member.member(COMMITMENT)).and_then(Value::text);
        committed.is_some_and(|committed| committed == hallmark_policy::hex(&self.commitment()))
    }

    /// The line about it in a published log, with its newline.
    #[must_use]
    pub fn to_line(&self, index: u64) -> String {
        let (key, salt, value) = (&self.key, hallmark_policy::hex(&self.salt), &self.value);
        format!("{{\"index\":{index},\"key\":\"{key}\",\"salt\":\"{salt}\",\"value\":{value}}}\n")
    }

    /// Reads what [`to_line`](Self::to_line) writes, without the newline.
    ///
    /// # Errors
    /// When it is spelt otherwise.
    pub fn parse(line: &[u8]) -> Result<(u64, Self), NotAnOpening> {
        let read = Value::read(line).ok_or(NotAnOpening)?;
        let Value::Object(members) = &read else { return Err(NotAnOpening) };
        let [
            ("index", Value::Integer(index)),
            ("key", Value::Text(key)),
            ("salt", Value::Text(salt)),
            ("value", value),
        ] = members.as_slice()
        else {
            return Err(NotAnOpening);
        };
        let index = u64::try_from(*index).map_err(|_| NotAnOpening)?;
        let salt = unhex(salt).ok_or(NotAnOpening)?;
        let opening = Self { key: (*key).to_owned(), salt, value: value.to_text() };
        Ok((index, opening))
    }
}

/// The value and its salt are what is private.
impl std::fmt::Debug for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opening(of `{}`)", self.key)
    }
}

/// An entry with the values that openings give in the place of its commitments.
///
/// Only openings that open a commitment of this entry count.
#[must_use]
pub fn reveal(entry: &[u8], openings: &[Opening]) -> Vec<u8> {
    let Some(read @ Value::Object(_)) = Value::read(entry) else { return entry.to_vec() };
    let Value::Object(members) = &read else { return entry.to_vec() };
    let mut out = String::with_capacity(entry.len());
    for (key, value) in members {
        out.push_str(if out.is_empty() { "{" } else { "," });
        out.push_str(&format!("\"{key}\":"));
        match openings.iter().find(|opening| opening.key == *key && opening.opens(&read)) {
            Some(opening) => out.push_str(&opening.value),
            None => value.write(&mut out),
        }
    }
    out.push_str(if out.is_empty() { "{}" } else { "}" });
    out.into_bytes()
}

fn unhex(digits: &str) -> Option<[u8; SALT_BYTES]> {
    let lower = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() != 2 * SALT_BYTES || !digits.bytes().all(lower) {
        return None;
    }
    let (pairs, _) = digits.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{is_canonical, schema};

    const ENTRY: &[u8] =
        br#"{"config":"a","names":["dns:a.example"],"subject":"CN=a","time":1,"type":"eclipse","version":1}"#;

    fn committed() -> (Vec<u8>, Vec<Opening>) {
        let mut next = 0_u8;
        let private = Private::new(["names", "subject"]).unwrap();
        let salt = || {
            next += 1;
            Ok::<_, ()>([next; SALT_BYTES])
        };
        private.commit(ENTRY.to_vec(), salt).unwrap()
    }

    #[test]
    fn private_values_stand_apart_and_can_be_put_back() {
        let (entry, openings) = committed();
        assert!(is_canonical(&entry) && schema::check(&Value::read(&entry).unwrap()).is_ok());
        let text = String::from_utf8(entry.clone()).unwrap();
        assert!(!text.contains("a.example") && !text.contains("CN=a") && text.contains(r#""config":"a""#), "{text}");
        assert_eq!(reveal(&entry, &openings), ENTRY);
        assert_eq!(reveal(&entry, &openings[..1]).windows(10).filter(|part| part == b"commitment").count(), 1);
    }

    #[test]
    fn an_opening_opens_its_own_value_alone() {
        let (entry, openings) = committed();
        let read = Value::read(&entry).unwrap();
        assert!(openings.iter().all(|opening| opening.opens(&read)));
        for other in [
            Opening { value: r#"["dns:b.example"]"#.to_owned(), ..openings[0].clone() },
            Opening { salt: [9; SALT_BYTES], ..openings[0].clone() },
            Opening { key: "subject".to_owned(), ..openings[0].clone() },
        ] {
            assert!(!other.opens(&read));
            assert_eq!(reveal(&entry, &[other]), entry);
        }
    }

    #[test]
    fn lines_of_openings_read_back_and_other_spellings_do_not() {
        let (_, openings) = committed();
        let line = openings[0].to_line(7);
        assert_eq!(Opening::parse(line.trim_end().as_bytes()), Ok((7, openings[0].clone())));
        for wrong in
            [line.replace(":7", ":-7"), line.replace("\"index\"", "\"Index\""), line.replace("01", "0g"), String::new()]
        {
            assert_eq!(Opening::parse(wrong.trim_end().as_bytes()), Err(NotAnOpening), "{wrong}");
        }
    }

    #[test]
    fn what_a_log_is_checked_with_is_never_private() {
        for key in ["serial", "issuer", "tbs-sha256", "decision", "type", "request-id", "nonsense"] {
            assert_eq!(Private::new([key]), Err(NotPrivate { key: key.to_owned() }));
        }
        let event = br#"{"sentence":"x","time":1,"type":"key-event","version":1}"#;
        let kept = Private::new(PRIVATE_KEYS).unwrap().commit(event.to_vec(), || Err(()));
        assert_eq!(kept, Ok((event.to_vec(), Vec::new())));
    }
}
