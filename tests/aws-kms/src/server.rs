//! moto, started once for each kind in a process, and ended with it.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    sync::OnceLock,
    thread,
};

/// Which KMS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// moto as it is.
    Plain,
    /// moto with what AWS's documentation says where it does otherwise.
    Amended,
}

/// Where it listens; it is started where it was not.
pub(crate) fn address(kind: Kind) -> SocketAddr {
    static PLAIN: OnceLock<SocketAddr> = OnceLock::new();
    static AMENDED: OnceLock<SocketAddr> = OnceLock::new();
    match kind {
        Kind::Plain => *PLAIN.get_or_init(|| start("plain")),
        Kind::Amended => *AMENDED.get_or_init(|| start("amended")),
    }
}

fn start(kind: &str) -> SocketAddr {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let installed = Command::new(own.join("../../scripts/moto")).stderr(Stdio::inherit()).output();
    let installed = installed.expect("scripts/moto runs");
    assert!(installed.status.success(), "scripts/moto has installed moto");
    let program = String::from_utf8(installed.stdout).expect("a path");
    let python = Path::new(program.trim()).with_file_name("python");
    let mut server = Command::new(python);
    server.arg(own.join("server.py")).arg(kind).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut server = server.spawn().expect("moto starts");
    let mut lines = BufReader::new(server.stderr.take().expect("its log")).lines().map_while(Result::ok);
    let address = lines.find_map(|line| line.split_once("Running on http://")?.1.trim().parse().ok());
    // Whoever writes on must find a reader.
    thread::spawn(move || lines.for_each(drop));
    // Its standard input ends with this process, and it with that.
    std::mem::forget(server);
    address.expect("moto says where it listens")
}
