//! The device's command log, held against what was asked for.

use std::{
    collections::BTreeSet,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use hallmark_policy::key::SignatureAlgorithm;
use hallmark_yubihsm::{Capabilities, CommandLog, Domains, LogEntry};
use tempfile::TempDir;

use super::{
    super::{
        access::{Access, Place},
        finding::Finding,
        least::Duty,
        log,
        manual::{LOG_ENTRIES, Manual, OWN},
        tally::Tally,
    },
    guarded::key,
};
use crate::{BackendError, CommandLogUse, Keyring, NewKey, SignError, conformance::message, patience::Patience};

const KEY: u16 = 0x6001;
const ROOT: u16 = 0x4001;
const STRANGER: u16 = 9;

pub(super) fn sign(keyring: &Keyring, key: &NewKey) -> Result<(), SignError> {
    let (send, receive) = mpsc::channel();
    let message = message(key.public.digest(), SignatureAlgorithm::EcdsaSha256);
    let deadline = Instant::now() + Duration::from_secs(60);
    keyring.sign_message(message, deadline, Box::new(move |answer| send.send(answer.map(drop)).unwrap()));
    receive.recv().unwrap()
}

pub(super) fn consume(directory: &TempDir) -> CommandLogUse {
    CommandLogUse::Consume { file: directory.path().join("commands") }
}

pub(super) fn duty() -> Duty {
    Duty::new(None, true, Capabilities::NONE)
}

/// A device whose log is compared without a keyring: what it says, and what was sent and answered.
struct Audit {
    device: Manual,
    tally: Tally,
}

impl Audit {
    fn new() -> Self {
        let audit = Self { device: Manual::new(), tally: Tally::new(OWN) };
        assert_eq!(audit.compare(), []);
        audit
    }

    /// The signer has the device sign.
    fn signs(&self) {
        self.tally.sends(KEY);
        self.device.signs_for(OWN, KEY);
        self.tally.was_answered(KEY);
    }

    /// The same, and its log does not have it.
    fn signs_unlogged(&self) {
        self.tally.sends(KEY);
        self.tally.was_answered(KEY);
    }

    fn log(&self) -> CommandLog {
        let state = self.device.state();
        CommandLog { entries: state.log.clone(), unread: state.unread, ..CommandLog::default() }
    }

    fn compare(&self) -> Vec<Finding> {
        let before = self.tally.asks();
        self.tally.compare(&self.log(), &before, &BTreeSet::from([KEY]))
    }
}

#[test]
fn a_log_that_has_what_was_asked_for_says_nothing() {
    let audit = Audit::new();
    for _ in 0..10 {
        (0..7).for_each(|_| audit.signs());
        assert_eq!(audit.compare(), []);
    }
    // One is under way: it was sent, and may be logged.
    audit.tally.sends(KEY);
    assert_eq!(audit.compare(), []);
    audit.device.signs_for(OWN, KEY);
    assert_eq!(audit.compare(), []);
}

#[test]
fn a_signature_that_nobody_here_asked_for_is_told_once() {
    let audit = Audit::new();
    audit.signs();
    audit.device.signs_for(STRANGER, KEY);
    let [finding] = audit.compare().try_into().unwrap();
    assert!(matches!(finding, Finding::ByAnother { key: KEY, authentication_key: STRANGER, .. }), "{finding}");
    assert!(finding.is_alarming());
    assert_eq!(audit.compare(), []);
    // With this signer's own authentication key: there is one more than was sent.
    audit.device.signs_for(OWN, KEY);
    assert_eq!(audit.compare(), [Finding::Unasked { key: KEY, logged: 2, sent: 1 }]);
    // What others do with others' keys is theirs.
    audit.device.signs_for(STRANGER, 0x0007);
    assert_eq!(audit.compare(), []);
}

#[test]
fn a_signature_that_the_device_said_it_did_not_make_must_not_be_in_its_log() {
    let audit = Audit::new();
    audit.tally.sends(KEY);
    audit.tally.was_not_done(KEY);
    audit.device.signs_for(OWN, KEY);
    assert_eq!(audit.compare(), [Finding::Unasked { key: KEY, logged: 1, sent: 0 }]);
}

#[test]
fn signatures_that_the_log_lacks_are_told_apart_from_a_log_that_has_none() {
    let audit = Audit::new();
    audit.device.state().keeps_log = false;
    audit.signs();
    assert_eq!(audit.compare(), [Finding::NotKept { key: KEY }]);
    audit.signs();
    assert_eq!(audit.compare(), []);
    let audit = Audit::new();
    audit.signs();
    assert_eq!(audit.compare(), []);
    audit.signs_unlogged();
    assert_eq!(audit.compare(), [Finding::Missing { key: KEY, logged: 1, answered: 2 }]);
    assert_eq!(audit.compare(), []);
    audit.signs_unlogged();
    assert_eq!(audit.compare(), [Finding::Missing { key: KEY, logged: 0, answered: 1 }], "each time");
}

#[test]
fn a_log_that_is_turned_on_later_lacks_nothing_of_the_time_before() {
    let audit = Audit::new();
    (0..3).for_each(|_| audit.signs_unlogged());
    assert_eq!(audit.compare(), [Finding::NotKept { key: KEY }]);
    audit.signs_unlogged();
    audit.signs();
    assert_eq!(audit.compare(), []);
    audit.signs_unlogged();
    assert_eq!(audit.compare(), [Finding::Missing { key: KEY, logged: 0, answered: 1 }]);
}

#[test]
fn a_log_that_was_changed_or_has_lost_entries_is_found_out() {
    let audit = Audit::new();
    audit.signs();
    let change = |change: fn(&mut LogEntry)| {
        let mut state = audit.device.state();
        change(state.log.last_mut().unwrap());
    };
    change(|entry| entry.tick += 1);
    let number = audit.log().entries.last().unwrap().number;
    assert!(audit.compare().contains(&Finding::Broken { entry: number }));

    let audit = Audit::new();
    (0..LOG_ENTRIES + 20).for_each(|_| audit.signs());
    let [finding] = audit.compare().try_into().unwrap();
    assert_eq!(finding, Finding::Overwritten { entries: 20 });
    assert!(!finding.is_alarming());
    // What was overwritten is neither missed later, nor an allowance for whoever else has the password.
    audit.signs();
    assert_eq!(audit.compare(), []);
    audit.device.signs_for(OWN, KEY);
    assert_eq!(audit.compare(), [Finding::Unasked { key: KEY, logged: 2, sent: 1 }]);
    audit.signs();
    assert_eq!(audit.compare(), [], "it was told");
    // It happens again, and is told again.
    (0..LOG_ENTRIES + 20).for_each(|_| audit.signs());
    assert_eq!(audit.compare(), [Finding::Overwritten { entries: 20 }]);
}

#[test]
fn what_was_under_way_in_a_gap_is_no_allowance_once_it_is_answered() {
    let audit = Audit::new();
    audit.tally.sends(KEY);
    (0..LOG_ENTRIES + 20).for_each(|_| audit.device.signs_for(STRANGER, 0x0007));
    assert_eq!(audit.compare(), [Finding::Overwritten { entries: 20 }]);
    // Its entry was one of the overwritten.
    audit.tally.was_answered(KEY);
    audit.signs();
    assert_eq!(audit.compare(), []);
    audit.device.signs_for(OWN, KEY);
    assert_eq!(audit.compare(), [Finding::Unasked { key: KEY, logged: 1, sent: 0 }]);
}

#[test]
fn what_this_process_signed_before_its_first_look_is_neither_earlier_nor_missing_nor_an_allowance() {
    let audit = Audit { device: Manual::new(), tally: Tally::new(OWN) };
    audit.device.signs_for(OWN, KEY);
    (0..2).for_each(|_| audit.signs());
    assert_eq!(audit.compare(), [Finding::Before { signatures: 1 }]);
    audit.signs();
    assert_eq!(audit.compare(), []);
    audit.device.signs_for(OWN, KEY);
    assert_eq!(audit.compare(), [Finding::Unasked { key: KEY, logged: 2, sent: 1 }]);
}

#[test]
fn a_keyring_has_looked_before_it_signs() {
    let (directory, device) = (tempfile::tempdir().unwrap(), Manual::new());
    let keyring = device.open(1, consume(&directory), Patience::default()).unwrap();
    assert_eq!(device.state().looks, 1);
    drop(keyring);
}

/// The signer's way to a device, which consumes its log.
fn access_to(device: &Manual, directory: &tempfile::TempDir) -> std::sync::Arc<Access> {
    let (domains, found) = (Domains::of(&[1]).unwrap(), crate::DeviceLogFindings::default());
    Access::new(Box::new(device.clone()), OWN, domains, duty(), consume(directory), found)
}

#[test]
fn a_finding_is_told_also_where_the_device_does_not_take_that_its_log_was_read() {
    let (directory, device) = (tempfile::tempdir().unwrap(), Manual::new());
    let access = access_to(&device, &directory);
    let look = || {
        let mut told = Vec::new();
        let read =
            Place::default().run(&access, |held| log::read_once(&access, held, |finding| told.push(finding.clone())));
        (told, read)
    };
    look().1.unwrap();
    device.signs_for(STRANGER, ROOT);
    device.make(ROOT, b"root", &["sign-ecdsa"]);
    device.state().loses = Some("SET LOG INDEX");
    let (told, read) = look();
    assert!(matches!(&told[..], [Finding::ByAnother { key: ROOT, .. }]), "{told:?}");
    assert!(matches!(read, Err(BackendError::Gone { .. })), "{read:?}");
    look().1.unwrap();
}

#[test]
fn nobody_reads_the_log_while_another_has_not_compared_it() {
    let (directory, device) = (tempfile::tempdir().unwrap(), Manual::new());
    let access = access_to(&device, &directory);
    device.make(KEY, b"epoch", &["sign-ecdsa"]);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let place = Place::default();
                for _ in 0..50 {
                    access.tally.sends(KEY);
                    device.signs_for(OWN, KEY);
                    access.tally.was_answered(KEY);
                    let tell = |finding: &Finding| panic!("{finding}");
                    place.run(&access, |held| log::read_once(&access, held, tell)).unwrap();
                }
            });
        }
    });
}

#[test]
fn what_was_logged_before_the_start_is_told_and_not_counted() {
    let audit = Audit { device: Manual::new(), tally: Tally::new(OWN) };
    (0..3).for_each(|_| audit.device.signs_for(OWN, KEY));
    audit.device.signs_for(STRANGER, KEY);
    let findings = audit.compare();
    assert!(findings.contains(&Finding::Before { signatures: 3 }), "{findings:?}");
    assert!(findings.iter().any(|finding| matches!(finding, Finding::ByAnother { .. })), "{findings:?}");
    audit.signs();
    assert_eq!(audit.compare(), []);
}

#[test]
fn entries_that_the_library_does_not_read_are_told_and_nothing_is_missed_because_of_them() {
    let audit = Audit::new();
    audit.signs();
    audit.device.state().unread = 2;
    audit.tally.sends(KEY);
    audit.tally.was_answered(KEY);
    let last = audit.log().entries.last().unwrap().number;
    assert_eq!(audit.compare(), [Finding::Unread { after: Some(last), entries: 2 }]);
    audit.device.state().unread = 0;
    audit.signs();
    assert_eq!(audit.compare(), [], "nor later");
}

#[test]
fn every_finding_is_a_sentence_that_says_what_to_do() {
    let findings = [
        Finding::ByAnother { key: KEY, authentication_key: STRANGER, entry: 17 },
        Finding::Unasked { key: KEY, logged: 2, sent: 1 },
        Finding::Missing { key: KEY, logged: 1, answered: 2 },
        Finding::NotKept { key: KEY },
        Finding::Broken { entry: 17 },
        Finding::Overwritten { entries: 20 },
        Finding::Unread { after: Some(65_535), entries: 2 },
        Finding::Unread { after: None, entries: 3 },
        Finding::NoRoom { boots: 1, authentications: 2 },
        Finding::Unkept { path: "commands".into(), error: "No space left on device (os error 28)".to_owned() },
        Finding::Before { signatures: 3 },
    ];
    insta::assert_snapshot!(findings.map(|finding| finding.to_string()).join("\n"));
}

#[test]
fn a_device_that_logs_everything_or_does_nothing_signs_on_while_its_log_is_read() {
    let (directory, device) = (tempfile::tempdir().unwrap(), Manual::new());
    device.state().force_audit = true;
    let keyring = device.open(2, consume(&directory), Patience::default()).unwrap();
    let issuer = key(&keyring, "issuer");
    (0..3 * LOG_ENTRIES).for_each(|_| sign(&keyring, &issuer).unwrap());
    assert!(device.state().log.len() <= LOG_ENTRIES);
}

#[test]
fn a_device_whose_log_was_full_before_a_session_was_opened_signs_once_it_was_read() {
    let (directory, device) = (tempfile::tempdir().unwrap(), Manual::new());
    device.state().force_audit = true;
    let keyring = device.open(1, consume(&directory), Patience::default()).unwrap();
    let issuer = key(&keyring, "issuer");
    sign(&keyring, &issuer).unwrap();
    device.idle();
    while device.state().log.len() < LOG_ENTRIES {
        device.signs_for(OWN, 0x0007);
    }
    sign(&keyring, &issuer).unwrap();
    keyring.stop();
    // As well when nothing of it was seen before.
    while device.state().log.len() < LOG_ENTRIES {
        device.signs_for(OWN, 0x0007);
    }
    let keyring = device.open(1, consume(&directory), Patience::default()).unwrap();
    keyring.random(&mut [0; 8]).unwrap();
    assert!(device.state().log.len() < LOG_ENTRIES);
}

#[test]
fn a_log_that_nobody_may_free_ends_the_signing_with_a_sentence() {
    let device = Manual::new();
    device.state().force_audit = true;
    let keyring = device.open(1, CommandLogUse::Read, Patience::default()).unwrap();
    let issuer = key(&keyring, "issuer");
    let error = loop {
        if let Err(error) = sign(&keyring, &issuer) {
            break error;
        }
    };
    insta::assert_snapshot!(error.to_string());
}

#[test]
fn what_a_daemon_finds_is_counted_and_waits_to_be_logged() {
    let device = Manual::new();
    let keyring = device.open(1, CommandLogUse::Read, Patience::default()).unwrap();
    let issuer = key(&keyring, "issuer");
    let found = device.state().found.clone();
    assert!(found.counts().is_empty(), "{:?}", found.counts());
    let id = issuer.reference.yubihsm_id().unwrap();
    device.signs_for(STRANGER, id);
    // So many that the log is read before its time.
    let began = Instant::now();
    while found.counts().is_empty() {
        sign(&keyring, &issuer).unwrap();
        assert!(began.elapsed() < Duration::from_secs(60), "it is not found");
    }
    assert_eq!(found.counts()["by-another"], 1);
    let alarms = found.take_alarms();
    assert!(matches!(&alarms[..], [alarm] if alarm.is_unasked && alarm.key == Some(id)), "{alarms:?}");
}
