//! The extension that binds a CA certificate to its epoch.

use hallmark_policy::content::{EPOCH_BINDING_ARCS, EPOCH_BINDING_VERSION};
use rasn::prelude::*;

use crate::{
    certificate::{Certificate, Extension},
    finding::Finding,
    history::History,
    report::Role,
};

/// ```text
/// EpochBinding ::= SEQUENCE { version INTEGER, generation INTEGER, manifestDigest OCTET STRING, transitionDigest OCTET STRING }
/// ```
#[derive(AsnType, Decode, Encode)]
struct EpochBinding {
    version: Integer,
    generation: Integer,
    manifest_digest: OctetString,
    transition_digest: OctetString,
}

/// What a certificate binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) generation: u64,
    manifest: [u8; 32],
    transition: [u8; 32],
}

impl Binding {
    /// The binding in a certificate, or why there is none.
    pub(crate) fn read(what: &Role, certificate: &Certificate) -> Result<Self, Finding> {
        let unbound = || Finding::Unbound { what: what.clone() };
        let extension = certificate.extension(EPOCH_BINDING_ARCS).ok_or_else(unbound)?;
        let read: EpochBinding = Extension::decoded(extension).ok_or_else(unbound)?;
        if read.version != Integer::from(EPOCH_BINDING_VERSION) {
            return Err(Finding::BindingVersion { what: what.clone(), found: read.version.to_string() });
        }
        Ok(Self {
            generation: u64::try_from(&read.generation).map_err(|_| unbound())?,
            manifest: read.manifest_digest.as_ref().try_into().map_err(|_| unbound())?,
            transition: read.transition_digest.as_ref().try_into().map_err(|_| unbound())?,
        })
    }
}

/// Whether a certificate binds what the history ends with.
pub(crate) fn bound(what: &Role, certificate: &Certificate, history: &History) -> Vec<Finding> {
    let binding = match Binding::read(what, certificate) {
        Ok(binding) => binding,
        Err(finding) => return vec![finding],
    };
    let what = || what.clone();
    let mut findings = Vec::new();
    if certificate.extension(EPOCH_BINDING_ARCS).is_some_and(|extension| extension.critical) {
        findings.push(Finding::BindingCritical { what: what() });
    }
    if binding.transition != history.transition() {
        findings.push(Finding::OtherTransition { what: what(), found: binding.transition });
    }
    if let Some(wanted) = history.newest().filter(|wanted| *wanted != binding.manifest) {
        findings.push(Finding::OtherManifest { what: what(), found: binding.manifest, wanted });
    }
    let found = binding.generation;
    match history.generation() {
        Some(wanted) if wanted != found => findings.push(Finding::OtherGeneration { what: what(), found, wanted }),
        Some(_) => {}
        None if found < history.generation_min() => {
            findings.push(Finding::GenerationTooSmall { what: what(), found, min: history.generation_min() });
        }
        None => {}
    }
    findings
}
