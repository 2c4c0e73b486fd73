//! What is committed is published within a second, through the real daemon.

use std::{
    fs,
    time::{Duration, Instant},
};

use hallmark_tests::{asking::Asked, client::connect, daemon::Laboratory};
use hallmark_tlog::{checkpoint::Checkpoint, note::Note};

/// How long after the answer the published checkpoint may be without the entry.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(1);

/// Certificates that are followed to their publication, one after another.
const FOLLOWED: usize = 12;

fn published(laboratory: &Laboratory) -> u64 {
    let note = fs::read(laboratory.path("log/checkpoint")).expect("it is there whole at any moment");
    let note = Note::parse(&note).expect("it is a note at any moment");
    Checkpoint::parse_unverified(note.text()).expect("it is a checkpoint at any moment").size()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_published_within_a_second() {
    let laboratory = Laboratory::new();
    let daemon = laboratory.start();
    let mut client = connect(&laboratory, &daemon).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..FOLLOWED {
        let minted = client.mint_certificate(Asked::sports_api().request()).await.unwrap().into_inner();
        let answered = Instant::now();
        while published(&laboratory) <= minted.log_index {
            assert!(answered.elapsed() < PUBLISHED_WITHIN, "entry {} is not published yet", minted.log_index);
            std::thread::yield_now();
        }
        slowest = slowest.max(answered.elapsed());
    }
    println!("published at most {} ms after the answer", slowest.as_millis());
    drop(client);
    assert!(daemon.terminate());
}
