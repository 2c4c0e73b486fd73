//! Names from the manifest: `workloads.toml` is the specification, and this reads it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends by panicking")]

use std::sync::{Arc, LazyLock};

use hallmark_policy::{
    Approved, Bounds, Caller, ClaimInput, Decision, EpochId, Issuer, Manifest, NameInput, Policy, Reason, Request,
    RequestInput, SubjectInput,
    content::{Extension, Serial},
    decide,
    key::{PublicKey, SignatureAlgorithm},
    name::DistinguishedName,
    time::{Interval, Span, UnixTime},
};
use rcgen::PublicKeyData as _;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    policy: String,
    manifest: String,
    cases: Vec<Case>,
    mistakes: Vec<Mistake>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    what: String,
    #[serde(default = "workload")]
    profile: String,
    hash: Option<String>,
    manifest: Option<String>,
    #[serde(default)]
    csr: bool,
    cn: Option<String>,
    #[serde(default)]
    dns: Vec<String>,
    #[serde(default)]
    claims: Vec<(String, String)>,
    approved: Option<Vec<String>>,
    #[serde(default)]
    refused: Vec<String>,
    secret: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mistake {
    line: String,
    said: Vec<String>,
}

fn workload() -> String {
    "workload".to_owned()
}

static CORPUS: LazyLock<Corpus> = LazyLock::new(|| toml::from_str(include_str!("../workloads.toml")).unwrap());
static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy::parse(&CORPUS.policy).unwrap());
static MANIFEST: LazyLock<Arc<Manifest>> =
    LazyLock::new(|| Arc::new(Manifest::parse(CORPUS.manifest.as_bytes()).unwrap()));
static KEY: LazyLock<rcgen::KeyPair> = LazyLock::new(|| rcgen::KeyPair::generate().unwrap());

fn now() -> UnixTime {
    UnixTime::from_secs(1_795_400_000)
}

fn caller() -> Caller {
    let mut parameters = rcgen::CertificateParams::default();
    let uri = "spiffe://zone.example/coordinator".try_into().unwrap();
    parameters.subject_alt_names = vec![rcgen::SanType::URI(uri)];
    Caller::parse(parameters.self_signed(&*KEY).unwrap().der()).unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn subject(case: &Case) -> SubjectInput {
    if !case.csr {
        let names = case.dns.iter().cloned().map(NameInput::Dns).collect();
        let common_name = case.cn.clone().unwrap_or_default();
        return SubjectInput::Spki { spki: KEY.subject_public_key_info(), common_name, names };
    }
    let mut parameters = rcgen::CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(name) = &case.cn {
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
    }
    let names = case.dns.iter().map(|name| rcgen::SanType::DnsName(name.as_str().try_into().unwrap()));
    parameters.subject_alt_names = names.collect();
    SubjectInput::Csr(parameters.serialize_request(&*KEY).unwrap().der().to_vec())
}

fn input(case: &Case) -> RequestInput {
    let hash = case.hash.as_deref().unwrap_or("a");
    let hash = if hash.len() == 1 { hash.repeat(64) } else { hash.to_owned() };
    let claims = case.claims.iter().map(|(oid, value)| ClaimInput { oid: oid.clone(), value: bytes(value) });
    RequestInput {
        authority: "mesh".to_owned(),
        profile: case.profile.clone(),
        request_id: "r-1".to_owned(),
        subject: subject(case),
        policy_hash: bytes(&hash),
        claims: claims.collect(),
        ..RequestInput::default()
    }
}

fn ask(case: &Case) -> Result<Approved, Vec<Reason>> {
    let issuer = Issuer {
        authority: "mesh".to_owned(),
        epoch: EpochId { generation: 1, transition: [7; 32] },
        subject: DistinguishedName::common_name("Mesh CA"),
        key: PublicKey::parse(&KEY.subject_public_key_info()).unwrap(),
        algorithm: SignatureAlgorithm::EcdsaSha256,
        validity: Interval { not_before: now(), not_after: now().after(Span::from_days(365)) },
        bounds: Bounds::of(POLICY.authority("mesh").unwrap()),
        manifest: case.manifest.is_none().then(|| Arc::clone(&MANIFEST)),
    };
    let request = Request::parse(caller(), input(case))?;
    match decide(&POLICY, &request, &issuer, now(), Serial::from_random([0xab; 16])) {
        Decision::Approve(approved) => Ok(*approved),
        Decision::Refuse(reasons) => Err(reasons),
    }
}

/// Names and the workload secret id that the certificate would say.
fn said(approved: &Approved) -> (Vec<String>, Option<String>) {
    let content = approved.certificate().unwrap();
    assert!(content.subject.is_empty(), "the subject is empty");
    let mut names = Vec::new();
    let mut secret = None;
    for extension in &content.extensions {
        if let Extension::SubjectAltName { critical, names: alternative } = extension {
            assert!(critical, "where there is no subject, the names are critical");
            names.extend(alternative.iter().map(ToString::to_string));
        }
        if let Extension::Claim(claim) = extension
            && claim.oid.to_string() == "1.3.9901.3.1"
        {
            let [4, length, id @ ..] = claim.value.as_slice() else { panic!("no OCTET STRING: {claim:?}") };
            assert_eq!(usize::from(*length), id.len());
            secret = Some(String::from_utf8(id.to_vec()).unwrap());
        }
    }
    (names, secret)
}

#[test]
fn every_request_of_the_corpus_is_decided_as_it_says() {
    let mut wrong = Vec::new();
    for case in &CORPUS.cases {
        match ask(case) {
            Ok(approved) => {
                let (names, secret) = said(&approved);
                assert_eq!(approved.facts().names, names, "{}: what is logged is what is signed", case.what);
                if case.approved.as_ref() != Some(&names) || case.secret != secret {
                    wrong.push(format!("{}: {names:?} {secret:?}", case.what));
                }
            }
            Err(reasons) => {
                let codes: Vec<_> = reasons.iter().map(|reason| reason.code.as_str()).collect();
                if case.approved.is_some() || codes != case.refused {
                    wrong.push(format!("{}: {reasons:#?}", case.what));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(CORPUS.cases.len() > 20);
}

#[test]
fn the_policy_hash_is_part_of_what_the_request_is_and_stands_in_the_log() {
    let case = |what: &str| CORPUS.cases.iter().find(|case| case.what == what).unwrap();
    let (one, other) = (case("a workload"), case("another workload, without a secret"));
    let digest = |case: &Case| *Request::parse(caller(), input(case)).unwrap().content_sha256();
    assert_ne!(digest(one), digest(other), "the same request id with another policy hash is another request");
    assert_eq!(ask(one).unwrap().facts().policy_hash, Some([0xaa; 32]));
    let unknown = Request::parse(caller(), input(case("a policy hash that the manifest does not have"))).unwrap();
    assert_eq!(hallmark_policy::facts(&POLICY, &unknown).policy_hash, Some([0; 32]), "also of a refusal");
}

#[test]
fn every_mistake_about_names_from_manifests_is_told() {
    let aged = "[authority.aged]\n\
                root = { common-name = \"Root\", lifetime = \"3650d\", key = \"ecdsa-p256\" }\n\
                epoch = { common-name = \"CA\", lifetime = \"365d\", key = \"ecdsa-p256\" }\n";
    let (head, tail) = CORPUS.policy.split_once("[profile.workload]\n").unwrap();
    for Mistake { line, said } in &CORPUS.mistakes {
        let setting = format!("{} =", line.split(' ').next().unwrap());
        let (own, others) = tail.split_once("[profile.silent]").unwrap();
        let kept: Vec<_> = own.lines().filter(|other| !other.starts_with(&setting)).collect();
        let text = format!("{head}{aged}[profile.workload]\n{line}\n{}\n[profile.silent]{others}", kept.join("\n"));
        let told = Policy::parse(&text).err().map(|error| error.mistakes).unwrap_or_default();
        let told: Vec<_> = told.iter().map(ToString::to_string).collect();
        let fits = told.len() == said.len() && said.iter().all(|said| told.iter().any(|told| told.contains(said)));
        assert!(fits, "{line}: {told:#?}");
        assert!(told.iter().all(|told| told.starts_with("line ") && told.contains("[profile.workload]")), "{told:?}");
    }
}
