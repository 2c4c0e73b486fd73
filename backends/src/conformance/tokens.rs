//! Several tokens with the same keys: which one signs, who leaves, and who comes back.

use std::{
    thread,
    time::{Duration, Instant},
};

use hallmark_faulty::{
    Absence, Effect, Function, Scope, Sessions, When,
    cryptoki_sys::{CKR_ACTION_PROHIBITED, CKR_DEVICE_ERROR, CKR_DEVICE_REMOVED},
};
use hallmark_policy::key::{KeyKind, SignatureAlgorithm};
use hallmark_test_token::PIN;

use super::{
    faulty::{AGAIN, AMPLE, AWAY, HURRY, again},
    message,
    pair::{Pair, Unopened},
    request, sign,
};
use crate::{
    BackendConfig, BackendError, Choice, Everywhere, KeyPurpose, Keyring, ModuleConfig, ModuleWaiver, SignError,
    SoftwareKeys, TokenConfig, Tried, Waiver,
};

/// CKA_EXTRACTABLE, CKA_LOCAL.
const EXTRACTABLE: u64 = 0x162;
const LOCAL: u64 = 0x163;

#[test]
fn both_tokens_sign_and_a_signature_still_costs_two_calls() {
    let pair = Pair::new("both");
    pair.under_load(|more| more());
    assert!(pair.signed().iter().all(|signed| *signed > 0), "{:?}", pair.signed());
    // A look at the tokens' keys may fall between.
    again(|| {
        let before = [pair.devices[0].counts(), pair.devices[1].counts()];
        (0..50).for_each(|_| drop(pair.sign().unwrap()));
        let calls = [0, 1].map(|at| pair.devices[at].counts().since(&before[at]));
        let of = |function| calls[0].of(function) + calls[1].of(function);
        [of(Function::SignInit), of(Function::Sign), of(Function::FindObjectsInit)] == [50, 50, 0]
    });
}

#[test]
fn a_token_that_fails_every_call_leaves_and_comes_back_and_no_request_fails() {
    let pair = Pair::new("fails");
    for lost in [0, 1] {
        pair.under_load(|more| {
            let device = &pair.devices[lost];
            device.fault(None, When::Always, Effect::Refuse(CKR_DEVICE_ERROR));
            again(|| !pair.serve()[lost]);
            more();
            let left = pair.signed()[lost];
            more();
            assert_eq!(pair.signed()[lost], left, "it is left alone");
            device.mend();
            again(|| pair.serve()[lost]);
            again(|| pair.signed()[lost] > left + 20);
        });
    }
}

#[test]
fn a_token_that_only_fails_to_sign_is_tried_now_and_then_and_comes_back() {
    let pair = Pair::new("only-signs");
    pair.under_load(|more| {
        pair.devices[1].fault(Function::Sign, When::Always, Effect::Refuse(CKR_DEVICE_ERROR));
        (0..10).for_each(|_| more());
        assert!(pair.serve()[1], "it answers, and is asked by few requests");
        pair.devices[1].mend();
        let before = pair.keyring.tokens()[1].signatures;
        again(|| pair.keyring.tokens()[1].signatures > before + 20);
    });
}

#[test]
fn a_device_that_is_pulled_and_put_back_costs_no_request() {
    let pair = Pair::new("pulled-pair");
    pair.under_load(|more| {
        for sessions in [Sessions::Die, Sessions::Live] {
            pair.devices[0].away(Absence { code: AWAY, sessions });
            again(|| !pair.serve()[0]);
            more();
            pair.devices[0].restore();
            again(|| pair.serve()[0]);
            let before = pair.signed()[0];
            again(|| pair.signed()[0] > before + 20);
        }
    });
}

#[test]
fn calls_that_hang_in_one_token_are_done_by_the_other_and_take_none_of_its_threads() {
    let pair = Unopened { patience: HURRY, ..Unopened::new("hangs-pair") }.with_both();
    pair.under_load(|more| {
        let fault = pair.devices[0].fault(Function::Sign, When::Always, Effect::Hang);
        again(|| pair.keyring.tokens()[0].hanging > 0);
        more();
        let tokens = pair.keyring.tokens();
        assert_eq!((tokens[1].hanging, tokens[1].sessions), (0, 2));
        fault.clear();
        let before = pair.keyring.tokens()[0].signatures;
        again(|| pair.keyring.tokens()[0].signatures > before + 20);
    });
    again(|| pair.keyring.threads().hanging == 0);
}

#[test]
fn a_request_with_little_time_gives_a_token_that_hangs_half_of_it() {
    let pair = Pair::new("half-the-time");
    let within = Duration::from_secs(2);
    let fault = pair.devices[0].fault(Function::Sign, When::Always, Effect::Hang);
    thread::scope(|scope| {
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(|| pair.sign_within(within))).collect();
        asking.into_iter().for_each(|asked| drop(asked.join().unwrap().unwrap()));
    });
    fault.clear();
}

#[test]
fn what_may_have_been_signed_is_not_signed_again_before_the_log_says_so() {
    let pair = Unopened { choice: Choice::Ordered, ..Unopened::new("log-first") }.with_both();
    for effect in [Effect::Refuse(CKR_DEVICE_ERROR), Effect::LoseAnswer(CKR_DEVICE_ERROR)] {
        let fault = pair.devices[0].fault(Function::Sign, When::Always, effect);
        let before = pair.signed();
        let error = pair.sign_once(AMPLE, Tried::default()).unwrap_err();
        let SignError::SignAgain { failed, tried } = error else { panic!("{error}") };
        assert!(failed.to_string().contains("CKR_DEVICE_ERROR"), "{failed}");
        assert_eq!(pair.signed()[1], before[1], "nobody else was asked");
        pair.sign_once(AMPLE, tried).unwrap();
        assert_eq!(pair.signed()[1], before[1] + 1);
        fault.clear();
    }
    // Where the key was not touched, there is nothing to log.
    pair.devices[0].fault(Function::FindObjectsInit, When::Always, Effect::Refuse(CKR_DEVICE_ERROR));
    pair.devices[0].end_sessions();
    pair.sign_once(AMPLE, Tried::default()).unwrap();
}

#[test]
fn a_failure_that_passes_is_signed_again_by_the_same_token_where_no_other_is_there() {
    let pair = Pair::new("same-again");
    pair.devices[1].away(Absence { code: AWAY, sessions: Sessions::Die });
    again(|| !pair.serve()[1]);
    pair.devices[0].fault(Function::Sign, When::Nth(1), Effect::LoseAnswer(CKR_DEVICE_ERROR));
    let before = pair.signed()[0];
    let error = pair.sign_once(AMPLE, Tried::default()).unwrap_err();
    let SignError::SignAgain { tried, .. } = error else { panic!("{error}") };
    pair.sign_once(AMPLE, tried).unwrap();
    assert_eq!(pair.signed()[0], before + 2);
    // Once: whoever fails twice has failed.
    pair.devices[0].fault(Function::Sign, When::First(2), Effect::LoseAnswer(CKR_DEVICE_ERROR));
    assert!(matches!(pair.sign().unwrap_err(), SignError::Backend(BackendError::Broken { .. })));
    assert_eq!(pair.signed()[0], before + 4);
    // A session that is gone has signed nothing, and is replaced.
    pair.devices[0].end_sessions();
    pair.sign_once(AMPLE, Tried::default()).unwrap();
}

#[test]
fn a_device_that_lies_is_found_out_and_the_other_signs() {
    let pair = Pair::new("lies-pair");
    pair.devices[0].fault(Function::Sign, When::Always, Effect::FlipSignature);
    pair.under_load(|more| (0..5).for_each(|_| more()));
    pair.devices[0].mend();
    let before = pair.keyring.tokens()[0].signatures;
    again(|| {
        pair.sign().unwrap();
        pair.keyring.tokens()[0].signatures > before
    });
}

#[test]
fn while_both_are_away_everybody_hears_so_at_once_and_they_come_back() {
    let pair = Pair::new("both-away");
    let digest = pair.key.public.digest();
    pair.devices.iter().for_each(|device| device.away(Absence { code: AWAY, sessions: Sessions::Die }));
    again(|| {
        let began = Instant::now();
        let error = pair.sign_within(AMPLE).unwrap_err();
        matches!(error, SignError::Resting { .. }) && began.elapsed() < AGAIN
    });
    assert!(pair.keyring.resting(digest).is_some());
    assert!(pair.keyring.health().is_err());
    pair.devices.iter().for_each(|device| device.restore());
    again(|| pair.sign_within(AGAIN).is_ok());
    again(|| pair.serve() == [true, true]);
    assert!(pair.keyring.resting(digest).is_none());
    pair.keyring.health().unwrap();
}

#[test]
fn a_token_that_is_slower_is_given_less_to_sign() {
    let pair = Pair::new("slower");
    pair.devices[0].pace(Duration::from_millis(20), 2);
    pair.devices[1].pace(Duration::from_millis(400), 2);
    pair.under_load(|more| {
        more();
        let before = pair.signed();
        (0..4).for_each(|_| more());
        let signed = pair.signed();
        let [fast, slow] = [0, 1].map(|at| signed[at] - before[at]);
        assert!(slow > 0 && fast > 4 * slow, "{fast} and {slow}, where one is ten times as fast");
    });
}

#[test]
fn in_order_the_first_signs_alone_until_it_fails() {
    let pair = Unopened { choice: Choice::Ordered, ..Unopened::new("ordered") }.with_both();
    let second = pair.signed()[1];
    (0..50).for_each(|_| drop(pair.sign().unwrap()));
    assert_eq!(pair.signed()[1], second);
    pair.under_load(|more| {
        pair.devices[0].away(Absence { code: AWAY, sessions: Sessions::Die });
        more();
        assert!(pair.signed()[1] > second);
        pair.devices[0].restore();
        again(|| pair.serve()[0]);
        let before = pair.signed()[0];
        again(|| pair.signed()[0] > before + 50);
    });
}

#[test]
fn a_module_of_two_tokens_is_initialised_anew_only_when_neither_is_there() {
    let pair = Unopened { one_module: true, ..Unopened::new("one-module") }.with_both();
    let device = &pair.devices[0];
    // No session opens, and the tokens are there: with one token that would be reason enough.
    device.fault(Function::OpenSession, When::Always, Effect::Refuse(CKR_DEVICE_REMOVED));
    device.end_sessions();
    again(|| pair.sign_within(AGAIN).is_err() && pair.serve() == [false, false]);
    assert_eq!(device.calls(Function::Finalize), 0);
    device.mend();
    again(|| pair.sign_within(AGAIN).is_ok() && pair.serve() == [true, true]);
    assert_eq!(device.calls(Function::Finalize), 0);
    device.kill_module(CKR_DEVICE_REMOVED);
    again(|| pair.sign_within(AGAIN).is_ok() && pair.serve() == [true, true] && device.calls(Function::Finalize) > 0);
}

#[test]
fn a_new_key_is_made_on_the_first_that_serves_and_signed_with_by_the_other_once_it_is_copied() {
    let pair = Unopened::new("copied").with_one_copy();
    assert_eq!(pair.keys(), [1, 0]);
    (0..20).for_each(|_| drop(pair.sign().unwrap()));
    assert_eq!(pair.signed()[1], 0);
    assert!(pair.keyring.places(pair.key.public.digest()).contains(pair.tokens.0.serial()));
    pair.tokens.1.replicate();
    // Nobody tells the signer.
    let began = Instant::now();
    while pair.keys() != [1, 1] {
        assert!(began.elapsed() < 3 * AGAIN, "the copy is not taken in");
        thread::sleep(Duration::from_millis(20));
    }
    pair.under_load(|more| more());
    assert!(pair.signed()[1] > 0);

    // One that fails, and nobody has noticed yet.
    pair.devices[0].away(Absence { code: AWAY, sessions: Sessions::Die });
    let other = pair.keyring.generate(&request("other", KeyKind::EcdsaP256)).unwrap();
    assert!(pair.keyring.places(other.public.digest()).contains(pair.tokens.1.serial()));
    assert_eq!(pair.tokens.1.objects(), 4);
}

#[test]
fn a_copy_that_is_less_strictly_kept_signs_nothing_and_only_its_history_can_be_waived() {
    for (changed, waived, signs) in [
        ((EXTRACTABLE, true), Vec::new(), false),
        ((EXTRACTABLE, true), Waiver::HISTORY.to_vec(), false),
        ((LOCAL, false), Vec::new(), false),
        ((LOCAL, false), vec![Waiver::Local], true),
    ] {
        let pair = Unopened { waived: waived.clone(), ..Unopened::new("strict") }.with_one_copy();
        assert_eq!(pair.tokens.1.replicate_with(&[changed]), 2);
        pair.keyring.open(&pair.key.reference, pair.key.public.digest()).unwrap();
        assert_eq!(pair.keys(), [1, usize::from(signs)], "{changed:?} {waived:?}");
        pair.under_load(|more| more());
        assert_eq!(pair.signed()[1] > 0, signs);
    }
}

#[test]
fn of_a_key_in_a_module_its_history_alone_is_waived_and_only_what_is_named() {
    for (changed, waived, found) in [
        ((LOCAL, false), Vec::new(), Some("CKA_LOCAL")),
        ((LOCAL, false), vec![ModuleWaiver::NeverExtractable], Some("CKA_LOCAL")),
        ((LOCAL, false), vec![ModuleWaiver::Local], None),
        ((EXTRACTABLE, true), vec![ModuleWaiver::Local, ModuleWaiver::NeverExtractable], Some("CKA_EXTRACTABLE")),
    ] {
        let pair = Unopened::new("module-waiver").with_one_copy();
        let copies = &pair.tokens.1;
        assert_eq!(copies.replicate_with(&[changed]), 2);
        let module = ModuleConfig { waived: waived.clone(), ..pair.devices[1].module().into() };
        let token = TokenConfig {
            module,
            label: copies.label().to_owned(),
            serial: Some(copies.serial().to_owned()),
            pin: PIN.into(),
            sessions: 1,
            waived: Vec::new(),
            exceptions: crate::Exceptions::default(),
        };
        let keyring = Keyring::open_backend(BackendConfig::Pkcs11(token), SoftwareKeys::Refused).unwrap();
        let told = keyring.describe().to_string();
        assert_eq!(told.contains("waived CKA_LOCAL"), waived.contains(&ModuleWaiver::Local), "{told}");
        let opened = keyring.open(&pair.key.reference, pair.key.public.digest());
        let inspected = keyring.inspect(&pair.key.reference, KeyPurpose::Epoch);
        for answer in [opened, inspected] {
            match (answer, found) {
                (Ok(public), None) => assert_eq!(public, pair.key.public),
                (Err(BackendError::WrongAttribute { attribute, .. }), Some(wrong)) => assert_eq!(attribute, wrong),
                (answer, _) => panic!("{changed:?} {waived:?}: {answer:?}"),
            }
        }
    }
}

#[test]
fn a_token_with_another_key_of_that_name_never_signs_with_it() {
    for scope in [Scope::Everything, Scope::PrivateKeys] {
        let pair = Pair::new("another-pair");
        let other = pair.keyring.generate(&request("other", KeyKind::EcdsaP256)).unwrap();
        assert_ne!(other.public.digest(), pair.key.public.digest());
        pair.tokens.1.replicate();
        let swap = Effect::SwapKeys { wanted: "issuer".to_owned(), found: "other".to_owned(), scope };
        pair.devices[1].fault(Function::FindObjectsInit, When::Always, swap);
        pair.devices[1].end_sessions();
        pair.devices[1].away(Absence { code: AWAY, sessions: Sessions::Die });
        again(|| {
            pair.sign().unwrap();
            !pair.serve()[1]
        });
        let before = pair.keyring.tokens()[1].signatures;
        pair.devices[1].restore();
        again(|| pair.serve()[1]);
        let calls = pair.signed()[1];
        pair.under_load(|more| (0..3).for_each(|_| more()));
        assert_eq!(pair.keyring.tokens()[1].signatures, before, "{scope:?}");
        match scope {
            Scope::Everything => assert_eq!((pair.keys(), pair.signed()[1]), ([1, 0], calls)),
            // It looks right until it signs, and what it gives is thrown away.
            Scope::PrivateKeys => assert!(pair.keyring.tokens()[1].failures > 0),
        }
    }
}

#[test]
fn a_wrong_pin_of_one_token_is_tried_once_and_the_other_signs() {
    let unopened = Unopened::new("wrong-one");
    let keyring = unopened.open([PIN, "00000000"]).unwrap();
    let key = keyring.generate(&request("issuer", KeyKind::EcdsaP256)).unwrap();
    keyring.open(&key.reference, key.public.digest()).unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        sign(&keyring, message(key.public.digest(), SignatureAlgorithm::EcdsaSha256), AMPLE).unwrap();
    }
    let tokens = keyring.tokens();
    assert_eq!(unopened.devices[1].calls(Function::Login), 1);
    assert!(tokens[1].away.as_ref().is_some_and(|why| why.contains("PIN")) && !keyring.pin_is_refused(), "{tokens:?}");
    drop(keyring);
    // The next start leaves it to people, since the token tells of a wrong one.
    let keyring = unopened.open([PIN, "00000000"]).unwrap();
    assert_eq!(unopened.devices[1].calls(Function::Login), 1);
    assert!(keyring.tokens()[1].away.as_ref().is_some_and(|why| why.contains("a wrong PIN was tried")));
}

#[test]
fn where_no_token_can_be_opened_a_wrong_pin_is_what_is_told() {
    let unopened = Unopened::new("none");
    unopened.devices[0].away(Absence { code: CKR_DEVICE_REMOVED, sessions: Sessions::Die });
    let error = unopened.open([PIN, "00000000"]).unwrap_err();
    assert!(matches!(error, BackendError::WrongPin { .. }), "{error}");
}

#[test]
fn a_token_that_is_absent_at_the_start_is_taken_in_when_it_is_there() {
    let Pair { devices, keyring, key, tokens } = Pair::new("absent");
    drop(keyring);
    let mut unopened = Unopened { devices, tokens, ..Unopened::new("unused") };
    for absent in [0, 1] {
        unopened.devices[absent].away(Absence { code: AWAY, sessions: Sessions::Die });
        let keyring = unopened.open([PIN, PIN]).unwrap();
        keyring.open(&key.reference, key.public.digest()).unwrap();
        let Unopened { devices, tokens, choice, patience, waived, one_module } = unopened;
        let key = crate::NewKey { reference: key.reference.clone(), public: key.public.clone() };
        let pair = Pair { devices, keyring, key, tokens };
        assert_eq!(pair.serve(), [absent != 0, absent != 1]);
        pair.under_load(|more| {
            more();
            pair.devices[absent].restore();
            again(|| pair.serve()[absent] && pair.keys() == [1, 1]);
            let before = pair.signed()[absent];
            again(|| pair.signed()[absent] > before + 20);
        });
        let Pair { devices, keyring, tokens, .. } = pair;
        drop(keyring);
        unopened = Unopened { devices, tokens, choice, patience, waived, one_module };
    }
}

#[test]
fn a_key_is_destroyed_on_both_and_one_that_is_away_is_told_until_it_is_back() {
    let pair = Pair::new("destroyed-pair");
    let (reference, digest) = (&pair.key.reference, pair.key.public.digest());
    pair.devices[1].away(Absence { code: AWAY, sessions: Sessions::Die });
    again(|| !pair.serve()[1]);
    let Everywhere { on, without, others, away } = pair.keyring.destroy(reference, digest).unwrap();
    assert!(others.is_empty());
    assert!(
        without.is_empty() && on.len() == 1 && on[0].contains(pair.tokens.0.serial()) && away.len() == 1,
        "{on:?} {away:?}"
    );
    assert_eq!(pair.tokens.1.objects(), 2);
    assert!(matches!(pair.sign().unwrap_err(), SignError::NotOpen { .. }));
    let again_away = pair.keyring.destroy(reference, digest).unwrap();
    assert_eq!((again_away.on.len(), again_away.without, again_away.away), (0, on, away));
    pair.devices[1].restore();
    again(|| pair.serve()[1]);
    let done = pair.keyring.destroy(reference, digest).unwrap();
    assert!(done.on.len() == 1 && done.on[0].contains(pair.tokens.1.serial()) && done.away.is_empty(), "{done:?}");
    assert_eq!(pair.tokens.1.objects(), 0);
    let gone = pair.keyring.destroy(reference, digest).unwrap_err();
    assert!(matches!(gone, BackendError::KeyNotFound { .. }), "{gone}");
}

#[test]
fn what_each_token_says_is_told_where_keys_are_not_destroyed_and_a_refusal_is_never_hidden_behind_a_failure() {
    for refusing in [0, 1] {
        let pair = Pair::new("cleared-pair");
        let refusal =
            pair.devices[refusing].fault(Function::DestroyObject, When::Always, Effect::Refuse(CKR_ACTION_PROHIBITED));
        let failure =
            pair.devices[1 - refusing].fault(Function::DestroyObject, When::Always, Effect::Refuse(CKR_DEVICE_ERROR));
        let error = pair.keyring.clear(pair.key.reference.label()).unwrap_err();
        assert!(!error.may_pass(), "{error}");
        for said in ["CKR_ACTION_PROHIBITED", "CKR_DEVICE_ERROR", pair.tokens.0.serial(), pair.tokens.1.serial()] {
            assert!(error.to_string().contains(said), "{error}");
        }
        refusal.clear();
        failure.clear();
    }
}

#[test]
fn a_token_that_does_not_list_its_keys_hides_nothing_of_the_others() {
    let pair = Pair::new("listed-pair");
    for failing in [0, 1] {
        let fault =
            pair.devices[failing].fault(Function::FindObjectsInit, When::Always, Effect::Refuse(CKR_DEVICE_ERROR));
        let listed = pair.keyring.list_each(|_| true);
        let told: Vec<_> = listed.iter().map(|(_, keys)| keys.as_ref().ok().map(Vec::len)).collect();
        assert_eq!((told[failing], told[1 - failing]), (None, Some(1)), "{listed:?}");
        fault.clear();
        again(|| pair.serve() == [true, true]);
    }
    let second = pair.keyring.tokens()[1].name.clone();
    let listed = pair.keyring.list_each(|token| token == second);
    assert!(listed.len() == 1 && listed[0].1.is_ok(), "{listed:?}");
}
