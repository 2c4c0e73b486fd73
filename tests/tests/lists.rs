//! Lists of epochs: page by page, and beside mints.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use hallmark_proto::signer::{ListEpochsRequest, ListEpochsResponse};
use hallmark_tests::{
    Where, World,
    asking::{Asked, Refused, decoded},
};
use prost::Message as _;
use tokio::task::JoinSet;

const AUTHORITY: &str = "athenz";
const DEADLINE_NANOS: u64 = 60_000_000_000;

async fn list(world: &World, before_generation: u64, limit: u32) -> Result<ListEpochsResponse, Refused> {
    let request = ListEpochsRequest { authority: AUTHORITY.to_owned(), before_generation, limit };
    decoded(world.unary("ListEpochs", world.caller(), request.encode_to_vec(), DEADLINE_NANOS).await)
}

/// Makes epochs until there are so many.
async fn make(world: &World, epochs: u64) {
    for generation in 2..=epochs {
        world.prepare_epoch(0).await.unwrap();
        world.activate_epoch(generation, false).await.unwrap();
    }
}

fn generations(page: &ListEpochsResponse) -> Vec<u64> {
    page.epochs.iter().map(|status| status.epoch.as_ref().unwrap().generation).collect()
}

#[tokio::test]
async fn epochs_are_listed_page_by_page_and_a_page_has_its_bound() {
    let world = World::new(Where::Software).await;
    make(&world, 5).await;
    let all = list(&world, 0, 0).await.unwrap();
    assert_eq!((generations(&all), all.more), (vec![5, 4, 3, 2, 1], false));
    let (mut before, mut pages) = (0, Vec::new());
    loop {
        let page = list(&world, before, 2).await.unwrap();
        pages.push(generations(&page));
        before = *pages.last().unwrap().last().unwrap();
        if !page.more {
            break;
        }
    }
    assert_eq!(pages, [vec![5, 4], vec![3, 2], vec![1]]);
    assert!(list(&world, 0, 100).await.is_ok());
    let refused = list(&world, 0, 101).await.unwrap_err();
    assert_eq!(refused.reasons, ["FIELD_OUT_OF_LIMITS"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mints_are_answered_beside_a_monitor_that_lists_epochs_all_the_time() {
    const EPOCHS: u64 = 16;
    const LISTS: usize = 512;
    const MINTS: usize = 10;
    let world = Arc::new(World::new(Where::Software).await);
    make(&world, EPOCHS).await;
    let minted = async || {
        let mut took = Vec::new();
        for _ in 0..MINTS {
            let began = Instant::now();
            world.mint(Asked::sports_api().request()).await.unwrap();
            took.push(began.elapsed());
        }
        took.sort_unstable();
        took[MINTS / 2]
    };
    let alone = minted().await;
    let (mut lists, enough, listed) = (JoinSet::new(), Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    for _ in 0..LISTS {
        let (world, enough, listed) = (Arc::clone(&world), Arc::clone(&enough), Arc::clone(&listed));
        lists.spawn(async move {
            while !enough.load(Ordering::SeqCst) {
                // One whose turn does not come in time is refused.
                if list(&world, 0, 0).await.is_ok() {
                    listed.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
    }
    while listed.load(Ordering::SeqCst) < 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let beside = minted().await;
    enough.store(true, Ordering::SeqCst);
    lists.join_all().await;
    eprintln!("half of the mints took {alone:?} at most alone, and {beside:?} beside {LISTS} lists at a time");
    assert!(beside < alone * 5 + Duration::from_millis(100), "{beside:?} in the place of {alone:?}");
}
