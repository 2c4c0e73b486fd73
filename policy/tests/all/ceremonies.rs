//! What a root may sign in a ceremony for somebody else, and which certification requests are read.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends by panicking")]

use std::sync::LazyLock;

use hallmark_policy::{
    Decision, EpochId, Numbering, Policy, Stage,
    authority::{CaRequest, Root, decide_ca},
    ceremony::{decide_cross_certificate, decide_offline_intermediate, read_certification_request},
    certification_request::RequestContent,
    content::{Content, EpochBinding, Extension, Serial},
    crl::CrlScope,
    decide_possession, decide_request,
    key::{PublicKey, SignatureAlgorithm},
    offline::leaves_room_for,
    time::{Interval, Span, UnixTime},
};
use rcgen::{PublicKeyData as _, SigningKey as _};

use crate::der;

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    Policy::parse(
        "version = 1\n[authority.a]\n\
         root = { common-name = \"Root\", lifetime = \"3650d\", key = \"ecdsa-p256\", offline = true }\n\
         epoch = { common-name = \"CA\", lifetime = \"30d\", key = \"ecdsa-p256\" }\n\
         [authority.b]\n\
         root = { common-name = \"Old\", lifetime = \"3650d\", key = \"ecdsa-p256\", path-length = 2 }\n\
         epoch = { common-name = \"Old CA\", lifetime = \"30d\", key = \"ecdsa-p256\" }\n",
    )
    .unwrap_or_else(|error| panic!("{error}"))
});
static EPOCH_KEY: LazyLock<rcgen::KeyPair> = LazyLock::new(|| rcgen::KeyPair::generate().unwrap());
static OTHER_KEY: LazyLock<rcgen::KeyPair> = LazyLock::new(|| rcgen::KeyPair::generate().unwrap());

const EPOCH: EpochBinding = EpochBinding { generation: 4, manifest: [1; 32], transition: [2; 32] };

fn public(key: &rcgen::KeyPair) -> PublicKey {
    PublicKey::parse(&key.subject_public_key_info()).unwrap()
}

fn now() -> UnixTime {
    UnixTime::parse("2026-07-01T00:00:00Z").unwrap()
}

fn serial() -> Serial {
    Serial::from_random([1; 16])
}

fn root(authority: &str, key: &PublicKey, days: u32) -> Root {
    let profile = &POLICY.authority(authority).unwrap().root;
    Root {
        subject: profile.subject.clone(),
        key: key.clone(),
        algorithm: profile.algorithm,
        validity: Interval { not_before: now(), not_after: now().after(Span::from_days(days)) },
        key_identifier: key.key_identifier(),
    }
}

fn refused(decision: Decision) -> Vec<String> {
    match decision {
        Decision::Approve(approved) => panic!("{approved:?}"),
        Decision::Refuse(reasons) => reasons.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn an_intermediate_for_another_signer_says_what_a_signer_of_its_own_would_sign() {
    let (root_key, epoch_key) = (public(&OTHER_KEY), public(&EPOCH_KEY));
    let root = root("a", &root_key, 3_650);
    let lifetime = Some(Span::from_days(20));
    let decision = decide_offline_intermediate(&POLICY, "a", &root, (EPOCH, lifetime), &epoch_key, now(), serial());
    let Decision::Approve(approved) = decision else { panic!("{decision:?}") };
    let own = CaRequest::Intermediate { root: &root, epoch: EPOCH, lifetime };
    let Decision::Approve(wanted) = decide_ca(&POLICY, "a", &own, &epoch_key, now(), serial()) else { panic!() };
    assert_eq!(approved.content(), wanted.content());
    let epoch = EpochId { generation: 4, transition: [2; 32] };
    assert_eq!(approved.conditions().stage, Stage::OfflineIntermediate { epoch });
    assert_ne!(approved.conditions().request, wanted.conditions().request);
    assert_eq!(approved.facts().request_id, approved.conditions().request.id);
}

#[test]
fn a_lifetime_that_was_reviewed_is_never_cut_short() {
    let (root_key, epoch_key) = (public(&OTHER_KEY), public(&EPOCH_KEY));
    let decide = |days, lifetime| {
        let root = root("a", &root_key, days);
        decide_offline_intermediate(&POLICY, "a", &root, (EPOCH, lifetime), &epoch_key, now(), serial())
    };
    assert!(matches!(decide(30, None), Decision::Approve(_)));
    for (days, lifetime) in [(29, None), (10, Some(Span::from_days(11)))] {
        let said = refused(decide(days, lifetime));
        assert!(said[0].contains("which is too short"), "{said:?}");
    }
    let said = refused(decide(3_650, Some(Span::from_days(31))));
    assert!(said[0].contains("is over that of the authority's epochs"), "{said:?}");
}

#[test]
fn a_cross_certificate_keeps_name_and_key_of_the_other_root_and_leaves_it_room() {
    let (issuer_key, subject_key) = (public(&OTHER_KEY), public(&EPOCH_KEY));
    let (issuer, subject) = (root("b", &issuer_key, 3_650), root("a", &subject_key, 1_000));
    let days = Span::from_days;
    let decision = decide_cross_certificate(&POLICY, "b", &issuer, (&subject, days(700)), now(), serial());
    let Decision::Approve(approved) = decision else { panic!("{decision:?}") };
    let content = approved.certificate().unwrap();
    assert_eq!((&content.subject, &content.issuer), (&subject.subject, &issuer.subject));
    assert_eq!((&content.key, approved.issuer()), (&subject_key, &issuer_key));
    assert_eq!(content.extensions[0], Extension::CertificateAuthority { path_len: 1 });
    assert_eq!(content.validity.not_after, now().after(days(700)));
    let conditions = approved.conditions();
    let numbering = Numbering::Serial { serial: serial(), scope: CrlScope::Complete };
    assert_eq!((conditions.stage, conditions.numbering), (Stage::Cross, numbering));
    assert_eq!((conditions.issuer, conditions.not_after), (issuer_key.digest(), content.validity.not_after));
    let same_name = Root { subject: issuer.subject.clone(), ..subject.clone() };
    let same_key = Root { key: issuer_key.clone(), ..subject.clone() };
    for (authority, issuer, subject, lifetime, said) in [
        ("b", &issuer, &same_name, days(1), "the issuer's own name"),
        ("b", &issuer, &same_key, days(1), "the issuer's own key"),
        ("b", &issuer, &subject, days(1_001), "before the cross-certificate would"),
        ("b", &issuer, &subject, days(3_651), "which is too short"),
        ("a", &subject, &issuer, days(1), "leaves no room for another root"),
        ("c", &issuer, &subject, days(1), "the policy has no authority `c`"),
    ] {
        let told = refused(decide_cross_certificate(&POLICY, authority, issuer, (subject, lifetime), now(), serial()));
        assert!(told.iter().any(|reason| reason.contains(said)), "{said}: {told:?}");
    }
    let (short, as_short) = (root("b", &issuer_key, 1_000), root("a", &subject_key, 1_000));
    let to_the_end = decide_cross_certificate(&POLICY, "b", &short, (&as_short, days(1_000)), now(), serial());
    assert!(matches!(to_the_end, Decision::Approve(_)), "it may end with both roots: {to_the_end:?}");
    let late = now().after(days(4_000));
    let told = refused(decide_cross_certificate(&POLICY, "b", &issuer, (&subject, days(1)), late, serial()));
    assert!(told[0].contains("which is too short"), "{told:?}");
}

#[test]
fn a_key_that_comes_back_proves_itself_by_a_request_that_asks_for_nothing() {
    let key = public(&OTHER_KEY);
    let Decision::Approve(approved) = decide_possession(&POLICY, "b", &key, &mark(1)) else { panic!() };
    let Content::Request(content) = approved.content() else { panic!("{:?}", approved.content()) };
    let subject = POLICY.authority("b").unwrap().root.subject.clone();
    assert_eq!((&content.key, &content.subject), (&key, &subject));
    assert_eq!(content.algorithm, SignatureAlgorithm::EcdsaSha256);
    assert_eq!(content.extensions, [Extension::SubjectKeyIdentifier(key.key_identifier())]);
    let (conditions, facts) = (approved.conditions(), approved.facts());
    assert_eq!((conditions.stage, conditions.issuer), (Stage::Possession, key.digest()));
    assert_eq!((facts.method.as_str(), facts.authority.as_str()), ("Ceremony", "b"));
    assert_eq!((facts.caller.as_str(), facts.profile.as_str()), (conditions.request.caller.as_str(), "possession"));
    assert_eq!((&facts.request_id, facts.spki), (&conditions.request.id, Some(key.digest())));
    assert_eq!(facts.names, [subject.to_string()]);
    assert!(refused(decide_possession(&POLICY, "c", &key, &mark(1)))[0].contains("no authority `c`"));
}

#[test]
fn a_key_that_comes_back_signs_as_its_root_does_or_as_its_kind_does_and_never_where_it_is_denied() {
    let key = public(&OTHER_KEY);
    let policy = |kind: &str, signature: &str, denied: &str| {
        Policy::parse(&format!(
            "version = 1\n{denied}\n[authority.a]\n\
             root = {{ common-name = \"Root\", lifetime = \"3650d\", key = \"{kind}\"{signature} }}\n\
             epoch = {{ common-name = \"CA\", lifetime = \"30d\", key = \"ecdsa-p256\" }}\n"
        ))
        .unwrap()
    };
    let algorithm = |policy: &Policy, key: &PublicKey| match decide_possession(policy, "a", key, &mark(1)) {
        Decision::Approve(approved) => approved.content().algorithm(),
        Decision::Refuse(reasons) => panic!("{reasons:?}"),
    };
    let rsa = PublicKey::parse(&crate::weak_keys::rsa_generated(aws_lc_rs::rsa::KeySize::Rsa2048)).unwrap();
    let pss = policy("rsa-2048", ", signature = \"rsa-pss-sha256\"", "");
    assert_eq!(algorithm(&pss, &rsa), SignatureAlgorithm::RsaPssSha256, "as the root");
    assert_eq!(algorithm(&pss, &key), SignatureAlgorithm::EcdsaSha256, "as its kind");
    let denied = policy("ecdsa-p256", "", &format!("[keys]\ndenied = [\"{}\"]", key.digest()));
    assert!(refused(decide_possession(&denied, "a", &key, &mark(1)))[0].contains("is denied"));
}

/// The request of a signer, signed with its key.
fn request(change: impl Fn(&mut RequestContent), key: &rcgen::KeyPair) -> Vec<u8> {
    let Decision::Approve(approved) = decide_request(&POLICY, "a", EPOCH, &public(&EPOCH_KEY)) else { panic!() };
    let Content::Request(content) = approved.content() else { panic!() };
    let mut content = content.clone();
    change(&mut content);
    let info = der::sequence(&der::request_fields(&content));
    let signature = [vec![0], key.sign(&info).unwrap()].concat();
    der::sequence(&[info, der::algorithm(SignatureAlgorithm::EcdsaSha256), der::tlv(3, &signature)])
}

#[test]
fn only_what_this_policy_would_ask_for_is_read_from_a_request() {
    let read = |request: &[u8]| read_certification_request(&POLICY, "a", request);
    let good = request(|_| {}, &EPOCH_KEY);
    assert_eq!(read(&good).unwrap(), (EPOCH, public(&EPOCH_KEY)));
    let text = pem_rfc7468::encode_string("CERTIFICATE REQUEST", pem_rfc7468::LineEnding::LF, &good).unwrap();
    assert_eq!(read(text.trim().as_bytes()).unwrap().0, EPOCH);
    let binding = |content: &mut RequestContent| {
        content.extensions.retain(|extension| !matches!(extension, Extension::EpochBinding(_)));
    };
    for (request, said) in [
        (
            request(|content| content.subject = POLICY.authority("a").unwrap().root.subject.clone(), &EPOCH_KEY),
            "it differs in subject",
        ),
        (request(|content| content.extensions.push(Extension::DigitalSignature), &EPOCH_KEY), "it differs in"),
        (request(binding, &EPOCH_KEY), "the request names no epoch"),
        (request(|_| {}, &OTHER_KEY), "the CSR's signature does not verify"),
        ([good.as_slice(), &[0]].concat(), "it is no certification request in DER"),
        (Vec::new(), "it is no certification request in DER"),
    ] {
        let told: Vec<_> = read(&request).unwrap_err().iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|reason| reason.contains(said)), "{said}: {told:?}");
    }
    let told = read_certification_request(&POLICY, "c", &good).unwrap_err();
    assert!(told[0].to_string().contains("the policy has no authority `c`"));
}

#[test]
fn room_below_a_certificate_is_read_from_its_path_length() {
    let made = |authority: &str| {
        let decision = decide_ca(&POLICY, authority, &CaRequest::Root, &public(&OTHER_KEY), now(), serial());
        let Decision::Approve(approved) = decision else { panic!("{decision:?}") };
        let tbs = der::certificate(approved.certificate().unwrap());
        der::sequence(&[tbs, der::algorithm(SignatureAlgorithm::EcdsaSha256), der::tlv(3, &[0, 1])])
    };
    for (authority, below, room) in [("a", 1, true), ("a", 2, false), ("b", 2, true), ("b", 3, false)] {
        assert_eq!(leaves_room_for(&made(authority), below), room, "{authority} {below}");
    }
    assert!(!leaves_room_for(&[], 0) && !leaves_room_for(&[0x30, 0], 0));
}

/// What is drawn for one restoration.
fn mark(number: u8) -> Serial {
    Serial::from_random([number; 16])
}

#[test]
fn each_restoration_of_a_key_is_a_request_of_its_own_and_one_that_goes_on_is_the_same() {
    let key = public(&OTHER_KEY);
    let requested = |number| {
        let Decision::Approve(approved) = decide_possession(&POLICY, "a", &key, &mark(number)) else {
            panic!("refused")
        };
        approved.conditions().request.clone()
    };
    assert_ne!(requested(2).id, requested(1).id, "also in the same second");
    assert_eq!(requested(1), requested(1));
}
