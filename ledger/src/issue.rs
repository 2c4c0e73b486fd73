//! Committing a warrant: every condition is looked at inside the transaction, and then all is written, or a refusal.

use hallmark_entry::{Decision, Object, Outcome, Warranted};
use hallmark_policy::{
    Conditions, Facts, Numbering, Reason, ReasonCode, RequestIdentity, Stage, Warrant,
    content::{CertificateContent, Content},
    hex,
    instance::Asked,
};
use rusqlite::params;

use crate::{
    Committed, Found, Issued, LedgerError, UnixMillis,
    batch::{Batch, Fault},
    claim, crl, freeze,
    instance::{self, Change, Consequence, Held, Verdict},
    limits,
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
        let verdict = self.verdict(&warrant.conditions, at)?;
        if let Some(Verdict::Same { log_index }) = verdict
            && !warrant.conditions.validate_only
        {
            return self.answer_same(&warrant.conditions.request, log_index, at);
        }
        // A thief is caught whatever else stands against his request.
        let verdict = match verdict {
            Some(Verdict::Refuse(reason, consequence)) if consequence != Consequence::Nothing => {
                return self.refuse_move(&warrant, *reason, consequence, at);
            }
            verdict => verdict,
        };
        let reasons = self.objections(&warrant.conditions, &warrant.content, at)?;
        if !reasons.is_empty() {
            return self.refuse_warrant(&warrant, reasons, at);
        }
        let change = match verdict {
            Some(Verdict::Refuse(reason, consequence)) => return self.refuse_move(&warrant, *reason, consequence, at),
            Some(Verdict::Move(change)) => Some(change),
            Some(Verdict::Same { .. }) | None => None,
        };
        if warrant.conditions.validate_only {
            let logged = self.append(warrant.entry(Outcome::Validated, at), at)?;
            self.keep_brought(&warrant.facts)?;
            return Ok(Issued::Validated { logged });
        }
        if let Content::Certificate(content) = &warrant.content
            && !self.take_serial(&warrant.conditions, content, change.as_ref())?
        {
            return self.refuse_warrant(&warrant, vec![serial_taken()], at);
        }
        self.commit_warrant(warrant, change, at)
    }

    /// What the serial rule says, where the certificate is an instance's.
    fn verdict(&self, conditions: &Conditions, at: UnixMillis) -> rusqlite::Result<Option<Verdict>> {
        let Some(moved) = &conditions.instance else { return Ok(None) };
        instance::judge(self.connection, &conditions.authority, moved, at).map(Some)
    }

    /// Answers with the certificate of another request, and binds this one's id to it.
    fn answer_same(&mut self, request: &RequestIdentity, log_index: u64, at: UnixMillis) -> Result<Issued, Fault> {
        let row = RequestRow::at(self.connection, log_index)?;
        let row = row.ok_or(Fault::Alone(LedgerError::UnknownIndex { log_index }))?;
        let entry = Object::new()
            .text("result", "same-answer")
            .text("authority", &request.authority)
            .text("caller", &request.caller)
            .text("request-id", &request.id)
            .text("stage", row.stage.name())
            .text("serial", &hex(&row.serial))
            .count("decision-index", row.log_index);
        self.append(entry.into_entry("outcome", at.0), at)?;
        instance::forget_asked(self.connection, log_index)?;
        RequestRow::bind(self.connection, request, log_index, at)?;
        let (identity, content) = (row.identity(), row.content);
        Ok(match row.found(&content) {
            Found::Answered(answer) => Issued::Answered(answer),
            Found::New | Found::Unsigned | Found::Void | Found::OtherContent => Issued::SameAs(identity),
        })
    }

    /// Logs a refusal of the serial rule, and what follows from it; nothing follows where only the answer was asked.
    fn refuse_move(
        &mut self,
        warrant: &Parts,
        reason: Reason,
        consequence: Consequence,
        at: UnixMillis,
    ) -> Result<Issued, Fault> {
        let sentence = reason.sentence.clone();
        let refused = self.refuse_warrant(warrant, vec![reason], at)?;
        let Parts { conditions, facts, .. } = warrant;
        if let (Issued::Refused { logged, .. }, Some(moved), false) =
            (&refused, &conditions.instance, conditions.validate_only)
        {
            self.follow(consequence, moved, facts, &sentence, logged.index, at)?;
        }
        Ok(refused)
    }

    fn objections(
        &mut self,
        conditions: &Conditions,
        content: &Content,
        at: UnixMillis,
    ) -> rusqlite::Result<Vec<Reason>> {
        let mut reasons = Vec::new();
        if self.policy != Some(conditions.policy) {
            let sentence = "another policy came into force since this was decided";
            reasons.push(Reason::new(ReasonCode::PolicyChanged, "policy", sentence));
        }
        let Conditions { authority, stage, issuer, .. } = conditions;
        reasons.extend(stage::objection(self.connection, authority, *stage, *issuer)?);
        if let Stage::Leaf { .. } = stage {
            reasons.extend(freeze::frozen(self.connection, authority)?);
            reasons.extend(instance::stopped(self.connection, authority)?);
            if let Content::Certificate(content) = content {
                reasons.extend(instance::before_resumed(self.connection, authority, content)?);
            }
        }
        reasons.extend(claim::objections(self.connection, authority, &conditions.claims)?);
        reasons.extend(limits::objections(self.connection, conditions, at)?);
        if let Numbering::Crl { after, scope, newest_revocation, number: _ } = conditions.numbering {
            let issuer = *self.issuer(*issuer)?;
            reasons.extend(crl::objection(self.connection, &issuer, scope, after, newest_revocation)?);
        }
        if has_passed(conditions.not_after, at) {
            let sentence = format!("what was to be signed would have ended at {}", conditions.not_after);
            reasons.push(Reason::new(ReasonCode::DeadlinePassed, "lifetime_seconds", sentence));
        }
        Ok(reasons)
    }

    /// Whether the serial number was free; it is taken now.
    fn take_serial(
        &mut self,
        conditions: &Conditions,
        content: &CertificateContent,
        change: Option<&Change>,
    ) -> rusqlite::Result<bool> {
        let registration = instance::registration(change, self.next_index());
        let (index, end) = (signed(self.next_index()), content.validity.not_after.secs());
        let issuer = self.issuer(conditions.issuer)?;
        let latest_end = match conditions.stage {
            Stage::Leaf { .. } | Stage::Intermediate { .. } | Stage::OfflineIntermediate { .. } | Stage::Cross => {
                issuer.latest_end.max(Some(end))
            }
            // Nobody looks for what is self-signed on a CRL.
            Stage::Root | Stage::MeshCa { .. } | Stage::Crl { .. } | Stage::Request { .. } | Stage::Possession => {
                issuer.latest_end
            }
        };
        let id = issuer.id;
        let spki = conditions.instance.as_ref().map(|moved| *moved.key.as_bytes());
        let partition = conditions.numbering.scope().number();
        let sql = "INSERT INTO serial (issuer, serial, not_after, log_index, instance, spki_sha256, crl_partition, same_as, asked) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING";
        let asked = conditions.instance.as_ref().and_then(|moved| moved.asked).map(Asked::to_number);
        let group = instance::group(change);
        let values = params![id, content.serial.as_bytes(), end, index, registration, spki, partition, group, asked];
        let is_taken = self.connection.prepare_cached(sql)?.execute(values)? == 1;
        if is_taken {
            let issuer = self.issuer(conditions.issuer)?;
            issuer.latest_end = latest_end;
            issuer.crl_partitions = issuer.crl_partitions.max(partition);
        }
        Ok(is_taken)
    }

    /// The number of a certificate among those of its issuer; a CRL takes its own, and a request none.
    fn take_number(&mut self, conditions: &Conditions) -> rusqlite::Result<Option<u64>> {
        let issuer = self.issuer(conditions.issuer)?;
        Ok(match conditions.numbering {
            Numbering::Serial { .. } => {
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

    fn commit_warrant(&mut self, warrant: Parts, change: Option<Change>, at: UnixMillis) -> Result<Issued, Fault> {
        let revoked_before = self.revoked;
        let sequence = self.take_number(&warrant.conditions)?;
        let word = change.as_ref().map(Change::name);
        let issuer = self.issuer(warrant.conditions.issuer)?.id;
        let logged = self.append(warrant.entry(Outcome::Issued { sequence, change: word }, at), at)?;
        self.keep_brought(&warrant.facts)?;
        let Conditions { request, stage, .. } = &warrant.conditions;
        let epoch = stage.epoch();
        let sql = "INSERT INTO request (log_index, at, authority, caller, id, content, stage, generation, transition, \
                   issuer, serial, algorithm, not_after, tbs, wish) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
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
            warrant.conditions.instance.as_ref().map(|moved| moved.wish_sha256),
        ])?;
        request::set_place(self.connection, &request.authority, *stage, logged.index)?;
        if let (Stage::Leaf { .. }, Some(serial)) = (stage, warrant.conditions.numbering.serial()) {
            let not_after = warrant.conditions.not_after;
            self.found.index(&warrant.facts, serial, not_after, logged.index);
        }
        if let Content::Crl(content) = &warrant.content {
            crl::keep(self.connection, issuer, content, warrant.conditions.numbering, logged.index)?;
        }
        let Conditions { authority, claims, not_after, .. } = &warrant.conditions;
        claim::take(self.connection, authority, claims, *not_after, logged.index)?;
        limits::count(self.connection, &warrant.conditions, at, logged.index)?;
        if let (Some(change), Some(moved)) = (&change, &warrant.conditions.instance) {
            let serial = warrant.conditions.numbering.serial().map(|serial| serial.as_bytes().to_vec());
            let held = Held {
                issuer,
                serial: serial.unwrap_or_default(),
                spki: *moved.key.as_bytes(),
                log_index: logged.index,
            };
            self.move_record(&warrant.conditions, moved, change, &held, at)?;
        }
        let revokes = self.revoked > revoked_before;
        let committed = Committed {
            to_be_signed: warrant.to_be_signed,
            issuer: warrant.conditions.issuer,
            algorithm: warrant.content.algorithm(),
            log_index: logged.index,
        };
        Ok(Issued::Committed { committed, logged, revokes })
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
