//! A device that hangs while a manifest is set: the rotation returns all the same, and nothing of the old key is released after it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hallmark_faulty::{Effect, Function, When};
use hallmark_policy::hex;
use hallmark_proto::signer::{EpochState, MintCertificateRequest, MintCertificateResponse};
use hallmark_tests::{
    AUTHORITY, World,
    asking::{Asked, Refused},
    mesh::{GENESIS, Owner, manifest, policy, rotate, transition_of},
    replay::replay,
};
use tokio::task::JoinSet;

/// Longer than anything here takes that is to end at all.
const AMPLE: Duration = Duration::from_secs(90);

/// What a mint came to, with its request.
type Came = (MintCertificateRequest, Result<MintCertificateResponse, Refused>);

/// A world whose rotations wait a second for what is in flight, with its first manifest; and the handle of its key.
async fn world(owner: &Owner) -> (Arc<World>, [u8; 32], u64) {
    let mut world = World::faulty_unmade(&policy(&[owner]));
    world.write("drain-time-max", "1s");
    world.start(true).await.unwrap();
    let root = world.signatures_begun();
    let one = rotate(&world, owner, GENESIS, &manifest("one", &[owner])).await.unwrap();
    let new: Vec<_> = world.signatures_begun().into_keys().filter(|key| !root.contains_key(key)).collect();
    (Arc::new(world), transition_of(&one), new[0])
}

/// So many mints that the device does not let go.
fn hanging(world: &Arc<World>, mints: u32) -> JoinSet<Came> {
    world.device().fault(Function::Sign, When::First(mints.into()), Effect::Hang);
    let mut hanging = JoinSet::new();
    for _ in 0..mints {
        let world = Arc::clone(world);
        hanging.spawn(async move {
            let request = Asked::sports_api().request();
            (request.clone(), world.mint(request).await)
        });
    }
    world.device().await_hanging(mints, AMPLE);
    hanging
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_returns_while_mints_hang_in_the_device_and_what_they_bring_is_void() {
    let owner = Owner::new();
    let (mut world, one, old_key) = world(&owner).await;
    let mut hanging = hanging(&world, 2);

    let called = Instant::now();
    let two = rotate(&world, &owner, one, &manifest("two", &[&owner])).await.unwrap();
    assert!(called.elapsed() < AMPLE, "{:?}", called.elapsed());
    assert_eq!(two.state(), EpochState::Active);
    let begun = world.signatures_begun()[&old_key];
    assert!(hanging.try_join_next().is_none(), "both are still in the device");
    assert_eq!(world.device().hanging(), 2);
    let minted = world.mint(Asked::sports_api().request()).await.unwrap();
    assert_eq!(minted.epoch.unwrap().generation, 2);

    world.device().release();
    while let Some(came) = hanging.join_next().await {
        let (request, answer) = came.unwrap();
        let refused = answer.unwrap_err();
        assert_eq!(
            (refused.code, refused.reasons.as_slice()),
            (9, &["TRANSITION_STALE", "REQUEST_VOID"].map(str::to_owned)[..])
        );
        assert_eq!(refused.allowed[0].1, hex(&transition_of(&two)), "it hears which transition to go on with");
        assert_eq!(world.mint(request).await.unwrap_err().reasons, ["REQUEST_VOID"]);
    }
    assert_eq!(
        world.signatures_begun()[&old_key],
        begun,
        "the old key began no signature after the rotation had returned"
    );

    let log = Arc::get_mut(&mut world).unwrap().log_after_stop().await;
    let epochs = replay(&log, AUTHORITY);
    assert_eq!(epochs.iter().map(|epoch| epoch.leaves).collect::<Vec<_>>(), [2, 1]);
    let barred: Vec<_> = log.of_type("outcome").filter(|entry| entry["code"] == "BARRED").collect();
    let void: Vec<_> = log.of_type("void").collect();
    assert_eq!((barred.len(), void.len()), (2, 2), "each is void once, before anybody asks again");
    for entry in void {
        let decision = &log.entries[usize::try_from(entry["decision-index"].as_u64().unwrap()).unwrap()];
        assert_eq!((&decision["decision"], &decision["epoch"]["generation"]), (&"issued".into(), &1.into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_void_when_its_time_is_over_is_not_told_to_ask_again_with_its_id() {
    const PATIENCE_NANOS: u64 = 4_000_000_000;
    const ADVICE: &str = "ask again with the same request id";
    let owner = Owner::new();
    let (world, one, _) = world(&owner).await;
    world.device().fault(Function::Sign, When::First(2), Effect::Hang);
    let ask = || {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.mint_within(Asked::sports_api().request(), PATIENCE_NANOS).await })
    };
    let refused = ask().await.unwrap().unwrap_err();
    assert_eq!(refused.reasons, ["DEADLINE_PASSED"]);
    assert!(refused.message.contains(ADVICE), "its epoch is active: {}", refused.message);

    let hanging = ask();
    world.device().await_hanging(2, AMPLE);
    // It waits a second for what is in flight.
    rotate(&world, &owner, one, &manifest("two", &[&owner])).await.unwrap();
    let refused = hanging.await.unwrap().unwrap_err();
    assert_eq!(refused.reasons, ["DEADLINE_PASSED", "REQUEST_VOID"], "{}", refused.message);
    assert!(refused.message.contains("did not answer by the deadline"), "{}", refused.message);
    assert!(!refused.message.contains(ADVICE), "{}", refused.message);
    assert!(
        refused.allowed.iter().any(|(_, allowed)| allowed.contains("another `request_id`")),
        "{:?}",
        refused.allowed
    );
    world.device().release();
}

#[tokio::test(flavor = "multi_thread")]
async fn where_every_session_hangs_others_take_their_place_and_the_rotation_returns() {
    let owner = Owner::new();
    let (world, one, _) = world(&owner).await;
    let mut hanging = hanging(&world, 3);
    let two = rotate(&world, &owner, one, &manifest("two", &[&owner])).await.unwrap();
    assert_eq!(two.state(), EpochState::Active);
    assert_eq!(world.core().health().unwrap().hanging, 3);
    let minted = world.mint(Asked::sports_api().request()).await.unwrap();
    assert_eq!(minted.epoch.unwrap().generation, 2);
    world.device().release();
    while let Some(came) = hanging.join_next().await {
        assert_eq!(came.unwrap().1.unwrap_err().reasons, ["TRANSITION_STALE", "REQUEST_VOID"]);
    }
    assert!(world.mint(Asked::sports_api().request()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_hangs_while_the_old_key_is_destroyed_holds_up_neither_rotation_nor_mints() {
    let owner = Owner::new();
    let (world, one, _) = world(&owner).await;
    world.device().fault(Function::DestroyObject, When::Nth(1), Effect::Hang);
    let two = rotate(&world, &owner, one, &manifest("two", &[&owner])).await.unwrap();
    assert_eq!((two.state(), world.device().hanging()), (EpochState::Active, 1));
    assert_eq!(world.mint(Asked::sports_api().request()).await.unwrap().epoch.unwrap().generation, 2);
    assert_eq!(world.epoch_keys(), ["1", "2"], "it is destroyed later");
    world.device().release();
    rotate(&world, &owner, transition_of(&two), &manifest("three", &[&owner])).await.unwrap();
    assert_eq!(world.epoch_keys(), ["3"]);
    let states: Vec<_> = world.epochs().await.iter().map(|epoch| epoch.state()).collect();
    assert_eq!(states, [EpochState::Active, EpochState::Destroyed, EpochState::Destroyed]);
}
