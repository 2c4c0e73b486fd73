//! What is checked of a signer's answer before it is called a success.
//!
//! Not checked of a minted certificate: name constraints, revocation, extensions. `hallmark verify-chain` does that with the written files.

use hallmark_chain::{Evidence, Finding, History, Report, Start, verify};
use hallmark_entry::Summary;
use hallmark_proto::signer::{Epoch, GetChainResponse, MintCertificateResponse};
use hallmark_tlog::{
    note::VerifierKey,
    receipt::{Receipt, ReceiptError},
};

use crate::certificate::{CertificateView, without_zeros};

/// What was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Expectation {
    /// SubjectPublicKeyInfo, DER; `None` if it could not be read here.
    pub(crate) spki: Option<Vec<u8>>,
    /// The transition that was named.
    pub(crate) transition: Option<[u8; 32]>,
    /// Only a validation.
    pub(crate) validate_only: bool,
    /// Keys of the log; none: the receipt is not verified.
    pub(crate) log_keys: Vec<VerifierKey>,
}

/// What was found good.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    /// The certificate; none where only validation was asked for.
    pub(crate) leaf: Option<CertificateView>,
    /// The decision's entry.
    pub(crate) entry: Summary,
    /// The proof that the entry is in the log.
    pub(crate) receipt: ReceiptCheck,
}

/// What the receipt proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReceiptCheck {
    /// The entry is in the log of the key's owner.
    Proven,
    /// There is one, and no key to verify it with.
    NoKey,
}

/// What does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CheckError {
    #[error("its {what} certificate is missing or cannot be read")]
    Unreadable { what: &'static str },
    #[error("only a validation was asked for, and it has a certificate or a serial number")]
    Unasked,
    #[error("it does not say from when to when the certificate would be valid")]
    NoValidity,
    #[error("the certificate is over another key than the one that was sent")]
    OtherKey,
    #[error("it certified a request whose key cannot be read here, so the two keys cannot be compared")]
    KeyUnknown,
    #[error("the {what} certificate is not signed by the {issuer} certificate")]
    NotSigned { what: &'static str, issuer: &'static str },
    #[error("serial number or validity in the answer are not those of the certificate")]
    OtherFields,
    #[error("the epoch is not of the transition that was named")]
    OtherTransition,
    #[error(
        "the epoch is not of the authority or the manifest that was named, or of another generation than its certificates"
    )]
    OtherEpoch,
    #[error("the root certificate is not the one that was known before")]
    OtherRoot,
    #[error("the epoch is neither active nor waiting for its offline root")]
    State,
    #[error("the certification request is missing, not signed by its own key, or of another key than the mesh CA")]
    Request,
    #[error("{finding}{}", and_more(*more))]
    Chain { finding: Box<Finding>, more: usize },
    #[error("the log entry cannot be read")]
    EntryUnreadable,
    #[error("the log entry is not about this certificate")]
    EntryOfOther,
    #[error("the log entry does not say that this epoch is active")]
    EntryOfOtherEpoch,
    #[error("the answer has no receipt")]
    NoReceipt,
    #[error("the receipt is for entry {found}, not for entry {wanted}")]
    ReceiptIndex { wanted: u64, found: u64 },
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
}

fn and_more(more: usize) -> String {
    if more == 0 { String::new() } else { format!("; and {more} more") }
}

impl CheckError {
    /// What speaks against a chain.
    pub(crate) fn of_report(report: &Report) -> Result<(), Self> {
        let mut findings = report.findings();
        match findings.next() {
            None => Ok(()),
            Some(finding) => Err(Self::Chain { finding: Box::new(finding.clone()), more: findings.count() }),
        }
    }
}

/// Checks an answer to MintCertificate.
pub(crate) fn minted(answer: &MintCertificateResponse, wanted: &Expectation) -> Result<Checked, CheckError> {
    let leaf = if wanted.validate_only { validated(answer)? } else { Some(leaf(answer, wanted)?) };
    let transition = answer.epoch.as_ref().map(|epoch| epoch.transition.as_ref());
    if wanted.transition.is_some_and(|wanted| transition != Some(wanted.as_slice())) {
        return Err(CheckError::OtherTransition);
    }
    let entry = Summary::parse(&answer.log_entry).map_err(|_| CheckError::EntryUnreadable)?;
    let is_meant = match &leaf {
        Some(leaf) => {
            let digest = hallmark_policy::hex(&hallmark_entry::sha256(&leaf.to_be_signed));
            entry.decision.as_deref() == Some("issued") && entry.tbs_sha256 == Some(digest)
        }
        None => entry.decision.as_deref() == Some("validated") && is_of_answer(&entry, answer),
    };
    if !is_meant {
        return Err(CheckError::EntryOfOther);
    }
    let receipt = receipt(&answer.receipt, answer.log_index, &answer.log_entry, &wanted.log_keys)?;
    Ok(Checked { leaf, entry, receipt })
}

/// Checks an answer to GetChain: root, intermediate, mesh CA, and that both are bound to the epoch that it names. That the root
/// is the right one has to be known from elsewhere.
pub(crate) fn chain(answer: &GetChainResponse) -> Result<[CertificateView; 3], CheckError> {
    let epoch = answer.epoch.as_ref().ok_or(CheckError::OtherEpoch)?;
    let transition = epoch.transition.as_ref().try_into().map_err(|_| CheckError::OtherTransition)?;
    let report = verify(&Evidence {
        root_sha256: hallmark_entry::sha256(&answer.root),
        root: &answer.root,
        intermediate: &answer.intermediate,
        mesh_ca: &answer.mesh_ca,
        history: &History::new(Start::Transition(transition)),
        leaves: &[],
        root_crl: None,
        at: None,
    });
    CheckError::of_report(&report)?;
    if report.generation != Some(epoch.generation) {
        return Err(CheckError::OtherEpoch);
    }
    Ok([read(&answer.root, "root")?, read(&answer.intermediate, "intermediate")?, read(&answer.mesh_ca, "mesh CA")?])
}

fn leaf(answer: &MintCertificateResponse, wanted: &Expectation) -> Result<CertificateView, CheckError> {
    let leaf = read(&answer.certificate, "leaf")?;
    match &wanted.spki {
        None => return Err(CheckError::KeyUnknown),
        Some(spki) if *spki != leaf.spki => return Err(CheckError::OtherKey),
        Some(_) => {}
    }
    if (leaf.not_before, leaf.not_after) != (answer.not_before, answer.not_after)
        || leaf.serial != without_zeros(&answer.serial)
    {
        return Err(CheckError::OtherFields);
    }
    issuers(answer, Some(("leaf", leaf.clone())))?;
    Ok(leaf)
}

/// What would be minted is no certificate, and has its issuers all the same.
fn validated(answer: &MintCertificateResponse) -> Result<Option<CertificateView>, CheckError> {
    if !answer.certificate.is_empty() || !answer.serial.is_empty() {
        return Err(CheckError::Unasked);
    }
    if answer.not_after <= answer.not_before {
        return Err(CheckError::NoValidity);
    }
    if answer.chain.is_empty() {
        return Err(CheckError::Unreadable { what: "intermediate" });
    }
    issuers(answer, None)?;
    Ok(None)
}

/// Checks the chain up to the root, from the leaf where there is one.
fn issuers(answer: &MintCertificateResponse, leaf: Option<(&'static str, CertificateView)>) -> Result<(), CheckError> {
    let root = read(&answer.root, "root")?;
    let mut lower = leaf;
    for issuer in &answer.chain {
        let issuer = read(issuer, "intermediate")?;
        if let Some((what, lower)) = &lower {
            signed(what, lower, "intermediate", &issuer)?;
        }
        lower = Some(("intermediate", issuer));
    }
    lower.map_or(Ok(()), |(what, lower)| signed(what, &lower, "root", &root))
}

/// Whether the entry says of validity and epoch what the answer says.
fn is_of_answer(entry: &Summary, answer: &MintCertificateResponse) -> bool {
    let epoch_of_answer =
        answer.epoch.as_ref().map(|epoch| (epoch.generation, hallmark_policy::hex(&epoch.transition)));
    let epoch_of_entry = entry.epoch.as_ref().and_then(|epoch| Some((epoch.generation, epoch.transition.clone()?)));
    (entry.not_before, entry.not_after) == (Some(answer.not_before), Some(answer.not_after))
        && epoch_of_entry == epoch_of_answer
}

/// Checks that the entry at `index` says that this epoch is active, and what its receipt proves.
pub(crate) fn activation(
    epoch: &Epoch,
    index: u64,
    entry: &[u8],
    receipt: &str,
    log_keys: &[VerifierKey],
) -> Result<ReceiptCheck, CheckError> {
    let summary = Summary::parse(entry).map_err(|_| CheckError::EntryUnreadable)?;
    let meant = summary.epoch.as_ref().is_some_and(|meant| {
        let transition = hallmark_policy::hex(&epoch.transition);
        meant.generation == epoch.generation && meant.transition.as_ref() == Some(&transition)
    });
    let of_authority = summary.authority.as_ref().is_some_and(|authority| authority.is(&epoch.authority));
    if !meant || !of_authority || summary.kind != "rotation" || summary.step.as_deref() != Some("epoch-active") {
        return Err(CheckError::EntryOfOtherEpoch);
    }
    self::receipt(receipt, index, entry, log_keys)
}

/// What a receipt proves, in words.
pub(crate) fn receipt_in_words(check: ReceiptCheck) -> &'static str {
    match check {
        ReceiptCheck::Proven => "proves that the entry is in the log",
        ReceiptCheck::NoKey => "not verified: give the log's verifier key with --log-key",
    }
}

fn receipt(text: &str, index: u64, entry: &[u8], log_keys: &[VerifierKey]) -> Result<ReceiptCheck, CheckError> {
    if text.is_empty() {
        return Err(CheckError::NoReceipt);
    }
    let receipt = Receipt::parse(text.as_bytes())?;
    if receipt.index() != index {
        return Err(CheckError::ReceiptIndex { wanted: index, found: receipt.index() });
    }
    if log_keys.is_empty() {
        return Ok(ReceiptCheck::NoKey);
    }
    receipt.verify(entry, log_keys)?;
    Ok(ReceiptCheck::Proven)
}

fn read(der: &[u8], what: &'static str) -> Result<CertificateView, CheckError> {
    CertificateView::read(der).ok_or(CheckError::Unreadable { what })
}

fn signed(
    what: &'static str,
    lower: &CertificateView,
    issuer: &'static str,
    upper: &CertificateView,
) -> Result<(), CheckError> {
    if lower.is_signed_by(upper) { Ok(()) } else { Err(CheckError::NotSigned { what, issuer }) }
}
