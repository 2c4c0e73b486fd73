//! Roots whose keys are in AWS KMS: moto, behind a relay.

use std::{fs, os::unix::fs::PermissionsExt as _};

use hallmark_test_aws_kms::{Kms, PROFILE, REGION, SECRET_ACCESS_KEY};
use hallmark_tests::tools::run;

use crate::hall::{Hall, root_task};

/// The file of a root's ceremony in this account.
fn file(hall: &Hall, kms: &Kms, name: &str) -> String {
    let path = hall.file(name, "athenz", &root_task("athenz"));
    let text = hall.read(&format!("{name}.toml"));
    let (before, rest) = text.split_once("[device]\n").unwrap();
    let (_, after) = rest.split_once("[log]\n").unwrap();
    let (account, endpoint) = (kms.account(), kms.endpoint());
    hall.write(
        &format!("{name}.toml"),
        &format!(
            "{before}[device]\nserial = \"{account}\"\npin-file = \"aws\"\n[device.aws-kms]\nregion = \"{REGION}\"\nendpoint = \"{endpoint}\"\n\
             profile = \"{PROFILE}\"\n[log]\n{after}"
        ),
    );
    hall.write("aws", &Kms::credentials());
    fs::set_permissions(hall.path("aws"), fs::Permissions::from_mode(0o600)).unwrap();
    path
}

#[test]
fn a_root_is_made_in_kms_as_it_was_rehearsed_and_its_transcript_says_how_it_is_guarded() {
    let (hall, kms) = (Hall::new(), Kms::new());
    let file = file(&hall, &kms, "athenz-root");
    hall.run(&file).good();
    let root = hall.text("out/athenz.pem");
    run("openssl", &["verify", "-x509_strict", "-check_ss_sig", "-CAfile", &root, &root]);
    let transcript = hall.transcript("athenz-root");
    let says = |step: &str, fact: &str| {
        let step = transcript["steps"].as_array().unwrap().iter().find(|done| done["step"] == step).unwrap();
        let found = step["facts"].as_array().unwrap().iter().find(|found| found["name"] == fact);
        found.unwrap_or_else(|| panic!("{fact} in {step}"))["value"].clone()
    };
    for (name, value) in [
        ("aws-kms.origin", "AWS_KMS"),
        ("aws-kms.key-usage", "SIGN_VERIFY"),
        ("aws-kms.multi-region", "false"),
        ("aws-kms.account", kms.account()),
        ("aws-kms.purpose", "root"),
    ] {
        assert_eq!(says("read-back", name), value, "{name}");
    }
    assert_eq!(transcript["attestation"], "unattested");
    let text = hall.read("athenz-root.transcript.json");
    assert!(text.contains("a destroyed key signs nothing and is deleted after 7 days"), "{text}");
    assert!(!text.contains(SECRET_ACCESS_KEY));
    hall.verify("athenz-root").good();
}

#[test]
fn where_kms_is_not_reached_no_root_is_made() {
    let (hall, kms) = (Hall::new(), Kms::new());
    let file = file(&hall, &kms, "athenz-root");
    kms.stop();
    hall.run(&file).refused(3, "check the network and the endpoint");
    // What the file has is looked at before anything is begun.
    fs::set_permissions(hall.path("aws"), fs::Permissions::from_mode(0o644)).unwrap();
    hall.run(&file).refused(3, "others can read them");
    assert!(!hall.path("out/athenz.pem").exists() && kms.calls().is_empty());
}
