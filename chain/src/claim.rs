//! What is looked at, each as a sentence that is true where nothing speaks against it.

use std::fmt;

use hallmark_policy::{hex, time::UnixTime};

use crate::{history::Start, report::Role};

/// A claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// A certificate can be read.
    Readable {
        /// Which.
        what: Role,
    },
    /// The root is the one that was known before.
    RootPinned {
        /// SHA-256 of the pinned certificate.
        sha256: [u8; 32],
    },
    /// All three are CAs, of the right path lengths.
    Authorities,
    /// The signatures of the three.
    Signatures,
    /// Each of the three names its issuer's key, by key identifier alone.
    KeyIdentifiers,
    /// The intermediate and the mesh CA are siblings.
    Siblings,
    /// The name constraints of the siblings are the same.
    Constraints {
        /// Whether they have any.
        any: bool,
    },
    /// The siblings' validity lies in the root's.
    Nested,
    /// All three are valid at that time.
    Current {
        /// When.
        at: UnixTime,
    },
    /// The binding of both siblings is that of the history.
    Bound {
        /// Where the history begins.
        start: Start,
        /// How many manifests or statements it has.
        count: u64,
        /// Whether they are statements of an authority that rotates by age.
        by_age: bool,
        /// The transition that it ends with.
        transition: [u8; 32],
    },
    /// A leaf was issued with the epoch's key.
    LeafIssued {
        /// Which.
        leaf: Role,
    },
    /// A leaf is an end entity, and lives within its issuers.
    LeafContent {
        /// Which.
        leaf: Role,
        /// When it has to be valid.
        at: Option<UnixTime>,
    },
    /// A leaf's names obey the name constraints.
    LeafConstrained {
        /// Which.
        leaf: Role,
    },
    /// A leaf's names are those of the manifest.
    LeafNames {
        /// Which.
        leaf: Role,
        /// SHA-256 of the workload's policy.
        policy_hash: [u8; 32],
    },
    /// The root's CRL is the root's, and current.
    RootCrl {
        /// When it has to be current.
        at: Option<UnixTime>,
    },
    /// The root's CRL does not list the intermediate.
    NotRevoked,
}

impl Claim {
    /// Its stable name.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Readable { .. } => "readable",
            Self::RootPinned { .. } => "root-pinned",
            Self::Authorities => "authorities",
            Self::Signatures => "signatures",
            Self::KeyIdentifiers => "key-identifiers",
            Self::Siblings => "siblings",
            Self::Constraints { .. } => "name-constraints",
            Self::Nested => "validity-nested",
            Self::Current { .. } => "current",
            Self::Bound { .. } => "bound",
            Self::LeafIssued { .. } => "leaf-issued",
            Self::LeafContent { .. } => "leaf-content",
            Self::LeafConstrained { .. } => "leaf-constrained",
            Self::LeafNames { .. } => "leaf-names",
            Self::RootCrl { .. } => "root-crl",
            Self::NotRevoked => "not-revoked",
        }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Readable { what } => write!(f, "The certificate of {what} can be read."),
            Self::RootPinned { sha256 } => write!(f, "The root is the pinned one, with the SHA-256 {}.", hex(sha256)),
            Self::Authorities => f.write_str(
                "Root, intermediate and mesh CA are CAs: the root with room for another below it, the two others without, \
                 and these sign certificates and CRLs only.",
            ),
            Self::Signatures => f.write_str(
                "The root's key signed the root and the intermediate, and the mesh CA's key signed the mesh CA.",
            ),
            Self::KeyIdentifiers => {
                f.write_str(
                    "Intermediate and mesh CA name their issuer's key, by key identifier and nothing else, and the root names \
                     no other than its own.",
                )
            }
            Self::Siblings => f.write_str(
                "Intermediate and mesh CA have one subject, one key and one key identifier: what is issued under one \
                 of them verifies under both.",
            ),
            Self::Constraints { any: true } => f.write_str("Intermediate and mesh CA have the same name constraints."),
            Self::Constraints { any: false } => f.write_str("Neither intermediate nor mesh CA has name constraints."),
            Self::Nested => f.write_str("Intermediate and mesh CA are valid only while the root is."),
            Self::Current { at } => write!(f, "All three are valid at {at}."),
            Self::Bound { start, count, by_age, transition } => bound(f, *start, *count, *by_age, transition),
            Self::LeafIssued { leaf } => write!(
                f,
                "{} was issued with the epoch's key: it verifies under the intermediate and under the mesh CA.",
                capital(leaf)
            ),
            Self::LeafContent { leaf, at } => {
                write!(f, "{} is no CA, and is valid only while its issuers are", capital(leaf))?;
                match at {
                    Some(at) => write!(f, "; it is valid at {at}."),
                    None => f.write_str("."),
                }
            }
            Self::LeafConstrained { leaf } => write!(f, "The names in {leaf} obey the name constraints."),
            Self::LeafNames { leaf, policy_hash } => write!(
                f,
                "The names in {leaf} are those that the manifest has for the policy {}: all of them, and no other.",
                hex(policy_hash)
            ),
            Self::RootCrl { at } => {
                f.write_str("The root's key signed the root's CRL")?;
                match at {
                    Some(at) => write!(f, ", which is current at {at}."),
                    None => f.write_str("."),
                }
            }
            Self::NotRevoked => f.write_str("The root's CRL does not list the intermediate."),
        }
    }
}

fn bound(f: &mut fmt::Formatter<'_>, start: Start, count: u64, by_age: bool, transition: &[u8; 32]) -> fmt::Result {
    let thing = match (by_age, count) {
        (false, 1) => "manifest",
        (false, _) => "manifests",
        (true, 1) => "statement",
        (true, _) => "statements",
    };
    write!(f, "Both bind the transition {}", hex(transition))?;
    match (start, count) {
        (Start::Genesis, _) => write!(f, ", which follows from {count} {thing} since genesis; the last one is theirs."),
        (Start::Transition(_), 0) => f.write_str(", which is the one that was named."),
        (Start::Transition(from), _) => {
            write!(f, ", which follows from {} and {count} {thing}; the last one is theirs.", hex(&from))
        }
    }
}

fn capital(role: &Role) -> String {
    let text = role.to_string();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
