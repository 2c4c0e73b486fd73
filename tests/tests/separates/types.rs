//! A PIN that stands in no file: it is typed once, or is a credential of the service manager, and reaches every core that is started.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use hallmark_faulty::{Device, Function};
use hallmark_test_token::{PIN, Token};
use hallmark_tests::{
    asking::Asked,
    client::connect,
    daemon::{Daemon, Laboratory, succeed},
    example_policy,
    terminal::{SECRET_PROMPT, Terminal},
};

use crate::recovers::{logged, signal};

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A laboratory whose PIN is at another place than in a file.
fn with_pin(device: &Device, token: &Token, place: &str) -> Laboratory {
    let laboratory = Laboratory::behind(device, token, &example_policy());
    let settings = fs::read_to_string(laboratory.path("signer.toml")).unwrap();
    let other = settings.replacen("{ file = \"pin\" }", place, 1);
    assert_ne!(other, settings, "the example has its PIN in a file");
    fs::write(laboratory.path("signer.toml"), other).unwrap();
    fs::remove_file(laboratory.path("pin")).unwrap();
    laboratory
}

/// The daemon serves, also after its core was killed.
async fn serves_over_the_end_of_a_core(laboratory: &Laboratory, daemon: &Daemon) {
    let mut client = connect(laboratory, daemon).await;
    client.mint_certificate(Asked::sports_api().request()).await.unwrap();
    let core = daemon.core();
    signal("KILL", core);
    client.mint_certificate(Asked::sports_api().request()).await.unwrap();
    assert_ne!(daemon.core(), core);
}

/// Nothing of the PIN is where others look.
fn is_told_nowhere(laboratory: &Laboratory, daemon: &Daemon) {
    for process in [daemon.id(), daemon.core(), daemon.front()] {
        for what in ["cmdline", "environ"] {
            let told = fs::read(format!("/proc/{process}/{what}")).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&told).contains(PIN), "{what}");
        }
    }
    assert!(!logged(laboratory).contains(PIN));
}

fn output(command: &mut Command) -> (Output, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output, told)
}

fn check(laboratory: &Laboratory) -> Command {
    let mut command = laboratory.hallmarkd();
    command.arg("check").arg(laboratory.path("signer.toml"));
    command
}

fn run(laboratory: &Laboratory) -> Command {
    let mut command = laboratory.hallmarkd();
    command.arg("run").arg(laboratory.path("signer.toml"));
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_is_typed_once_without_an_echo_and_every_core_has_it() {
    let (token, device) = (Token::make("typed"), Device::new());
    let laboratory = with_pin(&device, &token, "{ typed = true }");
    let (mut terminal, side) = Terminal::open();
    let mut init = laboratory.init().stdin(side.stdio()).stdout(Stdio::null()).stderr(side.stdio()).spawn().unwrap();
    drop(side);
    assert!(terminal.expect(SECRET_PROMPT).contains(&format!("PIN of token `{}` ", token.label())));
    terminal.type_line(PIN);
    assert!(init.wait().unwrap().success());
    assert!(!terminal.end().contains(PIN), "it is shown to nobody");

    let (mut terminal, side) = Terminal::open();
    let child = laboratory.run(&[], side.stdio());
    let began = Instant::now();
    while !logged(&laboratory).contains(SECRET_PROMPT) {
        assert!(began.elapsed() < PATIENCE, "{}", logged(&laboratory));
        thread::sleep(Duration::from_millis(10));
    }
    terminal.type_line(PIN);
    let daemon = laboratory.ready(child);
    serves_over_the_end_of_a_core(&laboratory, &daemon).await;
    assert_eq!(logged(&laboratory).matches(SECRET_PROMPT).count(), 1, "it is asked for once");
    is_told_nowhere(&laboratory, &daemon);
    assert!(daemon.terminate());
    drop(side);
    assert!(!terminal.end().contains(PIN), "it is shown to nobody");
}

#[test]
fn a_pin_that_is_to_be_typed_is_refused_without_a_terminal_and_nobody_logs_in() {
    let (token, device) = (Token::make("typed"), Device::new());
    let laboratory = with_pin(&device, &token, "{ typed = true }");
    for mut command in [laboratory.init(), run(&laboratory)] {
        let (ended, told) = output(&mut command);
        assert_eq!(ended.status.code(), Some(1), "{told}");
        assert!(told.contains("the PIN is to be typed at the start, and standard input is no terminal"), "{told}");
        assert!(told.contains("hint: start this in a terminal"), "{told}");
    }
    assert_eq!(device.calls(Function::Login), 0);
    let (ended, told) = output(&mut check(&laboratory));
    assert!(ended.status.success(), "{told}");
    assert!(told.contains("The PIN comes from whoever starts the daemon, and types it once."), "{told}");
}

/// A directory of credentials, as the service manager makes it for a unit of root's.
fn credentials(laboratory: &Laboratory, mode: u32) -> PathBuf {
    let directory = laboratory.path("credentials");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("hallmark.pin"), format!("{PIN}\n")).unwrap();
    fs::set_permissions(directory.join("hallmark.pin"), fs::Permissions::from_mode(mode)).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    directory
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_that_is_a_credential_of_the_service_manager_reaches_every_core() {
    let (token, device) = (Token::make("credential"), Device::new());
    let laboratory = with_pin(&device, &token, "{ credential = \"hallmark.pin\" }");
    let (ended, told) = output(&mut check(&laboratory));
    assert!(ended.status.success() && told.contains("so that it was not looked at"), "{told}");
    let (ended, told) = output(&mut laboratory.init());
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(told.contains("hint: `LoadCredential=hallmark.pin:FILE` in the unit"), "{told}");

    let directory = credentials(&laboratory, 0o400);
    succeed(laboratory.init().env("CREDENTIALS_DIRECTORY", &directory));
    let mut command = run(&laboratory);
    command.env("CREDENTIALS_DIRECTORY", &directory).arg("--ready-file").arg(laboratory.path("address"));
    let log = File::create(laboratory.path("hallmarkd.log")).unwrap();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let daemon = laboratory.ready(child);
    serves_over_the_end_of_a_core(&laboratory, &daemon).await;
    is_told_nowhere(&laboratory, &daemon);
    assert!(daemon.terminate());
}

#[test]
fn a_credential_that_others_can_read_is_refused_and_nobody_logs_in() {
    let (token, device) = (Token::make("credential"), Device::new());
    let laboratory = with_pin(&device, &token, "{ credential = \"hallmark.pin\" }");
    let directory = credentials(&laboratory, 0o444);
    for mut command in [laboratory.init(), run(&laboratory), check(&laboratory)] {
        let (ended, told) = output(command.env("CREDENTIALS_DIRECTORY", &directory));
        assert_eq!(ended.status.code(), Some(1), "{told}");
        assert!(told.contains("can be read by others (mode 0444)"), "{told}");
        assert!(!told.contains(PIN), "{told}");
    }
    assert_eq!(device.calls(Function::Login), 0);
}
