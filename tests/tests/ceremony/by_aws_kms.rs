//! Roots whose keys are in AWS KMS: moto, behind a relay.

use std::{fs, os::unix::fs::PermissionsExt as _};

use hallmark_test_aws_kms::{Fault, Kms, PROFILE, REGION, SECRET_ACCESS_KEY};
use hallmark_tests::tools::run;
use serde_json::json;

use crate::hall::{Hall, root_task};

/// The file of a root's ceremony in this account.
fn file(hall: &Hall, kms: &Kms, name: &str) -> String {
    file_of(hall, kms, name, &root_task("athenz"))
}

/// The file of a ceremony in this account.
fn file_of(hall: &Hall, kms: &Kms, name: &str, task: &str) -> String {
    let path = hall.file(name, "athenz", task);
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

#[test]
fn the_end_of_a_key_that_was_interrupted_is_finished_and_is_none_where_the_key_is_elsewhere() {
    let (hall, kms) = (Hall::new(), Kms::new());
    let key =
        "[task.key]\nlabel = \"spare\"\nkind = \"ecdsa-p256\"\ndestroyable = true\npublic-key = \"out/spare.pub\"\n";
    hall.run(&file_of(&hall, &kms, "spare", key)).good();
    let facts = hall.transcript("spare")["steps"][4]["facts"].clone();
    let task = format!("[task.destroy]\nkey = {}\nspki-sha256 = {}\n", facts[1]["value"], facts[2]["value"]);
    let end = file_of(&hall, &kms, "end", &task);
    kms.fault("ScheduleKeyDeletion", Fault::Refuse(500, "KMSInternalException"), None);
    hall.run(&end).refused(3, "ScheduleKeyDeletion");
    kms.end_faults();
    let reference = facts[1]["value"].as_str().unwrap();
    let id = reference.split_once("id=").unwrap().1.split_once(';').unwrap().0;
    // Whoever is asked in its place knows nothing of it, and that is not its end.
    kms.fault("DescribeKey", Fault::Refuse(400, "NotFoundException"), None);
    hall.run(&end).refused(3, "nothing shows that it was destroyed");
    kms.end_faults();
    assert_eq!(kms.describe(id)["KeyState"], "Enabled");
    // As if the call had been done, and the answer lost.
    kms.call("ScheduleKeyDeletion", &json!({ "KeyId": id, "PendingWindowInDays": 7 }));
    assert_eq!(hall.destroyed(), 0);
    hall.run(&end).good();
    hall.verify("end").good();
    assert_eq!(hall.destroyed(), 1, "the log has it, although no run both ended the key and lived to say so");
}
