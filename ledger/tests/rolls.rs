//! A log that goes on under another name is the same log: what was given stays true, and what is given next follows from it.

#[cfg(test)]
mod world;

use std::{fs, path::PathBuf};

use hallmark_entry::Summary;
use hallmark_ledger::{Event, Ledger, LogKeys, NextLog, OpenError, RebuildError, RollError, Rolled, UnixMillis};
use hallmark_tlog::{
    audit::{Auditor, LogFiles, Report, Visitor},
    checkpoint::Checkpoint,
    note::SignerKey,
    receipt::Receipt,
};
use world::{NOW_SECS, World, contents, log_key};

const THIS_YEAR: &str = "example.com/log";
const NEXT_YEAR: &str = "example.com/log/2028";

#[cfg(test)]
fn key(origin: &str, seed: u8) -> SignerKey {
    SignerKey::generate(origin, [seed; 32]).unwrap()
}

#[cfg(test)]
fn next(world: &World, origin: &str) -> NextLog {
    let name = format!("log-{}", origin.replace(['.', '/'], "-"));
    NextLog { key: key(origin, 7), publish: world.directory.path().join(name) }
}

#[cfg(test)]
fn roll(world: &World, keys: impl Into<LogKeys>, to: &str) -> Result<Rolled, RollError> {
    Ledger::roll(&world.config, keys, next(world, to), UnixMillis(NOW_SECS * 1_000 + 500_000))
}

/// Goes on with the next log, as the operator configures it then.
#[cfg(test)]
fn configure(world: &mut World, origin: &str) {
    world.config.publish = next(world, origin).publish;
}

#[cfg(test)]
async fn stop(world: &World, ledger: &Ledger) {
    ledger.record(Event::Stop, world.at()).await.unwrap();
    ledger.stop();
}

/// Several directories, of which the newest comes first: bundles that it does not have are in the earlier ones.
struct Chained(Vec<PathBuf>);

#[cfg(test)]
impl LogFiles for Chained {
    type Error = std::io::Error;

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, std::io::Error> {
        Ok(self.0.iter().find_map(|directory| fs::read(directory.join(path)).ok()))
    }
}

/// Kinds and actions, in order.
#[derive(Default)]
struct Kinds(Vec<String>);

#[cfg(test)]
impl Visitor for Kinds {
    fn entry(&mut self, _: u64, bytes: &[u8]) {
        let entry = Summary::parse(bytes).unwrap();
        self.0.push(
            entry.action.as_ref().map_or_else(|| entry.kind.clone(), |action| format!("{} {action}", entry.kind)),
        );
    }
}

#[cfg(test)]
fn audit(directories: &[PathBuf], key: &SignerKey, visitor: &mut impl Visitor) -> Report {
    let keys = [key.verifier().clone()];
    Auditor::new(&keys).audit(&Chained(directories.to_vec()), visitor).unwrap()
}

#[tokio::test]
async fn a_log_goes_on_under_another_name_and_nothing_that_was_given_changes() {
    let mut world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    for _ in 0..300 {
        ledger.record(Event::Heartbeat, world.at()).await.unwrap();
    }
    let before = ledger.record(Event::Heartbeat, world.at()).await.unwrap();
    let (entry, index) = (before.entry.clone(), before.index);
    let receipt = before.receipt.text().await.unwrap();
    world.sign(&ledger, world.leaf(&mesh, "before", 1)).await;
    stop(&world, &ledger).await;
    let size = ledger.head().size;
    let old = world.config.publish.clone();
    let rolled = roll(&world, log_key(), NEXT_YEAR).unwrap();
    assert_eq!(rolled, Rolled { closed_size: size + 1, first_bundled: size / 256 * 256 });
    let closed = audit(std::slice::from_ref(&old), &log_key(), &mut ());
    assert!(closed.is_clean() && closed.size == size + 1, "{:?}", closed.findings);
    let closed = contents(&old);

    configure(&mut world, NEXT_YEAR);
    let new_key = || key(NEXT_YEAR, 7);
    let opened = Ledger::open(world.config.clone(), new_key()).unwrap();
    assert!(!opened.recovery.unclean && opened.key_change.is_none());
    let ledger = opened.ledger;
    world.load_policy(&ledger).await;
    // The same request has the same answer, and numbers go on.
    let again = ledger.issue(world.leaf(&mesh, "before", 1), world.at()).await.unwrap();
    assert!(matches!(again, hallmark_ledger::Issued::Answered(_)), "{again:?}");
    world.sign(&ledger, world.leaf(&mesh, "after", 2)).await;
    let old_entry = ledger.receipt(index).await.unwrap().receipt.text().await.unwrap();
    stop(&world, &ledger).await;

    let directories = [world.config.publish.clone(), old.clone()];
    let mut kinds = Kinds::default();
    let report = audit(&directories, &new_key(), &mut kinds);
    assert!(report.is_clean(), "{:?}", report.findings);
    let at = usize::try_from(size).unwrap();
    assert_eq!(kinds.0[at - 1..at + 3], ["stop", "origin closed", "origin opened", "policy-loaded"]);
    assert_eq!(contents(&old), closed, "nothing changes in a log that is closed");
    let verify = |receipt: &str, key: &SignerKey| {
        let receipt = Receipt::parse(receipt.as_bytes()).unwrap();
        receipt.verify(&entry, &[key.verifier().clone()]).map(|proven| (proven.index, proven.origin))
    };
    assert_eq!(verify(&receipt, &log_key()).unwrap(), (index, THIS_YEAR.to_owned()), "receipts stay true");
    assert_eq!(verify(&old_entry, &new_key()).unwrap(), (index, NEXT_YEAR.to_owned()), "and can be had again");
    assert!(!directories[0].join("tile/entries/000").exists(), "bundles of the log before are where they were");
    assert_eq!(fs::read_to_string(directories[0].join("pruned-before")).unwrap(), "256\n");
}

#[tokio::test]
async fn each_year_follows_the_one_before_and_both_directories_can_be_rebuilt() {
    let mut world = World::new();
    stop(&world, &world.begin().await).await;
    let mut directories = vec![world.config.publish.clone()];
    let mut current = log_key();
    for year in ["example.com/2028", "example.com/2029"] {
        roll(&world, current, year).unwrap();
        configure(&mut world, year);
        directories.insert(0, world.config.publish.clone());
        let ledger = Ledger::open(world.config.clone(), key(year, 7)).unwrap().ledger;
        for _ in 0..200 {
            ledger.record(Event::Heartbeat, world.at()).await.unwrap();
        }
        stop(&world, &ledger).await;
        current = key(year, 7);
    }
    let report = audit(&directories, &current, &mut ());
    assert!(report.is_clean() && report.size == 2 + 2 * 203, "{report:?}");
    for (directory, year) in directories.iter().zip(["", "example.com/2028", THIS_YEAR]) {
        let rebuild = || match year {
            "" => Ledger::rebuild(&world.config, key("example.com/2029", 7)),
            year => Ledger::rebuild_closed(&world.config, key("example.com/2029", 7), year, directory.clone()),
        };
        rebuild().unwrap();
        let before = contents(directory);
        for file in before.keys().filter(|name| *name != "checkpoint") {
            fs::remove_file(directory.join(file)).unwrap();
        }
        rebuild().unwrap();
        assert_eq!(contents(directory), before, "{year}");
    }
    for other in &directories[..2] {
        let before = contents(other);
        let error =
            Ledger::rebuild_closed(&world.config, key("example.com/2029", 7), THIS_YEAR, other.clone()).unwrap_err();
        assert!(matches!(error, RebuildError::Occupied { .. }), "{error}");
        assert!(contents(other) == before, "the log that is there is left alone");
    }
    let error = Ledger::rebuild_closed(&world.config, current, "example.com/2030", directories[2].clone()).unwrap_err();
    assert!(matches!(error, RebuildError::NoSuchOrigin { .. }), "{error}");
}

#[tokio::test]
async fn what_was_interrupted_is_finished_by_the_same_command_before_anything_else() {
    let mut world = World::new();
    world.config.anchor = Some(world.directory.path().join("anchor"));
    stop(&world, &world.begin().await).await;
    let directory = next(&world, NEXT_YEAR).publish;
    fs::write(&directory, "in the way").unwrap();
    let error = roll(&world, log_key(), NEXT_YEAR).unwrap_err();
    assert!(matches!(error, RollError::Publish(_)) && error.to_string().contains("the same command"), "{error}");
    let error = world.try_open().unwrap_err();
    assert!(matches!(error, OpenError::Rolling { .. }) && error.to_string().contains(NEXT_YEAR), "{error}");
    let error = roll(&world, log_key(), "example.com/other").unwrap_err();
    assert!(matches!(error, RollError::OtherRoll { .. }), "{error}");
    fs::remove_file(&directory).unwrap();
    for elsewhere in [world.config.publish.clone(), world.directory.path().join("another")] {
        if elsewhere != world.config.publish {
            fs::create_dir_all(&elsewhere).unwrap();
            fs::write(elsewhere.join("checkpoint"), "another.example/log\n").unwrap();
        }
        let before = contents(&elsewhere);
        let next = NextLog { publish: elsewhere.clone(), ..next(&world, NEXT_YEAR) };
        let error = Ledger::roll(&world.config, log_key(), next, UnixMillis(NOW_SECS * 1_000 + 500_000)).unwrap_err();
        assert!(matches!(error, RollError::Occupied { .. }), "{error}");
        assert!(contents(&elsewhere) == before, "the log that is there is left alone");
    }
    let name = world.config.publish.file_name().unwrap();
    for elsewhere in [world.config.publish.join("below"), world.directory.path().join("missing/..").join(name)] {
        let next = NextLog { publish: elsewhere, ..next(&world, NEXT_YEAR) };
        let error = Ledger::roll(&world.config, log_key(), next, UnixMillis(NOW_SECS * 1_000 + 500_000)).unwrap_err();
        assert!(matches!(error, RollError::Occupied { .. }), "{error}");
    }
    let rolled = roll(&world, log_key(), NEXT_YEAR).unwrap();
    let again = roll(&world, log_key(), NEXT_YEAR).unwrap();
    assert_eq!(again.closed_size, rolled.closed_size, "who was not told asks again");
    let closed = audit(std::slice::from_ref(&world.config.publish), &log_key(), &mut ());
    assert!(closed.is_clean() && closed.size == rolled.closed_size);
    let error = world.try_open().unwrap_err();
    assert!(matches!(error, OpenError::OtherOrigin { .. }), "the daemon wants the new configuration: {error}");
    configure(&mut world, NEXT_YEAR);
    let anchor = fs::read(world.directory.path().join("anchor")).unwrap();
    let anchor = Checkpoint::open(&anchor, &[key(NEXT_YEAR, 7).verifier().clone()]).unwrap();
    assert_eq!(anchor.size(), rolled.closed_size + 1);
    Ledger::open(world.config.clone(), key(NEXT_YEAR, 7)).unwrap().ledger.stop();
}

#[tokio::test]
async fn a_log_is_closed_only_where_it_can_be_and_nothing_changes_otherwise() {
    let world = World::new();
    let ledger = world.begin().await;
    let refused = |keys: LogKeys, to: &str| roll(&world, keys, to).unwrap_err();
    let error = refused(log_key().into(), NEXT_YEAR);
    assert!(matches!(error, RollError::Open(OpenError::InUse { .. })), "{error}");
    ledger.stop();
    let error = refused(log_key().into(), NEXT_YEAR);
    assert!(matches!(error, RollError::Unclean), "{error}");
    stop(&world, &world.open()).await;
    let before = contents(world.directory.path());
    let error = refused(LogKeys::with_previous(key(THIS_YEAR, 43), log_key()), NEXT_YEAR);
    assert!(matches!(error, RollError::KeysChanging), "{error}");
    let error = refused(log_key().into(), THIS_YEAR);
    assert!(matches!(error, RollError::OriginUsed { .. }), "{error}");
    let occupied = NextLog { key: key(NEXT_YEAR, 7), publish: world.config.publish.clone() };
    let error = Ledger::roll(&world.config, log_key(), occupied, world.at()).unwrap_err();
    assert!(matches!(error, RollError::Occupied { .. }), "{error}");
    assert!(error.to_string().contains("a directory of its own"), "{error}");
    let after = contents(world.directory.path());
    let changed =
        |name: &String| before.get(name) != after.get(name) && !name.ends_with("-shm") && !name.ends_with("-wal");
    assert!(!after.keys().any(changed), "{:?}", after.keys().filter(|name| changed(name)).collect::<Vec<_>>());
    world.open().stop();
}
