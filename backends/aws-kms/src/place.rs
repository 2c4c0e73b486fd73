//! Where AWS KMS is, and whose keys are meant.

use std::{fmt, net::IpAddr};

use http::Uri;

/// Longest name of a region, in bytes; the longest that there is has 14.
const REGION_BYTES_MAX: usize = 32;
/// Digits of an account's number.
const ACCOUNT_DIGITS: usize = 12;

/// Partitions of AWS by what the names of their regions begin with (SDKs, partitions.json); all others are of `aws`.
const PARTITIONS: [(&str, &str); 7] = [
    ("cn-", "aws-cn"),
    ("us-gov-", "aws-us-gov"),
    ("eusc-", "aws-eusc"),
    ("us-iso-", "aws-iso"),
    ("us-isob-", "aws-iso-b"),
    ("eu-isoe-", "aws-iso-e"),
    ("us-isof-", "aws-iso-f"),
];

/// A region of AWS, and the endpoint that is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    region: String,
    endpoint: Option<String>,
}

/// The number of an AWS account: twelve digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account(String);

/// Why a text names no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// No name of a region.
    #[error("`region` is `{0}`; write the name of a region, such as `eu-central-1`")]
    Region(String),
    /// No URL of an endpoint.
    #[error("`endpoint` is `{0}`; write `https://` and a name, and a port if it needs one, and nothing behind them")]
    Endpoint(String),
    /// A URL without TLS that leads away from this machine.
    #[error("`endpoint` is `{0}`; without TLS it leads to this machine's loopback alone, as `http://127.0.0.1:5000`")]
    Plain(String),
    /// No number of an account.
    #[error("`account` is `{0}`; write the twelve digits of the account that the keys are in")]
    Account(String),
}

impl Place {
    /// Reads a region and, where there is one, an endpoint in its place: of a VPC, or of FIPS.
    ///
    /// # Errors
    /// See [`PlaceError`].
    pub fn parse(region: &str, endpoint: Option<&str>) -> Result<Self, PlaceError> {
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let begins = region.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        if !begins || region.len() > REGION_BYTES_MAX || !region.bytes().all(letter) {
            return Err(PlaceError::Region(region.to_owned()));
        }
        endpoint.map_or(Ok(()), check_endpoint)?;
        Ok(Self { region: region.to_owned(), endpoint: endpoint.map(|text| text.trim_end_matches('/').to_owned()) })
    }

    /// The region.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The partition of AWS that the region is in, as ARNs have it.
    #[must_use]
    pub fn partition(&self) -> &'static str {
        let of = |(begins, partition): &(&str, &'static str)| self.region.starts_with(begins).then_some(*partition);
        PARTITIONS.iter().find_map(of).unwrap_or("aws")
    }

    /// Whether TLS is spoken: everywhere but on this machine itself.
    pub(crate) fn has_tls(&self) -> bool {
        self.endpoint.as_deref().is_none_or(|endpoint| !endpoint.starts_with("http://"))
    }

    /// The endpoint in the place of the region's own.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }
}

fn check_endpoint(text: &str) -> Result<(), PlaceError> {
    let wrong = || PlaceError::Endpoint(text.to_owned());
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
    let whole = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    if !whole || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(wrong());
    }
    match uri.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if is_loopback(host) => Ok(()),
        Some("http") => Err(PlaceError::Plain(text.to_owned())),
        Some(_) | None => Err(wrong()),
    }
}

/// Whether it is an address of this machine itself; a name may be somebody else's tomorrow.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.endpoint {
            Some(endpoint) => write!(f, "{} at {endpoint}", self.region),
            None => f.write_str(&self.region),
        }
    }
}

impl Account {
    /// Reads the number of an account.
    ///
    /// # Errors
    /// [`PlaceError::Account`].
    pub fn parse(text: &str) -> Result<Self, PlaceError> {
        let fits = text.len() == ACCOUNT_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
        if fits { Ok(Self(text.to_owned())) } else { Err(PlaceError::Account(text.to_owned())) }
    }

    /// Its digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_have_tls_unless_they_are_on_this_machine() {
        for endpoint in [
            "https://kms-fips.us-east-1.amazonaws.com",
            "https://vpce-0a1b-2c3d.kms.eu-central-1.vpce.amazonaws.com/",
            "https://kms.example:8443",
            "http://127.0.0.1:5000",
            "http://127.9.9.9:5000",
            "http://[::1]:5000",
        ] {
            let place = Place::parse("eu-central-1", Some(endpoint)).unwrap();
            assert_eq!(place.endpoint(), Some(endpoint.trim_end_matches('/')));
        }
        for endpoint in ["http://kms.eu-central-1.amazonaws.com", "http://localhost:5000", "http://10.0.0.1"] {
            assert!(matches!(Place::parse("eu-central-1", Some(endpoint)), Err(PlaceError::Plain(_))), "{endpoint}");
        }
        for endpoint in [
            "",
            "kms.example",
            "https://",
            "https://kms.example/path",
            "https://kms.example?a=b",
            "https://user:password@kms.example",
            "ftp://kms.example",
        ] {
            let error = Place::parse("eu-central-1", Some(endpoint)).unwrap_err();
            assert!(matches!(error, PlaceError::Endpoint(_)), "{endpoint}");
        }
    }

    #[test]
    fn a_region_is_of_one_partition() {
        for (region, partition) in [
            ("eu-central-1", "aws"),
            ("us-east-1", "aws"),
            ("cn-north-1", "aws-cn"),
            ("us-gov-west-1", "aws-us-gov"),
            ("us-iso-east-1", "aws-iso"),
            ("us-isob-east-1", "aws-iso-b"),
            ("eusc-de-east-1", "aws-eusc"),
        ] {
            assert_eq!(Place::parse(region, None).unwrap().partition(), partition, "{region}");
        }
    }

    #[test]
    fn a_region_and_an_account_have_one_form() {
        for region in ["eu-central-1", "us-gov-west-1", "cn-north-1"] {
            assert_eq!(Place::parse(region, None).unwrap().to_string(), region);
        }
        for region in ["", "EU-central-1", "eu central", "1", "-eu", "eu.central", &"a".repeat(33)] {
            assert!(Place::parse(region, None).is_err(), "{region}");
        }
        assert_eq!(Account::parse("123456789012").unwrap().as_str(), "123456789012");
        for account in ["", "12345678901", "1234567890123", "12345678901a"] {
            assert!(Account::parse(account).is_err(), "{account}");
        }
    }
}
