//! URIs.

use super::{
    NameError,
    dns::{DNS_LABEL_BYTES_MAX, is_number},
    wrong,
};

/// Longest URI, in bytes (SPIFFE-ID, section 2.3: 2048).
pub const URI_BYTES_MAX: usize = 2_048;

/// A uniformResourceIdentifier with an authority part: lower-case scheme and host, a path of unreserved characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uri(String);

impl Uri {
    /// Reads an absolute URI with an authority part (RFC 3986), such as `spiffe://zone/path`.
    ///
    /// No user information, port, query, fragment or percent-encoding; no empty, `.` or `..` path segment.
    ///
    /// # Errors
    /// [`NameError`] names the first rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() || text.len() > URI_BYTES_MAX {
            return wrong("a URI has 1 to 2048 bytes");
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return wrong("a URI is written `scheme://host/path`");
        };
        if !scheme.starts_with(|c: char| c.is_ascii_lowercase())
            || !scheme.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        {
            return wrong("the scheme of a URI is written in a-z, 0-9 and `-`");
        }
        let (host, path) = rest.split_once('/').map_or((rest, None), |(host, path)| (host, Some(path)));
        let host_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
        if host.is_empty() || host.len() > 255 || !host.bytes().all(host_byte) {
            return wrong("the host of a URI has 1 to 255 bytes of a-z, 0-9, `-`, `.` and `_`");
        }
        host.split('.').try_for_each(host_label)?;
        if host.split('.').next_back().is_some_and(is_number) {
            return wrong("the last label of a URI's host is not a number");
        }
        path.map_or(Ok(()), |path| path.split('/').try_for_each(segment))?;
        Ok(Self(text.to_owned()))
    }

    /// The URI.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// As a label of a dNSName; `_` is taken, too, as in SPIFFE's trust domains.
fn host_label(label: &str) -> Result<(), NameError> {
    if label.is_empty() || label.len() > DNS_LABEL_BYTES_MAX {
        return wrong("every label of a URI's host has 1 to 63 bytes");
    }
    if label.starts_with('-') || label.ends_with('-') {
        return wrong("a label of a URI's host neither begins nor ends with `-`");
    }
    if label.get(2..4) == Some("--") {
        return wrong("internationalised labels (`xn--`) and other `??--` labels are not taken");
    }
    Ok(())
}

fn segment(segment: &str) -> Result<(), NameError> {
    if segment.is_empty() || segment == "." || segment == ".." {
        return wrong("the path of a URI has no empty, `.` or `..` segment");
    }
    if !segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:~".contains(&byte)) {
        return wrong("the path of a URI consists of letters, digits, `-`, `.`, `_`, `:`, `~` and `/`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_have_a_host_and_a_plain_path() {
        for uri in ["spiffe://zone/a/b", "athenz://instanceid/sys.auth.aws/i-1:2", "spiffe://zone", "a1-b://zone_1/x"] {
            assert!(Uri::parse(uri).is_ok(), "{uri}");
        }
        for uri in [
            "",
            "zone",
            "spiffe:zone",
            "spiffe:///a",
            "spiffe://zone/",
            "spiffe://zone//a",
            "spiffe://zone/../a",
            "spiffe://u@zone/a",
            "spiffe://zone:1/a",
            "spiffe://zone/a?b",
            "spiffe://zone/a#b",
            "spiffe://zone/%41",
            "SPIFFE://zone/a",
            "spiffe://Zone/a",
            "spiffe://zone/a,b",
            "spiffe://zone/a b",
            "spiffe://zone/\u{1}",
            "1x://zone",
            "-x://zone",
            "a_b://zone",
            "a.b://zone",
        ] {
            assert!(Uri::parse(uri).is_err(), "{uri:?}");
        }
    }

    #[test]
    fn the_lengths_of_a_uri_its_host_and_its_labels_are_bounded() {
        let wrong = |uri: &str| Uri::parse(uri).err().map(|error| error.detail);
        let label = "a".repeat(63);
        let host = [label.as_str(); 4].join(".");
        assert_eq!((host.len(), wrong(&format!("x://{host}/p"))), (255, None));
        let longer = format!("{}.{}.b", [label.as_str(); 3].join("."), "a".repeat(62));
        let host_wrong = Some("the host of a URI has 1 to 255 bytes of a-z, 0-9, `-`, `.` and `_`");
        assert_eq!((longer.len(), wrong(&format!("x://{longer}/p"))), (256, host_wrong));
        assert_eq!(wrong("spiffe:///a"), host_wrong);
        assert_eq!(wrong(&format!("x://{label}a/p")), Some("every label of a URI's host has 1 to 63 bytes"));
        let path = "a".repeat(URI_BYTES_MAX - "x://z/".len());
        assert_eq!(wrong(&format!("x://z/{path}")), None);
        assert_eq!(wrong(&format!("x://z/{path}a")), Some("a URI has 1 to 2048 bytes"));
    }
}
