//! Auditors: finding, proving, comparing, counting and copying, over logs that hold and logs that do not.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::Path,
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use der::{Decode as _, Encode as _};
use hallmark_entry::{Object, privacy::Private, sha256};
use hallmark_tlog::{bundle, cosignature::Witness, note::Note};
use insta::assert_snapshot;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa, KeyIdMethod,
    KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
};

use crate::support::{
    Run, World,
    log::{self, THEN_MILLIS, entries, publish, sign_anew},
};

const NEVER_STALE: &str = "--stale-after=99999d";

fn published() -> World {
    let world = World::new();
    publish(&world, &entries(THEN_MILLIS));
    world
}

fn log_run(world: &World, command: &str, more: &[&str]) -> Run {
    world.run([&["log", command, "log", "--key", "log.vkey"][..], more].concat())
}

/// An issuer with certificates, and a log that decided on them.
struct Issued {
    world: World,
    entries: Vec<Vec<u8>>,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Issued {
    /// Leaves with the serial numbers 1 to `count`, written as `leaf-1.pem` and so on.
    fn new(count: u64) -> Self {
        let mut authority = CertificateParams::default();
        authority.distinguished_name.push(DnType::CommonName, "Issuer");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let world = World::new();
        world.write("issuer.pem", issuer.pem());
        let mut issued = Self { world, entries: vec![log::start(THEN_MILLIS)], issuer };
        for number in 1..=count {
            let der = issued.leaf(number);
            let entry = issued.entry(number, &der);
            issued.entries.push(entry);
        }
        issued
    }

    fn leaf(&self, number: u64) -> Vec<u8> {
        let mut leaf = CertificateParams::new(vec![format!("leaf-{number}.example")]).unwrap();
        leaf.serial_number = Some(SerialNumber::from(vec![0x5a, u8::try_from(number).unwrap()]));
        let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &self.issuer).unwrap();
        self.world.write(&format!("leaf-{number}.pem"), leaf.pem());
        leaf.der().to_vec()
    }

    fn entry(&self, number: u64, certificate: &[u8]) -> Vec<u8> {
        let read = x509_cert::Certificate::from_der(certificate).unwrap();
        let of_issuer = x509_cert::Certificate::from_der(self.issuer.der()).unwrap();
        let spki = of_issuer.tbs_certificate().subject_public_key_info().to_der().unwrap();
        Object::new()
            .text("decision", "issued")
            .text("stage", "leaf")
            .text("algorithm", "ecdsa-sha256")
            .text("authority", "athenz")
            .object("issuer", Object::new().count("sequence", number).hex("spki-sha256", &sha256(&spki)))
            .hex("serial", &[0x5a, u8::try_from(number).unwrap()])
            .integer("not-before", THEN_MILLIS / 1_000)
            .integer("not-after", THEN_MILLIS / 1_000 + 86_400)
            .hex("tbs-sha256", &sha256(&read.tbs_certificate().to_der().unwrap()))
            .into_entry("decision", THEN_MILLIS + i64::try_from(number).unwrap())
    }

    fn publish(&self) {
        publish(&self.world, &self.entries);
    }

    fn reconcile(&self, more: &[&str]) -> Run {
        log_run(&self.world, "reconcile", &[&["--issuer", "issuer.pem"], more].concat())
    }
}

#[test]
fn entries_are_found_by_what_they_say() {
    let world = published();
    assert_snapshot!(log_run(&world, "query", &["--decision", "issued"]).told());
    let indexes = |more: &[&str]| -> Vec<u64> {
        let run = log_run(&world, "query", &[more, &["--format", "json"]].concat());
        assert_eq!(run.code, 0, "{}", run.told());
        let lines = run.stdout.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.map(|line| line["index"].as_u64().unwrap()).collect()
    };
    for (filter, found) in [
        (&["--reason", "NAME_OUTSIDE_FORMAT"][..], &[2_u64][..]),
        (&["--caller", "zts", "--decision", "refused"], &[2]),
        (&["--name", "api.sports.lab.athenz.cloud"], &[1, 3]),
        (&["--name", "dns:*.lab.athenz.cloud"], &[1, 3]),
        (&["--name", "sports"], &[]),
        (&["--serial", "5A:02"], &[3]),
        (&["--type", "eclipse"], &[4]),
        (&["--since", "2026-11-22T06:00:02Z", "--until", "2026-11-22T06:00:03Z"], &[2, 3]),
        (&["--policy", "ab"], &[]),
        (&["--authority", "athenz", "--profile", "athenz-service"], &[1, 2, 3]),
    ] {
        assert_eq!(indexes(filter), found, "{filter:?}");
    }
    let csv = log_run(&world, "query", &["--format", "csv", "--decision", "refused"]).stdout;
    assert_snapshot!(csv.replace('\r', ""));
}

#[test]
fn what_is_found_in_a_log_that_does_not_hold_is_not_to_be_trusted() {
    let world = published();
    let path = world.path("log/tile/entries/000.p/5");
    let mut bytes = fs::read(&path).unwrap();
    let at = String::from_utf8_lossy(&bytes).find("zts").unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    for command in ["query", "stats"] {
        let run = log_run(&world, command, &[]);
        assert_eq!(run.code, 1, "{}", run.told());
        assert!(run.stderr.contains("entry 1 in `tile/entries/000.p/5`"), "{}", run.stderr);
    }
    let run = log_run(&world, "range", &["--from", "1", "--to", "1"]);
    assert_eq!(run.code, 1, "{}", run.told());
    assert_eq!(log_run(&world, "range", &["--from", "2"]).code, 0, "the others are what was signed");
    let run = log_run(&world, "export", &["--out", "copy"]);
    assert_eq!(run.code, 1, "{}", run.told());
}

#[test]
fn a_range_is_proven_entry_by_entry() {
    let world = published();
    assert_snapshot!(log_run(&world, "range", &["--from", "1", "--to", "2"]).told());
    assert_eq!(log_run(&world, "range", &["--from", "5"]).code, 2);
    assert_eq!(log_run(&world, "range", &["--from", "3", "--to", "2"]).code, 2);
}

#[test]
fn a_certificate_is_proven_from_the_log_and_the_receipt_is_about_it_alone() {
    let issued = Issued::new(3);
    issued.publish();
    let world = &issued.world;
    let run = log_run(world, "prove", &["leaf-2.pem", "--out", "receipt", "--entry-out", "entry"]);
    assert_eq!(run.code, 0, "{}", run.told());
    let check = |more: &[&str]| world.run([&["log", "receipt", "receipt"][..], more, &["--key", "log.vkey"]].concat());
    let told = check(&["leaf-2.pem", "--entry", "entry"]).told();
    // Keys are new each time, and so is the root.
    let lines = told.lines().filter(|line| !line.starts_with("  root")).collect::<Vec<_>>();
    assert_snapshot!(lines.join("\n"));
    assert_eq!(check(&["leaf-2.pem", "--log", "log"]).code, 0);
    assert_snapshot!(check(&["leaf-1.pem", "--entry", "entry"]).told());
    issued.leaf(9);
    assert_snapshot!(log_run(world, "prove", &["leaf-9.pem"]).told());
}

#[test]
fn what_is_outside_is_compared_with_what_an_issuer_s_entries_say() {
    let mut issued = Issued::new(3);
    let void = |of: u64| {
        let object = Object::new().count("decision-index", of).text("serial", "5a03").text("stage", "leaf");
        object.into_entry("void", THEN_MILLIS + 10)
    };
    issued.entries.push(void(3));
    issued.publish();
    let all = ["--certificates", "leaf-1.pem", "--certificates", "leaf-2.pem"];
    let run = issued.reconcile(&[&all[..], &["--counter", "2"]].concat());
    assert_snapshot!(run.told());
    for (counter, code) in [("1", 1), ("2", 0), ("3", 0), ("4", 1)] {
        assert_eq!(issued.reconcile(&["--counter", counter]).code, code, "{counter}");
    }
    issued.leaf(9);
    let run = issued.reconcile(&["--certificates", "leaf-9.pem", "--counter", "4"]);
    assert_snapshot!(run.told());
}

/// A CRL of the issuer that lists these serial numbers, and the decision on it.
fn crl(issued: &Issued, number: u64, serials: &[u64]) -> Vec<u8> {
    let revoked = |serial: &u64| RevokedCertParams {
        serial_number: SerialNumber::from(vec![0x5a, u8::try_from(*serial).unwrap()]),
        revocation_time: date_time_ymd(2026, 11, 22),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 11, 22),
        next_update: date_time_ymd(2026, 11, 29),
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let crl = params.signed_by(&issued.issuer).unwrap();
    issued.world.write(&format!("{number}.crl"), crl.pem().unwrap());
    let read = x509_cert::crl::CertificateList::<x509_cert::certificate::Rfc5280>::from_der(crl.der()).unwrap();
    let of_issuer = x509_cert::Certificate::from_der(issued.issuer.der()).unwrap();
    let spki = of_issuer.tbs_certificate().subject_public_key_info().to_der().unwrap();
    Object::new()
        .text("decision", "issued")
        .text("stage", "crl")
        .text("algorithm", "ecdsa-sha256")
        .text("authority", "athenz")
        .object("issuer", Object::new().hex("spki-sha256", &sha256(&spki)))
        .hex("tbs-sha256", &sha256(&read.tbs_cert_list.to_der().unwrap()))
        .count("crl-number", number)
        .count("entries", serials.len() as u64)
        .integer("this-update", THEN_MILLIS / 1_000)
        .integer("next-update", THEN_MILLIS / 1_000 + 604_800)
        .into_entry("decision", THEN_MILLIS + 100)
}

#[test]
fn crls_at_hand_are_compared_with_what_was_decided_and_issued() {
    let mut issued = Issued::new(2);
    let decided = crl(&issued, 1, &[2]);
    issued.entries.push(decided);
    issued.publish();
    let run = issued.reconcile(&["--crl", "1.crl", "--counter", "3"]);
    assert_eq!(run.code, 0, "{}", run.told());
    assert!(run.stderr.contains("1 with 1 serial numbers"), "{}", run.stderr);
    crl(&issued, 2, &[1]);
    let run = issued.reconcile(&["--crl", "1.crl", "--crl", "2.crl"]);
    assert!(run.code == 1 && run.stderr.contains("the log has no decision on the CRL in `2.crl`"), "{}", run.told());
    let strange = crl(&issued, 3, &[2, 9]);
    issued.entries.push(strange);
    issued.publish();
    let run = issued.reconcile(&["--crl", "3.crl"]);
    assert!(run.code == 1 && run.stderr.contains("a CRL revokes the serial number 5a09"), "{}", run.told());
    let of_another = Issued::new(0);
    crl(&of_another, 1, &[]);
    issued.world.write("other.crl", of_another.world.read("1.crl"));
    assert_eq!(issued.reconcile(&["--crl", "other.crl"]).code, 2, "a CRL of another issuer is none of this one's");
}

#[test]
fn a_crl_as_large_as_signers_make_is_compared() {
    let mut issued = Issued::new(1);
    let many: Vec<_> = (0..60_000_u64)
        .map(|number| RevokedCertParams {
            serial_number: SerialNumber::from(number + 1_000_000),
            revocation_time: date_time_ymd(2026, 11, 22),
            reason_code: None,
            invalidity_date: None,
        })
        .collect();
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 11, 22),
        next_update: date_time_ymd(2026, 11, 29),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: many,
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let large = params.signed_by(&issued.issuer).unwrap().pem().unwrap();
    assert!(large.len() > 3 << 19, "{} bytes", large.len());
    issued.world.write("large.crl", large);
    let decided = crl(&issued, 1, &[]);
    issued.entries.push(decided);
    issued.publish();
    let run = issued.reconcile(&["--crl", "large.crl"]);
    assert!(run.code == 1 && run.stderr.contains("1 with 60,000 serial numbers"), "{}", run.told());
}

#[test]
fn what_a_device_logged_is_compared_with_what_was_issued() {
    let issued = Issued::new(3);
    issued.publish();
    let log = |text: &str| {
        issued.world.write("device.log", text);
        issued.reconcile(&["--device-log", "device.log"])
    };
    assert_eq!(log("5a01\n5a02\n5a03\n").code, 0);
    assert_eq!(log("{\"count\":3}\n").code, 0);
    let run = log("5a01\n5a02\n5a03\n5a09\n");
    assert!(
        run.stderr.contains("the device signed the serial number 5a09, which the log did not issue"),
        "{}",
        run.told()
    );
    assert!(
        run.code == 1 && run.stderr.contains("the device signed 4 times, and by the log it is 3 to 3 times"),
        "{}",
        run.told()
    );
    let run = log("5a01\nsigned 5a02\n");
    assert!(
        run.code == 2 && run.stderr.contains("`device.log`, line 2, is no command, serial number or count"),
        "{}",
        run.told()
    );
    let command = "item:     7 -- cmd: 0x56 -- length:   52 -- session key: 0x0001 -- target key: 0x0123 -- second key: 0xffff -- \
        result: 0xd6 -- tick: 400 -- hash: 415f51f1f035a1b713e730e4464e4033\n";
    issued.world.write("device.log", format!("2 unlogged boots found\n{command}"));
    let run = issued.reconcile(&["--device-log", "device.log", "--device-key", "0x0123"]);
    assert!(run.code == 1 && run.stderr.contains("the device signed 1 times"), "{}", run.told());
    assert!(run.stderr.contains("2 boots and authentications that the device did not log"), "{}", run.told());
    let run = issued.reconcile(&["--device-log", "device.log", "--device-key", "0x0124"]);
    assert!(run.stderr.contains("the device signed 0 times"), "{}", run.told());
}

#[test]
fn counts_are_drawn() {
    let world = published();
    assert_snapshot!(log_run(&world, "stats", &[]).told());
    let json = world.run(["--json", "log", "stats", "log", "--key", "log.vkey"]).json();
    assert_eq!((&json["entries"], &json["periods"][0]["issued"]), (&5.into(), &2.into()));
}

#[test]
fn a_copy_without_salts_still_verifies_and_hides_what_is_private() {
    let world = World::new();
    let private = Private::new(["names"]).unwrap();
    let mut openings = String::new();
    let entries: Vec<Vec<u8>> = entries(THEN_MILLIS)
        .into_iter()
        .zip(0..)
        .map(|(entry, index)| {
            let (entry, of_entry) = private.commit(entry, || Ok::<_, ()>([u8::try_from(index).unwrap(); 32])).unwrap();
            openings.extend(of_entry.iter().map(|opening| opening.to_line(index)));
            entry
        })
        .collect();
    publish(&world, &entries);
    world.write("log/openings/000.p/5", &openings);
    let found = |log: &str| {
        let run = world.run(["log", "query", log, "--key", "log.vkey", "--name", "*sports*", "--format", "json"]);
        assert_eq!(run.code, 0, "{}", run.told());
        run.stdout.lines().count()
    };
    assert_eq!(found("log"), 2);
    assert_eq!(log_run(&world, "export", &["--out", "whole"]).code, 0);
    assert_snapshot!(log_run(&world, "export", &["--out", "redacted", "--redact"]).told());
    assert_eq!((found("whole"), found("redacted")), (2, 0));
    for (log, hidden) in [("whole", false), ("redacted", true)] {
        let run = world.run(["log", "verify", log, "--key", "log.vkey", NEVER_STALE]);
        assert_eq!(run.code, 0, "{}", run.told());
        assert_eq!(
            run.stderr.contains("What 2 private values are: their salts are not here."),
            hidden,
            "{}",
            run.stderr
        );
    }
    for (old, new) in [("sports", "spurts"), ("\"salt\":\"01", "\"salt\":\"02")] {
        world.write("log/openings/000.p/5", openings.replacen(old, new, 1));
        let run = log_run(&world, "verify", &[NEVER_STALE]);
        assert_eq!(run.code, 1, "{}", run.told());
        assert!(run.stderr.contains("`openings/000.p/5` has an opening of `names`"), "{}", run.stderr);
    }
}

#[test]
fn a_log_of_the_same_origin_under_another_key_is_another_log() {
    let world = published();
    assert_eq!(log_run(&world, "verify", &[NEVER_STALE]).code, 0);
    sign_anew(&world, &entries(THEN_MILLIS)[..5], 9);
    let run = log_run(&world, "verify", &[NEVER_STALE]);
    assert_eq!(run.code, 0, "{}", run.told());
    assert!(!run.stderr.contains("last run"), "{}", run.stderr);
}

#[test]
fn what_was_seen_is_remembered_and_must_be_continued() {
    let world = published();
    let verify = || log_run(&world, "verify", &[NEVER_STALE]);
    assert_eq!(verify().code, 0);
    let second = verify();
    assert!(
        second.stderr.contains("last run") && !second.stderr.contains("continues what you saw"),
        "{}",
        second.stderr
    );
    let mut shorter = entries(THEN_MILLIS);
    shorter.truncate(4);
    publish(&world, &shorter);
    fs::remove_file(world.path("log/tile/entries/000.p/5")).unwrap();
    fs::remove_file(world.path("log/tile/0/000.p/5")).unwrap();
    let run = verify();
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("entries were removed"), "{}", run.stderr);
    assert_eq!(log_run(&world, "verify", &[NEVER_STALE, "--no-state"]).code, 0);
    assert_eq!(log_run(&world, "verify", &[NEVER_STALE, "--state", "elsewhere"]).code, 0);
    let mut other = entries(THEN_MILLIS);
    other.swap(1, 2);
    other.push(log::refused(THEN_MILLIS + 5_000));
    publish(&world, &other);
    let run = verify();
    assert!(run.code == 1 && run.stderr.contains("the log was rewritten before that"), "{}", run.told());
}

#[test]
fn a_log_is_without_quorum_until_enough_witnesses_have_cosigned() {
    let world = published();
    let witnesses = [1_u8, 2].map(|seed| Witness::new(&format!("witness-{seed}.example"), [seed; 32]).unwrap());
    let keys = witnesses.each_ref().map(|witness| witness.verifier().to_string());
    let note = Note::parse(world.read("log/checkpoint").as_bytes()).unwrap();
    let line = witnesses[0].cosign(&note, 1_795_327_300).unwrap();
    world.write("log/checkpoint", note.with_signature(line).unwrap().to_string());
    let verify = |more: &[&str]| log_run(&world, "verify", &[&[NEVER_STALE], more].concat());
    let both = ["--witness", &keys[0], "--witness", &keys[1]];
    assert_snapshot!(verify(&both).told());
    assert_eq!(verify(&both).code, 3);
    assert_eq!(verify(&[&both[..], &["--quorum", "1"]].concat()).code, 0);
    assert_eq!(verify(&both[..2]).code, 0);
    assert_eq!(verify(&both[2..]).code, 3);
}

#[test]
fn a_silence_is_told_and_a_longer_one_can_be_allowed() {
    let world = World::new();
    let mut log = entries(THEN_MILLIS);
    log.push(Object::new().into_entry("heartbeat", THEN_MILLIS + 3_600_000));
    publish(&world, &log);
    let run = log_run(&world, "verify", &[NEVER_STALE]);
    assert_eq!(run.code, 3, "{}", run.told());
    assert!(run.stderr.contains("good, but silent:"), "{}", run.stderr);
    assert_eq!(log_run(&world, "verify", &[NEVER_STALE, "--silence", "2h"]).code, 0);
}

#[test]
fn pruned_bundles_are_missing_unless_a_policy_says_so_and_what_is_left_is_checked() {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let world = World::new();
    let all: Vec<Vec<u8>> = (0..300).map(|_| Object::new().into_entry("heartbeat", now)).collect();
    log::publish_any(&world, &all);
    assert_eq!(log_run(&world, "verify", &["--no-state"]).code, 0);
    fs::remove_file(world.path("log/tile/entries/000")).unwrap();
    let run = log_run(&world, "verify", &["--no-state"]);
    assert!(run.code == 1 && run.stderr.contains("`tile/entries/000` is missing"), "{}", run.told());
    let run = log_run(&world, "verify", &["--no-state", "--pruned-before", "256"]);
    assert_eq!(run.code, 0, "{}", run.told());
    assert!(run.stderr.contains("What the first 256 entries say"), "{}", run.stderr);
    let path = world.path("log/tile/0/000");
    let mut bytes = fs::read(&path).unwrap();
    bytes[33] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(log_run(&world, "verify", &["--no-state", "--pruned-before", "256"]).code, 1, "hashes still count");
}

#[test]
fn a_partial_file_that_was_left_must_be_the_beginning_of_what_came_after() {
    let world = published();
    let early = entries(THEN_MILLIS);
    world.write("log/tile/entries/000.p/3", bundle::encode(&early[..3]).unwrap());
    assert_eq!(log_run(&world, "verify", &[NEVER_STALE]).code, 0);
    world.write("log/tile/entries/000.p/3", bundle::encode(&early[1..4]).unwrap());
    let run = log_run(&world, "verify", &[NEVER_STALE]);
    assert!(run.code == 1 && run.stderr.contains("`tile/entries/000.p/3` is left from another size"), "{}", run.told());
    fs::remove_file(world.path("log/tile/entries/000.p/3")).unwrap();
    world.write(&format!("log/policies/{}", hallmark_policy::hex(&sha256(b"version = 1"))), "version = 2");
    let run = log_run(&world, "verify", &[NEVER_STALE]);
    assert!(run.code == 1 && run.stderr.contains("does not have the SHA-256 that its name says"), "{}", run.told());
}

/// Serves a directory over HTTP/1.1, one answer a connection, until the test ends.
pub(crate) fn serve(directory: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let directory = directory.to_owned();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            // A client that went away asked for nothing.
            let Some(Ok(request)) = lines.next() else { continue };
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let path = request.split(' ').nth(1).unwrap().trim_start_matches("/some/log/");
            let (status, body) = match fs::read(directory.join(path)) {
                Ok(body) => ("200 OK", body),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    format!("http://{address}/some/log")
}

#[test]
fn a_log_on_a_server_is_checked_like_one_in_a_directory() {
    let world = published();
    let url = serve(&world.path("log"));
    let verify = |url: &str| world.run(["log", "verify", url, "--key", "log.vkey", NEVER_STALE, "--no-state"]);
    let run = verify(&url);
    assert_eq!(run.code, 0, "{}", run.told());
    assert_eq!(world.run(["log", "range", &url, "--key", "log.vkey", "--from", "2"]).code, 0);
    world.write("log/tile/0/000.p/5", "short");
    assert_eq!(verify(&url).code, 1);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let run = verify(&format!("http://{nobody}/log"));
    assert_eq!(run.code, 2, "{}", run.told());
    assert!(run.stderr.contains("cannot be fetched"), "{}", run.stderr);
    for wrong in ["http://", "https://user@host/log", "http://host/log?x=1"] {
        assert_eq!(verify(wrong).code, 2, "{wrong}");
    }
}
