//! What each stage of a mint costs, in the order of events: reading a P-256 CSR with 5 names, deciding about it, drafting, endorsing, writing down the
//! decision, and verifying and assembling what was signed; and the weak-key checks. What the disk and the device cost, `make bench` measures.
#![expect(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a benchmark that cannot go on ends by panicking")]

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use hallmark_entry::decision::{Decision as Logged, Outcome, Warranted};
use hallmark_issuance::{draft, reassemble};
use hallmark_policy::{
    Bounds, Caller, Decision, EpochId, Issuer, NameInput, Policy, Request, RequestInput, SubjectInput,
    content::Serial,
    decide, endorse,
    key::{PublicKey, SignatureAlgorithm},
    name::DistinguishedName,
    time::{Interval, Span, UnixTime},
    weak,
};
use rcgen::PublicKeyData as _;

const POLICY: &str = r#"
version = 1
[authority.a]
root = { common-name = "Root", lifetime = "3650d", key = "ecdsa-p256" }
epoch = { common-name = "CA", lifetime = "365d", key = "ecdsa-p256" }
name-constraints = { permitted = { dns = ["example.test"], uri = ["zone", "instanceid"] } }
crl-urls = ["http://crl.test/a.crl"]
[provider."sys.auth.lab"]
dns-suffixes = ["lab.example.test"]
[profile.service]
authority = "a"
lifetime = { default = "1d", maximum = "7d" }
keys = ["ecdsa-p256", "rsa-2048"]
usages = ["server-auth", "client-auth"]
possession = "caller"
providers = ["sys.auth.lab"]
common-name = "{domain}.{service}"
names = [
    { dns = "{service}.{domain:dashes}.{provider.suffix}" },
    { dns = "{instance}.instanceid.athenz.{provider.suffix}", count = "0..1" },
    { dns = "{service}.example.test", count = "0..1" },
    { uri = "athenz://instanceid/{provider}/{instance}", count = "0..1" },
    { uri = "spiffe://zone/{service}", count = "0..1" },
]
[caller.coordinator]
uri = "spiffe://lab/coordinator"
methods = ["MintCertificate"]
profiles = ["service"]
"#;

const DNS: [&str; 3] =
    ["api.media-sports.lab.example.test", "i-1.instanceid.athenz.lab.example.test", "api.example.test"];
const URI: [&str; 2] = ["athenz://instanceid/sys.auth.lab/i-1", "spiffe://zone/api"];

fn now() -> UnixTime {
    UnixTime::from_secs(1_795_000_000)
}

fn caller() -> Caller {
    let mut parameters = rcgen::CertificateParams::default();
    parameters.subject_alt_names = vec![rcgen::SanType::URI("spiffe://lab/coordinator".try_into().unwrap())];
    Caller::parse(parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der()).unwrap()
}

fn csr(key: &rcgen::KeyPair) -> SubjectInput {
    let mut parameters = rcgen::CertificateParams::new(DNS.map(ToOwned::to_owned)).unwrap();
    let uris = URI.map(|uri| rcgen::SanType::URI(uri.try_into().unwrap()));
    parameters.subject_alt_names.extend(uris);
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "media.sports.api");
    SubjectInput::Csr(parameters.serialize_request(key).unwrap().der().to_vec())
}

fn bare(key: &rcgen::KeyPair) -> SubjectInput {
    let names = DNS.map(|name| NameInput::Dns(name.to_owned())).into_iter();
    let names = names.chain(URI.map(|uri| NameInput::Uri(uri.to_owned()))).collect();
    SubjectInput::Spki { spki: key.subject_public_key_info(), common_name: "media.sports.api".to_owned(), names }
}

fn request(caller: &Caller, subject: SubjectInput) -> Request {
    let input = RequestInput {
        authority: "a".to_owned(),
        profile: "service".to_owned(),
        request_id: "r-1".to_owned(),
        subject,
        ..RequestInput::default()
    };
    Request::parse(caller.clone(), input).unwrap()
}

fn benches(criterion: &mut Criterion) {
    let policy = Policy::parse(POLICY).unwrap();
    let (caller, key) = (caller(), rcgen::KeyPair::generate().unwrap());
    let signer = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let spki = AsDer::<PublicKeyX509Der<'_>>::as_der(signer.public_key()).unwrap();
    let issuer = Issuer {
        authority: "a".to_owned(),
        epoch: EpochId { generation: 1, transition: [7; 32] },
        subject: DistinguishedName::common_name("CA"),
        key: PublicKey::parse(spki.as_ref()).unwrap(),
        algorithm: SignatureAlgorithm::EcdsaSha256,
        validity: Interval { not_before: now(), not_after: now().after(Span::from_days(365)) },
        bounds: Bounds::of(policy.authority("a").unwrap()),
        manifest: None,
    };
    let approve = |request: &Request| match decide(&policy, request, &issuer, now(), Serial::from_random([5; 16])) {
        Decision::Approve(approved) => *approved,
        Decision::Refuse(reasons) => panic!("{reasons:?}"),
    };
    let cases = [("with the signature check", csr(&key)), ("without the signature check", bare(&key))];
    for (name, subject) in cases {
        let asked = request(&caller, subject.clone());
        let der = draft(&approve(&asked)).unwrap().into_der();
        criterion.bench_function(&format!("decide and endorse, 5 names, {name}"), |bencher| {
            bencher.iter_batched(|| der.clone(), |der| endorse(approve(&asked), der).unwrap(), BatchSize::SmallInput);
        });
        criterion.bench_function(&format!("decide, 5 names, {name}"), |bencher| bencher.iter(|| approve(&asked)));
        criterion.bench_function(&format!("read, 5 names, {name}"), |bencher| {
            bencher.iter_batched(|| subject.clone(), |subject| request(&caller, subject), BatchSize::SmallInput);
        });
    }
    let approved = approve(&request(&caller, csr(&key)));
    let der = draft(&approved).unwrap().into_der();
    criterion.bench_function("draft, 5 names", |bencher| bencher.iter(|| draft(&approved).unwrap()));
    let asked = request(&caller, csr(&key));
    criterion.bench_function("endorse, 5 names", |bencher| {
        bencher.iter_batched(
            || (approve(&asked), der.clone()),
            |(approved, der)| endorse(approved, der).unwrap(),
            BatchSize::SmallInput,
        );
    });
    let (to_be_signed, content, conditions, facts) = endorse(approved, der).unwrap().into_parts();
    criterion.bench_function("the entry of the decision, 5 names", |bencher| {
        bencher.iter(|| {
            let warranted = Warranted { conditions: &conditions, content: &content, to_be_signed: &to_be_signed };
            let outcome = Outcome::Issued { sequence: Some(1), change: None };
            let logged = Logged { outcome, policy: None, facts: &facts, warranted: Some(warranted) };
            logged.into_entry(1_795_000_000_000)
        });
    });
    let signature = signer.sign(&SystemRandom::new(), &to_be_signed).unwrap();
    criterion.bench_function("verify and assemble, P-256", |bencher| {
        bencher.iter(|| {
            reassemble(&to_be_signed, SignatureAlgorithm::EcdsaSha256, signature.as_ref(), &issuer.key).unwrap()
        });
    });
    for algorithm in [&rcgen::PKCS_RSA_SHA256] {
        for (name, size) in [("2048", rcgen::RsaKeySize::_2048), ("4096", rcgen::RsaKeySize::_4096)] {
            let key = rcgen::KeyPair::generate_rsa_for(algorithm, size).unwrap();
            let key = PublicKey::parse(&key.subject_public_key_info()).unwrap();
            assert_eq!(weak::weakness(&key), None);
            criterion.bench_function(&format!("weak-key checks, RSA-{name}"), |bencher| {
                bencher.iter(|| weak::weakness(std::hint::black_box(&key)));
            });
        }
    }
}

criterion_group!(all, benches);
criterion_main!(all);
