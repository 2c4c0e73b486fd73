//! Deciding about the certification request of an epoch's own key (RFC 2986): for a root that is not on this device.

use crate::{
    approved::{Decision, EpochId, Stage},
    authority::{approved_request, check_kind, epoch_extensions},
    content::{EpochBinding, Extension},
    decide::check_weak_key,
    key::{PublicKey, SignatureAlgorithm},
    name::DistinguishedName,
    profile::Policy,
    reason::{Reason, ReasonCode},
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
    Decision::Approve(Box::new(approved_request(policy, authority, content, (stage, request_id))))
}
