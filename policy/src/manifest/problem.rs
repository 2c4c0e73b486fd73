//! What is wrong with a manifest: each problem with its line, column and JSON pointer, and what to do.

use std::fmt;

use crate::reason::{Reason, ReasonCode};

/// Most problems of one manifest that are told.
pub const PROBLEMS_MAX: usize = 100;

/// Most problems of one manifest that are counted. Then reading ends.
const COUNT_MAX: usize = 1_000;

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestProblem {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The JSON pointer of the value (RFC 6901); empty for the manifest as a whole.
    pub pointer: String,
    /// What is wrong, as a sentence without a full stop.
    pub sentence: String,
    /// What to do or what there is instead, where that can be said.
    pub hint: Option<String>,
}

impl fmt::Display for ManifestProblem {
    /// `line 3, column 14 (/Policies/..): sentence; hint`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)?;
        if !self.pointer.is_empty() {
            write!(f, " ({})", self.pointer)?;
        }
        write!(f, ": {}", self.sentence)?;
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}

/// Everything that is wrong with a manifest, in the order of its text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the manifest has {} problem(s):{}", .count, .problems.iter().map(|problem| format!("\n  {problem}")).collect::<String>())]
pub struct ManifestError {
    /// The first [`PROBLEMS_MAX`] problems, at least one.
    pub problems: Vec<ManifestProblem>,
    /// How many were found; reading ends at 1,000.
    pub count: usize,
}

impl ManifestError {
    /// The one problem of a text that was not read.
    pub(super) fn alone(text: &str, at: usize, sentence: String, hint: &str) -> Self {
        let mut problems = Problems::default();
        let found = Found { at, pointer: String::new(), sentence, hint: Some(hint.to_owned()) };
        problems.found.push(found);
        Self { problems: problems.placed(text), count: 1 }
    }

    /// One reason for each problem.
    #[must_use]
    pub fn reasons(&self) -> Vec<Reason> {
        let reason = |problem: &ManifestProblem| {
            let sentence = ManifestProblem { hint: None, ..problem.clone() }.to_string();
            Reason { allowed: problem.hint.clone(), ..Reason::new(ReasonCode::ManifestInvalid, "manifest", sentence) }
        };
        self.problems.iter().map(reason).collect()
    }
}

/// Problems as they are found, each at its byte.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<Found>,
    count: usize,
}

#[derive(Debug)]
struct Found {
    at: usize,
    pointer: String,
    sentence: String,
    hint: Option<String>,
}

impl Problems {
    /// Notes one. The pointer is made only if there is room.
    pub(super) fn add(&mut self, at: usize, pointer: impl FnOnce() -> String, sentence: String, hint: Option<String>) {
        self.count += 1;
        if self.found.len() < PROBLEMS_MAX {
            self.found.push(Found { at, pointer: pointer(), sentence, hint });
        }
    }

    /// Whether there are so many that reading on helps nobody.
    pub(super) fn are_many(&self) -> bool {
        self.count >= COUNT_MAX
    }

    /// All of them with their lines; none if there was none.
    pub(super) fn told(self, text: &str) -> Option<ManifestError> {
        let count = self.count;
        (count > 0).then(|| ManifestError { problems: self.placed(text), count })
    }

    /// Each with its line and column, in one pass over the text.
    fn placed(mut self, text: &str) -> Vec<ManifestProblem> {
        self.found.sort_by_key(|found| found.at);
        let (mut reached, mut line, mut column) = (0, 1, 1);
        let mut problems = Vec::with_capacity(self.found.len());
        for Found { at, pointer, sentence, hint } in self.found {
            let between = text.get(reached..at).unwrap_or_default();
            let newlines = between.bytes().filter(|byte| *byte == b'\n').count();
            let in_line = between.rsplit('\n').next().unwrap_or_default().chars().count();
            line += newlines;
            column = if newlines > 0 { 1 + in_line } else { column + in_line };
            reached = at;
            problems.push(ManifestProblem { line, column, pointer, sentence, hint });
        }
        problems
    }
}
