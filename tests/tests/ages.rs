//! Rotation by age: an epoch is prepared, its chain is fetched, and it takes the place of the active one.

use hallmark_faulty::{Effect, Function, When};
use hallmark_proto::operator::{
    AbortEpochRequest, ActivateEpochRequest, BringIntermediateRequest, PrepareEpochRequest,
};
use hallmark_proto::signer::{EpochState, EpochStatus, GetChainRequest, WatchEpochsRequest, WatchEpochsResponse};
use hallmark_tests::{AUTHORITY, EVERYWHERE, OPERATOR, Where, World, asking::Asked, example_policy};
use prost::Message;

fn state(epoch: &EpochStatus) -> EpochState {
    EpochState::try_from(epoch.state).unwrap()
}

fn generation(epoch: &EpochStatus) -> u64 {
    epoch.epoch.as_ref().unwrap().generation
}

fn transition(epoch: &EpochStatus) -> Vec<u8> {
    epoch.epoch.as_ref().unwrap().transition.to_vec()
}

async fn states(world: &World) -> Vec<(u64, EpochState)> {
    world.epochs().await.iter().map(|epoch| (generation(epoch), state(epoch))).collect()
}

fn by_generation(generation: u64) -> GetChainRequest {
    use hallmark_proto::signer::{EpochSelector, epoch_selector::By};
    let epoch = Some(EpochSelector { by: Some(By::Generation(generation)) });
    GetChainRequest { authority: AUTHORITY.to_owned(), epoch }
}

/// The example policy, whose retired keys are destroyed at once.
fn destroying() -> String {
    let head = "[authority.athenz.root]";
    example_policy().replacen(head, &format!("[authority.athenz]\nretired-key = \"destroy\"\n\n{head}"), 1)
}

#[tokio::test]
async fn a_retired_key_stays_for_its_crls_until_its_last_certificate_has_ended() {
    let mut world = World::new(Where::SoftHsm).await;
    let last = world.mint(Asked::sports_api().request()).await.unwrap();
    world.prepare_epoch(0).await.unwrap();
    world.activate_epoch(2, false).await.unwrap();
    world.clocks().pass(29 * 86_400);
    world.restart().await;
    assert_eq!(states(&world).await, [(2, EpochState::Active), (1, EpochState::Retired)]);
    assert_eq!(world.epoch_keys(), ["1", "2"]);
    assert_eq!(last.not_after - last.not_before, 30 * 86_400);
    world.clocks().pass(86_400 + 1);
    world.restart().await;
    assert_eq!(states(&world).await, [(2, EpochState::Active), (1, EpochState::Destroyed)]);
    assert_eq!(world.epoch_keys(), ["2"]);
}

#[tokio::test]
async fn an_epoch_is_prepared_fetched_and_activated_and_the_old_key_is_destroyed() {
    for place in EVERYWHERE {
        let mut world = World::with_policy(place, &destroying()).await;
        let old = world.mint(Asked::sports_api().request()).await.unwrap();
        let prepared = world.prepare_epoch(0).await.unwrap().epoch.unwrap();
        assert_eq!((generation(&prepared), state(&prepared)), (2, EpochState::Prepared));
        assert_eq!(prepared.previous, old.epoch.as_ref().unwrap().transition);
        assert_eq!(world.epoch_keys(), ["1", "2"]);

        let before = world.mint(Asked::sports_api().request()).await.unwrap();
        assert_eq!(before.epoch.as_ref().unwrap().generation, 1, "a prepared epoch signs no leaf");
        let fetched = world.chain(by_generation(2)).await.unwrap();
        assert!(!fetched.active);
        let epochs = world.epochs().await;
        assert_eq!(
            epochs[0].fetched.iter().map(|fetched| fetched.caller.as_str()).collect::<Vec<_>>(),
            ["coordinator"]
        );
        assert!(epochs[1].fetched.is_empty());

        let activated = world.activate_epoch(2, false).await.unwrap();
        assert_eq!(state(activated.epoch.as_ref().unwrap()), EpochState::Active);
        assert_eq!(states(&world).await, [(2, EpochState::Active), (1, EpochState::Destroyed)]);
        assert_eq!(world.epoch_keys(), ["2"]);
        let new = world.mint(Asked::sports_api().request()).await.unwrap();
        assert_eq!(new.epoch.as_ref().unwrap().generation, 2);
        assert_eq!((&new.mesh_ca, &new.chain), (&fetched.mesh_ca, &vec![fetched.intermediate.clone()]));
        assert_eq!(new.root, old.root);

        let log = world.log_after_stop().await;
        let steps: Vec<_> = log.of_type("rotation").map(|entry| entry["step"].as_str().unwrap()).collect();
        let active: Vec<_> = log.of_type("rotation").filter(|entry| entry["step"] == "epoch-active").collect();
        let by_operator = format!("uri:{OPERATOR}");
        assert_eq!(
            active.iter().map(|entry| &entry["by"]).collect::<Vec<_>>(),
            [&"init".into(), &serde_json::Value::from(by_operator)]
        );
        let each = ["epoch-intent", "epoch-key", "epoch-prepared", "epoch-active"];
        assert_eq!(
            steps,
            [&["root-intent", "root-key", "root-ready"][..], &each, &each, &["epoch-destroyed"]].concat()
        );
    }
}

#[tokio::test]
async fn a_mint_that_names_the_old_transition_touches_no_key_and_hears_the_new_one() {
    let world = World::new(Where::SoftHsm).await;
    let old = transition(&world.epochs().await[0]);
    world.prepare_epoch(0).await.unwrap();
    world.activate_epoch(2, false).await.unwrap();
    let uses = world.key_uses();
    let request = Asked::sports_api().request();
    let stale = hallmark_proto::signer::MintCertificateRequest { transition: old.into(), ..request };
    let refused = world.mint(stale).await.unwrap_err();
    assert_eq!((refused.code, refused.reasons.as_slice()), (9, &["TRANSITION_STALE".to_owned()][..]));
    let active = hallmark_policy::hex(&transition(&world.epochs().await[0]));
    assert_eq!(refused.allowed, [("TRANSITION_STALE".to_owned(), active)]);
    assert_eq!(world.key_uses(), uses);
}

#[tokio::test]
async fn asking_again_gives_the_same_epoch() {
    let world = World::new(Where::Software).await;
    world.mint(Asked::sports_api().request()).await.unwrap();
    let first = world.prepare_epoch(0).await.unwrap();
    assert_eq!(world.prepare_epoch(0).await.unwrap().epoch, first.epoch);
    world.activate_epoch(2, false).await.unwrap();
    let again = world.activate_epoch(2, false).await.unwrap();
    assert_eq!(again.notes, ["it was active already"]);
    assert_eq!(states(&world).await, [(2, EpochState::Active), (1, EpochState::Retired)]);
    let refused = world.activate_epoch(1, false).await.unwrap_err();
    assert_eq!((refused.code, refused.reasons.as_slice()), (9, &["EPOCH_NOT_ACTIVE".to_owned()][..]));
    assert!(refused.logged.is_some());
}

#[tokio::test]
async fn an_aborted_epoch_is_gone_and_its_number_is_not_used_again() {
    for place in EVERYWHERE {
        let mut world = World::new(place).await;
        world.prepare_epoch(0).await.unwrap();
        let aborted = world.abort_epoch(2, "the wrong day").await.unwrap().epoch.unwrap();
        assert_eq!(state(&aborted), EpochState::Aborted);
        assert_eq!(world.epoch_keys(), ["1"]);
        assert_eq!(world.activate_epoch(2, false).await.unwrap_err().code, 9);
        assert_eq!(world.abort_epoch(1, "it is active").await.unwrap_err().code, 9);
        let next = world.prepare_epoch(0).await.unwrap().epoch.unwrap();
        assert_eq!((generation(&next), state(&next)), (3, EpochState::Prepared));
        world.activate_epoch(3, false).await.unwrap();
        assert_eq!(world.mint(Asked::sports_api().request()).await.unwrap().epoch.unwrap().generation, 3);
        let log = world.log_after_stop().await;
        let by_operator = format!("uri:{OPERATOR}");
        let given_up = log.of_type("rotation").find(|entry| entry["step"] == "epoch-aborted").unwrap();
        assert_eq!((&given_up["by"], &given_up["reason"]), (&by_operator.into(), &"the wrong day".into()));
    }
}

#[tokio::test]
async fn a_lifetime_over_the_policy_s_is_refused_and_a_shorter_one_is_given() {
    let world = World::new(Where::Software).await;
    let refused = world.prepare_epoch(366 * 86_400).await.unwrap_err();
    assert_eq!((refused.code, refused.reasons.as_slice()), (7, &["LIFETIME_TOO_LONG".to_owned()][..]));
    let refused = world.prepare_epoch(60).await.unwrap_err();
    assert_eq!(refused.reasons, ["FIELD_OUT_OF_LIMITS"]);
    let prepared = world.prepare_epoch(7 * 86_400).await.unwrap().epoch.unwrap();
    assert_eq!(prepared.not_after, Some(world.clocks().now() + 7 * 86_400));
    world.activate_epoch(2, false).await.unwrap();
    let leaf = world.mint(Asked::sports_api().request()).await.unwrap_err();
    assert_eq!(leaf.reasons, ["LIFETIME_BEYOND_ISSUER"], "no leaf outlives its issuer");
}

#[tokio::test]
async fn a_watcher_hears_of_every_change_at_once() {
    let world = World::new(Where::Software).await;
    let mut question = WatchEpochsRequest { authority: AUTHORITY.to_owned(), ..WatchEpochsRequest::default() };
    let mut heard = Vec::new();
    for change in 0..3 {
        match change {
            1 => drop(world.prepare_epoch(0).await.unwrap()),
            2 => drop(world.activate_epoch(2, false).await.unwrap()),
            _ => {}
        }
        let reply = world.watch_epochs(&question, 60_000_000_000).await;
        question = WatchEpochsRequest::decode(reply.next).unwrap();
        let told = WatchEpochsResponse::decode(reply.body).unwrap();
        heard.push((generation(told.active.as_ref().unwrap()), told.next.as_ref().map(generation)));
    }
    assert_eq!(heard, [(1, None), (1, Some(2)), (2, None)]);
    let reply = world.watch_epochs(&question, 600_000_000).await;
    assert!(reply.code == 0 && reply.body.is_empty(), "nothing new: {reply:?}");
    assert_eq!(WatchEpochsRequest::decode(reply.next).unwrap(), question);
}

#[tokio::test]
async fn a_rotation_survives_a_restart_and_the_ca_certificates_are_the_same_bytes_ever_after() {
    let mut world = World::new(Where::SoftHsm).await;
    world.prepare_epoch(0).await.unwrap();
    let prepared = world.chain(by_generation(2)).await.unwrap();
    world.restart().await;
    assert_eq!(states(&world).await, [(2, EpochState::Prepared), (1, EpochState::Active)]);
    world.activate_epoch(2, false).await.unwrap();
    let root = world.chain(by_generation(2)).await.unwrap().root;
    for _ in 0..20 {
        world.restart().await;
        let chain = world.chain(by_generation(2)).await.unwrap();
        assert!(chain.active);
        assert_eq!((chain.intermediate, chain.mesh_ca), (prepared.intermediate.clone(), prepared.mesh_ca.clone()));
        assert_eq!(chain.root, root);
    }
    assert_eq!(world.mint(Asked::sports_api().request()).await.unwrap().epoch.unwrap().generation, 2);
}

#[tokio::test]
async fn every_start_warns_of_ca_certificates_that_end_soon() {
    let mut world = World::new(Where::Software).await;
    let mut warned = Vec::new();
    for days in [304, 30, 23, 6, 1, 2] {
        world.clocks().pass(days * 86_400 + 1);
        world.stop().await;
        let lines = world.start(false).await.unwrap().lines;
        let ends: Vec<_> = lines.iter().filter(|line| line.contains("end")).cloned().collect();
        warned.push(ends.iter().filter(|line| line.contains("mesh CA")).cloned().collect::<String>());
        assert!(!ends.iter().any(|line| line.contains("root certificate")), "the root has years: {ends:?}");
    }
    let days: Vec<_> =
        warned.iter().map(|line| line.split("within ").nth(1).unwrap_or(line).split(',').next().unwrap()).collect();
    assert_eq!(days[..5], ["", "60 day(s)", "30 day(s)", "7 day(s)", "1 day(s)"], "{warned:?}");
    assert!(warned[5].contains("ended at"), "{warned:?}");
}

#[tokio::test]
async fn an_epoch_that_has_ended_is_not_put_in_force() {
    let world = World::new(Where::Software).await;
    world.prepare_epoch(7 * 86_400).await.unwrap();
    world.clocks().pass(8 * 86_400);
    let refused = world.activate_epoch(2, false).await.unwrap_err();
    assert_eq!((refused.code, refused.reasons.as_slice()), (9, &["STATE_DIFFERS".to_owned()][..]));
    assert!(refused.message.contains("abort it and prepare another"), "{}", refused.message);
    assert_eq!(states(&world).await, [(2, EpochState::Prepared), (1, EpochState::Active)]);
    world.clocks().leap(-9 * 86_400);
    assert_eq!(world.activate_epoch(2, false).await.unwrap_err().reasons, ["CLOCK_UNTRUSTED"]);
}

#[tokio::test]
async fn the_chain_of_an_epoch_that_was_given_up_is_not_handed_out() {
    let world = World::new(Where::Software).await;
    world.prepare_epoch(0).await.unwrap();
    world.chain(by_generation(2)).await.unwrap();
    world.abort_epoch(2, "the wrong day").await.unwrap();
    let refused = world.chain(by_generation(2)).await.unwrap_err();
    assert_eq!((refused.code, refused.reasons.as_slice()), (9, &["STATE_DIFFERS".to_owned()][..]));
    assert!(refused.message.contains("epoch 2 of authority `athenz` was given up"), "{}", refused.message);
}

#[tokio::test]
async fn a_state_of_the_ledger_that_stands_in_the_way_is_said_in_its_own_words() {
    let world = World::new(Where::Software).await;
    let unkept = "CREATE TRIGGER unkept BEFORE UPDATE OF signature ON request BEGIN SELECT RAISE(IGNORE); END";
    rusqlite::Connection::open(world.path("ledger.sqlite")).unwrap().execute_batch(unkept).unwrap();
    let refused = world.prepare_epoch(0).await.unwrap_err();
    assert_eq!((refused.code, refused.reasons.as_slice()), (9, &["STATE_DIFFERS".to_owned()][..]));
    assert!(refused.message.contains("so that its signature is not kept"), "{}", refused.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_waits_until_the_deadline_and_no_longer() {
    let world = std::sync::Arc::new(World::faulty().await);
    let prepare = PrepareEpochRequest { authority: AUTHORITY.to_owned(), lifetime_seconds: 0 }.encode_to_vec();
    let late = world.operate_within("PrepareEpoch", prepare.clone(), 0).await;
    assert_eq!((late.code, world.epochs().await.len()), (4, 1), "{}", late.message);
    world.device().fault(Function::GenerateKeyPair, When::First(1), Effect::Hang);
    let hanging = tokio::spawn({
        let world = std::sync::Arc::clone(&world);
        async move { world.prepare_epoch(0).await }
    });
    world.device().await_hanging(1, std::time::Duration::from_secs(60));
    let abort = AbortEpochRequest { authority: AUTHORITY.to_owned(), generation: 2, reason: "late".to_owned() };
    let activate = ActivateEpochRequest { authority: AUTHORITY.to_owned(), generation: 2, revoke_previous: false };
    let bring =
        BringIntermediateRequest { authority: AUTHORITY.to_owned(), generation: 2, certificate: vec![0x30].into() };
    for (method, body) in [
        ("PrepareEpoch", prepare),
        ("AbortEpoch", abort.encode_to_vec()),
        ("ActivateEpoch", activate.encode_to_vec()),
        ("BringIntermediate", bring.encode_to_vec()),
    ] {
        let reply = world.operate_within(method, body, 50_000_000).await;
        assert_eq!(reply.code, 4, "{method}: {}", reply.message);
    }
    world.device().mend();
    hanging.await.unwrap().unwrap();
}
