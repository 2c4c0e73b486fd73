//! What is committed, what is refused, and what the same request gives again.

#[cfg(test)]
mod world;

use std::time::{Duration, Instant};

use hallmark_entry::{Summary, is_canonical};
use hallmark_ledger::{CertificateFilter, Epochs, Event, Found, Issued, LedgerError, Step, UnixMillis};
use hallmark_policy::{Facts, Policy, Reason, ReasonCode, Refusal, decide, key::PublicKey};
use world::{AUTHORITY, NOW_SECS, World, binding, check_receipt, committed, intent, now, refused, serial, warrant};

/// Every epoch.
const ALL: Epochs = Epochs::Before { generation: u64::MAX, most: 100 };

#[tokio::test]
async fn the_same_request_gives_the_same_answer() {
    let world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let request = world.leaf(&mesh, "a", 1).conditions().request.clone();
    assert_eq!(ledger.find(&request), Ok(Found::New));

    let issued = ledger.issue(world.leaf(&mesh, "a", 1), world.at()).await.unwrap();
    let (first, logged) = committed(issued);
    assert_eq!(first.log_index(), logged.index);
    assert!(matches!(ledger.issue(world.leaf(&mesh, "a", 1), world.at()).await, Ok(Issued::InFlight)));
    assert_eq!(ledger.find(&request), Ok(Found::Unsigned));

    let kept = ledger.keep_signature(first.log_index(), vec![1; 64]).await.unwrap();
    let again = ledger.keep_signature(first.log_index(), vec![2; 64]).await.unwrap();
    assert_eq!((kept, again), (vec![1; 64], vec![1; 64]), "the first one stored wins");
    let Issued::Answered(answer) = ledger.issue(world.leaf(&mesh, "a", 1), world.at()).await.unwrap() else {
        panic!("not answered");
    };
    assert_eq!(answer.to_be_signed, first.to_be_signed());
    assert_eq!((answer.signature.as_slice(), answer.log_index), ([1; 64].as_slice(), first.log_index()));
    assert_eq!(answer.epoch, Some(mesh.issuer.epoch));
    assert_eq!(ledger.find(&request), Ok(Found::Answered(answer)));
    check_receipt(logged).await;
}

#[tokio::test]
async fn the_same_id_with_another_content_is_refused() {
    let world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    world.sign(&ledger, world.leaf(&mesh, "a", 1)).await;
    let other = world.leaf(&mesh, "a", 2);
    assert_eq!(ledger.find(&other.conditions().request), Ok(Found::OtherContent));
    assert_eq!(refused(ledger.issue(other, world.at()).await.unwrap()), ["REQUEST_ID_REUSED"]);
}

#[tokio::test]
async fn a_form_with_dashes_belongs_to_the_first_name_that_has_it() {
    let world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    committed(ledger.issue(world.dashed_leaf(&mesh, "a", "a.b-c", false), world.at()).await.unwrap());
    let Issued::Refused { reasons, .. } =
        ledger.issue(world.dashed_leaf(&mesh, "b", "a-b.c", false), world.at()).await.unwrap()
    else {
        panic!("not refused");
    };
    assert_eq!(reasons.len(), 1);
    assert_eq!(reasons[0].code, ReasonCode::NameClaimed);
    assert!(reasons[0].sentence.contains("`a-b-c`") && reasons[0].sentence.contains("`a.b-c`"), "{reasons:?}");
    assert_eq!(
        refused(ledger.issue(world.dashed_leaf(&mesh, "b", "a.b.c", true), world.at()).await.unwrap()),
        ["NAME_CLAIMED"]
    );
    committed(ledger.issue(world.dashed_leaf(&mesh, "b", "a.b-c", false), world.at()).await.unwrap());
    committed(ledger.issue(world.dashed_leaf(&mesh, "c", "a.b-d", false), world.at()).await.unwrap());
}

#[tokio::test]
async fn of_two_names_with_one_form_in_one_batch_one_is_committed() {
    let world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let (first, second) = tokio::join!(
        ledger.issue(world.dashed_leaf(&mesh, "a", "x.y-z", false), world.at()),
        ledger.issue(world.dashed_leaf(&mesh, "b", "x-y.z", false), world.at()),
    );
    let is_committed = |issued: &Issued| matches!(issued, Issued::Committed { .. });
    let committed = [first.unwrap(), second.unwrap()].iter().filter(|issued| is_committed(issued)).count();
    assert_eq!(committed, 1);
}

#[tokio::test]
async fn asking_only_claims_no_form_and_a_claim_outlives_a_restart() {
    let world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let validated = ledger.issue(world.dashed_leaf(&mesh, "a", "a.b-c", true), world.at()).await.unwrap();
    assert!(matches!(validated, Issued::Validated { .. }));
    committed(ledger.issue(world.dashed_leaf(&mesh, "b", "a-b.c", false), world.at()).await.unwrap());
    let other = world.crashed();
    let ledger = other.begin().await;
    assert_eq!(
        refused(ledger.issue(other.dashed_leaf(&mesh, "c", "a.b-c", false), other.at()).await.unwrap()),
        ["NAME_CLAIMED"]
    );
}

#[tokio::test]
async fn a_refusal_binds_no_id() {
    let world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let facts = Facts { caller: "coordinator".to_owned(), request_id: "a".to_owned(), ..Facts::default() };
    let reasons = vec![Reason::new(ReasonCode::NameMissing, "names", "a name is missing")];
    let refusal = Refusal { reasons, facts, policy: world.policy.digest() };
    check_receipt(ledger.refuse(refusal, world.at()).await.unwrap()).await;

    let late = UnixMillis((NOW_SECS + 2 * 86_400) * 1_000);
    assert_eq!(refused(ledger.issue(world.leaf(&mesh, "a", 1), late).await.unwrap()), ["DEADLINE_PASSED"]);
    committed(ledger.issue(world.leaf(&mesh, "a", 1), world.at()).await.unwrap());
}

#[tokio::test]
async fn a_serial_is_used_once_under_an_issuer() {
    let world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let twice = serial(77_777);
    committed(ledger.issue(world.leaf_with(&mesh, "a", 1, twice, now()), world.at()).await.unwrap());
    let second = world.leaf_with(&mesh, "b", 2, twice, now());
    assert_eq!(refused(ledger.issue(second, world.at()).await.unwrap()), ["SERIAL_TAKEN"]);
    committed(ledger.issue(world.leaf(&mesh, "b", 2), world.at()).await.unwrap());
    let next = world.rotate(&ledger, &mesh.root, 2, mesh.issuer.epoch.transition).await;
    let other_issuer = world.leaf_with(&next, "c", 3, twice, now());
    committed(ledger.issue(other_issuer, world.at()).await.unwrap());
}

#[tokio::test]
async fn validating_takes_no_serial_and_binds_no_id() {
    let world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let serial = world.serial();
    let request = world.request("a", 1, true);
    let asked = warrant(decide(&world.policy, &request, &mesh.issuer, now(), serial));
    let Issued::Validated { logged } = ledger.issue(asked, world.at()).await.unwrap() else { panic!("not validated") };
    let summary = Summary::parse(&logged.entry).unwrap();
    assert_eq!((summary.decision.as_deref(), summary.serial, summary.issuer), (Some("validated"), None, None));
    committed(ledger.issue(world.leaf_with(&mesh, "a", 1, serial, now()), world.at()).await.unwrap());
}

#[tokio::test]
async fn what_comes_too_late_to_the_writer_is_not_committed() {
    let world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let leaf = world.leaf(&mesh, "a", 1);
    let request = leaf.conditions().request.clone();
    let head = ledger.head();
    let late = ledger.issue_before(leaf, world.at(), Instant::now()).await.unwrap();
    assert!(matches!(late, Issued::Expired), "{late:?}");
    assert_eq!((ledger.head(), ledger.find(&request)), (head, Ok(Found::New)));
    let in_time = Instant::now() + Duration::from_secs(3_600);
    committed(ledger.issue_before(world.leaf(&mesh, "a", 1), world.at(), in_time).await.unwrap());
}

#[tokio::test]
async fn a_stale_transition_never_commits() {
    let world = World::new();
    let ledger = world.begin().await;
    let first = world.found(&ledger).await;
    let stale = world.leaf(&first, "a", 1);
    let second = world.rotate(&ledger, &first.root, 2, first.issuer.epoch.transition).await;
    let Issued::Refused { reasons, .. } = ledger.issue(stale, world.at()).await.unwrap() else { panic!("committed") };
    assert_eq!(reasons[0].code, ReasonCode::TransitionStale);
    let active = hallmark_policy::hex(&second.issuer.epoch.transition);
    assert_eq!(reasons[0].allowed.as_deref(), Some(active.as_str()));
    committed(ledger.issue(world.leaf(&second, "a", 1), world.at()).await.unwrap());
}

#[tokio::test]
async fn a_warrant_decided_under_another_policy_is_refused() {
    let world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let other = Policy::parse(&format!("{}\n# changed", world.policy.text())).unwrap();
    let event = Event::PolicyLoaded { digest: other.digest(), text: other.text().to_owned(), by: String::new() };
    ledger.record(event, world.at()).await.unwrap();
    assert_eq!(refused(ledger.issue(world.leaf(&mesh, "a", 1), world.at()).await.unwrap()), ["POLICY_CHANGED"]);
    world.load_policy(&ledger).await;
    committed(ledger.issue(world.leaf(&mesh, "a", 1), world.at()).await.unwrap());
}

#[tokio::test]
async fn the_request_as_it_came_is_kept_under_its_digest() {
    let world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let warrant = world.leaf(&mesh, "a", 1);
    let request = warrant.facts().request.clone();
    let (_, logged) = committed(ledger.issue(warrant, world.at()).await.unwrap());
    let named = Summary::parse(&logged.entry).unwrap().request_sha256.unwrap();
    let connection = rusqlite::Connection::open(&world.config.database).unwrap();
    let sql = "SELECT bytes FROM blob WHERE lower(hex(sha256)) = ?1";
    let blob = |digest: &str| connection.query_row(sql, [digest], |row| row.get::<_, Vec<u8>>(0)).unwrap();
    assert_eq!(blob(&named.to_string()), request);
    assert_eq!(blob(&world.policy.digest().to_string()), world.policy.text().as_bytes());
}

#[tokio::test]
async fn steps_are_compare_and_set() {
    let world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let first = mesh.issuer.epoch.transition;
    let authority = || AUTHORITY.to_owned();
    let wrong = [
        Step::RootIntent { authority: authority(), label: "again".to_owned(), owners: Vec::new() },
        Step::RootReady { authority: authority() },
        intent(3, first),
        intent(2, [0; 32]),
        intent(1, [0; 32]),
        Step::EpochKey { authority: authority(), generation: 2, reference: "x".to_owned(), spki: vec![1] },
        Step::EpochPrepared { authority: authority(), generation: 1 },
        Step::EpochActive { authority: authority(), generation: 1, revoke_previous: false, by: "start".to_owned() },
        Step::EpochActive { authority: authority(), generation: 2, revoke_previous: false, by: "start".to_owned() },
    ];
    let size = ledger.head().size;
    for step in wrong {
        let result = ledger.advance(step.clone(), world.at()).await;
        assert!(matches!(result, Err(LedgerError::Condition { .. })), "{step:?}: {result:?}");
    }
    assert_eq!(ledger.head().size, size, "what was not done is not logged");
    world.step(&ledger, intent(2, first)).await;
    let reused = Step::EpochKey {
        authority: authority(),
        generation: 2,
        reference: "x".to_owned(),
        spki: mesh.issuer.key.spki().to_vec(),
    };
    assert!(matches!(ledger.advance(reused, world.at()).await, Err(LedgerError::Condition { .. })));
    assert!(matches!(ledger.advance(intent(3, first), world.at()).await, Err(LedgerError::Condition { .. })));
}

#[tokio::test]
async fn an_epoch_is_not_prepared_before_both_signatures_are_kept() {
    use hallmark_policy::authority::CaRequest;
    let world = World::new();
    let ledger = world.begin().await;
    let root = world.found_root(&ledger).await;
    let mesh = world.key_epoch(&ledger, &root, 1, [0; 32]).await;
    let epoch = binding(1, [0; 32]);
    let prepared = Step::EpochPrepared { authority: AUTHORITY.to_owned(), generation: 1 };
    let request = CaRequest::Intermediate { root: &root, epoch, lifetime: None };
    world.sign(&ledger, world.ca(&request, &mesh.issuer.key)).await;
    assert!(matches!(ledger.advance(prepared.clone(), world.at()).await, Err(LedgerError::Condition { .. })));
    let mesh_ca = world.ca(&CaRequest::MeshCa { root: &root, epoch, lifetime: None }, &mesh.issuer.key);
    let (unsigned, _) = committed(ledger.issue(mesh_ca, world.at()).await.unwrap());
    assert!(matches!(ledger.advance(prepared.clone(), world.at()).await, Err(LedgerError::Condition { .. })));
    ledger.keep_signature(unsigned.log_index(), vec![3; 64]).await.unwrap();
    world.step(&ledger, prepared).await;
    let epochs = ledger.epochs(AUTHORITY, Epochs::Making).unwrap();
    assert_eq!(epochs[0].mesh_ca.as_ref().map(|answer| answer.signature.clone()), Some(vec![3; 64]));
    assert!(epochs[0].intermediate.is_some());
    let leaf = ledger.issue(world.leaf(&mesh, "a", 1), world.at()).await.unwrap();
    assert_eq!(refused(leaf), ["EPOCH_NOT_ACTIVE"]);
}

#[tokio::test]
async fn at_most_one_epoch_is_active() {
    use hallmark_ledger::{AuthorityState, EpochState};
    let world = World::new();
    let ledger = world.begin().await;
    let mut mesh = world.found(&ledger).await;
    for generation in 2..5 {
        mesh = world.rotate(&ledger, &mesh.root.clone(), generation, mesh.issuer.epoch.transition).await;
        let epochs = ledger.epochs(AUTHORITY, ALL).unwrap();
        let active: Vec<_> = epochs.iter().filter(|epoch| epoch.state == EpochState::Active).collect();
        assert_eq!(active.len(), 1);
        assert_eq!(active[0].generation, generation);
        assert_eq!(epochs.iter().filter(|epoch| epoch.state == EpochState::Retired).count() + 1, epochs.len());
    }
    let authority = ledger.authority(AUTHORITY).unwrap().unwrap();
    assert_eq!((authority.state, authority.root.is_some()), (AuthorityState::Ready, true));
    assert_eq!(ledger.authorities().unwrap(), [authority]);
    assert_eq!(ledger.authority("other"), Ok(None));
}

#[tokio::test]
async fn an_aborted_epoch_keeps_its_number_and_leaves_its_transition_to_the_next() {
    use hallmark_ledger::EpochState;
    let world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let first = mesh.issuer.epoch.transition;
    let authority = AUTHORITY.to_owned();
    world.key_epoch(&ledger, &mesh.root, 2, first).await;
    let abort = Step::EpochAborted {
        authority: authority.clone(),
        generation: 2,
        reason: "a typo".to_owned(),
        by: "ops".to_owned(),
    };
    world.step(&ledger, abort.clone()).await;
    assert!(matches!(ledger.advance(abort, world.at()).await, Err(LedgerError::Condition { .. })));
    let again = Step::EpochAborted {
        authority: authority.clone(),
        generation: 1,
        reason: "too late".to_owned(),
        by: "ops".to_owned(),
    };
    assert!(matches!(ledger.advance(again, world.at()).await, Err(LedgerError::Condition { .. })));
    let aborted = ledger.epoch(AUTHORITY, Epochs::Generation(2)).unwrap().unwrap();
    assert_eq!(aborted.state, EpochState::Aborted);
    assert_eq!(ledger.epoch(AUTHORITY, Epochs::Transition(aborted.transition)), Ok(None));
    assert!(matches!(ledger.advance(intent(2, first), world.at()).await, Err(LedgerError::Condition { .. })));
    let mesh = world.rotate(&ledger, &mesh.root, 3, first).await;
    let wanted = ledger.epoch(AUTHORITY, Epochs::Active).unwrap().unwrap();
    assert_eq!((wanted.generation, wanted.transition), (3, mesh.issuer.epoch.transition));
}

#[tokio::test]
async fn only_the_key_of_a_retired_or_aborted_epoch_is_destroyed_and_once() {
    use hallmark_ledger::EpochState;
    let world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let destroyed = |generation| Step::EpochDestroyed { authority: AUTHORITY.to_owned(), generation };
    assert!(matches!(ledger.advance(destroyed(1), world.at()).await, Err(LedgerError::Condition { .. })));
    world.rotate(&ledger, &mesh.root, 2, mesh.issuer.epoch.transition).await;
    let leftover: Vec<_> = ledger.epochs(AUTHORITY, Epochs::Leftover).unwrap().iter().map(|it| it.generation).collect();
    assert_eq!(leftover, [1]);
    world.step(&ledger, destroyed(1)).await;
    assert!(matches!(ledger.advance(destroyed(1), world.at()).await, Err(LedgerError::Condition { .. })));
    assert_eq!(ledger.epochs(AUTHORITY, Epochs::Leftover), Ok(Vec::new()));
    let first = ledger.epoch(AUTHORITY, Epochs::Key(mesh.issuer.key.digest())).unwrap().unwrap();
    assert_eq!((first.generation, first.state), (1, EpochState::Destroyed));
    assert!(first.active_at < first.retired_at && first.retired_at < first.destroyed_at);
}

#[tokio::test]
async fn epochs_come_in_pages_with_who_fetched_them() {
    let world = World::new();
    let ledger = world.begin().await;
    let mut mesh = world.found(&ledger).await;
    for generation in 2..5 {
        mesh = world.rotate(&ledger, &mesh.root.clone(), generation, mesh.issuer.epoch.transition).await;
    }
    let page = |generation, most| {
        let page = ledger.epochs(AUTHORITY, Epochs::Before { generation, most }).unwrap();
        page.iter().map(|epoch| epoch.generation).collect::<Vec<_>>()
    };
    assert_eq!((page(u64::MAX, 3), page(2, 3), page(1, 3)), (vec![4, 3, 2], vec![1], vec![]));
    for (caller, at) in [("b", 7), ("a", 8), ("b", 9)] {
        ledger.keep_fetch(AUTHORITY, 4, caller, UnixMillis(at)).await.unwrap();
    }
    let fetches = ledger.fetches(AUTHORITY, 4, 10).unwrap();
    let fetches: Vec<_> = fetches.iter().map(|fetch| (fetch.caller.as_str(), fetch.at.0)).collect();
    assert_eq!(fetches, [("a", 8), ("b", 7)], "the first time counts");
}

#[tokio::test]
async fn the_keys_of_all_authorities_and_epochs_are_told_whatever_their_state() {
    let world = World::new();
    let ledger = world.begin().await;
    assert_eq!(ledger.ca_keys(), Ok(Vec::new()));
    let mesh = world.found(&ledger).await;
    let next = world.key_epoch(&ledger, &mesh.root, 2, mesh.issuer.epoch.transition).await;
    let key = |what, key: &PublicKey| (AUTHORITY.to_owned(), what, key.spki().to_vec());
    let expected = [key("root", &mesh.root.key), key("epoch", &mesh.issuer.key), key("epoch", &next.issuer.key)];
    assert_eq!(ledger.ca_keys().unwrap(), expected);
}

#[tokio::test]
async fn every_kind_of_event_is_a_canonical_entry() {
    use hallmark_ledger::KeyAction;
    use hallmark_policy::key::{KeyKind, SpkiDigest};
    let world = World::new();
    let ledger = world.open();
    let long = "\u{0}\"long".repeat(10_000);
    let events = [
        Event::Start {
            roots_without_ceremony: vec![long.clone()],
            version: "1".to_owned(),
            config_sha256: [1; 32],
            backends: vec![long.clone(); 300],
            software_keys: true,
        },
        Event::Stop,
        Event::Recovered { unsigned: u64::MAX },
        Event::PolicyLoaded { digest: world.policy.digest(), text: long.clone(), by: String::new() },
        Event::KeyEvent {
            authority: long.clone(),
            action: KeyAction::Generated,
            reference: long.clone(),
            spki: SpkiDigest::from_bytes([1; 32]),
            kind: KeyKind::EcdsaP256,
            backend: long.clone(),
        },
        Event::SigningFailed { log_index: 0, code: "DEVICE_FAILED".to_owned(), sentence: long.clone() },
        Event::OperatorCommand { command: long.clone() },
        Event::Aggregate {
            caller: long.clone(),
            method: long.clone(),
            reason: long.clone(),
            count: 3,
            from: UnixMillis(i64::MIN),
            to: UnixMillis(i64::MAX),
        },
        Event::Heartbeat,
    ];
    let kinds = [
        "start",
        "stop",
        "recovered",
        "policy-loaded",
        "key-event",
        "outcome",
        "operator-command",
        "aggregate",
        "heartbeat",
    ];
    for (event, kind) in events.into_iter().zip(kinds) {
        let logged = ledger.record(event, world.at()).await.unwrap();
        assert!(is_canonical(&logged.entry));
        assert_eq!(Summary::parse(&logged.entry).unwrap().kind, kind);
        check_receipt(logged).await;
    }
}

#[tokio::test]
async fn a_search_by_time_finds_what_came_before_the_clock_was_set_back() {
    let world = World::new();
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    let day = 86_400_000;
    let issue = async |id: &str, number: u64, at: UnixMillis| {
        ledger.issue(world.leaf(&mesh, id, number), at).await.unwrap();
    };
    let now = world.at().0;
    issue("before", 1, UnixMillis(now)).await;
    // The clock is a day behind for a while, by an operator's word.
    ledger.record(Event::ClockAccepted, UnixMillis(now - day)).await.unwrap();
    issue("meanwhile", 2, UnixMillis(now - day + 1)).await;
    ledger.record(Event::ClockAccepted, UnixMillis(now + 10)).await.unwrap();
    issue("after", 3, UnixMillis(now + 11)).await;
    let filter = CertificateFilter { since: Some(UnixMillis(now)), most: 10, ..CertificateFilter::default() };
    let found = ledger.certificates("mesh", &filter, UnixMillis(now + 20)).unwrap();
    assert_eq!(found.certificates.len(), 2, "{found:?}");
    assert!(found.next.is_none());
}
