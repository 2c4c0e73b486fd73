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
