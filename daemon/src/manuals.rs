//! Completion scripts and manual pages, from the command line's own description.

use std::path::Path;

use clap::CommandFactory as _;

use crate::{arguments::Arguments, files, stdout, trouble::Trouble};

/// Prints a completion script.
#[expect(clippy::unnecessary_wraps, reason = "one signature for all commands")]
pub(crate) fn completions(shell: clap_complete::Shell) -> Result<(), Trouble> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "hallmarkd", &mut script);
    stdout::line(String::from_utf8_lossy(&script).trim_end());
    Ok(())
}

/// Writes the manual pages.
pub(crate) fn man(directory: &Path) -> Result<(), Trouble> {
    files::create_directory(directory)?;
    clap_mangen::generate_to(Arguments::command(), directory)
        .map_err(|source| Trouble::Unwritable { path: directory.to_owned(), source })
}
