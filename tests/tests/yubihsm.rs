//! The whole daemon with its keys in a YubiHSM: the mock of the client library, behind an HTTP connector that stops and starts.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt as _, process::Command, time::Instant};

use hallmark_backends::{CommandLog, CommandLogFile, DeviceLogAlarm, DeviceLogFindings, LogEntry};
use hallmark_signer::{Core, Roots, SoftwareKeys, StartOptions, WINDOW, config::CoreFile};
use hallmark_test_yubihsm::{
    AUTHENTICATION_KEY, CAPABILITIES, DELEGATED, Device, FACTORY_KEY, FACTORY_PASSWORD, PASSWORD,
};
use hallmark_tests::{
    AUTHORITY, ORIGIN, Where, World,
    daemon::{Daemon, Laboratory, program, succeed},
    example_policy,
    insisting::{AMPLE, CALLERS, CERTIFICATES, insist, mint_once},
    log::Log,
};
use sha2::{Digest as _, Sha256};

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
        if mint_once(laboratory, daemon, csr, &format!("{csr}.pem")) {
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
fn the_connector_stops_and_starts_under_load_and_every_caller_gets_what_it_wanted_at_last() {
    let device = Device::new();
    let laboratory = laboratory(&device, AUTHENTICATION_KEY, PASSWORD);
    succeed(&mut laboratory.init());
    let daemon = laboratory.start();
    let _certificate = laboratory.mint(&daemon, "api", &P256);
    let files = insist(&laboratory, &daemon, "api.csr", |insisting| {
        for round in 1..=2 {
            insisting.until_minted(round * CALLERS * CERTIFICATES / 4);
            device.stop();
            insisting.until_refused();
            device.start();
        }
    });
    assert!(daemon.terminate(), "it ended well");
    let certificates: BTreeSet<_> = files.iter().map(|file| fs::read(laboratory.path(file)).unwrap()).collect();
    assert_eq!(certificates.len(), CALLERS * CERTIFICATES);
    // What was decided and never signed is said to be; nothing was signed that was not decided.
    let log = Log::read(&laboratory.path("log"), &fs::read_to_string(laboratory.path("log.vkey")).unwrap());
    let decided: BTreeSet<_> = log.decisions("issued").iter().map(|entry| entry["serial"].to_string()).collect();
    for file in &files {
        let mut serial = Command::new("openssl");
        let told = succeed(serial.args(["x509", "-noout", "-serial", "-in"]).arg(laboratory.path(file)));
        let serial = told.trim().trim_start_matches("serial=").to_lowercase();
        assert!(decided.iter().any(|decided| decided.trim_matches('"') == serial), "{serial} is not in the log");
    }
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
    let with_rsa = |names: &[&'static str]| [names, &["sign-pkcs"]].concat();
    device.put_authentication_key(3, PASSWORD, &with_rsa(&CAPABILITIES), &with_rsa(&DELEGATED));
    let laboratory = laboratory(&device, 3, PASSWORD);
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
            "a signature with ml-dsa-65",
        ),
        (
            pss,
            "`root.signature` is `rsa-pss-sha256`, which a YubiHSM does not sign with here",
            "signatures by rsa-pss-sha256, which a YubiHSM does not sign with here",
            "a signature with rsa-pss-sha256",
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
            assert_eq!(device.keys(), [0_u16; 0], "a key was made");
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

/// The core in this process, with its keys in that device.
async fn core(world: &World, device: &Device) -> (Core, DeviceLogFindings) {
    let text = format!(
        "[policy]\nfile = 'policy.toml'\nroots-without-ceremony = ['{AUTHORITY}']\n[ledger]\ndatabase = 'ledger.sqlite'\n[log]\norigin = '{ORIGIN}'\n\
         key = 'log.key'\npublish = 'log'\n[backend.yubihsm]\nconnector = '{}'\nauthentication-key = {AUTHENTICATION_KEY}\npassword = {{ file = 'pin' }}\n\
         sessions = 1\n",
        device.place()
    );
    fs::write(world.path("pin"), PASSWORD).unwrap();
    fs::set_permissions(world.path("pin"), fs::Permissions::from_mode(0o600)).unwrap();
    let config = toml::from_str::<CoreFile>(&text).unwrap().read(&world.path(".")).unwrap();
    let found = config.device_log_findings().unwrap();
    let options = StartOptions {
        refused_pins: None,
        software_keys: SoftwareKeys::Refused,
        accept_clock: false,
        accept_missing_checkpoint: false,
        accept_missing_anchor: false,
        create_authorities: true,
        roots: Roots::new(),
        refresh_crls: false,
        window: WINDOW,
        config_sha256: [0; 32],
        clock: Box::new(world.clocks().clone()),
    };
    (Core::start(config, options).await.unwrap().0, found)
}

#[tokio::test]
async fn what_speaks_of_a_stolen_key_is_an_alarm_of_the_decision_log_with_the_key_s_authority() {
    let (world, device) = (World::unmade(Where::Software, &example_policy()), Device::new());
    let (core, found) = core(&world, &device).await;
    let key = core.ca_keys().unwrap().len();
    assert!(key >= 2, "root and epoch");
    core.stop().await;
    drop(core);
    let read = || Log::read(&world.path("log"), &fs::read_to_string(world.path("log.vkey")).unwrap());
    let log = read();
    let reference = log.of_type("rotation").find(|entry| entry["step"] == "epoch-key").unwrap()["reference"].clone();
    let number = reference.as_str().unwrap().split_once("id=").unwrap().1.split(';').next().unwrap().to_owned();
    let number = u16::from_str_radix(&number, 16).unwrap();

    // The mock keeps no command log (`Limit::CommandLog`): what would be found in one waits here.
    let (core, found_again) = self::core(&world, &device).await;
    assert!(found.take_alarms().is_empty());
    let alarm = |is_unasked, key, sentence: &str| DeviceLogAlarm { is_unasked, key, sentence: sentence.to_owned() };
    found_again.wait(vec![alarm(true, Some(number), "it signed"), alarm(false, None, "it was changed")]);
    core.stop().await;
    drop(core);
    let log = read();
    let alarms: Vec<_> = log.of_type("alarm").collect();
    assert_eq!(alarms.len(), 2, "{alarms:?}");
    assert_eq!((&alarms[0]["alarm"], &alarms[0]["authority"]), (&"unasked-signature".into(), &AUTHORITY.into()));
    assert_eq!(alarms[0]["sentence"], "it signed");
    assert_eq!((&alarms[1]["alarm"], alarms[1].get("authority")), (&"device-log-broken".into(), None));
}

/// What a device logs, each command bound to the one before (GET LOG ENTRIES in the manual).
struct Logged(Vec<LogEntry>);

impl Logged {
    fn new() -> Self {
        let (command, result, session_key, target_key, tick) = (0xff, 0xff, 0xffff, 0xffff, u32::MAX);
        let first = LogEntry {
            number: 1,
            command,
            length: 0xffff,
            session_key,
            target_key,
            second_key: 0xffff,
            result,
            tick,
            digest: [7; 16],
        };
        Self(vec![first])
    }

    fn adds(&mut self, command: u8, target_key: u16) {
        let last = self.0.last().unwrap();
        let (number, result) = (last.number + 1, command | 0x80);
        let mut bytes = number.to_be_bytes().to_vec();
        bytes.push(command);
        bytes.extend([52, AUTHENTICATION_KEY, target_key, 0xffff].into_iter().flat_map(u16::to_be_bytes));
        bytes.push(result);
        bytes.extend(9_u32.to_be_bytes());
        bytes.extend(last.digest);
        let digest = Sha256::digest(&bytes)[..16].try_into().unwrap();
        let (session_key, second_key) = (AUTHENTICATION_KEY, 0xffff);
        self.0.push(LogEntry {
            number,
            command,
            length: 52,
            session_key,
            target_key,
            second_key,
            result,
            tick: 9,
            digest,
        });
    }
}

#[test]
fn what_is_kept_of_a_device_s_log_is_reconciled_with_the_decision_log() {
    const GENERATE: u8 = 0x46;
    const SIGN_ECDSA: u8 = 0x56;
    const SET_LOG_INDEX: u8 = 0x67;
    let device = Device::new();
    let laboratory = laboratory(&device, AUTHENTICATION_KEY, PASSWORD);
    succeed(&mut laboratory.init());
    let daemon = laboratory.start();
    let minted = ["api", "web", "db"].map(|name| laboratory.mint(&daemon, name, &P256));
    assert!(daemon.terminate(), "it ended well");
    let log = Log::read(&laboratory.path("log"), &fs::read_to_string(laboratory.path("log.vkey")).unwrap());
    let key_of = |step: &str| log.of_type("rotation").find(|entry| entry["step"] == step).unwrap();
    let (root, epoch) = (key_of("root-key"), key_of("epoch-key"));
    let number = |entry: &serde_json::Value| {
        let reference = entry["reference"].as_str().unwrap();
        u16::from_str_radix(reference.split_once("id=").unwrap().1.split(';').next().unwrap(), 16).unwrap()
    };
    let issued = log.decisions("issued").into_iter();
    let issued = issued.filter(|entry| entry["issuer"]["spki-sha256"] == epoch["spki-sha256"]).count();
    assert!(issued > minted.len(), "the mesh CA is one of them");
    let chain = fs::read_to_string(&minted[0]).unwrap();
    let issuer = &chain[chain.rfind("-----BEGIN").unwrap()..];
    fs::write(laboratory.path("issuer.pem"), issuer).unwrap();

    // The mock keeps no command log (`Limit::CommandLog`): a device's is written here, and kept by what the signer keeps it with, in parts that overlap.
    let mut logged = Logged::new();
    for key in [&root, &epoch] {
        logged.adds(GENERATE, number(key));
    }
    logged.adds(SIGN_ECDSA, number(root));
    for _ in 0..issued {
        logged.adds(SIGN_ECDSA, number(epoch));
        logged.adds(SET_LOG_INDEX, 0xffff);
    }
    let path = laboratory.path("commands");
    let keep = |entries: &[LogEntry]| {
        CommandLogFile::new(path.clone())
            .keep(&CommandLog { entries: entries.to_vec(), ..CommandLog::default() })
            .unwrap();
    };
    logged.0.windows(3).for_each(keep);
    let reconcile = || {
        let mut command = Command::new(program("hallmark"));
        command.args(["log", "reconcile"]).arg(laboratory.path("log")).arg("--key").arg(laboratory.path("log.vkey"));
        command.arg("--issuer").arg(laboratory.path("issuer.pem")).arg("--device-log").arg(&path);
        let output = command.args(["--device-key", &format!("{:#06x}", number(epoch))]).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), told)
    };
    let (code, told) = reconcile();
    assert_eq!(code, Some(0), "{told}");
    // Somebody signs with the key once more.
    logged.adds(SIGN_ECDSA, number(epoch));
    keep(&logged.0[logged.0.len() - 2..]);
    let (code, told) = reconcile();
    assert_eq!(code, Some(1), "{told}");
}
