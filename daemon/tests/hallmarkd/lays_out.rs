//! `hallmarkd lab`, completions and manual pages.

use std::{fs, os::unix::fs::PermissionsExt as _};

use crate::world::{World, hallmarkd};

#[test]
fn a_laboratory_that_is_there_is_kept() {
    let world = World::new();
    let before = world.files("");
    let ended = world.lab(&["--software"]).done();
    assert_eq!(world.files(""), before);
    assert_eq!(ended.stdout.lines().filter(|line| line.starts_with("kept ")).count(), before.len());
}

#[test]
fn force_writes_everything_anew_but_secrets_that_protect_keys() {
    let world = World::new();
    world.init().done();
    let before = world.files("");
    world.lab(&["--software", "--force"]).done();
    let after = world.files("");
    let changed: Vec<_> = before.keys().filter(|path| before[*path] != after[*path]).collect();
    assert!(changed.contains(&&world.path("server.key")), "{changed:?}");
    for kept in ["passphrase", "log.key", "hallmark.db"] {
        assert!(!changed.contains(&&world.path(kept)), "{kept}");
    }
    world.run_with(&["--allow-software-keys", "--log", "="]).failed_with(&["`=` is no filter of log lines"]);
    world.start().stop().done();
}

#[test]
fn a_part_of_the_set_is_not_completed_with_others_certificates() {
    let world = World::new();
    fs::remove_file(world.path("coordinator.key")).unwrap();
    world.lab(&["--software"]).failed_with(&["coordinator.key` is missing", "`--force` makes the whole set anew"]);
}

#[test]
fn private_keys_are_readable_by_their_owner_only() {
    let world = World::new();
    for name in ["server.key", "coordinator.key", "stranger.key", "passphrase"] {
        assert_eq!(fs::metadata(world.path(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    assert_eq!(fs::metadata(world.path("")).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let directory = tempfile::tempdir().unwrap();
    hallmarkd(&["man", directory.path().to_str().unwrap()]).done();
    let script = hallmarkd(&["completions", "bash"]).done().stdout;
    for command in ["run", "check", "init", "lab", "completions", "man"] {
        let page = directory.path().join(format!("hallmarkd-{command}.1"));
        assert!(fs::read_to_string(page).unwrap().contains("hallmarkd"), "{command}");
        assert!(script.contains(&format!("hallmarkd__subcmd__{command}")), "{command}");
    }
}

#[test]
fn wrong_usage_is_told_apart_from_failure() {
    assert_eq!(hallmarkd(&["serve"]).code, 2);
    assert_eq!(hallmarkd(&["run"]).code, 2);
}
