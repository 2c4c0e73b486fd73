//! What follows from refused and displaced certificates of instances, beside what the ledger wrote in its transaction.

use hallmark_ledger::UnixMillis;
use hallmark_policy::{
    Approved, Issuer, Policy, Reason, ReasonCode, Request,
    limits::Rate,
    may_refresh,
    time::{Interval, UnixTime},
};

use crate::{answer::Failure, core::Inner, order::Outcome};

/// A certificate of an instance's rate that was taken.
pub(crate) struct Charge {
    name: String,
    rate: Rate,
}

impl Inner {
    /// The request with the key that may have signed the certificate that it presents. Where the policy lets its caller refresh nothing, it is not looked for:
    /// who may not ask learns nothing, and makes no work.
    pub(crate) fn with_presented_issuer(
        &self,
        policy: &Policy,
        request: Request,
        now: UnixTime,
    ) -> Result<Request, Failure> {
        let Some(claim) = request.presented().filter(|_| may_refresh(policy, &request, now)) else {
            return Ok(request);
        };
        let Some(key) = self.key_by_identifier(request.authority(), &claim.issuer_key_identifier)? else {
            return Ok(request);
        };
        if self.being_kept.contains(key.digest(), claim.signed_sha256) {
            return Ok(request.with_presented_issuer(&key, Some(&claim.signed_sha256)));
        }
        let signed = self.ledger.signed_before(key.digest(), claim.serial);
        let signed = signed.map_err(|error| self.ledger_failed(&error))?;
        Ok(request.with_presented_issuer(&key, signed.as_ref()))
    }

    /// Takes one certificate of the instance's rate. Where none is left, what raises an alarm goes on to the ledger nevertheless: a thief is
    /// caught, however fast he is.
    pub(crate) fn charge_instance(&self, approved: &Approved, at: UnixMillis) -> Result<Option<Charge>, Failure> {
        let Some(limit) = approved.instance_rate() else { return Ok(None) };
        let name = format!("{} {} {}", approved.authority(), limit.profile, limit.instance);
        let Err(wait) = self.instance_rates.take(&name, limit.rate, self.clock.boottime_nanos()) else {
            return Ok(Some(Charge { name, rate: limit.rate }));
        };
        let alarming = match &approved.conditions().instance {
            Some(moved) => self.ledger.is_alarming(approved.authority(), moved, at),
            None => Ok(false),
        };
        if alarming.map_err(|error| self.ledger_failed(&error))? {
            return Ok(None);
        }
        let whose = format!("profile `{}` gives {} certificates to one instance", limit.profile, limit.rate);
        Err(Self::over_rate(whose, wait))
    }

    /// Gives back what was taken, where nothing was committed for it.
    pub(crate) fn settle(&self, charge: Option<Charge>, outcome: &Result<Outcome, Failure>) {
        let is_used = match outcome {
            Ok(Outcome::Certified(certified)) => !certified.replayed,
            Ok(Outcome::Validated(_)) => false,
            Err(failure) => !failure.reasons.iter().any(|reason| is_of_the_rule(reason.code)),
        };
        if let (Some(Charge { name, rate }), false) = (charge, is_used) {
            self.instance_rates.give_back(&name, rate);
        }
    }

    /// The issuer, whose leaves begin no earlier than its authority was resumed over a restored database: earlier ones are lost to it.
    pub(crate) fn since_resumed(&self, issuer: Issuer) -> Result<Issuer, Failure> {
        let resumed = self.ledger.restored_at(&issuer.authority).map_err(|error| self.ledger_failed(&error))?;
        let Some(resumed) = resumed else { return Ok(issuer) };
        let not_before = issuer.validity.not_before.max(resumed);
        Ok(Issuer { validity: Interval { not_before, ..issuer.validity }, ..issuer })
    }

    /// The ledger refused: where an instance was revoked with it, CRLs are due.
    pub(crate) fn noticed(&self, reasons: &[Reason]) {
        if reasons.iter().any(|reason| reason.code == ReasonCode::InstanceStolen) {
            self.crls.refreshing.was_revoked();
        }
    }
}

/// Whether the ledger says so in the place of moving a record.
fn is_of_the_rule(code: ReasonCode) -> bool {
    [
        ReasonCode::AuthorityStopped,
        ReasonCode::InstanceCertificateForeign,
        ReasonCode::InstanceCertificateReplaced,
        ReasonCode::InstanceCertificateRevoked,
        ReasonCode::InstanceDiffers,
        ReasonCode::InstanceExists,
        ReasonCode::InstanceRetryUsed,
        ReasonCode::InstanceRevoked,
        ReasonCode::InstanceStolen,
        ReasonCode::InstanceUnknown,
    ]
    .contains(&code)
}
