//! CRLs: one at a time, each numbered after the one before, durable before anybody sees it.

use std::{
    num::NonZeroU16,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hallmark_issuance::reassemble;
use hallmark_ledger::{Answer, AuthorityRecord, CrlRecord, CrlStatus, EpochState};
use hallmark_policy::{
    Approved, CrlRequest, Decision, Facts, Reason, ReasonCode, Revocation, SIGNER,
    crl::CrlScope,
    decide_crl,
    key::{PublicKey, SpkiDigest},
    profile::Authority,
    time::UnixTime,
};
use tokio::sync::Mutex;

use crate::{
    answer::Failure,
    authorities::AuthorityError,
    ca::{Ca, CrlList, described},
    core::{Core, Inner},
    crl_files::{CrlFileError, CrlFiles},
    crl_refresh::Refreshing,
    order::{self, Keep},
};

/// How long the signature on a CRL may take. A rotation of the same authority may wait for it.
const SIGN_SECS_MAX: u64 = 10;

/// How often a CRL is begun again because a certificate was revoked, or the policy changed, while it was made.
const ATTEMPTS_MAX: usize = 4;

/// A CRL that is signed and durable.
#[derive(Clone, PartialEq, Eq)]
pub struct Crl {
    /// cRLNumber.
    pub number: u64,
    /// thisUpdate.
    pub this_update: UnixTime,
    /// nextUpdate.
    pub next_update: UnixTime,
    /// How many certificates it lists.
    pub entries: u64,
    /// Index of its decision in the log.
    pub log_index: u64,
    /// The CertificateList, DER.
    pub der: Vec<u8>,
}

impl std::fmt::Debug for Crl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { number, this_update, next_update, entries, .. } = self;
        write!(f, "Crl(number {number}, {this_update} to {next_update}, {entries} entries)")
    }
}

/// Why something was not done: all the reasons.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct NotDone {
    /// The reasons, at least one.
    pub reasons: Vec<Reason>,
}

impl From<Failure> for NotDone {
    fn from(failure: Failure) -> Self {
        Self { reasons: failure.reasons }
    }
}

/// What the core keeps for CRLs.
pub(crate) struct Crls {
    /// One CRL at a time: their numbers follow each other.
    making: Mutex<()>,
    pub(crate) files: CrlFiles,
    pub(crate) refreshing: Refreshing,
}

impl Crls {
    /// Newest ones are published below that directory.
    pub(crate) fn published_below(directory: &Path) -> Self {
        Self { making: Mutex::default(), files: CrlFiles::below(directory), refreshing: Refreshing::default() }
    }
}

impl Core {
    /// Signs a new CRL. `reaching`: what nextUpdate is to reach, where that is later than the policy's lifetime.
    ///
    /// # Errors
    /// See [`NotDone`].
    pub async fn sign_crl(
        &self,
        authority: &str,
        list: impl Into<CrlList>,
        reaching: Option<UnixTime>,
    ) -> Result<Crl, NotDone> {
        let (inner, authority, list) = (Arc::clone(&self.inner), authority.to_owned(), list.into());
        let work = inner.begin();
        // Not cancelled with whoever waits: what is committed is signed.
        let signing = tokio::spawn(async move {
            let alone = inner.rotating.alone(&authority).await;
            let signed = inner.sign_crl(&authority, list, reaching).await;
            drop((alone, work));
            signed
        });
        signing.await.unwrap_or_else(|_| Err(interrupted())).map_err(NotDone::from)
    }

    /// The newest CRL of that list that is signed.
    ///
    /// # Errors
    /// See [`NotDone`].
    pub fn latest_crl(&self, authority: &str, list: impl Into<CrlList>) -> Result<Option<Crl>, NotDone> {
        self.inner.latest_crl(authority, list).map_err(NotDone::from)
    }
}

impl Inner {
    /// Signs a new CRL: for a rotation, an operator, or the background. Whoever calls changes the authority's epochs alone,
    /// so that no key is opened or closed here that a rotation fences.
    pub(crate) async fn sign_crl(
        self: &Arc<Self>,
        authority: &str,
        list: impl Into<CrlList>,
        reaching: Option<UnixTime>,
    ) -> Result<Crl, Failure> {
        let list = list.into();
        if list.ca == Ca::Root {
            offline(&self.ca(authority, list.ca)?.authority).map_or(Ok(()), Err)?;
        }
        let _one_at_a_time = self.crls.making.lock().await;
        self.finish_pending(authority, list.ca).await?;
        for _ in 1..ATTEMPTS_MAX {
            match self.next_crl(authority, list, reaching).await {
                Err(failure) if is_overtaken(&failure) => {}
                other => return other,
            }
        }
        self.next_crl(authority, list, reaching).await
    }

    /// Signs the CRL that an interrupted run committed: the next one has the next number. It is signed again as any request is,
    /// or void if its end has passed.
    async fn finish_pending(self: &Arc<Self>, authority: &str, ca: Ca) -> Result<(), Failure> {
        let Some(identity) = self.crl_status(authority, ca)?.pending else { return Ok(()) };
        let _open = self.open_ca(authority, ca).await?;
        match order::resume(self, &identity, deadline()).await {
            Ok(_) => Ok(()),
            Err(failure) if failure.reasons.iter().any(|reason| reason.code == ReasonCode::RequestVoid) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    async fn next_crl(
        self: &Arc<Self>,
        authority: &str,
        list: CrlList,
        reaching: Option<UnixTime>,
    ) -> Result<Crl, Failure> {
        let now = self.trusted_clock().await?;
        let (deciding, name) = (Arc::clone(self), authority.to_owned());
        let decided = tokio::task::spawn_blocking(move || deciding.decide_crl(&name, list, reaching, now.time)).await;
        let approved = match decided.map_err(|_| interrupted())?? {
            Ok(approved) => approved,
            Err(reasons) => return Err(self.refuse(reasons, facts(authority)).await),
        };
        let _open = self.open_ca(authority, list.ca).await?;
        order::certify(self, *approved, now, deadline(), Keep::BeforeReply, None).await?;
        let crl = self.latest_crl(authority, list)?.ok_or_else(interrupted)?;
        tracing::info!(authority, %list, number = crl.number, entries = crl.entries, "a CRL is signed");
        let (publishing, name) = (Arc::clone(self), authority.to_owned());
        let published = tokio::task::spawn_blocking(move || {
            publishing.publish_crl(&name, list, &crl);
            crl
        });
        published.await.map_err(|_| interrupted())
    }

    /// Puts a CRL where files are served from. It is signed and durable: that it cannot be published now is said, and tried again every
    /// minute.
    pub(crate) fn publish_crl(&self, authority: &str, list: CrlList, crl: &Crl) {
        if let Err(error) = self.crls.files.write(authority, list, crl.number, &crl.der) {
            tracing::error!(authority, %list, %error, "a CRL could not be published; it is tried again");
        }
    }

    /// Reads what the ledger knows, and has it decided.
    fn decide_crl(
        &self,
        authority: &str,
        list: CrlList,
        reaching: Option<UnixTime>,
        now: UnixTime,
    ) -> Result<Result<Box<Approved>, Vec<Reason>>, Failure> {
        let failed = |error| self.ledger_failed(&error);
        let policy = self.policy();
        let record = self.ca(authority, list.ca)?;
        if let Some(objection) = record.crl_objection() {
            return Ok(Err(vec![objection]));
        }
        let issuer = record.issuer(described(&policy, authority)?).map_err(unfit)?;
        let key = issuer.for_crl().key().digest();
        // The number is read before the list: what is revoked in between is found out when it is committed.
        let status = self.ledger.crl_status(key, list.scope).map_err(failed)?;
        let revocations: Vec<Revocation> = self.ledger.revocations(key, list.scope).map_err(failed)?;
        let request = CrlRequest {
            issuer: issuer.for_crl(),
            scope: list.scope,
            after: status.last_number,
            published: self.published_number(authority, list, issuer.for_crl().key(), status.last_number)?,
            revocations,
            newest_revocation: status.newest_revocation,
            previous: status.newest.as_ref().map(CrlRecord::previous),
            reaching,
        };
        Ok(match decide_crl(&policy, authority, request, now) {
            Decision::Approve(approved) => Ok(approved),
            Decision::Refuse(reasons) => Err(reasons),
        })
    }

    /// Number of the CRL that is published where this one is to be, if that is this key's and newer than what the ledger knows: an older database
    /// was restored, and relying parties have seen that number.
    fn published_number(
        &self,
        authority: &str,
        list: CrlList,
        key: &PublicKey,
        last_number: u64,
    ) -> Result<Option<u64>, Failure> {
        let unknown = |error: CrlFileError| Reason::new(ReasonCode::LedgerFailed, "number", error.to_string());
        let Some(found) = self.crls.files.of_another_run(authority, list).map_err(unknown)? else { return Ok(None) };
        let number = hallmark_issuance::crl_number(&found, key);
        match number {
            None => {
                tracing::warn!(authority, %list, "what is published as this CRL is none of this key; it is replaced")
            }
            Some(number) if number > last_number => {
                tracing::error!(authority, %list, number, last_number, "a CRL is published that this ledger does not know: the database is older than it");
            }
            Some(_) => {}
        }
        Ok(number.filter(|number| *number > last_number))
    }

    /// Finds the key of a CA, compares it, and lets it sign.
    async fn open_ca(self: &Arc<Self>, authority: &str, ca: Ca) -> Result<OpenCa, Failure> {
        let record = self.ca(authority, ca)?;
        let key = self.open_key(authority, record.key().cloned()).await.map_err(|error| self.making_failed(&error))?;
        let retired = record.epoch.is_some_and(|epoch| epoch.state == EpochState::Retired);
        Ok(OpenCa { inner: Arc::clone(self), key: key.digest(), retired })
    }

    /// How far the CRLs of a list are.
    pub(crate) fn crl_status(&self, authority: &str, list: impl Into<CrlList>) -> Result<CrlStatus, Failure> {
        let list = list.into();
        let key = self.ca(authority, list.ca)?.public_key().map_err(unfit)?;
        self.ledger.crl_status(key.digest(), list.scope).map_err(|error| self.ledger_failed(&error))
    }

    /// The lists of a CA: the complete one, and those of the partitions that its leaves are in, or may come to be in.
    pub(crate) fn crl_lists(&self, authority: &str, ca: Ca) -> Result<Vec<CrlList>, Failure> {
        let complete = CrlList::from(ca);
        if ca == Ca::Root {
            return Ok(vec![complete]);
        }
        let policy = self.policy();
        let wanted = policy.authority(authority).and_then(|authority| authority.crl.as_ref()?.partitions);
        let used = self.crl_status(authority, complete)?.partitions;
        let last = used.max(wanted.map_or(0, NonZeroU16::get));
        Ok((0..=last).map(|number| CrlList { ca, scope: CrlScope::numbered(number) }).collect())
    }

    /// The newest complete CRL of a CA, DER; nothing where it has signed none.
    pub(crate) fn newest_crl(&self, authority: &str, ca: Ca) -> Result<Bytes, Failure> {
        Ok(self.latest_crl(authority, ca)?.map(|crl| crl.der.into()).unwrap_or_default())
    }

    /// The newest CRL of a list that is signed.
    pub(crate) fn latest_crl(&self, authority: &str, list: impl Into<CrlList>) -> Result<Option<Crl>, Failure> {
        let list = list.into();
        let key = self.ca(authority, list.ca)?.public_key().map_err(unfit)?;
        let latest = self.ledger.latest_crl(key.digest(), list.scope).map_err(|error| self.ledger_failed(&error))?;
        let Some((record, Answer { to_be_signed, algorithm, signature, .. })) = latest else { return Ok(None) };
        let signed = reassemble(&to_be_signed, algorithm, &signature, &key).map_err(|error| order::defect(&error))?;
        let CrlRecord { number, this_update, next_update, entries, log_index, newest_revocation: _ } = record;
        Ok(Some(Crl { number, this_update, next_update, entries, log_index, der: signed.into_der() }))
    }
}

/// Why an authority signs no CRLs.
pub(crate) fn not_configured(authority: &Authority) -> Option<Reason> {
    let sentence = format!("the policy has no `crl` for authority `{}`", authority.name);
    let reason = Reason::new(ReasonCode::CrlNotConfigured, "revoke_previous", sentence);
    authority.crl.is_none().then(|| reason.allowing("crl = { lifetime = \"7d\", refresh = \"1d\" } in the authority"))
}

/// Why nothing can be put on the root's list.
pub(crate) fn offline(record: &AuthorityRecord) -> Option<Reason> {
    let sentence =
        format!("the root of authority `{}` is offline, so that this signer signs no CRL of it", record.name);
    let reason = Reason::new(ReasonCode::RootOffline, "revoke_previous", sentence);
    record.is_offline().then(|| reason.allowing("a CRL that is signed where the root's key is"))
}

/// A CA whose key may sign. The key of a retired epoch may do so no longer than this lives.
struct OpenCa {
    inner: Arc<Inner>,
    key: SpkiDigest,
    retired: bool,
}

impl Drop for OpenCa {
    fn drop(&mut self) {
        if self.retired {
            self.inner.keyring.close(self.key);
        }
    }
}

fn facts(authority: &str) -> Facts {
    Facts {
        method: "SignCrl".to_owned(),
        authority: authority.to_owned(),
        caller: SIGNER.to_owned(),
        ..Facts::default()
    }
}

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(SIGN_SECS_MAX)
}

/// Whether something else came first, so that it is worth another attempt at once.
fn is_overtaken(failure: &Failure) -> bool {
    let overtaken = |reason: &Reason| matches!(reason.code, ReasonCode::CrlStale | ReasonCode::PolicyChanged);
    failure.reasons.iter().all(overtaken)
}

/// What is stored of the CA, or its key, is not as it must be.
pub(crate) fn unfit(error: AuthorityError) -> Failure {
    let code = match &error {
        AuthorityError::PolicyDiffers { .. } | AuthorityError::Dropped { .. } => ReasonCode::PolicyDiffers,
        AuthorityError::Key { .. } => ReasonCode::DeviceFailed,
        AuthorityError::NoCeremony { .. } => ReasonCode::CertificateUnfit,
        AuthorityError::Ledger(_)
        | AuthorityError::Reference { .. }
        | AuthorityError::PublicKey { .. }
        | AuthorityError::Certificate { .. }
        | AuthorityError::Incomplete { .. } => ReasonCode::LedgerFailed,
    };
    Reason::new(code, "authority", error.to_string()).into()
}

pub(crate) fn interrupted() -> Failure {
    Reason::new(ReasonCode::LedgerFailed, "authority", "the work was interrupted; ask again").into()
}
