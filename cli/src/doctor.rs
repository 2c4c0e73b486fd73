//! `hallmark doctor`: what an operator should look at before something stops.

use hallmark_ceremony::doctor::{Finding, Level, examine};
use serde_json::json;

use crate::{
    arguments::DoctorArguments,
    exit::Exit,
    problem::Problem,
    screen::{Screen, Tone, printable},
};

/// Looks, and says what was found.
pub(crate) fn doctor(arguments: &DoctorArguments, screen: &Screen) -> Result<Exit, Problem> {
    let findings = examine(&arguments.file).map_err(Box::new)?;
    for finding in &findings {
        screen.say(&told(finding, screen));
    }
    let worst = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Good);
    let (result, exit) = match worst {
        Level::Good => ("good", Exit::Done),
        Level::Look => ("look", Exit::Done),
        Level::Bad => ("bad", Exit::No),
    };
    screen.answer(&json!({ "result": result, "findings": findings }))?;
    Ok(exit)
}

fn told(finding: &Finding, screen: &Screen) -> String {
    let (tone, word) = match finding.level {
        Level::Good => (Tone::Good, "good:"),
        Level::Look => (Tone::Doubtful, "look:"),
        Level::Bad => (Tone::Bad, "bad:"),
    };
    let mut text = format!("{} {}: {}", screen.tone(tone, word), finding.what, printable(&finding.sentence));
    if !finding.hint.is_empty() {
        text.push_str(&format!("\n  hint: {}", finding.hint));
    }
    text
}
