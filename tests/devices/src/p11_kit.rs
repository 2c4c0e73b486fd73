//! SoftHSM in a process of its own, which p11-kit carries calls to.

use std::process::Command;

use crate::{
    process::Process,
    softhsm,
    stand::{Stand, TOKEN, library},
};

pub(crate) fn start() -> Stand {
    let mut stand = Stand::new(library("pkcs11/p11-kit-client.so"));
    softhsm::configure(&mut stand);
    let (log, socket) = (stand.path("p11-kit.log"), stand.path("socket"));
    let mut command = Command::new("p11-kit");
    command.args(["server", "--foreground", "--provider", softhsm::MODULE, "--name"]).arg(&socket);
    command.arg(format!("pkcs11:token={TOKEN}")).envs(stand.environment.iter().map(|(name, value)| (name, value)));
    let mut server = Process::start(&mut command, &log);
    server.until(&log, || socket.exists());
    stand.processes.push(server);
    stand.environment.push(("P11_KIT_SERVER_ADDRESS", format!("unix:path={}", socket.display())));
    stand
}
