//! The order of events for what a root signs in a ceremony: the same values, made in the same places, as in a signer.
//!
//! ```text
//! Approved -> draft -> endorse -> Warrant -> commit -> Committed -> sign -> assemble
//! ```
//!
//! Between them the witnesses look. What an interrupted run committed is signed, and what it signed is taken as it is.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use hallmark_backends::{SignError, Signature};
use hallmark_issuance::{assemble, draft, reassemble};
use hallmark_ledger::{Answer, Committed, Event, Issued};
use hallmark_policy::{
    Approved, RequestIdentity, Warrant,
    certification_request::RequestContent,
    content::{CertificateContent, Content},
    crl::CrlContent,
    endorse,
    key::PublicKey,
    said,
};

use crate::{
    digest::sha256,
    error::CeremonyError,
    facts::Fact,
    run::{Open, Run, defect, digest_fact},
};

/// How long a signature may take: RSA-4096 in a slow device stays far below.
const SIGN_TIME_MAX: Duration = Duration::from_secs(60);

/// What was made.
pub(crate) struct Made {
    /// All of it, DER.
    pub(crate) der: Vec<u8>,
    /// What was signed.
    pub(crate) to_be_signed: Vec<u8>,
    /// Index of its decision in the log.
    pub(crate) log_index: u64,
}

/// What is to be signed, or was.
enum Decided {
    Unsigned(Committed),
    Signed(Answer),
}

/// Takes what policy approved through the steps `build`, `endorse`, `commit` and `sign`.
pub(crate) async fn certify(
    run: &mut Run<'_>,
    open: &Open,
    approved: Approved,
    issuer: &PublicKey,
) -> Result<Made, CeremonyError> {
    run.begin("build", Some(open)).await?;
    let facts = told(approved.content());
    let draft = draft(&approved).map_err(|error| defect(&error.to_string()))?;
    run.done(facts, Some(open)).await?;

    run.begin("endorse", Some(open)).await?;
    let warrant = endorse(approved, draft.into_der()).map_err(|error| defect(&error.to_string()))?;
    let digest = digest_fact("to-be-signed-sha256", &sha256(warrant.to_be_signed()));
    if let Some(what) = open.device()?.never_signs(&warrant) {
        return Err(CeremonyError::Incapable { sentence: format!("it does not do this: {what}") });
    }
    run.done(vec![digest, Fact::same("says", "what was decided, and nothing else")], Some(open)).await?;

    run.begin("commit", Some(open)).await?;
    let identity = warrant.conditions().request.clone();
    let (decided, log_index) = commit(open, warrant, &identity).await?;
    run.entries.push(log_index);
    run.done(vec![Fact::varies("log-index", log_index)], Some(open)).await?;

    run.begin("sign", Some(open)).await?;
    let asked = match &decided {
        Decided::Unsigned(_) => "this run",
        Decided::Signed(_) => "an interrupted run; the token was not asked again",
    };
    let made = sign(open, decided, issuer).await?;
    let facts = vec![digest_fact("signed-sha256", &sha256(&made.der)), Fact::varies("signed-in", asked)];
    run.done(facts, Some(open)).await?;
    Ok(made)
}

async fn commit(open: &Open, warrant: Warrant, identity: &RequestIdentity) -> Result<(Decided, u64), CeremonyError> {
    let at = open.book.at();
    let mut issued = open.book.ledger.issue(warrant, at).await?;
    if matches!(issued, Issued::InFlight) {
        issued = open.book.ledger.resume(identity, at).await?;
    }
    match issued {
        Issued::Committed { committed, .. } => {
            let index = committed.log_index();
            Ok((Decided::Unsigned(committed), index))
        }
        Issued::Answered(answer) => {
            let index = answer.log_index;
            Ok((Decided::Signed(answer), index))
        }
        Issued::Refused { reasons, .. } => Err(CeremonyError::Refused { what: "what was decided", reasons }),
        Issued::InFlight | Issued::SameAs(_) | Issued::Expired | Issued::Validated { .. } => {
            Err(defect("the log neither takes the decision nor refuses it"))
        }
    }
}

async fn sign(open: &Open, decided: Decided, issuer: &PublicKey) -> Result<Made, CeremonyError> {
    let not_assembled = |error: hallmark_issuance::AssembleError| defect(&error.to_string());
    let committed = match decided {
        Decided::Signed(answer) => {
            let Answer { to_be_signed, signature, algorithm, log_index, .. } = answer;
            let whole = reassemble(&to_be_signed, algorithm, &signature, issuer).map_err(not_assembled)?;
            return Ok(Made { der: whole.into_der(), to_be_signed, log_index });
        }
        Decided::Unsigned(committed) => committed,
    };
    let log_index = committed.log_index();
    let signature = match by_device(open, committed) {
        Ok(signature) => signature,
        Err(sentence) => {
            let code = "DEVICE_FAILED".to_owned();
            open.book.record(Event::SigningFailed { log_index, code, sentence: sentence.clone() }).await?;
            return Err(CeremonyError::NotSigned { sentence });
        }
    };
    // Whether it is the issuer's; the backend verified it.
    assemble(&signature, issuer).map_err(not_assembled)?;
    let parts = signature.into_parts();
    let kept = open.book.ledger.keep_signature(log_index, parts.bytes).await?;
    let whole = reassemble(&parts.to_be_signed, parts.algorithm, &kept, issuer).map_err(not_assembled)?;
    Ok(Made { der: whole.into_der(), to_be_signed: parts.to_be_signed, log_index })
}

/// The device signs what was committed, and nothing else: the type says so.
fn by_device(open: &Open, committed: Committed) -> Result<Signature, String> {
    let device = open.device().map_err(|error| error.to_string())?;
    let (done, signed) = mpsc::channel();
    let deadline = Instant::now() + SIGN_TIME_MAX;
    device.keyring.sign(committed, deadline, Box::new(move |result| drop(done.send(result))));
    match signed.recv_timeout(SIGN_TIME_MAX + Duration::from_secs(1)) {
        Ok(Ok(signature)) => Ok(signature),
        // Whoever holds the ceremony decides whether it goes on, and the log says so first.
        Ok(Err(SignError::SignAgain { failed, .. })) => Err(failed.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("the device gave no answer within {} s", SIGN_TIME_MAX.as_secs())),
    }
}

/// What would be signed, as facts.
pub(crate) fn told(content: &Content) -> Vec<Fact> {
    match content {
        Content::Certificate(content) => of_certificate(content),
        Content::Crl(content) => of_crl(content),
        Content::Request(content) => of_request(content),
    }
}

fn of_certificate(content: &CertificateContent) -> Vec<Fact> {
    let validity = content.validity;
    let mut facts = vec![
        Fact::varies("serial", content.serial),
        Fact::same("subject", &content.subject),
        Fact::same("issuer", &content.issuer),
        Fact::varies("not-before", validity.not_before),
        Fact::varies("not-after", validity.not_after),
        Fact::same("seconds", validity.not_after.secs_since(validity.not_before)),
        Fact::same("key", content.key.kind()),
        Fact::varies("spki-sha256", content.key.digest()),
        Fact::same("signature-algorithm", content.algorithm),
    ];
    for extension in &content.extensions {
        let said = said::extension(extension);
        let name = if said.critical { format!("{} (critical)", said.name) } else { said.name };
        let value = said.values.join(", ");
        let varies = name.ends_with("KeyIdentifier");
        facts.push(Fact { name, value, varies });
    }
    facts
}

fn of_request(content: &RequestContent) -> Vec<Fact> {
    vec![
        Fact::same("certification-request", "asks for nothing: it proves that the token has the key"),
        Fact::same("subject", &content.subject),
        Fact::same("key", content.key.kind()),
        Fact::varies("spki-sha256", content.key.digest()),
        Fact::same("signature-algorithm", content.algorithm),
    ]
}

fn of_crl(content: &CrlContent) -> Vec<Fact> {
    let mut facts = vec![
        Fact::same("issuer", &content.issuer),
        Fact::varies("number", content.number),
        Fact::varies("this-update", content.this_update),
        Fact::varies("next-update", content.next_update),
        Fact::varies("revoked", content.revoked.len()),
    ];
    let listed = content.revoked.iter().map(|entry| format!("{} {}", entry.serial, entry.reason.name()));
    facts.push(Fact::varies("list", listed.collect::<Vec<_>>().join(", ")));
    facts.push(Fact::same("signature-algorithm", content.algorithm));
    facts
}
