//! No authority is served whose root no ceremony speaks for, unless the configuration names it.
//!
//! A root that a ceremony made is handed over: the entry right before the one by which its authority began says so, and is proven
//! to be in the tree. All others, those that `hallmarkd init` makes and those that were brought without a transcript, want
//! `policy.roots-without-ceremony`; every start that admits one is told, and its `start` entry lists them.

use hallmark_ledger::{AuthorityRecord, Ledger, LedgerError};
use hallmark_policy::Policy;

use crate::{authorities::AuthorityError, core::Inner};

/// The authorities among these whose root no ceremony handed over, or that are not made yet.
pub(crate) fn without_ceremony(ledger: &Ledger, named: &[String]) -> Result<Vec<String>, LedgerError> {
    let mut found = Vec::new();
    for name in named {
        let handed_over = match ledger.authority(name)? {
            Some(record) => ledger.is_handed_over(&record)?,
            None => false,
        };
        if !handed_over {
            found.push(name.clone());
        }
    }
    Ok(found)
}

impl Inner {
    /// Whether a ceremony speaks for the root of this authority, or the configuration does without.
    pub(crate) fn spoken_for(&self, record: &AuthorityRecord) -> Result<(), AuthorityError> {
        if self.ledger.is_handed_over(record)? { Ok(()) } else { self.may_do_without_ceremony(&record.name) }
    }

    /// Whether the configuration says that the root of this authority needs no ceremony.
    pub(crate) fn may_do_without_ceremony(&self, authority: &str) -> Result<(), AuthorityError> {
        match self.roots_without_ceremony.iter().any(|name| name == authority) {
            true => Ok(()),
            false => Err(AuthorityError::NoCeremony { authority: authority.to_owned() }),
        }
    }

    /// Whether every authority of the policy that there is may be served. Says which do without a ceremony.
    pub(crate) fn all_spoken_for(&self, policy: &Policy) -> Result<Vec<String>, AuthorityError> {
        let mut said = Vec::new();
        for authority in policy.authorities() {
            let Some(record) = self.ledger.authority(&authority.name)? else { continue };
            self.spoken_for(&record)?;
            if !self.ledger.is_handed_over(&record)? {
                let name = &record.name;
                tracing::warn!(
                    authority = name,
                    "no ceremony speaks for its root; the configuration says that none has to"
                );
                said.push(format!(
                    "authority `{name}`: no ceremony speaks for its root, which `policy.roots-without-ceremony` admits: for laboratories"
                ));
            }
        }
        Ok(said)
    }
}
