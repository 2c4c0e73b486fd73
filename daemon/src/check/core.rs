//! What `[policy]`, `[rotation]`, `[backend.*]`, `[ledger]` and `[log]` mean.

use std::path::Path;

use hallmark_policy::{Policy, meaning::quoted, time::Span};
use hallmark_signer::{
    config::{
        BackendTable, ChoiceWord, ConfigError, LedgerTable, LogTable, NamedException, Pkcs11Table, ReplicaTable,
        RotationTable, Waiver,
    },
    secret::{SecretError, SecretSource},
};

use super::{Findings, aws_kms, yubihsm};
use crate::{files::directory_of, settings::Settings, trouble::sentence};

pub(super) fn tell(settings: &Settings, policy: Option<&Policy>, findings: &mut Findings) {
    let (core, directory) = (&settings.core, settings.directory.as_path());
    findings.heading("CA keys");
    tell_backend(&core.backend, settings, policy, findings);
    tell_rotation(&core.rotation, findings);
    findings.heading("Ledger and decision log");
    tell_ledger(&core.ledger, directory, findings);
    tell_log(&core.log, directory, findings);
    tell_callers_signed_here(&core.policy.callers_signed_here, policy, findings);
}

fn tell_backend(backend: &BackendTable, settings: &Settings, policy: Option<&Policy>, findings: &mut Findings) {
    let directory = settings.directory.as_path();
    match backend {
        BackendTable::Pkcs11(table) => tell_pkcs11(table, backend, directory, findings),
        BackendTable::YubiHsm(table) => yubihsm::tell(table, backend, settings, policy, findings),
        BackendTable::AwsKms(table) => aws_kms::tell(table, backend, settings, policy, findings),
        BackendTable::Software { directory: keys, passphrase } => {
            findings.say(format!(
                "live in encrypted files in `{}`: for laboratories only, and `hallmarkd run` also wants --allow-software-keys.",
                directory.join(keys).display()
            ));
            tell_secret("passphrase", "backend.software.passphrase", passphrase, directory, findings);
        }
    }
}

fn attributes(waived: impl IntoIterator<Item = Waiver>) -> String {
    quoted(waived.into_iter().map(|waiver| waiver.attribute().to_owned()).collect::<Vec<_>>())
}

/// What is waived of the module: of history, and of what it does not know.
fn tell_waived(table: &Pkcs11Table, findings: &mut Findings) {
    let (unknown, history): (Vec<_>, Vec<_>) =
        table.waive.iter().copied().map(Waiver::from).partition(|waiver| waiver.leaves_open().is_some());
    if !history.is_empty() {
        findings.say(format!(
            "Of a key that is made in this module, {} need not be true: it is believed less about the key's history, and about nothing else.",
            attributes(history)
        ));
    }
    for waiver in unknown {
        findings.say(format!(
            "The module need not know {}: where it does not, {}.",
            attributes([waiver]),
            waiver.leaves_open().unwrap_or_default()
        ));
    }
}

fn tell_pkcs11(table: &Pkcs11Table, backend: &BackendTable, directory: &Path, findings: &mut Findings) {
    let module = directory.join(&table.module);
    findings.say(format!("live in the token {}.", place(&table.token, table.serial.as_deref(), &module)));
    if let Some(sessions) = table.sessions {
        findings.say(format!("{sessions} sessions sign."));
    }
    tell_secret("PIN", "backend.pkcs11.pin", &table.pin, directory, findings);
    tell_module("backend.pkcs11.module", &module, findings);
    if let Some(arguments) = &table.module_arguments {
        findings.say(format!("The module is started with `{arguments}`."));
    }
    tell_waived(table, findings);
    tell_replicas(&table.replica, &table.module, table.choice, directory, findings);
    for NamedException { spki_sha256, because } in &table.exception {
        let meaning = because.meaning();
        findings.say(format!("An exception: the key with SPKI SHA-256 {spki_sha256} {meaning}."));
    }
    match backend.check(directory) {
        // Told above, with its place.
        Ok(()) | Err(ConfigError::Secret { .. }) => {}
        Err(error) => findings.problem(sentence(&error)),
    }
}

fn place(token: &str, serial: Option<&str>, module: &Path) -> String {
    let serial = serial.map(|serial| format!(" of serial `{serial}`")).unwrap_or_default();
    format!("`{token}`{serial} behind the module `{}`", module.display())
}

fn tell_module(field: &str, module: &Path, findings: &mut Findings) {
    if module.components().count() > 1 && !module.is_file() {
        findings.problem(format!(
            "`{field}`: there is no file `{}`; hint: install the module, for SoftHSM the package softhsm2",
            module.display()
        ));
    }
}

fn tell_replicas(
    replicas: &[ReplicaTable],
    first: &Path,
    choice: Option<ChoiceWord>,
    directory: &Path,
    findings: &mut Findings,
) {
    for replica in replicas {
        let module = directory.join(replica.module(first));
        let place = place(&replica.token, replica.serial.as_deref(), &module);
        findings
            .say(format!("Copies of them are in the token {place}; the device's own replication brings them there."));
        if let Some(sessions) = replica.sessions {
            findings.say(format!("{sessions} sessions sign in it."));
        }
        if !replica.waive.is_empty() {
            findings.say(format!(
                "Of a copy in it, {} need not be true.",
                attributes(replica.waive.iter().copied().map(Waiver::from))
            ));
        }
        tell_secret("PIN", "backend.pkcs11.replica.pin", &replica.pin, directory, findings);
        if replica.module.is_some() {
            tell_module("backend.pkcs11.replica.module", &module, findings);
        }
    }
    if !replicas.is_empty() {
        findings.say(match choice {
            None | Some(ChoiceWord::LeastLoaded) => "Whichever token has a session free signs.",
            Some(ChoiceWord::Ordered) => "The first token that serves signs, in this order.",
        });
        findings.say("A token in which a key is another, or less strictly kept, does not sign with it; one that is away is taken in when it is back.");
    }
}

fn tell_rotation(rotation: &RotationTable, findings: &mut Findings) {
    match rotation.drain_time_max() {
        Ok(time) => findings.say(format!("A rotation waits {time} at most for signatures of the key that it retires.")),
        Err(error) => findings.problem(sentence(&error)),
    }
}

/// Where a secret comes from. It is read to see that it can be, and forgotten.
pub(super) fn tell_secret(what: &str, field: &str, source: &SecretSource, directory: &Path, findings: &mut Findings) {
    let place = match source {
        SecretSource::File(path) => format!("the file `{}`", directory.join(path).display()),
        SecretSource::Env(name) => format!("the variable `{name}` of the environment"),
        SecretSource::Credential(name) => format!("the credential `{name}` of the service manager"),
        SecretSource::Typed | SecretSource::Given(_) => "whoever starts the daemon, and types it once".to_owned(),
    };
    findings.say(format!("The {what} comes from {place}."));
    match source.read(directory) {
        Ok(_) | Err(SecretError::NotTyped) => {}
        Err(SecretError::NoCredentials(_)) => {
            findings.say("No service manager gave credentials to this command, so that it was not looked at.");
        }
        Err(error) => findings.problem(format!("`{field}`: {}", sentence(&error))),
    }
}

fn tell_ledger(ledger: &LedgerTable, directory: &Path, findings: &mut Findings) {
    let database = directory.join(&ledger.database);
    let bound = match ledger.pages_max {
        Some(pages) => format!("takes at most {pages} pages of 4 KiB"),
        None => "takes what the disk has".to_owned(),
    };
    findings.say(format!("The database is `{}`, for one daemon at a time; it {bound}.", database.display()));
    let holder = directory_of(&database);
    if !holder.is_dir() {
        findings.problem(format!("`ledger.database`: there is no directory `{}`; hint: make it", holder.display()));
    }
    if let Some(backups) = &ledger.backups {
        findings.say(format!("Backups that operators ask for are made in `{}`.", directory.join(backups).display()));
    }
    let Some(retention) = &ledger.retention else { return };
    match Span::parse(retention) {
        Ok(retention) => findings.say(format!("The same request id gives the same certificate for {retention}.")),
        Err(error) => findings.problem(format!("`ledger.retention`: {}", sentence(&error))),
    }
}

fn tell_log(log: &LogTable, directory: &Path, findings: &mut Findings) {
    let publish = directory.join(&log.publish);
    findings.say(format!("The decision log `{}` is published in `{}`.", log.origin, publish.display()));
    match log.read_key(directory) {
        Ok(key) => findings.say(format!("Its checkpoints verify with `{}`.", key.verifier())),
        Err(ConfigError::NoLogKey { path }) => {
            findings.say(format!("Its key `{}` is not there yet; `hallmarkd init` makes it.", path.display()));
        }
        Err(error) => findings.problem(sentence(&error)),
    }
}

fn tell_callers_signed_here(named: &[String], policy: Option<&Policy>, findings: &mut Findings) {
    if !named.is_empty() {
        findings.heading("Callers signed here");
        findings.say(format!("Callers may be trusted through the authorities {}, which sign here.", quoted(named)));
    }
    for name in named {
        if policy.is_some_and(|policy| policy.authority(name).is_none()) {
            findings.problem(sentence(&ConfigError::UnknownAuthority(name.clone())));
        }
    }
}
