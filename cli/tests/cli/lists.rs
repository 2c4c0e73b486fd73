//! Epochs in a table, and one of them with everything about it.

use std::time::{SystemTime, UNIX_EPOCH};

use hallmark_proto::signer::{Epoch, EpochState, EpochStatus, Fetched};
use insta::assert_snapshot;

use crate::support::{World, signer::FakeSigner};

const DAY: i64 = 86_400;

pub(crate) fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// An epoch that ends so many days and half a day from now.
pub(crate) fn epoch(generation: u8, state: EpochState, days: i64) -> EpochStatus {
    // Ten minutes more: a slow machine must not make it an hour less.
    let end = now() + days * DAY + DAY / 2 + 600;
    EpochStatus {
        epoch: Some(Epoch {
            authority: "athenz".to_owned(),
            generation: generation.into(),
            transition: vec![0xa0 + generation; 32].into(),
            manifest_sha256: vec![0xb0 + generation; 32].into(),
        }),
        state: state.into(),
        previous: vec![if generation == 1 { 0 } else { 0xa0 + generation - 1 }; 32].into(),
        spki_sha256: vec![0xd0 + generation; 32].into(),
        intermediate_sha256: vec![0xe0 + generation; 32].into(),
        mesh_ca_sha256: vec![0xf0 + generation; 32].into(),
        not_before: Some(end - 365 * DAY),
        not_after: Some(end),
        intent_at: end - 90 * DAY,
        active_at: (state != EpochState::Prepared).then_some(end - 80 * DAY),
        ..EpochStatus::default()
    }
}

pub(crate) fn fetched(names: &[&str]) -> Vec<Fetched> {
    names.iter().map(|name| Fetched { caller: (*name).to_owned(), at: 1_795_327_200 }).collect()
}

/// A prepared epoch, the active one and one that is gone.
pub(crate) fn three() -> Vec<EpochStatus> {
    vec![
        EpochStatus { fetched: fetched(&["coordinator", "evil\u{1b}[2J"]), ..epoch(3, EpochState::Prepared, 89) },
        EpochStatus { fetched: fetched(&["a", "b", "c", "d", "e"]), ..epoch(2, EpochState::Active, 26) },
        EpochStatus {
            revoked: true,
            retired_at: Some(now()),
            destroyed_at: Some(now()),
            ..epoch(1, EpochState::Destroyed, -4)
        },
    ]
}

fn world(epochs: Vec<EpochStatus>) -> (World, FakeSigner) {
    let world = World::new();
    let signer = FakeSigner::start(&world);
    *signer.state.epochs.lock().unwrap() = epochs;
    (world, signer)
}

#[test]
fn epochs_are_a_table_that_people_like_to_read() {
    let (world, signer) = world(three());
    assert_snapshot!(world.run(signer.command("epochs --authority athenz")).masked(&[]));
    let full = world.run(signer.command("epochs --authority athenz --full")).stdout;
    assert!(full.contains(&"a2".repeat(32)), "{full}");
}

#[test]
fn ends_that_come_near_are_said_ever_more_urgently() {
    let mut told = String::new();
    for days in [60, 59, 29, 6, 0, -1] {
        let (world, signer) = world(vec![epoch(2, EpochState::Active, days)]);
        let run = world.run(signer.command("epochs --authority athenz"));
        assert_eq!(run.code, 0);
        told.push_str(&format!(
            "{days} days and a half: {}",
            if run.stderr.is_empty() { "nothing\n" } else { &run.stderr }
        ));
    }
    assert_snapshot!(crate::support::timeless(&told));
}

#[test]
fn long_lists_come_in_pages() {
    let (world, signer) = world((1..=5).rev().map(|number| epoch(number, EpochState::Destroyed, -1)).collect());
    let run = world.run(signer.command("epochs --authority athenz --limit 2"));
    assert!(run.stdout.lines().count() == 3 && run.stderr.contains("give --before 4"), "{}", run.told());
    let run = world.run(signer.command("epochs --authority athenz --limit 2 --before 2"));
    assert!(run.stdout.lines().count() == 2 && run.stderr.is_empty(), "{}", run.told());
    let run = world.run(signer.command("epochs --authority athenz --before 1"));
    assert!(run.code == 0 && run.stderr == "athenz has no such epoch\n", "{}", run.told());
}

#[test]
fn one_epoch_is_shown_with_everything_about_it() {
    let (world, signer) = world(three());
    assert_snapshot!(world.run(signer.command("epochs show 3 --authority athenz")).masked(&[]));
    assert_snapshot!(world.run(signer.command("epochs show 1 --authority athenz")).masked(&[]));
    assert_snapshot!(world.run(signer.command("epochs show 9 --authority athenz")).told());
}

#[test]
fn lists_are_json_where_json_was_asked_for() {
    let (world, signer) = world(three());
    let json = world.run(signer.command("epochs --authority athenz --json")).json();
    assert_eq!((&json["result"], &json["more"]), (&"epochs".into(), &false.into()));
    assert_eq!(json["epochs"][0]["state"], "prepared");
    assert_eq!(json["epochs"][0]["fetched"][0]["caller"], "coordinator");
    assert_eq!((&json["epochs"][2]["revoked"], &json["epochs"][2]["epoch"]["generation"]), (&true.into(), &1.into()));
    assert_eq!(json["warnings"].as_array().unwrap().len(), 1);
    let json = world.run(signer.command("epochs show 2 --authority athenz --json")).json();
    assert_eq!((&json["result"], &json["epoch"]["state"]), (&"epoch".into(), &"active".into()));
}
