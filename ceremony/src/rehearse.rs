//! The rehearsal: the same file, done on a token that is thrown away, in a process of its own.
//!
//! What comes out is what the run is held to: the same steps, and the same facts but for those that differ each time.

mod stand_in;

use std::{
    io::{ErrorKind::BrokenPipe, Write as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use hallmark_backends::make_throwaway_token;
use hallmark_policy::hex;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    canonical, check, device,
    digest::sha256,
    error::CeremonyError,
    execute,
    facts::{Done, Fact},
    meaning::{Ceremony, DevicePlace, LogPlace, QuorumTask, Task, WrapKeyTask, WrapKeyValue},
    output,
};
use stand_in::stand_in;

/// Label of the token that is thrown away.
const TOKEN: &str = "hallmark-rehearsal";

/// How long a rehearsal may take. The largest RSA keys take SoftHSM seconds.
const TIME_MAX: Duration = Duration::from_secs(120);

/// Largest answer of a rehearsal, in bytes.
const ANSWER_BYTES_MAX: usize = 4 * 1_048_576;

/// What was rehearsed.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Foretold {
    /// SHA-256 of the ceremony's file.
    pub file_sha256: String,
    /// The steps that touch something, with their facts. What varies is left empty.
    pub steps: Vec<Foreseen>,
}

/// A step as it was rehearsed.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Foreseen {
    /// The step.
    pub step: String,
    /// Its facts.
    pub facts: Vec<Fact>,
}

impl Foretold {
    fn of(ceremony: &Ceremony, done: Vec<Done>) -> Self {
        let empty = |fact: Fact| Fact { value: if fact.varies { String::new() } else { fact.value }, ..fact };
        let foreseen = |done: Done| Foreseen { step: done.step, facts: done.facts.into_iter().map(empty).collect() };
        Self { file_sha256: hex(&ceremony.sha256), steps: done.into_iter().map(foreseen).collect() }
    }

    /// SHA-256 of its canonical JSON.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        sha256(&canonical::bytes(self))
    }

    /// Its canonical JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        canonical::bytes(self)
    }

    /// Reads what [`to_json`](Self::to_json) writes.
    ///
    /// # Errors
    /// If it is something else.
    pub fn read(path: &Path) -> Result<Self, CeremonyError> {
        let wanted = "rehearsal that `hallmark ceremony rehearse` wrote";
        let not_one = || CeremonyError::NotOne { path: path.to_owned(), wanted };
        serde_json::from_slice(&output::read(path)?).map_err(|_| not_one())
    }

    /// In what a step differs from how it was rehearsed; nothing if it does not, or was not rehearsed.
    pub(crate) fn difference(&self, step: &str, facts: &[Fact]) -> Option<String> {
        let foreseen = self.steps.iter().find(|foreseen| foreseen.step == step)?;
        for wanted in &foreseen.facts {
            match facts.iter().find(|fact| fact.name == wanted.name) {
                None => return Some(format!("`{}` is missing", wanted.name)),
                Some(found) if !wanted.varies && found.value != wanted.value => {
                    return Some(format!("`{}` is {}, and was {}", wanted.name, found.value, wanted.value));
                }
                Some(_) => {}
            }
        }
        let new = facts.iter().find(|fact| !foreseen.facts.iter().any(|wanted| wanted.name == fact.name))?;
        Some(format!("`{}` was not there", new.name))
    }
}

/// Rehearses in another process, since a PKCS #11 module reads its configuration once: `program ceremony rehearse-here DIRECTORY`, where
/// `program` is this program, with the file on its standard input.
///
/// # Errors
/// If it cannot be, or fails.
pub fn rehearse(ceremony: &Ceremony, program: &Path) -> Result<Foretold, CeremonyError> {
    let failed = |sentence: String| CeremonyError::Rehearsal { sentence };
    let broken = |error: std::io::Error| failed(error.to_string());
    let scratch = tempfile::Builder::new().prefix("hallmark-rehearsal-").tempdir().map_err(broken)?;
    let tokens = scratch.path().join("tokens");
    output::directory(&tokens)?;
    let config = scratch.path().join("softhsm2.conf");
    let text = format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", tokens.display());
    output::create(&config, text.as_bytes(), output::SECRET)?;
    let kryoptic = scratch.path().join("kryoptic.conf");
    let slot =
        format!("[[slots]]\nslot = 1\ndbtype = \"sqlite\"\ndbargs = \"{}\"\n", tokens.join("token.sql").display());
    output::create(&kryoptic, slot.as_bytes(), output::SECRET)?;
    let mut command = Command::new(program);
    command.args(["ceremony", "rehearse-here"]).arg(&ceremony.directory).arg(scratch.path());
    command.env("SOFTHSM2_CONF", &config).env("KRYOPTIC_CONF", &kryoptic);
    let answer = answer(command, &ceremony.text, TIME_MAX)?;
    if !answer.status.success() || answer.stdout.len() > ANSWER_BYTES_MAX {
        let said = String::from_utf8_lossy(&answer.stderr);
        let line = said.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or("it ended without a word");
        return Err(failed(line.to_owned()));
    }
    serde_json::from_slice(&answer.stdout).map_err(|error| failed(format!("what it said does not read: {error}")))
}

/// Starts a program, gives it a text, and takes its answer; it is killed when it takes too long.
fn answer(mut command: Command, text: &str, within: Duration) -> Result<Output, CeremonyError> {
    let failed = |sentence: String| CeremonyError::Rehearsal { sentence };
    let broken = |error: std::io::Error| failed(error.to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(broken)?;
    let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).map_err(|error| broken(error.into()))?;
    let (input, text) = (child.stdin.take(), text.to_owned());
    let (done, ended) = mpsc::channel();
    thread::spawn(move || {
        let written = input.map_or(Ok(()), |mut input| input.write_all(text.as_bytes()));
        // Whoever ends before it has read all says why.
        let written = written.or_else(|error| if error.kind() == BrokenPipe { Ok(()) } else { Err(error) });
        drop(done.send(written.and_then(|()| child.wait_with_output())));
    });
    if let Ok(answer) = ended.recv_timeout(within) {
        return answer.map_err(broken);
    }
    pidfd_send_signal(process, Signal::KILL).map_err(|error| broken(error.into()))?;
    Err(failed(format!("it did not end within {} s", within.as_secs())))
}

/// Rehearses in this process. `SOFTHSM2_CONF` and `KRYOPTIC_CONF` name an empty directory of tokens below `scratch`.
///
/// # Errors
/// What would stop the ceremony stops the rehearsal.
pub async fn rehearse_here(ceremony: &Ceremony, scratch: &Path) -> Result<Foretold, CeremonyError> {
    let mut own = aside(ceremony, scratch)?;
    let checked = check::papers(ceremony)?;
    if ceremony.device.is_some() {
        let pin = draw_pin()?;
        make_throwaway_token(&ceremony.rehearsal_module, TOKEN, &pin)?;
        let pin_file = scratch.join("pin");
        output::create(&pin_file, pin.expose_secret().as_bytes(), output::SECRET)?;
        let survey = hallmark_backends::survey(&ceremony.rehearsal_module.as_path().into(), TOKEN, None)?;
        own.device = Some(DevicePlace {
            module: ceremony.rehearsal_module.clone(),
            module_arguments: None,
            waive: ceremony.device.iter().flat_map(|place| place.waive.clone()).collect(),
            token: TOKEN.to_owned(),
            yubihsm: None,
            aws_kms: None,
            stands_for: ceremony.device.as_ref().and_then(DevicePlace::stands_for),
            serial: survey.description.token_serial,
            firmware: None,
            pin_file: Some(pin_file.clone()),
            pin_quorum: None,
            // Such a token has one PIN for everybody.
            so_pin_file: Some(pin_file),
            exception: ceremony.device.iter().flat_map(|place| place.exception.clone()).collect(),
        });
    }
    let (checked, mut people) = stand_in(&mut own, checked, scratch).await?;
    if let Some(place) = &own.device {
        device::is_able(&device::look(place)?, &own.task, checked.kind())?;
    }
    let done = execute::execute(&own, &checked, None, &mut people, (Vec::new(), Vec::new())).await?;
    Ok(Foretold::of(ceremony, done.steps))
}

/// The same ceremony with everything that it writes below `scratch`.
fn aside(ceremony: &Ceremony, scratch: &Path) -> Result<Ceremony, CeremonyError> {
    let out = scratch.join("out");
    output::directory(&out)?;
    let mut own = ceremony.clone();
    own.log = LogPlace { directory: scratch.join("log"), ..own.log };
    own.transcript = out.join("transcript.json");
    let place = |name: &str| out.join(name);
    match &mut own.task {
        Task::Root(task) => task.certificate = place("certificate"),
        Task::Intermediate(task) => task.certificate = place("certificate"),
        Task::CrossCertificate(task) => task.certificate = place("certificate"),
        Task::Crl(task) => {
            task.crl = place("crl");
            // The certificates that are revoked are in the real log alone.
            task.revoke.clear();
        }
        Task::Key(task) => task.public_key = place("public-key"),
        Task::Destroy(_) | Task::Restore(_) | Task::WrapKey(WrapKeyTask { value: WrapKeyValue::Quorum { .. }, .. }) => {
        }
        Task::Backup(task) => task.backup = place("backup"),
        Task::Quorum(QuorumTask { record, custodians, .. })
        | Task::WrapKey(WrapKeyTask { value: WrapKeyValue::Split { record, custodians, .. }, .. }) => {
            *record = place("record");
            for (number, custodian) in custodians.iter_mut().enumerate() {
                // The ending says as what it is written.
                let ending = custodian.share.extension().unwrap_or_default().to_owned();
                custodian.share = out.join(format!("share-{number}")).with_extension(ending);
            }
        }
        Task::LogKey(task) => (task.key, task.public_key) = (place("key"), place("public-key")),
    }
    Ok(own)
}

fn draw_pin() -> Result<SecretString, CeremonyError> {
    let mut bytes = Zeroizing::new([0; 16]);
    aws_lc_rs::rand::fill(bytes.as_mut_slice())
        .map_err(|_| crate::run::defect("the system gives no random numbers"))?;
    Ok(SecretString::from(hex(bytes.as_slice())))
}

/// This very program, also when another version was installed meanwhile.
#[must_use]
pub fn this_program() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_rehearsal_that_takes_too_long_is_killed_and_told() {
        let directory = tempfile::tempdir().unwrap();
        let process = directory.path().join("process");
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$1\"; exec sleep 600", "sh"]).arg(&process);
        let began = Instant::now();
        let error = answer(command, "text", Duration::from_secs(2)).unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(60));
        assert_eq!(error.to_string(), "the rehearsal failed: it did not end within 2 s; the device was not touched");
        let number = std::fs::read_to_string(&process).unwrap();
        let state = || std::fs::read_to_string(format!("/proc/{}/comm", number.trim())).unwrap_or_default();
        while state().trim() == "sleep" && began.elapsed() < Duration::from_secs(60) {
            thread::yield_now();
        }
        assert_ne!(state().trim(), "sleep", "it is not left behind");
    }

    #[test]
    fn a_rehearsal_in_time_gives_its_answer() {
        let answer = answer(Command::new("cat"), "text", TIME_MAX).unwrap();
        assert_eq!(answer.stdout, b"text");
    }
}
