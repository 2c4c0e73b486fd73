//! Settings: flag before environment before file, and nothing misspelt goes unseen.

use crate::support::{World, signer::FakeSigner};
use insta::assert_snapshot;

const FILE: &str = ".config/hallmark/client.toml";

fn file(signer: &FakeSigner, profile: &str) -> String {
    format!(
        "signer = \"https://{}\"\nca = \"../../server-ca.pem\"\ncert = \"../../coordinator.pem\"\n\
         key = \"../../coordinator.key\"\nauthority = \"of-file\"\nprofile = \"{profile}\"\nlog-key = \"../../log.vkey\"\n",
        signer.address
    )
}

#[test]
fn the_users_own_file_is_enough() {
    let world = World::new();
    let signer = FakeSigner::start(&world);
    world.write(FILE, file(&signer, "of-file"));
    let run = world.run(["mint", "--csr", "service.csr"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("proves that the decision is in the log"), "{}", run.stderr);
    let seen = signer.state.minted.lock().unwrap().pop().unwrap();
    assert_eq!((seen.authority.as_str(), seen.profile.as_str()), ("of-file", "of-file"));
}

#[test]
fn flags_go_before_the_environment_and_that_before_the_file() {
    let mut world = World::new();
    let signer = FakeSigner::start(&world);
    world.write(FILE, file(&signer, "of-file"));
    world.set("HALLMARK_PROFILE", "of-environment");
    let profile = |arguments: &[&str]| {
        let run = world.run([&["mint", "--csr", "service.csr"], arguments].concat());
        assert_eq!(run.code, 0, "{}", run.stderr);
        signer.state.minted.lock().unwrap().pop().unwrap().profile
    };
    assert_eq!(profile(&[]), "of-environment");
    assert_eq!(profile(&["--profile", "of-flag"]), "of-flag");
}

#[test]
fn another_file_can_be_named() {
    let mut world = World::new();
    let signer = FakeSigner::start(&world);
    let path = world.write("a/b/other.toml", file(&signer, "of-other"));
    assert_eq!(world.run(["mint", "--csr", "service.csr", "--config", &path]).code, 0);
    world.set("HALLMARK_CONFIG", &path);
    assert_eq!(world.run(["mint", "--csr", "service.csr"]).code, 0);
    let seen: Vec<_> = signer.state.minted.lock().unwrap().drain(..).map(|request| request.profile).collect();
    assert_eq!(seen, ["of-other", "of-other"]);
}

#[test]
fn a_misspelt_key_in_the_file_is_an_error() {
    let world = World::new();
    world.write(FILE, "# mine\nsinger = \"https://127.0.0.1:4443\"\n");
    assert_snapshot!(world.run(["health"]).told());
}

#[test]
fn what_is_not_given_is_named() {
    let world = World::new();
    assert_snapshot!(world.run(["health"]).told());
    let signer = FakeSigner::start(&world);
    assert_snapshot!(world.run(signer.command("mint --csr service.csr")).told());
    assert_snapshot!(world.run(signer.command("mint --csr service.csr --profile a/p --authority b")).told());
}

#[test]
fn errors_are_json_where_json_was_asked_for() {
    let world = World::new();
    let run = world.run(["health", "--json"]);
    assert_eq!(run.code, 2);
    assert_eq!(run.json()["error"], "the signer's URL is not given");
}
