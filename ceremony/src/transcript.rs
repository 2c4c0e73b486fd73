//! The transcript: what was asked, what happened, who let it happen, and what came out. Canonical JSON, for those who come years later.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{
    canonical,
    error::CeremonyError,
    facts::{Done, Fact},
    meaning::{Ceremony, Witness},
    output,
    people::Confirmation,
    witness::WitnessKey,
};

/// Version of the format.
pub const TRANSCRIPT_VERSION: u32 = 1;

/// A transcript.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Transcript {
    /// [`TRANSCRIPT_VERSION`].
    pub version: u32,
    /// Version of the program.
    pub program_version: String,
    /// Name of the ceremony.
    pub ceremony: String,
    /// What was done: `root` and so on.
    pub task: String,
    /// The file, as it was reviewed.
    pub file: String,
    /// SHA-256 of the policy; empty where none took part.
    pub policy_sha256: String,
    /// SHA-256 of what was rehearsed.
    pub rehearsal_sha256: String,
    /// `unattested` where no device vouches for what it says of its keys; otherwise SHA-256 of each of its certificates over the key.
    pub attestation: String,
    /// These certificates, DER in base64: the key's own first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attestation_certificates: Vec<String>,
    /// The device; nothing where none took part.
    pub device: Vec<Fact>,
    /// The witnesses.
    pub witnesses: Vec<Present>,
    /// Who let which step be done.
    pub confirmations: Vec<Confirmation>,
    /// The steps of the last run, with what they found and made.
    pub steps: Vec<Done>,
    /// How often it was run: 1 where nothing interrupted it.
    pub runs: u64,
    /// The files that were written.
    pub artefacts: Vec<Artefact>,
    /// The log.
    pub log: LogPart,
}

/// A witness in a transcript.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Present {
    /// Name.
    pub name: String,
    /// Initials.
    pub initials: String,
    /// The SSH key by which the transcript is to be signed, as OpenSSH writes it; empty where there is none.
    pub ssh_key: String,
    /// The certificate by whose key the transcript is to be signed, PEM; empty where there is none. Without either the initials count.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub certificate: String,
}

impl Present {
    /// The key by which the transcript is to be signed, if there is one.
    pub(crate) fn key(&self) -> Result<Option<WitnessKey>, &'static str> {
        match (self.ssh_key.as_str(), self.certificate.as_str()) {
            ("", "") => Ok(None),
            (text, "") => WitnessKey::ssh(text).map(Some),
            ("", text) => WitnessKey::certificate(text).map(Some),
            (_, _) => Err("it has two keys"),
        }
    }
}

/// A file that was written.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Artefact {
    /// What it is: `certificate`, `crl` and so on.
    pub what: String,
    /// Its path, relative to the ceremony's file.
    pub path: String,
    /// SHA-256 of the file; empty for a secret.
    pub sha256: String,
    /// SHA-256 of what was signed in it; empty where nothing was.
    pub to_be_signed_sha256: String,
    /// SHA-256 of the SubjectPublicKeyInfo of the key that signed it; empty where none did.
    pub issuer_spki_sha256: String,
    /// Index of its decision in the log, where something was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_index: Option<u64>,
}

/// What a transcript says of the log.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LogPart {
    /// Its origin.
    pub origin: String,
    /// Its public key (C2SP `signed-note`).
    pub key: String,
    /// Indices of the entries of the last run, but for the one that has this transcript's digest.
    pub entries: Vec<u64>,
}

impl Transcript {
    /// Its canonical JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        canonical::bytes(self)
    }

    /// Reads a transcript that is in its one canonical form.
    ///
    /// # Errors
    /// If it cannot be read, or is something else.
    pub fn read(path: &Path) -> Result<(Self, Vec<u8>), CeremonyError> {
        let bytes = output::read(path)?;
        let not_one = || CeremonyError::NotOne { path: path.to_owned(), wanted: "transcript in canonical JSON" };
        let transcript: Self = serde_json::from_slice(&bytes).map_err(|_| not_one())?;
        if transcript.version != TRANSCRIPT_VERSION || transcript.to_json() != bytes {
            return Err(not_one());
        }
        Ok((transcript, bytes))
    }

    /// The witnesses of a ceremony, as they stand in it.
    pub(crate) fn present(ceremony: &Ceremony) -> Vec<Present> {
        let one = |Witness { name, initials, key }: &Witness| {
            let (ssh_key, certificate) = match key {
                None => (String::new(), String::new()),
                Some(WitnessKey::Ssh(key)) => (key.to_openssh().unwrap_or_default(), String::new()),
                Some(WitnessKey::Certificate(certificate)) => (String::new(), certificate.to_pem()),
            };
            Present { name: name.clone(), initials: initials.clone(), ssh_key, certificate }
        };
        ceremony.witnesses.iter().map(one).collect()
    }
}
