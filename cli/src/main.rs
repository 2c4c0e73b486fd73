//! The program `hallmark`; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    hallmark_cli::start()
}
