//! Who is let in, and how.

use crate::support::{Authority, Caller, World, eventually};
use rustls::HandshakeKind;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

async fn nobody_was_served(world: &World) {
    eventually("the failed handshake is counted", || world.counters.handshakes_failed() == 1).await;
    assert_eq!((world.counters.connections_accepted(), world.counters.requests()), (0, 0));
    assert!(world.core.heard_nothing_more().await);
}

#[tokio::test]
async fn a_caller_with_a_certificate_is_served() {
    let world = World::start();
    let answer = world.connect().await.call("MintCertificate", b"request").await.unwrap();
    assert_eq!(answer.message(), b"request".as_slice());
    let unary = world.core.next_unary().await;
    assert_eq!((unary.method.as_str(), unary.body.as_ref()), ("MintCertificate", b"request".as_slice()));
    assert_eq!(unary.caller_certificate, world.caller_certificate().as_ref());
    assert_eq!((world.counters.connections_accepted(), world.counters.requests()), (1, 1));
}

#[tokio::test]
async fn a_caller_without_a_certificate_is_turned_away() {
    let world = World::start();
    let mut dial = world.dial();
    dial.identity = None;
    assert!(!world.is_served(dial).await);
    nobody_was_served(&world).await;
}

#[tokio::test]
async fn a_caller_of_another_authority_is_turned_away() {
    let world = World::start();
    let stranger = Authority::new("callers").caller();
    assert!(!world.is_served(world.dial_as(&stranger)).await);
    nobody_was_served(&world).await;
}

#[tokio::test]
async fn a_caller_whose_certificate_has_expired_is_turned_away() {
    let world = World::start();
    world.pass_the_end_of_certificates();
    assert!(!world.is_served(world.dial()).await);
    nobody_was_served(&world).await;
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    let world = World::start();
    let mut dial = world.dial();
    dial.version = &rustls::version::TLS12;
    assert!(dial.connect().await.is_err());
    nobody_was_served(&world).await;
}

#[tokio::test]
async fn a_caller_that_does_not_ask_for_http_2_is_refused() {
    for alpn in [vec![], vec![b"http/1.1".to_vec()]] {
        let world = World::start();
        let mut dial = world.dial();
        dial.alpn = alpn;
        assert!(!world.is_served(dial).await);
        nobody_was_served(&world).await;
    }
}

#[tokio::test]
async fn garbage_instead_of_tls_closes_the_connection_and_the_next_client_is_served() {
    let world = World::start();
    let mut tcp = TcpStream::connect(world.address).await.unwrap();
    tcp.write_all(&[0xa5; 4_096]).await.unwrap();
    // Either an end or a reset: the connection is closed.
    drop(tcp.read_to_end(&mut Vec::new()).await);
    nobody_was_served(&world).await;
    assert!(world.is_served(world.dial()).await);
}

#[tokio::test]
async fn plain_http2_is_refused() {
    let world = World::start();
    let mut tcp = TcpStream::connect(world.address).await.unwrap();
    tcp.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut answer = Vec::new();
    drop(tcp.read_to_end(&mut answer).await);
    const SETTINGS_FRAME: u8 = 4;
    assert_ne!(answer.get(3), Some(&SETTINGS_FRAME), "HTTP/2 was answered: {answer:?}");
    nobody_was_served(&world).await;
}

#[tokio::test]
async fn a_second_connection_presents_its_certificate_again() {
    let world = World::start();
    let config = world.dial().config().unwrap();
    for _ in 0..2 {
        let caller = Caller::connect(world.address, config.clone()).await.unwrap();
        // After a call, a ticket would have arrived and the second handshake be a resumption.
        caller.call("GetChain", b"?").await.unwrap().message();
        assert_eq!(caller.handshake, HandshakeKind::Full);
        assert_eq!(world.core.next_unary().await.caller_certificate, world.caller_certificate().as_ref());
    }
}
