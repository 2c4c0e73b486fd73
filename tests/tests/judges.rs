//! What tools that nobody here wrote say about the certificates: GnuTLS and pkilint. (OpenSSL judges in `issues.rs`.)

use std::{fs, path::Path, process::Command};

use hallmark_tests::{
    daemon::{Laboratory, succeed},
    tools::{judge, run},
};

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
const EXPLAINED: [(&str, &str); 1] = [
    // RFC 5280, section 4.2.1.6, wants the host of a URI to be a fully qualified domain name or an IP address. Athenz writes
    // `athenz://instanceid/..`, whose host is one word, and so does every consumer of it.
    ("pkix.invalid_uri_syntax", "athenz://instanceid/sys.auth.lab/i-1"),
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
