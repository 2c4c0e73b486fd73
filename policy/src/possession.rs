//! Deciding about the proof that a token has a private key: a certification request (RFC 2986) that asks for nothing.
//!
//! A key that comes back out of its wrapping is proven by a signature, and a CA key signs structures of X.509 and nothing else. So it signs what
//! X.509 has for that: a request, which is no certificate, no CRL, and asks for no certificate's extensions.

use crate::{
    approved::{Approved, Conditions, Decision, Facts, Numbering, RequestIdentity, Stage},
    authority::OPERATOR,
    certification_request::RequestContent,
    content::{Content, Extension, Serial},
    decide::check_weak_key,
    key::{PublicKey, SignatureAlgorithm, sha256},
    limits::Limits,
    profile::Policy,
    reason::{Reason, ReasonCode},
    time::UnixTime,
};

/// Decides about the request by which a key that was restored proves that it is the one of this public key.
///
/// `mark` was drawn for this restoration alone: a request with the mark of another would be answered with that one's signature, and prove nothing of
/// the token that has the key now.
#[must_use]
pub fn decide_possession(policy: &Policy, authority: &str, key: &PublicKey, mark: &Serial) -> Decision {
    let Some(authority) = policy.authority(authority) else {
        let sentence = format!("the policy has no authority `{authority}`");
        return Decision::Refuse(vec![Reason::new(ReasonCode::AuthorityUnknown, "authority", sentence)]);
    };
    let mut reasons = Vec::new();
    check_weak_key(policy, key, &mut reasons);
    if !reasons.is_empty() {
        return Decision::Refuse(reasons);
    }
    let root = &authority.root;
    let is_of_the_root = key.kind() == root.key;
    let algorithm = if is_of_the_root { root.algorithm } else { SignatureAlgorithm::default_for(key.kind()) };
    let stage = Stage::Possession;
    let id = format!("{}-{}", stage.name(), crate::hex(mark.as_bytes()));
    let content = RequestContent {
        algorithm,
        subject: root.subject.clone(),
        key: key.clone(),
        extensions: vec![Extension::SubjectKeyIdentifier(key.key_identifier())],
    };
    let conditions = Conditions {
        authority: authority.name.clone(),
        policy: policy.digest(),
        stage,
        request: RequestIdentity {
            authority: authority.name.clone(),
            caller: OPERATOR.to_owned(),
            id: id.clone(),
            content_sha256: sha256(&[id.as_bytes(), key.spki()].concat()),
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
        request_id: id,
        names: vec![root.subject.to_string()],
        spki: Some(key.digest()),
        ..Facts::default()
    };
    let content = Content::Request(content);
    Decision::Approve(Box::new(Approved { content, issuer: key.clone(), conditions, facts, instance_rate: None }))
}
