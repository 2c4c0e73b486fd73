//! Evidence: the cases of `evidence.toml`, and what a policy may say about it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends by panicking")]
#![expect(clippy::indexing_slicing, reason = "what a test indexes is there, or the test fails")]

mod provider;

use std::{collections::BTreeMap, sync::LazyLock};

use hallmark_policy::{
    Approved, Bounds, Caller, Decision, EpochId, Issuer, NameInput, Policy, Reason, Request, RequestInput,
    SubjectInput,
    content::Serial,
    decide,
    evidence::{EVIDENCE_JWT_BYTES_MAX, thumbprint},
    key::{PublicKey, SignatureAlgorithm},
    meaning,
    name::DistinguishedName,
    time::{Interval, Span, UnixTime},
};
use provider::{NOW, Provider, decoded, encoded};
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
    cases: Vec<Case>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Case {
    what: String,
    profile: Option<String>,
    common_name: Option<String>,
    without_instance: bool,
    header: BTreeMap<String, String>,
    drop_header: Vec<String>,
    set: BTreeMap<String, String>,
    drop: Vec<String>,
    head: Option<String>,
    payload: Option<String>,
    signer: Option<String>,
    alg: Option<String>,
    change: Option<String>,
    text: Option<String>,
    refused: Vec<String>,
    says: Vec<String>,
}

static PROVIDER: LazyLock<Provider> = LazyLock::new(Provider::new);
static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy::parse(&policy(&evidence())).unwrap());
static CALLER: LazyLock<Caller> = LazyLock::new(|| {
    let mut parameters = rcgen::CertificateParams::default();
    parameters.subject_alt_names = vec![rcgen::SanType::URI("spiffe://lab/coordinator".try_into().unwrap())];
    Caller::parse(parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der()).unwrap()
});

/// The keys of the provider as the policy writes them: some as JWKs, some as PEM.
fn keys() -> String {
    let keys = &PROVIDER.keys;
    let jwks = [
        keys["p256"].jwk(r#","kid":"p256","use":"sig","alg":"ES256","key_ops":["verify"]"#),
        keys["p384"].jwk(r#","kid":"p384""#),
        keys["rsa"].jwk(r#","kid":"rsa""#),
        keys["rsa"].jwk(r#","kid":"pss","alg":"PS256""#),
    ];
    let (ed25519, nameless) = (keys["ed25519"].pem(), keys["nameless"].pem());
    format!(
        "jwks = '{{\"keys\":[{}]}}'\n\
         keys = [{{ kid = \"ed25519\", spki = '''\n{ed25519}''' }}, {{ spki = '''\n{nameless}''' }}]\n",
        jwks.join(",")
    )
}

fn evidence() -> String {
    format!(
        "issuer = \"https://provider.test\"\n\
         audience = \"hallmark\"\n\
         algorithms = [\"ES256\", \"ES384\", \"EdDSA\", \"PS256\", \"RS256\"]\n\
         max-age = \"5m\"\n\
         claims = {{ sub = \"{{domain}}.{{service}}\", instance = \"{{instance}}\", provider = \"{{provider}}\" }}\n{}",
        keys()
    )
}

/// A policy whose profile `service` wants this evidence.
fn policy(evidence: &str) -> String {
    let profile = |name: &str| {
        format!(
            "[profile.{name}]\n\
             authority = \"a\"\n\
             lifetime = {{ default = \"1d\", maximum = \"1d\" }}\n\
             keys = [\"ecdsa-p256\"]\n\
             usages = [\"client-auth\"]\n\
             possession = \"caller\"\n\
             providers = [\"sys.aws\", \"sys.gcp\"]\n\
             common-name = \"{{domain}}.{{service}}\"\n\
             names = [{{ dns = \"{{service}}.{{domain:dashes}}.{{provider.suffix}}\" }}, \
             {{ uri = \"athenz://instanceid/{{provider}}/{{instance}}\", count = \"0..1\" }}]\n"
        )
    };
    let (service, plain, by_digest) = (profile("service"), profile("plain"), profile("by-digest"));
    let jwk = PROVIDER.keys["p256"].jwk(r#","kid":"p256""#);
    format!(
        "version = 1\n\
         [authority.a]\n\
         root = {{ common-name = \"root\", lifetime = \"3650d\", key = \"ecdsa-p256\" }}\n\
         epoch = {{ common-name = \"epoch\", lifetime = \"365d\", key = \"ecdsa-p256\" }}\n\
         [provider.\"sys.aws\"]\ndns-suffixes = [\"aws.test\"]\n\
         [provider.\"sys.gcp\"]\ndns-suffixes = [\"gcp.test\"]\n\
         {plain}\
         {by_digest}\
         [profile.by-digest.evidence]\n\
         issuer = \"https://provider.test\"\n\
         audience = \"hallmark\"\n\
         algorithms = [\"ES256\"]\n\
         jwks = '{{\"keys\":[{jwk}]}}'\n\
         max-age = \"5m\"\n\
         typ = \"evidence+jwt\"\n\
         confirmation = \"spki-sha256\"\n\
         claims = {{ sub = \"{{domain}}.{{service}}\", instance = \"{{instance}}\" }}\n\
         [caller.coordinator]\n\
         uri = \"spiffe://lab/coordinator\"\n\
         methods = [\"MintCertificate\"]\n\
         profiles = [\"service\", \"plain\", \"by-digest\"]\n\
         {service}\
         [profile.service.evidence]\n{evidence}\n"
    )
}

fn input(case: &Case, jwt: String) -> RequestInput {
    let mut names = vec![NameInput::Dns("api.sports.aws.test".to_owned())];
    if !case.without_instance {
        names.push(NameInput::Uri("athenz://instanceid/sys.aws/i-1".to_owned()));
    }
    RequestInput {
        authority: "a".to_owned(),
        profile: case.profile.clone().unwrap_or_else(|| "service".to_owned()),
        request_id: "r-1".to_owned(),
        subject: SubjectInput::Spki {
            spki: PROVIDER.subject.clone(),
            common_name: case.common_name.clone().unwrap_or_else(|| "sports.api".to_owned()),
            names,
        },
        evidence_jwt: jwt,
        ..RequestInput::default()
    }
}

fn ask(input: RequestInput) -> Result<Approved, Vec<Reason>> {
    let now = UnixTime::from_secs(NOW);
    let issuer = Issuer {
        authority: "a".to_owned(),
        epoch: EpochId { generation: 1, transition: [7; 32] },
        subject: DistinguishedName::common_name("epoch"),
        key: PublicKey::parse(&PROVIDER.other).unwrap(),
        algorithm: SignatureAlgorithm::EcdsaSha256,
        validity: Interval { not_before: now, not_after: now.after(Span::from_days(365)) },
        bounds: Bounds::default(),
        manifest: None,
    };
    let request = Request::parse(CALLER.clone(), input)?;
    match decide(&POLICY, &request, &issuer, now, Serial::from_random([0xab; 16])) {
        Decision::Approve(approved) => Ok(*approved),
        Decision::Refuse(reasons) => Err(reasons),
    }
}

/// An object with these members changed.
fn object(good: &[(&str, &str)], set: &BTreeMap<String, String>, drop: &[String]) -> String {
    let mut members: BTreeMap<_, _> =
        good.iter().map(|(name, json)| ((*name).to_owned(), (*json).to_owned())).collect();
    members.extend(set.clone());
    let members: Vec<_> = members
        .iter()
        .filter(|(name, _)| !drop.contains(name))
        .map(|(name, json)| format!("\"{name}\":{}", PROVIDER.expanded(json)))
        .collect();
    format!("{{{}}}", members.join(","))
}

const HEADER: [(&str, &str); 2] = [("alg", "\"ES256\""), ("kid", "\"p256\"")];

const CLAIMS: [(&str, &str); 8] = [
    ("iss", "\"https://provider.test\""),
    ("aud", "\"hallmark\""),
    ("iat", "NOW"),
    ("exp", "NOW+120"),
    ("cnf", "{\"jkt\":\"JKT\"}"),
    ("sub", "\"sports.api\""),
    ("instance", "\"i-1\""),
    ("provider", "\"sys.aws\""),
];

fn header(case: &Case) -> String {
    case.head.clone().unwrap_or_else(|| object(&HEADER, &case.header, &case.drop_header))
}

fn payload(case: &Case) -> String {
    let whole = case.payload.as_ref().map(|text| PROVIDER.expanded(text));
    whole.unwrap_or_else(|| object(&CLAIMS, &case.set, &case.drop))
}

fn signed(case: &Case, header: &str, payload: &str) -> String {
    let signing_input = format!("{}.{}", encoded(header), encoded(payload));
    let signer = &PROVIDER.keys[case.signer.as_deref().unwrap_or("p256")];
    let signature = signer.sign(case.alg.as_deref(), signing_input.as_bytes());
    format!("{signing_input}.{}", encoded(signature))
}

/// A JWT of exactly so many bytes: a claim that nobody looks at fills it.
fn filled(case: &Case, bytes: usize) -> String {
    let of = |fill: usize| payload(case).replacen('{', &format!("{{\"fill\":\"{}\",", "x".repeat(fill)), 1);
    let encoded_bytes = |bytes: usize| (bytes * 4).div_ceil(3);
    for typ in ["", ",\"typ\":\"JWT\""] {
        let header = header(case).replace('}', &format!("{typ}}}"));
        let rest = encoded_bytes(header.len()) + ".".len() + ".".len() + encoded_bytes(64);
        let empty = of(0).len();
        if let Some(fill) = (0..bytes).find(|fill| rest + encoded_bytes(empty + fill) == bytes) {
            return signed(case, &header, &of(fill));
        }
    }
    panic!("no JWT has {bytes} bytes");
}

fn jwt(case: &Case) -> String {
    if let Some(text) = &case.text {
        return text.clone();
    }
    let good = signed(case, &header(case), &payload(case));
    let parts: Vec<&str> = good.split('.').collect();
    let with = |header: &str, payload: &str, signature: &str| format!("{header}.{payload}.{signature}");
    let [head, body, signature] = parts[..] else { panic!("three parts") };
    let Some(change) = &case.change else { return good };
    match change.as_str() {
        "header" => with(&encoded(header(case).replace('{', "{\"typ\":\"JWT\",")), body, signature),
        "payload" => with(head, &encoded(payload(case).replace("\"aud\"", "\"jti\":\"1\",\"aud\"")), signature),
        "signature" => {
            let first = if signature.starts_with('A') { "B" } else { "A" };
            with(head, body, &format!("{first}{}", &signature[1..]))
        }
        "half" => with(head, body, &encoded(&decoded(signature)[..32])),
        "zero" => with(head, body, &encoded([0; 64])),
        "none" => with(head, body, ""),
        "padding" => format!("{good}=="),
        "letters" => with(head, body, &format!("+{}", &signature[1..])),
        "bits" => format!("{}B", &good[..good.len() - 1]),
        "newline" => format!("{good}\n"),
        "oversized" => filled(case, EVIDENCE_JWT_BYTES_MAX + 1),
        "as-long-as-can-be" => filled(case, EVIDENCE_JWT_BYTES_MAX),
        _ => panic!("no change: {change}"),
    }
}

#[test]
fn every_case_of_the_corpus_is_decided_as_it_says() {
    let corpus: Corpus = toml::from_str(include_str!("../evidence.toml")).unwrap();
    let (mut wrong, mut cases) = (Vec::new(), 0);
    for section in &corpus.section {
        for case in &section.cases {
            cases += 1;
            let (codes, told) = match ask(input(case, jwt(case))) {
                Ok(_) => (Vec::new(), Vec::new()),
                Err(reasons) => (reasons.iter().map(|reason| reason.code.as_str().to_owned()).collect(), reasons),
            };
            let says =
                case.says.len() == told.len() && told.iter().zip(&case.says).all(|(it, say)| it.sentence.contains(say));
            if codes != case.refused || !(case.says.is_empty() || says) {
                wrong.push(format!("{} / {}: {told:#?}", section.title, case.what));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(cases >= 120, "{cases} cases");
}

fn good() -> Case {
    Case::default()
}

#[test]
fn what_is_approved_says_which_evidence_and_which_key_of_the_policy_verified_it() {
    let jwt = jwt(&good());
    let approved = ask(input(&good(), jwt.clone())).unwrap();
    let evidence = approved.facts().evidence.as_ref().unwrap();
    assert_eq!(evidence.jwt, jwt.as_bytes());
    let verified_by = evidence.verified_by.as_ref().unwrap();
    let key = PublicKey::parse(&PROVIDER.keys["p256"].spki()).unwrap();
    assert_eq!((verified_by.kid.as_str(), verified_by.spki), ("p256", key.digest()));
}

#[test]
fn other_evidence_under_the_same_request_id_is_another_request() {
    let digest = |jwt: String| *Request::parse(CALLER.clone(), input(&good(), jwt)).unwrap().content_sha256();
    let (one, other) = (jwt(&good()), jwt(&good()));
    assert_ne!(one, other, "ECDSA signs differently each time");
    assert_eq!(digest(one.clone()), digest(one.clone()));
    assert_ne!(digest(one.clone()), digest(other));
    assert_ne!(digest(one), digest(String::new()));
}

#[test]
fn a_jwt_for_one_key_is_worth_nothing_for_another() {
    let mut stolen = input(&good(), jwt(&good()));
    let SubjectInput::Spki { spki, .. } = &mut stolen.subject else { panic!("a bare key") };
    spki.clone_from(&PROVIDER.other);
    let reasons = ask(stolen).unwrap_err();
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert_eq!(reasons[0].code.as_str(), "EVIDENCE_OF_OTHER_KEY");
}

#[test]
fn a_thumbprint_is_that_of_rfc_7638_and_rfc_8037() {
    let parse = |spki: &[u8]| thumbprint(&PublicKey::parse(spki).unwrap());
    // RFC 8037, appendix A.3.
    let x = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let x: Vec<u8> = (0..64).step_by(2).map(|at| u8::from_str_radix(&x[at..at + 2], 16).unwrap()).collect();
    let spki = [b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00".as_slice(), &x].concat();
    assert_eq!(parse(&spki), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    // RFC 7638, section 3.1.
    let pem = include_str!("evidence/rfc7638.pem");
    let (_, spki) = pem_rfc7468::decode_vec(pem.trim().as_bytes()).unwrap();
    assert_eq!(parse(&spki), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    // What Python's hashlib makes of the JWKs of keys that openssl made.
    let keys: toml::Table = toml::from_str(include_str!("../owners.toml")).unwrap();
    let thumbprint = |name: &str| {
        let hex = keys["keys"][name].as_str().unwrap();
        parse(
            &(0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect::<Vec<_>>(),
        )
    };
    assert_eq!(thumbprint("p256"), "gzVgGx_AHqbg5TAfIgKJbY1eg2P7kDf0eHBqNVLxM9M");
    assert_eq!(thumbprint("p384"), "CgRsKsXx9X9F_l94GiSUh3X8W_YzaJgSqO0OfPHlngE");
}

#[test]
fn what_a_policy_wants_of_evidence_is_said_in_sentences() {
    let told = meaning::tell(&POLICY).lines.join("\n");
    for sentence in [
        "Evidence is required: a JWT of `https://provider.test` for `hallmark`, at most 5m old by clocks that differ by 30s at most.",
        "It is signed with ES256 by the key `p256` (ecdsa-p256).",
        "It says `instance` as `{instance}`, `provider` as `{provider}` and `sub` as `{domain}.{service}`, and confirms the key as `jkt`.",
        "It says `instance` as `{instance}` and `sub` as `{domain}.{service}`, and confirms the key as `spki_sha256`.",
    ] {
        assert!(told.contains(sentence), "{sentence}\n{told}");
    }
}

#[test]
fn every_mistake_about_evidence_is_told_with_its_place() {
    let p256 = |more: &str| PROVIDER.keys["p256"].jwk(more);
    let jwks = |keys: &[String]| format!("jwks = '{{\"keys\":[{}]}}'\nkeys = []\n", keys.join(","));
    let with_keys = |keys: String, algorithms: &str| {
        evidence()
            .replace(&self::keys(), &keys)
            .replace("[\"ES256\", \"ES384\", \"EdDSA\", \"PS256\", \"RS256\"]", algorithms)
    };
    let es256 = |keys: String| with_keys(keys, "[\"ES256\"]");
    let replaced = |from: &str, to: &str| {
        let changed = evidence().replacen(from, to, 1);
        assert_ne!(changed, evidence(), "{from}");
        changed
    };
    let cases = [
        (replaced("\"https://provider.test\"", "\"\""), "`issuer` has 1 to 512 bytes"),
        (replaced("\"hallmark\"", "\"hall mark\""), "`audience` has 1 to 512 bytes"),
        (replaced("max-age = \"5m\"", "max-age = \"25h\""), "`max-age` is 25h; it lies between 1s and 1d"),
        (replaced("max-age = \"5m\"", "max-age = \"5m\"\nclock-skew = \"6m\""), "`clock-skew` is 6m"),
        (
            replaced("\"ES384\"", "\"HS256\""),
            "there is no algorithm `HS256`; there are ES256, ES384, EdDSA, PS256, RS256",
        ),
        (replaced("\"ES384\"", "\"none\""), "there is no algorithm `none`"),
        (replaced("\"ES384\"", "\"ES256\""), "`algorithms` has `ES256` twice"),
        (with_keys(self::keys(), "[]"), "`algorithms` is empty"),
        (es256(self::keys()), "`algorithms` has none for the key `p384`, which is ecdsa-p384"),
        (with_keys(jwks(&[p256("")]), "[\"ES256\", \"RS256\"]"), "`algorithms`: no key signs with `RS256`"),
        (es256(String::new()), "it has no key: name `keys` or `jwks`"),
        (es256(jwks(&[])), "it has no key"),
        (es256(jwks(&[p256(""), p256("")])), "two keys are the key without a `kid`"),
        (es256(jwks(&[p256(",\"kid\":\"a\""), p256(",\"kid\":\"a\"")])), "two keys are the key `a`"),
        (es256(jwks(&[p256(",\"kid\":\"\"")])), "a `kid` has 1 to 512 bytes"),
        (es256(jwks(&[p256(",\"d\":\"AAAA\"")])), "`jwks`: key 1: `d` belongs to a key that is kept secret"),
        (es256(jwks(&[r#"{"kty":"oct","k":"AAAA"}"#.to_owned()])), "`k` belongs to a key that is kept secret"),
        (es256(jwks(&[p256(",\"x5c\":[]")])), "`x5c` is not read; leave it out"),
        (es256(jwks(&[p256(",\"use\":\"enc\"")])), "`use` is not `sig`"),
        (es256(jwks(&[p256(",\"key_ops\":[\"sign\"]")])), "`key_ops` is not"),
        (es256(jwks(&[p256(",\"alg\":\"ES384\"")])), "`alg` is ES384, which no ecdsa-p256 key signs with"),
        (es256(jwks(&[p256(",\"alg\":\"HS256\"")])), "`alg`: there is no `HS256` here"),
        (es256(jwks(&[p256(",\"kty\":\"EC\"")])), "the member `kty` stands twice"),
        (es256(jwks(&[p256("").replace("\"x\":\"", "\"x\":\"AAAA")])), "`x` and `y` have"),
        (es256(jwks(&[p256("").replace("P-256", "P-521")])), "`kty` and `crv` are none of"),
        (es256(jwks(&[p256("").replace("\"x\":\"", "\"x\":\"==")])), "`x` is not base64url"),
        (
            es256(jwks(&[format!(r#"{{"kty":"EC","crv":"P-256","x":"{0}","y":"{0}"}}"#, encoded([1; 32]))])),
            "the point is not on the curve",
        ),
        (es256(jwks(&[format!(r#"{{"kty":"RSA","n":"{}","e":"AQAB"}}"#, encoded([0xff; 128]))])), "RSA of 1024 bits"),
        (es256(jwks(&[r#"{"kty":"RSA","n":"AAEC","e":"AQAB"}"#.to_owned()])), "`n` or `e` is no number"),
        (es256(jwks(&["7".to_owned()])), "key 1 is no object"),
        (es256("jwks = '[]'\n".to_owned()), "`jwks`: it is no object"),
        (es256("jwks = '{}'\n".to_owned()), "it has no list `keys`"),
        (es256("jwks = '{\"keys\":[],\"more\":1}'\n".to_owned()), "`more` beside `keys` is not read"),
        (es256("keys = [{ spki = \"AAAA\" }]\n".to_owned()), "`spki` is not one strict PEM block"),
        (
            es256(format!(
                "keys = [{{ kid = \"a\", spki = '''{}''' }}]\n",
                PROVIDER.keys["p256"].pem().replace("PUBLIC", "PRIVATE")
            )),
            "`keys`: `a`: a private key is known to others from now on",
        ),
        (
            es256(format!(
                "keys = [{{ spki = '''{}''' }}]\n",
                PROVIDER.keys["p256"].pem().replace("PUBLIC KEY", "CERTIFICATE")
            )),
            "labelled otherwise than PUBLIC KEY",
        ),
        (
            replaced("instance = \"{instance}\", ", ""),
            "none has `{instance}`: evidence of one instance would do for another",
        ),
        (replaced("sub = \"{domain}.{service}\"", "sub = \"{nobody}\""), "no format binds `{nobody}`"),
        (
            replaced("provider = \"{provider}\"", "provider = \"{provider.suffix}\""),
            "no format binds `{provider.suffix}`",
        ),
        (replaced("sub = \"{domain}.{service}\"", "sub = \"*.{service}\""), "a wildcard stands in a dNSName only"),
        (replaced("sub = \"{domain}.{service}\"", "sub = \"{domain\""), "a brace in the format has no partner"),
        (replaced("sub = ", "iss = "), "`claims`: `iss` is looked at by itself"),
        (replaced("sub = ", "cnf = "), "`claims`: `cnf` is looked at by itself"),
    ];
    for (evidence, told) in cases {
        let error = Policy::parse(&policy(&evidence)).expect_err(told);
        let found = |mistake: &hallmark_policy::profile::Mistake| {
            mistake.line.is_some()
                && mistake.to_string().contains("[profile.service.evidence]")
                && mistake.to_string().contains(told)
        };
        assert!(error.mistakes.iter().any(found), "{told}\n{error}");
    }
}

#[test]
fn a_word_that_evidence_does_not_know_is_a_mistake() {
    for line in
        ["confirmation = \"jwk\"", "required = false", "jwks-uri = \"https://provider.test/jwks\"", "secret = \"x\""]
    {
        assert!(Policy::parse(&policy(&format!("{}\n{line}", evidence()))).is_err(), "{line}");
    }
}

#[test]
fn settings_of_evidence_have_their_lengths() {
    let told = |from: &str, to: &str| {
        let changed = evidence().replacen(from, to, 1);
        assert_ne!(changed, evidence(), "{from}");
        let read = Policy::parse(&policy(&changed));
        read.map_or_else(
            |error| error.mistakes.into_iter().map(|mistake| mistake.sentence).collect::<String>(),
            |_| String::new(),
        )
    };
    let long = |bytes: usize| format!("\"{}\"", "a".repeat(bytes));
    for field in ["\"https://provider.test\"", "\"hallmark\""] {
        assert_eq!(told(field, &long(512)), "");
        assert!(told(field, &long(513)).contains("has 1 to 512 bytes of visible ASCII"));
    }
    for (age, fits) in [("1s", true), ("1d", true), ("0s", false), ("86401s", false)] {
        assert_eq!(told("max-age = \"5m\"", &format!("max-age = \"{age}\"")).is_empty(), fits, "{age}");
    }
    for (skew, fits) in [("0s", true), ("5m", true), ("301s", false)] {
        let skew = format!("max-age = \"5m\"\nclock-skew = \"{skew}\"");
        assert_eq!(told("max-age = \"5m\"", &skew).is_empty(), fits, "{skew}");
    }
    let claims = |count: usize| {
        let more: String = (0..count - 3).map(|number| format!("more{number} = \"x\", ")).collect();
        told("claims = { ", &format!("claims = {{ {more}"))
    };
    assert_eq!(claims(16), "");
    let written = "claims = { sub = \"{domain}.{service}\", instance = \"{instance}\", provider = \"{provider}\" }";
    let none = told(written, "claims = {}");
    assert!(none.contains("`claims` has 0 entries") && none.contains("none has `{instance}`"), "{none}");
    assert!(none.contains("`claims`: none has a part"), "{none}");
    assert!(told(written, "claims = { sub = \"{service}\" }").contains("none has `{instance}`"));
    let of_any_service = told(written, "claims = { instance = \"{instance}\" }");
    assert!(of_any_service.contains("none has `{domain}`") && of_any_service.contains("none has `{service}`"));
    let apart = "claims = { d = \"{domain}\", s = \"{service}\", instance = \"{instance}\" }";
    assert_eq!(told(written, apart), "");
    let many = claims(17);
    assert!(many.contains("`claims` has 17 entries"), "{many}");
    let keys_of = |count: usize| {
        let jwks: Vec<_> = (0..count).map(|kid| PROVIDER.keys["p256"].jwk(&format!(",\"kid\":\"{kid}\""))).collect();
        let changed = evidence().replace(&keys(), &format!("jwks = '{{\"keys\":[{}]}}'\n", jwks.join(",")));
        let changed = changed.replace("[\"ES256\", \"ES384\", \"EdDSA\", \"PS256\", \"RS256\"]", "[\"ES256\"]");
        let read = Policy::parse(&policy(&changed));
        read.map_or_else(|error| error.mistakes[0].sentence.clone(), |_| String::new())
    };
    assert_eq!((keys_of(32).as_str(), keys_of(33).as_str()), ("", "it has 33 keys"));
    let padded = |bytes: usize| {
        let jwks = PROVIDER.keys["p256"].jwk("");
        let text = format!("{{\"keys\":[{jwks}]}}");
        let text = format!("{text}{}", " ".repeat(bytes - text.len()));
        let changed = evidence().replace(&keys(), &format!("jwks = '{text}'\n"));
        let changed = changed.replace("[\"ES256\", \"ES384\", \"EdDSA\", \"PS256\", \"RS256\"]", "[\"ES256\"]");
        let read = Policy::parse(&policy(&changed));
        read.map_or_else(|error| error.mistakes[0].sentence.clone(), |_| String::new())
    };
    assert_eq!(padded(65_536), "");
    assert_eq!(padded(65_537), "`jwks` has 65537 bytes");
    for (claim, wrong) in [
        ("iss = \"x\", ", "`iss` is looked at by itself, or is no name"),
        ("\"a b\" = \"x\", ", "`a b` is looked at by itself, or is no name"),
        ("a = \"{zone}\", ", "no format binds `{zone}`"),
        ("a = \"{provider.suffix}\", ", "no format binds `{provider.suffix}`"),
        ("a = \"*.{service}\", ", "a wildcard stands in a dNSName only"),
        ("a = \"{service\", ", "a brace in the format has no partner"),
    ] {
        assert!(told("claims = { ", &format!("claims = {{ {claim}")).contains(wrong), "{claim}");
    }
}
