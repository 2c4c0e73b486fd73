//! The program `hallmarkd`.

use std::process::ExitCode;

use clap::Parser as _;
use hallmark_daemon::arguments::Arguments;

fn main() -> ExitCode {
    hallmark_daemon::execute(Arguments::parse())
}
