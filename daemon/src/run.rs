//! `hallmarkd run`: two processes under a supervisor, or one.

use crate::{arguments::RunArguments, one_process, supervisor, trouble::Trouble};

/// Serves until it is told to stop.
pub(crate) fn run(arguments: &RunArguments) -> Result<(), Trouble> {
    if arguments.one_process { one_process::run(arguments) } else { supervisor::run(arguments) }
}
