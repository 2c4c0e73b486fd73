//! `kill -9` under load: what was committed is certified after the restart, and nothing that was answered is lost.

use hallmark_policy::stored_serial;
use hallmark_proto::signer::{MintCertificateRequest, MintCertificateResponse};
use hallmark_tests::{
    asking::Asked,
    client::connect,
    daemon::{Laboratory, succeed},
    log::Log,
    tools::tbs,
};
use tokio::{sync::mpsc, task::JoinSet};

/// Clients that mint at the same time, each over one connection.
const CLIENTS: usize = 32;

/// How often the daemon is killed.
const ROUNDS: usize = 3;

/// An answer, and the request that it answers.
type Answered = (MintCertificateRequest, MintCertificateResponse);

/// RSA-4096 makes the key the bottleneck: most requests are committed and wait for their signature at any moment.
fn slow_key(policy: String) -> String {
    let (before, after) = policy.split_once("[authority.athenz.epoch]").unwrap();
    let after = after.replacen("key = \"ecdsa-p256\"", "key = \"rsa-4096\"", 1);
    format!("{before}[authority.athenz.epoch]{after}")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_is_certified_after_kill_9_and_what_was_answered_is_answered_again() {
    let laboratory = Laboratory::with_policy(slow_key);
    let mut answered: Vec<Answered> = Vec::new();
    let mut unanswered: Vec<MintCertificateRequest> = Vec::new();
    for _ in 0..ROUNDS {
        let daemon = laboratory.start();
        let (answers, mut received) = mpsc::unbounded_channel();
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let mut client = connect(&laboratory, &daemon).await;
            let answers = answers.clone();
            clients.spawn(async move {
                loop {
                    let request = Asked::sports_api().request();
                    match client.mint_certificate(request.clone()).await {
                        Ok(response) => answers.send((request, response.into_inner())).unwrap(),
                        Err(_) => return request,
                    }
                }
            });
        }
        drop(answers);
        // The daemon dies when some were answered: then others are under way.
        for _ in 0..CLIENTS {
            answered.push(received.recv().await.unwrap());
        }
        daemon.kill();
        unanswered.extend(clients.join_all().await);
        while let Some(answer) = received.recv().await {
            answered.push(answer);
        }
    }
    let unsigned = committed_and_not_signed(&laboratory);
    let daemon = laboratory.start();
    let log = std::fs::read_to_string(laboratory.path("hallmarkd.log")).unwrap();
    assert!(log.contains("did not stop cleanly"), "{log}");
    let mut client = connect(&laboratory, &daemon).await;
    for (request, first) in &answered {
        let again = client.mint_certificate(request.clone()).await.unwrap().into_inner();
        assert_eq!(tbs(&again.certificate), tbs(&first.certificate), "the same TBSCertificate");
        assert_eq!((&again.serial, again.log_index), (&first.serial, first.log_index));
    }
    let mut certified = Vec::new();
    for request in &unanswered {
        certified.push(client.mint_certificate(request.clone()).await.unwrap().into_inner());
    }
    assert!(certified.iter().any(|response| response.replayed), "what was committed before is said to be");
    drop(client);
    assert!(daemon.terminate());
    let log = Log::read(&laboratory.path("log"), &std::fs::read_to_string(laboratory.path("log.vkey")).unwrap());
    answered.iter().for_each(|(_, response)| log.proves(response));
    certified.iter().for_each(|response| log.proves(response));
    let of_unsigned = certified.iter().map(|response| response.log_index).filter(|index| unsigned.contains(index));
    let signed_again: Vec<_> = of_unsigned.collect();
    assert!(!signed_again.is_empty(), "no request was caught between commit and signature: the test shows nothing");
    for response in &certified {
        assert_eq!(stored_serial(tbs(&response.certificate)).unwrap(), response.serial);
        let entry = &log.entries[usize::try_from(response.log_index).unwrap()];
        assert_eq!(entry["serial"], hallmark_policy::hex(&response.serial), "the committed serial is the signed one");
        let digest = hallmark_policy::key::SpkiDigest::of(tbs(&response.certificate)).to_string();
        assert_eq!(entry["tbs-sha256"], digest, "the committed bytes are the signed ones");
    }
    let logged: Vec<_> = log
        .of_type("outcome")
        .filter(|entry| entry["result"] == "signing-again")
        .filter_map(|entry| entry["decision-index"].as_u64())
        .collect();
    for index in signed_again {
        assert!(logged.contains(&index), "every signing again is logged, and that of {index} is not");
    }
    let verify = laboratory_log_verify(&laboratory);
    assert!(verify.contains("good"), "{verify}");
}

/// Log indexes of the requests that a daemon that was killed left committed and without a signature.
fn committed_and_not_signed(laboratory: &Laboratory) -> Vec<u64> {
    let database = rusqlite::Connection::open(laboratory.path("hallmark.db")).unwrap();
    let mut rows = database.prepare("SELECT log_index FROM request WHERE signature IS NULL AND void = 0").unwrap();
    let indexes = rows.query_map([], |row| row.get::<_, i64>(0)).unwrap();
    indexes.map(|index| index.unwrap().try_into().unwrap()).collect()
}

fn laboratory_log_verify(laboratory: &Laboratory) -> String {
    let hallmark = hallmark_tests::daemon::program("hallmark");
    let mut command = std::process::Command::new(hallmark);
    command.args(["--json", "log", "verify", "--no-state"]);
    command.arg(laboratory.path("log")).arg("--key").arg(laboratory.path("log.vkey"));
    succeed(&mut command)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_leaves_no_request_half_done() {
    let laboratory = Laboratory::with_policy(slow_key);
    let daemon = laboratory.start();
    let requests: Vec<_> = (0..CLIENTS).map(|_| Asked::sports_api().request()).collect();
    let mut calls = JoinSet::new();
    for request in requests.clone() {
        let mut client = connect(&laboratory, &daemon).await;
        calls.spawn(async move { client.mint_certificate(request).await.map(|_| ()) });
    }
    // The first answer shows that others are under way; their callers go away now.
    calls.join_next().await.unwrap().unwrap().unwrap();
    calls.shutdown().await;
    assert!(daemon.terminate());
    let daemon = laboratory.start();
    let text = std::fs::read_to_string(laboratory.path("hallmarkd.log")).unwrap();
    assert!(!text.contains("did not stop cleanly"), "{text}");
    let mut client = connect(&laboratory, &daemon).await;
    let mut replayed = 0;
    for request in requests {
        replayed += usize::from(client.mint_certificate(request).await.unwrap().into_inner().replayed);
    }
    assert!(replayed > 1, "no call was under way when its caller went away: the test shows nothing");
    drop(client);
    assert!(daemon.terminate());
    let log = Log::read(&laboratory.path("log"), &std::fs::read_to_string(laboratory.path("log.vkey")).unwrap());
    assert_eq!(log.of_type("outcome").count(), 0, "nothing had to be signed again");
}
