//! AWS KMS: whose account it is, and what counts as the end of a key. Who believes that a key has ended says so in a log.

use hallmark_policy::key::KeyKind;
use hallmark_test_aws_kms::{Fault, Kms};
use serde_json::{Value, json};

use super::{
    World,
    aws_kms::{config, id, write},
    request,
};
use crate::{BackendConfig, BackendError, KeyPurpose, KeyRequest, Keyring, NewKey, SoftwareKeys};

fn state(world: &World, key: &NewKey) -> String {
    world.kms().describe(&id(key))["KeyState"].as_str().unwrap().to_owned()
}

fn destroy(world: &World, key: &NewKey) -> Result<(), BackendError> {
    world.keyring.destroy(&key.reference, key.public.digest()).map(drop)
}

fn is_not_shown(error: &BackendError) -> bool {
    matches!(error, BackendError::EndNotShown { .. })
        && error.to_string().contains("nothing shows that it was destroyed")
}

/// An account's live keys of a label.
fn live(kms: &Kms, label: &str) -> usize {
    let listed = kms.call("ListKeys", &json!({}));
    let keys = listed["Keys"].as_array().unwrap().iter().map(|key| kms.describe(key["KeyId"].as_str().unwrap()));
    let ours = |key: &Value| {
        key["Description"].as_str().unwrap().ends_with(&format!(" {label}")) && key["KeyState"] == "Enabled"
    };
    keys.filter(ours).count()
}

#[test]
fn a_key_that_is_not_where_it_is_looked_for_has_not_ended() {
    let (world, other) = (World::aws_kms(), Kms::new());
    let key = world.p256("a");
    // The credentials are another account's now, which has no such key.
    world.kms().belong(other.account());
    let error = destroy(&world, &key).unwrap_err();
    assert!(is_not_shown(&error) && error.to_string().contains(world.kms().account()), "{error}");
    assert!(matches!(world.keyring.clear(key.reference.label()), Err(BackendError::OtherAccount { .. })));
    assert!(matches!(world.keyring.list(), Err(BackendError::OtherAccount { .. })));
    world.kms().belong(world.kms().account());
    assert_eq!(state(&world, &key), "Enabled");

    for (member, value) in [
        ("Description", json!("somebody's")),
        ("Description", json!("hallmark epoch b")),
        ("AWSAccountId", json!(other.account())),
    ] {
        world.kms().fault("DescribeKey", Fault::Say(member, value), None);
        let error = destroy(&world, &key).unwrap_err();
        assert!(is_not_shown(&error), "{member}: {error}");
        world.kms().end_faults();
    }
    // Also where it goes between two looks.
    for call in ["ListResourceTags", "ScheduleKeyDeletion"] {
        world.kms().fault(call, Fault::Refuse(400, "NotFoundException"), None);
        let error = destroy(&world, &key).unwrap_err();
        assert!(is_not_shown(&error), "{call}: {error}");
        let error = world.keyring.clear(key.reference.label()).unwrap_err();
        assert!(is_not_shown(&error), "{call}: {error}");
        world.kms().end_faults();
    }
    assert_eq!(state(&world, &key), "Enabled");
    world.signs(&key).unwrap();
}

#[test]
fn a_key_whose_deletion_was_scheduled_before_has_ended_if_it_is_that_key() {
    let world = World::aws_kms();
    let key = world.p256("a");
    let schedule = json!({ "KeyId": id(&key), "PendingWindowInDays": 7 });
    world.kms().call("ScheduleKeyDeletion", &schedule);
    let before = world.kms().calls().get("ScheduleKeyDeletion").copied();
    let done = world.keyring.destroy(&key.reference, key.public.digest()).unwrap();
    assert_eq!(done.on.len(), 1, "it is told of, so that it is logged");
    destroy(&world, &key).unwrap();
    assert_eq!(world.kms().calls().get("ScheduleKeyDeletion").copied(), before);
    world.kms().fault("DescribeKey", Fault::Say("Description", json!("hallmark epoch b")), None);
    assert!(is_not_shown(&destroy(&world, &key).unwrap_err()));
}

#[test]
fn an_answer_about_another_key_than_the_one_that_was_asked_for_is_not_believed() {
    let world = World::aws_kms();
    let (key, other) = (world.p256("a"), world.p256("b"));
    let arn = |key: &NewKey| world.kms().describe(&id(key))["Arn"].clone();
    let elsewhere = json!(arn(&key).as_str().unwrap().replace("eu-central-1", "eu-west-1"));
    for (call, member, value) in [
        ("DescribeKey", "Arn", arn(&other)),
        ("DescribeKey", "KeyId", json!(id(&other))),
        ("DescribeKey", "Arn", elsewhere.clone()),
        ("GetPublicKey", "KeyId", arn(&other)),
        ("GetPublicKey", "KeyId", elsewhere),
    ] {
        world.kms().fault(call, Fault::Say(member, value), None);
        let error = world.keyring.open(&key.reference, key.public.digest()).unwrap_err();
        assert!(matches!(error, BackendError::Broken { .. }) && error.to_string().contains("was asked of"), "{error}");
        assert!(matches!(destroy(&world, &key), Err(BackendError::Broken { .. })), "{call}");
        world.kms().end_faults();
    }
    assert_eq!(state(&world, &key), "Enabled");
}

#[test]
fn credentials_of_another_account_open_nothing_and_make_nothing() {
    let (kms, other, directory) = (Kms::new(), Kms::new(), tempfile::tempdir().unwrap());
    let path = write(&directory, &Kms::credentials());
    let open = || Keyring::open_backend(BackendConfig::AwsKms(config(&kms, &path, 1)), SoftwareKeys::Refused);
    kms.belong(other.account());
    // An account without keys is known by its aliases, and one with keys by these.
    for _ in 0..2 {
        let error = open().unwrap_err();
        assert!(matches!(&error, BackendError::OtherAccount { found, .. } if found == other.account()), "{error}");
        other.make("x", &json!({}));
    }
    assert_eq!(kms.calls().get("CreateKey"), None);
    kms.belong(kms.account());
    let keyring = open().unwrap();
    kms.belong(other.account());
    let error = keyring.generate(&request("a", KeyKind::EcdsaP256)).unwrap_err();
    assert!(matches!(error, BackendError::OtherAccount { .. }), "{error}");
    assert_eq!(kms.calls().get("CreateKey"), None);
}

#[test]
fn an_account_that_tells_nothing_of_itself_is_not_believed() {
    let (world, other) = (World::aws_kms(), Kms::new());
    world.kms().belong(other.account());
    world.kms().fault("ListAliases", Fault::Say("Aliases", json!([])), None);
    let label = request("a", KeyKind::EcdsaP256).label;
    // An empty list would mean that nothing is left of what is to end.
    for error in [
        world.keyring.list().unwrap_err(),
        world.keyring.clear(&label).unwrap_err(),
        world.keyring.generate(&request("a", KeyKind::EcdsaP256)).unwrap_err(),
        world.keyring.list_each(|_| true).remove(0).1.unwrap_err(),
    ] {
        assert!(matches!(&error, BackendError::AccountUntold { wanted } if wanted == world.kms().account()), "{error}");
    }
    assert_eq!(world.kms().calls().get("CreateKey"), None);
    let directory = tempfile::tempdir().unwrap();
    let path = write(&directory, &Kms::credentials());
    let opened = Keyring::open_backend(BackendConfig::AwsKms(config(world.kms(), &path, 1)), SoftwareKeys::Refused);
    assert!(matches!(opened, Err(BackendError::AccountUntold { .. })));
    // Any key of the account says whose it is, also one that nobody uses.
    world.kms().belong(world.kms().account());
    let unused = world.kms().make("x", &json!({ "Description": "", "Tags": [] }));
    world.kms().call("ScheduleKeyDeletion", &json!({ "KeyId": unused, "PendingWindowInDays": 7 }));
    assert_eq!(world.keyring.clear(&label).unwrap().keys(), 0);
    world.p256("a");
}

#[test]
fn what_is_made_in_another_account_meanwhile_is_taken_back() {
    let (world, other) = (World::aws_kms(), Kms::new());
    let elsewhere = Fault::Elsewhere(other.account().to_owned());
    for call in ["CreateKey", "ScheduleKeyDeletion"] {
        world.kms().fault(call, elsewhere.clone(), Some(2));
    }
    let error = world.keyring.generate(&request("a", KeyKind::EcdsaP256)).unwrap_err();
    assert!(matches!(&error, BackendError::OtherAccount { found, .. } if found == other.account()), "{error}");
    assert_eq!((live(&other, "a"), live(world.kms(), "a")), (0, 0));
    world.p256("a");
}

#[test]
fn a_key_that_may_not_be_seen_is_missing_in_no_list() {
    let world = World::aws_kms();
    let key = world.p256("a");
    world.kms().fault("DescribeKey", Fault::Refuse(400, "AccessDeniedException"), None);
    for error in [
        world.keyring.list().unwrap_err(),
        world.keyring.clear(key.reference.label()).unwrap_err(),
        world.keyring.generate(&request("a", KeyKind::EcdsaP256)).unwrap_err(),
        world.keyring.list_each(|_| true).remove(0).1.unwrap_err(),
    ] {
        assert!(matches!(error, BackendError::Denied { .. }), "{error}");
    }
    world.kms().end_faults();
    assert_eq!((state(&world, &key), live(world.kms(), "a")), ("Enabled".to_owned(), 1));
}

#[test]
fn a_label_is_cleared_of_epochs_keys_alone_and_their_tags_say_so_too() {
    let world = World::aws_kms();
    let tag = |key: &str, value: &str| json!({ "TagKey": key, "TagValue": value });
    for tags in [
        json!([tag("hallmark-purpose", "root"), tag("hallmark-label", "a")]),
        json!([tag("hallmark-label", "a")]),
        json!([tag("hallmark-purpose", "epoch"), tag("hallmark-label", "b")]),
        json!([]),
    ] {
        let (good, other) = (world.p256("a"), world.kms().make("a", &json!({ "Tags": tags })));
        let error = world.keyring.clear(good.reference.label()).unwrap_err();
        let is_told = matches!(error, BackendError::NotDestroyable { .. }) || is_not_shown(&error);
        assert!(is_told, "{error}");
        assert_eq!((state(&world, &good), live(world.kms(), "a")), ("Enabled".to_owned(), 2), "nothing was begun");
        world.kms().call("ScheduleKeyDeletion", &json!({ "KeyId": other, "PendingWindowInDays": 7 }));
        assert_eq!(world.keyring.clear(good.reference.label()).unwrap().keys(), 1);
    }
    // What was made for a root has that in its tag, whatever its description says by now.
    let root = KeyRequest { purpose: KeyPurpose::Root, ..request("r", KeyKind::EcdsaP256) };
    let root = world.keyring.generate(&root).unwrap();
    world.kms().call("UpdateKeyDescription", &json!({ "KeyId": id(&root), "Description": "hallmark epoch r" }));
    assert!(matches!(destroy(&world, &root), Err(BackendError::NotDestroyable { .. })));
    assert!(matches!(world.keyring.clear(root.reference.label()), Err(BackendError::NotDestroyable { .. })));
    assert_eq!(state(&world, &root), "Enabled");
}

#[test]
fn what_a_failed_making_left_is_removed_also_if_it_was_for_a_root() {
    let world = World::aws_kms();
    let root = KeyRequest { purpose: KeyPurpose::Root, ..request("r", KeyKind::EcdsaP256) };
    world.kms().fault("GetPublicKey", Fault::Refuse(500, "KMSInternalException"), Some(2));
    world.keyring.generate(&root).unwrap_err();
    assert_eq!((world.kms().calls()["CreateKey"], live(world.kms(), "r")), (2, 0));
    world.keyring.generate(&root).unwrap();
}

#[test]
fn a_disabled_key_can_be_destroyed() {
    let world = World::aws_kms();
    let key = world.p256("a");
    world.kms().call("DisableKey", &json!({ "KeyId": id(&key) }));
    // By its id, its description, its account and its tags, since it has no public key now.
    let wrong = json!({ "KeyId": id(&key), "Tags": [{ "TagKey": "hallmark-purpose", "TagValue": "root" }] });
    world.kms().call("TagResource", &wrong);
    assert!(matches!(destroy(&world, &key), Err(BackendError::NotDestroyable { .. })));
    let right = json!({ "KeyId": id(&key), "Tags": [{ "TagKey": "hallmark-purpose", "TagValue": "epoch" }] });
    world.kms().call("TagResource", &right);
    destroy(&world, &key).unwrap();
    assert_eq!(state(&world, &key), "PendingDeletion");
}

#[test]
fn what_kms_made_and_knows_late_is_waited_for_and_not_made_again() {
    let world = World::aws_kms();
    // The tags of a new key.
    world.kms().fault("ListResourceTags", Fault::Say("Tags", json!([])), Some(2));
    world.p256("a");
    assert_eq!(world.kms().calls()["CreateKey"], 1);
    // A new key in the list, where the answer was lost: the first list is that before the making.
    world.kms().fault("CreateKey", Fault::LoseAnswer, Some(1));
    world.kms().fault("ListKeys", Fault::Say("Keys", json!([])), Some(4));
    world.p256("b");
    assert_eq!((world.kms().calls()["CreateKey"], live(world.kms(), "b")), (3, 1));
}
