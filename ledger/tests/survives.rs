//! What is left after a crash, a full disk, a restored copy, a second daemon.

#[cfg(test)]
mod world;

use std::{
    fs,
    future::Future as _,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    sync::Arc,
    task::{Context, Wake, Waker},
};

use hallmark_entry::Summary;
use hallmark_ledger::{Event, Found, Issued, Ledger, LedgerError, OpenError, Room, UnixMillis};
use hallmark_policy::{Facts, Reason, ReasonCode, Refusal, time::Span};
use world::{Mesh, NOW_SECS, World, check_receipt, committed, copy, refused};

#[tokio::test]
async fn a_committed_request_is_handed_out_again_after_a_crash_and_logged_first() {
    let before = World::new();
    let ledger = before.begin().await;
    let mesh = before.found(&ledger).await;
    let leaf = before.leaf(&mesh, "a", 1);
    let request = leaf.conditions().request.clone();
    let (first, _) = committed(ledger.issue(leaf, before.at()).await.unwrap());

    let world = before.crashed();
    let opened = world.try_open().unwrap();
    assert_eq!((opened.recovery.unclean, opened.recovery.pending), (true, 1));
    assert_eq!(opened.recovery.entries, first.log_index() + 1);
    let ledger = opened.ledger;
    world.load_policy(&ledger).await;
    assert_eq!(ledger.find(&request), Ok(Found::Unsigned));
    let (again, logged) = committed(ledger.resume(&request, world.at()).await.unwrap());
    assert_eq!(again.to_be_signed(), first.to_be_signed());
    assert_eq!((again.log_index(), again.issuer()), (first.log_index(), first.issuer()));
    let summary = Summary::parse(&logged.entry).unwrap();
    assert_eq!((summary.kind.as_str(), summary.result.as_deref()), ("outcome", Some("signing-again")));
    assert_eq!(summary.decision_index, Some(first.log_index()));
    check_receipt(logged).await;
    ledger.keep_signature(first.log_index(), vec![5; 64]).await.unwrap();
    assert!(matches!(ledger.resume(&request, world.at()).await, Ok(Issued::Answered(_))));
}

#[tokio::test]
async fn an_unsigned_request_is_void_once_its_epoch_is_retired() {
    let world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let leaf = world.leaf(&mesh, "a", 1);
    let request = leaf.conditions().request.clone();
    let (first, _) = committed(ledger.issue(leaf, world.at()).await.unwrap());
    let next = world.rotate(&ledger, &mesh.root, 2, mesh.issuer.epoch.transition).await;
    let Issued::Refused { reasons, logged } = ledger.resume(&request, world.at()).await.unwrap() else {
        panic!("handed out");
    };
    assert_eq!(reasons[0].code, ReasonCode::RequestVoid);
    assert_eq!(Summary::parse(&logged.entry).unwrap().kind, "void");
    assert_eq!(ledger.find(&request), Ok(Found::Void));
    let late = ledger.keep_signature(first.log_index(), vec![1; 64]).await;
    assert!(matches!(late, Err(LedgerError::Condition { .. })), "{late:?}");
    assert_eq!(refused(ledger.resume(&request, world.at()).await.unwrap()), ["REQUEST_VOID"]);
    let again = ledger.issue(world.leaf(&next, "a", 1), world.at()).await.unwrap();
    assert_eq!(refused(again), ["REQUEST_VOID"]);
}

#[tokio::test]
async fn an_unsigned_request_is_void_once_its_end_has_passed() {
    let world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let leaf = world.leaf(&mesh, "a", 1);
    let request = leaf.conditions().request.clone();
    let end = UnixMillis(leaf.conditions().not_after.secs() * 1_000);
    committed(ledger.issue(leaf, world.at()).await.unwrap());
    committed(ledger.resume(&request, UnixMillis(end.0 - 1)).await.unwrap());
    assert_eq!(refused(ledger.resume(&request, end).await.unwrap()), ["REQUEST_VOID"]);
}

#[tokio::test]
async fn what_was_never_committed_cannot_be_resumed() {
    let world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let mut request = world.leaf(&mesh, "a", 1).conditions().request.clone();
    assert!(matches!(ledger.resume(&request, world.at()).await, Err(LedgerError::UnknownRequest)));
    committed(ledger.issue(world.leaf(&mesh, "a", 1), world.at()).await.unwrap());
    request.content_sha256 = [0; 32];
    assert_eq!(refused(ledger.resume(&request, world.at()).await.unwrap()), ["REQUEST_ID_REUSED"]);
}

#[tokio::test]
async fn a_clean_stop_is_told_from_a_crash() {
    let world = World::new();
    let ledger = world.begin().await;
    ledger.record(Event::Stop, world.at()).await.unwrap();
    let head = ledger.head();
    ledger.stop();
    assert!(matches!(ledger.record(Event::Heartbeat, world.at()).await, Err(LedgerError::Stopped)));
    assert!(matches!(ledger.authorities(), Err(LedgerError::Stopped)));
    let opened = world.try_open().unwrap();
    assert!(!opened.recovery.unclean);
    assert_eq!((opened.recovery.entries, opened.recovery.last_entry_at), (2, head.last_entry_at));
    assert_eq!(opened.ledger.head(), head);
}

#[tokio::test]
async fn the_second_daemon_on_a_database_says_so() {
    let world = World::new();
    let ledger = world.open();
    let second = world.try_open().unwrap_err();
    assert!(matches!(second, OpenError::InUse { .. }), "{second}");
    assert!(second.to_string().starts_with("another daemon has the database `"), "{second}");
    drop(ledger);
    world.open();
}

#[tokio::test]
async fn only_its_user_reads_the_database() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new();
    let _ledger = world.begin().await;
    for file in ["ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db.lock"] {
        let mode = fs::metadata(world.directory.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[tokio::test]
async fn a_full_database_refuses_cleanly_and_recovers() {
    let mut world = World::new();
    world.config.pages_max = Some(300);
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let mut committed_count = 0_u64;
    let full = loop {
        let number = committed_count + 1;
        match ledger.issue(world.leaf(&mesh, &format!("id-{number}"), number), world.at()).await {
            Ok(issued) => drop(committed(issued)),
            Err(error) => break error,
        }
        committed_count = number;
    };
    assert_eq!(full, LedgerError::Full);
    let refused = ledger.record(Event::Heartbeat, world.at()).await;
    assert_eq!((refused.unwrap_err(), ledger.room()), (LedgerError::Full, Room::Last));
    let command = Event::OperatorCommand { command: "accept-clock".to_owned() };
    for _ in 0..100 {
        ledger.record(command.clone(), world.at()).await.expect("what operators do has room to the last");
    }
    ledger.record(Event::Stop, world.at()).await.unwrap();
    let head = ledger.head();
    let refused_id = world.leaf(&mesh, &format!("id-{}", committed_count + 1), committed_count + 1);
    assert_eq!(ledger.find(&refused_id.conditions().request), Ok(Found::New));
    ledger.stop();

    world.config.pages_max = None;
    let ledger = world.begin().await;
    assert_eq!(ledger.head().size, head.size + 1, "nothing of what was refused is there");
    committed(ledger.issue(refused_id, world.at()).await.unwrap());
    ledger.stop();
    let report = world.audit();
    assert!(report.is_clean(), "{:?}", report.findings);
}

/// How often an answer may be there at once.
const TRIES: usize = 100;

/// Wakes nobody: it panics on whose thread it is called, which is the writer's.
struct PanicsWhenWoken;

impl Wake for PanicsWhenWoken {
    #[expect(clippy::panic, reason = "it stands for a defect of the writer")]
    fn wake(self: Arc<Self>) {
        panic!("woken");
    }
}

#[tokio::test]
async fn a_panic_of_the_writer_ends_the_ledger_and_says_so() {
    let world = World::new();
    let ledger = world.open();
    let waker = Waker::from(Arc::new(PanicsWhenWoken));
    // An answer that is there before anybody waits for it wakes nobody.
    let mut tries = (0..TRIES).map(|_| Box::pin(ledger.record(Event::Heartbeat, world.at())));
    let waiting = tries
        .find_map(|mut answer| answer.as_mut().poll(&mut Context::from_waker(&waker)).is_pending().then_some(answer));
    assert!(waiting.is_some(), "all answers were there at once");
    // Whatever comes now is answered once the writer is gone, or finds it gone.
    let after = ledger.record(Event::Heartbeat, world.at()).await.unwrap_err();
    assert!(matches!(&after, LedgerError::Poisoned { cause } if cause.contains("panic")), "{after}");
    assert!(after.to_string().starts_with("the ledger stopped because its writer ended in a panic"), "{after}");
    ledger.stop();
    assert!(world.try_open().unwrap().recovery.unclean);
}

#[tokio::test]
async fn a_restored_older_database_is_refused() {
    let world = World::new();
    let ledger = world.begin().await;
    ledger.stop();
    let backup = fs::read(&world.config.database).unwrap();
    let ledger = world.begin().await;
    ledger.record(Event::Heartbeat, world.at()).await.unwrap();
    ledger.stop();
    fs::write(&world.config.database, backup).unwrap();
    let error = world.try_open().unwrap_err();
    assert!(matches!(error, OpenError::Restored { .. }), "{error}");
    assert!(error.to_string().contains("3 entries were published, and the database has 1"), "{error}");
}

#[tokio::test]
async fn a_database_whose_published_checkpoint_is_gone_is_refused_until_somebody_accepts_it() {
    let mut world = World::new();
    world.begin().await.stop();
    let backup = fs::read(&world.config.database).unwrap();
    world.begin().await.stop();
    for restored in [false, true] {
        if restored {
            fs::write(&world.config.database, &backup).unwrap();
        }
        let _ = fs::remove_dir_all(&world.config.publish);
        let error = world.try_open().unwrap_err();
        assert!(matches!(error, OpenError::CheckpointMissing { published: 1.., .. }), "{error}");
        assert!(error.to_string().contains("hint: bring the directory back"), "{error}");
    }
    world.config.accept_missing_checkpoint = true;
    world.open().stop();
    world.config.accept_missing_checkpoint = false;
    world.open().stop();
    assert_eq!(world.audit().size, 1);
}

#[tokio::test]
async fn a_publication_is_remembered_also_by_a_daemon_that_is_killed_before_its_next_entry() {
    let world = World::new();
    let ledger = world.begin().await;
    let recorded = || {
        let connection = rusqlite::Connection::open(&world.config.database).unwrap();
        connection.query_row("SELECT published FROM head", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    let since = std::time::Instant::now();
    while recorded() == 0 {
        assert!(since.elapsed().as_secs() < 60, "it is never written down");
        std::thread::yield_now();
    }
    assert!(world.config.publish.join("checkpoint").exists());
    assert_eq!(ledger.head().size, 1);
}

#[tokio::test]
async fn a_ledger_has_a_name_of_its_own_for_ever() {
    let (world, other) = (World::new(), World::new());
    let ledger = world.open();
    let name = ledger.id();
    ledger.stop();
    assert_eq!(world.open().id(), name);
    assert_ne!(other.open().id(), name);
}

#[tokio::test]
async fn a_restored_database_that_went_another_way_is_refused() {
    let world = World::new();
    let ledger = world.begin().await;
    ledger.stop();
    let other = World::new();
    copy(world.directory.path(), other.directory.path());
    for (world, command) in [(&world, "one way"), (&other, "another way")] {
        let ledger = world.open();
        ledger.record(Event::OperatorCommand { command: command.to_owned() }, world.at()).await.unwrap();
        ledger.stop();
    }
    fs::copy(&other.config.database, &world.config.database).unwrap();
    let error = world.try_open().unwrap_err();
    assert!(error.to_string().contains("the first 2 entries are others"), "{error}");
}

#[tokio::test]
async fn a_start_waits_for_a_process_that_is_being_ended() {
    let world = World::new();
    let ending = world.open();
    let ended = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        ending.stop();
    });
    world.open().stop();
    ended.join().unwrap();
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_refused() {
    let world = World::new();
    world.open().stop();
    set_schema_version(&world, 15);
    assert!(matches!(world.try_open(), Err(OpenError::Newer { found: 15, known: 14, .. })));
}

#[tokio::test]
async fn a_database_of_a_much_older_program_is_refused() {
    let world = World::new();
    world.open().stop();
    set_schema_version(&world, 8);
    assert!(matches!(world.try_open(), Err(OpenError::Older { found: 8, known: 14, .. })));
}

/// What the versions since added is taken away again.
#[tokio::test]
async fn a_database_of_an_older_program_is_brought_up_to_date_and_keeps_what_it_has() {
    const SINCE_11: &str = "DROP TABLE found_new; DROP TABLE signed; ALTER TABLE serial ADD COLUMN signed_sha256 BLOB; \
                            DROP INDEX serial_end; CREATE INDEX serial_end ON serial (not_after)";
    const SINCE_12: &str = "DROP INDEX instance_service; ALTER TABLE instance DROP COLUMN counted_until; ALTER TABLE serial DROP COLUMN asked; \
                            CREATE INDEX instance_service ON instance (authority, provider, service, not_after); \
                            DROP INDEX same_request_at; ALTER TABLE same_request DROP COLUMN at; DROP TABLE found_stretch";
    const SINCE_10: &str = "ALTER TABLE serial DROP COLUMN signed_sha256";
    const SINCE_9: &str = "ALTER TABLE authority DROP COLUMN frozen_index; DROP TABLE later_key";
    const SINCE: [(i64, &str); 4] = [(12, SINCE_12), (11, SINCE_11), (10, SINCE_10), (9, SINCE_9)];
    for (version, _) in SINCE {
        let world = World::new();
        let ledger = world.begin().await;
        let head = ledger.head();
        ledger.stop();
        let connection = rusqlite::Connection::open(&world.config.database).unwrap();
        for (_, added) in SINCE.iter().filter(|(before, _)| *before >= version) {
            connection.execute_batch(added).unwrap();
        }
        let sql = "INSERT INTO issuer (id, spki_sha256, issued) VALUES (78, x'01', 1); \
                   INSERT INTO instance (id, authority, provider, name, service, registered_at, moved_at, not_after, issuer, serial, \
                   spki_sha256, log_index, current_group) VALUES (1, 'a', 'p', 'n', 's', 0, 0, 10485759, 78, x'01', x'02', 1, 1)";
        connection.execute_batch(sql).unwrap();
        let sql = "INSERT INTO same_request (authority, caller, id, content, log_index) VALUES ('a', 'c', 'x', x'', 1); \
                   INSERT INTO found_by (stretch, digest, log_index) VALUES (0, 1, 1), (0, 2, 1), (3, 1, 196608), (9, 1, 589824); \
                   INSERT INTO serial (issuer, serial, not_after, log_index) \
                   VALUES (78, x'01', 5, 196608), (78, x'02', 7, 196609), (78, x'03', 6, 196610), (78, x'04', 8, 655360)";
        connection.execute_batch(sql).unwrap();
        if version == 12 {
            connection.execute("INSERT INTO found_new VALUES (655361, x'ff00000000000007')", []).unwrap();
        }
        if version == 11 {
            let sql = "INSERT INTO issuer (id, spki_sha256, issued) VALUES (77, x'00', 1); \
                       INSERT INTO serial (issuer, serial, not_after, log_index, signed_sha256) \
                       VALUES (77, x'01', 0, 79, x'03'), (77, x'02', 0, 78, x'02'), (77, x'03', 0, 80, NULL)";
            connection.execute_batch(sql).unwrap();
        }
        drop(connection);
        set_schema_version(&world, version);
        let opened = world.open();
        assert_eq!(opened.head(), head);
        assert!(opened.frozen("a").unwrap().is_none(), "the new column is read");
        opened.stop();
        let fresh = World::new();
        fresh.open().stop();
        assert_eq!(columns(&world), columns(&fresh), "as in a new one");
        let connection = rusqlite::Connection::open(&world.config.database).unwrap();
        let counted: i64 = connection.query_row("SELECT counted_until FROM instance", [], |row| row.get(0)).unwrap();
        assert_eq!(counted, 10_485_759, "who is alive is found as before");
        let sql = "SELECT (SELECT at FROM same_request) = (SELECT at FROM head)";
        let is_now: bool = connection.query_row(sql, [], |row| row.get(0)).unwrap();
        assert!(is_now, "an id that was bound begins its retention");
        let sql = "SELECT group_concat(stretch || ' ' || latest_end) FROM found_stretch";
        let ends: String = connection.query_row(sql, [], |row| row.get(0)).unwrap();
        assert_eq!(ends, "0 0,3 7,9 0,10 8", "what no serial number is left of can be forgotten, and nothing else");
        let sql = "SELECT group_concat(log_index || ' ' || hex(digests)) FROM found_new";
        let new: Option<String> = connection.query_row(sql, [], |row| row.get(0)).unwrap();
        let written = "655361 FF0000000000000700000000000A0001";
        assert_eq!(new.as_deref(), (version == 12).then_some(written), "what is new is found as before");
        let sql = "SELECT group_concat(log_index || ' ' || hex(sha256)) FROM signed";
        let kept: Option<String> = connection.query_row(sql, [], |row| row.get(0)).unwrap();
        assert_eq!(kept.as_deref(), (version == 11).then_some("78 02,79 03"), "what was signed is known as before");
    }
}

/// Of the stretches of schema 13, those that may get more join the one before; the others stay what they are.
#[tokio::test]
async fn what_certificates_are_found_by_is_in_larger_stretches_from_where_an_older_database_ended() {
    // One of its digests was sorted in already.
    let new = "INSERT INTO found_new VALUES (350000, x'0000000000000001ff00000000000002'); \
               INSERT INTO found_by (stretch, digest, log_index) VALUES (5, 1, 350000)";
    let written = "00000000000000010000000000055730FF000000000000020000000000055730";
    for (new, ends, sorted, written) in [
        ("", "2 5,3 7,4 1,5 9,6 3", "2 131072,3 196608,4 262144,5 327680,6 458752", ""),
        (new, "2 5,3 7,4 9,6 3", "2 131072,3 196608,4 262144,4 327680,4 350000,6 458752", written),
    ] {
        let world = World::new();
        world.open().stop();
        let connection = rusqlite::Connection::open(&world.config.database).unwrap();
        let sql = "INSERT INTO found_stretch VALUES (2, 5), (3, 7), (4, 1), (5, 9), (7, 3); \
                   INSERT INTO found_by (stretch, digest, log_index) SELECT stretch, 1, stretch << 16 FROM found_stretch;";
        connection.execute_batch(&format!("{sql}{new}")).unwrap();
        drop(connection);
        set_schema_version(&world, 13);
        world.open().stop();
        let connection = rusqlite::Connection::open(&world.config.database).unwrap();
        let said = |sql: &str| connection.query_row::<String, _, _>(sql, [], |row| row.get(0)).unwrap();
        let in_order = |said: &str, from: &str| {
            format!("SELECT group_concat(said) FROM (SELECT {said} AS said FROM {from} ORDER BY stretch, {said})")
        };
        assert_eq!(said(&in_order("stretch || ' ' || latest_end", "found_stretch")), ends);
        assert_eq!(said(&in_order("stretch || ' ' || log_index", "found_by")), sorted);
        assert_eq!(said("SELECT coalesce(group_concat(hex(digests)), '') FROM found_new"), written);
    }
}

/// The version of the tables, all their columns, and their indexes.
#[cfg(test)]
fn columns(world: &World) -> (i64, String) {
    let connection = rusqlite::Connection::open(&world.config.database).expect("it opens");
    let sql = "SELECT group_concat(said) FROM (SELECT m.name || '.' || c.name || ' ' || c.type || c.\"notnull\" || c.pk AS said \
               FROM sqlite_schema m, pragma_table_info(m.name) c WHERE m.type = 'table' \
               UNION ALL SELECT sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL ORDER BY said)";
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0)).expect("it has one");
    (version, connection.query_row(sql, [], |row| row.get(0)).expect("it has columns"))
}

#[cfg(test)]
fn set_schema_version(world: &World, version: i64) {
    let connection = rusqlite::Connection::open(&world.config.database).expect("it opens");
    connection.pragma_update(None, "user_version", version).expect("it is set");
}

#[tokio::test]
async fn a_changed_entry_hash_stops_the_start() {
    let world = World::new();
    let ledger = world.begin().await;
    ledger.stop();
    let connection = rusqlite::Connection::open(&world.config.database).unwrap();
    connection.execute("UPDATE entry SET leaf = zeroblob(32)", []).unwrap();
    drop(connection);
    let error = world.try_open().unwrap_err();
    assert!(matches!(error, OpenError::Broken { .. }), "{error}");
}

#[tokio::test]
async fn old_leaf_requests_are_forgotten_and_their_serials_are_not() {
    let mut world = World::new();
    world.config.retention = Span::from_secs(60);
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let serial = world.serial();
    let first = world.leaf_with(&mesh, "a", 1, serial, world::now());
    let request = first.conditions().request.clone();
    let (first, _) = committed(ledger.issue(first, world.at()).await.unwrap());
    assert_eq!(ledger.find(&request), Ok(Found::Unsigned));

    forget(&world, &ledger, &mesh).await;
    assert_eq!(ledger.find(&request), Ok(Found::New));
    let late = ledger.keep_signature(first.log_index(), vec![1]).await;
    assert_eq!(late, Err(LedgerError::UnknownIndex { log_index: first.log_index() }));
    let same_serial = world.leaf_with(&mesh, "b", 2, serial, world::now());
    assert_eq!(refused(ledger.issue(same_serial, LATER).await.unwrap()), ["SERIAL_TAKEN"]);
    assert!(ledger.authority(world::AUTHORITY).unwrap().unwrap().root.is_some(), "CA certificates stay");
    check_receipt(ledger.receipt(first.log_index()).await.unwrap()).await;
}

#[tokio::test]
async fn what_is_forgotten_without_a_signature_is_void_in_the_log() {
    let mut world = World::new();
    world.config.retention = Span::from_secs(60);
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let signed = world.sign(&ledger, world.leaf(&mesh, "signed", 1)).await;
    let (pending, _) = committed(ledger.issue(world.leaf(&mesh, "pending", 2), world.at()).await.unwrap());
    forget(&world, &ledger, &mesh).await;
    let mut voids = Vec::new();
    for index in signed..ledger.head().size {
        let entry = ledger.receipt(index).await.unwrap().entry;
        let summary = Summary::parse(&entry).unwrap();
        if summary.kind == "void" {
            assert_eq!(summary.result.as_deref(), Some("forgotten"));
            assert!(summary.request_id.is_some_and(|id| id.is("pending")));
            voids.extend(summary.decision_index);
        }
    }
    assert_eq!(voids, [pending.log_index()]);
    ledger.stop();
    let report = world.audit();
    assert!(report.is_clean(), "{:?}", report.findings);
}

#[tokio::test]
async fn a_clock_that_nobody_vouches_for_makes_nothing_forgotten() {
    let mut world = World::new();
    world.config.retention = Span::from_secs(60);
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let request = world.leaf(&mesh, "a", 1).conditions().request.clone();
    world.sign(&ledger, world.leaf(&mesh, "a", 1)).await;
    let facts = Facts { caller: "coordinator".to_owned(), request_id: "b".to_owned(), ..Facts::default() };
    let reasons = vec![Reason::new(ReasonCode::ClockUntrusted, "clock", "the clock leapt")];
    let refusal = Refusal { reasons, facts, policy: world.policy.digest() };
    for _ in 0..20 {
        ledger.refuse(refusal.clone(), LATER).await.unwrap();
        ledger.record(Event::Heartbeat, LATER).await.unwrap();
    }
    assert!(matches!(ledger.find(&request), Ok(Found::Answered(_))), "refusals and heartbeats");
    ledger.record(Event::ClockDistrusted { sentence: "the clock leapt".to_owned() }, LATER).await.unwrap();
    forget(&world, &ledger, &mesh).await;
    assert!(matches!(ledger.find(&request), Ok(Found::Answered(_))), "a clock that is distrusted");
    ledger.record(Event::ClockAccepted, LATER).await.unwrap();
    forget(&world, &ledger, &mesh).await;
    assert_eq!(ledger.find(&request), Ok(Found::New), "a clock that was confirmed");
}

/// A moment after a retention of a minute.
const LATER: UnixMillis = UnixMillis((NOW_SECS + 3_600) * 1_000);

/// Time goes by, as the signer tells it with what it issues; long enough for all old rows to be looked at.
#[cfg(test)]
async fn forget(world: &World, ledger: &Ledger, mesh: &Mesh) {
    for number in 0..10 {
        let id = format!("later-{}-{number}", ledger.head().size);
        committed(ledger.issue(world.leaf(mesh, &id, 100 + number), LATER).await.unwrap());
    }
}

#[tokio::test]
async fn the_write_ahead_log_stays_bounded() {
    const WAL_BYTES_MAX: u64 = 64 * 1_048_576;
    let world = World::new();
    let ledger = world.open();
    let mut longest = 0;
    for number in 0..160 {
        let text = format!("{number}{}", "x".repeat(1_048_576));
        ledger
            .record(Event::PolicyLoaded { digest: world.policy.digest(), text, by: String::new() }, world.at())
            .await
            .unwrap();
        longest = longest.max(fs::metadata(world.directory.path().join("ledger.db-wal")).unwrap().len());
    }
    assert!(longest < WAL_BYTES_MAX, "{longest} bytes");
    ledger.stop();
    assert!(fs::metadata(world.directory.path().join("ledger.db-wal")).is_err(), "all of it is in the database");
    assert_eq!(world.open().head().size, 160);
}

/// Where the child of the test below keeps its ledger.
const CHILD_DIRECTORY: &str = "HALLMARK_LEDGER_CHILD_DIRECTORY";

/// How many acknowledged entries the parent waits for.
const ACKNOWLEDGED: usize = 200;

#[tokio::test]
async fn nothing_acknowledged_is_lost_by_kill_9() {
    let mut world = World::new();
    if let Some(directory) = std::env::var_os(CHILD_DIRECTORY) {
        world.config.database = std::path::Path::new(&directory).join("ledger.db");
        world.config.publish = std::path::Path::new(&directory).join("log");
        let ledger = world.begin().await;
        loop {
            let logged = ledger.record(Event::Heartbeat, world.at()).await.unwrap();
            println!("\nacknowledged {}", logged.index);
        }
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "nothing_acknowledged_is_lost_by_kill_9", "--nocapture"])
        .env(CHILD_DIRECTORY, world.directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let indexes = lines.filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<u64>().ok());
    let last = indexes.take(ACKNOWLEDGED).last().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let opened = world.try_open().unwrap();
    assert!(opened.recovery.unclean);
    assert!(opened.recovery.entries > last, "{} entries, {last} was acknowledged", opened.recovery.entries);
    opened.ledger.stop();
    let report = world.audit();
    assert!(report.is_clean(), "{:?}", report.findings);
    assert_eq!(report.size, opened.recovery.entries);
}
