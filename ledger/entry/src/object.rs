//! An entry in the making: members are added one by one, each within its bounds.

use std::borrow::Cow;

use crate::{
    bound::{self, LIST_BYTES_MAX},
    json::{Json, Members, write_members},
    sha256,
};

/// Longest entry, in bytes: its length is a uint16 where logs are published (C2SP `tlog-tiles`).
pub const ENTRY_BYTES_MAX: usize = 65_535;

/// Version of the format of entries.
pub const ENTRY_VERSION: i64 = 1;

/// Most texts of one list.
const ITEMS_MAX: usize = 64;

/// A JSON object. Keys are kebab-case ASCII.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object(Members);

impl Object {
    /// Without members.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With a text, cut if it is long. Empty text is left out.
    #[must_use]
    pub fn text(self, key: &'static str, text: &str) -> Self {
        if text.is_empty() { self } else { self.with(key, bound::text(text)) }
    }

    /// With bytes in lower-case hexadecimal: digests and serial numbers.
    #[must_use]
    pub fn hex(self, key: &'static str, bytes: &[u8]) -> Self {
        self.text(key, &hallmark_policy::hex(bytes))
    }

    /// With bytes in lower-case hexadecimal, if there are any.
    #[must_use]
    pub fn maybe_hex(self, key: &'static str, bytes: Option<&[u8]>) -> Self {
        match bytes {
            Some(bytes) => self.hex(key, bytes),
            None => self,
        }
    }

    /// With an integer, held within what all readers of JSON read alike.
    #[must_use]
    pub fn integer(self, key: &'static str, value: i64) -> Self {
        self.with(key, Json::integer(value))
    }

    /// With a count, held within what all readers of JSON read alike.
    #[must_use]
    pub fn count(self, key: &'static str, value: u64) -> Self {
        self.integer(key, i64::try_from(value).unwrap_or(i64::MAX))
    }

    /// With true or false.
    #[must_use]
    pub fn flag(self, key: &'static str, value: bool) -> Self {
        self.with(key, Json::Bool(value))
    }

    /// With texts; what does not fit is counted under `omitted_key`. An empty list is left out.
    #[must_use]
    pub fn texts<T: AsRef<str>>(
        self,
        key: &'static str,
        omitted_key: &'static str,
        texts: impl IntoIterator<Item = T>,
    ) -> Self {
        let texts = texts.into_iter().map(|text| bound::text(text.as_ref()));
        self.list(key, omitted_key, texts, ITEMS_MAX, LIST_BYTES_MAX)
    }

    /// With objects; what does not fit is counted under `omitted_key`. An empty list is left out.
    #[must_use]
    pub(crate) fn objects(
        self,
        key: &'static str,
        omitted_key: &'static str,
        objects: impl Iterator<Item = Self>,
        items_max: usize,
    ) -> Self {
        let objects = objects.map(|Self(members)| Json::Object(members));
        self.list(key, omitted_key, objects, items_max, 2 * LIST_BYTES_MAX)
    }

    /// With another object in it.
    #[must_use]
    pub fn object(self, key: &'static str, Self(members): Self) -> Self {
        self.with(key, Json::Object(members))
    }

    /// The entry of that type and time, in milliseconds since 1970.
    ///
    /// Members are bounded so that it fits; if it does not nevertheless, only digest and length of its members stand.
    #[must_use]
    pub fn into_entry(self, kind: &'static str, at_millis: i64) -> Vec<u8> {
        let entry = self.headed(kind, at_millis).encode();
        if entry.len() <= ENTRY_BYTES_MAX {
            return entry;
        }
        let length = u64::try_from(entry.len()).unwrap_or(u64::MAX);
        let short = Self::new().hex("omitted-sha256", &sha256(&entry)).count("omitted-bytes", length);
        short.headed(kind, at_millis).encode()
    }

    fn headed(self, kind: &'static str, at_millis: i64) -> Self {
        self.text("type", kind).integer("version", ENTRY_VERSION).integer("time", at_millis)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = String::with_capacity(2_048);
        write_members(&self.0, &mut out);
        out.into_bytes()
    }

    fn list(
        self,
        key: &'static str,
        omitted_key: &'static str,
        items: impl Iterator<Item = Json>,
        items_max: usize,
        bytes_max: usize,
    ) -> Self {
        let (list, omitted) = bound::list(items, items_max, bytes_max);
        let this = if list == Json::List(Vec::new()) { self } else { self.with(key, list) };
        match omitted {
            0 => this,
            omitted => this.count(omitted_key, omitted as u64),
        }
    }

    fn with(mut self, key: &'static str, value: Json) -> Self {
        self.0.insert(Cow::Borrowed(key), value);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_would_be_too_long_says_so_in_few_words() {
        let long = "x".repeat(500);
        let keys: Vec<&'static str> = (0..200).map(|number| &*format!("key-{number}").leak()).collect();
        let entry = keys.iter().fold(Object::new(), |object, key| object.text(key, &long)).into_entry("test", 7);
        let text = String::from_utf8(entry).unwrap();
        assert!(text.starts_with(r#"{"omitted-bytes":"#), "{text}");
        assert!(text.ends_with(r#","time":7,"type":"test","version":1}"#), "{text}");
        assert!(crate::is_canonical(text.as_bytes()));
    }
}
