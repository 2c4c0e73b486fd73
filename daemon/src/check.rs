//! Says what a configuration means, and everything that is wrong with it, without touching the database. The device is asked only where a
//! ceremony made a root whose key is in it.

mod aws_kms;
mod ceremonies;
mod core;
mod front;
mod kinds;
mod process;
mod traces;
mod yubihsm;

use std::path::Path;

use hallmark_policy::meaning;
use hallmark_signer::{
    config::{ConfigError, read_policy},
    secret::SecretError,
};
use secrecy::SecretString;

use crate::{
    hardening, secrets,
    settings::Settings,
    stdout,
    trouble::{Trouble, sentence},
};

/// What was found, part by part.
#[derive(Debug, Default)]
struct Findings {
    sentences: Vec<String>,
    warnings: Vec<String>,
    problems: Vec<String>,
}

impl Findings {
    fn heading(&mut self, text: &str) {
        self.sentences.push(text.to_owned());
    }

    fn say(&mut self, sentence: impl Into<String>) {
        self.sentences.push(format!("  {}", sentence.into()));
    }

    fn problem(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }
}

/// Prints the sentences to standard output, and warnings and problems to standard error.
///
/// # Errors
/// [`Trouble::Problems`] if there is one, [`Trouble::Hardening`], [`Trouble::NoTerminal`], a PIN that is not right, and what [`Settings::read`] says.
pub(crate) fn check(path: &Path, type_pin: bool) -> Result<(), Trouble> {
    hardening::close_to_others()?;
    let settings = Settings::read(path)?;
    let pin = if type_pin { secrets::typed_for_check(&settings)? } else { None };
    let findings = findings(&settings, pin)?;
    for sentence in &findings.sentences {
        stdout::line(sentence);
    }
    for warning in &findings.warnings {
        eprintln!("warning: {warning}");
    }
    for problem in &findings.problems {
        eprintln!("problem: {problem}");
    }
    match findings.problems.len() {
        0 => {
            stdout::line(format!("`{}` has no problem.", path.display()));
            Ok(())
        }
        count => Err(Trouble::Problems { path: path.to_owned(), count }),
    }
}

fn findings(settings: &Settings, pin: Option<SecretString>) -> Result<Findings, Trouble> {
    let mut findings = Findings::default();
    front::tell(&settings.listen, &settings.directory, &mut findings);
    if let Some(operators) = &settings.operators {
        front::tell_operators(operators, &settings.listen, &settings.directory, &mut findings);
    }
    process::tell(settings, &mut findings);
    let policy = read_policy(&settings.directory.join(&settings.core.policy.file));
    core::tell(settings, policy.as_ref().ok(), &mut findings);
    traces::tell(settings, &mut findings);
    match &policy {
        Ok(policy) => {
            findings.sentences.extend(meaning::tell(policy).lines);
            findings.warnings.extend(meaning::warnings(policy));
        }
        Err(error) => findings.problem(sentence(error)),
    }
    if findings.problems.is_empty() {
        // What the core finds is the last word, except about a key that is made, and a secret that is given, later.
        match settings.core.read(&settings.directory) {
            Ok(_)
            | Err(
                ConfigError::NoLogKey { .. }
                | ConfigError::Secret { source: SecretError::NotTyped | SecretError::NoCredentials(_), .. },
            ) => {}
            Err(error) => findings.problem(sentence(&error)),
        }
    }
    if let Ok(policy) = &policy {
        ceremonies::tell(settings, policy, pin, &mut findings)?;
    }
    Ok(findings)
}
