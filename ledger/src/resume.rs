//! Requests that were committed and not signed: handed out again, voided, or given their signature.

use hallmark_entry::{Decision, Object, Outcome};
use hallmark_policy::{Facts, Reason, ReasonCode, Refusal, RequestIdentity, Stage, content::Serial, hex};
use rusqlite::params;

use crate::{
    Committed, Found, Issued, LedgerError, Logged, UnixMillis,
    batch::{Batch, Fault},
    freeze, genuine,
    instance::{self, Alarm},
    issue::{has_passed, reused, void},
    request::RequestRow,
    schema::signed,
    seal::{Seal, Signed},
    stage,
};

/// The word of an alarm about a certificate that is not ours.
const FOREIGN_CERTIFICATE: &str = "foreign-certificate";

impl Batch<'_> {
    /// Hands a committed request out again, or voids it.
    pub(crate) fn resume(&mut self, request: &RequestIdentity, at: UnixMillis) -> Result<Issued, Fault> {
        let Some(row) = RequestRow::find(self.connection, request)? else {
            return Err(Fault::Alone(LedgerError::UnknownRequest));
        };
        if row.content != request.content_sha256 {
            return self.refuse_identity(request, reused(), at);
        }
        if row.void {
            return self.refuse_identity(request, void(), at);
        }
        if row.signature.is_some() {
            return match row.found(&request.content_sha256) {
                Found::Answered(answer) => Ok(Issued::Answered(answer)),
                Found::New | Found::Unsigned | Found::Void | Found::OtherContent => Ok(Issued::InFlight),
            };
        }
        let over = self.is_over(request, &row, at)?;
        // Frozen is not for ever, and voids nothing that is not over.
        if let (None, Stage::Leaf { .. }) = (&over, row.stage)
            && let Some(reason) = freeze::frozen(self.connection, &request.authority)?
        {
            return self.refuse_identity(request, reason, at);
        }
        match over.map_or_else(|| self.resume_objection(request, &row), |over| Ok(Some(over)))? {
            None => self.sign_again(row, at),
            Some(objection) => {
                let logged = self.make_void(&row, "", &objection, at)?;
                Ok(Issued::Refused { reasons: vec![void()], logged })
            }
        }
    }

    /// Whether its time or its epoch is over.
    fn is_over(&self, request: &RequestIdentity, row: &RequestRow, at: UnixMillis) -> rusqlite::Result<Option<Reason>> {
        if has_passed(row.not_after, at) {
            let sentence = format!("the certificate would have ended at {}", row.not_after);
            return Ok(Some(Reason::new(ReasonCode::DeadlinePassed, "lifetime_seconds", sentence)));
        }
        stage::objection(self.connection, &request.authority, row.stage, row.issuer)
    }

    fn resume_objection(&self, request: &RequestIdentity, row: &RequestRow) -> rusqlite::Result<Option<Reason>> {
        let Stage::Leaf { .. } = row.stage else { return Ok(None) };
        if let Some(reason) = instance::stopped(self.connection, &request.authority)? {
            return Ok(Some(reason));
        }
        instance::objection(self.connection, row.issuer, &row.serial)
    }

    /// Hands the committed bytes out again, once the log proves that they are what was decided.
    fn sign_again(&mut self, row: RequestRow, at: UnixMillis) -> Result<Issued, Fault> {
        if let Some(what) = genuine::disagreement(self.connection, &self.frontier, &row)? {
            return self.refuse_tampered(&row, what, at);
        }
        instance::release(self.connection, row.log_index)?;
        let logged = self.append(about(&row).text("result", "signing-again").into_entry("outcome", at.0), at)?;
        let committed = Committed {
            to_be_signed: row.to_be_signed,
            issuer: row.issuer,
            algorithm: row.algorithm,
            log_index: row.log_index,
        };
        Ok(Issued::Committed { committed, logged, revokes: false })
    }

    fn refuse_tampered(&mut self, row: &RequestRow, what: &str, at: UnixMillis) -> Result<Issued, Fault> {
        tracing::error!(
            log_index = row.log_index,
            what,
            "the database was changed behind the signer's back; the request is not signed: audit the log, and find out \
             who can write to the database"
        );
        let sentence = format!("the database was changed behind the signer's back: {what}; nothing was signed");
        let reason = Reason::new(ReasonCode::LedgerFailed, "request_id", sentence);
        let logged = self.make_void(row, "tampered", &reason, at)?;
        Ok(Issued::Refused { reasons: vec![reason], logged })
    }

    /// Without a `result` where the reason is all there is to say.
    fn make_void(
        &mut self,
        row: &RequestRow,
        result: &'static str,
        objection: &Reason,
        at: UnixMillis,
    ) -> Result<Logged, Fault> {
        let object = about(row).text("result", result).reasons(std::slice::from_ref(objection));
        let logged = self.append(object.into_entry("void", at.0), at)?;
        instance::make_void(self.connection, row.log_index)?;
        let sql = "UPDATE request SET void = 1 WHERE log_index = ?1";
        self.connection.prepare_cached(sql)?.execute([signed(row.log_index)])?;
        Ok(logged)
    }

    fn refuse_identity(&mut self, request: &RequestIdentity, reason: Reason, at: UnixMillis) -> Result<Issued, Fault> {
        let facts = Facts {
            authority: request.authority.clone(),
            caller: request.caller.clone(),
            request_id: request.id.clone(),
            ..Facts::default()
        };
        let reasons = vec![reason];
        let outcome = Outcome::Refused { reasons: &reasons };
        let entry = Decision { outcome, policy: self.policy, facts: &facts, warranted: None }.into_entry(at.0);
        let logged = self.append(entry, at)?;
        Ok(Issued::Refused { reasons, logged })
    }

    /// Logs a refusal that policy made.
    pub(crate) fn refuse(&mut self, refusal: &Refusal, at: UnixMillis) -> Result<Logged, Fault> {
        let outcome = Outcome::Refused { reasons: &refusal.reasons };
        let decision = Decision { outcome, policy: Some(refusal.policy), facts: &refusal.facts, warranted: None };
        let logged = self.append(decision.into_entry(at.0), at)?;
        self.keep_brought(&refusal.facts)?;
        if let Some(foreign) =
            refusal.reasons.iter().find(|reason| reason.code == ReasonCode::InstanceCertificateForeign)
        {
            self.alarm_of_foreign(&refusal.facts, &foreign.sentence, logged.index, at)?;
        }
        Ok(logged)
    }

    /// A certificate that is not ours was presented to be refreshed.
    fn alarm_of_foreign(&mut self, facts: &Facts, sentence: &str, decision: u64, at: UnixMillis) -> Result<(), Fault> {
        let presented = facts.instance.as_ref().and_then(|instance| instance.presented);
        let object = Object::new()
            .text("alarm", FOREIGN_CERTIFICATE)
            .text("authority", &facts.authority)
            .text("caller", &facts.caller)
            .text("request-id", &facts.request_id)
            .maybe_hex("presented-serial", presented.as_ref().map(Serial::as_bytes))
            .text("sentence", sentence)
            .count("decision-index", decision);
        let logged = self.append(object.into_entry("alarm", at.0), at)?;
        self.alarms.push(Alarm::new(FOREIGN_CERTIFICATE, &facts.authority, logged.index, sentence));
        Ok(())
    }

    /// Keeps a signature, unless there is one, and gives the one that is kept.
    pub(crate) fn keep_signature(&self, log_index: u64, seal: Seal) -> Result<Vec<u8>, Fault> {
        let Seal { signature, signed: digest } = seal;
        let sql = "UPDATE request SET signature = ?2 WHERE log_index = ?1 AND signature IS NULL AND void = 0";
        if self.connection.prepare_cached(sql)?.execute(params![signed(log_index), signature])? == 1 {
            let digest = match digest {
                Signed::Known(digest) => Some(digest),
                Signed::OfRow => instance::signed_of_row(self.connection, log_index, &signature)?,
                Signed::NotKept => None,
            };
            if let Some(digest) = digest {
                instance::keep_signed(self.connection, log_index, digest)?;
            }
            return Ok(signature);
        }
        let row = RequestRow::at(self.connection, log_index)?;
        let row = row.ok_or(Fault::Alone(LedgerError::UnknownIndex { log_index }))?;
        row.signature.ok_or_else(|| {
            let sentence = format!(
                "the request at index {log_index} is void, so that its signature is not kept; hint: do not release it"
            );
            Fault::Alone(LedgerError::Condition { sentence })
        })
    }
}

/// What an entry says that is about an earlier decision.
pub(crate) fn about(row: &RequestRow) -> Object {
    Object::new()
        .text("authority", &row.authority)
        .text("caller", &row.caller)
        .text("request-id", &row.id)
        .text("stage", row.stage.name())
        .text("serial", &hex(&row.serial))
        .count("decision-index", row.log_index)
}
