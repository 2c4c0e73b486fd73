//! Keys, validity, usages, extensions, claims and constraints: `content.toml` is the specification, and this reads it.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on ends by panicking")]

use std::{collections::BTreeMap, sync::LazyLock};

use hallmark_policy::{
    Bounds, Caller, ClaimInput, Decision, EpochId, Issuer, NameInput, Policy, ReasonCode, Request, RequestInput,
    SubjectInput,
    content::{Extension, Serial},
    decide, hex,
    key::{PublicKey, SignatureAlgorithm, SpkiDigest},
    name::DistinguishedName,
    time::{Interval, Span, UnixTime},
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    policy: String,
    keys: Vec<Case>,
    validity: Vec<Case>,
    extensions: Vec<Case>,
    claims: Vec<Case>,
    constraints: Vec<Case>,
    mistakes: Vec<Mistake>,
}

/// A request and its decision; see the head of `content.toml`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Case {
    is: String,
    #[serde(default = "web")]
    profile: String,
    #[serde(default = "p256")]
    key: String,
    #[serde(default)]
    by: By,
    cn: Option<String>,
    dns: Option<Vec<String>>,
    #[serde(default)]
    uri: Vec<String>,
    #[serde(default)]
    asks: Vec<String>,
    #[serde(default)]
    claims: Vec<(String, String)>,
    #[serde(default)]
    seconds: u64,
    at: Option<String>,
    issuer_years: Option<u32>,
    #[serde(default)]
    refused: Vec<String>,
    from: Option<String>,
    until: Option<String>,
    has: Option<Vec<String>>,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum By {
    #[default]
    Spki,
    Csr,
    CsrBroken,
}

/// Lines of a file that is refused, and a part of what is said.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mistake {
    is: String,
    #[serde(default)]
    keys: String,
    #[serde(default)]
    authority: String,
    #[serde(default)]
    profile: String,
    usages: Option<String>,
    says: String,
}

fn web() -> String {
    "web".to_owned()
}

fn p256() -> String {
    "ecdsa-p256".to_owned()
}

#[test]
fn every_key_is_decided_as_written() {
    WORLD.check(|corpus| &corpus.keys);
}

#[test]
fn every_validity_is_decided_as_written() {
    WORLD.check(|corpus| &corpus.validity);
}

#[test]
fn every_extension_is_decided_as_written() {
    WORLD.check(|corpus| &corpus.extensions);
}

#[test]
fn every_claim_is_decided_as_written() {
    WORLD.check(|corpus| &corpus.claims);
}

#[test]
fn every_constrained_name_is_decided_as_written() {
    WORLD.check(|corpus| &corpus.constraints);
}

#[test]
fn every_mistake_is_said() {
    let corpus = corpus();
    let file = |mistake: &Mistake| {
        let Mistake { keys, authority, profile, usages, .. } = mistake;
        let usages = usages.as_deref().unwrap_or("[\"client-auth\"]");
        format!(
            "version = 1\n[keys]\n{keys}\n[authority.a]\n{authority}\n\
             root = {{ common-name = \"Root\", lifetime = \"3650d\", key = \"ecdsa-p256\" }}\n\
             epoch = {{ common-name = \"CA\", lifetime = \"365d\", key = \"ecdsa-p256\" }}\n\
             [profile.p]\n{profile}\nauthority = \"a\"\nlifetime = {{ default = \"1d\", maximum = \"7d\" }}\n\
             keys = [\"ecdsa-p256\"]\nusages = {usages}\nparts = {{ host = {{ shape = \"label\" }} }}\n\
             names = [{{ dns = \"{{host}}.example.test\" }}]\n"
        )
    };
    for mistake in &corpus.mistakes {
        match Policy::parse(&file(mistake)) {
            Err(error) => assert!(error.to_string().contains(&mistake.says), "{}: {error}", mistake.is),
            Ok(_) => panic!("{}: nothing was said", mistake.is),
        }
    }
    let none = Mistake {
        is: String::new(),
        keys: String::new(),
        authority: String::new(),
        profile: String::new(),
        usages: None,
        says: String::new(),
    };
    assert!(Policy::parse(&file(&none)).is_ok(), "the file without any of the mistakes is good");
}

#[test]
fn the_two_ca_certificates_of_an_epoch_have_the_same_constraints_and_the_root_has_none() {
    use hallmark_policy::{
        authority::{CaRequest, Root, decide_ca},
        content::EpochBinding,
    };
    let world = &*WORLD;
    let key = PublicKey::parse(&world.keys["ecdsa-p256"]).unwrap();
    let root = Root {
        key_identifier: key.key_identifier(),
        subject: DistinguishedName::common_name("Tight Root"),
        key: key.clone(),
        algorithm: SignatureAlgorithm::EcdsaSha256,
        validity: Interval { not_before: now(), not_after: now().after(Span::from_days(3650)) },
    };
    let epoch = EpochBinding { generation: 1, manifest: [1; 32], transition: [2; 32] };
    let said = |authority: &str, request: &CaRequest<'_>| {
        let decision = decide_ca(&world.policy, authority, request, &key, now(), Serial::from_random([1; 16]));
        let Decision::Approve(approved) = decision else { panic!("{decision:?}") };
        approved.certificate().unwrap().extensions.iter().filter_map(constraining).collect::<Vec<_>>()
    };
    let wanted = "nameConstraints! permitted dns:in.test uri:zone.test uri:.deep.test email:invalid excluded dns:bad.in.test \
                  uri:no.deep.test ip:0.0.0.0/0 ip:::/0";
    assert_eq!(said("tight", &CaRequest::Intermediate { root: &root, epoch, lifetime: None }), [wanted]);
    assert_eq!(said("tight", &CaRequest::MeshCa { root: &root, epoch, lifetime: None }), [wanted]);
    assert_eq!(said("tight", &CaRequest::Root), Vec::<String>::new());
    let policies = "certificatePolicies 1.3.6.1.4.1.99999.1 1.3.6.1.4.1.99999.2";
    assert_eq!(said("plain", &CaRequest::Intermediate { root: &root, epoch, lifetime: None }), [policies]);
    assert_eq!(said("plain", &CaRequest::Root), Vec::<String>::new());
}

#[test]
fn a_weak_or_denied_key_becomes_no_ca_either() {
    use hallmark_policy::authority::{CaRequest, decide_ca};
    let world = &*WORLD;
    for (key, code) in [("rsa-roca", ReasonCode::KeyWeak), ("denied", ReasonCode::KeyDenied)] {
        let key = PublicKey::parse(&world.keys[key]).unwrap();
        let decision = decide_ca(&world.policy, "plain", &CaRequest::Root, &key, now(), Serial::from_random([1; 16]));
        let Decision::Refuse(reasons) = decision else { panic!("{decision:?}") };
        assert!(reasons.iter().any(|reason| reason.code == code), "{reasons:?}");
    }
}

#[test]
fn another_claim_under_the_same_request_id_is_another_request() {
    let world = &*WORLD;
    let case = |value: &str| Case {
        claims: vec![("1.3.9901.2.2".to_owned(), value.to_owned())],
        ..world.corpus.claims[0].clone()
    };
    let digest = |case: Case| *Request::parse(world.caller.clone(), world.input(&case)).unwrap().content_sha256();
    assert_eq!(digest(case("0c0161")), digest(case("0c0161")));
    assert_ne!(digest(case("0c0161")), digest(case("0c0162")));
}

/// Made once: RSA keys take their time.
static WORLD: LazyLock<World> = LazyLock::new(World::new);

fn corpus() -> Corpus {
    toml::from_str(include_str!("../content.toml")).unwrap()
}

fn now() -> UnixTime {
    UnixTime::parse("2026-07-01T00:00:00Z").unwrap()
}

struct World {
    corpus: Corpus,
    policy: Policy,
    caller: Caller,
    keys: BTreeMap<&'static str, Vec<u8>>,
    issuer: PublicKey,
}

impl World {
    fn new() -> Self {
        let corpus = corpus();
        let keys = crate::weak_keys::all();
        let denied = SpkiDigest::of(&keys["denied"]).to_string();
        let policy = Policy::parse(&corpus.policy.replace("@DENIED@", &denied)).unwrap();
        let issuer = PublicKey::parse(&crate::weak_keys::p256()).unwrap();
        Self { corpus, policy, caller: caller(), keys, issuer }
    }

    fn check(&self, cases: impl Fn(&Corpus) -> &Vec<Case>) {
        let wrong: Vec<_> = cases(&self.corpus).iter().filter_map(|case| self.complaint(case)).collect();
        assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    }

    /// How a case comes out otherwise than it is written.
    fn complaint(&self, case: &Case) -> Option<String> {
        let at = case.at.as_deref().map_or_else(now, |at| UnixTime::parse(at).unwrap());
        let issuer = self.issuer(case, at);
        let decision = match Request::parse(self.caller.clone(), self.input(case)) {
            Err(reasons) => Decision::Refuse(reasons),
            Ok(request) => decide(&self.policy, &request, &issuer, at, Serial::from_random([9; 16])),
        };
        let approved = match decision {
            Decision::Approve(approved) if case.refused.is_empty() => approved,
            Decision::Approve(_) => return Some(format!("{}: approved", case.is)),
            Decision::Refuse(reasons) => {
                let codes: Vec<_> = reasons.iter().map(|reason| reason.code.as_str()).collect();
                return (codes != case.refused).then(|| format!("{}: {codes:?} {reasons:?}", case.is));
            }
        };
        let content = approved.certificate().unwrap();
        let Interval { not_before, not_after } = content.validity;
        assert!(issuer.validity.contains(content.validity), "{}: outside its issuer", case.is);
        let said =
            |wanted: &Option<String>, is: UnixTime| wanted.as_ref().is_none_or(|wanted| *wanted == is.to_string());
        if !said(&case.from, not_before) || !said(&case.until, not_after) {
            return Some(format!("{}: valid from {not_before} until {not_after}", case.is));
        }
        let has: Vec<_> = content.extensions.iter().map(text).collect();
        case.has.as_ref().filter(|wanted| **wanted != has).map(|_| format!("{}: has {has:#?}", case.is))
    }

    fn issuer(&self, case: &Case, at: UnixTime) -> Issuer {
        let mut validity = Interval {
            not_before: UnixTime::parse("2026-06-30T23:58:00Z").unwrap(),
            not_after: UnixTime::parse("2027-07-01T00:00:00Z").unwrap(),
        };
        if let Some(years) = case.issuer_years {
            let not_before = at.before(Span::from_days(30));
            validity = Interval { not_before, not_after: at.after(Span::from_days(years * 365)) };
        }
        Issuer {
            authority: "plain".to_owned(),
            epoch: EpochId { generation: 1, transition: [7; 32] },
            subject: DistinguishedName::common_name("CA"),
            key: self.issuer.clone(),
            algorithm: SignatureAlgorithm::EcdsaSha256,
            validity,
            bounds: Bounds::of(self.policy.authority(authority_of(case)).unwrap()),
            manifest: None,
        }
    }

    fn input(&self, case: &Case) -> RequestInput {
        let dns = case.dns.clone().unwrap_or_else(|| vec!["a.example.test".to_owned()]);
        let subject = match case.by {
            By::Spki => SubjectInput::Spki {
                spki: self.keys[case.key.as_str()].clone(),
                common_name: case.cn.clone().unwrap_or_default(),
                names: dns
                    .into_iter()
                    .map(NameInput::Dns)
                    .chain(case.uri.iter().cloned().map(NameInput::Uri))
                    .collect(),
            },
            By::Csr | By::CsrBroken => SubjectInput::Csr(csr(case, &dns)),
        };
        let authority = authority_of(case);
        let unhex = |text: &str| {
            let digits: Vec<_> = text.chars().filter(|c| !c.is_whitespace()).collect();
            digits.chunks(2).map(|two| u8::from_str_radix(&two.iter().collect::<String>(), 16).unwrap()).collect()
        };
        let claims = case.claims.iter().map(|(oid, value)| ClaimInput { oid: oid.clone(), value: unhex(value) });
        RequestInput {
            authority: authority.to_owned(),
            profile: case.profile.clone(),
            request_id: "r-1".to_owned(),
            subject,
            lifetime_seconds: case.seconds,
            claims: claims.collect(),
            ..RequestInput::default()
        }
    }
}

fn authority_of(case: &Case) -> &'static str {
    if case.profile == "tight" { "tight" } else { "plain" }
}

fn caller() -> Caller {
    let mut parameters = rcgen::CertificateParams::default();
    let uri = "spiffe://hallmark.lab/coordinator".try_into().unwrap();
    parameters.subject_alt_names = vec![rcgen::SanType::URI(uri)];
    Caller::parse(parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der()).unwrap()
}

fn csr(case: &Case, dns: &[String]) -> Vec<u8> {
    let key = match case.key.as_str() {
        "ed25519" => rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap(),
        "ml-dsa-65" => rcgen::KeyPair::generate_for(&rcgen::PKCS_ML_DSA_65).unwrap(),
        _ => rcgen::KeyPair::generate().unwrap(),
    };
    let mut parameters = rcgen::CertificateParams::new(dns.to_vec()).unwrap();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    let extension = |oid: &String| {
        let arcs: Vec<u64> = oid.split('.').map(|arc| arc.parse().unwrap()).collect();
        rcgen::CustomExtension::from_oid_content(&arcs, vec![5, 0])
    };
    parameters.custom_extensions = case.asks.iter().map(extension).collect();
    let mut der = parameters.serialize_request(&key).unwrap().der().to_vec();
    if case.by == By::CsrBroken {
        *der.last_mut().unwrap() ^= 1;
    }
    der
}

/// The extensions that only CA certificates have.
fn constraining(extension: &Extension) -> Option<String> {
    matches!(extension, Extension::NameConstraints(_) | Extension::CertificatePolicies(_)).then(|| text(extension))
}

/// An extension in one line; `!` after its name says that it is critical.
fn text(extension: &Extension) -> String {
    use hallmark_policy::constraint::Subtree;
    let all = |name: &str, values: Vec<String>| format!("{name} {}", values.join(" "));
    let subtree = |subtree: &Subtree| match subtree {
        Subtree::Dns(base) => format!("dns:{base}"),
        Subtree::Uri(base) => format!("uri:{base}"),
        Subtree::Email(base) => format!("email:{base}"),
        Subtree::Ip(block) => format!("ip:{}", block.as_str()),
    };
    match extension {
        Extension::EndEntity => "basicConstraints! CA:FALSE".to_owned(),
        Extension::CertificateAuthority { path_len } => format!("basicConstraints! CA:TRUE {path_len}"),
        Extension::DigitalSignature => "keyUsage! digitalSignature".to_owned(),
        Extension::CertificateAndCrlSigning => "keyUsage! keyCertSign cRLSign".to_owned(),
        Extension::ExtendedKeyUsage { critical, purposes } => {
            let name = if *critical { "extKeyUsage!" } else { "extKeyUsage" };
            all(name, purposes.iter().map(|purpose| purpose.name().into_owned()).collect())
        }
        Extension::SubjectAltName { critical, names } => {
            let name = if *critical { "subjectAltName!" } else { "subjectAltName" };
            all(name, names.iter().map(ToString::to_string).collect())
        }
        Extension::SubjectKeyIdentifier(_) => "subjectKeyIdentifier".to_owned(),
        Extension::AuthorityKeyIdentifier(_) => "authorityKeyIdentifier".to_owned(),
        Extension::NameConstraints(constraints) => {
            let list = |list: &[Subtree]| list.iter().map(subtree).collect::<Vec<_>>().join(" ");
            format!(
                "nameConstraints! permitted {} excluded {}",
                list(&constraints.permitted),
                list(&constraints.excluded)
            )
        }
        Extension::CertificatePolicies(oids) => {
            all("certificatePolicies", oids.iter().map(ToString::to_string).collect())
        }
        Extension::CrlDistributionPoints(urls) => {
            all("cRLDistributionPoints", urls.iter().map(ToString::to_string).collect())
        }
        Extension::CaIssuers(urls) => all("caIssuers", urls.iter().map(ToString::to_string).collect()),
        Extension::Claim(claim) => format!("{} {}", claim.oid, hex(&claim.value)),
        Extension::EpochBinding(_) => "epochBinding".to_owned(),
    }
}
