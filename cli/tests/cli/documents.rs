//! Help, completions and manual pages.

use std::fs;

use crate::support::World;
use insta::assert_snapshot;

#[test]
fn help_says_what_there_is() {
    let world = World::new();
    for command in [
        "",
        "mint",
        "chain",
        "rotate",
        "epochs",
        "epochs show",
        "epoch",
        "epoch list",
        "epoch prepare",
        "epoch activate",
        "epoch abort",
        "epoch revoke",
        "epoch bring",
        "verify-chain",
        "health",
        "log",
        "log verify",
        "log show",
        "log receipt",
        "log prove",
        "log query",
        "log range",
        "log reconcile",
        "log stats",
        "log export",
        "name",
        "name list",
        "name release",
        "policy",
        "policy apply",
        "policy check",
        "policy explain",
        "policy status",
        "policy test",
        "backup",
        "status",
        "ceremony",
        "ceremony plan",
        "ceremony rehearse",
        "ceremony report",
        "ceremony run",
        "ceremony verify",
        "doctor",
        "completions",
        "man",
    ] {
        let words: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let run = world.run(words);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""));
        assert_snapshot!(format!("help {command}").trim_end().replace(' ', "_"), run.stdout);
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    let world = World::new();
    for wrong in [
        &["no-such-command"][..],
        &["mint", "--profile", "p"],
        &["mint", "--profile", "p", "--csr", "a", "--spki", "b"],
        &["mint", "--profile", "p", "--csr", "a", "--dns", "x"],
        &["mint", "--profile", "p", "--csr", "a", "--lifetime", "1 month"],
        &["mint", "--profile", "p", "--csr", "a", "--transition", "abc"],
        &["chain", "--generation", "1", "--transition", "00"],
        &["name", "list", "--limit", "1001"],
        &["name", "release", "a-b", "--name", "a.b"],
        &["rotate", "--manifest", "m"],
        &["rotate", "--manifest", "m", "--owner-key", "k", "--owner-signature", "s", "--owner-public-key", "p"],
        &["rotate", "--manifest", "m", "--owner-signature", "s"],
        &["rotate", "--manifest", "m", "--owner-key", "k", "--genesis", "--expected", "00"],
        &["epochs", "--watch", "--limit", "3"],
        &["epochs", "--limit", "0"],
        &["epochs", "show", "0"],
        &["epoch", "activate"],
        &["ceremony", "run"],
        &["ceremony", "run", "f", "--countdown", "61"],
        &["ceremony", "run", "f", "--unattended", "--large"],
        &["ceremony", "verify", "t"],
        &["epoch", "abort", "3"],
        &["verify-chain", "--root", "r", "--manifest", "m"],
        &["verify-chain", "--root", "r", "--bundle", "b"],
        &["verify-chain", "--root", "r", "--bundle", "b", "--generations", "1"],
        &["verify-chain", "--root", "r", "--bundle", "b", "--manifest", "m", "--intermediate", "i", "--mesh-ca", "m"],
    ] {
        let run = world.run(wrong);
        assert_eq!(run.code, 2, "{wrong:?}: {}", run.stderr);
        assert!(run.stderr.starts_with("error: "), "{}", run.stderr);
    }
}

#[test]
fn completions_name_the_commands() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish"] {
        let run = world.run(["completions", shell]);
        assert_eq!(run.code, 0);
        assert!(run.stdout.contains("validate-only"), "{shell}");
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let world = World::new();
    let run = world.run(["man"]);
    assert!(run.stdout.contains(".TH hallmark 1"), "{}", run.stdout);
    assert!(run.stdout.contains("Exit codes"), "{}", run.stdout);
    assert_eq!(world.run(["man", "pages"]).code, 0);
    let mut names: Vec<String> = fs::read_dir(world.path("pages"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected = [
        "hallmark-authority-freeze.1",
        "hallmark-authority-resume.1",
        "hallmark-authority-thaw.1",
        "hallmark-authority.1",
        "hallmark-backup.1",
        "hallmark-ceremony-plan.1",
        "hallmark-ceremony-rehearse.1",
        "hallmark-ceremony-report.1",
        "hallmark-ceremony-run.1",
        "hallmark-ceremony-verify.1",
        "hallmark-ceremony.1",
        "hallmark-certificate-find.1",
        "hallmark-certificate-revoke.1",
        "hallmark-certificate.1",
        "hallmark-chain.1",
        "hallmark-completions.1",
        "hallmark-doctor.1",
        "hallmark-epoch-abort.1",
        "hallmark-epoch-activate.1",
        "hallmark-epoch-bring.1",
        "hallmark-epoch-list.1",
        "hallmark-epoch-prepare.1",
        "hallmark-epoch-revoke.1",
        "hallmark-epoch.1",
        "hallmark-epochs-show.1",
        "hallmark-epochs.1",
        "hallmark-health.1",
        "hallmark-instance-allow.1",
        "hallmark-instance-list.1",
        "hallmark-instance-revoke.1",
        "hallmark-instance-show.1",
        "hallmark-instance.1",
        "hallmark-log-export.1",
        "hallmark-log-prove.1",
        "hallmark-log-query.1",
        "hallmark-log-range.1",
        "hallmark-log-receipt.1",
        "hallmark-log-reconcile.1",
        "hallmark-log-show.1",
        "hallmark-log-stats.1",
        "hallmark-log-verify.1",
        "hallmark-log.1",
        "hallmark-man.1",
        "hallmark-metrics.1",
        "hallmark-mint.1",
        "hallmark-name-list.1",
        "hallmark-name-release.1",
        "hallmark-name.1",
        "hallmark-policy-apply.1",
        "hallmark-policy-check.1",
        "hallmark-policy-explain.1",
        "hallmark-policy-status.1",
        "hallmark-policy-test.1",
        "hallmark-policy.1",
        "hallmark-rotate.1",
        "hallmark-status.1",
        "hallmark-verify-chain.1",
        "hallmark.1",
    ];
    assert_eq!(names, expected);
    assert!(world.read("pages/hallmark-mint.1").contains("validate"));
}
