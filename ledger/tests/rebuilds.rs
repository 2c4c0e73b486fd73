//! The published directory is derived: the database alone gives it again, to the byte. What could show that the database is an
//! older one is missed where it was before, and who signs stands in the log.

#[cfg(test)]
mod world;

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::Write as _,
    path::Path,
};

use hallmark_entry::{Summary, privacy::Private};
use hallmark_ledger::{Acceptance, Event, Ledger, LogKeys, OpenError, RebuildError, Rebuilt};
use hallmark_tlog::note::SignerKey;
use world::{World, contents, log_key};

/// A log of more than one bundle, with private values, a policy and CRLs beside it; its directory as it was published.
#[cfg(test)]
async fn published() -> (World, BTreeMap<String, Vec<u8>>) {
    let mut world = World::new();
    world.config.private = Private::new(["sentence"]).unwrap();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    for number in 0..300 {
        let failed = Event::SigningFailed { log_index: 1, code: "SLOW".to_owned(), sentence: format!("try {number}") };
        ledger.record(failed, world.at()).await.unwrap();
    }
    world.sign(&ledger, world.leaf(&mesh, "id", 1)).await;
    ledger.stop();
    fs::create_dir_all(world.config.publish.join("crl/mesh")).unwrap();
    fs::write(world.config.publish.join("crl/mesh/epoch-1.crl"), b"\x30\x00").unwrap();
    // What is left of the size before leaves with the first rebuild.
    let first = contents(&world.config.publish);
    rebuild(&world).unwrap();
    let published = contents(&world.config.publish);
    for path in first.keys().filter(|path| !published.contains_key(*path)) {
        assert!(path.contains(".p/"), "`{path}` is no partial file of an earlier size");
    }
    assert!(first.iter().all(|(path, content)| published.get(path).is_none_or(|again| again == content)));
    for path in ["checkpoint", "tile/0/000", "tile/1/000.p/1", "tile/entries/000", "openings/000"] {
        assert!(published.contains_key(path), "`{path}`");
    }
    (world, published)
}

#[cfg(test)]
fn rebuild(world: &World) -> Result<Rebuilt, RebuildError> {
    Ledger::rebuild(&world.config, log_key())
}

#[tokio::test]
async fn what_is_right_is_left_alone() {
    let (world, published) = published().await;
    let rebuilt = rebuild(&world).unwrap();
    let files = published.len() as u64 - 1;
    assert_eq!(
        (rebuilt.right, rebuilt.written, rebuilt.removed),
        (files, 0, 0),
        "all but the CRL, which is not the log's"
    );
    assert_eq!(contents(&world.config.publish), published);
}

#[tokio::test]
async fn damaged_pruned_and_strange_files_are_made_good_to_the_byte() {
    let (world, published) = published().await;
    let place = |name: &str| world.config.publish.join(name);
    for (name, content) in published.iter().filter(|(name, _)| *name != "checkpoint" && !name.starts_with("crl")) {
        let mut damaged = content.clone();
        damaged[content.len() / 2] ^= 1;
        fs::write(place(name), damaged).unwrap();
        let rebuilt = rebuild(&world).unwrap();
        assert_eq!((rebuilt.written, rebuilt.removed), (1, 0), "`{name}`");
        assert_eq!(contents(&world.config.publish), published, "`{name}`");
    }
    fs::remove_file(place("tile/entries/000")).unwrap();
    fs::remove_dir_all(place("tile/1")).unwrap();
    fs::remove_dir_all(place("policies")).unwrap();
    OpenOptions::new().append(true).open(place("tile/0/000")).unwrap().write_all(b"more").unwrap();
    for strange in ["tile/entries/009", "tile/0/001.p/3", "tile/0/001.tmp", "openings/007.p/1", "tile/notes"] {
        fs::create_dir_all(place(strange).parent().unwrap()).unwrap();
        fs::write(place(strange), "strange").unwrap();
    }
    let rebuilt = rebuild(&world).unwrap();
    assert_eq!((rebuilt.written, rebuilt.removed), (4, 5));
    assert_eq!(contents(&world.config.publish), published);
    world.open().stop();
    assert!(world.audit().is_clean(), "and the ledger goes on from it");
}

#[tokio::test]
async fn a_directory_that_was_deleted_comes_back_by_an_operator_s_word_which_the_next_start_logs() {
    let (mut world, mut published) = published().await;
    fs::remove_dir_all(&world.config.publish).unwrap();
    let error = rebuild(&world).unwrap_err();
    assert!(matches!(error, RebuildError::Open(OpenError::CheckpointMissing { .. })), "{error}");
    world.config.accept_missing_checkpoint = true;
    rebuild(&world).unwrap();
    published.retain(|path, _| !path.starts_with("crl"));
    assert_eq!(contents(&world.config.publish), published);
    world.config.accept_missing_checkpoint = false;
    let opened = world.try_open().unwrap();
    assert!(opened.recovery.unlogged.has(Acceptance::MissingCheckpoint));
    let accepted = Event::OperatorCommand { command: "accept-missing-checkpoint".to_owned() };
    opened.ledger.record(accepted, world.at()).await.unwrap();
    opened.ledger.stop();
    assert!(
        !world.try_open().unwrap().recovery.unlogged.has(Acceptance::MissingCheckpoint),
        "it stands in the log now"
    );
}

#[tokio::test]
async fn a_database_that_is_not_what_was_signed_takes_no_file_away() {
    let damages = [
        (
            "UPDATE entry SET bytes = CAST(replace(bytes, 'heartbeat', 'heartbeet') || ' ' AS BLOB) WHERE log_index = 7",
            "entry 7",
        ),
        ("UPDATE entry SET leaf = zeroblob(32) WHERE log_index = 9", "entry 9 in the database is not what was signed"),
        (
            "UPDATE node SET hash = zeroblob(32) WHERE level = 1 AND node_index = 0",
            "is damaged: its nodes give the root",
        ),
    ];
    for (sql, what) in damages {
        let (world, mut published) = published().await;
        let database = rusqlite::Connection::open(&world.config.database).unwrap();
        assert_eq!(database.execute(sql, []).unwrap(), 1);
        drop(database);
        fs::remove_file(world.config.publish.join("tile/0/000")).unwrap();
        published.remove("tile/0/000");
        let error = rebuild(&world).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
        assert!(contents(&world.config.publish) == published, "nothing was written: {error}");
    }
}

#[tokio::test]
async fn what_was_accepted_is_remembered_until_it_is_logged_whatever_ends_the_start_that_accepted_it() {
    let (mut world, _) = published().await;
    world.config.anchor = Some(world.directory.path().join("anchor"));
    world.open().stop();
    fs::remove_file(world.directory.path().join("anchor")).unwrap();
    fs::remove_dir_all(&world.config.publish).unwrap();
    (world.config.accept_missing_checkpoint, world.config.accept_missing_anchor) = (true, true);
    world.open().stop();
    (world.config.accept_missing_checkpoint, world.config.accept_missing_anchor) = (false, false);
    for accepted in Acceptance::ALL {
        let opened = world.try_open().unwrap();
        assert!(opened.recovery.unlogged.has(accepted));
        opened.ledger.stop();
        let opened = world.try_open().unwrap();
        assert!(opened.recovery.unlogged.has(accepted), "no entry says so");
        let command = Event::OperatorCommand { command: accepted.command().to_owned() };
        opened.ledger.record(command, world.at()).await.unwrap();
        opened.ledger.stop();
        assert!(!world.try_open().unwrap().recovery.unlogged.has(accepted));
    }
}

#[tokio::test]
async fn nothing_is_rebuilt_beside_a_daemon_or_from_an_older_database() {
    let (world, _) = published().await;
    let ledger = world.open();
    let error = rebuild(&world).unwrap_err().to_string();
    assert!(error.contains("another daemon has the database") && error.contains("hint: stop it first"), "{error}");
    ledger.stop();
    let older = fs::read(&world.config.database).unwrap();
    world.begin().await.stop();
    let newer = contents(&world.config.publish);
    fs::write(&world.config.database, older).unwrap();
    let error = rebuild(&world).unwrap_err();
    assert!(matches!(error, RebuildError::Open(OpenError::Restored { .. })), "{error}");
    assert_eq!(contents(&world.config.publish), newer);
    fs::remove_file(&world.config.database).unwrap();
    assert!(rebuild(&world).is_err());
    assert!(!world.config.database.exists(), "no database is made");
}

#[tokio::test]
async fn an_anchor_that_was_written_once_is_missed_until_an_operator_accepts_it() {
    let mut world = World::new();
    world.begin().await.stop();
    let anchor = world.directory.path().join("other-volume");
    fs::create_dir(&anchor).unwrap();
    world.config.anchor = Some(anchor.join("checkpoint"));
    world.begin().await.stop();
    assert!(anchor.join("checkpoint").exists(), "the first start with an anchor writes it");
    world.open().stop();
    fs::remove_file(anchor.join("checkpoint")).unwrap();
    let error = world.try_open().unwrap_err();
    assert!(matches!(error, OpenError::AnchorMissing { .. }), "{error}");
    let sentence = error.to_string();
    assert!(sentence.contains("other-volume/checkpoint") && sentence.contains("--accept-missing-anchor"), "{sentence}");
    world.config.accept_missing_anchor = true;
    world.begin().await.stop();
    world.config.accept_missing_anchor = false;
    world.begin().await.stop();
    assert_eq!(fs::read(anchor.join("checkpoint")).unwrap(), contents(&world.config.publish)["checkpoint"]);
}

#[cfg(test)]
fn key(seed: u8) -> SignerKey {
    SignerKey::generate("example.com/log", [seed; 32]).unwrap()
}

/// The keys in the `log-key` entries of a log: those that sign, those that came, those that went.
#[cfg(test)]
fn said_of_keys(database: &Path) -> Vec<serde_json::Value> {
    let connection = rusqlite::Connection::open(database).unwrap();
    let mut entries = connection.prepare("SELECT bytes FROM entry ORDER BY log_index").unwrap();
    let entries = entries.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap().map(Result::unwrap);
    let entries = entries.filter(|entry| Summary::parse(entry).unwrap().kind == "log-key");
    entries.map(|entry| serde_json::from_slice(&entry).unwrap()).collect()
}

#[tokio::test]
async fn keys_that_come_and_go_stand_in_the_log_before_they_sign() {
    let world = World::new();
    world.open().stop();
    let start = async |keys: LogKeys| {
        let opened = Ledger::open(world.config.clone(), keys).unwrap();
        let change = opened.key_change.clone();
        if let Some(change) = opened.key_change {
            opened.ledger.record(Event::LogKeys { change, by: "start".to_owned() }, world.at()).await.unwrap();
        }
        opened.ledger.record(Event::Stop, world.at()).await.unwrap();
        opened.ledger.stop();
        change
    };
    assert_eq!(start(key(42).into()).await, None, "the first key is the log's from its beginning");
    let before = contents(&world.config.publish);
    let both = || LogKeys::with_previous(key(43), key(42));
    let opened = Ledger::open(world.config.clone(), both()).unwrap();
    assert!(opened.key_change.is_some());
    opened.ledger.stop();
    assert_eq!(contents(&world.config.publish), before, "nothing is signed by other keys before the log says so");
    assert!(matches!(Ledger::rebuild(&world.config, both()), Err(RebuildError::KeysChanged)));
    assert!(start(both()).await.is_some());
    assert_eq!(start(both()).await, None);
    assert!(start(key(43).into()).await.is_some());
    assert_eq!(start(key(43).into()).await, None);
    let vkey = |seed: u8| key(seed).verifier().to_string();
    let said = said_of_keys(&world.config.database);
    let keys = |entry: &serde_json::Value, key: &str| {
        let listed = entry[key].as_array().cloned().unwrap_or_default();
        listed.iter().map(|key| key.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(said.len(), 2);
    assert_eq!((keys(&said[0], "keys"), keys(&said[0], "added")), (vec![vkey(43), vkey(42)], vec![vkey(43)]));
    assert_eq!((keys(&said[1], "keys"), keys(&said[1], "removed")), (vec![vkey(43)], vec![vkey(42)]));
    assert_eq!(keys(&said[0], "removed"), Vec::<String>::new());
}

#[tokio::test]
async fn a_log_has_one_name() {
    let world = World::new();
    world.begin().await.stop();
    fs::remove_dir_all(&world.config.publish).unwrap();
    let other = SignerKey::generate("example.org/log", [43; 32]).unwrap();
    let error = Ledger::open(world.config.clone(), other).unwrap_err();
    assert!(matches!(error, OpenError::OtherOrigin { .. }), "{error}");
    assert!(error.to_string().contains("hallmarkd log roll"), "{error}");
}
