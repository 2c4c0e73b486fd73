//! Keys and chains of epochs by the digest of their key, also of epochs that are not served any more.

use hallmark_ledger::{EpochRecord, Epochs};
use hallmark_policy::{
    Reason, ReasonCode,
    key::{PublicKey, SpkiDigest},
};

use crate::{
    answer::Failure,
    authorities::{self, Chain},
    core::Inner,
};

impl Inner {
    /// The epoch of an authority whose key this is.
    fn epoch_by_key(&self, authority: &str, issuer: SpkiDigest) -> Result<Option<EpochRecord>, Failure> {
        self.ledger.epoch(authority, Epochs::Key(issuer)).map_err(|error| self.ledger_failed(&error))
    }

    /// The public key of that digest, among those of an authority's epochs and its root.
    pub(crate) fn issuer_key(&self, authority: &str, issuer: SpkiDigest) -> Result<PublicKey, Failure> {
        if let Some(serving) = self.all_serving().get(authority)
            && serving.issuer.key.digest() == issuer
        {
            return Ok(serving.issuer.key.clone());
        }
        let record = self.ledger.authority(authority).map_err(|error| self.ledger_failed(&error))?;
        let root = record.and_then(|record| record.key).filter(|key| SpkiDigest::of(&key.spki) == issuer);
        let stored = match root {
            Some(key) => Some(key),
            None => self.epoch_by_key(authority, issuer)?.and_then(|epoch| epoch.key),
        };
        stored.and_then(|key| PublicKey::parse(&key.spki).ok()).ok_or_else(|| {
            Reason::new(ReasonCode::LedgerFailed, "issuer", "the ledger does not know the key of this certificate")
                .into()
        })
    }

    /// The certificates of the epoch whose key this is.
    pub(crate) fn chain_by_key(&self, authority: &str, issuer: SpkiDigest) -> Result<Chain, Failure> {
        if let Some(serving) = self.all_serving().get(authority)
            && serving.issuer.key.digest() == issuer
        {
            return Ok(serving.chain.clone());
        }
        let unknown =
            || Reason::new(ReasonCode::LedgerFailed, "issuer", "the ledger does not know the certificate's epoch");
        let epoch = self.epoch_by_key(authority, issuer)?.ok_or_else(unknown)?;
        let record = self.ledger.authority(authority).map_err(|error| self.ledger_failed(&error))?;
        authorities::chain(&record.ok_or_else(unknown)?, &epoch).map_err(|error| {
            tracing::error!(%error, "stored CA certificates cannot be read");
            Failure::from(unknown())
        })
    }
}
