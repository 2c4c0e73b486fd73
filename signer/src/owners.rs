//! Owners whose signature would count at two authorities: over a bare transition it says nothing of which is meant.

use hallmark_ledger::Epochs;
use hallmark_policy::{Policy, Reason, file::RotatesWord, key::SpkiDigest, owner, profile::Authority};

use crate::{answer::Failure, authorities, core::Inner};

impl Inner {
    /// Why these owners may not be set at an authority of this policy: another one has them, in force or in the making.
    pub(crate) fn owners_shared(
        &self,
        policy: &Policy,
        authority: &Authority,
        owners: &[SpkiDigest],
    ) -> Result<Vec<Reason>, Failure> {
        let mut others = Vec::new();
        for other in policy.authorities().filter(|other| other.name != authority.name) {
            others.push((other.name.as_str(), self.owners_of(other)?));
        }
        let others = others.iter().map(|(name, owners)| (*name, owners.as_slice()));
        Ok(owner::check_shared(policy, authority, owners, others).err().unwrap_or_default())
    }

    /// Why a policy may not come into force: two of its authorities would have an owner in common whose signature counts at both.
    pub(crate) fn owners_shared_under(&self, policy: &Policy) -> Result<Vec<Reason>, Failure> {
        let mut reasons = Vec::new();
        for authority in policy.authorities() {
            let owners = self.owners_of(authority)?;
            let shared = self.owners_shared(policy, authority, &owners)?;
            reasons.extend(shared.into_iter().map(|reason| Reason {
                field: "policy",
                sentence: format!("authority `{}`: {}", authority.name, reason.sentence),
                ..reason
            }));
        }
        Ok(reasons)
    }

    /// Everybody whose signature counts at an authority, or will with the epoch that is in the making.
    fn owners_of(&self, authority: &Authority) -> Result<Vec<SpkiDigest>, Failure> {
        let record = self.ledger.authority(&authority.name).map_err(|error| self.ledger_failed(&error))?;
        let Some(record) = record.filter(|_| authority.rotates() == RotatesWord::Manifest) else {
            return Ok(Vec::new());
        };
        let active = self.one_epoch(&authority.name, Epochs::Active)?;
        let in_force = self.owners_in_force(&record, active.as_ref());
        let mut owners = in_force.map_err(|error| self.authority_failed(error))?;
        if let Some(making) = self.one_epoch(&authority.name, Epochs::Making)? {
            let manifest = authorities::kept_manifest(&self.ledger, &making);
            owners.extend(manifest.map_err(|error| self.authority_failed(error))?.owners());
        }
        Ok(owners)
    }
}
