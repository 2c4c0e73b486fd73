//! The published log is what outsiders check.

#[cfg(test)]
mod world;

use std::{collections::BTreeMap, fs};

use hallmark_entry::{Summary, is_canonical};
use hallmark_ledger::{Event, Ledger, OpenError, Step};
use hallmark_policy::{Facts, Reason, ReasonCode, Refusal};
use hallmark_tlog::{
    audit::{Auditor, LogFiles, Visitor},
    tile::CHECKPOINT_PATH,
};
use proptest::{collection::vec, prelude::*, test_runner::TestRunner};
use world::{AUTHORITY, Directory, Mesh, World, audit, check_receipt, contents, log_key};

/// Checks every entry, and that the sequence numbers of each issuer have no gap.
#[derive(Default)]
struct Entries {
    seen: u64,
    sequences: BTreeMap<String, u64>,
}

#[cfg(test)]
impl Visitor for Entries {
    fn entry(&mut self, _: u64, bytes: &[u8]) {
        assert!(is_canonical(bytes), "{}", String::from_utf8_lossy(bytes));
        let summary = Summary::parse(bytes).unwrap();
        if let Some(issuer) = summary.issuer {
            let last = self.sequences.entry(issuer.spki_sha256).or_default();
            *last += 1;
            assert_eq!(issuer.sequence, Some(*last));
        }
        self.seen += 1;
    }
}

/// One operation of any kind.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Action {
    Issue,
    Sign,
    Refuse,
    Rotate,
    Record,
    Reopen,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => Just(Action::Issue),
        8 => Just(Action::Sign),
        4 => Just(Action::Refuse),
        4 => Just(Action::Record),
        1 => Just(Action::Rotate),
        1 => Just(Action::Reopen),
    ]
}

#[test]
fn after_any_operations_the_published_log_passes_the_audit() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let config = ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new(config);
    let result = runner.run(&vec(action(), 1..60), |actions| {
        runtime.block_on(async {
            let world = World::new();
            let mut ledger = world.begin().await;
            let mut mesh = world.found(&ledger).await;
            for (number, action) in (1..).zip(actions) {
                act(&world, &mut ledger, &mut mesh, action, number).await;
            }
            let size = ledger.head().size;
            ledger.stop();
            let mut entries = Entries::default();
            let report = audit(&world.config.publish, &mut entries);
            assert!(report.is_clean(), "{:?}", report.findings);
            assert_eq!((report.size, entries.seen), (size, size));
        });
        Ok(())
    });
    assert_eq!(result, Ok(()));
}

#[cfg(test)]
async fn act(world: &World, ledger: &mut Ledger, mesh: &mut Mesh, action: Action, number: u64) {
    let id = format!("id-{number}");
    match action {
        Action::Issue => drop(ledger.issue(world.leaf(mesh, &id, number), world.at()).await.unwrap()),
        Action::Sign => drop(world.sign(ledger, world.leaf(mesh, &id, number)).await),
        Action::Refuse => drop(ledger.refuse(refusal(world), world.at()).await.unwrap()),
        Action::Rotate => {
            let next = mesh.issuer.epoch.generation + 1;
            *mesh = world.rotate(ledger, &mesh.root.clone(), next, mesh.issuer.epoch.transition).await;
        }
        Action::Record => check_receipt(ledger.record(Event::Heartbeat, world.at()).await.unwrap()).await,
        Action::Reopen => {
            ledger.stop();
            *ledger = world.begin().await;
        }
    }
}

fn refusal(world: &World) -> Refusal {
    let reasons = vec![Reason::new(ReasonCode::NameMissing, "names", "a name is missing")];
    Refusal { reasons, facts: Facts::default(), policy: world.policy.digest() }
}

/// Waits until everything is published.
#[cfg(test)]
async fn settled(world: &World, ledger: &Ledger) {
    for _ in 0..500 {
        let size = ledger.head().size;
        let published = fs::read_to_string(world.config.publish.join(CHECKPOINT_PATH)).unwrap_or_default();
        if published.lines().nth(1) == Some(size.to_string().as_str()) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("it is published within a second");
}

#[tokio::test]
async fn publishing_again_from_nothing_gives_the_same_bytes() {
    let mut world = World::new();
    let ledger = world.begin().await;
    for _ in 0..700 {
        ledger.record(Event::Heartbeat, world.at()).await.unwrap();
    }
    ledger.stop();
    let ledger = world.open();
    ledger.record(Event::Stop, world.at()).await.unwrap();
    ledger.stop();
    let first = world.config.publish.clone();
    world.config.publish = world.directory.path().join("again");
    world.config.accept_missing_checkpoint = true;
    world.open().stop();
    let again = contents(&world.config.publish);
    let first = contents(&first);
    assert!(again.contains_key("tile/0/001") && again.contains_key("checkpoint"));
    for (path, content) in &again {
        assert_eq!(first.get(path), Some(content), "{path}");
    }
    for path in first.keys().filter(|path| !again.contains_key(*path)) {
        assert!(path.contains(".p/"), "`{path}` is no partial file of the checkpoint before");
    }
    assert!(world.audit().is_clean());
}

#[tokio::test]
async fn partial_files_stay_until_the_full_file_is_there_for_whoever_still_reads_an_earlier_size() {
    let world = World::new();
    let grow = async |entries: u64| {
        let ledger = world.open();
        for _ in 0..entries {
            ledger.record(Event::Heartbeat, world.at()).await.unwrap();
        }
        ledger.stop();
    };
    for _ in 0..5 {
        grow(1).await;
    }
    let names = || contents(&world.config.publish).into_keys().collect::<Vec<_>>();
    let of = |kind: &str| (1..=5).map(|width| format!("tile/{kind}/000.p/{width}")).collect::<Vec<_>>();
    assert_eq!(names(), [vec!["checkpoint".to_owned()], of("0"), of("entries")].concat());
    grow(250).await;
    assert!(names().contains(&"tile/entries/000.p/255".to_owned()) && names().contains(&"tile/0/000.p/1".to_owned()));
    grow(2).await;
    let expected =
        ["checkpoint", "tile/0/000", "tile/0/001.p/1", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/1"];
    assert_eq!(names().into_iter().filter(|name| !name.contains("001.p/2")).collect::<Vec<_>>(), expected);
    assert!(world.audit().is_clean());
}

/// A directory whose checkpoint was read some time ago.
struct ReadEarlier {
    checkpoint: Vec<u8>,
    rest: Directory,
}

impl LogFiles for ReadEarlier {
    type Error = std::io::Error;

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Self::Error> {
        if path == CHECKPOINT_PATH { Ok(Some(self.checkpoint.clone())) } else { self.rest.read(path) }
    }
}

#[tokio::test]
async fn an_audit_of_any_size_that_was_published_is_not_disturbed_by_what_is_published_meanwhile() {
    let world = World::new();
    let mut checkpoints = Vec::new();
    for entries in [1, 1, 1, 100, 152, 1, 1, 300, 60] {
        let ledger = world.open();
        for _ in 0..entries {
            ledger.record(Event::Heartbeat, world.at()).await.unwrap();
        }
        ledger.stop();
        checkpoints.push(fs::read(world.config.publish.join(CHECKPOINT_PATH)).unwrap());
        for checkpoint in &checkpoints {
            let files = ReadEarlier { checkpoint: checkpoint.clone(), rest: Directory(world.config.publish.clone()) };
            let report = Auditor::new(&[log_key().verifier().clone()]).audit(&files, &mut ()).unwrap();
            assert!(report.is_clean(), "{:?}", report.findings);
        }
    }
    assert_eq!(checkpoints.len(), 9);
}

#[tokio::test]
async fn one_directory_is_published_into_by_one_daemon() {
    let world = World::new();
    let ledger = world.begin().await;
    let mut other = world.crashed();
    other.config.publish.clone_from(&world.config.publish);
    let error = other.try_open().unwrap_err();
    assert!(matches!(error, OpenError::Published { .. }), "{error}");
    ledger.stop();
    other.open().stop();
}

#[tokio::test]
async fn whose_checkpoint_was_replaced_by_another_copy_of_the_database_stops_and_replaces_nothing() {
    for of_the_anchor in [false, true] {
        let mut world = World::new();
        world.config.anchor = Some(world.directory.path().join("anchor"));
        let ledger = world.begin().await;
        settled(&world, &ledger).await;
        let other = world.crashed();
        let theirs = other.open();
        for _ in 0..3 {
            theirs.record(Event::ClockAccepted, other.at()).await.unwrap();
        }
        theirs.stop();
        let place = if of_the_anchor {
            world.directory.path().join("anchor")
        } else {
            world.config.publish.join(CHECKPOINT_PATH)
        };
        fs::copy(other.config.publish.join(CHECKPOINT_PATH), &place).unwrap();
        let replaced = fs::read(&place).unwrap();
        let mut stopped = None;
        for _ in 0..200 {
            if let Err(error) = ledger.record(Event::Heartbeat, world.at()).await {
                stopped = Some(error.to_string());
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let stopped = stopped.expect("it stops");
        assert!(stopped.contains("older"), "{stopped}");
        ledger.stop();
        assert!(fs::read(&place).unwrap() == replaced, "what others may have seen stays");
        assert!(matches!(world.try_open().unwrap_err(), OpenError::Restored { .. }));
    }
}

#[tokio::test]
async fn an_earlier_checkpoint_that_was_put_back_is_gone_on_from() {
    let world = World::new();
    let ledger = world.begin().await;
    settled(&world, &ledger).await;
    let earlier = fs::read(world.config.publish.join(CHECKPOINT_PATH)).unwrap();
    for _ in 0..3 {
        ledger.record(Event::Heartbeat, world.at()).await.unwrap();
    }
    settled(&world, &ledger).await;
    fs::write(world.config.publish.join(CHECKPOINT_PATH), earlier).unwrap();
    ledger.record(Event::Heartbeat, world.at()).await.unwrap();
    ledger.stop();
    let report = world.audit();
    assert!(report.is_clean(), "{:?}", report.findings);
    assert_eq!(report.size, 5);
}

#[tokio::test]
async fn a_published_log_that_fell_behind_is_filled() {
    let world = World::new();
    let ledger = world.begin().await;
    ledger.stop();
    let behind = world.directory.path().join("behind");
    world::copy(&world.config.publish, &behind);
    let ledger = world.open();
    for _ in 0..300 {
        ledger.record(Event::Heartbeat, world.at()).await.unwrap();
    }
    ledger.stop();
    fs::remove_dir_all(&world.config.publish).unwrap();
    fs::rename(&behind, &world.config.publish).unwrap();
    world.open().stop();
    let report = world.audit();
    assert!(report.is_clean(), "{:?}", report.findings);
    assert_eq!(report.size, 301);
}

#[tokio::test]
async fn a_log_that_cannot_be_published_goes_on_minting() {
    let world = World::new();
    let ledger = world.begin().await;
    ledger.stop();
    fs::remove_dir_all(world.config.publish.join("tile")).unwrap();
    fs::write(world.config.publish.join("tile"), "in the way").unwrap();
    let ledger = world.begin().await;
    let authority = AUTHORITY.to_owned();
    check_receipt(
        world.step(&ledger, Step::RootIntent { authority, label: "root".to_owned(), owners: Vec::new() }).await,
    )
    .await;
    fs::remove_file(world.config.publish.join("tile")).unwrap();
    ledger.stop();
    assert_eq!(world.audit().size, 3, "what is signed is published, though an older file was taken away by hand");
}

#[tokio::test]
async fn a_checkpoint_of_another_log_key_is_not_overwritten() {
    use hallmark_tlog::note::SignerKey;
    let world = World::new();
    world.begin().await.stop();
    let other = SignerKey::generate("example.com/log", [43; 32]).unwrap();
    let error = Ledger::open(world.config.clone(), other).unwrap_err();
    assert!(matches!(error, OpenError::Checkpoint { .. }), "{error}");
}

#[tokio::test]
async fn every_old_entry_has_a_receipt() {
    let world = World::new();
    let ledger = world.begin().await;
    for _ in 0..260 {
        ledger.record(Event::Heartbeat, world.at()).await.unwrap();
    }
    for index in [0, 1, 255, 256, 260] {
        check_receipt(ledger.receipt(index).await.unwrap()).await;
    }
    assert!(ledger.receipt(261).await.is_err());
}
