//! `hallmark policy test`: the cases beside policies, and what differs from what they expect.

use std::path::Path;

use serde_json::{Value, json};

use super::{
    case::{Cases, beside},
    expectation::{Expectation, rewritten},
    stand_in::StandIns,
};
use crate::{
    arguments::TestArguments,
    exit::Exit,
    files::Target,
    problem::Problem,
    screen::{Screen, Tone, printable},
    when,
};

/// How a case went.
struct Ran {
    position: usize,
    name: String,
    /// What was decided, as far as the case speaks of it.
    decided: Expectation,
    diff: Vec<String>,
}

/// Runs the cases of all policies.
pub(crate) fn test(arguments: &TestArguments, screen: &Screen) -> Result<Exit, Problem> {
    let mut stand_ins = StandIns::default();
    let mut answers = Vec::new();
    let (mut all, mut failed) = (0, 0);
    for file in &arguments.files {
        let path = match (&arguments.cases, arguments.files.len()) {
            (Some(path), 1) => path.clone(),
            (None, _) => beside(file),
            (Some(_), files) => return Err(Problem::CasesOfSeveral { files }),
        };
        let cases = Cases::read(&path)?;
        let ran = run(file, &cases, &mut stand_ins)?;
        all += ran.len();
        failed += ran.iter().filter(|ran| !ran.diff.is_empty()).count();
        if screen.is_json() {
            answers.push(to_json(file, &ran));
        } else {
            screen.data(render(file, &ran, arguments.bless, screen).as_bytes())?;
        }
        if arguments.bless {
            bless(&cases, ran)?;
        }
    }
    let good = failed == 0 || arguments.bless;
    screen.answer(&json!({ "result": if good { "good" } else { "bad" }, "policies": answers }))?;
    let cases = when::count(all as u64, "case");
    screen.say(&match (failed, arguments.bless) {
        (0, _) => format!("{} {cases}, each as expected", screen.tone(Tone::Good, "good:")),
        (_, true) => {
            format!("{} {failed} of {cases} expect now what was decided", screen.tone(Tone::Doubtful, "blessed:"))
        }
        (_, false) => format!(
            "{} {failed} of {cases} went otherwise than expected\n\
             hint: correct the policy or the cases; --bless takes what was decided as expected",
            screen.tone(Tone::Bad, "bad:")
        ),
    });
    Ok(if good { Exit::Done } else { Exit::No })
}

fn run(file: &Path, cases: &Cases, stand_ins: &mut StandIns) -> Result<Vec<Ran>, Problem> {
    let policy = super::read(file)?;
    let ran = |(position, case): (usize, &super::case::Case)| {
        let expected = case.expectation();
        let decided = expected.seen_by(&cases.decide(case, &policy, stand_ins)?);
        let diff = expected.diff(&decided);
        Ok(Ran { position, name: case.name.clone(), decided, diff })
    };
    cases.cases.iter().enumerate().map(ran).collect()
}

fn render(file: &Path, ran: &[Ran], blessed: bool, screen: &Screen) -> String {
    let mut text = format!("{}: {}\n", file.display(), when::count(ran.len() as u64, "case"));
    for ran in ran {
        let word = match (ran.diff.is_empty(), blessed) {
            (true, _) => screen.tone(Tone::Good, "pass"),
            (false, true) => screen.tone(Tone::Doubtful, "new "),
            (false, false) => screen.tone(Tone::Bad, "FAIL"),
        };
        text.push_str(&format!("  {word}  {}\n", printable(&ran.name)));
        for line in &ran.diff {
            text.push_str(&format!("          {}\n", printable(line)));
        }
    }
    text
}

fn to_json(file: &Path, ran: &[Ran]) -> Value {
    let case = |ran: &Ran| json!({ "name": ran.name, "passes": ran.diff.is_empty(), "diff": ran.diff });
    json!({ "file": file.display().to_string(), "cases": ran.iter().map(case).collect::<Vec<_>>() })
}

fn bless(cases: &Cases, ran: Vec<Ran>) -> Result<(), Problem> {
    let blessed: Vec<_> =
        ran.into_iter().filter(|ran| !ran.diff.is_empty()).map(|ran| (ran.position, ran.decided)).collect();
    if blessed.is_empty() {
        return Ok(());
    }
    let text = rewritten(&cases.text, &blessed).ok_or_else(|| Problem::Cases {
        path: cases.path.clone(),
        line: None,
        sentence: "to be blessed, cases are written as `[[case]]` with a line for each setting".to_owned(),
    })?;
    Ok(Target::new(&cases.path, true)?.write(text.as_bytes())?)
}
