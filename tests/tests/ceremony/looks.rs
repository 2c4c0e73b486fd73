//! `hallmark doctor`: each finding with what to do, and nothing is touched for it.

use hallmark_faulty::{Effect, Function, When, cryptoki_sys};
use hallmark_tests::daemon::Laboratory;

use crate::hall::{Came, Hall, code, policy, root_task, utc_time};

fn doctor(hall: &Hall, arguments: &[&str]) -> Came {
    let output = hall.hallmark().arg("doctor").args(arguments).output().unwrap();
    Came {
        code: code(output.status),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn file(hall: &Hall) -> String {
    hall.file_behind_the_device("athenz-root", "athenz", &root_task("athenz"))
}

#[test]
fn all_is_well_with_a_ceremony_s_file_and_nobody_logged_in_for_it() {
    let hall = Hall::new();
    let file = file(&hall);
    let came = doctor(&hall, &[&file]).good();
    for words in [
        "good: device: pkcs11 ",
        "good: pin: its flags tell of no trouble; it was not tried",
        "good: mechanisms: ",
        "good: clock: ",
    ] {
        assert!(came.stderr.contains(words), "{words}\nis not in\n{}", came.stderr);
    }
    let writes =
        [Function::Login, Function::GenerateKeyPair, Function::CreateObject, Function::SignInit, Function::SetPIN];
    assert!(writes.into_iter().all(|function| hall.device.calls(function) == 0));
    assert!(hall.keys().is_empty() && !hall.path("log").exists());
    let told = doctor(&hall, &["--json", &file]).good().json();
    assert!(told["findings"].as_array().unwrap().iter().all(|finding| finding["level"] != "bad"), "{told}");
}

#[test]
fn the_counters_of_the_pin_are_read_and_never_guessed() {
    let hall = Hall::new();
    let file = file(&hall);
    hall.device.lock_pin_after(Some(3));
    hall.write("pin", "11111111");
    for (said, code) in [
        ("look: pin: a wrong PIN was tried since the last log-in", 0),
        ("bad: pin: one more wrong PIN locks the token", 1),
    ] {
        assert_eq!(hall.run(&file).code, 3);
        let logins = hall.device.calls(Function::Login);
        let came = doctor(&hall, &[&file]);
        assert_eq!(came.code, code, "{}", came.stderr);
        assert!(came.stderr.contains(said) && came.stderr.contains("\n  hint: "), "{said}\nis not in\n{}", came.stderr);
        assert_eq!(hall.device.calls(Function::Login), logins);
    }
}

#[test]
fn what_does_not_answer_or_does_not_fit_is_told_with_what_to_do() {
    let hall = Hall::new();
    let file = file(&hall);
    let bad = |said: &str| {
        let came = doctor(&hall, &[&file]);
        assert!(came.code == 1 && came.stderr.contains(said), "{said}\nis not in\n{}", came.stderr);
    };
    hall.device.fault(Function::GetSlotList, When::Always, Effect::Refuse(cryptoki_sys::CKR_DEVICE_ERROR));
    bad("bad: device: ");
    hall.device.mend();
    hall.device.fault(Function::GetMechanismInfo, When::Always, Effect::Refuse(cryptoki_sys::CKR_MECHANISM_INVALID));
    bad("bad: mechanisms: the policy wants keys of ecdsa-p256, which the token does not make");
    hall.device.mend();
    for (ahead, said) in [(600, "look: clock: the token's clock shows "), (0, "good: clock: the token's clock agrees")]
    {
        hall.device.shows_time(&utc_time(ahead));
        let came = doctor(&hall, &[&file]);
        assert!(came.code == 0 && came.stderr.contains(said), "{said}\nis not in\n{}", came.stderr);
    }
    hall.write("policy.toml", &policy().replacen("key = ", "kye = ", 1));
    bad("bad: policy: ");
    hall.write("policy.toml", &policy());
    let crl = hall.file("crl", "athenz", "[task.crl]\nissuer = \"out/athenz.pem\"\ncrl = \"out/root.crl\"\n");
    let came = doctor(&hall, &[&crl]);
    assert!(came.code == 1 && came.stderr.contains("athenz.pem` holds no certificate that reads"), "{}", came.stderr);
    for (days, said, code) in
        [("3650d", "good: certificate", 0), ("30d", "look: certificate", 0), ("5d", "bad: certificate", 1)]
    {
        let hall = Hall::new();
        let short = policy().replacen("lifetime = \"3650d\"", &format!("lifetime = \"{days}\""), 1);
        let epoch = short.replacen("lifetime = \"365d\"", "lifetime = \"1d\"", 1);
        hall.write("policy.toml", &epoch);
        hall.root("athenz");
        let crl = hall.file("crl", "athenz", "[task.crl]\nissuer = \"out/athenz.pem\"\ncrl = \"out/root.crl\"\n");
        let came = doctor(&hall, &[&crl]);
        assert!(came.code == code && came.stderr.contains(said), "{days}: {} and\n{}", came.code, came.stderr);
    }
}

#[test]
fn a_signer_s_configuration_is_looked_at_beside_its_daemon() {
    let hall = Hall::new();
    let laboratory = Laboratory::new();
    let daemon = laboratory.start();
    let output = hall
        .hallmark()
        .args(["doctor", &laboratory.text("signer.toml")])
        .env("SOFTHSM2_CONF", laboratory.path("softhsm/softhsm2.conf"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    for words in
        ["good: sessions: ", "look: token: it is chosen by its label alone", "good: certificate: ", "good: policy: "]
    {
        assert!(said.contains(words), "{words}\nis not in\n{said}");
    }
    let output = hall
        .hallmark()
        .args(["doctor", "signer.toml"])
        .current_dir(laboratory.path("."))
        .env("SOFTHSM2_CONF", laboratory.path("softhsm/softhsm2.conf"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("good: disk: the ledger `.`"), "{said}");
    assert!(daemon.terminate());
    let nothing = hall.text("policy.toml");
    doctor(&hall, &[&nothing]).refused(2, "is no configuration of a signer");
}
