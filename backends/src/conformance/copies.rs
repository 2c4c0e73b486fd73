//! A copy of a key that is lost or changed while its token answers.

use std::{
    thread,
    time::{Duration, Instant},
};

use hallmark_faulty::{Absence, Effect, Function, Scope, Sessions, When};
use hallmark_policy::key::KeyKind;

use super::{
    faulty::{AMPLE, AWAY, again},
    pair::{Pair, Unopened},
    request,
};
use crate::{Choice, SignError, Tried};

/// CKA_EXTRACTABLE.
const EXTRACTABLE: u64 = 0x162;

/// Within which two looks at a token's keys have come to an end, at the latest.
const LOOKED: Duration = Duration::from_secs(40);

/// Waits for what a look at the token's keys finds, though nobody tells the signer.
fn by_itself(mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < LOOKED, "it is not found");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_copy_that_was_signed_with_and_fails_the_next_check_signs_no_more() {
    let pair = Pair::new("restored");
    pair.under_load(|more| more());
    assert!(pair.signed()[1] > 0);
    pair.tokens.1.restore_with(&[(EXTRACTABLE, true)]);
    pair.keyring.open(&pair.key.reference, pair.key.public.digest()).unwrap();
    assert_eq!(pair.keys(), [1, 0]);
    let before = pair.signed()[1];
    pair.under_load(|more| more());
    assert_eq!(pair.signed()[1], before);
    pair.tokens.1.restore_with(&[(EXTRACTABLE, false)]);
    by_itself(|| pair.keys() == [1, 1]);
    pair.under_load(|more| more());
    assert!(pair.signed()[1] > before);
}

#[test]
fn a_copy_that_is_less_strictly_kept_than_it_was_is_found_out_though_nobody_opens_the_key() {
    let pair = Pair::new("unopened");
    pair.tokens.1.restore_with(&[(EXTRACTABLE, true)]);
    by_itself(|| pair.keys() == [1, 0]);
    let before = pair.signed()[1];
    pair.under_load(|more| more());
    assert_eq!(pair.signed()[1], before);
}

#[test]
fn a_standby_that_loses_its_keys_while_it_answers_is_not_counted_on_until_it_has_them_again() {
    let pair = Unopened { choice: Choice::Ordered, ..Unopened::new("standby") }.with_both();
    // More than are compared at one look.
    let more: Vec<_> = (0..9).map(|at| request(&format!("more-{at}"), KeyKind::EcdsaP256)).collect();
    let more: Vec<_> = more.iter().map(|request| pair.keyring.generate(request).unwrap()).collect();
    pair.tokens.1.replicate();
    more.iter().for_each(|key| drop(pair.keyring.open(&key.reference, key.public.digest()).unwrap()));
    assert_eq!(pair.keys(), [10, 10]);
    pair.tokens.1.lose();
    by_itself(|| pair.keys() == [10, 0]);
    let away = Absence { code: AWAY, sessions: Sessions::Live };
    pair.devices[0].away(away);
    again(|| !pair.serve()[0]);
    let error = pair.sign_within(AMPLE).unwrap_err();
    assert!(matches!(error, SignError::Resting { .. }), "{error}");
    assert!(pair.keyring.resting(pair.key.public.digest()).is_some());
    pair.tokens.1.replicate();
    by_itself(|| pair.keys()[1] == 10);
    pair.sign().unwrap();
    pair.devices[0].restore();
    again(|| pair.serve()[0]);
    assert_eq!(pair.keys(), [10, 10]);
}

#[test]
fn a_token_that_is_to_sign_with_a_key_that_it_lost_is_asked_once() {
    let pair = Pair::new("lost");
    pair.tokens.1.lose();
    // What its sessions remember of the key is over.
    assert!(pair.keyring.list_each(|_| true).iter().all(|(_, listed)| listed.is_ok()));
    let failures = || pair.keyring.tokens()[1].failures;
    again(|| {
        pair.sign_once(AMPLE, Tried::default()).unwrap();
        // A look may come before.
        failures() > 0 || pair.keys() == [1, 0]
    });
    assert_eq!(pair.keys(), [1, 0]);
    let before = failures();
    pair.under_load(|more| more());
    assert_eq!(failures(), before);
    pair.tokens.1.replicate();
    by_itself(|| pair.keys() == [1, 1]);
}

#[test]
fn a_token_that_has_another_key_of_the_name_is_told_apart_when_the_key_is_destroyed() {
    let pair = Pair::new("destroyed-other");
    let other = pair.keyring.generate(&request("other", KeyKind::EcdsaP256)).unwrap();
    pair.tokens.1.replicate();
    let (wanted, found) = ("issuer".to_owned(), "other".to_owned());
    let swap = Effect::SwapKeys { wanted, found, scope: Scope::Everything };
    pair.devices[1].fault(Function::FindObjectsInit, When::Always, swap);
    pair.devices[1].end_sessions();
    let done = pair.keyring.destroy(&pair.key.reference, pair.key.public.digest()).unwrap();
    let serials = [pair.tokens.0.serial(), pair.tokens.1.serial()];
    assert!(done.on.len() == 1 && done.on[0].contains(serials[0]), "{done:?}");
    assert!(done.others.len() == 1 && done.others[0].contains(serials[1]), "{done:?}");
    assert!(done.without.is_empty() && done.away.is_empty(), "{done:?}");
    pair.devices[1].mend();
    assert!(pair.keyring.open(&other.reference, other.public.digest()).is_ok(), "it is there");
}
