//! How a request is read before anybody decides: its fields' limits, what names it, and what makes two the same.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends by panicking")]

use hallmark_policy::{
    ClaimInput, LABEL_BYTES_MAX, NameInput, REQUEST_ID_BYTES_MAX, Request, RequestInput, SubjectInput,
    claim::{CLAIM_BYTES_MAX, CLAIMS_MAX},
    hex,
    instance::IntentInput,
    key::SPKI_BYTES_MAX,
    name::NAMES_MAX,
};

use crate::world::WORLD;

fn input() -> RequestInput {
    RequestInput {
        authority: "a".to_owned(),
        profile: "p".to_owned(),
        request_id: "r-1".to_owned(),
        subject: spki(vec![dns("a.b")]),
        ..RequestInput::default()
    }
}

fn spki(names: Vec<NameInput>) -> SubjectInput {
    SubjectInput::Spki { spki: WORLD.subject.spki().to_vec(), common_name: "cn".to_owned(), names }
}

fn dns(text: &str) -> NameInput {
    NameInput::Dns(text.to_owned())
}

fn parse(input: RequestInput) -> Request {
    Request::parse(WORLD.caller.clone(), input).unwrap()
}

/// Code and field of every reason.
fn told(input: RequestInput) -> Vec<(&'static str, &'static str)> {
    let reasons = Request::parse(WORLD.caller.clone(), input).err().unwrap_or_default();
    reasons.iter().map(|reason| (reason.code.as_str(), reason.field)).collect()
}

#[test]
fn every_field_has_its_limits() {
    let text = |bytes: usize| "a".repeat(bytes);
    assert_eq!(told(input()), []);
    assert_eq!(told(RequestInput { authority: text(LABEL_BYTES_MAX), ..input() }), []);
    assert_eq!(told(RequestInput { profile: text(LABEL_BYTES_MAX), ..input() }), []);
    assert_eq!(told(RequestInput { request_id: text(REQUEST_ID_BYTES_MAX), ..input() }), []);
    let limits = |field| vec![("FIELD_OUT_OF_LIMITS", field)];
    assert_eq!(told(RequestInput { authority: text(LABEL_BYTES_MAX + 1), ..input() }), limits("authority"));
    assert_eq!(told(RequestInput { profile: text(LABEL_BYTES_MAX + 1), ..input() }), limits("profile"));
    assert_eq!(told(RequestInput { request_id: text(REQUEST_ID_BYTES_MAX + 1), ..input() }), limits("request_id"));
    let empty = RequestInput { authority: String::new(), profile: String::new(), ..input() };
    assert_eq!(told(empty), [("FIELD_MISSING", "authority"), ("FIELD_MISSING", "profile")]);
    for id in ["A-z0.9_:", "-"] {
        assert_eq!(told(RequestInput { request_id: id.to_owned(), ..input() }), []);
    }
    for id in ["~a", "a b", "a/b", "é", "a\n"] {
        assert_eq!(told(RequestInput { request_id: id.to_owned(), ..input() }), limits("request_id"), "{id}");
    }
    for bytes in [1, 31, 33] {
        assert_eq!(told(RequestInput { transition: vec![0; bytes], ..input() }), limits("transition"));
        assert_eq!(told(RequestInput { policy_hash: vec![0; bytes], ..input() }), limits("policy_hash"));
        assert_eq!(told(RequestInput { evidence_sha256: vec![0; bytes], ..input() }), limits("evidence_sha256"));
    }
    let digests =
        RequestInput { transition: vec![0; 32], policy_hash: vec![0; 32], evidence_sha256: vec![0; 32], ..input() };
    assert_eq!(told(digests), []);
}

#[test]
fn claims_are_so_many_and_so_long_at_most() {
    let claims = |count: usize, bytes: usize| {
        let length = u16::try_from(bytes - 4).unwrap().to_be_bytes();
        let value = [vec![4, 0x82], length.to_vec(), vec![0; bytes - 4]].concat();
        let claim = |number: usize| ClaimInput { oid: format!("1.3.9901.2.{number}"), value: value.clone() };
        told(RequestInput { claims: (0..count).map(claim).collect(), ..input() })
    };
    assert_eq!((claims(CLAIMS_MAX, 300), claims(1, CLAIM_BYTES_MAX)), (vec![], vec![]));
    assert_eq!(claims(CLAIMS_MAX + 1, 300), [("FIELD_OUT_OF_LIMITS", "claims")]);
    assert_eq!(claims(2, CLAIM_BYTES_MAX + 1), [("FIELD_OUT_OF_LIMITS", "claims"); 2]);
    let twice = vec![ClaimInput { oid: "1.3.9901.2".to_owned(), value: vec![4, 0] }; 2];
    assert_eq!(told(RequestInput { claims: twice, ..input() }), [("DUPLICATE", "claims")]);
}

#[test]
fn every_way_to_bring_a_key_has_its_limits() {
    let subject = |subject| told(RequestInput { subject, ..input() });
    assert_eq!(subject(SubjectInput::Missing), [("FIELD_MISSING", "subject")]);
    assert_eq!(subject(SubjectInput::CsrBesideNames), [("FIELDS_CONFLICT", "subject_alt_names")]);
    assert_eq!(subject(spki(vec![dns("a.b"); NAMES_MAX])), []);
    assert_eq!(subject(spki(vec![dns("a.b"); NAMES_MAX + 1])), [("FIELD_OUT_OF_LIMITS", "subject_alt_names")]);
    let key = |spki: Vec<u8>| SubjectInput::Spki { spki, common_name: String::new(), names: Vec::new() };
    assert_eq!(subject(key(vec![0; SPKI_BYTES_MAX])), [("KEY_MALFORMED", "spki")]);
    assert_eq!(subject(key(vec![0; SPKI_BYTES_MAX + 1])), [("FIELD_OUT_OF_LIMITS", "spki")]);
    assert_eq!(subject(key(Vec::new())), [("KEY_MALFORMED", "spki")]);
}

#[test]
fn a_request_says_what_it_was_given() {
    let request = parse(RequestInput { validate_only: true, ..input() });
    assert_eq!((request.authority(), request.request_id(), request.has_own_id()), ("a", "r-1", true));
    assert_eq!(request.caller().certificate_sha256(), WORLD.caller.certificate_sha256());
    assert!(request.validate_only() && !parse(input()).validate_only());
    assert_eq!(request.presented(), None);
}

#[test]
fn a_request_without_an_id_is_named_by_its_content_and_the_period() {
    let request = parse(RequestInput { request_id: String::new(), ..input() });
    let start = &hex(request.content_sha256())[..40];
    assert!(!request.has_own_id());
    assert_eq!(request.request_id(), format!("~{start}"));
    assert_eq!(request.clone().in_period(-3).request_id(), format!("~{start}.-3"));
    assert_eq!(parse(input()).in_period(5).request_id(), "r-1");
}

#[test]
fn two_requests_are_the_same_where_everything_that_counts_is() {
    let digest = |input: RequestInput| *parse(input).content_sha256();
    let claims = |oid: &str, value: &[u8]| vec![ClaimInput { oid: oid.to_owned(), value: value.to_vec() }];
    let same = [input(), RequestInput { request_id: "r-2".to_owned(), ..input() }];
    for same in same {
        assert_eq!(digest(same), digest(input()));
    }
    let changed = [
        RequestInput { authority: "b".to_owned(), ..input() },
        RequestInput { profile: "q".to_owned(), ..input() },
        RequestInput { authority: "ap".to_owned(), profile: "p".to_owned(), ..input() },
        RequestInput { lifetime_seconds: 1, ..input() },
        RequestInput { transition: vec![1; 32], ..input() },
        RequestInput { policy_hash: vec![1; 32], ..input() },
        RequestInput { evidence_sha256: vec![1; 32], ..input() },
        RequestInput { validate_only: true, ..input() },
        RequestInput { claims: claims("1.3.9901.2", &[5, 0]), ..input() },
        RequestInput { claims: claims("1.3.9901.2", &[1, 1, 0]), ..input() },
        RequestInput { claims: claims("1.3.9901.3", &[1, 1, 0]), ..input() },
        RequestInput { instance: IntentInput::Register, ..input() },
        RequestInput { subject: spki(vec![]), ..input() },
        RequestInput { subject: spki(vec![dns("a.c")]), ..input() },
        RequestInput { subject: spki(vec![NameInput::Uri("a.b".to_owned())]), ..input() },
        RequestInput { subject: spki(vec![NameInput::Email("a.b".to_owned())]), ..input() },
        RequestInput { subject: spki(vec![NameInput::Ip(b"a.b".to_vec())]), ..input() },
        RequestInput { subject: spki(vec![NameInput::Other("a.b")]), ..input() },
        RequestInput { subject: spki(vec![dns("a.b"), dns("a.b")]), ..input() },
    ];
    let mut digests: Vec<_> = changed.into_iter().filter(|input| told(input.clone()).is_empty()).map(digest).collect();
    assert_eq!(digests.len(), 18, "a claim that is no simple value is not read");
    digests.push(digest(input()));
    digests.sort_unstable();
    assert!(digests.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn the_digest_of_a_request_is_what_it_always_was() {
    let fields: [&[u8]; 11] =
        [b"hallmark-request-v1", b"a", b"p", &[0; 8], b"", b"", b"", &[0], b"spki", WORLD.subject.spki(), b"cn"];
    let mut bytes = Vec::new();
    for field in fields.into_iter().chain([&b"dns:a.b"[..]]) {
        bytes.extend(u64::try_from(field.len()).unwrap().to_be_bytes());
        bytes.extend(field);
    }
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
    assert_eq!(digest.as_ref(), parse(input()).content_sha256());
}
