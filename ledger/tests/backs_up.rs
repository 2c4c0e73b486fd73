//! A backup is the ledger of one moment, made while others write; and it is put back only where that takes nothing back.

#[cfg(test)]
mod world;

use std::{fs, path::PathBuf};

use hallmark_ledger::{
    BackedUp, BackupFault, BackupProgress, BackupWish, Event, Issued, Ledger, NextLog, OpenError, RestoreError,
    RestoreWish, Restored, UnixMillis,
};
use hallmark_tlog::{
    audit::{Auditor, Report},
    note::SignerKey,
};
use world::{AUTHORITY, Directory, Mesh, NOW_SECS, World, contents, copy, log_key};

const THIS: &str = "example.com/log";
const NEXT: &str = "example.com/log/restored";

#[cfg(test)]
fn back_up(world: &World, ledger: &Ledger, name: &str) -> Result<BackedUp, BackupFault> {
    let directory = world.directory.path().join("backups");
    let files = vec![("policy.toml".to_owned(), world.policy.text().as_bytes().to_vec())];
    ledger.back_up(&BackupWish { directory, name: name.to_owned(), files }, &BackupProgress::default(), world.at())
}

/// What a machine has that has nothing yet, but for the backup.
#[cfg(test)]
fn elsewhere(world: &World) -> World {
    let other = World::new();
    copy(&world.directory.path().join("backups"), &other.directory.path().join("backups"));
    other
}

#[cfg(test)]
fn wish(world: &World, name: &str) -> RestoreWish {
    RestoreWish {
        from: world.directory.path().join("backups").join(name),
        verifiers: vec![log_key().verifier().clone()],
        origin: THIS.to_owned(),
        replace: false,
        seen: Vec::new(),
        next: None,
        at: UnixMillis(NOW_SECS * 1_000 + 900_000),
    }
}

#[cfg(test)]
fn next_key() -> SignerKey {
    SignerKey::generate(NEXT, [7; 32]).unwrap()
}

#[cfg(test)]
fn carried_on(world: &World, name: &str) -> RestoreWish {
    let next = NextLog { key: next_key(), publish: world.directory.path().join("log-restored") };
    RestoreWish { next: Some(next), replace: true, ..wish(world, name) }
}

#[cfg(test)]
fn restore(world: &World, wish: RestoreWish) -> Result<Restored, RestoreError> {
    Ledger::restore(&world.config, wish)
}

#[cfg(test)]
async fn issue(world: &World, ledger: &Ledger, mesh: &Mesh, id: &str, number: u64) -> Issued {
    ledger.issue(world.leaf(mesh, id, number), world.at()).await.unwrap()
}

#[cfg(test)]
fn audit(publish: PathBuf, key: &SignerKey) -> Report {
    let keys = [key.verifier().clone()];
    Auditor::new(&keys).audit(&Directory(publish), &mut ()).unwrap()
}

/// What a crash leaves: the log was published up to now.
#[cfg(test)]
fn checkpoint(world: &World) -> PathBuf {
    world.config.publish.join("checkpoint")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_made_while_entries_come_is_restored_and_goes_on() {
    let world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    for number in 0..300 {
        world.sign(&ledger, world.leaf(&mesh, &format!("before-{number}"), number)).await;
    }
    let before = ledger.head().size;
    let (writing, stop) = (ledger.clone(), std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)));
    let stopped = std::sync::Arc::clone(&stop);
    let writer = tokio::spawn(async move {
        let mut written = 0;
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            writing.record(Event::Heartbeat, UnixMillis(NOW_SECS * 1_000 + 500_000)).await.unwrap();
            written += 1;
        }
        written
    });
    let made = tokio::task::block_in_place(|| back_up(&world, &ledger, "one")).unwrap();
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(writer.await.unwrap() > 0 && made.size >= before && made.size <= ledger.head().size, "{made:?}");
    let files: Vec<_> = contents(&made.directory).into_keys().collect();
    assert_eq!(files, ["backup.json", "checkpoint", "ledger.sqlite", "log.vkey", "policy.toml"]);
    let error = tokio::task::block_in_place(|| back_up(&world, &ledger, "one")).unwrap_err();
    assert!(matches!(error, BackupFault::Exists { .. }), "{error}");
    ledger.stop();

    let mut other = elsewhere(&world);
    let error = restore(&other, wish(&other, "one")).unwrap_err();
    assert!(matches!(error, RestoreError::NothingSeen { .. }), "nobody knows whether it is the newest: {error}");
    assert!(!other.config.database.exists(), "nothing was changed");
    other.config.accept_missing_checkpoint = true;
    let restored = restore(&other, wish(&other, "one")).unwrap();
    assert_eq!((restored.size, restored.seen, restored.finished), (made.size, None, false));
    other.config.accept_missing_checkpoint = false;
    let opened = other.try_open().unwrap();
    assert!(opened.recovery.unlogged.has(hallmark_ledger::Acceptance::MissingCheckpoint), "the next start logs it");
    let ledger = opened.ledger;
    assert_eq!(ledger.head().size, made.size);
    other.load_policy(&ledger).await;
    let again = issue(&other, &ledger, &mesh, "before-7", 7).await;
    assert!(matches!(again, Issued::Answered(_)), "the same request has the same answer: {again:?}");
    ledger.stop();
    let report = audit(other.config.publish.clone(), &log_key());
    assert!(report.is_clean() && report.size > made.size, "{:?}", report.findings);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_as_new_as_what_was_published_is_restored_without_a_word() {
    let world = World::new();
    let ledger = world.begin().await;
    world.found(&ledger).await;
    let made = tokio::task::block_in_place(|| back_up(&world, &ledger, "one")).unwrap();
    ledger.stop();
    assert_eq!(ledger.head().size, made.size);
    let other = elsewhere(&world);
    let seen = RestoreWish { seen: vec![world.config.publish.clone()], ..wish(&other, "one") };
    assert_eq!(restore(&other, seen).unwrap().seen, Some(made.size));
    let (published, there) = (contents(&world.config.publish), contents(&other.config.publish));
    let is_there = |(name, content): (&String, &Vec<u8>)| published.get(name) == Some(content);
    assert!(there.contains_key("checkpoint") && there.iter().all(is_there), "the directory is what it was");
    let error = restore(&other, wish(&other, "one")).unwrap_err();
    assert!(matches!(error, RestoreError::Exists { .. }), "{error}");
    let replacing = RestoreWish { replace: true, ..wish(&other, "one") };
    let aside = restore(&other, replacing).unwrap().set_aside.expect("the database that was there");
    assert!(aside.exists());
    other.open().stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_older_than_anything_known_is_refused_and_goes_on_as_another_log_with_every_authority_stopped()
{
    let mut world = World::new();
    world.config.anchor = Some(world.directory.path().join("anchor"));
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let made = tokio::task::block_in_place(|| back_up(&world, &ledger, "old")).unwrap();
    world.sign(&ledger, world.leaf(&mesh, "lost", 1)).await;
    ledger.stop();
    let published = ledger.head().size;
    let before = contents(world.directory.path());
    for by in ["log/checkpoint", "anchor", "the database that is there"] {
        let other = elsewhere(&world);
        let place = other.directory.path();
        match by {
            "log/checkpoint" => {
                fs::create_dir_all(place.join("log")).unwrap();
                fs::copy(checkpoint(&world), place.join("log/checkpoint")).unwrap();
            }
            "anchor" => drop(fs::copy(checkpoint(&world), place.join("anchor")).unwrap()),
            _ => drop(fs::copy(&world.config.database, place.join("ledger.db")).unwrap()),
        }
        let mut config = other.config.clone();
        config.anchor = Some(place.join("anchor"));
        config.accept_missing_checkpoint = true;
        let replacing = RestoreWish { replace: true, ..wish(&other, "old") };
        let error = Ledger::restore(&config, replacing).unwrap_err();
        assert!(matches!(&error, RestoreError::Older { seen, .. } if *seen == published), "{by}: {error}");
        assert!(error.to_string().contains(by), "{error}");
        assert!(error.to_string().contains("--continue-as"), "{error}");
    }
    let brought = elsewhere(&world);
    let seen = RestoreWish { seen: vec![checkpoint(&world)], ..wish(&brought, "old") };
    let error = restore(&brought, seen).unwrap_err();
    assert!(matches!(error, RestoreError::Older { .. }), "{error}");
    let replacing = RestoreWish { replace: true, ..wish(&world, "old") };
    restore(&world, replacing).unwrap_err();
    let after = contents(world.directory.path());
    let differs =
        |name: &&String| before.get(*name) != after.get(*name) && !name.ends_with("-shm") && !name.ends_with("-wal");
    assert_eq!(after.keys().filter(differs).collect::<Vec<_>>(), Vec::<&String>::new(), "nothing was changed");

    let old = contents(&world.config.publish);
    let restored = restore(&world, carried_on(&world, "old")).unwrap();
    assert_eq!((restored.size, restored.seen), (made.size, Some(published)));
    assert_eq!(restored.stopped, [AUTHORITY]);
    assert_eq!(contents(&world.config.publish), old, "the log that was left stays as it is");
    let error = world.try_open().unwrap_err();
    assert!(
        matches!(error, OpenError::Checkpoint { .. } | OpenError::OtherOrigin { .. }),
        "it is another log: {error}"
    );
    world.config.publish = world.directory.path().join("log-restored");
    let opened = Ledger::open(world.config.clone(), next_key()).unwrap();
    let ledger = opened.ledger;
    world.load_policy(&ledger).await;
    assert!(ledger.stopped(AUTHORITY).unwrap().is_some());
    let refused = world::refused(issue(&world, &ledger, &mesh, "new", 2).await);
    assert_eq!(refused, ["AUTHORITY_STOPPED"]);
    ledger.resume_authority(AUTHORITY, "operator", "there is no newer one", world.at()).await.unwrap().unwrap();
    assert!(ledger.stopped(AUTHORITY).unwrap().is_none());
    ledger.stop();
    let report = audit(world.config.publish.clone(), &next_key());
    assert!(report.is_clean() && report.size > made.size, "{:?}", report.findings);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_interrupted_is_finished_by_the_same_command_and_before_the_rename_nothing_is_changed() {
    let mut world = World::new();
    let ledger = world.begin().await;
    world.found(&ledger).await;
    tokio::task::block_in_place(|| back_up(&world, &ledger, "old")).unwrap();
    ledger.record(Event::Heartbeat, world.at()).await.unwrap();
    ledger.stop();
    // Before the rename: a copy beside the database, of which nobody knows how far it came.
    fs::write(world.directory.path().join("ledger.db.restoring"), "half").unwrap();
    fs::write(world.directory.path().join("ledger.db.restoring-wal"), "half").unwrap();
    // After the rename: the directory cannot be written.
    let place = world.directory.path().join("log-restored");
    fs::write(&place, "in the way").unwrap();
    let error = restore(&world, carried_on(&world, "old")).unwrap_err();
    assert!(matches!(error, RestoreError::Publish(_)) && error.to_string().contains("the same command"), "{error}");
    let error = world.try_open().unwrap_err();
    assert!(matches!(error, OpenError::Rolling { .. }) && error.to_string().contains("hallmarkd restore"), "{error}");
    fs::remove_file(&place).unwrap();
    let mut other = carried_on(&world, "old");
    let key = SignerKey::generate("example.com/other", [8; 32]).unwrap();
    other.next = Some(NextLog { key, publish: place });
    let error = restore(&world, other).unwrap_err();
    assert!(matches!(error, RestoreError::OtherBegun { .. }), "{error}");
    let finished = restore(&world, carried_on(&world, "old")).unwrap();
    assert!(finished.finished && finished.stopped == [AUTHORITY], "{finished:?}");
    world.config.publish = world.directory.path().join("log-restored");
    Ledger::open(world.config.clone(), next_key()).unwrap().ledger.stop();
    let left: Vec<_> = fs::read_dir(world.directory.path()).unwrap().flatten().map(|file| file.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("restoring")), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_in_which_one_byte_is_another_is_refused_and_nothing_is_changed() {
    let world = World::new();
    let ledger = world.begin().await;
    world.found(&ledger).await;
    let made = tokio::task::block_in_place(|| back_up(&world, &ledger, "one")).unwrap();
    ledger.stop();
    let mut tried = 0;
    for (name, bytes) in contents(&made.directory) {
        for at in [0, bytes.len() / 2, bytes.len() - 2] {
            let mut other = elsewhere(&world);
            other.config.accept_missing_checkpoint = true;
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            fs::write(other.directory.path().join("backups/one").join(&name), changed).unwrap();
            let error = restore(&other, wish(&other, "one")).unwrap_err();
            assert!(matches!(error, RestoreError::Backup(_)), "{name} at {at}: {error}");
            assert!(!other.config.database.exists(), "{name}");
            tried += 1;
        }
        let mut other = elsewhere(&world);
        other.config.accept_missing_checkpoint = true;
        fs::remove_file(other.directory.path().join("backups/one").join(&name)).unwrap();
        let error = restore(&other, wish(&other, "one")).unwrap_err();
        assert!(matches!(error, RestoreError::Backup(BackupFault::Io { .. })), "{name}: {error}");
    }
    assert_eq!(tried, 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_somebody_else_signed_or_described_or_that_is_another_log_s_is_refused() {
    let world = World::new();
    let ledger = world.begin().await;
    world.found(&ledger).await;
    let made = tokio::task::block_in_place(|| back_up(&world, &ledger, "one")).unwrap();
    tokio::task::block_in_place(|| back_up(&world, &ledger, "two")).unwrap();
    ledger.stop();
    let stranger = SignerKey::generate(THIS, [9; 32]).unwrap();
    let foreign = RestoreWish { verifiers: vec![stranger.verifier().clone()], ..wish(&world, "one") };
    let error = restore(&world, foreign).unwrap_err();
    assert!(matches!(error, RestoreError::Backup(BackupFault::Unsigned { .. })), "{error}");
    // A checkpoint that the log did sign, in the place of the one that signs the description.
    let other = elsewhere(&world);
    fs::copy(checkpoint(&world), other.directory.path().join("backups/one/checkpoint")).unwrap();
    let error = restore(&other, wish(&other, "one")).unwrap_err();
    assert!(error.to_string().contains("not the one that the log's key signed"), "{error}");
    // A description that names another file, signed by nobody.
    let other = elsewhere(&world);
    let path = other.directory.path().join("backups/one/backup.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("policy.toml", "../policy.x", 1)).unwrap();
    let error = restore(&other, wish(&other, "one")).unwrap_err();
    assert!(error.to_string().contains("not the one that the log's key signed"), "{error}");
    // The database of another backup of the same log.
    let other = elsewhere(&world);
    let database = |name: &str| other.directory.path().join("backups").join(name).join("ledger.sqlite");
    fs::write(database("one"), [fs::read(database("two")).unwrap(), vec![0; 4_096]].concat()).unwrap();
    let error = restore(&other, wish(&other, "one")).unwrap_err();
    assert!(matches!(error, RestoreError::Backup(BackupFault::File { .. })), "{error}");
    assert!(made.directory.exists());
    let configured = RestoreWish { origin: "example.com/another".to_owned(), ..wish(&world, "one") };
    let error = restore(&world, configured).unwrap_err();
    assert!(matches!(error, RestoreError::OtherLog { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_has_not_finished_is_removed_by_the_next_backup() {
    let world = World::new();
    let ledger = world.begin().await;
    let half = world.directory.path().join("backups/.one.unfinished");
    fs::create_dir_all(&half).unwrap();
    fs::write(half.join("ledger.sqlite"), "half").unwrap();
    let made = tokio::task::block_in_place(|| back_up(&world, &ledger, "one")).unwrap();
    assert_eq!(made.removed, 1);
    assert!(!half.exists());
    for name in ["", "../one", "a/b", ".one"] {
        let error = tokio::task::block_in_place(|| back_up(&world, &ledger, name)).unwrap_err();
        assert!(matches!(error, BackupFault::Name { .. }), "{name}: {error}");
    }
    ledger.stop();
    let error = tokio::task::block_in_place(|| back_up(&world, &ledger, "two")).unwrap_err();
    assert!(matches!(error, BackupFault::Ledger(_)), "{error}");
    assert!(!world.directory.path().join("backups/two").exists());
}

/// Makes a ledger's tables those of another version, as far as this program looks.
#[cfg(test)]
fn with_schema(world: &World, change: &str) {
    rusqlite::Connection::open(&world.config.database).unwrap().execute_batch(change).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_older_tables_is_brought_up_to_date_and_one_of_newer_tables_is_refused() {
    let world = World::new();
    let ledger = world.begin().await;
    with_schema(
        &world,
        "ALTER TABLE serial DROP COLUMN signed_sha256; ALTER TABLE authority DROP COLUMN frozen_index; DROP TABLE later_key; PRAGMA user_version = 9",
    );
    tokio::task::block_in_place(|| back_up(&world, &ledger, "older")).unwrap();
    with_schema(&world, "PRAGMA user_version = 99");
    let error = tokio::task::block_in_place(|| back_up(&world, &ledger, "newer")).unwrap_err();
    assert!(matches!(error, BackupFault::Newer { found: 99, .. }), "{error}");
    assert!(
        !world.directory.path().join("backups/newer").exists()
            && !world.directory.path().join("backups/.newer.unfinished").exists()
    );
    ledger.stop();
    let mut other = elsewhere(&world);
    other.config.accept_missing_checkpoint = true;
    restore(&other, wish(&other, "older")).unwrap();
    let ledger = other.open();
    assert_eq!(ledger.frozen(AUTHORITY).unwrap(), None, "its tables are there");
    ledger.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_signed_for_a_copy_that_is_not_a_beginning_of_the_log_in_memory() {
    for (change, how) in [
        ("UPDATE head SET root = zeroblob(32)", "another root"),
        ("UPDATE head SET size = size - 1", "the root of another size"),
        ("UPDATE head SET size = size + 1", "more entries than there are"),
        ("UPDATE head SET size = 0", "none"),
    ] {
        let world = World::new();
        let ledger = world.begin().await;
        world.found(&ledger).await;
        tokio::task::block_in_place(|| back_up(&world, &ledger, "good")).unwrap();
        with_schema(&world, change);
        let error = tokio::task::block_in_place(|| back_up(&world, &ledger, "forked")).unwrap_err();
        assert!(matches!(error, BackupFault::Foreign { .. }), "{how}: {error}");
        let left = contents(&world.directory.path().join("backups"));
        assert!(left.keys().all(|name| name.starts_with("good/")), "{how}: {left:?}");
        ledger.stop();
    }
}
