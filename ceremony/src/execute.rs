//! What is done once everything is checked: the log, the device, the task, the transcript.

mod backup;
mod destroy;
mod key;
mod log_key;
mod quorum;
mod restore;
mod root;
mod signs;
mod source;
mod wrap_key;

use std::path::PathBuf;

use hallmark_backends::KeyReference;
use hallmark_ledger::{CeremonyAction, Logged};
use hallmark_policy::{content::Serial, hex, key::PublicKey, time::UnixTime};

use zeroize::Zeroizing;

use crate::{
    attested::UNATTESTED,
    book::Book,
    check::{self, Checked},
    device::{self, Device},
    digest::{aloud, sha256},
    error::CeremonyError,
    facts::{Done, Fact},
    journal::Journal,
    meaning::{BackupTask, Ceremony, RestoreTask, Task},
    order::Made,
    output,
    people::{Confirmation, People},
    rehearse::Foretold,
    run::{Open, Run, defect, digest_fact},
    transcript::{Artefact, LogPart, TRANSCRIPT_VERSION, Transcript},
};

/// What a ceremony came to.
#[derive(Debug)]
pub struct Finished {
    /// The steps, with what they found and made.
    pub steps: Vec<Done>,
    /// The files that were written, the transcript and its receipt among them.
    pub artefacts: Vec<Artefact>,
    /// SHA-256 of the transcript.
    pub transcript_sha256: [u8; 32],
    /// The key that was made, if one was.
    pub key: Option<(KeyReference, PublicKey)>,
}

/// What a task leaves behind.
#[derive(Default)]
pub(crate) struct Left {
    /// Files, with what they hold.
    files: Vec<OutFile>,
    /// The key that was made.
    key: Option<(KeyReference, PublicKey)>,
    /// What has a digest and no file.
    digests: Vec<Fact>,
}

/// A file that is to be written.
struct OutFile {
    what: &'static str,
    /// Where it is written, if the task does not say.
    place: Option<PathBuf>,
    content: Zeroizing<Vec<u8>>,
    mode: u32,
    /// What was signed in it, by which key, and where that was decided.
    signed: Option<(Vec<u8>, PublicKey, u64)>,
}

impl OutFile {
    fn signed(what: &'static str, label: &str, made: Made, issuer: &PublicKey) -> Self {
        let Made { der, to_be_signed, log_index } = made;
        let signed = Some((to_be_signed, issuer.clone(), log_index));
        Self { what, place: None, content: output::pem(label, &der).into_bytes().into(), mode: output::PUBLIC, signed }
    }

    fn plain(what: &'static str, content: Vec<u8>, mode: u32) -> Self {
        Self { what, place: None, content: content.into(), mode, signed: None }
    }
}

/// Does everything after the rehearsal. `before`: what was done until then.
pub(crate) async fn execute(
    ceremony: &Ceremony,
    checked: &Checked,
    foretold: Option<&Foretold>,
    people: &mut dyn People,
    before: (Vec<Done>, Vec<Confirmation>),
) -> Result<Finished, CeremonyError> {
    let mut run = Run::new(ceremony, people, foretold, "log");
    (run.done, run.confirmations) = before;
    let mut open = log(&mut run, checked).await?;
    match task(&mut run, &mut open, checked).await {
        Ok(finished) => Ok(finished),
        Err(error) => {
            let is_said = matches!(error, CeremonyError::Declined { .. } | CeremonyError::Differs { .. });
            match run.current() {
                Some(step) if !is_said => Err(run.stopped(Some(&open.book), &step, error).await),
                Some(_) | None => Err(error),
            }
        }
    }
}

async fn task(run: &mut Run<'_>, open: &mut Open, checked: &Checked) -> Result<Finished, CeremonyError> {
    if run.ceremony.device.is_some() && !matches!(run.ceremony.task, Task::LogKey(_)) {
        device(run, open).await?;
    }
    let ceremony = run.ceremony;
    let left = match &ceremony.task {
        Task::Root(task) => root::make(run, open, checked, task).await?,
        Task::Intermediate(_) | Task::CrossCertificate(_) => signs::certificate(run, open, checked).await?,
        Task::Crl(task) => signs::crl(run, open, checked, task).await?,
        Task::Key(task) => key::make(run, open, checked, task).await?,
        Task::Destroy(task) => destroy::destroy(run, open, checked, task).await?,
        Task::LogKey(task) => log_key::draw(run, open, task).await?,
        Task::Quorum(task) => quorum::split(run, open, task).await?,
        Task::WrapKey(task) => wrap_key::make(run, open, checked, task).await?,
        Task::Backup(task) => backup::back_up(run, open, checked, task).await?,
        Task::Restore(task) => restore::restore(run, open, checked, task).await?,
    };
    if !left.files.is_empty() {
        write(run, open, &left).await?;
    }
    digests(run, open, &left).await?;
    transcript(run, open, checked, left.key).await
}

/// Opens the log, and begins.
async fn log(run: &mut Run<'_>, checked: &Checked) -> Result<Open, CeremonyError> {
    run.begin("log", None).await?;
    let ceremony = run.ceremony;
    let book = Book::open(ceremony)?;
    let now = UnixTime::from_secs(book.at().0.div_euclid(1_000));
    let journal = Journal::begin(ceremony, check::moment(ceremony, now), serial)?;
    let rehearsal_sha256 = run.foretold.map(Foretold::sha256).unwrap_or_default();
    let kind = ceremony.task.name().to_owned();
    let device = ceremony.device.as_ref().map(|place| {
        let what = place.kind();
        format!("{what} `{}` with serial {}", place.name(), place.serial)
    });
    let begun = book.say(CeremonyAction::Begun { kind, device, rehearsal_sha256 }).await?;
    run.entries.push(begun.index);
    if let Ok(policy) = checked.policy() {
        run.entries.push(book.under(policy).await?.index);
    }
    let facts = vec![
        Fact::same("origin", &ceremony.log.origin),
        Fact::varies("log-key", book.verifier()),
        Fact::varies("log-index", begun.index),
        Fact::varies("runs", journal.runs()),
    ];
    let open = Open { book, journal, device: None, pin_is_changed: false };
    run.done(facts, Some(&open)).await?;
    Ok(open)
}

/// Logs in to the token.
async fn device(run: &mut Run<'_>, open: &mut Open) -> Result<(), CeremonyError> {
    run.begin("device", Some(open)).await?;
    let Some(place) = &run.ceremony.device else { return Err(defect("the file names no device")) };
    let device = match Device::open(place, run.people) {
        Err(CeremonyError::Device(error)) if error.is_about_the_pin() && quorum::may_be_changed(run, open) => {
            open.pin_is_changed = true;
            quorum::open(run, place)?
        }
        opened => opened?,
    };
    if let (Some(label), false) = (run.ceremony.task.label(), open.journal.is_touching())
        && device.has(label)?
    {
        return Err(CeremonyError::LabelTaken { label: label.to_string() });
    }
    match &run.ceremony.task {
        Task::WrapKey(task) if !open.journal.is_touching() && device.keyring.wrap_key(&task.label)?.is_some() => {
            return Err(CeremonyError::LabelTaken { label: task.label.to_string() });
        }
        Task::Backup(BackupTask { spki, .. }) | Task::Restore(RestoreTask { spki, .. }) => {
            run.ceremony.task.exception().into_iter().for_each(|exception| device.except(*spki, exception));
        }
        Task::Root(_)
        | Task::Intermediate(_)
        | Task::CrossCertificate(_)
        | Task::Crl(_)
        | Task::Key(_)
        | Task::Destroy(_)
        | Task::LogKey(_)
        | Task::Quorum(_)
        | Task::WrapKey(_) => {}
    }
    let mut facts = device::facts(&device.description);
    // No device that is reached through PKCS #11 vouches for what it says of its keys.
    facts.push(Fact::same("attestation", device.vouches()));
    open.device = Some(device);
    run.done(facts, Some(open)).await
}

/// Writes the files: none over another, each durable.
async fn write(run: &mut Run<'_>, open: &Open, left: &Left) -> Result<(), CeremonyError> {
    run.begin("write", Some(open)).await?;
    let ceremony = run.ceremony;
    let mut facts = Vec::new();
    for file in &left.files {
        let places = ceremony.task.outputs();
        let named = || places.into_iter().find(|(what, _)| *what == file.what).map(|(_, path)| path);
        let path = file.place.clone().or_else(named).ok_or_else(|| defect("a file has no place"))?;
        output::create(&path, &file.content, file.mode)?;
        let shown = output::shown(&path, &ceremony.directory);
        facts.push(Fact::varies(file.what, &shown));
        let is_secret = file.mode == output::SECRET;
        let signed = file.signed.as_ref();
        run.artefacts.push(Artefact {
            what: file.what.to_owned(),
            path: shown,
            sha256: if is_secret { String::new() } else { hex(&sha256(&file.content)) },
            to_be_signed_sha256: signed.map(|(signed, ..)| hex(&sha256(signed))).unwrap_or_default(),
            issuer_spki_sha256: signed.map(|(_, issuer, _)| issuer.digest().to_string()).unwrap_or_default(),
            log_index: signed.map(|(_, _, index)| *index),
        });
    }
    run.done(facts, Some(open)).await
}

/// Says the digests, so that they can be read aloud and compared.
async fn digests(run: &mut Run<'_>, open: &Open, left: &Left) -> Result<(), CeremonyError> {
    run.begin("digests", Some(open)).await?;
    let mut facts = left.digests.clone();
    if let Some((_, public)) = &left.key {
        facts.push(digest_fact("spki-sha256", public.digest().as_bytes()));
    }
    for file in left.files.iter().filter(|file| file.mode != output::SECRET) {
        let digest = sha256(&file.content);
        facts.push(digest_fact(&format!("{}-sha256", file.what), &digest));
        facts.push(Fact::varies(&format!("{}-words", file.what), aloud(&digest).split_off(2).join(" ")));
    }
    run.done(facts, Some(open)).await
}

/// Writes the transcript. Its digest is in the log before it is where somebody finds it.
async fn transcript(
    run: &mut Run<'_>,
    open: &mut Open,
    checked: &Checked,
    key: Option<(KeyReference, PublicKey)>,
) -> Result<Finished, CeremonyError> {
    run.begin("transcript", Some(open)).await?;
    let ceremony = run.ceremony;
    let (attestation, attestation_certificates) = match (&key, &open.device) {
        (Some((reference, public)), Some(device)) => device.attestation(reference, public)?,
        (None, _) | (_, None) => (UNATTESTED.to_owned(), Vec::new()),
    };
    let transcript = Transcript {
        version: TRANSCRIPT_VERSION,
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        ceremony: ceremony.name.clone(),
        task: ceremony.task.name().to_owned(),
        file: ceremony.text.clone(),
        policy_sha256: checked.policy().map(|policy| policy.digest().to_string()).unwrap_or_default(),
        rehearsal_sha256: run.foretold.map(|foretold| hex(&foretold.sha256())).unwrap_or_default(),
        attestation,
        attestation_certificates,
        device: open.device.as_ref().map(|device| device::facts(&device.description)).unwrap_or_default(),
        witnesses: Transcript::present(ceremony),
        confirmations: run.confirmations.clone(),
        steps: run.done.clone(),
        runs: open.journal.runs(),
        artefacts: run.artefacts.clone(),
        log: LogPart { origin: ceremony.log.origin.clone(), key: open.book.verifier(), entries: run.entries.clone() },
    };
    let bytes = open.journal.put_aside(transcript.to_json())?;
    let transcript_sha256 = sha256(&bytes);
    let Logged { index, entry, receipt } = open.book.say(CeremonyAction::Finished { transcript_sha256 }).await?;
    let receipt = receipt.text().await?;
    output::create(&ceremony.transcript, &bytes, output::PUBLIC)?;
    output::replace(&ceremony.entry(), &entry)?;
    output::replace(&ceremony.receipt(), receipt.as_bytes())?;
    open.journal.finish(&transcript_sha256)?;
    let facts = vec![
        digest_fact("transcript-sha256", &transcript_sha256),
        Fact::varies("transcript-words", aloud(&transcript_sha256).split_off(2).join(" ")),
        Fact::varies("log-index", index),
    ];
    run.done(facts, Some(open)).await?;
    let artefacts = std::mem::take(&mut run.artefacts);
    Ok(Finished { steps: std::mem::take(&mut run.done), artefacts, transcript_sha256, key })
}

/// A serial number of the system's random numbers.
fn serial() -> Result<Serial, CeremonyError> {
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| defect("the system gives no random numbers"))?;
    Ok(Serial::from_random(random))
}
