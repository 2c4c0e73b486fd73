//! Devices and disks that fail: each has its sentence, nothing is half made that is not written down, and the same file goes on.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
};

use hallmark_faulty::{Effect, Function, When, cryptoki_sys};
use hallmark_test_token::PIN;

use crate::hall::{Hall, WITNESSES, await_words, root_task, utc_time};

fn goes_on(hall: &Hall, file: &str) {
    hall.device.mend();
    hall.run(file).good();
    hall.verify("athenz-root").good();
    assert_eq!(hall.keys(), ["athenz-root"]);
}

#[test]
fn a_device_that_is_pulled_out_at_any_call_stops_it_with_a_sentence_and_it_goes_on_when_it_is_back() {
    for (function, nth) in [
        (Function::GetTokenInfo, 1),
        (Function::OpenSession, 1),
        (Function::OpenSession, 2),
        (Function::Login, 1),
        (Function::FindObjectsInit, 1),
        (Function::GenerateRandom, 1),
        (Function::GenerateKeyPair, 1),
        (Function::GetAttributeValue, 1),
        (Function::SignInit, 1),
        (Function::Sign, 1),
    ] {
        let hall = Hall::new();
        let file = hall.file_behind_the_device("athenz-root", "athenz", &root_task("athenz"));
        let _ = nth;
        hall.device.fault(function, When::Always, Effect::Refuse(cryptoki_sys::CKR_DEVICE_REMOVED));
        let came = hall.run(&file);
        assert!([1, 3].contains(&came.code), "{function:?}: {}", came.stderr);
        let code = came.code;
        came.refused(code, "CKR_DEVICE_REMOVED");
        assert!(hall.keys().len() <= 1, "{function:?}");
        goes_on(&hall, &file);
    }
}

#[test]
fn a_token_that_is_full_makes_no_key_and_leaves_none() {
    let hall = Hall::new();
    let file = hall.file_behind_the_device("athenz-root", "athenz", &root_task("athenz"));
    hall.device.fault(Function::GenerateKeyPair, When::Always, Effect::Refuse(cryptoki_sys::CKR_DEVICE_MEMORY));
    hall.run(&file).refused(3, "CKR_DEVICE_MEMORY");
    assert!(hall.keys().is_empty());
    goes_on(&hall, &file);
}

#[test]
fn a_wrong_pin_is_tried_once_and_one_that_is_nearly_locked_not_at_all() {
    let hall = Hall::new();
    let file = hall.file_behind_the_device("athenz-root", "athenz", &root_task("athenz"));
    hall.device.lock_pin_after(Some(3));
    hall.write("pin", "11111111");
    let logins = || hall.device.calls(Function::Login);
    hall.run(&file).refused(3, "the user PIN of token");
    assert_eq!(logins(), 1, "it is tried once");
    let came = hall.run(&file).refused(3, "the user PIN of token");
    assert!(!came.stderr.contains("11111111"));
    hall.run(&file).refused(1, "one more wrong PIN would lock it");
    assert_eq!(logins(), 2, "the last attempt is left to people");
    assert!(hall.keys().is_empty());
    hall.device.lock_pin_after(None);
    hall.write("pin", PIN);
    goes_on(&hall, &file);
}

#[test]
fn a_token_whose_clock_is_wrong_makes_nothing_and_one_whose_clock_is_right_does() {
    let hall = Hall::new();
    let file = hall.file_behind_the_device("athenz-root", "athenz", &root_task("athenz"));
    hall.device.shows_time(&utc_time(-90));
    for command in ["plan", "run"] {
        let arguments = if command == "run" { vec![command, "--unattended", &file] } else { vec![command, &file] };
        let came = hall.ceremony(&arguments).refused(1, "the token's clock shows ");
        assert!(came.stderr.contains("set whichever is wrong"), "{}", came.stderr);
    }
    assert_eq!(hall.device.calls(Function::Login), 0, "nobody logs in");
    hall.device.shows_time(&utc_time(5));
    goes_on(&hall, &file);
}

#[test]
fn a_signature_that_does_not_verify_never_leaves() {
    let hall = Hall::new();
    let file = hall.file_behind_the_device("athenz-root", "athenz", &root_task("athenz"));
    hall.device.fault(Function::Sign, When::Always, Effect::FlipSignature);
    hall.run(&file).refused(3, "the key did not sign");
    assert!(!hall.path("out/athenz.pem").exists());
    goes_on(&hall, &file);
}

#[test]
fn two_objects_of_one_name_stop_it() {
    let hall = Hall::new();
    hall.root("athenz");
    hall.token.make_twin("athenz-root");
    let crl = hall.file("crl", "athenz", "[task.crl]\nissuer = \"out/athenz.pem\"\ncrl = \"out/root.crl\"\n");
    hall.run(&crl).refused(3, "more than one object is called");
    assert!(!hall.path("out/root.crl").exists());
}

#[test]
fn a_key_whose_name_another_has_by_the_time_it_is_read_back_is_not_used() {
    let key = "[task.key]\nlabel = \"spare\"\nkind = \"ecdsa-p256\"\npublic-key = \"out/spare.pub\"\n".to_owned();
    for (task, label, of, out) in
        [(key, "spare", 9, "out/spare.pub"), (root_task("athenz"), "athenz-root", 14, "out/athenz.pem")]
    {
        let hall = Hall::new();
        let file = hall.file(label, "athenz", &format!("{WITNESSES}{task}"));
        let mut child = hall.begin(&["run", "--countdown", "0", &file]);
        let (mut stdin, mut stderr) = (child.stdin.take().unwrap(), child.stderr.take().unwrap());
        stdin.write_all("AL\nGH\n".repeat(5).as_bytes()).unwrap();
        await_words(&mut stderr, &format!("Step 6 of {of}: read-back"));
        hall.token.make_twin(label);
        stdin.write_all("AL\nGH\n".repeat(of).as_bytes()).unwrap();
        let mut said = String::new();
        stderr.read_to_string(&mut said).unwrap();
        assert!(said.contains("more than one object is called") && said.contains("hint: "), "{said}");
        assert_eq!(child.wait().unwrap().code(), Some(3));
        assert!(!hall.path(out).exists());
    }
}

#[test]
fn a_directory_that_takes_no_files_is_noticed_before_anything_is_made() {
    let hall = Hall::new();
    let file = hall.file("athenz-root", "athenz", &root_task("athenz"));
    let lock = |mode| fs::set_permissions(hall.path("out"), fs::Permissions::from_mode(mode)).unwrap();
    // Who is root may write everywhere; then the directory is not there.
    match rustix_is_root() {
        true => fs::remove_dir(hall.path("out")).unwrap(),
        false => lock(0o500),
    }
    hall.run(&file).refused(2, "cannot be written");
    assert!(hall.keys().is_empty() && !hall.path("log").exists());
    match rustix_is_root() {
        true => fs::create_dir(hall.path("out")).unwrap(),
        false => lock(0o700),
    }
    goes_on(&hall, &file);
}

fn rustix_is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").unwrap().uid() == 0
}
