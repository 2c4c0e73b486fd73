//! docs/epochs.md, docs/instances.md, docs/compromise.md and docs/backup.md, with every command in them executed in laboratories.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use hallmark_tests::{
    by_manifest::Mesh,
    daemon::{Daemon, Laboratory, program},
    instances,
};

/// The section whose commands are for an authority that rotates by age.
const BY_AGE: &str = "By age";

/// What stands for text that differs.
const DIFFERS: char = '…';

/// What is printed between two blocks.
const BETWEEN: &str = "@@ the next block @@";

/// A block of commands, with lines that are expected in what they say.
#[derive(Debug, Default)]
struct Block {
    /// Where it begins in the page, from 1.
    line: usize,
    commands: String,
    expected: Vec<String>,
}

#[test]
fn every_command_of_the_page_about_epochs_does_what_the_page_says() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/epochs.md")).unwrap();
    let (by_manifest, by_age) = blocks(&page);
    assert!(by_manifest.len() > 5 && by_age.len() > 2, "the page has lost its examples");

    let mesh = Mesh::new();
    let daemon = mesh.laboratory().start();
    hold(&by_manifest, mesh.laboratory(), &daemon);
    let laboratory = Laboratory::new();
    let daemon = laboratory.start();
    hold(&by_age, &laboratory, &daemon);
}

#[test]
fn every_command_of_the_page_about_instances_does_what_the_page_says() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/instances.md")).unwrap();
    let (blocks, _) = blocks(&page);
    assert!(blocks.len() > 3, "the page has lost its examples");
    let laboratory = Laboratory::with_policy(|policy| instances::keeping(&policy, ""));
    let daemon = laboratory.start();
    hold(&blocks, &laboratory, &daemon);
}

#[test]
fn every_command_of_the_page_about_compromise_does_what_the_page_says() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/compromise.md")).unwrap();
    let (blocks, _) = blocks(&page);
    assert!(blocks.len() > 4, "the page has lost its examples");
    let crl = "[authority.athenz]\ncrl = { lifetime = \"7d\", refresh = \"1d\" }\n\n[authority.athenz.root]";
    let laboratory = Laboratory::with_policy(|policy| policy.replacen("[authority.athenz.root]", crl, 1));
    let daemon = laboratory.start();
    hold(&blocks, &laboratory, &daemon);
}

/// A service manager with one unit, for the page about backups, where the daemon ends and starts again.
const SYSTEMCTL: &str = r#"#!/bin/sh
set -eu
cd "$LABORATORY"
client() { printf 'signer = "https://%s"\nca = "server-ca.pem"\ncert = "%s.pem"\nkey = "%s.key"\n' "$1" "$2" "$2"; }
gone() { while kill -0 "$(cat daemon.pid)" 2>/dev/null; do sleep 0.02; done; }
case "$1" in
start)
    rm -f address
    hallmarkd run signer.toml --ready-file address >/dev/null 2>hallmarkd.log </dev/null &
    echo $! >daemon.pid
    until [ -e address ] && [ "$(wc -l <address)" = 2 ]; do
        kill -0 "$(cat daemon.pid)" || { cat hallmarkd.log; exit 1; }
        sleep 0.02
    done
    client "$(sed -n 1p address)" coordinator >client.toml
    client "$(sed -n 2p address)" operator >operator.toml ;;
stop) kill -TERM "$(cat daemon.pid)"; gone ;;
kill) kill -KILL "$(cat daemon.pid)"; gone ;;
esac
"#;

#[test]
fn every_command_of_the_page_about_backups_does_what_the_page_says() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/backup.md")).unwrap();
    let (blocks, _) = blocks(&page);
    assert!(blocks.len() > 7, "the page has lost its examples");
    let laboratory = Laboratory::new();
    fs::create_dir(laboratory.path("bin")).unwrap();
    let systemctl = laboratory.path("bin/systemctl");
    fs::write(&systemctl, SYSTEMCTL).unwrap();
    fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
    let begin = Block { commands: "systemctl start hallmarkd\n".to_owned(), ..Block::default() };
    // Whatever fails, no daemon stays.
    let trap = "trap 'kill -KILL $(cat daemon.pid) 2>/dev/null || true' EXIT\n".to_owned();
    let begin = Block { commands: trap + &begin.commands, ..begin };
    let blocks: Vec<_> = [begin].into_iter().chain(blocks).collect();
    compare(&blocks, &execute(&blocks, &laboratory));
}

/// The blocks of the page: of an authority that rotates by manifest, and of one that rotates by age.
fn blocks(page: &str) -> (Vec<Block>, Vec<Block>) {
    let (mut by_manifest, mut by_age) = (Vec::new(), Vec::new());
    let (mut section, mut block) = ("", None);
    for (number, line) in page.lines().enumerate() {
        match (&mut block, line) {
            (None, "```console") => block = Some(Block { line: number + 1, ..Block::default() }),
            (None, _) => section = line.strip_prefix("## ").unwrap_or(section),
            (Some(_), "```") => {
                let blocks = if section == BY_AGE { &mut by_age } else { &mut by_manifest };
                blocks.extend(block.take());
            }
            (Some(block), _) => match line.strip_prefix("$ ").or_else(|| line.strip_prefix("> ")) {
                Some(command) => writeln!(block.commands, "{command}").unwrap(),
                None => block.expected.push(line.to_owned()),
            },
        }
    }
    (by_manifest, by_age)
}

/// Runs the blocks one after the other in one shell, and holds what they say against the page.
fn hold(blocks: &[Block], laboratory: &Laboratory, daemon: &Daemon) {
    compare(blocks, &run(blocks, laboratory, daemon));
}

/// Holds what was said against the page.
fn compare(blocks: &[Block], said: &str) {
    let mut parts = said.split(BETWEEN);
    for block in blocks {
        let said = parts.next().unwrap_or_else(|| panic!("the commands end before line {}", block.line));
        let mut lines = said.lines();
        for expected in &block.expected {
            assert!(
                lines.any(|line| matches(line, expected)),
                "block at line {}: `{expected}` is missing in\n{said}",
                block.line
            );
        }
    }
    assert_eq!(parts.count(), 1, "the last block ran to its end:\n{said}");
}

fn run(blocks: &[Block], laboratory: &Laboratory, daemon: &Daemon) -> String {
    let client = |signer: &str, who: &str| {
        format!("signer = \"https://{signer}\"\nca = \"server-ca.pem\"\ncert = \"{who}.pem\"\nkey = \"{who}.key\"\n")
    };
    fs::write(laboratory.path("client.toml"), client(daemon.address(), "coordinator")).unwrap();
    fs::write(laboratory.path("operator.toml"), client(daemon.operators(), "operator")).unwrap();
    execute(blocks, laboratory)
}

/// Runs the blocks in one shell. What is in `bin` of the laboratory stands for the machine's own.
fn execute(blocks: &[Block], laboratory: &Laboratory) -> String {
    let mut script = "set -eu\nexec 2>&1\n".to_owned();
    for block in blocks {
        writeln!(script, "{}echo '{BETWEEN}'", block.commands).unwrap();
    }
    let programs = program("hallmark").parent().unwrap().to_owned();
    let (own, path) = (laboratory.path("bin"), std::env::var("PATH").unwrap());
    let path = format!("{}:{}:{path}", own.display(), programs.display());
    // As for the programs that the laboratory starts itself: its token, and where doors are.
    let hallmarkd = laboratory.hallmarkd();
    let own = hallmarkd.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(laboratory.path("."))
        .envs(own)
        .env("LABORATORY", laboratory.path("."))
        .env("PATH", path)
        .env("HALLMARK_CONFIG", "client.toml")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Whether a line is the expected one, text that differs left out.
fn matches(line: &str, expected: &str) -> bool {
    let mut parts = expected.split(DIFFERS);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    false
}

#[test]
fn lines_with_a_gap_stand_for_many_and_others_for_themselves() {
    assert!(matches("a b c", "a b c") && matches("a b c", "a…c") && matches("a b c", "a…") && matches("a b c", "…b…"));
    assert!(!matches("a b c", "a b") && !matches("a b c", "…b") && !matches("a b c", "b…") && !matches("ab", "a…bb"));
}

#[test]
fn the_units_are_such_as_systemd_takes_without_a_word() {
    let directory = tempfile::tempdir().unwrap();
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/systemd");
    let mut verify = Command::new("systemd-analyze");
    verify.arg("verify").env("SYSTEMD_UNIT_PATH", format!("{}:", directory.path().display()));
    let mut count = 0;
    for unit in fs::read_dir(units).unwrap() {
        let unit = unit.unwrap();
        let text = fs::read_to_string(unit.path()).unwrap();
        let runs = text.contains("[Service]");
        assert_eq!(runs, text.contains("\nCPUSchedulingPolicy=batch\n"), "{}", unit.path().display());
        let here = program("hallmarkd").display().to_string();
        let path = directory.path().join(unit.file_name());
        fs::write(&path, text.replace("/usr/bin/hallmarkd", &here)).unwrap();
        verify.arg(path);
        count += 1;
    }
    assert!(count > 5, "the units are elsewhere");
    let output = verify.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // It looks at the units of the machine, too.
    let of_ours: Vec<_> = said.lines().filter(|line| line.contains("hallmark")).collect();
    assert!(output.status.success() && of_ours.is_empty(), "{said}");
}

#[test]
fn the_package_makes_every_user_and_directory_that_the_units_name() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let names = |path: &str| -> Vec<String> {
        let text = fs::read_to_string(root.join(path)).unwrap();
        text.lines().filter_map(|line| line.split_whitespace().nth(1).map(str::to_owned)).collect()
    };
    let (users, directories) = (names("packaging/hallmark.sysusers"), names("packaging/hallmark.tmpfiles"));
    let mut count = 0;
    for unit in fs::read_dir(root.join("examples/systemd")).unwrap() {
        let text = fs::read_to_string(unit.unwrap().path()).unwrap();
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let made = match key {
                "User" | "Group" | "SocketUser" => &users,
                "ReadWritePaths" => &directories,
                _ => continue,
            };
            for name in value.split_whitespace().map(|name| name.trim_start_matches('-')) {
                assert!(made.iter().any(|made| made == name), "`{name}` of {key}= is not made");
                count += 1;
            }
        }
    }
    assert!(count > 10, "the units name their users otherwise");
}
