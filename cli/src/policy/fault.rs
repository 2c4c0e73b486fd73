//! A policy file with mistakes, told the way compilers tell theirs: file, line, sentence, hint.

use std::path::{Path, PathBuf};

use hallmark_policy::profile::{Mistake, PolicyError};
use serde_json::{Value, json};

use crate::{
    screen::{Screen, Tone, printable},
    when,
};

/// Where every setting is described.
const REFERENCE: &str = "docs/policy-reference.md";

/// A policy that cannot come into force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` has {}", path.display(), when::count(mistakes.len() as u64, "mistake"))]
pub(crate) struct PolicyFault {
    path: PathBuf,
    mistakes: Vec<Mistake>,
}

impl PolicyFault {
    pub(crate) fn of(path: &Path, error: &PolicyError) -> Box<Self> {
        Box::new(Self { path: path.to_owned(), mistakes: error.mistakes.clone() })
    }

    /// For people: each mistake at its line.
    pub(crate) fn render(&self, screen: &Screen) -> String {
        let mut text = String::new();
        for mistake in &self.mistakes {
            let line = mistake.line.map(|line| format!(":{line}")).unwrap_or_default();
            let place = if mistake.place.is_empty() { String::new() } else { format!("[{}] ", mistake.place) };
            let sentence = printable(&mistake.sentence);
            text.push_str(&format!("{}{line}: {}{sentence}\n", self.path.display(), printable(&place)));
            text.push_str(&format!("  hint: {}\n", printable(&hint(mistake))));
        }
        text.push_str(&format!("{} {self}; nothing of it can be in force\n", screen.tone(Tone::Bad, "error:")));
        text
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
        let mistake = |mistake: &Mistake| {
            json!({
                "line": mistake.line,
                "place": mistake.place,
                "sentence": mistake.sentence,
                "hint": hint(mistake),
            })
        };
        json!({
            "result": "bad",
            "file": self.path.display().to_string(),
            "mistakes": self.mistakes.iter().map(mistake).collect::<Vec<_>>(),
        })
    }

    /// What to do.
    pub(crate) fn hint(&self) -> String {
        format!("{REFERENCE} describes every setting")
    }
}

fn hint(mistake: &Mistake) -> String {
    match (&mistake.hint, mistake.place.split_once('.')) {
        (Some(hint), _) => hint.clone(),
        (None, Some((section, _))) => format!("{REFERENCE} describes [{section}.NAME]"),
        (None, None) => format!("{REFERENCE} describes every setting"),
    }
}
