//! `hallmark status`, before a terminal and elsewhere, beside the real daemon.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
};

use hallmark_tests::{
    daemon::{Daemon, Laboratory, succeed},
    terminal::{Side, Terminal},
};
use serde_json::Value;

const ENTER: &str = "\u{1b}[?1049h";
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";
const HOME: &str = "\u{1b}[H";

fn status(laboratory: &Laboratory, daemon: &Daemon, options: &[&str]) -> Command {
    let mut command = laboratory.hallmark_operator(daemon);
    command.arg("status").args(options).env("TERM", "xterm").env_remove("NO_COLOR");
    command
}

fn in_terminal(laboratory: &Laboratory, daemon: &Daemon, side: &Side) -> Child {
    let mut command = status(laboratory, daemon, &["--watch", "--interval", "1"]);
    command.stdin(side.stdio()).stdout(side.stdio()).stderr(side.stdio()).spawn().unwrap()
}

fn mint(laboratory: &Laboratory, daemon: &Daemon, name: &str) {
    let _certificate = laboratory.mint(daemon, name, &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
}

fn signal(child: &Child, signal: &str) {
    succeed(Command::new("kill").args([signal, &child.id().to_string()]));
}

/// Text as it is seen: without escape sequences.
fn seen(text: &str) -> String {
    let mut pieces = text.split('\u{1b}');
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| {
        text + piece.split_once(|letter: char| letter.is_ascii_alphabetic()).map_or("", |(_, rest)| rest)
    })
}

#[test]
fn before_a_terminal_it_is_renewed_in_place_and_the_terminal_is_as_before_when_it_ends() {
    let laboratory = Laboratory::new();
    let daemon = laboratory.start();
    for ending in ["q", "\u{3}", "TERM"] {
        let (mut terminal, side) = Terminal::open();
        terminal.resize(100, 30);
        let before = side.modes();
        let mut child = in_terminal(&laboratory, &daemon, &side);
        let first = terminal.expect("q ends it").to_owned();
        assert!(first.contains(ENTER) && seen(&first).contains("serving: "), "{first}");
        assert!(seen(&first).contains("athenz"), "{first}");
        assert_ne!(side.modes(), before, "keys are not echoed");
        if ending == "q" {
            mint(&laboratory, &daemon, "api");
            terminal.expect("1 (");
        }
        terminal.expect(HOME);
        match ending {
            "TERM" => signal(&child, "-TERM"),
            key => terminal.type_line(key),
        }
        assert_eq!(child.wait().unwrap().code(), Some(0), "{ending:?}");
        assert_eq!(side.modes(), before, "{ending:?}");
        drop(side);
        assert!(terminal.end().ends_with(LEAVE), "{ending:?}");
    }
}

#[test]
fn a_small_terminal_gets_no_line_that_does_not_fit() {
    let laboratory = Laboratory::new();
    let daemon = laboratory.start();
    let (mut terminal, side) = Terminal::open();
    terminal.resize(30, 8);
    let mut child = in_terminal(&laboratory, &daemon, &side);
    terminal.expect("q ends it");
    // It looks again how large it is.
    terminal.resize(12, 3);
    terminal.expect(HOME);
    terminal.expect("q ends it");
    terminal.type_line("q");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    drop(side);
    // The terminal of the tests takes bytes for letters.
    let said = terminal.end().replace("\u{e2}\u{80}\u{a6}", "…").replace('\r', "");
    let screens: Vec<_> = said.split(HOME).skip(1).map(seen).collect();
    let is_within = |screen: &str, columns: usize, rows: usize| {
        screen.split('\n').count() <= rows && screen.split('\n').all(|line| line.chars().count() <= columns)
    };
    assert!(screens.len() >= 2, "{screens:?}");
    assert!(is_within(&screens[0], 30, 8), "{}", screens[0]);
    assert!(screens.iter().any(|screen| is_within(screen, 12, 3)), "{screens:?}");
}

#[test]
fn elsewhere_it_is_one_block_after_the_other_without_any_escape_sequence() {
    let laboratory = Laboratory::new();
    let daemon = laboratory.start();
    let once = succeed(&mut status(&laboratory, &daemon, &[]));
    for part in ["serving: ", "athenz", "EPOCH", "calls ", "refused ", "tokens ", "log ", "disk ", "alarms ", "iB free"]
    {
        assert!(once.contains(part), "{part}\n{once}");
    }
    let mut command = status(&laboratory, &daemon, &["--watch", "--interval", "1"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut text = String::new();
    while text.matches("serving: ").count() < 2 {
        text += &(lines.next().unwrap() + "\n");
    }
    signal(&child, "-INT");
    lines.for_each(|line| text += &line);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!text.contains('\u{1b}') && text.contains("/s)"), "{text}");
}

#[test]
fn as_json_it_is_one_object_a_line_and_says_when_the_signer_is_lost_and_found() {
    let laboratory = Laboratory::new();
    let daemon = laboratory.start();
    let mut command = status(&laboratory, &daemon, &["--json", "--watch", "--interval", "1"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    let first = next();
    assert_eq!(first["authorities"][0]["state"], "serves", "{first}");
    assert!(
        first["calls"]["all"]["per_second"].is_null() && first["log"]["entries"].as_f64().unwrap() > 0.0,
        "{first}"
    );
    mint(&laboratory, &daemon, "api");
    let second = loop {
        let next = next();
        if next["authorities"][0]["issued"]["total"] == 1.0 {
            break next;
        }
    };
    assert!(second["calls"]["all"]["per_second"].as_f64().unwrap() > 0.0, "{second}");
    let stages = second["calls"]["stages"].as_array().unwrap();
    assert_eq!((stages.len(), &stages[0]["stage"]), (10, &Value::from("decode")), "{second}");
    drop(daemon);
    let lost = loop {
        let next = next();
        if next["result"] == "lost" {
            break next;
        }
    };
    assert!(lost["error"].as_str().unwrap().contains("trying again in 1 s"), "{lost}");
    // Nobody reads any more.
    drop(lines);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn who_may_not_read_metrics_hears_so() {
    let laboratory = Laboratory::new();
    let daemon = laboratory.start();
    let mut command = laboratory.hallmark(&daemon);
    let output = command.args(["status", "--watch"]).stdin(Stdio::null()).output().unwrap();
    assert!(!output.status.success());
    let mut said = String::new();
    output.stderr.as_slice().read_to_string(&mut said).unwrap();
    assert!(said.contains("hint: ") && output.stdout.is_empty(), "{said}");
}
