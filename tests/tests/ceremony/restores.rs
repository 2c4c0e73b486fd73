//! What comes out of a backup, and what does not: files that were altered, other keys, and programs that were killed.

use std::{fs, os::unix::fs::PermissionsExt as _};

use hallmark_faulty::{Effect, Function, When};
use hallmark_test_token::Token;
use hallmark_tests::tools::{attempt, der, from_hex, sha256};

use crate::{
    backs_up::{BY_TOKEN, ROOT, SPLIT, backed_up, backup, crl, log_says, restore, run_with, shares, verifies},
    hall::{ABORTED, Hall, WITNESSES},
    interrupted::kill_before_typing,
};

#[test]
fn a_backup_that_was_altered_restores_nothing() {
    let hall = backed_up();
    let second = Token::make("second");
    let good = hall.read("out/root.backup");
    let task = restore(&hall);
    fs::set_permissions(hall.path("out/root.backup"), fs::Permissions::from_mode(0o600)).unwrap();
    let shares = shares(&hall, &["ada", "grace"]);
    let file = hall.file_in(&second, "restore", "athenz", &task);
    // One byte, anywhere: the file is not the one that was reviewed.
    for at in [2, good.len() / 2, good.len() - 2] {
        let mut altered = good.clone().into_bytes();
        altered[at] ^= 1;
        fs::write(hall.path("out/root.backup"), &altered).unwrap();
        run_with(&hall, &file, &shares).refused(1, "is another than the file says: its SHA-256 is");
    }
    // The same where somebody had that reviewed.
    let wrapped = good.split("\"wrapped\":\"").nth(1).unwrap().split('"').next().unwrap();
    let flip = |text: &str| text.replacen(&text[..1], if text.starts_with('0') { "1" } else { "0" }, 1);
    let (altered, digest) = (flip(wrapped), |hex: &str| hallmark_policy::hex(&sha256(&from_hex(hex))));
    let cases = [
        (good.replace(wrapped, &altered), 2, "is no backup of a key"),
        (good.replace(wrapped, &altered).replace(&digest(wrapped), &digest(&altered)), 3, "C_UnwrapKey answered"),
        (good.replace("athenz-root", "athenz-r00t"), 1, "its key is pkcs11:id="),
        (format!("{good} "), 2, "is no backup of a key"),
        (good.replace("AES_KEY_WRAP_PAD", "AES_KEY_WRAP"), 2, "is no backup of a key"),
    ];
    for (number, (text, code, sentence)) in cases.into_iter().enumerate() {
        hall.write("out/root.backup", &text);
        let name = format!("restore-{number}");
        let file = hall.file_in(&second, &name, "athenz", &restore(&hall));
        run_with(&hall, &file, &shares).refused(code, sentence);
        assert!(second.labels().is_empty(), "{sentence}");
    }
    hall.write("out/root.backup", &good);
    run_with(&hall, &file, &shares).good();
    assert_eq!(second.labels(), ["athenz-root"]);
}

#[test]
fn a_public_key_that_is_not_the_wrapped_key_s_is_found_out_by_the_proof() {
    let hall = backed_up();
    let key = "[task.key]\nlabel = \"other\"\nkind = \"ecdsa-p256\"\npublic-key = \"out/other.pub\"\n";
    hall.run(&hall.file("other", "athenz", key)).good();
    let second = Token::make("second");
    let (_, own) = attempt("openssl", &["x509", "-in", &hall.text("out/athenz.pem"), "-pubkey", "-noout"]);
    let [own, other] = [own, hall.read("out/other.pub")].map(|text| hallmark_policy::hex(&der("PUBLIC KEY", &text)));
    let text = hall.read("out/root.backup");
    assert!(text.contains(&own));
    let text = text.replace(&own, &other);
    fs::set_permissions(hall.path("out/root.backup"), fs::Permissions::from_mode(0o600)).unwrap();
    hall.write("out/root.backup", &text);
    let (own, others) =
        (hall.fact("athenz-root", "generate", "spki-sha256"), hall.fact("other", "generate", "spki-sha256"));
    let task = restore(&hall).replace(&own, &others);
    let file = hall.file_in(&second, "restore", "athenz", &task);
    run_with(&hall, &file, &shares(&hall, &["ada", "grace"])).refused(3, "the key did not sign");
    assert!(!hall.path("restore.transcript.json").exists());
}

#[test]
fn another_wrap_key_and_shares_of_another_set_are_told_before_anything_is_unwrapped() {
    let hall = backed_up();
    let second = Token::make("second");
    let others = SPLIT.replace("\"wrap\"", "\"wrap-2\"").replace("out/", "out/2-");
    hall.run(&hall.file("wrap-2", "athenz", &others)).good();
    let file = hall.file_in(&second, "restore-2", "athenz", &restore(&hall));
    let foreign = [shares(&hall, &["ada"]), shares(&hall, &["2-grace"])].concat();
    run_with(&hall, &file, &foreign).refused(1, "share 2 is not one of this set");
    let wrong = restore(&hall).replace("out/wrap.json", "out/2-wrap.json");
    let file = hall.file_in(&second, "restore-3", "athenz", &wrong);
    run_with(&hall, &file, &shares(&hall, &["2-ada", "2-grace"]))
        .refused(1, "it is another wrap key: its check value is");
    assert!(!log_says(&hall, "restoring"), "nothing was about to be unwrapped");
    assert!(second.labels().is_empty());
    // A record of a PIN has no wrap key, and the other way round.
    let text = hall.read("wrap.toml").replace("pin-file = \"pin\"", "pin-quorum = \"out/wrap.json\"");
    hall.write(
        "pin.toml",
        &text
            .replace("\"wrap\"", "\"wrap-3\"")
            .replace("out/", "out/3-")
            .replace("out/3-wrap.json\"\n[log]", "out/wrap.json\"\n[log]"),
    );
    hall.run(&hall.text("pin.toml")).refused(2, "is no record of a quorum");
}

#[test]
fn what_the_device_did_before_the_program_died_is_taken_up_by_a_restoration() {
    // The first time it is unwrapped on trial.
    for (function, nth, effect) in [
        (Function::UnwrapKey, 1, Effect::CrashAfter),
        (Function::UnwrapKey, 2, Effect::Crash),
        (Function::UnwrapKey, 2, Effect::CrashAfter),
        // The wrap key, and then the public key.
        (Function::CreateObject, 1, Effect::CrashAfter),
        (Function::CreateObject, 2, Effect::Crash),
        (Function::CreateObject, 2, Effect::CrashAfter),
        (Function::Sign, 1, Effect::CrashAfter),
    ] {
        let hall = backed_up();
        let second = Token::make("second");
        // The device that fails sees the tokens that there were when it was first used.
        let device = hallmark_faulty::Device::new();
        let file = hall.file_in(&second, "restore", "athenz", &restore(&hall));
        let given = shares(&hall, &["ada", "grace"]);
        let text =
            hall.read("restore.toml").replacen(hallmark_test_token::MODULE, device.module().to_str().unwrap(), 1);
        hall.write("restore.toml", &text);
        device.fault(function, When::Nth(nth), effect.clone());
        let came = run_with(&hall, &file, &given);
        assert_eq!(came.code, ABORTED, "{function:?} {effect:?} kills it: {}", came.stderr);
        assert!(log_says(&hall, "restoring"), "the log says what was begun");
        device.mend();
        run_with(&hall, &file, &given).good();
        assert_eq!(hall.fact("restore", "sign", "signed-in"), "this run");
        hall.verify("restore").good();
        assert_eq!(second.labels(), ["athenz-root"]);
        hall.run(&crl(&hall, &second, "after", "restored")).good();
        verifies(&hall, "after");
    }
}

/// Kills a ceremony while its witnesses are asked about the `step`-th of its steps, and has it go on.
fn killed(hall: &Hall, name: &str, step: usize) {
    killed_typing(hall, name, step, (0, ""));
}

/// The same where something else is typed in the `at`-th step.
fn killed_typing(hall: &Hall, name: &str, step: usize, (at, words): (usize, &str)) {
    let file = hall.text(&format!("{name}.toml"));
    let text = hall.read(&format!("{name}.toml"));
    hall.write(&format!("{name}.toml"), &text.replacen("[task", &format!("{WITNESSES}[task"), 1));
    let typed = |steps: usize| {
        let said = |step| format!("AL\nGH\n{}", if step == at { words } else { "" });
        (1..=steps).map(said).collect::<String>()
    };
    kill_before_typing(hall, &file, step, &typed(step - 1));
    hall.answering(&typed(20), &["run", "--countdown", "0", &file]).good();
    hall.verify(name).good();
    assert_eq!(hall.transcript(name)["runs"], if step > 3 { 2 } else { 1 }, "killed before step {step}");
}

#[test]
fn a_wrap_key_goes_on_whichever_step_it_is_killed_at_and_its_shares_are_those_of_the_token_s() {
    let hall = Hall::new();
    hall.run(&hall.file("athenz-root", "athenz", ROOT)).good();
    for step in 1..=10 {
        let (name, at) = (format!("wrap-{step}"), format!("out/{step}-"));
        hall.file(&name, "athenz", &SPLIT.replace("\"wrap\"", &format!("\"{name}\"")).replace("out/", &at));
        killed(&hall, &name, step);
        let shares = shares(&hall, &[&format!("{step}-grace"), &format!("{step}-emmy")]);
        for (by, source) in
            [("token", format!("wrap-key = \"{name}\"")), ("quorum", format!("quorum = \"{at}wrap.json\""))]
        {
            let task = backup(&hall, &source).replace("out/root.backup", &format!("{at}{by}"));
            run_with(&hall, &hall.file(&format!("by-{by}-{step}"), "athenz", &task), &shares).good();
        }
        assert_eq!(hall.read(&format!("{at}token")), hall.read(&format!("{at}quorum")), "killed before step {step}");
    }
}

#[test]
fn a_backup_and_a_restoration_go_on_whichever_step_they_are_killed_at() {
    let hall = backed_up();
    let whole = hall.read("out/root.backup");
    for step in 1..=9 {
        let (name, at) = (format!("backup-{step}"), format!("out/{step}.backup"));
        hall.file(&name, "athenz", &backup(&hall, BY_TOKEN).replace("out/root.backup", &at));
        killed(&hall, &name, step);
        assert_eq!(hall.read(&at), whole, "killed before step {step}");
    }
    shares(&hall, &["ada", "grace"]);
    for step in 1..=13 {
        let token = Token::make("second");
        let name = format!("restore-{step}");
        hall.file_in(&token, &name, "athenz", &restore(&hall));
        // Custodians type their shares in the fifth step.
        let words = format!("{}\n{}\n", hall.read("ada.txt").trim(), hall.read("grace.txt").trim());
        killed_typing(&hall, &name, step, (5, &words));
        assert_eq!(token.labels(), ["athenz-root"], "killed before step {step}");
        // The signature of an earlier restoration in another token proves nothing of this one.
        let signed_in = hall.fact(&name, "sign", "signed-in");
        assert_eq!(signed_in.contains("an interrupted run"), step > 10, "killed before step {step}: {signed_in}");
    }
}
