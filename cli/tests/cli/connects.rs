//! Connections that do not come about, each with its own sentence.

use std::net::{Ipv4Addr, TcpListener};

use crate::support::{Run, World, pki::Authority, signer::FakeSigner};
use insta::assert_snapshot;

/// What it says, whatever the port.
fn told(run: &Run, signer: &FakeSigner) -> String {
    run.told().replace(&signer.address.port().to_string(), "PORT")
}

#[test]
fn a_signer_that_serves_is_said_to_serve() {
    let world = World::new();
    let signer = FakeSigner::start(&world);
    assert_snapshot!(told(&world.run(signer.command("health")), &signer));
    assert_eq!(world.run(signer.command("health --json")).json()["result"], "serving");
}

#[test]
fn nobody_listening_is_said_in_a_sentence() {
    let world = World::new();
    let mut signer = FakeSigner::start(&world);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    signer.address = listener.local_addr().unwrap();
    drop(listener);
    assert_snapshot!(told(&world.run(signer.command("health")), &signer));
}

#[test]
fn a_server_of_another_ca_is_not_trusted() {
    let world = World::new();
    let signer = FakeSigner::start(&world);
    world.write("server-ca.pem", Authority::root("servers").pem());
    let run = world.run(signer.command("health"));
    assert_eq!(run.code, 3);
    assert!(run.stderr.contains("is not trusted"), "{}", run.stderr);
}

#[test]
fn a_server_of_another_name_is_not_trusted() {
    let world = World::new();
    let signer = FakeSigner::start(&world);
    let command = signer.command("health").into_iter().map(|word| word.replace("127.0.0.1", "localhost"));
    assert_snapshot!(told(&world.run(command), &signer));
}

#[test]
fn a_client_certificate_that_is_not_taken_is_named_as_the_cause() {
    let world = World::new();
    let signer = FakeSigner::start(&world);
    let stranger = Authority::root("strangers").identity("coordinator.example");
    world.write("coordinator.pem", stranger.certificate);
    world.write("coordinator.key", stranger.key);
    assert_snapshot!(told(&world.run(signer.command("health")), &signer));
}

#[test]
fn a_key_of_another_certificate_is_found_before_connecting() {
    let world = World::new();
    let signer = FakeSigner::start(&world);
    world.write("coordinator.key", Authority::root("x").identity("x.example").key);
    assert_snapshot!(world.run(signer.command("health")).told());
}

#[test]
fn files_that_hold_something_else_are_named() {
    for (name, expected) in [
        ("server-ca.pem", "certificate in PEM"),
        ("coordinator.pem", "certificate in PEM"),
        ("coordinator.key", "unencrypted private key in PEM"),
    ] {
        let world = World::new();
        let signer = FakeSigner::start(&world);
        world.write(name, "nonsense");
        let run = world.run(signer.command("health"));
        assert_eq!(run.code, 2);
        assert!(run.stderr.contains(&format!("`{name}` holds no {expected}")), "{}", run.stderr);
    }
}

#[test]
fn a_url_that_is_not_https_is_refused() {
    let world = World::new();
    let run = world.run(["health", "--signer", "http://signer", "--ca", "x", "--cert", "x", "--key", "x"]);
    assert_snapshot!(run.told());
}

#[test]
fn a_signer_that_says_nothing_is_not_waited_for_longer_than_asked() {
    let world = World::new();
    let signer = FakeSigner::start(&world);
    signer.answer(None);
    let run = world.run(signer.command("mint --profile p --csr service.csr --request-id r-1 --timeout 1s"));
    assert_eq!(run.code, 3);
    assert!(run.stderr.contains("DEADLINE_EXCEEDED") || run.stderr.contains("within 1s"), "{}", run.stderr);
    assert!(run.stderr.contains("r-1"), "the request id is needed to ask again: {}", run.stderr);
}
