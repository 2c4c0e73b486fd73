//! NSS's softokn, which reads its configuration from the reserved pointer of C_Initialize.

use crate::stand::{Stand, TOKEN, library};

/// The security officer of a token that was never used has no PIN, and an empty one logs in.
const NO_PIN: &str = "";

pub(crate) fn start() -> Stand {
    let mut stand = Stand::new(library("libsoftokn3.so"));
    stand.make_directory("nss");
    let database = stand.text("nss");
    stand.arguments = Some(format!("configdir='sql:{database}' dbTokenDescription='{TOKEN}' minPWLen=4"));
    stand.so_pin = NO_PIN;
    stand
}
