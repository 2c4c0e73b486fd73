//! Deciding about the certification request of an epoch's own key (RFC 2986): for a root that is not on this device.

use crate::{
    approved::{Approved, Conditions, Decision, EpochId, Facts, Numbering, RequestIdentity, Stage},
    authority::{OPERATOR, check_kind, epoch_extensions},
    content::{Content, EpochBinding, Extension},
    decide::check_weak_key,
    key::{PublicKey, SignatureAlgorithm, sha256},
    limits::Limits,
    name::DistinguishedName,
    profile::Policy,
    reason::{Reason, ReasonCode},
    time::UnixTime,
};

/// Everything that a CertificationRequestInfo says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestContent {
    /// signatureAlgorithm of the request around it.
    pub algorithm: SignatureAlgorithm,
    /// subject.
    pub subject: DistinguishedName,
    /// subjectPKInfo.
    pub key: PublicKey,
    /// extensionRequest (RFC 2985, section 5.4.2), the only attribute: the extensions, in their order.
    pub extensions: Vec<Extension>,
}

/// Decides about the certification request for the key of an epoch: it asks for what the policy would put into the
/// intermediate CA certificate, but for what only the issuer can say.
#[must_use]
pub fn decide_request(policy: &Policy, authority: &str, epoch: EpochBinding, key: &PublicKey) -> Decision {
    let Some(authority) = policy.authority(authority) else {
        let sentence = format!("the policy has no authority `{authority}`");
        return Decision::Refuse(vec![Reason::new(ReasonCode::AuthorityUnknown, "authority", sentence)]);
    };
    let profile = &authority.epoch;
    let mut reasons = Vec::new();
    check_kind(profile, key, &mut reasons);
    check_weak_key(policy, key, &mut reasons);
    if !reasons.is_empty() {
        return Decision::Refuse(reasons);
    }
    let epoch_id = EpochId { generation: epoch.generation, transition: epoch.transition };
    let stage = Stage::Request { epoch: epoch_id };
    let request_id = format!("{}-{}", stage.name(), epoch.generation);
    let mut extensions = vec![
        Extension::CertificateAuthority { path_len: 0 },
        Extension::CertificateAndCrlSigning,
        Extension::SubjectKeyIdentifier(key.key_identifier()),
    ];
    extensions.extend(epoch_extensions(authority, epoch));
    let content =
        RequestContent { algorithm: profile.algorithm, subject: profile.subject.clone(), key: key.clone(), extensions };
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
        names: vec![profile.subject.to_string()],
        spki: Some(key.digest()),
        ..Facts::default()
    };
    let content = Content::Request(content);
    Decision::Approve(Box::new(Approved { content, issuer: key.clone(), conditions, facts, instance_rate: None }))
}
