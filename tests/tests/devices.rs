//! What operators see of devices of other makers.

use std::{env, fs, path::Path};

use hallmark_devices::{Device, PIN, Stand, TOKEN};
use hallmark_tests::daemon::program;

/// Set by `make test-devices`, which has installed what not every machine has.
const HOW_MUCH: &str = "HALLMARK_DEVICES";

/// What `hallmark doctor` says of a device.
fn doctor(stand: &Stand, directory: &Path) -> String {
    let output = stand.command(program("hallmark")).arg("doctor").arg(directory.join("signer.toml")).output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn configure(stand: &Stand, directory: &Path) {
    let example = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/signer.toml")).unwrap();
    let (before, rest) = example.split_once("[backend.pkcs11]").unwrap();
    let (_, after) = rest.split_once("\n\n").unwrap();
    let arguments = stand.arguments().map(|text| format!("module-arguments = \"{text}\"\n")).unwrap_or_default();
    let module = stand.module().display();
    let table = format!(
        "[backend.pkcs11]\nmodule = \"{module}\"\n{arguments}waive = [\"CKA_LOCAL\"]\ntoken = \"{TOKEN}\"\npin = {{ file = \"pin\" }}\n\n"
    );
    fs::write(directory.join("signer.toml"), [before, &table, after].concat()).unwrap();
    fs::write(directory.join("policy.toml"), hallmark_tests::example_policy()).unwrap();
}

#[test]
fn doctor_starts_a_module_with_its_arguments_and_reads_how_near_a_token_is_to_being_locked() {
    let (stand, directory) = (Device::Kryoptic.start(), tempfile::tempdir().unwrap());
    configure(&stand, directory.path());
    // The token is initialised by nobody yet: it is looked for, and what is there is said.
    let told = doctor(&stand, directory.path());
    assert!(told.contains(&format!("no token `{TOKEN}` is present")), "{told}");
    if env::var_os(HOW_MUCH).is_some() {
        says_of_a_device_that_locks_how_far_it_is_from_that();
    }
}

/// No PIN is tried by the doctor: what it says changes by others' attempts alone.
fn says_of_a_device_that_locks_how_far_it_is_from_that() {
    let (stand, directory) = (Device::OpenCryptoki.start(), tempfile::tempdir().unwrap());
    configure(&stand, directory.path());
    let told = || doctor(&stand, directory.path());
    let wrong_pin = || {
        let change = ["-p", "-c", "3", "-U", "00000000", "-n", PIN];
        let output = stand.command("pkcsconf").args(change).output().unwrap();
        assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    };
    let first = told();
    assert!(first.contains("of keys in this module, CKA_LOCAL need not hold"), "{first}");
    assert!(first.contains("its flags tell of no trouble"), "{first}");
    for sentence in ["a wrong PIN was tried since", "one more wrong PIN locks the token", "the user PIN is locked"] {
        wrong_pin();
        // Asking twice changes nothing.
        for told in [told(), told()] {
            assert!(told.contains(sentence), "{sentence}: {told}");
        }
    }
}
