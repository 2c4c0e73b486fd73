//! The people: asked one after another in a terminal, as over a serial console.

use std::process::Child;

use hallmark_test_token::{PIN, SO_PIN};
use hallmark_tests::terminal::{SECRET_PROMPT, Terminal};

use crate::{
    backs_up::{SPLIT, shares},
    hall::{Hall, WITNESSES, code, root_task},
};

/// A terminal with a ceremony in it.
struct Console {
    terminal: Terminal,
    child: Child,
}

impl Console {
    fn open(hall: &Hall, arguments: &[&str]) -> Self {
        let (terminal, side) = Terminal::open();
        let mut command = hall.hallmark();
        command.arg("ceremony").args(arguments).stdin(side.stdio()).stdout(side.stdio()).stderr(side.stdio());
        Self { terminal, child: command.spawn().unwrap() }
    }

    fn expect(&mut self, words: &str) {
        self.terminal.expect(words);
    }

    fn type_line(&mut self, line: &str) {
        self.terminal.type_line(line);
    }

    /// All that was said, and the exit code.
    fn end(mut self) -> (i32, String) {
        let said = self.terminal.end();
        (code(self.child.wait().unwrap()), said)
    }
}

/// A root's file whose PIN is typed.
fn file(hall: &Hall) -> String {
    let file = hall.file("athenz-root", "athenz", &format!("{WITNESSES}{}", root_task("athenz")));
    hall.write("athenz-root.toml", &hall.read("athenz-root.toml").replace("pin-file = \"pin\"\n", ""));
    file
}

#[test]
fn each_step_is_announced_and_confirmed_by_everybody_and_the_pin_is_shown_nowhere() {
    let hall = Hall::new();
    let file = file(&hall);
    let mut console = Console::open(&hall, &["run", "--countdown", "1", &file]);
    for step in 1..=14 {
        console.expect(&format!("Step {step} of 14: "));
        console.expect("Ada Lovelace, type AL to let it be done, or `no` to stop: ");
        if step == 2 {
            console.type_line("GH");
            console.expect("That is neither AL nor `no`.");
        }
        console.type_line("AL");
        console.expect("Grace Hopper, type GH");
        console.type_line("GH");
        if step == 4 {
            console.expect("User PIN of token");
            console.expect("(nothing is shown): ");
            console.type_line(PIN);
        }
        if [5, 10].contains(&step) {
            console.expect("This cannot be taken back. Ctrl-C stops it.");
            console.expect("1 ");
        }
    }
    let (code, said) = console.end();
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains(PIN), "the PIN is shown");
    assert!(!said.contains('\u{1b}'), "no escape sequences: it works on every console");
    assert!(said.contains("certificate-words"), "{said}");
    hall.verify("athenz-root").good();
    let confirmations = hall.transcript("athenz-root")["confirmations"].as_array().unwrap().len();
    assert_eq!(confirmations, 28);
    for name in ["athenz-root.transcript.json", "log/journals/athenz-root.journal"] {
        assert!(!hall.read(name).contains(PIN), "{name}");
    }
}

#[test]
fn the_security_officer_types_a_pin_too_and_it_is_shown_nowhere() {
    let hall = Hall::new();
    hall.run(&hall.file("wrap", "athenz", SPLIT)).good();
    let task = "[task.wrap-key]\nlabel = \"trusted\"\nquorum = \"out/wrap.json\"\ntrusted = true\n";
    let file = hall.file("trusted", "athenz", &format!("{WITNESSES}{task}"));
    shares(&hall, &["ada", "emmy"]);
    let mut words = ["ada.txt", "emmy.txt"].into_iter().map(|name| hall.read(name));
    let mut console = Console::open(&hall, &["run", "--countdown", "0", &file]);
    let officer = format!("PIN of the security officer of token `{}` {SECRET_PROMPT}", hall.token.label());
    let share = format!("number and words {SECRET_PROMPT}");
    let mut asked = 0;
    loop {
        // What comes next: a witness, the officer, or the end.
        match console.terminal.expect_one(&["type AL", "type GH", &share, &officer]) {
            Some(0) => console.type_line("AL"),
            Some(1) => console.type_line("GH"),
            Some(2) => console.type_line(&words.next().expect("two shares")),
            Some(_) => {
                console.type_line(SO_PIN);
                asked += 1;
            }
            None => break,
        }
    }
    let (code, said) = console.end();
    assert_eq!((code, asked), (0, 1), "{said}");
    assert!(!said.contains(SO_PIN), "the PIN is shown");
    assert_eq!(hall.fact("trusted", "read-back", "CKA_TRUSTED"), "true");
    for name in ["trusted.transcript.json", "log/journals/trusted.journal"] {
        assert!(!hall.read(name).contains(SO_PIN), "{name}");
    }
}

#[test]
fn a_witness_who_declines_stops_it_and_the_log_says_who() {
    let hall = Hall::new();
    let file = file(&hall);
    let came = hall.answering(&format!("{}no\n", "AL\nGH\n".repeat(3)), &["run", "--countdown", "0", &file]);
    came.refused(1, "Ada Lovelace does not let step `device` be done");
    assert!(hall.keys().is_empty());
    let typed = format!("{}{PIN}\n{}AL\nNO\n", "AL\nGH\n".repeat(4), "AL\nGH\n".repeat(2));
    let came = hall.answering(&typed, &["run", "--countdown", "0", &file]);
    came.refused(1, "Grace Hopper does not let step `build` be done");
    assert_eq!(hall.keys(), ["athenz-root"], "a root's key cannot be destroyed; the log has it");
    let typed = format!("{}{PIN}\n{}", "AL\nGH\n".repeat(4), "AL\nGH\n".repeat(10));
    hall.answering(&typed, &["run", "--countdown", "0", &file]).good();
    hall.verify("athenz-root").good();
    let log =
        hall.hallmark().args(["log", "show", "--json", "--count", "100", &hall.text("log/public")]).output().unwrap();
    let log = String::from_utf8_lossy(&log.stdout).into_owned();
    for sentence in ["Ada Lovelace does not let step `device`", "Grace Hopper does not let step `build`"] {
        assert!(log.contains(sentence), "{sentence}\nis not in\n{log}");
    }
}

#[test]
fn who_mistypes_three_times_or_hangs_up_has_let_nothing_be_done() {
    let hall = Hall::new();
    let file = file(&hall);
    hall.answering("XX\nYY\nZZ\n", &["run", "--countdown", "0", &file])
        .refused(1, "Ada Lovelace does not let step `validate`");
    hall.answering("AL\n", &["run", "--countdown", "0", &file])
        .refused(2, "nobody can be asked: the terminal is closed");
    assert!(hall.keys().is_empty() && !hall.path("log").exists());
}

#[test]
fn a_file_without_witnesses_is_run_without_people_only_and_then_the_pin_is_in_a_file() {
    let hall = Hall::new();
    let alone = hall.file("athenz-root", "athenz", &root_task("athenz"));
    hall.ceremony(&["run", &alone]).refused(2, "nobody can be asked: the file names no witness");
    let typed = file(&hall);
    hall.run(&typed).refused(2, "there is no PIN");
    assert!(hall.keys().is_empty());
}

#[test]
fn letters_can_be_large() {
    let hall = Hall::new();
    let file = file(&hall);
    let typed = format!("{}{PIN}\n{}", "AL\nGH\n".repeat(4), "AL\nGH\n".repeat(10));
    let came = hall.answering(&typed, &["run", "--countdown", "0", "--large", &file]).good();
    assert!(came.stderr.contains("S T E P   5   O F   1 4 :   G E N E R A T E"), "{}", came.stderr);
}
