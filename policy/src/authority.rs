//! Deciding about CA certificates: the root, and the two certificates of an epoch.
//!
//! Intermediate and mesh CA share subject, key and key identifiers; both bind their epoch. Path lengths are 1 (2 where the policy lets the
//! root vouch for other roots), 0, 0.

use crate::{
    approved::{Approved, Conditions, Decision, EpochId, Facts, Numbering, RequestIdentity, Stage},
    certification_request::RequestContent,
    content::{CertificateContent, Content, EpochBinding, Extension, Serial},
    crl::CrlScope,
    decide::check_weak_key,
    key::{PublicKey, SignatureAlgorithm, sha256},
    limits::Limits,
    name::DistinguishedName,
    profile::{Authority, CaProfile, Policy},
    reason::{Reason, ReasonCode},
    time::{Interval, Span, UnixTime},
};

/// The shortest life of an epoch that can be asked for: leaves must fit into it.
pub const EPOCH_LIFETIME_MIN: Span = Span::from_secs(3_600);

/// Who CA certificates are made for in the log: not a caller of the network, but whoever runs the ceremony.
pub const OPERATOR: &str = "operator";

/// Which CA certificate, and what it hangs on.
#[derive(Clone, Debug)]
pub enum CaRequest<'a> {
    /// The root, self-signed.
    Root,
    /// The intermediate of an epoch, signed by the root.
    Intermediate {
        /// The root.
        root: &'a Root,
        /// The epoch.
        epoch: EpochBinding,
        /// The lifetime that was asked for; the policy's if none was.
        lifetime: Option<Span>,
    },
    /// The mesh CA of an epoch, self-signed.
    MeshCa {
        /// The root, whose validity bounds it.
        root: &'a Root,
        /// The epoch.
        epoch: EpochBinding,
        /// The lifetime that was asked for; the policy's if none was.
        lifetime: Option<Span>,
    },
}

/// The root of an authority, as the ledger tells it.
#[derive(Clone, Debug)]
pub struct Root {
    /// Its subject.
    pub subject: DistinguishedName,
    /// Its key.
    pub key: PublicKey,
    /// What it signs with.
    pub algorithm: SignatureAlgorithm,
    /// Its validity.
    pub validity: Interval,
    /// Its subjectKeyIdentifier: an offline root's may be made otherwise than ours.
    pub key_identifier: [u8; 20],
}

/// The digest that stands for an epoch's place in the chain of transitions.
///
/// `SHA-256(SHA-256(manifest) || previous)`; the previous of the first epoch is 32 zero bytes.
#[must_use]
pub fn transition(manifest_sha256: &[u8; 32], previous: &[u8; 32]) -> [u8; 32] {
    sha256(&[manifest_sha256.as_slice(), previous.as_slice()].concat())
}

/// The canonical statement that stands in for a manifest where an authority rotates by age: RFC 8785 JSON.
#[must_use]
pub fn statement(authority: &str, generation: u64) -> String {
    // Names of authorities are letters, digits, `-`, `_` and `.`: nothing to escape.
    format!("{{\"authority\":\"{authority}\",\"generation\":{generation}}}")
}

/// SHA-256 of [`statement`].
#[must_use]
pub fn statement_sha256(authority: &str, generation: u64) -> [u8; 32] {
    sha256(statement(authority, generation).as_bytes())
}

/// Decides about a CA certificate for `key`.
#[must_use]
pub fn decide_ca(
    policy: &Policy,
    authority: &str,
    request: &CaRequest<'_>,
    key: &PublicKey,
    now: UnixTime,
    serial: Serial,
) -> Decision {
    let Some(authority) = policy.authority(authority) else {
        let sentence = format!("the policy has no authority `{authority}`");
        return Decision::Refuse(vec![Reason::new(ReasonCode::AuthorityUnknown, "authority", sentence)]);
    };
    let mut reasons = Vec::new();
    let profile = match request {
        CaRequest::Root => &authority.root,
        CaRequest::Intermediate { .. } | CaRequest::MeshCa { .. } => &authority.epoch,
    };
    check_kind(profile, key, &mut reasons);
    check_weak_key(policy, key, &mut reasons);
    let validity = ca_validity(profile, request, now, &mut reasons);
    match validity {
        Some(validity) if reasons.is_empty() => {
            Decision::Approve(Box::new(approve(policy, authority, profile, request, key, validity, serial)))
        }
        _ => Decision::Refuse(reasons),
    }
}

/// Whether a CA key is of the kind that the policy wants.
pub(crate) fn check_kind(profile: &CaProfile, key: &PublicKey, reasons: &mut Vec<Reason>) {
    if key.kind() != profile.key {
        let sentence = format!("the key is {}, and the policy wants {}", key.kind(), profile.key);
        reasons.push(Reason::new(ReasonCode::KeyNotAllowed, "key", sentence).allowing(profile.key.name()));
    }
}

/// What every CA certificate of an epoch says beside its identifiers and path length: the same in the intermediate and in the
/// mesh CA, since clients that trust the one never see the other.
pub(crate) fn epoch_extensions(authority: &Authority, binding: EpochBinding) -> Vec<Extension> {
    let mut extensions: Vec<_> =
        authority.name_constraints.clone().map(Extension::NameConstraints).into_iter().collect();
    if !authority.policies.is_empty() {
        extensions.push(Extension::CertificatePolicies(authority.policies.clone()));
    }
    extensions.push(Extension::EpochBinding(binding));
    extensions
}

fn ca_validity(
    profile: &CaProfile,
    request: &CaRequest<'_>,
    now: UnixTime,
    reasons: &mut Vec<Reason>,
) -> Option<Interval> {
    let (root, lifetime) = match request {
        CaRequest::Root => return Some(Interval { not_before: now, not_after: now.after(profile.lifetime) }),
        CaRequest::Intermediate { root, lifetime, .. } | CaRequest::MeshCa { root, lifetime, .. } => (root, lifetime),
    };
    let lifetime = lifetime.unwrap_or(profile.lifetime);
    reasons.extend(lifetime_objection(profile, lifetime));
    let own = Interval { not_before: now, not_after: now.after(lifetime) };
    if !root.validity.contains_moment(now) {
        let sentence = format!("the root is valid until {}, and it is {now}", root.validity.not_after);
        reasons.push(Reason::new(ReasonCode::LifetimeBeyondIssuer, "lifetime", sentence));
        return None;
    }
    Some(Interval { not_after: own.not_after.min(root.validity.not_after), ..own })
}

/// Why an epoch's CA certificates may not live that long, or so shortly.
#[must_use]
pub fn lifetime_objection(profile: &CaProfile, lifetime: Span) -> Option<Reason> {
    const FIELD: &str = "lifetime_seconds";
    if lifetime > profile.lifetime {
        let sentence = format!("a lifetime of {lifetime} is over that of the authority's epochs");
        let allowed = format!("at most {} ({} seconds)", profile.lifetime, profile.lifetime.secs());
        return Some(Reason::new(ReasonCode::LifetimeTooLong, FIELD, sentence).allowing(allowed));
    }
    if lifetime < EPOCH_LIFETIME_MIN {
        let sentence = format!("a lifetime of {lifetime} is too short for an epoch");
        let allowed = format!("at least {EPOCH_LIFETIME_MIN}");
        return Some(Reason::new(ReasonCode::FieldOutOfLimits, FIELD, sentence).allowing(allowed));
    }
    None
}

fn approve(
    policy: &Policy,
    authority: &Authority,
    profile: &CaProfile,
    request: &CaRequest<'_>,
    key: &PublicKey,
    validity: Interval,
    serial: Serial,
) -> Approved {
    let (stage, issuer, issuer_key, algorithm, path_len, binding) = match request {
        CaRequest::Root => (Stage::Root, &profile.subject, key, profile.algorithm, profile.path_length, None),
        CaRequest::Intermediate { root, epoch, .. } => {
            let stage = Stage::Intermediate { epoch: id(epoch) };
            (stage, &root.subject, &root.key, root.algorithm, 0, Some(*epoch))
        }
        CaRequest::MeshCa { epoch, .. } => {
            let stage = Stage::MeshCa { epoch: id(epoch) };
            (stage, &profile.subject, key, profile.algorithm, 0, Some(*epoch))
        }
    };
    let mut extensions = vec![
        Extension::CertificateAuthority { path_len },
        Extension::CertificateAndCrlSigning,
        Extension::SubjectKeyIdentifier(key.key_identifier()),
        Extension::AuthorityKeyIdentifier(match request {
            CaRequest::Root | CaRequest::MeshCa { .. } => issuer_key.key_identifier(),
            CaRequest::Intermediate { root, .. } => root.key_identifier,
        }),
    ];
    if let (CaRequest::Intermediate { .. }, Some(crl)) = (request, &authority.crl)
        && !crl.root_urls.is_empty()
    {
        extensions.push(Extension::CrlDistributionPoints(crl.root_urls.clone()));
    }
    if let Some(binding) = binding {
        extensions.extend(epoch_extensions(authority, binding));
    }
    let request_id = match stage.epoch() {
        None => stage.name().to_owned(),
        Some(epoch) => format!("{}-{}", stage.name(), epoch.generation),
    };
    let content = CertificateContent {
        serial,
        algorithm,
        issuer: issuer.clone(),
        validity,
        subject: profile.subject.clone(),
        key: key.clone(),
        extensions,
    };
    approved(policy, authority, content, issuer_key, (stage, request_id))
}

/// What a decision about a CA certificate has beside its content.
pub(crate) fn approved(
    policy: &Policy,
    authority: &Authority,
    content: CertificateContent,
    issuer: &PublicKey,
    stage: (Stage, String),
) -> Approved {
    let CertificateContent { serial, validity, key, subject, .. } = &content;
    let (conditions, facts) = beside(policy, authority, (key, subject), stage);
    let conditions = Conditions {
        issuer: issuer.digest(),
        numbering: Numbering::Serial { serial: *serial, scope: CrlScope::Complete },
        not_after: validity.not_after,
        ..conditions
    };
    let facts = Facts { request: key.spki().to_vec(), ..facts };
    let content = Content::Certificate(content);
    Approved { content, issuer: issuer.clone(), conditions, facts, instance_rate: None }
}

/// What a decision about a certification request has beside its content: the key signs for itself.
pub(crate) fn approved_request(
    policy: &Policy,
    authority: &Authority,
    content: RequestContent,
    stage: (Stage, String),
) -> Approved {
    let (conditions, facts) = beside(policy, authority, (&content.key, &content.subject), stage);
    let issuer = content.key.clone();
    Approved { content: Content::Request(content), issuer, conditions, facts, instance_rate: None }
}

/// Conditions and facts of what an authority's operators have signed, with this key and subject in it: signed by the key itself, and numbered by
/// nobody.
fn beside(
    policy: &Policy,
    authority: &Authority,
    (key, subject): (&PublicKey, &DistinguishedName),
    (stage, request_id): (Stage, String),
) -> (Conditions, Facts) {
    let conditions = Conditions {
        authority: authority.name.clone(),
        policy: policy.digest(),
        stage,
        request: RequestIdentity {
            authority: authority.name.clone(),
            caller: OPERATOR.to_owned(),
            id: request_id.clone(),
            content_sha256: sha256(&[request_id.as_bytes(), key.spki()].concat()),
        },
        issuer: key.digest(),
        numbering: Numbering::Unnumbered,
        not_after: UnixTime::LAST,
        limits: Limits::default(),
        validate_only: false,
        claims: Vec::new(),
        instance: None,
    };
    let facts = Facts {
        method: "Ceremony".to_owned(),
        authority: authority.name.clone(),
        caller: OPERATOR.to_owned(),
        profile: stage.name().to_owned(),
        request_id,
        names: vec![subject.to_string()],
        spki: Some(key.digest()),
        ..Facts::default()
    };
    (conditions, facts)
}

fn id(binding: &EpochBinding) -> EpochId {
    EpochId { generation: binding.generation, transition: binding.transition }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transitions_are_contrasts() {
        let digests = [b"manifest-A", b"manifest-B", b"manifest-A"].map(|manifest| sha256(manifest));
        let mut previous = [0; 32];
        let mut chain = Vec::new();
        for manifest in digests {
            previous = transition(&manifest, &previous);
            chain.push(crate::hex(&previous));
        }
        assert_eq!(
            chain,
            [
                "6b0e8483f2df31f24271c14d133669bf08000d3502c0e44078bf3aa8339e5c77",
                "a15846f8d950b98e970d034ab6054ad613d60846891e7c3ca3bda19dcef29194",
                "0a38a5fc4e052d16d5e296dc608c34a462c031b064fba47fbbfddbe9c7884f22",
            ]
        );
    }
}
