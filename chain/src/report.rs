//! What came out: every claim that was looked at, what speaks against it, and what stays unproven.

use std::fmt;

use crate::{claim::Claim, finding::Finding, limit::Limit};

/// What is spoken of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// The root CA certificate.
    Root,
    /// The intermediate CA certificate.
    Intermediate,
    /// The mesh CA certificate.
    MeshCa,
    /// A leaf, by the name that it was given.
    Leaf(String),
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("the root"),
            Self::Intermediate => f.write_str("the intermediate"),
            Self::MeshCa => f.write_str("the mesh CA"),
            Self::Leaf(name) => write!(f, "`{name}`"),
        }
    }
}

/// A claim that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What is claimed.
    pub claim: Claim,
    /// What speaks against it; nothing: it holds.
    pub findings: Vec<Finding>,
}

impl Check {
    /// Whether it holds.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Everything that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The claims, in the order in which they build on each other.
    pub checks: Vec<Check>,
    /// What no claim here covers.
    pub limits: Vec<Limit>,
    /// The generation that both CA certificates bind, if they agree.
    pub generation: Option<u64>,
}

impl Report {
    /// Whether every claim holds. What stands in `limits` is unproven all the same.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.checks.iter().all(Check::holds)
    }

    /// Everything that speaks against a claim.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.checks.iter().flat_map(|check| &check.findings)
    }
}
