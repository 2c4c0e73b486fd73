//! What the database says of authorities and epochs is believed only where the log proves it, where CA certificates are bound to it, and,
//! of an epoch that is to come by a manifest, where an owner of the manifest in force has signed it: who edits the database gets no
//! signature.

use std::sync::Arc;

use hallmark_backends::KeyReference;
use hallmark_ledger::{AuthorityRecord, Consent, EpochRecord, Ledger, LedgerError, StoredKey};
use hallmark_policy::{
    Manifest,
    authority::transition,
    content::EpochBinding,
    file::{OwnerSignatureWord, RotatesWord},
    key::SpkiDigest,
    owner::{self, RotationStatement},
    profile::Authority,
    stored_binding_is,
};

use crate::{
    authorities::{self, AuthorityError},
    core::Inner,
    epoch::GENESIS,
    making::{MakingError, refused_all},
};

/// Whether an authority is the one that was made: its owners, and its root.
pub(crate) fn authority(ledger: &Ledger, record: &AuthorityRecord) -> Result<(), LedgerError> {
    ledger.prove_authority(record)?;
    let labelled = record.is_offline() || has_label(record.key.as_ref(), &record.label);
    agree(labelled, || format!("authority `{}`: the root's key does not have its label", record.name))
}

/// Whether an epoch is the one that was wanted. Gives who wanted it.
pub(crate) fn intent(ledger: &Ledger, epoch: &EpochRecord) -> Result<Consent, LedgerError> {
    let consent = ledger.prove_intent(epoch)?;
    follows(epoch)?;
    agree(has_label(epoch.key.as_ref(), &epoch.label), || of(epoch, "its key does not have its label"))?;
    Ok(consent)
}

/// Whether an epoch in the making may go on: it is the one that was wanted, and where it comes by a manifest, its owner's signature
/// holds under the manifest in force.
pub(crate) fn making(
    core: &Inner,
    authority: &Authority,
    record: &AuthorityRecord,
    epoch: &EpochRecord,
) -> Result<(), MakingError> {
    self::authority(&core.ledger, record)?;
    core.spoken_for(record)?;
    let consent = intent(&core.ledger, epoch)?;
    if authority.rotates() == RotatesWord::Age {
        return Ok(());
    }
    let active = core.ledger.epoch(&epoch.authority, hallmark_ledger::Epochs::Active)?;
    let current = active.as_ref().map_or(GENESIS, |active| active.transition);
    agree(current == epoch.previous, || of(epoch, "it does not follow the transition in force"))?;
    let owners = core.owners_in_force(record, active.as_ref())?;
    // Over the bare transition an owner says nothing of these: they are the policy's.
    let says_all = authority.owner_signature() == OwnerSignatureWord::Hallmark;
    let statement = RotationStatement {
        root: record.key.as_ref().map_or(SpkiDigest::from_bytes([0; 32]), |key| SpkiDigest::of(&key.spki)),
        transition: epoch.transition,
        lifetime_seconds: if says_all { epoch.lifetime_secs } else { 0 },
        revoke_previous: says_all && epoch.revoke_previous,
    };
    owner::check(authority, &owners, &statement, &consent.owner_spki, &consent.owner_signature)
        .map_err(|reasons| refused_all(&epoch.authority, "owner's consent", reasons))
}

/// Whether both CA certificates of an epoch are bound to what its row says, and that follows from the transition before it. Where one is
/// not there yet, the other.
pub(crate) fn bound(epoch: &EpochRecord) -> Result<(), LedgerError> {
    follows(epoch)?;
    let binding =
        EpochBinding { generation: epoch.generation, manifest: epoch.manifest_sha256, transition: epoch.transition };
    let certificates = [(&epoch.intermediate, "its intermediate CA"), (&epoch.mesh_ca, "its mesh CA")];
    let mut there = certificates.iter().filter_map(|(answer, what)| Some((answer.as_ref()?, what)));
    match there.find(|(answer, _)| !stored_binding_is(&answer.to_be_signed, binding)) {
        Some((_, what)) => {
            agree(false, || of(epoch, &format!("{what} certificate is bound to another epoch or manifest")))
        }
        None => Ok(()),
    }
}

impl Inner {
    /// Whose signature counts: the owners of the manifest in force, or the ceremony's where there is none yet.
    pub(crate) fn owners_in_force(
        &self,
        record: &AuthorityRecord,
        active: Option<&EpochRecord>,
    ) -> Result<Vec<SpkiDigest>, AuthorityError> {
        if let Some(active) = active {
            return Ok(self.manifest(record, active)?.owners().to_vec());
        }
        authority(&self.ledger, record)?;
        agree(!self.all_serving().contains_key(&record.name), || {
            format!("authority `{}`: the epoch in force is not in force there", record.name)
        })?;
        Ok(record.owners.clone())
    }

    /// The manifest of the epoch in force: the one that is served, or the one to which its CA certificates are bound.
    fn manifest(&self, record: &AuthorityRecord, active: &EpochRecord) -> Result<Arc<Manifest>, AuthorityError> {
        let serving = self.all_serving();
        let issuer = serving.get(&record.name).map(|serving| &serving.issuer);
        let same = issuer.filter(|issuer| {
            (issuer.epoch.generation, issuer.epoch.transition) == (active.generation, active.transition)
        });
        if let Some(manifest) = same.and_then(|issuer| issuer.manifest.clone()) {
            return Ok(manifest);
        }
        authority(&self.ledger, record)?;
        self.ledger.prove_active(active)?;
        authorities::chain(record, active)?;
        authorities::kept_manifest(&self.ledger, active)
    }
}

fn follows(epoch: &EpochRecord) -> Result<(), LedgerError> {
    let follows = epoch.transition == transition(&epoch.manifest_sha256, &epoch.previous);
    agree(follows, || of(epoch, "its transition does not follow from its manifest and the one before"))
}

/// What a backend calls a key has its label in it. What has no key yet has no wrong one.
fn has_label(key: Option<&StoredKey>, label: &str) -> bool {
    let reference = |key: &StoredKey| key.reference.parse::<KeyReference>().ok();
    key.is_none_or(|key| reference(key).is_some_and(|reference| reference.label().as_str() == label))
}

fn of(epoch: &EpochRecord, what: &str) -> String {
    format!("epoch {} of authority `{}`: {what}", epoch.generation, epoch.authority)
}

fn agree(holds: bool, what: impl FnOnce() -> String) -> Result<(), LedgerError> {
    if holds { Ok(()) } else { Err(LedgerError::Tampered { what: what() }) }
}
