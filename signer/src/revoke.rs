//! Revoking: an entry in the log, which the next CRL of the issuer takes into account.

use std::sync::Arc;

use hallmark_ledger::{EpochState, Epochs, Event, Revoke, Revoked};
use hallmark_policy::{Facts, Reason, ReasonCode, Revocation, content::Serial, crl::RevocationReason, time::UnixTime};

use hallmark_proto::{
    link::Reply,
    operator::{RevokeEpochRequest, RevokeEpochResponse},
};

use crate::{
    age,
    answer::{self, Failure, Receipt},
    ca::Ca,
    core::{Core, Inner},
    crl::{NotDone, interrupted, unfit},
    epoch::other_state,
    epochs,
    operate::{Operating, decode},
    records::{check_why, revocation_reason},
};

/// A certificate that is revoked.
#[derive(Clone, Debug)]
pub struct RevokedCertificate {
    /// Its serial number.
    pub serial: Serial,
    /// Why.
    pub reason: RevocationReason,
    /// Whether it was revoked before, maybe for another reason: the first one stands.
    pub before: bool,
    /// Index of the revocation's entry.
    pub log_index: u64,
    /// The proof that the entry is in the log (C2SP `tlog-proof`).
    pub receipt: String,
}

impl Core {
    /// Revokes a certificate that this CA signed: a leaf of an epoch, or an intermediate of the root.
    ///
    /// # Errors
    /// See [`NotDone`].
    pub async fn revoke_certificate(
        &self,
        authority: &str,
        ca: Ca,
        serial: Serial,
        reason: RevocationReason,
        by: &str,
    ) -> Result<RevokedCertificate, NotDone> {
        let _work = self.inner.begin();
        self.inner.revoke_certificate(authority, ca, serial, reason, by).await.map_err(NotDone::from)
    }

    /// Revokes the intermediate CA certificate of an epoch: it stands on the root's next CRL.
    ///
    /// # Errors
    /// See [`NotDone`].
    pub async fn revoke_epoch(
        &self,
        authority: &str,
        generation: u64,
        reason: RevocationReason,
        by: &str,
    ) -> Result<RevokedCertificate, NotDone> {
        let _work = self.inner.begin();
        self.inner.revoke_epoch(authority, generation, reason, by).await.map_err(NotDone::from)
    }
}

impl Inner {
    /// Revokes a certificate that this CA signed.
    pub(crate) async fn revoke_certificate(
        self: &Arc<Self>,
        authority: &str,
        ca: Ca,
        serial: Serial,
        reason: RevocationReason,
        by: &str,
    ) -> Result<RevokedCertificate, Failure> {
        let record = self.ca(authority, ca)?;
        let own = record.epoch.as_ref().and_then(|epoch| epoch.mesh_ca.as_ref()).map(|answer| answer.serial.as_slice());
        let own = own.or_else(|| record.authority.root.as_ref().map(|answer| answer.serial.as_slice()));
        if own == Some(serial.as_bytes()) {
            let sentence = "it is self-signed: whoever trusts it looks at no CRL for it";
            return Err(self.not_revoked(authority, serial, sentence.to_owned(), "take it out of trust stores").await);
        }
        let issuer = record.public_key().map_err(unfit)?.digest();
        let revoke = Revoke { authority: authority.to_owned(), issuer, serial, reason, by: by.to_owned() };
        let at = self.revoke_at().await;
        let revoked = self.ledger.revoke(vec![revoke], at).await.map_err(|error| self.ledger_failed(&error))?;
        match revoked.into_iter().next().ok_or_else(interrupted)? {
            Revoked::Now(logged) => {
                self.crls.refreshing.was_revoked();
                let Receipt { log_index, text, .. } = self.receipt_or_none(logged).await;
                Ok(RevokedCertificate { serial, reason, before: false, log_index, receipt: text })
            }
            Revoked::Before(Revocation { reason, log_index, .. }) => {
                let receipt = self.receipt_of(log_index).await?.text;
                Ok(RevokedCertificate { serial, reason, before: true, log_index, receipt })
            }
            Revoked::Ended(not_after) => Err(self.ended(authority, serial, not_after).await),
            Revoked::Unknown => {
                let sentence = format!("this CA of authority `{authority}` signed no certificate {serial}");
                Err(self.not_revoked(authority, serial, sentence, "a serial number that the log says was issued").await)
            }
        }
    }

    /// Revokes the intermediate CA certificate of an epoch.
    pub(crate) async fn revoke_epoch(
        self: &Arc<Self>,
        authority: &str,
        generation: u64,
        reason: RevocationReason,
        by: &str,
    ) -> Result<RevokedCertificate, Failure> {
        let serial = self.intermediate_serial(authority, generation)?;
        self.revoke_certificate(authority, Ca::Root, serial, reason, by).await
    }

    fn intermediate_serial(&self, authority: &str, generation: u64) -> Result<Serial, Failure> {
        let record = self.ca(authority, Ca::Epoch { generation })?;
        let intermediate = record.epoch.and_then(|epoch| epoch.intermediate);
        intermediate.and_then(|answer| Serial::from_stored(&answer.serial)).ok_or_else(|| {
            let sentence = format!(
                "epoch {generation} of authority `{authority}` has no intermediate CA certificate of this signer"
            );
            Reason::new(ReasonCode::CertificateUnknown, "epoch", sentence).into()
        })
    }

    /// Whether the intermediate CA certificate of an epoch is revoked.
    fn epoch_is_revoked(&self, authority: &str, generation: u64) -> Result<bool, Failure> {
        let serial = self.intermediate_serial(authority, generation)?;
        let root = self.ca(authority, Ca::Root)?.public_key().map_err(unfit)?.digest();
        let found = self.ledger.revocation(root, serial).map_err(|error| self.ledger_failed(&error))?;
        Ok(found.is_some())
    }

    /// An operator revokes the intermediate CA certificate of an epoch that is over.
    pub(crate) async fn revoke_epoch_for(self: &Arc<Self>, operator: Operating<'_>) -> Result<Reply, Failure> {
        let RevokeEpochRequest { authority, generation, reason, why } = decode(operator.body)?;
        epochs::known(self, &authority)?;
        let reason = revocation_reason(&reason)?;
        check_why(&why)?;
        let _alone = self.rotating.alone_before(&authority, operator.deadline).await?;
        let epoch = self
            .one_epoch(&authority, Epochs::Generation(generation))?
            .ok_or_else(|| age::no_epoch(&authority, generation))?;
        if epoch.state == EpochState::Active || epoch.state.is_in_the_making() {
            return Err(self.making_failed(&other_state(&epoch, "over")));
        }
        // Who asks again commands nothing: the answer is the same.
        if !self.epoch_is_revoked(&authority, generation)? {
            let command = Event::RevokeCertificates {
                authority: authority.clone(),
                by: operator.name.to_owned(),
                why,
                reason,
                selection: vec![format!("epoch:{generation}")],
                count: 1,
            };
            // The clock may be wrong: who is to be shut out is shut out nevertheless.
            self.ledger.record(command, self.clock.wall().millis).await.map_err(|error| self.ledger_failed(&error))?;
        }
        let revoked = self.revoke_epoch(&authority, generation, reason, operator.name).await?;
        Ok(answer::success(&RevokeEpochResponse {
            serial: revoked.serial.as_bytes().to_vec().into(),
            reason: revoked.reason.name().to_owned(),
            before: revoked.before,
            log_index: revoked.log_index,
            receipt: revoked.receipt,
        }))
    }

    async fn ended(&self, authority: &str, serial: Serial, not_after: UnixTime) -> Failure {
        let sentence = format!("certificate {serial} has ended at {not_after}, so that nobody takes it any more");
        self.not_revoked(authority, serial, sentence, "one that has not ended").await
    }

    async fn not_revoked(&self, authority: &str, serial: Serial, sentence: String, allowed: &str) -> Failure {
        let facts = Facts {
            method: "RevokeCertificate".to_owned(),
            authority: authority.to_owned(),
            names: vec![format!("serial:{serial}")],
            ..Facts::default()
        };
        let reason = Reason::new(ReasonCode::CertificateUnknown, "serial", sentence).allowing(allowed);
        self.refuse(vec![reason], facts).await
    }
}
