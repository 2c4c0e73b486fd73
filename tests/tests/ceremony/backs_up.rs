//! Keys that leave a token in wrapped form, and come back into another when the first is gone.

use std::{fs, os::unix::fs::PermissionsExt as _};

use hallmark_faulty::{Effect, Function, When, cryptoki_sys};
use hallmark_test_token::{SO_PIN, Token};
use hallmark_tests::tools::{attempt, sha256};

use crate::hall::{Came, Hall};

/// `[task.root]` of a root that can be wrapped.
pub(crate) const ROOT: &str =
    "[task.root]\nlabel = \"athenz-root\"\nwrappable = \"by-any\"\ncertificate = \"out/athenz.pem\"\n";

/// A wrap key that two of three custodians have together.
pub(crate) const SPLIT: &str = "[task.wrap-key]\nlabel = \"wrap\"\nthreshold = 2\nrecord = \"out/wrap.json\"\ncustodian = [\n\
                     { name = \"Ada\", share = \"out/ada.html\" },\n{ name = \"Grace\", share = \"out/grace.html\" },\n\
                     { name = \"Emmy\", share = \"out/emmy.html\" },\n]\n";

pub(crate) const BY_TOKEN: &str = "wrap-key = \"wrap\"";
pub(crate) const BY_QUORUM: &str = "quorum = \"out/wrap.json\"";

/// What `[task.backup]` and `[task.restore]` call the key.
fn named(hall: &Hall) -> String {
    let of = |name: &str| hall.fact("athenz-root", "generate", name);
    format!("key = \"{}\"\nspki-sha256 = \"{}\"\n", of("key"), of("spki-sha256"))
}

pub(crate) fn backup(hall: &Hall, by: &str) -> String {
    format!("[task.backup]\n{}{by}\nbackup = \"out/root.backup\"\n", named(hall))
}

pub(crate) fn restore(hall: &Hall) -> String {
    let sha256 = hallmark_policy::hex(&sha256(&fs::read(hall.path("out/root.backup")).unwrap()));
    format!("[task.restore]\nbackup = \"out/root.backup\"\nbackup-sha256 = \"{sha256}\"\n{}{BY_QUORUM}\n", named(hall))
}

/// The words on the pages of these custodians, as files for `--share`.
pub(crate) fn shares(hall: &Hall, names: &[&str]) -> Vec<String> {
    let share = |name: &&str| {
        let page = hall.read(&format!("out/{name}.html"));
        assert!(page.contains("bring the wrap key") && !page.contains("open the token"));
        let words: Vec<&str> =
            page.split("</small> ").skip(1).map(|part| part.split("</td>").next().unwrap()).collect();
        let number = page.split("type the number ").nth(1).unwrap().split(' ').next().unwrap();
        hall.write(&format!("{name}.txt"), &format!("{number} {}", words.join(" ")));
        ["--share".to_owned(), hall.text(&format!("{name}.txt"))]
    };
    names.iter().flat_map(share).collect()
}

pub(crate) fn run_with(hall: &Hall, file: &str, shares: &[String]) -> Came {
    let mut arguments = vec!["run", "--unattended", file];
    arguments.extend(shares.iter().map(String::as_str));
    hall.ceremony(&arguments)
}

/// A root that can be wrapped, and a wrap key.
pub(crate) fn prepared() -> Hall {
    prepared_in(Hall::new())
}

fn prepared_in(hall: Hall) -> Hall {
    hall.run(&hall.file("athenz-root", "athenz", ROOT)).good();
    hall.run(&hall.file("wrap", "athenz", SPLIT)).good();
    hall
}

/// The same, with a backup.
pub(crate) fn backed_up() -> Hall {
    backed_up_in(Hall::new())
}

pub(crate) fn backed_up_in(hall: Hall) -> Hall {
    let hall = prepared_in(hall);
    let file = hall.file("backup", "athenz", &backup(&hall, BY_TOKEN));
    hall.run(&file).good();
    hall
}

/// The root's next CRL, signed in this token.
pub(crate) fn crl(hall: &Hall, token: &Token, name: &str, because: &str) -> String {
    let task = format!("[task.crl]\nissuer = \"out/athenz.pem\"\ncrl = \"out/{name}.crl\"\n");
    let file = hall.file_in(token, name, "athenz", &task);
    except(hall, name, because);
    file
}

/// Writes into the file of a ceremony that the root is an exception.
fn except(hall: &Hall, name: &str, because: &str) {
    let exception = format!(
        "[[device.exception]]\nspki-sha256 = \"{}\"\nbecause = \"{because}\"\n[log]",
        hall.fact("athenz-root", "generate", "spki-sha256")
    );
    let text = hall.read(&format!("{name}.toml"));
    hall.write(&format!("{name}.toml"), &text.replacen("[log]", &exception, 1));
}

pub(crate) fn verifies(hall: &Hall, name: &str) {
    let (path, issuer) = (hall.text(&format!("out/{name}.crl")), hall.text("out/athenz.pem"));
    let (_, said) = attempt("openssl", &["crl", "-in", &path, "-noout", "-CAfile", &issuer]);
    assert!(said.contains("verify OK"), "{said}");
}

#[test]
fn a_root_whose_token_is_gone_signs_on_in_another() {
    let hall = backed_up();
    hall.run(&crl(&hall, &hall.token, "first", "wrappable")).good();
    verifies(&hall, "first");
    let second = Token::make("second");
    let given = shares(&hall, &["emmy", "ada"]);
    run_with(&hall, &bring_in(&hall, &second, "wrap-again"), &given).good();
    let file = hall.file_in(&second, "restore", "athenz", &restore(&hall));
    let came = run_with(&hall, &file, &given).good();
    assert!(came.stderr.contains("asks for nothing"), "{}", came.stderr);
    assert_eq!(second.labels(), ["athenz-root"]);
    hall.run(&crl(&hall, &second, "second", "restored")).good();
    verifies(&hall, "second");
    for name in ["athenz-root", "wrap", "backup", "wrap-again", "restore", "first", "second"] {
        hall.verify(name).good();
    }
    let arguments = ["log", "verify", &hall.text("log/public"), "--key", &hall.text("log/log.vkey"), "--no-state"];
    let output = hall.hallmark().args(arguments).args(["--silence", "1d"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::metadata(hall.path("out/root.backup")).unwrap().permissions().mode() & 0o777, 0o400);
    assert_eq!(hall.fact("restore", "read-back", "CKA_EXTRACTABLE"), "false");
    assert_eq!(hall.fact("athenz-root", "read-back", "CKA_EXTRACTABLE"), "true");
    assert!(hall.fact("athenz-root", "generate", "wrappable").contains("whoever logs in can take it out"));
    for name in ["athenz-root", "restore"] {
        let transcript = hall.text(&format!("{name}.transcript.json"));
        let log = [hall.text("log/public"), hall.text("log/log.vkey")];
        let came = hall.ceremony(&["verify", &transcript, "--log", &log[0], "--key", &log[1], "--device"]).good();
        assert!(came.stderr.contains("the token holds"), "{}", came.stderr);
    }
}

#[test]
fn custodians_bring_the_wrap_key_for_one_call_and_it_stays_in_no_token() {
    let hall = prepared();
    let (second, third) = (Token::make("second"), Token::make("third"));
    let file = hall.file("backup", "athenz", &backup(&hall, BY_QUORUM));
    hall.run(&file).refused(2, "0 of 2 shares were given with --share");
    run_with(&hall, &file, &shares(&hall, &["ada", "grace"])).good();
    let by_quorum = fs::read(hall.path("out/root.backup")).unwrap();
    // Those of the token's own wrap key are the same bytes.
    let again = backup(&hall, BY_TOKEN).replace("root.backup", "again.backup");
    hall.run(&hall.file("again", "athenz", &again)).good();
    assert_eq!(fs::read(hall.path("out/again.backup")).unwrap(), by_quorum);
    let file = hall.file_in(&second, "restore", "athenz", &restore(&hall));
    run_with(&hall, &file, &shares(&hall, &["grace", "emmy"])).good();
    assert_eq!(second.labels(), ["athenz-root"]);
    let file = hall.file_in(&second, "no-wrap-key", "athenz", &backup(&hall, BY_TOKEN).replace("root.backup", "b"));
    hall.run(&file).refused(3, "CKA_LOCAL = false");
    let file = hall.file_in(&second, "not-again", "athenz", &backup(&hall, BY_TOKEN).replace("root.backup", "b"));
    except(&hall, "not-again", "restored");
    hall.run(&file).refused(3, "cannot leave its token");
    let file = hall.file_in(&third, "none", "athenz", &restore(&hall));
    hall.run(&file).refused(2, "0 of 2 shares were given with --share");
    assert!(third.labels().is_empty());
    for name in ["backup", "again", "restore"] {
        hall.verify(name).good();
    }
    for public in ["backup.transcript.json", "out/wrap.json", "out/root.backup", "log/journals/backup.journal"] {
        let text = hall.read(public);
        let words = hall.read("ada.txt");
        assert!(!text.contains(&words[2..]), "{public} has no secret");
    }
}

#[test]
fn an_extractable_root_signs_nothing_for_a_file_that_does_not_name_it() {
    let hall = prepared();
    let crl_task = "[task.crl]\nissuer = \"out/athenz.pem\"\ncrl = \"out/root.crl\"\n";
    let came = hall.run(&hall.file("crl", "athenz", crl_task)).refused(3, "CKA_EXTRACTABLE = true");
    assert!(came.stderr.contains("name it in [[device.exception]]"), "{}", came.stderr);
    hall.run(&crl(&hall, &hall.token, "other", "restored")).refused(3, "CKA_EXTRACTABLE = true");
    assert!(!hall.path("out/root.crl").exists());
}

#[test]
fn a_key_that_was_not_made_to_be_wrapped_is_never_wrapped_and_the_log_does_not_say_it_was() {
    let hall = Hall::new();
    hall.run(&hall.file("athenz-root", "athenz", &ROOT.replace("wrappable = \"by-any\"\n", ""))).good();
    hall.run(&hall.file("wrap", "athenz", SPLIT)).good();
    let came = hall.run(&hall.file("backup", "athenz", &backup(&hall, BY_TOKEN)));
    came.refused(3, "CKA_EXTRACTABLE = false, which nothing changes");
    assert!(!hall.path("out/root.backup").exists());
    let log = fs::read_dir(hall.path("log/public")).unwrap().count();
    assert!(log > 0);
    assert!(!log_says(&hall, "backed-up"));
}

/// Whether a word stands in the entries of the log, published or not.
pub(crate) fn log_says(hall: &Hall, word: &str) -> bool {
    fn files(path: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in fs::read_dir(path).unwrap().map(Result::unwrap) {
            match entry.path() {
                path if path.is_dir() => files(&path, found),
                path => found.push(path),
            }
        }
    }
    let mut found = Vec::new();
    files(&hall.path("log"), &mut found);
    let has = |path: &std::path::PathBuf| String::from_utf8_lossy(&fs::read(path).unwrap()).contains(word);
    found.iter().any(has)
}

#[test]
fn a_root_for_trusted_wrap_keys_is_wrapped_by_one_that_the_security_officer_made_and_by_no_other() {
    let hall = Hall::new();
    let root = ROOT.replace("by-any", "by-trusted");
    hall.run(&hall.file("athenz-root", "athenz", &root)).good();
    assert_eq!(hall.fact("athenz-root", "read-back", "CKA_WRAP_WITH_TRUSTED"), "true");
    hall.run(&hall.file("wrap", "athenz", SPLIT)).good();
    let came = hall.run(&hall.file("backup", "athenz", &backup(&hall, BY_TOKEN))).refused(3, "CKR_KEY_NOT_WRAPPABLE");
    assert!(came.stderr.contains("that a ceremony made `trusted`"), "{}", came.stderr);
    let by_quorum = hall.file("by-quorum", "athenz", &backup(&hall, BY_QUORUM));
    run_with(&hall, &by_quorum, &shares(&hall, &["ada", "grace"])).refused(3, "CKR_KEY_NOT_WRAPPABLE");
    let task = "[task.wrap-key]\nlabel = \"trusted\"\nquorum = \"out/wrap.json\"\ntrusted = true\n";
    let file = hall.file("trusted", "athenz", task);
    let given = shares(&hall, &["ada", "emmy"]);
    run_with(&hall, &file, &given).refused(2, "name a `so-pin-file`");
    let text = hall.read("trusted.toml").replace("pin-file = \"pin\"", "pin-file = \"pin\"\nso-pin-file = \"so-pin\"");
    let file = hall.text("with-officer.toml");
    hall.write("with-officer.toml", &text.replace("ceremony = \"trusted\"", "ceremony = \"with-officer\""));
    hall.write("so-pin", "00000000");
    run_with(&hall, &file, &given).refused(3, "the security officer's PIN of token");
    hall.write("so-pin", SO_PIN);
    let came = run_with(&hall, &file, &given).good();
    assert!(!came.stderr.contains(SO_PIN) && !hall.read("with-officer.transcript.json").contains(SO_PIN));
    assert_eq!(hall.fact("with-officer", "read-back", "CKA_TRUSTED"), "true");
    let by_trusted = backup(&hall, "wrap-key = \"trusted\"");
    hall.run(&hall.file("by-trusted", "athenz", &by_trusted)).good();
    let second = Token::make("second");
    let file = hall.file_in(&second, "restore", "athenz", &restore(&hall));
    run_with(&hall, &file, &given).good();
    hall.run(&crl(&hall, &second, "after", "restored")).good();
    verifies(&hall, "after");
    for name in ["with-officer", "by-trusted", "restore"] {
        hall.verify(name).good();
    }
}

#[test]
fn labels_and_files_that_are_taken_are_left_as_they_are() {
    let hall = backed_up();
    let again = SPLIT.replace("out/", "out/again-");
    hall.run(&hall.file("twice", "athenz", &again)).refused(1, "an object called `wrap` already");
    let file = hall.file("restore", "athenz", &restore(&hall));
    hall.ceremony(&["plan", &file]).refused(1, "an object called `athenz-root` already");
    hall.run(&file).refused(1, "an object called `athenz-root` already");
    hall.run(&hall.file("backup-2", "athenz", &backup(&hall, BY_TOKEN))).refused(2, "the backup `");
    assert_eq!(hall.keys(), ["athenz-root"]);
}

#[test]
fn a_device_that_does_not_wrap_says_so_in_the_plan() {
    let hall = backed_up();
    hall.device.fault(Function::GetMechanismInfo, When::Always, Effect::Refuse(cryptoki_sys::CKR_MECHANISM_INVALID));
    for (name, task, sentence) in [
        ("b", backup(&hall, BY_TOKEN).replace("root.backup", "b"), "it wraps no keys (CKM_AES_KEY_WRAP_PAD)"),
        (
            "w",
            SPLIT.replace("\"wrap\"", "\"w\"").replace("out/", "out/w-"),
            "it neither wraps keys nor brings wrapped ones in",
        ),
    ] {
        let file = hall.file_behind_the_device(name, "athenz", &task);
        hall.ceremony(&["plan", &file]).refused(1, sentence);
    }
    hall.device.mend();
    let file = hall.file_behind_the_device("good", "athenz", &backup(&hall, BY_TOKEN).replace("root.backup", "g"));
    let came = hall.ceremony(&["plan", &file]).good();
    assert!(
        came.stderr.contains("wrap        write into the log that the key leaves the token in wrapped form"),
        "{}",
        came.stderr
    );
}

#[test]
fn a_device_that_fails_while_it_wraps_or_unwraps_goes_on_when_it_is_back() {
    let hall = prepared();
    let file = hall.file_behind_the_device("backup", "athenz", &backup(&hall, BY_TOKEN));
    hall.device.fault(Function::WrapKey, When::Always, Effect::Refuse(cryptoki_sys::CKR_DEVICE_REMOVED));
    hall.run(&file).refused(3, "CKR_DEVICE_REMOVED");
    assert!(!hall.path("out/root.backup").exists());
    hall.device.mend();
    hall.run(&file).good();
    hall.verify("backup").good();
}

/// The file by which custodians bring the wrap key into a token.
pub(crate) fn bring_in(hall: &Hall, token: &Token, name: &str) -> String {
    hall.file_in(token, name, "athenz", "[task.wrap-key]\nlabel = \"wrap\"\nquorum = \"out/wrap.json\"\n")
}

#[test]
fn mistakes_about_wrapping_are_told_before_anything_is_made() {
    let hall = backed_up();
    let key = "[task.key]\nlabel = \"k\"\nkind = \"ecdsa-p256\"\npublic-key = \"out/k\"\n";
    for (task, said) in [
        (format!("{key}wrappable = \"yes\"\n"), "`wrappable` is `yes`; it is `by-any` or `by-trusted`"),
        (format!("{key}wrappable = \"by-any\"\ndestroyable = true\n"), "a copy of it would be left"),
        ("[task.wrap-key]\nlabel = \"w\"\nthreshold = 2\n".to_owned(), "needs `threshold`, `record` and `custodian`"),
        ("[task.wrap-key]\nlabel = \"w\"\n".to_owned(), "nobody would have its value"),
        ("[task.wrap-key]\nlabel = \"w\"\ntrusted = true\n".to_owned(), "nobody would have its value"),
        (restore(&hall).replace(BY_QUORUM, BY_TOKEN), "there is no setting `wrap-key` here"),
        (restore(&hall).replace(BY_QUORUM, ""), "`quorum` is missing"),
        (format!("{SPLIT}quorum = \"q\"\n"), "the value is brought or drawn"),
        (SPLIT.replace("threshold = 2", "threshold = 1"), "`threshold` is 1; it lies between 2 and 15"),
        (backup(&hall, ""), "one of `wrap-key`, which is in the token, and `quorum`, which brings one, is wanted"),
        (backup(&hall, &format!("{BY_TOKEN}\n{BY_QUORUM}")), "one of `wrap-key`"),
        (
            backup(&hall, BY_TOKEN).replace(&hall.fact("athenz-root", "generate", "key"), "software:root"),
            "is the name of a key in a file",
        ),
        (restore(&hall).replace("backup-sha256 = \"", "backup-sha256 = \"x"), "is no SHA-256"),
    ] {
        let file = hall.file("bad", "athenz", &task);
        let came = hall.ceremony(&["plan", &file]);
        assert!(came.code != 0 && came.stderr.contains(said), "{said}\nis not in\n{}", came.stderr);
    }
    let file = crl(&hall, &hall.token, "bad-exception", "wrappable");
    let text = hall.read("bad-exception.toml");
    hall.write("bad-exception.toml", &text.replace("because = \"wrappable\"", "because = \"it is mine\""));
    assert_ne!(hall.ceremony(&["plan", &file]).code, 0);
}

#[test]
fn a_doctor_says_whether_a_token_wraps_and_which_keys_are_exceptions() {
    let hall = backed_up();
    let file = crl(&hall, &hall.token, "crl", "wrappable");
    let came = doctor(&hall, &file);
    assert!(came.contains("look: exception: the key with SPKI SHA-256"), "{came}");
    let came = doctor(&hall, &hall.text("backup.toml"));
    assert!(came.contains("good: wrapping: it wraps keys and brings wrapped keys in (CKM_AES_KEY_WRAP_PAD)"), "{came}");
}

fn doctor(hall: &Hall, file: &str) -> String {
    let output = hall.hallmark().args(["doctor", file]).output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
