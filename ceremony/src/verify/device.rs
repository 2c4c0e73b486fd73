//! Whether the token holds what a transcript says: the key, and what guards it. Somebody logs in for it; nothing is written, and no key
//! signs.

use std::{path::Path, str::FromStr as _};

use hallmark_backends::KeyReference;
use hallmark_policy::{hex, key::SpkiDigest};

use super::Verdict;
use crate::{
    device::{self, Device},
    digest,
    error::CeremonyError,
    facts::{Done, Fact},
    meaning::Ceremony,
    people::People,
    quorum::QuorumRecord,
    transcript::Transcript,
};

/// Steps whose facts name a key and what guards it.
const MADE: [&str; 4] = ["generate", "open-key", "restore", "read-back"];
const GUARDED: [&str; 2] = ["read-back", "open-key"];

/// What the attributes of PKCS #11, of a YubiHSM and of AWS KMS begin with.
const ATTRIBUTES: [&str; 3] = ["CKA_", "yubihsm.", "aws-kms."];

/// Compares the token that the transcript names with what it says. `files`: where the paths in it go from. `quorum`: the record of the
/// quorum that has the PIN now, where the ceremony's file names another way.
///
/// # Errors
/// If the transcript or the token cannot be read at all.
pub fn verify_device(
    transcript: &Path,
    files: &Path,
    quorum: Option<&Path>,
    people: &mut dyn People,
) -> Result<Verdict, CeremonyError> {
    let (read, _) = Transcript::read(transcript)?;
    let not_one = |wanted| CeremonyError::NotOne { path: transcript.to_owned(), wanted };
    let ceremony = Ceremony::parse(&read.file, files).map_err(|_| not_one("transcript whose file reads"))?;
    let fact = |name: &str| facts(&read, &MADE).find(|found| found.name == name).map(|found| found.value.clone());
    let reference = fact("key").and_then(|text| KeyReference::from_str(&text).ok());
    let spki =
        fact("spki-sha256").and_then(|text| digest::from_hex(&text)).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let (Some(place), Some(reference), Some(spki)) = (&ceremony.device, reference, spki) else {
        return Err(not_one("transcript of a key"));
    };
    let spki = SpkiDigest::from_bytes(spki);
    device::look(place)?;
    let device = match quorum {
        Some(record) => {
            let pin = device::pin_of_quorum(&QuorumRecord::read(record)?, people)?;
            Device::open_with(place, pin)?
        }
        None => Device::open(place, people)?,
    };
    ceremony.task.exception().into_iter().for_each(|exception| device.except(spki, exception));
    let mut verdict = Verdict::default();
    device.is_alone(&reference)?;
    match device.open_key(&reference, spki) {
        Ok(public) => verdict.holds.push(format!(
            "the token holds `{reference}`, of kind {}, with the public key of SHA-256 {}",
            public.kind(),
            hex(spki.as_bytes())
        )),
        Err(error) => {
            verdict.broken.push(error.to_string());
            return Ok(verdict);
        }
    }
    let now = device.guards(&reference, spki)?;
    for said in facts(&read, &GUARDED).filter(|fact| ATTRIBUTES.iter().any(|begins| fact.name.starts_with(begins))) {
        let found = now.iter().find(|fact| fact.name == said.name).map_or("absent", |fact| fact.value.as_str());
        verdict.look(
            found == said.value,
            format!("{} is {}", said.name, said.value),
            format!("{} is {found}, and the transcript says {}", said.name, said.value),
        );
    }
    Ok(verdict)
}

fn facts<'a>(read: &'a Transcript, steps: &'a [&str]) -> impl Iterator<Item = &'a Fact> {
    let of = move |done: &&Done| steps.contains(&done.step.as_str());
    read.steps.iter().filter(of).flat_map(|done| done.facts.iter())
}
