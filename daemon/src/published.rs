//! `hallmarkd log`: the published decision log, while no daemon runs.

use hallmark_signer::{
    Clock as _, LedgerConfig, NextLog, Rebuilt, Rolled, SystemClock, config::LogTable, rebuild_closed_log, rebuild_log,
    roll_log,
};

use crate::{
    arguments::{LogArguments, LogCommand, RebuildArguments, RollArguments},
    hardening,
    init::make_log_key,
    logging,
    settings::Settings,
    stdout,
    trouble::Trouble,
    user::User,
};

/// Does what the command line asks for.
pub(crate) fn log(command: LogCommand) -> Result<(), Trouble> {
    hardening::close_to_others()?;
    logging::start(&LogArguments::warnings())?;
    match command {
        LogCommand::Rebuild(arguments) => rebuild(&arguments),
        LogCommand::Roll(arguments) => roll(&arguments),
    }
}

fn rebuild(arguments: &RebuildArguments) -> Result<(), Trouble> {
    let settings = Settings::read(&arguments.file)?;
    let directory = &settings.directory;
    let keys = settings.core.log.read_keys(directory)?;
    let config = LedgerConfig {
        accept_missing_checkpoint: arguments.accept_missing_checkpoint,
        ..settings.core.read_ledger(directory)?
    };
    User::owns(&config.database)?;
    let (place, rebuilt) = match (&arguments.origin, &arguments.into) {
        (Some(origin), Some(into)) => {
            let into = directory.join(into);
            (into.clone(), rebuild_closed_log(&config, keys, origin, into)?)
        }
        // clap wants both or none.
        (_, _) => (config.publish.clone(), rebuild_log(&config, keys)?),
    };
    let Rebuilt { size, right, written, removed } = rebuilt;
    stdout::line(format!(
        "`{}` holds {size} entries: {right} files were right, {written} were written, {removed} were removed.",
        place.display()
    ));
    Ok(())
}

fn roll(arguments: &RollArguments) -> Result<(), Trouble> {
    let RollArguments { file, origin, key, publish } = arguments;
    let settings = Settings::read(file)?;
    let (directory, log) = (&settings.directory, &settings.core.log);
    let keys = log.read_keys(directory)?;
    let config = settings.core.read_ledger(directory)?;
    User::owns(&config.database)?;
    let next = LogTable { origin: origin.clone(), key: key.clone(), previous_key: None, ..log.clone() };
    make_log_key(&next, directory)?;
    let next = NextLog { key: next.read_key(directory)?, publish: directory.join(publish) };
    let Rolled { closed_size, .. } = roll_log(&config, keys, next, SystemClock.wall_millis())?;
    stdout::line(format!("The log `{}` is closed with {closed_size} entries, and goes on as `{origin}`.", log.origin));
    stdout::line(format!(
        "Keep `{}` where auditors find it, and write into [log] of `{}` before the daemon starts:",
        config.publish.display(),
        file.display()
    ));
    stdout::line(format!("  origin = {origin:?}\n  key = {key:?}\n  publish = {publish:?}"));
    Ok(())
}
