//! NSS's softokn, which reads its configuration from the reserved pointer of C_Initialize.

use crate::stand::{Stand, TOKEN, library};

/// The security officer of a token that was never used has no PIN, and an empty one logs in.
const NO_PIN: &str = "";

/// As the table of docs/devices/README.md has it.
const WAIVED: &str = "CKA_LOCAL CKA_COPYABLE CKA_ALLOWED_MECHANISMS CKA_DESTROYABLE";

pub(crate) fn start() -> Stand {
    let mut stand = Stand::new(library("libsoftokn3.so"));
    stand.make_directory("nss");
    let database = stand.text("nss");
    stand.arguments = Some(format!("configdir='sql:{database}' dbTokenDescription='{TOKEN}' minPWLen=4"));
    stand.so_pin = NO_PIN;
    stand
}

/// The same, with what it does not know of keys, or says otherwise, waived.
pub(crate) fn start_waived() -> Stand {
    let mut stand = start();
    stand.environment.push(("HALLMARK_TEST_WAIVED", WAIVED.to_owned()));
    stand
}
