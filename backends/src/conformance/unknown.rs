//! A module that is older than some attributes. What it does not know can be waived, by name; what it knows and says otherwise cannot.

use cryptoki::object::Attribute;
use hallmark_faulty::{
    Device, Effect, Function, When,
    cryptoki_sys::{CKA_ALLOWED_MECHANISMS, CKA_COPYABLE, CKA_DESTROYABLE},
};
use hallmark_policy::key::{KeyKind, SignatureAlgorithm};
use hallmark_test_token::{PIN, Token};

use super::{AMPLE, keys::make_pair, message, request, sign};
use crate::{
    BackendConfig, BackendError, KeyPurpose, KeyRequest, Keyring, ModuleConfig, ModuleWaiver, NewKey, SoftwareKeys,
    TokenConfig,
};

const UNKNOWN: [(u64, ModuleWaiver, &str); 3] = [
    (CKA_COPYABLE, ModuleWaiver::Copyable, "CKA_COPYABLE"),
    (CKA_ALLOWED_MECHANISMS, ModuleWaiver::AllowedMechanisms, "CKA_ALLOWED_MECHANISMS"),
    (CKA_DESTROYABLE, ModuleWaiver::Destroyable, "CKA_DESTROYABLE"),
];

/// A token behind a module that need not know these.
fn open(device: &Device, token: &Token, waived: &[ModuleWaiver]) -> Keyring {
    let token = TokenConfig {
        module: ModuleConfig { waived: waived.to_vec(), ..device.module().into() },
        label: token.label().to_owned(),
        serial: Some(token.serial().to_owned()),
        pin: PIN.into(),
        sessions: 1,
        waived: Vec::new(),
        exceptions: crate::Exceptions::default(),
    };
    Keyring::open_backend(BackendConfig::Pkcs11(token), SoftwareKeys::Refused).unwrap()
}

/// The module knows nothing of these.
fn forget(device: &Device, attributes: impl IntoIterator<Item = u64>) {
    for attribute in attributes {
        for function in [Function::GetAttributeValue, Function::GenerateKeyPair] {
            device.fault(function, When::Always, Effect::NotKnown(attribute));
        }
    }
}

fn all() -> Vec<ModuleWaiver> {
    UNKNOWN.iter().map(|(_, waiver, _)| *waiver).collect()
}

fn signs(keyring: &Keyring, key: &NewKey) {
    keyring.open(&key.reference, key.public.digest()).unwrap();
    sign(keyring, message(key.public.digest(), SignatureAlgorithm::EcdsaSha256), AMPLE).unwrap();
}

fn guard(keyring: &Keyring, key: &NewKey, attribute: &str) -> String {
    let guards = keyring.guards(&key.reference, key.public.digest()).unwrap();
    guards.into_iter().find(|guard| guard.attribute == attribute).unwrap().value
}

#[test]
fn a_module_that_does_not_know_an_attribute_makes_keys_where_that_one_is_waived_and_else_none() {
    for (attribute, waiver, name) in UNKNOWN {
        let (token, device) = (Token::make("older"), Device::new());
        forget(&device, [attribute]);
        let others: Vec<_> = all().into_iter().filter(|other| *other != waiver).collect();
        for waived in [Vec::new(), others] {
            let keyring = open(&device, &token, &waived);
            let error = keyring.generate(&request("a", KeyKind::EcdsaP256)).unwrap_err();
            assert!(error.to_string().contains("CKR_ATTRIBUTE_TYPE_INVALID"), "{name}: {error}");
            assert!(keyring.list().unwrap().is_empty(), "{name}: nothing is left");
        }
        let keyring = open(&device, &token, &[waiver]);
        assert!(keyring.describe().to_string().ends_with(&format!("waived {name}")));
        let key = keyring.generate(&request("a", KeyKind::EcdsaP256)).unwrap();
        signs(&keyring, &key);
        for (_, _, told) in UNKNOWN {
            assert_eq!(guard(&keyring, &key, told) == "absent", told == name, "{told}");
        }
        // Without it, a key that is there is refused by the attribute's name.
        let error = open(&device, &token, &[]).open(&key.reference, key.public.digest()).unwrap_err();
        assert!(
            matches!(&error, BackendError::WrongAttribute { attribute, found, .. } if *attribute == name && found == "absent"),
            "{error}"
        );
    }
}

#[test]
fn what_a_module_knows_is_asked_of_it_also_where_it_need_not_know_it() {
    let (token, device) = (Token::make("younger"), Device::new());
    let keyring = open(&device, &token, &all());
    let key = keyring.generate(&request("strict", KeyKind::EcdsaP256)).unwrap();
    signs(&keyring, &key);
    assert_eq!(
        (guard(&keyring, &key, "CKA_COPYABLE"), guard(&keyring, &key, "CKA_DESTROYABLE")),
        ("false".into(), "true".into())
    );
    let mechanisms = vec![cryptoki::mechanism::MechanismType::ECDH1_DERIVE];
    for (id, different, name) in [
        (1, Attribute::Copyable(true), "CKA_COPYABLE"),
        (2, Attribute::AllowedMechanisms(mechanisms), "CKA_ALLOWED_MECHANISMS"),
        (3, Attribute::Decrypt(true), "CKA_DECRYPT"),
    ] {
        make_pair(&token, &[id], b"loose", different);
        let reference = format!("pkcs11:id={id:02x};object=loose").parse().unwrap();
        let error = keyring.inspect(&reference, KeyPurpose::Epoch).unwrap_err();
        assert!(matches!(&error, BackendError::WrongAttribute { attribute, .. } if *attribute == name), "{error}");
    }
}

#[test]
fn where_a_module_does_not_know_which_keys_last_their_ids_say_it_and_no_root_is_destroyed() {
    let (token, device) = (Token::make("ids"), Device::new());
    forget(&device, [CKA_DESTROYABLE]);
    let keyring = open(&device, &token, &[ModuleWaiver::Destroyable]);
    let root = KeyRequest { purpose: KeyPurpose::Root, ..request("root", KeyKind::EcdsaP256) };
    let root = keyring.generate(&root).unwrap();
    let epoch = keyring.generate(&request("epoch", KeyKind::EcdsaP256)).unwrap();
    for (key, purpose, other) in
        [(&root, KeyPurpose::Root, KeyPurpose::Epoch), (&epoch, KeyPurpose::Epoch, KeyPurpose::Root)]
    {
        signs(&keyring, key);
        assert_eq!(keyring.inspect(&key.reference, purpose).unwrap(), key.public);
        let error = keyring.inspect(&key.reference, other).unwrap_err();
        assert!(matches!(error, BackendError::WrongAttribute { attribute: "CKA_ID", .. }), "{error}");
    }
    // Neither a root's nor one of which nothing says what it is for.
    make_pair(&token, &[7; 16], b"anybody-s", Attribute::Destroyable(true));
    for key in [root.reference.clone(), format!("pkcs11:id={};object=anybody-s", "07".repeat(16)).parse().unwrap()] {
        assert!(matches!(keyring.clear(key.label()), Err(BackendError::NotDestroyable { .. })), "{key}");
    }
    let error = keyring.destroy(&root.reference, root.public.digest()).unwrap_err();
    assert!(matches!(error, BackendError::NotDestroyable { .. }), "{error}");
    keyring.destroy(&epoch.reference, epoch.public.digest()).unwrap();
    let again = keyring.generate(&request("epoch", KeyKind::EcdsaP256)).unwrap();
    assert_eq!(keyring.clear(again.reference.label()).unwrap().keys(), 1);
    signs(&keyring, &root);
    // A younger module says of every key that it may be destroyed.
    device.mend();
    let keyring = open(&device, &token, &[ModuleWaiver::Destroyable]);
    assert_eq!(guard(&keyring, &root, "CKA_DESTROYABLE"), "true");
    for error in [
        keyring.destroy(&root.reference, root.public.digest()).map(drop).unwrap_err(),
        keyring.clear(root.reference.label()).map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, BackendError::NotDestroyable { .. }), "{error}");
    }
    signs(&keyring, &root);
}

#[test]
fn a_module_that_fails_once_makes_a_key_with_every_attribute_that_it_knows() {
    const CKR_GENERAL_ERROR: u64 = 0x5;
    let (token, device) = (Token::make("fails"), Device::new());
    let keyring = open(&device, &token, &all());
    device.fault(Function::GenerateKeyPair, When::First(1), Effect::Refuse(CKR_GENERAL_ERROR));
    let key = keyring.generate(&request("a", KeyKind::EcdsaP256)).unwrap();
    for (_, _, name) in UNKNOWN {
        assert_ne!(guard(&keyring, &key, name), "absent", "{name}");
    }
    signs(&keyring, &key);
}
