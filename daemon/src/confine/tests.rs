//! A process of its own confines itself, and then tries things: this test program, started again with a variable set.

use std::{
    env, fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::symlink,
    path::Path,
    process::Command,
};

use super::*;

const PLAYED: &str = "HALLMARK_CONFINED_TEST";
/// Names the half that is played.
const HALF: &str = "HALLMARK_CONFINED_TEST_HALF";

/// What was tried, and whether it went.
fn tried(directory: &Path) -> Vec<(&'static str, bool)> {
    let path = |name: &str| directory.join(name);
    vec![
        ("reads what it may read", fs::read(path("readable/file")).is_ok()),
        ("lists what it may read", fs::read_dir(path("readable")).is_ok()),
        ("reads by a link into where it may read", fs::read(path("link")).is_ok()),
        ("reads by a link out of where it may read", fs::read(path("readable/out")).is_ok()),
        ("writes what it may read", fs::write(path("readable/file"), "x").is_ok()),
        ("makes a file where it may read", fs::write(path("readable/new"), "x").is_ok()),
        ("removes what it may read", fs::remove_file(path("readable/file")).is_ok()),
        ("reads what is not its own", fs::read(path("secret")).is_ok()),
        ("lists what is not its own", fs::read_dir(directory).is_ok()),
        ("writes what is not its own", fs::write(path("secret"), "x").is_ok()),
        ("writes where it may write", fs::write(path("writable/new"), "x").is_ok()),
        ("renames where it may write", fs::rename(path("writable/new"), path("writable/newer")).is_ok()),
        ("moves it to where it is not its own", fs::rename(path("writable/newer"), path("out")).is_ok()),
        ("makes a thread", std::thread::Builder::new().spawn(|| {}).is_ok_and(|thread| thread.join().is_ok())),
        ("runs a program", Command::new("/bin/true").status().is_ok()),
        ("listens on a port", TcpListener::bind("127.0.0.1:0").is_ok()),
        ("connects to a port", TcpStream::connect("127.0.0.1:9").is_err_and(|error| error.raw_os_error() == Some(111))),
        ("makes a Unix socket", std::os::unix::net::UnixStream::pair().is_ok()),
        ("looks into another process", nix_ptrace_itself()),
    ]
}

/// Whether tracing is refused for another reason than the filter's: the first process of the system is nobody's.
fn nix_ptrace_itself() -> bool {
    fs::read("/proc/1/environ").is_ok()
}

#[test]
fn played() {
    let Some(directory) = env::var_os(PLAYED) else { return };
    let directory = PathBuf::from(directory);
    let kept = Kept {
        reads: vec![directory.join("readable"), directory.join("not-there")],
        writes: vec![directory.join("writable")],
        half: if env::var(HALF).unwrap() == "front" { Half::Front } else { Half::Core { network: false } },
    };
    // Threads of the test's own are not confined, and do nothing.
    confine(&kept).unwrap();
    for (what, went) in tried(&directory) {
        println!("tried: {what}: {went}");
    }
}

#[test]
fn a_confined_process_has_its_own_files_and_no_other_and_no_network_and_runs_nothing() {
    // Whatever a front is allowed elsewhere, it writes nothing, lists nothing and starts nothing.
    for half in ["core", "front"] {
        is_confined(half);
    }
}

fn is_confined(half: &str) {
    let directory = tempfile::tempdir().unwrap();
    for name in ["readable", "writable"] {
        fs::create_dir(directory.path().join(name)).unwrap();
    }
    fs::write(directory.path().join("readable/file"), "content").unwrap();
    fs::write(directory.path().join("secret"), "content").unwrap();
    symlink("readable/file", directory.path().join("link")).unwrap();
    symlink("../secret", directory.path().join("readable/out")).unwrap();
    let played = Command::new(env::current_exe().unwrap())
        .args(["--exact", "confine::tests::played", "--nocapture"])
        .env(PLAYED, directory.path())
        .env(HALF, half)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&played.stdout).into_owned() + &String::from_utf8_lossy(&played.stderr);
    assert!(played.status.success(), "{told}");
    let went: Vec<_> = told.lines().filter_map(|line| line.split_once("tried: ")?.1.strip_suffix(": true")).collect();
    let always = ["makes a thread", "makes a Unix socket"];
    let writing = ["writes where it may write", "renames where it may write"];
    let (reading, by_link) = ("reads what it may read", "reads by a link into where it may read");
    let with_landlock = match half {
        "core" => [&[reading, "lists what it may read", by_link][..], &writing].concat(),
        _ => vec![reading, by_link],
    };
    if told.contains("no landlock") {
        // Then only system calls are kept from it; the kernel without landlock is told of.
        assert!(!went.contains(&"runs a program") && !went.contains(&"connects to a port"), "{told}");
    } else {
        assert_eq!(went, [&with_landlock[..], &always].concat(), "{told}");
    }
    assert_eq!(fs::read(directory.path().join("secret")).unwrap(), b"content");
}
