//! Owners' keys at two authorities where one signature over a bare transition would count at both.

use hallmark_policy::{authority::transition, hex};
use hallmark_proto::signer::{RotateIntermediateRequest, RotateIntermediateResponse};
use hallmark_tests::{
    AUTHORITY, Where, World,
    asking::Refused,
    mesh::{GENESIS, Owner, manifest},
    tools::sha256,
};

/// Another authority beside that of the example.
const OTHER: &str = "other";

/// Two authorities that rotate by manifest, each with an owner of its own; how signatures are made at the second.
fn policy(owners: [&Owner; 2], at_other: &str) -> String {
    let policy = hallmark_tests::mesh::policy(&[owners[0]]);
    let first = policy.replacen("rotates =", "owner-signature = \"contrast\"\nrotates =", 1);
    let tables = |what: &str| {
        format!("[authority.other.{what}]\ncommon-name = \"Other {what}\"\nlifetime = \"365d\"\nkey = \"ecdsa-p256\"\n")
    };
    let (root, epoch, owner) = (tables("root"), tables("epoch"), owners[1].digest());
    format!(
        "{first}\n[authority.other]\nrotates = \"manifest\"\nowner-signature = \"{at_other}\"\nowner-keys = [\"{owner}\"]\n{root}{epoch}"
    )
}

/// Sets a first manifest as Contrast's tools sign it.
async fn set(
    world: &World,
    authority: &str,
    owner: &Owner,
    manifest: &[u8],
) -> Result<RotateIntermediateResponse, Refused> {
    let statement = hex(&transition(&sha256(manifest), &GENESIS));
    world
        .rotate(&RotateIntermediateRequest {
            authority: authority.to_owned(),
            expected_transition: GENESIS.to_vec().into(),
            manifest: manifest.to_vec().into(),
            owner_key: owner.spki().into(),
            owner_signature: owner.sign(statement.as_bytes()).into(),
            ..RotateIntermediateRequest::default()
        })
        .await
}

#[tokio::test]
async fn an_owner_of_an_epoch_in_the_making_is_not_named_elsewhere() {
    let (own, others, shared) = (Owner::new(), Owner::new(), Owner::new());
    let world = World::with_policy(Where::Software, &policy([&own, &others], "contrast")).await;
    let database = rusqlite::Connection::open(world.path("ledger.sqlite")).unwrap();
    let fault = "CREATE TRIGGER fault BEFORE UPDATE ON epoch WHEN new.state = 'keyed' BEGIN SELECT RAISE(ABORT, 'injected'); END";
    database.execute_batch(fault).unwrap();
    assert_eq!(
        set(&world, OTHER, &others, &manifest("theirs", &[&shared])).await.unwrap_err().reasons,
        ["LEDGER_FAILED"]
    );
    database.execute_batch("DROP TRIGGER fault").unwrap();
    let refused = set(&world, AUTHORITY, &own, &manifest("ours", &[&shared])).await.unwrap_err();
    assert_eq!(refused.reasons, ["OWNER_KEY_SHARED"], "{}", refused.message);
    set(&world, AUTHORITY, &own, &manifest("ours", &[&own])).await.unwrap();
}

#[tokio::test]
async fn a_policy_by_which_one_signature_would_count_at_two_authorities_is_not_taken() {
    let (own, others) = (Owner::new(), Owner::new());
    let world = World::with_policy(Where::Software, &policy([&own, &others], "hallmark")).await;
    set(&world, AUTHORITY, &own, &manifest("ours", &[&others])).await.unwrap();
    let refused = world.apply(&policy([&own, &others], "contrast"), false).await.unwrap_err();
    assert!(refused.reasons.iter().all(|reason| reason == "OWNER_KEY_SHARED"), "{}", refused.message);
    assert!(refused.message.contains("`other`"), "{}", refused.message);
}
