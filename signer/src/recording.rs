//! What the core tells the ledger beside warrants, and what a caller hears when the ledger does not listen.

use std::{sync::Arc, time::Duration};

use hallmark_backends::SignError;
use hallmark_ledger::{Event, Issued, LedgerError, Logged, Seal};
use hallmark_policy::{Facts, Policy, Reason, ReasonCode, Refusal, RequestIdentity, hex};

use crate::{
    answer::{self, Failure, Receipt},
    being_kept::Keeping,
    core::Inner,
    in_flight::Turn,
    order,
};

/// How long a receipt is waited for: checkpoints are signed within a millisecond of the commit.
const RECEIPT_SECS_MAX: u64 = 5;

impl Inner {
    /// Logs a refusal; the failure says where it stands.
    pub(crate) async fn refuse(&self, reasons: Vec<Reason>, facts: Facts) -> Failure {
        self.refuse_under(&self.policy(), reasons, facts).await
    }

    /// Logs a refusal that this policy decided.
    pub(crate) async fn refuse_under(&self, policy: &Policy, reasons: Vec<Reason>, facts: Facts) -> Failure {
        let refusal = Refusal { reasons: reasons.clone(), facts, policy: policy.digest() };
        match self.ledger.refuse(refusal, self.clock.wall().millis).await {
            Ok(logged) => self.refused(reasons, logged).await,
            // A refusal needs no room to be one. It is counted, and told in the log when there is room again.
            Err(LedgerError::Full) => Failure { reasons, logged: None, retry_after: None },
            Err(error) => self.ledger_failed(&error),
        }
    }

    /// A refusal that the ledger has logged.
    pub(crate) async fn refused(&self, reasons: Vec<Reason>, logged: Logged) -> Failure {
        Failure { reasons, logged: Some(self.receipt_or_none(logged).await), retry_after: None }
    }

    /// An entry with its receipt. What cannot be proven to the caller is not handed out: asking again gives both.
    pub(crate) async fn receipt(&self, logged: Logged) -> Result<Receipt, Failure> {
        let receipt = self.receipt_or_none(logged).await;
        if receipt.text.is_empty() {
            let sentence = "the decision is logged, but its receipt could not be made; ask again with the same request id, if the call has one";
            let reasons = vec![Reason::new(ReasonCode::LedgerFailed, "receipt", sentence)];
            return Err(Failure { reasons, logged: Some(receipt), retry_after: None });
        }
        Ok(receipt)
    }

    /// An older entry with its receipt.
    pub(crate) async fn receipt_of(&self, index: u64) -> Result<Receipt, Failure> {
        match self.ledger.receipt(index).await {
            Ok(logged) => self.receipt(logged).await,
            Err(error) => Err(self.ledger_failed(&error)),
        }
    }

    /// An entry with its receipt; the text is empty if the checkpoint does not come in time.
    pub(crate) async fn receipt_or_none(&self, logged: Logged) -> Receipt {
        let text = tokio::time::timeout(Duration::from_secs(RECEIPT_SECS_MAX), logged.receipt.text()).await;
        let text = match text {
            Ok(Ok(text)) => text,
            Ok(Err(error)) => {
                self.notice(&error);
                String::new()
            }
            Err(_) => {
                tracing::error!(index = logged.index, "no receipt was made in time");
                String::new()
            }
        };
        Receipt { log_index: logged.index, text, entry: logged.entry }
    }

    /// Makes a signature durable without the caller waiting; its request id has its turn until then, and a stop waits.
    pub(crate) fn keep_in_background(self: &Arc<Self>, index: u64, seal: Seal, until_kept: (Turn, Option<Keeping>)) {
        let inner = Arc::clone(self);
        let work = self.begin();
        tokio::spawn(async move {
            if let Err(error) = inner.ledger.keep_signature(index, seal).await {
                tracing::error!(index, "a signature could not be kept; a retry will sign again");
                inner.notice(&error);
            }
            drop(until_kept);
            drop(work);
        });
    }

    /// Logs that a committed request was not signed, and says so to the caller.
    pub(crate) async fn signing_failed(&self, index: u64, error: &SignError, asked: &RequestIdentity) -> Failure {
        tracing::warn!(%error, index, "a committed request was not signed");
        self.log(order::signing_failed(index, error)).await;
        let failure = self.not_signed(index, order::sign_reason(error, asked)).await;
        let retry_after = if let SignError::Resting { retry_after, .. } = error { Some(*retry_after) } else { None };
        Failure { retry_after, ..failure }
    }

    /// The device did not answer long after the deadline. Whatever it still gives is thrown away.
    pub(crate) async fn device_hangs(&self, index: u64) -> Failure {
        let sentence = "the device did not answer by the deadline";
        tracing::error!(index, sentence);
        let code = "DEVICE_HANGS".to_owned();
        self.log(Event::SigningFailed { log_index: index, code, sentence: sentence.to_owned() }).await;
        let reason =
            Reason::new(ReasonCode::DeadlinePassed, answer::KEY, "the key's device did not answer by the deadline");
        self.not_signed(index, reason).await
    }

    /// The signature came after a rotation had stopped waiting for it. It is thrown away.
    pub(crate) async fn barred(&self, index: u64, request: &RequestIdentity) -> Failure {
        let sentence = "the signature came after the epoch was replaced, and was thrown away";
        tracing::warn!(index, sentence);
        let code = "BARRED".to_owned();
        self.log(Event::SigningFailed { log_index: index, code, sentence: sentence.to_owned() }).await;
        let mut reason = Reason::new(ReasonCode::TransitionStale, "transition", sentence);
        if let Some(serving) = self.all_serving().get(&request.authority) {
            reason = reason.allowing(hex(&serving.issuer.epoch.transition));
        }
        self.never_signed(reason.into(), request).await
    }

    /// The signature came after an operator had frozen the authority and stopped waiting for it. It is thrown away, and the request is not void.
    pub(crate) async fn frozen_out(&self, index: u64, request: &RequestIdentity) -> Failure {
        let sentence = "the signature came after its authority was frozen, and was thrown away";
        tracing::warn!(index, sentence);
        let code = "BARRED".to_owned();
        self.log(Event::SigningFailed { log_index: index, code, sentence: sentence.to_owned() }).await;
        let reason =
            Reason::new(ReasonCode::AuthorityFrozen, "authority", format!("{sentence}{}", order::again(request)));
        self.not_signed(index, reason).await
    }

    /// What was committed under an epoch that was replaced, and not signed, never will be: the log says so now and not when somebody
    /// asks again.
    pub(crate) async fn never_signed(&self, failure: Failure, request: &RequestIdentity) -> Failure {
        // It was to be signed again, and was void by then: that is said already.
        if failure.reasons.iter().any(|reason| reason.code == ReasonCode::RequestVoid) {
            return failure;
        }
        match self.ledger.resume(request, self.clock.wall().millis).await {
            Ok(Issued::Refused { reasons, logged }) => {
                // The request is void for ever: nobody is to ask for it again.
                let failed = failure.reasons.into_iter().map(|reason| order::without_advice(reason, request));
                let reasons = failed.chain(reasons).collect();
                self.refused(reasons, logged).await
            }
            Ok(
                Issued::Committed { .. }
                | Issued::Answered(_)
                | Issued::InFlight
                | Issued::SameAs(_)
                | Issued::Validated { .. }
                | Issued::Expired,
            ) => failure,
            Err(error) => {
                self.notice(&error);
                failure
            }
        }
    }

    /// The reply came after a rotation had stopped waiting for it.
    pub(crate) fn not_released(&self) -> Failure {
        let sentence = "the certificate was signed, and its epoch replaced or its authority frozen before it could be given to you";
        Reason::new(ReasonCode::TransitionStale, "transition", sentence).into()
    }

    async fn not_signed(&self, index: u64, reason: Reason) -> Failure {
        let logged = self.receipt_of(index).await.ok();
        Failure { reasons: vec![reason], logged, retry_after: None }
    }

    /// What a caller hears when the ledger did not do its part: nothing was signed.
    pub(crate) fn ledger_failed(&self, error: &LedgerError) -> Failure {
        self.notice(error);
        let (code, sentence) = match error {
            LedgerError::Busy => (ReasonCode::QueueFull, "too many requests wait for the decision log"),
            LedgerError::Stopped => (ReasonCode::Stopping, "the daemon is stopping"),
            // A state that is another than was wanted is an answer, with its own sentence.
            LedgerError::Condition { sentence } => (ReasonCode::StateDiffers, sentence.as_str()),
            LedgerError::Tampered { .. } => {
                return Reason::new(ReasonCode::LedgerFailed, "ledger", error.to_string()).into();
            }
            LedgerError::Full
            | LedgerError::Poisoned { .. }
            | LedgerError::UnknownIndex { .. }
            | LedgerError::UnknownRequest
            | LedgerError::Database { .. }
            | LedgerError::Receipt { .. } => {
                (ReasonCode::LedgerFailed, "the decision log cannot be written, so nothing is signed")
            }
        };
        Reason::new(code, "ledger", sentence).into()
    }

    /// Every error of the ledger passes here: one after which it can do nothing more ends the daemon.
    pub(crate) fn notice(&self, error: &LedgerError) {
        tracing::error!(%error, "the ledger failed");
        let over = match error {
            LedgerError::Poisoned { .. } => true,
            LedgerError::Stopped => !self.is_stopping(),
            LedgerError::Busy
            | LedgerError::Full
            | LedgerError::Condition { .. }
            | LedgerError::Tampered { .. }
            | LedgerError::UnknownIndex { .. }
            | LedgerError::UnknownRequest
            | LedgerError::Database { .. }
            | LedgerError::Receipt { .. } => false,
        };
        if over {
            self.failed.send_replace(Some(error.to_string()));
        }
    }

    /// Logs an event; whether it stands in the log.
    pub(crate) async fn log(&self, event: Event) -> bool {
        let recorded = self.ledger.record(event, self.clock.wall().millis).await;
        if let Err(error) = &recorded {
            self.notice(error);
        }
        recorded.is_ok()
    }

    pub(crate) async fn log_aggregates(&self) {
        for event in self.aggregates.take() {
            // What the log did not take is told with the next window: nothing that a caller was refused stays unsaid.
            if !self.log(event.clone()).await {
                self.aggregates.put_back(event);
            }
        }
    }
}
