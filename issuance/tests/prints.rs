//! What policy approves, the encoder writes, policy endorses, and OpenSSL prints with exactly the approved content.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends by panicking")]

use std::{
    io::Write as _,
    process::{Command, Stdio},
    sync::{Arc, LazyLock},
};

use hallmark_issuance::draft;
use hallmark_policy::{
    Approved, Bounds, Caller, ClaimInput, Decision, EpochId, Issuer, Manifest, NameInput, Policy, Request,
    RequestInput, SubjectInput,
    authority::{CaRequest, Root, decide_ca},
    content::{EpochBinding, Serial},
    decide, endorse,
    key::{PublicKey, SignatureAlgorithm},
    name::DistinguishedName,
    time::{Interval, Span, UnixTime},
};
use proptest::prelude::*;
use rcgen::PublicKeyData as _;

const POLICY: &str = r#"
version = 1
[authority.a]
root = { common-name = "Root", lifetime = "3650d", key = "ecdsa-p256" }
epoch = { common-name = "CA", lifetime = "365d", key = "ecdsa-p256" }
crl-urls = ["http://crl.test/a.crl", "http://crl.test:8080/b.crl"]
ca-issuer-urls = ["http://ca.test/a.cer"]
policies = ["1.3.6.1.4.1.99999.1", "2.23.140.1"]
name-constraints = { permitted = { dns = ["test"], uri = [".test", "zone"], ip = ["10.0.0.0/8"] }, excluded = { dns = ["bad.test"] } }
[profile.clamped]
authority = "a"
lifetime = { default = "1d", maximum = "7d", over = "clamp" }
keys = ["ecdsa-p256"]
usages = ["server-auth", "code-signing", "1.3.6.1.4.1.99999.7"]
possession = "caller"
parts = { a = { shape = "dotted" }, b = { shape = "dotted" }, c = { shape = "dotted" }, d = { shape = "label" } }
names = [{ dns = "{a}.one.test" }, { dns = "{b}.two.test", count = "0..1" }, { uri = "spiffe://{c}.test/{d}", count = "0..1" }]
claims = [{ arc = "1.3.9901.2.1", count = "0..46", bytes-max = 512, types = ["integer", "octet-string", "boolean"] }]
[profile.stamp]
authority = "a"
lifetime = { default = "1d", maximum = "7d" }
keys = ["ecdsa-p256"]
usages = ["time-stamping"]
possession = "caller"
parts = { a = { shape = "dotted" } }
names = [{ dns = "{a}.one.test" }]
[authority.m]
root = { common-name = "Root", lifetime = "3650d", key = "ecdsa-p256" }
epoch = { common-name = "CA", lifetime = "365d", key = "ecdsa-p256" }
rotates = "manifest"
owner-keys = []
manifest-names = { wildcards = true, single-labels = true }
[profile.workload]
authority = "m"
names-from = "manifest"
workload-secret-id = true
lifetime = { default = "1d", maximum = "7d" }
keys = ["ecdsa-p256"]
usages = ["server-auth", "client-auth"]
possession = "caller"
[caller.coordinator]
uri = "spiffe://lab/coordinator"
methods = ["MintCertificate"]
profiles = ["clamped", "stamp", "workload"]
"#;

/// As many as keep the test within seconds: each starts OpenSSL.
const CASES: u32 = 48;

static WORLD: LazyLock<World> = LazyLock::new(World::new);

struct World {
    policy: Policy,
    caller: Caller,
    key: PublicKey,
    signer: rcgen::KeyPair,
}

impl World {
    fn new() -> Self {
        let mut parameters = rcgen::CertificateParams::default();
        parameters.subject_alt_names = vec![rcgen::SanType::URI("spiffe://lab/coordinator".try_into().unwrap())];
        let signer = rcgen::KeyPair::generate().unwrap();
        Self {
            policy: Policy::parse(POLICY).unwrap(),
            caller: Caller::parse(parameters.self_signed(&signer).unwrap().der()).unwrap(),
            key: PublicKey::parse(&signer.subject_public_key_info()).unwrap(),
            signer,
        }
    }

    fn decide(
        &self,
        at: UnixTime,
        seconds: u64,
        profile: &str,
        names: Vec<NameInput>,
        claims: Vec<ClaimInput>,
    ) -> Decision {
        let spki = self.key.spki().to_vec();
        let input = RequestInput {
            authority: "a".to_owned(),
            profile: profile.to_owned(),
            subject: SubjectInput::Spki { spki, common_name: String::new(), names },
            lifetime_seconds: seconds,
            claims,
            ..RequestInput::default()
        };
        self.answer(at, input, None)
    }

    /// A leaf for the workload of that policy hash.
    fn workload(&self, manifest: &str, hash: [u8; 32]) -> Decision {
        let subject =
            SubjectInput::Spki { spki: self.key.spki().to_vec(), common_name: String::new(), names: Vec::new() };
        let (authority, profile) = ("m".to_owned(), "workload".to_owned());
        let input = RequestInput { authority, profile, subject, policy_hash: hash.to_vec(), ..RequestInput::default() };
        let authority = self.policy.authority("m").unwrap();
        let manifest = Manifest::parse_for(manifest.as_bytes(), &self.policy, authority).unwrap();
        self.answer(now(), input, Some(Arc::new(manifest)))
    }

    fn answer(&self, at: UnixTime, input: RequestInput, manifest: Option<Arc<Manifest>>) -> Decision {
        let issuer = Issuer {
            authority: input.authority.clone(),
            epoch: EpochId { generation: 1, transition: [7; 32] },
            subject: DistinguishedName::common_name("CA"),
            key: self.key.clone(),
            algorithm: SignatureAlgorithm::EcdsaSha256,
            validity: Interval { not_before: now(), not_after: now().after(Span::from_days(365)) },
            bounds: Bounds::of(self.policy.authority(&input.authority).unwrap()),
            manifest,
        };
        let input = RequestInput { request_id: "r-1".to_owned(), ..input };
        match Request::parse(self.caller.clone(), input) {
            Ok(request) => decide(&self.policy, &request, &issuer, at, Serial::from_random([0xab; 16])),
            Err(reasons) => Decision::Refuse(reasons),
        }
    }

    /// What OpenSSL prints of the certificate that comes of an approval, one line of a kind each, trimmed.
    fn printed(&self, approved: Approved) -> Vec<String> {
        use rcgen::SigningKey as _;
        let der = draft(&approved).unwrap().into_der();
        let warrant = endorse(approved, der.clone()).unwrap_or_else(|error| panic!("{error}"));
        let signature = self.signer.sign(warrant.to_be_signed()).unwrap();
        let algorithm = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
        let certificate =
            element(0x30, &[&der, &algorithm[..], &element(3, &[&[0], &signature[..]].concat())].concat());
        let mut openssl = Command::new("openssl")
            .args(["x509", "-inform", "DER", "-noout", "-text", "-certopt", "no_pubkey,no_sigdump"])
            .args(["-nameopt", "RFC2253"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        openssl.stdin.take().unwrap().write_all(&certificate).unwrap();
        let output = openssl.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().lines().map(|line| line.trim().to_owned()).collect()
    }
}

fn now() -> UnixTime {
    UnixTime::from_secs(1_795_000_000)
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let [.., high, low] = content.len().to_be_bytes();
    let head = match content.len() {
        0..0x80 => vec![tag, low],
        0x80..0x100 => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [head, content.to_vec()].concat()
}

/// The line after the one that begins so.
fn after<'a>(lines: &'a [String], head: &str) -> &'a str {
    let at = lines.iter().position(|line| line.starts_with(head)).unwrap_or_else(|| panic!("no {head} in {lines:#?}"));
    lines.get(at + 1).unwrap()
}

prop_compose! {
    fn label()(label in "[a-z][a-z0-9]{0,9}") -> String { label }
}

prop_compose! {
    fn dotted()(labels in prop::collection::vec(label(), 1..4)) -> String { labels.join(".") }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn openssl_prints_exactly_the_approved_names(
        a in dotted(), b in prop::option::of(dotted()), uri in prop::option::of((dotted(), label())),
        claims in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4),
    ) {
        let dns = std::iter::once(format!("{a}.one.test")).chain(b.map(|b| format!("{b}.two.test")));
        let dns: Vec<_> = dns.collect();
        let uri: Vec<_> = uri.into_iter().map(|(c, d)| format!("spiffe://{c}.test/{d}")).collect();
        let names = dns.iter().cloned().map(NameInput::Dns).chain(uri.iter().cloned().map(NameInput::Uri)).collect();
        let numbered = claims.iter().zip(1..).map(|(value, number)| ClaimInput {
            oid: format!("1.3.9901.2.1.{number}"),
            value: element(4, value),
        });
        let decision = WORLD.decide(now(), 0, "clamped", names, numbered.collect());
        let Decision::Approve(approved) = decision else { panic!("{decision:?}") };
        let lines = WORLD.printed(*approved);
        let wanted: Vec<_> =
            dns.iter().map(|name| format!("DNS:{name}")).chain(uri.iter().map(|uri| format!("URI:{uri}"))).collect();
        prop_assert_eq!(after(&lines, "X509v3 Subject Alternative Name: critical"), wanted.join(", "));
        let printed = lines.iter().filter(|line| line.starts_with("1.3.9901.2.1.")).count();
        prop_assert_eq!(printed, claims.len());
    }

    #[test]
    fn openssl_prints_exactly_the_names_that_the_manifest_gives_to_the_policy_hash(
        hosts in prop::collection::btree_set(prop_oneof![label(), dotted().prop_map(|name| format!("*.{name}.test"))], 1..4),
        address in any::<[u8; 3]>(), path in label(), other in label(), secret in prop::option::of("[!-~]{1,40}"),
    ) {
        let [one, two, three] = address;
        let address = format!("10.{one}.{two}.{three}");
        let names: Vec<_> = hosts.iter().cloned().chain([address.clone(), format!("spiffe://zone/{path}")]).collect();
        let of = |names: &[String], secret: &str| serde_json::json!({ "SANs": names, "WorkloadSecretID": secret });
        let manifest = serde_json::json!({
            "Policies": {
                "ab".repeat(32): of(&names, secret.as_deref().unwrap_or_default()),
                "cd".repeat(32): of(&[format!("{other}.other.test")], "other"),
            },
            "WorkloadOwnerPubKeys": [],
        });
        let decision = WORLD.workload(&manifest.to_string(), [0xab; 32]);
        let Decision::Approve(approved) = decision else { panic!("{decision:?}") };
        prop_assert_eq!(approved.facts().policy_hash, Some([0xab; 32]));
        let lines = WORLD.printed(*approved);
        let hosts = hosts.iter().map(|name| format!("DNS:{name}"));
        let wanted: Vec<_> = hosts.chain([format!("IP Address:{address}"), format!("URI:spiffe://zone/{path}")]).collect();
        prop_assert_eq!(after(&lines, "X509v3 Subject Alternative Name: critical"), wanted.join(", "));
        let printed = lines.iter().position(|line| line.starts_with("1.3.9901.3.1:"));
        prop_assert_eq!(printed.is_some(), secret.is_some());
        if let (Some(at), Some(secret)) = (printed, secret) {
            // OpenSSL shows the DER of what it does not know: the tag and the length of an OCTET STRING, which may be a
            // line feed, then the id.
            let shown = lines.iter().skip(at + 1).take(2).cloned().collect::<String>();
            prop_assert!(shown.ends_with(&secret), "{lines:#?}");
        }
    }

    #[test]
    fn clamping_never_lengthens_and_never_leaves_the_issuer(wish in 60_u64.., late in 0_u32..366 * 86_400) {
        let at = now().after(Span::from_secs(late.into()));
        let decision = WORLD.decide(at, wish, "clamped", vec![NameInput::Dns("a.one.test".to_owned())], Vec::new());
        match decision {
            Decision::Approve(approved) => {
                let Interval { not_before, not_after } = approved.certificate().unwrap().validity;
                prop_assert!(not_after.secs_since(at) <= wish.min(7 * 86_400));
                prop_assert!(not_after <= now().after(Span::from_days(365)));
                prop_assert!(now() <= not_before && not_before <= at);
            }
            Decision::Refuse(reasons) => prop_assert!(late > 365 * 86_400, "{reasons:?}"),
        }
    }
}

#[test]
fn openssl_prints_every_extension_of_a_leaf() {
    let names = vec![NameInput::Dns("a.one.test".to_owned())];
    let Decision::Approve(approved) = WORLD.decide(now(), 0, "clamped", names, Vec::new()) else { panic!("refused") };
    let lines = WORLD.printed(*approved);
    assert_eq!(after(&lines, "X509v3 Basic Constraints: critical"), "CA:FALSE");
    assert_eq!(after(&lines, "X509v3 Key Usage: critical"), "Digital Signature");
    let usages = after(&lines, "X509v3 Extended Key Usage:");
    assert_eq!(usages, "TLS Web Server Authentication, Code Signing, 1.3.6.1.4.1.99999.7");
    let policies: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("Policy: ")).collect();
    assert_eq!(policies, ["1.3.6.1.4.1.99999.1", "2.23.140.1"]);
    let urls: Vec<_> = lines.iter().filter(|line| line.contains("URI:")).map(String::as_str).collect();
    assert_eq!(
        urls,
        ["URI:http://crl.test/a.crl", "URI:http://crl.test:8080/b.crl", "CA Issuers - URI:http://ca.test/a.cer"]
    );
}

#[test]
fn a_time_stamping_usage_is_critical_and_alone() {
    let names = vec![NameInput::Dns("a.one.test".to_owned())];
    let Decision::Approve(approved) = WORLD.decide(now(), 0, "stamp", names, Vec::new()) else { panic!("refused") };
    assert_eq!(after(&WORLD.printed(*approved), "X509v3 Extended Key Usage: critical"), "Time Stamping");
}

#[test]
fn both_ca_certificates_of_an_epoch_constrain_every_kind_of_name() {
    let root = Root {
        key_identifier: WORLD.key.key_identifier(),
        subject: DistinguishedName::common_name("Root"),
        key: WORLD.key.clone(),
        algorithm: SignatureAlgorithm::EcdsaSha256,
        validity: Interval { not_before: now(), not_after: now().after(Span::from_days(3650)) },
    };
    let epoch = EpochBinding { generation: 1, manifest: [1; 32], transition: [2; 32] };
    for request in [
        CaRequest::Intermediate { root: &root, epoch, lifetime: None },
        CaRequest::MeshCa { root: &root, epoch, lifetime: None },
    ] {
        let serial = Serial::from_random([0xcd; 16]);
        let decision = decide_ca(&WORLD.policy, "a", &request, &WORLD.key, now(), serial);
        let Decision::Approve(approved) = decision else { panic!("{decision:?}") };
        let stored = Bounds::stored(draft(&approved).unwrap().into_der().as_slice());
        assert_eq!(stored, Some(Bounds::of(WORLD.policy.authority("a").unwrap())), "they come back as they were");
        let lines = WORLD.printed(*approved);
        let from = lines.iter().position(|line| line == "X509v3 Name Constraints: critical").unwrap();
        let wanted = [
            "Permitted:",
            "DNS:test",
            "URI:.test",
            "URI:zone",
            "IP:10.0.0.0/255.0.0.0",
            "email:invalid",
            "Excluded:",
            "DNS:bad.test",
            "IP:0:0:0:0:0:0:0:0/0:0:0:0:0:0:0:0",
        ];
        assert_eq!(lines[from + 1..from + 1 + wanted.len()], wanted);
        assert!(lines.iter().any(|line| line == "Policy: 2.23.140.1"));
    }
}
