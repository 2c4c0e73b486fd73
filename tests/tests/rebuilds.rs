//! The published directory from the database at will, by the real programs; and what a daemon says that misses its anchor.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, chown},
    path::Path,
    process::Command,
};

use hallmark_tests::{
    asking::Asked,
    client::connect,
    daemon::{Laboratory, program, succeed},
};

/// All files below a directory, by path.
fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for file in fs::read_dir(next).unwrap().map(|file| file.unwrap().path()) {
            if file.is_dir() {
                open.push(file);
            } else {
                let name = file.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read(&file).unwrap());
            }
        }
    }
    found
}

/// What `hallmarkd` says with these words, and whether it did it.
fn said(laboratory: &Laboratory, words: &[&str], more: &[&str]) -> (bool, String) {
    let output = laboratory.hallmarkd().args(words).arg(laboratory.path("signer.toml")).args(more).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn verified(laboratory: &Laboratory) -> String {
    let mut verify = Command::new(program("hallmark"));
    verify.args(["--json", "log", "verify", "--no-state"]).arg(laboratory.path("log"));
    succeed(verify.arg("--key").arg(laboratory.path("log.vkey")))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_directory_is_rebuilt_to_the_byte_while_the_daemon_is_stopped() {
    let laboratory = Laboratory::new();
    let daemon = laboratory.start();
    let mut client = connect(&laboratory, &daemon).await;
    for _ in 0..3 {
        client.mint_certificate(Asked::sports_api().request()).await.unwrap();
    }
    let (done, sentence) = said(&laboratory, &["log", "rebuild"], &[]);
    assert!(!done && sentence.contains("another daemon has the database"), "{sentence}");
    assert!(sentence.contains("hint: stop it first"), "{sentence}");
    drop(client);
    assert!(daemon.terminate());
    let log = laboratory.path("log");
    assert!(said(&laboratory, &["log", "rebuild"], &[]).0);
    let published = contents(&log);
    let damaged: Vec<_> = published.keys().filter(|name| name.starts_with("tile/entries")).collect();
    fs::write(log.join(damaged[0]), "nothing").unwrap();
    let (done, sentence) = said(&laboratory, &["log", "rebuild"], &[]);
    assert!(done && sentence.contains("1 were written, 0 were removed"), "{sentence}");
    assert_eq!(contents(&log), published);
    fs::remove_dir_all(&log).unwrap();
    let (done, sentence) = said(&laboratory, &["log", "rebuild"], &[]);
    assert!(!done && sentence.contains("--accept-missing-checkpoint"), "{sentence}");
    let (done, sentence) = said(&laboratory, &["log", "rebuild"], &["--accept-missing-checkpoint"]);
    assert!(done, "{sentence}");
    let of_log = |files: BTreeMap<String, Vec<u8>>| -> BTreeMap<String, Vec<u8>> {
        files.into_iter().filter(|(name, _)| !name.starts_with("crl/")).collect()
    };
    assert_eq!(of_log(contents(&log)), of_log(published));
    assert!(laboratory.start().terminate());
    assert!(verified(&laboratory).contains("\"good\""));
    let entries = contents(&log).into_values().flatten().collect::<Vec<u8>>();
    assert!(String::from_utf8_lossy(&entries).contains("\"command\":\"accept-missing-checkpoint\""), "the log says so");
}

#[test]
fn another_user_s_log_is_not_rebuilt() {
    let laboratory = Laboratory::new();
    let database = laboratory.path("hallmark.db");
    assert!(database.exists());
    let (mine, root) = (fs::metadata(&database).unwrap().uid(), 0);
    // Only root can give files away. Who is not, cannot come into the same trouble.
    if chown(&database, Some(65_534), None).is_err() {
        assert_ne!(mine, root);
        return;
    }
    let before = contents(&laboratory.path("log"));
    let (done, sentence) = said(&laboratory, &["log", "rebuild"], &[]);
    assert!(!done && sentence.contains("is a file of the user nobody; hint: run this as that user"), "{sentence}");
    assert_eq!(contents(&laboratory.path("log")), before);
}

#[test]
fn an_accepted_checkpoint_stands_in_the_log_although_the_start_that_accepted_it_went_no_further() {
    let laboratory = Laboratory::new();
    assert!(laboratory.start().terminate());
    fs::remove_dir_all(laboratory.path("log")).unwrap();
    let settings = fs::read_to_string(laboratory.path("signer.toml")).unwrap();
    let module = settings.lines().find(|line| line.starts_with("module")).unwrap();
    fs::write(laboratory.path("signer.toml"), settings.replacen(module, "module = \"/nowhere.so\"", 1)).unwrap();
    let (done, sentence) = said(&laboratory, &["run", "--one-process"], &["--accept-missing-checkpoint"]);
    assert!(!done && sentence.contains("/nowhere.so"), "{sentence}");
    fs::write(laboratory.path("signer.toml"), settings).unwrap();
    assert!(laboratory.start().terminate());
    let entries = contents(&laboratory.path("log")).into_values().flatten().collect::<Vec<u8>>();
    assert!(String::from_utf8_lossy(&entries).contains("\"command\":\"accept-missing-checkpoint\""), "the log says so");
}

#[test]
fn a_daemon_that_misses_its_anchor_refuses_and_says_what_to_do() {
    let laboratory = Laboratory::new();
    let settings = fs::read_to_string(laboratory.path("signer.toml")).unwrap();
    let anchored = settings.replacen("[log]\n", "[log]\nanchor = \"other-volume/checkpoint\"\n", 1);
    assert_ne!(anchored, settings);
    fs::write(laboratory.path("signer.toml"), anchored).unwrap();
    fs::create_dir(laboratory.path("other-volume")).unwrap();
    assert!(laboratory.start().terminate());
    fs::rename(laboratory.path("other-volume/checkpoint"), laboratory.path("elsewhere")).unwrap();
    let (done, sentence) = said(&laboratory, &["run"], &[]);
    assert!(!done && sentence.contains("is missing, and the log in"), "{sentence}");
    assert!(sentence.contains("hint: mount its volume or bring the file back"), "{sentence}");
    fs::rename(laboratory.path("elsewhere"), laboratory.path("other-volume/checkpoint")).unwrap();
    assert!(laboratory.start().terminate());
}
