//! A PIN that one of several tokens refused is not tried again by anybody who remembers it. The devices here tell nobody that a wrong one was tried, and
//! would take the next one.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use hallmark_faulty::{Device, Effect, Function, When, cryptoki_sys::CKR_PIN_INCORRECT};
use hallmark_test_token::PIN;

use super::{
    faulty::{PATIENCE, again},
    pair::Unopened,
};
use crate::{Keyring, PinDigest, RefusedPins, patience::Patience};

const WRONG_PIN: &str = "00000000";

fn refuse_once(device: &Device) {
    device.fault(Function::Login, When::Nth(1), Effect::Refuse(CKR_PIN_INCORRECT));
}

/// Waits until the second token is out because of its PIN, for good.
fn is_out(keyring: &Keyring) {
    again(|| keyring.tokens()[1].away.as_ref().is_some_and(|why| why.contains("is wrong; nothing is tried again")));
}

#[test]
fn a_pin_that_a_token_refused_is_not_tried_by_the_next_process_that_is_told_of_it_and_another_pin_is() {
    let unopened = Unopened::new("remembered");
    let device = &unopened.devices[1];
    refuse_once(device);
    let told = Arc::<Mutex<Vec<PinDigest>>>::default();
    let memory = || {
        let (known, told) = (told.lock().unwrap().clone(), Arc::clone(&told));
        RefusedPins::kept(&[1; 32], known, move |digest| told.lock().unwrap().push(digest))
    };
    for _ in 0..3 {
        let keyring = unopened.open_remembering([PIN, PIN], memory()).unwrap();
        is_out(&keyring);
        assert!(!keyring.pin_is_refused(), "the other one serves");
        keyring.health().unwrap();
        assert_eq!((device.calls(Function::Login), told.lock().unwrap().len()), (1, 1));
    }
    let keyring = unopened.open_remembering([PIN, WRONG_PIN], memory()).unwrap();
    is_out(&keyring);
    assert_eq!((device.calls(Function::Login), told.lock().unwrap().len()), (2, 2));
}

#[test]
fn a_process_that_remembers_nothing_tries_it() {
    let unopened = Unopened::new("forgotten");
    refuse_once(&unopened.devices[1]);
    let keyring = unopened.open([PIN, PIN]).unwrap();
    is_out(&keyring);
    drop(keyring);
    let keyring = unopened.open([PIN, PIN]).unwrap();
    again(|| keyring.tokens()[1].away.is_none());
    assert_eq!(unopened.devices[1].calls(Function::Login), 2);
}

#[test]
fn a_pin_that_is_refused_after_its_caller_has_gone_is_tried_once() {
    let patience = Patience { start: Duration::from_secs(2), ..PATIENCE };
    let unopened = Unopened { patience, ..Unopened::new("late") };
    let device = &unopened.devices[1];
    device.fault(Function::Login, When::Nth(1), Effect::Delay(Duration::from_millis(3_500)));
    refuse_once(device);
    let keyring = unopened.open([PIN, PIN]).unwrap();
    let away = keyring.tokens()[1].away.clone();
    assert!(away.as_ref().is_none_or(|why| !why.contains("PIN")), "it has not answered yet: {away:?}");
    is_out(&keyring);
    assert_eq!(device.calls(Function::Login), 1);
}
