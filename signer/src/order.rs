//! The order of events. Every CA signature of this system is made here: by [`certify`], or by [`resume`] where it was committed before and
//! never signed.
//!
//! ```text
//! bytes -> Request -> decide -> Approved -> draft -> endorse -> Warrant -> commit -> Committed -> sign -> assemble -> reply
//! ```
//!
//! Certificates, CRLs and the certification requests of epochs' keys go the same way.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hallmark_backends::{SignError, Signature, Tried};
use hallmark_issuance::{DraftError, assemble, draft, reassemble};
use hallmark_ledger::{Answer, Committed, Event, Found, Issued, Logged, Seal};
use hallmark_policy::{
    Approved, Decision, Disagreement, Reason, ReasonCode, Request, RequestIdentity, SIGNER, Warrant,
    authority::OPERATOR,
    content::Content,
    decide, endorse, facts,
    key::{PublicKey, SpkiDigest},
    time::Interval,
};
use tokio::sync::oneshot;

use crate::{
    answer::{self, Failure, Receipt},
    clock::Moment,
    core::Inner,
    fence::Passage,
    in_flight::Turn,
    in_force::Deciding,
    meters::Stage,
};

/// How long after its deadline a signature is still waited for, before the device is called hung: nobody gets it then.
const SIGN_GRACE: Duration = Duration::from_secs(5);

/// What a request came to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is signed.
    Certified(Certified),
    /// It would be minted; nothing was.
    Validated(Validated),
}

/// What would be minted.
#[derive(Debug)]
pub(crate) struct Validated {
    pub(crate) issuer: SpkiDigest,
    pub(crate) validity: Option<Interval>,
    pub(crate) receipt: Receipt,
}

/// A certificate, CRL or certification request with the proof that it was decided.
#[derive(Debug)]
pub(crate) struct Certified {
    pub(crate) to_be_signed: Vec<u8>,
    /// All of it, DER.
    pub(crate) certificate: Vec<u8>,
    pub(crate) issuer: SpkiDigest,
    pub(crate) receipt: Receipt,
    pub(crate) replayed: bool,
    /// Held until the reply is put together: a rotation waits for it. None where it was certified before.
    pub(crate) passage: Option<Passage>,
}

/// When a signature must be durable.
pub(crate) enum Keep {
    /// Before anybody sees it: CA certificates, and what is signed again.
    BeforeReply,
    /// Soon: leaves. The turn ends when it is. Those of instances may be presented before that.
    InBackground { turn: Turn, of_instance: bool },
}

/// Answers a request for a leaf: as before if it was decided before, else by its profile.
pub(crate) async fn mint(
    core: &Arc<Inner>,
    request: Request,
    identity: &RequestIdentity,
    deadline: Instant,
    turn: Turn,
) -> Result<Outcome, Failure> {
    if let Some(outcome) = repeated(core, identity, deadline).await? {
        return Ok(outcome);
    }
    if Instant::now() >= deadline {
        return Err(too_late());
    }
    let now = core.trusted_clock().await;
    let deciding = core.in_force.deciding().await;
    let policy = core.policy();
    let ready = now.and_then(|now| Ok((now, core.serving(request.authority())?)));
    let (now, serving) = match ready {
        Ok(ready) => ready,
        Err(reason) => {
            drop(deciding);
            return Err(core.refuse_under(&policy, vec![reason], facts(&policy, &request)).await);
        }
    };
    let issuer = core.since_resumed(serving.issuer)?;
    let request = core.with_presented_issuer(&policy, request, now.time)?;
    let serial = core.serial()?;
    let began = Instant::now();
    let decision = decide(&policy, &request, &issuer, now.time, serial);
    core.stage(Stage::Decide, began, Instant::now());
    match decision {
        Decision::Approve(approved) => {
            let mut charge = None;
            if !request.validate_only() {
                core.check_device(approved.issuer().digest())?;
                charge = core.charge_instance(&approved, now.millis)?;
            }
            let keep = Keep::InBackground { turn, of_instance: approved.conditions().instance.is_some() };
            let outcome = certify(core, *approved, now, deadline, keep, Some(deciding)).await;
            core.settle(charge, &outcome);
            outcome
        }
        Decision::Refuse(reasons) => {
            drop(deciding);
            Err(core.refuse_under(&policy, reasons, facts(&policy, &request)).await)
        }
    }
}

/// Draft, endorse, commit, sign, assemble: the only way to a new CA signature. Until the commit, the policy stays what it was.
pub(crate) async fn certify(
    core: &Arc<Inner>,
    approved: Approved,
    now: Moment,
    deadline: Instant,
    keep: Keep,
    deciding: Option<Deciding<'_>>,
) -> Result<Outcome, Failure> {
    let issuer = approved.issuer().clone();
    let began = Instant::now();
    let endorsed = warrant(approved).await?;
    core.stage(Stage::Endorse, began, Instant::now());
    let warrant = match endorsed {
        Ok(warrant) => warrant,
        Err(disagreement) => {
            let reason = Reason::new(ReasonCode::DraftDisagrees, "certificate", disagreement.to_string());
            return Err(core.refuse(vec![reason], *disagreement.facts).await);
        }
    };
    if let Some(reason) = core.beyond_the_device(&warrant) {
        return Err(core.refuse(vec![reason], warrant.facts().clone()).await);
    }
    let identity = warrant.conditions().request.clone();
    core.trace_authority(&identity.authority);
    let validity = warrant.content().certificate().map(|content| content.validity);
    let passage = core.fences.enter(issuer.digest(), leaves_of(&identity));
    let began = Instant::now();
    let issued = core.ledger.issue_before(warrant, now.millis, deadline).await;
    core.stage(Stage::Commit, began, Instant::now());
    drop(deciding);
    match issued.map_err(|error| core.ledger_failed(&error))? {
        Issued::Committed { committed, logged, revokes } => {
            if revokes {
                core.crls.refreshing.was_revoked();
            }
            let way = Way { identity: &identity, issuer: &issuer, deadline, keep, passage };
            finish(core, committed, Some(logged), way).await
        }
        Issued::Validated { logged } => {
            let receipt = core.receipt(logged).await?;
            Ok(Outcome::Validated(Validated { issuer: issuer.digest(), validity, receipt }))
        }
        Issued::Refused { reasons, logged } => {
            core.noticed(&reasons);
            Err(core.refused(reasons, logged).await)
        }
        Issued::Answered(answer) => answered(core, &identity.authority, answer).await,
        Issued::InFlight => resume(core, &identity, deadline).await,
        Issued::SameAs(other) => same(core, &other, deadline).await,
        Issued::Expired => Err(too_late()),
    }
}

/// Writes what was approved, and reads it back. A CRL may have so many entries that a thread for slow work does it.
async fn warrant(approved: Approved) -> Result<Result<Warrant, Disagreement>, Failure> {
    let write_and_read = |approved: Approved| {
        let draft = draft(&approved)?;
        Ok::<_, DraftError>(endorse(approved, draft.into_der()))
    };
    let endorsed = match approved.content() {
        Content::Certificate(_) | Content::Request(_) => write_and_read(approved),
        Content::Crl(_) => {
            tokio::task::spawn_blocking(move || write_and_read(approved)).await.map_err(|error| defect(&error))?
        }
    };
    endorsed.map_err(|error| defect(&error))
}

/// The same request, decided before: the same answer, or its certificate over the committed bytes. `None`: it is new.
async fn repeated(
    core: &Arc<Inner>,
    identity: &RequestIdentity,
    deadline: Instant,
) -> Result<Option<Outcome>, Failure> {
    match core.ledger.find(identity).map_err(|error| core.ledger_failed(&error))? {
        // With another content the ledger refuses it inside its transaction, and logs that.
        Found::New | Found::OtherContent => Ok(None),
        Found::Answered(answer) => answered(core, &identity.authority, answer).await.map(Some),
        Found::Unsigned | Found::Void => resume(core, identity, deadline).await.map(Some),
    }
}

/// Signs again what was committed and never signed, if that still may be; the ledger logs it first, or voids it.
pub(crate) async fn resume(
    core: &Arc<Inner>,
    identity: &RequestIdentity,
    deadline: Instant,
) -> Result<Outcome, Failure> {
    if let Some(serving) = core.all_serving().get(&identity.authority) {
        core.check_device(serving.issuer.key.digest())?;
    }
    let now = core.trusted_clock().await?;
    // Held until the passage is taken: no rotation comes between the commit and its drain.
    let deciding = core.in_force.deciding().await;
    match core.ledger.resume(identity, now.millis).await.map_err(|error| core.ledger_failed(&error))? {
        Issued::Committed { committed, .. } => {
            let passage = core.fences.enter(committed.issuer(), leaves_of(identity));
            drop(deciding);
            let issuer = core.issuer_key(&identity.authority, committed.issuer())?;
            let way = Way { identity, issuer: &issuer, deadline, keep: Keep::BeforeReply, passage };
            finish(core, committed, None, way).await
        }
        Issued::Answered(answer) => answered(core, &identity.authority, answer).await,
        Issued::Refused { reasons, logged } => Err(core.refused(reasons, logged).await),
        Issued::InFlight | Issued::SameAs(_) | Issued::Validated { .. } | Issued::Expired => {
            let sentence = format!("the same request is being worked on{}", again(identity));
            Err(Reason::new(ReasonCode::RequestInFlight, "request_id", sentence).into())
        }
    }
}

/// Another request's certificate is the answer. Whoever works on that one is waited for, and it never waits for this one.
async fn same(core: &Arc<Inner>, other: &RequestIdentity, deadline: Instant) -> Result<Outcome, Failure> {
    let patience = tokio::time::Instant::from_std(deadline);
    let Ok(_turn) = tokio::time::timeout_at(patience, core.in_flight.turn(other)).await else { return Err(too_late()) };
    match repeated(core, other, deadline).await? {
        Some(outcome) => Ok(outcome),
        None => resume(core, other, deadline).await,
    }
}

/// How a committed certificate goes on to its caller.
struct Way<'a> {
    identity: &'a RequestIdentity,
    issuer: &'a PublicKey,
    deadline: Instant,
    keep: Keep,
    passage: Passage,
}

/// Signs and assembles what was committed. `logged` is the decision's entry; without, the request was decided before.
async fn finish(
    core: &Arc<Inner>,
    committed: Committed,
    logged: Option<Logged>,
    way: Way<'_>,
) -> Result<Outcome, Failure> {
    let Way { identity, issuer, deadline, keep, mut passage } = way;
    let index = committed.log_index();
    let (signature, keep) = match sign(core, committed, deadline, identity).await {
        Ok((signature, Times::Once)) => (Ok(signature), keep),
        // What is signed again is what is kept, before anybody sees it.
        Ok((signature, Times::Again)) => (Ok(signature), Keep::BeforeReply),
        Err(failure) => (Err(failure), keep),
    };
    let signature = match signature {
        Ok(signature) if passage.signed() => signature,
        Ok(_) if passage.is_retired() => return Err(core.barred(index, identity).await),
        Ok(_) => return Err(core.frozen_out(index, identity).await),
        Err(failure) if passage.is_retired() => return Err(core.never_signed(failure, identity).await),
        Err(failure) => return Err(failure),
    };
    core.signed(&signature.moments());
    let began = Instant::now();
    let certificate = assemble(&signature, issuer).map_err(|error| defect(&error))?;
    let parts = signature.into_parts();
    let mut certificate = certificate.into_der();
    core.stage(Stage::Assemble, began, Instant::now());
    match keep {
        Keep::InBackground { turn, of_instance } => {
            let seal = Seal::of_leaf(&parts.to_be_signed, parts.bytes, of_instance);
            let keeping = seal.signed_sha256().map(|digest| core.being_kept.add(issuer.digest(), digest));
            core.keep_in_background(index, seal, (turn, keeping));
        }
        Keep::BeforeReply => {
            let kept = core.ledger.keep_signature(index, parts.bytes).await;
            let kept = kept.map_err(|error| core.ledger_failed(&error))?;
            let stored = reassemble(&parts.to_be_signed, parts.algorithm, &kept, issuer);
            certificate = stored.map_err(|error| defect(&error))?.into_der();
        }
    }
    let replayed = logged.is_none();
    let began = Instant::now();
    let receipt = match logged {
        Some(logged) => core.receipt(logged).await?,
        None => core.receipt_of(index).await?,
    };
    core.stage(Stage::Receipt, began, Instant::now());
    let to_be_signed = parts.to_be_signed;
    Ok(Outcome::Certified(Certified {
        to_be_signed,
        certificate,
        issuer: issuer.digest(),
        receipt,
        replayed,
        passage: Some(passage),
    }))
}

/// How often a key was used for a signature, as far as the log has to say so.
enum Times {
    Once,
    Again,
}

/// Lets the backend sign what was committed; a failure becomes an entry of its own. Where one token failed and another has the key, it is signed
/// again: as by [`resume`], the ledger logs that first, or voids it. The passage that the caller holds stands for both.
async fn sign(
    core: &Arc<Inner>,
    mut committed: Committed,
    deadline: Instant,
    identity: &RequestIdentity,
) -> Result<(Signature, Times), Failure> {
    let index = committed.log_index();
    let (mut tried, mut times) = (Tried::default(), Times::Once);
    loop {
        let error = match once(core, committed, deadline, tried).await {
            Some(Ok(signature)) => return Ok((signature, times)),
            Some(Err(error)) => error,
            None => return Err(core.device_hangs(index).await),
        };
        let SignError::SignAgain { failed, tried: now_tried } = error else {
            return Err(core.signing_failed(index, &error, identity).await);
        };
        let failure = core.signing_failed(index, &failed, identity).await;
        (tried, times) = (now_tried, Times::Again);
        match core.ledger.resume(identity, core.clock.wall().millis).await {
            Ok(Issued::Committed { committed: again, .. }) => committed = again,
            Ok(Issued::Refused { reasons, logged }) => return Err(core.refused(reasons, logged).await),
            Ok(
                Issued::Answered(_) | Issued::InFlight | Issued::SameAs(_) | Issued::Validated { .. } | Issued::Expired,
            ) => return Err(failure),
            Err(error) => return Err(core.ledger_failed(&error)),
        }
    }
}

/// One try of the backend; none if it gave no answer long after the deadline.
async fn once(
    core: &Arc<Inner>,
    committed: Committed,
    deadline: Instant,
    tried: Tried,
) -> Option<Result<Signature, SignError>> {
    let (done, signed) = oneshot::channel();
    core.keyring.sign_again(committed, deadline, tried, Box::new(move |result| drop(done.send(result))));
    let patience = tokio::time::Instant::from_std(deadline) + SIGN_GRACE;
    let signed = tokio::time::timeout_at(patience, signed).await.ok()?;
    Some(signed.unwrap_or(Err(SignError::Stopped)))
}

/// A certificate that was made before, put together again.
pub(crate) async fn answered(core: &Arc<Inner>, authority: &str, answer: Answer) -> Result<Outcome, Failure> {
    let issuer = core.issuer_key(authority, answer.issuer)?;
    let certificate = reassemble(&answer.to_be_signed, answer.algorithm, &answer.signature, &issuer)
        .map_err(|error| defect(&error))?;
    Ok(Outcome::Certified(Certified {
        to_be_signed: answer.to_be_signed,
        certificate: certificate.into_der(),
        issuer: answer.issuer,
        receipt: core.receipt_of(answer.log_index).await?,
        replayed: true,
        passage: None,
    }))
}

/// A defect of ours, or a damaged database: the details are for the operator's log, not for the caller.
pub(crate) fn defect(error: &dyn std::error::Error) -> Failure {
    tracing::error!(%error, "a certificate could not be put together");
    let sentence =
        "the signer could not put the certificate together; its operator finds the cause in the daemon's log";
    Reason::new(ReasonCode::Defect, "certificate", sentence).into()
}

fn too_late() -> Failure {
    Reason::new(ReasonCode::DeadlinePassed, "deadline", "the deadline passed before anything was decided").into()
}

/// The authority, where it is a leaf that is asked for: what is signed for the authority itself is asked for by its operators or its signer.
fn leaves_of(asked: &RequestIdentity) -> Option<&str> {
    (![OPERATOR, SIGNER].contains(&asked.caller.as_str())).then_some(asked.authority.as_str())
}

/// What to do after a failure: callers named their requests, and what is signed for an authority belongs to a call that has no name.
pub(crate) fn again(asked: &RequestIdentity) -> &'static str {
    match asked.caller.as_str() {
        OPERATOR | SIGNER => "; the same call goes on where it stopped",
        _ => "; ask again with the same request id for this decision's certificate",
    }
}

/// The same reason where asking again is of no use.
pub(crate) fn without_advice(mut reason: Reason, asked: &RequestIdentity) -> Reason {
    if let Some(without) = reason.sentence.strip_suffix(again(asked)) {
        reason.sentence.truncate(without.len());
    }
    reason
}

/// What went wrong in the backend, as a reason for the caller.
pub(crate) fn sign_reason(error: &SignError, asked: &RequestIdentity) -> Reason {
    let reason = |code, sentence: &str| Reason::new(code, answer::KEY, sentence);
    let again = again(asked);
    match error {
        SignError::Busy => reason(ReasonCode::QueueFull, &format!("too many requests wait for the key{again}")),
        SignError::DeadlinePassed => {
            reason(ReasonCode::DeadlinePassed, &format!("the deadline passed before the key's turn{again}"))
        }
        SignError::SignAgain { failed, .. } => sign_reason(failed, asked),
        SignError::Overdue { .. } => {
            reason(ReasonCode::DeadlinePassed, &format!("the key's device did not answer by the deadline{again}"))
        }
        SignError::Resting { .. } => {
            reason(ReasonCode::DeviceFailed, &format!("the key's device failed and is left alone for a moment{again}"))
        }
        SignError::Stopped => reason(ReasonCode::Stopping, &format!("the daemon is stopping{again}")),
        SignError::NotOpen { .. }
        | SignError::WrongAlgorithm { .. }
        | SignError::Lied { .. }
        | SignError::Slow { .. }
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
        SignError::Overdue { .. } | SignError::Slow { .. } => "DEVICE_HANGS",
        SignError::SignAgain { failed, .. } => sign_code(failed),
        SignError::Resting { .. } => "DEVICE_RESTS",
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
