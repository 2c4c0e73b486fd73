//! A log that the daemon published, before judges that nobody here wrote: Go's `sumdb/note` and `sumdb/tlog`, the crates
//! `signed_note` and `tlog_tiles`, openssl, and a Python script on its standard library. What is forged, all of them and
//! `hallmark log verify` reject.

mod forge;
mod judge;

use std::{fs, path::Path, process::Command, sync::OnceLock};

use forge::Forgery;
use hallmark_proto::signer::MintCertificateRequest;
use hallmark_tests::{
    asking::Asked,
    client::connect,
    daemon::{Daemon, Laboratory, succeed},
};
use hallmark_tlog::note::SignerKey;
use judge::{JUDGES, Judge};
use proptest::{prelude::*, test_runner::TestRunner};
use tokio::task::JoinSet;

/// Clients that fill the log, and how many certificates each asks for: more than a full tile together.
const CLIENTS: usize = 8;
const CERTIFICATES_EACH: usize = 38;

/// A log, its key, and the checkpoint of an earlier day.
struct Published {
    laboratory: Laboratory,
    /// Its verifier key.
    vkey: String,
}

impl Published {
    fn log(&self) -> std::path::PathBuf {
        self.laboratory.path("log")
    }

    fn earlier(&self) -> std::path::PathBuf {
        self.laboratory.path("earlier")
    }
}

/// One for all tests of this file.
fn published() -> &'static Published {
    static PUBLISHED: OnceLock<Published> = OnceLock::new();
    PUBLISHED.get_or_init(|| {
        // Tests that are async have a runtime of their own.
        std::thread::spawn(|| tokio::runtime::Runtime::new().unwrap().block_on(publish())).join().unwrap()
    })
}

/// Everything that a log can have: CRLs, private values, two keys one after the other, a rotation and a revocation.
async fn publish() -> Published {
    let crls = "[authority.athenz]\ncrl = { lifetime = \"7d\", refresh = \"1d\" }\n\n[authority.athenz.root]";
    let laboratory = Laboratory::with_policy(|policy| policy.replacen("[authority.athenz.root]", crls, 1));
    configure(&laboratory, "[log]", "[log]\nprivate = [\"subject\", \"caller-identities\", \"reasons\"]");
    assert!(laboratory.start().terminate());
    change_key(&laboratory);
    let daemon = laboratory.start();
    rotate(&laboratory, &daemon);
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let mut client = connect(&laboratory, &daemon).await;
        clients.spawn(async move {
            for _ in 0..CERTIFICATES_EACH {
                client.mint_certificate(Asked::sports_api().request()).await.unwrap();
            }
            let refused = MintCertificateRequest { profile: "none".to_owned(), ..Asked::sports_api().request() };
            client.mint_certificate(refused).await.unwrap_err();
        });
    }
    clients.join_all().await;
    let by_caller =
        ["certificate", "revoke", "--authority", "athenz", "--caller", "coordinator", "--why", "a test", "--yes"];
    succeed(laboratory.hallmark_operator(&daemon).args(by_caller));
    assert!(daemon.terminate());
    let vkey = fs::read_to_string(laboratory.path("log.vkey")).unwrap().trim().to_owned();
    Published { laboratory, vkey }
}

/// Replaces text of the configuration that must be there.
fn configure(laboratory: &Laboratory, old: &str, new: &str) {
    let settings = fs::read_to_string(laboratory.path("signer.toml")).unwrap();
    let changed = settings.replacen(old, new, 1);
    assert_ne!(changed, settings, "`{old}` is in there");
    fs::write(laboratory.path("signer.toml"), changed).unwrap();
}

/// Another key signs from here on; the earlier checkpoint is one that both have signed.
fn change_key(laboratory: &Laboratory) {
    for file in ["log.key", "log.vkey"] {
        fs::rename(laboratory.path(file), laboratory.path(&file.replacen("log", "old", 1))).unwrap();
    }
    configure(laboratory, "key = \"log.key\"", "key = \"log.key\"\nprevious-key = \"old.key\"");
    succeed(&mut laboratory.init());
    assert!(laboratory.start().terminate());
    fs::copy(laboratory.path("log/checkpoint"), laboratory.path("earlier")).unwrap();
    configure(laboratory, "\nprevious-key = \"old.key\"", "");
}

fn rotate(laboratory: &Laboratory, daemon: &Daemon) {
    let next = laboratory.text("next");
    let operator = |words: &[&str]| succeed(laboratory.hallmark_operator(daemon).args(["epoch"]).args(words));
    operator(&["prepare", "--authority", "athenz", "--out", &next]);
    operator(&["activate", "2", "--authority", "athenz", "--yes"]);
}

#[test]
fn the_log_before_the_judges_has_everything_that_a_log_can_have() {
    let log = hallmark_tests::log::Log::read(&published().log(), &published().vkey);
    let stages = log.decisions("issued").into_iter().filter_map(|entry| entry["stage"].as_str());
    assert!(stages.filter(|stage| *stage == "crl").count() > 2, "CRLs");
    assert_eq!(log.of_type("log-key").count(), 2, "a key that came and one that went");
    assert!(log.of_type("rotation").any(|entry| entry["step"] == "epoch-active" && entry["epoch"]["generation"] == 2));
    assert!(log.of_type("revocation").count() > 0);
    assert!(log.decisions("refused").iter().all(|entry| entry["reasons"]["commitment"].is_string()));
    assert!(published().log().join("openings").is_dir());
}

#[test]
fn judges_that_nobody_here_wrote_accept_a_published_log() {
    let published = published();
    for judge in JUDGES {
        let verdict = judge.judge(&published.log(), &published.vkey, &published.earlier());
        assert_eq!(verdict, Ok(()), "{judge:?}");
    }
    let size = forge::size(&published.log());
    assert!(size > 300, "{size} entries are more than one tile");
}

#[test]
fn an_entry_that_was_too_long_is_accepted_by_every_judge() {
    let published = published();
    let copy = tempfile::tempdir().unwrap();
    let log = copy.path().join("log");
    forge::copy(&published.log(), &log);
    let mut entries = forge::entries(&log);
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let digest = "ab".repeat(32);
    let omitted =
        format!(r#"{{"omitted-bytes":70000,"omitted-sha256":"{digest}","time":{time},"type":"decision","version":1}}"#);
    entries.push(omitted.into_bytes());
    let key = fs::read_to_string(published.laboratory.path("log.key")).unwrap();
    forge::publish(&log, &entries, Some(&SignerKey::parse(key.trim()).unwrap()));
    for judge in JUDGES {
        assert_eq!(judge.judge(&log, &published.vkey, &published.earlier()), Ok(()), "{judge:?}");
    }
}

#[test]
fn the_script_says_that_it_could_not_look_and_not_that_it_rejects() {
    let published = published();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/verify-log.py");
    for (key, earlier) in [(published.vkey.as_str(), "nowhere"), ("no key", "nowhere")] {
        let output = Command::new("python3").arg(&script).arg(published.log()).args([key, earlier]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.starts_with("error: "), "{said}");
    }
}

#[test]
fn openssl_verifies_the_signature_of_a_checkpoint_and_no_other() {
    let published = published();
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        fs::write(directory.path().join(name), content).unwrap();
        directory.path().join(name).to_str().unwrap().to_owned()
    };
    let note = fs::read_to_string(published.log().join("checkpoint")).unwrap();
    let (text, signature) = note.rsplit_once("\n\n").unwrap();
    let signature = judge::unbase64(signature.trim_end().rsplit(' ').next().unwrap());
    let (key_id, signature) = signature.split_at(4);
    let public = judge::unbase64(published.vkey.splitn(3, '+').nth(2).unwrap());
    assert_eq!(public[0], 1, "Ed25519");
    let spki = [b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00".as_slice(), &public[1..]].concat();
    assert!(published.vkey.contains(&format!("+{}+", hallmark_policy::hex(key_id))));
    let (key, text) = (file("key", &spki), format!("{text}\n"));
    let verify = |text: &str, signature: &[u8]| {
        let (message, signature) = (file("message", text.as_bytes()), file("signature", signature));
        let verify = ["pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-rawin"];
        let mut openssl = Command::new("openssl");
        openssl.args(verify).args(["-inkey", &key, "-in", &message, "-sigfile", &signature]);
        openssl.output().unwrap().status.success()
    };
    assert!(verify(&text, signature));
    assert!(!verify(&text.replacen(char::is_numeric, "9", 1), signature));
    let mut other = signature.to_vec();
    other[7] ^= 1;
    assert!(!verify(&text, &other));
}

#[test]
fn every_forgery_is_rejected_by_every_judge() {
    let published = published();
    let key = fs::read_to_string(published.laboratory.path("log.key")).unwrap();
    let newest = published.log().join("checkpoint");
    for forgery in Forgery::ALL {
        let copy = tempfile::tempdir().unwrap();
        let log = copy.path().join("log");
        forge::copy(&published.log(), &log);
        forgery.commit(&log, key.trim());
        // Whoever saw the newest checkpoint notices what was signed anew by the key itself.
        let earlier = if forgery.is_signed_anew() { &newest } else { &published.earlier() };
        for judge in JUDGES {
            let verdict = judge.judge(&log, &published.vkey, earlier);
            assert!(verdict.is_err(), "{judge:?} accepts: {forgery:?}");
            if matches!(judge, Judge::Hallmark) {
                let said = verdict.unwrap_err();
                assert!(said.contains(forgery.named()), "{forgery:?}: {said}");
            }
        }
    }
}

#[test]
fn any_one_byte_change_anywhere_in_a_published_log_is_found_and_the_message_names_where() {
    let published = published();
    let copy = tempfile::tempdir().unwrap();
    let log = copy.path().join("log");
    forge::copy(&published.log(), &log);
    let mut files = forge::files(&log);
    // CRLs lie beside the log, and have signatures of their own.
    files.retain(|name| !name.starts_with("crl/"));
    assert!(files.len() > 6, "{files:?}");
    let config = ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() };
    let change = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1..=u8::MAX);
    let found = TestRunner::new(config).run(&change, |(which, at, flip)| {
        let name = which.get(&files);
        let path = log.join(name);
        let before = fs::read(&path).unwrap();
        let mut bytes = before.clone();
        bytes[at.index(before.len())] ^= flip;
        fs::write(&path, bytes).unwrap();
        let verdict = Judge::Hallmark.judge(&log, &published.vkey, &published.earlier());
        fs::write(&path, before).unwrap();
        let said = verdict.err();
        prop_assert!(said.as_ref().is_some_and(|said| said.contains(name.as_str())), "`{}`: {:?}", name, said);
        Ok(())
    });
    found.unwrap();
    assert_eq!(Judge::Hallmark.judge(&log, &published.vkey, &published.earlier()), Ok(()));
}

#[test]
fn every_entry_of_a_published_log_fits_the_json_schema_by_a_validator_that_nobody_here_wrote() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = succeed(&mut Command::new(here.join("../scripts/entry-judge")));
    let mut judge = Command::new(python.trim());
    judge.arg(here.join("judges/entries.py")).arg(here.join("../docs/log-entries.schema.json"));
    let said = succeed(judge.arg(published().log()));
    for kind in ["decision", "key-event", "log-key", "policy-loaded", "revocation", "rotation", "start", "stop"] {
        assert!(said.contains(kind), "{said}");
    }
}

/// A path as it is named below a directory.
fn below(path: &Path, directory: &Path) -> String {
    path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned()
}
