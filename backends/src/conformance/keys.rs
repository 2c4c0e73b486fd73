use std::{fs, os::unix::fs::PermissionsExt as _};

use cryptoki::{
    mechanism::MechanismType,
    object::{Attribute, ObjectClass},
};
use hallmark_policy::key::{KeyKind, SignatureAlgorithm};
use hallmark_test_aws_kms::Fault;
use hallmark_test_token::{PIN, Token};
use serde_json::json;

use super::{Place, World, module, request};
use crate::{
    BackendConfig, BackendError, KeyPurpose, KeyRequest, Keyring, ModuleWaiver, NewKey, SignError, SoftwareKeys,
    Waiver, pkcs11::template,
};

#[test]
fn a_key_is_found_again_by_its_stored_name_and_digest() {
    for World { keyring, place } in World::all("again") {
        let kind = *place.kinds().get(1).unwrap();
        let key = keyring.generate(&request("issuer-1", kind)).unwrap();
        let stored = key.reference.to_string();
        drop(keyring);
        let keyring = place.open(PIN).unwrap();
        let found = keyring.open(&stored.parse().unwrap(), key.public.digest()).unwrap();
        assert_eq!(found, key.public);
        assert_eq!(keyring.list().unwrap(), [key.reference]);
    }
}

#[test]
fn a_key_whose_public_key_is_not_the_expected_one_is_refused() {
    for world in World::all("replaced") {
        let old = world.key("issuer", KeyKind::EcdsaP256);
        replace(&world, &old);
        let error = world.keyring.open(&old.reference, old.public.digest()).unwrap_err();
        assert!(
            matches!(&error, BackendError::WrongKey { expected, .. } if *expected == old.public.digest()),
            "{error}"
        );
        let error = world.keyring.destroy(&old.reference, old.public.digest()).unwrap_err();
        assert!(matches!(error, BackendError::WrongKey { .. }), "{error}");
        let error = world.sign(&old, SignatureAlgorithm::EcdsaSha256).unwrap_err();
        assert!(matches!(error, SignError::NotOpen { .. }), "{error}");
    }
}

#[test]
fn a_key_that_others_could_read_is_refused_by_the_attribute_s_name() {
    for world in World::all("extractable") {
        let (reference, public, attribute) = match &world.place {
            Place::Directory(directory) => {
                let key = world.key("loose", KeyKind::EcdsaP256);
                let path = directory.path().join("keys/loose.epoch.pem");
                fs::set_permissions(path, fs::Permissions::from_mode(0o640)).unwrap();
                (key.reference, Some(key.public), "file mode")
            }
            Place::Token(token) => {
                make_pair(token, b"\x01", b"loose", Attribute::Extractable(true));
                ("pkcs11:id=01;object=loose".parse().unwrap(), None, "CKA_EXTRACTABLE")
            }
            Place::AwsKms(kms, _) => {
                let id = kms.make("loose", &json!({ "Origin": "EXTERNAL" }));
                (format!("aws-kms:id={id};object=loose").parse().unwrap(), None, "Origin")
            }
            Place::YubiHsm(_) | Place::Manual(_) => {
                let capabilities = ["sign-ecdsa", "exportable-under-wrap"];
                make_object(&world.place, 0x6001, b"loose", &capabilities);
                ("yubihsm:id=6001;object=loose".parse().unwrap(), None, "capabilities")
            }
        };
        let expected = public.map_or_else(|| digest_of(&world, &reference), |public| public.digest());
        let error = world.keyring.open(&reference, expected).unwrap_err();
        assert!(
            matches!(&error, BackendError::WrongAttribute { attribute: found, .. } if *found == attribute),
            "{error}"
        );
        assert!(error.to_string().contains("loose") && error.to_string().contains(attribute), "{error}");
    }
}

#[test]
fn a_key_that_can_do_more_than_sign_is_refused() {
    let world = World::softhsm("decrypt");
    let cases = [
        (Attribute::Decrypt(true), "CKA_DECRYPT"),
        (Attribute::Derive(true), "CKA_DERIVE"),
        (Attribute::Unwrap(true), "CKA_UNWRAP"),
        (Attribute::SignRecover(true), "CKA_SIGN_RECOVER"),
        (Attribute::Modifiable(true), "CKA_MODIFIABLE"),
        (Attribute::Copyable(true), "CKA_COPYABLE"),
        (Attribute::Sensitive(false), "CKA_SENSITIVE"),
        (
            Attribute::AllowedMechanisms(vec![MechanismType::ECDSA, MechanismType::ECDH1_DERIVE]),
            "CKA_ALLOWED_MECHANISMS",
        ),
    ];
    for (number, (attribute, name)) in (1..).zip(cases) {
        make_pair(world.token(), &[number], b"wide", attribute);
        let reference = format!("pkcs11:id={number:02x};object=wide").parse().unwrap();
        let expected = digest_of(&world, &reference);
        let error = world.keyring.open(&reference, expected).unwrap_err();
        assert!(
            matches!(&error, BackendError::WrongAttribute { attribute, .. } if *attribute == name),
            "{name}: {error}"
        );
    }
}

#[test]
fn a_twin_of_a_token_s_key_is_told_from_it_by_the_public_key_and_two_files_of_one_name_are_refused() {
    for world in World::all("twin") {
        let key = world.key("issuer", KeyKind::EcdsaP256);
        match &world.place {
            Place::Directory(directory) => {
                let keys = directory.path().join("keys");
                fs::copy(keys.join("issuer.epoch.pem"), keys.join("issuer.root.pem")).unwrap();
                let error = world.keyring.open(&key.reference, key.public.digest()).unwrap_err();
                assert!(matches!(error, BackendError::KeyAmbiguous { .. }), "{error}");
            }
            Place::AwsKms(kms, _) => {
                // An id is given once; a name may stand at several.
                kms.make("issuer", &json!({}));
                assert_eq!(world.keyring.open(&key.reference, key.public.digest()).unwrap(), key.public);
                world.sign(&key, SignatureAlgorithm::EcdsaSha256).unwrap();
            }
            Place::YubiHsm(_) | Place::Manual(_) => {
                // A number is given once; a label may stand at several.
                make_object(&world.place, 0x6001, b"issuer", &["sign-ecdsa"]);
                assert_eq!(world.keyring.open(&key.reference, key.public.digest()).unwrap(), key.public);
                world.sign(&key, SignatureAlgorithm::EcdsaSha256).unwrap();
            }
            Place::Token(token) => {
                let id = key.reference.pkcs11_id().unwrap();
                make_pair(token, id, b"other", Attribute::Extractable(false));
                make_pair(token, b"\x01", b"issuer", Attribute::Extractable(false));
                assert_eq!(world.keyring.open(&key.reference, key.public.digest()).unwrap(), key.public);
                // One as strictly kept as the key itself, and one that is not.
                make_pair(token, id, b"issuer", Attribute::Extractable(false));
                make_pair(token, id, b"issuer", Attribute::Extractable(true));
                assert_eq!(world.keyring.open(&key.reference, key.public.digest()).unwrap(), key.public);
                for _ in 0..2 {
                    world.sign(&key, SignatureAlgorithm::EcdsaSha256).unwrap();
                }
                let error = world.keyring.destroy(&key.reference, key.public.digest()).unwrap_err();
                assert!(matches!(error, BackendError::KeyAmbiguous { .. }), "{error}");
                let stranger = world.key("stranger", KeyKind::EcdsaP256).public.digest();
                let error = world.keyring.open(&key.reference, stranger).unwrap_err();
                assert!(matches!(error, BackendError::WrongKey { .. }), "{error}");
            }
        }
    }
}

#[test]
fn a_twin_without_the_key_itself_signs_nothing() {
    let world = World::softhsm("twins-only");
    let key = world.key("issuer", KeyKind::EcdsaP256);
    let id = key.reference.pkcs11_id().unwrap();
    for _ in 0..2 {
        make_pair(world.token(), id, b"issuer", Attribute::Extractable(false));
    }
    let session = world.token().session();
    let private = [Attribute::Class(cryptoki::object::ObjectClass::PRIVATE_KEY), Attribute::Id(id.to_vec())];
    // The oldest object is the key's own.
    let own = session.find_objects(&private).unwrap().into_iter().next().unwrap();
    session.destroy_object(own).unwrap();
    drop(session);
    let error = world.sign(&key, SignatureAlgorithm::EcdsaSha256).unwrap_err();
    assert!(matches!(error, SignError::Backend(BackendError::KeyAmbiguous { .. })), "{error}");
}

#[test]
fn a_label_is_given_once() {
    for world in World::all("label") {
        world.key("issuer", KeyKind::EcdsaP256);
        let error = world.keyring.generate(&request("issuer", KeyKind::EcdsaP384)).unwrap_err();
        assert!(matches!(error, BackendError::LabelTaken { .. }), "{error}");
        assert_eq!(world.keyring.list().unwrap().len(), 1);
    }
}

#[test]
fn a_destroyed_key_is_gone_and_a_root_s_key_is_not_destroyed() {
    for world in World::all("destroy") {
        let epoch = world.key("epoch", KeyKind::EcdsaP256);
        let root = KeyRequest { purpose: KeyPurpose::Root, ..request("root", KeyKind::EcdsaP256) };
        let root = world.keyring.generate(&root).unwrap();
        world.keyring.open(&root.reference, root.public.digest()).unwrap();

        world.keyring.destroy(&epoch.reference, epoch.public.digest()).unwrap();
        let error = world.keyring.open(&epoch.reference, epoch.public.digest()).unwrap_err();
        assert!(matches!(error, BackendError::KeyNotFound { .. }), "{error}");
        let error = world.sign(&epoch, SignatureAlgorithm::EcdsaSha256).unwrap_err();
        assert!(matches!(error, SignError::NotOpen { .. }), "{error}");

        let error = world.keyring.destroy(&root.reference, root.public.digest()).unwrap_err();
        assert!(matches!(error, BackendError::NotDestroyable { .. }), "{error}");
        world.sign(&root, SignatureAlgorithm::EcdsaSha256).unwrap();
        assert_eq!(world.keyring.list().unwrap(), [root.reference]);
    }
}

#[test]
fn a_key_made_for_one_purpose_is_not_taken_over_for_another() {
    for world in World::all("purpose") {
        let keys = [KeyPurpose::Root, KeyPurpose::Epoch].map(|purpose| {
            let label = format!("{purpose:?}").to_lowercase();
            let made = world.keyring.generate(&KeyRequest { purpose, ..request(&label, KeyKind::EcdsaP256) }).unwrap();
            (purpose, made)
        });
        for (made_for, key) in &keys {
            for purpose in [KeyPurpose::Root, KeyPurpose::Epoch] {
                let inspected = world.keyring.inspect(&key.reference, purpose);
                if purpose == *made_for {
                    assert_eq!(inspected.unwrap(), key.public);
                    continue;
                }
                let attribute = match &world.place {
                    // A module that does not know that attribute.
                    Place::Token(token) if module(token).waived.contains(&ModuleWaiver::Destroyable) => "CKA_ID",
                    Place::Token(_) => "CKA_DESTROYABLE",
                    Place::Directory(_) => "purpose",
                    Place::YubiHsm(_) | Place::Manual(_) => "object-id",
                    Place::AwsKms(..) => "hallmark-purpose",
                };
                let error = inspected.unwrap_err();
                assert!(
                    matches!(&error, BackendError::WrongAttribute { attribute: found, .. } if *found == attribute),
                    "{error}"
                );
            }
            world.keyring.open(&key.reference, key.public.digest()).unwrap();
        }
    }
}

#[test]
fn a_key_that_the_device_made_destroyable_against_its_purpose_is_told_by_name() {
    let world = World::softhsm("destroyable");
    for (id, purpose) in [(1, KeyPurpose::Root), (2, KeyPurpose::Epoch)] {
        // What a device would leave behind that does not do as it is told.
        make_pair(world.token(), &[id], b"loose", Attribute::Destroyable(purpose == KeyPurpose::Root));
        let reference = format!("pkcs11:id={id:02x};object=loose").parse().unwrap();
        let error = world.keyring.inspect(&reference, purpose).unwrap_err();
        assert!(
            matches!(&error, BackendError::WrongAttribute { attribute: "CKA_DESTROYABLE", .. }),
            "{purpose:?}: {error}"
        );
    }
}

#[test]
fn a_key_deleted_behind_our_back_is_missed_by_name() {
    for world in World::all("deleted") {
        let key = world.key("issuer", KeyKind::EcdsaP256);
        world.sign(&key, SignatureAlgorithm::EcdsaSha256).unwrap();
        match &world.place {
            Place::Directory(directory) => fs::remove_file(directory.path().join("keys/issuer.epoch.pem")).unwrap(),
            Place::Token(_) | Place::YubiHsm(_) | Place::Manual(_) | Place::AwsKms(..) => {
                delete(&world.place, &key);
                let error = world.sign(&key, SignatureAlgorithm::EcdsaSha256).unwrap_err();
                assert!(matches!(error, SignError::Backend(BackendError::KeyNotFound { .. })), "{error}");
            }
        }
        let error = world.keyring.open(&key.reference, key.public.digest()).unwrap_err();
        assert!(matches!(&error, BackendError::KeyNotFound { key: missed } if *missed == key.reference), "{error}");
    }
}

#[test]
fn a_name_of_another_backend_is_refused() {
    let worlds = [World::software(), World::softhsm("other"), World::yubihsm(), World::aws_kms()];
    let keys: Vec<_> = worlds.iter().map(|world| world.key("issuer", KeyKind::EcdsaP256)).collect();
    for (at, world) in worlds.iter().enumerate() {
        for (of, key) in keys.iter().enumerate() {
            let opened = world.keyring.open(&key.reference, key.public.digest());
            assert!(
                if at == of { opened.is_ok() } else { matches!(opened, Err(BackendError::Reference(_))) },
                "{at} {of}"
            );
        }
    }
}

#[test]
fn software_keys_need_more_than_a_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let config = BackendConfig::Software { directory: directory.path().join("keys"), passphrase: PIN.into() };
    let error = Keyring::open_backend(config, SoftwareKeys::Refused).unwrap_err();
    assert!(matches!(error, BackendError::SoftwareNotAdmitted), "{error}");
    assert!(!directory.path().join("keys").exists());
}

#[test]
fn a_wrong_passphrase_opens_no_key() {
    let World { keyring, place } = World::software();
    let key = keyring.generate(&request("issuer", KeyKind::Ed25519)).unwrap();
    let other = place.open("another passphrase").unwrap();
    let error = other.open(&key.reference, key.public.digest()).unwrap_err();
    assert!(matches!(error, BackendError::WrongPin { .. }), "{error}");
    assert!(!error.to_string().contains("another passphrase"));
}

/// Makes a P-256 pair behind the keyring's back, guarded as it should be but for `different`.
pub(super) fn make_pair(token: &Token, id: &[u8], label: &[u8], different: Attribute) {
    let kind = KeyKind::EcdsaP256;
    let text = String::from_utf8(label.to_vec()).unwrap();
    let waived: Vec<_> = module(token).waived.into_iter().map(Waiver::from).collect();
    let unknown: Vec<_> = Waiver::UNKNOWN.into_iter().filter(|it| waived.contains(it)).map(Waiver::attribute).collect();
    let known = |attribute: &Attribute| !template::is_one_of(attribute, kind, &unknown);
    let mut private = template::private_key(kind, id, &text, KeyPurpose::Epoch);
    private.retain(|attribute| known(attribute) && attribute.attribute_type() != different.attribute_type());
    private.push(different);
    let mut public = template::public_key(&template::ways(kind).remove(0), id, &text, KeyPurpose::Epoch);
    public.retain(known);
    let generation = template::generation(kind);
    token.session().generate_key_pair(&generation, &public, &private).unwrap();
}

/// Makes a P-256 key of a YubiHSM behind the keyring's back.
fn make_object(place: &Place, id: u16, label: &[u8], capabilities: &[&str]) {
    match place {
        Place::YubiHsm(device) => device.generate(id, label, capabilities, hallmark_test_yubihsm::DOMAIN),
        Place::Manual(device) => device.make(id, label, capabilities),
        Place::Token(_) | Place::Directory(_) | Place::AwsKms(..) => panic!("this place has no objects of a YubiHSM"),
    }
}

/// The digest of the public key that is there.
fn digest_of(world: &World, reference: &crate::KeyReference) -> hallmark_policy::key::SpkiDigest {
    if reference.pkcs11_id().is_none() {
        let none = hallmark_policy::key::SpkiDigest::from_bytes([7; 32]);
        let Err(BackendError::WrongKey { found, .. }) = world.keyring.open(reference, none) else {
            panic!("no key is there")
        };
        return found;
    }
    let session = world.token().session();
    crate::pkcs11::objects::find_unproven(&session, reference).unwrap().public.digest()
}

/// Puts another key where `old` is.
fn replace(world: &World, old: &NewKey) {
    match &world.place {
        Place::Directory(directory) => {
            let keys = directory.path().join("keys");
            world.key("other", KeyKind::EcdsaP256);
            fs::rename(keys.join("other.epoch.pem"), keys.join("issuer.epoch.pem")).unwrap();
        }
        Place::Token(token) => {
            delete(&world.place, old);
            let id = old.reference.pkcs11_id().unwrap();
            make_pair(token, id, b"issuer", Attribute::Extractable(false));
        }
        Place::AwsKms(kms, _) => {
            // An id is never given again: KMS itself would have to lie.
            let other = kms.make("other", &json!({}));
            let public = kms.call("GetPublicKey", &json!({ "KeyId": other }));
            kms.fault("GetPublicKey", Fault::Say("PublicKey", public["PublicKey"].clone()), None);
        }
        Place::YubiHsm(_) | Place::Manual(_) => {
            delete(&world.place, old);
            make_object(&world.place, old.reference.yubihsm_id().unwrap(), b"issuer", &["sign-ecdsa"]);
        }
    }
}

fn delete(place: &Place, key: &NewKey) {
    let token = match place {
        Place::Token(token) => token,
        Place::YubiHsm(device) => return device.delete(key.reference.yubihsm_id().unwrap()),
        Place::Manual(device) => return device.remove(key.reference.yubihsm_id().unwrap()),
        Place::AwsKms(kms, _) => {
            let id = key.reference.aws_kms_id().unwrap().as_str();
            kms.call("ScheduleKeyDeletion", &json!({ "KeyId": id }));
            return;
        }
        Place::Directory(_) => panic!("files are removed otherwise"),
    };
    let session = token.session();
    for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
        let id = key.reference.pkcs11_id().unwrap().to_vec();
        for object in session.find_objects(&[Attribute::Class(class), Attribute::Id(id)]).unwrap() {
            session.destroy_object(object).unwrap();
        }
    }
}

#[test]
fn a_key_that_is_closed_signs_no_more_until_it_is_opened_again() {
    for world in World::all("closed") {
        let key = world.key("issuer", KeyKind::EcdsaP256);
        world.sign(&key, SignatureAlgorithm::EcdsaSha256).unwrap();
        world.keyring.close(key.public.digest());
        let error = world.sign(&key, SignatureAlgorithm::EcdsaSha256).unwrap_err();
        assert!(matches!(error, SignError::NotOpen { .. }), "{error}");
        world.keyring.open(&key.reference, key.public.digest()).unwrap();
        world.sign(&key, SignatureAlgorithm::EcdsaSha256).unwrap();
    }
}

#[test]
fn every_key_of_a_label_is_cleared_and_no_other() {
    for world in World::all("cleared") {
        let other = world.key("issuer-1", KeyKind::EcdsaP256);
        let mut twins = 1;
        match &world.place {
            Place::Directory(_) => drop(world.key("issuer", KeyKind::EcdsaP256)),
            Place::AwsKms(kms, _) => {
                (0..2).for_each(|_| drop(kms.make("issuer", &json!({}))));
                twins = 2;
            }
            Place::YubiHsm(_) | Place::Manual(_) => {
                for id in [0x6001, 0x6002] {
                    make_object(&world.place, id, b"issuer", &["sign-ecdsa"]);
                }
                twins = 2;
            }
            Place::Token(token) => {
                // As ids of epochs' keys begin where a module does not know which keys last.
                for id in [b"epoc\x01", b"epoc\x01", b"epoc\x02"] {
                    make_pair(token, id, b"issuer", Attribute::Extractable(false));
                }
                twins = 3;
            }
        }
        let label = crate::KeyLabel::parse("issuer").unwrap();
        assert_eq!(world.keyring.clear(&label).unwrap().keys(), twins);
        assert_eq!(world.keyring.clear(&label).unwrap().keys(), 0);
        assert_eq!(world.keyring.list().unwrap(), std::slice::from_ref(&other.reference));
        world.sign(&other, SignatureAlgorithm::EcdsaSha256).unwrap();
    }
}

#[test]
fn a_root_s_key_is_not_cleared() {
    for world in World::all("cleared-root") {
        let wanted = KeyRequest { purpose: KeyPurpose::Root, ..request("root", KeyKind::EcdsaP256) };
        let root = world.keyring.generate(&wanted).unwrap();
        let error = world.keyring.clear(root.reference.label()).unwrap_err();
        assert!(matches!(error, BackendError::NotDestroyable { .. }), "{error}");
        assert_eq!(world.keyring.list().unwrap(), [root.reference]);
    }
}

#[test]
fn what_guards_a_key_can_be_told_as_evidence() {
    let world = World::softhsm("guards");
    let key = world.key("a", KeyKind::EcdsaP384);
    let told = world.keyring.guards(&key.reference, key.public.digest()).unwrap();
    let of = |name: &str| told.iter().find(|guard| guard.attribute == name).map(|guard| guard.value.as_str());
    for (name, value) in [
        ("CKA_SENSITIVE", "true"),
        ("CKA_EXTRACTABLE", "false"),
        ("CKA_NEVER_EXTRACTABLE", "true"),
        ("CKA_LOCAL", "true"),
        ("CKA_ALLOWED_MECHANISMS", "[CKM_ECDSA]"),
    ] {
        assert_eq!(of(name), Some(value), "{name}");
    }
    assert!(of("CKA_DESTROYABLE").is_some());
    let other = hallmark_policy::key::SpkiDigest::from_bytes([7; 32]);
    assert!(world.keyring.guards(&key.reference, other).is_err());
    assert!(
        world.keyring.attest(&key.reference, key.public.digest()).unwrap().is_empty(),
        "PKCS #11 has no attestation"
    );
    assert!(world.keyring.attest(&key.reference, other).is_err());
}
