//! openCryptoki's software token. Its daemon, its library and its tool have fixed places for configuration, tokens and sockets, so that each
//! stand has mounts and shared memory of its own.

use std::process::Command;

use crate::{
    process::{Process, run},
    stand::{PIN, SO_PIN, Stand, TOKEN, library},
};

/// What a token that was never used has for its security officer.
const FIRST_SO_PIN: &str = "87654321";

/// The slot of the configuration below.
const SLOT: &str = "3";

/// Puts directories of the stand in the fixed places, and becomes the daemon.
const SET_UP: &str = r#"set -e
mount -t tmpfs tmpfs /dev/shm
mount --bind "$1/etc" /etc/opencryptoki
mount --bind "$1/tokens" /var/lib/opencryptoki
mount --bind "$1/run" /run
chgrp -R pkcs11 /run/lock/opencryptoki /var/lib/opencryptoki
chmod -R 770 /run/lock/opencryptoki /var/lib/opencryptoki
exec pkcsslotd -f
"#;

pub(crate) fn start() -> Stand {
    let mut stand = Stand::new(library("opencryptoki/libopencryptoki.so.0"));
    for name in ["etc", "tokens/swtok/TOK_OBJ", "run/lock/opencryptoki/swtok", "run/opencryptoki"] {
        stand.make_directory(name);
    }
    stand.write(
        "etc/opencryptoki.conf",
        &format!("version opencryptoki-3.1\nslot {SLOT}\n{{\nstdll = libpkcs11_sw.so\n}}\n"),
    );
    let (log, socket) = (stand.path("pkcsslotd.log"), stand.path("run/pkcsslotd.socket"));
    let mut command = Command::new("unshare");
    command.args(["--mount", "--ipc", "sh", "-c", SET_UP, "sh"]).arg(stand.directory.path());
    let mut daemon = Process::start(&mut command, &log);
    daemon.until(&log, || socket.exists());
    let of_daemon = |option: &str, kind: &str| format!("--{option}=/proc/{}/ns/{kind}", daemon.id());
    stand.inside = vec!["nsenter".to_owned(), of_daemon("mount", "mnt"), of_daemon("ipc", "ipc")];
    stand.processes.push(daemon);

    let tool = |arguments: &[&str]| {
        let mut command = stand.command("sh");
        let script = format!("printf '{TOKEN}\\n' | pkcsconf -c {SLOT} \"$@\"");
        run(command.args(["-c", &script, "sh"]).args(arguments));
    };
    tool(&["-I", "-S", FIRST_SO_PIN]);
    tool(&["-P", "-S", FIRST_SO_PIN, "-n", SO_PIN]);
    tool(&["-u", "-S", SO_PIN, "-n", PIN]);
    stand
}
