//! What is served, how it may be kept, and that nobody takes all places.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::world::{Running, World, curl, entries};

#[test]
fn one_address_has_its_share_of_connections_and_one_that_asks_for_nothing_ends() {
    let world = World::new();
    world.publish(&entries(3));
    let mut program = Command::new(env!("CARGO_BIN_EXE_hallmark-publish"));
    program.arg("serve").arg(world.path("log")).args(["--listen", "127.0.0.1:0"]);
    let mut child = program.stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let _running = Running(child);
    let address = line.trim().rsplit(' ').next().unwrap();
    let connect = || TcpStream::connect(address).unwrap();
    let mut connections: Vec<_> = (0..32).map(|_| connect()).collect();
    // Each has a place of its own by now: it answers.
    for connection in &mut connections {
        connection.write_all(b"GET /checkpoint HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        assert!(connection.read(&mut [0; 1_024]).unwrap() > 0);
    }
    // One that is closed at once gives the end of the file, or is reset.
    assert!(matches!(connect().read(&mut [0; 1]), Ok(0) | Err(_)), "the 33rd");
    let begun = Instant::now();
    let mut rest = Vec::new();
    connections.swap_remove(0).read_to_end(&mut rest).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[test]
fn a_log_is_served_over_https_read_only() {
    let world = World::new();
    world.publish(&entries(300));
    world.write("log.key", b"not for others");
    let server = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key, ready) = (world.path("server.pem"), world.path("server.key"), world.path("ready"));
    fs::write(&cert, server.cert.pem()).unwrap();
    fs::write(&key, server.signing_key.serialize_pem()).unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_hallmark-publish"));
    program.arg("serve").arg(world.path("log")).args(["--listen", "127.0.0.1:0"]).arg("--ready-file").arg(&ready);
    let mut child = program.arg("--cert").arg(&cert).arg("--key").arg(&key).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let port = line.trim().rsplit(':').next().unwrap().to_owned();
    let _running = Running(child);
    let (cert, url) = (cert.to_str().unwrap(), |path: &str| format!("https://localhost:{port}/{path}"));
    let get = |path: &str| curl(&["--cacert", cert, "--include", &url(path)]);
    assert!(get("tile/0/000").contains("immutable"), "{}", get("tile/0/000"));
    let checkpoint = get("checkpoint");
    assert!(checkpoint.contains("no-cache") && checkpoint.contains("example.com/log\n300\n"), "{checkpoint}");
    fs::create_dir_all(world.path("log/crl/a.b")).unwrap();
    fs::write(world.path("log/crl/a.b/epoch-7.crl"), b"\x30\x00").unwrap();
    let crl = get("crl/a.b/epoch-7.crl");
    assert!(crl.contains("application/pkix-crl") && crl.contains("public, max-age=240, must-revalidate"), "{crl}");
    let tag = crl.lines().find_map(|line| line.trim().strip_prefix("etag: ")).unwrap();
    let asked = format!("If-None-Match: {tag}");
    let again = curl(&["--cacert", cert, "--include", "--header", &asked, &url("crl/a.b/epoch-7.crl")]);
    assert!(again.contains("304") && again.contains("max-age=240") && !again.contains("pkix-crl"), "{again}");
    fs::write(world.path("log/crl/a.b/epoch-7.crl"), b"\x30\x80").unwrap();
    let newer = curl(&["--cacert", cert, "--include", "--header", &asked, &url("crl/a.b/epoch-7.crl")]);
    assert!(newer.contains("200") && newer.contains("pkix-crl"), "{newer}");
    for path in ["log.key", "", "tile/0", "..%2flog.vkey", "tile/0/009"] {
        assert!(get(path).contains("404"), "{path}: {}", get(path));
    }
    assert!(curl(&["--cacert", cert, "-X", "DELETE", "--include", &url("checkpoint")]).contains("405"));
}

/// `hallmark-publish serve` over the log of a world, and its address.
fn serve(world: &World, more: &[&str]) -> (Running, String) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_hallmark-publish"));
    program.arg("serve").arg(world.path("log")).args(["--listen", "127.0.0.1:0"]).args(more);
    let mut child = program.stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    (Running(child), line.trim().rsplit(' ').next().unwrap().to_owned())
}

#[test]
fn private_values_are_served_only_where_that_was_asked_for() {
    let world = World::new();
    world.publish(&entries(3));
    world.write("openings/000.p/3", b"a line\n");
    for (more, status) in [(&[][..], "404"), (&["--with-openings"], "200")] {
        let (_running, address) = serve(&world, more);
        let got = curl(&["--include", &format!("http://{address}/openings/000.p/3")]);
        assert!(got.contains(status), "{got}");
    }
}

#[test]
fn clients_that_take_nothing_do_not_fill_the_memory() {
    let world = World::new();
    world.publish(&vec![vec![b'a'; 65_000]; 256]);
    let (running, address) = serve(&world, &[]);
    let ask = || {
        let mut connection = TcpStream::connect(&address).unwrap();
        connection.write_all(b"GET /tile/entries/000 HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        connection
    };
    // 16 MB each.
    let mut connections: Vec<TcpStream> = (0..30).map(|_| ask()).collect();
    let resident_kib = || {
        let status = fs::read_to_string(format!("/proc/{}/status", running.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().to_owned();
        line.trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    // The first ones have theirs, whole; it is the others that wait.
    let mut first = Vec::new();
    let begun = Instant::now();
    while first.len() < 16_000_000 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{} bytes", first.len());
        let mut part = vec![0; 1 << 20];
        for connection in connections.iter_mut().take(3) {
            connection.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            if let Ok(read) = connection.read(&mut part) {
                first.extend_from_slice(&part[..read]);
            }
        }
    }
    assert!(resident_kib() < 150 << 10, "{} KiB", resident_kib());
}

#[test]
fn a_connection_has_few_streams() {
    let world = World::new();
    world.publish(&entries(3));
    let (_running, address) = serve(&world, &[]);
    let mut connection = TcpStream::connect(&address).unwrap();
    // The preface of a client and its empty SETTINGS (RFC 9113, section 3.4).
    connection.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    let mut head = [0; 9];
    connection.read_exact(&mut head).unwrap();
    assert_eq!(head[3], 4, "SETTINGS come first");
    let mut settings = vec![0; usize::from(head[2])];
    connection.read_exact(&mut settings).unwrap();
    let streams_max = settings.as_chunks::<6>().0.iter().find(|setting| setting[..2] == [0, 3]);
    assert_eq!(streams_max, Some(&[0, 3, 0, 0, 0, 8]));
}
