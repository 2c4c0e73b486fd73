//! `hallmarkd restore`: a backup in the place of a database that is lost, while no daemon runs.

use std::path::Path;

use hallmark_signer::{
    Clock as _, LedgerConfig, NextLog, RestoreWish, Restored, SystemClock, UnixMillis,
    config::{ConfigError, LogTable},
    restore_ledger,
};
use hallmark_tlog::note::VerifierKey;
use serde_json::json;

use crate::{
    arguments::{LogArguments, RestoreArguments},
    files::directory_of,
    hardening,
    init::{ensure_log_key, make_log_key},
    logging,
    settings::Settings,
    stdout,
    trouble::Trouble,
    user::User,
};

/// Does it, and says what is to be done next.
pub(crate) fn restore(arguments: &RestoreArguments) -> Result<(), Trouble> {
    hardening::close_to_others()?;
    logging::start(&LogArguments::warnings())?;
    let settings = Settings::read(&arguments.file)?;
    let (directory, log) = (&settings.directory, &settings.core.log);
    let config = LedgerConfig {
        accept_missing_checkpoint: arguments.accept_missing_checkpoint,
        ..settings.core.read_ledger(directory)?
    };
    User::owns(directory_of(&config.database))?;
    User::owns(&config.database)?;
    let wish = RestoreWish {
        from: arguments.from.clone(),
        verifiers: verifiers(log, directory)?,
        origin: log.origin.clone(),
        replace: arguments.replace,
        seen: arguments.seen.clone(),
        next: next(arguments, log, directory)?,
        at: UnixMillis(SystemClock.wall_millis()),
    };
    let restored = restore_ledger(&config, wish)?;
    if arguments.json {
        tell_json(arguments, &config, &restored)
    } else {
        tell(arguments, (&config, &log.origin), &restored)
    }
    Ok(())
}

/// What the log's signatures are verified with: its keys, or, where the machine has lost them, their public halves.
fn verifiers(log: &LogTable, directory: &Path) -> Result<Vec<VerifierKey>, Trouble> {
    let keys = [Some(&log.key), log.previous_key.as_ref()];
    let verifier = |key: &std::path::PathBuf| {
        let of_key = LogTable { key: key.clone(), previous_key: None, ..log.clone() };
        match of_key.read_key(directory) {
            Ok(key) => Ok(key.verifier().clone()),
            Err(ConfigError::NoLogKey { path: key }) => {
                let verifier = key.with_extension("vkey");
                let text = std::fs::read_to_string(&verifier).ok();
                let read = text.and_then(|text| VerifierKey::parse(text.trim_end()).ok());
                read.ok_or(Trouble::NoVerifierKey { key, verifier })
            }
            Err(error) => Err(error.into()),
        }
    };
    keys.into_iter().flatten().map(verifier).collect()
}

/// The log as which it goes on, where that is wanted.
fn next(arguments: &RestoreArguments, log: &LogTable, directory: &Path) -> Result<Option<NextLog>, Trouble> {
    let RestoreArguments { continue_as: Some(origin), key: Some(key), publish: Some(publish), .. } = arguments else {
        return Ok(None);
    };
    let next = LogTable { origin: origin.clone(), key: key.clone(), previous_key: None, ..log.clone() };
    // What is read by a machine is one object.
    let made = if arguments.json {
        ensure_log_key(&next, directory).map(drop)
    } else {
        make_log_key(&next, directory).map(drop)
    };
    made?;
    Ok(Some(NextLog { key: next.read_key(directory)?, publish: directory.join(publish) }))
}

fn tell(arguments: &RestoreArguments, (config, left): (&LedgerConfig, &str), restored: &Restored) {
    let Restored { size, seen, set_aside, stopped, .. } = restored;
    let database = config.database.display();
    stdout::line(format!("`{database}` is the backup now, whose log has {size} entries."));
    if let Some(aside) = set_aside {
        stdout::line(format!("What was there is `{}`.", aside.display()));
    }
    let RestoreArguments { continue_as: Some(origin), key: Some(key), publish: Some(publish), .. } = arguments else {
        stdout::line(
            "Ask `hallmark-publish check` what the object store and witnesses have seen, before you start the daemon.",
        );
        return;
    };
    if let Some(lost) = seen.and_then(|seen| seen.checked_sub(*size)) {
        stdout::line(format!("{lost} entries after those are known to have been in the log that was left."));
    }
    stdout::line(format!(
        "It goes on as `{origin}`. Keep the log that was left where auditors find it, and write into [log] of `{}` before the daemon starts:",
        arguments.file.display()
    ));
    stdout::line(format!("  origin = {origin:?}\n  key = {key:?}\n  publish = {publish:?}"));
    if restored.is_ahead {
        stdout::line(format!(
            "The log that was left has {size} entries here, and fewer where it is published. Afterwards, make it whole for auditors:"
        ));
        let (file, published) = (arguments.file.display(), config.publish.display());
        stdout::line(format!("  hallmarkd log rebuild {file} --origin {left} --into {published}"));
    }
    stdout::line(format!(
        "Stopped until `hallmark authority resume`, since what they issued after the backup is not known: {}.",
        stopped.join(", ")
    ));
}

fn tell_json(arguments: &RestoreArguments, config: &LedgerConfig, restored: &Restored) {
    stdout::line(json!({
        "result": "restored",
        "database": config.database,
        "size": restored.size,
        "backup-time-millis": restored.backup_at.0,
        "seen-size": restored.seen,
        "ahead-of-published": restored.is_ahead,
        "set-aside": restored.set_aside,
        "continues-as": arguments.continue_as,
        "stopped": restored.stopped,
        "finished": restored.finished,
    }));
}
