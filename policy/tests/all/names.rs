//! What a profile says to names: the cases of `names.toml`, and what holds for any names at all.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends by panicking")]

use std::{collections::BTreeMap, net::IpAddr, sync::LazyLock};

use hallmark_policy::{
    Approved, Bounds, Caller, Decision, EpochId, Issuer, NameInput, Policy, Reason, Request, RequestInput,
    SubjectInput,
    caller::Identity,
    content::{Extension, Serial},
    decide,
    key::{PublicKey, SignatureAlgorithm},
    name::DistinguishedName,
    profile::CallerRule,
    time::{Interval, Span, UnixTime},
};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    section: Vec<Section>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    title: String,
    profile: String,
    /// `coordinator` if it is not said.
    caller: Option<String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    what: String,
    cn: Option<String>,
    san: Vec<String>,
    approved: Option<Names>,
    refused: Option<Vec<String>>,
    claims: Option<Vec<String>>,
    says: Option<Vec<String>>,
    allows: Option<Vec<String>>,
}

/// `true`: those that were asked for. Or the names.
#[derive(Deserialize)]
#[serde(untagged)]
enum Names {
    AsAsked(bool),
    These(Vec<String>),
}

static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy::parse(include_str!("../names-policy.toml")).unwrap());
static CALLERS: LazyLock<BTreeMap<String, Caller>> = LazyLock::new(|| {
    let caller = |rule: &CallerRule| {
        let Identity::Uri(uri) = rule.identity() else { return None };
        let mut parameters = rcgen::CertificateParams::default();
        parameters.subject_alt_names = vec![rcgen::SanType::URI(uri.as_str().try_into().unwrap())];
        let key = rcgen::KeyPair::generate().unwrap();
        Some((rule.name().to_owned(), Caller::parse(parameters.self_signed(&key).unwrap().der()).unwrap()))
    };
    POLICY.callers().iter().filter_map(caller).collect()
});
static KEY: LazyLock<rcgen::KeyPair> = LazyLock::new(|| rcgen::KeyPair::generate().unwrap());

fn spki() -> Vec<u8> {
    use rcgen::PublicKeyData as _;
    KEY.subject_public_key_info()
}

fn now() -> UnixTime {
    UnixTime::from_secs(1_795_400_000)
}

fn ask(profile: &str, subject: SubjectInput) -> Result<Approved, Vec<Reason>> {
    ask_as("coordinator", profile, subject)
}

fn ask_as(caller: &str, profile: &str, subject: SubjectInput) -> Result<Approved, Vec<Reason>> {
    let input = RequestInput {
        authority: POLICY.profile(profile).unwrap().authority().to_owned(),
        profile: profile.to_owned(),
        request_id: "r-1".to_owned(),
        subject,
        ..RequestInput::default()
    };
    let issuer = Issuer {
        authority: input.authority.clone(),
        epoch: EpochId { generation: 1, transition: [7; 32] },
        subject: DistinguishedName::common_name("Issuing CA"),
        key: PublicKey::parse(&spki()).unwrap(),
        algorithm: SignatureAlgorithm::EcdsaSha256,
        validity: Interval { not_before: now(), not_after: now().after(Span::from_days(365)) },
        bounds: Bounds::of(POLICY.authority(&input.authority).unwrap()),
        manifest: None,
    };
    let request = Request::parse(CALLERS.get(caller).unwrap().clone(), input)?;
    match decide(&POLICY, &request, &issuer, now(), Serial::from_random([0xab; 16])) {
        Decision::Approve(approved) => Ok(*approved),
        Decision::Refuse(reasons) => {
            assert!(!reasons.is_empty(), "refused without a reason");
            Err(reasons)
        }
    }
}

fn beside_a_key(common_name: Option<&str>, names: Vec<NameInput>) -> SubjectInput {
    SubjectInput::Spki { spki: spki(), common_name: common_name.unwrap_or_default().to_owned(), names }
}

/// The same in a CSR, if the tool that writes it can.
fn in_a_csr(common_name: Option<&str>, names: &[NameInput]) -> Option<SubjectInput> {
    let mut parameters = rcgen::CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(name) = common_name {
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
    }
    for name in names {
        parameters.subject_alt_names.push(match name {
            NameInput::Dns(text) => rcgen::SanType::DnsName(text.as_str().try_into().ok()?),
            NameInput::Uri(text) => rcgen::SanType::URI(text.as_str().try_into().ok()?),
            NameInput::Email(text) => rcgen::SanType::Rfc822Name(text.as_str().try_into().ok()?),
            NameInput::Ip(octets) => {
                let v4 = <[u8; 4]>::try_from(octets.as_slice()).map(IpAddr::from);
                let v6 = <[u8; 16]>::try_from(octets.as_slice()).map(IpAddr::from);
                rcgen::SanType::IpAddress(v4.or(v6).ok()?)
            }
            NameInput::Other(_) => return None,
        });
    }
    Some(SubjectInput::Csr(parameters.serialize_request(&*KEY).unwrap().der().to_vec()))
}

/// `<64>` stands for 64 times `a`.
fn expanded(text: &str) -> String {
    let mut pieces = text.split('<');
    let mut all = pieces.next().unwrap().to_owned();
    for piece in pieces {
        match piece.split_once('>').map(|(count, rest)| (count.parse::<usize>(), rest)) {
            Some((Ok(count), rest)) => all.extend([&"a".repeat(count), rest]),
            _ => all.extend(["<", piece]),
        }
    }
    all
}

fn name(text: &str) -> NameInput {
    let text = expanded(text);
    let (kind, value) = text.split_once(':').unwrap();
    match kind {
        "dns" => NameInput::Dns(value.to_owned()),
        "uri" => NameInput::Uri(value.to_owned()),
        "email" => NameInput::Email(value.to_owned()),
        "other" => NameInput::Other("otherName"),
        "ip" => NameInput::Ip(match (value.strip_prefix("0x"), value.parse::<IpAddr>()) {
            (Some(hex), _) => {
                (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
            }
            (None, Ok(IpAddr::V4(address))) => address.octets().to_vec(),
            (None, Ok(IpAddr::V6(address))) => address.octets().to_vec(),
            (None, Err(_)) => panic!("no address: {text}"),
        }),
        _ => panic!("no kind: {text}"),
    }
}

/// What the certificate would say: its common name and its subjectAltName.
fn signed_names(approved: &Approved) -> Vec<String> {
    let content = approved.certificate().unwrap();
    let mut names: Vec<_> = content.subject.attributes().iter().map(|(_, value)| format!("cn:{value}")).collect();
    for extension in &content.extensions {
        if let Extension::SubjectAltName { critical, names: alternative } = extension {
            assert_eq!(*critical, names.is_empty(), "critical where there is no subject, and only there");
            names.extend(alternative.iter().map(ToString::to_string));
        }
    }
    names
}

fn judge(place: &str, case: &Case, asked: &[String], answer: Result<Approved, Vec<Reason>>) -> Result<(), String> {
    match (answer, &case.approved, &case.refused) {
        (Ok(approved), Some(expected), None) => {
            let expected = match expected {
                Names::AsAsked(true) => asked,
                Names::AsAsked(false) => panic!("{place}: write `refused` with the reasons"),
                Names::These(names) => names,
            };
            let names = signed_names(&approved);
            let claims: Vec<_> =
                approved.conditions().claims.iter().map(|claim| format!("{} = {}", claim.form, claim.name)).collect();
            if names != *expected {
                return Err(format!("{place}: it has {names:?}"));
            }
            assert_eq!(approved.facts().names, names, "{place}: what is logged is what is signed");
            match &case.claims {
                Some(expected) if claims != *expected => Err(format!("{place}: it claims {claims:?}")),
                Some(_) | None => Ok(()),
            }
        }
        (Err(reasons), None, Some(expected)) => {
            let codes: Vec<_> = reasons.iter().map(|reason| reason.code.as_str()).collect();
            let says = |wanted: &Vec<String>| {
                wanted.len() == reasons.len()
                    && wanted.iter().zip(&reasons).all(|(part, reason)| reason.sentence.contains(part))
            };
            let allows = |wanted: &Vec<String>| {
                let allowed = reasons.iter().map(|reason| reason.allowed.as_deref().unwrap_or_default());
                allowed.eq(wanted.iter().map(String::as_str))
            };
            let holds =
                codes == *expected && case.says.as_ref().is_none_or(says) && case.allows.as_ref().is_none_or(allows);
            if holds { Ok(()) } else { Err(format!("{place}: refused with {reasons:#?}")) }
        }
        (Ok(approved), ..) => Err(format!("{place}: approved with {:?}", signed_names(&approved))),
        (Err(reasons), ..) => Err(format!("{place}: refused with {reasons:#?}")),
    }
}

#[test]
fn every_case_of_the_corpus_is_decided_as_it_says_beside_a_key_and_in_a_csr() {
    let corpus: Corpus = toml::from_str(include_str!("../names.toml")).unwrap();
    let mut wrong = Vec::new();
    let (mut beside, mut in_csr) = (0, 0);
    for section in &corpus.section {
        for case in &section.cases {
            let common_name = case.cn.as_deref().map(expanded);
            let names: Vec<_> = case.san.iter().map(|text| name(text)).collect();
            let asked: Vec<_> = common_name
                .iter()
                .map(|name| format!("cn:{name}"))
                .chain(names.iter().map(ToString::to_string))
                .collect();
            let place = format!("{} / {}", section.title, case.what);
            let caller = section.caller.as_deref().unwrap_or("coordinator");
            let answer = ask_as(caller, &section.profile, beside_a_key(common_name.as_deref(), names.clone()));
            wrong.extend(judge(&place, case, &asked, answer).err());
            beside += 1;
            if let Some(csr) = in_a_csr(common_name.as_deref(), &names) {
                wrong.extend(
                    judge(&format!("{place} (CSR)"), case, &asked, ask_as(caller, &section.profile, csr)).err(),
                );
                in_csr += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(beside >= 300 && in_csr >= 250, "{beside} beside a key, {in_csr} in a CSR");
}

/// Pieces from which right, nearly right and wrong names come together.
fn piece() -> impl Strategy<Value = String> {
    let fixed = [
        "api",
        "sports",
        "a",
        "b-c",
        "user",
        ".",
        "-",
        "a.b",
        "a-b",
        "aws.athenz.cloud",
        "gcp.athenz.cloud",
        "instanceid",
        "athenz",
        "evil.com",
        "spiffe://",
        "athenz://",
        "/",
        "sa",
        "*.",
        "*",
        "API",
        "\u{212a}",
        "xn--a",
        "\0",
        ",",
        ":role.",
        "aws.athenz.example",
        "instanceid/sys.aws/i-1",
        "prod.example",
        "..",
        " ",
        "_",
    ];
    prop_oneof![8 => prop::sample::select(fixed.to_vec()).prop_map(ToOwned::to_owned), 1 => any::<String>()]
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(piece(), 0..6).prop_map(|pieces| pieces.concat())
}

fn any_name() -> impl Strategy<Value = NameInput> {
    prop_oneof![
        text().prop_map(NameInput::Dns),
        text().prop_map(NameInput::Uri),
        text().prop_map(NameInput::Email),
        prop::collection::vec(any::<u8>(), 0..18).prop_map(NameInput::Ip),
        Just(NameInput::Other("otherName")),
    ]
}

fn profile() -> impl Strategy<Value = &'static str> {
    prop::sample::select(POLICY.profiles().map(|(name, _)| name).collect::<Vec<_>>())
}

/// Upper case at random places.
fn shouted(text: &str, mask: u64) -> String {
    let shout = |(at, character): (usize, char)| {
        if mask >> (at % 64) & 1 == 1 { character.to_ascii_uppercase() } else { character }
    };
    text.chars().enumerate().map(shout).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_names_are_decided(profile in profile(), common_name in text(), names in prop::collection::vec(any_name(), 0..5)) {
        let asked = names.len();
        if let Ok(approved) = ask(profile, beside_a_key(Some(&common_name), names)) {
            let subject = usize::from(!approved.certificate().unwrap().subject.is_empty());
            prop_assert_eq!(signed_names(&approved).len(), asked + subject);
        }
    }

    /// Whatever domain, service and zone are put together: what is approved is what the common name says, in a zone of ours.
    #[test]
    fn no_approved_name_lies_outside_its_zone(
        profile in prop::sample::select(vec!["service", "folded"]),
        domain in "[a-c]([.-]?[a-c]){0,3}", service in "[a-c](-?[a-c]){0,2}",
        other_domain in "[a-c]([.-]?[a-c]){0,3}", other_service in "[a-c](-?[a-c]){0,2}",
        zone in prop::sample::select(vec!["aws.athenz.cloud", "aws.athenz.example", "gcp.athenz.cloud", "k8s.athenz.cloud", "evil.aws.athenz.cloud", "athenz.cloud"]),
        take_other in any::<(bool, bool)>(),
        more in prop::collection::vec(any_name(), 0..2),
    ) {
        let written_domain = if take_other.0 { &other_domain } else { &domain };
        let written_service = if take_other.1 { &other_service } else { &service };
        let dns = format!("{written_service}.{}.{zone}", written_domain.replace('.', "-"));
        let mut names = vec![NameInput::Dns(dns.clone())];
        names.extend(more);
        let Ok(approved) = ask(profile, beside_a_key(Some(&format!("{domain}.{service}")), names)) else { return Ok(()) };
        let ours = ["aws.athenz.cloud", "aws.athenz.example", "gcp.athenz.cloud"];
        prop_assert!(ours.contains(&zone));
        let form = domain.replace('.', "-");
        for name in signed_names(&approved) {
            if let Some(uri) = name.strip_prefix("uri:spiffe://") {
                prop_assert!(uri.contains(&format!("/sa/{domain}.{service}")) || uri == format!("{domain}/sa/{service}"), "{name}");
            }
            let Some(dns) = name.strip_prefix("dns:") else { continue };
            let of_service = ours.iter().any(|zone| {
                let own = format!("{service}.{form}.{zone}");
                dns == own || dns == format!("*.{own}") || dns.ends_with(&format!(".instanceid.athenz.{zone}"))
            });
            prop_assert!(of_service, "{name} for {domain}.{service}");
        }
        if form.contains('-') {
            let claims: Vec<_> = approved.conditions().claims.iter().map(|claim| (&claim.form, &claim.name)).collect();
            prop_assert_eq!(claims, vec![(&form, &domain)]);
        }
        prop_assert!(profile == "folded" || !domain.contains('-'), "a dash where none is taken");
    }

    #[test]
    fn folding_changes_nothing_but_ascii_case(
        domain in "[a-z]{1,3}(\\.[a-z]{1,3}){0,2}", service in "[a-z]{1,4}", mask in any::<u64>(),
    ) {
        let common_name = format!("{domain}.{service}");
        let dns = format!("{service}.{}.aws.athenz.cloud", domain.replace('.', "-"));
        let uri = format!("spiffe://{domain}/sa/{service}");
        let (scheme_and_host, path) = uri.split_at(uri.find("/sa/").unwrap());
        let asked = [shouted(&common_name, mask), shouted(&dns, mask), format!("{}{path}", shouted(scheme_and_host, mask))];
        let names = vec![NameInput::Dns(asked[1].clone()), NameInput::Uri(asked[2].clone())];
        let subject = beside_a_key(Some(&asked[0]), names);
        let approved = ask("folded", subject.clone());
        prop_assume!(domain != "user");
        let expected = vec![format!("cn:{common_name}"), format!("dns:{dns}"), format!("uri:{uri}")];
        prop_assert_eq!(signed_names(&approved.unwrap()), expected);
        let changed = asked != [common_name, dns, uri];
        prop_assert_eq!(ask("service", subject).is_err(), changed, "exact case takes lower case only");
    }

    #[test]
    fn what_is_approved_differs_from_what_was_asked_in_ascii_case_at_most(
        profile in profile(), common_name in text(), names in prop::collection::vec(any_name(), 0..4),
    ) {
        let asked: Vec<_> = names.iter().map(ToString::to_string).collect();
        if let Ok(approved) = ask(profile, beside_a_key(Some(&common_name), names)) {
            let signed = signed_names(&approved);
            let alternative: Vec<_> = signed.iter().filter(|name| !name.starts_with("cn:")).collect();
            prop_assert_eq!(alternative.len(), asked.len());
            for (signed, asked) in alternative.into_iter().zip(&asked) {
                prop_assert!(signed.eq_ignore_ascii_case(asked), "{} {}", signed, asked);
                prop_assert!(profile == "folded" || signed == asked);
            }
        }
    }
}
