//! What is refused before anything is made: every mistake at its line, and everything that the file names.

use hallmark_faulty::Function;

use crate::hall::{Hall, policy, root_task};

/// Changes a good file, and says what stands against it.
fn against(hall: &Hall, from: &str, to: &str) -> String {
    hall.file("athenz-root", "athenz", &root_task("athenz"));
    let good = hall.read("athenz-root.toml");
    assert!(good.contains(from), "{from} is not in {good}");
    hall.write("bad.toml", &good.replacen(from, to, 1));
    let came = hall.ceremony(&["plan", &hall.text("bad.toml")]);
    assert_ne!(came.code, 0, "{to}: {}", came.stderr);
    assert!(came.stderr.contains("hint: "), "{}", came.stderr);
    came.stderr
}

#[test]
fn every_misspelling_of_the_file_is_told_at_its_line() {
    let hall = Hall::new();
    for (from, to, said) in [
        ("version = 1", "version = 2", "line 1: `version` is 2; this program reads version 1"),
        ("ceremony = \"athenz-root\"", "ceremony = \"a b\"", "line 2: `ceremony` has 1 to 64 letters"),
        ("ceremony = ", "ceremonie = ", "line 2: there is no setting `ceremonie` here; did you mean `ceremony`?"),
        (
            "authority = \"athenz\"",
            "autority = \"athenz\"",
            "line 5: [policy] there is no setting `autority` here; did you mean `authority`?",
        ),
        ("serial = ", "sreial = ", "did you mean `serial`?"),
        ("[task.root]", "[task.rooot]", "unknown variant `rooot`"),
        ("origin = \"", "origin = \"a b+", "[log] `origin`: a key name has 1 to 255 bytes without spaces"),
        ("label = \"athenz-root\"", "label = \"../x\"", "`../x`: a key's label has 1 to 128 of a-z A-Z 0-9"),
        (
            "certificate = \"out/athenz.pem\"",
            "certificate = \"athenz-root.transcript.json\"",
            "the transcript would be written over another file",
        ),
        (
            "label = \"athenz-root\"",
            "label = \"athenz-root\"\nnot-before = \"2026-13-01T00:00:00Z\"",
            "`2026-13-01T00:00:00Z` is no point in time",
        ),
        (
            "[task.root]",
            "[[witness]]\nname = \"Ada\"\ninitials = \"a\"\n[task.root]",
            "the initials `a` are not 2 to 4 capital letters",
        ),
        (
            "[task.root]",
            "[[witness]]\nname = \"Ada\"\ninitials = \"AL\"\n[[witness]]\nname = \"Al\"\ninitials = \"AL\"\n[task.root]",
            "the initials `AL` are those of two witnesses",
        ),
        (
            "[task.root]",
            "[[witness]]\nname = \"Ada\"\ninitials = \"AL\"\nssh-key = \"ssh-ed25519 AAAA\"\n[task.root]",
            "the key of `Ada`: it is no public SSH key",
        ),
        ("[device]", "[devise]", "there is no setting `devise` here; did you mean `device`?"),
    ] {
        let told = against(&hall, from, to);
        assert!(told.contains(said), "{said}\nis not in\n{told}");
    }
    assert!(hall.keys().is_empty() && !hall.path("log").exists());
}

#[test]
fn mistakes_are_json_for_programs() {
    let hall = Hall::new();
    hall.write("bad.toml", "version = 1\n");
    let came = hall.ceremony(&["plan", "--json", &hall.text("bad.toml")]);
    let told = came.json();
    assert_eq!((came.code, told["result"].as_str()), (1, Some("error")));
    assert!(told["details"].as_array().is_some_and(|details| !details.is_empty()), "{told}");
}

#[test]
fn what_the_file_names_is_looked_at_before_anything_is_made() {
    let hall = Hall::new();
    let serial = format!("serial = \"{}\"", hall.token.serial());
    for (from, to, said) in [
        ("policy.toml", "no-policy.toml", "no-policy.toml` cannot be read"),
        ("authority = \"athenz\"", "authority = \"none\"", "has no authority `none`"),
        ("/usr/lib/softhsm/libsofthsm2.so", "/nowhere.so", "the PKCS#11 module `/nowhere.so` cannot be used"),
        (serial.as_str(), "serial = \"0000\"", "no token `"),
        (
            "pin-file = ",
            "firmware = \"9.9\"\npin-file = ",
            "the token's firmware version is 2.6, and the file says 9.9",
        ),
        ("out/athenz.pem", "nowhere/athenz.pem", "its directory is not there"),
        ("out/athenz.pem", "policy.toml", "the certificate `"),
    ] {
        let told = against(&hall, from, to);
        assert!(told.contains(said), "{said}\nis not in\n{told}");
    }
    hall.write("policy.toml", &policy().replacen("key = ", "kye = ", 1));
    let told = against(&hall, "version", "version");
    assert!(told.contains("there is no setting `kye` here"), "{told}");
    assert!(hall.keys().is_empty() && !hall.path("log").exists());
}

#[test]
fn a_label_that_is_taken_is_never_used_whoever_has_it() {
    let hall = Hall::new();
    hall.token.make_key("athenz-root");
    let file = hall.file("athenz-root", "athenz", &root_task("athenz"));
    for command in ["plan", "run"] {
        let arguments: &[&str] = if command == "run" { &["run", "--unattended", &file] } else { &["plan", &file] };
        hall.ceremony(arguments).refused(1, "the token has an object called `athenz-root` already");
    }
    assert_eq!(hall.keys(), ["athenz-root"]);
}

#[test]
fn a_root_is_made_once_in_a_log_and_an_output_is_never_written_over() {
    let hall = Hall::new();
    hall.root("athenz");
    let again = hall.file("again", "athenz", "[task.root]\nlabel = \"other\"\ncertificate = \"out/other.pem\"\n");
    hall.run(&again).refused(1, "has a root of `athenz` already");
    assert_eq!(hall.keys(), ["athenz-root"]);
    let over = hall.file("over", "old", "[task.root]\nlabel = \"old-root\"\ncertificate = \"out/athenz.pem\"\n");
    hall.run(&over).refused(2, "out/athenz.pem` is there already");
    hall.write("athenz-root.toml", &format!("{}# another file\n", hall.read("athenz-root.toml")));
    hall.run(&hall.text("athenz-root.toml")).refused(1, "the ceremony `athenz-root` was begun with another file");
    assert_eq!(hall.keys(), ["athenz-root"]);
}

#[test]
fn an_issuer_that_is_none_or_too_short_lived_signs_nothing() {
    let hall = Hall::new();
    hall.root("athenz");
    hall.root("old");
    let cross = |issuer: &str, subject: &str, lifetime: &str| {
        hall.file(
            "cross",
            "old",
            &format!(
                "[task.cross-certificate]\nissuer = \"out/{issuer}.pem\"\nsubject-authority = \"athenz\"\n\
                 subject = \"out/{subject}.pem\"\nlifetime = \"{lifetime}\"\ncertificate = \"out/cross.pem\"\n"
            ),
        )
    };
    for (issuer, subject, lifetime, said) in [
        ("athenz", "athenz", "700d", "it is not signed with ecdsa-sha384, as the policy describes the root"),
        ("old", "old", "700d", "it is not signed with ecdsa-sha256, as the policy describes the root"),
        ("old", "athenz", "8000d", "which is too short"),
        ("old", "athenz", "5000d", "before the cross-certificate would"),
        ("none", "athenz", "700d", "none.pem` cannot be read"),
    ] {
        let came = hall.ceremony(&["plan", &cross(issuer, subject, lifetime)]);
        assert!(came.code != 0 && came.stderr.contains(said), "{said}\nis not in\n{}", came.stderr);
    }
    hall.write("out/none.pem", &hall.read("out/old.pem").replace('M', "N"));
    let came = hall.ceremony(&["plan", &cross("none", "athenz", "700d")]);
    assert!(came.code != 0, "{}", came.stderr);
    // A root of the same name and another key is not the one in the log.
    let other = Hall::new();
    other.root("old");
    hall.write("out/other.pem", &other.read("out/old.pem"));
    hall.run(&cross("other", "athenz", "700d")).refused(1, "is not the certificate of the root in the log");
    // Nor does another log know it.
    let elsewhere = hall.read("cross.toml").replace("directory = \"log\"", "directory = \"other-log\"");
    hall.write("elsewhere.toml", &elsewhere.replace("ceremony = \"cross\"", "ceremony = \"elsewhere\""));
    hall.run(&hall.text("elsewhere.toml")).refused(1, "has no root of `old` that was made in a ceremony");
    assert!(!hall.path("out/cross.pem").exists());
}

#[test]
fn a_request_that_no_signer_made_for_its_own_key_is_not_signed() {
    let hall = Hall::new();
    hall.root("athenz");
    let csr = hall.text("epoch.csr");
    hallmark_tests::tools::run(
        "openssl",
        &[
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-noenc",
            "-subj",
            "/O=Hallmark Lab/CN=Athenz Lab Issuing CA",
            "-keyout",
            &hall.text("epoch.key"),
            "-out",
            &csr,
        ],
    );
    let file = crate::makes::intermediate(&hall);
    hall.run(&file).refused(1, "the request names no epoch");
}

#[test]
fn without_softhsm_nothing_is_rehearsed_and_nothing_is_touched() {
    let hall = Hall::new();
    let rest = format!("[rehearsal]\nmodule = \"/nowhere.so\"\n{}", root_task("athenz"));
    let file = hall.file("athenz-root", "athenz", &rest);
    hall.run(&file).refused(1, "the rehearsal failed: the PKCS#11 module `/nowhere.so` cannot be used");
    assert!(hall.keys().is_empty() && !hall.path("log").exists());
}

#[test]
fn a_root_whose_kind_the_token_does_not_make_is_refused_and_nothing_is_touched() {
    let hall = Hall::new();
    let policy = hall.read("policy.toml");
    assert!(policy.contains("key = \"ecdsa-p256\""), "{policy}");
    hall.write("policy.toml", &policy.replacen("key = \"ecdsa-p256\"", "key = \"ml-dsa-65\"", 2));
    let file = hall.file_behind_the_device("athenz-root", "athenz", &root_task("athenz"));
    hall.run(&file).refused(1, "the token cannot be used: it makes no keys of kind ml-dsa-65");
    assert_eq!(hall.device.calls(Function::GenerateKeyPair), 0);
    assert!(hall.keys().is_empty() && !hall.path("out/athenz.pem").exists());
}
