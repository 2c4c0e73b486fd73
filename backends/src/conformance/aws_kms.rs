//! AWS KMS, where it is otherwise than a device: it is asked too often, it is far away, and its keys end slowly.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use hallmark_policy::key::{KeyKind, SignatureAlgorithm};
use hallmark_test_aws_kms::Fault;
use serde_json::json;

use super::{
    Account, AwsKmsConfig, AwsKmsPlace, CredentialsPlace, Kms, PROFILE, Place, REGION, World, message, request, sign,
};
use crate::{
    BackendError, ErrorClass, KeyPurpose, KeyRequest, Keyring, NewKey, SignError, SoftwareKeys, Tried,
    breaker::FAILURES_MAX,
};

/// Long enough for what is tried again, and short enough to wait for.
const HURRY: Duration = Duration::from_secs(2);
/// How long is waited for what comes back by itself.
const AWAITED: Duration = Duration::from_secs(30);

pub(super) fn write(directory: &tempfile::TempDir, text: &str) -> PathBuf {
    let (path, new) = (directory.path().join("aws"), directory.path().join("aws.new"));
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(new, &path).unwrap();
    path
}

pub(super) fn config(kms: &Kms, credentials: &std::path::Path, sessions: usize) -> AwsKmsConfig {
    AwsKmsConfig {
        place: AwsKmsPlace::parse(REGION, Some(&kms.endpoint())).unwrap(),
        account: Account::parse(kms.account()).unwrap(),
        credentials: CredentialsPlace::File(credentials.to_owned()),
        profile: PROFILE.to_owned(),
        sessions,
        deletion_days: 7,
    }
}

impl World {
    pub(super) fn kms(&self) -> &Kms {
        let Place::AwsKms(kms, _) = &self.place else { unreachable!("another world") };
        kms
    }

    fn credentials(&self, text: &str) {
        let Place::AwsKms(_, directory) = &self.place else { unreachable!("another world") };
        write(directory, text);
    }

    pub(super) fn p256(&self, label: &str) -> NewKey {
        self.key(label, KeyKind::EcdsaP256)
    }

    pub(super) fn signs(&self, key: &NewKey) -> Result<(), SignError> {
        let signed = self.sign(key, SignatureAlgorithm::EcdsaSha256);
        signed.map(|signature| {
            assert!(key.public.verifies(SignatureAlgorithm::EcdsaSha256, signature.to_be_signed(), signature.bytes()))
        })
    }

    /// Signs at last, as a key does that was left alone for a while.
    fn signs_again(&self, key: &NewKey) {
        let began = Instant::now();
        while let Err(error) = self.signs(key) {
            assert!(began.elapsed() < AWAITED, "{error}");
        }
    }
}

pub(super) fn id(key: &NewKey) -> String {
    key.reference.aws_kms_id().unwrap().to_string()
}

fn class(error: &SignError) -> Option<ErrorClass> {
    match error {
        SignError::Backend(error) => Some(error.class()),
        SignError::SignAgain { failed, .. } => class(failed),
        SignError::Busy
        | SignError::DeadlinePassed
        | SignError::Stopped
        | SignError::NotOpen { .. }
        | SignError::WrongAlgorithm { .. }
        | SignError::Lied { .. }
        | SignError::Overdue { .. }
        | SignError::Resting { .. }
        | SignError::Slow { .. }
        | SignError::Panicked => None,
    }
}

#[test]
fn a_key_is_asked_for_as_it_is_wanted_and_has_its_name_from_its_first_moment() {
    let world = World::aws_kms();
    for (purpose, word) in [(KeyPurpose::Root, "root"), (KeyPurpose::Epoch, "epoch")] {
        let key = world.keyring.generate(&KeyRequest { purpose, ..request(word, KeyKind::EcdsaP384) }).unwrap();
        let told = world.kms().describe(&id(&key));
        for (name, value) in [
            ("KeySpec", json!("ECC_NIST_P384")),
            ("KeyUsage", json!("SIGN_VERIFY")),
            ("Origin", json!("AWS_KMS")),
            ("MultiRegion", json!(false)),
            ("Description", json!(format!("hallmark {word} {word}"))),
        ] {
            assert_eq!(told[name], value, "{name}");
        }
        let tags = world.kms().call("ListResourceTags", &json!({ "KeyId": id(&key) }));
        let tags: BTreeSet<_> = tags["Tags"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tag| (tag["TagKey"].as_str(), tag["TagValue"].as_str()))
            .collect();
        assert_eq!(
            tags,
            BTreeSet::from([(Some("hallmark-purpose"), Some(word)), (Some("hallmark-label"), Some(word))])
        );
    }
    let calls = world.kms().calls();
    assert_eq!((calls["CreateKey"], calls.get("CreateAlias"), calls.get("TagResource")), (2, None, None));
}

#[test]
fn a_key_that_kms_tells_otherwise_of_is_refused_by_the_attribute_s_name() {
    let world = World::aws_kms();
    let key = world.p256("a");
    for (member, value, attribute) in [
        ("AWSAccountId", json!("000000000000"), "AWSAccountId"),
        ("KeySpec", json!("ECC_SECG_P256K1"), "KeySpec"),
        ("KeyUsage", json!("KEY_AGREEMENT"), "KeyUsage"),
        ("Origin", json!("EXTERNAL_KEY_STORE"), "Origin"),
        ("KeyManager", json!("AWS"), "KeyManager"),
        ("MultiRegion", json!(true), "MultiRegion"),
    ] {
        world.kms().fault("DescribeKey", Fault::Say(member, value), None);
        let error = world.keyring.open(&key.reference, key.public.digest()).unwrap_err();
        assert!(
            matches!(&error, BackendError::WrongAttribute { attribute: found, .. } if *found == attribute),
            "{error}"
        );
        // It signed before, and does not now.
        assert!(matches!(world.signs(&key), Err(SignError::NotOpen { .. })), "{member}");
        world.kms().end_faults();
        world.keyring.open(&key.reference, key.public.digest()).unwrap();
        world.signs(&key).unwrap();
    }
    world.kms().call(
        "TagResource",
        &json!({ "KeyId": id(&key), "Tags": [{ "TagKey": "hallmark-purpose", "TagValue": "root" }] }),
    );
    let error = world.keyring.open(&key.reference, key.public.digest()).unwrap_err();
    assert!(matches!(&error, BackendError::WrongAttribute { attribute: "hallmark-purpose", .. }), "{error}");
}

#[test]
fn a_destroyed_key_is_scheduled_for_deletion_signs_nothing_and_is_said_so_of() {
    let world = World::aws_kms();
    let key = world.p256("a");
    assert!(world.keyring.describe().to_string().contains("a destroyed key signs nothing and is deleted after 7 days"));
    world.keyring.destroy(&key.reference, key.public.digest()).unwrap();
    assert_eq!(world.kms().describe(&id(&key))["KeyState"], "PendingDeletion");
    let message = json!({ "KeyId": id(&key), "Message": "YQ==", "SigningAlgorithm": "ECDSA_SHA_256" });
    let refused = world.kms().try_call("Sign", &message).unwrap_err();
    assert_eq!(refused["__type"], "KMSInvalidStateException");
    // Its label is free again, and it is in no list.
    assert!(world.keyring.list().unwrap().is_empty());
    world.p256("a");
    // Where the answer is lost, the second attempt finds what the first did.
    let other = world.p256("b");
    world.kms().fault("ScheduleKeyDeletion", Fault::LoseAnswer, Some(1));
    world.keyring.destroy(&other.reference, other.public.digest()).unwrap();
    assert_eq!(world.kms().describe(&id(&other))["KeyState"], "PendingDeletion");
    // Where KMS only says that it did, that is read back.
    let third = world.p256("c");
    world.kms().fault("ScheduleKeyDeletion", Fault::Refuse(400, "KMSInvalidStateException"), None);
    let error = world.keyring.destroy(&third.reference, third.public.digest()).unwrap_err();
    assert!(error.to_string().contains("although its deletion is scheduled"), "{error}");
}

#[test]
fn a_key_whose_making_was_not_answered_is_found_and_removed_and_made_again() {
    let world = World::aws_kms();
    world.kms().fault("CreateKey", Fault::LoseAnswer, Some(1));
    let key = world.keyring.generate(&request("a", KeyKind::EcdsaP256)).unwrap();
    assert_eq!(world.keyring.list().unwrap(), std::slice::from_ref(&key.reference));
    assert_eq!(world.kms().calls()["CreateKey"], 2);
    // What KMS knows late is waited for.
    world.kms().fault("DescribeKey", Fault::Refuse(400, "NotFoundException"), Some(2));
    world.keyring.generate(&request("b", KeyKind::EcdsaP256)).unwrap();
}

#[test]
fn who_is_asked_too_often_is_asked_later_and_not_without_end() {
    let world = World::aws_kms();
    let key = world.p256("a");
    world.signs(&key).unwrap();
    for name in ["ThrottlingException", "KeyUnavailableException"] {
        world.kms().fault("Sign", Fault::Refuse(400, name), Some(1));
        world.signs(&key).unwrap();
    }
    let counted: u64 = world.keyring.tokens().iter().flat_map(|token| token.errors.values()).sum();
    assert_eq!(counted, 2, "a try that is made again is counted");
    world.kms().fault("Sign", Fault::Refuse(400, "ThrottlingException"), Some(3));
    world.signs(&key).unwrap();
    let before = world.kms().calls()["Sign"];
    world.kms().fault("Sign", Fault::Refuse(400, "ThrottlingException"), None);
    let began = Instant::now();
    let job = message(key.public.digest(), SignatureAlgorithm::EcdsaSha256);
    let error = sign(&world.keyring, job, HURRY).unwrap_err();
    assert_eq!(class(&error), Some(ErrorClass::Busy), "{error}");
    assert!(began.elapsed() < HURRY, "it was tried until the deadline at most");
    let tried = world.kms().calls()["Sign"] - before;
    assert!((3..12).contains(&tried), "{tried} attempts in {HURRY:?}");
    world.kms().end_faults();
    world.signs_again(&key);
}

#[test]
fn what_may_be_signed_is_never_asked_for_again_before_the_log_says_so() {
    let world = World::aws_kms();
    let key = world.p256("a");
    world.signs(&key).unwrap();
    for fault in [Fault::LoseAnswer, Fault::Refuse(500, "KMSInternalException"), Fault::Refuse(502, "")] {
        let before = world.kms().calls()["Sign"];
        world.kms().fault("Sign", fault.clone(), Some(1));
        let error = world.signs(&key).unwrap_err();
        assert!(matches!(error, SignError::SignAgain { .. }), "{fault:?}: {error}");
        assert_eq!(world.kms().calls()["Sign"], before + 1, "{fault:?}");
        world.signs_again(&key);
    }
    // A service that hangs is given up before the thread is, and may have signed, too.
    world.kms().hang(true);
    let began = Instant::now();
    let error = world.signs(&key).unwrap_err();
    assert!(
        matches!(&error, SignError::SignAgain { failed, tried } if class(failed) == Some(ErrorClass::Gone) && *tried != Tried::default()),
        "{error}"
    );
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(world.keyring.threads().hanging, 0);
    world.kms().hang(false);
    world.signs_again(&key);
}

#[test]
fn kms_that_goes_and_comes_is_found_again_by_every_caller() {
    let world = World::aws_kms();
    let key = world.p256("a");
    world.signs(&key).unwrap();
    world.kms().stop();
    let error = world.signs(&key).unwrap_err();
    assert_eq!(class(&error), Some(ErrorClass::Gone), "{error}");
    assert!(matches!(world.keyring.health(), Err(BackendError::ServiceGone { .. })));
    let error = world.keyring.generate(&request("b", KeyKind::EcdsaP256)).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Gone, "{error}");
    world.kms().start();
    world.signs_again(&key);
    world.keyring.health().unwrap();
    world.keyring.generate(&request("b", KeyKind::EcdsaP256)).unwrap();
}

#[test]
fn a_key_that_somebody_disabled_signs_nothing_until_it_is_enabled() {
    let world = World::aws_kms();
    let key = world.p256("a");
    world.signs(&key).unwrap();
    world.kms().call("DisableKey", &json!({ "KeyId": id(&key) }));
    let error = world.signs(&key).unwrap_err();
    assert!(
        matches!(&error, SignError::Backend(BackendError::KeyAway { state, .. }) if state == "Disabled"),
        "{error}"
    );
    let error = world.keyring.open(&key.reference, key.public.digest()).unwrap_err();
    assert!(matches!(error, BackendError::KeyAway { .. }), "{error}");
    world.kms().call("EnableKey", &json!({ "KeyId": id(&key) }));
    world.signs_again(&key);
}

#[test]
fn a_signature_and_a_public_key_that_kms_lies_about_are_not_believed() {
    let world = World::aws_kms();
    let key = world.p256("a");
    world.signs(&key).unwrap();
    world.kms().fault("Sign", Fault::SpoilSignature, Some(1));
    let error = world.signs(&key).unwrap_err();
    let lied = |error: &SignError| matches!(error, SignError::Lied { issuer } if *issuer == key.public.digest());
    assert!(lied(&error) || matches!(&error, SignError::SignAgain { failed, .. } if lied(failed)), "{error}");
    // Afterwards the key is compared before it signs: with another public key it does not.
    let other = world.p256("other");
    let public = world.kms().call("GetPublicKey", &json!({ "KeyId": id(&other) }));
    world.kms().fault("GetPublicKey", Fault::Say("PublicKey", public["PublicKey"].clone()), None);
    let before = world.kms().calls()["Sign"];
    let error = world.signs(&key).unwrap_err();
    assert!(matches!(error, SignError::Backend(BackendError::WrongKey { .. })), "{error}");
    assert_eq!(world.kms().calls()["Sign"], before);
    world.kms().end_faults();
    world.signs_again(&key);
}

#[test]
fn credentials_that_are_refused_are_read_again_and_nothing_is_locked() {
    let world = World::aws_kms();
    let key = world.p256("a");
    world.signs(&key).unwrap();
    // Temporary ones: they end, and others are put in their place.
    world.kms().admit("ASIATEMPORARY0000001", Some("a/token=="));
    for _ in 0..2 * FAILURES_MAX {
        let error = world.signs(&key).unwrap_err();
        assert!(class(&error) == Some(ErrorClass::LoggedOut) || matches!(error, SignError::Resting { .. }), "{error}");
    }
    assert!(!world.keyring.pin_is_refused());
    let temporary = Kms::credentials_with("ASIATEMPORARY0000001");
    world.credentials(&format!("{temporary}aws_session_token = a/token==\n"));
    world.signs_again(&key);
    world.credentials("[another]\n");
    let error = world.keyring.health().unwrap_err();
    assert!(
        matches!(&error, BackendError::CredentialsUnusable { detail } if detail.contains("no `[hallmark]`")),
        "{error}"
    );
    world.credentials(&format!("{temporary}aws_session_token = a/token==\n"));
    world.keyring.health().unwrap();
}

#[test]
fn credentials_that_may_not_do_something_are_told_of_and_what_is_allowed_later_goes_on() {
    let world = World::aws_kms();
    let key = world.p256("a");
    world.kms().fault("Sign", Fault::Refuse(400, "AccessDeniedException"), None);
    let error = world.signs(&key).unwrap_err();
    assert!(matches!(&error, SignError::Backend(BackendError::Denied { .. })), "{error}");
    assert!(
        error.to_string().contains("docs/devices/aws-kms.md") && error.to_string().contains("Sign answered"),
        "{error}"
    );
    world.kms().end_faults();
    world.signs_again(&key);
    world.kms().fault("CreateKey", Fault::Refuse(400, "AccessDeniedException"), None);
    let error = world.keyring.generate(&request("b", KeyKind::EcdsaP256)).unwrap_err();
    assert!(matches!(error, BackendError::Denied { .. }), "{error}");
}

#[test]
fn nobody_is_let_in_with_credentials_that_are_none_and_their_secret_is_told_to_nobody() {
    let place = Place::AwsKms(Kms::new(), tempfile::tempdir().unwrap());
    let error = place.open("AKIANOBODYAT0ALL0000").unwrap_err();
    assert!(matches!(error, BackendError::CredentialsRefused { .. }), "{error}");
    let shown = format!("{error} {error:?} {:?}", place.config("AKIANOBODYAT0ALL0000", 1));
    assert!(!shown.contains(hallmark_test_aws_kms::SECRET_ACCESS_KEY) && !shown.contains("AKIANOBODY"), "{shown}");
}

#[test]
fn a_configuration_that_cannot_work_is_refused_before_anybody_is_asked() {
    let (kms, directory) = (Kms::new(), tempfile::tempdir().unwrap());
    let path = write(&directory, &Kms::credentials());
    for (sessions, deletion_days, word) in
        [(0, 7, "`sessions`"), (65, 7, "`sessions`"), (1, 6, "`deletion-days`"), (1, 31, "`deletion-days`")]
    {
        let config = AwsKmsConfig { deletion_days, ..config(&kms, &path, sessions) };
        let error = Keyring::open_backend(crate::BackendConfig::AwsKms(config), SoftwareKeys::Refused).unwrap_err();
        assert!(matches!(&error, BackendError::Configuration { detail } if detail.contains(word)), "{error}");
    }
    assert!(kms.calls().is_empty());
}

#[test]
fn what_is_called_is_what_the_page_s_iam_policy_allows_and_nothing_else() {
    let world = World::aws_kms();
    let key = world.p256("a");
    world.signs(&key).unwrap();
    world.keyring.random(&mut [0; 16]).unwrap();
    world.keyring.guards(&key.reference, key.public.digest()).unwrap();
    world.keyring.attest(&key.reference, key.public.digest()).unwrap();
    world.keyring.inspect(&key.reference, KeyPurpose::Epoch).unwrap();
    world.keyring.destroy(&key.reference, key.public.digest()).unwrap();
    assert!(world.keyring.clear(key.reference.label()).unwrap().refused.is_none());
    let called: BTreeSet<_> = world.kms().calls().into_keys().map(|call| format!("kms:{call}")).collect();
    let declared: BTreeSet<_> = hallmark_aws_kms::Client::ACTIONS.into_iter().map(str::to_owned).collect();
    assert_eq!(called, declared);

    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/devices/aws-kms.md")).unwrap();
    let policy = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let policy: serde_json::Value = serde_json::from_str(policy).unwrap();
    let statements = policy["Statement"].as_array().unwrap();
    let allowed: BTreeSet<_> = statements
        .iter()
        .flat_map(|statement| statement["Action"].as_array().unwrap())
        .map(|action| action.as_str().unwrap().to_owned())
        .collect();
    // What KMS wants beside CreateKey where a key is made with tags.
    let with_tags = BTreeSet::from(["kms:TagResource".to_owned()]);
    assert_eq!(allowed, &declared | &with_tags);
}
