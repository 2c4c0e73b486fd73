//! What every fuzz target stands on: one policy, one caller, one issuer, one moment.
//!
//! Nothing here is random, so that a crash comes back with its input. The certificates and keys are in `fixtures/`; no
//! private key is kept, since nothing is signed.

use std::sync::LazyLock;

use hallmark_issuance::draft;
use hallmark_policy::{
    Approved, Bounds, Caller, Decision, EpochId, Issuer, NameInput, Policy, Request, RequestInput, SubjectInput, Warrant,
    content::Serial,
    decide, endorse,
    key::{PublicKey, SignatureAlgorithm},
    name::DistinguishedName,
    time::{Interval, Span, UnixTime},
};

/// The example policy.
pub static POLICY: LazyLock<Policy> = LazyLock::new(|| parsed(include_str!("../../examples/policy.toml")));

/// A policy that takes every common name and every dNSName and URI, so that names get as far as the encoder.
pub static PERMISSIVE: LazyLock<Policy> = LazyLock::new(|| parsed(include_str!("../fixtures/permissive.toml")));

/// The policy's coordinator.
pub static COORDINATOR: LazyLock<Caller> =
    LazyLock::new(|| Caller::parse(include_bytes!("../fixtures/coordinator.der")).expect("the fixture is a caller"));

/// The issuer's public key, SubjectPublicKeyInfo.
pub static ISSUER_SPKI: &[u8] = include_bytes!("../fixtures/issuer.spki.der");

/// A subject's public key, SubjectPublicKeyInfo.
pub static SUBJECT_SPKI: &[u8] = include_bytes!("../fixtures/subject.spki.der");

static ISSUER: LazyLock<Issuer> = LazyLock::new(|| Issuer {
    authority: "athenz".to_owned(),
    epoch: EpochId { generation: 1, transition: [7; 32] },
    subject: DistinguishedName::common_name("Athenz Lab Issuing CA"),
    key: PublicKey::parse(ISSUER_SPKI).expect("the fixture is a key"),
    algorithm: SignatureAlgorithm::EcdsaSha256,
    validity: Interval { not_before: now(), not_after: now().after(Span::from_days(365)) },
    bounds: Bounds::default(),
    manifest: None,
});

/// The moment of every decision.
pub fn now() -> UnixTime {
    UnixTime::from_secs(1_795_400_000)
}

/// Asks a profile of authority `athenz`, as the coordinator.
pub fn request(profile: &str, subject: SubjectInput) -> RequestInput {
    RequestInput {
        authority: "athenz".to_owned(),
        profile: profile.to_owned(),
        request_id: "fuzz-1".to_owned(),
        subject,
        ..RequestInput::default()
    }
}

/// Reads and decides.
///
/// # Panics
/// If there is neither an approval nor a reason.
pub fn approved(policy: &Policy, input: RequestInput) -> Option<Approved> {
    let request = match Request::parse(COORDINATOR.clone(), input) {
        Ok(request) => request,
        Err(reasons) => {
            assert!(!reasons.is_empty(), "not read, and no reason why");
            return None;
        }
    };
    match decide(policy, &request, &ISSUER, now(), Serial::from_random([0xab; 16])) {
        Decision::Approve(approved) => Some(*approved),
        Decision::Refuse(reasons) => {
            assert!(!reasons.is_empty(), "refused, and no reason why");
            None
        }
    }
}

/// What is approved can be written, and is endorsed as written.
///
/// # Panics
/// If it cannot.
pub fn endorsed(approved: Approved) -> Warrant {
    let written = draft(&approved).expect("what was approved can be encoded").into_der();
    endorse(approved, written).expect("what was encoded says what was approved")
}

/// The approval that `tbs_readback` holds its input against.
///
/// # Panics
/// If the example policy no longer gives it.
pub fn fixed_approval() -> Approved {
    let subject = SubjectInput::Spki {
        spki: SUBJECT_SPKI.to_vec(),
        common_name: String::new(),
        names: vec![
            NameInput::Dns("cart.shop.mesh.internal".to_owned()),
            NameInput::Uri("spiffe://mesh.internal/ns/shop/sa/cart".to_owned()),
        ],
    };
    approved(&POLICY, request("mesh", subject)).expect("the example policy approves it")
}

/// The one draft of [`fixed_approval`] that may be endorsed.
///
/// # Panics
/// If it cannot be encoded.
pub fn true_draft() -> Vec<u8> {
    draft(&fixed_approval()).expect("it can be encoded").into_der()
}

fn parsed(text: &str) -> Policy {
    Policy::parse(text).expect("the policy is one")
}
