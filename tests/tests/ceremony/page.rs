//! docs/ceremony.md, with every file and every command in it.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use hallmark_test_token::{PIN, Token};
use hallmark_tests::daemon::program;

/// What stands for the serial number of the token, and of another one.
const SERIAL: &str = "0d1e4f2a9b3c5d77";
const OTHER_SERIAL: &str = "5e2a71c09d44b8f6";

/// The policy that the page speaks of.
const POLICY: &str = "version = 1\n[authority.mesh]\ncrl = { lifetime = \"90d\", refresh = \"30d\" }\n[authority.mesh.root]\n\
                      common-name = \"Mesh Root CA\"\norganization = \"Example\"\nlifetime = \"3650d\"\nkey = \"ecdsa-p384\"\n\
                      offline = true\npath-length = 2\n[authority.mesh.epoch]\ncommon-name = \"Mesh Issuing CA\"\n\
                      organization = \"Example\"\nlifetime = \"365d\"\nkey = \"ecdsa-p256\"\n";

#[test]
fn every_file_and_command_of_the_page_does_what_the_page_says() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ceremony.md")).unwrap();
    let directory = tempfile::TempDir::new().unwrap();
    let token = Token::make_labelled("hallmark-roots");
    let other = Token::make_labelled("hallmark-roots-2");
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write("policy.toml", POLICY);
    write("pin", PIN);
    let (mut files, mut script, mut expected) = (0, "set -eu\nexec 2>&1\n".to_owned(), Vec::new());
    for block in page.split("\n```").skip(1).step_by(2) {
        let (kind, text) = block.split_once('\n').unwrap();
        match kind {
            "toml" => {
                let name = text.lines().next().unwrap().strip_prefix("# ").unwrap();
                assert!(text.contains(SERIAL) || text.contains(OTHER_SERIAL));
                write(name, &text.replace(SERIAL, token.serial()).replace(OTHER_SERIAL, other.serial()));
                files += 1;
            }
            "console" => {
                for line in text.lines() {
                    match line.strip_prefix("$ ") {
                        Some(command) => script.push_str(&format!("{command}\n")),
                        None => expected.push(line.trim_end().to_owned()),
                    }
                }
            }
            other => panic!("a block of `{other}`"),
        }
    }
    assert!(files >= 2 && expected.len() > 20, "the page has lost its examples");
    // SoftHSM's configuration of the tests is relative to where tests run.
    let programs = program("hallmark").parent().unwrap().to_owned();
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(directory.path())
        .env("PATH", format!("{}:{}", programs.display(), std::env::var("PATH").unwrap()))
        .env("SOFTHSM2_CONF", absolute_configuration(directory.path()))
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    let mut lines = said.lines().map(str::trim_end);
    for wanted in &expected {
        assert!(lines.any(|line| matches(line, wanted)), "`{wanted}` is missing, or out of order, in\n{said}");
    }
}

/// The tests' configuration with the directory of its tokens in full.
fn absolute_configuration(directory: &Path) -> std::path::PathBuf {
    let text = fs::read_to_string(std::env::var("SOFTHSM2_CONF").unwrap()).unwrap();
    let tokens = Path::new("../target/softhsm-tokens").canonicalize().unwrap();
    let path = directory.join("softhsm2.conf");
    fs::write(&path, text.replace("../target/softhsm-tokens", tokens.to_str().unwrap())).unwrap();
    path
}

/// Whether a line is the expected one; `…` stands for anything.
fn matches(line: &str, wanted: &str) -> bool {
    match wanted.split_once('…') {
        None => line == wanted,
        Some((before, after)) => line.strip_prefix(before).is_some_and(|rest| rest.ends_with(after.trim_end())),
    }
}
