//! `hallmarkd log`: the published decision log, while no daemon runs.

use hallmark_signer::{LedgerConfig, Rebuilt, rebuild_log};

use crate::{
    arguments::{LogCommand, LogFormat, RebuildArguments},
    hardening, logging,
    settings::Settings,
    stdout,
    trouble::Trouble,
};

/// Does what the command line asks for.
pub(crate) fn log(command: LogCommand) -> Result<(), Trouble> {
    hardening::close_to_others()?;
    logging::start(LogFormat::Text, "warn")?;
    match command {
        LogCommand::Rebuild(arguments) => rebuild(&arguments),
    }
}

fn rebuild(arguments: &RebuildArguments) -> Result<(), Trouble> {
    let settings = Settings::read(&arguments.file)?;
    let config = LedgerConfig {
        accept_missing_checkpoint: arguments.accept_missing_checkpoint,
        ..settings.core.read_ledger(&settings.directory)?
    };
    let rebuilt = rebuild_log(&config, settings.core.log.read_keys(&settings.directory)?)?;
    let Rebuilt { size, right, written, removed } = rebuilt;
    stdout::line(format!(
        "`{}` holds {size} entries: {right} files were right, {written} were written, {removed} were removed.",
        config.publish.display()
    ));
    Ok(())
}
