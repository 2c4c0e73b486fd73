//! The way forward, each value made by the house that may make it and consumed by the next.

use std::time::Instant;

use hallmark_backends::{Done, Keyring, Signature};
use hallmark_issuance::{AssembleError, Signed, assemble, draft};
use hallmark_ledger::{Issued, Ledger, LedgerError, UnixMillis};
use hallmark_policy::{
    CrlRequest, Decision, Issuer, Policy, Request, Warrant,
    content::{EpochBinding, Serial},
    decide, decide_crl, decide_request, endorse,
    key::PublicKey,
    time::UnixTime,
};

/// Policy: a request becomes an approval, and a draft of it a warrant.
pub(crate) fn decide_and_endorse(
    policy: &Policy,
    request: &Request,
    issuer: &Issuer,
    now: UnixTime,
    serial: Serial,
) -> Option<Warrant> {
    draft_and_endorse(decide(policy, request, issuer, now, serial))
}

/// The same, of a CRL.
pub(crate) fn decide_and_endorse_a_crl(
    policy: &Policy,
    authority: &str,
    request: CrlRequest<'_>,
    now: UnixTime,
) -> Option<Warrant> {
    draft_and_endorse(decide_crl(policy, authority, request, now))
}

/// The same, of the certification request of an epoch's key.
pub(crate) fn decide_and_endorse_a_certification_request(
    policy: &Policy,
    authority: &str,
    epoch: EpochBinding,
    key: &PublicKey,
) -> Option<Warrant> {
    draft_and_endorse(decide_request(policy, authority, epoch, key))
}

fn draft_and_endorse(decision: Decision) -> Option<Warrant> {
    match decision {
        Decision::Approve(approved) => {
            let draft = draft(&approved).ok()?;
            endorse(*approved, draft.into_der()).ok()
        }
        Decision::Refuse(_) => None,
    }
}

/// Ledger and backend: a warrant is committed, and what was committed is signed.
pub(crate) async fn commit_and_sign(
    ledger: &Ledger,
    keyring: &Keyring,
    warrant: Warrant,
    at: UnixMillis,
    deadline: Instant,
    done: Done,
) -> Result<(), LedgerError> {
    match ledger.issue(warrant, at).await? {
        Issued::Committed { committed, .. } => keyring.sign(committed, deadline, done),
        Issued::Answered(_)
        | Issued::InFlight
        | Issued::SameAs(_)
        | Issued::Expired
        | Issued::Refused { .. }
        | Issued::Validated { .. } => {}
    }
    Ok(())
}

/// Issuance: a signature becomes a certificate, CRL or certification request.
pub(crate) fn finish(signature: &Signature, issuer: &PublicKey) -> Result<Signed, AssembleError> {
    assemble(signature, issuer)
}
