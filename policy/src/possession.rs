//! Deciding about the proof that a token has a private key: a certification request (RFC 2986) that asks for nothing.
//!
//! A key that comes back out of its wrapping is proven by a signature, and a CA key signs structures of X.509 and nothing else. So it signs what
//! X.509 has for that: a request, which is no certificate, no CRL, and asks for no certificate's extensions.

use crate::{
    approved::{Decision, Stage},
    authority::approved_request,
    certification_request::RequestContent,
    content::{Extension, Serial},
    decide::check_weak_key,
    key::{PublicKey, SignatureAlgorithm},
    profile::Policy,
    reason::{Reason, ReasonCode},
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
    Decision::Approve(Box::new(approved_request(policy, authority, content, (stage, id))))
}
