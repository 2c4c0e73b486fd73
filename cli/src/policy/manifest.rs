//! A manifest from a file, read as for an authority of the policy that is to set it; problems are told with their places.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use hallmark_policy::{
    Policy,
    manifest::{MANIFEST_BYTES_MAX, Manifest, ManifestError, ManifestProblem},
};
use serde_json::{Value, json};

use crate::{
    files,
    problem::Problem,
    screen::{Screen, Tone, printable},
    when,
};

/// What to do where a problem has no hint of its own.
const HINT: &str = "correct the manifest; it is refused as a whole";

/// A manifest that cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` has {}", path.display(), when::count(error.count as u64, "problem"))]
pub(crate) struct ManifestFault {
    path: PathBuf,
    error: ManifestError,
}

/// Reads a manifest as the authority of a profile would; where there is no such profile, as any would.
pub(crate) fn read(path: &Path, policy: &Policy, profile: &str) -> Result<Arc<Manifest>, Problem> {
    let bytes = files::read_up_to(path, MANIFEST_BYTES_MAX)?;
    let authority = policy.profile(profile).and_then(|profile| policy.authority(profile.authority()));
    let manifest = match authority {
        Some(authority) => Manifest::parse_for(&bytes, policy, authority),
        None => Manifest::parse(&bytes),
    };
    let fault = |error| Problem::Manifest(Box::new(ManifestFault { path: path.to_owned(), error }));
    manifest.map(Arc::new).map_err(fault)
}

impl ManifestFault {
    /// For people: each problem at its line and column.
    pub(crate) fn render(&self, screen: &Screen) -> String {
        let mut text = String::new();
        for ManifestProblem { line, column, pointer, sentence, hint } in &self.error.problems {
            let pointer = if pointer.is_empty() { String::new() } else { format!("{pointer}: ") };
            let (pointer, sentence) = (printable(&pointer), printable(sentence));
            text.push_str(&format!("{}:{line}:{column}: {pointer}{sentence}\n", self.path.display()));
            text.push_str(&format!("  hint: {}\n", printable(hint.as_deref().unwrap_or(HINT))));
        }
        text.push_str(&format!("{} {self}; it cannot be set\n", screen.tone(Tone::Bad, "error:")));
        text
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
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
            "file": self.path.display().to_string(),
            "problems": self.error.problems.iter().map(problem).collect::<Vec<_>>(),
        })
    }
}
