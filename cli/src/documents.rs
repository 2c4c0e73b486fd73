//! `hallmark completions` and `hallmark man`: made from the arguments themselves.

use std::fs;

use clap::CommandFactory as _;
use clap_mangen::Man;

use crate::{
    arguments::{Arguments, CompletionsArguments, ManArguments},
    exit::Exit,
    files::{FileError, Target},
    problem::Problem,
    screen::Screen,
};

/// Prints a completion script.
pub(crate) fn completions(arguments: &CompletionsArguments, screen: &Screen) -> Result<Exit, Problem> {
    let mut command = Arguments::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, name, &mut script);
    screen.data(&script)?;
    Ok(Exit::Done)
}

/// Prints the main page, or writes all of them.
pub(crate) fn man(arguments: &ManArguments, screen: &Screen) -> Result<Exit, Problem> {
    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    let Some(directory) = &arguments.directory else {
        screen.data(&page(&Man::new(command))?)?;
        return Ok(Exit::Done);
    };
    fs::create_dir_all(directory).map_err(|source| FileError::Write { path: directory.clone(), source })?;
    for page_of in with_subcommands(command) {
        let man = Man::new(page_of);
        Target::new(&directory.join(man.get_filename()), true)?.write(&page(&man)?)?;
    }
    Ok(Exit::Done)
}

fn page(man: &Man) -> Result<Vec<u8>, Problem> {
    let mut text = Vec::new();
    man.render(&mut text).map_err(Problem::Stdout)?;
    Ok(text)
}

fn with_subcommands(command: clap::Command) -> Vec<clap::Command> {
    let mut all: Vec<clap::Command> = command
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .cloned()
        .flat_map(with_subcommands)
        .collect();
    all.push(command);
    all
}
