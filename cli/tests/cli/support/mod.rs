//! A directory, a signer that answers what it is told, a published log, and the program itself.

pub(crate) mod log;
pub(crate) mod pki;
mod records;
pub(crate) mod signer;
pub(crate) mod state;

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
};

use tempfile::TempDir;

/// A directory that is the home of whoever runs the program.
pub(crate) struct World {
    directory: TempDir,
    variables: Vec<(String, String)>,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), variables: Vec::new() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file, with its directories, and gives its path.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("`{name}`: {error}"))
    }

    /// Sets an environment variable for the runs to come.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Runs openssl in the directory, which must succeed.
    pub(crate) fn openssl(&self, words: &str) {
        let mut command = Command::new("openssl");
        let output = command.args(words.split_whitespace()).current_dir(self.directory.path()).output().unwrap();
        assert!(output.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Starts the program in the directory, and leaves it running.
    pub(crate) fn start<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Running {
        let mut child = self.program(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Running { child, lines }
    }

    /// Runs the program in a terminal, where somebody types.
    pub(crate) fn run_in_terminal(&self, arguments: &[String], typed: &str) -> Run {
        let quoted: Vec<String> = arguments.iter().map(|word| format!("'{word}'")).collect();
        let line = format!("{} {}", env!("CARGO_BIN_EXE_hallmark"), quoted.join(" "));
        let mut command = Command::new("script");
        command.args(["-qefc", &line, "/dev/null"]).current_dir(self.directory.path()).env("NO_COLOR", "1");
        let mut child = command
            .env("SHELL", "/bin/sh")
            .env("HOME", self.directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let stdout = self.text(output.stdout).replace('\r', "");
        Run { code: output.status.code().unwrap(), stdout, stderr: String::new() }
    }

    /// Runs the program with so many mebibytes of address space at most.
    pub(crate) fn run_within(&self, mebibytes: u64, arguments: &[&str]) -> Run {
        let mut limited = Command::new("sh");
        let program = self.program(arguments);
        limited.arg("-c").arg(format!("ulimit -v {}; exec \"$@\"", mebibytes << 10)).arg("sh");
        limited.arg(program.get_program()).args(program.get_args()).current_dir(self.directory.path());
        let output = limited.env_clear().env("HOME", self.directory.path()).stdin(Stdio::null()).output().unwrap();
        let (stdout, stderr) = (self.text(output.stdout), self.text(output.stderr));
        Run { code: output.status.code().unwrap_or(-1), stdout, stderr }
    }

    /// Runs the program in the directory. What differs from run to run is replaced in what it says.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Run {
        let output = self.program(arguments).output().unwrap();
        let (stdout, stderr) = (self.text(output.stdout), self.text(output.stderr));
        Run { code: output.status.code().unwrap(), stdout, stderr }
    }

    fn program<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hallmark"));
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env_clear()
            .env("HOME", self.directory.path())
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::null());
        command
    }

    fn text(&self, bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap().replace(self.directory.path().to_str().unwrap(), "DIR")
    }
}

impl Run {
    /// Exit code and both outputs, for a snapshot.
    pub(crate) fn told(&self) -> String {
        format!("exit code {}\n--- stdout\n{}--- stderr\n{}", self.code, self.stdout, self.stderr)
    }

    /// The same, with what differs from run to run under names, and points in time as zeros.
    pub(crate) fn masked(&self, names: &[(&str, &str)]) -> String {
        timeless(&names.iter().fold(self.told(), |text, (differing, name)| text.replace(differing, name)))
    }

    /// The one JSON object on stdout.
    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.stderr, "", "JSON speaks alone");
        serde_json::from_str(&self.stdout).unwrap()
    }
}

/// The program, running.
pub(crate) struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    /// Its next line on stdout, once it is there.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }

    /// Ends it; what it said on stderr.
    pub(crate) fn end(mut self) -> String {
        self.child.kill().unwrap();
        String::from_utf8(self.child.wait_with_output().unwrap().stderr).unwrap()
    }
}

/// Text with every point in time as zeros of the same width.
pub(crate) fn timeless(text: &str) -> String {
    const SHAPE: &str = "dddd-dd-ddTdd:dd:ddZ";
    let is_time = |candidate: &str| {
        let fits = |(letter, shape): (u8, u8)| if shape == b'd' { letter.is_ascii_digit() } else { letter == shape };
        candidate.len() == SHAPE.len() && candidate.bytes().zip(SHAPE.bytes()).all(fits)
    };
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if rest.get(..SHAPE.len()).is_some_and(is_time) {
            out.push_str("0000-00-00T00:00:00Z");
            rest = &rest[SHAPE.len()..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}
