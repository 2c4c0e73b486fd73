//! A ceremony with people, in a terminal: plain lines, so that it works over a serial console, without colour and for a screen reader.
//!
//! Each step is announced; each witness types initials, or `no`. Before what cannot be taken back, seconds are counted down. A PIN is
//! typed without an echo and shown nowhere.

use std::{
    io::{self, Write as _},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hallmark_ceremony::{
    CeremonyError, Confirmation, Fact, People, Step, Witness,
    quorum::{QuorumRecord, ShareError, Shared},
};
use rustix::termios::{LocalModes, OptionalActions, Termios, isatty, tcgetattr, tcsetattr};
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::show;
use crate::screen::printable;

/// Longest line that is read, in bytes.
const LINE_BYTES_MAX: usize = 512;

/// How often a witness may mistype.
const ATTEMPTS_MAX: usize = 3;

/// What stops the ceremony.
const NO: &str = "no";

/// A line between steps.
const RULE: &str = "------------------------------------------------------------";

/// The people at a terminal.
pub(super) struct Terminal<'a> {
    witnesses: &'a [Witness],
    countdown: u8,
    large: bool,
}

impl<'a> Terminal<'a> {
    pub(super) fn new(witnesses: &'a [Witness], countdown: u8, large: bool) -> Self {
        Self { witnesses, countdown, large }
    }

    /// One witness lets the step be done, or not.
    fn ask(&self, witness: &Witness, step: &Step) -> Result<Confirmation, CeremonyError> {
        let (name, initials) = (printable(&witness.name).into_owned(), &witness.initials);
        let declined = || CeremonyError::Declined { step: step.name.to_owned(), by: witness.name.clone() };
        for _ in 0..ATTEMPTS_MAX {
            prompt(&format!("{name}, type {initials} to let it be done, or `{NO}` to stop: "));
            match line()?.as_str().trim() {
                answer if answer == initials.as_str() => {
                    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                    let at = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
                    let (by, step) = (witness.name.clone(), step.name.to_owned());
                    return Ok(Confirmation { by, how: "initials".to_owned(), step, at });
                }
                answer if answer.eq_ignore_ascii_case(NO) => return Err(declined()),
                _ => say(&format!("That is neither {initials} nor `{NO}`.")),
            }
        }
        Err(declined())
    }

    fn count_down(&self) {
        say("This cannot be taken back. Ctrl-C stops it.");
        for left in (1..=self.countdown).rev() {
            prompt(&format!("{left} "));
            thread::sleep(Duration::from_secs(1));
        }
        say("");
    }
}

impl People for Terminal<'_> {
    fn before(&mut self, step: &Step, number: usize, of: usize) -> Result<Vec<Confirmation>, CeremonyError> {
        let heading = format!("Step {number} of {of}: {}", step.name);
        say(&format!("{RULE}\n{}\n  {}", if self.large { wide(&heading) } else { heading }, step.sentence));
        let confirmed = self.witnesses.iter().map(|witness| self.ask(witness, step)).collect::<Result<Vec<_>, _>>()?;
        if step.irreversible {
            self.count_down();
        }
        Ok(confirmed)
    }

    fn after(&mut self, step: &Step, facts: &[Fact]) {
        match self.large {
            false => say(&show::facts(facts)),
            true => facts.iter().for_each(|fact| {
                say(&wide(&fact.name));
                fact.value.split(' ').for_each(|word| say(&format!("    {}", wide(word))));
            }),
        }
        say(&format!("Step `{}` is done.", step.name));
    }

    fn pin(&mut self, token: &str) -> Result<SecretString, CeremonyError> {
        secret(&format!("User PIN of token `{}` (nothing is shown): ", printable(token)))
    }

    fn so_pin(&mut self, token: &str) -> Result<SecretString, CeremonyError> {
        secret(&format!("PIN of the security officer of token `{}` (nothing is shown): ", printable(token)))
    }

    fn share(
        &mut self,
        record: &QuorumRecord,
        have: usize,
        problem: Option<&ShareError>,
    ) -> Result<Zeroizing<String>, CeremonyError> {
        if let Some(problem) = problem {
            say(&format!("{problem}."));
        }
        let (next, of, set) = (have + 1, record.threshold, record.set());
        let silence = Silence::begin()?;
        let what = match record.shared {
            Shared::Pin => "",
            Shared::WrapKey => " of the wrap key",
        };
        prompt(&format!("Share {next} of {of}{what}, set {set}: number and words (nothing is shown): "));
        let typed = line();
        drop(silence);
        say("");
        typed
    }
}

/// Asks for a PIN.
fn secret(question: &str) -> Result<SecretString, CeremonyError> {
    // Before the prompt: what somebody typed ahead was seen, and is thrown away.
    let silence = Silence::begin()?;
    prompt(question);
    let pin = line();
    drop(silence);
    say("");
    match pin?.as_str().trim_end_matches(['\r', '\n']) {
        "" => Err(CeremonyError::NoPin { sentence: "nothing was typed".to_owned() }),
        pin => Ok(SecretString::from(pin)),
    }
}

/// The terminal shows nothing of what is typed while this lives.
struct Silence(Option<Termios>);

impl Silence {
    fn begin() -> Result<Self, CeremonyError> {
        let stdin = rustix::stdio::stdin();
        if !isatty(stdin) {
            return Ok(Self(None));
        }
        let broken =
            |error: rustix::io::Errno| CeremonyError::Nobody { sentence: format!("the terminal fails: {error}") };
        let before = tcgetattr(stdin).map_err(broken)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(stdin, OptionalActions::Flush, &silent).map_err(broken)?;
        Ok(Self(Some(before)))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, before);
        }
    }
}

/// Letters with space between them.
fn wide(text: &str) -> String {
    text.to_uppercase().chars().map(String::from).collect::<Vec<_>>().join(" ")
}

fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", text.trim_end_matches('\n'));
}

fn prompt(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = write!(stderr, "{text}").and_then(|()| stderr.flush());
}

/// Where no terminal shows what is typed, its end is to be seen all the same.
fn end_of_line() {
    if !isatty(rustix::stdio::stdin()) {
        say("");
    }
}

/// One line of what is typed. It is read byte by byte, so that no buffer but this one ever has a PIN.
fn line() -> Result<Zeroizing<String>, CeremonyError> {
    let gone = |sentence: &str| CeremonyError::Nobody { sentence: sentence.to_owned() };
    let mut text = Zeroizing::new(Vec::with_capacity(LINE_BYTES_MAX));
    let mut byte = Zeroizing::new([0; 1]);
    while text.len() < LINE_BYTES_MAX {
        match rustix::io::read(rustix::stdio::stdin(), byte.as_mut_slice()) {
            Ok(0) if text.is_empty() => {
                end_of_line();
                return Err(gone("the terminal is closed"));
            }
            Ok(0) => break,
            Ok(_) if *byte == [b'\n'] => break,
            Ok(_) => text.extend_from_slice(byte.as_slice()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(gone(&error.to_string())),
        }
    }
    end_of_line();
    let text = std::str::from_utf8(&text).map_err(|_| gone("what was typed is no text"))?;
    Ok(Zeroizing::new(text.to_owned()))
}
