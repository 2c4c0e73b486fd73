//! Auditors before logs that were made to harm them, and before logs of which something is missing: nothing is read for ever, nothing fills
//! the memory, nothing foreign is copied, and whatever was not looked at is said.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use hallmark_entry::{Object, privacy::Private, sha256};
use hallmark_tlog::{checkpoint::Checkpoint, hash::Hash};

use crate::{
    audits::serve,
    support::{
        Run, World,
        log::{self, ORIGIN, THEN_MILLIS, entries, log_key, publish, publish_any},
    },
};

const NEVER_STALE: &str = "--stale-after=99999d";

/// Address space for what fills the memory otherwise: threads have stacks of 2 MiB, and files of a log up to 16 MiB.
const MEBIBYTES_MAX: u64 = 400;

/// Longest time for what has no end otherwise.
const SOON: Duration = Duration::from_secs(20);

fn log_run(world: &World, command: &str, more: &[&str]) -> Run {
    world.run([&["log", command, "log", "--key", "log.vkey"][..], more].concat())
}

fn verify(world: &World, more: &[&str]) -> Run {
    log_run(world, "verify", &[&[NEVER_STALE, "--no-state"], more].concat())
}

/// The entries of [`entries`] and one that brings this policy into force.
fn with_policy(text: &str) -> Vec<Vec<u8>> {
    let loaded =
        Object::new().text("by", "start").count("bytes", text.len() as u64).hex("policy-sha256", &digest(text));
    let mut all = entries(THEN_MILLIS);
    all.push(loaded.into_entry("policy-loaded", THEN_MILLIS + 5_000));
    all
}

fn digest(text: &str) -> [u8; 32] {
    sha256(text.as_bytes())
}

fn path_of(text: &str) -> String {
    format!("policies/{}", hallmark_policy::hex(&digest(text)))
}

/// A log whose names are private, with what opens them.
fn private() -> (World, String) {
    let (world, private, mut openings) = (World::new(), Private::new(["names"]).unwrap(), String::new());
    let commit = |(entry, index): (Vec<u8>, u64)| {
        let (entry, of_entry) = private.commit(entry, || Ok::<_, ()>([u8::try_from(index).unwrap(); 32])).unwrap();
        openings.extend(of_entry.iter().map(|opening| opening.to_line(index)));
        entry
    };
    let all: Vec<Vec<u8>> = entries(THEN_MILLIS).into_iter().zip(0..).map(commit).collect();
    publish(&world, &all);
    world.write("log/openings/000.p/5", &openings);
    (world, openings)
}

#[test]
fn openings_that_are_none_are_one_finding_and_fill_no_memory() {
    let (world, openings) = private();
    for (more, line) in [("\n".repeat(4_000_000), 3), (openings.clone(), 3), ("x".repeat(4_000_000), 3)] {
        world.write("log/openings/000.p/5", openings.clone() + &more);
        let words = ["log", "verify", "log", "--key", "log.vkey", NEVER_STALE, "--no-state", "--json"];
        let run = world.run_within(MEBIBYTES_MAX, &words);
        let findings = run.json()["findings"].as_array().unwrap().clone();
        let found =
            format!("`openings/000.p/5`, line {line}, is no opening of this bundle, and nothing of that file counts");
        assert_eq!((run.code, findings), (1, vec![found.into()]));
    }
}

#[test]
fn a_log_of_entries_as_large_as_can_be_and_all_unlike_fills_no_memory() {
    let world = World::new();
    let entry = |number: u64| {
        let caller = format!("{number} {}", "c".repeat(30_000));
        let kind = format!("{number}-{}", "k".repeat(30_000));
        let time = THEN_MILLIS + i64::try_from(number).unwrap();
        format!(r#"{{"caller":"{caller}","time":{time},"type":"{kind}","version":1}}"#).into_bytes()
    };
    publish_any(&world, &(0..3_000).map(entry).collect::<Vec<_>>());
    for (command, more) in [("verify", &[NEVER_STALE, "--no-state"][..]), ("query", &[]), ("stats", &[])] {
        let run = world.run_within(MEBIBYTES_MAX, &[&["log", command, "log", "--key", "log.vkey"][..], more].concat());
        assert_eq!(run.code, 0, "{command}: {}", run.stderr);
        assert!(run.told().len() < 1 << 20, "{command}: {} bytes", run.told().len());
    }
}

#[test]
fn openings_beside_a_bundle_without_private_values_are_looked_at_too() {
    let world = World::new();
    publish(&world, &entries(THEN_MILLIS));
    for (content, found) in [
        ("my diary\n".to_owned(), "`openings/000.p/5`, line 1, is no opening of this bundle"),
        (private().1, "`openings/000.p/5` opens something of entry 1, which has nothing private"),
    ] {
        world.write("log/openings/000.p/5", content);
        let run = verify(&world, &[]);
        assert!(run.code == 1 && run.stderr.contains(found), "{}", run.told());
        let run = log_run(&world, "export", &["--out", "copy"]);
        assert!(run.code == 1 && !run.stderr.contains("The copy holds"), "{}", run.told());
        fs::remove_dir_all(world.path("copy")).unwrap();
    }
}

#[test]
fn a_log_that_claims_entries_without_end_is_not_looked_for_to_its_end() {
    let world = World::new();
    publish(&world, &entries(THEN_MILLIS));
    fs::remove_dir_all(world.path("log/tile")).unwrap();
    let head = Checkpoint::new(ORIGIN, 1 << 62, Hash::of_leaf(b"anything")).unwrap().sign(&log_key(1)).unwrap();
    world.write("log/checkpoint", head.to_string());
    let begun = Instant::now();
    let run = verify(&world, &[]);
    assert!(run.code == 1 && run.stderr.contains("What comes from entry 128,000 on"), "{}", run.told());
    for (command, more) in [("query", &[][..]), ("stats", &[]), ("export", &["--out", "copy"])] {
        assert_eq!(log_run(&world, command, more).code, 1, "{command}");
    }
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[test]
fn links_in_a_copy_lead_nowhere() {
    let world = World::new();
    publish(&world, &entries(THEN_MILLIS));
    for name in ["one", "two", "three"] {
        symlink(".", world.path("log").join(name)).unwrap();
    }
    let begun = Instant::now();
    let run = verify(&world, &[]);
    assert!(run.code == 0 && run.stderr.contains("What 3 files beside the log hold"), "{}", run.told());
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[test]
fn nobody_waits_at_a_pipe_in_the_place_of_a_file() {
    let world = World::new();
    publish(&world, &entries(THEN_MILLIS));
    let mkfifo = |name: &str| assert!(Command::new("mkfifo").arg(world.path(name)).status().unwrap().success());
    mkfifo("log/notes");
    assert!(verify(&world, &[]).stderr.contains("What 1 file beside the log hold"));
    fs::remove_file(world.path("log/tile/0/000.p/5")).unwrap();
    mkfifo("log/tile/0/000.p/5");
    let run = verify(&world, &[]);
    assert!(run.code == 2 && run.stderr.contains("`tile/0/000.p/5` could not be read"), "{}", run.told());
}

#[test]
fn only_texts_of_policies_that_came_into_force_are_copied() {
    let world = World::new();
    publish(&world, &with_policy("version = 1"));
    world.write(&format!("log/{}", path_of("version = 1")), "version = 1");
    world.write("log/policies/notes", "ask Bob");
    world.write("secret", "the PIN is 1234");
    symlink(world.path("secret"), world.path("log/policies/link")).unwrap();
    symlink(world.path("secret"), world.path("log/policies").join("ab".repeat(32))).unwrap();
    let run = log_run(&world, "export", &["--out", "copy", "--redact"]);
    assert!(run.code == 0 && run.stderr.contains("with 1 text of policies"), "{}", run.told());
    let copied: Vec<_> = fs::read_dir(world.path("copy/policies")).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(copied, [world.path("copy").join(path_of("version = 1"))]);
    let run = world.run(["log", "verify", "copy", "--key", "log.vkey", NEVER_STALE, "--no-state"]);
    assert_eq!(run.code, 0, "{}", run.told());
    world.write(&format!("log/{}", path_of("version = 1")), "version = 2");
    let run = log_run(&world, "export", &["--out", "again"]);
    assert!(run.code == 1 && run.stderr.contains("does not have the SHA-256"), "{}", run.told());
    assert!(!world.path("again/checkpoint").exists(), "what does not hold is no log");
}

#[test]
fn policies_are_read_from_a_server_and_copied_from_there() {
    let world = World::new();
    publish(&world, &with_policy("version = 1"));
    world.write(&format!("log/{}", path_of("version = 1")), "version = 1");
    let url = serve(&world.path("log"));
    let of_url =
        |command: &str, more: &[&str]| world.run([&["log", command, &url, "--key", "log.vkey"][..], more].concat());
    let run = of_url("verify", &[NEVER_STALE, "--no-state"]);
    assert!(
        run.code == 0 && run.stderr.contains("policies") && run.stderr.contains("What else the server has"),
        "{}",
        run.told()
    );
    let run = of_url("export", &["--out", "copy"]);
    assert!(run.code == 0 && run.stderr.contains("with 1 text of policies"), "{}", run.told());
    assert_eq!(world.read(&format!("copy/{}", path_of("version = 1"))), "version = 1");
    world.write(&format!("log/{}", path_of("version = 1")), "version = 2");
    let run = of_url("verify", &[NEVER_STALE, "--no-state"]);
    assert!(run.code == 1 && run.stderr.contains("does not have the SHA-256 that its name says"), "{}", run.told());
}

#[test]
fn a_text_of_a_policy_that_is_missing_is_said() {
    let world = World::new();
    publish(&world, &with_policy("version = 1"));
    let run = verify(&world, &[]);
    let said = "What 1 policy text say: entries bring them into force, and they are not here.";
    assert!(run.code == 0 && run.stderr.contains(said), "{}", run.told());
    let run = log_run(&world, "export", &["--out", "copy"]);
    assert!(run.code == 0 && run.stderr.contains("1 text of policies are not there."), "{}", run.told());
}

#[test]
fn private_values_are_copied_for_whoever_copies_them() {
    let (world, _) = private();
    assert_eq!(log_run(&world, "export", &["--out", "copy"]).code, 0);
    let mode = |name: &str| fs::metadata(world.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("copy/openings/000.p/5"), mode("copy/checkpoint") & 0o600), (0o600, 0o600));
}

/// 300 entries of which the first 256 have no bundle any more; entry 299 issues.
fn pruned() -> World {
    let world = World::new();
    let mut all: Vec<Vec<u8>> = (0..298).map(|_| Object::new().into_entry("heartbeat", THEN_MILLIS)).collect();
    all.insert(7, log::issued(1, &[1; 32], THEN_MILLIS));
    all.push(log::issued(2, &[2; 32], THEN_MILLIS));
    publish_any(&world, &all);
    fs::remove_file(world.path("log/tile/entries/000")).unwrap();
    world.write("log/pruned-before", "256\n");
    world
}

#[test]
fn a_log_that_is_pruned_by_a_stated_policy_is_used_by_every_command() {
    let world = pruned();
    let by_policy = ["--pruned-before", "256"];
    let hint = verify(&world, &[]);
    assert!(hint.code == 1 && hint.stderr.contains("hint: `pruned-before` says how many"), "{}", hint.told());
    let run = verify(&world, &by_policy);
    assert!(run.code == 0 && !run.stderr.contains("beside the log"), "{}", run.told());
    let left_out = "The first 256 entries were not read: their bundles are pruned, and their hashes hold.";
    for (command, more) in [("query", &[][..]), ("stats", &[]), ("export", &["--out", "copy"])] {
        assert_eq!(log_run(&world, command, more).code, 1, "{command}");
        fs::remove_dir_all(world.path("copy")).ok();
        let run = log_run(&world, command, &[&by_policy[..], more].concat());
        assert!(run.code == 0 && run.stderr.contains(left_out), "{command}: {}", run.told());
    }
    assert_eq!(world.read("copy/pruned-before"), "256\n");
    let run = world
        .run([&["log", "verify", "copy", "--key", "log.vkey", NEVER_STALE, "--no-state"][..], &by_policy].concat());
    assert_eq!(run.code, 0, "{}", run.told());
    let run = log_run(&world, "range", &[&by_policy[..], &["--to", "257"]].concat());
    assert!(run.code == 0 && run.stdout.lines().count() == 3, "{}", run.told());
}

#[test]
fn what_is_not_in_the_entries_that_are_left_is_undecided_and_no_proof_of_anything() {
    let world = pruned();
    world.openssl("req -x509 -newkey ed25519 -nodes -keyout a.key -out a.pem -days 9 -subj /CN=a");
    let run = log_run(&world, "prove", &["a.pem", "--pruned-before", "256"]);
    assert!(run.code == 1 && run.stderr.contains("but for the first 256, whose bundles are pruned"), "{}", run.told());
    let outside = ["--issuer", "a.pem", "--certificates", "a.pem"];
    let run = log_run(&world, "reconcile", &[&outside[..], &["--pruned-before", "256", "--counter", "9"]].concat());
    assert!(run.code == 3 && run.stderr.contains("undecided:"), "{}", run.told());
    assert!(run.stderr.contains("by the log 0 or more"), "{}", run.told());
}

#[test]
fn an_instance_is_found_wherever_an_entry_names_it() {
    let world = World::new();
    let instance =
        |id: &str| Object::new().text("id", id).text("provider", "sys.auth.lab").text("service", "sports.api");
    let mut all = entries(THEN_MILLIS);
    let alarm = Object::new().text("alarm", "instance-stolen").object("instance", instance("i-1"));
    let alarm = alarm.text("sentence", "its key is in use").count("decision-index", 1);
    all.push(alarm.into_entry("alarm", THEN_MILLIS + 5_000));
    let revoked =
        Object::new().text("action", "revoked").text("authority", "athenz").object("instance", instance("i-2"));
    all.push(revoked.into_entry("instance", THEN_MILLIS + 6_000));
    publish(&world, &all);
    let found = |id: &str| {
        let run = log_run(&world, "query", &["--instance", id, "--format", "json"]);
        assert_eq!(run.code, 0, "{}", run.told());
        let lines = run.stdout.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.map(|line| line["index"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((found("i-1"), found("i-2"), found("i")), (vec![5], vec![6], vec![]));
}

#[test]
fn a_log_whose_newest_entry_lies_ahead_is_not_good_for_ever() {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let world = World::new();
    publish(&world, &entries(now + 20 * 86_400_000));
    let run = log_run(&world, "verify", &["--no-state"]);
    assert!(run.code == 3 && run.stderr.contains("good, but ahead:"), "{}", run.told());
    assert!(run.stderr.contains("hint: set this machine's clock"), "{}", run.told());
    publish(&world, &entries(now + 10_000));
    assert_eq!(log_run(&world, "verify", &["--no-state"]).code, 0, "clocks differ a little");
}

#[test]
fn who_gives_another_key_than_before_hears_that_nothing_was_compared() {
    let world = World::new();
    publish(&world, &entries(THEN_MILLIS));
    assert_eq!(log_run(&world, "verify", &[NEVER_STALE]).code, 0);
    let of_another = "what you saw of it under another key: give that key, too";
    assert!(!log_run(&world, "verify", &[NEVER_STALE]).stderr.contains(of_another));
    log::sign_anew(&world, &entries(THEN_MILLIS), 9);
    let run = log_run(&world, "verify", &[NEVER_STALE]);
    assert!(run.code == 0 && run.stderr.contains(of_another), "{}", run.told());
}

#[test]
fn somebody_who_looks_sees_how_far_it_is() {
    let world = World::new();
    let all: Vec<Vec<u8>> = (0..300).map(|_| Object::new().into_entry("heartbeat", THEN_MILLIS)).collect();
    publish_any(&world, &all);
    let words = ["log", "verify", "log", "--key", "log.vkey", NEVER_STALE, "--no-state"].map(str::to_owned);
    let run = world.run_in_terminal(&words, "");
    assert!(run.code == 0 && run.stdout.contains("of 300 entries, "), "{}", run.told());
    assert!(!verify(&world, &[]).stderr.contains("of 300 entries"), "and nobody else does");
}

#[test]
fn a_table_of_many_entries_is_printed_as_they_come() {
    let world = World::new();
    let all: Vec<Vec<u8>> = (0..2_500).map(|_| Object::new().into_entry("heartbeat", THEN_MILLIS)).collect();
    publish_any(&world, &all);
    let run = log_run(&world, "query", &[]);
    assert_eq!((run.code, run.stdout.lines().count()), (0, 2_501));
    let indexes = run.stdout.lines().skip(1).map(|line| line.split(' ').next().unwrap().parse::<u64>().unwrap());
    assert!(indexes.eq(0..2_500));
}
