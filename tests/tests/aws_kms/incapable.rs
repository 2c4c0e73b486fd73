//! What KMS never signs is refused before it is committed.

use std::fs;

use hallmark_test_aws_kms::Kms;
use hallmark_tests::{daemon::succeed, log::Log};

use crate::{init, laboratory, leaves};

/// Addresses that make a leaf longer than the 4,096 bytes that KMS signs with an Ed25519 key.
fn long_addresses() -> String {
    let urls = (0..5).map(|number| format!("\"http://ca.athenz.lab/{number}{}\"", "a".repeat(900)));
    format!("[authority.athenz]\nca-issuer-urls = [{}]\n[authority.athenz.root]", urls.collect::<Vec<_>>().join(", "))
}

#[test]
fn a_certificate_that_is_too_long_for_kms_is_refused_and_nothing_of_it_is_committed() {
    let kms = Kms::new();
    let laboratory = laboratory(&kms);
    let policy = fs::read_to_string(laboratory.path("policy.toml")).unwrap();
    let policy = policy.replace("key = \"ecdsa-p256\"", "key = \"ed25519\"");
    fs::write(laboratory.path("policy.toml"), policy.replacen("[authority.athenz.root]", &long_addresses(), 1))
        .unwrap();
    init(&laboratory);
    let daemon = laboratory.start();
    let before = kms.calls()["Sign"];

    let mut request = std::process::Command::new("openssl");
    request.args(["req", "-new", "-noenc", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    request.args(["-subj", "/CN=sports.api", "-addext", "subjectAltName=DNS:api.sports.lab.athenz.cloud"]);
    succeed(request.arg("-keyout").arg(laboratory.path("leaf.key")).arg("-out").arg(laboratory.path("leaf.csr")));
    let mut mint = laboratory.hallmark(&daemon);
    mint.args(["mint", "--profile", "athenz-service", "--csr"]).arg(laboratory.path("leaf.csr"));
    let output = mint.arg("--out").arg(laboratory.path("leaf.pem")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("a signature with ed25519 over more than 4096 bytes"), "{said}");
    assert!(said.contains("nothing was committed"), "{said}");
    assert_eq!(kms.calls()["Sign"], before);
    assert!(daemon.terminate(), "it ended well");

    let log = Log::read(&laboratory.path("log"), &fs::read_to_string(laboratory.path("log.vkey")).unwrap());
    let refused = log.decisions("refused");
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0]["reasons"][0]["code"], "DEVICE_INCAPABLE");
    assert_eq!(leaves(&log), 0);
}
