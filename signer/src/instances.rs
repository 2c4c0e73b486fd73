//! What follows from refused and displaced certificates of instances, beside what the ledger wrote in its transaction.

use hallmark_ledger::Event;
use hallmark_policy::{Facts, Reason, ReasonCode};

use crate::{answer::Failure, core::Inner};

impl Inner {
    /// A certificate that is not ours, presented to be refreshed: an alarm that waits for its refusal's place in the log.
    pub(crate) fn foreign_certificate(&self, reasons: &[Reason], facts: &Facts) -> Option<Event> {
        let reason = reasons.iter().find(|reason| reason.code == ReasonCode::InstanceCertificateForeign)?;
        Some(Event::ForeignCertificate {
            authority: facts.authority.clone(),
            caller: facts.caller.clone(),
            request_id: facts.request_id.clone(),
            serial: facts.instance.as_ref().and_then(|instance| instance.presented),
            sentence: reason.sentence.clone(),
            log_index: 0,
        })
    }

    /// Raises the alarm, if the refusal is in the log.
    pub(crate) async fn alarm(&self, alarm: Option<Event>, refusal: &Failure) {
        let (Some(mut alarm), Some(logged)) = (alarm, &refusal.logged) else { return };
        if let Event::ForeignCertificate { log_index, sentence, .. } = &mut alarm {
            *log_index = logged.log_index;
            tracing::error!(log_index, "{sentence}");
        }
        self.log(alarm).await;
    }

    /// The ledger refused: where an instance was revoked with it, CRLs are due.
    pub(crate) fn noticed(&self, reasons: &[Reason]) {
        if reasons.iter().any(|reason| reason.code == ReasonCode::InstanceStolen) {
            self.crls.refreshing.was_revoked();
        }
    }
}
