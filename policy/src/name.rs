//! Names that may stand in a certificate: parsed once, strict, ASCII, and never changed on the way.

mod dns;
mod uri;

use std::fmt;

use crate::{email::Email, ip::IpName};

pub use dns::{DNS_LABEL_BYTES_MAX, DNS_NAME_BYTES_MAX, DnsName};
pub use uri::{URI_BYTES_MAX, Uri};

/// Longest common name, in characters (RFC 5280, appendix A: ub-common-name).
pub const COMMON_NAME_CHARS_MAX: usize = 64;

/// Most subjectAltName entries that are looked at.
pub const NAMES_MAX: usize = 100;

/// Why text is no name that this signer puts into certificates.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct NameError {
    /// The rule it breaks, as a sentence without a full stop.
    pub detail: &'static str,
}

pub(crate) const fn wrong<T>(detail: &'static str) -> Result<T, NameError> {
    Err(NameError { detail })
}

/// One subjectAltName entry (RFC 5280, section 4.2.1.6).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GeneralName {
    /// dNSName.
    Dns(DnsName),
    /// uniformResourceIdentifier.
    Uri(Uri),
    /// iPAddress.
    Ip(IpName),
    /// rfc822Name.
    Email(Email),
}

impl GeneralName {
    /// Which kind of name, in the field's words.
    #[must_use]
    pub fn kind(&self) -> NameKind {
        match self {
            Self::Dns(_) => NameKind::Dns,
            Self::Uri(_) => NameKind::Uri,
            Self::Ip(_) => NameKind::Ip,
            Self::Email(_) => NameKind::Email,
        }
    }

    /// The name without its kind.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Dns(name) => name.as_str(),
            Self::Uri(uri) => uri.as_str(),
            Self::Ip(address) => address.as_str(),
            Self::Email(email) => email.as_str(),
        }
    }
}

impl fmt::Display for GeneralName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind().short(), self.as_str())
    }
}

/// The kinds of name that a format can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NameKind {
    /// The common name of the subject.
    CommonName,
    /// dNSName.
    Dns,
    /// uniformResourceIdentifier.
    Uri,
    /// iPAddress.
    Ip,
    /// rfc822Name.
    Email,
}

impl NameKind {
    /// The standard's name for it.
    #[must_use]
    pub fn standard(self) -> &'static str {
        match self {
            Self::CommonName => "commonName",
            Self::Dns => "dNSName",
            Self::Uri => "uniformResourceIdentifier",
            Self::Ip => "iPAddress",
            Self::Email => "rfc822Name",
        }
    }

    /// A short form, for lists.
    #[must_use]
    pub fn short(self) -> &'static str {
        match self {
            Self::CommonName => "cn",
            Self::Dns => "dns",
            Self::Uri => "uri",
            Self::Ip => "ip",
            Self::Email => "email",
        }
    }
}

/// Attribute types of a distinguished name that Hallmark writes, each in an RDN of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NameAttribute {
    /// countryName, two letters, PrintableString.
    Country,
    /// organizationName, UTF8String.
    Organization,
    /// commonName, UTF8String.
    CommonName,
}

impl NameAttribute {
    /// Its object identifier (RFC 5280, appendix A.1).
    #[must_use]
    pub fn arcs(self) -> &'static [u32] {
        match self {
            Self::Country => &[2, 5, 4, 6],
            Self::Organization => &[2, 5, 4, 10],
            Self::CommonName => &[2, 5, 4, 3],
        }
    }

    fn short(self) -> &'static str {
        match self {
            Self::Country => "C",
            Self::Organization => "O",
            Self::CommonName => "CN",
        }
    }
}

/// A distinguished name: RDNs of one attribute each, in the order in which they are encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct DistinguishedName(Vec<(NameAttribute, String)>);

impl DistinguishedName {
    /// A name of these attributes, in this order.
    #[must_use]
    pub fn new(attributes: Vec<(NameAttribute, String)>) -> Self {
        Self(attributes)
    }

    /// A name of one commonName.
    #[must_use]
    pub fn common_name(name: &str) -> Self {
        Self(vec![(NameAttribute::CommonName, name.to_owned())])
    }

    /// Its attributes, in order.
    #[must_use]
    pub fn attributes(&self) -> &[(NameAttribute, String)] {
        &self.0
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (attribute, value)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{} = {value}", attribute.short())?;
        }
        Ok(())
    }
}
