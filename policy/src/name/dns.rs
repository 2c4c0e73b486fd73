//! dNSNames.

use super::{NameError, wrong};

/// Longest dNSName, in bytes (RFC 1035, section 2.3.4, without the trailing dot).
pub const DNS_NAME_BYTES_MAX: usize = 253;

/// Longest label of a dNSName, in bytes (RFC 1035, section 2.3.4).
pub const DNS_LABEL_BYTES_MAX: usize = 63;

/// A dNSName: lower-case letters, digits and hyphens; at least two labels; no trailing dot, no `xn--`. A wildcard only
/// as [`DnsName::parse_wildcard`] reads it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(String);

impl DnsName {
    /// Reads a dNSName (RFC 5280, section 4.2.1.6: the preferred name syntax of RFC 1034, section 3.5).
    ///
    /// # Errors
    /// [`NameError`] names the first rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() || text.len() > DNS_NAME_BYTES_MAX {
            return wrong("a dNSName has 1 to 253 bytes");
        }
        if text.ends_with('.') {
            return wrong("a dNSName has no trailing dot");
        }
        if text.contains('*') {
            return wrong("a wildcard is not taken here");
        }
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return wrong("a dNSName is written in lower case");
        }
        let labels: Vec<&str> = text.split('.').collect();
        if labels.len() < 2 {
            return wrong("a dNSName has at least two labels");
        }
        if labels.last().is_some_and(|last| is_number(last)) {
            return wrong("the last label of a dNSName is not a number");
        }
        labels.into_iter().try_for_each(label)?;
        Ok(Self(text.to_owned()))
    }

    /// Reads a dNSName or a wildcard: `*` as the whole first label, and a dNSName behind it (RFC 6125, section 6.4.3).
    ///
    /// # Errors
    /// [`NameError`] names the first rule that the text breaks.
    pub fn parse_wildcard(text: &str) -> Result<Self, NameError> {
        let Some(below) = text.strip_prefix("*.") else { return Self::parse(text) };
        if text.len() > DNS_NAME_BYTES_MAX {
            return wrong("a dNSName has 1 to 253 bytes");
        }
        if below.contains('*') {
            return wrong("a wildcard is the whole first label, and the only one");
        }
        Self::parse(below)?;
        Ok(Self(text.to_owned()))
    }

    /// Reads a name of one label, such as `web`: hosts within a cluster call each other so. It is no number.
    ///
    /// # Errors
    /// [`NameError`] names the first rule that the text breaks.
    pub fn parse_label(text: &str) -> Result<Self, NameError> {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return wrong("a dNSName is written in lower case");
        }
        label(text)?;
        if is_number(text) {
            return wrong("the last label of a dNSName is not a number");
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether it is a wildcard.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// Whether it has one label only.
    #[must_use]
    pub fn is_label(&self) -> bool {
        !self.0.contains('.')
    }

    /// Whether TLS clients take this name for `other`: the same, or a wildcard one label above.
    #[must_use]
    pub fn covers(&self, other: &str) -> bool {
        let below = self.0.strip_prefix("*.");
        self.0 == other || below.is_some_and(|below| other.split_once('.').is_some_and(|(_, rest)| rest == below))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether clients take a name that ends in this label for an IPv4 address (WHATWG URL, "ends in a number"): decimal digits, or
/// hexadecimal ones behind `0x`.
pub(super) fn is_number(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    hexadecimal || label.bytes().all(|byte| byte.is_ascii_digit())
}

fn label(label: &str) -> Result<(), NameError> {
    if label.is_empty() || label.len() > DNS_LABEL_BYTES_MAX {
        return wrong("every label of a dNSName has 1 to 63 bytes");
    }
    if !label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        return wrong("a dNSName consists of a-z, 0-9, `-` and `.`");
    }
    if label.starts_with('-') || label.ends_with('-') {
        return wrong("a label neither begins nor ends with `-`");
    }
    if label.get(2..4) == Some("--") {
        return wrong("internationalised labels (`xn--`) and other `??--` labels are not taken");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_hosts_are_taken() {
        for name in [
            "a.b",
            "0x1.b",
            "a.0xyz",
            "api.sports.athenz.cloud",
            "1-a.b-2.example",
            &format!("{}.example", "a".repeat(63)),
        ] {
            assert!(DnsName::parse(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn whatever_a_client_might_read_differently_is_no_name() {
        let long = format!("{}.example", "a".repeat(64));
        for name in [
            "",
            ".",
            "a",
            "a.",
            ".a",
            "a..b",
            "A.b",
            "*.a.b",
            "a_b.c",
            "a.b\0",
            "a.b ",
            "a,b.c",
            "é.fr",
            "xn--e1a.fr",
            "ab--c.fr",
            "-a.b",
            "a-.b",
            "10.0.0.1",
            "a.1",
            "a.0x1f",
            "a.0x",
            "a/b.c",
            &long,
            "a.b\n",
            "ａ.b",
        ] {
            assert!(DnsName::parse(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_wildcard_is_the_whole_first_label_and_covers_one_label() {
        for name in ["*", "*.", "*.a", "**.a.b", "*.*.b.c", "a.*.b.c", "a*.b.c", "*a.b.c", "*.a.b.", "*.1", "*..a.b"] {
            assert!(DnsName::parse_wildcard(name).is_err(), "{name}");
        }
        let wildcard = DnsName::parse_wildcard("*.a.b").unwrap();
        assert!(wildcard.covers("x.a.b") && wildcard.covers("*.a.b"));
        for other in ["a.b", "x.y.a.b", "xa.b", "x.b"] {
            assert!(!wildcard.covers(other), "{other}");
        }
        // A name that fills 251 bytes.
        let below = [vec!["a".repeat(63); 3].join("."), "b".repeat(59)].join(".");
        assert!(DnsName::parse_wildcard(&format!("*.{below}")).is_ok());
        assert!(
            DnsName::parse(&format!("{below}c")).is_ok() && DnsName::parse_wildcard(&format!("*.{below}c")).is_err()
        );
        let plain = DnsName::parse_wildcard("x.a.b").unwrap();
        assert!(plain.covers("x.a.b") && !plain.covers("y.a.b"));
    }

    #[test]
    fn a_single_label_is_a_name_only_where_it_is_asked_for() {
        for name in ["web", "web-1", "1web", &"a".repeat(63)] {
            assert!(DnsName::parse_label(name).is_ok_and(|name| name.is_label()), "{name}");
            assert!(DnsName::parse(name).is_err() && DnsName::parse_wildcard(name).is_err(), "{name}");
        }
        for name in [
            "",
            "*",
            "Web",
            "1",
            "42",
            "0x7f000001",
            "0x",
            "-web",
            "web-",
            "we_b",
            "a.b",
            "xn--e1a",
            "web.",
            &"a".repeat(64),
        ] {
            assert!(DnsName::parse_label(name).is_err(), "{name}");
        }
        assert!(!DnsName::parse("a.b").unwrap().is_label());
    }
}
