//! How each authority stands: whether it signs now, for health checks to hear.

use hallmark_ledger::LedgerError;

use crate::core::{Core, Inner};

/// How an authority stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It signs.
    Serves,
    /// It has no active epoch in this run, and waits for one.
    Waits,
    /// An alarm stopped it, until an operator resumes it.
    Stopped,
    /// An operator froze it, until an operator thaws it.
    Frozen,
    /// The device failed its key several times in a row: whoever asks is told to come back.
    Rests,
}

impl Core {
    /// Every authority of the ledger, by name. The device is not asked; the ledger is read, which may block.
    ///
    /// # Errors
    /// If the ledger does not answer.
    pub fn standings(&self) -> Result<Vec<(String, Standing)>, LedgerError> {
        let authorities = self.inner.ledger.authorities()?.into_iter();
        authorities.map(|record| self.inner.standing(&record.name).map(|standing| (record.name, standing))).collect()
    }
}

impl Inner {
    pub(crate) fn standing(&self, authority: &str) -> Result<Standing, LedgerError> {
        let serving = self.all_serving();
        let Some(serving) = serving.get(authority) else { return Ok(Standing::Waits) };
        if self.ledger.stopped(authority)?.is_some() {
            return Ok(Standing::Stopped);
        }
        if self.ledger.frozen(authority)?.is_some() {
            return Ok(Standing::Frozen);
        }
        let rests = self.keyring.resting(serving.issuer.key.digest()).is_some();
        Ok(if rests { Standing::Rests } else { Standing::Serves })
    }
}
