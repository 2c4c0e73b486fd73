use std::fs;

use cryptoki::session::UserType;
use hallmark_policy::key::{KeyKind, SignatureAlgorithm};
use hallmark_test_token::{MODULE, PIN, SO_PIN, Token};

use super::{Place, World, request};
use crate::{
    BackendConfig, BackendError, Keyring, ModuleConfig, PinState, SESSIONS_MAX, SoftwareKeys, TokenConfig,
    pkcs11::access::{Access, Mode},
    survey,
};

#[test]
fn a_wrong_pin_is_refused_and_never_tried_again() {
    let token = Token::make("pin");
    let wrong = "00000000";
    let access = Access::new(&MODULE.into(), token.label().to_owned(), None, wrong.into()).unwrap();
    let refused = access.session(Mode::Read).unwrap_err();
    assert!(matches!(refused, BackendError::WrongPin { .. }), "{refused}");
    assert!(!refused.to_string().contains(wrong));

    // Now the PIN would be right, which only another attempt could find out.
    set_pin(&token, wrong);
    let again = access.session(Mode::Read).unwrap_err();
    assert!(matches!(again, BackendError::WrongPin { .. }), "{again}");
    Place::Token(token).open(wrong).unwrap();
}

#[test]
fn a_wrong_pin_is_noticed_also_where_somebody_is_logged_in_already() {
    let World { keyring, place } = World::softhsm("proven");
    let error = place.open("00000000").unwrap_err();
    assert!(matches!(error, BackendError::PinNotProven { .. }), "{error}");
    let second = place.open(PIN).unwrap();
    drop(keyring);
    let key = second.generate(&request("a", KeyKind::EcdsaP256)).unwrap();
    second.open(&key.reference, key.public.digest()).unwrap();
}

#[test]
fn a_token_is_chosen_by_label_and_serial_and_never_guessed() {
    let first = Token::make("twins");
    let second = Token::make_labelled(first.label());
    let open = |label: &str, serial: Option<&str>| {
        let config = BackendConfig::Pkcs11(TokenConfig {
            module: MODULE.into(),
            label: label.to_owned(),
            serial: serial.map(str::to_owned),
            pin: PIN.into(),
            sessions: 1,
            waived: Vec::new(),
            exceptions: crate::Exceptions::default(),
        });
        Keyring::open_backend(config, SoftwareKeys::Refused)
    };
    let error = open(first.label(), None).unwrap_err();
    assert!(matches!(error, BackendError::TokenAmbiguous { count: 2, .. }), "{error}");
    let keyring = open(first.label(), Some(second.serial())).unwrap();
    let description = keyring.describe();
    assert_eq!((description.token_serial.as_str(), description.kind), (second.serial(), "pkcs11"));
    assert!(description.to_string().contains("SoftHSM"), "{description}");
    let error = open(first.label(), Some("0000000000000000")).unwrap_err();
    assert!(matches!(error, BackendError::TokenNotFound { .. }), "{error}");
}

#[test]
fn a_token_says_what_it_is_and_can_to_whoever_asks_without_a_log_in() {
    let token = Token::make("survey");
    let ask = || survey(&MODULE.into(), token.label(), Some(token.serial())).unwrap();
    let before = ask();
    assert_eq!((before.description.token_serial.as_str(), before.description.kind), (token.serial(), "pkcs11"));
    // SoftHSM 2.6 is older than ML-DSA.
    let classical = KeyKind::ALL.into_iter().filter(|kind| !kind.family().is_post_quantum());
    assert_eq!(before.kinds, classical.collect::<Vec<_>>());
    let PinState { is_set, count_low, final_try, locked, to_be_changed } = before.pin;
    assert_eq!((is_set, count_low, final_try, locked, to_be_changed), (true, false, false, false, false));
    assert!(before.labels.is_empty() && !before.write_protected && before.clock.is_none(), "{before:?}");
    let place = Place::Token(token);
    place.open(PIN).unwrap().generate(&request("seen", KeyKind::EcdsaP384)).unwrap();
    let Place::Token(token) = &place else { unreachable!() };
    assert_eq!(survey(&MODULE.into(), token.label(), None).unwrap().labels, ["seen"]);
    let error = survey(&MODULE.into(), "no such token", None).unwrap_err();
    assert!(matches!(error, BackendError::TokenNotFound { .. }), "{error}");
}

#[test]
fn a_configuration_that_cannot_work_is_refused_in_words() {
    let place = Place::Token(Token::make("config"));
    for sessions in [0, SESSIONS_MAX + 1] {
        let error = Keyring::open_backend(place.config(PIN, sessions), SoftwareKeys::Refused).unwrap_err();
        assert!(matches!(error, BackendError::Configuration { .. }), "{error}");
    }
    for module in ["/nowhere/module.so", "/etc/hostname"] {
        let error = Access::new(&module.into(), "token".to_owned(), None, PIN.into()).map(drop).unwrap_err();
        assert!(matches!(&error, BackendError::Module { .. }) && error.to_string().contains(module), "{error}");
    }
}

#[test]
fn a_session_that_was_logged_out_logs_in_again_and_signs() {
    let world = World::softhsm("logout");
    let key = world.key("a", KeyKind::EcdsaP256);
    world.sign(&key, SignatureAlgorithm::EcdsaSha256).unwrap();
    world.token().log_out();
    world.sign(&key, SignatureAlgorithm::EcdsaSha256).unwrap();
    world.token().log_out();
    assert_eq!(world.keyring.open(&key.reference, key.public.digest()).unwrap(), key.public);
}

#[test]
fn a_device_that_was_pulled_and_put_back_is_found_again() {
    let world = World::softhsm("pulled");
    let key = world.key("a", KeyKind::Ed25519);
    for _ in 0..3 {
        world.token().close_all_sessions();
        world.sign(&key, SignatureAlgorithm::Ed25519).unwrap();
    }
    world.token().close_all_sessions();
    world.keyring.health().unwrap();
    world.token().close_all_sessions();
    world.keyring.generate(&request("b", KeyKind::Ed25519)).unwrap();
    assert_eq!(world.keyring.list().unwrap().len(), 2);
}

#[test]
fn random_bytes_come_from_every_backend() {
    for world in World::all("random") {
        let mut draws = [[0; 16]; 2];
        draws.iter_mut().for_each(|draw| world.keyring.random(draw).unwrap());
        assert_ne!(draws[0], draws[1]);
        assert_ne!(draws[0], [0; 16]);
    }
}

#[test]
fn several_sessions_sign_at_the_same_time() {
    let place = Place::Token(Token::make("several"));
    let keyring = Keyring::open_backend(place.config(PIN, 4), SoftwareKeys::Refused).unwrap();
    let world = World { keyring, place };
    let key = world.key("a", KeyKind::EcdsaP256);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..20).for_each(|_| drop(world.sign(&key, SignatureAlgorithm::EcdsaSha256).unwrap())));
        }
    });
    assert_eq!(world.key_uses(), 80);
    assert_eq!(world.keyring.health().unwrap().sessions, 4);
}

fn set_pin(token: &Token, pin: &str) {
    let session = token.session_of(UserType::So, SO_PIN);
    session.init_pin(&pin.into()).unwrap();
}

#[test]
fn a_pin_is_changed_once_and_the_one_before_opens_nothing_any_more() {
    let token = Token::make("change");
    let place = Place::Token(token);
    let keyring = place.open(PIN).unwrap();
    let key = keyring.generate(&request("a", KeyKind::EcdsaP256)).unwrap();
    keyring.change_pin(&"fresh-74629184".into()).unwrap();
    drop(keyring);
    let error = place.open(PIN).unwrap_err();
    assert!(matches!(error, BackendError::WrongPin { .. }), "{error}");
    let keyring = place.open("fresh-74629184").unwrap();
    keyring.open(&key.reference, key.public.digest()).unwrap();
}

#[test]
fn a_module_is_started_once_with_the_arguments_that_are_configured() {
    let directory = tempfile::tempdir().unwrap();
    let module = directory.path().join("module.so");
    fs::copy(MODULE, &module).unwrap();
    let with = |arguments: Option<&str>| {
        let module = ModuleConfig { arguments: arguments.map(str::to_owned), ..module.as_path().into() };
        Access::new(&module, "token".to_owned(), None, PIN.into()).map(drop)
    };
    // SoftHSM takes none, and says so when it is given some.
    let error = with(Some("configdir='/nowhere'")).unwrap_err();
    assert!(matches!(&error, BackendError::Module { detail, .. } if detail.contains("arguments")), "{error}");
    let error = with(Some("a\0b")).unwrap_err();
    assert!(matches!(&error, BackendError::Configuration { detail } if detail.contains("zero byte")), "{error}");
    with(None).unwrap();
    let error = with(Some("configdir='/nowhere'")).unwrap_err();
    assert!(matches!(&error, BackendError::Configuration { detail } if detail.contains("other arguments")), "{error}");
}
