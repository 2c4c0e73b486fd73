//! A backup is the ledger of one moment, made while others write; and it is put back only where that takes nothing back.

#[cfg(test)]
mod world;

use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use hallmark_ledger::{
    BackedUp, BackupFault, BackupProgress, BackupWish, Event, Issued, Ledger, NextLog, OpenError, RestoreError,
    RestoreWish, Restored, UnixMillis,
};
use hallmark_policy::key::PublicKey;
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
    Ledger::restore(&world.config, wish, &hallmark_issuance::crl_number)
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
        let error = Ledger::restore(&config, replacing, &hallmark_issuance::crl_number).unwrap_err();
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
    // The heartbeat was published, so that more is known than the backup has.
    assert!(finished.seen > Some(finished.size) && !finished.is_ahead, "{finished:?}");
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
    let id = hallmark_policy::hex(&ledger.id());
    let half = world.directory.path().join(format!("backups/.one.{id}.unfinished"));
    fs::create_dir_all(&half).unwrap();
    fs::write(half.join("ledger.sqlite"), "half").unwrap();
    // A name that no directory has, and what another ledger is making beside it.
    let file = world.directory.path().join(format!("backups/.two.{id}.unfinished"));
    fs::write(&file, "no directory").unwrap();
    let foreign = world.directory.path().join("backups/.one.0011223344556677.unfinished");
    fs::create_dir_all(&foreign).unwrap();
    let made = tokio::task::block_in_place(|| back_up(&world, &ledger, "one")).unwrap();
    assert_eq!(made.removed, 2);
    assert!(!half.exists() && !file.exists() && foreign.exists());
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
        "DROP INDEX instance_service; ALTER TABLE instance DROP COLUMN counted_until; ALTER TABLE serial DROP COLUMN asked; \
         CREATE INDEX instance_service ON instance (authority, provider, service, not_after); \
         DROP INDEX same_request_at; ALTER TABLE same_request DROP COLUMN at; DROP TABLE found_stretch; \
         DROP TABLE found_new; DROP TABLE signed; DROP INDEX serial_end; CREATE INDEX serial_end ON serial (not_after); ALTER TABLE authority DROP COLUMN frozen_index; DROP TABLE later_key; PRAGMA user_version = 9",
    );
    tokio::task::block_in_place(|| back_up(&world, &ledger, "older")).unwrap();
    with_schema(&world, "PRAGMA user_version = 99");
    let error = tokio::task::block_in_place(|| back_up(&world, &ledger, "newer")).unwrap_err();
    assert!(matches!(error, BackupFault::Newer { found: 99, .. }), "{error}");
    let left = fs::read_dir(world.directory.path().join("backups")).unwrap().flatten().map(|found| found.file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["older"]);
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

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_before_the_rename_leaves_no_checkpoint_that_would_vouch_for_the_backup() {
    let mut world = World::new();
    world.config.anchor = Some(world.directory.path().join("anchor"));
    let ledger = world.begin().await;
    world.found(&ledger).await;
    tokio::task::block_in_place(|| back_up(&world, &ledger, "one")).unwrap();
    ledger.stop();
    fs::remove_dir_all(&world.config.publish).unwrap();
    fs::remove_file(world.directory.path().join("anchor")).unwrap();
    let replacing = || RestoreWish { replace: true, ..wish(&world, "one") };
    let aside = world.directory.path().join(format!("ledger.db.before-restore-{}", replacing().at.0));
    fs::write(&aside, "in the way").unwrap();
    let mut accepting = world.config.clone();
    accepting.accept_missing_checkpoint = true;
    let restoring = |config, wish| Ledger::restore(config, wish, &hallmark_issuance::crl_number);
    let error = restoring(&accepting, replacing()).unwrap_err();
    assert!(matches!(error, RestoreError::Backup(BackupFault::Io { .. })), "{error}");
    assert!(!checkpoint(&world).exists() && !world.directory.path().join("anchor").exists(), "nothing is published");
    fs::remove_file(&aside).unwrap();
    let error = restoring(&world.config, replacing()).unwrap_err();
    assert!(matches!(error, RestoreError::NothingSeen { .. }), "nobody has vouched for it: {error}");

    // After the rename: what cannot be published is published by the same command, which need not replace anything.
    fs::remove_file(&world.config.database).unwrap();
    fs::write(world.config.publish.join("tile"), "in the way").unwrap();
    let error = restoring(&accepting, wish(&world, "one")).unwrap_err();
    assert!(matches!(error, RestoreError::Publish(_)) && error.to_string().contains("the same command"), "{error}");
    fs::remove_file(world.config.publish.join("tile")).unwrap();
    let error = restoring(&world.config, wish(&world, "one")).unwrap_err();
    assert!(matches!(error, RestoreError::NothingSeen { .. }), "that it was begun is nobody's word: {error}");
    assert!(restoring(&accepting, wish(&world, "one")).unwrap().finished);
    let error = restoring(&accepting, wish(&world, "one")).unwrap_err();
    assert!(matches!(error, RestoreError::Exists { .. }), "nothing is left to do: {error}");
    let opened = world.try_open().unwrap();
    assert!(opened.recovery.unlogged.has(hallmark_ledger::Acceptance::MissingCheckpoint), "the next start logs it");
    opened.ledger.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_read_is_not_replaced_without_a_word_since_it_may_have_had_more() {
    let mut world = World::new();
    let ledger = world.begin().await;
    world.found(&ledger).await;
    tokio::task::block_in_place(|| back_up(&world, &ledger, "one")).unwrap();
    ledger.stop();
    fs::write(&world.config.database, "damaged").unwrap();
    let replacing = || RestoreWish { replace: true, ..wish(&world, "one") };
    let error = restore(&world, replacing()).unwrap_err();
    assert!(matches!(error, RestoreError::Unreadable { .. }), "a checkpoint may be older than it: {error}");
    assert_eq!(fs::read(&world.config.database).unwrap(), b"damaged", "nothing was changed");
    let wish = replacing();
    world.config.accept_missing_checkpoint = true;
    restore(&world, wish).unwrap();
    let opened = world.try_open().unwrap();
    assert!(opened.recovery.unlogged.has(hallmark_ledger::Acceptance::MissingCheckpoint), "the next start logs it");
    opened.ledger.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_vouches_neither_for_itself_nor_for_another_one_but_tells_what_is_older() {
    let world = World::new();
    let ledger = world.begin().await;
    world.found(&ledger).await;
    let one = tokio::task::block_in_place(|| back_up(&world, &ledger, "one")).unwrap();
    ledger.record(Event::Heartbeat, world.at()).await.unwrap();
    let two = tokio::task::block_in_place(|| back_up(&world, &ledger, "two")).unwrap();
    ledger.stop();
    let other = elsewhere(&world);
    for (seen, name) in [(&one, "one"), (&two, "two"), (&one, "two")] {
        let seen = RestoreWish { seen: vec![seen.directory.clone()], ..wish(&other, name) };
        let error = restore(&other, seen).unwrap_err();
        assert!(matches!(error, RestoreError::NothingSeen { .. }), "{name}: {error}");
    }
    let seen = RestoreWish { seen: vec![two.directory.clone()], ..wish(&other, "one") };
    let error = restore(&other, seen).unwrap_err();
    assert!(matches!(error, RestoreError::Older { seen, .. } if seen == two.size), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_in_place_with_other_entries_is_not_put_aside_in_silence() {
    let world = World::new();
    let ledger = world.begin().await;
    world.found(&ledger).await;
    tokio::task::block_in_place(|| back_up(&world, &ledger, "one")).unwrap();
    ledger.stop();
    with_schema(
        &world,
        "UPDATE entry SET leaf = zeroblob(32) WHERE log_index = (SELECT max(log_index) FROM entry) - 1",
    );
    let other = elsewhere(&world);
    fs::copy(&world.config.database, &other.config.database).unwrap();
    let replacing = RestoreWish { replace: true, seen: vec![world.config.publish.clone()], ..wish(&other, "one") };
    let error = restore(&other, replacing).unwrap_err();
    assert!(matches!(error, RestoreError::Forked { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_ahead_of_what_was_published_says_so_and_the_log_that_was_left_is_made_whole_from_it() {
    let mut world = World::new();
    let ledger = world.begin().await;
    ledger.stop();
    copy(&world.config.publish, &world.directory.path().join("behind"));
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    world.sign(&ledger, world.leaf(&mesh, "unpublished", 1)).await;
    let made = tokio::task::block_in_place(|| back_up(&world, &ledger, "one")).unwrap();
    ledger.stop();
    fs::remove_file(&world.config.database).unwrap();
    let left = world.config.publish.clone();
    fs::remove_dir_all(&left).unwrap();
    copy(&world.directory.path().join("behind"), &left);
    assert!(audit(left.clone(), &log_key()).size < made.size, "it is behind");
    let restored = restore(&world, carried_on(&world, "one")).unwrap();
    assert!(restored.is_ahead && restored.size == made.size, "{restored:?}");
    world.config.publish = world.directory.path().join("log-restored");
    let rebuilt = Ledger::rebuild_closed(&world.config, next_key(), THIS, left.clone()).unwrap();
    let report = audit(left, &log_key());
    assert!(report.is_clean() && report.size == made.size && rebuilt.size == made.size, "{:?}", report.findings);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roll_over_that_was_interrupted_is_not_taken_for_a_restore() {
    let world = World::new();
    let ledger = world.begin().await;
    world.found(&ledger).await;
    tokio::task::block_in_place(|| back_up(&world, &ledger, "one")).unwrap();
    ledger.record(Event::Stop, world.at()).await.unwrap();
    ledger.stop();
    let place = world.directory.path().join("log-restored");
    fs::create_dir(&place).unwrap();
    fs::write(place.join("tile"), "in the way").unwrap();
    let next = NextLog { key: next_key(), publish: place.clone() };
    Ledger::roll(&world.config, log_key(), next, world.at()).unwrap_err();
    fs::remove_file(place.join("tile")).unwrap();
    let error = world.try_open().unwrap_err();
    assert!(matches!(error, OpenError::Rolling { .. }), "{error}");
    let without = RestoreWish { replace: false, ..carried_on(&world, "one") };
    let error = restore(&world, without).unwrap_err();
    assert!(matches!(error, RestoreError::Exists { .. }), "its database is put aside at a word alone: {error}");
}

/// What stands for a CRL, where nobody reads more of one than its number: the issuer's key, and that.
#[cfg(test)]
fn crl(key: &PublicKey, number: u64) -> String {
    format!("{} {number}", hallmark_policy::hex(key.spki()))
}

#[cfg(test)]
fn crl_number(crl: &[u8], key: &PublicKey) -> Option<u64> {
    let (issuer, number) = std::str::from_utf8(crl).ok()?.split_once(' ')?;
    number.parse().ok().filter(|_| issuer == hallmark_policy::hex(key.spki()))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_log_has_the_crls_with_the_largest_numbers_whatever_their_dates_and_nothing_else() {
    let world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    tokio::task::block_in_place(|| back_up(&world, &ledger, "old")).unwrap();
    ledger.record(Event::Heartbeat, world.at()).await.unwrap();
    ledger.stop();
    let (own, mirror) = (world.config.publish.join("crl/mesh"), world.directory.path().join("mirror/crl/mesh"));
    let (root, epoch, stranger) = (&mesh.root.key, &mesh.issuer.key, world::key(9));
    let write = |place: &PathBuf, name: &str, crl: String, age_secs: u64| {
        fs::create_dir_all(place).unwrap();
        let file = fs::File::create(place.join(name)).unwrap();
        fs::write(place.join(name), crl).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age_secs)).unwrap();
    };
    // The mirror was fetched just now and is behind; or is ahead, with older dates.
    write(&own, "root.crl", crl(root, 12), 1_000);
    write(&mirror, "root.crl", crl(root, 9), 0);
    write(&own, "epoch-1.crl", crl(epoch, 3), 0);
    write(&mirror, "epoch-1.crl", crl(epoch, 4), 1_000);
    // An epoch that came after the backup.
    write(&own, "epoch-2.crl", crl(&stranger, 1), 1_000);
    write(&mirror, "epoch-2.crl", crl(&stranger, 7), 0);
    write(&mirror, "index.html", "not a CRL".to_owned(), 0);
    std::os::unix::fs::symlink(&world.config.database, mirror.join("epoch-3.crl")).unwrap();
    write(&mirror, "epoch-1-1.crl", "truncat".to_owned(), 0);
    fs::copy(checkpoint(&world), world.directory.path().join("mirror/checkpoint")).unwrap();
    let seen = || RestoreWish { seen: vec![world.directory.path().join("mirror")], ..carried_on(&world, "old") };
    let restoring = || Ledger::restore(&world.config, seen(), &crl_number);
    let before = fs::read(&world.config.database).unwrap();
    let error = restoring().unwrap_err();
    assert!(matches!(&error, RestoreError::Crl { path } if path.ends_with("epoch-1-1.crl")), "{error}");
    assert_eq!(fs::read(&world.config.database).unwrap(), before, "nothing was changed");
    assert!(!world.directory.path().join("log-restored").exists());
    write(&mirror, "epoch-1-1.crl", crl(epoch, 2), 0);
    restoring().unwrap();
    let there = contents(&world.directory.path().join("log-restored/crl"));
    let there: Vec<_> = there.into_iter().map(|(name, crl)| (name, String::from_utf8(crl).unwrap())).collect();
    let expected = [
        ("mesh/epoch-1-1.crl", crl(epoch, 2)),
        ("mesh/epoch-1.crl", crl(epoch, 4)),
        ("mesh/epoch-2.crl", crl(&stranger, 1)),
        ("mesh/root.crl", crl(root, 12)),
    ];
    assert_eq!(there, expected.map(|(name, crl)| (name.to_owned(), crl)));
}
