//! The end of an epoch's key: nothing is logged as destroyed while its key is alive somewhere, and what has ended is logged, whatever interrupted it.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use hallmark_test_aws_kms::{Fault, Kms};
use hallmark_tests::{
    daemon::{Daemon, Laboratory, succeed},
    log::Log,
};
use serde_json::{Value, json};

use crate::{AMPLE, init, laboratory, mints};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// A laboratory that destroys the keys of epochs that are over, with its first epoch.
fn destroying(kms: &Kms) -> (Laboratory, Daemon) {
    let laboratory = laboratory(kms);
    let policy = fs::read_to_string(laboratory.path("policy.toml")).unwrap();
    let own = "[authority.athenz]\nretired-key = \"destroy\"\n[authority.athenz.root]";
    fs::write(laboratory.path("policy.toml"), policy.replacen("[authority.athenz.root]", own, 1)).unwrap();
    init(&laboratory);
    let daemon = laboratory.start();
    (laboratory, daemon)
}

fn prepare(laboratory: &Laboratory, daemon: &Daemon) {
    let mut prepare = laboratory.hallmark_operator(daemon);
    succeed(prepare.args(["epoch", "prepare", "--authority", "athenz", "--out"]).arg(laboratory.path("next")));
}

/// The command that puts the second epoch in force, in the place of the first.
fn activate(laboratory: &Laboratory, daemon: &Daemon) -> Command {
    let mut activate = laboratory.hallmark_operator(daemon);
    activate.args(["epoch", "activate", "2", "--authority", "athenz", "--yes"]);
    activate
}

/// The id of an epoch's key.
fn key_of_epoch(kms: &Kms, generation: u32) -> String {
    let listed = kms.call("ListKeys", &json!({}));
    let keys = listed["Keys"].as_array().unwrap();
    let ids = keys.iter().map(|key| key["KeyId"].as_str().unwrap().to_owned());
    let word = format!("-epoch-{generation}-");
    ids.into_iter().find(|id| description(kms, id).contains(&word)).expect("the epoch's key")
}

fn description(kms: &Kms, id: &str) -> String {
    kms.describe(id)["Description"].as_str().unwrap().to_owned()
}

fn state(kms: &Kms, id: &str) -> Value {
    kms.describe(id)["KeyState"].clone()
}

/// How often the log says that a key was destroyed, and that an epoch's was.
fn told(laboratory: &Laboratory) -> (usize, usize) {
    let key = fs::read_to_string(laboratory.path("log.vkey")).unwrap();
    let log = Log::read(&laboratory.path("log"), &key);
    let destroyed = log.of_type("key-event").filter(|entry| entry["action"] == "destroyed").count();
    (destroyed, log.of_type("rotation").filter(|entry| entry["step"] == "epoch-destroyed").count())
}

fn said(laboratory: &Laboratory) -> String {
    fs::read_to_string(laboratory.path("hallmarkd.log")).unwrap()
}

/// Waits until the daemon's log has a sentence.
fn await_sentence(laboratory: &Laboratory, sentence: &str) {
    let began = Instant::now();
    while !said(laboratory).contains(sentence) {
        assert!(began.elapsed() < AMPLE, "no `{sentence}` in {}", said(laboratory));
        thread::sleep(LOOK);
    }
}

/// Waits until a key's deletion is scheduled.
fn await_end(kms: &Kms, id: &str) {
    let began = Instant::now();
    while state(kms, id) != "PendingDeletion" {
        assert!(began.elapsed() < AMPLE, "{}", kms.describe(id));
        thread::sleep(LOOK);
    }
}

#[test]
fn a_key_that_is_alive_is_not_logged_as_destroyed_while_the_credentials_are_another_account_s() {
    let (kms, other) = (Kms::new(), Kms::new());
    let (laboratory, daemon) = destroying(&kms);
    mints(&laboratory, &daemon, "api");
    prepare(&laboratory, &daemon);
    let old = key_of_epoch(&kms, 1);
    // In the other account there is a key of that very name, which is nobody's business.
    let label = description(&kms, &old).replacen("hallmark epoch ", "", 1);
    let theirs = other.make(&label, &json!({}));
    // They become those of the other account between the last look at the key and its end.
    kms.fault("ScheduleKeyDeletion", Fault::Elsewhere(other.account().to_owned()), None);
    succeed(&mut activate(&laboratory, &daemon));
    await_sentence(&laboratory, "nothing shows that it was destroyed");
    assert!(daemon.terminate(), "it ended well");
    // With them, nothing is even started.
    kms.belong(other.account());
    let mut starts = laboratory.run(&[], Stdio::null());
    await_sentence(&laboratory, &format!("these credentials belong to the AWS account {}", other.account()));
    starts.kill().unwrap();
    starts.wait().unwrap();
    assert_eq!((state(&kms, &old), state(&other, &theirs)), (json!("Enabled"), json!("Enabled")));
    assert_eq!(told(&laboratory), (0, 0));

    // When they are the account's again, the next start ends it, and the log says so once.
    kms.belong(kms.account());
    kms.end_faults();
    let daemon = laboratory.start();
    mints(&laboratory, &daemon, "web");
    await_end(&kms, &old);
    await_sentence(&laboratory, "destroyed the key of epoch 1");
    assert!(daemon.terminate(), "it ended well");
    assert_eq!(told(&laboratory), (1, 1));
    assert_eq!(state(&other, &theirs), "Enabled");
    assert_eq!(state(&kms, &key_of_epoch(&kms, 2)), "Enabled");
}

#[test]
fn an_end_that_aws_began_and_no_daemon_lived_to_log_is_logged_at_the_next_start() {
    let kms = Kms::new();
    let (laboratory, daemon) = destroying(&kms);
    prepare(&laboratory, &daemon);
    let old = key_of_epoch(&kms, 1);
    kms.fault("ScheduleKeyDeletion", Fault::Hang, Some(1));
    let mut waits = activate(&laboratory, &daemon).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    await_end(&kms, &old);
    // It was done, and nobody was told.
    daemon.kill();
    waits.wait().unwrap();
    assert_eq!(told(&laboratory), (0, 0));
    kms.hang(false);
    let daemon = laboratory.start();
    await_sentence(&laboratory, "destroyed the key of epoch 1");
    assert!(daemon.terminate(), "it ended well");
    assert_eq!(told(&laboratory), (1, 1));
}
