//! The handle that everybody holds.

use std::sync::Arc;

use hallmark_policy::{Refusal, RequestIdentity, Warrant};
use hallmark_tlog::note::{SignerKey, VerifierKey};

use crate::{
    AuthorityRecord, EpochRecord, Event, Found, Head, Issued, LedgerConfig, LedgerError, Logged, OpenError, Opened,
    Step, UnixMillis,
};

/// The durable truth. A cheap handle: clones share one writer.
#[derive(Clone, Debug)]
pub struct Ledger {
    shared: Arc<()>,
}

impl Ledger {
    /// Opens or makes a database, checks it against what was published, and starts the threads.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(config: LedgerConfig, log_key: SignerKey) -> Result<Opened, OpenError> {
        todo!()
    }

    /// Commits a warrant, if its conditions hold inside the transaction.
    ///
    /// # Errors
    /// See [`LedgerError`]; a condition that does not hold is an answer, [`Issued::Refused`].
    pub async fn issue(&self, warrant: Warrant, at: UnixMillis) -> Result<Issued, LedgerError> {
        todo!()
    }

    /// What became of a request id. Reads only.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn find(&self, request: &RequestIdentity) -> Result<Found, LedgerError> {
        todo!()
    }

    /// Hands out again what was committed and never signed, after saying so in the log; or voids it where its epoch is
    /// no longer in its state, or its end has passed.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub async fn resume(&self, request: &RequestIdentity, at: UnixMillis) -> Result<Issued, LedgerError> {
        todo!()
    }

    /// Logs a refusal. It binds no request id.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub async fn refuse(&self, refusal: Refusal, at: UnixMillis) -> Result<Logged, LedgerError> {
        todo!()
    }

    /// Logs an event.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub async fn record(&self, event: Event, at: UnixMillis) -> Result<Logged, LedgerError> {
        todo!()
    }

    /// Keeps the signature over a committed TBSCertificate; durable when it returns. The first one kept wins and comes
    /// back, so that retries give the same bytes.
    ///
    /// # Errors
    /// See [`LedgerError`]; [`LedgerError::Condition`] where the request is void.
    pub async fn keep_signature(&self, log_index: u64, signature: Vec<u8>) -> Result<Vec<u8>, LedgerError> {
        todo!()
    }

    /// An old entry with a receipt under the newest signed checkpoint.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub async fn receipt(&self, log_index: u64) -> Result<Logged, LedgerError> {
        todo!()
    }

    /// All authorities, by name.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn authorities(&self) -> Result<Vec<AuthorityRecord>, LedgerError> {
        todo!()
    }

    /// One authority.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn authority(&self, name: &str) -> Result<Option<AuthorityRecord>, LedgerError> {
        todo!()
    }

    /// The epochs of an authority, by generation.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn epochs(&self, authority: &str) -> Result<Vec<EpochRecord>, LedgerError> {
        todo!()
    }

    /// Takes a step in an authority's life.
    ///
    /// # Errors
    /// See [`LedgerError`]; [`LedgerError::Condition`] where the state is another than the step wants.
    pub async fn advance(&self, step: Step, at: UnixMillis) -> Result<Logged, LedgerError> {
        todo!()
    }

    /// The newest durable state of the log.
    #[must_use]
    pub fn head(&self) -> Head {
        todo!()
    }

    /// What receipts and checkpoints are verified with.
    #[must_use]
    pub fn verifier_key(&self) -> VerifierKey {
        todo!()
    }

    /// Takes nothing more, does what is queued, publishes to the end, moves the write-ahead log into the database and
    /// frees the lock. It blocks meanwhile. Later calls give [`LedgerError::Stopped`].
    pub fn stop(&self) {
        todo!()
    }
}
