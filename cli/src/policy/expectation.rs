//! What a case expects and what was decided, in the words of the file of cases, and how the one is written over the other.

use std::ops::Range;

use hallmark_policy::time::UnixTime;
use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{certificate, trial::Trial};

/// The settings of a case that say what is expected.
const SETTINGS: [&str; 4] = ["expect", "reasons", "names", "lifetime-seconds"];

/// `expect`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Expect {
    /// A certificate.
    Approve,
    /// None.
    Refuse,
}

/// What is expected, or what was decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expectation {
    pub(crate) expect: Option<Expect>,
    /// Codes of a refusal, in alphabetical order, each once.
    pub(crate) reasons: Vec<String>,
    pub(crate) names: Option<Vec<String>>,
    pub(crate) lifetime_seconds: Option<u64>,
}

impl Expectation {
    /// What was decided.
    pub(crate) fn of(trial: &Trial, at: UnixTime) -> Self {
        let Some(content) = trial.approved.as_ref().and_then(|approved| approved.certificate()) else {
            let codes = trial.reasons.iter().map(|reason| reason.code.as_str().to_owned()).collect();
            return Self { expect: Some(Expect::Refuse), reasons: sorted(codes), names: None, lifetime_seconds: None };
        };
        Self {
            expect: Some(Expect::Approve),
            reasons: Vec::new(),
            names: Some(certificate::names(content)),
            lifetime_seconds: Some(content.validity.not_after.secs_since(at)),
        }
    }

    /// What was decided, as far as `self` speaks of it. Where the decision is another one, all but the lifetime is said.
    pub(crate) fn seen_by(&self, decided: &Self) -> Self {
        let other = self.expect != decided.expect;
        Self {
            names: decided.names.clone().filter(|_| other || self.names.is_some()),
            lifetime_seconds: decided.lifetime_seconds.filter(|_| self.lifetime_seconds.is_some()),
            ..decided.clone()
        }
    }

    /// Its lines in a file of cases.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(expect) = self.expect {
            let word = match expect {
                Expect::Approve => "approve",
                Expect::Refuse => "refuse",
            };
            lines.push(format!("expect = \"{word}\""));
        }
        if !self.reasons.is_empty() {
            lines.push(format!("reasons = {}", list(&self.reasons)));
        }
        if let Some(names) = &self.names {
            lines.push(format!("names = {}", list(names)));
        }
        if let Some(seconds) = self.lifetime_seconds {
            lines.push(format!("lifetime-seconds = {seconds}"));
        }
        lines
    }

    /// What differs: lines of `self` behind `-`, lines of `decided` behind `+`.
    pub(crate) fn diff(&self, decided: &Self) -> Vec<String> {
        let (expected, decided) = (self.lines(), decided.lines());
        let missing = expected.iter().filter(|line| !decided.contains(line)).map(|line| format!("- {line}"));
        let new = decided.iter().filter(|line| !expected.contains(line)).map(|line| format!("+ {line}"));
        missing.chain(new).collect()
    }
}

/// In alphabetical order, each once.
pub(crate) fn sorted(mut codes: Vec<String>) -> Vec<String> {
    codes.sort();
    codes.dedup();
    codes
}

fn list(words: &[String]) -> String {
    format!(
        "[{}]",
        words.iter().map(|word| toml::Value::from(word.as_str()).to_string()).collect::<Vec<_>>().join(", ")
    )
}

/// The file of cases with other expectations of some cases, by their position; all else stays, comments included. `None`
/// where cases are not written as `[[case]]` with a line for each setting.
pub(crate) fn rewritten(text: &str, blessed: &[(usize, Expectation)]) -> Option<String> {
    let root = DeTable::parse(text).ok()?;
    let (_, cases) = root.get_ref().iter().find(|(key, _)| key.get_ref() == "case")?;
    let DeValue::Array(cases) = cases.get_ref() else { return None };
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    for (position, expectation) in blessed {
        edits.extend(edits_of(text, cases.get(*position)?, expectation)?);
    }
    edits.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
    let mut text = text.to_owned();
    for (range, new) in edits {
        text.replace_range(range, &new);
    }
    Some(text)
}

fn edits_of(text: &str, case: &Spanned<DeValue<'_>>, expectation: &Expectation) -> Option<Vec<(Range<usize>, String)>> {
    let DeValue::Table(table) = case.get_ref() else { return None };
    let mut old = Vec::new();
    let mut end_of_others = 0;
    for (key, value) in table {
        let lines = lines_of(text, key.span().start..value.span().end)?;
        if SETTINGS.contains(&key.get_ref().as_ref()) {
            old.push(lines);
        } else {
            end_of_others = end_of_others.max(lines.end);
        }
    }
    let new: String = expectation.lines().iter().map(|line| format!("{line}\n")).collect();
    old.sort_by_key(|lines| lines.start);
    let mut edits: Vec<_> = old.into_iter().map(|lines| (lines, String::new())).collect();
    match edits.first_mut() {
        Some((_, first)) => *first = new,
        None => {
            let newline = if text.get(..end_of_others)?.ends_with('\n') { "" } else { "\n" };
            edits.push((end_of_others..end_of_others, format!("{newline}{new}")));
        }
    }
    Some(edits)
}

/// The whole lines of a setting that begins one.
fn lines_of(text: &str, span: Range<usize>) -> Option<Range<usize>> {
    let start = text.get(..span.start)?.rfind('\n').map_or(0, |at| at + 1);
    let end = text.get(span.end..)?.find('\n').map_or(text.len(), |at| span.end + at + 1);
    text.get(start..span.start)?.trim().is_empty().then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASES: &str = "# All.\n\n[[case]]\nname = \"one\" # first\nexpect = \"approve\"\nnames = [\n  \"a\",\n]\ndns = []\n\n\
                         # Between.\n[[case]]\nname = \"two\"\n\n[[case]]\nexpect = \"refuse\"\nname = \"three\"";

    fn refusal() -> Expectation {
        Expectation {
            expect: Some(Expect::Refuse),
            reasons: vec!["A".to_owned(), "B".to_owned()],
            ..Default::default()
        }
    }

    #[test]
    fn blessing_changes_expectations_and_nothing_else() {
        let text = rewritten(CASES, &[(0, refusal()), (1, refusal()), (2, refusal())]).unwrap();
        let refused = "expect = \"refuse\"\nreasons = [\"A\", \"B\"]\n";
        let expected = format!(
            "# All.\n\n[[case]]\nname = \"one\" # first\n{refused}dns = []\n\n# Between.\n[[case]]\nname = \"two\"\n\
             {refused}\n[[case]]\n{refused}name = \"three\""
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn cases_in_a_line_are_not_blessed() {
        assert_eq!(rewritten("case = [{ name = \"one\" }]", &[(0, refusal())]), None);
    }

    #[test]
    fn only_what_the_case_speaks_of_is_compared() {
        let decided = Expectation {
            expect: Some(Expect::Approve),
            reasons: Vec::new(),
            names: Some(vec!["dns:a.b".to_owned()]),
            lifetime_seconds: Some(60),
        };
        let silent = Expectation { expect: Some(Expect::Approve), ..Expectation::default() };
        assert_eq!(silent.diff(&silent.seen_by(&decided)), [""; 0]);
        let says = Expectation { lifetime_seconds: Some(61), ..silent };
        assert_eq!(says.diff(&says.seen_by(&decided)), ["- lifetime-seconds = 61", "+ lifetime-seconds = 60"]);
        let wrong = refusal();
        assert_eq!(
            wrong.diff(&wrong.seen_by(&decided)),
            [
                "- expect = \"refuse\"",
                "- reasons = [\"A\", \"B\"]",
                "+ expect = \"approve\"",
                "+ names = [\"dns:a.b\"]"
            ]
        );
    }
}
