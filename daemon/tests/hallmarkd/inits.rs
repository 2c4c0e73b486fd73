//! `hallmarkd init`.

use std::{fs, os::unix::fs::PermissionsExt as _};

use crate::world::World;

#[test]
fn keys_and_certificates_are_made_once() {
    for world in [World::new(), World::with_token()] {
        let first =
            world.init().done().says(&["log.key` was made", "athenz: root, SHA-256", "athenz: mesh-ca, SHA-256"]);
        let out = world.files("out");
        let names: Vec<_> = out.keys().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["intermediate.pem", "log.vkey", "mesh-ca.pem", "root.pem"]);
        let second = world.init().done().says(&["log.key` is there"]);
        assert_eq!(world.files("out"), out, "byte for byte");
        let fingerprints = |text: &str| -> Vec<_> {
            text.lines().filter(|line| line.contains("SHA-256")).map(str::to_owned).collect()
        };
        assert_eq!(fingerprints(&first.stdout), fingerprints(&second.stdout));
        assert_eq!(fingerprints(&first.stdout).len(), 3);
    }
}

#[test]
fn the_log_key_is_readable_by_its_owner_only_and_never_printed() {
    let world = World::new();
    let ended = world.init().done();
    assert_eq!(fs::metadata(world.path("log.key")).unwrap().permissions().mode() & 0o777, 0o600);
    let key = world.read("log.key");
    let secret = key.trim_end().splitn(5, '+').nth(4).unwrap(); // base64 may hold a `+`, too
    for printed in [&ended.stdout, &ended.stderr] {
        assert!(!printed.contains(secret) && !printed.contains("PRIVATE"), "{printed}");
    }
    assert_eq!(world.read("log.vkey"), world.read("out/log.vkey"));
    assert!(ended.stdout.contains(world.read("log.vkey").trim_end()));
}

#[test]
fn keys_in_files_need_the_flag() {
    let world = World::new();
    world.init_with(&[]).failed_with(&["--allow-software-keys"]);
    assert!(!world.path("out").exists());
}

#[test]
fn another_keys_public_half_is_not_overwritten() {
    let world = World::new();
    world.write("log.vkey", "somebody+12345678+AAAA\n");
    world.init().failed_with(&["log.vkey` is not the public half of the log key; hint: move it away"]);
    assert_eq!(world.read("log.vkey"), "somebody+12345678+AAAA\n");
}

#[test]
fn a_policy_with_a_mistake_is_told_before_anything_is_made() {
    let world = World::new();
    world.edit("policy.toml", "authority = \"athenz\"", "authority = \"athens\"");
    let before = world.files("");
    world.init().failed_with(&["there is no authority `athens`"]);
    assert_eq!(world.files(""), before);
}

#[test]
fn a_log_name_that_cannot_name_a_key_is_refused() {
    let world = World::new();
    world.edit("signer.toml", "hallmark.lab/signer", "hallmark lab");
    world.init().failed_with(&["`log.origin` is `hallmark lab`, which cannot name a key"]);
    assert!(!world.path("log.key").exists());
}
