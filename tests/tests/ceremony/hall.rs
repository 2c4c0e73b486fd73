//! Where ceremonies are held: a directory with a policy, a token, and a device in front of it that fails when it is told to.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use hallmark_faulty::Device;
use hallmark_policy::time::UnixTime;
use hallmark_test_token::{MODULE, PIN, Token};
use hallmark_tests::{daemon::program, example_policy, log::Log, tools::pem};
use tempfile::TempDir;

pub(crate) const ORIGIN: &str = "ceremonies.hallmark.lab/roots";

/// Who watches, if somebody does.
pub(crate) const WITNESSES: &str = "[[witness]]\nname = \"Ada Lovelace\"\ninitials = \"AL\"\n\
                                    [[witness]]\nname = \"Grace Hopper\"\ninitials = \"GH\"\n";

/// A hall.
pub(crate) struct Hall {
    directory: TempDir,
    pub(crate) token: Token,
    pub(crate) device: Device,
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Came {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Came {
    /// It did what it should.
    pub(crate) fn good(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self
    }

    /// It did not, and said so with a hint.
    pub(crate) fn refused(self, code: i32, sentence: &str) -> Self {
        assert_eq!(self.code, code, "{}", self.stderr);
        let last = self.stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
        assert!(self.stderr.contains(sentence), "{sentence}\nis not in\n{}", self.stderr);
        assert!(!last.is_empty() && self.stderr.contains("\nhint: "), "{}", self.stderr);
        assert!(!self.stderr.contains(PIN), "a PIN is never said");
        self
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

/// [`code`] of a program that a fault aborted: SIGABRT.
pub(crate) const ABORTED: i32 = -6;

/// What a program ended with: its exit code, or the signal that ended it as a number below 0.
pub(crate) fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| -signal)).unwrap()
}

/// The policy of the example, with its root elsewhere, and another root to which cross-certificates go.
pub(crate) fn policy() -> String {
    let offline = "lifetime = \"3650d\"\noffline = true\npath-length = 2";
    let policy = example_policy().replacen("lifetime = \"3650d\"", offline, 1).replacen(
        "[authority.athenz.root]",
        "[authority.athenz]\ncrl = { lifetime = \"90d\", refresh = \"30d\" }\n[authority.athenz.root]",
        1,
    );
    format!(
        "{policy}\n[authority.old.root]\ncommon-name = \"Old Root CA\"\nlifetime = \"7300d\"\nkey = \"ecdsa-p384\"\n\
         path-length = 2\n[authority.old.epoch]\ncommon-name = \"Old Issuing CA\"\nlifetime = \"365d\"\nkey = \"ecdsa-p256\"\n"
    )
}

impl Hall {
    pub(crate) fn new() -> Self {
        let token = Token::make("ceremony");
        let hall = Self { directory: TempDir::new().unwrap(), token, device: Device::new() };
        hall.write("policy.toml", &policy());
        hall.write("pin", PIN);
        fs::create_dir(hall.path("out")).unwrap();
        hall
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// How often the log of ceremonies says that a key was destroyed.
    pub(crate) fn destroyed(&self) -> usize {
        let log = Log::read(&self.path("log/public"), &self.read("log/log.vkey"));
        log.of_type("key-event").filter(|entry| entry["action"] == "destroyed").count()
    }

    /// The text of a ceremony's file, over SoftHSM itself.
    pub(crate) fn file_over(&self, module: &Path, name: &str, authority: &str, rest: &str) -> String {
        format!(
            "version = 1\nceremony = \"{name}\"\n[policy]\nfile = \"policy.toml\"\nauthority = \"{authority}\"\n\
             [device]\nmodule = {module:?}\ntoken = \"{}\"\nserial = \"{}\"\npin-file = \"pin\"\n\
             [log]\norigin = \"{ORIGIN}\"\ndirectory = \"log\"\n{rest}",
            self.token.label(),
            self.token.serial()
        )
    }

    /// Writes the file of a ceremony over another token.
    pub(crate) fn file_in(&self, token: &Token, name: &str, authority: &str, rest: &str) -> String {
        let file = self.file(name, authority, rest);
        let text = self.read(&format!("{name}.toml"));
        let text = text.replacen(self.token.label(), token.label(), 1).replacen(self.token.serial(), token.serial(), 1);
        self.write(&format!("{name}.toml"), &text);
        file
    }

    /// Writes the file of a ceremony, and gives its path.
    pub(crate) fn file(&self, name: &str, authority: &str, rest: &str) -> String {
        let text = self.file_over(Path::new(MODULE), name, authority, rest);
        self.write(&format!("{name}.toml"), &text);
        self.text(&format!("{name}.toml"))
    }

    /// The same, with the device in front of the token that fails when it is told to.
    pub(crate) fn file_behind_the_device(&self, name: &str, authority: &str, rest: &str) -> String {
        let text = self.file_over(&self.device.module(), name, authority, rest);
        self.write(&format!("{name}.toml"), &text);
        self.text(&format!("{name}.toml"))
    }

    pub(crate) fn hallmark(&self) -> Command {
        let mut command = Command::new(program("hallmark"));
        command.env("NO_COLOR", "1").env("HOME", self.directory.path());
        command
    }

    /// `hallmark ceremony ..`, with nothing on its standard input.
    pub(crate) fn ceremony(&self, arguments: &[&str]) -> Came {
        self.answering("", arguments)
    }

    /// The same with what is typed.
    pub(crate) fn answering(&self, typed: &str, arguments: &[&str]) -> Came {
        let mut child = self.begin(arguments);
        let _ = child.stdin.take().unwrap().write_all(typed.as_bytes());
        let output = child.wait_with_output().unwrap();
        Came {
            code: code(output.status),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub(crate) fn begin(&self, arguments: &[&str]) -> Child {
        let mut command = self.hallmark();
        command.arg("ceremony").args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs a ceremony without people.
    pub(crate) fn run(&self, file: &str) -> Came {
        self.ceremony(&["run", "--unattended", file])
    }

    /// Runs a ceremony with its witnesses, who let every step be done.
    pub(crate) fn attended(&self, file: &str) -> Came {
        self.answering(&"AL\nGH\n".repeat(20), &["run", "--countdown", "0", file])
    }

    /// A root of an authority, at `out/NAME.pem`.
    pub(crate) fn root(&self, authority: &str) {
        let file = self.file(&format!("{authority}-root"), authority, &root_task(authority));
        self.run(&file).good();
    }

    /// Whether the transcript of a ceremony verifies, and what is said.
    pub(crate) fn verify(&self, name: &str) -> Came {
        let (transcript, key) = (self.text(&format!("{name}.transcript.json")), self.text("log/log.vkey"));
        self.ceremony(&["verify", &transcript, "--log", &self.text("log/public"), "--key", &key])
    }

    pub(crate) fn transcript(&self, name: &str) -> serde_json::Value {
        serde_json::from_str(&self.read(&format!("{name}.transcript.json"))).unwrap()
    }

    /// What a fact of a step came to in a ceremony.
    pub(crate) fn fact(&self, ceremony: &str, step: &str, name: &str) -> String {
        let transcript = self.transcript(ceremony);
        let steps = transcript["steps"].as_array().unwrap();
        let facts = steps.iter().find(|done| done["step"] == step).unwrap()["facts"].as_array().unwrap();
        let fact = facts.iter().find(|fact| fact["name"] == name).unwrap_or_else(|| panic!("{name} of {step}"));
        fact["value"].as_str().unwrap().to_owned()
    }

    pub(crate) fn write_pem(&self, name: &str, label: &str, der: &[u8]) {
        self.write(name, &pem(label, der));
    }

    /// Labels of the token's private keys, sorted.
    pub(crate) fn keys(&self) -> Vec<String> {
        let mut labels = self.token.labels();
        labels.sort();
        labels
    }
}

/// `[task.root]` of an authority.
/// What a token's clock shows that runs so many seconds ahead.
pub(crate) fn utc_time(ahead: i64) -> String {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let text = UnixTime::from_secs(now + ahead).to_string();
    text.chars().filter(char::is_ascii_digit).chain("00".chars()).collect()
}

pub(crate) fn root_task(authority: &str) -> String {
    format!("[task.root]\nlabel = \"{authority}-root\"\ncertificate = \"out/{authority}.pem\"\n")
}

/// Reads what is said until it has these words.
pub(crate) fn await_words(stderr: &mut ChildStderr, words: &str) -> String {
    let (mut said, mut byte) = (Vec::new(), [0]);
    while !String::from_utf8_lossy(&said).contains(words) {
        assert_eq!(stderr.read(&mut byte).unwrap(), 1, "{words}\nis not in\n{}", String::from_utf8_lossy(&said));
        said.push(byte[0]);
    }
    String::from_utf8_lossy(&said).into_owned()
}
