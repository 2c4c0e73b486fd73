//! How keys are guarded, and the authentication key.

use std::time::Duration;

use hallmark_policy::key::KeyKind;
use hallmark_test_yubihsm::{
    AUTHENTICATION_KEY, CAPABILITIES, DELEGATED, DOMAIN, Device, FACTORY_KEY, FACTORY_PASSWORD, PASSWORD,
};
use hallmark_yubihsm::{Capabilities, Domains, Origin};

use super::super::{
    access::Access,
    least::Duty,
    manual::{Manual, OWN},
};
use crate::{
    BackendConfig, BackendError, CommandLogUse, ErrorClass, KeyLabel, KeyPurpose, KeyRequest, Keyring, NewKey,
    SoftwareKeys, Wrappers, YubiHsmConfig, patience::Patience,
};

pub(super) fn config(device: &Device, key: u16, password: &str) -> YubiHsmConfig {
    YubiHsmConfig {
        connector: device.place().parse().unwrap(),
        authentication_key: key,
        password: password.into(),
        sessions: 1,
        domains: vec![DOMAIN],
        accepted: Vec::new(),
        command_log: CommandLogUse::Off,
        kinds: None,
        findings: crate::DeviceLogFindings::default(),
    }
}

pub(super) fn open(config: YubiHsmConfig) -> Result<Keyring, BackendError> {
    Keyring::open_backend(BackendConfig::YubiHsm(config), SoftwareKeys::Refused)
}

pub(super) fn request(label: &str, kind: KeyKind, purpose: KeyPurpose) -> KeyRequest {
    KeyRequest { label: KeyLabel::parse(label).unwrap(), kind, purpose }
}

pub(super) fn key(keyring: &Keyring, label: &str) -> NewKey {
    let made = keyring.generate(&request(label, KeyKind::EcdsaP256, KeyPurpose::Epoch)).unwrap();
    keyring.open(&made.reference, made.public.digest()).unwrap();
    made
}

fn manual() -> (Manual, Keyring) {
    let device = Manual::new();
    let keyring = device.open(1, CommandLogUse::Off, Patience::default()).unwrap();
    (device, keyring)
}

#[test]
fn a_key_may_do_what_it_needs_and_nothing_else() {
    let device = Device::new();
    let keyring = open(config(&device, AUTHENTICATION_KEY, PASSWORD)).unwrap();
    for (kind, needed) in [(KeyKind::EcdsaP256, Capabilities::SIGN_ECDSA), (KeyKind::Ed25519, Capabilities::SIGN_EDDSA)]
    {
        for purpose in [KeyPurpose::Root, KeyPurpose::Epoch] {
            let label = format!("{}-{}", kind.name(), purpose.name());
            let made = keyring.generate(&request(&label, kind, purpose)).unwrap();
            let told = device.capabilities_of(made.reference.yubihsm_id().unwrap());
            assert_eq!(Capabilities::from_bits(told), needed, "{label}");
        }
    }
}

#[test]
fn what_guards_a_key_is_told_by_the_names_of_the_manual() {
    let (_, keyring) = manual();
    let made = keyring.generate(&request("root", KeyKind::EcdsaP384, KeyPurpose::Root)).unwrap();
    let guards = keyring.guards(&made.reference, made.public.digest()).unwrap();
    let told: Vec<_> = guards.iter().skip(1).map(|guard| format!("{} = {}", guard.attribute, guard.value)).collect();
    assert_eq!(
        told,
        [
            "yubihsm.algorithm = ecp384",
            "yubihsm.capabilities = sign-ecdsa",
            "yubihsm.delegated-capabilities = none",
            "yubihsm.domains = 1",
            "yubihsm.origin = generated",
            "yubihsm.sequence = 0"
        ]
    );
    // What a ceremony foretells.
    for ((attribute, value), guard) in crate::yubihsm_guards(KeyKind::EcdsaP384).into_iter().zip(&guards) {
        assert_eq!(attribute, guard.attribute);
        assert!(value.is_none_or(|value| value == guard.value), "{attribute}");
    }
    assert_eq!((guards[0].attribute, guards[0].value.len()), ("yubihsm.object-id", 6));
}

#[test]
fn a_key_that_is_guarded_less_is_refused_by_the_attribute_s_name() {
    let (device, keyring) = manual();
    let made = key(&keyring, "issuer");
    let id = made.reference.yubihsm_id().unwrap();
    let open = || keyring.open(&made.reference, made.public.digest());
    type Change = fn(&mut hallmark_yubihsm::Object);
    let changes: [(&str, Change); 5] = [
        ("origin", |object| object.origin = Origin::Imported),
        ("origin", |object| object.origin = Origin::WrappedGenerated),
        ("domains", |object| object.domains = Domains::of(&[1, 2]).unwrap()),
        ("delegated-capabilities", |object| object.delegated = Capabilities::SIGN_ECDSA),
        ("capabilities", |object| object.capabilities = Capabilities::named("derive-ecdh").unwrap()),
    ];
    for (attribute, change) in changes {
        let mut before = None;
        device.change(id, |object| {
            before = Some(object.clone());
            change(object);
        });
        let error = open().unwrap_err();
        assert!(
            matches!(&error, BackendError::WrongAttribute { attribute: found, .. } if *found == attribute),
            "{error}"
        );
        device.change(id, |object| *object = before.unwrap());
        open().unwrap();
    }
}

#[test]
fn a_key_that_was_brought_in_from_outside_is_refused() {
    let device = Device::new();
    let keyring = open(config(&device, AUTHENTICATION_KEY, PASSWORD)).unwrap();
    device.put(0x6001, b"issuer");
    let reference = "yubihsm:id=6001;object=issuer".parse().unwrap();
    let error = keyring.inspect(&reference, KeyPurpose::Epoch).unwrap_err();
    assert!(matches!(&error, BackendError::WrongAttribute { attribute: "origin", .. }), "{error}");
}

#[test]
fn the_number_says_which_keys_are_never_deleted_from_here() {
    let (device, keyring) = manual();
    device.make(0x0001, b"vendor", &["sign-ecdsa"]);
    let reference = "yubihsm:id=0001;object=vendor".parse().unwrap();
    let none = hallmark_policy::key::SpkiDigest::from_bytes([7; 32]);
    let Err(BackendError::WrongKey { found, .. }) = keyring.open(&reference, none) else { panic!("no key") };
    let error = keyring.destroy(&reference, found).unwrap_err();
    assert!(matches!(error, BackendError::NotDestroyable { .. }), "{error}");
    assert!(matches!(keyring.clear(reference.label()), Err(BackendError::NotDestroyable { .. })));
    assert_eq!(device.keys(), [1]);
}

#[test]
fn an_authentication_key_that_can_do_more_is_refused_unless_each_thing_is_named() {
    let device = Device::new();
    let domains: Vec<_> = (1..=16).collect();
    let factory = || YubiHsmConfig { domains: domains.clone(), ..config(&device, FACTORY_KEY, FACTORY_PASSWORD) };
    let error = open(factory()).unwrap_err();
    let sentence = error.to_string();
    assert!(matches!(error, BackendError::Configuration { .. }), "{sentence}");
    for much in ["export-wrapped", "reset-device", "put-authentication-key", "accept-capabilities"] {
        assert!(sentence.contains(much), "{much} in {sentence}");
    }
    let accepted = Capabilities::from_bits(u64::MAX).names();
    let keyring = open(YubiHsmConfig { accepted, ..factory() }).unwrap();
    keyring.health().unwrap();
    let one_more = [&CAPABILITIES[..], &["export-wrapped"]].concat();
    device.put_authentication_key(3, PASSWORD, &one_more, &DELEGATED);
    let error = open(config(&device, 3, PASSWORD)).unwrap_err();
    assert!(error.to_string().contains("can do more than it needs to: export-wrapped;"), "{error}");
}

#[test]
fn what_the_authentication_key_needs_is_what_the_signer_uses_of_it() {
    // With each one taken away, something fails by the device's own refusal, or the start.
    let full = Manual::new().state().authentication.clone();
    let whole = |device: &Manual| -> Result<(), BackendError> {
        let keyring = device.open(1, CommandLogUse::Off, Patience::default())?;
        let made = keyring.generate(&request("a", KeyKind::EcdsaP256, KeyPurpose::Epoch))?;
        keyring.random(&mut [0; 8])?;
        keyring.destroy(&made.reference, made.public.digest()).map(drop)
    };
    whole(&Manual::new()).unwrap();
    for name in ["generate-asymmetric-key", "delete-asymmetric-key", "get-pseudo-random"] {
        let device = Manual::new();
        let lacks = full.capabilities.without(Capabilities::named(name).unwrap());
        device.state().authentication.capabilities = lacks;
        let error = whole(&device).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
    // A key of a kind that is not delegated is not made, and says so.
    let device = Manual::new();
    device.state().authentication.delegated = Capabilities::SIGN_EDDSA;
    let error = whole(&device).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Refused);
    assert!(error.to_string().contains("YHR_DEVICE_INSUFFICIENT_PERMISSIONS"), "{error}");
}

#[test]
fn the_certificates_of_the_device_over_a_key_are_given_where_it_may_make_them() {
    let (device, keyring) = manual();
    let made = key(&keyring, "issuer");
    let attest = |keyring: &Keyring| keyring.attest(&made.reference, made.public.digest());
    let certificates = attest(&keyring).unwrap();
    assert_eq!(certificates.len(), 2);
    assert!(certificates[0].windows(65).any(|part| part == made.public.raw()));
    assert_eq!(certificates[1], b"the maker's certificate");
    device.state().lies = true;
    let error = attest(&keyring).unwrap_err();
    assert!(matches!(error, BackendError::OtherAttested { .. }), "{error}");
    let without = Capabilities::SIGN_ATTESTATION_CERTIFICATE;
    let lacks = device.state().authentication.capabilities.without(without);
    device.state().authentication.capabilities = lacks;
    let keyring = device.open(1, CommandLogUse::Off, Patience::default()).unwrap();
    assert!(attest(&keyring).unwrap().is_empty(), "nobody vouches");
}

#[test]
fn what_a_yubihsm_does_not_do_is_told_in_words() {
    let (_, keyring) = manual();
    let wrappable = request("a", KeyKind::EcdsaP256, KeyPurpose::Wrappable(Wrappers::Any));
    let sentences = [
        keyring.generate(&wrappable).unwrap_err().to_string(),
        keyring.change_pin(&"another".into()).unwrap_err().to_string(),
    ];
    insta::assert_snapshot!(sentences.join("\n"));
}

#[test]
fn a_configuration_that_cannot_work_is_refused_before_anything_is_asked() {
    let device = Device::new();
    let config = || config(&device, AUTHENTICATION_KEY, PASSWORD);
    let wrong = [
        YubiHsmConfig { sessions: 0, ..config() },
        YubiHsmConfig { sessions: crate::YUBIHSM_SESSIONS_MAX + 1, ..config() },
        YubiHsmConfig { domains: vec![0], ..config() },
        YubiHsmConfig { domains: Vec::new(), ..config() },
        YubiHsmConfig { accepted: vec!["reset".to_owned()], ..config() },
    ];
    let sentences = wrong.map(|config| config.check().unwrap_err().to_string());
    insta::assert_snapshot!(sentences.join("\n"));
    assert_eq!(device.connections(), 0);
    let error = open(YubiHsmConfig { domains: vec![9], ..config() }).map(drop);
    // `Limit::Domains` is about objects: that the authentication key is in another domain, the mock tells.
    assert!(matches!(error, Err(BackendError::Configuration { .. })), "{error:?}");
}

#[test]
fn a_password_is_tried_once_and_never_again() {
    let device = Device::new();
    let error = open(config(&device, AUTHENTICATION_KEY, "another password")).unwrap_err();
    assert!(matches!(error, BackendError::WrongPin { .. }), "{error}");
    assert!(!error.to_string().contains("another password"));
    // One connection to look whether somebody is there, and one that tried.
    assert_eq!(device.connections(), 2);

    let device = Manual::new();
    device.state().password_is_right = false;
    let domains = Domains::of(&[1]).unwrap();
    let duty = Duty::new(None, false, Capabilities::NONE);
    let access = Access::new(
        Box::new(device.clone()),
        OWN,
        domains,
        duty,
        CommandLogUse::Off,
        crate::DeviceLogFindings::default(),
    );
    for _ in 0..5 {
        assert!(matches!(access.session(), Err(BackendError::WrongPin { .. })));
    }
    assert!(access.password_is_refused());
    assert_eq!(device.state().opened, 1);
}

#[test]
fn a_password_that_let_somebody_in_before_is_not_given_up_because_somebody_says_that_it_is_wrong() {
    let (device, keyring) = manual();
    device.state().password_is_right = false;
    device.restart();
    let error = keyring.health().unwrap_err();
    assert_eq!(error.class(), ErrorClass::Gone);
    insta::assert_snapshot!(error.to_string());
    assert!(!keyring.pin_is_refused());
    device.state().password_is_right = true;
    keyring.health().unwrap();
}

#[test]
fn a_key_whose_making_failed_is_not_left_behind() {
    let (device, keyring) = manual();
    for lost in ["GENERATE ASYMMETRIC KEY", "GET PUBLIC KEY"] {
        device.state().loses = Some(lost);
        let made =
            keyring.generate(&request(lost.split(' ').next().unwrap(), KeyKind::Ed25519, KeyPurpose::Epoch)).unwrap();
        keyring.destroy(&made.reference, made.public.digest()).unwrap();
        assert!(device.keys().is_empty(), "{lost}");
    }
    device.state().room = 0;
    let error = keyring.generate(&request("full", KeyKind::Ed25519, KeyPurpose::Epoch)).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Busy, "{error}");
    assert!(error.to_string().contains("YHR_DEVICE_STORAGE_FAILED"), "{error}");
}

#[test]
fn where_the_kinds_of_keys_are_known_the_authentication_key_is_held_to_them_at_the_start() {
    let device = Device::new();
    let of = |kind, command_log| {
        let kinds = Some(vec![kind]);
        open(YubiHsmConfig { kinds, command_log, ..config(&device, AUTHENTICATION_KEY, PASSWORD) })
    };
    of(KeyKind::EcdsaP256, CommandLogUse::Read).unwrap();
    let error = of(KeyKind::Rsa2048, CommandLogUse::Off).unwrap_err();
    assert!(error.to_string().contains(", and delegated sign-pkcs, for the keys of the policy"), "{error}");
    // A device whose log is to be read by who may not read it.
    let without: Vec<_> = CAPABILITIES.into_iter().filter(|name| *name != "get-log-entries").collect();
    device.put_authentication_key(3, PASSWORD, &without, &DELEGATED);
    let error = open(YubiHsmConfig { command_log: CommandLogUse::Read, ..config(&device, 3, PASSWORD) }).unwrap_err();
    assert!(error.to_string().contains("get-log-entries"), "{error}");
}

#[test]
fn a_device_without_a_session_to_give_says_so() {
    let device = Manual::new();
    let _first = device.open(12, CommandLogUse::Off, Patience::default()).unwrap();
    let error = device.open(4, CommandLogUse::Off, Patience::default()).unwrap_err();
    assert!(matches!(error, BackendError::SessionsExhausted { .. }), "{error}");
    device.idle();
    let patience = Patience { start: Duration::from_secs(10), ..Patience::default() };
    device.open(4, CommandLogUse::Off, patience).unwrap();
}
