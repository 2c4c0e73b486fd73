//! Records of instances: what operators see of them, revoke and allow. Touches no key.

use bytes::Bytes;
use hallmark_ledger::{
    Allowed, CertificateFilter, InstanceFilter, InstanceRecord, InstanceRevocation, InstanceRevoked, InstanceState,
    Ledger, LedgerError, REVOCATIONS_MAX,
};
use hallmark_policy::{Reason, ReasonCode, crl::RevocationReason, reason::quote, time::UnixTime};
use hallmark_proto::{
    link::Reply,
    operator::{
        AllowInstanceRequest, AllowInstanceResponse, Instance, InstanceCertificate, InstanceState as State,
        ListInstancesRequest, ListInstancesResponse, ResumeAuthorityRequest, ResumeAuthorityResponse,
        RevokeInstanceRequest, RevokeInstanceResponse, ShowInstanceRequest, ShowInstanceResponse,
    },
};

use crate::{
    answer::{self, Failure},
    certificates,
    core::Inner,
    crl::interrupted,
    epochs,
    operate::{check_reason, decode},
};

/// Records or certificates of one answer, where the operator does not say.
pub(crate) const PAGE: u32 = 100;

/// Most records or certificates of one answer.
pub(crate) const PAGE_MAX: u32 = 1_000;

/// Longest text that something is found by, in bytes.
const TEXT_BYTES_MAX: usize = 1_024;

impl Inner {
    /// Lists records.
    pub(crate) async fn list_instances(&self, body: Bytes) -> Result<Reply, Failure> {
        let request: ListInstancesRequest = decode(body)?;
        let state = match State::try_from(request.state) {
            Ok(State::Unspecified) => InstanceState::Any,
            Ok(State::Alive) => InstanceState::Alive,
            Ok(State::Revoked) => InstanceState::Revoked,
            Ok(State::Ended) => InstanceState::Ended,
            Err(_) => {
                let sentence = format!("there is no state {}", request.state);
                return Err(Reason::new(ReasonCode::FieldOutOfLimits, "state", sentence).into());
            }
        };
        let ListInstancesRequest { authority, provider, service, after_provider, after_id, limit, state: _ } = request;
        epochs::known(self, &authority)?;
        for (field, text) in [
            ("provider", &provider),
            ("service", &service),
            ("after_provider", &after_provider),
            ("after_id", &after_id),
        ] {
            check_text(field, text)?;
        }
        let most = usize::try_from(page(limit)?).unwrap_or(usize::MAX);
        let filter = InstanceFilter { provider, service, state, after: (after_provider, after_id), most };
        let now = self.clock.wall();
        let found = self.reading(move |ledger| ledger.instances(&authority, &filter, now.millis)).await?;
        let instances = found.instances.into_iter().map(|record| instance(record, now.time)).collect();
        let more = found.next.is_some();
        let (next_provider, next_id) = found.next.unwrap_or_default();
        Ok(answer::success(&ListInstancesResponse { instances, more, next_provider, next_id }))
    }

    /// Shows one record, with a page of its certificates.
    pub(crate) async fn show_instance(&self, body: Bytes) -> Result<Reply, Failure> {
        let ShowInstanceRequest { authority, provider, id, before_index, limit } = decode(body)?;
        self.check_instance(&authority, &provider, &id)?;
        let most = usize::try_from(page(limit)?).unwrap_or(usize::MAX);
        let now = self.clock.wall();
        let (of_provider, of_id) = (provider.clone(), id.clone());
        let found = self.reading(move |ledger| {
            let Some(record) = ledger.instance(&authority, &of_provider, &of_id)? else { return Ok(None) };
            let filter = CertificateFilter {
                registration: Some(record.registered_index),
                before: (before_index > 0).then_some(before_index),
                most,
                ..CertificateFilter::default()
            };
            Ok(Some((record, ledger.certificates(&authority, &filter, now.millis)?)))
        });
        let (record, page) = found.await?.ok_or_else(|| not_registered(&provider, &id))?;
        Ok(answer::success(&ShowInstanceResponse {
            instance: Some(instance(record, now.time)),
            certificates: page.certificates.into_iter().map(certificates::described).collect(),
            next: page.next,
        }))
    }

    /// Reads the ledger, in a thread for slow work: other calls do not wait for it, and neither does the writer.
    pub(crate) async fn reading<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Ledger) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, Failure> {
        let ledger = self.ledger.clone();
        let found = tokio::task::spawn_blocking(move || read(&ledger)).await;
        found.map_err(|_| interrupted())?.map_err(|error| self.ledger_failed(&error))
    }

    /// Revokes an instance.
    pub(crate) async fn revoke_instance(&self, operator: &str, body: Bytes) -> Result<Reply, Failure> {
        let RevokeInstanceRequest { authority, provider, id, reason, why } = decode(body)?;
        self.check_instance(&authority, &provider, &id)?;
        let reason = revocation_reason(&reason)?;
        check_why(&why)?;
        let unlisted = self.unlisted_of(&authority, &provider, &id).await?;
        let wish = InstanceRevocation { authority, provider, id, reason, by: operator.to_owned(), why };
        let revoked = self.ledger.revoke_instance(wish, self.revoke_at().await).await;
        match revoked.map_err(|error| self.ledger_failed(&error))? {
            InstanceRevoked::Now { logged, certificates, left } => {
                self.crls.refreshing.was_revoked();
                let receipt = self.receipt_or_none(logged).await;
                let (log_index, receipt) = (receipt.log_index, receipt.text);
                let before = false;
                let response = RevokeInstanceResponse { log_index, certificates, before, receipt, left, unlisted };
                Ok(answer::success(&response))
            }
            InstanceRevoked::Before { log_index, certificates, left } => {
                if certificates > 0 {
                    self.crls.refreshing.was_revoked();
                }
                let receipt = self.receipt_of(log_index).await?.text;
                let before = true;
                let response = RevokeInstanceResponse { log_index, certificates, before, receipt, left, unlisted };
                Ok(answer::success(&response))
            }
            InstanceRevoked::Unknown(reason) => Err(reason.into()),
        }
    }

    /// How many of an instance's certificates no CRL will ever name.
    async fn unlisted_of(&self, authority: &str, provider: &str, id: &str) -> Result<u64, Failure> {
        let (named, at) = ((authority.to_owned(), provider.to_owned(), id.to_owned()), self.revoke_at().await);
        let certificates = self.reading(move |ledger| {
            let (authority, provider, id) = named;
            let Some(record) = ledger.instance(&authority, &provider, &id)? else { return Ok(Vec::new()) };
            let filter = CertificateFilter {
                registration: Some(record.registered_index),
                living: true,
                most: REVOCATIONS_MAX,
                ..CertificateFilter::default()
            };
            Ok(ledger.certificates(&authority, &filter, at.ended_by)?.certificates)
        });
        self.unlisted(authority, &certificates.await?)
    }

    /// Lets an instance register anew.
    pub(crate) async fn allow_instance(&self, operator: &str, body: Bytes) -> Result<Reply, Failure> {
        let AllowInstanceRequest { authority, provider, id, why } = decode(body)?;
        self.check_instance(&authority, &provider, &id)?;
        check_why(&why)?;
        let (reason, by) = (RevocationReason::Unspecified, operator.to_owned());
        let wish = InstanceRevocation { authority, provider, id, reason, by, why };
        let allowed = self.ledger.allow_instance(wish, self.clock.wall().millis).await;
        match allowed.map_err(|error| self.ledger_failed(&error))? {
            Allowed::Now(logged) => {
                let receipt = self.receipt_or_none(logged).await;
                let (log_index, receipt) = (receipt.log_index, receipt.text);
                Ok(answer::success(&AllowInstanceResponse { log_index, receipt }))
            }
            Allowed::Unknown(reason) | Allowed::Unfinished(reason) => Err(reason.into()),
        }
    }

    /// Lets a stopped authority issue again.
    pub(crate) async fn resume_authority(&self, operator: &str, body: Bytes) -> Result<Reply, Failure> {
        let ResumeAuthorityRequest { authority, why } = decode(body)?;
        epochs::known(self, &authority)?;
        check_why(&why)?;
        // Certificates from before this moment are lost to the database: it must be the right one.
        let now = self.trusted_clock().await?;
        let resumed = self.ledger.resume_authority(&authority, operator, &why, now.millis).await;
        let logged = resumed.map_err(|error| self.ledger_failed(&error))?.ok_or_else(|| {
            let sentence = format!("authority `{authority}` is not stopped");
            Reason::new(ReasonCode::AuthorityServes, "authority", sentence)
        })?;
        let receipt = self.receipt_or_none(logged).await;
        let (log_index, receipt) = (receipt.log_index, receipt.text);
        Ok(answer::success(&ResumeAuthorityResponse { log_index, receipt }))
    }

    fn check_instance(&self, authority: &str, provider: &str, id: &str) -> Result<(), Failure> {
        epochs::known(self, authority)?;
        for (field, text) in [("provider", provider), ("id", id)] {
            check_text(field, text)?;
            if text.is_empty() {
                return Err(Reason::new(ReasonCode::FieldMissing, field, format!("`{field}` is empty")).into());
            }
        }
        Ok(())
    }
}

/// How many are wanted.
pub(crate) fn page(limit: u32) -> Result<u32, Failure> {
    if limit > PAGE_MAX {
        let reason = Reason::new(ReasonCode::FieldOutOfLimits, "limit", format!("`limit` is {limit}"));
        return Err(reason.allowing(format!("at most {PAGE_MAX}")).into());
    }
    Ok(if limit == 0 { PAGE } else { limit })
}

pub(crate) fn check_text(field: &'static str, text: &str) -> Result<(), Failure> {
    if text.len() <= TEXT_BYTES_MAX {
        return Ok(());
    }
    let reason = Reason::new(ReasonCode::FieldOutOfLimits, field, format!("`{field}` has {} bytes", text.len()));
    Err(reason.allowing(format!("at most {TEXT_BYTES_MAX} bytes")).into())
}

/// Whether an operator says why, in the field of that name.
pub(crate) fn check_why(why: &str) -> Result<(), Failure> {
    check_reason(why).map_err(|failure| Failure {
        reasons: failure
            .reasons
            .into_iter()
            .map(|reason| Reason { field: "why", sentence: reason.sentence.replace("`reason`", "`why`"), ..reason })
            .collect(),
        ..failure
    })
}

/// What CRLs say of a leaf.
pub(crate) fn revocation_reason(word: &str) -> Result<RevocationReason, Failure> {
    const OF_LEAVES: [RevocationReason; 6] = [
        RevocationReason::Unspecified,
        RevocationReason::KeyCompromise,
        RevocationReason::AffiliationChanged,
        RevocationReason::Superseded,
        RevocationReason::CessationOfOperation,
        RevocationReason::PrivilegeWithdrawn,
    ];
    let word = if word.is_empty() { RevocationReason::Unspecified.name() } else { word };
    RevocationReason::from_name(word).filter(|reason| OF_LEAVES.contains(reason)).ok_or_else(|| {
        let sentence = format!("there is no reason {} for a leaf", quote(word));
        let reason = Reason::new(ReasonCode::FieldOutOfLimits, "reason", sentence);
        reason.allowing(OF_LEAVES.map(RevocationReason::name).join(", ")).into()
    })
}

pub(crate) fn not_registered(provider: &str, id: &str) -> Reason {
    let sentence = format!("provider {} has no instance {} registered", quote(provider), quote(id));
    Reason::new(ReasonCode::InstanceUnknown, "id", sentence)
}

fn instance(record: InstanceRecord, now: UnixTime) -> Instance {
    let state = match (&record.revoked, record.not_after > now) {
        (Some(_), _) => State::Revoked,
        (None, true) => State::Alive,
        (None, false) => State::Ended,
    };
    let certificate = |(spki, serial, log_index): (hallmark_policy::key::SpkiDigest, Vec<u8>, u64)| {
        InstanceCertificate { serial: serial.into(), spki_sha256: spki.as_bytes().to_vec().into(), log_index }
    };
    Instance {
        provider: record.name.provider,
        id: record.name.id,
        service: record.name.service,
        state: state.into(),
        registered_index: record.registered_index,
        registered_at_millis: record.registered_at.0,
        moved_at_millis: record.moved_at.0,
        moves: record.moves,
        not_after: record.not_after.secs(),
        current: Some(certificate(record.current)),
        previous: record.previous.map(certificate),
        retried: record.retried,
        revoked_at_millis: record.revoked.map(|(at, _)| at.0),
        revoked_index: record.revoked.map(|(_, index)| index),
    }
}
