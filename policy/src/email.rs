//! Mail addresses: the part of RFC 5321 that nobody reads in two ways.

use crate::name::{DnsName, NameError, wrong};

/// Longest local part, in bytes (RFC 5321, section 4.5.3.1.1).
pub const LOCAL_PART_BYTES_MAX: usize = 64;

/// An rfc822Name: a lower-case local part without quotes, `@`, and a dNSName.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Email(String);

impl Email {
    /// Reads an rfc822Name (RFC 5280, section 4.2.1.6).
    ///
    /// # Errors
    /// [`NameError`] names the first rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let Some((local, host)) = text.split_once('@') else {
            return wrong("a mail address is written `name@host`");
        };
        if local.is_empty() || local.len() > LOCAL_PART_BYTES_MAX {
            return wrong("the part before `@` has 1 to 64 bytes");
        }
        let taken = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._+-".contains(&byte);
        if !local.bytes().all(taken) {
            return wrong("the part before `@` consists of a-z, 0-9, `.`, `_`, `+` and `-`");
        }
        if local.split('.').any(str::is_empty) {
            return wrong("the part before `@` neither begins nor ends with a dot, nor has two in a row");
        }
        DnsName::parse(host)?;
        Ok(Self(text.to_owned()))
    }

    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_can_be_read_in_two_ways_is_none() {
        let long = format!("{}@example.com", "a".repeat(65));
        for text in [
            "",
            "joe",
            "@example.com",
            "joe@",
            "joe@example",
            "Joe@example.com",
            "joe@Example.com",
            "joe@example.com.",
            "joe@x@example.com",
            "\"joe\"@example.com",
            "joe@[10.0.0.1]",
            "joe@*.example.com",
            ".joe@example.com",
            "joe.@example.com",
            "j..e@example.com",
            "joe <joe@example.com>",
            "jo\0e@example.com",
            "jöe@example.com",
            "joe,ann@example.com",
            &long,
        ] {
            assert!(Email::parse(text).is_err(), "{text:?}");
        }
        for text in ["joe@example.com", "joe.smith+tag@mail.example.com", "sports.api@lab.athenz.cloud"] {
            assert_eq!(Email::parse(text).unwrap().as_str(), text);
        }
        assert!(Email::parse(&long[1..]).is_ok(), "64 bytes");
    }
}
