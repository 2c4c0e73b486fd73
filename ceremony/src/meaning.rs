//! What the file of a ceremony means: read once, with every mistake told at its line; afterwards nothing can be misspelt.

mod shares;
mod tasks;
mod wraps;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use hallmark_policy::{
    profile::Mistake,
    strict,
    time::{Span, SpanError, TimeError, UnixTime},
};
use hallmark_tlog::note::SignerKey;
use secrecy::SecretString;

use crate::{
    digest::sha256,
    file::{AwsKmsPlace, CeremonyFile, FILE_BYTES_MAX, WitnessTable},
    witness::WitnessKey,
};

pub use crate::file::DevicePlace;
pub use shares::{Custodian, QuorumTask};
pub use tasks::{
    CrlTask, CrossCertificateTask, DestroyTask, IntermediateTask, KeyTask, LogKeyTask, Revoking, RootTask, Task,
};
pub use wraps::{BackupTask, RestoreTask, WrapKeyTask, WrapKeyValue, WrapSource};

/// Where Debian's package `softhsm2` puts the module.
pub const SOFTHSM_MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// Longest words about a ceremony, in bytes.
const ABOUT_BYTES_MAX: usize = 4_096;

/// Longest name of a witness, in bytes.
const WITNESS_BYTES_MAX: usize = 200;

/// Most witnesses.
const WITNESSES_MAX: usize = 16;

/// A ceremony, as it is meant.
#[derive(Clone, Debug)]
pub struct Ceremony {
    /// Its name.
    pub name: String,
    /// What it is for; empty if nobody said.
    pub about: String,
    /// The file's text.
    pub text: String,
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// The file's directory.
    pub directory: PathBuf,
    /// Where the transcript is written.
    pub transcript: PathBuf,
    /// Which policy, and which authority of it.
    pub policy: Option<PolicyPlace>,
    /// The device.
    pub device: Option<DevicePlace>,
    /// The log.
    pub log: LogPlace,
    /// SoftHSM's module, for the rehearsal.
    pub rehearsal_module: PathBuf,
    /// The witnesses.
    pub witnesses: Vec<Witness>,
    /// What is done.
    pub task: Task,
}

/// Where the policy is.
#[derive(Clone, Debug)]
pub struct PolicyPlace {
    /// The file.
    pub file: PathBuf,
    /// The authority.
    pub authority: String,
}

/// Where the log of ceremonies is.
#[derive(Clone, Debug)]
pub struct LogPlace {
    /// Its origin.
    pub origin: String,
    /// Its directory.
    pub directory: PathBuf,
}

/// Somebody who watches.
#[derive(Clone, Debug)]
pub struct Witness {
    /// Name.
    pub name: String,
    /// Initials.
    pub initials: String,
    /// The key by which the transcript is to be signed.
    pub key: Option<WitnessKey>,
}

impl Ceremony {
    /// Reads the text of a file that stands in `directory`.
    ///
    /// # Errors
    /// Every mistake, each at its line.
    pub fn parse(text: &str, directory: &Path) -> Result<Self, Vec<Mistake>> {
        if text.len() > FILE_BYTES_MAX {
            let sentence = format!("the file has {} bytes; at most {FILE_BYTES_MAX} are read", text.len());
            return Err(vec![Mistake::new("", sentence)]);
        }
        let file: CeremonyFile = strict::read(text)?;
        let mut reader = Reader { directory, mistakes: Vec::new() };
        let ceremony = reader.ceremony(&file, text);
        match ceremony {
            Some(ceremony) if reader.mistakes.is_empty() => Ok(ceremony),
            Some(_) | None => Err(strict::located(reader.mistakes, text)),
        }
    }

    /// Every file that it writes, with what it is.
    #[must_use]
    pub fn outputs(&self) -> Vec<(&'static str, PathBuf)> {
        let mut outputs = self.task.outputs();
        outputs.push(("transcript", self.transcript.clone()));
        outputs.push(("receipt", self.receipt()));
        outputs.push(("entry", self.entry()));
        outputs
    }

    /// Where the receipt of the transcript is written: the log's signed word that the transcript is in it.
    #[must_use]
    pub fn receipt(&self) -> PathBuf {
        beside(&self.transcript, "receipt")
    }

    /// Where the entry is written that has the transcript's digest, verbatim: the receipt is about it.
    #[must_use]
    pub fn entry(&self) -> PathBuf {
        beside(&self.transcript, "entry")
    }
}

/// A file beside the transcript: `root.transcript.json.receipt`.
#[must_use]
pub fn beside(transcript: &Path, what: &str) -> PathBuf {
    let mut name = transcript.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(what);
    transcript.with_file_name(name)
}

pub(crate) struct Reader<'a> {
    directory: &'a Path,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn mistake(&mut self, place: &str, sentence: impl std::fmt::Display) {
        self.mistakes.push(Mistake::new(place, sentence));
    }

    fn ceremony(&mut self, file: &CeremonyFile, text: &str) -> Option<Ceremony> {
        if file.version != 1 {
            self.mistake("", format!("`version` is {}; this program reads version 1", file.version));
        }
        if !is_name(&file.ceremony) {
            let sentence =
                "`ceremony` has 1 to 64 letters, digits, `.`, `_` and `-`, and starts with a letter or digit";
            self.mistake("", sentence);
        }
        let about = file.about.clone().unwrap_or_default();
        if about.len() > ABOUT_BYTES_MAX {
            self.mistake("", format!("`about` has {} bytes; at most {ABOUT_BYTES_MAX} are taken", about.len()));
        }
        let transcript = match &file.transcript {
            Some(path) => self.path(path),
            None => self.directory.join(format!("{}.transcript.json", file.ceremony)),
        };
        if let Err(error) = SignerKey::generate(&file.log.origin, [1; 32]) {
            self.mistake("log", format!("`origin`: {error}"));
        }
        let task = self.task(&file.task);
        let is_log_key = matches!(task, Some(Task::LogKey(_)) | None);
        if !is_log_key && file.policy.is_none() {
            self.mistake("", "`policy` is missing; it says which policy decides");
        }
        if !is_log_key && file.device.is_none() {
            self.mistake("", "`device` is missing; it says which token holds the key");
        }
        if file.device.as_ref().is_some_and(|table| table.pin_file.is_some() && table.pin_quorum.is_some()) {
            self.mistake("device", "`pin-quorum` stands beside `pin-file`; the PIN comes from one of them");
        }
        if let Some(table) = &file.device {
            self.device(table);
        }
        let witnesses = self.witnesses(&file.witness);
        let ceremony = Ceremony {
            name: file.ceremony.clone(),
            about,
            text: text.to_owned(),
            sha256: sha256(text.as_bytes()),
            directory: self.directory.to_owned(),
            transcript,
            policy: file
                .policy
                .as_ref()
                .map(|table| PolicyPlace { file: self.path(&table.file), authority: table.authority.clone() }),
            device: file.device.as_ref().map(|table| table.from(self.directory)),
            log: LogPlace { origin: file.log.origin.clone(), directory: self.path(&file.log.directory) },
            rehearsal_module: match &file.rehearsal {
                Some(table) => self.path(&table.module),
                None => PathBuf::from(SOFTHSM_MODULE),
            },
            witnesses,
            task: task?,
        };
        self.outputs_differ(&ceremony);
        Some(ceremony)
    }

    fn outputs_differ(&mut self, ceremony: &Ceremony) {
        let mut seen = BTreeSet::new();
        for (what, path) in ceremony.outputs() {
            if !seen.insert(path.clone()) {
                self.mistake(
                    "task",
                    format!("the {what} would be written over another file; name another than `{}`", path.display()),
                );
            }
        }
    }

    /// A token behind a module, a YubiHSM, or AWS KMS.
    fn device(&mut self, table: &DevicePlace) {
        let of_token = [("module", table.module.as_os_str().is_empty()), ("token", table.token.is_empty())];
        if let Some(place) = &table.aws_kms {
            return self.aws_kms(table, place);
        }
        match &table.yubihsm {
            None => {
                for (field, _) in of_token.into_iter().filter(|(_, is_empty)| *is_empty) {
                    self.mistake("device", format!("missing field `{field}`; a YubiHSM has [device.yubihsm] instead, and AWS KMS [device.aws-kms]"));
                }
            }
            Some(yubihsm) => {
                for (field, _) in of_token.into_iter().filter(|(_, is_empty)| !*is_empty) {
                    self.mistake(
                        "device",
                        format!("`{field}` stands beside [device.yubihsm]; the key is in one of them"),
                    );
                }
                if let Err(sentence) = yubihsm.config(SecretString::default()) {
                    self.mistake("device.yubihsm", sentence);
                }
            }
        }
    }

    /// AWS KMS has credentials in a file, and neither a token nor custodians of a PIN.
    fn aws_kms(&mut self, table: &DevicePlace, place: &AwsKmsPlace) {
        const PLACE: &str = "device.aws-kms";
        let beside = [
            ("module", !table.module.as_os_str().is_empty()),
            ("token", !table.token.is_empty()),
            ("yubihsm", table.yubihsm.is_some()),
            ("pin-quorum", table.pin_quorum.is_some()),
            ("firmware", table.firmware.is_some()),
        ];
        for (field, _) in beside.into_iter().filter(|(_, is_there)| *is_there) {
            self.mistake("device", format!("`{field}` stands beside [device.aws-kms], which has none"));
        }
        match &table.pin_file {
            None => self.mistake(PLACE, "missing field `pin-file` of [device]: the file of credentials".to_owned()),
            Some(credentials) => {
                if let Err(sentence) = place.config(&table.serial, credentials.clone()) {
                    self.mistake(PLACE, sentence);
                }
            }
        }
    }

    fn witnesses(&mut self, tables: &[WitnessTable]) -> Vec<Witness> {
        const PLACE: &str = "witness";
        if tables.len() > WITNESSES_MAX {
            self.mistake(PLACE, format!("there are {} witnesses; at most {WITNESSES_MAX} take part", tables.len()));
        }
        let mut seen = BTreeSet::new();
        let mut witnesses = Vec::new();
        for WitnessTable { name, initials, ssh_key, certificate } in tables {
            if name.trim() != name
                || name.is_empty()
                || name.len() > WITNESS_BYTES_MAX
                || name.contains(char::is_control)
            {
                self.mistake(
                    PLACE,
                    format!("the name `{name}` has 1 to {WITNESS_BYTES_MAX} bytes without control characters"),
                );
            }
            if !(2..=4).contains(&initials.len()) || !initials.bytes().all(|byte| byte.is_ascii_uppercase()) {
                self.mistake(PLACE, format!("the initials `{initials}` are not 2 to 4 capital letters"));
            }
            if !seen.insert(initials.clone()) {
                self.mistake(
                    PLACE,
                    format!("the initials `{initials}` are those of two witnesses; give one of them another letter"),
                );
            }
            let key = match (ssh_key.as_deref(), certificate.as_deref()) {
                (None, None) => None,
                (Some(text), None) => Some(WitnessKey::ssh(text)),
                (None, Some(text)) => Some(WitnessKey::certificate(text)),
                (Some(_), Some(_)) => {
                    self.mistake(PLACE, format!("`{name}` has an `ssh-key` and a `certificate`; one of them signs"));
                    None
                }
            };
            if let Some(Err(sentence)) = &key {
                self.mistake(PLACE, format!("the key of `{name}`: {sentence}"));
            }
            witnesses.push(Witness { name: name.clone(), initials: initials.clone(), key: key.and_then(Result::ok) });
        }
        witnesses
    }

    fn path(&self, path: &Path) -> PathBuf {
        self.directory.join(path)
    }

    fn time(&mut self, place: &str, text: Option<&str>) -> Option<UnixTime> {
        let read = text.map(UnixTime::parse)?;
        read.map_err(|error: TimeError| self.mistake(place, error)).ok()
    }

    fn span(&mut self, place: &str, text: Option<&str>) -> Option<Span> {
        let read = text.map(Span::parse)?;
        read.map_err(|error: SpanError| self.mistake(place, error)).ok()
    }
}

fn is_name(text: &str) -> bool {
    hallmark_backends::KeyLabel::parse(text).is_ok()
}
