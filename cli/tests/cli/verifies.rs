//! Auditing: a log from its files and its key.

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::support::{
    World,
    log::{self, THEN_MILLIS, checkpoint, entries, publish},
};
use hallmark_entry::Object;
use insta::assert_snapshot;

/// So that a log of a fixed day is not stale, whenever the test runs.
const NEVER_STALE: &str = "--stale-after=99999d";

const VERIFY: [&str; 5] = ["log", "verify", "log", "--key", "log.vkey"];

fn now_millis() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn published() -> World {
    let world = World::new();
    publish(&world, &entries(THEN_MILLIS));
    world
}

#[test]
fn a_log_that_holds_is_described_with_what_was_not_checked() {
    let world = published();
    assert_snapshot!(world.run([&VERIFY[..], &[NEVER_STALE]].concat()).told());
    let json = world.run([&VERIFY[..], &[NEVER_STALE, "--json"]].concat()).json();
    assert_eq!((&json["result"], &json["size"], &json["issued"]), (&"good".into(), &5.into(), &2.into()));
}

#[test]
fn a_log_that_grows_is_good_and_one_that_stands_still_is_stale() {
    let world = World::new();
    publish(&world, &entries(now_millis()));
    assert_eq!(world.run(VERIFY).code, 0);
    let world = World::new();
    publish(&world, &entries(now_millis() - 26 * 3_600_000));
    let run = world.run(VERIFY);
    assert_eq!(run.code, 3);
    assert!(run.stderr.contains("good, but stale:"), "{}", run.stderr);
    assert!(run.stderr.contains("the newest entry is 1 day 1 hour old"), "{}", run.stderr);
}

#[test]
fn a_flipped_byte_is_found_and_named() {
    let world = published();
    let path = world.path("log/tile/entries/000.p/5");
    let mut bytes = fs::read(&path).unwrap();
    let at = String::from_utf8_lossy(&bytes).find("zts").unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_snapshot!(world.run([&VERIFY[..], &[NEVER_STALE]].concat()).told());
}

#[test]
fn a_log_whose_entries_contradict_each_other_fails_although_its_hashes_hold() {
    let world = World::new();
    let mut gap = entries(THEN_MILLIS);
    gap.push(log::issued(4, &[4; 32], THEN_MILLIS + 5_000));
    publish(&world, &gap);
    let run = world.run([&VERIFY[..], &[NEVER_STALE]].concat());
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("entry 5 is number 4 of the issuer"), "{}", run.stderr);
}

#[test]
fn another_key_opens_nothing() {
    let world = published();
    world.write("log.vkey", log::log_key(2).verifier().to_string());
    assert_snapshot!(world.run(VERIFY).told());
}

#[test]
fn a_key_can_be_given_as_text_and_a_secret_one_is_not_taken() {
    let world = published();
    let run = world.run(["log", "verify", "log", "--key", &log::verifier(), NEVER_STALE]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let secret = log::log_key(1).to_secret_text();
    let run = world.run(["log", "verify", "log", "--key", &secret]);
    assert_eq!(run.code, 2);
    assert!(!run.stderr.contains("PRIVATE"), "{}", run.stderr);
    assert_snapshot!(run.told());
}

#[test]
fn a_secret_key_is_never_printed_however_it_was_given() {
    let mut world = published();
    let secret = log::log_key(1).to_secret_text();
    let (_, unnamed) = secret.split_once("+KEY+").unwrap();
    let (_, seed) = secret.rsplit_once('+').unwrap();
    let given = [
        format!(" {}", *secret),
        format!("\n{}\n", *secret),
        format!("\"{}\"", *secret),
        format!("'{}'", *secret),
        format!("key={}", *secret),
        format!("private+key+{unnamed}"),
    ];
    let is_silent = |run: crate::support::Run| {
        assert_eq!(run.code, 2, "{}", run.told());
        assert!(!run.told().contains(seed) && run.told().contains("secret log key"), "{}", run.told());
    };
    for key in &given {
        is_silent(world.run(["log", "verify", "log", "--key", key]));
        is_silent(world.run(["log", "verify", "log", "--json", "--key", key]));
        is_silent(world.run(["log", "receipt", "log.vkey", "--entry", "log.vkey", "--key", key]));
        world.write("wrong.vkey", format!("# the key\n{key}\n"));
        is_silent(world.run(["log", "verify", "log", "--key", "wrong.vkey"]));
    }
    world.set("HALLMARK_LOG_KEY", &given[0]);
    is_silent(world.run(["log", "verify", "log"]));
}

#[test]
fn a_clock_that_was_set_back_and_confirmed_does_not_spoil_the_log() {
    let world = World::new();
    let mut log = entries(THEN_MILLIS);
    let back_millis = THEN_MILLIS - 3_600_000;
    log.push(log::start(back_millis));
    let verify = [&VERIFY[..], &[NEVER_STALE]].concat();
    publish(&world, &log);
    let run = world.run(&verify);
    assert!(run.code == 1 && run.stderr.contains("the clock was set back"), "{}", run.told());
    log.push(Object::new().text("command", "accept-clock").into_entry("operator-command", back_millis + 1));
    log.push(log::issued(3, &[3; 32], back_millis + 1_000));
    publish(&world, &log);
    let run = world.run(&verify);
    assert_eq!(run.code, 0, "{}", run.told());
}

#[test]
fn a_directory_that_is_missing_or_no_log_is_said() {
    let world = published();
    assert_snapshot!(world.run(["log", "verify", "nowhere", "--key", "log.vkey"]).told());
    fs::create_dir(world.path("empty")).unwrap();
    assert_snapshot!(world.run(["log", "verify", "empty", "--key", "log.vkey"]).told());
    assert_snapshot!(world.run(["log", "verify", "log"]).told());
}

#[test]
fn a_log_must_continue_its_anchor() {
    let world = published();
    let mut earlier = entries(THEN_MILLIS);
    earlier.truncate(3);
    world.write("anchor", checkpoint(&earlier));
    let verify = [&VERIFY[..], &[NEVER_STALE, "--anchor", "anchor"]].concat();
    let run = world.run(&verify);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(!run.stderr.contains("give an earlier checkpoint"), "{}", run.stderr);
    earlier[1] = log::refused(THEN_MILLIS);
    world.write("anchor", checkpoint(&earlier));
    let run = world.run(&verify);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("the log was rewritten before that"), "{}", run.stderr);
}

#[test]
fn entries_are_shown_as_a_table_or_as_json_lines() {
    let world = published();
    assert_snapshot!(world.run(["log", "show", "log"]).told());
    let run = world.run(["log", "show", "log", "--from", "1", "--count", "2", "--json"]);
    let lines: Vec<serde_json::Value> = run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().map(|line| line["index"].as_u64()).collect::<Vec<_>>(), [Some(1), Some(2)]);
    assert_eq!(lines[0]["entry"]["decision"], "issued");
    assert_eq!(world.run(["log", "show", "log", "--from", "5"]).code, 2);
}

#[test]
fn revocations_and_crls_are_shown_counted_and_compared() {
    let world = World::new();
    let mut entries = entries(THEN_MILLIS);
    entries.extend(log::revocation(THEN_MILLIS));
    log::publish(&world, &entries);
    assert_snapshot!(world.run(["log", "show", "log", "--from", "5"]).told());
    assert_snapshot!(world.run([&VERIFY[..], &[NEVER_STALE]].concat()).told());
    let said = world.run([&VERIFY[..], &[NEVER_STALE, "--json"]].concat()).json();
    assert_eq!((&said["revoked"], &said["crls"], &said["issued"]), (&1.into(), &1.into(), &2.into()));
    assert_eq!(said["findings"], serde_json::json!([]));
    // Without its revocation, the CRL lists what was never revoked.
    entries.remove(5);
    let other = World::new();
    log::publish(&other, &entries);
    let run = other.run([&VERIFY[..], &[NEVER_STALE]].concat());
    assert_eq!(run.code, 1, "{}", run.told());
    assert!(run.told().contains("lists 1 certificates, but only 0 were ever revoked"), "{}", run.told());
}

#[test]
fn a_receipt_proves_its_entry_and_no_other() {
    let world = World::new();
    let entries = entries(THEN_MILLIS);
    world.write("receipt", log::receipt(&entries, 1));
    world.write("entry", &entries[1]);
    let key = log::verifier();
    let check = ["log", "receipt", "receipt", "--entry", "entry", "--key", &key];
    assert_snapshot!(world.run(check).told());
    world.write("entry", &entries[3]);
    assert_snapshot!(world.run(check).told());
}
