//! `kill -9` at random moments under 64 clients, again and again: every receipt that was ever handed out still verifies, and
//! nothing that was acknowledged is missing. `make crashes` does it 200 times.

use std::{env, time::Duration};

use hallmark_proto::signer::{MintCertificateRequest, MintCertificateResponse, Refusal};
use hallmark_tests::{
    asking::Asked,
    client::connect,
    daemon::{Laboratory, program, succeed},
    log::Log,
};
use prost::Message as _;
use tokio::{
    sync::mpsc::{self, UnboundedSender},
    task::JoinSet,
};
use tonic::{Code, Status};
use tonic_types::pb;

/// Clients that ask at the same time, each over one connection.
const CLIENTS: usize = 64;

/// Rounds unless the environment says otherwise.
const ROUNDS_DEFAULT: usize = 20;

/// Answers that come before the daemon is killed, at most; how many is drawn anew each time, and may be none.
const ANSWERS_MAX: u64 = 200;

/// Microseconds that pass on top, at most, so that it dies anywhere between two answers.
const MORE_MICROS_MAX: u64 = 30_000;

/// Every so many requests one is refused.
const REFUSED_EVERY: usize = 5;

/// What was acknowledged.
enum Acknowledged {
    Minted(Box<MintCertificateResponse>),
    Refused(Refusal),
}

fn rounds() -> usize {
    env::var("HALLMARK_CRASH_ROUNDS").map_or(ROUNDS_DEFAULT, |rounds| rounds.parse().expect("a number of rounds"))
}

/// A number below `bound`.
fn random(bound: u64) -> u64 {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    u64::from_le_bytes(bytes) % bound
}

fn refusal(status: &Status) -> Option<Refusal> {
    let details = pb::Status::decode(status.details()).ok()?.details;
    let of_ours = details.iter().find(|detail| detail.type_url.ends_with("hallmark.signer.v1.Refusal"))?;
    Refusal::decode(of_ours.value.as_slice()).ok()
}

/// Asks until the daemon is gone.
async fn ask(
    laboratory: &Laboratory,
    daemon: &hallmark_tests::daemon::Daemon,
    all: &mut JoinSet<()>,
    told: UnboundedSender<Acknowledged>,
) {
    let mut client = connect(laboratory, daemon).await;
    all.spawn(async move {
        for number in 0_usize.. {
            let asked = Asked::sports_api().request();
            let asked = if number % REFUSED_EVERY == REFUSED_EVERY - 1 {
                MintCertificateRequest { profile: "none".to_owned(), ..asked }
            } else {
                asked
            };
            match client.mint_certificate(asked).await {
                Ok(minted) => told.send(Acknowledged::Minted(Box::new(minted.into_inner()))).unwrap(),
                Err(status) => match refusal(&status) {
                    Some(refusal) => told.send(Acknowledged::Refused(refusal)).unwrap(),
                    None => {
                        assert!(
                            matches!(
                                status.code(),
                                Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal
                            ),
                            "{status}"
                        );
                        return;
                    }
                },
            }
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn every_receipt_ever_handed_out_still_verifies_and_nothing_acknowledged_is_missing() {
    let laboratory = Laboratory::new();
    let mut acknowledged = Vec::new();
    let rounds = rounds();
    for _ in 0..rounds {
        let daemon = laboratory.start();
        let (told, mut heard) = mpsc::unbounded_channel();
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            ask(&laboratory, &daemon, &mut clients, told.clone()).await;
        }
        drop(told);
        for _ in 0..random(ANSWERS_MAX) {
            acknowledged.extend(heard.recv().await);
        }
        tokio::time::sleep(Duration::from_micros(random(MORE_MICROS_MAX))).await;
        daemon.kill();
        clients.join_all().await;
        while let Some(answer) = heard.recv().await {
            acknowledged.push(answer);
        }
    }
    assert!(laboratory.start().terminate());
    let log = Log::read(&laboratory.path("log"), &std::fs::read_to_string(laboratory.path("log.vkey")).unwrap());
    let (mut minted, mut refused) = (0, 0);
    for answer in &acknowledged {
        match answer {
            Acknowledged::Minted(response) => {
                log.proves(response);
                minted += 1;
            }
            Acknowledged::Refused(refusal) => {
                log.proves_refusal(refusal);
                refused += 1;
            }
        }
    }
    assert!(minted > 20 * rounds && refused > rounds, "{minted} minted and {refused} refused show little");
    assert_eq!(log.of_type("recovered").count(), rounds, "every start after a crash says so");
    let mut verify = std::process::Command::new(program("hallmark"));
    verify.args(["--json", "log", "verify", "--no-state"]).arg(laboratory.path("log"));
    let verdict = succeed(verify.arg("--key").arg(laboratory.path("log.vkey")));
    assert!(verdict.contains("\"good\""), "{verdict}");
}

#[test]
fn a_crash_is_told_by_the_first_start_that_succeeds_whatever_failed_in_between() {
    let laboratory = Laboratory::new();
    laboratory.start().kill();
    let pin = std::fs::read(laboratory.path("pin")).unwrap();
    std::fs::write(laboratory.path("pin"), "00000000").unwrap();
    for _ in 0..2 {
        let output = laboratory.hallmarkd().arg("run").arg(laboratory.path("signer.toml")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("PIN"), "{said}");
    }
    std::fs::write(laboratory.path("pin"), pin).unwrap();
    assert!(laboratory.start().terminate());
    let log = Log::read(&laboratory.path("log"), &std::fs::read_to_string(laboratory.path("log.vkey")).unwrap());
    let kinds: Vec<_> = log.entries.iter().map(|entry| entry["type"].as_str().unwrap()).collect();
    let last = kinds.iter().rposition(|kind| *kind == "start").unwrap();
    assert_eq!(&kinds[last..], ["start", "recovered", "policy-loaded", "key-event", "key-event", "stop"]);
    assert!(!kinds[last - 1].contains("stop"), "what failed says nothing: {kinds:?}");
}
