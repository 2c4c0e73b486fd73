//! What a signer answered to a rotation: checked before anything is called a success, then written and said.

use std::path::PathBuf;

use hallmark_chain::{Evidence, verify};
use hallmark_policy::key::SpkiDigest;
use hallmark_proto::signer::{EpochState, RotateIntermediateResponse};
use hallmark_tlog::note::VerifierKey;
use serde_json::{Value, json};

use super::plan::Plan;
use crate::{
    bundle,
    certificate::{self, CertificateView},
    chain::epoch_to_json,
    checks::{CheckError, ReceiptCheck, activation, receipt_in_words},
    pem,
    screen::{Screen, Tone, printable},
    table::Table,
    when,
};

/// An answer that holds.
#[derive(Debug)]
pub(super) struct Rotated {
    answer: RotateIntermediateResponse,
    /// None while the epoch waits for its offline root.
    active: Option<Active>,
    /// The intermediate that was replaced was to be revoked.
    revokes: bool,
}

/// What is known of an active epoch beyond the answer itself.
#[derive(Debug)]
struct Active {
    not_before: i64,
    not_after: i64,
    receipt: ReceiptCheck,
}

impl Rotated {
    /// Checks everything that was asked for: the epoch, both certificates and their binding under the root that was known
    /// before, and the entry with its receipt.
    pub(super) fn check(
        answer: RotateIntermediateResponse,
        plan: &Plan,
        log_keys: &[VerifierKey],
    ) -> Result<Self, CheckError> {
        let epoch = answer.epoch.as_ref().ok_or(CheckError::OtherEpoch)?;
        if epoch.authority != plan.authority
            || epoch.manifest_sha256.as_ref() != plan.history().newest().unwrap_or_default()
        {
            return Err(CheckError::OtherEpoch);
        }
        if epoch.transition.as_ref() != plan.transition() {
            return Err(CheckError::OtherTransition);
        }
        if answer.root.as_ref() != plan.root() {
            return Err(CheckError::OtherRoot);
        }
        let active = match answer.state() {
            EpochState::Active => Some(active(&answer, plan, log_keys)?),
            EpochState::Keyed => {
                waiting(&answer)?;
                None
            }
            EpochState::Unspecified
            | EpochState::Intent
            | EpochState::Prepared
            | EpochState::Retired
            | EpochState::Destroyed
            | EpochState::Aborted => return Err(CheckError::State),
        };
        Ok(Self { answer, active, revokes: plan.revokes() })
    }

    /// What belongs into a directory.
    pub(super) fn files(&self) -> Vec<(&'static str, Vec<u8>)> {
        let answer = &self.answer;
        let mut files = bundle::certificates(&answer.root, &answer.intermediate, &answer.mesh_ca);
        files.push(bundle::request(&answer.certification_request));
        files.push(bundle::root_crl(&answer.root_crl));
        files.push((bundle::RECEIPT, answer.receipt.clone().into_bytes()));
        files.push((bundle::ENTRY, answer.log_entry.to_vec()));
        files
    }

    /// For people.
    pub(super) fn render(&self, written: &[PathBuf], screen: &Screen) -> String {
        let epoch = self.answer.epoch.clone().unwrap_or_default();
        let mut table = Table::new();
        table.row(["transition", &hallmark_policy::hex(&epoch.transition)]);
        let (authority, generation) = (printable(&epoch.authority).into_owned(), epoch.generation);
        let headline = match &self.active {
            Some(active) => {
                let (from, to) = (when::rfc3339(active.not_before), when::rfc3339(active.not_after));
                table.row(["valid", &format!("{from} to {to}")]);
                if self.answer.pause_micros > 0 {
                    table.row(["pause", &format!("nothing was decided for {} us", self.answer.pause_micros)]);
                }
                table.row(["log index", &self.answer.log_index.unwrap_or_default().to_string()]);
                table.row(["receipt", receipt_in_words(active.receipt)]);
                table.row(["checked", "root, intermediate and mesh CA, and that both are bound to this manifest"]);
                let word = if self.answer.replayed { "rotated before:" } else { "rotated:" };
                format!("{} {authority} generation {generation} is active", screen.tone(Tone::Good, word))
            }
            None => {
                let word = screen.tone(Tone::Doubtful, "waiting:");
                format!("{word} {authority} generation {generation} has its key, and waits for its offline root")
            }
        };
        let paths: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
        table.list("written", paths.iter().map(String::as_str));
        format!("{headline}\n{}{}", table.render(2), self.hint(generation, &authority))
    }

    fn hint(&self, generation: u64, authority: &str) -> String {
        if self.active.is_some() {
            return if self.revokes && self.answer.root_crl.is_empty() {
                format!(
                    "warning: the replaced intermediate does not stand on the root's CRL yet; the signer tries again every minute\n\
                     hint: ask again with the same command, or see `hallmark epochs --authority {authority}`\n"
                )
            } else {
                String::new()
            };
        }
        format!(
            "hint: have the root sign {}; an operator brings the certificate with `hallmark epoch bring {generation} \
             --authority {authority} --certificate FILE`, and the epoch becomes active\n",
            bundle::REQUEST
        )
    }

    /// For programs.
    pub(super) fn to_json(&self, plan: &Plan) -> Value {
        let answer = &self.answer;
        let one = |der: &[u8]| if der.is_empty() { Value::Null } else { pem::certificates([der]).into() };
        let request = &answer.certification_request;
        json!({
            "result": match (&self.active, answer.replayed) {
                (None, _) => "waiting",
                (Some(_), true) => "rotated-before",
                (Some(_), false) => "rotated",
            },
            "epoch": answer.epoch.as_ref().map(epoch_to_json),
            "replaced-transition": hallmark_policy::hex(&plan.expected()),
            "not-before": self.active.as_ref().map(|active| when::rfc3339(active.not_before)),
            "not-after": self.active.as_ref().map(|active| when::rfc3339(active.not_after)),
            "root": one(&answer.root),
            "intermediate": one(&answer.intermediate),
            "mesh-ca": one(&answer.mesh_ca),
            "previous-revoked": self.revokes.then_some(!answer.root_crl.is_empty()),
            "root-crl": if answer.root_crl.is_empty() { Value::Null } else { pem::crl(&answer.root_crl).into() },
            "certification-request": if request.is_empty() { Value::Null } else { pem::request(request).into() },
            "pause-micros": answer.pause_micros,
            "log-index": answer.log_index,
            "log-entry": String::from_utf8_lossy(&answer.log_entry),
            "receipt": answer.receipt,
            "receipt-verified": self.active.as_ref().is_some_and(|active| active.receipt == ReceiptCheck::Proven),
        })
    }
}

/// The certificates of an active epoch, and the entry that says that it is active.
fn active(answer: &RotateIntermediateResponse, plan: &Plan, log_keys: &[VerifierKey]) -> Result<Active, CheckError> {
    let history = plan.history();
    let report = verify(&Evidence {
        root_sha256: *SpkiDigest::of(plan.root()).as_bytes(),
        root: &answer.root,
        intermediate: &answer.intermediate,
        mesh_ca: &answer.mesh_ca,
        history: &history,
        leaves: &[],
        root_crl: Some(answer.root_crl.as_ref()).filter(|crl| !crl.is_empty()),
        at: None,
    });
    CheckError::of_report(&report)?;
    let epoch = answer.epoch.as_ref().ok_or(CheckError::OtherEpoch)?;
    if report.generation != Some(epoch.generation) {
        return Err(CheckError::OtherEpoch);
    }
    let index = answer.log_index.ok_or(CheckError::EntryOfOtherEpoch)?;
    let receipt = activation(epoch, index, &answer.log_entry, &answer.receipt, log_keys)?;
    let read = |der: &[u8], what| CertificateView::read(der).ok_or(CheckError::Unreadable { what });
    let (intermediate, mesh_ca) = (read(&answer.intermediate, "intermediate")?, read(&answer.mesh_ca, "mesh CA")?);
    Ok(Active {
        not_before: intermediate.not_before.max(mesh_ca.not_before),
        not_after: intermediate.not_after.min(mesh_ca.not_after),
        receipt,
    })
}

/// What an epoch has that waits for its offline root: a request that its own key signed.
fn waiting(answer: &RotateIntermediateResponse) -> Result<(), CheckError> {
    let spki = certificate::spki_of_signed_csr(&answer.certification_request).ok_or(CheckError::Request)?;
    if answer.mesh_ca.is_empty() {
        return Ok(());
    }
    let mesh_ca = CertificateView::read(&answer.mesh_ca).ok_or(CheckError::Unreadable { what: "mesh CA" })?;
    if mesh_ca.spki == spki { Ok(()) } else { Err(CheckError::Request) }
}
