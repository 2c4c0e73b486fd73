//! Backups and restores by the real programs: interrupted, refused, and carried on.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use hallmark_tests::{
    asking::Asked,
    client::connect,
    daemon::{Daemon, Laboratory, program, succeed},
};

/// Bytes that make a database large enough for a copy to be caught half-way.
const BALLAST_BYTES: usize = 96 << 20;

/// How long something may take that comes.
const TIME_MAX: Duration = Duration::from_secs(60);

/// Waits until a path is there, however short.
fn await_path(path: &Path) {
    let began = Instant::now();
    while !path.exists() {
        assert!(began.elapsed() < TIME_MAX, "`{}` does not come", path.display());
        thread::yield_now();
    }
}

/// Waits until a backup is being made.
fn await_unfinished(directory: &Path) -> PathBuf {
    let began = Instant::now();
    loop {
        let listed = fs::read_dir(directory).into_iter().flatten().flatten().map(|found| found.path());
        let mut unfinished = listed.filter(|path| path.extension().is_some_and(|ending| ending == "unfinished"));
        if let Some(found) = unfinished.next() {
            return found;
        }
        assert!(began.elapsed() < TIME_MAX, "nothing is made in `{}`", directory.display());
        thread::yield_now();
    }
}

/// Rows that mean nothing, in a laboratory whose daemon is stopped.
fn with_ballast(laboratory: &Laboratory) {
    let database = rusqlite::Connection::open(laboratory.path("hallmark.db")).unwrap();
    for number in 0..BALLAST_BYTES >> 20 {
        let sql = "INSERT INTO blob (sha256, bytes) VALUES (?1, zeroblob(1048576))";
        database.execute(sql, [format!("ballast {number}").into_bytes()]).unwrap();
    }
}

fn backup(laboratory: &Laboratory, daemon: &Daemon, name: &str) -> Command {
    let mut command = laboratory.hallmark_operator(daemon);
    command.args(["--json", "backup", "--why", "a test", "--name", name]);
    command
}

fn restore(laboratory: &Laboratory, from: &Path, words: &[&str]) -> Command {
    let mut command = laboratory.hallmarkd();
    command.arg("restore").arg(laboratory.path("signer.toml")).arg("--from").arg(from).args(words);
    command
}

fn said(output: &Output) -> String {
    [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat()
}

async fn mint(laboratory: &Laboratory, daemon: &Daemon) -> bool {
    let mut client = connect(laboratory, daemon).await;
    client.mint_certificate(Asked::sports_api().request()).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_while_a_backup_is_made_leaves_none_that_looks_whole_and_the_next_one_removes_it() {
    let laboratory = Laboratory::new();
    with_ballast(&laboratory);
    let daemon = laboratory.start();
    let mut asking = backup(&laboratory, &daemon, "one").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let unfinished = await_unfinished(&laboratory.path("backups"));
    await_path(&unfinished.join("ledger.sqlite"));
    daemon.kill();
    assert!(!asking.wait().unwrap().success(), "whoever waited for it hears that it failed");
    assert!(!laboratory.path("backups/one").exists() && unfinished.exists(), "it was caught half-way");
    let output = restore(&laboratory, &unfinished, &["--replace"]).output().unwrap();
    assert!(!output.status.success() && said(&output).contains("cannot be used"), "{}", said(&output));
    let daemon = laboratory.start();
    assert!(mint(&laboratory, &daemon).await, "it goes on");
    let told: serde_json::Value = serde_json::from_str(&succeed(&mut backup(&laboratory, &daemon, "two"))).unwrap();
    assert_eq!((&told["result"], &told["removed"]), (&"backed-up".into(), &1.into()));
    assert!(!unfinished.exists());
    let again = succeed(&mut backup(&laboratory, &daemon, "two"));
    assert!(again.contains("\"backed-up\""), "the same name again has the same answer: {again}");
    assert!(daemon.terminate());
    let entries = fs::read(laboratory.path("backups/two/ledger.sqlite")).unwrap();
    let entries = String::from_utf8_lossy(&entries);
    assert!(entries.contains("\"command\":\"back-up\""), "the log says so before it is copied");
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_while_it_is_restored_changes_nothing_and_the_same_command_restores_it() {
    let laboratory = Laboratory::new();
    with_ballast(&laboratory);
    let daemon = laboratory.start();
    succeed(&mut backup(&laboratory, &daemon, "one"));
    daemon.kill();
    fs::rename(laboratory.path("hallmark.db"), laboratory.path("lost.db")).unwrap();
    for left in ["hallmark.db-wal", "hallmark.db-shm"] {
        let _ = fs::remove_file(laboratory.path(left));
    }
    let from = laboratory.path("backups/one");
    let mut restoring = restore(&laboratory, &from, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    await_path(&laboratory.path("hallmark.db.restoring"));
    restoring.kill().unwrap();
    restoring.wait().unwrap();
    assert!(!laboratory.path("hallmark.db").exists(), "nothing is in its place");
    let output = restore(&laboratory, &from, &["--json"]).output().unwrap();
    assert!(
        output.status.success() && said(&output).contains("an earlier restore was interrupted"),
        "{}",
        said(&output)
    );
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["result"], &told["stopped"]), (&"restored".into(), &serde_json::json!([])));
    let daemon = laboratory.start();
    assert!(mint(&laboratory, &daemon).await);
    assert!(daemon.terminate());
    let mut verify = Command::new(program("hallmark"));
    verify.args(["log", "verify", "--no-state"]).arg(laboratory.path("log"));
    succeed(verify.arg("--key").arg(laboratory.path("log.vkey")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_backed_up_or_restored_is_refused_with_what_to_do() {
    let laboratory = Laboratory::new();
    let daemon = laboratory.start();
    let refused = |command: &mut Command, words: &[&str]| {
        let output = command.output().unwrap();
        let said = said(&output);
        assert!(!output.status.success(), "{said}");
        words.iter().for_each(|word| assert!(said.contains(word), "`{word}` is not in {said}"));
    };
    let mut by_caller = backup(&laboratory, &daemon, "one");
    by_caller.env("HALLMARK_CERT", laboratory.path("coordinator.pem"));
    refused(
        by_caller.env("HALLMARK_KEY", laboratory.path("coordinator.key")),
        &["does not trust the CA that issued it"],
    );
    refused(&mut backup(&laboratory, &daemon, "../one"), &["is no name", "100 bytes at most"]);
    fs::create_dir_all(laboratory.path("backups/one")).unwrap();
    refused(&mut backup(&laboratory, &daemon, "one"), &["STATE_DIFFERS", "there is a backup"]);
    succeed(&mut backup(&laboratory, &daemon, "two"));
    let from = laboratory.path("backups/two");
    refused(
        &mut restore(&laboratory, &from, &["--replace"]),
        &["another daemon has the database", "hint: stop it first"],
    );
    assert!(daemon.terminate());
    refused(&mut restore(&laboratory, &from, &[]), &["there is a database", "hint: `--replace` puts it aside"]);
    refused(
        &mut restore(&laboratory, &from, &["--replace"]),
        &["restored as it is, the log would fork", "`--continue-as ORIGIN --key FILE --publish DIR`"],
    );
    refused(
        &mut restore(&laboratory, &from, &["--continue-as", "hallmark.lab/2"]),
        &["--key <FILE>", "--publish <DIR>"],
    );
    let same = ["--replace", "--continue-as", "hallmark.lab/signer", "--key", "log.key", "--publish", "log-2"];
    refused(&mut restore(&laboratory, &from, &same), &["cannot go on as that", "a name that it never had"]);
    // What is kept apart is missing.
    for half in ["log.key", "log.vkey"] {
        fs::rename(laboratory.path(half), laboratory.path(&format!("{half}.away"))).unwrap();
    }
    refused(&mut restore(&laboratory, &from, &["--replace"]), &["neither the log key", "bring one of the two"]);
    fs::rename(laboratory.path("log.vkey.away"), laboratory.path("log.vkey")).unwrap();
    refused(&mut restore(&laboratory, &from, &["--replace"]), &["restored as it is, the log would fork"]);
    fs::rename(laboratory.path("log.key.away"), laboratory.path("log.key")).unwrap();
    let settings = fs::read_to_string(laboratory.path("signer.toml")).unwrap();
    let without = settings.replacen("backups = \"backups\"", "", 1);
    assert_ne!(without, settings, "the example names a directory");
    fs::write(laboratory.path("signer.toml"), without).unwrap();
    let daemon = laboratory.start();
    refused(&mut backup(&laboratory, &daemon, "three"), &["names no directory", "restarts the daemon"]);
    assert!(daemon.terminate());
}
