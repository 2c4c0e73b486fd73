//! A laboratory of one test, and the program run in it.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use hallmark_test_token::{MODULE, PIN, Token};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub(crate) struct World {
    directory: TempDir,
    flags: &'static [&'static str],
    /// Until it is dropped, no other test has it.
    #[expect(dead_code, reason = "it is held, and not used")]
    token: Option<Token>,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A daemon that serves. It is killed with the test.
pub(crate) struct Daemon {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) address: String,
}

impl World {
    /// A laboratory with CA keys in files, and nothing started yet.
    pub(crate) fn new() -> Self {
        let world = Self { directory: tempfile::tempdir().unwrap(), flags: &["--allow-software-keys"], token: None };
        world.lab(&["--software"]).done();
        world
    }

    /// A laboratory with CA keys in a token of its own.
    pub(crate) fn with_token() -> Self {
        let token = Token::make("daemon");
        let named = format!("token = \"{}\"", token.label());
        let world = Self { directory: tempfile::tempdir().unwrap(), flags: &[], token: Some(token) };
        world.lab(&["--token-module", MODULE]).done();
        world.edit("signer.toml", "token = \"hallmark\"", &named);
        world.write("pin", PIN);
        fs::set_permissions(world.path("pin"), fs::Permissions::from_mode(0o600)).unwrap();
        world
    }

    pub(crate) fn lab(&self, more: &[&str]) -> Ended {
        let directory = self.path("");
        let start = ["lab", directory.to_str().unwrap(), "--listen", "127.0.0.1:0"];
        hallmarkd(&[&start, more].concat())
    }

    pub(crate) fn check(&self) -> Ended {
        hallmarkd(&["check", self.path("signer.toml").to_str().unwrap()])
    }

    /// `check`, while it goes on.
    pub(crate) fn begin_check(&self) -> Child {
        let mut command = program();
        command.arg("check").arg(self.path("signer.toml")).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// `init` with all the flags that this laboratory needs.
    pub(crate) fn init(&self) -> Ended {
        self.init_with(self.flags)
    }

    pub(crate) fn init_with(&self, flags: &[&str]) -> Ended {
        let (file, out) = (self.path("signer.toml"), self.path("out"));
        let start = ["init", file.to_str().unwrap(), "--out", out.to_str().unwrap()];
        hallmarkd(&[&start, flags].concat())
    }

    /// `run`, which is expected to end by itself.
    pub(crate) fn run_with(&self, flags: &[&str]) -> Ended {
        hallmarkd(&[&["run", self.path("signer.toml").to_str().unwrap()], flags].concat())
    }

    /// `run` with all the flags that this laboratory needs, expected to end by itself.
    pub(crate) fn run(&self) -> Ended {
        self.run_with(self.flags)
    }

    /// Starts the daemon and waits until it serves.
    pub(crate) fn start(&self) -> Daemon {
        self.start_with(&[])
    }

    pub(crate) fn start_with(&self, more: &[&str]) -> Daemon {
        let mut child = program()
            .arg("run")
            .arg(self.path("signer.toml"))
            .args(self.flags)
            .args(more)
            // Where the core's doors are; what is killed leaves them behind.
            .env("RUNTIME_DIRECTORY", self.directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("serving on ").map(str::to_owned);
        let mut daemon = Daemon { child, stdout, address: String::new() };
        match address {
            Some(address) => daemon.address = address,
            None => panic!("the daemon does not serve: {:?}", daemon.end()),
        }
        daemon
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("lab").join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn edit(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "{name} has no {from}");
        self.write(name, &text.replacen(from, to, 1));
    }

    /// Every file below `name` with its content, by name.
    pub(crate) fn files(&self, name: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        collect(&self.path(name), &mut found);
        found
    }
}

fn collect(directory: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
}

impl Daemon {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Reads log lines until one contains `text`.
    pub(crate) fn await_log(&mut self, text: &str) -> String {
        let mut read = String::new();
        let mut byte = [0];
        let stderr = self.child.stderr.as_mut().unwrap();
        // Byte by byte, so that nothing is taken from those who read later.
        while stderr.read(&mut byte).unwrap() == 1 {
            read.push(char::from(byte[0]));
            if byte == *b"\n" && read.contains(text) {
                return read;
            }
        }
        panic!("the log ended without {text:?}: {read}");
    }

    /// Asks it to stop and waits until it has.
    pub(crate) fn stop(mut self) -> Ended {
        self.signal(Signal::TERM);
        self.end()
    }

    fn end(&mut self) -> Ended {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.stdout.read_to_string(&mut stdout).unwrap();
        self.child.stderr.as_mut().unwrap().read_to_string(&mut stderr).unwrap();
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        Ended { code, stdout, stderr }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        // Its end is that of every process of the daemon.
        if let Some(stderr) = &mut self.child.stderr {
            drop(stderr.read_to_end(&mut Vec::new()));
        }
    }
}

impl Ended {
    /// It was done.
    pub(crate) fn done(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// It was not done, and said all this.
    pub(crate) fn failed_with(self, told: &[&str]) -> Self {
        assert_eq!(self.code, 1, "{self:?}");
        for text in told {
            assert!(self.stderr.contains(text), "{text:?} in {}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    /// It said all this.
    pub(crate) fn says(self, told: &[&str]) -> Self {
        for text in told {
            assert!(self.stdout.contains(text), "{text:?} in {}", self.stdout);
        }
        self
    }
}

/// The soft and the hard limit of core files, out of a process's `limits` (proc(5)).
pub(crate) fn core_file_limits(limits: &str) -> Vec<&str> {
    let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    line.split_whitespace().skip(4).take(2).collect()
}

/// Runs the program to its end.
pub(crate) fn hallmarkd(arguments: &[&str]) -> Ended {
    let Output { status, stdout, stderr } = program().args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: status.code().unwrap_or(-1), stdout: text(stdout), stderr: text(stderr) }
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hallmarkd"));
    command.env_remove("HALLMARK_LOG").env_remove("HALLMARK_LOG_FORMAT").env_remove("NOTIFY_SOCKET");
    command
}
