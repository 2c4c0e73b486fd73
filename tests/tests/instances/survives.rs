//! Between commit and answer the device fails: who asks again gets what was committed.

use hallmark_faulty::{Effect, Function, When};
use hallmark_tests::{
    World,
    instances::{Agent, key, policy, refresh, register},
};

use crate::{alarms, change, codes, revoked};

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
