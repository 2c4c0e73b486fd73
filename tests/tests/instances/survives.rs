//! Between commit and answer the device fails: who asks again gets what was committed.

use hallmark_faulty::{Effect, Function, When};
use hallmark_proto::{
    operator::{AllowInstanceResponse, RevokeInstanceResponse},
    signer::{MintCertificateRequest, signer_client::SignerClient},
};
use hallmark_tests::{
    World,
    backup::{back_up, restore},
    client::connect,
    daemon::Laboratory,
    instances::{Agent, keeping, key, policy, proven, refresh, register},
    log::Log,
};
use rcgen::KeyPair;
use tokio::{
    sync::mpsc::{UnboundedSender, unbounded_channel},
    task::JoinSet,
};
use tonic::transport::Channel;

use crate::{
    alarms, change, codes,
    operates::{allow, ask, revoke},
    revoked,
};

/// CKR_FUNCTION_FAILED.
fn fails() -> Effect {
    Effect::Refuse(0x06)
}

#[tokio::test]
async fn a_refresh_that_was_committed_and_not_signed_is_signed_for_whoever_asks_again_with_the_same_key() {
    for restarts in [false, true] {
        let mut world = World::faulty_with_policy(&policy("")).await;
        let agent = Agent::registered(&world, "i-1").await.unwrap();
        let new = key();
        world.device().fault(Function::Sign, When::Always, fails());
        let lost = world.mint(refresh("i-1", &new, &agent.minted.certificate)).await.unwrap_err();
        assert_eq!(lost.code, 14, "{}", lost.message);
        world.device().mend();
        if restarts {
            world.restart().await;
        }
        let again = world.mint(refresh("i-1", &new, &agent.minted.certificate)).await.unwrap();
        assert!(again.replayed, "the decision was made before");
        let next = world.mint(refresh("i-1", &key(), &again.certificate)).await.unwrap();
        assert_eq!(change(&next), "moved");
        let log = world.log_after_stop().await;
        assert!(alarms(&log).is_empty() && revoked(&log).is_empty());
    }
}

#[tokio::test]
async fn a_registration_that_was_committed_and_not_signed_is_signed_for_whoever_asks_again_with_the_same_key() {
    let mut world = World::faulty_with_policy(&policy("")).await;
    let first = key();
    world.device().fault(Function::Sign, When::Always, fails());
    world.mint(register("i-1", &first)).await.unwrap_err();
    world.device().mend();
    assert_eq!(codes(world.mint(register("i-1", &key())).await), ["INSTANCE_EXISTS"], "somebody else cannot tell");
    world.restart().await;
    let again = world.mint(register("i-1", &first)).await.unwrap();
    assert!(again.replayed);
    world.mint(refresh("i-1", &key(), &again.certificate)).await.unwrap();
}

#[tokio::test]
async fn a_refresh_whose_epoch_was_replaced_before_it_was_signed_leaves_its_owner_the_way_on() {
    let mut world = World::faulty_with_policy(&policy("")).await;
    let agent = Agent::registered(&world, "i-1").await.unwrap();
    let new = key();
    world.device().fault(Function::Sign, When::Always, fails());
    let request = refresh("i-1", &new, &agent.minted.certificate);
    world.mint(request.clone()).await.unwrap_err();
    world.device().mend();
    world.prepare_epoch(0).await.unwrap();
    world.activate_epoch(2, false).await.unwrap();
    assert_eq!(codes(world.mint(request).await), ["REQUEST_VOID"]);
    let again = world.mint(refresh("i-1", &new, &agent.minted.certificate)).await.unwrap();
    assert_eq!(change(&again), "reissued");
    assert!(alarms(&world.log_after_stop().await).is_empty());
}

/// A refresh that is committed, and whose signature the device did not give.
async fn committed(world: &World, agent: &Agent) -> MintCertificateRequest {
    let request = refresh(&agent.id, &key(), &agent.minted.certificate);
    world.device().fault(Function::Sign, When::Always, fails());
    world.mint(request.clone()).await.unwrap_err();
    world.device().mend();
    request
}

/// The request is void, and its entry says why.
async fn is_void(world: &mut World, request: MintCertificateRequest, why: &str) {
    for _ in 0..2 {
        assert_eq!(codes(world.mint(request.clone()).await), ["REQUEST_VOID"]);
    }
    let log = world.log_after_stop().await;
    let void: Vec<_> = log.of_type("void").filter(|entry| entry["request-id"] == request.request_id.as_str()).collect();
    assert_eq!(void.len(), 1);
    assert_eq!(void[0]["reasons"][0]["code"], why);
}

#[tokio::test]
async fn a_refresh_that_was_committed_is_never_signed_once_its_instance_is_revoked() {
    let mut world = World::faulty_with_policy(&policy("")).await;
    let request = committed(&world, &Agent::registered(&world, "i-1").await.unwrap()).await;
    let _: RevokeInstanceResponse = ask(&world, "RevokeInstance", &revoke("i-1")).await.unwrap();
    is_void(&mut world, request, "INSTANCE_CERTIFICATE_REVOKED").await;
}

#[tokio::test]
async fn a_refresh_that_was_committed_is_never_signed_once_its_registration_is_over() {
    let mut world = World::faulty_with_policy(&policy("")).await;
    let request = committed(&world, &Agent::registered(&world, "i-1").await.unwrap()).await;
    let _: AllowInstanceResponse = ask(&world, "AllowInstance", &allow("i-1")).await.unwrap();
    Agent::registered(&world, "i-1").await.unwrap();
    is_void(&mut world, request, "INSTANCE_UNKNOWN").await;
}

#[tokio::test]
async fn a_refresh_that_was_committed_is_never_signed_once_another_took_its_place() {
    let mut world = World::faulty_with_policy(&policy("")).await;
    let agent = Agent::registered(&world, "i-1").await.unwrap();
    let request = committed(&world, &agent).await;
    let again = world.mint(refresh("i-1", &key(), &agent.minted.certificate)).await.unwrap();
    assert_eq!(change(&again), "moved-again");
    is_void(&mut world, request, "INSTANCE_CERTIFICATE_REVOKED").await;
}

/// Another epoch takes the place of the active one: what is committed under that and not signed is void.
async fn rotate(world: &World, generation: u64) {
    world.prepare_epoch(0).await.unwrap();
    world.activate_epoch(generation, false).await.unwrap();
}

#[tokio::test]
async fn a_refresh_whose_signature_never_came_does_not_use_up_the_one_retry_with_another_key() {
    for is_void in [false, true] {
        let mut world = World::faulty_with_policy(&policy("")).await;
        let agent = Agent::registered(&world, "i-1").await.unwrap();
        let ask = || refresh("i-1", &key(), &agent.minted.certificate);
        for round in 0..2 {
            let request = committed(&world, &agent).await;
            if is_void {
                rotate(&world, round + 2).await;
                assert_eq!(codes(world.mint(request).await), ["REQUEST_VOID"]);
            }
        }
        assert_eq!(change(&world.mint(ask()).await.unwrap()), "moved-again", "nobody was given what took its place");
        assert_eq!(change(&world.mint(ask()).await.unwrap()), "retried", "the retry is still there");
        assert_eq!(codes(world.mint(ask()).await), ["INSTANCE_RETRY_USED"]);
        let log = world.log_after_stop().await;
        assert_eq!(alarms(&log), ["instance-retried"], "nothing is odd about a device that failed");
    }
}

#[tokio::test]
async fn a_retry_whose_signature_never_came_may_be_made_again() {
    let mut world = World::faulty_with_policy(&policy("")).await;
    let mut agent = Agent::registered(&world, "i-1").await.unwrap();
    let before = agent.copied();
    agent.refresh(&world).await.unwrap();
    committed(&world, &before).await;
    let ask = || refresh("i-1", &key(), &before.minted.certificate);
    assert_eq!(change(&world.mint(ask()).await.unwrap()), "moved-again");
    assert_eq!(codes(world.mint(ask()).await), ["INSTANCE_RETRY_USED"]);
    assert_eq!(alarms(&world.log_after_stop().await), ["instance-retried"]);
}

#[tokio::test]
async fn a_registration_that_is_void_keeps_nobody_from_registering() {
    let world = World::faulty_with_policy(&policy(", alive-per-service = 1")).await;
    let request = register("i-1", &key());
    world.device().fault(Function::Sign, When::Always, fails());
    world.mint(request.clone()).await.unwrap_err();
    world.device().mend();
    rotate(&world, 2).await;
    assert_eq!(codes(world.mint(request).await), ["REQUEST_VOID"]);
    let other = Agent::registered(&world, "i-2").await.unwrap();
    assert_eq!(change(&other.minted), "registered", "it takes no place of the quota");
    let _: AllowInstanceResponse = ask(&world, "AllowInstance", &allow("i-2")).await.unwrap();
    let anew = Agent::registered(&world, "i-1").await.unwrap();
    assert_eq!(change(&anew.minted), "registered");
}

#[tokio::test]
async fn a_refresh_that_was_committed_is_never_signed_in_a_stopped_authority() {
    let mut world = World::faulty_with_policy(&policy("")).await;
    let mut lost = Agent::registered(&world, "i-1").await.unwrap();
    let agent = Agent::registered(&world, "i-2").await.unwrap();
    back_up(&mut world).await;
    lost.refresh(&world).await.unwrap();
    restore(&mut world).await;
    let request = committed(&world, &agent).await;
    assert_eq!(codes(world.mint(refresh("i-1", &key(), &lost.minted.certificate)).await), ["AUTHORITY_STOPPED"]);
    is_void(&mut world, request, "AUTHORITY_STOPPED").await;
}

/// A connection.
type Client = SignerClient<Channel>;

/// Agents that refresh at the same time, each over one connection.
const AGENTS: usize = 16;

/// How often the daemon is killed.
const ROUNDS: usize = 3;

/// RSA-4096 makes the key the bottleneck: most refreshes are committed and wait for their signature at any moment.
fn slow(text: String) -> String {
    let keeping = keeping(&text, "");
    let (before, after) = keeping.split_once("[authority.athenz.epoch]").unwrap();
    let after = after.replacen("key = \"ecdsa-p256\"", "key = \"rsa-4096\"", 1);
    format!("{before}[authority.athenz.epoch]{after}")
}

/// Refreshes until the daemon is gone; gives the agent, and the key whose certificate it did not hear of.
async fn refresh_until_it_is_gone(
    mut agent: Agent,
    mut client: Client,
    answered: UnboundedSender<()>,
) -> (Agent, KeyPair) {
    loop {
        let new = key();
        let request = proven(&agent.id, &new, &agent.minted.certificate, &agent.key);
        match client.mint_certificate(request).await {
            Ok(answer) => {
                (agent.minted, agent.key) = (answer.into_inner(), new);
                let _ = answered.send(());
            }
            Err(_) => return (agent, new),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_whose_daemon_is_killed_go_on_with_the_key_that_they_had_made_and_nobody_is_revoked() {
    let laboratory = Laboratory::with_policy(slow);
    let daemon = laboratory.start();
    let mut agents = Vec::new();
    for number in 0..AGENTS {
        let (id, key) = (format!("i-{number}"), key());
        let mut client = connect(&laboratory, &daemon).await;
        let minted = client.mint_certificate(register(&id, &key)).await.unwrap().into_inner();
        agents.push(Agent { id, key, minted });
    }
    let mut daemon = daemon;
    for _ in 0..ROUNDS {
        let mut refreshing = JoinSet::new();
        let (sender, mut answered) = unbounded_channel();
        for agent in agents.drain(..) {
            let client = connect(&laboratory, &daemon).await;
            refreshing.spawn(refresh_until_it_is_gone(agent, client, sender.clone()));
        }
        // The daemon dies when some were answered: then others are under way.
        for _ in 0..AGENTS {
            answered.recv().await.unwrap();
        }
        daemon.kill();
        let cut_off = refreshing.join_all().await;
        daemon = laboratory.start();
        for (mut agent, new) in cut_off {
            let mut client = connect(&laboratory, &daemon).await;
            let again = proven(&agent.id, &new, &agent.minted.certificate, &agent.key);
            agent.minted = client.mint_certificate(again).await.unwrap().into_inner();
            agent.key = new;
            agents.push(agent);
        }
    }
    assert!(daemon.terminate());
    let key = std::fs::read_to_string(laboratory.path("log.vkey")).unwrap();
    let log = Log::read(&laboratory.path("log"), &key);
    assert!(alarms(&log).is_empty() && revoked(&log).is_empty());
    let again = log.of_type("outcome").filter(|entry| entry["result"] == "same-answer").count();
    assert!(again > 0, "some were committed when it was killed");
}
