//! TLS files that are links, as certbot has them: a front has given up files by the time it reads what a link leads to.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use hallmark_tests::{
    asking::Asked,
    client::connect,
    daemon::{Daemon, Laboratory, succeed},
};

use crate::recovers::logged;

const HEARD_TIME_MAX: Duration = Duration::from_secs(30);

/// Makes the server's certificate a link to this, at once.
fn lead(laboratory: &Laboratory, to: &Path) {
    symlink(to, laboratory.path("next.pem")).unwrap();
    fs::rename(laboratory.path("next.pem"), laboratory.path("server.pem")).unwrap();
}

/// The same certificate under another name, and not the same bytes.
fn renew(from: &Path, to: &Path) {
    fs::write(to, [fs::read(from).unwrap(), b"\n".to_vec()].concat()).unwrap();
}

/// Hangs up, and waits until callers' and operators' fronts have said so.
fn hang_up_until(laboratory: &Laboratory, daemon: &Daemon, said: &str) {
    let count = || logged(laboratory).matches(said).count();
    let before = count();
    succeed(Command::new("kill").args(["-HUP", &daemon.id().to_string()]));
    let began = Instant::now();
    while count() < before + 2 {
        assert!(began.elapsed() < HEARD_TIME_MAX, "{said} in {}", logged(laboratory));
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_a_link_out_of_its_directory_is_served_and_renewed_where_it_leads() {
    let laboratory = Laboratory::new();
    let (archive, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let [first, second, third] =
        [archive.path().join("1.pem"), archive.path().join("2.pem"), other.path().join("3.pem")];
    fs::rename(laboratory.path("server.pem"), &first).unwrap();
    lead(&laboratory, &first);
    let daemon = laboratory.start();
    let mut client = connect(&laboratory, &daemon).await;
    client.mint_certificate(Asked::sports_api().request()).await.unwrap();

    renew(&first, &second);
    lead(&laboratory, &second);
    fs::remove_file(&first).unwrap();
    hang_up_until(&laboratory, &daemon, "SIGHUP: the TLS files were read again");

    // Where it leads to another directory, a front that runs has no right to that, and the next one has.
    renew(&second, &third);
    lead(&laboratory, &third);
    if !logged(&laboratory).contains("no landlock") {
        hang_up_until(&laboratory, &daemon, "SIGHUP: the old TLS files stay in force");
    }
    let mut client = connect(&laboratory, &daemon).await;
    client.mint_certificate(Asked::sports_api().request()).await.unwrap();
    assert!(daemon.terminate());
    let daemon = laboratory.start();
    hang_up_until(&laboratory, &daemon, "SIGHUP: the TLS files were read again");
    assert!(daemon.terminate());
}
