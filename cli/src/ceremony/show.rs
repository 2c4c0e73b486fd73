//! A ceremony for people: what will happen, and what was foretold.

use hallmark_ceremony::{Ceremony, Fact, Foretold, Plan, Step};
use hallmark_policy::hex;
use serde_json::{Value, json};

use crate::screen::printable;

/// Columns before a value.
const NAME_COLUMNS: usize = 26;

/// What will happen, step by step.
pub(super) fn plan(ceremony: &Ceremony, plan: &Plan) -> String {
    let name = printable(&ceremony.name).into_owned();
    let mut text = format!("ceremony `{name}`: {}\n", ceremony.task.name());
    if !ceremony.about.is_empty() {
        text.push_str(&format!("  {}\n", printable(&ceremony.about)));
    }
    let witnesses: Vec<_> =
        ceremony.witnesses.iter().map(|witness| format!("{} ({})", witness.name, witness.initials)).collect();
    let witnesses = if witnesses.is_empty() { "none".to_owned() } else { witnesses.join(", ") };
    text.push_str(&row("file SHA-256", &hex(&ceremony.sha256)));
    text.push_str(&row("log", &ceremony.log.origin));
    text.push_str(&row("witnesses", &witnesses));
    for (what, path) in &plan.outputs {
        text.push_str(&row(&format!("writes {what}"), path));
    }
    if !plan.device.is_empty() {
        text.push_str("device\n");
        text.push_str(&facts(&plan.device));
    }
    if !plan.content.is_empty() {
        text.push_str("what will be signed\n");
        text.push_str(&facts(&plan.content));
        text.push_str("  (serial, key, its identifiers and digests are stand-ins)\n");
    }
    text.push_str("steps\n");
    for (at, step) in plan.steps.iter().enumerate() {
        text.push_str(&self::step(step, at + 1));
    }
    for remark in &plan.remarks {
        text.push_str(&format!("note: {}\n", printable(remark)));
    }
    text
}

fn step(step: &Step, number: usize) -> String {
    let mark = if step.irreversible { " (cannot be taken back)" } else { "" };
    format!("  {number:>2}. {:<11} {}{mark}\n", step.name, step.sentence)
}

/// The same for programs.
pub(super) fn plan_json(ceremony: &Ceremony, plan: &Plan) -> Value {
    let step = |step: &Step| json!({ "step": step.name, "sentence": step.sentence, "irreversible": step.irreversible });
    let output = |(what, path): &(&str, String)| json!({ "what": what, "path": path });
    json!({
        "result": "planned",
        "ceremony": ceremony.name,
        "task": ceremony.task.name(),
        "file-sha256": hex(&ceremony.sha256),
        "device": plan.device,
        "content": plan.content,
        "outputs": plan.outputs.iter().map(output).collect::<Vec<_>>(),
        "steps": plan.steps.iter().map(step).collect::<Vec<_>>(),
        "remarks": plan.remarks,
    })
}

/// What a rehearsal foretold.
pub(super) fn foretold(foretold: &Foretold) -> String {
    let mut text = String::new();
    for foreseen in &foretold.steps {
        text.push_str(&format!("{}\n{}", foreseen.step, facts(&foreseen.facts)));
    }
    text.push_str(&row("rehearsal SHA-256", &hex(&foretold.sha256())));
    text
}

/// What a step found or made, one a line.
pub(super) fn facts(facts: &[Fact]) -> String {
    let value = |fact: &Fact| {
        if fact.value.is_empty() && fact.varies { "(differs each time)".to_owned() } else { fact.value.clone() }
    };
    facts.iter().map(|fact| row(&fact.name, &value(fact))).collect()
}

fn row(name: &str, value: &str) -> String {
    let (name, value) = (printable(name), printable(value));
    format!("  {name:<NAME_COLUMNS$} {value}\n")
}
