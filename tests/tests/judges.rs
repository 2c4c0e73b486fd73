//! What tools that nobody here wrote say about the certificates: GnuTLS and pkilint. (OpenSSL judges in `issues.rs`.)

use std::{fs, path::Path, process::Command};

use hallmark_proto::signer::{
    Claim, MintCertificateRequest, MintCertificateResponse, SubjectAltName, mint_certificate_request::Subject,
    subject_alt_name::Name,
};
use hallmark_tests::{
    asking::request_id,
    client::connect,
    daemon::{Laboratory, succeed},
    tools::{Pem, judge, run},
};
use rcgen::PublicKeyData as _;

const P256: [&str; 4] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn gnutls_verifies_the_chain_under_the_root_and_under_the_mesh_ca() {
    let laboratory = Laboratory::new();
    let daemon = laboratory.start();
    let chain = laboratory.mint(&daemon, "api", &P256);
    for anchor in ["root.pem", "mesh-ca.pem"] {
        let anchor = laboratory.path(anchor);
        let said = run("certtool", &["--verify", "--load-ca-certificate", text(&anchor), "--infile", text(&chain)]);
        assert!(said.contains("Chain verification output: Verified"), "{said}");
    }
}

/// Findings above notice that are expected, each with the reason.
const EXPLAINED: [(&str, &str); 3] = [
    // RFC 5280, section 4.2.1.6, wants the host of a URI to be a fully qualified domain name or an IP address. Athenz writes
    // `athenz://instanceid/..`, whose host is one word, and so does every consumer of it.
    ("pkix.invalid_uri_syntax", "athenz://instanceid/sys.auth.lab/i-1"),
    // pkilint has a list of schemes (http, ftp, ssh and the like), and `spiffe` is not on it; RFC 3986, section 3.1, has no list. Host and
    // path of this URI are as RFC 5280 and SPIFFE-ID want them.
    ("pkix.invalid_uri_syntax", "spiffe://td.judged.test/"),
    // RFC 5280, section 4.2.1.6, does not say what wildcards mean, and its syntax of host names has none; RFC 9525, section 6.3, does.
    // Where a profile's format asks for them they are meant.
    ("pkix.invalid_domain_name_syntax", "*.web.judged.test"),
];

fn findings(linter: &str, arguments: &[&str]) -> Vec<String> {
    let output = Command::new(judge(linter)).args(["lint", "-f", "CSV"]).args(arguments).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("node_path,validator,severity"), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let explained = |line: &str| EXPLAINED.iter().any(|(code, name)| line.contains(code) && line.contains(name));
    let severe = |line: &&str| [",WARNING,", ",ERROR,", ",FATAL,"].iter().any(|severity| line.contains(severity));
    said.lines().filter(severe).filter(|line| !explained(line)).map(ToOwned::to_owned).collect()
}

/// The first certificate of a chain in a file of its own: pkilint reads several blocks as one, and fails or not by their lengths.
fn alone(laboratory: &Laboratory, chain: &str) -> String {
    const END: &str = "-----END CERTIFICATE-----\n";
    let text = fs::read_to_string(chain).unwrap();
    let (first, _) = text.split_once(END).unwrap();
    fs::write(laboratory.path("leaf-alone.pem"), [first, END].concat()).unwrap();
    laboratory.text("leaf-alone.pem")
}

#[test]
fn pkilint_finds_nothing_above_notice_in_any_certificate_or_pair() {
    let laboratory = Laboratory::new();
    let daemon = laboratory.start();
    let (csr, key, leaf) = (laboratory.text("i.csr"), laboratory.text("i.key"), laboratory.text("i.pem"));
    let names = "subjectAltName=DNS:api.sports.lab.athenz.cloud,URI:athenz://instanceid/sys.auth.lab/i-1";
    let request = ["req", "-new", "-noenc", "-subj", "/CN=sports.api", "-addext", names, "-keyout", &key, "-out", &csr];
    run("openssl", &[&request[..], &P256].concat());
    succeed(laboratory.hallmark(&daemon).args(["mint", "--profile", "athenz-service", "--csr", &csr, "--out", &leaf]));
    let (root, intermediate, mesh_ca) =
        (laboratory.text("root.pem"), laboratory.text("intermediate.pem"), laboratory.text("mesh-ca.pem"));
    let leaf = alone(&laboratory, &leaf);
    for certificate in [&leaf, &root, &intermediate, &mesh_ca] {
        assert_eq!(findings("lint_pkix_cert", &[certificate]), Vec::<String>::new(), "{certificate}");
    }
    for (issuer, subject) in [(&intermediate, &leaf), (&mesh_ca, &leaf), (&root, &intermediate)] {
        let found = findings("lint_pkix_signer_signee_cert_chain", &[issuer, subject]);
        assert_eq!(found, Vec::<String>::new(), "{issuer} {subject}");
    }
}

/// An authority whose certificates have every extension that a policy can ask for.
const EVERYTHING: &str = r#"
version = 1
[authority.athenz]
root = { common-name = "Judged Root CA", lifetime = "3650d", key = "ecdsa-p256" }
epoch = { common-name = "Judged Issuing CA", lifetime = "365d", key = "ecdsa-p256" }
crl-urls = ["http://crl.judged.test/a.crl", "http://crl.judged.test:8080/b.crl"]
ca-issuer-urls = ["http://ca.judged.test/a.cer"]
policies = ["1.3.6.1.4.1.99999.1", "2.23.140.1.2.1"]
name-constraints = { permitted = { dns = ["judged.test"], uri = [".judged.test"], ip = ["10.0.0.0/8", "2001:db8::/32"], email = ["mail.judged.test"] }, excluded = { dns = ["bad.judged.test"], ip = ["10.66.0.0/16"] } }

[profile.named]
authority = "athenz"
lifetime = { default = "1d", maximum = "7d" }
keys = ["ecdsa-p256", "rsa-2048", "ed25519"]
usages = ["server-auth", "client-auth", "email-protection", "1.3.6.1.4.1.99999.7"]
possession = "caller"
common-name = "{host}"
parts = { host = { shape = "label" }, path = { shape = "path" } }
names = [
    { dns = "{host}.judged.test" },
    { dns = "*.{host}.judged.test", count = "0..1" },
    { uri = "spiffe://td.judged.test/{path}", count = "0..1" },
    { ip = "10.0.0.0/8", count = "0..2" },
    { ip = "2001:db8::/32", count = "0..2" },
    { email = "{host}@mail.judged.test", count = "0..1" },
]
claims = [{ arc = "1.3.9901.2.1", count = "0..4", bytes-max = 512, types = ["integer", "octet-string", "boolean", "utf8-string"] }]

[profile.nameless]
authority = "athenz"
lifetime = { default = "1d", maximum = "7d" }
keys = ["ecdsa-p256"]
usages = ["ocsp-signing"]
policies = ["1.3.6.1.4.1.99999.1"]
possession = "caller"
parts = { path = { shape = "path" } }
names = [{ uri = "spiffe://td.judged.test/{path}" }]

[profile.stamp]
authority = "athenz"
lifetime = { default = "1d", maximum = "7d" }
keys = ["ecdsa-p256"]
usages = ["time-stamping"]
possession = "caller"
parts = { host = { shape = "label" } }
names = [{ dns = "{host}.judged.test" }]

[caller.coordinator]
uri = "spiffe://hallmark.lab/coordinator"
methods = ["MintCertificate", "GetChain"]
profiles = ["named", "nameless", "stamp"]
"#;

fn asked(profile: &str, common_name: &str, names: Vec<Name>) -> MintCertificateRequest {
    let spki = rcgen::KeyPair::generate().unwrap().subject_public_key_info();
    MintCertificateRequest {
        profile: profile.to_owned(),
        request_id: request_id(),
        subject: Some(Subject::Spki(spki.into())),
        common_name: common_name.to_owned(),
        subject_alt_names: names.into_iter().map(|name| SubjectAltName { name: Some(name) }).collect(),
        ..MintCertificateRequest::default()
    }
}

/// A leaf of each shape, with all that it can have.
async fn leaves(laboratory: &Laboratory) -> Vec<(&'static str, MintCertificateResponse)> {
    let daemon = laboratory.start();
    let mut client = connect(laboratory, &daemon).await;
    let v6 = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let names = vec![
        Name::Dns("web.judged.test".to_owned()),
        Name::Dns("*.web.judged.test".to_owned()),
        Name::Uri("spiffe://td.judged.test/ns/a/sa/web".to_owned()),
        Name::Ip(vec![10, 1, 2, 3].into()),
        Name::Ip(v6.to_vec().into()),
        Name::Email("web@mail.judged.test".to_owned()),
    ];
    let claim = |number: u32, der: &[u8]| Claim { oid: format!("1.3.9901.2.1.{number}"), value: der.to_vec().into() };
    let claims =
        vec![claim(1, b"\x02\x01\x07"), claim(2, b"\x04\x02hi"), claim(3, b"\x01\x01\xff"), claim(4, b"\x0c\x02hi")];
    let named = MintCertificateRequest { claims, ..asked("named", "web", names) };
    let nameless = asked("nameless", "", vec![Name::Uri("spiffe://td.judged.test/ocsp".to_owned())]);
    let stamp = asked("stamp", "", vec![Name::Dns("stamp.judged.test".to_owned())]);
    let mut leaves = Vec::new();
    for (what, request) in [("named", named), ("nameless", nameless), ("stamp", stamp)] {
        let minted = client.mint_certificate(request).await.unwrap_or_else(|refused| panic!("{what}: {refused}"));
        leaves.push((what, minted.into_inner()));
    }
    drop(client);
    assert!(daemon.terminate());
    leaves
}

#[tokio::test]
async fn openssl_and_gnutls_verify_leaves_with_every_extension_under_constrained_issuers() {
    let laboratory = Laboratory::with_policy(|_| EVERYTHING.to_owned());
    for (what, minted) in leaves(&laboratory).await {
        let pem = Pem::write(&laboratory.path(""), &minted);
        let [leaf, intermediate] = [&pem.leaf, &pem.intermediate].map(|path| text(path));
        for anchor in [&pem.root, &pem.mesh_ca].map(|path| text(path)) {
            let verify =
                ["verify", "-x509_strict", "-policy_check", "-CAfile", anchor, "-untrusted", intermediate, leaf];
            assert!(run("openssl", &verify).contains(": OK"), "{what}");
            let chain = laboratory.path("chain.pem");
            let certificates = [leaf, intermediate].map(|path| fs::read_to_string(path).unwrap());
            let under_mesh_ca = anchor == text(&pem.mesh_ca);
            let chained = if under_mesh_ca { certificates[0].clone() } else { certificates.concat() };
            fs::write(&chain, chained).unwrap();
            let verify = ["--verify", "--load-ca-certificate", anchor, "--infile", text(&chain)];
            let said = run("certtool", &verify);
            assert!(said.contains("Chain verification output: Verified"), "{what}: {said}");
        }
        let said = run("certtool", &["--certificate-info", "--infile", leaf]);
        assert!(!said.contains("error") && !said.contains("warning"), "{what}: {said}");
    }
}

#[tokio::test]
async fn pkilint_finds_nothing_above_notice_in_certificates_with_every_extension() {
    let laboratory = Laboratory::with_policy(|_| EVERYTHING.to_owned());
    for (what, minted) in leaves(&laboratory).await {
        let pem = Pem::write(&laboratory.path(""), &minted);
        let [leaf, root, intermediate, mesh_ca] =
            [&pem.leaf, &pem.root, &pem.intermediate, &pem.mesh_ca].map(|path| text(path).to_owned());
        for certificate in [&leaf, &root, &intermediate, &mesh_ca] {
            assert_eq!(findings("lint_pkix_cert", &[certificate]), Vec::<String>::new(), "{what}: {certificate}");
        }
        for issuer in [&intermediate, &mesh_ca] {
            let found = findings("lint_pkix_signer_signee_cert_chain", &[issuer, &leaf]);
            assert_eq!(found, Vec::<String>::new(), "{what}: {issuer}");
        }
    }
}

#[test]
fn a_key_gets_every_kind_of_name_by_the_flags_of_the_program() {
    const NAMES: &str = r#"names = [
    { ip = "10.0.0.0/8" },
    { ip = "2001:db8::/32" },
    { email = "{workload}@example.com" },
"#;
    let laboratory = Laboratory::with_policy(|policy| {
        let (before, mesh) = policy.split_once("[profile.mesh]").unwrap();
        format!("{before}[profile.mesh]{}", mesh.replacen("names = [\n", NAMES, 1))
    });
    let daemon = laboratory.start();
    let (key, public, leaf) = (laboratory.text("k.key"), laboratory.text("k.pub"), laboratory.text("k.pem"));
    run("openssl", &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &key]);
    run("openssl", &["ec", "-in", &key, "-pubout", "-out", &public]);
    succeed(
        laboratory
            .hallmark(&daemon)
            .args(["mint", "--profile", "mesh", "--spki", &public, "--dns", "cart.shop.mesh.internal"])
            .args(["--uri", "spiffe://mesh.internal/ns/shop/sa/cart", "--ip", "10.1.2.3", "--ip", "2001:db8::1"])
            .args(["--email", "cart@example.com", "--out", &leaf]),
    );
    let said = run("certtool", &["--certificate-info", "--infile", &leaf]);
    for name in ["DNSname: cart.shop.mesh.internal", "IPAddress: 10.1.2.3", "IPAddress: 2001:db8::1"] {
        assert!(said.contains(name), "{name}: {said}");
    }
    assert!(
        said.contains("RFC822Name: cart@example.com") && said.contains("URI: spiffe://mesh.internal/ns/shop"),
        "{said}"
    );
    assert!(daemon.terminate());
}
