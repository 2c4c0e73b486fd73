//! JSON (RFC 8259) in one strict way: no member twice, and no number but whole ones.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};

use crate::reason::quote;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Json {
    Null,
    Boolean,
    Integer(i64),
    Text(String),
    List(Vec<Json>),
    Object(Members),
}

/// The members of an object.
pub(crate) type Members = BTreeMap<String, Json>;

impl Json {
    /// The one object that `bytes` are.
    pub(crate) fn object(bytes: &[u8]) -> Result<Members, String> {
        match serde_json::from_slice(bytes) {
            Ok(Self::Object(members)) => Ok(members),
            Ok(_) => Err("it is no object".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Strict)
    }
}

struct Strict;

impl<'de> Visitor<'de> for Strict {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON with whole numbers")
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Boolean)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Integer(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Json, E> {
        i64::try_from(number).map(Json::Integer).map_err(|_| E::custom("a number is over 2^63-1"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Json, E> {
        Err(E::custom("a number is not a whole one"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = Members::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom(format!("the member {} stands twice", quote(&name))));
            }
            object.insert(name, members.next_value()?);
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_read_with_all_that_is_in_them() {
        let read = Json::object(br#" {"a":null,"b":[true,-7],"c":{"d":"\u00e9"}} "#).unwrap();
        assert_eq!(read["a"], Json::Null);
        assert_eq!(read["b"], Json::List(vec![Json::Boolean, Json::Integer(-7)]));
        assert_eq!(read["c"], Json::Object(Members::from([("d".to_owned(), Json::Text("é".to_owned()))])));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_not_read() {
        for (text, told) in [
            (r#"{"a":1,"a":1}"#, "the member `a` stands twice"),
            (r#"{"x":{"a":1,"\u0061":2}}"#, "the member `a` stands twice"),
            (r#"{"a":1.0}"#, "not a whole one"),
            (r#"{"a":1e3}"#, "not a whole one"),
            (r#"{"a":18446744073709551615}"#, "over 2^63-1"),
            (r#"{"a":"\ud800"}"#, "hex escape"),
            (r#"{"a":1} x"#, "trailing"),
            (r#"{"a":1,}"#, "trailing comma"),
            (r#"{'a':1}"#, "string"),
            (r#"[]"#, "no object"),
            ("", "EOF"),
            ("\u{feff}{}", "expected value"),
            (&format!("{}{}", r#"{"a":"#.repeat(200), "}".repeat(200)), "recursion"),
        ] {
            let error = Json::object(text.as_bytes()).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
        assert!(Json::object(b"{\"a\":\"\xff\"}").is_err());
        let bytes = serde::de::value::BytesDeserializer::<serde_json::Error>::new(b"a");
        let told = Json::deserialize(bytes).unwrap_err().to_string();
        assert_eq!(told, "invalid type: byte array, expected JSON with whole numbers");
    }
}
