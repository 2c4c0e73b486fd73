//! `hallmarkd run`.

use std::fs;

use rustix::process::Signal;

use crate::world::{World, core_file_limits};

#[test]
fn a_daemon_serves_until_it_is_told_to_stop_and_goes_on_from_there() {
    for world in [World::new(), World::with_token()] {
        world.init().done();
        for signal in [Signal::TERM, Signal::INT] {
            let ready = world.path("ready");
            let daemon = world.start_with(&["--ready-file", ready.to_str().unwrap()]);
            let ready = world.read("ready");
            assert_eq!(ready.lines().next(), Some(daemon.address.as_str()));
            assert_eq!(ready.lines().count(), 2, "callers and operators");
            assert!(!daemon.address.ends_with(":0"), "{}", daemon.address);
            daemon.signal(signal);
            let ended = daemon.stop().done();
            assert!(ended.stderr.contains("epoch 1 is active"), "{}", ended.stderr);
            assert!(!ended.stderr.contains("did not stop cleanly"), "{}", ended.stderr);
        }
    }
}

#[test]
fn a_key_backend_that_is_away_is_not_serving_until_it_is_back() {
    let world = World::new();
    world.init().done();
    let mut daemon = world.start();
    fs::rename(world.path("keys"), world.path("keys-away")).unwrap();
    let told = daemon.await_log("health: NOT_SERVING: ");
    assert!(told.contains("keys"), "{told}");
    fs::rename(world.path("keys-away"), world.path("keys")).unwrap();
    daemon.await_log("health: SERVING again");
    daemon.stop().done();
}

#[test]
fn a_daemon_without_an_authority_is_not_serving() {
    let world = World::new();
    world.init().done();
    let policy = world.read("policy.toml").replace("[authority.athenz", "[authority.other");
    world.write("policy.toml", &policy.replace("authority = \"athenz\"", "authority = \"other\""));
    let mut daemon = world.start();
    daemon.await_log("health: NOT_SERVING: no authority is served");
    daemon.stop().done();
}

#[test]
fn a_second_daemon_on_the_same_database_says_so_and_stops() {
    let world = World::new();
    world.init().done();
    let daemon = world.start();
    world.run().failed_with(&["another daemon has the database", "hallmark.db` open; hint: stop it first"]);
    world.init().failed_with(&["another daemon has the database"]);
    daemon.stop().done();
    world.start().stop().done();
}

#[test]
fn a_daemon_that_was_killed_says_so_at_the_next_start() {
    let world = World::new();
    world.init().done();
    let daemon = world.start();
    daemon.signal(Signal::KILL);
    drop(daemon);
    let ended = world.start().stop().done();
    assert!(ended.stderr.contains("the last run did not stop cleanly"), "{}", ended.stderr);
}

#[test]
fn keys_in_files_need_the_flag() {
    let world = World::new();
    world.init().done();
    world.run_with(&[]).failed_with(&["--allow-software-keys"]);
}

#[test]
fn a_start_without_a_log_key_says_what_makes_it() {
    World::new().run().failed_with(&["there is no log key at", "hint: run `hallmarkd init` once, which makes it"]);
}

#[test]
fn callers_are_not_trusted_through_an_authority_signed_here_unless_named() {
    let world = World::new();
    world.init().done();
    for anchor in ["root.pem", "intermediate.pem", "mesh-ca.pem"] {
        fs::copy(world.path("out").join(anchor), world.path("callers-ca.pem")).unwrap();
        world.run().failed_with(&["trusts callers through an authority that is signed here", "callers-signed-here"]);
    }
    world.edit("signer.toml", "# callers-signed-here = [\"athenz\"]", "callers-signed-here = [\"athenz\"]");
    world.start().stop().done();
}

#[test]
fn a_reload_that_brings_such_an_authority_changes_nothing() {
    let world = World::new();
    world.init().done();
    let mut daemon = world.start();
    fs::copy(world.path("out/root.pem"), world.path("callers-ca.pem")).unwrap();
    daemon.signal(Signal::HUP);
    let told = daemon.await_log("SIGHUP: the old TLS files stay in force");
    assert!(told.contains("authority=\"athenz\""), "{told}");
    daemon.stop().done();
}

#[test]
fn hanging_up_reads_the_tls_files_again() {
    let world = World::new();
    world.init().done();
    let mut daemon = world.start_with(&["--log-format", "json"]);
    daemon.signal(Signal::HUP);
    let told = daemon.await_log("SIGHUP: the TLS files were read again");
    assert!(told.lines().all(|line| line.starts_with('{') && line.ends_with('}')), "{told}");
    daemon.stop().done();
}

#[test]
fn an_address_in_use_is_told_and_the_log_ends_cleanly() {
    let world = World::new();
    world.init().done();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    world.edit("signer.toml", "127.0.0.1:0", &address);
    world.run().failed_with(&[&format!("cannot listen on {address}"), "Address already in use"]);
    drop(taken);
    let ended = world.start().stop().done();
    assert!(!ended.stderr.contains("did not stop cleanly"), "{}", ended.stderr);
}

#[test]
fn no_core_file_can_hold_a_secret() {
    let world = World::new();
    world.init().done();
    let daemon = world.start();
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid().as_raw_nonzero())).unwrap();
    assert_eq!(core_file_limits(&limits), ["0", "0"]);
    daemon.stop().done();
}
