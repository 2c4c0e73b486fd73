//! The order of events. Every CA signature of this system is made by [`certify`], and by nothing else.
//!
//! ```text
//! bytes -> Request -> decide -> Approved -> draft -> endorse -> Warrant -> commit -> Committed -> sign -> assemble -> reply
//! ```

use std::time::Instant;

use hallmark_backends::{SignError, Signature};
use hallmark_issuance::{assemble, draft, reassemble};
use hallmark_ledger::{Answer, Committed, Event, Found, Issued};
use hallmark_policy::{
    Approved, Decision, Reason, ReasonCode, Request, RequestIdentity, decide, endorse, facts,
    key::{PublicKey, SpkiDigest},
};
use tokio::sync::oneshot;

use crate::{
    answer::{Failure, Receipt},
    clock::Moment,
    core::Inner,
    in_flight::Turn,
};

/// What a request came to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A certificate.
    Certified(Certified),
    /// It would be minted; nothing was.
    Validated(Receipt),
}

/// A certificate with the proof that it was decided.
#[derive(Debug)]
pub(crate) struct Certified {
    pub(crate) to_be_signed: Vec<u8>,
    pub(crate) certificate: Vec<u8>,
    pub(crate) issuer: SpkiDigest,
    pub(crate) receipt: Receipt,
    pub(crate) replayed: bool,
}

/// When a signature must be durable.
pub(crate) enum Keep {
    /// Before anybody sees it: CA certificates, and what is signed again.
    BeforeReply,
    /// Soon: leaves. The turn ends when it is.
    InBackground(Turn),
}

/// Answers a request for a leaf: as before if it was decided before, else by its profile.
pub(crate) async fn mint(
    core: &Inner,
    request: &Request,
    identity: &RequestIdentity,
    deadline: Instant,
    turn: Turn,
) -> Result<Outcome, Failure> {
    let policy = core.policy();
    if let Some(outcome) = repeated(core, identity, deadline).await? {
        return Ok(outcome);
    }
    let now = core.trusted_clock().await;
    let ready = now.and_then(|now| Ok((now, core.serving(request.authority())?)));
    let (now, serving) = match ready {
        Ok(ready) => ready,
        Err(reason) => return Err(core.refuse(vec![reason], facts(&policy, request)).await),
    };
    match decide(&policy, request, &serving.issuer, now.time, core.serial()?) {
        Decision::Approve(approved) => certify(core, *approved, now, deadline, Keep::InBackground(turn)).await,
        Decision::Refuse(reasons) => Err(core.refuse(reasons, facts(&policy, request)).await),
    }
}

/// Draft, endorse, commit, sign, assemble: the only way to a CA signature.
pub(crate) async fn certify(
    core: &Inner,
    approved: Approved,
    now: Moment,
    deadline: Instant,
    keep: Keep,
) -> Result<Outcome, Failure> {
    let issuer = approved.issuer().clone();
    let draft = draft(&approved).map_err(|error| defect(error.to_string()))?;
    let warrant = match endorse(approved, draft.into_der()) {
        Ok(warrant) => warrant,
        Err(disagreement) => {
            let reason = Reason::new(ReasonCode::DraftDisagrees, "certificate", disagreement.to_string());
            return Err(core.refuse(vec![reason], *disagreement.facts).await);
        }
    };
    let issued = core.ledger.issue(warrant, now.millis).await.map_err(|error| core.ledger_failed(&error))?;
    finish(core, issued, &issuer, deadline, keep).await
}

/// The same request, decided before: the same answer, or its certificate over the committed bytes. `None`: it is new.
async fn repeated(core: &Inner, identity: &RequestIdentity, deadline: Instant) -> Result<Option<Outcome>, Failure> {
    match core.ledger.find(identity).map_err(|error| core.ledger_failed(&error))? {
        // With another content the ledger refuses it inside its transaction, and logs that.
        Found::New | Found::OtherContent => Ok(None),
        Found::Answered(answer) => answered(core, &identity.authority, answer).await.map(Some),
        Found::Unsigned | Found::Void => {
            let now = core.trusted_clock().await?;
            let issued = core.ledger.resume(identity, now.millis).await.map_err(|error| core.ledger_failed(&error))?;
            let issuer = match &issued {
                Issued::Committed { committed, .. } => core.issuer_key(&identity.authority, committed.issuer())?,
                Issued::Answered(answer) => core.issuer_key(&identity.authority, answer.issuer)?,
                Issued::InFlight | Issued::Refused { .. } | Issued::Validated { .. } => {
                    return Err(core.not_issued(issued).await);
                }
            };
            finish(core, issued, &issuer, deadline, Keep::BeforeReply).await.map(Some)
        }
    }
}

/// From what the ledger said to what the caller gets.
async fn finish(
    core: &Inner,
    issued: Issued,
    issuer: &PublicKey,
    deadline: Instant,
    keep: Keep,
) -> Result<Outcome, Failure> {
    let (committed, logged) = match issued {
        Issued::Committed { committed, logged } => (committed, logged),
        Issued::Validated { logged } => return Ok(Outcome::Validated(core.receipt(logged).await)),
        Issued::InFlight | Issued::Refused { .. } | Issued::Answered(_) => return Err(core.not_issued(issued).await),
    };
    let index = committed.log_index();
    let signature = sign(core, committed, deadline).await?;
    let certificate = assemble(&signature, issuer).map_err(|error| defect(error.to_string()))?;
    let parts = signature.into_parts();
    let mut certificate = certificate.into_der();
    match keep {
        Keep::InBackground(turn) => core.keep_in_background(index, parts.bytes, turn),
        Keep::BeforeReply => {
            let kept = core.ledger.keep_signature(index, parts.bytes).await;
            let kept = kept.map_err(|error| core.ledger_failed(&error))?;
            let stored = reassemble(&parts.to_be_signed, parts.algorithm, &kept, issuer);
            certificate = stored.map_err(|error| defect(error.to_string()))?.into_der();
        }
    }
    // After `resume`, the entry at hand says that it is signed again; the caller gets the decision's.
    let receipt = if logged.index == index { core.receipt(logged).await } else { core.receipt_of(index).await };
    Ok(Outcome::Certified(Certified {
        to_be_signed: parts.to_be_signed,
        certificate,
        issuer: issuer.digest(),
        receipt,
        replayed: false,
    }))
}

/// Lets the backend sign what was committed; a failure becomes an entry of its own.
async fn sign(core: &Inner, committed: Committed, deadline: Instant) -> Result<Signature, Failure> {
    let index = committed.log_index();
    let (done, signed) = oneshot::channel();
    core.keyring.sign(committed, deadline, Box::new(move |result| drop(done.send(result))));
    let result = signed.await.unwrap_or(Err(SignError::Stopped));
    match result {
        Ok(signature) => Ok(signature),
        Err(error) => Err(core.signing_failed(index, &error).await),
    }
}

/// A certificate that was made before, put together again.
pub(crate) async fn answered(core: &Inner, authority: &str, answer: Answer) -> Result<Outcome, Failure> {
    let issuer = core.issuer_key(authority, answer.issuer)?;
    let certificate = reassemble(&answer.to_be_signed, answer.algorithm, &answer.signature, &issuer)
        .map_err(|error| defect(error.to_string()))?;
    Ok(Outcome::Certified(Certified {
        to_be_signed: answer.to_be_signed,
        certificate: certificate.into_der(),
        issuer: answer.issuer,
        receipt: core.receipt_of(answer.log_index).await,
        replayed: true,
    }))
}

fn defect(sentence: String) -> Failure {
    tracing::error!(sentence, "a defect kept a certificate from being made");
    Reason::new(ReasonCode::DraftDisagrees, "certificate", sentence).into()
}

/// What went wrong in the backend, as a reason for the caller.
pub(crate) fn sign_reason(error: &SignError) -> Reason {
    let reason = |code, sentence: &str| Reason::new(code, "key", sentence);
    let again = "; ask again with the same request id for this decision's certificate";
    match error {
        SignError::Busy => reason(ReasonCode::QueueFull, &format!("too many requests wait for the key{again}")),
        SignError::DeadlinePassed => {
            reason(ReasonCode::DeadlinePassed, &format!("the deadline passed before the key's turn{again}"))
        }
        SignError::Stopped => reason(ReasonCode::Stopping, &format!("the daemon is stopping{again}")),
        SignError::NotOpen { .. }
        | SignError::WrongAlgorithm { .. }
        | SignError::Lied { .. }
        | SignError::Panicked
        | SignError::Backend(_) => {
            reason(ReasonCode::DeviceFailed, &format!("the key's device did not give a good signature{again}"))
        }
    }
}

/// A stable code for the log.
pub(crate) fn sign_code(error: &SignError) -> &'static str {
    match error {
        SignError::Busy => "QUEUE_FULL",
        SignError::DeadlinePassed => "DEADLINE_PASSED",
        SignError::Stopped => "STOPPING",
        SignError::NotOpen { .. } => "KEY_NOT_OPEN",
        SignError::WrongAlgorithm { .. } => "WRONG_ALGORITHM",
        SignError::Lied { .. } => "SIGNATURE_WRONG",
        SignError::Panicked => "PANICKED",
        SignError::Backend(_) => "DEVICE_FAILED",
    }
}

/// Logs that a committed request was not signed.
pub(crate) fn signing_failed(index: u64, error: &SignError) -> Event {
    Event::SigningFailed { log_index: index, code: sign_code(error).to_owned(), sentence: error.to_string() }
}
