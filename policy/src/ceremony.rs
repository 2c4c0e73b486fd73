//! Deciding what a root signs in a ceremony for somebody else: the intermediate CA certificate of an epoch whose key is on another
//! device, and the cross-certificate of another root.
//!
//! An intermediate says what [`decide_ca`] would have had signed, byte for byte, so that the signer of the epoch takes it.

use rasn::types::SetOf;
use rasn_pkix::Extensions;

use crate::{
    approved::{Approved, Decision, EpochId, Stage},
    authority::{CaRequest, Root, approved, check_kind, decide_ca},
    certification_request::decide_request,
    content::{CertificateContent, Content, EPOCH_BINDING_ARCS, EpochBinding, Extension, Serial},
    csr::{self, CertificationRequestInfo, Csr, EXTENSION_REQUEST},
    decide::check_weak_key,
    endorse::{TBS_BYTES_MAX, read, request_difference},
    key::{PublicKey, arcs, sha256},
    profile::Policy,
    readback,
    reason::{Reason, ReasonCode},
    time::{Interval, Span, UnixTime},
};

/// Reads the certification request for the key of an epoch, DER or PEM, as a signer of this policy makes it. The signature in it is
/// verified, and it must ask for what this policy would put into the certificate, and for nothing else.
///
/// # Errors
/// Every reason why it is none.
pub fn read_certification_request(
    policy: &Policy,
    authority: &str,
    request: &[u8],
) -> Result<(EpochBinding, PublicKey), Vec<Reason>> {
    let malformed = |sentence: &str| vec![Reason::new(ReasonCode::CsrMalformed, "csr", sentence)];
    let csr = Csr::parse_of_a_signer(request)?;
    csr.check_signature().map_err(|reason| vec![reason])?;
    let info = csr.to_be_signed();
    let Some(binding) = binding(info) else {
        return Err(malformed("the request names no epoch: it is not one that a signer made for its own key"));
    };
    let approved = match decide_request(policy, authority, binding, &csr.key) {
        Decision::Approve(approved) => approved,
        Decision::Refuse(reasons) => return Err(reasons),
    };
    let Content::Request(content) = approved.content() else { return Err(malformed("it is no request")) };
    match request_difference(content, info) {
        None => Ok((binding, csr.key)),
        Some(field) => Err(malformed(&format!("it differs in {field} from what this policy would ask for"))),
    }
}

/// The epoch that a CertificationRequestInfo names, if its extension reads and is the one encoding of what it says.
fn binding(info: &[u8]) -> Option<EpochBinding> {
    let info: CertificationRequestInfo = read(info, csr::CSR_BYTES_MAX).ok()?;
    let attributes: &SetOf<_> = &info.attributes;
    let attribute = attributes.to_vec().into_iter().find(|attribute| arcs(&attribute.r#type) == EXTENSION_REQUEST)?;
    let value = attribute.values.to_vec().into_iter().next()?;
    let extensions: Extensions = read(value.as_bytes(), TBS_BYTES_MAX).ok()?;
    let found = extensions.iter().find(|extension| arcs(&extension.extn_id) == EPOCH_BINDING_ARCS)?;
    readback::epoch_binding(&found.extn_value)
}

/// Decides about the intermediate CA certificate of an epoch whose signer is elsewhere. Unlike [`decide_ca`] it is never cut short by
/// the root's end: whoever reviewed a lifetime gets it, or a refusal.
#[must_use]
pub fn decide_offline_intermediate(
    policy: &Policy,
    authority: &str,
    root: &Root,
    (epoch, lifetime): (EpochBinding, Option<Span>),
    key: &PublicKey,
    now: UnixTime,
    serial: Serial,
) -> Decision {
    let request = CaRequest::Intermediate { root, epoch, lifetime };
    let approved = match decide_ca(policy, authority, &request, key, now, serial) {
        Decision::Approve(approved) => approved,
        refused @ Decision::Refuse(_) => return refused,
    };
    let wanted = policy.authority(authority).map(|authority| lifetime.unwrap_or(authority.epoch.lifetime));
    let end = approved.certificate().map(|content| content.validity.not_after);
    if end != wanted.map(|lifetime| now.after(lifetime)) {
        return too_short(root);
    }
    let stage =
        Stage::OfflineIntermediate { epoch: EpochId { generation: epoch.generation, transition: epoch.transition } };
    let id = format!("{}-{}-{}", stage.name(), epoch.generation, crate::hex(&key.key_identifier()));
    Decision::Approve(Box::new(renamed(*approved, stage, id)))
}

/// Decides about a certificate by which `root` vouches for the key of another root, `subject`, which keeps its name.
#[must_use]
pub fn decide_cross_certificate(
    policy: &Policy,
    authority: &str,
    root: &Root,
    (subject, lifetime): (&Root, Span),
    now: UnixTime,
    serial: Serial,
) -> Decision {
    let Some(issuing) = policy.authority(authority) else {
        let sentence = format!("the policy has no authority `{authority}`");
        return Decision::Refuse(vec![Reason::new(ReasonCode::AuthorityUnknown, "authority", sentence)]);
    };
    let mut reasons = Vec::new();
    check_kind(&issuing.root, &root.key, &mut reasons);
    check_weak_key(policy, &subject.key, &mut reasons);
    let mut unfit = |sentence: &str| reasons.push(Reason::new(ReasonCode::CertificateUnfit, "subject", sentence));
    if subject.key.digest() == root.key.digest() {
        unfit("the other root has the issuer's own key");
    }
    if subject.subject == root.subject {
        unfit("the other root has the issuer's own name");
    }
    if issuing.root.path_length < CROSS_PATH_LEN + 1 {
        let sentence = "the issuer's path length leaves no room for another root above its intermediates";
        let reason = Reason::new(ReasonCode::CertificateUnfit, "issuer", sentence);
        reasons.push(reason.allowing("`path-length = 2` in the root of the policy, before that root is made"));
    }
    if !root.validity.contains_moment(now) || root.validity.not_after < now.after(lifetime) {
        return too_short(root);
    }
    if subject.validity.not_after < now.after(lifetime) {
        let sentence =
            format!("the other root ends at {}, before the cross-certificate would", subject.validity.not_after);
        reasons.push(Reason::new(ReasonCode::LifetimeBeyondIssuer, "lifetime", sentence));
    }
    if !reasons.is_empty() {
        return Decision::Refuse(reasons);
    }
    let validity = Interval { not_before: now, not_after: now.after(lifetime) };
    let extensions = vec![
        Extension::CertificateAuthority { path_len: CROSS_PATH_LEN },
        Extension::CertificateAndCrlSigning,
        Extension::SubjectKeyIdentifier(subject.key_identifier),
        Extension::AuthorityKeyIdentifier(root.key_identifier),
    ];
    let id = format!("{}-{}-{}", Stage::Cross.name(), now.secs(), crate::hex(&subject.key.key_identifier()));
    let content = CertificateContent {
        serial,
        algorithm: root.algorithm,
        issuer: root.subject.clone(),
        validity,
        subject: subject.subject.clone(),
        key: subject.key.clone(),
        extensions,
    };
    Decision::Approve(Box::new(approved(policy, issuing, content, &root.key, (Stage::Cross, id))))
}

/// pathLenConstraint of a cross-certificate: room for the intermediates of the other root.
const CROSS_PATH_LEN: u8 = 1;

fn too_short(root: &Root) -> Decision {
    let sentence = format!(
        "the root is valid from {} to {}, which is too short",
        root.validity.not_before, root.validity.not_after
    );
    let reason = Reason::new(ReasonCode::LifetimeBeyondIssuer, "lifetime", sentence);
    Decision::Refuse(vec![reason.allowing("a shorter `lifetime` in the ceremony's file")])
}

/// Another stage, and the request id that belongs to it.
fn renamed(mut approved: Approved, stage: Stage, id: String) -> Approved {
    let spki = approved.certificate().map(|content| content.key.spki().to_vec()).unwrap_or_default();
    approved.conditions.stage = stage;
    approved.conditions.request.content_sha256 = sha256(&[id.as_bytes(), &spki].concat());
    approved.conditions.request.id.clone_from(&id);
    approved.facts.profile = stage.name().to_owned();
    approved.facts.request_id = id;
    approved
}
