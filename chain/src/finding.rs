//! What can speak against a claim, in sentences that name the certificate.

use hallmark_policy::{hex, time::UnixTime};

use crate::{certificate::CertificateError, crl::CrlError, report::Role};

/// One thing that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// A certificate does not read.
    #[error("{what} cannot be judged: {error}")]
    Unreadable {
        /// Which.
        what: Role,
        /// Why.
        error: CertificateError,
    },
    /// The root is another one.
    #[error("the root that was given has the SHA-256 {}", hex(found))]
    OtherRoot {
        /// SHA-256 of the certificate.
        found: [u8; 32],
    },
    /// A signature is not by its issuer's key.
    #[error("{what} is not signed by {}", if .what == .by { "its own key".to_owned() } else { format!("the key of {by}") })]
    NotSigned {
        /// Which.
        what: Role,
        /// Whose key should have signed.
        by: Role,
    },
    /// A certificate names another issuer.
    #[error("{what} names another issuer than {}", if .what == .by { "itself".to_owned() } else { format!("the subject of {by}") })]
    OtherIssuer {
        /// Which.
        what: Role,
        /// Who should be named.
        by: Role,
    },
    /// A certificate is no CA, or does not say so in the way that it must.
    #[error("{what} has no critical basicConstraints with cA true")]
    NotCa {
        /// Which.
        what: Role,
    },
    /// The path length is another one.
    #[error("{what} has {} instead of the path length {wanted}{}", path_length(found), or_more(what))]
    PathLength {
        /// Which.
        what: Role,
        /// What it has, as a number.
        found: Option<String>,
        /// What it should have.
        wanted: u8,
    },
    /// The key usage is another one.
    #[error("{what} has no {}keyCertSign and cRLSign", key_usage(what))]
    KeyUsage {
        /// Which.
        what: Role,
    },
    /// An extension is missing or does not read.
    #[error("{what} has no readable {extension}")]
    Extension {
        /// Which.
        what: Role,
        /// The extension, in the words of RFC 5280.
        extension: &'static str,
    },
    /// A critical extension that is not known here.
    #[error("{what} has the critical extension {oid}, which is not known here")]
    UnknownCritical {
        /// Which.
        what: Role,
        /// Dotted.
        oid: String,
    },
    /// The authorityKeyIdentifier says more than a key identifier.
    #[error("the authorityKeyIdentifier of {what} has more than a key identifier")]
    IssuerAndSerial {
        /// Which.
        what: Role,
    },
    /// The authorityKeyIdentifier is of another key.
    #[error("the authorityKeyIdentifier of {what} is not the key identifier of {}", if .what == .by { "itself".to_owned() } else { by.to_string() })]
    OtherKeyIdentifier {
        /// Which.
        what: Role,
        /// Whose it should be.
        by: Role,
    },
    /// Intermediate and mesh CA differ.
    #[error("intermediate and mesh CA differ in {in_what}")]
    Differ {
        /// In what.
        in_what: &'static str,
    },
    /// Valid beyond its issuer.
    #[error("{what} is valid from {} to {}, which is not within the validity of {by}", .from, .to)]
    BeyondIssuer {
        /// Which.
        what: Role,
        /// Its issuer.
        by: Role,
        /// notBefore.
        from: UnixTime,
        /// notAfter.
        to: UnixTime,
    },
    /// Not valid at the time.
    #[error("{what} is valid from {from} to {to}")]
    NotCurrent {
        /// Which.
        what: Role,
        /// notBefore.
        from: UnixTime,
        /// notAfter.
        to: UnixTime,
    },
    /// No binding.
    #[error("{what} has no readable binding to an epoch")]
    Unbound {
        /// Which.
        what: Role,
    },
    /// A critical binding breaks clients that do not know it.
    #[error("the binding of {what} is marked critical")]
    BindingCritical {
        /// Which.
        what: Role,
    },
    /// A version that is not known here.
    #[error("the binding of {what} is of version {found}, which is not known here")]
    BindingVersion {
        /// Which.
        what: Role,
        /// The version.
        found: String,
    },
    /// Bound to another manifest.
    #[error("{what} binds the manifest {}, and the last one given is {}", hex(found), hex(wanted))]
    OtherManifest {
        /// Which.
        what: Role,
        /// What it binds.
        found: [u8; 32],
        /// What the history ends with.
        wanted: [u8; 32],
    },
    /// Bound to another transition.
    #[error("{what} binds the transition {}", hex(found))]
    OtherTransition {
        /// Which.
        what: Role,
        /// What it binds.
        found: [u8; 32],
    },
    /// Bound to another generation.
    #[error("{what} binds generation {found} instead of {wanted}")]
    OtherGeneration {
        /// Which.
        what: Role,
        /// What it binds.
        found: u64,
        /// What it should bind.
        wanted: u64,
    },
    /// Bound to a generation that is too small for the history.
    #[error("{what} binds generation {found}, and the history has {min} epochs at least")]
    GenerationTooSmall {
        /// Which.
        what: Role,
        /// What it binds.
        found: u64,
        /// The smallest that is possible.
        min: u64,
    },
    /// A leaf that may issue.
    #[error("{what} is a CA")]
    LeafIsCa {
        /// Which.
        what: Role,
    },
    /// A name that no certificate of a signer like this has.
    #[error("{what} has a name that cannot be judged: {name}")]
    NameUnread {
        /// Which.
        what: Role,
        /// The name, or its kind.
        name: String,
    },
    /// A name outside the constraints.
    #[error("the name `{name}` in {what} is outside the name constraints")]
    NameOutside {
        /// Which.
        what: Role,
        /// The name.
        name: String,
    },
    /// A name that the manifest does not have.
    #[error("the name `{name}` in {what} is not in the manifest's entry")]
    NameExtra {
        /// Which.
        what: Role,
        /// The name.
        name: String,
    },
    /// A name of the manifest that the leaf does not have.
    #[error("{what} lacks the name `{name}` of the manifest's entry")]
    NameMissing {
        /// Which.
        what: Role,
        /// The name.
        name: String,
    },
    /// The manifest has no such policy.
    #[error("the last manifest has no policy {}", hex(policy_hash))]
    PolicyUnknown {
        /// SHA-256 of the workload's policy.
        policy_hash: [u8; 32],
    },
    /// The CRL does not read.
    #[error("the CRL cannot be judged: {error}")]
    CrlUnreadable {
        /// Why.
        error: CrlError,
    },
    /// The CRL is another issuer's.
    #[error("the CRL names another issuer than the root, or its key")]
    CrlOfOther,
    /// The CRL is not signed by the root.
    #[error("the CRL is not signed by the root's key")]
    CrlNotSigned,
    /// The CRL is not about CA certificates.
    #[error("the CRL leaves out CA certificates, or some reasons, so that it says nothing about the intermediate")]
    CrlPartial,
    /// The CRL is not current.
    #[error("the CRL was current from {from} to {}", to.map_or_else(|| "an end that it does not name".to_owned(), |to| to.to_string()))]
    CrlNotCurrent {
        /// thisUpdate.
        from: UnixTime,
        /// nextUpdate.
        to: Option<UnixTime>,
    },
    /// The intermediate is revoked.
    #[error("the root revoked the intermediate, serial number {}, at {at}", hex(serial))]
    Revoked {
        /// Its serial number.
        serial: Vec<u8>,
        /// When.
        at: UnixTime,
    },
}

/// A root may have more room below it.
fn or_more(what: &Role) -> &'static str {
    if *what == Role::Root { " or more" } else { "" }
}

fn key_usage(what: &Role) -> &'static str {
    if *what == Role::Root { "keyUsage with " } else { "critical keyUsage of exactly " }
}

fn path_length(found: &Option<String>) -> String {
    match found {
        Some(number) => format!("the path length {number}"),
        None => "no path length".to_owned(),
    }
}

impl Finding {
    /// Its stable name.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "unreadable",
            Self::OtherRoot { .. } => "other-root",
            Self::NotSigned { .. } => "not-signed",
            Self::OtherIssuer { .. } => "other-issuer",
            Self::NotCa { .. } => "not-ca",
            Self::PathLength { .. } => "path-length",
            Self::KeyUsage { .. } => "key-usage",
            Self::Extension { .. } => "extension",
            Self::UnknownCritical { .. } => "unknown-critical",
            Self::IssuerAndSerial { .. } => "issuer-and-serial",
            Self::OtherKeyIdentifier { .. } => "other-key-identifier",
            Self::Differ { .. } => "differ",
            Self::BeyondIssuer { .. } => "beyond-issuer",
            Self::NotCurrent { .. } => "not-current",
            Self::Unbound { .. } => "unbound",
            Self::BindingCritical { .. } => "binding-critical",
            Self::BindingVersion { .. } => "binding-version",
            Self::OtherManifest { .. } => "other-manifest",
            Self::OtherTransition { .. } => "other-transition",
            Self::OtherGeneration { .. } => "other-generation",
            Self::GenerationTooSmall { .. } => "generation-too-small",
            Self::LeafIsCa { .. } => "leaf-is-ca",
            Self::NameUnread { .. } => "name-unread",
            Self::NameOutside { .. } => "name-outside",
            Self::NameExtra { .. } => "name-extra",
            Self::NameMissing { .. } => "name-missing",
            Self::PolicyUnknown { .. } => "policy-unknown",
            Self::CrlUnreadable { .. } => "crl-unreadable",
            Self::CrlOfOther => "crl-of-other",
            Self::CrlNotSigned => "crl-not-signed",
            Self::CrlPartial => "crl-partial",
            Self::CrlNotCurrent { .. } => "crl-not-current",
            Self::Revoked { .. } => "revoked",
        }
    }
}
