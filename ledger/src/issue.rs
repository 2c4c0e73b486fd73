//! Committing a warrant: every condition is looked at inside the transaction, and then all is written, or a refusal.

use hallmark_entry::{Decision, Outcome, Warranted};
use hallmark_policy::{
    Conditions, Facts, Numbering, Reason, ReasonCode, Stage, Warrant,
    content::{CertificateContent, Content},
};
use rusqlite::params;

use crate::{
    Committed, Found, Issued, UnixMillis,
    batch::{Batch, Fault},
    claim, crl, limits,
    request::{self, RequestRow},
    schema::signed,
    stage,
};

impl Batch<'_> {
    /// Commits a warrant, or says why not.
    pub(crate) fn issue(&mut self, warrant: Warrant, at: UnixMillis) -> Result<Issued, Fault> {
        let warrant = Parts::of(warrant);
        if !warrant.conditions.validate_only
            && let Some(row) = RequestRow::find(self.connection, &warrant.conditions.request)?
        {
            return match row.found(&warrant.conditions.request.content_sha256) {
                Found::Answered(answer) => Ok(Issued::Answered(answer)),
                Found::Unsigned | Found::New => Ok(Issued::InFlight),
                Found::Void => self.refuse_warrant(&warrant, vec![void()], at),
                Found::OtherContent => self.refuse_warrant(&warrant, vec![reused()], at),
            };
        }
        let reasons = self.objections(&warrant.conditions, at)?;
        if !reasons.is_empty() {
            return self.refuse_warrant(&warrant, reasons, at);
        }
        if warrant.conditions.validate_only {
            let logged = self.append(warrant.entry(Outcome::Validated, at), at)?;
            self.keep_brought(&warrant.facts)?;
            return Ok(Issued::Validated { logged });
        }
        if let Content::Certificate(content) = &warrant.content
            && !self.take_serial(&warrant.conditions, content)?
        {
            return self.refuse_warrant(&warrant, vec![serial_taken()], at);
        }
        self.commit_warrant(warrant, at)
    }

    fn objections(&mut self, conditions: &Conditions, at: UnixMillis) -> rusqlite::Result<Vec<Reason>> {
        let mut reasons = Vec::new();
        if self.policy != Some(conditions.policy) {
            let sentence = "another policy came into force since this was decided";
            reasons.push(Reason::new(ReasonCode::PolicyChanged, "policy", sentence));
        }
        let Conditions { authority, stage, issuer, .. } = conditions;
        reasons.extend(stage::objection(self.connection, authority, *stage, *issuer)?);
        reasons.extend(claim::objections(self.connection, authority, &conditions.claims)?);
        reasons.extend(limits::objections(self.connection, conditions, at)?);
        if let Numbering::Crl { number, newest_revocation } = conditions.numbering {
            let issuer = *self.issuer(*issuer)?;
            reasons.extend(crl::objection(self.connection, &issuer, number, newest_revocation)?);
        }
        if has_passed(conditions.not_after, at) {
            let sentence = format!("what was to be signed would have ended at {}", conditions.not_after);
            reasons.push(Reason::new(ReasonCode::DeadlinePassed, "lifetime_seconds", sentence));
        }
        Ok(reasons)
    }

    /// Whether the serial number was free; it is taken now.
    fn take_serial(&mut self, conditions: &Conditions, content: &CertificateContent) -> rusqlite::Result<bool> {
        let (index, end) = (signed(self.next_index()), content.validity.not_after.secs());
        let issuer = self.issuer(conditions.issuer)?;
        let latest_end = match conditions.stage {
            Stage::Leaf { .. } | Stage::Intermediate { .. } => issuer.latest_end.max(Some(end)),
            // Nobody looks for what is self-signed on a CRL.
            Stage::Root | Stage::MeshCa { .. } | Stage::Crl { .. } | Stage::Request { .. } => issuer.latest_end,
        };
        let id = issuer.id;
        let sql =
            "INSERT INTO serial (issuer, serial, not_after, log_index) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
        let values = params![id, content.serial.as_bytes(), end, index];
        let is_taken = self.connection.prepare_cached(sql)?.execute(values)? == 1;
        if is_taken {
            self.issuer(conditions.issuer)?.latest_end = latest_end;
        }
        Ok(is_taken)
    }

    /// The number of a certificate among those of its issuer; a CRL takes its own, and a request none.
    fn take_number(&mut self, conditions: &Conditions) -> rusqlite::Result<Option<u64>> {
        let issuer = self.issuer(conditions.issuer)?;
        Ok(match conditions.numbering {
            Numbering::Serial(_) => {
                issuer.issued += 1;
                Some(issuer.issued)
            }
            Numbering::Crl { number, .. } => {
                issuer.last_crl = number;
                None
            }
            Numbering::Unnumbered => None,
        })
    }

    fn commit_warrant(&mut self, warrant: Parts, at: UnixMillis) -> Result<Issued, Fault> {
        let sequence = self.take_number(&warrant.conditions)?;
        let issuer = self.issuer(warrant.conditions.issuer)?.id;
        let logged = self.append(warrant.entry(Outcome::Issued { sequence }, at), at)?;
        self.keep_brought(&warrant.facts)?;
        let Conditions { request, stage, .. } = &warrant.conditions;
        let epoch = stage.epoch();
        let sql = "INSERT INTO request (log_index, at, authority, caller, id, content, stage, generation, transition, \
                   issuer, serial, algorithm, not_after, tbs) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
        self.connection.prepare_cached(sql)?.execute(params![
            signed(logged.index),
            at.0,
            request.authority,
            request.caller,
            request.id,
            request.content_sha256,
            stage.name(),
            epoch.map(|epoch| signed(epoch.generation)),
            epoch.map(|epoch| epoch.transition),
            issuer,
            warrant.conditions.numbering.serial().map(|serial| serial.as_bytes().to_vec()).unwrap_or_default(),
            warrant.content.algorithm().name(),
            warrant.conditions.not_after.secs(),
            warrant.to_be_signed,
        ])?;
        request::set_place(self.connection, &request.authority, *stage, logged.index)?;
        if let Content::Crl(content) = &warrant.content {
            crl::keep(self.connection, issuer, content, warrant.conditions.numbering, logged.index)?;
        }
        let Conditions { authority, claims, not_after, .. } = &warrant.conditions;
        claim::take(self.connection, authority, claims, *not_after, logged.index)?;
        limits::count(self.connection, &warrant.conditions, at, logged.index)?;
        let committed = Committed {
            to_be_signed: warrant.to_be_signed,
            issuer: warrant.conditions.issuer,
            algorithm: warrant.content.algorithm(),
            log_index: logged.index,
        };
        Ok(Issued::Committed { committed, logged })
    }

    fn refuse_warrant(&mut self, warrant: &Parts, reasons: Vec<Reason>, at: UnixMillis) -> Result<Issued, Fault> {
        let logged = self.append(warrant.entry(Outcome::Refused { reasons: &reasons }, at), at)?;
        self.keep_brought(&warrant.facts)?;
        Ok(Issued::Refused { reasons, logged })
    }
}

/// A warrant, taken apart.
struct Parts {
    to_be_signed: Vec<u8>,
    content: Content,
    conditions: Conditions,
    facts: Facts,
}

impl Parts {
    fn of(warrant: Warrant) -> Self {
        let (to_be_signed, content, conditions, facts) = warrant.into_parts();
        Self { to_be_signed, content, conditions, facts }
    }

    fn entry(&self, outcome: Outcome<'_>, at: UnixMillis) -> Vec<u8> {
        let Self { to_be_signed, content, conditions, facts } = self;
        let warranted = Some(Warranted { conditions, content, to_be_signed });
        Decision { outcome, policy: Some(conditions.policy), facts, warranted }.into_entry(at.0)
    }
}

/// Whether the last second of validity is over.
pub(crate) fn has_passed(not_after: hallmark_policy::time::UnixTime, at: UnixMillis) -> bool {
    not_after.secs().saturating_mul(1_000) <= at.0
}

pub(crate) fn void() -> Reason {
    let sentence = "the certificate of this request was committed, never signed, and is void now";
    Reason::new(ReasonCode::RequestVoid, "request_id", sentence).allowing("another `request_id`")
}

pub(crate) fn reused() -> Reason {
    let sentence = "the same `request_id` was used with another content";
    Reason::new(ReasonCode::RequestIdReused, "request_id", sentence).allowing("another `request_id`")
}

fn serial_taken() -> Reason {
    let sentence = "the serial number was used before under this issuer; the source of randomness is to be doubted";
    Reason::new(ReasonCode::SerialTaken, "serial", sentence)
}
