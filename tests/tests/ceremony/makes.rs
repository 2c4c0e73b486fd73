//! What ceremonies make, as others judge it.

use std::{
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use hallmark_proto::signer::EpochState;
use hallmark_tests::{
    Where, World,
    asking::Asked,
    tools::{attempt, der, judge, pem, run},
};

use crate::hall::{Hall, policy, root_task};

/// What a root without people may take, from its file to its transcript.
const ROOT_SECS_MAX: u64 = 3;

#[test]
fn a_root_is_made_on_the_token_in_under_three_seconds_and_verifies_years_later() {
    let hall = Hall::new();
    let file = hall.file("athenz-root", "athenz", &root_task("athenz"));
    let began = Instant::now();
    let came = hall.run(&file).good();
    assert!(began.elapsed() < Duration::from_secs(ROOT_SECS_MAX), "{:?}", began.elapsed());
    assert!(came.stderr.contains("step 14 of 14, transcript"), "{}", came.stderr);
    let root = hall.text("out/athenz.pem");
    run("openssl", &["verify", "-x509_strict", "-check_ss_sig", "-CAfile", &root, &root]);
    let text = run("openssl", &["x509", "-in", &root, "-noout", "-text"]);
    for words in ["CN = Athenz Lab Root CA", "CA:TRUE, pathlen:2", "Certificate Sign, CRL Sign"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert_eq!(hall.keys(), ["athenz-root"]);
    let transcript = hall.transcript("athenz-root");
    let says = |step: &str, fact: &str| {
        let step = transcript["steps"].as_array().unwrap().iter().find(|done| done["step"] == step).unwrap();
        step["facts"].as_array().unwrap().iter().find(|found| found["name"] == fact).unwrap()["value"].clone()
    };
    assert_eq!(says("read-back", "CKA_SENSITIVE"), "true");
    assert_eq!(says("read-back", "CKA_DESTROYABLE"), "false");
    assert_eq!(transcript["attestation"], "unattested");
    assert!(!hall.read("athenz-root.transcript.json").contains(hallmark_test_token::PIN));
    let verified = hall.verify("athenz-root").good();
    assert!(verified.stderr.contains("holds: the log decided on what was signed in `out/athenz.pem` before"));
    let log = run(
        hallmark_tests::daemon::program("hallmark").to_str().unwrap(),
        &[
            "log",
            "verify",
            &hall.text("log/public"),
            "--key",
            &hall.text("log/log.vkey"),
            "--no-state",
            "--stale-after",
            "1d",
            "--silence",
            "1d",
        ],
    );
    assert!(!log.contains("broken"), "{log}");
    hall.run(&file).refused(1, "the ceremony `athenz-root` is finished");
}

#[test]
fn what_a_file_waives_of_a_module_is_remarked_on_and_stands_in_the_transcript() {
    let hall = Hall::new();
    let file = hall.file("athenz-root", "athenz", &root_task("athenz"));
    let text = hall.read("athenz-root.toml");
    hall.write("athenz-root.toml", &text.replacen("pin-file = ", "waive = [\"CKA_LOCAL\"]\npin-file = ", 1));
    let planned = hall.ceremony(&["plan", &file]).good();
    let told = [planned.stdout, planned.stderr].concat();
    assert!(told.contains("the file waives CKA_LOCAL of every key in this module"), "{told}");
    hall.run(&file).good();
    let transcript = hall.transcript("athenz-root").to_string();
    assert!(transcript.contains(r#""name":"waived","value":"CKA_LOCAL""#), "{transcript}");
    hall.verify("athenz-root").good();

    hall.write("athenz-root.toml", &text.replacen("pin-file = ", "waive = [\"CKA_DECRYPT\"]\npin-file = ", 1));
    hall.ceremony(&["plan", &file]).refused(1, "CKA_DECRYPT");
}

#[test]
fn pkilint_finds_nothing_above_notice_in_roots_and_cross_certificates() {
    let hall = Hall::new();
    hall.root("athenz");
    hall.root("old");
    hall.run(&cross(&hall)).good();
    for certificate in ["out/athenz.pem", "out/old.pem", "out/cross.pem"] {
        let output = std::process::Command::new(judge("lint_pkix_cert"))
            .args(["lint", "-f", "CSV", &hall.text(certificate)])
            .output()
            .unwrap();
        let found = String::from_utf8_lossy(&output.stdout).into_owned();
        let bad: Vec<_> =
            found.lines().filter(|line| ["ERROR", "WARNING", "FATAL"].iter().any(|word| line.contains(word))).collect();
        assert!(found.starts_with("node_path") && bad.is_empty(), "{certificate}: {found}");
    }
}

#[tokio::test]
async fn an_intermediate_is_taken_by_the_signer_that_waits_for_it_and_a_cross_certificate_carries_its_leaves() {
    let hall = Hall::new();
    hall.root("athenz");
    hall.root("old");
    let mut world = World::unmade(Where::SoftHsm, &policy());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    world.clocks().leap(i64::try_from(now).unwrap() + 1 - world.clocks().now());
    world.bring_root(der("CERTIFICATE", &hall.read("out/athenz.pem")));
    // The other root is this signer's own.
    world.start(true).await.unwrap();
    let waiting = world.prepare_epoch(0).await.unwrap();
    hall.write("epoch.csr", &pem("CERTIFICATE REQUEST", &waiting.certification_request));

    let file = intermediate(&hall);
    hall.run(&file).good();
    hall.verify("intermediate").good();
    world.clocks().pass(5);
    let made = der("CERTIFICATE", &hall.read("out/intermediate.pem"));
    let prepared = world.bring_intermediate(1, &made).await.unwrap();
    assert_eq!(prepared.epoch.unwrap().state(), EpochState::Prepared);
    world.activate_epoch(1, false).await.unwrap();
    let leaf = world.mint(Asked::sports_api().request()).await.unwrap();
    hall.write("leaf.pem", &pem("CERTIFICATE", &leaf.certificate));
    hall.run(&cross(&hall)).good();
    hall.verify("cross").good();
    let both = hall.read("out/cross.pem") + &hall.read("out/intermediate.pem");
    hall.write("both.pem", &both);
    let at = (now + 60).to_string();
    let chain = |anchor: &str, between: &str| {
        let (anchor, between, leaf) = (hall.text(anchor), hall.text(between), hall.text("leaf.pem"));
        attempt(
            "openssl",
            &["verify", "-x509_strict", "-attime", &at, "-CAfile", &anchor, "-untrusted", &between, &leaf],
        )
    };
    for (anchor, between, good) in [
        ("out/athenz.pem", "out/intermediate.pem", true),
        ("out/old.pem", "both.pem", true),
        ("out/old.pem", "out/intermediate.pem", false),
    ] {
        let (verified, said) = chain(anchor, between);
        assert_eq!(verified, good, "{anchor} {between}: {said}");
    }

    revoke(&hall, &made);
    let checked = attempt(
        "openssl",
        &[
            "verify",
            "-crl_check",
            "-attime",
            &at,
            "-CAfile",
            &hall.text("out/athenz.pem"),
            "-CRLfile",
            &hall.text("out/root.crl"),
            &hall.text("out/intermediate.pem"),
        ],
    );
    assert!(!checked.0 && checked.1.contains("certificate revoked"), "{}", checked.1);
}

/// Revokes the intermediate, in the second CRL; the first has nothing.
fn revoke(hall: &Hall, intermediate: &[u8]) {
    let empty = hall.file("crl-1", "athenz", "[task.crl]\nissuer = \"out/athenz.pem\"\ncrl = \"out/empty.crl\"\n");
    hall.run(&empty).good();
    hall.write_pem("i.pem", "CERTIFICATE", intermediate);
    let said = run("openssl", &["x509", "-in", &hall.text("i.pem"), "-noout", "-serial"]);
    let serial = said.trim().trim_start_matches("serial=").to_lowercase();
    let task = |serial: &str, name: &str| {
        format!(
            "[task.crl]\nissuer = \"out/athenz.pem\"\ncrl = \"out/{name}.crl\"\n\
             revoke = [{{ serial = \"{serial}\", reason = \"superseded\" }}]\n"
        )
    };
    let unknown = hall.file("crl-x", "athenz", &task("0aabbccddeeff00112233445566778899a", "x"));
    hall.run(&unknown).refused(1, "the log knows no certificate of this root with the serial number");
    hall.run(&hall.file("crl-2", "athenz", &task(&serial, "root"))).good();
    hall.verify("crl-2").good();
    for (name, number, revoked) in [("empty", "crlNumber=0x01", false), ("root", "crlNumber=0x02", true)] {
        let (path, issuer) = (hall.text(&format!("out/{name}.crl")), hall.text("out/athenz.pem"));
        let said = run("openssl", &["crl", "-in", &path, "-noout", "-CAfile", &issuer, "-crlnumber", "-text"]);
        assert!(said.contains("verify OK") && said.contains(number), "{said}");
        assert_eq!(said.to_lowercase().contains(&serial), revoked, "{said}");
    }
}

/// The file of an intermediate for `epoch.csr`.
pub(crate) fn intermediate(hall: &Hall) -> String {
    let task = "[task.intermediate]\nissuer = \"out/athenz.pem\"\nrequest = \"epoch.csr\"\nlifetime = \"300d\"\n\
                certificate = \"out/intermediate.pem\"\n";
    hall.file("intermediate", "athenz", task)
}

/// The file of a cross-certificate of the one root for the other.
pub(crate) fn cross(hall: &Hall) -> String {
    let task = "[task.cross-certificate]\nissuer = \"out/old.pem\"\nsubject-authority = \"athenz\"\n\
                subject = \"out/athenz.pem\"\nlifetime = \"700d\"\ncertificate = \"out/cross.pem\"\n";
    hall.file("cross", "old", task)
}

#[test]
fn a_key_is_made_and_destroyed_and_a_root_s_never_is() {
    let hall = Hall::new();
    let made =
        "[task.key]\nlabel = \"spare\"\nkind = \"ecdsa-p384\"\ndestroyable = true\npublic-key = \"out/spare.pub\"\n";
    hall.run(&hall.file("spare", "athenz", made)).good();
    hall.verify("spare").good();
    run("openssl", &["pkey", "-pubin", "-in", &hall.text("out/spare.pub"), "-noout"]);
    hall.root("athenz");
    assert_eq!(hall.keys(), ["athenz-root", "spare"]);
    let end = |ceremony: &str, of: &str| {
        let transcript = hall.transcript(of);
        let steps = transcript["steps"].as_array().unwrap();
        let facts = steps.iter().find(|done| done["step"] == "generate").unwrap()["facts"].as_array().unwrap();
        let fact = |name: &str| facts.iter().find(|fact| fact["name"] == name).unwrap()["value"].as_str().unwrap();
        let task = format!("[task.destroy]\nkey = \"{}\"\nspki-sha256 = \"{}\"\n", fact("key"), fact("spki-sha256"));
        hall.run(&hall.file(ceremony, "athenz", &task))
    };
    end("end-root", "athenz-root").refused(1, "`CKA_DESTROYABLE` is false, and was true");
    end("end-spare", "spare").good();
    hall.verify("end-spare").good();
    assert_eq!(hall.keys(), ["athenz-root"]);
}

#[test]
fn a_key_for_a_log_is_drawn_into_a_file_that_only_its_owner_reads() {
    let hall = Hall::new();
    let file = format!(
        "version = 1\nceremony = \"key-of-a-log\"\n[log]\norigin = \"{}\"\ndirectory = \"log\"\n[task.log-key]\n\
         origin = \"log.hallmark.lab\"\nkey = \"out/log.key\"\npublic-key = \"out/log.vkey\"\n",
        crate::hall::ORIGIN
    );
    hall.write("key-of-a-log.toml", &file);
    hall.run(&hall.text("key-of-a-log.toml")).good();
    hall.verify("key-of-a-log").good();
    let mode = std::fs::metadata(hall.path("out/log.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let key = hallmark_tlog::note::SignerKey::parse(hall.read("out/log.key").trim()).unwrap();
    assert_eq!(key.verifier().to_string(), hall.read("out/log.vkey").trim());
    let secret = hall.read("out/log.key");
    // PRIVATE+KEY+NAME+ID+BASE64, and the last may have a `+`, too.
    let encoded = secret.trim().splitn(5, '+').nth(4).unwrap();
    assert!(encoded.len() > 40, "all of the key");
    assert!(!hall.read("key-of-a-log.transcript.json").contains(encoded), "a secret is in no transcript");
}

#[test]
fn a_plan_says_everything_and_writes_nothing() {
    let hall = Hall::new();
    let file = hall.file("athenz-root", "athenz", &root_task("athenz"));
    let before = tree(&hall);
    let logins = hall.device.logins();
    let plan = hall.ceremony(&["plan", "--json", &file]).good().json();
    assert_eq!((plan["result"].as_str(), plan["task"].as_str()), (Some("planned"), Some("root")));
    let steps: Vec<_> = plan["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(
        steps,
        [
            "validate",
            "rehearse",
            "log",
            "device",
            "generate",
            "read-back",
            "build",
            "endorse",
            "commit",
            "sign",
            "verify",
            "write",
            "digests",
            "transcript"
        ]
    );
    assert_eq!((tree(&hall), hall.device.logins(), hall.keys().len()), (before, logins, 0));
    let rehearsed = hall.ceremony(&["rehearse", &file, "--out", &hall.text("expected.json")]).good();
    assert!(rehearsed.stderr.contains("no device was touched") && hall.keys().is_empty(), "{}", rehearsed.stderr);
    hall.ceremony(&["run", "--unattended", "--expected", &hall.text("expected.json"), &file]).good();
}

#[test]
fn a_run_is_held_to_the_rehearsal_that_was_reviewed() {
    let hall = Hall::new();
    let file = hall.file("athenz-root", "athenz", &root_task("athenz"));
    hall.ceremony(&["rehearse", &file, "--out", &hall.text("expected.json")]).good();
    hall.write("policy.toml", &policy().replacen("Athenz Lab Root CA", "Another Root CA", 1));
    let held = hall.ceremony(&["run", "--unattended", "--expected", &hall.text("expected.json"), &file]);
    held.refused(1, "it foretells something else than the rehearsal that was reviewed");
    assert!(hall.keys().is_empty() && !hall.path("log").exists());
}

/// Every file, with its length.
fn tree(hall: &Hall) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    let mut open = vec![hall.path("")];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => open.push(entry.path()),
                false => found.push((entry.path().display().to_string(), entry.metadata().unwrap().len())),
            }
        }
    }
    found.sort();
    found
}
