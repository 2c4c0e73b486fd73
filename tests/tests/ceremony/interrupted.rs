//! Ceremonies that are killed: at each step, and in the middle of what the device does. The same file goes on.

use hallmark_faulty::{Effect, Function, When};
use hallmark_tests::{
    Where, World,
    tools::{attempt, der, pem},
};
use hallmark_tlog::note::SignerKey;
use std::{
    io::Write as _,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    hall::{ABORTED, Hall, ORIGIN, WITNESSES, await_words, policy, root_task},
    makes::{cross, intermediate},
};

/// Kills a ceremony while its witnesses are asked about the `step`-th of its steps.
fn kill_before(hall: &Hall, file: &str, step: usize) {
    kill_before_typing(hall, file, step, &"AL\nGH\n".repeat(step - 1));
}

/// The same where this is typed until then.
pub(crate) fn kill_before_typing(hall: &Hall, file: &str, step: usize, typed: &str) {
    let mut child = hall.begin(&["run", "--countdown", "0", file]);
    let (mut stdin, mut stderr) = (child.stdin.take().unwrap(), child.stderr.take().unwrap());
    stdin.write_all(typed.as_bytes()).unwrap();
    await_words(&mut stderr, &format!("Step {step} of "));
    await_words(&mut stderr, "Ada Lovelace, type AL");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Interrupts ceremonies of `kind` at each step, and has them go on. `prepare` lays out what they need and gives the name of the file;
/// `check` looks at what is there in the end.
fn at_each_step(steps: usize, prepare: impl Fn(&Hall) -> String, check: impl Fn(&Hall)) {
    for step in 1..=steps {
        let hall = Hall::new();
        let name = prepare(&hall);
        let file = hall.text(&format!("{name}.toml"));
        let text = hall.read(&format!("{name}.toml"));
        hall.write(&format!("{name}.toml"), &text.replacen("[task", &format!("{WITNESSES}[task"), 1));
        kill_before(&hall, &file, step);
        hall.attended(&file).good();
        let verified = hall.verify(&name);
        assert_eq!(verified.code, 0, "killed before step {step}: {}", verified.stderr);
        let runs = hall.transcript(&name)["runs"].as_u64().unwrap();
        assert_eq!(runs, if step > 3 { 2 } else { 1 }, "killed before step {step}");
        check(&hall);
    }
}

/// A root that verifies, and its key alone.
fn is_a_root(hall: &Hall) {
    let root = hall.text("out/athenz.pem");
    let (good, said) = attempt("openssl", &["verify", "-x509_strict", "-CAfile", &root, &root]);
    assert!(good, "{said}");
    assert_eq!(hall.keys(), ["athenz-root"]);
}

#[test]
fn a_root_goes_on_whichever_step_it_is_killed_at() {
    let root = |hall: &Hall| {
        hall.file("athenz-root", "athenz", &root_task("athenz"));
        "athenz-root".to_owned()
    };
    at_each_step(14, root, is_a_root);
}

#[test]
fn a_crl_goes_on_whichever_step_it_is_killed_at_and_takes_one_number() {
    let crl = |hall: &Hall| {
        hall.root("athenz");
        hall.file("crl", "athenz", "[task.crl]\nissuer = \"out/athenz.pem\"\ncrl = \"out/root.crl\"\n");
        "crl".to_owned()
    };
    at_each_step(14, crl, |hall| {
        let (path, issuer) = (hall.text("out/root.crl"), hall.text("out/athenz.pem"));
        let (_, said) = attempt("openssl", &["crl", "-in", &path, "-noout", "-CAfile", &issuer, "-crlnumber"]);
        assert!(said.contains("verify OK") && said.contains("crlNumber=0x01"), "{said}");
    });
}

#[test]
fn a_cross_certificate_goes_on_whichever_step_it_is_killed_at() {
    let prepare = |hall: &Hall| {
        hall.root("athenz");
        hall.root("old");
        cross(hall);
        "cross".to_owned()
    };
    at_each_step(13, prepare, |hall| {
        let (root, made) = (hall.text("out/old.pem"), hall.text("out/cross.pem"));
        let (good, said) = attempt("openssl", &["verify", "-x509_strict", "-CAfile", &root, &made]);
        assert!(good, "{said}");
    });
}

#[test]
fn a_key_and_its_end_go_on_whichever_step_they_are_killed_at() {
    let key =
        "[task.key]\nlabel = \"spare\"\nkind = \"ecdsa-p256\"\ndestroyable = true\npublic-key = \"out/spare.pub\"\n";
    let made = |hall: &Hall| {
        hall.file("spare", "athenz", key);
        "spare".to_owned()
    };
    at_each_step(9, made, |hall| assert_eq!(hall.keys(), ["spare"]));
    let end = |hall: &Hall| {
        hall.run(&hall.file("spare", "athenz", key)).good();
        let transcript = hall.transcript("spare");
        let facts = transcript["steps"][4]["facts"].clone();
        let task = format!("[task.destroy]\nkey = {}\nspki-sha256 = {}\n", facts[1]["value"], facts[2]["value"]);
        hall.file("end", "athenz", &task);
        "end".to_owned()
    };
    at_each_step(8, end, |hall| {
        assert!(hall.keys().is_empty());
        assert_eq!(hall.destroyed(), 1, "the log says so, once");
    });
}

#[test]
fn a_key_that_the_device_destroyed_before_the_program_died_stands_in_the_log_as_destroyed_once() {
    let key =
        "[task.key]\nlabel = \"spare\"\nkind = \"ecdsa-p256\"\ndestroyable = true\npublic-key = \"out/spare.pub\"\n";
    // The private key's object, and its public half.
    for object in [1, 2] {
        let hall = Hall::new();
        hall.run(&hall.file("spare", "athenz", key)).good();
        let facts = hall.transcript("spare")["steps"][4]["facts"].clone();
        let task = format!("[task.destroy]\nkey = {}\nspki-sha256 = {}\n", facts[1]["value"], facts[2]["value"]);
        let end = hall.file_behind_the_device("end", "athenz", &task);
        hall.device.fault(Function::DestroyObject, When::Nth(object), Effect::CrashAfter);
        assert_eq!(hall.run(&end).code, ABORTED, "it is killed");
        hall.device.mend();
        assert_eq!(hall.destroyed(), 0);
        hall.run(&end).good();
        hall.verify("end").good();
        assert_eq!((hall.destroyed(), hall.keys().len()), (1, 0));
    }
}

#[test]
fn a_log_key_goes_on_whichever_step_it_is_killed_at_and_is_drawn_once() {
    let prepare = |hall: &Hall| {
        let file = format!(
            "version = 1\nceremony = \"key-of-a-log\"\n[log]\norigin = \"{ORIGIN}\"\ndirectory = \"log\"\n[task.log-key]\n\
             origin = \"log.hallmark.lab\"\nkey = \"out/log.key\"\npublic-key = \"out/log.vkey\"\n"
        );
        hall.write("key-of-a-log.toml", &file);
        "key-of-a-log".to_owned()
    };
    at_each_step(7, prepare, |hall| {
        let key = SignerKey::parse(hall.read("out/log.key").trim()).unwrap();
        assert_eq!(key.verifier().to_string(), hall.read("out/log.vkey").trim(), "the two files are of one key");
        let transcript = hall.transcript("key-of-a-log");
        let drawn = transcript["steps"].as_array().unwrap().iter().find(|done| done["step"] == "draw").unwrap();
        assert_eq!(drawn["facts"][1]["value"], key.verifier().to_string(), "the transcript is about that key");
    });
}

#[tokio::test]
async fn an_intermediate_goes_on_whichever_step_it_is_killed_at() {
    let (hall, mut world) = (Hall::new(), World::unmade(Where::SoftHsm, &policy()));
    hall.root("athenz");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    world.clocks().leap(i64::try_from(now).unwrap() + 1 - world.clocks().now());
    world.bring_root(der("CERTIFICATE", &hall.read("out/athenz.pem")));
    world.start(true).await.unwrap();
    let request = pem("CERTIFICATE REQUEST", &world.prepare_epoch(0).await.unwrap().certification_request);
    let prepare = |hall: &Hall| {
        hall.root("athenz");
        hall.write("epoch.csr", &request);
        intermediate(hall);
        "intermediate".to_owned()
    };
    at_each_step(13, prepare, |hall| {
        let (root, made) = (hall.text("out/athenz.pem"), hall.text("out/intermediate.pem"));
        let (good, said) = attempt("openssl", &["verify", "-x509_strict", "-CAfile", &root, &made]);
        assert!(good, "{said}");
    });
}

#[test]
fn what_the_device_did_before_the_program_died_is_taken_up() {
    for (function, effect) in [
        (Function::GenerateKeyPair, Effect::Crash),
        (Function::GenerateKeyPair, Effect::CrashAfter),
        (Function::Sign, Effect::Crash),
        (Function::Sign, Effect::CrashAfter),
        (Function::Login, Effect::CrashAfter),
    ] {
        let hall = Hall::new();
        let file = hall.file_behind_the_device("athenz-root", "athenz", &root_task("athenz"));
        hall.device.fault(function, When::Nth(1), effect.clone());
        let came = hall.run(&file);
        assert_eq!(came.code, ABORTED, "{function:?} {effect:?} kills it: {}", came.stderr);
        hall.device.mend();
        hall.run(&file).good();
        hall.verify("athenz-root").good();
        is_a_root(&hall);
    }
}

#[test]
fn two_ceremonies_of_one_log_are_not_held_at_once() {
    let hall = Hall::new();
    let first = hall.file("first", "athenz", &format!("{WITNESSES}{}", root_task("athenz")));
    let mut child = hall.begin(&["run", "--countdown", "0", &first]);
    let (mut stdin, mut stderr) = (child.stdin.take().unwrap(), child.stderr.take().unwrap());
    stdin.write_all("AL\nGH\n".repeat(4).as_bytes()).unwrap();
    await_words(&mut stderr, "Step 5 of 14: ");
    let second = hall.file("second", "old", &root_task("old"));
    hall.run(&second).refused(2, "the log of ceremonies cannot be opened");
    assert!(hall.keys().is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    hall.run(&second).good();
    hall.attended(&first).good();
    assert_eq!(hall.keys(), ["athenz-root", "old-root"]);
    for name in ["first", "second"] {
        hall.verify(name).good();
    }
}
