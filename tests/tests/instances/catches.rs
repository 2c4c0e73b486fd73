//! The thief: as soon as both it and the owner refresh, the instance is revoked, and nobody else can bring that about.

use hallmark_tests::{
    EVERYWHERE, Where, World,
    asking::{Refused, caller_certificate},
    instances::{Agent, key, policy, proven, proven_without_id, refresh, register},
};

use crate::{alarms, change, codes, revoked};

#[tokio::test]
async fn a_thief_who_refreshes_after_the_owner_did_twice_is_caught_and_the_instance_revoked_for_good() {
    for place in EVERYWHERE {
        let mut world = World::with_policy(place, &policy(", replace = true")).await;
        let mut owner = Agent::registered(&world, "i-1").await.unwrap();
        let mut thief = owner.copied();
        owner.refresh(&world).await.unwrap();
        owner.refresh(&world).await.unwrap();
        let refused = thief.refresh(&world).await.unwrap_err();
        assert_eq!((refused.code, refused.reasons), (7, vec!["INSTANCE_STOLEN".to_owned()]));
        world.restart().await;
        assert_eq!(owner.refresh(&world).await.unwrap_err().reasons, ["INSTANCE_REVOKED"]);
        assert_eq!(thief.refresh(&world).await.unwrap_err().reasons, ["INSTANCE_REVOKED"]);
        assert_eq!(
            codes(world.mint(register("i-1", &key())).await),
            ["INSTANCE_REVOKED"],
            "although it may be replaced"
        );
        world.clocks().pass(40 * 86_400);
        assert_eq!(codes(world.mint(register("i-1", &key())).await), ["INSTANCE_REVOKED"], "nor after its end");
        Agent::registered(&world, "i-2").await.unwrap();
        let log = world.log_after_stop().await;
        assert_eq!(alarms(&log), ["instance-stolen"]);
        let revoked = revoked(&log);
        assert_eq!(revoked.len(), 3, "all of its certificates: {revoked:?}");
        assert!(revoked.iter().all(|(_, reason)| reason == "key-compromise"));
        let entry = log.of_type("instance").next().unwrap();
        assert_eq!((entry["action"].as_str(), entry["by"].as_str()), (Some("revoked"), Some("signer")));
    }
}

#[tokio::test]
async fn an_owner_who_refreshes_after_the_thief_did_twice_shuts_it_out() {
    let mut world = World::with_policy(Where::Software, &policy("")).await;
    let mut owner = Agent::registered(&world, "i-1").await.unwrap();
    let mut thief = owner.copied();
    thief.refresh(&world).await.unwrap();
    thief.refresh(&world).await.unwrap();
    assert_eq!(owner.refresh(&world).await.unwrap_err().reasons, ["INSTANCE_STOLEN"]);
    assert_eq!(thief.refresh(&world).await.unwrap_err().reasons, ["INSTANCE_REVOKED"]);
    assert_eq!(alarms(&world.log_after_stop().await), ["instance-stolen"]);
}

#[tokio::test]
async fn a_thief_who_has_the_key_and_uses_the_one_retry_is_caught_by_the_owners_next_refresh() {
    for place in EVERYWHERE {
        for goes_on in [false, true] {
            let mut world = World::with_policy(place, &policy("")).await;
            let mut owner = Agent::registered(&world, "i-1").await.unwrap();
            let mut thief = owner.copied();
            owner.refresh(&world).await.unwrap();
            thief.refresh(&world).await.unwrap();
            assert_eq!(change(&thief.minted), "retried");
            if goes_on {
                thief.refresh(&world).await.unwrap();
            }
            world.restart().await;
            assert_eq!(owner.refresh(&world).await.unwrap_err().reasons, ["INSTANCE_STOLEN"]);
            assert_eq!(thief.refresh(&world).await.unwrap_err().reasons, ["INSTANCE_REVOKED"]);
            let log = world.log_after_stop().await;
            assert_eq!(alarms(&log), ["instance-retried", "instance-stolen"]);
            assert_eq!(revoked(&log).len(), if goes_on { 4 } else { 3 }, "all of its certificates");
        }
    }
}

/// Refreshes and keeps the key, as agents may that need not have a new one each time.
async fn refresh_with_the_same_key(agent: &mut Agent, world: &World) -> Result<(), Refused> {
    let request = proven(&agent.id, &agent.key, &agent.minted.certificate, &agent.key);
    agent.minted = world.mint(request).await?;
    Ok(())
}

#[tokio::test]
async fn where_keys_are_kept_a_thief_who_is_faster_or_slower_is_caught_as_well() {
    for is_faster in [false, true] {
        let mut world = World::with_policy(Where::Software, &policy("")).await;
        let mut owner = Agent::registered(&world, "i-1").await.unwrap();
        let mut thief = owner.copied();
        let (fast, slow) = if is_faster { (&mut thief, &mut owner) } else { (&mut owner, &mut thief) };
        refresh_with_the_same_key(fast, &world).await.unwrap();
        refresh_with_the_same_key(fast, &world).await.unwrap();
        assert_eq!(refresh_with_the_same_key(slow, &world).await.unwrap_err().reasons, ["INSTANCE_STOLEN"]);
        assert_eq!(refresh_with_the_same_key(fast, &world).await.unwrap_err().reasons, ["INSTANCE_REVOKED"]);
        assert_eq!(alarms(&world.log_after_stop().await), ["instance-stolen"]);
    }
}

#[tokio::test]
async fn where_keys_are_kept_and_requests_have_no_ids_a_replay_cannot_be_told_from_a_thief_and_revokes_nobody() {
    let mut world = World::with_policy(Where::Software, &policy("")).await;
    let mut owner = Agent::registered(&world, "i-1").await.unwrap();
    let first = owner.copied();
    refresh_with_the_same_key(&mut owner, &world).await.unwrap();
    refresh_with_the_same_key(&mut owner, &world).await.unwrap();
    let nameless = proven_without_id("i-1", &first.key, &first.minted.certificate, &first.key);
    assert_eq!(codes(world.mint(nameless).await), ["INSTANCE_CERTIFICATE_REPLACED"]);
    refresh_with_the_same_key(&mut owner, &world).await.unwrap();
    assert_eq!(alarms(&world.log_after_stop().await), ["stray-certificate"]);
}

#[tokio::test]
async fn a_csr_signed_with_the_replaced_key_revokes_nobody_because_anybody_can_send_it_again() {
    let mut world = World::with_policy(Where::Software, &policy("")).await;
    let mut owner = Agent::registered(&world, "i-1").await.unwrap();
    let first = owner.copied();
    owner.refresh(&world).await.unwrap();
    owner.refresh(&world).await.unwrap();
    let asked = world.mint(refresh("i-1", &first.key, &first.minted.certificate)).await;
    assert_eq!(codes(asked), ["INSTANCE_CERTIFICATE_REPLACED"]);
    owner.refresh(&world).await.unwrap();
    assert_eq!(alarms(&world.log_after_stop().await), ["stray-certificate"]);
}

/// The example policy with a second caller that may do what the coordinator may.
fn two_callers() -> String {
    let more = "[caller.second]\nuri = \"spiffe://hallmark.lab/second\"\nmethods = [\"MintCertificate\"]\n\
                profiles = [\"athenz-service\"]\n";
    format!("{}\n{more}", policy(""))
}

/// Waits until the database has forgotten every request.
async fn forget(world: &World, round: &str) {
    world.clocks().pass(86_400 + 60);
    // What is forgotten is forgotten while others are served.
    for number in 0..8 {
        Agent::registered(world, &format!("other-{round}-{number}")).await.unwrap();
    }
}

#[tokio::test]
async fn an_honest_refresh_sent_again_byte_for_byte_revokes_nobody() {
    for (is_late, is_other) in [(true, false), (false, true), (true, true)] {
        let mut world = World::with_policy(Where::Software, &two_callers()).await;
        let caller = if is_other { caller_certificate("spiffe://hallmark.lab/second") } else { world.caller().clone() };
        let mut owner = Agent::registered(&world, "i-1").await.unwrap();
        let new = key();
        let recorded = proven("i-1", &new, &owner.minted.certificate, &owner.key);
        owner.minted = world.mint(recorded.clone()).await.unwrap();
        owner.key = new;
        owner.refresh(&world).await.unwrap();
        if is_late {
            forget(&world, "one").await;
        }
        for _ in 0..2 {
            let again = world.mint_as(&caller, recorded.clone()).await;
            assert_eq!(codes(again), ["INSTANCE_CERTIFICATE_REPLACED"], "late: {is_late}, other: {is_other}");
        }
        owner.refresh(&world).await.unwrap();
        let log = world.log_after_stop().await;
        assert_eq!(alarms(&log), ["stray-certificate"; 2]);
        assert!(revoked(&log).is_empty());
    }
}

#[tokio::test]
async fn a_refresh_that_was_answered_with_another_s_certificate_and_is_sent_again_late_revokes_nobody() {
    let mut world = World::with_policy(Where::Software, &policy("")).await;
    let mut owner = Agent::registered(&world, "i-1").await.unwrap();
    let new = key();
    let ask = || proven("i-1", &new, &owner.minted.certificate, &owner.key);
    let (lost, recorded) = (ask(), ask());
    let minted = world.mint(lost).await.unwrap();
    assert_eq!(world.mint(recorded.clone()).await.unwrap().certificate, minted.certificate, "the answer was lost");
    (owner.minted, owner.key) = (minted, new);
    owner.refresh(&world).await.unwrap();
    forget(&world, "one").await;
    assert_eq!(codes(world.mint(recorded).await), ["INSTANCE_CERTIFICATE_REPLACED"]);
    owner.refresh(&world).await.unwrap();
    let log = world.log_after_stop().await;
    assert_eq!(alarms(&log), ["stray-certificate"]);
    assert!(revoked(&log).is_empty());
}

#[tokio::test]
async fn the_newest_refresh_sent_again_shuts_its_owner_out_in_no_way() {
    for is_other in [false, true] {
        let mut world = World::with_policy(Where::Software, &two_callers()).await;
        let caller = if is_other { caller_certificate("spiffe://hallmark.lab/second") } else { world.caller().clone() };
        let mut owner = Agent::registered(&world, "i-1").await.unwrap();
        let new = key();
        let recorded = proven("i-1", &new, &owner.minted.certificate, &owner.key);
        owner.minted = world.mint(recorded.clone()).await.unwrap();
        owner.key = new;
        for round in ["one", "two"] {
            forget(&world, round).await;
            let again = world.mint_as(&caller, recorded.clone()).await.unwrap();
            assert_eq!(change(&again), "reissued");
            assert_ne!(again.certificate, owner.minted.certificate, "the owner has another one with its key");
        }
        for _ in 0..3 {
            owner.refresh(&world).await.unwrap();
            assert_eq!(change(&owner.minted), "moved");
        }
        let log = world.log_after_stop().await;
        assert!(alarms(&log).is_empty() && revoked(&log).is_empty());
    }
}

#[tokio::test]
async fn a_stray_certificate_without_its_key_revokes_nobody_and_raises_an_alarm() {
    let mut world = World::with_policy(Where::Software, &policy("")).await;
    let mut owner = Agent::registered(&world, "i-1").await.unwrap();
    let old = owner.copied();
    owner.refresh(&world).await.unwrap();
    owner.refresh(&world).await.unwrap();
    for _ in 0..3 {
        let stray = refresh("i-1", &key(), &old.minted.certificate);
        assert_eq!(codes(world.mint(stray).await), ["INSTANCE_CERTIFICATE_REPLACED"]);
    }
    let wrong = proven("i-1", &key(), &old.minted.certificate, &key());
    assert_eq!(codes(world.mint(wrong).await), ["INSTANCE_PROOF_WRONG"]);
    owner.refresh(&world).await.unwrap();
    let log = world.log_after_stop().await;
    assert_eq!(alarms(&log), ["stray-certificate"; 3]);
    assert!(revoked(&log).is_empty());
    let alarm = log.of_type("alarm").next().unwrap();
    assert_eq!(alarm["presented-serial"].as_str(), Some(crate::serial(&old.minted).as_str()));
    assert_eq!(alarm["instance"]["id"], "i-1");
}

#[tokio::test]
async fn a_proof_is_good_for_no_other_request() {
    let world = World::with_policy(Where::Software, &policy("")).await;
    let mut owner = Agent::registered(&world, "i-1").await.unwrap();
    let mut captured = proven("i-1", &key(), &owner.minted.certificate, &owner.key);
    owner.refresh(&world).await.unwrap();
    owner.refresh(&world).await.unwrap();
    captured.request_id = "another".to_owned();
    assert_eq!(codes(world.mint(captured).await), ["INSTANCE_PROOF_WRONG"]);
    owner.refresh(&world).await.unwrap();
}

#[tokio::test]
async fn a_thief_is_caught_although_the_quota_or_the_instances_rate_is_used_up() {
    for (limit, over) in [
        ("quota = { per-caller-per-day = 3 }", "QUOTA_EXCEEDED"),
        ("quota = { per-epoch = 3 }", "QUOTA_EXCEEDED"),
        ("rate = { per-instance = \"3/d\" }", "RATE_EXCEEDED"),
    ] {
        let limited =
            policy("").replacen("[profile.athenz-service]\n", &format!("[profile.athenz-service]\n{limit}\n"), 1);
        let mut world = World::with_policy(Where::Software, &limited).await;
        let mut owner = Agent::registered(&world, "i-1").await.unwrap();
        let mut thief = owner.copied();
        owner.refresh(&world).await.unwrap();
        owner.refresh(&world).await.unwrap();
        assert_eq!(owner.refresh(&world).await.unwrap_err().reasons, [over]);
        assert_eq!(thief.refresh(&world).await.unwrap_err().reasons, ["INSTANCE_STOLEN"], "{limit}");
        let log = world.log_after_stop().await;
        assert_eq!((alarms(&log), revoked(&log).len()), (vec!["instance-stolen".to_owned()], 3));
    }
}

#[tokio::test]
async fn strays_use_up_no_certificate_of_the_instances_rate() {
    let limit = "[profile.athenz-service]\nrate = { per-instance = \"4/d\" }\n";
    let world = World::with_policy(Where::Software, &policy("").replacen("[profile.athenz-service]\n", limit, 1)).await;
    let mut owner = Agent::registered(&world, "i-1").await.unwrap();
    let old = owner.copied();
    owner.refresh(&world).await.unwrap();
    owner.refresh(&world).await.unwrap();
    for _ in 0..5 {
        let stray = refresh("i-1", &key(), &old.minted.certificate);
        assert_eq!(codes(world.mint(stray).await), ["INSTANCE_CERTIFICATE_REPLACED"]);
    }
    owner.refresh(&world).await.unwrap();
    assert_eq!(owner.refresh(&world).await.unwrap_err().reasons, ["RATE_EXCEEDED"]);
}

#[tokio::test]
async fn where_the_profile_wants_proof_a_coordinator_without_keys_gets_nothing() {
    let mut world = World::with_policy(Where::Software, &policy(", proof = true")).await;
    let mut owner = Agent::registered(&world, "i-1").await.unwrap();
    for _ in 0..2 {
        let stolen = refresh("i-1", &key(), &owner.minted.certificate);
        assert_eq!(codes(world.mint(stolen).await), ["INSTANCE_PROOF_MISSING"]);
        let csr = refresh("i-1", &owner.key, &owner.minted.certificate);
        assert_eq!(codes(world.mint(csr).await), ["INSTANCE_PROOF_MISSING"], "a CSR can be sent again");
        owner.refresh(&world).await.unwrap();
    }
    assert!(alarms(&world.log_after_stop().await).is_empty());
}
