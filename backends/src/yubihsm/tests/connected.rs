//! The way to a device: sessions that end, a connector that stops, starts and hangs.

use std::{
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use hallmark_policy::key::SignatureAlgorithm;
use hallmark_test_yubihsm::{AUTHENTICATION_KEY, Device, PASSWORD};

use super::{super::manual::Manual, guarded};
use crate::{
    BackendConfig, BackendError, CommandLogUse, ErrorClass, Keyring, NewKey, SignError, Signature, SoftwareKeys, Tried,
    YubiHsmConfig, conformance::message, patience::Patience, signature::Message,
};

/// How long a test waits for what should happen.
const AMPLE: Duration = Duration::from_secs(60);

/// How soon everything must work again, once the connector is there.
const AGAIN: Duration = Duration::from_secs(5);

const PATIENCE: Patience = Patience {
    start: AMPLE,
    make: Duration::from_secs(5),
    operate: Duration::from_secs(5),
    probe: Duration::from_millis(1_500),
    hung_after: Duration::from_millis(500),
    stop: AMPLE,
};

/// A keyring with one open key, over a connector. The device comes first, so that nothing hangs in it when the keyring ends.
struct Connected {
    device: Device,
    keyring: Keyring,
    key: NewKey,
}

impl Connected {
    fn new(sessions: usize) -> Self {
        let device = Device::new();
        let config = YubiHsmConfig { sessions, ..guarded::config(&device, AUTHENTICATION_KEY, PASSWORD) };
        let config = BackendConfig::YubiHsm(config);
        let keyring = Keyring::open_patiently(config, SoftwareKeys::Refused, PATIENCE).unwrap();
        let key = guarded::key(&keyring, "issuer");
        Self { device, keyring, key }
    }

    fn sign(&self, within: Duration) -> Result<Signature, SignError> {
        sign(&self.keyring, &self.key, within)
    }
}

/// Signs as the signer does, which logs before it asks again.
fn sign(keyring: &Keyring, key: &NewKey, within: Duration) -> Result<Signature, SignError> {
    let (deadline, mut tried) = (Instant::now() + within, Tried::default());
    loop {
        let (send, receive) = mpsc::channel();
        let message = message(key.public.digest(), SignatureAlgorithm::EcdsaSha256);
        keyring.sign_message_again(message, deadline, tried, Box::new(move |answer| drop(send.send(answer))));
        match receive.recv_timeout(within + Duration::from_secs(1)).expect("an answer at the deadline") {
            Err(SignError::SignAgain { tried: now_tried, .. }) => tried = now_tried,
            answer => return answer,
        }
    }
}

fn again(mut work: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !work() {
        assert!(began.elapsed() < AGAIN, "it does not work again");
        thread::yield_now();
    }
    began.elapsed()
}

#[test]
fn sessions_that_ended_are_opened_anew_and_the_key_is_compared_again() {
    let device = Manual::new();
    let keyring = device.open(1, CommandLogUse::Off, Patience::default()).unwrap();
    let key = guarded::key(&keyring, "issuer");
    for end in [Manual::idle, Manual::restart] {
        sign(&keyring, &key, AMPLE).unwrap();
        end(&device);
        sign(&keyring, &key, AMPLE).unwrap();
        keyring.health().unwrap();
        assert_eq!(keyring.list().unwrap(), std::slice::from_ref(&key.reference));
    }
    device.remove(key.reference.yubihsm_id().unwrap());
    device.make(key.reference.yubihsm_id().unwrap(), b"issuer", &["sign-ecdsa"]);
    device.restart();
    let error = sign(&keyring, &key, AMPLE).unwrap_err();
    assert!(matches!(error, SignError::Backend(BackendError::WrongKey { .. })), "{error}");
}

#[test]
fn another_device_with_the_same_password_is_not_spoken_to() {
    let device = Manual::new();
    let keyring = device.open(1, CommandLogUse::Off, Patience::default()).unwrap();
    let key = guarded::key(&keyring, "issuer");
    let first = std::mem::replace(&mut device.state().serial, "0099999999");
    device.restart();
    let error = keyring.health().unwrap_err();
    assert_eq!(error.class(), ErrorClass::Gone);
    insta::assert_snapshot!(error.to_string());
    assert!(sign(&keyring, &key, Duration::from_millis(100)).is_err());
    device.state().serial = first;
    keyring.health().unwrap();
    again(|| sign(&keyring, &key, AMPLE).is_ok());
}

#[test]
fn an_authentication_key_that_was_given_more_meanwhile_opens_no_further_session() {
    let device = Manual::new();
    let keyring = device.open(1, CommandLogUse::Off, Patience::default()).unwrap();
    let before = device.state().authentication.clone();
    let more = before.capabilities.and(hallmark_yubihsm::Capabilities::named("export-wrapped").unwrap());
    device.state().authentication.capabilities = more;
    keyring.health().unwrap();
    device.idle();
    let error = keyring.health().unwrap_err();
    assert!(error.to_string().contains("can do more than it needs to: export-wrapped"), "{error}");
    device.state().authentication = before;
    keyring.health().unwrap();
}

#[test]
fn a_signature_whose_answer_was_lost_is_asked_for_again_when_the_log_says_so() {
    let device = Manual::new();
    let keyring = device.open(1, CommandLogUse::Off, Patience::default()).unwrap();
    let key = guarded::key(&keyring, "issuer");
    device.state().loses = Some("SIGN ECDSA");
    let message = Message {
        to_be_signed: b"what the ledger committed".to_vec(),
        issuer: key.public.digest(),
        algorithm: SignatureAlgorithm::EcdsaSha256,
        log_index: 7,
    };
    let (send, receive) = mpsc::channel();
    keyring.sign_message(message, Instant::now() + AMPLE, Box::new(move |answer| drop(send.send(answer.map(drop)))));
    let answer = receive.recv().unwrap();
    assert!(matches!(answer, Err(SignError::SignAgain { .. })), "{answer:?}");
    sign(&keyring, &key, AMPLE).unwrap();
}

#[test]
fn a_connector_that_is_not_there_is_told_at_once() {
    let device = Device::new();
    device.stop();
    let began = Instant::now();
    let error = guarded::open(guarded::config(&device, AUTHENTICATION_KEY, PASSWORD)).unwrap_err();
    assert!(matches!(&error, BackendError::ConnectorGone { place, .. } if *place == device.place()), "{error}");
    assert_eq!(error.class(), ErrorClass::Gone);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_connector_that_stops_under_load_opens_the_breaker_and_all_goes_on_by_itself_when_it_is_back() {
    let world = Connected::new(2);
    let (over, signed, gone) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let more = |count: &AtomicU64| {
        let before = count.load(Ordering::SeqCst);
        again(|| count.load(Ordering::SeqCst) > before + 5);
    };
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    match world.sign(AMPLE) {
                        Ok(_) => signed.fetch_add(1, Ordering::SeqCst),
                        Err(SignError::Resting { retry_after, .. }) => {
                            assert!(retry_after <= AGAIN, "{retry_after:?}");
                            gone.fetch_add(1, Ordering::SeqCst)
                        }
                        Err(SignError::Backend(error)) if error.class() == ErrorClass::Gone => {
                            gone.fetch_add(1, Ordering::SeqCst)
                        }
                        Err(error) => panic!("{error}"),
                    };
                }
            });
        }
        more(&signed);
        world.device.stop();
        // It is found out, and the key rests: nobody waits for it.
        more(&gone);
        again(|| world.keyring.resting(world.key.public.digest()).is_some());
        let error = world.keyring.health().unwrap_err();
        assert_eq!(error.class(), ErrorClass::Gone, "{error}");
        world.device.start();
        more(&signed);
        over.store(true, Ordering::SeqCst);
    });
    world.keyring.health().unwrap();
    world.keyring.open(&world.key.reference, world.key.public.digest()).unwrap();
}

#[test]
fn a_request_that_can_wait_is_served_by_a_connector_that_was_away_for_a_moment() {
    let world = Connected::new(1);
    world.sign(AMPLE).unwrap();
    world.device.stop();
    thread::scope(|scope| {
        // As a caller does who is told when to come again.
        let waiting = scope.spawn(|| {
            let until = Instant::now() + AMPLE;
            loop {
                match world.sign(AMPLE) {
                    Ok(signature) => return signature,
                    Err(SignError::Resting { .. } | SignError::Backend(_)) => assert!(Instant::now() < until),
                    Err(error) => panic!("{error}"),
                }
                thread::yield_now();
            }
        });
        again(|| world.keyring.resting(world.key.public.digest()).is_some());
        world.device.start();
        waiting.join().unwrap();
    });
}

#[test]
fn a_connector_that_hangs_is_given_up_in_a_time_of_our_own() {
    let world = Connected::new(1);
    world.sign(AMPLE).unwrap();
    world.device.hang(true);
    let began = Instant::now();
    let error = world.sign(Duration::from_secs(1)).unwrap_err();
    assert!(matches!(error, SignError::Overdue { .. }), "{error}");
    let error = world.keyring.health().unwrap_err();
    assert!(matches!(error, BackendError::Hung { .. }), "{error}");
    // The library would have waited for 20 s.
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert!(world.keyring.threads().hanging > 0);
    world.device.hang(false);
    again(|| world.sign(AGAIN).is_ok());
    again(|| world.keyring.threads().hanging == 0);
}
