//! A published log on an https server whose certificate comes from a CA of one's own, as auditors read it from afar.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Output, Stdio},
};

use hallmark_tests::daemon::{Laboratory, program};

/// A server that ends with the test.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    /// `hallmark-publish serve`, with the laboratory's certificate.
    fn start(laboratory: &Laboratory) -> Self {
        let mut program = Command::new(program("hallmark-publish"));
        program.arg("serve").arg(laboratory.path("log")).args(["--listen", "127.0.0.1:0"]);
        program.arg("--cert").arg(laboratory.path("server.pem")).arg("--key").arg(laboratory.path("server.key"));
        let mut child = program.stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().rsplit(':').next().unwrap().to_owned();
        Self { child, url: format!("https://127.0.0.1:{port}") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_log_is_audited_over_https_with_a_ca_of_one_s_own_and_no_other() {
    let laboratory = Laboratory::new();
    let daemon = laboratory.start();
    let leaf = laboratory.mint(&daemon, "api", &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    assert!(daemon.terminate());
    let server = Server::start(&laboratory);
    let run = |command: &str, more: &[&str], ca: &str| -> Output {
        let mut hallmark = Command::new(program("hallmark"));
        hallmark.env("XDG_STATE_HOME", laboratory.path("state")).env_remove("SSL_CERT_FILE");
        hallmark.args(["log", command, &server.url]).args(more).arg("--key").arg(laboratory.path("log.vkey"));
        hallmark.arg("--ca").arg(laboratory.path(ca)).output().unwrap()
    };
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    for (command, more) in [
        ("verify", &[][..]),
        ("query", &["--decision", "issued"]),
        ("range", &["--from", "0", "--to", "2"]),
        ("range", &["--since", "2026-01-01T00:00:00Z"]),
        ("stats", &[]),
        ("prove", &[leaf.to_str().unwrap()]),
    ] {
        let output = run(command, more, "server-ca.pem");
        assert!(output.status.success(), "{command}: {}", said(&output));
    }
    let output = run("verify", &[], "operators-ca.pem");
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("cannot be fetched"), "{}", said(&output));
}
