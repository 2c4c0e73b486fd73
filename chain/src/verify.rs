//! The whole check, in the order in which its claims build on each other.

use aws_lc_rs::digest;
use hallmark_policy::{name::GeneralName, time::UnixTime};

use crate::{
    binding::{self, Binding},
    ca::Authorities,
    certificate::Certificate,
    claim::Claim,
    crl::Crl,
    finding::Finding,
    history::{History, Start},
    leaf,
    limit::Limit,
    report::{Check, Report, Role},
};

/// What a data owner has.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// SHA-256 of the root CA certificate that is trusted, from somewhere else than the rest.
    pub root_sha256: [u8; 32],
    /// The root CA certificate, DER.
    pub root: &'a [u8],
    /// The intermediate CA certificate, DER.
    pub intermediate: &'a [u8],
    /// The mesh CA certificate, DER.
    pub mesh_ca: &'a [u8],
    /// The manifests.
    pub history: &'a History,
    /// Leaves.
    pub leaves: &'a [LeafEvidence<'a>],
    /// The root's CRL, DER.
    pub root_crl: Option<&'a [u8]>,
    /// When everything has to be valid.
    pub at: Option<UnixTime>,
}

/// A leaf.
#[derive(Clone, Copy, Debug)]
pub struct LeafEvidence<'a> {
    /// What it is called in the report.
    pub name: &'a str,
    /// The certificate, DER.
    pub certificate: &'a [u8],
    /// The workload's policy, and the names that the last manifest has for it: none where it has no such policy.
    pub entry: Option<([u8; 32], Option<&'a [GeneralName]>)>,
}

/// Checks all of it.
#[must_use]
pub fn verify(evidence: &Evidence<'_>) -> Report {
    let roles =
        [(Role::Root, evidence.root), (Role::Intermediate, evidence.intermediate), (Role::MeshCa, evidence.mesh_ca)];
    let [root, intermediate, mesh_ca] = roles.map(|(what, der)| readable(what, der));
    let (root, intermediate, mesh_ca) = match (root, intermediate, mesh_ca) {
        (Ok(root), Ok(intermediate), Ok(mesh_ca)) => (root, intermediate, mesh_ca),
        (root, intermediate, mesh_ca) => {
            let checks = [root, intermediate, mesh_ca].into_iter().filter_map(Result::err).collect();
            return Report { checks, limits: limits(evidence, false), generation: None };
        }
    };
    let authorities = Authorities { root: &root, intermediate: &intermediate, mesh_ca: &mesh_ca };
    let mut checks = of_authorities(evidence, &authorities);
    checks.extend(evidence.leaves.iter().flat_map(|leaf| of_leaf(evidence, leaf, &authorities)));
    checks.extend(evidence.root_crl.iter().flat_map(|der| of_crl(der, evidence.at, &authorities)));
    let limits = limits(evidence, authorities.has_constraints());
    Report { checks, limits, generation: generation(&authorities) }
}

fn readable(what: Role, der: &[u8]) -> Result<Certificate, Check> {
    Certificate::read(der).map_err(|error| Check {
        claim: Claim::Readable { what: what.clone() },
        findings: vec![Finding::Unreadable { what, error }],
    })
}

fn of_authorities(evidence: &Evidence<'_>, authorities: &Authorities<'_>) -> Vec<Check> {
    let check = |claim, findings| Check { claim, findings };
    let history = evidence.history;
    let found = sha256(&authorities.root.der);
    let other_root = (found != evidence.root_sha256).then_some(Finding::OtherRoot { found });
    let mut checks = vec![
        check(Claim::RootPinned { sha256: evidence.root_sha256 }, other_root.into_iter().collect()),
        check(Claim::Signatures, authorities.signatures()),
        check(Claim::Authorities, authorities.profiles()),
        check(Claim::KeyIdentifiers, authorities.key_identifiers()),
        check(Claim::Siblings, authorities.are_siblings()),
        check(Claim::Constraints { any: authorities.has_constraints() }, authorities.constraints()),
        check(Claim::Nested, authorities.nested()),
    ];
    checks.extend(evidence.at.map(|at| check(Claim::Current { at }, authorities.current(at))));
    let siblings = authorities.siblings().into_iter();
    let findings = siblings.flat_map(|(what, certificate)| binding::bound(&what, certificate, history)).collect();
    let claim = Claim::Bound {
        start: history.start(),
        count: history.len(),
        by_age: history.generation().is_some(),
        transition: history.transition(),
    };
    checks.push(check(claim, findings));
    checks
}

fn of_leaf(evidence: &Evidence<'_>, leaf: &LeafEvidence<'_>, authorities: &Authorities<'_>) -> Vec<Check> {
    let what = Role::Leaf(leaf.name.to_owned());
    let read = match readable(what.clone(), leaf.certificate) {
        Ok(read) => read,
        Err(check) => return vec![check],
    };
    let mut checks = vec![
        Check { claim: Claim::LeafIssued { leaf: what.clone() }, findings: leaf::issued(&what, &read, authorities) },
        Check {
            claim: Claim::LeafContent { leaf: what.clone(), at: evidence.at },
            findings: leaf::content(&what, &read, authorities, evidence.at),
        },
    ];
    if authorities.has_constraints() {
        let findings = leaf::constrained(&what, &read, authorities);
        checks.push(Check { claim: Claim::LeafConstrained { leaf: what.clone() }, findings });
    }
    if let Some((policy_hash, names)) = leaf.entry {
        let findings = match names {
            Some(names) => leaf::named(&what, &read, names),
            None => vec![Finding::PolicyUnknown { policy_hash }],
        };
        checks.push(Check { claim: Claim::LeafNames { leaf: what, policy_hash }, findings });
    }
    checks
}

fn of_crl(der: &[u8], at: Option<UnixTime>, authorities: &Authorities<'_>) -> Vec<Check> {
    let claim = Claim::RootCrl { at };
    match Crl::read(der) {
        Err(error) => vec![Check { claim, findings: vec![Finding::CrlUnreadable { error }] }],
        Ok(crl) => vec![
            Check { claim, findings: crl.of(authorities.root, at) },
            Check { claim: Claim::NotRevoked, findings: crl.revokes(authorities.intermediate).into_iter().collect() },
        ],
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.iter_mut().zip(digest::digest(&digest::SHA256, bytes).as_ref()).for_each(|(to, from)| *to = *from);
    out
}

/// The generation that both certificates of the epoch bind.
fn generation(authorities: &Authorities<'_>) -> Option<u64> {
    let [one, other] =
        authorities.siblings().map(|(what, certificate)| Binding::read(&what, certificate).ok().map(|b| b.generation));
    one.filter(|_| one == other)
}

/// What the claims do not cover.
fn limits(evidence: &Evidence<'_>, constrained: bool) -> Vec<Limit> {
    let history = evidence.history;
    let (leaves, named) = (!evidence.leaves.is_empty(), evidence.leaves.iter().all(|leaf| leaf.entry.is_some()));
    let before = match history.start() {
        Start::Genesis => None,
        Start::Transition(transition) => Some(Limit::BeforeStart { transition }),
    };
    let limits = [
        Some(Limit::KeyHolder),
        Some(Limit::Evidence),
        Some(Limit::OtherEpochs),
        history.generation().is_none().then_some(Limit::Owners),
        before,
        history.is_empty().then_some(Limit::Manifest),
        (!leaves).then_some(Limit::Leaves),
        (leaves && !named && history.generation().is_none()).then_some(Limit::LeafNames),
        (!constrained).then_some(Limit::Unconstrained),
        evidence.root_crl.is_none().then_some(Limit::Revocation),
        leaves.then_some(Limit::LeafRevocation),
        evidence.at.is_none().then_some(Limit::Time),
    ];
    limits.into_iter().flatten().collect()
}
