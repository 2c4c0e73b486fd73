//! Receivers that are away, hang, refuse or lie: certificates are made as before, and spans are lost and counted.

use std::{
    fs,
    os::unix::net::UnixListener,
    time::{Duration, Instant},
};

use hallmark_proto::signer::signer_client::SignerClient;
use hallmark_tests::{
    asking::Asked,
    client::connect,
    daemon::{Daemon, Laboratory},
};
use tokio::io::AsyncWriteExt as _;
use tonic::{Code, transport::Channel};

use crate::{
    SOCKET, SOFTWARE,
    receiver::{Act, Receiver, until},
    spans,
};

/// Spans of a certificate.
const SPANS: f64 = 11.0;

/// Longer than any of these certificates takes on a busy machine, and shorter than a receiver is waited for.
const PROMPT: Duration = Duration::from_secs(4);

/// How long a stop may take beside the spans that are still sent.
const STOP_TIME_MAX: Duration = Duration::from_secs(15);

async fn mint(client: &mut SignerClient<Channel>, count: usize) {
    for _ in 0..count {
        let began = Instant::now();
        client.mint_certificate(Asked::sports_api().request()).await.unwrap();
        assert!(began.elapsed() < PROMPT, "{:?}", began.elapsed());
    }
}

/// Mints until spans of some calls were dropped; how many.
async fn mint_until_dropped(client: &mut SignerClient<Channel>, laboratory: &Laboratory, daemon: &Daemon) -> f64 {
    for _ in 0..1_000 {
        mint(client, 4).await;
        let [exported, dropped, _] = of(laboratory, daemon);
        assert_eq!(exported, 0.0);
        if dropped >= 5.0 * SPANS {
            return dropped;
        }
    }
    panic!("nothing is dropped");
}

fn log(laboratory: &Laboratory) -> String {
    fs::read_to_string(laboratory.path("hallmarkd.log")).unwrap()
}

fn of(laboratory: &Laboratory, daemon: &Daemon) -> [f64; 3] {
    ["exported", "dropped", "failed"].map(|outcome| spans(laboratory, daemon, outcome))
}

fn stop(daemon: Daemon) {
    let began = Instant::now();
    assert!(daemon.terminate());
    assert!(began.elapsed() < STOP_TIME_MAX, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_receiver_is_away_mints_go_on_and_it_has_what_comes_after() {
    let laboratory = crate::laboratory("queue = 3");
    let daemon = laboratory.start_with(SOFTWARE);
    let mut client = connect(&laboratory, &daemon).await;
    mint(&mut client, 1).await;
    until(|| log(&laboratory).contains("the receiver of traces does not take them: it cannot be reached")).await;
    // A batch that it tries to send, three calls that wait, and the rest.
    let dropped = mint_until_dropped(&mut client, &laboratory, &daemon).await;
    let complaints = |log: &str| log.matches("the receiver of traces does not take them").count();
    assert_eq!(complaints(&log(&laboratory)), 1, "it is told of once");

    let receiver = Receiver::at(&laboratory.path(SOCKET));
    let before = receiver.calls().len();
    until(|| spans(&laboratory, &daemon, "exported") > 0.0 || receiver.calls().len() > before).await;
    let had = receiver.calls().len();
    mint(&mut client, 1).await;
    receiver.awaited(|| receiver.calls().len() > had).await;
    until(|| log(&laboratory).contains("the receiver of traces takes them")).await;
    let [_, dropped_before, _] = of(&laboratory, &daemon);
    assert!(dropped_before >= dropped);
    stop(daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_comes_back_on_the_same_place_is_found_again() {
    let laboratory = crate::laboratory("");
    let receiver = Receiver::at(&laboratory.path(SOCKET));
    let daemon = laboratory.start_with(SOFTWARE);
    let mut client = connect(&laboratory, &daemon).await;
    mint(&mut client, 1).await;
    receiver.await_calls(1).await;
    drop(receiver);
    fs::remove_file(laboratory.path(SOCKET)).unwrap();
    mint(&mut client, 1).await;
    until(|| log(&laboratory).contains("the receiver of traces does not take them")).await;
    let receiver = Receiver::at(&laboratory.path(SOCKET));
    mint(&mut client, 1).await;
    receiver.await_calls(2).await;
    stop(daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_holds_up_neither_mints_nor_the_stop() {
    let laboratory = crate::laboratory("queue = 2");
    let receiver = Receiver::at(&laboratory.path(SOCKET));
    receiver.act(Act::Hang);
    let daemon = laboratory.start_with(SOFTWARE);
    let mut client = connect(&laboratory, &daemon).await;
    mint(&mut client, 1).await;
    receiver.awaited(|| receiver.asked() == 1).await;
    mint_until_dropped(&mut client, &laboratory, &daemon).await;
    // It is given up after a time, and asked again.
    receiver.awaited(|| receiver.asked() >= 2).await;
    assert!(log(&laboratory).contains("it did not answer within 5 s"), "{}", log(&laboratory));
    mint(&mut client, 1).await;
    stop(daemon);
    assert!(log(&laboratory).contains("spans were not sent before the stop"), "{}", log(&laboratory));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_takes_no_connection_and_one_that_speaks_something_else_cost_spans_alone() {
    // It listens, and nobody is there.
    let laboratory = crate::laboratory("queue = 2");
    let silent = UnixListener::bind(laboratory.path(SOCKET)).unwrap();
    let daemon = laboratory.start_with(SOFTWARE);
    let mut client = connect(&laboratory, &daemon).await;
    mint(&mut client, 10).await;
    until(|| log(&laboratory).contains("it did not answer within 5 s")).await;
    mint(&mut client, 1).await;
    stop(daemon);
    drop(silent);

    let laboratory = crate::laboratory("queue = 2");
    let strange = tokio::net::UnixListener::bind(laboratory.path(SOCKET)).unwrap();
    let talking = tokio::spawn(async move {
        loop {
            let (mut stream, _) = strange.accept().await.unwrap();
            let mut said = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
            said.resize(100_000, 0);
            aws_lc_rs::rand::fill(&mut said[28..]).unwrap();
            // The daemon may have heard enough before the end.
            let _ = stream.write_all(&said).await;
        }
    });
    let daemon = laboratory.start_with(SOFTWARE);
    let mut client = connect(&laboratory, &daemon).await;
    mint(&mut client, 10).await;
    until(|| spans(&laboratory, &daemon, "failed") > 0.0).await;
    mint(&mut client, 1).await;
    assert_eq!(spans(&laboratory, &daemon, "exported"), 0.0);
    stop(daemon);
    talking.abort();
    assert!(talking.await.unwrap_err().is_cancelled());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_receiver_refuses_for_good_is_not_sent_again_and_what_it_may_take_later_is() {
    let laboratory = crate::laboratory("");
    let receiver = Receiver::at(&laboratory.path(SOCKET));
    let daemon = laboratory.start_with(SOFTWARE);
    let mut client = connect(&laboratory, &daemon).await;
    receiver.act(Act::Refuse(Code::InvalidArgument));
    mint(&mut client, 1).await;
    until(|| of(&laboratory, &daemon) == [0.0, 0.0, SPANS]).await;
    assert_eq!(receiver.asked(), 1);
    assert!(log(&laboratory).contains("it refuses: InvalidArgument: as it was told"), "{}", log(&laboratory));

    receiver.act(Act::Refuse(Code::Unavailable));
    mint(&mut client, 1).await;
    receiver.awaited(|| receiver.asked() == 2).await;
    receiver.act(Act::Take);
    receiver.await_calls(1).await;
    until(|| of(&laboratory, &daemon) == [SPANS, 0.0, SPANS]).await;

    // Of what it takes in part, the rest is counted; and it says no more than was sent.
    for (says, counted) in [(3, 3.0), (i64::MAX, SPANS), (-5, 0.0)] {
        let [exported, _, failed] = of(&laboratory, &daemon);
        receiver.act(Act::Reject(says));
        mint(&mut client, 1).await;
        until(|| of(&laboratory, &daemon) == [exported + SPANS - counted, 0.0, failed + counted]).await;
    }
    stop(daemon);
}
