//! A root goes from its ceremony to the signer that serves under it: the decision log says so before anything else of the authority.

use std::{
    fs,
    process::Output,
    time::{SystemTime, UNIX_EPOCH},
};

use hallmark_faulty::{Device, Function};
use hallmark_signer::{BroughtRoot, HandOver};
use hallmark_test_token::{PIN, Replica, Token};
use hallmark_tests::{
    Where, World,
    daemon::Laboratory,
    example_policy,
    terminal::{SECRET_PROMPT, Terminal},
    tools::{attempt, der, sha256},
};
use hallmark_tlog::note::VerifierKey;

use crate::{
    backs_up::{backed_up_in, restore, run_with, shares},
    hall::{Hall, ORIGIN, policy},
};

fn world() -> World {
    let world = World::unmade(Where::SoftHsm, &policy());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    world.clocks().leap(i64::try_from(now).unwrap() + 1 - world.clocks().now());
    world
}

fn left(hall: &Hall, ceremony: &str, key: &Hall, certificate: &str) -> BroughtRoot {
    let read = |ending: &str| std::fs::read(hall.path(&format!("{ceremony}.transcript.json{ending}"))).unwrap();
    let log_key = VerifierKey::parse(key.read("log/log.vkey").trim()).unwrap();
    let hand_over = HandOver { transcript: read(""), entry: read(".entry"), receipt: read(".receipt"), log_key };
    BroughtRoot { certificate: der("CERTIFICATE", &hall.read(certificate)), ceremony: Some(hand_over) }
}

#[tokio::test]
async fn the_decision_log_says_from_which_ceremony_a_root_comes_before_it_says_anything_else_of_it() {
    let hall = Hall::new();
    hall.root("athenz");
    let mut world = world();
    world.bring_root_of_ceremony(left(&hall, "athenz-root", &hall, "out/athenz.pem"));
    world.start(true).await.unwrap();
    let log = world.log_after_stop().await;
    let entries: Vec<_> = log.of_type("ceremony").collect();
    assert_eq!(entries.len(), 1);
    let entry = entries[0];
    let transcript = std::fs::read(hall.path("athenz-root.transcript.json")).unwrap();
    assert_eq!(entry["action"], "handed-over");
    assert_eq!(entry["transcript-sha256"], hallmark_policy::hex(&sha256(&transcript)));
    assert_eq!((&entry["origin"], &entry["authority"]), (&ORIGIN.into(), &"athenz".into()));
    let first = log.entries.iter().position(|entry| entry["authority"] == "athenz").unwrap();
    assert_eq!(log.entries[first]["type"], "ceremony", "before anything else of the authority");
    assert_eq!(log.entries[first + 1]["step"], "root-brought");
}

#[tokio::test]
async fn a_ceremony_that_does_not_speak_for_the_root_is_not_taken() {
    let (hall, other) = (Hall::new(), Hall::new());
    hall.root("athenz");
    hall.root("old");
    other.root("athenz");
    let key = "[task.key]\nlabel = \"spare\"\nkind = \"ecdsa-p256\"\npublic-key = \"out/spare.pub\"\n";
    hall.run(&hall.file("spare", "athenz", key)).good();
    let good = || left(&hall, "athenz-root", &hall, "out/athenz.pem");
    let with = |change: &dyn Fn(&mut HandOver)| {
        let mut root = good();
        change(root.ceremony.as_mut().unwrap());
        root
    };
    let of_another =
        |name: &str| BroughtRoot { ceremony: left(&hall, name, &hall, "out/athenz.pem").ceremony, ..good() };
    let mut foreign = good();
    foreign.certificate = der("CERTIFICATE", &other.read("out/athenz.pem"));
    for (root, said) in [
        (left(&hall, "athenz-root", &other, "out/athenz.pem"), "does not hold under the key of the log of ceremonies"),
        (with(&|left| left.transcript.push(b' ')), "does not say that this transcript was finished"),
        (with(&|left| left.entry.push(b' ')), "does not hold under the key of the log of ceremonies"),
        (with(&|left| left.receipt.clear()), "does not hold under the key of the log of ceremonies"),
        (of_another("old-root"), "does not speak of this root's certificate"),
        (of_another("spare"), "is not that of a root"),
        (foreign, "does not speak of this root's certificate"),
    ] {
        let mut world = world();
        world.bring_root_of_ceremony(root);
        let error = world.start(true).await.expect_err(said).to_string();
        assert!(error.contains(said), "{said}\nis not in\n{error}");
    }
}

#[tokio::test]
async fn a_root_that_no_ceremony_speaks_for_is_neither_made_nor_served_unless_the_configuration_names_it() {
    const NO_CEREMONY: &str = "no ceremony speaks for its root; hint: hold one";
    let mut world = World::unmade(Where::SoftHsm, &example_policy());
    let refused = |error: hallmark_signer::StartError| {
        assert!(error.to_string().contains(NO_CEREMONY), "{error}");
    };
    world.wants_ceremony(true);
    refused(world.start(true).await.expect_err("it is not made"));
    assert!(world.token().labels().is_empty(), "no key is made for it");
    world.wants_ceremony(false);
    let report = world.start(true).await.unwrap();
    let said = "no ceremony speaks for its root, which `policy.roots-without-ceremony` admits";
    assert!(report.lines.iter().any(|line| line.contains(said)), "{:?}", report.lines);
    world.stop().await;
    world.wants_ceremony(true);
    refused(world.start(false).await.expect_err("it is not served"));
    world.wants_ceremony(false);
    world.start(false).await.unwrap();
    let log = world.log_after_stop().await;
    let starts: Vec<_> = log.of_type("start").map(|start| start["roots-without-ceremony"].clone()).collect();
    let named = serde_json::json!(["athenz"]);
    assert_eq!(starts, [serde_json::Value::Null, named.clone(), serde_json::Value::Null, named], "every start says so");
}

#[tokio::test]
async fn an_offline_root_without_its_ceremony_is_not_taken_either() {
    let hall = Hall::new();
    hall.root("athenz");
    let mut world = world();
    world.bring_root(der("CERTIFICATE", &hall.read("out/athenz.pem")));
    world.wants_ceremony(true);
    let error = world.start(true).await.expect_err("no transcript").to_string();
    assert!(error.contains("no ceremony speaks for its root"), "{error}");
    world.wants_ceremony(false);
    world.start(true).await.unwrap();
}

/// A hall in which the root of the example policy was made, and a laboratory over the same token, whose device counts calls.
fn made_here() -> (Hall, Laboratory) {
    let hall = Hall::new();
    hall.write("policy.toml", &example_policy());
    hall.root("athenz");
    let laboratory = over(&hall, &hall);
    (hall, laboratory)
}

/// A laboratory over the token of one hall, with what the ceremony of another has left.
fn over(hall: &Hall, left: &Hall) -> Laboratory {
    over_token(&hall.device, &hall.token, left)
}

fn over_token(device: &Device, token: &Token, left: &Hall) -> Laboratory {
    let laboratory = Laboratory::behind(device, token, &example_policy());
    let settings = fs::read_to_string(laboratory.path("signer.toml")).unwrap();
    let strict = settings.replacen("\nroots-without-ceremony", "\n# roots-without-ceremony", 1);
    assert_ne!(strict, settings, "a laboratory does without ceremonies");
    let (transcript, key) = (left.text("athenz-root.transcript.json"), left.text("log/log.vkey"));
    let table = format!("\n[ceremony.athenz]\ntranscript = \"{transcript}\"\nlog-key = \"{key}\"\n");
    fs::write(laboratory.path("signer.toml"), strict + &table).unwrap();
    laboratory
}

fn check(laboratory: &Laboratory) -> (Option<i32>, String) {
    ended(laboratory.hallmarkd().arg("check").arg(laboratory.path("signer.toml")).output().unwrap())
}

/// The same, in a terminal where somebody types the PIN.
fn check_typing_the_pin(laboratory: &Laboratory) -> (Option<i32>, String) {
    let (mut terminal, side) = Terminal::open();
    let mut command = laboratory.hallmarkd();
    command.args(["check", "--type-pin"]).arg(laboratory.path("signer.toml"));
    let mut checking = command.stdin(side.stdio()).stdout(side.stdio()).stderr(side.stdio()).spawn().unwrap();
    drop((command, side));
    terminal.expect(SECRET_PROMPT);
    terminal.type_line(PIN);
    let said = terminal.end();
    (checking.wait().unwrap().code(), said)
}

fn init(laboratory: &Laboratory, hall: &Hall) -> (Option<i32>, String) {
    ended(laboratory.init().arg("--root").arg(format!("athenz={}", hall.text("out/athenz.pem"))).output().unwrap())
}

fn ended(output: Output) -> (Option<i32>, String) {
    let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(!said.contains(PIN), "a PIN is never said");
    (output.status.code(), said)
}

#[test]
fn a_root_that_a_ceremony_made_in_the_signer_s_own_token_signs_there_from_then_on() {
    let (hall, laboratory) = made_here();
    let (code, said) = ended(laboratory.init().output().unwrap());
    assert!(code == Some(1) && said.contains("no ceremony speaks for its root"), "without its certificate: {said}");
    let (code, said) = init(&laboratory, &hall);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("whose key is here, from its ceremony, which the log says"), "{said}");
    let labels = hall.keys();
    assert_eq!(labels.len(), 2, "its key and that of the first epoch: {labels:?}");
    let (root, intermediate) = (laboratory.text("root.pem"), laboratory.text("intermediate.pem"));
    assert_eq!(fs::read_to_string(&root).unwrap(), hall.read("out/athenz.pem"));
    let (good, said) = attempt("openssl", &["verify", "-x509_strict", "-CAfile", &root, &intermediate]);
    assert!(good, "{said}");
    let daemon = laboratory.start();
    let leaf = laboratory.mint(&daemon, "api", &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let leaf = leaf.to_str().unwrap();
    let (good, said) =
        attempt("openssl", &["verify", "-x509_strict", "-CAfile", &root, "-untrusted", &intermediate, leaf]);
    assert!(good, "{said}");
    assert!(daemon.terminate());
    let (code, said) = init(&laboratory, &hall);
    assert_eq!(code, Some(0), "what is there stays as it is: {said}");
}

#[test]
fn the_root_of_a_ceremony_in_another_token_is_not_taken() {
    let (hall, _laboratory) = made_here();
    let other = Hall::new();
    let (code, said) = init(&over(&other, &hall), &hall);
    assert!(code == Some(1) && said.contains("there is no key `pkcs11:id="), "{said}");
    assert!(other.keys().is_empty());
    // Nor another key under the same name.
    let (twin, foreign) = (Hall::new(), Hall::new());
    for hall in [&twin, &foreign] {
        hall.write("policy.toml", &example_policy());
        hall.root("athenz");
    }
    let (code, said) = init(&over(&twin, &foreign), &foreign);
    assert!(code == Some(1) && said.contains("there is no key `pkcs11:id="), "{said}");
}

#[test]
fn check_proves_that_the_token_holds_what_the_transcript_says_and_nothing_signs_for_it() {
    let (hall, laboratory) = made_here();
    for made in [false, true] {
        if made {
            assert_eq!(init(&laboratory, &hall).0, Some(0));
        }
        let before = hall.device.calls(Function::SignInit);
        let (code, said) = check(&laboratory);
        assert_eq!(code, Some(0), "{said}");
        for words in [
            "The root of `athenz` comes from the ceremony `athenz-root`, whose transcript is in the log",
            "The token holds `pkcs11:id=",
            "attributes are as the transcript says.",
        ] {
            assert!(said.contains(words), "{words}\nis not in\n{said}");
        }
        assert_eq!(hall.device.calls(Function::SignInit), before, "no key signs");
    }
    hall.token.make_twin("athenz-root");
    let (code, said) = check(&laboratory);
    assert!(code == Some(1) && said.contains("problem: [ceremony.athenz]: more than one object is called"), "{said}");
    let (code, said) = check(&over(&Hall::new(), &hall));
    assert!(code == Some(1) && said.contains("problem: [ceremony.athenz]: there is no key `pkcs11:id="), "{said}");
}

/// The daemon mints under this hall's root, and stops.
async fn mints(laboratory: &Laboratory, hall: &Hall) {
    let daemon = laboratory.start();
    let leaf = laboratory.mint(&daemon, "api", &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let (root, intermediate) = (hall.text("out/athenz.pem"), laboratory.text("intermediate.pem"));
    let leaf = leaf.to_str().unwrap();
    let (good, said) =
        attempt("openssl", &["verify", "-x509_strict", "-CAfile", &root, "-untrusted", &intermediate, leaf]);
    assert!(good, "{said}");
    assert!(daemon.terminate());
}

#[test]
fn a_restored_root_serves_where_the_configuration_names_it_and_its_history_alone_is_not_compared() {
    let hall = Hall::new();
    hall.write("policy.toml", &example_policy());
    let hall = backed_up_in(hall);
    let second = Token::make("second");
    let file = hall.file_in(&second, "restore", "athenz", &restore(&hall));
    run_with(&hall, &file, &shares(&hall, &["grace", "emmy"])).good();
    let device = Device::new();
    let laboratory = over_token(&device, &second, &hall);
    let strict = fs::read_to_string(laboratory.path("signer.toml")).unwrap();
    let spki = hall.fact("athenz-root", "generate", "spki-sha256");
    let named = |because: &str| {
        let table = format!("\n[[backend.pkcs11.exception]]\nspki-sha256 = \"{spki}\"\nbecause = \"{because}\"\n");
        fs::write(laboratory.path("signer.toml"), strict.clone() + &table).unwrap();
    };
    let not_so =
        |said: &str| said.contains("CKA_LOCAL = false") && said.contains("name it in an `exception` if a ceremony");
    let (code, said) = check(&laboratory);
    assert!(code == Some(1) && not_so(&said), "{said}");
    let (code, said) = init(&laboratory, &hall);
    assert!(code == Some(1) && not_so(&said), "{said}");
    assert_eq!(second.labels(), ["athenz-root"], "no other key is made");
    named("restored");
    let (code, said) = check(&laboratory);
    assert!(
        code == Some(0)
            && said.contains("attributes are as the transcript says, but for its history: it was restored here."),
        "{said}"
    );
    assert!(said.contains(&format!("An exception: the key with SPKI SHA-256 {spki}")), "{said}");
    assert_eq!(init(&laboratory, &hall).0, Some(0));
    tokio::runtime::Runtime::new().unwrap().block_on(mints(&laboratory, &hall));
}

#[test]
fn check_compares_a_token_whose_pin_is_given_to_the_daemon_alone_once_it_is_typed() {
    let (_hall, laboratory) = made_here();
    for source in ["{ typed = true }", "{ credential = \"hallmark.pin\" }"] {
        let settings = fs::read_to_string(laboratory.path("signer.toml")).unwrap();
        let given = settings.lines().map(|line| if line.starts_with("pin = ") { "pin = @" } else { line });
        let given = given.collect::<Vec<_>>().join("\n").replacen('@', source, 1);
        assert_ne!(given, settings);
        fs::write(laboratory.path("signer.toml"), given).unwrap();
        let (code, said) = check(&laboratory);
        assert!(code == Some(0) && said.contains("`--type-pin` asks for it."), "{said}");
        let (code, said) = check_typing_the_pin(&laboratory);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("attributes are as the transcript says.") && !said.contains(PIN), "{said}");
    }
}

#[test]
fn check_says_that_a_replica_whose_pin_is_a_credential_is_not_compared() {
    let (hall, laboratory) = made_here();
    let copy = Token::make("copy").takes_keys_of(&hall.token);
    let settings = fs::read_to_string(laboratory.path("signer.toml")).unwrap();
    let settings = settings.replacen("pin = { file = \"pin\" }", "pin = { typed = true }", 1);
    let table = format!(
        "\n[[backend.pkcs11.replica]]\ntoken = \"{}\"\npin = {{ credential = \"hallmark.copy\" }}\n",
        copy.label()
    );
    fs::write(laboratory.path("signer.toml"), settings + &table).unwrap();
    let (code, said) = check_typing_the_pin(&laboratory);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("`backend.pkcs11.replica.pin` is the credential `hallmark.copy`; hint: run this with"),
        "{said}"
    );
}

#[test]
fn check_compares_every_token_that_is_to_hold_the_key() {
    const CKA_LOCAL: u64 = 0x163;
    let hall = Hall::new();
    hall.write("policy.toml", &example_policy());
    let [good, other] = ["good", "other"].map(|name| Token::make(name).takes_keys_of(&hall.token));
    hall.root("athenz");
    good.replicate();
    other.replicate_with(&[(CKA_LOCAL, false)]);
    let laboratory = over(&hall, &hall);
    let settings = fs::read_to_string(laboratory.path("signer.toml")).unwrap();
    let with = |replica: &Replica, more: &str| {
        let (label, serial) = (replica.label(), replica.serial());
        let table = format!(
            "\n[[backend.pkcs11.replica]]\ntoken = \"{label}\"\nserial = \"{serial}\"\npin = {{ file = \"pin\" }}\n{more}\n"
        );
        fs::write(laboratory.path("signer.toml"), settings.clone() + &table).unwrap();
        check(&laboratory)
    };
    let is_compared = |said: &str, label: &str| said.contains(&format!("The token `{label}` holds `pkcs11:id="));
    let (code, said) = with(&good, "");
    assert_eq!(code, Some(0), "{said}");
    assert!(is_compared(&said, hall.token.label()) && is_compared(&said, good.label()), "{said}");
    assert_eq!(said.matches("attributes are as the transcript says.").count(), 2, "{said}");
    let (code, said) = with(&other, "");
    let problem = format!("problem: [ceremony.athenz]: The token `{}`: key `pkcs11:id=", other.label());
    assert!(code == Some(1) && said.contains(&problem) && said.contains("CKA_LOCAL = false"), "{said}");
    let (code, said) = with(&other, "waive = [\"CKA_LOCAL\"]");
    assert!(code == Some(0) && is_compared(&said, other.label()), "{said}");
}

#[test]
fn check_tells_papers_that_do_not_hold_and_asks_no_token_for_them() {
    let (hall, laboratory) = made_here();
    let name = "athenz-root.transcript.json";
    let good = hall.read(name);
    let told = |words: &str| {
        let logins = hall.device.logins();
        let (code, said) = check(&laboratory);
        assert!(code == Some(1) && said.contains(words), "{words}\nis not in\n{said}");
        assert_eq!(hall.device.logins(), logins, "nobody logs in");
    };
    hall.write(name, &good.replacen("CKA_LOCAL", "CKA_LOCAI", 1));
    told(
        "problem: [ceremony.athenz]: the entry of the log of ceremonies does not say that this transcript was finished",
    );
    fs::remove_file(hall.path(name)).unwrap();
    told("athenz-root.transcript.json` cannot be read");
    hall.write(name, &good);
    hall.write("log/log.vkey", "nothing");
    told("log.vkey` is no public key of a log; hint: ");
}

#[test]
fn a_wrong_pin_ends_the_check_with_its_own_code_after_one_attempt() {
    let (hall, laboratory) = made_here();
    fs::write(laboratory.path("pin"), "11111111").unwrap();
    let logins = hall.device.calls(Function::Login);
    let (code, said) = check(&laboratory);
    assert!(code == Some(3) && said.contains("PIN"), "{code:?}: {said}");
    assert!(!said.contains("11111111"), "{said}");
    assert_eq!(hall.device.calls(Function::Login), logins + 1);
}
