//! Verifying a transcript: offline, with the published log and its public key, and the files that were written. No device is asked.

mod device;
mod log;
mod witnesses;

pub use crate::witness::NAMESPACE;
pub use device::verify_device;

use std::path::Path;

use hallmark_entry::Value;
use hallmark_policy::{hex, to_be_signed};
use hallmark_tlog::note::VerifierKey;

use crate::{
    attested,
    digest::sha256,
    error::CeremonyError,
    meaning::Ceremony,
    output, steps,
    transcript::{Artefact, Transcript},
};

/// What was looked at, one thing after another.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// What holds, in sentences.
    pub holds: Vec<String>,
    /// What does not.
    pub broken: Vec<String>,
}

impl Verdict {
    /// Whether all of it holds.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.broken.is_empty()
    }

    fn look(&mut self, holds: bool, good: impl Into<String>, bad: impl Into<String>) {
        if holds { self.holds.push(good.into()) } else { self.broken.push(bad.into()) }
    }
}

/// Verifies a transcript. `log`: directory of the published log. `key`: the log's public key, from somewhere else than the transcript.
/// `files`: the directory from which the paths in the transcript go.
///
/// # Errors
/// If something cannot be read at all.
pub fn verify(transcript: &Path, log: &Path, key: &VerifierKey, files: &Path) -> Result<Verdict, CeremonyError> {
    let (read, bytes) = Transcript::read(transcript)?;
    let mut verdict = Verdict::default();
    verdict.holds.push(format!("the transcript of `{}` is in its canonical form", read.ceremony));
    let log = log::read(log, key)?;
    verdict.holds.push(format!(
        "the log's checkpoint is signed by `{}`, and covers its {} entries",
        key.name(),
        log.len()
    ));
    verdict.look(
        read.log.key == key.to_string(),
        "the transcript names the key that signs the log",
        "the transcript names another key of the log",
    );
    let file_sha256 = hex(&sha256(read.file.as_bytes()));
    let end = finished(&read, &log, &file_sha256, &hex(&sha256(&bytes)));
    let Some(end) = end else {
        verdict.broken.push("the log has no entry with the digest of this transcript".to_owned());
        return Ok(verdict);
    };
    verdict.holds.push(format!("entry {end} of the log has the digest of this transcript"));
    follows_its_file(&read, files, &mut verdict);
    rehearsed(&read, &log, end, &file_sha256, &mut verdict);
    for artefact in &read.artefacts {
        self::artefact(artefact, &log, end, files, &mut verdict);
    }
    attested(&read, &mut verdict);
    witnesses::confirmed(&read, &log, &mut verdict);
    witnesses::signed(&read, &bytes, transcript, &mut verdict);
    Ok(verdict)
}

/// The entry that has this digest.
fn finished(read: &Transcript, log: &[Vec<u8>], file_sha256: &str, digest: &str) -> Option<usize> {
    log.iter().rposition(|entry| {
        let Some(entry) = Value::read(entry) else { return false };
        is(&entry, "type", "ceremony")
            && is(&entry, "action", "finished")
            && is(&entry, "ceremony", &read.ceremony)
            && is(&entry, "file-sha256", file_sha256)
            && is(&entry, "transcript-sha256", digest)
    })
}

fn is(entry: &Value<'_>, key: &str, wanted: &str) -> bool {
    entry.member(key).and_then(Value::text) == Some(wanted)
}

/// The file in the transcript reads, and the steps are those that such a file has.
fn follows_its_file(read: &Transcript, files: &Path, verdict: &mut Verdict) {
    let Ok(ceremony) = Ceremony::parse(&read.file, files) else {
        verdict.broken.push("the ceremony's file in the transcript has mistakes".to_owned());
        return;
    };
    let mut wanted: Vec<_> = steps::steps(&ceremony.task).iter().map(|step| step.name).collect();
    // The last one is the transcript itself.
    wanted.pop();
    let found: Vec<_> = read.steps.iter().map(|done| done.step.as_str()).collect();
    verdict.look(
        found == wanted && ceremony.name == read.ceremony && ceremony.task.name() == read.task,
        format!("its {} steps are those of its file, in their order", wanted.len() + 1),
        "its steps are not those of its file",
    );
    verdict.look(
        Transcript::present(&ceremony) == read.witnesses,
        "its witnesses are those of its file",
        "its witnesses are not those of its file",
    );
}

/// Every run began with the rehearsal that the transcript names.
fn rehearsed(read: &Transcript, log: &[Vec<u8>], end: usize, file_sha256: &str, verdict: &mut Verdict) {
    let begun = log.iter().take(end).rev().filter_map(|entry| Value::read(entry)).find(|entry| {
        is(entry, "type", "ceremony") && is(entry, "action", "begun") && is(entry, "ceremony", &read.ceremony)
    });
    verdict.look(
        begun.is_some_and(|begun| {
            is(&begun, "file-sha256", file_sha256) && is(&begun, "rehearsal-sha256", &read.rehearsal_sha256)
        }),
        "the log says that it began with this file and this rehearsal",
        "the log does not say that it began with this file and this rehearsal",
    );
}

/// The certificates of a device are those that the transcript says, belong together, and are about the key that was made.
fn attested(read: &Transcript, verdict: &mut Verdict) {
    let Transcript { attestation, attestation_certificates: certificates, .. } = read;
    match attested::recorded(attestation, certificates) {
        Ok(None) => {}
        Ok(Some(attested)) => match attested::is_of(attested, &keys(read)) {
            Ok(()) => verdict.holds.push(
                "the device's certificates are those of its `attestation` and about the ceremony's key, and the second has the key that signed the first; verify that one against its maker's".to_owned(),
            ),
            Err(why) => verdict.broken.push(why.to_owned()),
        },
        Err(why) => verdict.broken.push(why.to_owned()),
    }
}

/// What a transcript calls the key that was made, in each place (SHA-256 of its SubjectPublicKeyInfo). Of a ceremony that made one, the same signed whatever was
/// signed.
fn keys(read: &Transcript) -> Vec<&str> {
    let facts = read.steps.iter().filter(|done| done.step == "digests").flat_map(|done| &done.facts);
    let made = facts.filter(|fact| fact.name == "spki-sha256").map(|fact| fact.value.as_str());
    let signed_by = read.artefacts.iter().map(|artefact| artefact.issuer_spki_sha256.as_str());
    made.chain(signed_by.filter(|digest| !digest.is_empty())).collect()
}

/// A file is as it was written, and what was signed in it was decided before.
fn artefact(artefact: &Artefact, log: &[Vec<u8>], end: usize, files: &Path, verdict: &mut Verdict) {
    let Artefact { what, path, sha256: wanted, to_be_signed_sha256, issuer_spki_sha256, log_index } = artefact;
    if wanted.is_empty() {
        verdict.holds.push(format!("the {what} `{path}` is a secret: nothing is said of it"));
        return;
    }
    let content = match output::read(&files.join(path)) {
        Ok(content) => content,
        Err(error) => {
            verdict.broken.push(error.to_string());
            return;
        }
    };
    verdict.look(
        hex(&sha256(&content)) == *wanted,
        format!("the {what} `{path}` is as it was written"),
        format!("the {what} `{path}` is another file than was written"),
    );
    if to_be_signed_sha256.is_empty() {
        return;
    }
    let inside =
        pem_rfc7468::decode_vec(content.trim_ascii()).ok().and_then(|(_, der)| Some(sha256(to_be_signed(&der)?)));
    verdict.look(
        inside.is_some_and(|inside| hex(&inside) == *to_be_signed_sha256),
        format!("what was signed in `{path}` is what the transcript says"),
        format!("what was signed in `{path}` is something else than the transcript says"),
    );
    let index = log_index.and_then(|index| usize::try_from(index).ok()).filter(|index| *index < end);
    let decided = index.and_then(|index| log.get(index)).and_then(|entry| Value::read(entry));
    verdict.look(
        decided.is_some_and(|entry| {
            let issuer = entry.member("issuer").is_some_and(|issuer| is(issuer, "spki-sha256", issuer_spki_sha256));
            is(&entry, "decision", "issued") && is(&entry, "tbs-sha256", to_be_signed_sha256) && issuer
        }),
        format!("the log decided on what was signed in `{path}` before"),
        format!("the log has no decision on what was signed in `{path}`"),
    );
}
