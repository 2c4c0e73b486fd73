//! Why a ceremony does not go on. Each is one sentence, and [`CeremonyError::hint`] says what to do.

use std::{io, path::PathBuf};

use hallmark_backends::{BackendError, Exception};
use hallmark_ledger::{LedgerError, OpenError};
use hallmark_policy::{Reason, profile::Mistake, time::UnixTime};

use crate::quorum::ShareError;

/// Why a ceremony does not go on.
#[derive(Debug, thiserror::Error)]
pub enum CeremonyError {
    /// The file has mistakes.
    #[error("`{}` has {} mistake(s)", path.display(), mistakes.len())]
    Mistakes {
        /// The file.
        path: PathBuf,
        /// All of them.
        mistakes: Vec<Mistake>,
    },
    /// A file cannot be read.
    #[error("`{}` cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("`{}` is no {wanted}", path.display())]
    NotOne {
        /// The file.
        path: PathBuf,
        /// What it should be.
        wanted: &'static str,
    },
    /// A file cannot be written.
    #[error("`{}` cannot be written: {source}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An output is there.
    #[error("the {what} `{}` is there already", path.display())]
    OutputExists {
        /// What it would be.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The policy lacks the authority.
    #[error("the policy `{}` has no authority `{authority}`", path.display())]
    NoAuthority {
        /// The policy.
        path: PathBuf,
        /// The authority.
        authority: String,
    },
    /// The policy, or the ledger, says no.
    #[error("{what} is refused: {}", .reasons.iter().map(|reason| reason.sentence.as_str()).collect::<Vec<_>>().join("; "))]
    Refused {
        /// What was to be made.
        what: &'static str,
        /// Why.
        reasons: Vec<Reason>,
    },
    /// The device.
    #[error(transparent)]
    Device(#[from] Box<BackendError>),
    /// The device is another than the file describes.
    #[error("the token's {what} is {found}, and the file says {wanted}")]
    OtherDevice {
        /// What is different.
        what: &'static str,
        /// What it is.
        found: String,
        /// What it should be.
        wanted: String,
    },
    /// The device cannot do it.
    #[error("the token cannot be used: {sentence}")]
    Incapable {
        /// Why.
        sentence: String,
    },
    /// Its clock, or the machine's, is wrong.
    #[error("the token's clock shows {device}, and the machine's {machine}")]
    ClockApart {
        /// What the device tells.
        device: UnixTime,
        /// What the machine does.
        machine: UnixTime,
    },
    /// The label is taken.
    #[error("the token has an object called `{label}` already")]
    LabelTaken {
        /// The label.
        label: String,
    },
    /// No PIN.
    #[error("there is no PIN: {sentence}")]
    NoPin {
        /// Why.
        sentence: String,
    },
    /// A share is none, or not one of this set.
    #[error("a share was not taken: {0}")]
    Share(#[from] ShareError),
    /// The log cannot be opened.
    #[error("the log of ceremonies cannot be opened: {0}")]
    Open(#[from] Box<OpenError>),
    /// The log does not take something.
    #[error("the log of ceremonies: {0}")]
    Ledger(#[from] LedgerError),
    /// The log's key is missing or wrong.
    #[error("the key of the log of ceremonies: {sentence}")]
    LogKey {
        /// What is wrong.
        sentence: String,
    },
    /// The log has no such root.
    #[error("the log in `{}` has no root of `{authority}` that was made in a ceremony", log.display())]
    NoRoot {
        /// The log's directory.
        log: PathBuf,
        /// The authority.
        authority: String,
    },
    /// The log has a root of that authority.
    #[error("the log in `{}` has a root of `{authority}` already", log.display())]
    RootExists {
        /// The log's directory.
        log: PathBuf,
        /// The authority.
        authority: String,
    },
    /// The certificate that was given is not that of the root in the log.
    #[error("`{}` is not the certificate of the root in the log", path.display())]
    OtherRoot {
        /// The certificate.
        path: PathBuf,
    },
    /// The backup is not the one that was reviewed.
    #[error("the backup `{}` is another than the file says: its {what} is {found}, not {wanted}", path.display())]
    OtherBackup {
        /// The backup.
        path: PathBuf,
        /// What is different.
        what: &'static str,
        /// What it is.
        found: String,
        /// What it should be.
        wanted: String,
    },
    /// The wrap key is another.
    #[error("it is another wrap key: its check value is {found}, and {wanted} is wanted")]
    OtherWrapKey {
        /// Its check value.
        found: String,
        /// That of the right one.
        wanted: String,
    },
    /// The ceremony was done before.
    #[error("the ceremony `{ceremony}` is finished, with a transcript of SHA-256 {transcript_sha256}")]
    Finished {
        /// Its name.
        ceremony: String,
        /// The transcript.
        transcript_sha256: String,
    },
    /// It was begun with another file.
    #[error("the ceremony `{ceremony}` was begun with another file, of SHA-256 {sha256}")]
    OtherFile {
        /// Its name.
        ceremony: String,
        /// That file.
        sha256: String,
    },
    /// The journal does not read.
    #[error("the journal `{}` does not read: {sentence}", path.display())]
    Journal {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        sentence: String,
    },
    /// Reality differs from the rehearsal.
    #[error("step `{step}` differs from the rehearsal: {sentence}; nothing that follows was done")]
    Differs {
        /// The step.
        step: String,
        /// In what.
        sentence: String,
    },
    /// The rehearsal failed.
    #[error("the rehearsal failed: {sentence}; the device was not touched")]
    Rehearsal {
        /// Why.
        sentence: String,
    },
    /// A witness says no.
    #[error("{by} does not let step `{step}` be done")]
    Declined {
        /// The step.
        step: String,
        /// Who.
        by: String,
    },
    /// Nobody is there to be asked.
    #[error("nobody can be asked: {sentence}")]
    Nobody {
        /// Why.
        sentence: String,
    },
    /// The key did not sign.
    #[error("the key did not sign: {sentence}")]
    NotSigned {
        /// Why.
        sentence: String,
    },
    /// What was made does not verify.
    #[error("the {what} that was made does not hold: {sentence}")]
    Wrong {
        /// What.
        what: &'static str,
        /// Why.
        sentence: String,
    },
    /// A defect of this program.
    #[error("this program cannot go on: {sentence}")]
    Defect {
        /// What happened.
        sentence: String,
    },
}

impl From<BackendError> for CeremonyError {
    fn from(error: BackendError) -> Self {
        Self::Device(Box::new(error))
    }
}

impl CeremonyError {
    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> String {
        let text = match self {
            Self::Mistakes { .. } => "docs/ceremony.md describes every setting",
            Self::Unreadable { .. } => "correct the path in the ceremony's file, or the file's owner and mode",
            Self::NotOne { .. } => "correct the path in the ceremony's file",
            Self::Unwritable { .. } => {
                "make room, or the directory writable, and run the same file again: it goes on where it stopped"
            }
            Self::OutputExists { .. } => "name another file, or move the old one away; nothing is ever overwritten",
            Self::NoAuthority { .. } => {
                "correct `authority` in [policy]; `hallmark policy check` lists those that there are"
            }
            Self::Refused { reasons, .. } => {
                let allowed: Vec<_> = reasons.iter().filter_map(|reason| reason.allowed.as_deref()).collect();
                return if allowed.is_empty() {
                    "correct the ceremony's file or the policy; nothing was made".to_owned()
                } else {
                    format!("what is allowed: {}", allowed.join("; "))
                };
            }
            Self::Device(error) => return device_hint(error),
            Self::OtherDevice { .. } => "connect the device that the file describes, or have the file reviewed again",
            Self::Incapable { .. } => "use a device that can, or another kind of key in the policy",
            Self::ClockApart { .. } => "set whichever is wrong: what is made is dated by the machine's",
            Self::LabelTaken { .. } => "choose another label: no key is ever overwritten",
            Self::NoPin { .. } => "name a `pin-file` in [device], or run it in a terminal",
            Self::Share(_) => "compare it with what is on paper, word by word; nothing was tried with it",
            Self::Open(_) => "is another ceremony of this log under way? Otherwise correct `directory` in [log]",
            Self::Ledger(_) => {
                "make room on the disk of the log, and run the same file again: it goes on where it stopped"
            }
            Self::LogKey { .. } => "restore the directory of the log as it was; a log whose key is lost ends",
            Self::NoRoot { .. } => "use the log, and the `directory`, of the ceremony that made the root",
            Self::RootExists { .. } => "a root is made once; name another authority in the policy",
            Self::OtherRoot { .. } => "give the certificate that the ceremony of this log has written",
            Self::OtherBackup { .. } => {
                "take the file that the ceremony of the backup wrote; its transcript has key and digests"
            }
            Self::OtherWrapKey { .. } => {
                "name the wrap key, or the quorum, by which it was wrapped; nothing was unwrapped"
            }
            Self::Finished { .. } => {
                "give a new ceremony a new name; `hallmark ceremony verify` checks the one that is finished"
            }
            Self::OtherFile { .. } => "go on with that file, or give this ceremony another name",
            Self::Journal { .. } => "restore it from a copy; without it the run cannot be gone on with",
            Self::Differs { .. } => {
                "find out why the device behaves otherwise; the same file goes on when it does not, and what was made stands in the log"
            }
            Self::Rehearsal { .. } => "`hallmark ceremony rehearse` shows the rehearsal alone",
            Self::Declined { .. } => "what was done before stands in the log; the same file goes on where it stopped",
            Self::Nobody { .. } => "run it in a terminal, or with --unattended",
            Self::NotSigned { .. } => "check the device, and run the same file again: it goes on where it stopped",
            Self::Wrong { .. } | Self::Defect { .. } => "keep everything as it is, and report this",
        };
        text.to_owned()
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "most of them say themselves what to do")]
fn device_hint(error: &BackendError) -> String {
    match error {
        BackendError::WrongAttribute { attribute, .. } if Exception::is_about(attribute) => {
            "if a ceremony made it to be wrapped, or restored it, name it in [[device.exception]]; otherwise do not use it"
                .to_owned()
        }
        BackendError::Refused { failure } if failure.answer() == "CKR_KEY_NOT_WRAPPABLE" => {
            "keys that are wrappable `by-trusted` ones alone want a `wrap-key` that a ceremony made `trusted`; others the device does not wrap"
                .to_owned()
        }
        BackendError::NotWrappable { .. } => {
            "keys are made to be wrapped with `wrappable` in their ceremony; a root that is not is given a successor".to_owned()
        }
        BackendError::WrapKeyNotFound { .. } => {
            "correct `wrap-key`, or bring one into the token: `[task.wrap-key]`, or `quorum` in its place".to_owned()
        }
        BackendError::WrongPin { .. } => {
            "give the right PIN; it is tried once each time, and tokens lock after a few".to_owned()
        }
        BackendError::Gone { .. } | BackendError::Broken { .. } | BackendError::Hung { .. } => {
            "connect the device again, and run the same file again: it goes on where it stopped".to_owned()
        }
        _ => "see the device's own tool; nothing that follows was done".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use hallmark_policy::ReasonCode;

    use super::*;

    /// One of each kind.
    fn each() -> Vec<CeremonyError> {
        let (path, sentence) = (PathBuf::from("out/root.pem"), "something happened".to_owned());
        let io = || io::Error::from(io::ErrorKind::PermissionDenied);
        let reason = Reason::new(ReasonCode::LifetimeTooLong, "lifetime", "it lives too long").allowing("at most 30d");
        let other = Reason::new(ReasonCode::CertificateUnfit, "issuer", "it is no CA");
        vec![
            CeremonyError::Mistakes { path: path.clone(), mistakes: vec![Mistake::new("task.root", "it is wrong")] },
            CeremonyError::Unreadable { path: path.clone(), source: io() },
            CeremonyError::NotOne { path: path.clone(), wanted: "certificate in PEM" },
            CeremonyError::Unwritable { path: path.clone(), source: io() },
            CeremonyError::OutputExists { what: "certificate", path: path.clone() },
            CeremonyError::NoAuthority { path: path.clone(), authority: "mesh".to_owned() },
            CeremonyError::Refused { what: "the root certificate", reasons: vec![reason] },
            CeremonyError::Refused { what: "what the file names", reasons: vec![other] },
            BackendError::WrongPin { what: "the user PIN of token `roots`".to_owned() }.into(),
            BackendError::SoftwareNotAdmitted.into(),
            CeremonyError::OtherDevice { what: "firmware version", found: "2.6".to_owned(), wanted: "2.5".to_owned() },
            CeremonyError::Incapable { sentence: "it makes no keys of kind ed25519".to_owned() },
            CeremonyError::ClockApart {
                device: UnixTime::from_secs(1_800_000_000),
                machine: UnixTime::from_secs(1_800_000_090),
            },
            CeremonyError::LabelTaken { label: "mesh-root".to_owned() },
            CeremonyError::NoPin { sentence: sentence.clone() },
            ShareError::Misread.into(),
            ShareError::Foreign { number: 2 }.into(),
            ShareError::Again { number: 2 }.into(),
            LedgerError::Stopped.into(),
            CeremonyError::LogKey { sentence: sentence.clone() },
            CeremonyError::NoRoot { log: "log".into(), authority: "mesh".to_owned() },
            CeremonyError::RootExists { log: "log".into(), authority: "mesh".to_owned() },
            CeremonyError::OtherRoot { path: path.clone() },
            CeremonyError::OtherBackup { path, what: "SHA-256", found: "00".to_owned(), wanted: "ff".to_owned() },
            CeremonyError::OtherWrapKey { found: "dc95c0".to_owned(), wanted: "00ff00".to_owned() },
            BackendError::WrapKeyNotFound { label: "wrap".to_owned() }.into(),
            CeremonyError::Finished { ceremony: "mesh-root".to_owned(), transcript_sha256: "00ff".to_owned() },
            CeremonyError::OtherFile { ceremony: "mesh-root".to_owned(), sha256: "00ff".to_owned() },
            CeremonyError::Journal { path: "log/journals/mesh-root.journal".into(), sentence: sentence.clone() },
            CeremonyError::Differs {
                step: "read-back".to_owned(),
                sentence: "`CKA_LOCAL` is false, and was true".to_owned(),
            },
            CeremonyError::Rehearsal { sentence: sentence.clone() },
            CeremonyError::Declined { step: "sign".to_owned(), by: "Ada Lovelace".to_owned() },
            CeremonyError::Nobody { sentence: "the terminal is closed".to_owned() },
            CeremonyError::NotSigned { sentence: sentence.clone() },
            CeremonyError::Wrong { what: "CRL", sentence: sentence.clone() },
            CeremonyError::Defect { sentence },
        ]
    }

    #[test]
    fn every_sentence_says_what_happened_and_every_hint_what_to_do() {
        let told: String = each().iter().map(|error| format!("{error}\n  hint: {}\n", error.hint())).collect();
        insta::assert_snapshot!(told);
    }
}
