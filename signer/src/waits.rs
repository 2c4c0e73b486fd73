//! What an authority waits for that signs no leaves, and who ends that.

use hallmark_ledger::{AuthorityState, EpochRecord, EpochState, Epochs};
use hallmark_policy::{file::RotatesWord, profile::Authority};

use crate::core::Inner;

/// Why an authority serves nobody, and what to do.
pub(crate) struct Waits {
    /// What it waits for, as the end of a sentence that begins with the authority.
    pub(crate) what: String,
    /// What ends that.
    pub(crate) hint: String,
}

impl Waits {
    /// As one sentence.
    pub(crate) fn sentence(&self, authority: &str) -> String {
        format!("authority `{authority}` {}; hint: {}", self.what, self.hint)
    }
}

impl Inner {
    /// What an authority of the policy waits for that this run does not serve.
    pub(crate) fn waits(&self, authority: &Authority) -> Waits {
        let name = &authority.name;
        let waits = |what: &str, hint: String| Waits { what: what.to_owned(), hint };
        let record = self.ledger.authority(name).ok().flatten();
        let ready = record.as_ref().is_some_and(|record| record.state == AuthorityState::Ready);
        let one = |which| self.ledger.epoch(name, which).ok().flatten();
        match (one(Epochs::Active), one(Epochs::Making)) {
            _ if !ready && authority.root.offline => waits(
                "waits for the certificate of its offline root",
                format!("an operator brings it with `hallmarkd init --root {name}=FILE`"),
            ),
            _ if !ready => waits("is not made yet", "an operator runs `hallmarkd init`, which makes it".to_owned()),
            (Some(_), _) => waits("has an active epoch that is not opened", "a start opens it".to_owned()),
            (None, Some(making)) => Self::waits_in_the_making(authority, &making),
            (None, None) if authority.rotates() == RotatesWord::Manifest => {
                waits("waits for its first manifest", "an owner sets it with `hallmark rotate --genesis`".to_owned())
            }
            (None, None) => waits(
                "has no epoch",
                format!("an operator prepares one with `hallmark epoch prepare --authority {name}`"),
            ),
        }
    }

    fn waits_in_the_making(authority: &Authority, making: &EpochRecord) -> Waits {
        let (name, generation) = (&authority.name, making.generation);
        let by_age = authority.rotates() == RotatesWord::Age;
        let (what, hint) = match making.state {
            EpochState::Keyed if authority.root.offline && making.intermediate.is_none() => (
                format!("waits for the certificate of epoch {generation}, which its offline root signs"),
                format!(
                    "an operator brings it with `hallmark epoch bring {generation} --authority {name} --certificate FILE`"
                ),
            ),
            EpochState::Prepared if by_age => (
                format!("waits for epoch {generation}, which is prepared, to be put in force"),
                format!("an operator does so with `hallmark epoch activate {generation} --authority {name}`"),
            ),
            EpochState::Intent
            | EpochState::Keyed
            | EpochState::Prepared
            | EpochState::Active
            | EpochState::Retired
            | EpochState::Destroyed
            | EpochState::Aborted => (
                format!("waits for epoch {generation}, whose making was interrupted"),
                "the call that began it goes on with it, or the next start".to_owned(),
            ),
        };
        Waits { what, hint }
    }
}
