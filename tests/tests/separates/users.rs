//! As root, the processes of a daemon are of three users, who cannot read one another's files nor open one another's doors.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, fs::chown, process::CommandExt as _},
    path::Path,
    process::Command,
};

use hallmark_tests::{
    asking::Asked,
    client::connect,
    daemon::{Daemon, Laboratory, succeed},
};

/// Name, uid and gid of users that every Debian has, and that own nothing.
type User = (&'static str, u32, u32);
const CORE: User = ("daemon", 1, 1);
const FRONT: User = ("nobody", 65_534, 65_534);
const OPERATORS: User = ("bin", 2, 2);

/// Whether this test can make processes of others; if not, it says so.
fn is_root() -> bool {
    let root = succeed(Command::new("id").arg("-u")).trim() == "0";
    if !root {
        eprintln!("not root: users cannot be told apart here");
    }
    root
}

/// A laboratory whose files belong to the users who need them.
fn laboratory() -> Laboratory {
    let laboratory = Laboratory::new();
    let root = laboratory.path("");
    fs::set_permissions(&root, fs::Permissions::from_mode(0o711)).unwrap();
    own(&laboratory.path("softhsm"), CORE);
    // Each has a directory of its own for what it reads: landlock knows directories.
    for (directory, user) in [("for-core", CORE), ("for-front", FRONT), ("for-operators", OPERATORS)] {
        fs::create_dir(laboratory.path(directory)).unwrap();
        for name in ["server.pem", "server.key", "callers-ca.pem", "operators-ca.pem"] {
            fs::copy(laboratory.path(name), laboratory.path(&format!("{directory}/{name}"))).unwrap();
        }
        own(&laboratory.path(directory), user);
    }
    for name in fs::read_dir(&root).unwrap().map(|file| file.unwrap().path()) {
        let file = name.file_name().unwrap().to_string_lossy().into_owned();
        if file.starts_with("hallmark.db")
            || ["log", "log.key", "log.vkey", "pin", "policy.toml"].contains(&file.as_str())
        {
            fs::rename(&name, laboratory.path(&format!("for-core/{file}"))).unwrap();
        }
    }
    own(&laboratory.path("for-core"), CORE);
    fs::set_permissions(laboratory.path("for-core"), fs::Permissions::from_mode(0o700)).unwrap();
    let mut settings = fs::read_to_string(laboratory.path("signer.toml")).unwrap();
    for name in ["hallmark.db", "log.key", "policy.toml", "pin", "log"] {
        settings = settings.replace(&format!("\"{name}\""), &format!("\"for-core/{name}\""));
    }
    let (callers, rest) = settings.split_once("[operators]").unwrap();
    let (operators, rest) = rest.split_once("[process]").unwrap();
    let into = |text: &str, directory: &str| {
        ["server.pem", "server.key", "callers-ca.pem", "operators-ca.pem"].iter().fold(text.to_owned(), |text, name| {
            text.replace(&format!("\"{name}\""), &format!("\"{directory}/{name}\""))
        })
    };
    let users = format!(
        "[process]\ncore-user = \"{}\"\nfront-user = \"{}\"\noperators-user = \"{}\"\n",
        CORE.0, FRONT.0, OPERATORS.0
    );
    let settings =
        [&into(callers, "for-front"), "[operators]", &into(operators, "for-operators"), &users, rest].concat();
    fs::write(laboratory.path("signer.toml"), settings).unwrap();
    laboratory
}

fn own(path: &Path, (_, uid, gid): User) {
    chown(path, Some(uid), Some(gid)).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|file| own(&file.unwrap().path(), ("", uid, gid)));
    }
}

/// Whether a process of this user does it.
fn can(user: User, program: &str, argument: &Path) -> bool {
    let mut command = Command::new(program);
    command.arg(argument).uid(user.1).gid(user.2).stdin(std::process::Stdio::null());
    command.output().unwrap().status.success()
}

fn field(id: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_process_is_of_its_user_for_good_and_reads_and_opens_what_is_its_own() {
    if !is_root() {
        return;
    }
    let laboratory = laboratory();
    let daemon = laboratory.start();
    let mut client = connect(&laboratory, &daemon).await;
    client.mint_certificate(Asked::sports_api().request()).await.unwrap();
    let fronts: Vec<_> = daemon.children_that("front").collect();
    for (id, (_, uid, gid)) in [(daemon.core(), CORE), (fronts[0], FRONT), (fronts[1], OPERATORS)] {
        assert_eq!(field(id, "Uid"), [uid; 4].map(|id| id.to_string()).join(" "));
        assert_eq!(field(id, "Gid"), [gid; 4].map(|id| id.to_string()).join(" "));
        assert_eq!((field(id, "CapEff"), field(id, "NoNewPrivs")), ("0".repeat(16), "1".to_owned()));
        let log = fs::read_to_string(laboratory.path("hallmarkd.log")).unwrap();
        assert_eq!(field(id, "Seccomp"), "2", "{log}");
    }
    for secret in ["for-core/policy.toml", "for-core/hallmark.db", "for-core/pin", "for-core/log.key"] {
        let path = laboratory.path(secret);
        assert!(path.exists() && can(CORE, "cat", &path), "{secret}");
        assert!(!can(FRONT, "cat", &path) && !can(OPERATORS, "cat", &path), "{secret}");
    }
    assert!(!can(FRONT, "cat", &laboratory.path("for-operators/server.key")));
    assert!(!can(OPERATORS, "cat", &laboratory.path("for-front/server.key")));
    // Nobody looks into the core, its own user least of all.
    for user in [CORE, FRONT, OPERATORS] {
        assert!(!can(user, "cat", Path::new(&format!("/proc/{}/environ", daemon.core()))));
    }
    is_refused_at_the_doors(&laboratory, &daemon);
    restarts_as_the_same_user(&laboratory, &daemon, &mut client).await;
    drop(client);
    assert!(daemon.terminate());
}

/// By the modes of the doors; and root, for whom modes are nothing, by the core.
fn is_refused_at_the_doors(laboratory: &Laboratory, daemon: &Daemon) {
    let connects = "$s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or exit 1; alarm 20; \
                    $s->syswrite(\"\\0\\0\\0\\0\\x03\" . \"\\0\" x 8); exit($s->sysread($b, 1) ? 0 : 1)";
    let gets_in = |user: Option<User>, door: &str| {
        let mut command = Command::new("perl");
        command.args(["-MIO::Socket::UNIX", "-e", connects]).arg(laboratory.door(door));
        if let Some((_, uid, gid)) = user {
            command.uid(uid).gid(gid);
        }
        command.output().unwrap().status.success()
    };
    assert!(gets_in(Some(FRONT), "callers") && gets_in(Some(OPERATORS), "operators"));
    assert!(!gets_in(Some(FRONT), "operators") && !gets_in(Some(OPERATORS), "callers"));
    assert!(!gets_in(Some(CORE), "callers") && !gets_in(Some(("games", 5, 60)), "callers"));
    assert!(!gets_in(None, "callers") && !gets_in(None, "operators"));
    let log = fs::read_to_string(laboratory.path("hallmarkd.log")).unwrap();
    assert_eq!(log.matches("a process of another user was refused at the core's door").count(), 2, "{log}");
    assert!(hallmark_tests::daemon::is_alive(daemon.core()));
}

async fn restarts_as_the_same_user(
    laboratory: &Laboratory,
    daemon: &Daemon,
    client: &mut hallmark_proto::signer::signer_client::SignerClient<tonic::transport::Channel>,
) {
    let core = daemon.core();
    succeed(Command::new("kill").args(["-KILL", &core.to_string()]));
    client.mint_certificate(Asked::sports_api().request()).await.unwrap();
    let log = fs::read_to_string(laboratory.path("hallmarkd.log")).unwrap();
    assert_ne!(daemon.core(), core, "{log}");
    assert_eq!(field(daemon.core(), "Uid"), "1 1 1 1");
}
