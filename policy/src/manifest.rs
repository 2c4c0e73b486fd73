//! Manifests: Contrast's description of a deployment, read so that no other reader can read anything else.
//!
//! A manifest is hashed as it comes, and its hash is what an epoch is bound to. Whoever looks at those bytes later, a
//! coordinator in Go, an auditor in Python, must find the same policies, names and owners: what JSON parsers read in
//! different ways is refused here, when the manifest is set, together with every name that no certificate may have.

mod json;
mod names;
mod problem;
mod scalar;
mod shape;
pub(crate) mod workload;

use std::collections::BTreeMap;

pub use json::{DEPTH_MAX, KEY_BYTES_MAX};
pub use names::NAMES_BYTES_MAX;
pub use problem::{ManifestError, ManifestProblem, PROBLEMS_MAX};
pub use shape::{OWNERS_MAX, WORKLOAD_SECRET_ID_BYTES_MAX};

use crate::{
    key::SpkiDigest,
    name::GeneralName,
    profile::{Authority, Policy},
};
use json::Reader;
use names::Rules;

/// Largest manifest, in bytes.
pub const MANIFEST_BYTES_MAX: usize = 16_777_216;

/// A manifest that was read: its digest, its owners, and its workloads by policy hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    digest: [u8; 32],
    owners: Vec<SpkiDigest>,
    workloads: BTreeMap<[u8; 32], Workload>,
}

/// What a manifest says about the workload of one policy hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    names: Vec<GeneralName>,
    secret_id: Option<String>,
    is_coordinator: bool,
}

impl Manifest {
    /// Reads a manifest that was set before. Its names are well-formed; whether a policy takes them is not looked at.
    ///
    /// # Errors
    /// Every problem that can be told, each with its place.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        read(bytes, None)
    }

    /// Reads a manifest that is to be set for an authority: besides, the policy takes every name.
    ///
    /// # Errors
    /// Every problem that can be told, each with its place.
    pub fn parse_for(bytes: &[u8], policy: &Policy, authority: &Authority) -> Result<Self, ManifestError> {
        read(bytes, Some(Rules { policy, authority }))
    }

    /// SHA-256 of its bytes: what [`crate::authority::transition`] is made of.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The keys whose owners may replace it. None: it stays for ever.
    #[must_use]
    pub fn owners(&self) -> &[SpkiDigest] {
        &self.owners
    }

    /// The workload of a policy hash.
    #[must_use]
    pub fn workload(&self, policy_hash: &[u8; 32]) -> Option<&Workload> {
        self.workloads.get(policy_hash)
    }

    /// All workloads with their policy hashes.
    pub fn workloads(&self) -> impl Iterator<Item = (&[u8; 32], &Workload)> {
        self.workloads.iter()
    }
}

impl Workload {
    /// The entries of its certificates' subjectAltName, in the manifest's order. None: it gets no certificate.
    #[must_use]
    pub fn names(&self) -> &[GeneralName] {
        &self.names
    }

    /// `WorkloadSecretID`, if it has one.
    #[must_use]
    pub fn secret_id(&self) -> Option<&str> {
        self.secret_id.as_deref()
    }

    /// Whether it has the role of the coordinator.
    #[must_use]
    pub fn is_coordinator(&self) -> bool {
        self.is_coordinator
    }
}

fn read(bytes: &[u8], rules: Option<Rules<'_>>) -> Result<Manifest, ManifestError> {
    if bytes.len() > MANIFEST_BYTES_MAX {
        let sentence = format!("the manifest has {} bytes", bytes.len());
        return Err(ManifestError::alone("", 0, sentence, "at most 16777216 are read"));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = bytes.get(..error.valid_up_to()).and_then(|valid| std::str::from_utf8(valid).ok());
        let valid = valid.unwrap_or_default();
        let hint = "readers replace such bytes, keep them or refuse them";
        ManifestError::alone(valid, valid.len(), "the text is not UTF-8 from here on".to_owned(), hint)
    })?;
    let mut reader = Reader::new(text);
    reader.byte_order_mark();
    let manifest = shape::read(&mut reader, bytes, rules);
    match reader.problems.told(text) {
        Some(error) => Err(error),
        None => manifest.map_err(|json::Stop| {
            ManifestError::alone(text, reader.at, "the text was not read to its end".to_owned(), "it is no JSON")
        }),
    }
}
