//! What an operator should look at before something stops: device, token, sessions, PIN, mechanisms, clock, disk, certificates, and
//! whether the configuration fits the device.
//!
//! It is safe to run at any time, also beside a daemon: nobody logs in, no PIN is tried, nothing is written, no key is touched. It opens one
//! session of the token for a moment.

mod configured;
mod region;
mod wanted;

use std::{
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use hallmark_backends::{
    Ability, NamedException, SESSIONS_BESIDE as YUBIHSM_SESSIONS_BESIDE, SESSIONS_OF_A_YUBIHSM, Survey, WRAP_MECHANISM,
    Waiver, YubiHsmPlaceError, look_for_connector, survey, yubihsm_needs,
};
use hallmark_policy::{
    Policy,
    key::KeyKind,
    stored_validity,
    time::{Interval, Span, UnixTime},
    to_be_signed,
};
use serde::Serialize;

use crate::{
    book,
    device::{self, CLOCK_APART_MAX},
    error::CeremonyError,
    output,
};

pub use configured::Subject;
use wanted::Wanted;

/// Certificates that end sooner are to be looked at, and those that end sooner still are bad.
const ENDS_SOON: Span = Span::from_days(60);
const ENDS_VERY_SOON: Span = Span::from_days(7);

/// Free bytes of a disk below which it is to be looked at, and below which it is bad.
const FREE_BYTES_LOW: u64 = 1 << 30;
const FREE_BYTES_LEAST: u64 = 100 << 20;

/// Sessions that a signer opens beside those that sign.
const SESSIONS_BESIDE: u64 = 2;

/// How a finding is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Good,
    /// Somebody should look at it.
    Look,
    /// Something will not work, or does not.
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// What was looked at: `device`, `token`, `pin` and so on.
    pub what: &'static str,
    /// How it is meant.
    pub level: Level,
    /// What was found.
    pub sentence: String,
    /// What to do; empty where nothing is to be done.
    pub hint: String,
}

impl Finding {
    fn good(what: &'static str, sentence: impl Into<String>) -> Self {
        Self { what, level: Level::Good, sentence: sentence.into(), hint: String::new() }
    }

    fn look(what: &'static str, sentence: impl Into<String>, hint: &str) -> Self {
        Self { what, level: Level::Look, sentence: sentence.into(), hint: hint.to_owned() }
    }

    fn bad(what: &'static str, sentence: impl Into<String>, hint: &str) -> Self {
        Self { what, level: Level::Bad, sentence: sentence.into(), hint: hint.to_owned() }
    }
}

/// Looks at everything that a configuration names.
///
/// # Errors
/// If the configuration cannot be read at all.
pub fn examine(file: &Path) -> Result<Vec<Finding>, CeremonyError> {
    let subject = Subject::read(file)?;
    let mut findings = Vec::new();
    let wanted = policy(&subject, &mut findings);
    device(&subject, &wanted, &mut findings);
    clock(&subject, &mut findings);
    subject.directories.iter().for_each(|(what, path)| disk(what, path, &mut findings));
    subject.certificates.iter().for_each(|path| certificate(path, &mut findings));
    Ok(findings)
}

/// What the policy wants of this device.
fn policy(subject: &Subject, findings: &mut Vec<Finding>) -> Wanted {
    let Some(path) = &subject.policy else { return Wanted::default() };
    let read = output::read(path).map_err(|error| error.to_string());
    let text = read.and_then(|text| String::from_utf8(text).map_err(|_| format!("`{}` is no text", path.display())));
    let policy = text.and_then(|text| {
        Policy::parse(&text).map_err(|error| format!("`{}` has {} mistake(s)", path.display(), error.mistakes.len()))
    });
    let policy = match policy {
        Ok(policy) => policy,
        Err(sentence) => {
            findings.push(Finding::bad("policy", sentence, "`hallmark policy check` tells every mistake"));
            return Wanted::default();
        }
    };
    let authorities = policy.authorities().count();
    findings.push(Finding::good("policy", format!("it reads, and has {authorities} authorities")));
    let mut wanted = Wanted::default();
    for authority in policy.authorities() {
        if subject.authority.as_ref().is_some_and(|name| *name != authority.name) {
            continue;
        }
        let own = match (subject.is_ceremony, authority.root.offline) {
            (true, _) => vec![&authority.root],
            (false, true) => vec![&authority.epoch],
            (false, false) => vec![&authority.root, &authority.epoch],
        };
        own.into_iter().for_each(|profile| wanted.add(authority, profile));
    }
    wanted
}

fn device(subject: &Subject, wanted: &Wanted, findings: &mut Vec<Finding>) {
    if let Some(yubihsm) = &subject.yubihsm {
        return one_yubihsm(yubihsm, wanted, findings);
    }
    if let Some(place) = &subject.aws_kms {
        return region::look(place, wanted, findings);
    }
    let Some(place) = &subject.device else {
        findings.push(Finding::look(
            "device",
            "the configuration names no PKCS#11 device",
            "keys in files are for laboratories",
        ));
        return;
    };
    let kinds = wanted.kinds();
    one_device(place, &kinds, findings);
    for replica in &subject.replicas {
        let heading = "what follows is of the replica";
        findings.push(Finding::good("device", format!("{heading} `{}`", replica.token)));
        one_device(replica, &kinds, findings);
    }
}

/// Nobody logs in, so that a YubiHSM says nothing: whether somebody is where it should be, and whether the sessions are enough.
fn one_yubihsm(place: &configured::YubiHsm, wanted: &Wanted, findings: &mut Vec<Finding>) {
    match place.connector.parse().map_err(|error: YubiHsmPlaceError| error.to_string()) {
        Err(sentence) => findings.push(Finding::bad("device", sentence, "`hallmarkd check` says what can be written")),
        Ok(connector) => findings.push(match look_for_connector(&connector) {
            Ok(()) => {
                let sentence = format!(
                    "a YubiHSM is looked for at `{connector}`; what it is, and what its authentication key may do, is looked at after a log-in, by \
                     `hallmarkd init` and each start"
                );
                Finding::good("device", sentence)
            }
            Err(error) => Finding::bad("device", error.to_string(), "start yubihsm-connector, or check the plug"),
        }),
    }
    wanted::hold(wanted, Ability::YUBIHSM, findings);
    let (own, delegated) = yubihsm_needs(&wanted.kinds(), place.reads_log);
    findings.push(Finding::good(
        "authentication key",
        format!("it needs {own}, and delegates {delegated}; each start says what else it can do"),
    ));
    let most = u64::try_from(SESSIONS_OF_A_YUBIHSM).unwrap_or(u64::MAX);
    let wanted = place.sessions.saturating_add(u64::try_from(YUBIHSM_SESSIONS_BESIDE).unwrap_or(u64::MAX));
    findings.push(if wanted > most {
        let sentence = format!("the configuration wants {wanted}, and a YubiHSM gives {most}");
        Finding::bad("sessions", sentence, "configure fewer `sessions`")
    } else if wanted.saturating_mul(2) > most {
        let sentence = format!(
            "a YubiHSM gives {most}, {wanted} are wanted, and those of a daemon that was stopped are taken for 30 s more"
        );
        Finding::look("sessions", sentence, "configure fewer `sessions`, or let 30 s pass between a stop and a start")
    } else {
        Finding::good("sessions", format!("a YubiHSM gives {most}, {wanted} are wanted"))
    });
    for name in &place.accepted {
        let sentence = format!("the authentication key may have `{name}`, which the signer does not need");
        findings.push(Finding::look(
            "exception",
            sentence,
            "put an authentication key that cannot, and take this away",
        ));
    }
}

fn one_device(place: &configured::Device, kinds: &[KeyKind], findings: &mut Vec<Finding>) {
    let found = match survey(&place.module, &place.token, place.serial.as_deref()) {
        Ok(found) => found,
        Err(error) => {
            let hint = "check the module's path, the connection, and label and serial of the token";
            findings.push(Finding::bad("device", error.to_string(), hint));
            return;
        }
    };
    findings.push(Finding::good("device", found.description.to_string()));
    token(place, &found, findings);
    pin(&found, findings);
    sessions(place, &found, findings);
    wrapping(place, &found, findings);
    let lacking: Vec<&str> = kinds.iter().filter(|kind| !found.kinds.contains(kind)).map(|kind| kind.name()).collect();
    findings.push(match lacking.as_slice() {
        [] => {
            let can: Vec<&str> = found.kinds.iter().map(|kind| kind.name()).collect();
            Finding::good("mechanisms", format!("it makes keys of {}", can.join(", ")))
        }
        lacking => Finding::bad(
            "mechanisms",
            format!("the policy wants keys of {}, which the token does not make", lacking.join(", ")),
            "choose another kind in the policy, or another device",
        ),
    });
}

/// Whether it wraps keys, where somebody wants that; and which keys are kept less strictly than others.
fn wrapping(place: &configured::Device, found: &Survey, findings: &mut Vec<Finding>) {
    let can = [(found.wrapping.wraps, "wraps keys"), (found.wrapping.unwraps, "brings wrapped keys in")];
    let can: Vec<&str> = can.into_iter().filter(|(can, _)| *can).map(|(_, what)| what).collect();
    if place.wraps && can.len() == 2 {
        findings.push(Finding::good("wrapping", format!("it {} ({WRAP_MECHANISM})", can.join(" and "))));
    } else if place.wraps {
        let sentence = format!(
            "it {} ({WRAP_MECHANISM})",
            can.first().copied().unwrap_or("neither wraps keys nor brings them in")
        );
        let hint = "`hallmark ceremony plan` says whether that is enough for this ceremony";
        findings.push(Finding::look("wrapping", sentence, hint));
    }
    let (history, unknown) = Waiver::told(&found.description.waived);
    let of_history =
        (!history.is_empty()).then(|| format!("of keys in this module, {} need not hold", history.join(" ")));
    for sentence in of_history.into_iter().chain(unknown) {
        findings.push(Finding::look("waive", sentence, "take out of `waive` what the module says as others do"));
    }
    for NamedException { spki_sha256, because } in &place.exceptions {
        let sentence = format!("the key with SPKI SHA-256 {spki_sha256} {}", because.meaning());
        findings.push(Finding::look(
            "exception",
            sentence,
            "take the exception away when nobody needs the key any more",
        ));
    }
}

fn token(place: &configured::Device, found: &Survey, findings: &mut Vec<Finding>) {
    if place.serial.is_none() {
        let hint = "write the serial number into the configuration, so that it can be no other token";
        findings.push(Finding::look("token", "it is chosen by its label alone", hint));
    }
    if let Some(wanted) = &place.firmware
        && *wanted != found.description.firmware
    {
        let sentence = format!("its firmware is {}, and the file says {wanted}", found.description.firmware);
        findings.push(Finding::bad(
            "token",
            sentence,
            "have the file reviewed again, or connect the device that it describes",
        ));
    }
    if found.write_protected {
        findings.push(Finding::bad("token", "it is write-protected", "keys can be used, and none can be made"));
    }
    if let Some(bytes) = found.free_private_bytes {
        let sentence = format!("{bytes} bytes are free for keys");
        findings.push(match bytes {
            0..4_096 => Finding::bad("token", sentence, "destroy keys that are not needed any more"),
            _ => Finding::good("token", sentence),
        });
    }
}

/// The flags are read; no PIN is tried to find anything out.
fn pin(found: &Survey, findings: &mut Vec<Finding>) {
    let pin = found.pin;
    let said = [
        (!pin.is_set, Level::Bad, "the token has no user PIN", "set one with the vendor's tool"),
        (pin.locked, Level::Bad, "the user PIN is locked", "the security officer's PIN unlocks it"),
        (
            pin.final_try,
            Level::Bad,
            "one more wrong PIN locks the token",
            "log in once with the vendor's tool, with the right one",
        ),
        (pin.to_be_changed, Level::Bad, "the user PIN must be changed first", "change it with the vendor's tool"),
        (
            pin.count_low,
            Level::Look,
            "a wrong PIN was tried since the last log-in",
            "find out who tried; a log-in with the right one ends it",
        ),
    ];
    match said.into_iter().find(|(is_so, ..)| *is_so) {
        Some((_, level, sentence, hint)) => {
            findings.push(Finding { what: "pin", level, sentence: sentence.to_owned(), hint: hint.to_owned() });
        }
        None => findings.push(Finding::good("pin", "its flags tell of no trouble; it was not tried")),
    }
}

fn sessions(place: &configured::Device, found: &Survey, findings: &mut Vec<Finding>) {
    let wanted = place.sessions.saturating_add(SESSIONS_BESIDE);
    let open = found.sessions_open.map(|open| format!(", {open} are open now")).unwrap_or_default();
    findings.push(match found.sessions_max {
        Some(most) if wanted > most => Finding::bad(
            "sessions",
            format!("the configuration wants {wanted}, and the token gives {most}"),
            "configure fewer `sessions`",
        ),
        Some(most) => Finding::good("sessions", format!("the token gives {most}, {wanted} are wanted{open}")),
        None => Finding::good("sessions", format!("the token names no bound, {wanted} are wanted{open}")),
    });
    if found.clock.is_some() {
        findings.push(match device::is_in_time(found, book::clock()) {
            Err(error) => Finding::look("clock", error.to_string(), &error.hint()),
            Ok(()) => Finding::good("clock", "the token's clock agrees with the machine's"),
        });
    }
}

/// The machine's clock: nothing that was written may lie ahead of it.
fn clock(subject: &Subject, findings: &mut Vec<Finding>) {
    let now = book::clock();
    let written = |path: &PathBuf| {
        let at = std::fs::metadata(path.join("checkpoint")).ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        i64::try_from(at.as_secs()).ok().map(UnixTime::from_secs)
    };
    let newest = subject.directories.iter().filter_map(|(_, path)| written(path)).max();
    findings.push(match newest {
        Some(newest) if newest > now.after(CLOCK_APART_MAX) => Finding::bad(
            "clock",
            format!("it is {now}, and a checkpoint was written at {newest}"),
            "set the clock; a signer mints nothing while it is behind its log",
        ),
        Some(_) | None => Finding::good("clock", format!("it is {now}, after everything that was written")),
    });
}

fn disk(what: &str, path: &Path, findings: &mut Vec<Finding>) {
    let name = format!("{what} `{}`", path.display());
    let found = match rustix::fs::statvfs(path) {
        Ok(found) => found,
        Err(error) => {
            let hint = "make the directory, or correct the configuration";
            findings.push(Finding::look("disk", format!("{name} cannot be looked at: {error}"), hint));
            return;
        }
    };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let mebibytes = free >> 20;
    let sentence = format!("{name} has {mebibytes} MiB free");
    findings.push(match free {
        _ if found.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) => {
            Finding::bad("disk", format!("{name} is read-only"), "mount it so that it can be written")
        }
        0..FREE_BYTES_LEAST => Finding::bad("disk", sentence, "make room: without a durable log nothing is signed"),
        FREE_BYTES_LEAST..FREE_BYTES_LOW => Finding::look("disk", sentence, "make room before it is full"),
        _ => Finding::good("disk", sentence),
    });
}

fn certificate(path: &Path, findings: &mut Vec<Finding>) {
    let name = path.display();
    let read = output::read(path).ok().and_then(|text| {
        let text = String::from_utf8(text).ok()?;
        // The first of several is whose it is.
        let end = text.find("-----END CERTIFICATE-----")? + "-----END CERTIFICATE-----".len();
        let begin = text.find("-----BEGIN CERTIFICATE-----")?;
        let (_, der) = pem_rfc7468::decode_vec(text.get(begin..end)?.as_bytes()).ok()?;
        stored_validity(to_be_signed(&der)?)
    });
    let Some(Interval { not_before, not_after }) = read else {
        let hint = "correct the path, or bring the certificate";
        findings.push(Finding::bad("certificate", format!("`{name}` holds no certificate that reads"), hint));
        return;
    };
    let now = book::clock();
    let sentence = format!("`{name}` is valid until {not_after}");
    findings.push(match now {
        _ if not_before > now => {
            Finding::bad("certificate", format!("`{name}` is not valid before {not_before}"), "wait, or set the clock")
        }
        _ if not_after < now => Finding::bad("certificate", format!("`{name}` ended at {not_after}"), "replace it"),
        _ if not_after < now.after(ENDS_VERY_SOON) => Finding::bad("certificate", sentence, "replace it this week"),
        _ if not_after < now.after(ENDS_SOON) => Finding::look("certificate", sentence, "plan its replacement"),
        _ => Finding::good("certificate", sentence),
    });
}
