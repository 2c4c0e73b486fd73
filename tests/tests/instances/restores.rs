//! A database that is older than certificates in the wild stops its authority.

use std::time::{Duration, Instant};

use hallmark_faulty::{Absence, Sessions, cryptoki_sys::CKR_DEVICE_ERROR};
use hallmark_proto::{
    operator::{ResumeAuthorityRequest, ResumeAuthorityResponse},
    signer::GetChainRequest,
};
use hallmark_signer::Standing;
use hallmark_tests::{
    AUTHORITY, EVERYWHERE, OPERATOR, Where, World,
    asking::{Refused, caller_certificate, decoded},
    backup::{back_up, restore},
    instances::{Agent, key, policy, refresh, register},
};
use prost::Message;

use crate::{alarms, codes};

async fn resume(world: &World) -> Result<ResumeAuthorityResponse, Refused> {
    let request = ResumeAuthorityRequest { authority: AUTHORITY.to_owned(), why: "there is no newer one".to_owned() };
    decoded(world.operate("ResumeAuthority", &caller_certificate(OPERATOR), request.encode_to_vec()).await)
}

/// How the one authority stands, as health checks hear of it.
fn standing(world: &World) -> Standing {
    let [(authority, standing)] = &world.core().standings().unwrap()[..] else { panic!("there is one authority") };
    assert_eq!(authority, AUTHORITY);
    *standing
}

#[tokio::test]
async fn a_valid_certificate_that_a_restored_database_does_not_know_stops_the_authority_until_an_operator_decides() {
    for place in EVERYWHERE {
        let mut world = World::with_policy(place, &policy("")).await;
        let mut one = Agent::registered(&world, "i-1").await.unwrap();
        let two = Agent::registered(&world, "i-2").await.unwrap();
        back_up(&mut world).await;
        assert_eq!(resume(&world).await.unwrap_err().reasons, ["AUTHORITY_SERVES"]);
        world.clocks().pass(3_600);
        one.refresh(&world).await.unwrap();
        restore(&mut world).await;
        let refused = world.mint(refresh("i-1", &key(), &one.minted.certificate)).await.unwrap_err();
        assert_eq!((refused.code, refused.reasons.as_slice()), (9, &["AUTHORITY_STOPPED".to_owned()][..]));
        assert!(refused.message.contains("an older database was restored"), "{}", refused.message);
        assert_eq!(standing(&world), Standing::Stopped);
        assert!(refused.allowed[0].1.contains("puts the newest database back"), "{:?}", refused.allowed);
        world.stop().await;
        let report = world.start(false).await.unwrap();
        let said = report.lines.iter().find(|line| line.contains("was stopped by log entry"));
        assert!(said.is_some_and(|line| line.contains("hallmark authority resume")), "{report:?}");
        assert_eq!(codes(world.mint(register("i-3", &key())).await), ["AUTHORITY_STOPPED"], "nobody is served");
        assert_eq!(
            codes(world.mint(refresh("i-2", &key(), &two.minted.certificate)).await),
            ["AUTHORITY_STOPPED"],
            "not even who is known"
        );
        world.clocks().pass(60);
        assert_eq!(standing(&world), Standing::Stopped, "a start does not lift it");
        resume(&world).await.unwrap();
        assert_eq!(standing(&world), Standing::Serves);
        world.mint(refresh("i-2", &key(), &two.minted.certificate)).await.unwrap();
        let lost = world.mint(refresh("i-1", &key(), &one.minted.certificate)).await;
        assert_eq!(codes(lost), ["INSTANCE_UNKNOWN"], "it was lost, and stops nobody again");
        let log = world.log_after_stop().await;
        assert_eq!(alarms(&log), ["database-restored", "stray-certificate"]);
        let command = log.of_type("operator-command").next().unwrap();
        assert_eq!(command["command"], "resume-authority");
    }
}

#[tokio::test]
async fn a_database_from_before_a_rotation_stops_the_authority_at_the_start_and_a_foreign_key_does_not() {
    for place in EVERYWHERE {
        let mut world = World::with_policy(place, &policy("")).await;
        // The key of an epoch stays while its certificates live: without it there would be no start at all.
        Agent::registered(&world, "i-0").await.unwrap();
        back_up(&mut world).await;
        world.prepare_epoch(0).await.unwrap();
        world.activate_epoch(2, false).await.unwrap();
        restore(&mut world).await;
        assert_eq!(codes(world.mint(register("i-1", &key())).await), ["AUTHORITY_STOPPED"]);
        let keys = world.epoch_keys();
        assert_eq!(world.prepare_epoch(0).await.unwrap_err().reasons, ["AUTHORITY_STOPPED"]);
        world.restart().await;
        assert_eq!(world.epoch_keys(), keys, "no key is made, and none destroyed");
        world.clocks().pass(60);
        resume(&world).await.unwrap();
        world.restart().await;
        world.mint(register("i-1", &key())).await.expect("an operator has accepted it");
        let log = world.log_after_stop().await;
        assert_eq!(alarms(&log), ["database-restored"]);
        let sentence = log.of_type("alarm").next().unwrap()["sentence"].as_str().unwrap().to_owned();
        assert!(sentence.contains("epoch 2") && sentence.contains("an older database was restored"), "{sentence}");
    }
    let mut world = World::with_policy(Where::SoftHsm, &policy("")).await;
    world.token().make_key("hallmark-athenz-epoch-7-0011223344556677");
    world.restart().await;
    world.mint(register("i-1", &key())).await.expect("whoever made that key, this ledger did not");
}

#[tokio::test]
async fn what_is_issued_right_after_a_resume_is_told_from_what_was_lost_although_leaves_are_backdated() {
    let mut world = World::with_policy(EVERYWHERE[0], &policy("")).await;
    let mut lost = Agent::registered(&world, "i-1").await.unwrap();
    let mut later = Agent::registered(&world, "i-2").await.unwrap();
    back_up(&mut world).await;
    lost.refresh(&world).await.unwrap();
    restore(&mut world).await;
    let present = |agent: &Agent| refresh(&agent.id, &key(), &agent.minted.certificate);
    assert_eq!(codes(world.mint(present(&lost)).await), ["AUTHORITY_STOPPED"]);
    // Less than leaves are backdated.
    world.clocks().pass(60);
    resume(&world).await.unwrap();
    back_up(&mut world).await;
    later.refresh(&world).await.unwrap();
    restore(&mut world).await;
    assert_eq!(codes(world.mint(present(&lost)).await), ["INSTANCE_UNKNOWN"], "it was lost before");
    assert_eq!(codes(world.mint(present(&later)).await), ["AUTHORITY_STOPPED"], "it was issued since then");
}

const DAY: u32 = 86_400;

/// Others are served, so that what has ended for long is forgotten meanwhile.
async fn forget(world: &World, name: &str) {
    for number in 0..8 {
        Agent::registered(world, &format!("{name}-{number}")).await.unwrap();
    }
}

#[tokio::test]
async fn no_certificate_that_the_database_has_forgotten_or_never_kept_a_record_of_stops_the_authority() {
    for place in EVERYWHERE {
        let mut world = World::with_policy(place, &policy("")).await;
        let ended = Agent::registered(&world, "i-1").await.unwrap();
        world.clocks().pass(61 * DAY);
        forget(&world, "other").await;
        let present = |id: &str, certificate: &[u8]| refresh(id, &key(), certificate);
        let presented = world.mint(present("i-1", &ended.minted.certificate)).await;
        assert_eq!(codes(presented), ["INSTANCE_CERTIFICATE_EXPIRED"], "what is forgotten has ended");
        let mut agent = Agent::registered(&world, "i-1").await.unwrap();
        let replaced = agent.copied();
        agent.refresh(&world).await.unwrap();
        // The epoch's key signed its mesh CA certificate, too.
        let request = GetChainRequest { authority: AUTHORITY.to_owned(), ..GetChainRequest::default() };
        let mesh_ca = world.chain(request).await.unwrap().mesh_ca;
        assert_eq!(codes(world.mint(present("i-1", &mesh_ca)).await), ["INSTANCE_DIFFERS"]);
        world.prepare_epoch(0).await.unwrap();
        world.activate_epoch(2, false).await.unwrap();
        world.clocks().pass(60);
        let (older, current) = (&replaced.minted.certificate, &agent.minted.certificate);
        for certificate in [older, &mesh_ca, current, older, &mesh_ca] {
            let presented = world.mint(present("i-1", certificate)).await;
            assert!(presented.is_ok() || codes(presented) != ["AUTHORITY_STOPPED"]);
        }
        world.restart().await;
        assert_eq!(standing(&world), Standing::Serves);
        assert!(!alarms(&world.log_after_stop().await).contains(&"database-restored".to_owned()));
    }
}

#[tokio::test]
async fn what_was_forgotten_while_the_clock_ran_ahead_stops_no_authority_once_it_is_set_right_and_a_restore_still_does()
{
    let mut world = World::with_policy(Where::Software, &policy("")).await;
    let agent = Agent::registered(&world, "i-1").await.unwrap();
    world.clocks().pass(60);
    // A start with a clock that is wrong has nothing to tell it by.
    world.stop().await;
    let ahead = i64::from(70 * DAY);
    world.clocks().leap(ahead);
    world.start(false).await.unwrap();
    forget(&world, "other").await;
    world.stop().await;
    world.clocks().leap(-ahead);
    world.start_with(false, true).await.unwrap();
    let present = |agent: &Agent| refresh(&agent.id, &key(), &agent.minted.certificate);
    assert_eq!(codes(world.mint(present(&agent)).await), ["INSTANCE_UNKNOWN"], "it has not ended, and is forgotten");
    assert_eq!(standing(&world), Standing::Serves);
    world.clocks().pass(60);
    let mut later = Agent::registered(&world, "i-2").await.unwrap();
    back_up(&mut world).await;
    later.refresh(&world).await.unwrap();
    restore(&mut world).await;
    assert_eq!(codes(world.mint(present(&later)).await), ["AUTHORITY_STOPPED"], "this one was lost");
}

#[tokio::test]
async fn an_operator_accepts_the_later_keys_that_were_seen_and_no_others() {
    let mut world = World::with_policy(Where::SoftHsm, &policy("")).await;
    Agent::registered(&world, "i-0").await.unwrap();
    let rotate = async |world: &World| {
        world.prepare_epoch(0).await.unwrap();
        world.activate_epoch(2, false).await.unwrap();
    };
    back_up(&mut world).await;
    rotate(&world).await;
    restore(&mut world).await;
    assert_eq!(standing(&world), Standing::Stopped);
    world.clocks().pass(60);
    resume(&world).await.unwrap();
    world.restart().await;
    assert_eq!(standing(&world), Standing::Serves, "this one is accepted");
    back_up(&mut world).await;
    rotate(&world).await;
    restore(&mut world).await;
    assert_eq!(standing(&world), Standing::Stopped, "the other one was not there when the operator looked");
    assert_eq!(alarms(&world.log_after_stop().await), ["database-restored"; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_away_at_the_start_is_asked_for_later_keys_when_it_is_back() {
    let mut world = World::replicated(&policy("")).await;
    Agent::registered(&world, "i-0").await.unwrap();
    back_up(&mut world).await;
    world.prepare_epoch(0).await.unwrap();
    world.activate_epoch(2, false).await.unwrap();
    // The first token made the key; the other one has the key of the epoch before alone.
    world.hurry(Duration::from_millis(20));
    world.devices()[0].away(Absence { code: CKR_DEVICE_ERROR, sessions: Sessions::Die });
    restore(&mut world).await;
    assert_eq!(standing(&world), Standing::Serves, "nobody knows yet");
    world.mint(register("i-1", &key())).await.unwrap();
    world.devices()[0].restore();
    let began = Instant::now();
    while standing(&world) == Standing::Serves {
        assert!(began.elapsed() < Duration::from_secs(40), "it is asked when it is back");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(codes(world.mint(register("i-2", &key())).await), ["AUTHORITY_STOPPED"]);
    assert_eq!(alarms(&world.log_after_stop().await), ["database-restored"]);
}
