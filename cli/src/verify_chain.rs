//! `hallmark verify-chain`: for a data owner who trusts nobody. Everything is read from files, and nothing is asked.

mod given;

use hallmark_chain::{Check, Report};
use serde_json::{Value, json};

use crate::{
    arguments::VerifyChainArguments,
    exit::Exit,
    problem::Problem,
    screen::{Screen, Tone, printable},
    verify_chain::given::Given,
};

/// Checks, and says what these files cannot show.
pub(crate) fn verify_chain(arguments: &VerifyChainArguments, screen: &Screen) -> Result<Exit, Problem> {
    let given = Given::read(arguments)?;
    let report = given.judge();
    screen.say(&render(&report, screen));
    screen.answer(&to_json(&given, &report))?;
    Ok(if report.holds() { Exit::Done } else { Exit::No })
}

fn render(report: &Report, screen: &Screen) -> String {
    let mut text = format!("{}\nChecked:\n", headline(report, screen));
    for check in &report.checks {
        text.push_str(&format!("  {}  {}\n", verdict(check, screen), printable(&check.claim.to_string())));
        for finding in &check.findings {
            text.push_str(&format!("         {}\n", printable(&finding.to_string())));
        }
    }
    text.push_str("Not shown by these files:\n");
    for limit in &report.limits {
        text.push_str(&format!("  {limit}\n"));
    }
    if !report.holds() {
        text.push_str(
            "hint: rely on none of these certificates; compare root and manifests with what you know, then get the rest again\n",
        );
    }
    text
}

fn headline(report: &Report, screen: &Screen) -> String {
    let failed = report.checks.iter().filter(|check| !check.holds()).count();
    if failed > 0 {
        return format!("{} {failed} of {} claims do not hold", screen.tone(Tone::Bad, "failed:"), report.checks.len());
    }
    let generation = report.generation.unwrap_or_default();
    format!("{} every claim holds, for generation {generation}", screen.tone(Tone::Good, "good:"))
}

fn verdict(check: &Check, screen: &Screen) -> String {
    if check.holds() { screen.tone(Tone::Good, "yes") } else { screen.tone(Tone::Bad, "no ") }
}

fn to_json(given: &Given, report: &Report) -> Value {
    let check = |check: &Check| {
        let finding =
            |finding: &hallmark_chain::Finding| json!({ "code": finding.code(), "sentence": finding.to_string() });
        json!({
            "claim": check.claim.code(),
            "sentence": check.claim.to_string(),
            "holds": check.holds(),
            "findings": check.findings.iter().map(finding).collect::<Vec<_>>(),
        })
    };
    let limit = |limit: &hallmark_chain::Limit| json!({ "code": limit.code(), "sentence": limit.to_string() });
    json!({
        "result": if report.holds() { "good" } else { "failed" },
        "root-sha256": hallmark_policy::hex(&given.root_sha256),
        "generation": report.generation,
        "transition": hallmark_policy::hex(&given.history.transition()),
        "manifest-sha256": given.history.newest().map(|digest| hallmark_policy::hex(&digest)),
        "checks": report.checks.iter().map(check).collect::<Vec<_>>(),
        "not-shown": report.limits.iter().map(limit).collect::<Vec<_>>(),
    })
}
