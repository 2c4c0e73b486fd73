//! A ceremony without people: it waits for nothing, and says what it does.

use hallmark_ceremony::{CeremonyError, Confirmation, Fact, People, Step};
use secrecy::SecretString;

use super::show;
use crate::screen::Screen;

/// Nobody is asked.
pub(super) struct Unattended<'a> {
    screen: &'a Screen,
}

impl<'a> Unattended<'a> {
    pub(super) fn new(screen: &'a Screen) -> Self {
        Self { screen }
    }
}

impl People for Unattended<'_> {
    fn before(&mut self, step: &Step, number: usize, of: usize) -> Result<Vec<Confirmation>, CeremonyError> {
        self.screen.say(&format!("step {number} of {of}, {}: {}", step.name, step.sentence));
        Ok(Vec::new())
    }

    fn after(&mut self, _: &Step, facts: &[Fact]) {
        self.screen.say(&show::facts(facts));
    }

    fn pin(&mut self, token: &str) -> Result<SecretString, CeremonyError> {
        let sentence = format!("the one of token `{token}` is asked for nowhere with --unattended");
        Err(CeremonyError::NoPin { sentence })
    }
}
