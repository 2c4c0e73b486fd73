//! What a decision says beside names and content: who asked, in which transition, within which bounds; and what the log hears.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends by panicking")]

use std::{fmt::Write as _, sync::LazyLock};

use hallmark_policy::{
    Approved, Bounds, Caller, ClaimInput, Decision, EpochId, Issuer, Method, NameInput, Policy, Reason, Request,
    RequestInput, SubjectInput, admit,
    constraint::{NameConstraints, Subtree},
    content::Serial,
    decide, facts,
    key::{PublicKey, SignatureAlgorithm},
    name::DistinguishedName,
    provider,
    time::{Interval, Span, UnixTime},
};

/// Formats of `wide`, each with a part of its own.
const WIDE: usize = 30;

fn policy_text() -> String {
    let mut wide = String::new();
    for number in 0..WIDE {
        write!(
            wide,
            "{{ uri = \"x://z{number}/{{p{number}}}\", count = \"{}\" }}, ",
            if number == 0 { "1" } else { "0..1" }
        )
        .unwrap();
    }
    let parts: Vec<_> = (0..WIDE).map(|number| format!("p{number} = {{ shape = \"path\" }}")).collect();
    format!(
        r#"
version = 1

[provider."sys.aws"]
dns-suffixes = ["aws.test"]

[authority.a]
root = {{ common-name = "root", lifetime = "3650d", key = "ecdsa-p256" }}
epoch = {{ common-name = "epoch", lifetime = "365d", key = "ecdsa-p256" }}

[authority.tight]
root = {{ common-name = "root", lifetime = "3650d", key = "ecdsa-p256" }}
epoch = {{ common-name = "epoch", lifetime = "365d", key = "ecdsa-p256" }}
name-constraints = {{ permitted = {{ dns = ["in.test"], uri = ["zone"] }} }}

[profile.service]
authority = "a"
{ALWAYS}
providers = ["sys.aws"]
common-name = "{{domain}}.{{service}}"
names = [{{ dns = "{{service}}.{{domain:dashes}}.{{provider.suffix}}", count = "0..1" }}]

[profile.wide]
authority = "a"
{ALWAYS}
names = [{wide}]
parts = {{ {} }}
claims = [{{ arc = "1.3.9901.2.1", count = "0..30", bytes-max = 4096, types = ["octet-string"] }}]

[profile.tight]
authority = "tight"
{ALWAYS}
parts = {{ host = {{ shape = "label" }} }}
common-name = "{{host}}.in.test"
names = [{{ dns = "{{host}}.in.test", count = "0..1" }}, {{ uri = "spiffe://zone/{{host}}", count = "0..1" }}]

[profile.strict]
authority = "a"
lifetime = {{ default = "1d", maximum = "7d" }}
keys = ["ecdsa-p256"]
usages = ["client-auth"]
parts = {{ host = {{ shape = "label" }} }}
names = [{{ dns = "{{host}}.in.test" }}]
ignore = ["1.2.840.113549.1.9.7"]

[caller.coordinator]
uri = "spiffe://lab/coordinator"
methods = ["MintCertificate", "GetChain"]
profiles = ["service", "wide", "tight", "strict"]
"#,
        parts.join(", ")
    )
}

const ALWAYS: &str = "lifetime = { default = \"1d\", maximum = \"7d\" }\nkeys = [\"ecdsa-p256\"]\n\
                      usages = [\"client-auth\"]\npossession = \"caller\"";

static POLICY: LazyLock<Policy> =
    LazyLock::new(|| Policy::parse(&policy_text()).unwrap_or_else(|error| panic!("{error}")));
static KEY: LazyLock<rcgen::KeyPair> = LazyLock::new(|| rcgen::KeyPair::generate().unwrap());
static CALLER: LazyLock<Caller> = LazyLock::new(|| caller(&["spiffe://lab/coordinator"]));

fn caller(uris: &[&str]) -> Caller {
    let mut parameters = rcgen::CertificateParams::default();
    parameters.subject_alt_names = uris.iter().map(|uri| rcgen::SanType::URI((*uri).try_into().unwrap())).collect();
    parameters.not_before = rcgen::date_time_ymd(2026, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(2027, 1, 1);
    Caller::parse(parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der()).unwrap()
}

fn spki() -> Vec<u8> {
    use rcgen::PublicKeyData as _;
    KEY.subject_public_key_info()
}

fn now() -> UnixTime {
    UnixTime::parse("2026-07-01T00:00:00Z").unwrap()
}

fn issuer(authority: &str) -> Issuer {
    Issuer {
        authority: authority.to_owned(),
        epoch: EpochId { generation: 3, transition: [7; 32] },
        subject: DistinguishedName::common_name("epoch"),
        key: PublicKey::parse(&spki()).unwrap(),
        algorithm: SignatureAlgorithm::EcdsaSha256,
        validity: Interval { not_before: now(), not_after: now().after(Span::from_days(365)) },
        bounds: Bounds::of(POLICY.authority(authority).unwrap()),
        manifest: None,
    }
}

fn input(profile: &str, common_name: &str, names: Vec<NameInput>) -> RequestInput {
    RequestInput {
        authority: POLICY.profile(profile).unwrap().authority().to_owned(),
        profile: profile.to_owned(),
        request_id: "r-1".to_owned(),
        subject: SubjectInput::Spki { spki: spki(), common_name: common_name.to_owned(), names },
        ..RequestInput::default()
    }
}

fn request(input: RequestInput) -> Request {
    Request::parse(CALLER.clone(), input).unwrap_or_else(|reasons| panic!("{reasons:?}"))
}

fn ask(input: RequestInput, issuer: &Issuer) -> Result<Approved, Vec<Reason>> {
    match decide(&POLICY, &request(input), issuer, now(), Serial::from_random([0xab; 16])) {
        Decision::Approve(approved) => Ok(*approved),
        Decision::Refuse(reasons) => Err(reasons),
    }
}

/// Code and field of every reason.
fn told(asked: Result<Approved, Vec<Reason>>) -> Vec<(&'static str, &'static str)> {
    asked.map_or_else(|reasons| reasons.iter().map(|reason| (reason.code.as_str(), reason.field)).collect(), |_| vec![])
}

fn dns(text: &str) -> NameInput {
    NameInput::Dns(text.to_owned())
}

fn service() -> RequestInput {
    input("service", "media.sports.api", vec![dns("api.media-sports.aws.test")])
}

#[test]
fn the_log_hears_of_a_request_what_came_whatever_becomes_of_it() {
    let names = vec![dns("API.sports"), NameInput::Ip(vec![1]), NameInput::Other("x400Address")];
    let came = RequestInput {
        transition: vec![7; 32],
        policy_hash: vec![1; 32],
        evidence_sha256: vec![2; 32],
        ..input("service", "Sports.API", names)
    };
    let facts = facts(&POLICY, &request(came));
    assert_eq!(facts.names, ["cn:Sports.API", "dns:API.sports", "ip:0x01", "other:x400Address"]);
    assert_eq!((facts.method.as_str(), facts.authority.as_str()), ("MintCertificate", "a"));
    assert_eq!((facts.caller.as_str(), facts.profile.as_str()), ("coordinator", "service"));
    assert_eq!((facts.request_id.as_str(), facts.possession), ("r-1", "caller"));
    assert_eq!(facts.identities.iter().map(ToString::to_string).collect::<Vec<_>>(), ["uri:spiffe://lab/coordinator"]);
    assert_eq!(facts.certificate_sha256.as_ref(), Some(CALLER.certificate_sha256()));
    assert_eq!(facts.spki, Some(PublicKey::parse(&spki()).unwrap().digest()));
    assert_eq!((facts.policy_hash, facts.evidence_sha256), (Some([1; 32]), Some([2; 32])));
    assert_eq!(facts.request, spki());
    assert!(facts.evidence.is_none() && facts.instance.is_none() && facts.manifest_sha256.is_none());
    let mut parameters = rcgen::CertificateParams::new(vec!["x.in.test".to_owned()]).unwrap();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    let csr = parameters.serialize_request(&*KEY).unwrap().der().to_vec();
    let came = RequestInput { subject: SubjectInput::Csr(csr.clone()), ..input("strict", "", Vec::new()) };
    let facts = hallmark_policy::facts(&POLICY, &request(came));
    assert_eq!((facts.possession, facts.request, facts.names), ("csr", csr, vec!["dns:x.in.test".to_owned()]));
}

#[test]
fn the_conditions_say_what_must_hold_when_it_is_committed() {
    let issuer = issuer("a");
    let approved = ask(RequestInput { validate_only: true, ..service() }, &issuer).unwrap();
    let conditions = approved.conditions();
    assert_eq!((conditions.authority.as_str(), approved.authority()), ("a", "a"));
    assert_eq!(conditions.policy, POLICY.digest());
    assert_eq!(conditions.stage.epoch(), Some(issuer.epoch));
    assert_eq!((conditions.request.caller.as_str(), conditions.request.id.as_str()), ("coordinator", "r-1"));
    assert_eq!(conditions.issuer, issuer.key.digest());
    assert_eq!(conditions.numbering.serial(), Some(Serial::from_random([0xab; 16])));
    assert_eq!(conditions.not_after, approved.certificate().unwrap().validity.not_after);
    assert!(conditions.validate_only && conditions.instance.is_none() && approved.instance_rate().is_none());
    assert!(!ask(service(), &issuer).unwrap().conditions().validate_only);
}

#[test]
fn a_request_may_name_the_active_transition_and_no_other() {
    let naming = |transition: Vec<u8>| told(ask(RequestInput { transition, ..service() }, &issuer("a")));
    assert_eq!(naming(vec![7; 32]), []);
    assert_eq!(naming(Vec::new()), []);
    assert_eq!(naming(vec![8; 32]), [("TRANSITION_STALE", "transition")]);
    let refused = ask(RequestInput { transition: vec![8; 32], ..service() }, &issuer("a")).unwrap_err();
    assert_eq!(refused[0].allowed.as_deref(), Some("07".repeat(32).as_str()));
}

#[test]
fn the_provider_is_what_the_names_say_where_they_say_one() {
    let said = |input| provider(&POLICY, &request(input));
    assert_eq!(said(service()).as_deref(), Some("sys.aws"));
    assert_eq!(said(input("service", "media.sports.api", Vec::new())), None, "the names say none");
    assert_eq!(said(input("service", "sports.api", vec![dns("api.news.aws.test")])), None, "they disagree");
    assert_eq!(said(RequestInput { profile: "nothing".to_owned(), ..service() }), None);
}

#[test]
fn names_claims_and_key_have_49152_bytes_together_at_most() {
    /// So many names with so many bytes in all.
    fn names(bytes: usize) -> Vec<NameInput> {
        let count = bytes.div_ceil(2_000);
        let name = |number: usize| {
            let head = format!("x://z{number}/");
            let length = bytes / count + if number == 0 { bytes % count } else { 0 };
            NameInput::Uri(format!("{head}{}", "a".repeat(length - head.len())))
        };
        (0..count).map(name).collect()
    }
    /// So many claims with so many bytes in all.
    fn claims(bytes: usize) -> Vec<ClaimInput> {
        let count = bytes.div_ceil(4_000);
        let claim = |number: usize| {
            let length = bytes / count + if number == 0 { bytes % count } else { 0 };
            let inner = length - 4;
            let value = [vec![4, 0x82], u16::try_from(inner).unwrap().to_be_bytes().to_vec(), vec![0; inner]].concat();
            ClaimInput { oid: format!("1.3.9901.2.1.{number}"), value }
        };
        (0..count).map(claim).collect()
    }
    let with = |names_bytes: usize, claims_bytes: usize| {
        let request = RequestInput { claims: claims(claims_bytes), ..input("wide", "", names(names_bytes)) };
        told(ask(request, &issuer("a")))
    };
    let rest = 49_152 - spki().len();
    assert_eq!(with(rest, 0), []);
    assert_eq!(with(rest + 1, 0), [("FIELD_OUT_OF_LIMITS", "names")]);
    assert_eq!(with(1_000, rest - 1_000), []);
    assert_eq!(with(1_000, rest - 999), [("FIELD_OUT_OF_LIMITS", "claims")]);
    assert_eq!(with(rest - 40_000, 40_000), []);
    let half = rest.div_ceil(2) + 1;
    assert_eq!(with(half, half), [("FIELD_OUT_OF_LIMITS", "names")]);
    assert_eq!(with(half + 1, half), [("FIELD_OUT_OF_LIMITS", "names")]);
    assert_eq!(with(half, half + 1), [("FIELD_OUT_OF_LIMITS", "claims")]);
}

#[test]
fn a_name_is_held_to_the_policy_and_to_the_certificates_of_its_issuer() {
    let constraints = |permitted: &str| {
        let permitted = vec![Subtree::Dns(permitted.to_owned()), Subtree::Uri("zone".to_owned())];
        Some(NameConstraints { permitted, excluded: Vec::new() })
    };
    let with = |name_constraints, names: &[&str]| {
        let issuer = Issuer { bounds: Bounds { name_constraints, policies: Vec::new() }, ..issuer("tight") };
        let names = names.iter().map(|name| match name.split_once("://") {
            Some(_) => NameInput::Uri((*name).to_owned()),
            None => dns(name),
        });
        let asked = ask(input("tight", "host.in.test", names.collect()), &issuer);
        asked.map_or_else(|reasons| reasons.into_iter().map(|reason| reason.to_string()).collect(), |_| vec![])
    };
    let invalidated = |whose: &str, name: &str| {
        vec![format!(
            "NAME_CONSTRAINED (names): the name constraints {whose} authority `tight` would invalidate the dNSName `{name}`"
        )]
    };
    let older = "in the certificates of epoch 3 of";
    assert_eq!(with(constraints("in.test"), &["host.in.test"]), Vec::<String>::new());
    assert_eq!(with(None, &["host.in.test"]), Vec::<String>::new());
    assert_eq!(with(constraints("old.test"), &["host.in.test"]), invalidated(older, "host.in.test"));
    // Where there is no dNSName, a common name that looks like one is held to the constraints as one.
    assert_eq!(with(constraints("old.test"), &["spiffe://zone/host"]), invalidated(older, "host.in.test"));
    assert_eq!(with(constraints("in.test"), &["spiffe://zone/host"]), Vec::<String>::new());
}

#[test]
fn an_attribute_of_a_csr_that_no_rule_names_is_refused_and_one_that_the_profile_ignores_is_not() {
    let with = |oid: &'static [u64]| {
        let mut parameters = rcgen::CertificateParams::new(vec!["x.in.test".to_owned()]).unwrap();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        let attribute = rcgen::Attribute { oid, values: vec![0x31, 3, 0x0c, 1, b'a'] };
        let csr = parameters.serialize_request_with_attributes(&*KEY, vec![attribute]).unwrap();
        let subject = SubjectInput::Csr(csr.der().to_vec());
        told(ask(RequestInput { subject, ..input("strict", "", Vec::new()) }, &issuer("a")))
    };
    assert_eq!(with(&[1, 2, 840, 113_549, 1, 9, 7]), []);
    assert_eq!(with(&[1, 2, 840, 113_549, 1, 9, 8]), [("ATTRIBUTE_NOT_ALLOWED", "csr.attributes")]);
    assert_eq!(POLICY.profile("strict").unwrap().ignored(), ["1.2.840.113549.1.9.7"]);
}

#[test]
fn a_caller_is_admitted_while_its_certificate_is_valid_to_the_methods_of_its_rule() {
    let told = |caller: &Caller, method, now: &str| {
        let admitted = admit(&POLICY, caller, method, UnixTime::parse(now).unwrap());
        admitted.map_or_else(
            |reasons| reasons.iter().map(ToString::to_string).collect(),
            |rule| vec![rule.name().to_owned()],
        )
    };
    let nobody = caller(&["spiffe://lab/a", "spiffe://lab/b", "spiffe://lab/c", "spiffe://lab/d", "spiffe://lab/e"]);
    let mid = "2026-07-01T00:00:00Z";
    assert_eq!(told(&CALLER, Method::MintCertificate, mid), ["coordinator"]);
    assert_eq!(told(&CALLER, Method::MintCertificate, "2026-01-01T00:00:00Z"), ["coordinator"]);
    assert_eq!(told(&CALLER, Method::MintCertificate, "2027-01-01T00:00:00Z"), ["coordinator"]);
    for (now, method, expected) in [
        ("2025-12-31T23:59:59Z", Method::GetChain, vec!["CALLER_EXPIRED"]),
        ("2027-01-01T00:00:01Z", Method::GetChain, vec!["CALLER_EXPIRED"]),
        (mid, Method::RotateIntermediate, vec!["METHOD_NOT_ALLOWED"]),
        ("2027-01-01T00:00:01Z", Method::RotateIntermediate, vec!["CALLER_EXPIRED", "METHOD_NOT_ALLOWED"]),
    ] {
        let reasons = admit(&POLICY, &CALLER, method, UnixTime::parse(now).unwrap()).unwrap_err();
        assert_eq!(reasons.iter().map(|reason| reason.code.as_str()).collect::<Vec<_>>(), expected, "{now}");
    }
    let named = "the caller's certificate names `uri:spiffe://lab/a`, `uri:spiffe://lab/b`, `uri:spiffe://lab/c`, \
                 `uri:spiffe://lab/d`, which no [caller] of the policy has";
    assert_eq!(told(&nobody, Method::GetChain, mid), [format!("CALLER_UNKNOWN (caller): {named}")]);
}

#[test]
fn another_profile_than_the_callers_or_of_another_authority_is_refused() {
    let ask = |authority: &str, profile: &str| {
        told(ask(
            RequestInput { authority: authority.to_owned(), profile: profile.to_owned(), ..service() },
            &issuer("a"),
        ))
    };
    assert_eq!(ask("tight", "service"), [("PROFILE_UNKNOWN", "profile")]);
    assert_eq!(ask("a", "other"), [("PROFILE_UNKNOWN", "profile"), ("PROFILE_NOT_ALLOWED", "profile")]);
}
