//! Keys and chains of epochs by the digest of their key, also of epochs that are not served any more.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

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

/// Keys of earlier epochs by their identifiers, read from the ledger once: certificates of them are presented for a while.
#[derive(Default)]
pub(crate) struct EarlierKeys(Mutex<HashMap<(String, [u8; 20]), PublicKey>>);

impl EarlierKeys {
    fn find(&self, authority: &str, identifier: &[u8; 20]) -> Option<PublicKey> {
        let keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.get(&(authority.to_owned(), *identifier)).cloned()
    }

    fn keep(&self, authority: &str, identifier: [u8; 20], key: &PublicKey) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert((authority.to_owned(), identifier), key.clone());
    }
}

impl Inner {
    /// The epoch of an authority whose key this is.
    pub(crate) fn epoch_by_key(&self, authority: &str, issuer: SpkiDigest) -> Result<Option<EpochRecord>, Failure> {
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

    /// The public key with this key identifier, among those of an authority's epochs.
    pub(crate) fn key_by_identifier(
        &self,
        authority: &str,
        identifier: &[u8; 20],
    ) -> Result<Option<PublicKey>, Failure> {
        if let Some(serving) = self.all_serving().get(authority)
            && serving.issuer.key.key_identifier() == *identifier
        {
            return Ok(Some(serving.issuer.key.clone()));
        }
        if let Some(key) = self.earlier_keys.find(authority, identifier) {
            return Ok(Some(key));
        }
        let keys = self.ledger.ca_keys().map_err(|error| self.ledger_failed(&error))?;
        let of_authority = keys.iter().filter(|(name, what, _)| name == authority && *what == "epoch");
        let found = of_authority.filter_map(|(_, _, spki)| PublicKey::parse(spki).ok());
        let found = found.into_iter().find(|key| key.key_identifier() == *identifier);
        if let Some(key) = &found {
            self.earlier_keys.keep(authority, *identifier, key);
        }
        Ok(found)
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
