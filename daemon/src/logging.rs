//! Log lines, to standard error.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::{arguments::LogFormat, trouble::Trouble};

/// From now on log lines that pass `filter` are written.
pub(crate) fn start(format: LogFormat, filter: &str) -> Result<(), Trouble> {
    let filter = EnvFilter::builder()
        .parse(filter)
        .map_err(|source| Trouble::LogFilter { filter: filter.to_owned(), source })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    match format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}
