//! What the signer refuses: each with every reason, without touching a key, and with one entry.

use bytes::Bytes;
use hallmark_proto::signer::{
    Claim, InstanceIntent, InstanceRegister, MintCertificateRequest, SubjectAltName, instance_intent::Intent,
    mint_certificate_request::Subject, subject_alt_name::Name,
};
use hallmark_tests::{
    Where, World,
    asking::{self, Asked, Refused, athenz, caller_certificate},
    tools::run,
};
use prost::Message;

/// One bad request, and what is said about it.
struct Case {
    what: &'static str,
    request: MintCertificateRequest,
    code: i32,
    reasons: &'static [&'static str],
}

const INVALID_ARGUMENT: i32 = 3;
const DEADLINE_EXCEEDED: i32 = 4;
const PERMISSION_DENIED: i32 = 7;
const FAILED_PRECONDITION: i32 = 9;

fn asking_for(change: impl FnOnce(&mut Asked)) -> MintCertificateRequest {
    let mut asked = Asked::sports_api();
    change(&mut asked);
    asked.request()
}

fn requesting(change: impl FnOnce(&mut MintCertificateRequest)) -> MintCertificateRequest {
    let mut request = Asked::sports_api().request();
    change(&mut request);
    request
}

/// A CSR with one byte of its signature changed.
fn wrongly_signed() -> Vec<u8> {
    let mut csr = Asked::sports_api().csr();
    *csr.last_mut().unwrap() ^= 1;
    csr
}

/// A CSR that openssl made.
fn openssl_csr(world: &World, arguments: &[&str]) -> Vec<u8> {
    let out = world.path("openssl.csr").to_str().unwrap().to_owned();
    let key = world.path("openssl.key").to_str().unwrap().to_owned();
    let fixed = ["req", "-new", "-nodes", "-outform", "DER", "-out", &out, "-keyout", &key];
    run("openssl", &[&fixed[..], arguments].concat());
    std::fs::read(world.path("openssl.csr")).unwrap()
}

fn cases(world: &World) -> Vec<Case> {
    let case = |what, request, code, reasons| Case { what, request, code, reasons };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let spki = || {
        use rcgen::PublicKeyData as _;
        Subject::Spki(rcgen::KeyPair::generate().unwrap().subject_public_key_info().into())
    };
    let good_san = "subjectAltName=DNS:api.sports.lab.athenz.cloud";
    let csr_pem = || hallmark_tests::tools::pem("CERTIFICATE REQUEST", &Asked::sports_api().csr());
    vec![
        case("no CSR and no SPKI", requesting(|r| r.subject = None), INVALID_ARGUMENT, &["FIELD_MISSING"]),
        case("an empty CSR", athenz(Vec::new()), INVALID_ARGUMENT, &["CSR_MALFORMED"]),
        case("garbage for a CSR", athenz(b"garbage".to_vec()), INVALID_ARGUMENT, &["CSR_MALFORMED"]),
        case("a CSR over 64 KiB", athenz(vec![0x30; 70_000]), INVALID_ARGUMENT, &["FIELD_OUT_OF_LIMITS"]),
        case(
            "a CSR with a byte behind it",
            athenz([Asked::sports_api().csr(), vec![0]].concat()),
            INVALID_ARGUMENT,
            &["CSR_MALFORMED"],
        ),
        case(
            "two PEM blocks",
            athenz([csr_pem(), csr_pem()].concat().into_bytes()),
            INVALID_ARGUMENT,
            &["CSR_MALFORMED"],
        ),
        case(
            "a PEM block of another label",
            athenz(hallmark_tests::tools::pem("CERTIFICATE", &Asked::sports_api().csr()).into_bytes()),
            INVALID_ARGUMENT,
            &["CSR_MALFORMED"],
        ),
        case("a wrong self-signature", athenz(wrongly_signed()), INVALID_ARGUMENT, &["CSR_SIGNATURE_WRONG"]),
        case(
            "an RSA key of 1024 bits",
            athenz(openssl_csr(world, &["-newkey", "rsa:1024", "-subj", "/CN=sports.api", "-addext", good_san])),
            INVALID_ARGUMENT,
            &["KEY_MALFORMED"],
        ),
        case(
            "a key on a curve that nobody allows",
            athenz(openssl_csr(
                world,
                &[
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:secp256k1",
                    "-subj",
                    "/CN=sports.api",
                    "-addext",
                    good_san,
                ],
            )),
            INVALID_ARGUMENT,
            &["KEY_MALFORMED"],
        ),
        case(
            "a curve given by its parameters",
            athenz(openssl_csr(
                world,
                &[
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:prime256v1",
                    "-pkeyopt",
                    "ec_param_enc:explicit",
                    "-subj",
                    "/CN=sports.api",
                    "-addext",
                    good_san,
                ],
            )),
            INVALID_ARGUMENT,
            &["KEY_MALFORMED"],
        ),
        case(
            "an IP address and an email address",
            athenz(openssl_csr(
                world,
                &[
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:prime256v1",
                    "-subj",
                    "/CN=sports.api",
                    "-addext",
                    "subjectAltName=DNS:api.sports.lab.athenz.cloud,IP:10.0.0.1,email:a@b.c",
                ],
            )),
            PERMISSION_DENIED,
            &["NAME_KIND_NOT_ALLOWED", "NAME_KIND_NOT_ALLOWED"],
        ),
        case(
            "a challenge password",
            athenz(openssl_csr_with_challenge(world)),
            PERMISSION_DENIED,
            &["ATTRIBUTE_NOT_ALLOWED"],
        ),
        case(
            "an extension that no rule names",
            asking_for(|a| a.extensions = vec![(vec![1, 2, 3, 4], vec![5, 0])]),
            PERMISSION_DENIED,
            &["EXTENSION_NOT_ALLOWED"],
        ),
        case(
            "a CA that asks to be one",
            asking_for(|a| a.extensions = vec![(vec![2, 5, 29, 19], vec![0x30, 3, 1, 1, 0xff])]),
            PERMISSION_DENIED,
            &["EXTENSION_NOT_ALLOWED"],
        ),
        case(
            "the same name twice",
            asking_for(|a| a.dns = names(&["api.sports.lab.athenz.cloud", "api.sports.lab.athenz.cloud"])),
            INVALID_ARGUMENT,
            &["DUPLICATE", "NAME_TOO_MANY"],
        ),
        case(
            "a name outside the zone",
            asking_for(|a| a.dns = names(&["api.sports.example.com"])),
            PERMISSION_DENIED,
            &["NAME_OUTSIDE_FORMAT", "NAME_MISSING"],
        ),
        case(
            "a name that only ends like the zone",
            asking_for(|a| a.dns = names(&["api.sports.evil-lab.athenz.cloud"])),
            PERMISSION_DENIED,
            &["NAME_OUTSIDE_FORMAT", "NAME_MISSING"],
        ),
        case(
            "a dNSName of another service",
            asking_for(|a| a.dns = names(&["login.sports.lab.athenz.cloud"])),
            PERMISSION_DENIED,
            &["NAME_PARTS_DISAGREE", "NAME_MISSING"],
        ),
        case(
            "a SPIFFE id of another domain",
            asking_for(|a| a.uris = names(&["spiffe://news/sa/api"])),
            PERMISSION_DENIED,
            &["NAME_PARTS_DISAGREE"],
        ),
        case(
            "a common name without a domain",
            asking_for(|a| a.common_name = Some("api".to_owned())),
            PERMISSION_DENIED,
            &["NAME_OUTSIDE_FORMAT"],
        ),
        case("no common name", asking_for(|a| a.common_name = None), PERMISSION_DENIED, &["NAME_MISSING"]),
        case(
            "an organization in the subject",
            asking_for(|a| a.organization = Some("Evil".to_owned())),
            PERMISSION_DENIED,
            &["SUBJECT_NOT_ALLOWED"],
        ),
        case(
            "a wildcard",
            asking_for(|a| a.dns.push("*.sports.lab.athenz.cloud".to_owned())),
            INVALID_ARGUMENT,
            &["NAME_MALFORMED"],
        ),
        case(
            "an upper-case name",
            asking_for(|a| a.dns.push("API.sports.lab.athenz.cloud".to_owned())),
            INVALID_ARGUMENT,
            &["NAME_MALFORMED"],
        ),
        case(
            "a lifetime over the maximum",
            requesting(|r| r.lifetime_seconds = 31 * 86_400),
            PERMISSION_DENIED,
            &["LIFETIME_TOO_LONG"],
        ),
        case(
            "the longest lifetime that a number can say",
            requesting(|r| r.lifetime_seconds = u64::MAX),
            PERMISSION_DENIED,
            &["LIFETIME_TOO_LONG"],
        ),
        case(
            "a lifetime of a second",
            requesting(|r| r.lifetime_seconds = 1),
            INVALID_ARGUMENT,
            &["FIELD_OUT_OF_LIMITS"],
        ),
        case(
            "an unknown profile",
            requesting(|r| r.profile = "root".to_owned()),
            PERMISSION_DENIED,
            &["PROFILE_UNKNOWN", "PROFILE_NOT_ALLOWED"],
        ),
        case("an unknown authority", requesting(|r| r.authority = "other".to_owned()), 5, &["AUTHORITY_UNKNOWN"]),
        case(
            "a bare key where a CSR is wanted",
            requesting(|r| {
                r.subject = Some(spki());
                r.common_name = "sports.api".to_owned();
                r.subject_alt_names =
                    vec![SubjectAltName { name: Some(Name::Dns("api.sports.lab.athenz.cloud".to_owned())) }];
            }),
            PERMISSION_DENIED,
            &["POSSESSION_NOT_PROVEN"],
        ),
        case(
            "names beside a CSR",
            requesting(|r| r.common_name = "sports.api".to_owned()),
            INVALID_ARGUMENT,
            &["FIELDS_CONFLICT"],
        ),
        case(
            "a request id with a newline",
            requesting(|r| r.request_id = "a\nb".to_owned()),
            INVALID_ARGUMENT,
            &["FIELD_OUT_OF_LIMITS"],
        ),
        case(
            "a transition of the wrong length",
            requesting(|r| r.transition = Bytes::from_static(&[1; 31])),
            INVALID_ARGUMENT,
            &["FIELD_OUT_OF_LIMITS"],
        ),
        case(
            "another transition than the active one",
            requesting(|r| r.transition = Bytes::from_static(&[1; 32])),
            FAILED_PRECONDITION,
            &["TRANSITION_STALE"],
        ),
        case(
            "a registration, where the profile keeps no instances",
            requesting(|r| {
                r.instance = Some(InstanceIntent { intent: Some(Intent::Register(InstanceRegister {})) });
            }),
            PERMISSION_DENIED,
            &["INSTANCE_INTENT_NOT_ALLOWED"],
        ),
        case(
            "a policy hash, where names do not come from a manifest",
            requesting(|r| r.policy_hash = Bytes::from_static(&[0; 32])),
            PERMISSION_DENIED,
            &["POLICY_HASH_NOT_ALLOWED"],
        ),
        case(
            "a policy hash of the wrong length",
            requesting(|r| r.policy_hash = Bytes::from_static(&[0; 31])),
            INVALID_ARGUMENT,
            &["FIELD_OUT_OF_LIMITS"],
        ),
        case(
            "a claim that is none",
            requesting(|r| r.claims = vec![Claim::default()]),
            INVALID_ARGUMENT,
            &["CLAIM_MALFORMED"],
        ),
        case(
            "a claim where the profile takes none",
            requesting(|r| {
                r.claims = vec![Claim { oid: "1.3.9901.2.1".to_owned(), value: Bytes::from_static(&[2, 1, 5]) }];
            }),
            PERMISSION_DENIED,
            &["CLAIM_NOT_ALLOWED"],
        ),
        case(
            "many things at once: all of them are said",
            requesting(|r| {
                let asked = Asked {
                    common_name: Some("sports.api".to_owned()),
                    dns: names(&["api.news.lab.athenz.cloud"]),
                    extensions: vec![(vec![1, 2, 3, 4], vec![5, 0])],
                    ..Asked::default()
                };
                let mut csr = asked.csr();
                *csr.last_mut().unwrap() ^= 1;
                r.subject = Some(Subject::Csr(csr.into()));
                r.lifetime_seconds = 99 * 86_400;
                r.transition = Bytes::from_static(&[1; 32]);
            }),
            INVALID_ARGUMENT,
            &[
                "CSR_SIGNATURE_WRONG",
                "EXTENSION_NOT_ALLOWED",
                "NAME_PARTS_DISAGREE",
                "NAME_MISSING",
                "TRANSITION_STALE",
                "LIFETIME_TOO_LONG",
            ],
        ),
    ]
}

fn openssl_csr_with_challenge(world: &World) -> Vec<u8> {
    let text = "[req]\ndistinguished_name=dn\nattributes=attributes\nreq_extensions=extensions\nprompt=no\n\
                [dn]\nCN=sports.api\n[attributes]\nchallengePassword=challenge\n\
                [extensions]\nsubjectAltName=DNS:api.sports.lab.athenz.cloud\n";
    world.write("challenge.cnf", text);
    let config = world.path("challenge.cnf").to_str().unwrap().to_owned();
    openssl_csr(world, &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-config", &config])
}

#[tokio::test]
async fn bad_requests_are_refused_with_every_reason_touch_no_key_and_leave_one_entry_each() {
    let mut world = World::new(Where::SoftHsm).await;
    let before = world.key_uses();
    let cases = cases(&world);
    let mut refusals = Vec::new();
    for case in &cases {
        let refused = world.mint(case.request.clone()).await.expect_err(case.what);
        assert_eq!(refused.reasons, case.reasons, "{}: {}", case.what, refused.message);
        assert_eq!(refused.code, case.code, "{}: {}", case.what, refused.message);
        refusals.push(refused);
    }
    assert_eq!(world.key_uses(), before, "no key was touched");
    let log = world.log_after_stop().await;
    assert_eq!(log.decisions("refused").len(), cases.len());
    for (case, refused) in cases.iter().zip(refusals) {
        let logged = refused.logged.unwrap_or_else(|| panic!("{}: no place in the log", case.what));
        log.proves_refusal(&logged);
        let entry = &log.entries[usize::try_from(logged.log_index).unwrap()];
        let codes: Vec<_> =
            entry["reasons"].as_array().unwrap().iter().map(|reason| reason["code"].as_str().unwrap()).collect();
        assert_eq!(codes, case.reasons, "{}", case.what);
        assert_eq!(entry["caller"], "coordinator", "{}", case.what);
    }
}

async fn refused_as(world: &World, caller: &Bytes) -> Refused {
    world.mint_as(caller, Asked::sports_api().request()).await.unwrap_err()
}

#[tokio::test]
async fn a_caller_whom_the_policy_does_not_know_is_refused_and_logged() {
    let mut world = World::new(Where::Software).await;
    let refused = refused_as(&world, &caller_certificate("spiffe://hallmark.lab/stranger")).await;
    assert_eq!((refused.code, refused.reasons), (PERMISSION_DENIED, vec!["CALLER_UNKNOWN".to_owned()]));
    let log = world.log_after_stop().await;
    let entry = log.decisions("refused")[0];
    assert_eq!(entry["caller-identities"], serde_json::json!(["uri:spiffe://hallmark.lab/stranger"]));
}

#[tokio::test]
async fn a_caller_without_the_right_to_the_method_is_refused() {
    let world = World::new(Where::Software).await;
    let viewer = caller_certificate("spiffe://hallmark.lab/viewer");
    assert_eq!(refused_as(&world, &viewer).await.reasons, ["METHOD_NOT_ALLOWED"]);
}

#[tokio::test]
async fn the_common_name_of_a_caller_is_not_its_identity() {
    let world = World::new(Where::Software).await;
    let nobody = asking::caller_certificate_of(Vec::new());
    assert_eq!(refused_as(&world, &nobody).await.reasons, ["CALLER_UNKNOWN"]);
}

#[tokio::test]
async fn a_caller_whose_certificate_is_over_is_refused() {
    let world = World::new(Where::Software).await;
    world.clocks().leap(80_000_000_000);
    let refused = refused_as(&world, world.caller()).await;
    assert_eq!(refused.reasons, ["CALLER_EXPIRED"]);
}

#[tokio::test]
async fn no_profile_mints_the_name_of_a_caller() {
    let policy = hallmark_tests::example_policy()
        + "\n[caller.workload]\ndns = \"cart.shop.mesh.internal\"\nmethods = [\"GetChain\"]\n";
    let world = World::with_policy(Where::Software, &policy).await;
    use rcgen::PublicKeyData as _;
    let spki = rcgen::KeyPair::generate().unwrap().subject_public_key_info();
    let request = MintCertificateRequest {
        profile: "mesh".to_owned(),
        request_id: asking::request_id(),
        subject: Some(Subject::Spki(spki.into())),
        subject_alt_names: vec![SubjectAltName { name: Some(Name::Dns("cart.shop.mesh.internal".to_owned())) }],
        ..MintCertificateRequest::default()
    };
    assert_eq!(world.mint(request).await.unwrap_err().reasons, ["NAME_OF_CALLER"]);
}

#[tokio::test]
async fn a_request_whose_deadline_has_passed_touches_no_key() {
    let mut world = World::new(Where::SoftHsm).await;
    let before = world.key_uses();
    let body = Asked::sports_api().request().encode_to_vec();
    let reply = world.unary("MintCertificate", &world.caller().clone(), body, 0).await;
    assert_eq!(reply.code, DEADLINE_EXCEEDED);
    assert_eq!(world.key_uses(), before);
    let log = world.log_after_stop().await;
    let aggregate = log.of_type("aggregate").next().unwrap();
    assert_eq!((&aggregate["reason"], &aggregate["count"]), (&"DEADLINE_PASSED".into(), &1.into()));
}

#[tokio::test]
async fn calls_that_the_front_turned_away_are_one_entry_a_minute() {
    let mut world = World::new(Where::Software).await;
    for _ in 0..5 {
        world.turned_away("MintCertificate", "MESSAGE_TOO_LARGE").await;
    }
    let log = world.log_after_stop().await;
    let aggregates: Vec<_> = log.of_type("aggregate").collect();
    assert_eq!(aggregates.len(), 1);
    assert_eq!((&aggregates[0]["caller"], &aggregates[0]["count"]), (&"coordinator".into(), &5.into()));
}

#[tokio::test]
async fn a_message_that_does_not_decode_is_refused_and_logged() {
    let mut world = World::new(Where::Software).await;
    for method in ["MintCertificate", "GetChain"] {
        let reply = world.unary(method, &world.caller().clone(), vec![0xff; 40], 1_000_000_000).await;
        assert_eq!(reply.code, INVALID_ARGUMENT);
    }
    assert_eq!(world.log_after_stop().await.decisions("refused").len(), 2);
}

#[tokio::test]
async fn frames_that_no_front_would_send_are_answered_without_a_panic() {
    let world = World::new(Where::Software).await;
    for frame in [Bytes::new(), Bytes::from_static(b"\xff\xff"), Bytes::from_static(b"\x0a\x00")] {
        let reply = world.core().call(frame).await;
        assert!(!reply.is_empty());
    }
}
