//! The rungs of recovery, one after another.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use hallmark_faulty::{
    Absence, Effect, Function, Scope, Sessions, When,
    cryptoki_sys::{
        CKR_CRYPTOKI_NOT_INITIALIZED, CKR_DATA_LEN_RANGE, CKR_DEVICE_ERROR, CKR_DEVICE_REMOVED, CKR_FUNCTION_FAILED,
        CKR_GENERAL_ERROR, CKR_HOST_MEMORY, CKR_KEY_HANDLE_INVALID, CKR_OPERATION_ACTIVE, CKR_PIN_INCORRECT,
        CKR_SESSION_HANDLE_INVALID, CKR_TOKEN_NOT_PRESENT, CKR_USER_NOT_LOGGED_IN,
    },
};
use hallmark_policy::key::{KeyKind, SignatureAlgorithm};

use super::{
    faulty::{AGAIN, AMPLE, AWAY, Faulty, HURRY, again, told},
    message, request, sign,
};
use crate::{
    BackendError, ErrorClass, SignError,
    breaker::FAILURES_MAX,
    pkcs11::access::{Access, Mode},
};

#[test]
fn a_signature_costs_two_calls() {
    let world = Faulty::new("two", 2);
    world.warm(2);
    let before = world.device.counts();
    (0..50).for_each(|_| drop(world.sign().unwrap()));
    let calls = world.device.counts().since(&before);
    assert_eq!(calls.0.into_iter().collect::<Vec<_>>(), [(Function::SignInit, 50), (Function::Sign, 50)]);
}

#[test]
fn after_any_failed_operation_the_session_is_closed_and_a_new_one_signs() {
    let world = Faulty::new("closed", 1);
    for code in [
        CKR_DEVICE_ERROR,
        CKR_FUNCTION_FAILED,
        CKR_HOST_MEMORY,
        CKR_KEY_HANDLE_INVALID,
        CKR_OPERATION_ACTIVE,
        CKR_SESSION_HANDLE_INVALID,
        CKR_USER_NOT_LOGGED_IN,
        0x8000_0001,
    ] {
        for function in [Function::SignInit, Function::Sign] {
            for effect in [Effect::Refuse(code), Effect::LoseAnswer(code)] {
                world.sign().unwrap();
                let before = world.device.counts();
                world.device.fault(function, When::Nth(1), effect);
                world.sign().unwrap();
                let calls = world.device.counts().since(&before);
                let sessions = [Function::CloseSession, Function::OpenSession].map(|function| calls.of(function));
                assert_eq!(sessions, [1, 1], "{function} {code:#x}");
            }
        }
    }
    // Whatever the caller asked for cannot be helped by another session, but this one is in doubt.
    let before = world.device.counts();
    world.refuse(Function::Sign, When::Nth(1), CKR_DATA_LEN_RANGE);
    let error = world.sign().unwrap_err();
    assert_eq!(told(&error), (Some(ErrorClass::Refused), Some("CKR_DATA_LEN_RANGE")));
    assert_eq!(world.device.counts().since(&before).of(Function::CloseSession), 1);
    world.sign().unwrap();
}

#[test]
fn who_was_logged_out_is_logged_in_again() {
    let world = Faulty::new("again", 1);
    let logins = world.device.logins();
    for function in [Function::SignInit, Function::Sign] {
        world.device.fault(function, When::Nth(1), Effect::LogOut);
        world.sign().unwrap();
    }
    assert!(world.device.logins() > logins);
}

#[test]
fn one_wrong_pin_stops_all_log_ins_of_all_sessions_for_good() {
    let world = Faulty::new("wrong", 3);
    // A second attempt would succeed, so that nobody fails to notice it.
    world.refuse(Function::Login, When::Nth(1), CKR_PIN_INCORRECT);
    world.device.end_sessions();
    let before = world.device.calls(Function::Login);
    for _ in 0..10 {
        assert!(matches!(
            world.sign().unwrap_err(),
            SignError::Backend(BackendError::WrongPin { .. }) | SignError::Resting { .. }
        ));
        assert!(matches!(world.keyring.health().unwrap_err(), BackendError::WrongPin { .. }));
        let error = world.keyring.generate(&request("b", KeyKind::EcdsaP256)).unwrap_err();
        assert_eq!((error.class(), error.ckr()), (ErrorClass::Locked, Some("CKR_PIN_INCORRECT")));
    }
    assert_eq!(world.device.calls(Function::Login), before + 1);
}

#[test]
fn the_last_attempt_before_a_pin_locks_is_left_to_people() {
    let world = Faulty::new("final", 1);
    world.device.lock_pin_after(Some(2));
    world.device.end_sessions();
    let mistaken = access(&world, world.token.label(), "00000000").session(Mode::Read).unwrap_err();
    assert!(matches!(mistaken, BackendError::WrongPin { .. }), "{mistaken}");
    let before = world.device.calls(Function::Login);
    let error = world.sign().unwrap_err();
    assert!(matches!(error, SignError::Backend(BackendError::PinFinalTry { .. })), "{error}");
    assert_eq!(world.device.calls(Function::Login), before);
    // Somebody logs in with the vendor's tool, and the token forgets the mistake.
    world.device.lock_pin_after(None);
    world.signs_again();
}

#[test]
fn a_key_that_is_another_after_a_log_in_signs_nothing() {
    for scope in [Scope::Everything, Scope::PrivateKeys] {
        let world = Faulty::new("another", 2);
        world.swap_keys(scope);
        for _ in 0..2 * FAILURES_MAX {
            let error = world.sign().unwrap_err();
            let expected = match scope {
                Scope::Everything => matches!(error, SignError::Backend(BackendError::WrongKey { .. })),
                Scope::PrivateKeys => matches!(error, SignError::Lied { .. }),
            };
            assert!(expected || matches!(error, SignError::Resting { .. }), "{scope:?}: {error}");
        }
        world.device.mend();
        world.signs_again();
    }
}

#[test]
fn a_module_whose_sessions_are_all_dead_is_initialised_anew() {
    let world = Faulty::new("anew", 3);
    world.warm(3);
    for code in [CKR_CRYPTOKI_NOT_INITIALIZED, CKR_DEVICE_REMOVED, CKR_TOKEN_NOT_PRESENT] {
        let before = world.device.counts();
        world.device.kill_module(code);
        world.sign().unwrap();
        world.keyring.health().unwrap();
        assert_eq!(world.keyring.list().unwrap().len(), 1);
        world.warm(3);
        let calls = world.device.counts().since(&before);
        assert_eq!([calls.of(Function::Finalize), calls.of(Function::Initialize)], [1, 1], "{code:#x}");
    }
    // These two could be one session's trouble, so they must come several times.
    for code in [CKR_DEVICE_ERROR, CKR_GENERAL_ERROR] {
        world.device.kill_module(code);
        world.signs_again();
    }
}

#[test]
fn a_wrong_configuration_initialises_nothing_anew() {
    let world = Faulty::new("config", 1);
    let look = || access(&world, "nobody", "1").session(Mode::Read).unwrap_err();
    // While a token of another test is being made it does not say which one it is, and so might be the wanted one.
    let began = Instant::now();
    loop {
        let error = look();
        if matches!(error, BackendError::TokenNotFound { .. }) {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{error}");
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(world.device.calls(Function::Finalize), 0);
}

#[test]
fn under_load_a_module_may_die_again_and_again_and_no_session_is_mistaken_for_another() {
    let world = Faulty::new("stress", 4);
    let over = AtomicBool::new(false);
    let signed: u64 = thread::scope(|scope| {
        let clients: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| {
                    let mut signed = 0;
                    while !over.load(Ordering::Relaxed) {
                        signed += u64::from(world.sign_within(AMPLE).is_ok());
                    }
                    signed
                })
            })
            .collect();
        for round in 0..12 {
            let before = world.device.calls(Function::Sign);
            again(|| world.device.calls(Function::Sign) > before + 20);
            match round % 3 {
                0 => world.device.kill_module(CKR_DEVICE_REMOVED),
                1 => world.device.end_sessions(),
                _ => world.keyring.health().map(drop).unwrap_or_default(),
            }
        }
        over.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert!(signed > 100, "{signed}");
    world.signs_again();
}

#[test]
fn a_module_is_left_alone_while_a_call_hangs_in_it() {
    let world = Faulty::patient("inside", 2, HURRY);
    world.warm(2);
    let fault = world.device.fault(Function::Sign, When::Nth(1), Effect::Hang);
    thread::scope(|scope| {
        let hung = scope.spawn(|| world.sign_within(Duration::from_millis(600)));
        world.device.await_hanging(1, AMPLE);
        world.device.kill_module(CKR_DEVICE_REMOVED);
        let error = world.sign_within(AMPLE).unwrap_err();
        assert_eq!(told(&error).0, Some(ErrorClass::Gone), "{error}");
        assert_eq!(world.device.calls(Function::Finalize), 0);
        assert!(matches!(hung.join().unwrap(), Err(SignError::Overdue { .. })));
    });
    fault.clear();
    world.signs_again();
}

#[test]
fn a_device_that_is_away_is_asked_now_and_then_and_never_all_the_time() {
    let world = Faulty::new("now-and-then", 4);
    world.device.away(Absence { code: AWAY, sessions: Sessions::Die });
    let (began, before) = (Instant::now(), world.device.counts());
    let away = Duration::from_secs(2);
    let mut answers = 0_u64;
    while began.elapsed() < away {
        answers += u64::from(world.sign_within(AMPLE).is_err());
    }
    let calls = world.device.counts().since(&before);
    assert!(answers > 1_000, "{answers} answers come at once");
    // Rests grow from 0.1 to 1 s, each shortened by half at most; a renewal rests 1.5 s at most.
    assert!(calls.of(Function::GetSlotList) < 60, "{calls:?}");
    assert!((2..=12).contains(&calls.of(Function::Initialize)), "{calls:?}");
    world.device.restore();
    world.signs_again();
}

#[test]
fn failures_of_the_device_open_the_breaker_of_their_key_alone_and_say_when_to_come_back() {
    let world = Faulty::new("breaker", 2);
    let other = world.keyring.generate(&request("other", KeyKind::EcdsaP256)).unwrap();
    world.keyring.open(&other.reference, other.public.digest()).unwrap();
    world.refuse(Function::Sign, When::Always, CKR_DEVICE_ERROR);
    for _ in 0..FAILURES_MAX {
        assert_eq!(told(&world.sign().unwrap_err()), (Some(ErrorClass::Broken), Some("CKR_DEVICE_ERROR")));
    }
    let before = world.device.counts();
    let error = world.sign().unwrap_err();
    let SignError::Resting { retry_after, .. } = error else { panic!("{error}") };
    assert!(retry_after <= Duration::from_millis(100), "{retry_after:?}");
    assert!(world.keyring.resting(world.key.public.digest()).is_some());
    assert_eq!(world.device.counts().since(&before).0.len(), 0, "the device was not asked");

    assert_eq!(world.keyring.resting(other.public.digest()), None);
    let job = message(other.public.digest(), SignatureAlgorithm::EcdsaSha256);
    assert!(matches!(sign(&world.keyring, job, AMPLE), Err(SignError::SignAgain { .. })), "the other key is tried");
    world.device.mend();
    assert!(world.signs_again() < AGAIN);
    world.sign().unwrap();
}

#[test]
fn errors_of_callers_open_no_breaker() {
    let world = Faulty::new("callers", 1);
    let digest = world.key.public.digest();
    for _ in 0..4 * FAILURES_MAX {
        let wrong = message(digest, SignatureAlgorithm::Ed25519);
        assert!(matches!(sign(&world.keyring, wrong, AMPLE), Err(SignError::WrongAlgorithm { .. })));
        assert!(matches!(world.sign_within(Duration::ZERO), Err(SignError::DeadlinePassed)));
        world.refuse(Function::Sign, When::Nth(1), CKR_DATA_LEN_RANGE);
        assert_eq!(told(&world.sign().unwrap_err()).0, Some(ErrorClass::Refused));
        // Long, so that a busy machine wakes whoever waits before the answer is there.
        let slow = world.device.fault(Function::Sign, When::Nth(1), Effect::Delay(Duration::from_millis(200)));
        // On a busy machine the deadline passes before the key's turn.
        let late = world.sign_within(Duration::from_millis(20));
        assert!(matches!(late, Err(SignError::Overdue { .. } | SignError::DeadlinePassed)), "{late:?}");
        // One that the device never met would meet another call.
        slow.clear();
        again(|| world.keyring.resting(digest).is_none());
    }
    world.sign().unwrap();
}

#[test]
fn a_call_that_hangs_is_answered_at_its_deadline_and_costs_its_thread_alone() {
    let world = Faulty::patient("hung", 1, HURRY);
    world.warm(1);
    let fault = world.device.fault(Function::Sign, When::Nth(1), Effect::Hang);
    let deadline = Duration::from_millis(700);
    let began = Instant::now();
    let error = world.sign_within(deadline).unwrap_err();
    assert!(matches!(error, SignError::Overdue { .. }) && began.elapsed() >= deadline, "{error}");
    let health = world.keyring.health().unwrap();
    assert_eq!(health.hanging, 1);
    assert!(health.longest.is_some_and(|longest| longest < began.elapsed()), "{health:?}");
    (0..10).for_each(|_| drop(world.sign().unwrap()));
    assert_eq!(world.device.hanging(), 1, "it still hangs");
    fault.clear();
    again(|| world.keyring.health().unwrap().hanging == 0);
    assert_eq!(world.keyring.threads().longest, None);
    world.sign().unwrap();
}

#[test]
fn what_waited_for_a_key_that_was_closed_is_not_signed_when_it_is_opened_again() {
    let world = Faulty::new("reopened", 1);
    let digest = world.key.public.digest();
    let fault = world.device.fault(Function::Sign, When::Nth(1), Effect::Hang);
    // The key is open twice before, and closed for both openings.
    world.keyring.open(&world.key.reference, digest).unwrap();
    thread::scope(|scope| {
        let hanging = scope.spawn(|| world.sign());
        world.device.await_hanging(1, AMPLE);
        let waiting = scope.spawn(|| world.sign());
        again(|| world.keyring.health().unwrap().waiting == 1);
        world.keyring.close(digest);
        world.keyring.open(&world.key.reference, digest).unwrap();
        fault.clear();
        assert!(hanging.join().unwrap().is_ok(), "it had begun before the key was closed");
        assert!(matches!(waiting.join().unwrap(), Err(SignError::NotOpen { .. })));
    });
    world.sign().unwrap();
}

#[test]
fn not_more_than_twice_as_many_threads_hang_and_all_callers_are_answered() {
    let world = Faulty::patient("all-hung", 2, HURRY);
    let fault = world.device.fault(Function::Sign, When::Always, Effect::Hang);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| world.sign_within(Duration::from_millis(1_200)).unwrap_err());
        }
    });
    assert_eq!(world.device.hanging(), 4);
    assert_eq!(world.keyring.health().unwrap().hanging, 4);
    fault.clear();
    world.signs_again();
    again(|| world.keyring.health().unwrap().hanging == 0);
}

#[test]
fn a_key_that_is_made_too_late_is_removed_again() {
    let world = Faulty::new("late", 1);
    let fault = world.device.fault(Function::GenerateKeyPair, When::Nth(1), Effect::Hang);
    let error = world.keyring.generate(&request("late", KeyKind::EcdsaP256)).unwrap_err();
    assert!(matches!(error, BackendError::Hung { operation: "make a key", .. }), "{error}");
    fault.clear();
    again(|| world.keyring.list().is_ok_and(|keys| keys == [world.key.reference.clone()]));
    again(|| world.keyring.generate(&request("late", KeyKind::EcdsaP256)).is_ok());
}

#[test]
fn a_key_whose_making_failed_half_way_is_made_once() {
    for effect in [Effect::Refuse(CKR_DEVICE_ERROR), Effect::LoseAnswer(CKR_DEVICE_ERROR)] {
        for function in [Function::GenerateKeyPair, Function::GetAttributeValue, Function::FindObjects] {
            let world = Faulty::new("half", 1);
            world.device.fault(function, When::Nth(1), effect.clone());
            let made = world.keyring.generate(&request("half", KeyKind::EcdsaP256)).unwrap();
            let mut listed = world.keyring.list().unwrap();
            listed.sort();
            let mut expected = [world.key.reference.clone(), made.reference];
            expected.sort();
            assert_eq!(listed, expected, "{function} {effect:?}");
        }
    }
}

#[test]
fn a_key_whose_destruction_was_not_answered_is_destroyed_once_and_wholly() {
    for call in 1..=2 {
        for effect in [Effect::Refuse(CKR_DEVICE_ERROR), Effect::LoseAnswer(CKR_DEVICE_ERROR)] {
            let world = Faulty::new("destroyed", 1);
            world.device.fault(Function::DestroyObject, When::Nth(call), effect);
            world.keyring.destroy(&world.key.reference, world.key.public.digest()).unwrap();
            let session = world.token.session();
            assert_eq!(session.find_objects(&[]).unwrap(), []);
            let again = world.keyring.destroy(&world.key.reference, world.key.public.digest()).unwrap_err();
            assert!(matches!(again, BackendError::KeyNotFound { .. }), "{again}");
        }
    }
}

#[test]
fn a_device_that_fails_while_a_key_is_opened_does_not_close_it() {
    let world = Faulty::new("reopen", 1);
    world.refuse(None, When::Always, CKR_DEVICE_ERROR);
    world.keyring.open(&world.key.reference, world.key.public.digest()).unwrap_err();
    world.device.mend();
    world.signs_again();
}

#[test]
fn a_device_without_sessions_says_so_until_it_has_some() {
    let world = Faulty::new("count", 2);
    world.device.limit_sessions(Some(0));
    world.device.end_sessions();
    let error = world.sign().unwrap_err();
    assert_eq!(told(&error), (Some(ErrorClass::Busy), Some("CKR_SESSION_COUNT")));
    world.device.limit_sessions(None);
    world.signs_again();
}

#[test]
fn a_device_is_asked_by_as_many_sessions_as_it_has_at_its_own_pace() {
    let world = Faulty::new("pace", 4);
    world.warm(4);
    let latency = Duration::from_millis(50);
    world.device.pace(latency, 4);
    let began = Instant::now();
    thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(|| drop(world.sign().unwrap())))));
    let took = began.elapsed();
    assert!(took >= latency * 2 && took < latency * 8, "{took:?}");
    let used: BTreeSet<_> =
        world.device.tallies().iter().filter(|tally| tally.key != 0).map(|tally| tally.session).collect();
    assert_eq!(used.len(), 4);
}

fn access(world: &Faulty, token: &str, pin: &str) -> Access {
    Access::new(&world.device.module().into(), token.to_owned(), None, pin.into()).unwrap()
}
