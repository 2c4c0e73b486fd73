//! Names of a leaf from the manifest: what the coordinator's word adds is which workload it is, by its policy hash, and nothing else.

use super::{Workload, names};
use crate::{
    claim,
    decide::Issuer,
    names::Named,
    profile::{Authority, Profile},
    reason::{Reason, ReasonCode},
    request::{Possession, Request},
};

const FIELD: &str = "policy_hash";

/// The names that the manifest gives to the workload of the request, if it has one, and everything that there is against it.
pub(crate) fn named(
    profile: &Profile,
    authority: &Authority,
    request: &Request,
    issuer: &Issuer,
    reasons: &mut Vec<Reason>,
) -> Option<Named> {
    check_own_names(profile, request, reasons);
    let workload = workload(profile, request, issuer).map_err(|reason| reasons.push(reason)).ok()?;
    if workload.names().is_empty() {
        let sentence = "the manifest gives the workload of that policy hash no names, and so no certificate";
        reasons.push(Reason::new(ReasonCode::NameMissing, FIELD, sentence));
    }
    reasons.extend(workload.names().iter().filter_map(|name| names::objection(authority, name)));
    let secret_id = workload.secret_id().filter(|_| profile.workload_secret_id).map(|id| {
        let defect = || Reason::new(ReasonCode::Defect, FIELD, "the workload secret id cannot be encoded");
        claim::workload_secret_id(id).ok_or_else(defect)
    });
    let secret_id = secret_id.transpose().map_err(|reason| reasons.push(reason)).ok()?;
    let names = workload.names().to_vec();
    Some(Named { common_name: None, names, claims: Vec::new(), bound: None, secret_id })
}

/// A policy hash means nothing where names come from the request, and what means nothing is refused.
pub(crate) fn not_asked_for(profile: &Profile, request: &Request) -> Option<Reason> {
    request.policy_hash?;
    let sentence = format!("profile `{}` takes names from requests, and not from a manifest", profile.name);
    Some(Reason::new(ReasonCode::PolicyHashNotAllowed, FIELD, sentence).allowing("no policy hash"))
}

fn check_own_names(profile: &Profile, request: &Request, reasons: &mut Vec<Reason>) {
    let (subject, alternative) = match request.possession {
        Possession::Csr(_) => ("csr.subject", "csr.subjectAltName"),
        Possession::Caller => ("common_name", "subject_alt_names"),
    };
    let own = [(subject, request.common_name.is_some()), (alternative, !request.names.is_empty())];
    for (field, _) in own.into_iter().filter(|(_, named)| *named) {
        let sentence =
            format!("names of profile `{}` come from the manifest, and the request has its own", profile.name);
        reasons.push(Reason::new(ReasonCode::NamesFromManifest, field, sentence).allowing("no names"));
    }
}

fn workload<'a>(profile: &Profile, request: &Request, issuer: &'a Issuer) -> Result<&'a Workload, Reason> {
    let Some(hash) = request.policy_hash else {
        let sentence = format!("`{FIELD}` is empty, and profile `{}` finds names by it", profile.name);
        return Err(Reason::new(ReasonCode::FieldMissing, FIELD, sentence).allowing("SHA-256 of the workload's policy"));
    };
    let Some(manifest) = &issuer.manifest else {
        let sentence = format!("epoch {} of authority `{}` has no manifest", issuer.epoch.generation, issuer.authority);
        return Err(Reason::new(ReasonCode::ManifestMissing, FIELD, sentence));
    };
    manifest.workload(&hash).ok_or_else(|| {
        let sentence = format!("the manifest in force has no workload of the policy hash {}", crate::hex(&hash));
        Reason::new(ReasonCode::PolicyHashUnknown, FIELD, sentence)
    })
}
