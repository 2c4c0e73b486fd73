//! Ceremonies: what roots sign, in front of witnesses, from one reviewed file.
//!
//! [`Ceremony`] is the file. [`plan`] checks everything and says what will happen; no device is written. [`rehearse`](rehearse::rehearse)
//! does all of it on a token that is thrown away. [`run`] does it: it rehearses, does the same on the device, and stops where that differs.
//! What was interrupted is run again with the same file, and goes on. [`verify`](verify::verify) checks a transcript years later.
//!
//! Every signature goes the way of all others: policy decides and endorses, the log of ceremonies takes the decision, and only then the
//! device signs what was committed (`order.rs`, held by types). This crate must never write over a file or a key, try a PIN twice, let a
//! secret into the transcript, the log or a message, or touch the device before the file, the policy and the rehearsal are found to be good.

mod attested;
mod backup;
mod book;
mod canonical;
mod check;
mod device;
mod digest;
pub mod doctor;
mod error;
mod execute;
mod facts;
pub mod file;
mod journal;
mod meaning;
mod order;
mod output;
mod people;
pub mod quorum;
pub mod rehearse;
pub mod report;
mod run;
mod steps;
mod transcript;
pub mod verify;
mod witness;

use std::path::Path;

use hallmark_backends::{KeyPurpose, PinState, Survey, Waiver, Wrappers};
use hallmark_policy::hex;
use tokio::runtime::Builder;

pub use book::{published, verifier_path};
pub use digest::{aloud, from_words, words};
pub use error::CeremonyError;
pub use execute::Finished;
pub use facts::{Done, Fact};
pub use meaning::{
    BackupTask, Ceremony, CrlTask, CrossCertificateTask, Custodian, DestroyTask, DevicePlace, IntermediateTask,
    KeyTask, LogKeyTask, LogPlace, PolicyPlace, QuorumTask, RestoreTask, Revoking, RootTask, SOFTHSM_MODULE, Task,
    Witness, WrapKeyTask, WrapKeyValue, WrapSource, beside,
};
pub use people::{Confirmation, Nobody, People};
pub use rehearse::Foretold;
pub use steps::{Step, steps};
pub use transcript::{Artefact, LogPart, Present, TRANSCRIPT_VERSION, Transcript};
pub use verify::NAMESPACE;
pub use witness::{WitnessCertificate, WitnessKey};

use crate::run::Run;

/// Reads the file of a ceremony.
///
/// # Errors
/// If it cannot be read, and every mistake in it.
pub fn read(path: &Path) -> Result<Ceremony, CeremonyError> {
    let text = output::read(path)?;
    let wanted = "text in UTF-8";
    let text = String::from_utf8(text).map_err(|_| CeremonyError::NotOne { path: path.to_owned(), wanted })?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    let directory =
        directory.canonicalize().map_err(|source| CeremonyError::Unreadable { path: directory.to_owned(), source })?;
    Ceremony::parse(&text, &directory).map_err(|mistakes| CeremonyError::Mistakes { path: path.to_owned(), mistakes })
}

/// What will happen.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The steps, in their order.
    pub steps: &'static [Step],
    /// What will be signed, as far as it is known before; nothing where nothing is signed.
    pub content: Vec<Fact>,
    /// The device, as it is now; nothing where none takes part.
    pub device: Vec<Fact>,
    /// The files that will be written, with what they are.
    pub outputs: Vec<(&'static str, String)>,
    /// What somebody should look at before.
    pub remarks: Vec<String>,
}

/// Checks everything that can be checked, and says what will happen. Nothing is written, and nobody logs in.
///
/// # Errors
/// The first thing that stands against it.
pub fn plan(ceremony: &Ceremony) -> Result<Plan, CeremonyError> {
    let checked = check::papers(ceremony)?;
    let survey = check::around(ceremony, &checked)?;
    let outputs = ceremony.outputs().into_iter();
    Ok(Plan {
        steps: steps(&ceremony.task),
        content: checked.preview.clone(),
        device: survey.as_ref().map(|survey| device::facts(&survey.description)).unwrap_or_default(),
        outputs: outputs.map(|(what, path)| (what, output::shown(&path, &ceremony.directory))).collect(),
        remarks: remarks(ceremony, survey.as_ref()),
    })
}

/// Does it. `program` is this program, which rehearses; `expected` is what the rehearsal must foretell, where that was reviewed before.
///
/// # Errors
/// See [`CeremonyError`]. What was done until then stands in the log, and the same file goes on.
pub fn run(
    ceremony: &Ceremony,
    people: &mut dyn People,
    program: &Path,
    expected: Option<&Foretold>,
) -> Result<Finished, CeremonyError> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| run::defect(&error.to_string()))?;
    runtime.block_on(async {
        let mut before = Run::new(ceremony, people, None, "validate");
        before.begin("validate", None).await?;
        let checked = check::papers(ceremony)?;
        let survey = check::around(ceremony, &checked)?;
        let mut facts = vec![Fact::varies("file-sha256", hex(&ceremony.sha256))];
        if let Ok(policy) = checked.policy() {
            facts.push(Fact::varies("policy-sha256", policy.digest()));
        }
        facts.extend(survey.as_ref().map(|survey| device::facts(&survey.description)).unwrap_or_default());
        before.done(facts, None).await?;
        before.begin("rehearse", None).await?;
        let foretold = rehearse::rehearse(ceremony, program)?;
        if expected.is_some_and(|expected| *expected != foretold) {
            let sentence = "it foretells something else than the rehearsal that was reviewed".to_owned();
            return Err(CeremonyError::Rehearsal { sentence });
        }
        before.done(vec![Fact::varies("rehearsal-sha256", hex(&foretold.sha256()))], None).await?;
        let (done, confirmations) = (before.done, before.confirmations);
        execute::execute(ceremony, &checked, Some(&foretold), people, (done, confirmations)).await
    })
}

fn remarks(ceremony: &Ceremony, survey: Option<&Survey>) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some(Survey { pin: PinState { count_low: true, .. }, .. }) = survey {
        remarks.push("a wrong PIN was tried on this token since the last log-in".to_owned());
    }
    if ceremony.witnesses.is_empty() {
        remarks.push("the file names no witness: it can be run with --unattended only".to_owned());
    }
    let (waived, unknown) = survey.map(|survey| Waiver::told(&survey.description.waived)).unwrap_or_default();
    if !waived.is_empty() {
        remarks.push(format!("the file waives {} of every key in this module", waived.join(" ")));
    }
    remarks.extend(unknown.into_iter().map(|sentence| format!("by the file, {sentence}")));
    if let KeyPurpose::Wrappable(by) = ceremony.task.purpose() {
        remarks.push(wrappable(by).to_owned());
    }
    if ceremony.device.as_ref().is_some_and(|device| device.firmware.is_none()) {
        remarks.push("the file does not say which firmware the token must have".to_owned());
    }
    remarks
}

/// What it means that a key can be wrapped.
pub(crate) fn wrappable(by: Wrappers) -> &'static str {
    match by {
        Wrappers::Any => {
            "any wrap key of the token can wrap this key, and whoever has the user PIN can make one: whoever logs in can take it out"
        }
        Wrappers::Trusted => {
            "a wrap key that the token's security officer has marked as trusted can wrap this key, and no other"
        }
    }
}
