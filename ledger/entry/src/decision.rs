//! The entry of a decision.

use hallmark_policy::{
    Conditions, EpochId, Facts, Numbering, Reason,
    content::{CertificateContent, Content, Serial},
    crl::{CrlContent, CrlScope},
    evidence::{EvidenceFacts, VerifiedBy},
    instance::{InstanceFacts, InstanceName},
    profile::PolicyDigest,
    reason::REASONS_MAX,
};

use crate::{Object, sha256};

/// What is logged about a decision.
#[derive(Debug)]
pub struct Decision<'a> {
    /// What was decided.
    pub outcome: Outcome<'a>,
    /// The policy that decided, if one is in force.
    pub policy: Option<PolicyDigest>,
    /// What is known about the request.
    pub facts: &'a Facts,
    /// What was approved, where it came so far.
    pub warranted: Option<Warranted<'a>>,
}

/// What was decided.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    /// The signature may be made.
    Issued {
        /// The number of this certificate among those of its issuer, from 1 without gaps. CRLs have numbers of their own, and
        /// certification requests none.
        sequence: Option<u64>,
        /// What it does to the record of its instance, in a word.
        change: Option<&'static str>,
    },
    /// It would be issued; only that was asked.
    Validated,
    /// Nothing is signed.
    Refused {
        /// All the reasons.
        reasons: &'a [Reason],
    },
}

/// What was approved.
#[derive(Clone, Copy, Debug)]
pub struct Warranted<'a> {
    /// Under which conditions.
    pub conditions: &'a Conditions,
    /// What is to be signed.
    pub content: &'a Content,
    /// Its DER.
    pub to_be_signed: &'a [u8],
}

impl Decision<'_> {
    /// The entry.
    #[must_use]
    pub fn into_entry(self, at_millis: i64) -> Vec<u8> {
        let policy = self.policy.as_ref().map(|policy| policy.as_bytes().as_slice());
        let object = request(self.facts).maybe_hex("policy-sha256", policy);
        let change = match self.outcome {
            Outcome::Issued { change, .. } => change,
            Outcome::Validated | Outcome::Refused { .. } => None,
        };
        let object = match &self.facts.instance {
            Some(facts) => object.object("instance", instance(facts, change)),
            None => object,
        };
        let object = match &self.warranted {
            Some(warranted) => warranted.describe(object),
            None => object,
        };
        let object = match self.outcome {
            Outcome::Issued { sequence, change: _ } => issued(object, self.warranted.as_ref(), sequence),
            Outcome::Validated => object.text("decision", "validated"),
            Outcome::Refused { reasons } => refused(object, reasons),
        };
        object.into_entry("decision", at_millis)
    }
}

fn request(facts: &Facts) -> Object {
    let object = Object::new()
        .text("method", &facts.method)
        .text("authority", &facts.authority)
        .text("caller", &facts.caller)
        .text("profile", &facts.profile)
        .text("request-id", &facts.request_id)
        .text("possession", facts.possession)
        .texts("caller-identities", "caller-identities-omitted", facts.identities.iter().map(ToString::to_string))
        .texts("names", "names-omitted", &facts.names)
        .maybe_hex("caller-certificate-sha256", facts.certificate_sha256.as_ref().map(<[u8; 32]>::as_slice))
        .maybe_hex("manifest-sha256", facts.manifest_sha256.as_ref().map(<[u8; 32]>::as_slice))
        .maybe_hex("policy-hash", facts.policy_hash.as_ref().map(<[u8; 32]>::as_slice))
        .maybe_hex("evidence-sha256", facts.evidence_sha256.as_ref().map(<[u8; 32]>::as_slice))
        .maybe_hex("spki-sha256", facts.spki.as_ref().map(|spki| spki.as_bytes().as_slice()));
    let object = match &facts.evidence {
        Some(facts) => object.object("evidence", evidence(facts)),
        None => object,
    };
    if facts.request.is_empty() { object } else { object.hex("request-sha256", &sha256(&facts.request)) }
}

fn instance(facts: &InstanceFacts, change: Option<&'static str>) -> Object {
    let InstanceFacts { intent, name, presented, proven } = facts;
    let object = Object::new()
        .text("intent", intent)
        .text("change", change.unwrap_or_default())
        .maybe_hex("presented-serial", presented.as_ref().map(Serial::as_bytes));
    let object = if presented.is_some() { object.flag("proven", *proven) } else { object };
    match name {
        Some(InstanceName { provider, id, service }) => {
            object.text("provider", provider).text("id", id).text("service", service)
        }
        None => object,
    }
}

/// Only what the signer verified has a key.
fn evidence(facts: &EvidenceFacts) -> Object {
    let object = Object::new().hex("jwt-sha256", &sha256(&facts.jwt));
    match &facts.verified_by {
        Some(VerifiedBy { kid, spki }) => object.text("kid", kid).hex("spki-sha256", spki.as_bytes()),
        None => object,
    }
}

impl Warranted<'_> {
    fn describe(&self, object: Object) -> Object {
        let Self { conditions, content, to_be_signed } = self;
        let object = object
            .text("authority", &conditions.authority)
            .text("stage", conditions.stage.name())
            .text("algorithm", content.algorithm().name())
            .hex("tbs-sha256", &sha256(to_be_signed));
        let object = match content {
            Content::Certificate(content) => certificate(object, content),
            Content::Crl(content) => crl(object, content, conditions.numbering),
            Content::Request(content) => {
                object.text("subject", &content.subject.to_string()).hex("spki-sha256", content.key.digest().as_bytes())
            }
        };
        match conditions.stage.epoch() {
            Some(id) => object.object("epoch", epoch(id)),
            None => object,
        }
    }
}

fn certificate(object: Object, content: &CertificateContent) -> Object {
    object
        .text("subject", &content.subject.to_string())
        .integer("not-before", content.validity.not_before.secs())
        .integer("not-after", content.validity.not_after.secs())
        .hex("spki-sha256", content.key.digest().as_bytes())
}

fn crl(object: Object, content: &CrlContent, numbering: Numbering) -> Object {
    let object = object
        .count("crl-number", content.number)
        .count("entries", content.revoked.len() as u64)
        .integer("this-update", content.this_update.secs())
        .integer("next-update", content.next_update.secs());
    let object = match numbering.scope() {
        CrlScope::Complete => object,
        CrlScope::Partition(number) => object.count("crl-partition", number.get().into()),
    };
    let object = match numbering {
        Numbering::Crl { number, after, .. } if number > after.saturating_add(1) => {
            object.count("crl-number-after", after)
        }
        Numbering::Crl { .. } | Numbering::Serial { .. } | Numbering::Unnumbered => object,
    };
    match numbering {
        Numbering::Crl { newest_revocation: Some(index), .. } => object.count("newest-revocation", index),
        Numbering::Crl { newest_revocation: None, .. } | Numbering::Serial { .. } | Numbering::Unnumbered => object,
    }
}

fn epoch(id: EpochId) -> Object {
    Object::new().count("generation", id.generation).hex("transition", &id.transition)
}

/// Only what is issued takes a serial number and a place among what its issuer signed.
fn issued(object: Object, warranted: Option<&Warranted<'_>>, sequence: Option<u64>) -> Object {
    let object = object.text("decision", "issued");
    let Some(Warranted { conditions, .. }) = warranted else { return object };
    let issuer = Object::new().hex("spki-sha256", conditions.issuer.as_bytes());
    let issuer = match sequence {
        Some(sequence) => issuer.count("sequence", sequence),
        None => issuer,
    };
    let serial = conditions.numbering.serial();
    object.object("issuer", issuer).maybe_hex("serial", serial.as_ref().map(Serial::as_bytes))
}

fn refused(object: Object, reasons: &[Reason]) -> Object {
    object.text("decision", "refused").reasons(reasons)
}

impl Object {
    /// With reasons, at most [`REASONS_MAX`]; what does not fit is counted under `reasons-omitted`.
    #[must_use]
    pub fn reasons(self, reasons: &[Reason]) -> Self {
        let one = |reason: &Reason| {
            Self::new()
                .text("code", reason.code.as_str())
                .text("field", reason.field)
                .text("sentence", &reason.sentence)
                .text("allowed", reason.allowed.as_deref().unwrap_or_default())
        };
        self.objects("reasons", "reasons-omitted", reasons.iter().map(one), REASONS_MAX)
    }
}
