//! The whole daemon with its keys in a YubiHSM: the mock of the client library, behind an HTTP connector that stops and starts.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::Command,
    time::{Duration, Instant},
};

use hallmark_test_yubihsm::{AUTHENTICATION_KEY, Device, FACTORY_KEY, FACTORY_PASSWORD, PASSWORD};
use hallmark_tests::daemon::{Daemon, Laboratory, program, succeed};

/// How long a caller tries.
const AMPLE: Duration = Duration::from_secs(60);

const P256: [&str; 4] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

/// A laboratory whose keys are in this device. The mock opens 17 sessions in all, so that few are configured.
fn laboratory(device: &Device, authentication_key: u16, password: &str) -> Laboratory {
    let table = format!(
        "[backend.yubihsm]\nconnector = \"{}\"\nauthentication-key = {authentication_key}\npassword = {{ file = \"pin\" }}\n\
         sessions = 1\ncommand-log = \"off\"\n",
        device.place()
    );
    let laboratory = Laboratory::with_backend(&table, |settings| {
        settings.replacen("[process]", "[process]\ncore-network = true", 1)
    });
    fs::write(laboratory.path("pin"), password).unwrap();
    fs::set_permissions(laboratory.path("pin"), fs::Permissions::from_mode(0o600)).unwrap();
    laboratory
}

fn check(laboratory: &Laboratory) -> (bool, String) {
    let output = laboratory.hallmarkd().arg("check").arg(laboratory.path("signer.toml")).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), told)
}

fn doctor(laboratory: &Laboratory) -> String {
    let mut doctor = Command::new(program("hallmark"));
    let output = doctor.arg("doctor").arg(laboratory.path("signer.toml")).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Tries to have one minted, as often as it takes; how often it was refused.
fn mints_at_last(laboratory: &Laboratory, daemon: &Daemon, csr: &str, between: impl Fn(usize)) -> usize {
    let began = Instant::now();
    for refused in 0.. {
        let mut mint = laboratory.hallmark(daemon);
        mint.args(["mint", "--profile", "athenz-service", "--csr"]).arg(laboratory.path(csr));
        if mint.arg("--out").arg(laboratory.path(&format!("{csr}.pem"))).output().unwrap().status.success() {
            return refused;
        }
        assert!(began.elapsed() < AMPLE, "nothing is minted");
        between(refused);
    }
    unreachable!()
}

#[test]
fn a_daemon_makes_its_authority_in_a_yubihsm_and_mints_and_finds_its_keys_again() {
    let device = Device::new();
    let laboratory = laboratory(&device, AUTHENTICATION_KEY, PASSWORD);
    let (fine, told) = check(&laboratory);
    assert!(fine, "{told}");
    for sentence in [
        format!("live in the YubiHSM 2 at `{}`, which authentication key 0x0002 opens.", device.place()),
        "They are in the domains 1; 1 sessions sign.".to_owned(),
        "The core may connect to the internet".to_owned(),
    ] {
        assert!(told.contains(&sentence), "`{sentence}` in {told}");
    }
    succeed(&mut laboratory.init());
    let daemon = laboratory.start();
    let certificate = laboratory.mint(&daemon, "api", &P256);
    let chain = fs::read_to_string(&certificate).unwrap();
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2, "{chain}");

    // The connector goes, and comes again: callers who come again are served, and nobody has to do anything.
    device.stop();
    let refused = mints_at_last(&laboratory, &daemon, "api.csr", |refused| {
        if refused == 0 {
            device.start();
        }
    });
    assert!(refused > 0, "something was signed without a connector");
    assert!(daemon.terminate(), "it ended well");

    let daemon = laboratory.start();
    assert!(laboratory.mint(&daemon, "web", &P256).is_file());
    let log = fs::read_to_string(laboratory.path("hallmarkd.log")).unwrap();
    assert!(log.contains("yubihsm http://127.0.0.1:"), "{log}");
    assert!(!log.contains(PASSWORD), "the password is in the daemon's log");
}

#[test]
fn an_authentication_key_that_may_do_everything_and_a_wrong_password_make_no_authority() {
    let device = Device::new();
    for (key, password, sentence, code) in [
        (FACTORY_KEY, FACTORY_PASSWORD, "can do more than it needs to", 1),
        (AUTHENTICATION_KEY, "another password", "the password of authentication key 0x0002", 3),
    ] {
        let output = laboratory(&device, key, password).init().output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains(sentence) && !told.contains("another password"), "{told}");
        assert_eq!(output.status.code(), Some(code), "{told}");
    }
}

#[test]
fn doctor_looks_whether_a_connector_is_there_and_logs_in_to_nothing() {
    let device = Device::new();
    let laboratory = laboratory(&device, AUTHENTICATION_KEY, "another password");
    let told = doctor(&laboratory);
    for sentence in ["a YubiHSM is looked for at `http://127.0.0.1:", "a YubiHSM gives 16, 4 are wanted"] {
        assert!(told.contains(sentence), "`{sentence}` in {told}");
    }
    assert_eq!(device.connections(), 1, "somebody tried the password");
    device.stop();
    let told = doctor(&laboratory);
    assert!(told.contains("no YubiHSM is reached at `http://127.0.0.1:"), "{told}");
}

#[test]
fn what_a_policy_wants_and_a_yubihsm_does_not_do_is_told_of_before_it_is_asked_for() {
    let device = Device::new();
    let laboratory = laboratory(&device, AUTHENTICATION_KEY, PASSWORD);
    let plain = fs::read_to_string(laboratory.path("policy.toml")).unwrap();
    let with = |from: &str, to: &str| plain.replace(from, to);
    let with_crl = |kind: &str| {
        with("key = \"ecdsa-p256\"", &format!("key = \"{kind}\"")).replacen(
            "[authority.athenz.root]",
            "[authority.athenz]\ncrl = { lifetime = \"7d\", refresh = \"1d\" }\n[authority.athenz.root]",
            1,
        )
    };
    let pss = plain.replacen("key = \"ecdsa-p256\"", "key = \"rsa-2048\"\nsignature = \"rsa-pss-sha256\"", 1);
    for (policy, checked, examined, refused) in [
        (
            with("key = \"ecdsa-p256\"", "key = \"ml-dsa-65\""),
            "`root.key` is `ml-dsa-65`, which is not made in a YubiHSM here",
            "keys of ml-dsa-65, which are not made in a YubiHSM here",
            "a signature by ML-DSA",
        ),
        (
            pss,
            "`root.signature` is `rsa-pss-sha256`, which a YubiHSM does not sign with here",
            "signatures by rsa-pss-sha256, which a YubiHSM does not sign with here",
            "a signature by RSASSA-PSS",
        ),
        (
            with_crl("ed25519"),
            "`epoch.key` is `ed25519`, with which a YubiHSM signs 2000 bytes at most",
            "CRLs by a key of ed25519, with which a YubiHSM signs 2000 bytes at most",
            "",
        ),
    ] {
        assert!(check(&laboratory).0 && !doctor(&laboratory).contains(examined), "{examined}");
        fs::write(laboratory.path("policy.toml"), policy).unwrap();
        let (fine, told) = check(&laboratory);
        assert!(!fine && told.contains(checked), "{told}");
        let told = doctor(&laboratory);
        assert!(told.contains(examined), "{told}");
        if !refused.is_empty() {
            let output = laboratory.init().output().unwrap();
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success() && told.contains(refused), "{told}");
        }
        fs::write(laboratory.path("policy.toml"), &plain).unwrap();
    }
    fs::write(laboratory.path("policy.toml"), with_crl("ecdsa-p384")).unwrap();
    let (fine, told) = check(&laboratory);
    assert!(fine, "CRLs by ECDSA are signed as digests: {told}");
}

#[test]
fn a_core_without_the_network_is_told_of_before_it_starts() {
    let device = Device::new();
    let laboratory = laboratory(&device, AUTHENTICATION_KEY, PASSWORD);
    let settings = fs::read_to_string(laboratory.path("signer.toml")).unwrap();
    fs::write(laboratory.path("signer.toml"), settings.replacen("core-network = true\n", "", 1)).unwrap();
    let (fine, told) = check(&laboratory);
    assert!(!fine && told.contains("write `core-network = true` in [process]"), "{told}");
}

#[test]
fn the_configuration_on_the_page_is_one() {
    let page = fs::read_to_string(format!("{}/../docs/devices/yubihsm2.md", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let block = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let (process, backend) = block.split_once("[backend.yubihsm]").unwrap();
    let process = process.trim().to_owned();
    let laboratory = Laboratory::with_backend(&format!("[backend.yubihsm]{backend}"), |settings| {
        settings.replacen("[process]", &process, 1)
    });
    fs::write(laboratory.path("pin"), PASSWORD).unwrap();
    fs::set_permissions(laboratory.path("pin"), fs::Permissions::from_mode(0o600)).unwrap();
    let (fine, told) = check(&laboratory);
    assert!(fine, "{told}");
}
