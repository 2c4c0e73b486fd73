//! tpm2-pkcs11 over a TPM in software, with the resource manager and a message bus of its own.

use std::process::Command;

use crate::{
    process::Process,
    stand::{Stand, library},
};

/// More objects than its default, which a failed attempt to make a key of this module leaves behind.
const TRANSIENTS: &str = "--max-transients=100";

pub(crate) fn start() -> Stand {
    let mut stand = Stand::new(library("libtpm2_pkcs11.so.1"));
    ["state", "store"].iter().for_each(|name| stand.make_directory(name));
    let (tpm, bus) = (stand.text("tpm"), stand.text("bus"));

    let mut command = Command::new("swtpm");
    command
        .args(["socket", "--tpm2", "--flags", "startup-clear", "--tpmstate"])
        .arg(format!("dir={}", stand.text("state")));
    // Where the library looks for the second socket.
    command.arg("--server").arg(format!("type=unixio,path={tpm}"));
    command.arg("--ctrl").arg(format!("type=unixio,path={tpm}.ctrl"));
    background(&mut stand, &mut command, "tpm.ctrl");

    stand.write("bus.conf", &format!(
        "<!DOCTYPE busconfig PUBLIC '-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN' \
         'http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd'>\n<busconfig><type>session</type><listen>unix:path={bus}</listen>\
         <auth>EXTERNAL</auth><policy context='default'><allow send_destination='*' eavesdrop='true'/><allow eavesdrop='true'/>\
         <allow own='*'/></policy></busconfig>\n"
    ));
    let mut command = Command::new("dbus-daemon");
    command.args(["--nofork", "--nopidfile"]).arg(format!("--config-file={}", stand.text("bus.conf")));
    background(&mut stand, &mut command, "bus");

    stand.environment = vec![
        ("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={bus}")),
        ("TPM2_PKCS11_TCTI", "tabrmd:bus_type=session".to_owned()),
        ("TPM2_PKCS11_STORE", stand.text("store")),
        ("TPM2_PKCS11_LOG_LEVEL", "0".to_owned()),
        ("TSS2_LOG", "all+NONE".to_owned()),
    ];
    let mut command = Command::new("tpm2-abrmd");
    command.args(["--session", "--allow-root", TRANSIENTS]).arg(format!("--tcti=swtpm:path={tpm}"));
    command.envs(stand.environment.iter().map(|(name, value)| (name, value)));
    let log = stand.path("tpm2-abrmd.log");
    let mut manager = Process::start(&mut command, &log);
    // It is there when it has its name on the bus.
    let has_name = || {
        let mut ask = Command::new("dbus-send");
        ask.args([
            "--session",
            "--print-reply",
            "--dest=org.freedesktop.DBus",
            "/",
            "org.freedesktop.DBus.NameHasOwner",
        ]);
        ask.arg("string:com.intel.tss2.Tabrmd").env("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={bus}"));
        ask.output().is_ok_and(|answer| String::from_utf8_lossy(&answer.stdout).contains("boolean true"))
    };
    manager.until(&log, has_name);
    stand.processes.push(manager);
    stand
}

/// Starts what makes a socket of this name.
fn background(stand: &mut Stand, command: &mut Command, socket: &str) {
    let (log, socket) = (stand.path(&format!("{socket}.log")), stand.path(socket));
    let mut process = Process::start(command, &log);
    process.until(&log, || socket.exists());
    stand.processes.push(process);
}
