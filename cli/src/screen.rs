//! What reaches people: data on stdout, sentences on stderr, colour only where somebody looks.

use std::{
    borrow::Cow,
    env,
    error::Error as _,
    io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _},
};

use serde_json::{Value, json};

use crate::{policy::manifest, problem::Problem};

const BOLD_GREEN: &str = "\u{1b}[1;32m";
const BOLD_RED: &str = "\u{1b}[1;31m";
const BOLD_YELLOW: &str = "\u{1b}[1;33m";
const PLAIN: &str = "\u{1b}[0m";

/// Longest answer of a person, in bytes.
const ANSWER_BYTES_MAX: u64 = 1_000;

/// How a word is meant.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tone {
    /// Done.
    Good,
    /// Done, but look at it.
    Doubtful,
    /// Not done.
    Bad,
}

/// Where a command speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    json: bool,
    colour: bool,
    somebody_looks: bool,
}

impl Screen {
    /// With JSON answers or without.
    pub(crate) fn new(json: bool) -> Self {
        let somebody_looks = io::stderr().is_terminal();
        Self { json, colour: somebody_looks && wants_colour(), somebody_looks }
    }

    /// Whether the answer is JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a progress bar would be seen.
    pub(crate) fn shows_progress(&self) -> bool {
        self.somebody_looks && !self.json
    }

    /// Data to stdout. A reader that went away has enough.
    pub(crate) fn data(&self, bytes: &[u8]) -> Result<(), Problem> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Err(source) if source.kind() != io::ErrorKind::BrokenPipe => Err(Problem::Stdout(source)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The same, for what comes again and again: whether a reader is still there.
    pub(crate) fn reaches(&self, bytes: &[u8]) -> Result<bool, Problem> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(true),
            Err(source) if source.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(source) => Err(Problem::Stdout(source)),
        }
    }

    /// Whether colour would be seen in data.
    pub(crate) fn colours_data(&self) -> bool {
        !self.json && io::stdout().is_terminal() && wants_colour()
    }

    /// An answer in JSON, if that was asked for.
    pub(crate) fn answer(&self, value: &Value) -> Result<(), Problem> {
        if self.json { self.data(format!("{value:#}\n").as_bytes()) } else { Ok(()) }
    }

    /// A sentence or a table for people. Nobody reads it where stderr is gone.
    pub(crate) fn say(&self, text: &str) {
        if !self.json {
            let _ = writeln!(io::stderr().lock(), "{}", text.trim_end_matches('\n'));
        }
    }

    /// Whether somebody can be asked.
    pub(crate) fn can_ask(&self) -> bool {
        !self.json && self.somebody_looks && io::stdin().is_terminal()
    }

    /// Asks, and gives the answer without the space around it; nothing where stdin has ended.
    pub(crate) fn ask(&self, question: &str) -> String {
        let mut stderr = io::stderr().lock();
        let _ = write!(stderr, "{question} ").and_then(|()| stderr.flush());
        let mut answer = String::new();
        let _ = io::stdin().lock().take(ANSWER_BYTES_MAX).read_line(&mut answer);
        answer.trim().to_owned()
    }

    /// A first word that says how it went.
    pub(crate) fn tone(&self, tone: Tone, word: &str) -> String {
        if self.colour { Self::painted(tone, word) } else { word.to_owned() }
    }

    /// The same in colour, whoever looks.
    pub(crate) fn painted(tone: Tone, word: &str) -> String {
        let colour = match tone {
            Tone::Good => BOLD_GREEN,
            Tone::Doubtful => BOLD_YELLOW,
            Tone::Bad => BOLD_RED,
        };
        format!("{colour}{word}{PLAIN}")
    }

    /// Why a command did not do what it should.
    pub(crate) fn problem(&self, problem: &Problem) {
        if let Problem::Refused(refused) = problem {
            self.say(&refused.render(self));
            let _ = self.answer(&refused.to_json());
            return;
        }
        if let Problem::Policy(fault) = problem {
            self.say(&fault.render(self));
            let _ = self.answer(&fault.to_json());
            return;
        }
        if let Problem::Manifest { path, error: mistakes } = problem {
            let error = self.tone(Tone::Bad, "error:");
            let (problems, hint) = (manifest::render(path, mistakes), problem.hint());
            self.say(&format!("{problems}{error} {}\nhint: {hint}\n", printable(&problem.to_string())));
            let _ = self.answer(&manifest::to_json(path, mistakes));
            return;
        }
        let mut text = format!("{} {}\n", self.tone(Tone::Bad, "error:"), printable(&problem.to_string()));
        let mut causes = Vec::new();
        let mut cause = problem.source();
        while let Some(error) = cause {
            let sentence = printable(&error.to_string()).into_owned();
            text.push_str(&format!("  because: {sentence}\n"));
            causes.push(sentence);
            cause = error.source();
        }
        let details: Vec<String> = problem.details().iter().map(|detail| printable(detail).into_owned()).collect();
        details.iter().for_each(|detail| text.push_str(&format!("  {detail}\n")));
        let hint = problem.hint();
        text.push_str(&format!("hint: {hint}\n"));
        self.say(&text);
        let sentence = problem.to_string();
        let mut answer = json!({ "result": "error", "error": sentence, "causes": causes, "hint": hint });
        if let Some(answer) = answer.as_object_mut().filter(|_| !details.is_empty()) {
            answer.insert("details".to_owned(), details.into());
        }
        let _ = self.answer(&answer);
    }
}

/// Whether nobody said that there is to be no colour, and the terminal can.
fn wants_colour() -> bool {
    let wanted = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    wanted && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Text of others, so that a terminal shows it and does nothing else: control characters and those that change the
/// direction of writing (Unicode TR 9, section 2) become escapes.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_treacherous) {
        return Cow::Borrowed(text);
    }
    let letters = text.chars().map(|letter| {
        if is_treacherous(letter) { format!("\\u{{{:x}}}", u32::from(letter)) } else { letter.to_string() }
    });
    Cow::Owned(letters.collect())
}

fn is_treacherous(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_cannot_steer_a_terminal() {
        assert_eq!(printable("plain `text` of ünïcode"), "plain `text` of ünïcode");
        assert_eq!(printable("a\u{1b}[2Jb\nc\u{202e}d"), "a\\u{1b}[2Jb\\u{a}c\\u{202e}d");
    }
}
