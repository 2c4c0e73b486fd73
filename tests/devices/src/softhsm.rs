//! SoftHSM, with a directory of tokens of its own.

use std::process::Command;

use crate::{
    process::run,
    stand::{PIN, SO_PIN, Stand, TOKEN},
};

/// Where Debian's package `softhsm2` puts the module.
pub(crate) const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

pub(crate) fn start() -> Stand {
    let mut stand = Stand::new(MODULE);
    configure(&mut stand);
    stand
}

/// Makes the directory and a token in it.
pub(crate) fn configure(stand: &mut Stand) {
    stand.make_directory("tokens");
    let tokens = stand.text("tokens");
    stand.write(
        "softhsm2.conf",
        &format!("directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"),
    );
    stand.environment.push(("SOFTHSM2_CONF", stand.text("softhsm2.conf")));
    let arguments = ["--init-token", "--free", "--label", TOKEN, "--pin", PIN, "--so-pin", SO_PIN];
    run(Command::new("softhsm2-util").args(arguments).env("SOFTHSM2_CONF", stand.path("softhsm2.conf")));
}
