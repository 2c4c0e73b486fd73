//! The handle that everybody holds.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering, mpsc::TrySendError},
    time::Instant,
};

use hallmark_policy::{
    Reason, Refusal, RequestIdentity, Revocation, Warrant, content::Serial, crl::CrlScope, key::SpkiDigest,
    time::UnixTime,
};
use hallmark_tlog::{hash::Hash, note::VerifierKey};
use tokio::sync::oneshot;

use crate::{
    Allowed, Answer, AuthorityRecord, CaKey, CertificateFilter, CertificatePage, ClaimedName, CrlRecord, CrlStatus,
    EpochRecord, Epochs, Event, Fetch, Found, FreezeWish, Frozen, Head, InstanceFilter, InstancePage, InstanceRecord,
    InstanceRevocation, InstanceRevoked, Issued, LedgerConfig, LedgerError, LogKeys, Logged, NameRelease, OpenError,
    Opened, REVOCATIONS_MAX, ReceiptHandle, Released, Revoke, RevokeAt, Revoked, Room, Seal, Step, UnixMillis,
    authority, certificate, claim, crl, freeze, instance, nodes, open,
    operation::{Operation, Reply},
    request::RequestRow,
    revocation,
    shared::Shared,
    signing::{Job, Waiting},
    threads::{Inner, WRITER_PANICKED},
};

/// The durable truth. A cheap handle: clones share one writer.
///
/// Dropping the last handle stops it as [`stop`](Self::stop) does.
#[derive(Clone, Debug)]
pub struct Ledger {
    inner: Arc<Inner>,
}

impl Ledger {
    /// Opens or makes a database, checks it against what was published, and starts the threads.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(config: LedgerConfig, keys: impl Into<LogKeys>) -> Result<Opened, OpenError> {
        let keys = keys.into();
        let checked = open::open(&config, &keys)?;
        let (recovery, key_change) = (checked.recovery, checked.key_change.clone());
        let inner = Inner::start(&config, checked, keys)?;
        Ok(Opened { ledger: Self { inner: Arc::new(inner) }, recovery, key_change })
    }

    /// Commits a warrant, if its conditions hold inside the transaction.
    ///
    /// # Errors
    /// See [`LedgerError`]; a condition that does not hold is an answer, [`Issued::Refused`].
    pub async fn issue(&self, warrant: Warrant, at: UnixMillis) -> Result<Issued, LedgerError> {
        let warrant = Box::new(warrant);
        self.ask(|reply| Operation::Issue { warrant, at, deadline: None, reply }).await
    }

    /// As [`issue`](Self::issue); [`Issued::Expired`], with nothing written, if the deadline has passed when the writer
    /// comes to it.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub async fn issue_before(
        &self,
        warrant: Warrant,
        at: UnixMillis,
        deadline: Instant,
    ) -> Result<Issued, LedgerError> {
        let (warrant, deadline) = (Box::new(warrant), Some(deadline));
        self.ask(|reply| Operation::Issue { warrant, at, deadline, reply }).await
    }

    /// What became of a request id. Reads only.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn find(&self, request: &RequestIdentity) -> Result<Found, LedgerError> {
        let row = self.read(|connection| RequestRow::find(connection, request))?;
        Ok(row.map_or(Found::New, |row| row.found(&request.content_sha256)))
    }

    /// Whether an alarm, or worse, follows from what a request wants to do to an instance's record.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn is_alarming(
        &self,
        authority: &str,
        moved: &hallmark_policy::instance::InstanceMove,
        at: UnixMillis,
    ) -> Result<bool, LedgerError> {
        self.read(|connection| crate::instance::is_alarming(connection, authority, moved, at))
    }

    /// Digest of what was signed with that key under that serial number, where it is kept: of instances' certificates
    /// ([`signed_sha256`](hallmark_policy::instance::signed_sha256)).
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn signed_before(&self, issuer: SpkiDigest, serial: Serial) -> Result<Option<[u8; 32]>, LedgerError> {
        self.read(|connection| instance::signed_before(connection, issuer, serial))
    }

    /// When a request was asked: committed, or answered with the certificate of another.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn asked_at(&self, request: &RequestIdentity) -> Result<Option<UnixMillis>, LedgerError> {
        let row = self.read(|connection| RequestRow::find(connection, request))?;
        Ok(row.map(|row| row.at))
    }

    /// Hands out again what was committed and never signed, after saying so in the log; or voids it where its epoch is
    /// no longer in its state, or its end has passed.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub async fn resume(&self, request: &RequestIdentity, at: UnixMillis) -> Result<Issued, LedgerError> {
        let request = request.clone();
        self.ask(|reply| Operation::Resume { request, at, reply }).await
    }

    /// Logs a refusal. It binds no request id.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub async fn refuse(&self, refusal: Refusal, at: UnixMillis) -> Result<Logged, LedgerError> {
        let refusal = Box::new(refusal);
        self.ask(|reply| Operation::Refuse { refusal, at, reply }).await
    }

    /// Logs an event.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub async fn record(&self, event: Event, at: UnixMillis) -> Result<Logged, LedgerError> {
        self.ask(|reply| Operation::Record { event, at, reply }).await
    }

    /// Keeps the signature over a committed TBSCertificate; durable when it returns. The first one kept wins and comes
    /// back, so that retries give the same bytes.
    ///
    /// # Errors
    /// See [`LedgerError`]; [`LedgerError::Condition`] where the request is void.
    pub async fn keep_signature(&self, log_index: u64, seal: impl Into<Seal>) -> Result<Vec<u8>, LedgerError> {
        let seal = seal.into();
        self.ask(|reply| Operation::KeepSignature { log_index, seal, reply }).await
    }

    /// An old entry with a receipt under the newest signed checkpoint.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub async fn receipt(&self, log_index: u64) -> Result<Logged, LedgerError> {
        let known = log_index < self.head().size;
        let entry = self.read(|connection| nodes::entry(connection, log_index))?.filter(|_| known);
        let entry = entry.ok_or(LedgerError::UnknownIndex { log_index })?;
        let (sender, receiver) = oneshot::channel();
        let waiting = Waiting { index: log_index, leaf: Hash::of_leaf(&entry), sender };
        self.inner.jobs.send(Job::Old(waiting)).map_err(|_| LedgerError::Stopped)?;
        Ok(Logged { index: log_index, entry, receipt: ReceiptHandle { receiver } })
    }

    /// All authorities, by name.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn authorities(&self) -> Result<Vec<AuthorityRecord>, LedgerError> {
        self.read(|connection| AuthorityRecord::read(connection, None))
    }

    /// One authority.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn authority(&self, name: &str) -> Result<Option<AuthorityRecord>, LedgerError> {
        self.read(|connection| AuthorityRecord::read(connection, Some(name))).map(|found| found.into_iter().next())
    }

    /// Epochs of an authority, newest first.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn epochs(&self, authority: &str, which: Epochs) -> Result<Vec<EpochRecord>, LedgerError> {
        self.read(|connection| EpochRecord::read(connection, authority, which))
    }

    /// One epoch of an authority: the newest of those that are meant.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn epoch(&self, authority: &str, which: Epochs) -> Result<Option<EpochRecord>, LedgerError> {
        self.epochs(authority, which).map(|found| found.into_iter().next())
    }

    /// Who fetched an epoch's chain, by name, so many at most.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn fetches(&self, authority: &str, generation: u64, most: u32) -> Result<Vec<Fetch>, LedgerError> {
        self.read(|connection| authority::fetches(connection, authority, generation, most))
    }

    /// Remembers that a caller fetched an epoch's chain. It has no entry; losing it loses nothing that was promised.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub async fn keep_fetch(
        &self,
        authority: &str,
        generation: u64,
        caller: &str,
        at: UnixMillis,
    ) -> Result<(), LedgerError> {
        let (authority, caller) = (authority.to_owned(), caller.to_owned());
        self.ask(|reply| Operation::KeepFetch { authority, generation, caller, at, reply }).await
    }

    /// Written forms of an authority with the names that have them: those behind `after`, so many at most.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn claimed_names(&self, authority: &str, after: &str, most: u32) -> Result<Vec<ClaimedName>, LedgerError> {
        self.read(|connection| claim::page(connection, authority, after, most))
    }

    /// Makes a written form free again, after saying so in the log, in the same transaction.
    ///
    /// # Errors
    /// See [`LedgerError`]; a form that is kept is an answer, [`Released::Kept`].
    pub async fn release_name(&self, release: NameRelease, at: UnixMillis) -> Result<Released, LedgerError> {
        self.ask(|reply| Operation::ReleaseName { release, at, reply }).await
    }

    /// Leaf certificates of an authority, newest first, one page of them. It reads the log, and blocks meanwhile.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn certificates(
        &self,
        authority: &str,
        filter: &CertificateFilter,
        at: UnixMillis,
    ) -> Result<CertificatePage, LedgerError> {
        self.read(|connection| certificate::page(connection, authority, filter, at))
    }

    /// One page of records of an authority's instances, in the order of providers and ids. `at` says which have ended. It blocks meanwhile.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn instances(
        &self,
        authority: &str,
        filter: &InstanceFilter,
        at: UnixMillis,
    ) -> Result<InstancePage, LedgerError> {
        self.read(|connection| instance::page(connection, authority, filter, at))
    }

    /// The record of one instance.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn instance(&self, authority: &str, provider: &str, id: &str) -> Result<Option<InstanceRecord>, LedgerError> {
        self.read(|connection| instance::show(connection, authority, provider, id))
    }

    /// Revokes an instance with all its certificates, in one transaction.
    ///
    /// # Errors
    /// See [`LedgerError`]; what cannot be revoked is an answer.
    pub async fn revoke_instance(
        &self,
        wish: InstanceRevocation,
        at: impl Into<RevokeAt>,
    ) -> Result<InstanceRevoked, LedgerError> {
        let at = at.into();
        self.ask(|reply| Operation::RevokeInstance { wish, at, reply }).await
    }

    /// Takes the record of an instance away, so that it may register anew.
    ///
    /// # Errors
    /// See [`LedgerError`]; that there is none is an answer.
    pub async fn allow_instance(&self, wish: InstanceRevocation, at: UnixMillis) -> Result<Allowed, LedgerError> {
        self.ask(|reply| Operation::AllowInstance { wish, at, reply }).await
    }

    /// Lets an authority issue again that a certificate unknown to this database had stopped. None: it is not stopped.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub async fn resume_authority(
        &self,
        authority: &str,
        by: &str,
        why: &str,
        at: UnixMillis,
    ) -> Result<Option<Logged>, LedgerError> {
        let (authority, by, why) = (authority.to_owned(), by.to_owned(), why.to_owned());
        self.ask(|reply| Operation::ResumeAuthority { authority, by, why, at, reply }).await
    }

    /// Freezes an authority: no leaf is committed for it after this, until it is thawed.
    ///
    /// # Errors
    /// See [`LedgerError`]; that it is frozen already is an answer.
    pub async fn freeze_authority(&self, wish: FreezeWish, at: UnixMillis) -> Result<Frozen, LedgerError> {
        self.ask(|reply| Operation::FreezeAuthority { wish, at, reply }).await
    }

    /// Lets a frozen authority issue again. None: it is not frozen.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub async fn thaw_authority(&self, wish: FreezeWish, at: UnixMillis) -> Result<Option<Logged>, LedgerError> {
        self.ask(|reply| Operation::ThawAuthority { wish, at, reply }).await
    }

    /// Why an authority signs no leaf, if an operator froze it.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn frozen(&self, authority: &str) -> Result<Option<Reason>, LedgerError> {
        self.read(|connection| freeze::frozen(connection, authority))
    }

    /// Stops an authority, because there is a key of that label that only a newer database knows. None: that was seen before, and an operator has accepted
    /// this database for it, or is still to do so.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub async fn stop_authority(
        &self,
        authority: &str,
        label: &str,
        sentence: &str,
        at: UnixMillis,
    ) -> Result<Option<Logged>, LedgerError> {
        let (authority, label, sentence) = (authority.to_owned(), label.to_owned(), sentence.to_owned());
        self.ask(|reply| Operation::StopAuthority { authority, label, sentence, at, reply }).await
    }

    /// Why an authority issues nothing, if a certificate unknown to this database stopped it.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn stopped(&self, authority: &str) -> Result<Option<Reason>, LedgerError> {
        self.read(|connection| instance::stopped(connection, authority))
    }

    /// When an operator took an older database for good, if ever: leaves of the authority begin then or later.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn restored_at(&self, authority: &str) -> Result<Option<UnixTime>, LedgerError> {
        self.read(|connection| instance::restored_at(connection, authority))
    }

    /// The bytes of that SHA-256: a manifest, a policy, a request. They are compared with their digest.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn blob(&self, sha256: &[u8; 32]) -> Result<Option<Vec<u8>>, LedgerError> {
        let found = self.read(|connection| authority::blob(connection, sha256))?;
        Ok(found.filter(|bytes| hallmark_entry::sha256(bytes) == *sha256))
    }

    /// The keys that are, were or are to be a CA's, whatever the state of their authority or epoch.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn ca_keys(&self) -> Result<Vec<CaKey>, LedgerError> {
        self.read(authority::ca_keys)
    }

    /// Takes a step in an authority's life.
    ///
    /// # Errors
    /// See [`LedgerError`]; [`LedgerError::Condition`] where the state is another than the step wants.
    pub async fn advance(&self, step: Step, at: UnixMillis) -> Result<Logged, LedgerError> {
        self.ask(|reply| Operation::Advance { step, at, reply }).await
    }

    /// Revokes certificates, all in one transaction: at most [`REVOCATIONS_MAX`](crate::REVOCATIONS_MAX).
    ///
    /// # Errors
    /// See [`LedgerError`]; [`LedgerError::Condition`] for more at once. What cannot be revoked is an answer, [`Revoked`].
    pub async fn revoke(&self, revokes: Vec<Revoke>, at: impl Into<RevokeAt>) -> Result<Vec<Revoked>, LedgerError> {
        let at = at.into();
        if revokes.len() > REVOCATIONS_MAX {
            let sentence = format!(
                "{} certificates are to be revoked at once; hint: ask for {REVOCATIONS_MAX} at most, again and again",
                revokes.len()
            );
            return Err(LedgerError::Condition { sentence });
        }
        self.ask(|reply| Operation::Revoke { revokes, at, reply }).await
    }

    /// The revocation of a certificate, by the key that signed it.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn revocation(&self, issuer: SpkiDigest, serial: Serial) -> Result<Option<Revocation>, LedgerError> {
        self.read(|connection| revocation::find(connection, issuer, serial))
    }

    /// Whether the database knows a certificate of that issuer with that serial number.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn is_known(&self, issuer: SpkiDigest, serial: Serial) -> Result<bool, LedgerError> {
        self.read(|connection| revocation::is_known(connection, issuer, serial))
    }

    /// Every revocation of an issuer that belongs on a CRL with this scope, in any order. Those of ended certificates are forgotten once
    /// CRLs after their end have listed them.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn revocations(&self, issuer: SpkiDigest, scope: CrlScope) -> Result<Vec<Revocation>, LedgerError> {
        self.read(|connection| revocation::all(connection, issuer, scope))
    }

    /// How far the CRLs of an issuer with this scope are.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn crl_status(&self, issuer: SpkiDigest, scope: CrlScope) -> Result<CrlStatus, LedgerError> {
        self.read(|connection| crl::status(connection, issuer, scope))
    }

    /// The newest CRL of an issuer with this scope that is signed, with its parts.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn latest_crl(&self, issuer: SpkiDigest, scope: CrlScope) -> Result<Option<(CrlRecord, Answer)>, LedgerError> {
        self.read(|connection| crl::latest(connection, issuer, scope))
    }

    /// A name that no other ledger has: random bytes that were drawn when the database was made. A copy keeps them.
    #[must_use]
    pub fn id(&self) -> [u8; 8] {
        self.inner.id
    }

    /// The newest durable state of the log.
    #[must_use]
    pub fn head(&self) -> Head {
        self.inner.shared.head()
    }

    /// What receipts and checkpoints are verified with.
    #[must_use]
    pub fn verifier_key(&self) -> VerifierKey {
        self.inner.verifier.clone()
    }

    /// Takes nothing more, does what is queued, publishes to the end, moves the write-ahead log into the database and
    /// frees the lock. It blocks meanwhile. Later calls give [`LedgerError::Stopped`].
    pub fn stop(&self) {
        self.inner.stop();
    }

    /// How many alarms stand in the log that were raised since it was opened, by authority and the alarm's word.
    #[must_use]
    pub fn alarms(&self) -> BTreeMap<(String, &'static str), u64> {
        self.inner.shared.alarms()
    }

    /// Transactions that were committed since it was opened; fewer than operations where they shared some.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.inner.shared.commits()
    }

    /// What there was room for when the last batch was written.
    #[must_use]
    pub fn room(&self) -> Room {
        self.inner.shared.room()
    }

    async fn ask<T>(&self, operation: impl FnOnce(Reply<T>) -> Operation) -> Result<T, LedgerError> {
        self.check()?;
        let (reply, answer) = oneshot::channel();
        let meters = &self.inner.shared.meters;
        meters.waits();
        self.inner.queue.try_send(operation(reply)).map_err(|error| {
            meters.begun(1);
            match error {
                TrySendError::Full(_) => LedgerError::Busy,
                TrySendError::Disconnected(_) => self.gone(),
            }
        })?;
        answer.await.unwrap_or_else(|_| Err(self.gone()))
    }

    /// Why the writer is not there: it was stopped, or it died.
    fn gone(&self) -> LedgerError {
        let died = || LedgerError::Poisoned { cause: WRITER_PANICKED.to_owned() };
        self.check().err().unwrap_or_else(died)
    }

    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T>,
    ) -> Result<T, LedgerError> {
        self.check()?;
        self.inner.shared.read(read)
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.inner.shared
    }

    /// Gives the thread that signs something to do.
    pub(crate) fn sign_by_job(&self, job: Job) -> Result<(), LedgerError> {
        self.check()?;
        self.inner.jobs.send(job).map_err(|_| LedgerError::Stopped)
    }

    /// Whether it still takes operations.
    pub(crate) fn check(&self) -> Result<(), LedgerError> {
        if let Some(poisoned) = self.inner.shared.poisoned() {
            return Err(poisoned);
        }
        if self.inner.stopping.load(Ordering::Acquire) { Err(LedgerError::Stopped) } else { Ok(()) }
    }
}
