//! What an interrupted rotation leaves: another manifest may be set in its place, and keys that nobody recorded are found.

use hallmark_faulty::{Effect, Function, When, cryptoki_sys::CKR_DEVICE_ERROR};
use hallmark_proto::signer::EpochState;
use hallmark_tests::mesh::transition_of;

use crate::{
    cells::{Fault, Injected, PREPARED, cells},
    checks::{self, Bundle},
    live::Live,
};

#[tokio::test(flavor = "multi_thread")]
async fn another_manifest_takes_the_place_of_an_interrupted_one_whose_key_is_destroyed() {
    let mut live = Live::new().await;
    let interrupted = cells().into_iter().filter(|cell| cell.fault == Fault::DatabaseError && cell.step <= PREPARED);
    for cell in interrupted.filter(|cell| cell.caught != "nothing") {
        let first = live.next("first");
        live.inject(&cell.injected);
        live.world.rotate(&first).await.expect_err("it is interrupted");
        assert_eq!(live.caught(), cell.caught);
        live.mend();
        let other = live.world.rotate(&live.next("another")).await.unwrap();
        assert!(!other.replayed && other.state() == EpochState::Active, "{cell:?}");
        let aborted = live.generation + 1;
        assert_eq!(other.epoch.as_ref().unwrap().generation, aborted + 1, "no generation is used twice");
        let epochs = live.world.epochs().await;
        assert_eq!((epochs[1].state(), epochs[1].epoch.as_ref().unwrap().generation), (EpochState::Aborted, aborted));
        assert_eq!(live.world.rotate(&first).await.unwrap_err().reasons, ["TRANSITION_STALE"], "{cell:?}");
        live.generation = aborted;
        live.went_on(transition_of(&other), Bundle::from(&other)).await;
    }
    live.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twins_and_strays_under_labels_of_ours_are_destroyed_and_nothing_else() {
    let mut live = Live::new().await;
    let label = |live: &Live, generation: u64| checks::label(&live.database(), generation);

    // Under the label of a key that was never recorded: it is made anew.
    live.inject(&[Injected::Change("BEFORE UPDATE ON epoch WHEN NEW.state = 'keyed'")]);
    let next = live.next("twins");
    live.world.rotate(&next).await.expect_err("it is interrupted");
    let unrecorded = label(&live, 2);
    live.world.token().make_key(&unrecorded);
    live.world.token().make_twin(&unrecorded);
    assert_eq!(live.caught(), "intent 3+3 / 1+1");
    live.mend();
    let response = live.world.rotate(&next).await.unwrap();
    live.went_on(transition_of(&response), Bundle::from(&response)).await;

    // Under the label of a retired key, beside it and with its CKA_ID: all of them go.
    live.inject(&[Injected::Call(Function::DestroyObject, When::Always, Effect::Refuse(CKR_DEVICE_ERROR))]);
    let response = live.world.rotate(&live.next("retired")).await.unwrap();
    let retired = label(&live, 2);
    live.world.token().make_key(&retired);
    live.world.token().make_twin(&retired);
    assert_eq!(live.caught(), "active I M 1+1 / 3+3");
    live.mend();
    live.went_on(transition_of(&response), Bundle::from(&response)).await;

    // Under the label of a key that was destroyed long ago: the next start finds it.
    let destroyed = label(&live, 1);
    live.world.token().make_key(&destroyed);
    live.world.restart().await;
    assert!(!live.world.token().keys().contains_key(&destroyed));
    let log = live.log().await;
    let cleared: Vec<_> = log.of_type("key-event").filter(|entry| entry["action"] == "cleared").collect();
    let said: Vec<_> =
        cleared.iter().map(|entry| (entry["reference"].as_str().unwrap(), entry["count"].as_u64())).collect();
    assert!(
        said.contains(&(unrecorded.as_str(), Some(3))) && said.contains(&(destroyed.as_str(), Some(1))),
        "{said:?}"
    );
}
