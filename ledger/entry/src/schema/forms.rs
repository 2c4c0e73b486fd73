//! Forms of members.

use super::{Misfit, check_members};
use crate::{
    Value,
    privacy::{COMMITMENT, PRIVATE_KEYS},
};

/// Hexadecimal digits of a SHA-256.
const DIGEST_DIGITS: usize = 64;

/// A member of an entry or of an object in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its key.
    pub key: &'static str,
    /// Whether it is always there.
    pub needed: bool,
    /// Its form.
    pub form: Form,
}

/// A form. Where it says so, the log writes only these words; readers take others of later versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A text, whole or cut.
    Text,
    /// A text that is never cut nor private.
    Name,
    /// One of these words, or one of a later version.
    Word(&'static [&'static str]),
    /// Bytes in lower-case hexadecimal; cut as a text if there are many.
    Bytes,
    /// A SHA-256 in lower-case hexadecimal.
    Digest,
    /// An integer.
    Integer,
    /// An integer that is not negative.
    Count,
    /// True or false.
    Flag,
    /// A list of texts, each whole or cut.
    Texts,
    /// An object with these members.
    Object(&'static [Member]),
    /// A list of objects with these members.
    Objects(&'static [Member]),
}

impl Member {
    /// One that is always there.
    #[must_use]
    pub const fn needed(key: &'static str, form: Form) -> Self {
        Self { key, needed: true, form }
    }

    /// One that may be absent.
    #[must_use]
    pub const fn maybe(key: &'static str, form: Form) -> Self {
        Self { key, needed: false, form }
    }

    /// Whether a commitment may stand in its place.
    #[must_use]
    pub fn may_be_private(&self) -> bool {
        PRIVATE_KEYS.contains(&self.key)
    }
}

impl Form {
    /// In words, after `is not`.
    #[must_use]
    pub fn words(&self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Name | Self::Word(_) => "a short text",
            Self::Bytes => "lower-case hexadecimal",
            Self::Digest => "64 digits of lower-case hexadecimal",
            Self::Integer => "an integer",
            Self::Count => "a count",
            Self::Flag => "true or false",
            Self::Texts => "a list of texts",
            Self::Object(_) => "an object",
            Self::Objects(_) => "a list of objects",
        }
    }
}

pub(super) fn check(value: &Value<'_>, member: &Member, kind: &str) -> Result<(), Misfit> {
    let fits = match (member.form, value) {
        (Form::Text, value) => is_text(value),
        (Form::Name | Form::Word(_), Value::Text(text)) => !text.is_empty(),
        (Form::Bytes, Value::Text(digits)) => is_hex(digits),
        (Form::Bytes, value) => is_cut(value),
        (Form::Digest, Value::Text(digits)) => digits.len() == DIGEST_DIGITS && is_hex(digits),
        (Form::Integer, Value::Integer(_)) => true,
        (Form::Count, Value::Integer(count)) => *count >= 0,
        (Form::Flag, Value::Bool(_)) => true,
        (Form::Texts, Value::List(items)) => items.iter().all(is_text),
        (Form::Object(members), object @ Value::Object(_)) => return check_inner(object, members, member, kind),
        (Form::Objects(members), Value::List(items)) => {
            return items.iter().try_for_each(|item| check_inner(item, members, member, kind));
        }
        (_, _) => false,
    };
    if fits { Ok(()) } else { Err(misfit(member, kind)) }
}

fn check_inner(object: &Value<'_>, members: &[Member], member: &Member, kind: &str) -> Result<(), Misfit> {
    let Value::Object(_) = object else { return Err(misfit(member, kind)) };
    check_members(object, members, kind, false).map_err(|misfit| match misfit {
        Misfit::Missing { kind, path } => Misfit::Missing { kind, path: format!("{}.{path}", member.key) },
        Misfit::Form { kind, path, form } => Misfit::Form { kind, path: format!("{}.{path}", member.key), form },
        Misfit::NotCanonical => Misfit::NotCanonical,
    })
}

fn misfit(member: &Member, kind: &str) -> Misfit {
    Misfit::Form { kind: kind.to_owned(), path: member.key.to_owned(), form: member.form.words() }
}

/// Whether it stands in the place of a private value.
pub(super) fn is_commitment(value: &Value<'_>) -> bool {
    let Value::Object(members) = value else { return false };
    matches!(members.as_slice(), [(COMMITMENT, Value::Text(digits))] if digits.len() == DIGEST_DIGITS && is_hex(digits))
}

fn is_text(value: &Value<'_>) -> bool {
    matches!(value, Value::Text(_)) || is_cut(value)
}

/// `{"bytes": length, "sha256": digest, "start": beginning}`.
fn is_cut(value: &Value<'_>) -> bool {
    let Value::Object(members) = value else { return false };
    match members.as_slice() {
        [("bytes", Value::Integer(_)), ("sha256", Value::Text(digits)), ("start", Value::Text(_))] => {
            digits.len() == DIGEST_DIGITS && is_hex(digits)
        }
        _ => false,
    }
}

fn is_hex(digits: &str) -> bool {
    digits.len().is_multiple_of(2) && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}
