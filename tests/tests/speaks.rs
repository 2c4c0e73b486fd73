//! The real programs on real sockets: minted certificates shake hands, and bad clients are turned away.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
};

use hallmark_tests::{
    asking::Asked,
    client::connect,
    daemon::{Daemon, Laboratory, succeed},
    log::Log,
    tools::attempt,
};

const P256: [&str; 4] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

#[test]
fn two_minted_certificates_shake_hands_in_both_directions() {
    let laboratory = Laboratory::new();
    let daemon = laboratory.start();
    let first = laboratory.mint(&daemon, "api", &P256);
    let second = laboratory.mint(&daemon, "login", &["-newkey", "rsa:2048"]);
    for (server, server_name, client, client_name, anchor) in [
        (&first, "api", &second, "login", "root.pem"),
        (&second, "login", &first, "api", "root.pem"),
        (&first, "api", &second, "login", "mesh-ca.pem"),
    ] {
        let anchor = laboratory.text(anchor);
        let mut listening = Command::new("openssl")
            .args([
                "s_server",
                "-accept",
                "127.0.0.1:0",
                "-naccept",
                "1",
                "-Verify",
                "2",
                "-verify_return_error",
                "-CAfile",
                &anchor,
            ])
            .arg("-cert")
            .arg(server)
            .arg("-cert_chain")
            .arg(server)
            .arg("-key")
            .arg(laboratory.path(&format!("{server_name}.key")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let port = accepting_port(&mut listening);
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &port, "-verify_return_error", "-verify_hostname"])
            .arg(format!("{server_name}.sports.lab.athenz.cloud"))
            .args(["-CAfile", &anchor, "-cert"])
            .arg(client)
            .arg("-cert_chain")
            .arg(client)
            .arg("-key")
            .arg(laboratory.path(&format!("{client_name}.key")))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let _ = listening.kill();
        let _ = listening.wait();
        assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("Verify return code: 0 (ok)"), "{text}");
        assert!(text.contains("TLSv1.3"), "{text}");
    }
}

/// `s_server` with port 0 says where it listens: `ACCEPT 127.0.0.1:40001`.
fn accepting_port(server: &mut std::process::Child) -> String {
    let stdout = server.stdout.as_mut().unwrap();
    let mut text = Vec::new();
    let mut byte = [0];
    loop {
        assert_eq!(stdout.read(&mut byte).unwrap(), 1, "s_server ended: {}", String::from_utf8_lossy(&text));
        text.push(byte[0]);
        let line = String::from_utf8_lossy(&text).into_owned();
        if let Some(address) = line.lines().find_map(|line| line.strip_prefix("ACCEPT "))
            && line.ends_with('\n')
        {
            return address.trim().to_owned();
        }
    }
}

#[test]
fn garbage_instead_of_tls_closes_the_connection_and_others_are_served() {
    let laboratory = Laboratory::new();
    let daemon = laboratory.start();
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4_096], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = TcpStream::connect(daemon.address()).unwrap();
        stream.write_all(garbage).unwrap();
        let mut answer = Vec::new();
        // Closed with an alert or reset; nothing of HTTP comes back.
        let _ = stream.read_to_end(&mut answer);
        assert!(!answer.windows(4).any(|window| window == b"HTTP"));
    }
    let minted = laboratory.mint(&daemon, "api", &P256);
    assert!(minted.exists());
    assert!(daemon.terminate());
}

#[tokio::test]
async fn a_message_of_five_megabytes_is_refused_and_stands_in_the_log() {
    let laboratory = Laboratory::new();
    let daemon = laboratory.start();
    let mut client = connect(&laboratory, &daemon).await;
    let mut request = Asked::sports_api().request();
    request.common_name = "x".repeat(5 << 20);
    let status = client.mint_certificate(request).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status}");
    drop(client);
    let log = log_after(&laboratory, daemon);
    let aggregate = log.of_type("aggregate").next().expect("one entry");
    assert_eq!((&aggregate["reason"], &aggregate["caller"]), (&"MESSAGE_TOO_LARGE".into(), &"coordinator".into()));
}

fn log_after(laboratory: &Laboratory, daemon: Daemon) -> Log {
    assert!(daemon.terminate());
    Log::read(&laboratory.path("log"), &std::fs::read_to_string(laboratory.path("log.vkey")).unwrap())
}

#[test]
fn a_second_daemon_on_the_same_database_says_so_and_stops() {
    let laboratory = Laboratory::new();
    let daemon = laboratory.start();
    let output = laboratory.hallmarkd().arg("run").arg(laboratory.path("signer.toml")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("another daemon has the database"), "{text}");
    assert!(daemon.terminate());
}

#[test]
fn making_the_authority_twice_changes_no_byte() {
    let laboratory = Laboratory::new();
    let read = || {
        ["root.pem", "mesh-ca.pem", "intermediate.pem", "log.vkey"]
            .map(|name| std::fs::read(laboratory.path(name)).unwrap())
    };
    let first = read();
    for name in ["root.pem", "mesh-ca.pem", "intermediate.pem"] {
        std::fs::remove_file(laboratory.path(name)).unwrap();
    }
    let said = succeed(
        laboratory.hallmarkd().arg("init").arg(laboratory.path("signer.toml")).arg("--out").arg(laboratory.path(".")),
    );
    assert_eq!(read(), first, "{said}");
}

#[test]
fn a_log_entry_that_is_changed_after_the_fact_is_found_by_log_verify() {
    let laboratory = Laboratory::new();
    let checkpoint = std::fs::read_to_string(laboratory.path("log/checkpoint")).unwrap();
    let size = checkpoint.lines().nth(1).unwrap();
    let file = laboratory.path(&format!("log/tile/entries/000.p/{size}"));
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let output = Command::new(hallmark_tests::daemon::program("hallmark"))
        .args(["log", "verify", "--no-state"])
        .arg(laboratory.path("log"))
        .arg("--key")
        .arg(laboratory.path("log.vkey"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn callers_cannot_be_vouched_for_by_an_authority_signed_here_also_if_the_policy_forgot_it() {
    let laboratory = Laboratory::new();
    let bundle = laboratory.path("callers-ca.pem");
    let callers = std::fs::read_to_string(&bundle).unwrap();
    let root = std::fs::read_to_string(laboratory.path("root.pem")).unwrap();
    std::fs::write(&bundle, callers + &root).unwrap();
    std::fs::write(laboratory.path("policy.toml"), "version = 1\n").unwrap();
    let output = laboratory.hallmarkd().arg("run").arg(laboratory.path("signer.toml")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("athenz"), "{text}");
}

#[test]
fn prometheus_reads_metrics_over_mutual_tls_and_strangers_do_not() {
    let laboratory = Laboratory::new();
    let daemon = laboratory.start();
    let get = |who: &str, path: &str| {
        let file = |name: &str| laboratory.path(name).to_str().unwrap().to_owned();
        let (ca, cert, key) = (file("server-ca.pem"), file(&format!("{who}.pem")), file(&format!("{who}.key")));
        let url = format!("https://{}{path}", daemon.operators());
        let arguments = ["--silent", "--include", "--cacert", &ca, "--cert", &cert, "--key", &key, &url];
        attempt("curl", &arguments)
    };
    let (read, said) = get("operator", "/metrics");
    assert!(read && said.starts_with("HTTP/2 200"), "{said}");
    assert!(said.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"), "{said}");
    assert!(said.contains("hallmark_log_entries ") && said.ends_with("# EOF\n"), "{said}");
    let (_, said) = get("operator", "/metrics/more");
    assert!(!said.contains("hallmark_"), "{said}");
    // The coordinator's certificate is of another authority: its handshake fails.
    let (read, said) = get("coordinator", "/metrics");
    assert!(!read && !said.contains("hallmark_"), "{said}");
    let printed = succeed(laboratory.hallmark_operator(&daemon).arg("metrics"));
    assert!(printed.contains("hallmark_authority_stopped{authority=\"athenz\"} 0"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_watches_hears_of_an_activation_from_the_real_daemon() {
    let laboratory = Laboratory::new();
    let daemon = laboratory.start();
    let mut watching = laboratory.hallmark(&daemon);
    watching.args(["epochs", "--watch", "--authority", "athenz"]).stdout(std::process::Stdio::piped());
    let mut watching = watching.spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(watching.stdout.take().unwrap()));
    assert!(lines.next().unwrap().unwrap().contains("generation 1 active"));
    for words in [&["prepare"][..], &["activate", "2", "--yes"]] {
        let mut command = laboratory.hallmark_operator(&daemon);
        succeed(command.arg("epoch").args(words).args(["--authority", "athenz"]));
    }
    // It ends with the stream, if nothing comes.
    assert!(lines.map_while(Result::ok).any(|line| line.contains("generation 2 active")));
    watching.kill().unwrap();
    watching.wait().unwrap();
}
