//! The program `hallmark-publish`; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    hallmark_publish::start()
}
