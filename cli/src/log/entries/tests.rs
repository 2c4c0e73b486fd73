//! What is checked of the entries together, case by case.

use super::*;
use crate::log::seen;

const ISSUER: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn look(entries: &[&str]) -> Entries {
    let mut all = Entries::new(900, false);
    for (entry, index) in entries.iter().zip(0..) {
        all.add(index, seen::look(index, entry.as_bytes(), &[])).unwrap();
    }
    all.close().unwrap();
    all
}

fn findings(entries: &[&str]) -> Vec<String> {
    look(entries).findings.iter().map(ToString::to_string).collect()
}

fn at(kind: &str, time: i64) -> String {
    format!(r#"{{"time":{time},"type":"{kind}","version":1}}"#)
}

fn accepted(time: i64) -> String {
    format!(r#"{{"command":"accept-clock","time":{time},"type":"operator-command","version":1}}"#)
}

fn issued(serial: &str, sequence: u64, time: i64) -> String {
    format!(
        r#"{{"algorithm":"ed25519","authority":"mesh","decision":"issued","issuer":{{"sequence":{sequence},"spki-sha256":"{ISSUER}"}},"not-after":9,"not-before":1,"serial":"{serial}","stage":"leaf","tbs-sha256":"{ISSUER}","time":{time},"type":"decision","version":1}}"#
    )
}

#[test]
fn a_gap_in_what_an_issuer_issued_is_found() {
    assert_eq!(findings(&[&issued("01", 1, 5), &issued("02", 2, 6)]), [""; 0]);
    assert_eq!(
        findings(&[&issued("01", 1, 5), &issued("02", 3, 6)]),
        ["entry 1 is number 3 of the issuer aaaaaaaaaaaaaaaa…, but 2 comes next; issued certificates are not logged"]
    );
}

#[test]
fn types_and_issuers_without_end_are_counted_together() {
    let mut all = Entries::new(900, false);
    for index in 0..2_000 {
        let kind = format!("{index} {}", "x".repeat(60_000));
        all.add(index, seen::look(index, at(&kind, 5).as_bytes(), &[])).unwrap();
    }
    assert_eq!((all.kinds.len(), all.kinds[OTHER_KINDS]), (KINDS_MAX + 1, 1_000));
    assert!(all.kinds.keys().all(|kind| kind.len() < 100), "nor are they long");
    for index in 0..ISSUERS_MAX as u64 + 5 {
        let mut issuer = [0; 32];
        issuer[..8].copy_from_slice(&index.to_be_bytes());
        all.look_at_issued(index, Issued { issuer, sequence: 1, serial: u128::from(index), leaf_of: None }).unwrap();
    }
    assert_eq!((all.issuers.len(), all.unnumbered), (ISSUERS_MAX, 5));
}

#[test]
fn a_serial_issued_twice_is_found() {
    assert_eq!(
        findings(&[&issued("01", 1, 5), &issued("01", 2, 6)]),
        ["entry 1 issues the serial number that entry 0 issued, by the same issuer"]
    );
}

#[test]
fn time_may_run_back_only_as_far_as_requests_overtake_each_other() {
    assert_eq!(findings(&[&at("heartbeat", 40_000), &at("heartbeat", 10_000)]), [""; 0]);
    assert_eq!(
        findings(&[&at("heartbeat", 41_000), &at("heartbeat", 10_000)]),
        ["entry 1 lies 31 s before an earlier entry; the clock was set back, or the order changed"]
    );
}

#[test]
fn a_clock_that_was_set_back_and_confirmed_is_no_finding() {
    let start = [at("heartbeat", 900_000), at("stop", 900_000), at("heartbeat", 901_000)];
    let log: Vec<String> = [at("heartbeat", 4_000_000)].into_iter().chain(start).collect();
    let with = |more: &[String]| {
        let all: Vec<String> = log.iter().chain(more).cloned().collect();
        findings(&all.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert_eq!(with(&[]).len(), 3, "nobody confirmed");
    assert_eq!(with(&[accepted(902_000), issued("01", 1, 903_000)]), [""; 0]);
    assert_eq!(with(&[accepted(902_000), at("heartbeat", 100_000)]).len(), 1, "set back once more");
    assert_eq!(with(&[accepted(902_000), at("heartbeat", 4_000_000)]), [""; 0]);
}

#[test]
fn what_was_issued_while_the_clock_ran_behind_stays_a_finding() {
    let log = [at("heartbeat", 4_000_000), issued("01", 1, 900_000), accepted(902_000)];
    let found = findings(&log.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(found, ["entry 1 lies 3100 s before an earlier entry; the clock was set back, or the order changed"]);
}

#[test]
fn another_command_of_an_operator_confirms_no_clock() {
    let other = accepted(10_000).replace("accept-clock", "accept-clocks");
    assert_eq!(findings(&[&at("heartbeat", 4_000_000), &other]).len(), 1);
}

#[test]
fn a_silence_is_told_unless_the_signer_was_away() {
    let silences = |entries: &[String]| {
        let all: Vec<&str> = entries.iter().map(String::as_str).collect();
        look(&all).silences.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let start = |time: i64| {
        format!(
            r#"{{"config-sha256":"{ISSUER}","program-version":"1","software-keys":false,"time":{time},"type":"start","version":1}}"#
        )
    };
    let beats = [at("heartbeat", 0), at("heartbeat", 600_000), at("heartbeat", 1_500_000)];
    assert_eq!(silences(&beats), [""; 0]);
    let silent = [beats[1].clone(), at("heartbeat", 1_500_001)];
    let told = "before entry 1 nothing was logged for 15 minutes from 1970-01-01T00:10:00Z on, not even a heartbeat";
    assert_eq!(silences(&silent), [told]);
    assert_eq!(silences(&[at("stop", 0), at("heartbeat", 9_000_000)]), [""; 0]);
    assert_eq!(silences(&[at("heartbeat", 0), start(9_000_000)]), [""; 0]);
    let keys = |by: &str| {
        format!(
            r#"{{"added":["a"],"by":"{by}","keys":["a"],"removed":[],"time":9000000,"type":"log-key","version":1}}"#
        )
    };
    let killed = [at("heartbeat", 0), keys("start"), start(9_000_000)];
    assert_eq!(silences(&killed), [""; 0], "a start that follows a crash says its keys first");
    assert_eq!(silences(&[at("heartbeat", 0), keys("roll"), start(9_000_000)]).len(), 1);
}

#[test]
fn entries_of_unknown_type_are_counted_and_no_finding() {
    let seen = look(&[r#"{"time":1,"type":"eclipse","version":1}"#, r#"{"time":1,"type":"decision","version":2}"#]);
    assert_eq!((seen.unknown_kinds, seen.other_versions, seen.findings.len()), (1, 1, 0));
}

#[test]
fn what_is_no_canonical_entry_is_found() {
    let found = findings(&[r#"{"type":"start","time":1,"version":1}"#, "nonsense", &at("recovered", 1)]);
    let canonical = "is no entry of this log's format: it is not one object in canonical JSON (RFC 8785)";
    assert_eq!(found[..2], [format!("entry 0 {canonical}"), format!("entry 1 {canonical}")]);
    assert_eq!(found[2], "entry 2 is no entry of this log's format: it has no `unsigned`, which `recovered` has");
}

#[test]
fn a_leaf_of_an_authority_that_is_frozen_is_found() {
    let command =
        |words: &str| format!(r#"{{"authority":"mesh","by":"o",{words},"type":"operator-command","version":1}}"#);
    let freeze = |time: i64| command(&format!(r#""command":"freeze-authority","reason":"lost","time":{time}"#));
    let thaw =
        |time: i64| command(&format!(r#""command":"thaw-authority","frozen-index":1,"reason":"found","time":{time}"#));
    let other = freeze(6).replace("mesh", "another");
    assert_eq!(findings(&[&issued("01", 1, 5), &other, &issued("02", 2, 7)]), [""; 0], "it is another's");
    assert_eq!(findings(&[&issued("01", 1, 5), &freeze(6), &thaw(7), &issued("02", 2, 8)]), [""; 0]);
    assert_eq!(
        findings(&[&issued("01", 1, 5), &freeze(6), &issued("02", 2, 7)]),
        ["entry 2 has a leaf signed of an authority that entry 1 froze, and that nobody has thawed since"]
    );
    let again = |time: i64| {
        format!(
            r#"{{"authority":"mesh","caller":"c","decision-index":0,"request-id":"r","result":"signing-again","serial":"01","stage":"leaf","time":{time},"type":"outcome","version":1}}"#
        )
    };
    assert_eq!(findings(&[&issued("01", 1, 5), &freeze(6), &thaw(7), &again(8)]), [""; 0]);
    assert_eq!(
        findings(&[&issued("01", 1, 5), &freeze(6), &again(7)]),
        ["entry 2 has a leaf signed of an authority that entry 1 froze, and that nobody has thawed since"]
    );
    let ca = issued("02", 2, 7).replace(r#""stage":"leaf""#, r#""stage":"intermediate""#);
    assert_eq!(findings(&[&issued("01", 1, 5), &freeze(6), &ca]), [""; 0], "its epochs are replaced meanwhile");
}
