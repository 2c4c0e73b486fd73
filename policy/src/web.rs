//! Addresses of CRLs and CA certificates that leaves point to.

use std::fmt;

use crate::{crl::CrlScope, name::DnsName};

/// Longest URL, in bytes.
pub const URL_BYTES_MAX: usize = 1_024;

/// Most URLs of one kind.
pub const URLS_MAX: usize = 8;

/// A URL of plain HTTP: what is fetched there is signed, and fetching it over TLS could ask for itself (RFC 5280,
/// section 8).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpUrl(String);

/// Text that is no URL to point to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct UrlError {
    /// The rule it breaks.
    pub detail: &'static str,
}

impl HttpUrl {
    /// Reads `http://host[:port]/path`: no user information and no fragment.
    ///
    /// # Errors
    /// [`UrlError`] names the first rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let wrong = |detail| Err(UrlError { detail });
        let Some(rest) = text.strip_prefix("http://") else {
            return wrong("it begins with `http://`: what is fetched is signed, and TLS would need it first");
        };
        if text.len() > URL_BYTES_MAX {
            return wrong("it has 1,024 bytes at most");
        }
        let Some((authority, path)) = rest.split_once('/') else {
            return wrong("it has a path, at least `/`");
        };
        let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
        let port_fits = |port: &str| {
            port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
        };
        if DnsName::parse(host).is_err() || !port.is_none_or(port_fits) {
            return wrong("its host is a dNSName in lower case, with a port at most");
        }
        let taken = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/?&=+:@!$'()*;%".contains(&byte);
        if !path.bytes().all(taken) {
            return wrong("its path has characters that a URL writes otherwise");
        }
        Ok(Self(text.to_owned()))
    }

    /// The URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What stands for the number of a partition in a [`CrlUrl`].
pub const PARTITION: &str = "{partition}";

/// What stands for the generation of an epoch in a [`CrlUrl`].
pub const GENERATION: &str = "{generation}";

/// The URL of an epoch's CRL: each epoch has a key of its own, and so a CRL of its own; each partition of its leaves has one, too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CrlUrl(String);

impl CrlUrl {
    /// Reads an [`HttpUrl`] in which `{generation}` may stand for the epoch's, and `{partition}` for the number of a partition.
    ///
    /// # Errors
    /// [`UrlError`] names the first rule that the text breaks, whatever the numbers.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        for (generation, partition) in [(1, 1), (u64::MAX, u16::MAX)] {
            HttpUrl::parse(&with(text, generation, partition))?;
        }
        Ok(Self(text.to_owned()))
    }

    /// The URL of the CRL of that epoch and scope.
    #[must_use]
    pub fn of(&self, generation: u64, scope: CrlScope) -> HttpUrl {
        HttpUrl(with(&self.0, generation, scope.number()))
    }

    /// Whether each epoch has a URL of its own.
    #[must_use]
    pub fn names_generation(&self) -> bool {
        self.0.contains(GENERATION)
    }

    /// Whether each partition has a URL of its own.
    #[must_use]
    pub fn names_partition(&self) -> bool {
        self.0.contains(PARTITION)
    }
}

fn with(text: &str, generation: u64, partition: u16) -> String {
    text.replace(GENERATION, &generation.to_string()).replace(PARTITION, &partition.to_string())
}

impl fmt::Display for CrlUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_stands_where_it_leaves_a_url() {
        let url = CrlUrl::parse("http://crl.example/mesh/epoch-{generation}.crl").unwrap();
        assert_eq!(url.of(7, CrlScope::Complete).as_str(), "http://crl.example/mesh/epoch-7.crl");
        let url_of_partition = CrlUrl::parse("http://crl.example/{generation}/{partition}.crl").unwrap();
        assert_eq!(url_of_partition.of(7, CrlScope::numbered(12)).as_str(), "http://crl.example/7/12.crl");
        assert!(url_of_partition.names_partition() && !url.names_partition());
        assert!(url.names_generation() && !CrlUrl::parse("http://crl.example/a.crl").unwrap().names_generation());
        for wrong in
            ["http://crl.example/{gen}", "http://crl.example:{generation}/", "http://a.{generation}/", "{generation}"]
        {
            assert!(CrlUrl::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_plain_http_with_a_host_name_and_a_path_is_taken() {
        for url in ["http://crl.example/a.crl", "http://crl.example:8080/a/b?x=1", "http://a.b/"] {
            assert_eq!(HttpUrl::parse(url).unwrap().as_str(), url);
        }
        let longest = format!("http://a.b/{}", "x".repeat(URL_BYTES_MAX - "http://a.b/".len()));
        let long = format!("{longest}x");
        for url in [longest.as_str(), "http://a.b:1/", "http://a.b:65535/-._~/?&=+:@!$'()*;%"] {
            assert_eq!(HttpUrl::parse(url).unwrap().to_string(), url);
        }
        assert_eq!(CrlUrl::parse("http://a.b/{generation}").unwrap().to_string(), "http://a.b/{generation}");
        for url in [
            "",
            "https://a.b/",
            "ldap://a.b/",
            "http://a.b",
            "http:///a",
            "http://A.b/",
            "http://u@a.b/",
            "http://a.b:/",
            "http://a.b:0/",
            "http://a.b:+80/",
            "http://a.b:80:80/",
            "http://a.b:65536/",
            "http://a.b/ x",
            "http://a.b/#f",
            "http://a.b/é",
            "http://10.0.0.1/",
            &long,
        ] {
            assert!(HttpUrl::parse(url).is_err(), "{url}");
        }
    }
}
