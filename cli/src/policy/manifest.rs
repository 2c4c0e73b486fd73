//! A manifest from a file, read as for an authority of the policy that is to set it; problems are told with their places.

use std::{path::Path, sync::Arc};

use hallmark_policy::{
    Policy,
    manifest::{MANIFEST_BYTES_MAX, Manifest, ManifestError, ManifestProblem},
};
use serde_json::{Value, json};

use crate::{files, problem::Problem, screen::printable};

/// What to do where a problem has no hint of its own.
const HINT: &str = "correct the manifest; it is refused as a whole";

/// Reads a manifest as the authority of a profile would; where there is no such profile, as any would.
pub(crate) fn read(path: &Path, policy: &Policy, profile: &str) -> Result<Arc<Manifest>, Problem> {
    let bytes = files::read_up_to(path, MANIFEST_BYTES_MAX)?;
    let authority = policy.profile(profile).and_then(|profile| policy.authority(profile.authority()));
    let manifest = match authority {
        Some(authority) => Manifest::parse_for(&bytes, policy, authority),
        None => Manifest::parse(&bytes),
    };
    manifest.map(Arc::new).map_err(|error| Problem::Manifest { path: path.to_owned(), error })
}

/// What is wrong with a manifest, for people: each problem at its line and column.
pub(crate) fn render(path: &Path, error: &ManifestError) -> String {
    let mut text = String::new();
    for ManifestProblem { line, column, pointer, sentence, hint } in &error.problems {
        let pointer = if pointer.is_empty() { String::new() } else { format!("{pointer}: ") };
        let (pointer, sentence) = (printable(&pointer), printable(sentence));
        text.push_str(&format!("{}:{line}:{column}: {pointer}{sentence}\n", path.display()));
        text.push_str(&format!("  hint: {}\n", printable(hint.as_deref().unwrap_or(HINT))));
    }
    text
}

/// The same for programs.
pub(crate) fn to_json(path: &Path, error: &ManifestError) -> Value {
    let problem = |problem: &ManifestProblem| {
        json!({
            "line": problem.line,
            "column": problem.column,
            "pointer": problem.pointer,
            "sentence": problem.sentence,
            "hint": problem.hint,
        })
    };
    json!({
        "result": "bad",
        "file": path.display().to_string(),
        "problems": error.problems.iter().map(problem).collect::<Vec<_>>(),
    })
}
