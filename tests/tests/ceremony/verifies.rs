//! What is found years later when a transcript, a file, the log or a signature was changed.

use std::{fs, process::Command};

use crate::hall::{Hall, WITNESSES, root_task};

/// A finished ceremony with witnesses, one of whom has a key.
fn finished() -> Hall {
    let hall = Hall::new();
    let key = hall.text("ada");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &key]).status().unwrap();
    assert!(made.success());
    let public = hall.read("ada.pub");
    let witnesses =
        WITNESSES.replacen("initials = \"AL\"", &format!("initials = \"AL\"\nssh-key = \"{}\"", public.trim()), 1);
    let file = hall.file("athenz-root", "athenz", &format!("{witnesses}{}", root_task("athenz")));
    hall.attended(&file).good();
    hall
}

fn sign(hall: &Hall, key: &str, namespace: &str) {
    let transcript = hall.text("athenz-root.transcript.json");
    let signed =
        Command::new("ssh-keygen").args(["-q", "-Y", "sign", "-f", key, "-n", namespace, &transcript]).status();
    assert!(signed.unwrap().success());
    fs::rename(format!("{transcript}.sig"), format!("{transcript}.AL.sig")).unwrap();
}

#[test]
fn a_transcript_holds_once_its_witnesses_have_signed_it_and_not_with_another_s_signature() {
    let hall = finished();
    hall.verify("athenz-root").refused(1, "Ada Lovelace did not sign the transcript");
    sign(&hall, &hall.text("ada"), "hallmark-ceremony");
    let good = hall.verify("athenz-root").good();
    for sentence in ["every step was confirmed by Ada Lovelace, Grace Hopper", "Ada Lovelace signed the transcript"] {
        assert!(good.stderr.contains(&format!("holds: {sentence}")), "{}", good.stderr);
    }
    sign(&hall, &hall.text("ada"), "file");
    hall.verify("athenz-root").refused(1, "its signature is for another purpose");
    let other = hall.text("eve");
    assert!(
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &other]).status().unwrap().success()
    );
    sign(&hall, &other, "hallmark-ceremony");
    hall.verify("athenz-root").refused(1, "its signature is by another key");
}

#[test]
fn whatever_is_changed_afterwards_is_found() {
    let hall = Hall::new();
    hall.root("athenz");
    let name = "athenz-root.transcript.json";
    let good = hall.read(name);
    for (from, to, said) in [
        ("\"runs\":1", "\"runs\":2", "the log has no entry with the digest of this transcript"),
        ("\"runs\":1", "\"runs\": 1", "is no transcript in canonical JSON"),
        ("\"runs\":1", "\"runs\":1,\"more\":1", "is no transcript in canonical JSON"),
    ] {
        assert!(good.contains(from));
        hall.write(name, &good.replacen(from, to, 1));
        let came = hall.verify("athenz-root");
        assert!(came.code != 0 && came.stderr.contains(said), "{said}\nis not in\n{}", came.stderr);
    }
    hall.write(name, &good);
    let certificate = hall.read("out/athenz.pem");
    hall.write("out/athenz.pem", &format!("{certificate}\n"));
    hall.verify("athenz-root").refused(1, "is another file than was written");
    fs::remove_file(hall.path("out/athenz.pem")).unwrap();
    hall.verify("athenz-root").refused(1, "cannot be read");
    hall.write("out/athenz.pem", &certificate);
    hall.verify("athenz-root").good();

    let other = Hall::new();
    other.root("athenz");
    let (transcript, log) = (hall.text(name), hall.text("log/public"));
    let verify = |log: &str, key: &str| hall.ceremony(&["verify", &transcript, "--log", log, "--key", key]);
    verify(&log, &other.text("log/log.vkey")).refused(1, "the log of ceremonies that was made does not hold");
    verify(&other.text("log/public"), &other.text("log/log.vkey")).refused(1, "names another key of the log");
}

#[test]
fn the_token_is_compared_with_what_the_transcript_says_of_its_key() {
    let hall = Hall::new();
    hall.root("athenz");
    let name = "athenz-root.transcript.json";
    let (transcript, key, log) = (hall.text(name), hall.text("log/log.vkey"), hall.text("log/public"));
    let verify = || hall.ceremony(&["verify", &transcript, "--log", &log, "--key", &key, "--device"]);
    let good = verify().good();
    for sentence in ["the token holds `pkcs11:id=", "CKA_EXTRACTABLE is false", "CKA_DESTROYABLE is false"] {
        assert!(good.stderr.contains(&format!("holds: {sentence}")), "{sentence}\nis not in\n{}", good.stderr);
    }
    hall.token.make_twin("athenz-root");
    verify().refused(3, "more than one object is called");
    // Its twin alone is another key, and not as strictly kept.
    let other = Hall::new();
    other.root("athenz");
    let foreign = hall
        .read(name)
        .replace(hall.token.label(), other.token.label())
        .replace(hall.token.serial(), other.token.serial());
    hall.write("foreign.transcript.json", &foreign);
    let foreign = hall.text("foreign.transcript.json");
    let came = hall.ceremony(&["verify", &foreign, "--log", &log, "--key", &key, "--device"]);
    came.refused(1, "broken: there is no key `pkcs11:id=");
}

#[test]
fn a_page_for_the_binder_says_what_the_transcript_says_and_nothing_in_it_is_taken_for_html() {
    let hall = Hall::new();
    let witness = WITNESSES.replacen("Ada Lovelace", "Ada <script>alert(1)</script>", 1);
    let file = hall.file("athenz-root", "athenz", &format!("{witness}{}", root_task("athenz")));
    hall.attended(&file).good();
    let transcript = hall.text("athenz-root.transcript.json");
    hall.ceremony(&["report", &transcript, "--out", &hall.text("report.html")]).good();
    let page = hall.read("report.html");
    let words = hallmark_ceremony::aloud(&hallmark_tests::tools::sha256(&fs::read(&transcript).unwrap()));
    for expected in
        ["CKA_NEVER_EXTRACTABLE", "out/athenz.pem", "Grace Hopper (GH)", &words[0], &words[5], "&lt;script&gt;"]
    {
        assert!(page.contains(expected), "{expected}");
    }
    assert!(!page.contains("<script") && !page.contains("http"), "it loads and runs nothing");
    hall.ceremony(&["report", &transcript, "--out", &hall.text("report.html")]).refused(2, "report.html");
}
