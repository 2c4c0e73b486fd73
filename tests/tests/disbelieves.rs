//! A database that somebody else wrote to: no row becomes an epoch, an owner or a name that the log and the root's signature do not stand
//! behind.

use hallmark_policy::authority::transition;
use hallmark_proto::signer::EpochState;
use hallmark_tests::{
    EVERYWHERE, Where, World,
    asking::Asked,
    mesh::{GENESIS, Owner, manifest, policy, rotate, transition_of},
    tools::{from_hex, sha256},
};
use rusqlite::{Connection, params};

const BEHIND: &str = "the database was changed behind the signer's back";

/// A world with one manifest in force, stopped.
async fn stopped(place: Where, owner: &Owner) -> (World, [u8; 32]) {
    let mut world = World::with_policy(place, &policy(&[owner])).await;
    let one = rotate(&world, owner, GENESIS, &manifest("one", &[owner])).await.unwrap();
    world.stop().await;
    (world, transition_of(&one))
}

fn database(world: &World) -> Connection {
    Connection::open(world.path("ledger.sqlite")).unwrap()
}

/// Puts an epoch in the database that nobody wanted, with its manifest. Columns beside those it needs come from `more`.
fn put_in(world: &World, previous: [u8; 32], manifest: &[u8], label: &str, more: &str) {
    let digest = sha256(manifest);
    let database = database(world);
    database.execute("INSERT INTO blob (sha256, bytes) VALUES (?1, ?2)", params![digest, manifest]).unwrap();
    let sql = format!(
        "INSERT INTO epoch (authority, generation, state, manifest_sha256, transition, previous, lifetime, revoke_previous, label, \
         intent_at, intent_index) VALUES ('athenz', 2, 'intent', ?1, ?2, ?3, 0, 0, ?4, 0, {more})"
    );
    let values = params![digest, transition(&digest, &previous), previous, label];
    assert_eq!(database.execute(&sql, values).unwrap(), 1);
}

async fn is_untouched(world: &World, lines: &[String]) {
    assert!(lines.iter().any(|line| line.contains(BEHIND)), "{lines:?}");
    assert_eq!(world.epoch_keys(), ["1"], "no key was made, and none destroyed");
    let minted = world.mint(Asked::sports_api().request()).await.unwrap();
    assert_eq!(minted.epoch.unwrap().generation, 1);
}

#[tokio::test]
async fn an_epoch_that_was_put_into_the_database_gets_no_key_and_no_signature() {
    let first = "(SELECT intent_index FROM epoch WHERE generation = 1)";
    for (place, index) in EVERYWHERE.into_iter().flat_map(|place| ["NULL", "3", first].map(|index| (place, index))) {
        let (owner, thief) = (Owner::new(), Owner::new());
        let (mut world, one) = stopped(place, &owner).await;
        let label: String = database(&world).query_row("SELECT label FROM epoch", [], |row| row.get(0)).unwrap();
        put_in(&world, one, &manifest("theirs", &[&thief]), &label, index);
        let lines = world.start(false).await.unwrap().lines;
        is_untouched(&world, &lines).await;
        // The owner goes on: what nobody wanted is given up, and its label destroys nothing.
        let two = rotate(&world, &owner, one, &manifest("two", &[&owner])).await.unwrap();
        assert_eq!((two.state(), two.epoch.as_ref().unwrap().generation), (EpochState::Active, 3));
        let log = world.log_after_stop().await;
        let intents: Vec<_> = log.of_type("rotation").filter(|entry| entry["step"] == "epoch-intent").collect();
        assert_eq!(intents.len(), 2, "the owner's two");
    }
}

#[tokio::test]
async fn the_very_manifest_of_a_row_that_was_put_in_is_set_only_by_its_owner() {
    let owner = Owner::new();
    let (mut world, one) = stopped(Where::Software, &owner).await;
    let wanted = manifest("two", &[&owner]);
    put_in(&world, one, &wanted, "hallmark-athenz-epoch-2-00000000", "NULL");
    let lines = world.start(false).await.unwrap().lines;
    is_untouched(&world, &lines).await;
    let two = rotate(&world, &owner, one, &wanted).await.unwrap();
    assert_eq!(two.epoch.unwrap().generation, 3, "an epoch of the owner's own, not the one that was put in");
}

#[tokio::test]
async fn an_epoch_in_the_making_goes_on_only_as_it_was_wanted() {
    let other: String = format!("x'{}'", "11".repeat(32));
    for set in [
        format!("manifest_sha256 = {other}"),
        format!("previous = {other}"),
        "lifetime = 7200".to_owned(),
        "revoke_previous = 1".to_owned(),
        "label = (SELECT label FROM epoch WHERE generation = 1)".to_owned(),
        "generation = 5".to_owned(),
    ] {
        let owner = Owner::new();
        let mut world = World::with_policy(Where::Software, &policy(&[&owner])).await;
        let one = rotate(&world, &owner, GENESIS, &manifest("one", &[&owner])).await.unwrap();
        let fault = "CREATE TRIGGER fault BEFORE UPDATE ON epoch WHEN new.state = 'keyed' \
                     BEGIN SELECT RAISE(ABORT, 'injected'); END";
        database(&world).execute_batch(fault).unwrap();
        rotate(&world, &owner, transition_of(&one), &manifest("two", &[&owner])).await.unwrap_err();
        world.stop().await;
        let change = format!("DROP TRIGGER fault; UPDATE epoch SET {set} WHERE generation = 2");
        database(&world).execute_batch(&change).unwrap();
        let lines = world.start(false).await.unwrap().lines;
        assert!(lines.iter().any(|line| line.contains(BEHIND)), "{set}: {lines:?}");
        let minted = world.mint(Asked::sports_api().request()).await;
        if set.starts_with("label") || set.starts_with("generation") {
            // The token has its key, which no epoch of this database has.
            assert_eq!(minted.unwrap_err().reasons, ["AUTHORITY_STOPPED"], "{set}");
        } else {
            assert_eq!(minted.unwrap().epoch.unwrap().generation, 1, "{set}");
        }
    }
}

#[tokio::test]
async fn a_manifest_in_force_that_is_another_than_the_certificates_are_bound_to_stops_the_start() {
    let (owner, thief) = (Owner::new(), Owner::new());
    let (mut world, _) = stopped(Where::SoftHsm, &owner).await;
    let theirs = manifest("theirs", &[&thief]);
    let digest = sha256(&theirs);
    database(&world).execute("INSERT INTO blob (sha256, bytes) VALUES (?1, ?2)", params![digest, theirs]).unwrap();
    for previous in [GENESIS, [7; 32]] {
        let values = params![digest, transition(&digest, &previous), previous];
        let sql = "UPDATE epoch SET manifest_sha256 = ?1, transition = ?2, previous = ?3";
        database(&world).execute(sql, values).unwrap();
        let error = world.start(false).await.expect_err("another manifest").to_string();
        assert!(error.contains(BEHIND), "{error}");
    }
    let sql = "UPDATE epoch SET manifest_sha256 = ?1";
    database(&world).execute(sql, [digest]).unwrap();
    let error = world.start(false).await.expect_err("another manifest").to_string();
    assert!(error.contains(BEHIND), "{error}");
}

#[tokio::test]
async fn what_is_changed_under_a_running_signer_makes_nobody_an_owner() {
    let (owner, thief) = (Owner::new(), Owner::new());
    let (mut world, one) = stopped(Where::Software, &owner).await;
    world.start(false).await.unwrap();
    let theirs = manifest("theirs", &[&thief]);
    let digest = sha256(&theirs);
    database(&world).execute("INSERT INTO blob (sha256, bytes) VALUES (?1, ?2)", params![digest, theirs]).unwrap();
    database(&world).execute("UPDATE epoch SET manifest_sha256 = ?1", [digest]).unwrap();
    let refused = rotate(&world, &thief, one, &manifest("two", &[&thief])).await.unwrap_err();
    assert_eq!(refused.reasons, ["OWNER_UNKNOWN"], "{}", refused.message);
    let owners = from_hex(&thief.digest());
    database(&world).execute("UPDATE authority SET owners = ?1", [owners]).unwrap();
    database(&world).execute_batch("UPDATE epoch SET state = 'aborted'").unwrap();
    let refused = rotate(&world, &thief, GENESIS, &manifest("two", &[&thief])).await.unwrap_err();
    assert!(refused.message.contains(BEHIND), "{}", refused.message);
    assert_eq!(world.epoch_keys(), ["1"]);
}

#[tokio::test]
async fn owners_of_the_first_manifest_are_those_of_the_log() {
    let (owner, thief) = (Owner::new(), Owner::new());
    let mut world = World::with_policy(Where::Software, &policy(&[&owner])).await;
    database(&world).execute("UPDATE authority SET owners = ?1", [from_hex(&thief.digest())]).unwrap();
    let refused = rotate(&world, &thief, GENESIS, &manifest("one", &[&thief])).await.unwrap_err();
    assert!(refused.message.contains(BEHIND) && refused.message.contains("owners"), "{}", refused.message);
    assert!(world.epochs().await.is_empty() && world.epoch_keys().is_empty());
    world.stop().await;
    let error = world.start(false).await.expect_err("other owners").to_string();
    assert!(error.contains(BEHIND), "{error}");
}

#[tokio::test]
async fn the_key_of_an_epoch_is_not_destroyed_because_the_database_says_that_it_is_over() {
    for state in ["state = 'retired'", "state = 'aborted'", "state = 'aborted', active_index = NULL, aborted_index = 3"]
    {
        let owner = Owner::new();
        let (mut world, _) = stopped(Where::Software, &owner).await;
        database(&world).execute(&format!("UPDATE epoch SET {state}"), []).unwrap();
        let lines = world.start(false).await.unwrap().lines;
        assert!(lines.iter().any(|line| line.contains(BEHIND)), "{state}: {lines:?}");
        assert_eq!(world.epoch_keys(), ["1"], "{state}");
    }
}
