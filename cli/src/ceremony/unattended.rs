//! A ceremony without people: it waits for nothing, and says what it does.

use std::path::PathBuf;

use hallmark_ceremony::{
    CeremonyError, Confirmation, Fact, People, Step,
    quorum::{QuorumRecord, ShareError, open_share},
};
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::show;
use crate::screen::Screen;

/// Nobody is asked.
pub(super) struct Unattended<'a> {
    screen: &'a Screen,
    shares: std::slice::Iter<'a, PathBuf>,
    identities: &'a [PathBuf],
}

impl<'a> Unattended<'a> {
    pub(super) fn new(screen: &'a Screen, shares: &'a [PathBuf], identities: &'a [PathBuf]) -> Self {
        Self { screen, shares: shares.iter(), identities }
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

    fn so_pin(&mut self, token: &str) -> Result<SecretString, CeremonyError> {
        let sentence = format!(
            "that of the security officer of token `{token}` is asked for nowhere with --unattended; name a `so-pin-file`"
        );
        Err(CeremonyError::NoPin { sentence })
    }

    fn share(
        &mut self,
        record: &QuorumRecord,
        have: usize,
        problem: Option<&ShareError>,
    ) -> Result<Zeroizing<String>, CeremonyError> {
        if let Some(problem) = problem {
            return Err(problem.clone().into());
        }
        let Some(path) = self.shares.next() else {
            let sentence = format!("{have} of {} shares were given with --share", record.threshold);
            return Err(CeremonyError::NoPin { sentence });
        };
        open_share(path, self.identities)
    }
}
