//! Many connections that do nothing or are slow, beside a client who wants to be served; and what the fronts count of all that, as Prometheus reads it.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use hallmark_tests::{
    asking::Asked,
    client::connect,
    daemon::{Daemon, Laboratory, program},
    tools::attempt,
};

const IDLE: u32 = 150;
const SLOW: u32 = 40;
const MINTS: usize = 40;

/// How long it may take until a front has told what it counted, and until a slow peer is closed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Connections of a stranger's, until this is dropped.
struct Crowd(Child);

impl Crowd {
    fn gather(laboratory: &Laboratory, daemon: &Daemon) -> Self {
        let mut command = Command::new(program("hallmark-load"));
        command.args(["--signer", &format!("https://{}", daemon.address())]);
        command.args(["--idle", &IDLE.to_string(), "--slow", &SLOW.to_string()]);
        for (option, file) in [("--ca", "server-ca.pem"), ("--cert", "stranger.pem"), ("--key", "stranger.key")] {
            command.arg(option).arg(laboratory.path(file));
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let crowd = Self(child);
        assert_eq!(said, "held\n");
        crowd
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What Prometheus reads.
fn metrics(laboratory: &Laboratory, daemon: &Daemon) -> String {
    let file = |name: &str| laboratory.path(name).to_str().unwrap().to_owned();
    let (ca, cert, key) = (file("server-ca.pem"), file("operator.pem"), file("operator.key"));
    let url = format!("https://{}/metrics", daemon.operators());
    let (read, said) = attempt("curl", &["--silent", "--fail", "--cacert", &ca, "--cert", &cert, "--key", &key, &url]);
    assert!(read && said.ends_with("# EOF\n"), "{said}");
    said
}

/// Waits until a series has at least this value.
fn await_value(laboratory: &Laboratory, daemon: &Daemon, series: &str, least: u64) {
    let began = Instant::now();
    loop {
        let text = metrics(laboratory, daemon);
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        if value.is_some_and(|value| value.parse::<u64>().unwrap() >= least) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{series} is not {least}\n{text}");
        thread::sleep(Duration::from_millis(200));
    }
}

/// What half of some mints take at most.
async fn served(laboratory: &Laboratory, daemon: &Daemon) -> Duration {
    let mut client = connect(laboratory, daemon).await;
    let mut took = Vec::new();
    for _ in 0..MINTS {
        let began = Instant::now();
        client.mint_certificate(Asked::sports_api().request()).await.unwrap();
        took.push(began.elapsed());
    }
    took.sort_unstable();
    took[MINTS / 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_client_is_served_beside_connections_that_are_idle_or_slow() {
    let laboratory = Laboratory::new();
    let daemon = laboratory.start();
    let alone = served(&laboratory, &daemon).await;
    let crowd = Crowd::gather(&laboratory, &daemon);
    let beside = served(&laboratory, &daemon).await;
    // How much it grows, `make bench` measures on a machine that does nothing else.
    assert!(beside < alone * 5 + Duration::from_millis(50), "{beside:?} in the place of {alone:?}");
    await_value(&laboratory, &daemon, "hallmark_front_connections{front=\"callers\"}", u64::from(IDLE));
    // Prefaces, headers and bodies that trickle are ended; handshakes, too.
    let slow = "hallmark_front_connections_too_slow_total{front=\"callers\"}";
    await_value(&laboratory, &daemon, slow, u64::from(SLOW / 2));
    await_value(&laboratory, &daemon, "hallmark_front_handshakes_failed_total{front=\"callers\"}", u64::from(SLOW / 4));
    served(&laboratory, &daemon).await;
    drop(crowd);
    assert!(daemon.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fronts_count_is_read_by_prometheus_under_the_door_that_they_came_through() {
    for arguments in [&[][..], &["--one-process"]] {
        let laboratory = Laboratory::new();
        let daemon = laboratory.start_with(arguments);
        let mut client = connect(&laboratory, &daemon).await;
        client.mint_certificate(Asked::sports_api().request()).await.unwrap();
        let mut large = Asked::sports_api().request();
        large.common_name = "x".repeat(5 << 20);
        client.mint_certificate(large).await.unwrap_err();
        let mut garbage = TcpStream::connect(daemon.address()).unwrap();
        garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let value = |series: &str, least: u64| await_value(&laboratory, &daemon, series, least);
        value("hallmark_front_turned_away_total{front=\"callers\",reason=\"MESSAGE_TOO_LARGE\"}", 1);
        value("hallmark_front_requests_total{front=\"callers\"}", 2);
        value("hallmark_front_went_at_once_total{front=\"callers\"}", 1);
        value("hallmark_front_connections{front=\"callers\"}", 1);
        value("hallmark_front_handshakes_failed_total{front=\"callers\"}", 1);
        // This very question is one.
        value("hallmark_front_requests_total{front=\"operators\"}", 1);
        let text = metrics(&laboratory, &daemon);
        for series in [
            "hallmark_front_turned_away_total{front=\"operators\",reason=\"OVERLOADED\"} 0",
            "hallmark_front_calls_waiting{front=\"callers\",urgency=\"nearly-expired\"} 0",
            "hallmark_front_wait_seconds_count{front=\"callers\",urgency=\"other\"} 0",
            "hallmark_front_core_away_total{front=\"callers\"} 0",
        ] {
            assert!(text.lines().any(|line| line == series), "{series}\n{text}");
        }
        assert!(daemon.terminate());
    }
}
