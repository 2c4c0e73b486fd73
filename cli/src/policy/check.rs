//! `hallmark policy check`: every mistake at its line, or what the policy means.

use hallmark_policy::meaning;
use serde_json::json;

use crate::{
    arguments::CheckArguments,
    exit::Exit,
    problem::Problem,
    screen::{Screen, Tone, printable},
};

/// Reads the file and says what it means.
pub(crate) fn check(arguments: &CheckArguments, screen: &Screen) -> Result<Exit, Problem> {
    let policy = super::read(&arguments.file)?;
    let (lines, warnings) = (meaning::tell(&policy).lines, meaning::warnings(&policy));
    if screen.is_json() {
        let digest = policy.digest().to_string();
        let file = arguments.file.display().to_string();
        screen.answer(&json!({
            "result": "good",
            "file": file,
            "policy-sha256": digest,
            "meaning": lines,
            "warnings": warnings,
        }))?;
        return Ok(Exit::Done);
    }
    let text: String = lines.iter().map(|line| format!("{}\n", printable(line))).collect();
    screen.data(text.as_bytes())?;
    for warning in &warnings {
        screen.say(&format!("{} {}", screen.tone(Tone::Doubtful, "warning:"), printable(warning)));
    }
    screen.say(&format!("{} `{}` has no mistake", screen.tone(Tone::Good, "good:"), arguments.file.display()));
    Ok(Exit::Done)
}
