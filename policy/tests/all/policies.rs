//! What a policy means is what was typed: every setting, read back from the policy in force.
#![expect(clippy::panic, reason = "a test that cannot go on ends by panicking")]

use hallmark_policy::{
    Caller, Method, Policy,
    caller::Identity,
    crl::CrlScope,
    file::{CaseWord, ClaimType, IntentWord, NamesFromWord, OverWord, PossessionWord},
    key::{KeyKind, SignatureAlgorithm, SpkiDigest},
    limits::Rate,
    name::NameKind,
    profile::{KeyPurpose, PolicyDigest},
    time::{Interval, Span, UnixTime},
};

pub(crate) const FULL: &str = r#"
version = 1

[keys]
denied = ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]

[authority.a]
crl = { lifetime = "7d", refresh = "1d", root-urls = ["http://crl.test/root.crl"] }
crl-urls = ["http://crl.test/{generation}.crl"]
ca-issuer-urls = ["http://ca.test/a.cer"]
policies = ["1.3.6.1.4.1.99999.1", "1.3.6.1.4.1.99999.2"]
root = { common-name = "Root", organization = "Lab", lifetime = "3650d", key = "rsa-3072", signature = "rsa-pss-sha256", offline = true }
epoch = { common-name = "CA", lifetime = "365d", key = "ecdsa-p384" }

[provider."sys.aws"]
dns-suffixes = ["aws.test", "aws.example"]

[profile.full]
authority = "a"
lifetime = { default = "1d", maximum = "7d", over = "clamp", backdate = "1m" }
keys = ["ed25519", "ecdsa-p384"]
usages = ["client-auth", "1.3.6.1.4.1.99999.7"]
possession = "caller"
policies = ["1.3.6.1.4.1.99999.2"]
window = { from = "2026-01-01T00:00:00Z", until = "2027-01-01T00:00:00Z" }
claims = [{ arc = "1.3.9901.2", count = "1..3", bytes-max = 64, types = ["integer", "boolean"] }]
providers = ["sys.aws"]
case = "fold"
common-name = "{domain}.{service}"
names = [
    { dns = "{service}.{domain:dashes}.{provider.suffix}", count = "1..2" },
    { uri = "athenz://instanceid/{provider}/{instance}", count = "0..1" },
    { ip = "10.0.0.0/8", count = "0..3" },
]
per-kind = { ip = "0..2" }
ignore = ["2.5.29.37"]
quota = { per-epoch = 100, per-caller-per-day = 10 }
rate = { per-instance = "6/h" }
one-key-one-name = true
instances = { intents = ["register", "refresh"] }

[profile.least]
authority = "a"
lifetime = { default = "1h", maximum = "2h" }
keys = ["ecdsa-p256"]
usages = ["server-auth"]
names = [{ dns = "fixed.test" }]

[caller.full]
uri = "spiffe://lab/full"
methods = ["MintCertificate", "GetChain"]
profiles = ["full"]
providers = ["sys.aws"]
rate = "200/s"

[caller.least]
dns = "least.test"
methods = ["ListEpochs"]
"#;

fn policy() -> Policy {
    Policy::parse(FULL).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_setting_of_a_profile_is_what_was_typed() {
    let policy = policy();
    let full = policy.profile("full").unwrap();
    assert_eq!((full.name(), full.authority()), ("full", "a"));
    assert_eq!((full.lifetime_default(), full.lifetime_maximum()), (Span::from_days(1), Span::from_days(7)));
    assert_eq!((full.over(), full.backdate()), (OverWord::Clamp, Span::from_secs(60)));
    assert_eq!(full.keys(), [KeyKind::Ed25519, KeyKind::EcdsaP384]);
    let usages: Vec<_> = full.usages().iter().map(KeyPurpose::name).collect();
    assert_eq!(usages, ["client-auth", "1.3.6.1.4.1.99999.7"]);
    assert_eq!((full.possession(), full.names_from()), (PossessionWord::Caller, NamesFromWord::Request));
    assert_eq!((full.workload_secret_id(), full.case()), (false, CaseWord::Fold));
    assert_eq!(full.common_name(), Some("{domain}.{service}"));
    assert_eq!(
        full.names().collect::<Vec<_>>(),
        [
            (NameKind::Dns, "{service}.{domain:dashes}.{provider.suffix}", 1, 2),
            (NameKind::Uri, "athenz://instanceid/{provider}/{instance}", 0, 1),
            (NameKind::Ip, "10.0.0.0/8", 0, 3),
        ]
    );
    assert_eq!(full.per_kind().collect::<Vec<_>>(), [(NameKind::Ip, 0, 2)]);
    assert!(full.has_instances() && full.evidence().is_none());
    let vocabulary = full.vocabulary();
    assert_eq!(vocabulary.providers[0].suffixes, ["aws.test", "aws.example"]);
    assert_eq!((vocabulary.dashed.as_slice(), vocabulary.dashes_claimed), (&["domain".to_owned()][..], false));
    assert_eq!(full.policies().iter().map(ToString::to_string).collect::<Vec<_>>(), ["1.3.6.1.4.1.99999.2"]);
    let at = |text| UnixTime::parse(text).unwrap();
    let window = Interval { not_before: at("2026-01-01T00:00:00Z"), not_after: at("2027-01-01T00:00:00Z") };
    assert_eq!(full.window(), Some(window));
    let [claim] = full.claims() else { panic!("{:?}", full.claims()) };
    assert_eq!(
        (claim.arc.to_string().as_str(), claim.at_least, claim.at_most, claim.bytes_max),
        ("1.3.9901.2", 1, 3, 64)
    );
    assert_eq!(claim.types, [ClaimType::Integer, ClaimType::Boolean]);
    assert_eq!(full.ignored(), ["2.5.29.37"]);
    let limits = full.limits();
    assert_eq!((limits.per_epoch, limits.per_caller_per_day, limits.one_key_one_name), (Some(100), Some(10), true));
    assert_eq!(limits.rate_per_instance, Rate::parse("6/h").ok());
    let instances = full.instances().unwrap();
    assert_eq!(instances.intents(), [IntentWord::Register, IntentWord::Refresh]);
    assert_eq!(instances.formats(), ["{provider}", "{instance}", "{domain}.{service}"]);
}

#[test]
fn what_is_not_typed_is_the_strict_default() {
    let policy = policy();
    let least = policy.profile("least").unwrap();
    assert_eq!((least.name(), least.over(), least.backdate()), ("least", OverWord::Refuse, Span::from_secs(300)));
    assert_eq!((least.possession(), least.case()), (PossessionWord::Csr, CaseWord::Exact));
    assert_eq!((least.lifetime_default(), least.lifetime_maximum()), (Span::from_secs(3_600), Span::from_secs(7_200)));
    assert_eq!((least.common_name(), least.window()), (None, None));
    assert_eq!(least.names().collect::<Vec<_>>(), [(NameKind::Dns, "fixed.test", 1, 1)]);
    assert!(least.claims().is_empty() && least.ignored().is_empty() && least.per_kind().next().is_none());
    assert!(!least.has_instances() && least.instances().is_none() && least.vocabulary().providers.is_empty());
    let limits = least.limits();
    assert_eq!((limits.per_epoch, limits.per_caller_per_day, limits.rate_per_instance), (None, None, None));
    assert!(!limits.one_key_one_name);
}

#[test]
fn every_setting_of_an_authority_is_what_was_typed() {
    let policy = policy();
    let authority = policy.authority("a").unwrap();
    assert_eq!(policy.authorities().map(|authority| authority.name.as_str()).collect::<Vec<_>>(), ["a"]);
    assert_eq!(
        (authority.root.subject.to_string().as_str(), authority.root.key),
        ("O = Lab, CN = Root", KeyKind::Rsa3072)
    );
    assert_eq!((authority.root.algorithm, authority.root.offline), (SignatureAlgorithm::RsaPssSha256, true));
    assert_eq!((authority.root.lifetime, authority.epoch.lifetime), (Span::from_days(3650), Span::from_days(365)));
    assert_eq!((authority.epoch.algorithm, authority.epoch.offline), (SignatureAlgorithm::EcdsaSha384, false));
    let crl = authority.crl.as_ref().unwrap();
    assert_eq!((crl.lifetime, crl.refresh, crl.distribution_point), (Span::from_days(7), Span::from_days(1), false));
    assert_eq!(crl.root_urls[0].as_str(), "http://crl.test/root.crl");
    assert_eq!(authority.crl_urls[0].of(12, CrlScope::Complete).as_str(), "http://crl.test/12.crl");
    assert_eq!(authority.ca_issuer_urls[0].to_string(), "http://ca.test/a.cer");
    assert_eq!(authority.policies.len(), 2);
    assert!(policy.authority("b").is_none() && authority.name_constraints.is_none());
}

#[test]
fn callers_and_what_they_may_are_what_was_typed() {
    let policy = policy();
    let [full, least] = policy.callers() else { panic!("{:?}", policy.callers()) };
    assert_eq!((full.name(), full.identity()), ("full", &Identity::Uri("spiffe://lab/full".to_owned())));
    assert_eq!(
        (full.methods(), full.profiles()),
        (&[Method::MintCertificate, Method::GetChain][..], &["full".to_owned()][..])
    );
    assert_eq!((full.providers(), full.rate()), (Some(&["sys.aws".to_owned()][..]), Rate::parse("200/s").ok()));
    assert_eq!((least.name(), least.identity()), ("least", &Identity::Dns("least.test".to_owned())));
    assert_eq!((least.providers(), least.rate()), (None, None));
    assert!(least.profiles().is_empty() && least.may_call(Method::ListEpochs) && !least.may_call(Method::GetChain));
    let caller = |uri: &str, dns: &str| {
        let mut parameters = rcgen::CertificateParams::default();
        let names = [rcgen::SanType::DnsName(dns.try_into().unwrap()), rcgen::SanType::URI(uri.try_into().unwrap())];
        parameters.subject_alt_names = names.to_vec();
        Caller::parse(parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der()).unwrap()
    };
    let rule = |caller: &Caller| policy.caller(caller).map(|rule| rule.name().to_owned());
    assert_eq!(rule(&caller("spiffe://lab/full", "least.test")).as_deref(), Some("least"), "the first identity counts");
    assert_eq!(rule(&caller("spiffe://lab/full", "x.test")).as_deref(), Some("full"));
    assert_eq!(rule(&caller("spiffe://lab/x", "x.test")), None);
}

#[test]
fn a_policy_has_its_text_and_its_digest() {
    let policy = policy();
    assert_eq!((policy.text(), policy.digest()), (FULL, PolicyDigest::of(FULL)));
    assert_eq!(PolicyDigest::from_bytes(*policy.digest().as_bytes()), policy.digest());
    assert_ne!(PolicyDigest::of(FULL), PolicyDigest::of(""));
    // SHA-256 of nothing.
    let of_nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(PolicyDigest::of("").to_string(), of_nothing);
    assert_eq!(policy.profiles().collect::<Vec<_>>(), [("full", "a"), ("least", "a")]);
    assert!(policy.profile("other").is_none());
    assert!(policy.denies(SpkiDigest::of(b"test")) && !policy.denies(SpkiDigest::of(b"")));
}

#[test]
fn a_policy_has_a_mebibyte_at_most() {
    use hallmark_policy::file::POLICY_BYTES_MAX;
    let filled = |bytes: usize| format!("{FULL}{}", "#".repeat(bytes - FULL.len()));
    assert!(Policy::parse(&filled(POLICY_BYTES_MAX)).is_ok());
    let error = Policy::parse(&filled(POLICY_BYTES_MAX + 1)).unwrap_err();
    assert_eq!(error.mistakes.len(), 1);
    assert!(error.to_string().contains("the file has 1048577 bytes; at most 1048576 are read"), "{error}");
}

#[test]
fn every_word_is_that_of_its_standard() {
    let purposes: Vec<_> = KeyPurpose::NAMED.iter().map(|purpose| (purpose.name(), purpose.arcs().last())).collect();
    let expected = [
        ("server-auth", 1),
        ("client-auth", 2),
        ("code-signing", 3),
        ("email-protection", 4),
        ("time-stamping", 8),
        ("ocsp-signing", 9),
    ];
    assert!(
        purposes
            .iter()
            .zip(expected)
            .all(|((name, arc), expected)| (name.as_ref(), **arc.as_ref().unwrap()) == expected)
    );
    assert!(KeyPurpose::NAMED.iter().all(|purpose| purpose.arcs().starts_with(&[1, 3, 6, 1, 5, 5, 7, 3])));
    for method in Method::ALL {
        assert_eq!(Method::from_name(method.name()), Some(method));
    }
    assert_eq!(
        Method::ALL.map(Method::name),
        ["MintCertificate", "GetChain", "RotateIntermediate", "ListEpochs", "WatchEpochs"]
    );
    assert_eq!(Method::from_name("mintCertificate"), None);
    for kind in KeyKind::ALL {
        assert_eq!((KeyKind::from_name(kind.name()), kind.to_string().as_str()), (Some(kind), kind.name()));
        let signs: Vec<_> =
            SignatureAlgorithm::ALL.into_iter().filter(|algorithm| kind.signs_with(*algorithm)).collect();
        assert!(signs.contains(&SignatureAlgorithm::default_for(kind)), "{kind}: {signs:?}");
        let expected = match kind {
            KeyKind::EcdsaP256 => vec![SignatureAlgorithm::EcdsaSha256],
            KeyKind::EcdsaP384 => vec![SignatureAlgorithm::EcdsaSha384],
            KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => {
                vec![SignatureAlgorithm::RsaPkcs1Sha256, SignatureAlgorithm::RsaPssSha256]
            }
            KeyKind::Ed25519 => vec![SignatureAlgorithm::Ed25519],
            KeyKind::MlDsa44 => vec![SignatureAlgorithm::MlDsa44],
            KeyKind::MlDsa65 => vec![SignatureAlgorithm::MlDsa65],
            KeyKind::MlDsa87 => vec![SignatureAlgorithm::MlDsa87],
        };
        assert_eq!(signs, expected, "{kind}");
    }
    assert_eq!(
        KeyKind::ALL.map(KeyKind::name),
        [
            "ecdsa-p256",
            "ecdsa-p384",
            "rsa-2048",
            "rsa-3072",
            "rsa-4096",
            "ed25519",
            "ml-dsa-44",
            "ml-dsa-65",
            "ml-dsa-87"
        ]
    );
    let algorithms = [
        "ecdsa-sha256",
        "ecdsa-sha384",
        "rsa-pkcs1-sha256",
        "rsa-pss-sha256",
        "ed25519",
        "ml-dsa-44",
        "ml-dsa-65",
        "ml-dsa-87",
    ];
    assert_eq!(SignatureAlgorithm::ALL.map(|algorithm| algorithm.to_string()), algorithms);
    for algorithm in SignatureAlgorithm::ALL {
        assert_eq!(SignatureAlgorithm::from_name(algorithm.name()), Some(algorithm));
        assert_eq!(SignatureAlgorithm::from_identifier(algorithm.identifier()), Some(algorithm));
    }
    assert_eq!((KeyKind::from_name("dsa"), SignatureAlgorithm::from_name("sha1")), (None, None));
    assert_eq!(SignatureAlgorithm::default_for(KeyKind::Rsa2048), SignatureAlgorithm::RsaPkcs1Sha256);
}

#[test]
fn names_are_shown_with_their_kind() {
    let kinds = [NameKind::CommonName, NameKind::Dns, NameKind::Uri, NameKind::Ip, NameKind::Email];
    assert_eq!(kinds.map(NameKind::short), ["cn", "dns", "uri", "ip", "email"]);
    let standard = ["commonName", "dNSName", "uniformResourceIdentifier", "iPAddress", "rfc822Name"];
    assert_eq!(kinds.map(NameKind::standard), standard);
}
