//! A log key that changes, and a log that goes on under another name, by the real programs, as auditors see it.

use std::{fs, process::Command};

use hallmark_tests::{
    asking::Asked,
    client::connect,
    daemon::{Laboratory, program, succeed},
};

/// Replaces text of the configuration that must be there.
fn configure(laboratory: &Laboratory, old: &str, new: &str) {
    let settings = fs::read_to_string(laboratory.path("signer.toml")).unwrap();
    let changed = settings.replacen(old, new, 1);
    assert_ne!(changed, settings, "`{old}` is in there");
    fs::write(laboratory.path("signer.toml"), changed).unwrap();
}

/// `hallmark log verify`: whether it is good, and what it says.
fn verify(laboratory: &Laboratory, log: &str, words: &[&str]) -> (bool, String) {
    let mut verify = Command::new(program("hallmark"));
    verify.current_dir(laboratory.path(".")).args(["log", "verify", "--no-state", log]).args(words);
    let output = verify.output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

async fn mint(laboratory: &Laboratory) -> hallmark_proto::signer::MintCertificateResponse {
    let daemon = laboratory.start();
    let mut client = connect(laboratory, &daemon).await;
    let minted = client.mint_certificate(Asked::sports_api().request()).await.unwrap().into_inner();
    drop(client);
    assert!(daemon.terminate());
    minted
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_log_key_stands_in_the_log_when_it_comes_and_when_the_old_one_goes() {
    let laboratory = Laboratory::new();
    mint(&laboratory).await;
    for file in ["log.key", "log.vkey"] {
        fs::rename(laboratory.path(file), laboratory.path(&file.replacen("log", "old", 1))).unwrap();
    }
    configure(&laboratory, "key = \"log.key\"", "key = \"log.key\"\nprevious-key = \"old.key\"");
    succeed(&mut laboratory.init());
    mint(&laboratory).await;
    for key in ["old.vkey", "log.vkey"] {
        let (good, said) = verify(&laboratory, "log", &["--key", key]);
        assert!(good && said.contains("log key"), "{said}");
    }
    configure(&laboratory, "\nprevious-key = \"old.key\"", "");
    mint(&laboratory).await;
    let (good, said) = verify(&laboratory, "log", &["--key", "log.vkey"]);
    assert!(good && said.contains("2 log-key"), "{said}");
    assert!(!verify(&laboratory, "log", &["--key", "old.vkey"]).0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_goes_on_under_another_name_and_both_verify_together() {
    let laboratory = Laboratory::new();
    let before = mint(&laboratory).await;
    let roll = || {
        let mut roll = laboratory.hallmarkd();
        roll.args(["log", "roll"]).arg(laboratory.path("signer.toml"));
        roll.args(["--origin", "hallmark.lab/2027", "--key", "log-2027.key", "--publish", "log-2027"]);
        roll
    };
    let told = succeed(&mut roll());
    assert!(told.contains("origin = \"hallmark.lab/2027\"") && told.contains("key = \"log-2027.key\""), "{told}");
    let (good, said) = verify(&laboratory, "log", &["--key", "log.vkey", "--stale-after", "1d"]);
    assert!(good && said.contains("it goes on as `hallmark.lab/2027`"), "{said}");
    let refused = laboratory.hallmarkd().arg("run").arg(laboratory.path("signer.toml")).output().unwrap();
    let refused = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.contains("the log in") && refused.contains("is `hallmark.lab/2027`"), "{refused}");
    configure(&laboratory, "origin = \"hallmark.lab/signer\"", "origin = \"hallmark.lab/2027\"");
    configure(&laboratory, "key = \"log.key\"", "key = \"log-2027.key\"");
    configure(&laboratory, "publish = \"log\"", "publish = \"log-2027\"");
    let after = mint(&laboratory).await;
    assert!(after.log_index > before.log_index, "numbers go on");
    let both = ["--key", "log-2027.vkey", "--previous", "log", "--previous-key", "log.vkey"];
    let (good, said) = verify(&laboratory, "log-2027", &both);
    assert!(good && said.contains("continues") && !said.contains("--previous."), "{said}");
    fs::write(laboratory.path("receipt"), &before.receipt).unwrap();
    let mut receipt = Command::new(program("hallmark"));
    receipt.args(["log", "receipt"]).arg(laboratory.path("receipt")).arg("--log").arg(laboratory.path("log"));
    succeed(receipt.arg("--key").arg(laboratory.path("log.vkey")));
}
