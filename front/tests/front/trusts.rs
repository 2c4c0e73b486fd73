//! Callers that are admitted no longer, and TLS files that change.

use std::{fs::Permissions, os::unix::fs::PermissionsExt as _};

use crate::support::{Authority, World, eventually};
use hallmark_front::{FrontError, Reason};
use tonic::Code;

#[tokio::test]
async fn an_expired_caller_certificate_is_refused_at_the_next_request() {
    let world = World::start();
    let caller = world.connect().await;
    assert_eq!(caller.call("GetChain", b"?").await.unwrap().code(), Code::Ok);
    drop(world.core.next_unary().await);
    world.pass_the_end_of_certificates();
    let answer = caller.call("GetChain", b"?").await.unwrap();
    assert_eq!((answer.code(), answer.reason().as_str()), (Code::Unauthenticated, "CALLER_NOT_ADMITTED"));
    let told = world.core.next_turned_away().await;
    assert_eq!((told.method.as_str(), told.reason.as_str()), ("GetChain", "CALLER_NOT_ADMITTED"));
    assert_eq!(told.caller_certificate, world.caller_certificate().as_ref());
    caller.ended().await;
    assert!(world.core.heard_nothing_more().await);
    assert_eq!(world.counters.turned_away(Reason::CallerNotAdmitted), 1);
    assert_eq!(world.counters.connections_dismissed(), 1);
}

#[tokio::test]
async fn an_expired_caller_certificate_ends_the_connection() {
    let world = World::builder().watching().start();
    let caller = world.connect().await;
    assert_eq!(caller.call("GetChain", b"?").await.unwrap().code(), Code::Ok);
    world.pass_the_end_of_certificates();
    caller.ended().await;
    assert_eq!(world.counters.connections_dismissed(), 1);
}

#[tokio::test]
async fn a_connection_ends_at_its_maximum_age() {
    let world = World::builder().connection_age_max("1s").start();
    let caller = world.connect().await;
    assert_eq!(caller.call("GetChain", b"?").await.unwrap().code(), Code::Ok);
    caller.ended().await;
    assert!(world.is_served(world.dial()).await);
    assert_eq!(world.counters.connections_dismissed(), 0);
}

#[tokio::test]
async fn a_bundle_that_no_longer_admits_the_caller_ends_the_connection() {
    let world = World::start();
    let caller = world.connect().await;
    assert_eq!(caller.call("GetChain", b"?").await.unwrap().code(), Code::Ok);
    world.write("callers-ca.pem", &Authority::new("other callers").pem());
    world.reload.reload().await.unwrap();
    caller.ended().await;
    assert!(!world.is_served(world.dial()).await);
    assert_eq!(world.counters.connections_dismissed(), 1);
}

#[tokio::test]
async fn a_bundle_that_still_admits_the_caller_leaves_the_connection_alone() {
    let world = World::start();
    let caller = world.connect().await;
    world.write("callers-ca.pem", &(Authority::new("other callers").pem() + &world.callers.pem()));
    world.reload.reload().await.unwrap();
    assert_eq!(caller.call("GetChain", b"?").await.unwrap().code(), Code::Ok);
    assert_eq!(world.counters.connections_dismissed(), 0);
}

#[tokio::test]
async fn a_revoked_caller_loses_its_connection_and_gets_no_other() {
    let world = World::builder().with_crl().start();
    let caller = world.connect().await;
    assert_eq!(caller.call("GetChain", b"?").await.unwrap().code(), Code::Ok);
    world.write("callers.crl", &world.callers.crl(true));
    world.reload.reload().await.unwrap();
    caller.ended().await;
    assert!(!world.is_served(world.dial()).await);
}

#[tokio::test]
async fn an_outdated_revocation_list_admits_nobody() {
    let world = World::builder().with_crl().start();
    let caller = world.connect().await;
    assert_eq!(caller.call("GetChain", b"?").await.unwrap().code(), Code::Ok);
    world.pass_the_end_of_revocation_lists();
    assert_eq!(caller.call("GetChain", b"?").await.unwrap().code(), Code::Unauthenticated);
    assert!(!world.is_served(world.dial()).await);
}

#[tokio::test]
async fn a_new_server_certificate_is_served_after_reload_without_restart() {
    let world = World::start();
    let caller = world.connect().await;
    let renewed = world.servers.server();
    world.write("server.pem", &renewed.certificate_pem);
    world.write("server.key", &renewed.key_pem);
    assert_eq!(world.connect().await.server_certificate, caller.server_certificate);
    world.reload.reload().await.unwrap();
    assert_eq!(world.connect().await.server_certificate, renewed.certificate);
    assert_eq!(caller.call("GetChain", b"?").await.unwrap().code(), Code::Ok);
}

#[tokio::test]
async fn changed_files_are_found_without_being_told() {
    let world = World::builder().watching().start();
    let renewed = world.servers.server();
    // For a moment the key does not belong to the certificate: the old pair stays in force until both are there.
    world.write("server.pem", &renewed.certificate_pem);
    eventually("the half-written pair is refused", || world.counters.reloads_failed() == 1).await;
    assert_ne!(world.connect().await.server_certificate, renewed.certificate);
    world.write("server.key", &renewed.key_pem);
    eventually("the pair is in force", || world.counters.reloads() == 1).await;
    assert_eq!(world.connect().await.server_certificate, renewed.certificate);
}

#[tokio::test]
async fn a_bad_file_leaves_the_old_one_in_force() {
    let world = World::builder().with_crl().start();
    let before = world.connect().await.server_certificate.clone();
    for name in ["server.pem", "server.key", "callers-ca.pem", "callers.crl"] {
        let good = std::fs::read_to_string(world.path(name)).unwrap();
        for bad in ["", "garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            world.write(name, bad);
            assert!(world.reload.reload().await.is_err(), "{name} with {bad:?}");
        }
        std::fs::remove_file(world.path(name)).unwrap();
        assert!(matches!(world.reload.reload().await, Err(FrontError::Read { .. })), "{name} missing");
        assert_eq!(world.connect().await.server_certificate, before);
        assert!(world.is_served(world.dial()).await);
        world.write(name, &good);
    }
    world.reload.reload().await.unwrap();
    assert_eq!(world.counters.reloads(), 1);
}

#[tokio::test]
async fn a_server_key_that_others_can_read_is_not_taken() {
    let world = World::start();
    for (mode, is_taken) in [(0o640, false), (0o604, false), (0o610, false), (0o600, true), (0o400, true)] {
        std::fs::set_permissions(world.path("server.key"), Permissions::from_mode(mode)).unwrap();
        match world.reload.reload().await {
            Ok(()) => assert!(is_taken, "{mode:o}"),
            Err(FrontError::KeyReadable { mode: found, .. }) => assert!(!is_taken && found == mode, "{mode:o}"),
            Err(error) => panic!("{mode:o}: {error}"),
        }
    }
}

#[tokio::test]
async fn an_authority_that_is_not_wanted_does_not_come_in_by_a_reload() {
    let unwanted = Authority::new("signed here");
    let world = World::builder().without_anchor(unwanted.der()).start();
    assert_eq!(world.anchors, [world.callers.der()]);
    world.write("callers-ca.pem", &(world.callers.pem() + &unwanted.pem()));
    assert!(matches!(world.reload.reload().await, Err(FrontError::AnchorNotWanted { .. })));
    assert!(!world.is_served(world.dial_as(&unwanted.caller())).await);
    assert!(world.is_served(world.dial()).await);
}
