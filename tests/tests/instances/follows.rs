//! Refreshes: the record follows, one retry passes, and nothing else does.

use hallmark_proto::signer::{
    InstanceIntent, InstanceRefresh, MintCertificateRequest, MintCertificateResponse, instance_intent::Intent,
};
use hallmark_tests::{
    EVERYWHERE, Where, World,
    asking::request_id,
    instances::{Agent, asked, key, policy, proven, refresh},
};

use crate::{alarms, change, codes, entry, revoked, serial};

/// The retention of requests, in seconds.
const RETENTION_SECS: u32 = 86_400;

#[tokio::test]
async fn a_record_follows_refreshes_day_after_day_and_over_restarts_and_epochs() {
    for place in EVERYWHERE {
        let mut world = World::with_policy(place, &policy("")).await;
        let mut agent = Agent::registered(&world, "i-1").await.unwrap();
        for day in 0..6 {
            world.clocks().pass(86_400);
            if day == 2 {
                world.restart().await;
            }
            if day == 4 {
                world.prepare_epoch(0).await.unwrap();
                world.activate_epoch(2, false).await.unwrap();
            }
            let before = serial(&agent.minted);
            agent.refresh(&world).await.unwrap();
            let said = &entry(&agent.minted)["instance"];
            assert_eq!((said["change"].as_str(), said["proven"].as_bool()), (Some("moved"), Some(true)));
            assert_eq!(said["presented-serial"], before.as_str());
        }
        assert_eq!(agent.minted.epoch.as_ref().unwrap().generation, 2);
        let log = world.log_after_stop().await;
        assert!(alarms(&log).is_empty() && revoked(&log).is_empty());
    }
}

#[tokio::test]
async fn who_lost_the_answer_gets_it_again_with_the_certificate_before_and_the_same_key() {
    for place in EVERYWHERE {
        let mut world = World::with_policy(place, &policy("")).await;
        let agent = Agent::registered(&world, "i-1").await.unwrap();
        let new = key();
        let moved = world.mint(refresh("i-1", &new, &agent.minted.certificate)).await.unwrap();
        for _ in 0..2 {
            let again = world.mint(refresh("i-1", &new, &agent.minted.certificate)).await.unwrap();
            assert_eq!((again.certificate, again.replayed), (moved.certificate.clone(), true));
            world.restart().await;
        }
        let next = world.mint(refresh("i-1", &key(), &moved.certificate)).await.unwrap();
        assert_eq!(change(&next), "moved", "nothing had moved meanwhile");
        assert!(alarms(&world.log_after_stop().await).is_empty());
    }
}

#[tokio::test]
async fn where_the_answer_is_not_kept_any_more_the_same_key_gets_another_in_its_place() {
    let mut world = World::with_policy(Where::Software, &policy("")).await;
    let agent = Agent::registered(&world, "i-1").await.unwrap();
    let new = key();
    let moved = world.mint(refresh("i-1", &new, &agent.minted.certificate)).await.unwrap();
    world.clocks().pass(RETENTION_SECS + 60);
    // What is forgotten is forgotten while others are served.
    for number in 0..8 {
        Agent::registered(&world, &format!("other-{number}")).await.unwrap();
    }
    let again = world.mint(refresh("i-1", &new, &agent.minted.certificate)).await.unwrap();
    assert_eq!((change(&again).as_str(), again.replayed), ("reissued", false));
    assert_ne!(again.certificate, moved.certificate);
    let retried = world.mint(refresh("i-1", &key(), &agent.minted.certificate)).await.unwrap();
    assert_eq!(change(&retried), "retried", "the retry with another key was not used by that");
    let log = world.log_after_stop().await;
    let superseded = |minted| (serial(minted), "superseded".to_owned());
    assert_eq!(revoked(&log), [superseded(&moved), superseded(&again)], "whoever has either is shut out");
    assert_eq!(alarms(&log), ["instance-retried"]);
}

#[tokio::test]
async fn the_certificate_before_with_another_key_moves_once_and_what_it_displaces_is_superseded() {
    for place in EVERYWHERE {
        let mut world = World::with_policy(place, &policy("")).await;
        let agent = Agent::registered(&world, "i-1").await.unwrap();
        let lost = world.mint(refresh("i-1", &key(), &agent.minted.certificate)).await.unwrap();
        let retried = world.mint(refresh("i-1", &key(), &agent.minted.certificate)).await.unwrap();
        assert_eq!(change(&retried), "retried");
        world.restart().await;
        let second = world.mint(refresh("i-1", &key(), &agent.minted.certificate)).await;
        assert_eq!(codes(second), ["INSTANCE_RETRY_USED"]);
        let next = world.mint(refresh("i-1", &key(), &retried.certificate)).await.unwrap();
        assert_eq!(change(&next), "moved");
        let retried_again = world.mint(refresh("i-1", &key(), &retried.certificate)).await.unwrap();
        assert_eq!(change(&retried_again), "retried", "each move has its own retry");
        let crl = world.core().sign_crl("athenz", hallmark_signer::Ca::Epoch { generation: 1 }, None).await.unwrap();
        assert_eq!(crl.entries, 2);
        let log = world.log_after_stop().await;
        let superseded = |minted| (serial(minted), "superseded".to_owned());
        assert_eq!(revoked(&log), [superseded(&lost), superseded(&next)]);
        assert_eq!(alarms(&log), ["instance-retried"; 2]);
        let alarm = log.of_type("alarm").next().unwrap();
        assert_eq!(alarm["decision-index"], retried.log_index);
        assert_eq!((alarm["instance"]["id"].as_str(), alarm["caller"].as_str()), (Some("i-1"), Some("coordinator")));
    }
}

#[tokio::test]
async fn whoever_has_only_seen_the_certificate_before_cannot_make_the_owner_revoke_itself() {
    let mut world = World::with_policy(Where::Software, &policy("")).await;
    let mut owner = Agent::registered(&world, "i-1").await.unwrap();
    let before = owner.copied();
    owner.refresh(&world).await.unwrap();
    let new = key();
    let mut other = before.copied();
    (other.minted, other.key) = (world.mint(refresh("i-1", &new, &before.minted.certificate)).await.unwrap(), new);
    assert_eq!(change(&other.minted), "retried");
    for _ in 0..2 {
        assert_eq!(owner.refresh(&world).await.unwrap_err().reasons, ["INSTANCE_CERTIFICATE_REPLACED"]);
        // Nor after the record has moved on, and another one was displaced.
        other.refresh(&world).await.unwrap();
        world.restart().await;
    }
    let log = world.log_after_stop().await;
    assert_eq!(alarms(&log), ["instance-retried", "stray-certificate", "stray-certificate"]);
    assert_eq!(revoked(&log), [(serial(&owner.minted), "superseded".to_owned())], "the instance is not");
}

#[tokio::test]
async fn a_refresh_of_another_instance_service_or_of_none_is_refused_with_an_alarm() {
    let mut world = World::with_policy(Where::Software, &policy("")).await;
    let one = Agent::registered(&world, "i-1").await.unwrap();
    Agent::registered(&world, "i-2").await.unwrap();
    assert_eq!(codes(world.mint(refresh("i-2", &key(), &one.minted.certificate)).await), ["INSTANCE_DIFFERS"]);
    assert_eq!(codes(world.mint(refresh("i-3", &key(), &one.minted.certificate)).await), ["INSTANCE_UNKNOWN"]);
    let mut other = asked("i-1");
    other.common_name = Some("sports.web".to_owned());
    other.dns[0] = "web.sports.lab.athenz.cloud".to_owned();
    let intent = InstanceRefresh { current_certificate: one.minted.certificate.clone(), ..InstanceRefresh::default() };
    let request = MintCertificateRequest {
        instance: Some(InstanceIntent { intent: Some(Intent::Refresh(intent)) }),
        ..other.request()
    };
    assert_eq!(codes(world.mint(request).await), ["INSTANCE_DIFFERS"]);
    assert_eq!(change(&world.mint(refresh("i-1", &key(), &one.minted.certificate)).await.unwrap()), "moved");
    let log = world.log_after_stop().await;
    assert_eq!(alarms(&log), ["stray-certificate"; 3]);
    assert!(revoked(&log).is_empty());
}

#[tokio::test]
async fn a_certificate_that_another_ca_signed_is_refused_with_an_alarm() {
    let mut world = World::with_policy(Where::Software, &policy("")).await;
    let other = World::with_policy(Where::Software, &policy("")).await;
    let agent = Agent::registered(&world, "i-1").await.unwrap();
    let foreign = Agent::registered(&other, "i-1").await.unwrap();
    let asked = world.mint(proven("i-1", &key(), &foreign.minted.certificate, &foreign.key)).await;
    assert_eq!(codes(asked), ["INSTANCE_CERTIFICATE_FOREIGN"]);
    // Our issuer's name and key identifier, and a signature that is not ours.
    let mut forged = agent.minted.certificate.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(codes(world.mint(refresh("i-1", &key(), &forged)).await), ["INSTANCE_CERTIFICATE_FOREIGN"]);
    let log = world.log_after_stop().await;
    assert_eq!(alarms(&log), ["foreign-certificate"; 2]);
    let refusals: Vec<_> = log.decisions("refused").iter().map(|entry| entry["instance"]["intent"].clone()).collect();
    assert_eq!(refusals, ["refresh", "refresh"]);
}

#[tokio::test]
async fn a_revoked_certificate_is_not_refreshed() {
    let mut world = World::with_policy(Where::Software, &policy("")).await;
    let agent = Agent::registered(&world, "i-1").await.unwrap();
    revoke(&world, &agent.minted).await;
    let asked = world.mint(refresh("i-1", &key(), &agent.minted.certificate)).await;
    assert_eq!(codes(asked), ["INSTANCE_CERTIFICATE_REVOKED"]);
    assert_eq!(alarms(&world.log_after_stop().await), ["stray-certificate"]);
}

async fn revoke(world: &World, minted: &MintCertificateResponse) {
    let epoch = hallmark_signer::Ca::Epoch { generation: 1 };
    let number = hallmark_policy::content::Serial::from_stored(&minted.serial).unwrap();
    let reason = hallmark_policy::crl::RevocationReason::KeyCompromise;
    world.core().revoke_certificate("athenz", epoch, number, reason, "an operator").await.unwrap();
}

#[tokio::test]
async fn the_key_of_a_revoked_current_certificate_gets_no_other_one() {
    let mut world = World::with_policy(Where::Software, &policy("")).await;
    let agent = Agent::registered(&world, "i-1").await.unwrap();
    let new = key();
    let before = &agent.minted.certificate;
    let current = world.mint(refresh("i-1", &new, before)).await.unwrap();
    let mut longer = refresh("i-1", &new, before);
    longer.lifetime_seconds = 3_600;
    let twin = world.mint(longer.clone()).await.unwrap();
    assert_eq!(change(&twin), "reissued");
    revoke(&world, &twin).await;
    longer.request_id = request_id();
    for request in [refresh("i-1", &new, before), proven("i-1", &new, before, &agent.key), longer] {
        assert_eq!(codes(world.mint(request).await), ["INSTANCE_CERTIFICATE_REVOKED"]);
    }
    let of_its_twin = world.mint(refresh("i-1", &key(), &current.certificate)).await;
    assert_eq!(codes(of_its_twin), ["INSTANCE_CERTIFICATE_REVOKED"], "the record stands at what is revoked");
    let another = world.mint(refresh("i-1", &key(), before)).await.unwrap();
    assert_eq!(change(&another), "retried", "its owner goes on with another key");
    let stray = "stray-certificate";
    assert_eq!(alarms(&world.log_after_stop().await), [stray, stray, stray, stray, "instance-retried"]);
}

#[tokio::test]
async fn the_same_key_with_another_wish_gets_what_it_asks_for_and_not_the_current_certificate() {
    let mut world = World::with_policy(Where::Software, &policy("")).await;
    let agent = Agent::registered(&world, "i-1").await.unwrap();
    let new = key();
    let ask = || refresh("i-1", &new, &agent.minted.certificate);
    let lived = |minted: &MintCertificateResponse| minted.not_after - minted.not_before;
    let moved = world.mint(ask()).await.unwrap();
    let shorter = world.mint(MintCertificateRequest { lifetime_seconds: 7_200, ..ask() }).await.unwrap();
    assert_eq!(change(&shorter), "reissued");
    assert!(lived(&shorter) < lived(&moved), "it has the lifetime that was asked for");
    let again = world.mint(MintCertificateRequest { lifetime_seconds: 7_200, ..ask() }).await.unwrap();
    assert_eq!((again.certificate, again.replayed), (shorter.certificate, true));
    let next = world.mint(refresh("i-1", &key(), &moved.certificate)).await.unwrap();
    assert_eq!(change(&next), "moved", "both pass for the same");
    assert!(alarms(&world.log_after_stop().await).is_empty());
}
