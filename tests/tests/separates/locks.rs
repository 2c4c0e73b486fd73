//! One wrong PIN is one log-in, whatever starts again: tokens lock after a few. And a token that is another one signs nothing.

use std::{fs, process::Output};

use hallmark_faulty::{
    Device, Effect, Function, When,
    cryptoki_sys::{CKR_PIN_INCORRECT, CKR_PIN_LOCKED},
};
use hallmark_test_token::Token;
use hallmark_tests::{asking::Asked, client::connect, daemon::Laboratory};
use tonic::Code;

use crate::recovers::{behind, logged, signal};

/// Exit code of what must not be started again by itself.
const NOT_AGAIN: i32 = 3;

/// `hallmarkd run`, which is expected to end by itself; what it said, and how often somebody tried to log in.
fn run(laboratory: &Laboratory, device: &Device, more: &[&str]) -> (Output, String, u64) {
    let before = device.calls(Function::Login);
    let output = laboratory.hallmarkd().arg("run").arg(laboratory.path("signer.toml")).args(more).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, told, device.calls(Function::Login) - before)
}

fn mistype(laboratory: &Laboratory) {
    fs::write(laboratory.path("pin"), "00000000").unwrap();
}

#[test]
fn a_token_that_locks_meets_one_log_in_for_each_time_that_a_person_starts_the_daemon_and_never_locks() {
    let (token, device) = (Token::make("locking"), Device::new());
    let laboratory = behind(&device, &token);
    device.lock_pin_after(Some(3));
    mistype(&laboratory);
    for (more, sentence, logins) in [
        (
            &[][..],
            "is wrong; nothing is tried again, because tokens lock after a few attempts: correct it and restart",
            1,
        ),
        (&["--one-process"], "a wrong PIN was tried on this token since the last log-in", 1),
        // The last attempt is left to people.
        (&[], "allows one last PIN attempt, which is left to you: log in once with the vendor's tool", 0),
        (&["--one-process"], "allows one last PIN attempt, which is left to you", 0),
    ] {
        let (ended, told, tried) = run(&laboratory, &device, more);
        assert_eq!((ended.status.code(), tried), (Some(NOT_AGAIN), logins), "{told}");
        assert!(told.contains(sentence), "{told}");
        assert!(!told.contains("00000000"), "{told}");
    }
}

#[test]
fn a_pin_that_is_locked_is_told_with_what_to_do_and_nobody_logs_in() {
    let (token, device) = (Token::make("locked"), Device::new());
    let laboratory = behind(&device, &token);
    device.lock_pin_after(Some(1));
    mistype(&laboratory);
    // With one attempt in all, the token says before it that this is the last.
    let (ended, told, tried) = run(&laboratory, &device, &[]);
    assert_eq!((ended.status.code(), tried), (Some(NOT_AGAIN), 0), "{told}");
    // A token that says so, and one that says so only when it is asked.
    for logins in [0, 1] {
        device.lock_pin_after((logins == 0).then_some(3));
        device.had_wrong_pins(3);
        device.fault(Function::Login, When::Nth(1), Effect::Refuse(CKR_PIN_LOCKED));
        let (ended, told, tried) = run(&laboratory, &device, &[]);
        assert_eq!((ended.status.code(), tried), (Some(NOT_AGAIN), logins), "{told}");
        assert!(told.contains("is locked; unlock it with the security officer's PIN"), "{told}");
        device.mend();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_that_is_wrong_when_the_core_starts_again_is_tried_once() {
    let (token, device) = (Token::make("pin"), Device::new());
    let laboratory = behind(&device, &token);
    let daemon = laboratory.start();
    mistype(&laboratory);
    let before = device.calls(Function::Login);
    signal("KILL", daemon.core());
    assert_eq!(daemon.await_end(), Some(NOT_AGAIN));
    let log = logged(&laboratory);
    assert!(log.contains("is not started again, since that could do harm"), "{log}");
    assert_eq!(device.calls(Function::Login) - before, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_that_is_refused_while_the_daemon_runs_ends_it_before_another_core_could_try_it() {
    let (token, device) = (Token::make("changed"), Device::new());
    let laboratory = behind(&device, &token);
    let daemon = laboratory.start();
    let mut client = connect(&laboratory, &daemon).await;
    client.mint_certificate(Asked::sports_api().request()).await.unwrap();
    let before = device.calls(Function::Login);
    // A second attempt would succeed, so that nobody fails to notice it.
    device.fault(Function::Login, When::Nth(1), Effect::Refuse(CKR_PIN_INCORRECT));
    device.end_sessions();
    drop(client.mint_certificate(Asked::sports_api().request()).await);
    assert_eq!(daemon.await_end(), Some(NOT_AGAIN));
    assert_eq!(device.calls(Function::Login) - before, 1);
    let log = logged(&laboratory);
    assert!(log.contains("the user PIN was refused when the core logged in anew"), "{log}");
    assert!(log.contains("correct it and restart"), "{log}");
    // It is right in fact, and whoever starts the daemon is served.
    let daemon = laboratory.start();
    let mut client = connect(&laboratory, &daemon).await;
    client.mint_certificate(Asked::sports_api().request()).await.unwrap();
    drop(client);
    assert!(daemon.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_initialised_anew_under_its_label_with_other_keys_signs_nothing_and_is_refused_with_a_sentence()
 {
    const SENTENCE: &str = "somebody replaced it, so it is not used";
    let (token, device) = (Token::make("anew"), Device::new());
    let laboratory = behind(&device, &token);
    let daemon = laboratory.start();
    let mut client = connect(&laboratory, &daemon).await;
    client.mint_certificate(Asked::sports_api().request()).await.unwrap();
    token.initialise_anew();
    device.end_sessions();
    for _ in 0..5 {
        let refused = client.mint_certificate(Asked::sports_api().request()).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    }
    let log = logged(&laboratory);
    assert!(log.contains(SENTENCE), "{log}");
    drop(client);
    assert!(daemon.terminate());
    let (ended, told, _) = run(&laboratory, &device, &[]);
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(told.contains(SENTENCE) && told.contains("hallmark-athenz"), "{told}");
}
