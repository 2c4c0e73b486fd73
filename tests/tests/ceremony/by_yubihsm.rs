//! Roots whose keys are in a YubiHSM: the mock of the client library, over its HTTP connector.

use hallmark_test_yubihsm::{AUTHENTICATION_KEY, Device, PASSWORD};
use hallmark_tests::tools::run;

use crate::hall::{Hall, root_task};

/// The serial number of every mock.
const SERIAL: &str = "0123456789";

/// The file of a root's ceremony in this device.
fn file(hall: &Hall, device: &Device, name: &str, serial: &str) -> String {
    let path = hall.file(name, "athenz", &root_task("athenz"));
    let text = hall.read(&format!("{name}.toml"));
    let (before, rest) = text.split_once("[device]\n").unwrap();
    let (_, after) = rest.split_once("[log]\n").unwrap();
    let place = device.place();
    hall.write(
        &format!("{name}.toml"),
        &format!(
            "{before}[device]\nserial = \"{serial}\"\npin-file = \"pin\"\n[device.yubihsm]\nconnector = \"{place}\"\n\
             authentication-key = {AUTHENTICATION_KEY}\n[log]\n{after}"
        ),
    );
    hall.write("pin", PASSWORD);
    path
}

#[test]
fn a_root_is_made_in_a_yubihsm_as_it_was_rehearsed_and_its_transcript_says_how_it_is_guarded() {
    let (hall, device) = (Hall::new(), Device::new());
    let file = file(&hall, &device, "athenz-root", SERIAL);
    hall.run(&file).good();
    let root = hall.text("out/athenz.pem");
    run("openssl", &["verify", "-x509_strict", "-check_ss_sig", "-CAfile", &root, &root]);
    let transcript = hall.transcript("athenz-root");
    let step = transcript["steps"].as_array().unwrap().iter().find(|done| done["step"] == "read-back").unwrap();
    let says = |fact: &str| {
        let found = step["facts"].as_array().unwrap().iter().find(|found| found["name"] == fact);
        found.unwrap_or_else(|| panic!("{fact} in {step}"))["value"].clone()
    };
    assert_eq!(says("yubihsm.capabilities"), "sign-ecdsa");
    assert_eq!(says("yubihsm.origin"), "generated");
    // The mock attests nothing (`Limit::Attestation`), so that its authentication key may not have it done.
    assert_eq!(transcript["attestation"], "unattested");
    assert!(!hall.read("athenz-root.transcript.json").contains(PASSWORD));
    hall.verify("athenz-root").good();
}

#[test]
fn another_device_than_the_file_s_makes_no_key() {
    let (hall, device) = (Hall::new(), Device::new());
    let file = file(&hall, &device, "athenz-root", "0000000007");
    hall.run(&file).refused(1, "serial number");
    assert!(!hall.path("out/athenz.pem").exists());
    device.stop();
    hall.run(&file).refused(3, "start its connector");
}

#[test]
fn a_root_that_a_yubihsm_never_signs_is_refused_before_a_key_is_made() {
    let (hall, device) = (Hall::new(), Device::new());
    let (plain, pss) = ("key = \"ecdsa-p256\"", "key = \"rsa-2048\"\nsignature = \"rsa-pss-sha256\"");
    let file = file(&hall, &device, "athenz-root", SERIAL);
    let policy = hall.read("policy.toml");
    assert!(policy.contains(plain), "{policy}");
    hall.write("policy.toml", &policy.replacen(plain, pss, 1));
    // The token of the rehearsal makes such a key, and signs with it: it is the device behind it that does not.
    hall.run(&file).refused(1, "a signature with rsa-pss-sha256");
    assert_eq!(device.keys(), [0_u16; 0]);
    assert!(!hall.path("out/athenz.pem").exists());
    hall.write("policy.toml", &policy);
    hall.run(&file).good();
    assert_eq!(device.keys().len(), 1);
}
