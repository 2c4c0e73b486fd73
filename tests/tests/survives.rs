//! What the signer survives, and where it stops with one sentence.

use std::time::{Duration, Instant};

use hallmark_faulty::{Effect, Function, When, cryptoki_sys::CKR_DEVICE_ERROR};
use hallmark_proto::signer::{GetChainRequest, MintCertificateResponse};
use hallmark_signer::StartError;
use hallmark_tests::{
    EVERYWHERE, Where, World,
    asking::{Asked, decoded, join_all},
    example_policy,
    tools::tbs,
};

#[tokio::test]
async fn a_second_signer_on_the_same_database_says_so_and_stops() {
    let mut world = World::new(Where::Software).await;
    let first = world.core().clone();
    let error = world.start(false).await.expect_err("a second signer is refused");
    assert!(matches!(error, StartError::Open(_)), "{error}");
    assert!(error.to_string().contains("another daemon"), "{error}");
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_is_answered_when_the_signer_stops() {
    let mut world = World::new(Where::SoftHsm).await;
    let core = world.core().clone();
    let requests: Vec<_> = (0..64).map(|_| Asked::sports_api().request()).collect();
    let mut answered = vec![(requests[0].clone(), world.mint(requests[0].clone()).await.unwrap())];
    let mints = join_all(requests.iter().skip(1).map(|request| world.mint(request.clone())));
    let (minted, ()) = tokio::join!(mints, core.stop());
    for (request, minted) in requests.into_iter().skip(1).zip(minted) {
        match minted {
            Ok(minted) => answered.push((request, minted)),
            Err(refused) => assert_eq!(refused.reasons, ["STOPPING"]),
        }
    }
    world.start(false).await.unwrap();
    for (request, minted) in &answered {
        assert_eq!(world.mint(request.clone()).await.unwrap().certificate, minted.certificate);
    }
    let log = world.log_after_stop().await;
    assert_eq!(log.of_type("recovered").count(), 0, "nothing was left committed and unsigned");
    let leaves = log.decisions("issued").iter().filter(|entry| entry["stage"] == "leaf").count();
    assert_eq!(leaves, answered.len());
}

#[tokio::test]
async fn nothing_is_signed_when_the_log_cannot_be_written_and_it_goes_on_when_there_is_room() {
    let mut world = World::new(Where::SoftHsm).await;
    world.stop().await;
    let pages = std::fs::metadata(world.path("ledger.sqlite")).unwrap().len() / 4_096 + 40;
    world.write("pages-max", &pages.to_string());
    world.start(false).await.unwrap();
    fill(&mut world).await;
    world.stop().await;
    std::fs::remove_file(world.path("pages-max")).unwrap();
    world.start(false).await.unwrap();
    assert!(world.mint(Asked::sports_api().request()).await.is_ok());
}

async fn fill(world: &mut World) {
    for _ in 0..2_000 {
        let before = world.key_uses();
        match world.mint(Asked::sports_api().request()).await {
            Ok(_) => {}
            Err(refused) => {
                assert_eq!((refused.code, refused.reasons), (14, vec!["LEDGER_FAILED".to_owned()]));
                assert_eq!(world.key_uses(), before, "no key was touched");
                return;
            }
        }
    }
    panic!("the database never filled");
}

#[tokio::test]
async fn a_clock_that_leaps_stops_minting_until_an_operator_confirms_it() {
    let mut world = World::new(Where::SoftHsm).await;
    world.clocks().pass(7_200);
    world.mint(Asked::sports_api().request()).await.unwrap();
    let before = world.key_uses();
    world.clocks().leap(-3_600);
    let refused = world.mint(Asked::sports_api().request()).await.unwrap_err();
    assert_eq!((refused.code, refused.reasons), (9, vec!["CLOCK_UNTRUSTED".to_owned()]));
    assert_eq!(world.key_uses(), before);
    world.stop().await;
    world.start(false).await.unwrap();
    let refused = world.mint(Asked::sports_api().request()).await.unwrap_err();
    assert_eq!(refused.reasons, ["CLOCK_UNTRUSTED"], "a restart alone is no word of an operator's");
    world.stop().await;
    world.start_with(false, true).await.unwrap();
    assert!(world.mint(Asked::sports_api().request()).await.is_ok());
    let log = world.log_after_stop().await;
    assert_eq!(log.of_type("operator-command").next().unwrap()["command"], "accept-clock");
}

#[tokio::test]
async fn a_clock_that_leapt_forwards_is_not_trusted_after_a_restart_either() {
    let mut world = World::new(Where::Software).await;
    world.clocks().leap(86_400);
    assert_eq!(world.mint(Asked::sports_api().request()).await.unwrap_err().reasons, ["CLOCK_UNTRUSTED"]);
    world.restart().await;
    assert_eq!(world.mint(Asked::sports_api().request()).await.unwrap_err().reasons, ["CLOCK_UNTRUSTED"]);
    world.clocks().leap(-86_400);
    world.stop().await;
    world.start_with(false, true).await.unwrap();
    world.mint(Asked::sports_api().request()).await.unwrap();
    world.restart().await;
    world.mint(Asked::sports_api().request()).await.unwrap();
    assert_eq!(world.log_after_stop().await.of_type("clock-distrusted").count(), 1);
}

#[tokio::test]
async fn sessions_that_die_are_replaced_and_minting_goes_on() {
    let world = World::new(Where::SoftHsm).await;
    for _ in 0..3 {
        world.mint(Asked::sports_api().request()).await.unwrap();
        world.token().close_all_sessions();
    }
    assert!(world.mint(Asked::sports_api().request()).await.is_ok());
}

#[tokio::test]
async fn a_key_that_is_gone_stops_the_start_with_a_sentence_that_names_it() {
    for place in EVERYWHERE {
        let mut world = World::new(place).await;
        world.stop().await;
        world.lose_the_epoch_key();
        let error = world.start(false).await.expect_err("the start stops");
        assert!(error.to_string().contains("hallmark-athenz-epoch-1"), "{error}");
        let log = world.log_after_stop().await;
        let last: Vec<_> = log.entries.iter().rev().take(4).map(|entry| entry["type"].as_str().unwrap()).collect();
        assert_eq!(last, ["stop", "key-event", "policy-loaded", "start"]);
        let refused = log.of_type("key-event").last().unwrap();
        assert_eq!((&refused["action"], &refused["authority"]), (&"refused".into(), &"athenz".into()));
        assert!(refused["reference"].as_str().unwrap().contains("hallmark-athenz-epoch-1"), "{refused}");
    }
}

#[tokio::test]
async fn without_being_told_to_nothing_is_made_and_nothing_is_served() {
    let mut world = World::unmade(Where::SoftHsm, &example_policy());
    world.start(false).await.unwrap();
    let refused = world.chain(active()).await.unwrap_err();
    assert_eq!(refused.reasons, ["EPOCH_NOT_ACTIVE"]);
    assert_eq!(world.log_after_stop().await.decisions("refused").len(), 1);
}

fn active() -> GetChainRequest {
    GetChainRequest { authority: "athenz".to_owned(), epoch: None }
}

/// The database as a crash leaves it: the certificate is committed and its signature was never kept.
fn forget_signature(world: &World, stage: &str) {
    let database = rusqlite::Connection::open(world.path("ledger.sqlite")).unwrap();
    let forgot = database.execute("UPDATE request SET signature = NULL WHERE stage = ?1", [stage]).unwrap();
    assert_eq!(forgot, 1, "{stage}");
    let table = if stage == "root" { "authority" } else { "epoch" };
    database.execute(&format!("UPDATE {table} SET state = 'keyed'"), []).unwrap();
}

#[tokio::test]
async fn a_ca_certificate_that_was_committed_and_not_signed_is_signed_over_the_committed_bytes() {
    for (place, stage) in [(Where::SoftHsm, "root"), (Where::Software, "intermediate"), (Where::SoftHsm, "mesh-ca")] {
        let mut world = World::new(place).await;
        let chain = world.chain(active()).await.unwrap();
        let certificate = |chain: &hallmark_proto::signer::GetChainResponse| match stage {
            "root" => chain.root.clone(),
            "intermediate" => chain.intermediate.clone(),
            _ => chain.mesh_ca.clone(),
        };
        world.stop().await;
        forget_signature(&world, stage);
        world.start(true).await.unwrap();
        let again = world.chain(active()).await.unwrap();
        assert_eq!(tbs(&certificate(&again)), tbs(&certificate(&chain)), "{stage}");
        let log = world.log_after_stop().await;
        assert_eq!(log.of_type("outcome").count(), 1, "{stage}: signing again is logged");
    }
}

#[tokio::test]
async fn a_new_ledger_on_the_same_token_never_uses_the_keys_of_another() {
    for place in EVERYWHERE {
        let mut world = World::new(place).await;
        let first = world.chain(active()).await.unwrap();
        world.stop().await;
        for name in ["ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"] {
            let _ = std::fs::remove_file(world.path(name));
        }
        std::fs::remove_dir_all(world.path("log")).unwrap();
        world.start(true).await.unwrap();
        let second = world.chain(active()).await.unwrap();
        let key = |certificate: &[u8]| hallmark_tests::tools::spki(certificate).to_vec();
        assert_ne!(key(&first.root), key(&second.root));
        assert_ne!(key(&first.mesh_ca), key(&second.mesh_ca));
    }
}

#[tokio::test]
async fn a_key_that_an_interrupted_start_left_is_taken_over_and_the_log_says_so() {
    let mut world = World::new(Where::SoftHsm).await;
    let first = world.chain(active()).await.unwrap();
    world.stop().await;
    let database = rusqlite::Connection::open(world.path("ledger.sqlite")).unwrap();
    let reset = "DELETE FROM epoch; DELETE FROM request WHERE stage IN ('root', 'intermediate', 'mesh-ca'); \
                 UPDATE authority SET state = 'intent', reference = NULL, spki = NULL, root = NULL";
    database.execute_batch(reset).unwrap();
    drop(database);
    world.start(true).await.unwrap();
    let second = world.chain(active()).await.unwrap();
    let key = |certificate: &[u8]| hallmark_tests::tools::spki(certificate).to_vec();
    assert_eq!(key(&first.root), key(&second.root), "a root's key cannot be destroyed");
    assert_ne!(key(&first.mesh_ca), key(&second.mesh_ca), "that of an epoch is made again");
    let log = world.log_after_stop().await;
    assert!(log.of_type("key-event").any(|entry| entry["action"] == "taken-over"));
}

#[tokio::test]
async fn a_start_that_is_refused_is_no_crash() {
    let mut world = World::new(Where::Software).await;
    world.stop().await;
    let policy = example_policy();
    world.write("policy.toml", &policy.replace("Athenz Lab Issuing CA", "Another CA"));
    world.start(false).await.expect_err("the start is refused");
    world.write("policy.toml", &policy);
    let report = world.start(false).await.unwrap();
    assert!(!report.lines.iter().any(|line| line.contains("cleanly")), "{:?}", report.lines);
}

#[tokio::test]
async fn a_policy_that_describes_the_ca_otherwise_than_its_certificate_stops_the_start() {
    let mut world = World::new(Where::Software).await;
    world.stop().await;
    world.write("policy.toml", &example_policy().replace("Athenz Lab Issuing CA", "Another CA"));
    let error = world.start(false).await.expect_err("the start stops");
    assert!(error.to_string().contains("made once"), "{error}");
}

#[tokio::test]
async fn an_older_database_in_place_of_the_newest_stops_the_start() {
    let mut world = World::new(Where::Software).await;
    world.stop().await;
    let old = std::fs::read(world.path("ledger.sqlite")).unwrap();
    world.start(false).await.unwrap();
    world.mint(Asked::sports_api().request()).await.unwrap();
    world.stop().await;
    std::fs::write(world.path("ledger.sqlite"), old).unwrap();
    let error = world.start(false).await.expect_err("the start stops");
    assert!(error.to_string().contains("does not continue"), "{error}");
}

#[tokio::test]
async fn every_start_and_stop_stands_in_the_log_with_the_policy_in_force() {
    let mut world = World::new(Where::Software).await;
    world.restart().await;
    let log = world.log_after_stop().await;
    assert_eq!((log.of_type("start").count(), log.of_type("stop").count()), (2, 2));
    assert_eq!(log.of_type("policy-loaded").count(), 2);
    assert!(log.of_type("start").all(|entry| entry["software-keys"] == true));
    assert_eq!(log.of_type("recovered").count(), 0);
}

#[tokio::test]
async fn a_device_that_cannot_sign_is_said_to_the_caller_and_to_the_log() {
    let mut world = World::new(Where::SoftHsm).await;
    world.mint(Asked::sports_api().request()).await.unwrap();
    world.token().destroy_labelled("hallmark-athenz-epoch-1");
    world.token().close_all_sessions();
    let request = Asked::sports_api().request();
    for _ in 0..2 {
        let refused = world.mint(request.clone()).await.unwrap_err();
        assert_eq!((refused.code, refused.reasons), (14, vec!["DEVICE_FAILED".to_owned()]));
    }
    let log = world.log_after_stop().await;
    let outcomes: Vec<_> = log.of_type("outcome").map(|entry| entry["result"].as_str().unwrap().to_owned()).collect();
    assert_eq!(outcomes, ["signing-failed", "signing-again", "signing-failed"], "each attempt stands in the log");
}

#[tokio::test]
async fn a_signature_whose_answer_the_device_lost_is_made_again_after_the_log_says_so() {
    let mut world = World::faulty().await;
    world.mint(Asked::sports_api().request()).await.unwrap();
    let signed = world.device().calls(Function::Sign);
    world.device().fault(Function::Sign, When::Nth(1), Effect::LoseAnswer(CKR_DEVICE_ERROR));
    let minted = world.mint(Asked::sports_api().request()).await.expect("the caller notices nothing");
    assert_eq!(world.device().calls(Function::Sign) - signed, 2, "what the device counts");
    let log = world.log_after_stop().await;
    log.proves(&minted);
    let outcomes: Vec<_> = log.of_type("outcome").map(|entry| (&entry["result"], &entry["decision-index"])).collect();
    let index = serde_json::Value::from(minted.log_index);
    assert_eq!(
        outcomes,
        [(&"signing-failed".into(), &index), (&"signing-again".into(), &index)],
        "is what the log explains"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_passes_between_commit_and_key_leaves_a_certificate_for_the_retry() {
    let policy = example_policy().replacen("key = \"ecdsa-p256\"", "key = \"rsa-4096\"", 2);
    let mut world = World::with_policy(Where::SoftHsm, &policy).await;
    let requests: Vec<_> = (0..48).map(|_| Asked::sports_api().request()).collect();
    let mut late = Vec::new();
    // Deadlines grow until some requests are committed in time and reach the key too late.
    for millis in [20, 40, 80, 160, 320, 640] {
        let calls = requests.iter().map(|request| {
            let body = prost::Message::encode_to_vec(request);
            world.unary("MintCertificate", world.caller(), body, millis * 1_000_000)
        });
        let replies = join_all(calls).await;
        for (request, reply) in requests.iter().zip(replies) {
            if reply.code == 4 && reply.message.contains("log index") {
                late.push(request.clone());
            }
        }
        if !late.is_empty() {
            break;
        }
    }
    assert!(!late.is_empty(), "no deadline passed between commit and key");
    let mut signed = false;
    for request in late {
        let body = prost::Message::encode_to_vec(&request);
        let reply = world.unary("MintCertificate", world.caller(), body, 20_000_000_000).await;
        signed |= reply.signed;
        assert!(decoded::<MintCertificateResponse>(reply).unwrap().replayed);
    }
    assert!(signed, "the front hears that a key signed only now");
    let log = world.log_after_stop().await;
    assert!(log.of_type("outcome").any(|entry| entry["code"] == "DEADLINE_PASSED"));
}

#[tokio::test]
async fn a_signer_that_nobody_asks_says_after_ten_windows_again_that_it_is_alive() {
    let mut world = World::new(Where::Software).await;
    world.stop().await;
    let window = Duration::from_millis(20);
    world.hurry(window);
    let began = Instant::now();
    world.start(false).await.unwrap();
    tokio::time::sleep(30 * window).await;
    let log = world.log_after_stop().await;
    let windows = began.elapsed().as_millis() / window.as_millis();
    let beats = log.entries.iter().filter(|entry| entry["type"] == "heartbeat").count() as u128;
    assert!((2..=windows / 10).contains(&beats), "{beats} heartbeats in {windows} windows");
    let start = log.entries.iter().rposition(|entry| entry["type"] == "start").unwrap();
    assert!(log.entries[..start].iter().all(|entry| entry["type"] != "heartbeat"), "none in the first minute of a run");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_heartbeats_while_what_is_left_of_an_old_epoch_waits_for_a_device_that_hangs() {
    let mut world = World::faulty().await;
    world.stop().await;
    world.hurry(Duration::from_millis(20));
    world.start(false).await.unwrap();
    world.prepare_epoch(0).await.unwrap();
    let fault = world.device().fault(Function::DestroyObject, When::Always, Effect::Hang);
    world.activate_epoch(2, false).await.unwrap();
    // The key before is to be destroyed, and the device does not answer: as long as it has, heartbeats are published.
    let beats = |world: &World| {
        let bytes = std::fs::read_dir(world.path("log/tile/entries")).map_or_else(
            |_| Vec::new(),
            |directory| {
                let files = directory.flatten().flat_map(|entry| {
                    let path = entry.path();
                    if path.is_dir() {
                        std::fs::read_dir(path).into_iter().flatten().flatten().map(|file| file.path()).collect()
                    } else {
                        vec![path]
                    }
                });
                files.filter_map(|file| std::fs::read(file).ok()).max_by_key(Vec::len).unwrap_or_default()
            },
        );
        bytes.windows(9).filter(|window| *window == b"heartbeat").count()
    };
    let before = beats(&world);
    let began = Instant::now();
    while beats(&world) < before + 3 {
        assert!(began.elapsed() < Duration::from_secs(8), "a device that hangs silences nothing");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(world.device().hanging() > 0, "it hangs all the while");
    fault.clear();
    world.stop().await;
}
