//! The way forward, each value made by the house that may make it and consumed by the next.

use std::time::Instant;

use hallmark_backends::{Done, Keyring, Signature};
use hallmark_issuance::{AssembleError, Certificate, assemble, draft};
use hallmark_ledger::{Issued, Ledger, LedgerError, UnixMillis};
use hallmark_policy::{
    Decision, Issuer, Policy, Request, Warrant, content::Serial, decide, endorse, key::PublicKey, time::UnixTime,
};

/// Policy: a request becomes an approval, and a draft of it a warrant.
pub(crate) fn decide_and_endorse(
    policy: &Policy,
    request: &Request,
    issuer: &Issuer,
    now: UnixTime,
    serial: Serial,
) -> Option<Warrant> {
    match decide(policy, request, issuer, now, serial) {
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
        | Issued::Expired
        | Issued::Refused { .. }
        | Issued::Validated { .. } => {}
    }
    Ok(())
}

/// Issuance: a signature becomes a certificate.
pub(crate) fn finish(signature: &Signature, issuer: &PublicKey) -> Result<Certificate, AssembleError> {
    assemble(signature, issuer)
}
