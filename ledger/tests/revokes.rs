//! Revocations and CRLs: each is an entry first; numbers follow each other, and no CRL misses a revocation.

#![expect(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

#[cfg(test)]
mod world;

use hallmark_entry::{Summary, is_canonical, summary::Text};
use hallmark_ledger::{CrlRecord, Found, Issued, Ledger, LedgerError, REVOCATIONS_MAX, Revoke, Revoked, UnixMillis};
use hallmark_policy::{
    CrlIssuer, CrlRequest, Revocation, Warrant,
    content::Serial,
    crl::{CrlScope, RevocationReason},
    decide_crl, decide_request, hex,
    key::SpkiDigest,
    time::UnixTime,
};
use rusqlite::Connection;
use world::{AUTHORITY, Mesh, NOW_SECS, World, binding, check_receipt, committed, now, refused};

const COMPLETE: CrlScope = CrlScope::Complete;
const REASON: RevocationReason = RevocationReason::KeyCompromise;

/// A leaf, signed; its serial number.
async fn leaf(world: &World, ledger: &Ledger, mesh: &Mesh, number: u64) -> Serial {
    let serial = world.serial();
    world.sign(ledger, world.leaf_with(mesh, &format!("r-{number}"), number, serial, now())).await;
    serial
}

fn wanted(issuer: SpkiDigest, serial: Serial) -> Revoke {
    Revoke { authority: AUTHORITY.to_owned(), issuer, serial, reason: REASON, by: "spiffe://ops/ann".to_owned() }
}

async fn revoke(world: &World, ledger: &Ledger, issuer: SpkiDigest, serial: Serial) -> Revoked {
    let mut revoked = ledger.revoke(vec![wanted(issuer, serial)], world.at()).await.unwrap();
    assert_eq!(revoked.len(), 1);
    revoked.remove(0)
}

/// The next CRL of an issuer, as the signer would ask for it.
fn crl(world: &World, ledger: &Ledger, issuer: CrlIssuer<'_>, at: UnixTime) -> Warrant {
    let status = ledger.crl_status(issuer.key().digest(), COMPLETE).unwrap();
    let request = CrlRequest {
        issuer,
        scope: COMPLETE,
        after: status.last_number,
        published: None,
        revocations: ledger.revocations(issuer.key().digest(), COMPLETE).unwrap(),
        newest_revocation: status.newest_revocation,
        previous: status.newest.as_ref().map(CrlRecord::previous),
        reaching: None,
    };
    world::warrant(decide_crl(&world.policy, AUTHORITY, request, at))
}

fn at(secs: i64) -> (UnixTime, UnixMillis) {
    (UnixTime::from_secs(NOW_SECS + secs), UnixMillis((NOW_SECS + secs) * 1_000))
}

#[tokio::test]
async fn a_revocation_is_an_entry_that_names_certificate_reason_and_who_asked() {
    let world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let issuer = mesh.issuer.key.digest();
    let index = ledger.head().size;
    let serial = leaf(&world, &ledger, &mesh, 1).await;
    let Revoked::Now(logged) = revoke(&world, &ledger, issuer, serial).await else { panic!("not revoked") };
    assert!(is_canonical(&logged.entry));
    let entry = Summary::parse(&logged.entry).unwrap();
    assert_eq!((entry.kind.as_str(), entry.stage.as_deref()), ("revocation", Some("leaf")));
    assert_eq!(entry.serial, Some(hex(serial.as_bytes())));
    assert_eq!(entry.issuer.unwrap().spki_sha256, issuer.to_string());
    assert_eq!(entry.reason, Some(Text::Whole("key-compromise".to_owned())));
    assert_eq!(entry.by, Some(Text::Whole("spiffe://ops/ann".to_owned())));
    assert_eq!((entry.decision_index, entry.epoch.unwrap().generation), (Some(index), 1));
    assert_eq!(entry.not_after, Some(NOW_SECS + 86_400));
    let revocation = ledger.revocation(issuer, serial).unwrap().unwrap();
    assert_eq!((revocation.log_index, revocation.reason, revocation.at), (logged.index, REASON, now()));
    check_receipt(logged).await;
}

#[tokio::test]
async fn a_certificate_is_revoked_once_and_the_first_reason_stands() {
    let world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let issuer = mesh.issuer.key.digest();
    let serial = leaf(&world, &ledger, &mesh, 1).await;
    assert!(matches!(revoke(&world, &ledger, issuer, serial).await, Revoked::Now(_)));
    let size = ledger.head().size;
    let again = Revoke { reason: RevocationReason::Superseded, ..wanted(issuer, serial) };
    let again = ledger.revoke(vec![again], world.at()).await.unwrap();
    let [Revoked::Before(Revocation { reason, .. })] = again.as_slice() else { panic!("{again:?}") };
    assert_eq!((*reason, ledger.head().size), (REASON, size));
}

#[tokio::test]
async fn what_the_issuer_never_signed_and_what_has_ended_is_not_revoked() {
    let world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let (issuer, root) = (mesh.issuer.key.digest(), mesh.root.key.digest());
    let serial = leaf(&world, &ledger, &mesh, 1).await;
    let size = ledger.head().size;
    assert!(matches!(revoke(&world, &ledger, issuer, world.serial()).await, Revoked::Unknown));
    assert!(matches!(revoke(&world, &ledger, root, serial).await, Revoked::Unknown), "another issuer's");
    let nobody = world::key(77).digest();
    assert!(matches!(revoke(&world, &ledger, nobody, serial).await, Revoked::Unknown));
    let late = ledger.revoke(vec![wanted(issuer, serial)], at(86_400).1).await.unwrap();
    assert!(matches!(late.as_slice(), [Revoked::Ended(_)]), "{late:?}");
    assert_eq!((ledger.head().size, ledger.crl_status(nobody, COMPLETE).unwrap().last_number), (size, 0));
}

#[tokio::test]
async fn many_are_revoked_in_one_transaction_and_too_many_are_not() {
    let world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let issuer = mesh.issuer.key.digest();
    let mut revokes = Vec::new();
    for number in 1..=20 {
        revokes.push(wanted(issuer, leaf(&world, &ledger, &mesh, number).await));
    }
    let (size, commits) = (ledger.head().size, ledger.commits());
    let revoked = ledger.revoke(revokes.clone(), world.at()).await.unwrap();
    assert!(revoked.iter().all(|revoked| matches!(revoked, Revoked::Now(_))));
    assert_eq!((ledger.head().size, ledger.commits()), (size + 20, commits + 1));
    assert_eq!(ledger.revocations(issuer, COMPLETE).unwrap().len(), 20);
    let many = vec![revokes.remove(0); REVOCATIONS_MAX + 1];
    assert!(matches!(ledger.revoke(many, world.at()).await, Err(LedgerError::Condition { .. })));
}

#[tokio::test]
async fn crls_are_numbered_for_each_issuer_and_their_entries_say_what_they_are() {
    let world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let serial = leaf(&world, &ledger, &mesh, 1).await;
    let Revoked::Now(revocation) = revoke(&world, &ledger, mesh.issuer.key.digest(), serial).await else { panic!() };
    let (epoch, root) = (CrlIssuer::Epoch(&mesh.issuer), CrlIssuer::Root(&mesh.root));
    let mut signed = Vec::new();
    for issuer in [epoch, root, epoch] {
        let (committed, logged) =
            committed(ledger.issue(crl(&world, &ledger, issuer, now()), world.at()).await.unwrap());
        ledger.keep_signature(committed.log_index(), vec![7; 64]).await.unwrap();
        signed.push(Summary::parse(&logged.entry).unwrap());
        check_receipt(logged).await;
    }
    let said = |entry: &Summary| (entry.crl_number, entry.entries, entry.newest_revocation);
    assert_eq!(said(&signed[0]), (Some(1), Some(1), Some(revocation.index)));
    assert_eq!(said(&signed[1]), (Some(1), Some(0), None));
    assert_eq!(said(&signed[2]), (Some(2), Some(1), Some(revocation.index)));
    let first = &signed[0];
    assert_eq!((first.stage.as_deref(), first.decision.as_deref()), (Some("crl"), Some("issued")));
    assert_eq!((first.this_update, first.next_update), (Some(NOW_SECS), Some(NOW_SECS + 7 * 86_400)));
    assert_eq!((&first.serial, first.issuer.as_ref().unwrap().sequence), (&None, None));
    assert_eq!(first.caller, Some(Text::Whole("signer".to_owned())));
    let (record, answer) = ledger.latest_crl(mesh.issuer.key.digest(), COMPLETE).unwrap().unwrap();
    assert_eq!((record.number, record.entries, answer.signature), (2, 1, vec![7; 64]));
}

#[tokio::test]
async fn a_crl_takes_no_number_of_the_certificates_of_its_issuer() {
    let world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let before = committed(ledger.issue(world.leaf(&mesh, "a", 1), world.at()).await.unwrap()).1;
    world.sign(&ledger, crl(&world, &ledger, CrlIssuer::Epoch(&mesh.issuer), now())).await;
    let after = committed(ledger.issue(world.leaf(&mesh, "b", 2), world.at()).await.unwrap()).1;
    let sequence = |entry: &[u8]| Summary::parse(entry).unwrap().issuer.unwrap().sequence.unwrap();
    assert_eq!(sequence(&after.entry), sequence(&before.entry) + 1);
}

#[tokio::test]
async fn a_crl_that_something_overtook_is_refused() {
    let world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let epoch = CrlIssuer::Epoch(&mesh.issuer);
    let serial = leaf(&world, &ledger, &mesh, 1).await;
    let stale = crl(&world, &ledger, epoch, now());
    assert!(matches!(revoke(&world, &ledger, mesh.issuer.key.digest(), serial).await, Revoked::Now(_)));
    assert_eq!(refused(ledger.issue(stale, world.at()).await.unwrap()), ["CRL_STALE"], "a revocation came first");
    let (first, second) = (crl(&world, &ledger, epoch, now()), crl(&world, &ledger, epoch, at(5).0));
    let (committed, _) = committed(ledger.issue(first, world.at()).await.unwrap());
    // Both have number 1, and so one request id.
    assert!(matches!(ledger.issue(second, world.at()).await.unwrap(), Issued::InFlight));
    let next = crl(&world, &ledger, epoch, now());
    assert_eq!(refused(ledger.issue(next, world.at()).await.unwrap()), ["CRL_STALE"], "the one before is not signed");
    ledger.keep_signature(committed.log_index(), vec![7; 64]).await.unwrap();
    world.sign(&ledger, crl(&world, &ledger, epoch, now())).await;
    assert_eq!(ledger.crl_status(mesh.issuer.key.digest(), COMPLETE).unwrap().last_number, 2);
}

#[tokio::test]
async fn a_crl_that_a_crash_left_unsigned_is_found_and_signed_again_over_the_same_bytes() {
    let world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let key = mesh.issuer.key.digest();
    let warrant = crl(&world, &ledger, CrlIssuer::Epoch(&mesh.issuer), now());
    let request = warrant.conditions().request.clone();
    let (first, _) = committed(ledger.issue(warrant, world.at()).await.unwrap());
    let crashed = world.crashed();
    drop(ledger);
    let ledger = crashed.begin().await;
    let status = ledger.crl_status(key, COMPLETE).unwrap();
    assert_eq!((status.last_number, status.pending.as_ref(), &status.newest), (1, Some(&request), &None));
    let (again, logged) = committed(ledger.resume(&request, crashed.at()).await.unwrap());
    assert_eq!(again.to_be_signed(), first.to_be_signed());
    assert_eq!(Summary::parse(&logged.entry).unwrap().result.as_deref(), Some("signing-again"));
    ledger.keep_signature(again.log_index(), vec![7; 64]).await.unwrap();
    let status = ledger.crl_status(key, COMPLETE).unwrap();
    assert_eq!((status.pending, status.newest.unwrap().number), (None, 1));
}

#[tokio::test]
async fn an_unsigned_crl_whose_end_has_passed_is_void_and_its_number_is_not_used_again() {
    let world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let epoch = CrlIssuer::Epoch(&mesh.issuer);
    let warrant = crl(&world, &ledger, epoch, now());
    let request = warrant.conditions().request.clone();
    committed(ledger.issue(warrant, world.at()).await.unwrap());
    let (later, later_millis) = at(7 * 86_400);
    assert_eq!(refused(ledger.resume(&request, later_millis).await.unwrap()), ["REQUEST_VOID"]);
    assert_eq!(ledger.crl_status(mesh.issuer.key.digest(), COMPLETE).unwrap().pending, None);
    let (next, logged) = committed(ledger.issue(crl(&world, &ledger, epoch, later), later_millis).await.unwrap());
    assert_eq!(Summary::parse(&logged.entry).unwrap().crl_number, Some(2));
    ledger.keep_signature(next.log_index(), vec![7; 64]).await.unwrap();
}

#[tokio::test]
async fn a_stored_crl_that_somebody_changed_is_not_signed() {
    let world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let warrant = crl(&world, &ledger, CrlIssuer::Epoch(&mesh.issuer), now());
    let request = warrant.conditions().request.clone();
    committed(ledger.issue(warrant, world.at()).await.unwrap());
    ledger.stop();
    for (change, about) in [
        ("UPDATE request SET tbs = zeroblob(9) WHERE stage = 'crl'", "the bytes to be signed"),
        ("UPDATE request SET void = 0, not_after = not_after + 1 WHERE stage = 'crl'", "its end"),
    ] {
        let crashed = world.crashed();
        Connection::open(&crashed.config.database).unwrap().execute_batch(change).unwrap();
        let ledger = crashed.begin().await;
        let Issued::Refused { reasons, .. } = ledger.resume(&request, crashed.at()).await.unwrap() else { panic!() };
        assert!(reasons[0].sentence.contains(about), "{}", reasons[0].sentence);
        assert_eq!(ledger.find(&request), Ok(Found::Void));
    }
}

#[tokio::test]
async fn what_has_ended_is_forgotten_once_a_crl_after_its_end_has_listed_it_and_old_crls_with_it() {
    let world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let (epoch, key) = (CrlIssuer::Epoch(&mesh.issuer), mesh.issuer.key.digest());
    let serial = leaf(&world, &ledger, &mesh, 1).await;
    assert!(matches!(revoke(&world, &ledger, key, serial).await, Revoked::Now(_)));
    let mut listed = Vec::new();
    // The leaf lives for a day, and there is a CRL every 20 hours.
    for hours in [0, 20, 40, 60, 80] {
        let (time, millis) = at(hours * 3_600);
        let (committed, logged) = committed(ledger.issue(crl(&world, &ledger, epoch, time), millis).await.unwrap());
        ledger.keep_signature(committed.log_index(), vec![7; 64]).await.unwrap();
        listed.push(Summary::parse(&logged.entry).unwrap().entries.unwrap());
    }
    assert_eq!(listed, [1, 1, 1, 0, 0], "the CRL after 40 hours is the first after the end");
    assert_eq!(ledger.revocations(key, COMPLETE), Ok(Vec::new()));
    let status = ledger.crl_status(key, COMPLETE).unwrap();
    assert!(status.newest_revocation.is_some(), "where the newest revocation stands is not forgotten");
    ledger.stop();
    let connection = Connection::open(&world.config.database).unwrap();
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM request WHERE stage = 'crl'"), 2, "the newest two");
    assert_eq!(count("SELECT count(*) FROM crl"), 5);
}

#[tokio::test]
async fn the_end_of_the_certificate_that_lives_longest_is_known() {
    let world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let key = mesh.issuer.key.digest();
    assert_eq!(ledger.crl_status(key, COMPLETE).unwrap().latest_end, None, "the mesh CA is self-signed");
    leaf(&world, &ledger, &mesh, 1).await;
    assert_eq!(ledger.crl_status(key, COMPLETE).unwrap().latest_end, Some(at(86_400).0));
    let year = now().after(world.policy.authority(AUTHORITY).unwrap().epoch.lifetime);
    let root = mesh.root.key.digest();
    assert_eq!(ledger.crl_status(root, COMPLETE).unwrap().latest_end, Some(year), "the intermediate");
    ledger.stop();
    let ledger = world.begin().await;
    world.sign(&ledger, world.leaf_with(&mesh, "b", 2, world.serial(), at(60).0)).await;
    leaf(&world, &ledger, &mesh, 3).await;
    assert_eq!(
        ledger.crl_status(key, COMPLETE).unwrap().latest_end,
        Some(at(86_460).0),
        "what ends earlier changes nothing"
    );
}

#[tokio::test]
async fn an_epoch_in_the_making_is_requested_and_signs_no_crl() {
    let world = World::new();
    let ledger = world.begin().await;
    let root = world.found_root(&ledger).await;
    let mesh = world.key_epoch(&ledger, &root, 1, [0; 32]).await;
    let early = crl(&world, &ledger, CrlIssuer::Epoch(&mesh.issuer), now());
    assert_eq!(refused(ledger.issue(early, world.at()).await.unwrap()), ["EPOCH_NOT_ACTIVE"]);
    let request = || world::warrant(decide_request(&world.policy, AUTHORITY, binding(1, [0; 32]), &mesh.issuer.key));
    let (request_made, logged) = committed(ledger.issue(request(), world.at()).await.unwrap());
    let entry = Summary::parse(&logged.entry).unwrap();
    assert_eq!((entry.stage.as_deref(), entry.subject.is_some()), (Some("request"), true));
    assert_eq!((&entry.serial, entry.issuer.unwrap().sequence, entry.not_after), (&None, None, None));
    ledger.keep_signature(request_made.log_index(), vec![7; 64]).await.unwrap();
    assert!(matches!(ledger.issue(request(), world.at()).await.unwrap(), Issued::Answered(_)), "the same again");
}
