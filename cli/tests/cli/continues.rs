//! Auditors of a log that changes its keys or its name: what it says of both must be how it is signed and named, and what
//! came before must be its beginning.

use std::fs;

use hallmark_entry::Object;
use hallmark_tlog::note::SignerKey;
use insta::assert_snapshot;

use crate::support::{
    Run, World,
    log::{THEN_MILLIS, log_key, publish_under, root, start},
};

const NEVER_STALE: &str = "--stale-after=99999d";

const NEXT_ORIGIN: &str = "signer.example/log/2027";

/// Seed of the key that is there from the beginning, and of the one that comes.
const OLD: u8 = 1;
const NEW: u8 = 2;

fn heartbeat() -> Vec<u8> {
    Object::new().into_entry("heartbeat", THEN_MILLIS)
}

fn vkey(seed: u8) -> String {
    log_key(seed).verifier().to_string()
}

/// An entry by which these keys sign.
fn keys(keys: &[u8], added: &[u8], removed: &[u8]) -> Vec<u8> {
    let texts = |seeds: &[u8]| seeds.iter().map(|seed| vkey(*seed)).collect::<Vec<_>>();
    Object::new()
        .text("by", "start")
        .texts("keys", "keys-omitted", texts(keys))
        .texts("added", "added-omitted", texts(added))
        .texts("removed", "removed-omitted", texts(removed))
        .into_entry("log-key", THEN_MILLIS)
}

/// A run over a log that these keys signed, of an auditor who knows those.
fn signed(entries: &[Vec<u8>], signers: &[u8], known: &[u8]) -> Run {
    let world = World::new();
    let signers: Vec<SignerKey> = signers.iter().map(|seed| log_key(*seed)).collect();
    publish_under(&world, "log", &signers.iter().collect::<Vec<_>>(), entries);
    world.write("log.vkey", known.iter().map(|seed| vkey(*seed) + "\n").collect::<String>());
    world.run(["log", "verify", "log", "--key", "log.vkey", NEVER_STALE])
}

#[test]
fn keys_sign_as_the_log_says_and_no_others() {
    let begun = [start(THEN_MILLIS), keys(&[NEW, OLD], &[NEW], &[])];
    let ended = [&begun[..], &[keys(&[NEW], &[], &[OLD])]].concat();
    for (entries, signers, known) in [
        (&begun[..1], &[OLD][..], &[OLD][..]),
        (&begun, &[NEW, OLD], &[OLD]),
        (&begun, &[NEW, OLD], &[NEW]),
        (&begun, &[NEW, OLD], &[NEW, OLD]),
        (&ended, &[NEW], &[NEW]),
        (&ended, &[NEW], &[NEW, OLD]),
    ] {
        let run = signed(entries, signers, known);
        assert_eq!(run.code, 0, "{signers:?} for who knows {known:?}: {}", run.told());
    }
    for (entries, signers, known, finding) in [
        (&begun[..1], &[NEW, OLD][..], &[NEW, OLD][..], "is signed by several keys, and no entry says so"),
        (&begun, &[OLD], &[NEW, OLD], "which signs this log by entry 1"),
        (&begun, &[3, OLD], &[3, OLD], "which is no key of this log by entry 1"),
        (&ended, &[OLD], &[OLD], "which is no key of this log by entry 2"),
        (&ended, &[NEW, OLD], &[NEW, OLD], "which is no key of this log by entry 2"),
    ] {
        let run = signed(entries, signers, known);
        assert!(run.code == 1 && run.stderr.contains(finding), "{finding}: {}", run.told());
    }
    let twice = [&begun[..], &[keys(&[3, OLD], &[3], &[])]].concat();
    let run = signed(&twice, &[3, OLD], &[OLD]);
    assert!(run.code == 1 && run.stderr.contains("entry 2 changes the keys of the log from others"), "{}", run.told());
}

#[test]
fn who_knows_the_old_key_alone_hears_which_one_to_ask_for() {
    let run = signed(&[start(THEN_MILLIS), keys(&[NEW, OLD], &[NEW], &[])], &[NEW, OLD], &[OLD]);
    assert_snapshot!(run.told());
}

/// A log of 300 entries that was closed, and the one that continues it, in `old` and `new`.
struct Continued {
    world: World,
    entries: Vec<Vec<u8>>,
}

#[cfg(test)]
impl Continued {
    fn new() -> Self {
        let mut entries = vec![start(THEN_MILLIS)];
        entries.extend((1..298).map(|_| heartbeat()));
        entries.push(Object::new().into_entry("stop", THEN_MILLIS));
        let closed = Object::new()
            .text("action", "closed")
            .text("by", "operator")
            .text("origin", log_key(OLD).verifier().name())
            .count("size", 300)
            .text("next-origin", NEXT_ORIGIN)
            .text("next-key", &next_key().verifier().to_string());
        entries.push(closed.into_entry("origin", THEN_MILLIS));
        let mut continued = Self { world: World::new(), entries };
        continued.entries.push(continued.opened(root(&continued.entries).as_bytes(), 300));
        continued.entries.push(start(THEN_MILLIS));
        continued.publish();
        continued
    }

    fn opened(&self, root: &[u8], size: u64) -> Vec<u8> {
        Object::new()
            .text("action", "opened")
            .text("by", "operator")
            .text("origin", NEXT_ORIGIN)
            .text("key", &next_key().verifier().to_string())
            .text("previous-origin", log_key(OLD).verifier().name())
            .count("previous-size", size)
            .hex("previous-root", root)
            .into_entry("origin", THEN_MILLIS)
    }

    fn publish(&self) {
        let Self { world, entries } = self;
        publish_under(world, "old", &[&log_key(OLD)], &entries[..300]);
        publish_under(world, "new", &[&next_key()], entries);
        fs::remove_file(world.path("new/tile/entries/000")).unwrap();
        world.write("old.vkey", vkey(OLD));
        world.write("new.vkey", next_key().verifier().to_string());
    }

    fn verify(&self, more: &[&str]) -> Run {
        self.world.run([&["log", "verify", "new", "--key", "new.vkey", NEVER_STALE], more].concat())
    }

    fn verify_both(&self, more: &[&str]) -> Run {
        self.verify(&[&["--previous", "old", "--previous-key", "old.vkey"], more].concat())
    }
}

#[cfg(test)]
fn next_key() -> SignerKey {
    SignerKey::generate(NEXT_ORIGIN, [7; 32]).unwrap()
}

#[test]
fn a_log_and_the_one_that_it_continues_are_verified_together() {
    let continued = Continued::new();
    assert_snapshot!(continued.verify_both(&[]).told());
    assert_eq!(continued.verify_both(&[]).code, 0);
    let alone = continued.verify(&["--no-state"]);
    assert!(alone.code == 1 && alone.stderr.contains("`tile/entries/000` is missing"), "{}", alone.told());
    let alone = continued.verify(&["--no-state", "--pruned-before", "256"]);
    assert_eq!(alone.code, 0, "{}", alone.told());
    assert!(alone.stderr.contains("ends where this log begins: give it with --previous"), "{}", alone.stderr);
    for command in ["query", "stats"] {
        let both = ["log", command, "new", "--key", "new.vkey", "--previous", "old", "--previous-key", "old.vkey"];
        let run = continued.world.run(both);
        assert_eq!(run.code, 0, "{}", run.told());
    }
}

#[test]
fn a_log_that_was_closed_is_neither_stale_nor_longer_than_its_last_entry() {
    let continued = Continued::new();
    let old = || continued.world.run(["log", "verify", "old", "--key", "old.vkey", "--no-state"]);
    assert_eq!(old().code, 0, "{}", old().told());
    assert!(old().stderr.contains(&format!("it goes on as `{NEXT_ORIGIN}`")), "{}", old().stderr);
    publish_under(&continued.world, "old", &[&log_key(OLD)], &[&continued.entries[..300], &[heartbeat()]].concat());
    let run = old();
    assert!(run.code == 1 && run.stderr.contains("entry 300 follows the last entry of the log"), "{}", run.told());
    publish_under(&continued.world, "old", &[&log_key(OLD)], &continued.entries);
    let run = old();
    assert!(
        run.code == 1 && run.stderr.contains(&format!("by its entries the log is `{NEXT_ORIGIN}`")),
        "{}",
        run.told()
    );
}

#[test]
fn another_beginning_another_root_and_another_log_before_are_found() {
    let mut continued = Continued::new();
    let good = continued.entries.clone();
    continued.entries[300] = continued.opened(&[9; 32], 300);
    continued.publish();
    for run in [continued.verify_both(&["--no-state"]), continued.verify(&["--no-state", "--pruned-before", "256"])] {
        assert!(run.code == 1 && run.stderr.contains("not what its root says: they have the root"), "{}", run.told());
    }
    continued.entries[300] = continued.opened(root(&good[..299]).as_bytes(), 299);
    continued.publish();
    let run = continued.verify_both(&["--no-state"]);
    assert!(
        run.code == 1 && run.stderr.contains("entry 300 opens another log than the entry before it"),
        "{}",
        run.told()
    );
    continued.entries = good;
    continued.publish();
    publish_under(&continued.world, "old", &[&log_key(OLD)], &continued.entries[..299]);
    let run = continued.verify_both(&["--no-state"]);
    assert!(run.code == 1 && run.stderr.contains("no entry of this log continues that"), "{}", run.told());
    let mut other = continued.entries[..300].to_vec();
    other[5] = Object::new().into_entry("heartbeat", THEN_MILLIS + 1);
    publish_under(&continued.world, "old", &[&log_key(OLD)], &other);
    let run = continued.verify_both(&["--no-state"]);
    assert!(run.code == 1 && run.stderr.contains("entry 5 in `tile/entries/000`"), "{}", run.told());
}

#[test]
fn what_was_seen_of_the_log_before_binds_the_one_that_continues_it() {
    let continued = Continued::new();
    let (world, old) = (&continued.world, ["log", "verify", "old", "--key", "old.vkey", NEVER_STALE]);
    publish_under(world, "old", &[&log_key(OLD)], &continued.entries[..270]);
    fs::copy(world.path("old/checkpoint"), world.path("seen")).unwrap();
    assert_eq!(world.run(old).code, 0);
    continued.publish();
    let anchored = |more: &[&str]| continued.verify_both(&[&["--anchor", "seen"], more].concat());
    assert_eq!(anchored(&[]).code, 0, "{}", anchored(&[]).told());
    let mut forged = continued.entries[..270].to_vec();
    forged[9] = Object::new().into_entry("heartbeat", THEN_MILLIS + 1);
    publish_under(world, "forged", &[&log_key(OLD)], &forged);
    fs::copy(world.path("forged/checkpoint"), world.path("seen")).unwrap();
    let run = anchored(&["--no-state"]);
    assert!(run.code == 1 && run.stderr.contains("the log was rewritten before that"), "{}", run.told());
    let longer = [&continued.entries[..300], &[heartbeat()]].concat();
    publish_under(world, "longer", &[&log_key(OLD)], &longer);
    fs::copy(world.path("longer/checkpoint"), world.path("seen")).unwrap();
    let run = anchored(&["--no-state"]);
    assert!(
        run.code == 1 && run.stderr.contains("this log says that it was closed with 300 entries"),
        "{}",
        run.told()
    );
}

/// A log of 300 entries that was left for a backup of its first 250, and the one that goes on from there, in `old` and `new`.
#[cfg(test)]
fn restored(seen: &[Vec<u8>]) -> Continued {
    let mut old = vec![start(THEN_MILLIS)];
    old.extend((1..300).map(|_| heartbeat()));
    let world = World::new();
    publish_under(&world, "old", &[&log_key(OLD)], &old);
    let turn = Object::new()
        .text("action", "restored")
        .text("by", "operator")
        .text("origin", NEXT_ORIGIN)
        .text("key", &next_key().verifier().to_string())
        .text("previous-origin", log_key(OLD).verifier().name())
        .count("previous-size", 250)
        .hex("previous-root", root(&old[..250]).as_bytes())
        .count("seen-size", seen.len() as u64)
        .hex("seen-root", root(seen).as_bytes());
    let new = [&old[..250], &[turn.into_entry("origin", THEN_MILLIS), start(THEN_MILLIS)]].concat();
    publish_under(&world, "new", &[&next_key()], &new);
    world.write("old.vkey", vkey(OLD));
    world.write("new.vkey", next_key().verifier().to_string());
    Continued { world, entries: old }
}

#[test]
fn what_was_seen_of_a_log_that_was_left_is_compared_with_that_log() {
    let mut old = vec![start(THEN_MILLIS)];
    old.extend((1..300).map(|_| heartbeat()));
    let restored = restored(&old[..290]);
    let world = &restored.world;
    let see = |name: &str, entries: &[Vec<u8>]| {
        publish_under(world, name, &[&log_key(OLD)], entries);
        fs::copy(world.path(&format!("{name}/checkpoint")), world.path("seen")).unwrap();
    };
    // An auditor who has seen the log that was left, beyond the backup, remembers that; and remembers this one, too.
    publish_under(world, "old", &[&log_key(OLD)], &old[..280]);
    assert_eq!(world.run(["log", "verify", "old", "--key", "old.vkey", NEVER_STALE]).code, 0);
    publish_under(world, "old", &[&log_key(OLD)], &old);
    for _ in 0..2 {
        let run = restored.verify_both(&[]);
        assert_eq!(run.code, 0, "{}", run.told());
    }
    let remembered = restored.verify_both(&[]).told();
    assert!(remembered.contains("last run") && remembered.contains("252 entries"), "{remembered}");
    for size in [100, 250, 270, 290] {
        see("good", &old[..size]);
        let run = restored.verify_both(&["--no-state", "--anchor", "seen"]);
        assert_eq!(run.code, 0, "{size}: {}", run.told());
    }
    let mut fork = old.clone();
    fork[9] = Object::new().into_entry("heartbeat", THEN_MILLIS + 1);
    for (size, finding) in [
        (100, "the log was rewritten before that"),
        (270, "in `old`: "),
        (290, "and others than whoever restored a backup of it has seen"),
        (295, "did not know that"),
    ] {
        see("forked", &fork[..size]);
        let run = restored.verify_both(&["--no-state", "--anchor", "seen"]);
        assert!(run.code == 1 && run.stderr.contains(finding), "{size}: {}", run.told());
    }
    see("good", &old[..290]);
    publish_under(world, "old", &[&log_key(OLD)], &old[..280]);
    let run = restored.verify_both(&["--no-state", "--anchor", "seen"]);
    assert!(run.code == 1 && run.stderr.contains("`old` ends with 280 entries"), "{}", run.told());
}
