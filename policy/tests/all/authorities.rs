//! What CA certificates say, and which are not made.
#![expect(clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on ends by panicking")]

use hallmark_policy::{
    Approved, Decision, EpochId, ReasonCode, Stage,
    authority::{CaRequest, EPOCH_LIFETIME_MIN, Root, decide_ca, lifetime_objection, statement, statement_sha256},
    content::{EpochBinding, Extension, Serial},
    decide_request, hex,
    key::PublicKey,
    time::{Interval, Span, UnixTime},
};
use rcgen::PublicKeyData as _;

use crate::world::{EPOCH, WORLD, certificate, now};

fn decided(
    authority: &str,
    request: &CaRequest<'_>,
    key: &PublicKey,
    now: UnixTime,
) -> Result<Approved, Vec<ReasonCode>> {
    match decide_ca(&WORLD.policy, authority, request, key, now, Serial::from_random([5; 16])) {
        Decision::Approve(approved) => Ok(*approved),
        Decision::Refuse(reasons) => Err(reasons.into_iter().map(|reason| reason.code).collect()),
    }
}

/// The path length and the kinds of extensions, in their order.
fn extensions(approved: &Approved) -> Vec<String> {
    let kind = |extension: &Extension| match extension {
        Extension::CertificateAuthority { path_len } => format!("CA {path_len}"),
        Extension::CertificateAndCrlSigning => "usage".to_owned(),
        Extension::SubjectKeyIdentifier(identifier) => format!("key {}", hex(&identifier[..1])),
        Extension::AuthorityKeyIdentifier(identifier) => format!("issuer {}", hex(&identifier[..1])),
        Extension::NameConstraints(_) => "constraints".to_owned(),
        Extension::CertificatePolicies(policies) => format!("{} policies", policies.len()),
        Extension::CrlDistributionPoints(urls) => format!("crl {}", urls[0]),
        Extension::EpochBinding(binding) => format!("epoch {}", binding.generation),
        Extension::EndEntity
        | Extension::DigitalSignature
        | Extension::ExtendedKeyUsage { .. }
        | Extension::SubjectAltName { .. }
        | Extension::CaIssuers(_)
        | Extension::Claim(_) => panic!("no extension of a CA: {extension:?}"),
    };
    certificate(approved).extensions.iter().map(kind).collect()
}

#[test]
fn an_epoch_without_a_manifest_is_bound_to_a_statement_in_its_place() {
    assert_eq!(statement("athenz", 7), r#"{"authority":"athenz","generation":7}"#);
    // printf '{"authority":"athenz","generation":7}' | sha256sum
    let digest = "5604d78977ebe46e679313dbe67272afc9d2a7fcffb5f7e69172cc77edd86f29";
    assert_eq!(hex(&statement_sha256("athenz", 7)), digest);
}

#[test]
fn a_root_says_that_one_ca_may_stand_below_it() {
    let approved = decided("plain", &CaRequest::Root, &WORLD.issuer, now()).unwrap();
    let own = hex(&WORLD.issuer.key_identifier()[..1]);
    assert_eq!(extensions(&approved), ["CA 1", "usage", &format!("key {own}"), &format!("issuer {own}")]);
    let content = certificate(&approved);
    assert_eq!(
        (&content.subject, &content.issuer),
        (&content.issuer, &WORLD.policy.authority("plain").unwrap().root.subject)
    );
    assert_eq!(content.validity, Interval { not_before: now(), not_after: now().after(Span::from_days(36_500)) });
    assert_eq!((&content.key, approved.issuer()), (&WORLD.issuer, &WORLD.issuer));
    let conditions = approved.conditions();
    assert_eq!((conditions.stage, conditions.stage.name(), conditions.stage.epoch()), (Stage::Root, "root", None));
    assert_eq!((conditions.request.id.as_str(), conditions.request.caller.as_str()), ("root", "operator"));
    assert_eq!((conditions.issuer, conditions.not_after), (WORLD.issuer.digest(), content.validity.not_after));
    let facts = approved.facts();
    assert_eq!(
        (facts.method.as_str(), facts.authority.as_str(), facts.caller.as_str()),
        ("Ceremony", "plain", "operator")
    );
    assert_eq!((facts.profile.as_str(), facts.request_id.as_str()), ("root", "root"));
    assert_eq!(facts.names, ["C = CH, O = Hallmark, CN = Root"]);
    assert_eq!((facts.spki, facts.request.as_slice()), (Some(WORLD.issuer.digest()), WORLD.issuer.spki()));
}

#[test]
fn intermediate_and_mesh_ca_say_the_same_of_one_key_and_hang_on_different_ones() {
    let root = WORLD.root();
    let own = hex(&WORLD.issuer.key_identifier()[..1]);
    let epoch = EpochId { generation: 300, transition: [2; 32] };
    let intermediate = CaRequest::Intermediate { root: &root, epoch: EPOCH, lifetime: None };
    let approved = decided("plain", &intermediate, &WORLD.issuer, now()).unwrap();
    let of_root = "crl http://crl.test/root.crl";
    assert_eq!(
        extensions(&approved),
        ["CA 0", "usage", &format!("key {own}"), "issuer 09", of_root, "2 policies", "epoch 300"]
    );
    let content = certificate(&approved);
    assert_eq!((content.issuer, content.subject.to_string().as_str()), (root.subject.clone(), "O = Mesh, CN = CA"));
    assert_eq!((approved.issuer(), approved.conditions().issuer), (&root.key, root.key.digest()));
    assert_eq!(approved.conditions().stage, Stage::Intermediate { epoch });
    assert_eq!(
        (approved.conditions().request.id.as_str(), approved.facts().profile.as_str()),
        ("intermediate-300", "intermediate")
    );
    let mesh = CaRequest::MeshCa { root: &root, epoch: EPOCH, lifetime: None };
    let approved = decided("plain", &mesh, &WORLD.issuer, now()).unwrap();
    let issuer = format!("issuer {own}");
    assert_eq!(extensions(&approved), ["CA 0", "usage", &format!("key {own}"), &issuer, "2 policies", "epoch 300"]);
    let content = certificate(&approved);
    assert_eq!(content.issuer, content.subject);
    assert_eq!(approved.issuer(), &WORLD.issuer);
    assert_eq!((approved.conditions().stage, approved.conditions().stage.name()), (Stage::MeshCa { epoch }, "mesh-ca"));
    assert_eq!(approved.conditions().stage.epoch(), Some(epoch));
    let tight = decided("tight", &intermediate, &WORLD.issuer, now()).unwrap();
    assert_eq!(
        extensions(&tight)[4..],
        ["constraints", "1 policies", "epoch 300"],
        "without CRLs there is no place of one"
    );
    let open = decided("open", &mesh, &WORLD.issuer, now()).unwrap();
    assert_eq!(extensions(&open)[4..], ["constraints", "epoch 300"]);
}

#[test]
fn an_epoch_lives_as_long_as_the_policy_says_or_was_asked_and_never_longer_than_its_root() {
    let ends = |root_days: u32, lifetime: Option<Span>| {
        let root = WORLD.root();
        let validity = Interval { not_before: now(), not_after: now().after(Span::from_days(root_days)) };
        let root = Root { validity, ..root };
        let request = CaRequest::MeshCa { root: &root, epoch: EPOCH, lifetime };
        decided("plain", &request, &WORLD.issuer, now()).map(|approved| certificate(&approved).validity)
    };
    let until = |span: Span| Ok(Interval { not_before: now(), not_after: now().after(span) });
    let (day, second) = (Span::from_days(1), Span::from_secs(1));
    assert_eq!(ends(3650, None), until(Span::from_days(365)));
    assert_eq!(ends(3650, Some(day)), until(day));
    assert_eq!(ends(100, None), until(Span::from_days(100)), "its root ends earlier");
    assert_eq!(ends(3650, Some(Span::from_days(365))), until(Span::from_days(365)));
    assert_eq!(ends(3650, Some(EPOCH_LIFETIME_MIN)), until(EPOCH_LIFETIME_MIN));
    let long = Span::from_secs(Span::from_days(365).secs() + second.secs());
    assert_eq!(ends(3650, Some(long)), Err(vec![ReasonCode::LifetimeTooLong]));
    let short = Span::from_secs(EPOCH_LIFETIME_MIN.secs() - 1);
    assert_eq!(ends(3650, Some(short)), Err(vec![ReasonCode::FieldOutOfLimits]));
    let profile = &WORLD.policy.authority("plain").unwrap().epoch;
    assert_eq!(lifetime_objection(profile, day), None);
    assert_eq!(lifetime_objection(profile, long).unwrap().allowed.unwrap(), "at most 365d (31536000 seconds)");
    assert_eq!(lifetime_objection(profile, short).unwrap().allowed.unwrap(), "at least 1h");
}

#[test]
fn no_epoch_begins_before_its_root_or_after_its_end() {
    let root = WORLD.root();
    let request = CaRequest::Intermediate { root: &root, epoch: EPOCH, lifetime: None };
    let told = |now| decided("plain", &request, &WORLD.issuer, now).err().unwrap_or_default();
    let second = Span::from_secs(1);
    let last = root.validity.not_after;
    assert_eq!((told(root.validity.not_before), told(last)), (vec![], vec![]));
    assert_eq!(told(root.validity.not_before.before(second)), [ReasonCode::LifetimeBeyondIssuer]);
    assert_eq!(told(last.after(second)), [ReasonCode::LifetimeBeyondIssuer]);
}

#[test]
fn a_ca_key_is_of_the_kind_that_the_policy_wants_and_the_authority_one_that_it_has() {
    let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let other = PublicKey::parse(&other.subject_public_key_info()).unwrap();
    assert_eq!(decided("plain", &CaRequest::Root, &other, now()).unwrap_err(), [ReasonCode::KeyNotAllowed]);
    assert_eq!(decided("none", &CaRequest::Root, &WORLD.issuer, now()).unwrap_err(), [ReasonCode::AuthorityUnknown]);
    let Decision::Refuse(reasons) = decide_request(&WORLD.policy, "none", EPOCH, &WORLD.issuer) else {
        panic!("approved")
    };
    assert_eq!(reasons[0].code, ReasonCode::AuthorityUnknown);
}

#[test]
fn a_certification_request_says_who_asks_and_what_for() {
    let decide = |epoch: EpochBinding| match decide_request(&WORLD.policy, "plain", epoch, &WORLD.issuer) {
        Decision::Approve(approved) => approved,
        Decision::Refuse(reasons) => panic!("{reasons:?}"),
    };
    let approved = decide(EPOCH);
    let conditions = approved.conditions();
    assert_eq!((conditions.stage.name(), conditions.request.id.as_str()), ("request", "request-300"));
    assert_eq!((conditions.request.caller.as_str(), conditions.not_after), ("operator", UnixTime::LAST));
    let facts = approved.facts();
    assert_eq!(
        (facts.method.as_str(), facts.authority.as_str(), facts.caller.as_str()),
        ("Ceremony", "plain", "operator")
    );
    assert_eq!((facts.profile.as_str(), facts.request_id.as_str()), ("request", "request-300"));
    assert_eq!(
        (facts.names.as_slice(), facts.spki),
        (&["O = Mesh, CN = CA".to_owned()][..], Some(WORLD.issuer.digest()))
    );
    assert!(approved.certificate().is_none());
}
