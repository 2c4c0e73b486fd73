//! Log lines, to standard error.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::{
    arguments::{LogArguments, LogFormat},
    trouble::Trouble,
};

/// From now on log lines that pass the filter are written.
pub(crate) fn start(LogArguments { log_format, log: filter }: &LogArguments) -> Result<(), Trouble> {
    let filter =
        EnvFilter::builder().parse(filter).map_err(|source| Trouble::LogFilter { filter: filter.clone(), source })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    match log_format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}
