//! A database that somebody else wrote to: nothing that the log does not say is handed out to be signed.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what fails in a test's helper fails the test"
)]

#[cfg(test)]
mod world;

use hallmark_entry::Summary;
use hallmark_ledger::{BroughtKey, CeremonyAction, CeremonyEvent, Event, Found, Issued, Ledger, LedgerError, Step};
use hallmark_policy::{
    ReasonCode, RequestIdentity,
    content::Serial,
    key::SignatureAlgorithm,
    offline::Brought,
    time::{Interval, UnixTime},
};
use rusqlite::Connection;
use world::{World, committed, key, refused};

/// Two leaves, committed and never signed, in a closed database.
struct Closed {
    world: World,
    requests: [RequestIdentity; 2],
    /// Index of the first leaf's decision; the second's follows.
    first: u64,
}

/// Entries on top, so that those before them are in a whole tile.
const WHOLE_TILE: usize = 256;

impl Closed {
    async fn new() -> Self {
        let world = World::new();
        let ledger = world.begin().await;
        let mesh = world.found(&ledger).await;
        let leaves = [world.leaf(&mesh, "a", 1), world.leaf(&mesh, "b", 2)];
        let requests = leaves.each_ref().map(|leaf| leaf.conditions().request.clone());
        let first = ledger.head().size;
        for leaf in leaves {
            committed(ledger.issue(leaf, world.at()).await.unwrap());
        }
        for _ in 0..WHOLE_TILE {
            ledger.record(Event::Heartbeat, world.at()).await.unwrap();
        }
        ledger.stop();
        Self { world, requests, first }
    }

    /// Writes to the database behind the ledger's back, and opens it again.
    async fn changed(&self, sql: &str) -> Ledger {
        changed(&self.world, sql).await
    }

    async fn assert_tampered(&self, ledger: &Ledger, request: &RequestIdentity, about: &str) {
        let issued = ledger.resume(request, self.world.at()).await.unwrap();
        let Issued::Refused { reasons, logged } = issued else { panic!("{about}: {issued:?}") };
        assert_eq!(reasons[0].code, ReasonCode::LedgerFailed, "{about}");
        let sentence = &reasons[0].sentence;
        assert!(sentence.contains("the database was changed behind the signer's back"), "{about}: {sentence}");
        let summary = Summary::parse(&logged.entry).unwrap();
        assert_eq!((summary.kind.as_str(), summary.result.as_deref()), ("void", Some("tampered")), "{about}");
        assert_eq!(ledger.find(request), Ok(Found::Void), "{about}");
        assert_eq!(refused(ledger.resume(request, self.world.at()).await.unwrap()), ["REQUEST_VOID"], "{about}");
    }
}

#[tokio::test]
async fn one_changed_byte_of_the_bytes_to_be_signed_is_never_signed() {
    let closed = Closed::new().await;
    let sql = "UPDATE request SET tbs = CAST(substr(tbs, 1, 40) || x'5a' || substr(tbs, 42) AS BLOB) WHERE id = 'a'";
    let ledger = closed.changed(sql).await;
    closed.assert_tampered(&ledger, &closed.requests[0], "tbs").await;
    committed(ledger.resume(&closed.requests[1], closed.world.at()).await.unwrap());
    ledger.stop();
    let report = closed.world.audit();
    assert!(report.is_clean(), "{:?}", report.findings);
}

#[tokio::test]
async fn bytes_that_were_decided_for_another_request_are_never_signed() {
    let closed = Closed::new().await;
    let sql = "CREATE TEMP TABLE swap AS SELECT id, tbs FROM request WHERE stage = 'leaf'; \
               UPDATE request SET tbs = (SELECT tbs FROM swap WHERE swap.id <> request.id) WHERE stage = 'leaf'";
    let ledger = closed.changed(sql).await;
    for request in &closed.requests {
        closed.assert_tampered(&ledger, request, "swapped").await;
    }
}

#[tokio::test]
async fn a_row_that_says_otherwise_than_its_entry_is_never_signed() {
    for set in ["serial = x'01'", "not_after = not_after + 1", "algorithm = 'ecdsa-sha256'", "log_index = 0"] {
        let closed = Closed::new().await;
        let sql = format!("PRAGMA foreign_keys = off; UPDATE request SET {set} WHERE id = 'a'");
        let ledger = closed.changed(&sql).await;
        closed.assert_tampered(&ledger, &closed.requests[0], set).await;
    }
}

#[tokio::test]
async fn a_request_that_was_given_another_name_is_never_signed() {
    let closed = Closed::new().await;
    let ledger = closed.changed("UPDATE request SET id = 'c' WHERE id = 'a'").await;
    let renamed = RequestIdentity { id: "c".to_owned(), ..closed.requests[0].clone() };
    closed.assert_tampered(&ledger, &renamed, "id").await;
}

#[tokio::test]
async fn a_changed_entry_never_lets_anything_be_signed() {
    let closed = Closed::new().await;
    let Closed { first, requests, .. } = &closed;
    let sql = format!("UPDATE entry SET bytes = CAST(bytes || ' ' AS BLOB) WHERE log_index = {first}");
    let ledger = closed.changed(&sql).await;
    closed.assert_tampered(&ledger, &requests[0], "entry").await;
}

#[tokio::test]
async fn an_entry_that_was_changed_with_its_hash_never_lets_anything_be_signed() {
    let closed = Closed::new().await;
    let Closed { first, requests, .. } = &closed;
    let sql = format!(
        "UPDATE entry SET (leaf, bytes) = (SELECT leaf, bytes FROM entry WHERE log_index = {first} + 1) \
         WHERE log_index = {first}"
    );
    let ledger = closed.changed(&sql).await;
    closed.assert_tampered(&ledger, &requests[0], "entry and hash").await;
}

/// Writes to the database of a stopped ledger, and opens it again.
async fn changed(world: &World, sql: &str) -> Ledger {
    let connection = Connection::open(&world.config.database).unwrap();
    connection.execute_batch(sql).unwrap();
    drop(connection);
    world.begin().await
}

/// A root that was made elsewhere, handed over by a ceremony or not.
fn brought(authority: &str, number: u64, by_ceremony: bool) -> Step {
    let named = authority.to_owned();
    let action = CeremonyAction::HandedOver {
        authority: named.clone(),
        transcript_sha256: [1; 32],
        origin: "ceremonies".to_owned(),
        size: 9,
        root: [2; 32],
    };
    let event = CeremonyEvent { ceremony: "root-2026".to_owned(), file_sha256: [3; 32], action };
    let key_here = BroughtKey { label: "the-root".to_owned(), reference: "pkcs11:id=01;object=the-root".to_owned() };
    let validity = Interval { not_before: UnixTime::from_secs(0), not_after: UnixTime::from_secs(i64::MAX / 2) };
    Step::RootBrought {
        authority: named,
        ceremony: by_ceremony.then(|| Box::new(event)),
        key: by_ceremony.then_some(key_here),
        owners: Vec::new(),
        spki: key(number).spki().to_vec(),
        brought: Box::new(Brought {
            to_be_signed: vec![7; 100],
            algorithm: SignatureAlgorithm::Ed25519,
            signature: vec![8; 64],
            serial: Serial::from_random(u128::from(number).to_be_bytes()),
            validity,
            key: key(number),
        }),
    }
}

#[tokio::test]
async fn a_root_is_handed_over_where_the_log_says_so_and_not_where_only_the_database_does() {
    let world = World::new();
    let ledger = world.begin().await;
    for step in [brought("of-ceremony", 7_000_001, true), brought("of-nobody", 7_000_002, false)] {
        ledger.advance(step, world.at()).await.unwrap();
    }
    let record = |ledger: &Ledger, name: &str| ledger.authority(name).unwrap().unwrap();
    for (name, wanted, offline) in [("of-ceremony", true, false), ("of-nobody", false, true)] {
        let record = record(&ledger, name);
        assert_eq!(ledger.is_handed_over(&record), Ok(wanted), "{name}");
        assert_eq!(ledger.prove_authority(&record), Ok(()), "{name}");
        assert_eq!(record.is_offline(), offline);
    }
    for _ in 0..WHOLE_TILE {
        ledger.record(Event::Heartbeat, world.at()).await.unwrap();
    }
    ledger.stop();
    let tampered = |result| assert!(matches!(result, Err(LedgerError::Tampered { .. })), "{result:?}");

    let other = "UPDATE authority SET intent_index = (SELECT intent_index FROM authority WHERE name = 'of-ceremony') \
                 WHERE name = 'of-nobody'";
    let ledger = changed(&world, other).await;
    assert_eq!(ledger.is_handed_over(&record(&ledger, "of-nobody")), Ok(false), "another authority's ceremony");
    tampered(ledger.prove_authority(&record(&ledger, "of-nobody")));
    ledger.stop();
    for set in ["label = 'another'", "reference = 'offline'", "spki = x'00'", "owners = zeroblob(32)"] {
        let before = "CREATE TABLE kept AS SELECT * FROM authority";
        let change = format!("{before}; UPDATE authority SET {set} WHERE name = 'of-ceremony'");
        let ledger = changed(&world, &change).await;
        tampered(ledger.prove_authority(&record(&ledger, "of-ceremony")));
        ledger.stop();
        let back = "UPDATE authority SET (label, reference, spki, owners) = \
                    (SELECT label, reference, spki, owners FROM kept WHERE kept.name = authority.name); DROP TABLE kept";
        changed(&world, back).await.stop();
    }
    let entry = "UPDATE entry SET bytes = CAST(bytes || ' ' AS BLOB) WHERE log_index = \
                 (SELECT intent_index - 1 FROM authority WHERE name = 'of-ceremony')";
    let ledger = changed(&world, entry).await;
    tampered(ledger.is_handed_over(&record(&ledger, "of-ceremony")).map(drop));
}

#[tokio::test]
async fn a_root_whose_key_another_has_is_not_taken_and_leaves_nothing() {
    let world = World::new();
    let ledger = world.begin().await;
    ledger.advance(brought("first", 7_000_001, true), world.at()).await.unwrap();
    let size = ledger.head().size;
    let refused = ledger.advance(brought("second", 7_000_001, true), world.at()).await;
    assert!(matches!(refused, Err(LedgerError::Condition { .. })), "{refused:?}");
    assert_eq!((ledger.head().size, ledger.authority("second")), (size, Ok(None)));
    ledger.advance(brought("second", 7_000_002, true), world.at()).await.unwrap();
}
