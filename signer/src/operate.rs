//! The operators' methods. They come through a door of their own, and who is an operator stands in `signer.toml`: no policy can lock
//! its operators out, and no caller of the policy becomes one.

use std::{pin::Pin, sync::Arc, time::Instant};

use bytes::Bytes;
use hallmark_policy::{Caller, Facts, Reason, ReasonCode, caller::Identity, profile::PolicyDigest, reason::quote};
use hallmark_proto::{
    OPERATOR_SERVICE,
    link::{Call, Reply, Unary, call::Kind},
    operator::{ApplyPolicyRequest, ApplyPolicyResponse, PolicyStatusRequest, PolicyStatusResponse},
};
use prost::Message;

use crate::{
    answer::{self, Failure},
    apply::Want,
    core::{Core, Inner, malformed},
    epochs,
    meters::OfProfile,
    traced::Traced,
};

/// Longest reason that an operator gives, in bytes.
const REASON_BYTES_MAX: usize = 200;

/// The operators' methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OperatorMethod {
    ApplyPolicy,
    PolicyStatus,
    ListEpochs,
    PrepareEpoch,
    ActivateEpoch,
    AbortEpoch,
    RevokeEpoch,
    BringIntermediate,
    ListNameClaims,
    ReleaseNameClaim,
    ListInstances,
    ShowInstance,
    RevokeInstance,
    AllowInstance,
    FindCertificates,
    RevokeCertificates,
    ResumeAuthority,
    FreezeAuthority,
    ThawAuthority,
    BackUp,
    Metrics,
}

impl OperatorMethod {
    fn from_name(name: &str) -> Option<Self> {
        match name {
            "ApplyPolicy" => Some(Self::ApplyPolicy),
            "PolicyStatus" => Some(Self::PolicyStatus),
            "ListEpochs" => Some(Self::ListEpochs),
            "PrepareEpoch" => Some(Self::PrepareEpoch),
            "ActivateEpoch" => Some(Self::ActivateEpoch),
            "AbortEpoch" => Some(Self::AbortEpoch),
            "RevokeEpoch" => Some(Self::RevokeEpoch),
            "BringIntermediate" => Some(Self::BringIntermediate),
            "ListNameClaims" => Some(Self::ListNameClaims),
            "ReleaseNameClaim" => Some(Self::ReleaseNameClaim),
            "ListInstances" => Some(Self::ListInstances),
            "ShowInstance" => Some(Self::ShowInstance),
            "RevokeInstance" => Some(Self::RevokeInstance),
            "AllowInstance" => Some(Self::AllowInstance),
            "FindCertificates" => Some(Self::FindCertificates),
            "RevokeCertificates" => Some(Self::RevokeCertificates),
            "ResumeAuthority" => Some(Self::ResumeAuthority),
            "FreezeAuthority" => Some(Self::FreezeAuthority),
            "ThawAuthority" => Some(Self::ThawAuthority),
            "BackUp" => Some(Self::BackUp),
            "Metrics" => Some(Self::Metrics),
            _ => None,
        }
    }
}

/// What a method that changes epochs needs to know of its call.
pub(crate) struct Operating<'a> {
    /// The operator's identity.
    pub(crate) name: &'a str,
    /// How long they wait.
    pub(crate) deadline: Instant,
    /// The message.
    pub(crate) body: Bytes,
}

impl Core {
    /// As [`call`](Self::call), for what comes from the operators' listener.
    pub fn operate(&self, frame: Bytes) -> Pin<Box<dyn Future<Output = Bytes> + Send>> {
        let inner = Arc::clone(&self.inner);
        let work = inner.begin();
        let task = tokio::spawn(async move {
            let bytes = inner.answer_operator(frame).await;
            drop(work);
            bytes
        });
        Box::pin(async move { task.await.unwrap_or_default() })
    }
}

impl Inner {
    async fn answer_operator(self: &Arc<Self>, frame: Bytes) -> Bytes {
        let reply = match Call::decode(frame).ok().and_then(|call| call.kind) {
            Some(Kind::Unary(unary)) => self.operate_counted(unary).await,
            Some(Kind::TurnedAway(turned_away)) => {
                self.turned_away(turned_away);
                return Bytes::new();
            }
            None => answer::failure(&malformed("the front sent a frame that does not decode").into()),
        };
        reply.encode_to_vec().into()
    }

    /// What is refused without an entry of its own is counted, as for callers.
    async fn operate_counted(self: &Arc<Self>, unary: Unary) -> Reply {
        let method = unary.method.clone();
        let caller = Caller::parse(&unary.caller_certificate).ok();
        let known = OperatorMethod::from_name(&method).map(|_| method.as_str());
        let traced = Traced { service: OPERATOR_SERVICE, method: known, began: Instant::now() };
        let worked = self.traced(traced, &unary.trace_parent.clone(), || self.operate(unary)).await;
        let reply = worked.unwrap_or_else(|failure| {
            self.meters.refused(known, OfProfile::default(), &failure);
            if let (None, Some(reason)) = (&failure.logged, failure.reasons.first()) {
                self.count(caller.as_ref(), method.clone(), reason.code.as_str().to_owned());
            }
            answer::failure(&failure)
        });
        self.meters.ended(known, reply.code);
        reply
    }

    async fn operate(self: &Arc<Self>, unary: Unary) -> Result<Reply, Failure> {
        let caller = Caller::parse(&unary.caller_certificate).map_err(|error| malformed(&error.to_string()))?;
        if self.is_stopping() {
            return Err(Reason::new(ReasonCode::Stopping, "method", "the daemon is stopping").into());
        }
        let Some(deadline) = self.deadline(unary.deadline_boottime_nanos) else {
            return Err(Reason::new(ReasonCode::DeadlinePassed, "deadline", "the deadline has passed").into());
        };
        let facts = Facts { caller: String::new(), ..self.facts(&unary.method, &caller) };
        let method = OperatorMethod::from_name(&unary.method);
        let operator = match self.operator(&caller, method) {
            Ok(operator) => operator.to_string(),
            Err(reason) => return Err(self.refuse(vec![reason], facts).await),
        };
        match method {
            Some(OperatorMethod::ApplyPolicy) => self.apply(&operator, unary.body).await,
            Some(OperatorMethod::PolicyStatus) => self.policy_status(unary.body),
            Some(OperatorMethod::ListEpochs) => epochs::list_for_operator(self, deadline, unary.body).await,
            Some(OperatorMethod::PrepareEpoch) => {
                let answered = self.prepare_epoch(Operating { name: &operator, deadline, body: unary.body }).await;
                self.logged_if_refused(answered, facts).await
            }
            Some(OperatorMethod::ActivateEpoch) => {
                let answered = self.activate_epoch(Operating { name: &operator, deadline, body: unary.body }).await;
                self.logged_if_refused(answered, facts).await
            }
            Some(OperatorMethod::BringIntermediate) => {
                let answered = self.bring_intermediate(Operating { name: &operator, deadline, body: unary.body }).await;
                self.logged_if_refused(answered, facts).await
            }
            Some(OperatorMethod::AbortEpoch) => {
                let answered = self.abort_epoch(Operating { name: &operator, deadline, body: unary.body }).await;
                self.logged_if_refused(answered, facts).await
            }
            Some(OperatorMethod::RevokeEpoch) => {
                let answered = self.revoke_epoch_for(Operating { name: &operator, deadline, body: unary.body }).await;
                self.logged_if_refused(answered, facts).await
            }
            Some(OperatorMethod::ListNameClaims) => {
                let answered = self.list_name_claims(unary.body);
                self.logged_if_refused(answered, facts).await
            }
            Some(OperatorMethod::ReleaseNameClaim) => {
                let answered = self.release_name_claim(&operator, unary.body).await;
                self.logged_if_refused(answered, facts).await
            }
            Some(OperatorMethod::ListInstances) => {
                let answered = self.list_instances(unary.body).await;
                self.logged_if_refused(answered, facts).await
            }
            Some(OperatorMethod::ShowInstance) => {
                let answered = self.show_instance(unary.body).await;
                self.logged_if_refused(answered, facts).await
            }
            Some(OperatorMethod::RevokeInstance) => {
                let answered = self.revoke_instance(&operator, unary.body).await;
                self.logged_if_refused(answered, facts).await
            }
            Some(OperatorMethod::AllowInstance) => {
                let answered = self.allow_instance(&operator, unary.body).await;
                self.logged_if_refused(answered, facts).await
            }
            Some(OperatorMethod::FindCertificates) => {
                let answered = self.find_certificates(unary.body).await;
                self.logged_if_refused(answered, facts).await
            }
            Some(OperatorMethod::RevokeCertificates) => {
                let answered = self.revoke_certificates(&operator, unary.body).await;
                self.logged_if_refused(answered, facts).await
            }
            Some(OperatorMethod::ResumeAuthority) => {
                let answered = self.resume_authority(&operator, unary.body).await;
                self.logged_if_refused(answered, facts).await
            }
            Some(OperatorMethod::FreezeAuthority) => {
                let answered = self.freeze_authority(&operator, unary.body).await;
                self.logged_if_refused(answered, facts).await
            }
            Some(OperatorMethod::ThawAuthority) => {
                let answered = self.thaw_authority(&operator, unary.body).await;
                self.logged_if_refused(answered, facts).await
            }
            Some(OperatorMethod::BackUp) => {
                let answered = self.back_up(&operator, unary.body).await;
                self.logged_if_refused(answered, facts).await
            }
            Some(OperatorMethod::Metrics) => self.metrics_text(unary.body).await,
            None => {
                let sentence = format!("operators have no method {}", quote(&unary.method));
                Err(self.refuse(vec![Reason::new(ReasonCode::MethodUnknown, "method", sentence)], facts).await)
            }
        }
    }

    /// A refusal of an operator's wish stands in the log; what the device or the ledger could not do is no refusal.
    async fn logged_if_refused(&self, answered: Result<Reply, Failure>, facts: Facts) -> Result<Reply, Failure> {
        match answered {
            Err(failure)
                if failure.logged.is_none() && failure.reasons.iter().all(|reason| reason.code.is_refusal()) =>
            {
                Err(self.refuse(failure.reasons, facts).await)
            }
            answered => answered,
        }
    }

    /// Which operator that is; or which monitor, who may read metrics only.
    fn operator(&self, caller: &Caller, method: Option<OperatorMethod>) -> Result<&Identity, Reason> {
        if !caller.validity().contains_moment(self.clock.wall().time) {
            return Err(Reason::new(
                ReasonCode::CallerExpired,
                "caller",
                "the operator's certificate is not valid now",
            ));
        }
        let among = |known: &'_ [Identity]| known.iter().position(|known| caller.identities().contains(known));
        let operator = among(&self.operators).and_then(|at| self.operators.get(at));
        let monitor = || among(&self.monitors).and_then(|at| self.monitors.get(at));
        let known = operator.or_else(|| (method == Some(OperatorMethod::Metrics)).then(monitor).flatten());
        known.ok_or_else(|| {
            let sentence = "the certificate names nobody of `[operators] allow` in signer.toml";
            Reason::new(ReasonCode::CallerUnknown, "caller", sentence)
        })
    }

    async fn apply(self: &Arc<Self>, operator: &str, body: Bytes) -> Result<Reply, Failure> {
        let ApplyPolicyRequest { policy, dry_run, expected_sha256 } = decode(body)?;
        let want = if dry_run { Want::Checked } else { Want::InForce };
        let expected = expected(&expected_sha256)?;
        let applied = self.apply_policy(policy, operator, want, expected).await?;
        Ok(answer::success(&ApplyPolicyResponse {
            policy_sha256: applied.digest.as_bytes().to_vec().into(),
            previous_sha256: applied.previous.as_bytes().to_vec().into(),
            in_force: applied.in_force,
            notes: applied.notes,
            log_index: applied.since.map(|since| since.log_index),
            receipt: applied.receipt.text,
            log_entry: applied.receipt.entry.into(),
        }))
    }

    fn policy_status(&self, body: Bytes) -> Result<Reply, Failure> {
        let PolicyStatusRequest {} = decode(body)?;
        let current = self.in_force.current();
        Ok(answer::success(&PolicyStatusResponse {
            policy_sha256: current.policy.digest().as_bytes().to_vec().into(),
            log_index: current.since.log_index,
            in_force_since_millis: current.since.at.0,
            applied_by: current.since.by,
        }))
    }
}

/// The policy that is to be replaced, if it is named.
fn expected(sha256: &[u8]) -> Result<Option<PolicyDigest>, Failure> {
    const FIELD: &str = "expected_sha256";
    if sha256.is_empty() {
        return Ok(None);
    }
    let digest = sha256.try_into().map(PolicyDigest::from_bytes).map_err(|_| {
        let reason = Reason::new(ReasonCode::FieldOutOfLimits, FIELD, format!("`{FIELD}` has {} bytes", sha256.len()));
        reason.allowing("32 bytes, or empty")
    })?;
    Ok(Some(digest))
}

/// Whether an operator says why.
pub(crate) fn check_reason(reason: &str) -> Result<(), Failure> {
    if (1..=REASON_BYTES_MAX).contains(&reason.len()) {
        return Ok(());
    }
    let reason = Reason::new(ReasonCode::FieldOutOfLimits, "reason", format!("`reason` has {} bytes", reason.len()));
    Err(reason.allowing(format!("1 to {REASON_BYTES_MAX} bytes")).into())
}

pub(crate) fn decode<M: Message + Default>(body: Bytes) -> Result<M, Failure> {
    M::decode(body).map_err(|error| malformed(&format!("the message does not decode: {error}")).into())
}
