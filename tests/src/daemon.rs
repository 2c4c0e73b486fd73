//! The real programs: `hallmarkd` and `hallmark`, in a laboratory of their own with a SoftHSM token.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use hallmark_faulty::Device;
use hallmark_test_token::{PIN, Token};
use tempfile::TempDir;

use crate::world::authorities;

/// How long a daemon may take until it is ready.
const READY_SECS_MAX: u64 = 60;

/// How often the file that says so is looked for.
const LOOK_MILLIS: u64 = 10;

/// A laboratory: token, configuration, policy, TLS files.
#[derive(Debug)]
pub struct Laboratory {
    directory: TempDir,
    /// SoftHSM's configuration; that of the tests, where there is none.
    softhsm: Option<PathBuf>,
}

/// A daemon that is running.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    address: String,
    operators: String,
}

/// A program of this workspace, as it was built last.
///
/// # Panics
/// If it was not built: `make test` and `cargo build --bins` build it.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let debug = test.parent().and_then(Path::parent).expect("target/debug");
    let path = debug.join(name);
    assert!(path.exists(), "`{}` is not built; run `cargo build --bins`", path.display());
    path
}

impl Laboratory {
    /// Lays one out, with keys in SoftHSM, and makes its authority.
    #[must_use]
    pub fn new() -> Self {
        Self::with_policy(|policy| policy)
    }

    /// The same with another policy, made from the example's.
    ///
    /// # Panics
    /// If it cannot be laid out.
    #[must_use]
    pub fn with_policy(change: impl FnOnce(String) -> String) -> Self {
        let mut laboratory = Self { directory: TempDir::new().expect("a directory"), softhsm: None };
        let token = Path::new(env!("CARGO_MANIFEST_DIR")).join("../softhsm-config/token");
        let [softhsm, pin, so_pin] = ["softhsm", "pin", "so-pin"].map(|name| laboratory.text(name));
        succeed(Command::new(token).args([&softhsm, "hallmark", &pin, &so_pin]));
        laboratory.softhsm = Some(laboratory.path("softhsm/softhsm2.conf"));
        laboratory.lay_out(&[], change);
        succeed(&mut laboratory.init());
        laboratory
    }

    /// The same with keys in files, which [`start_with`](Self::start_with) is told of: `--allow-software-keys`.
    ///
    /// # Panics
    /// If it cannot be laid out.
    #[must_use]
    pub fn with_software_keys(policy: &str) -> Self {
        let laboratory = Self { directory: TempDir::new().expect("a directory"), softhsm: None };
        laboratory.lay_out(&["--software"], |_| policy.to_owned());
        succeed(laboratory.init().arg("--allow-software-keys"));
        laboratory
    }

    /// Lays one out over a token of the tests, behind this device. No authority is made.
    ///
    /// # Panics
    /// If it cannot be laid out.
    #[must_use]
    pub fn behind(device: &Device, token: &Token, policy: &str) -> Self {
        let laboratory = Self { directory: TempDir::new().expect("a directory"), softhsm: None };
        let module = device.module();
        laboratory.lay_out(&["--token-module", module.to_str().expect("a path in UTF-8")], |_| policy.to_owned());
        let settings = fs::read_to_string(laboratory.path("signer.toml")).expect("settings");
        let named = settings.replacen("token = \"hallmark\"", &format!("token = \"{}\"", token.label()), 1);
        assert_ne!(named, settings, "the example's token has another name");
        // The module writes into the file that the test reads.
        let paths = format!("[process]\ncore-paths = [{:?}]", module.parent().expect("a directory"));
        let settings = named.replacen("[process]", &paths, 1);
        assert_ne!(settings, named, "the example has a table for processes");
        fs::write(laboratory.path("signer.toml"), settings).expect("settings are written");
        fs::write(laboratory.path("pin"), PIN).expect("a PIN is written");
        fs::set_permissions(laboratory.path("pin"), fs::Permissions::from_mode(0o600)).expect("its mode is set");
        laboratory
    }

    /// Lays one out with this table in the place of the token's, and the rest of its settings changed. No authority is made.
    ///
    /// # Panics
    /// If it cannot be laid out.
    #[must_use]
    pub fn with_backend(table: &str, change: impl FnOnce(String) -> String) -> Self {
        let laboratory = Self { directory: TempDir::new().expect("a directory"), softhsm: None };
        laboratory.lay_out(&[], |policy| policy);
        let settings = fs::read_to_string(laboratory.path("signer.toml")).expect("settings");
        let (before, _) = settings.split_once("[backend.pkcs11]").expect("the example has a token");
        fs::write(laboratory.path("signer.toml"), change(format!("{before}{table}"))).expect("settings are written");
        laboratory
    }

    fn lay_out(&self, options: &[&str], change: impl FnOnce(String) -> String) {
        succeed(self.hallmarkd().arg("lab").arg(self.path(".")).args(["--listen", "127.0.0.1:0"]).args(options));
        let policy = fs::read_to_string(self.path("policy.toml")).expect("a policy");
        let policy = change(policy);
        let settings = fs::read_to_string(self.path("signer.toml")).expect("settings");
        let without = format!("roots-without-ceremony = {:?}", authorities(&policy));
        let named = settings.replacen("roots-without-ceremony = [\"athenz\"]", &without, 1);
        fs::write(self.path("signer.toml"), named).expect("settings are written");
        fs::write(self.path("policy.toml"), policy).expect("a policy is written");
    }

    /// `hallmarkd init`, which makes its authority.
    #[must_use]
    pub fn init(&self) -> Command {
        let mut command = self.hallmarkd();
        command.arg("init").arg(self.path("signer.toml")).arg("--out").arg(self.path("."));
        command
    }

    /// One of its files.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The path of one of its files, as text.
    ///
    /// # Panics
    /// If it is not UTF-8.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("a path in UTF-8").to_owned()
    }

    /// `hallmarkd` with this laboratory's token.
    #[must_use]
    pub fn hallmarkd(&self) -> Command {
        let mut command = Command::new(program("hallmarkd"));
        // Where the core's doors are; what is killed leaves them behind.
        command.env("RUNTIME_DIRECTORY", self.directory.path());
        if let Some(configuration) = &self.softhsm {
            command.env("SOFTHSM2_CONF", configuration);
        }
        command
    }

    /// A door of the core, of the daemon that runs: `callers` or `operators`.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn door(&self, name: &str) -> PathBuf {
        let of_daemon =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("hallmark-"));
        let files = fs::read_dir(self.directory.path()).expect("a directory");
        let doors = files.filter_map(|file| Some(file.ok()?.path())).find(|path| of_daemon(path) && path.is_dir());
        doors.expect("a daemon's doors").join(name)
    }

    /// `hallmark` as the coordinator.
    #[must_use]
    pub fn hallmark(&self, daemon: &Daemon) -> Command {
        let mut command = Command::new(program("hallmark"));
        command
            .env("HALLMARK_SIGNER", format!("https://{}", daemon.address))
            .env("HALLMARK_CA", self.path("server-ca.pem"))
            .env("HALLMARK_CERT", self.path("coordinator.pem"))
            .env("HALLMARK_KEY", self.path("coordinator.key"))
            .env("HALLMARK_LOG_KEY", self.path("log.vkey"))
            .env("XDG_STATE_HOME", self.path("state"))
            .env_remove("HALLMARK_CONFIG");
        command
    }

    /// `hallmark` as the operator.
    #[must_use]
    pub fn hallmark_operator(&self, daemon: &Daemon) -> Command {
        let mut command = self.hallmark(daemon);
        command
            .env("HALLMARK_SIGNER", format!("https://{}", daemon.operators))
            .env("HALLMARK_CERT", self.path("operator.pem"))
            .env("HALLMARK_KEY", self.path("operator.key"));
        command
    }

    /// Starts the daemon, as the processes that it is by default, and waits until it serves.
    ///
    /// # Panics
    /// If it ends or takes too long.
    #[must_use]
    pub fn start(&self) -> Daemon {
        self.start_with(&[])
    }

    /// The same with further arguments.
    ///
    /// # Panics
    /// If it ends or takes too long.
    #[must_use]
    pub fn start_with(&self, arguments: &[&str]) -> Daemon {
        self.ready(self.run(arguments, Stdio::inherit()))
    }

    /// Starts the daemon, with this for its standard input, and does not wait.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn run(&self, arguments: &[&str], stdin: Stdio) -> Child {
        let ready = self.path("address");
        let _ = fs::remove_file(&ready);
        let log = fs::File::create(self.path("hallmarkd.log")).expect("a log file");
        let mut command = self.hallmarkd();
        command.arg("run").arg(self.path("signer.toml")).arg("--ready-file").arg(&ready).args(arguments);
        command.stdin(stdin).stdout(Stdio::null()).stderr(log).spawn().expect("the daemon starts")
    }

    /// Waits until a daemon that was started serves.
    ///
    /// # Panics
    /// If it ends or takes too long.
    #[must_use]
    pub fn ready(&self, mut child: Child) -> Daemon {
        let ready = self.path("address");
        let began = Instant::now();
        loop {
            if let Ok(addresses) = fs::read_to_string(&ready)
                && let [address, operators] = addresses.lines().collect::<Vec<_>>()[..]
            {
                return Daemon { child, address: address.to_owned(), operators: operators.to_owned() };
            }
            let ended = child.try_wait().expect("the daemon's state");
            let log = || fs::read_to_string(self.path("hallmarkd.log")).unwrap_or_default();
            assert!(ended.is_none(), "the daemon ended:\n{}", log());
            assert!(began.elapsed() < Duration::from_secs(READY_SECS_MAX), "the daemon is not ready:\n{}", log());
            thread::sleep(Duration::from_millis(LOOK_MILLIS));
        }
    }

    /// Waits until the daemon has made a file, and reads it.
    ///
    /// # Panics
    /// If it does not come.
    #[must_use]
    pub fn await_file(&self, name: &str) -> Vec<u8> {
        let began = Instant::now();
        loop {
            if let Ok(content) = fs::read(self.path(name)) {
                return content;
            }
            let log = || fs::read_to_string(self.path("hallmarkd.log")).unwrap_or_default();
            assert!(began.elapsed() < Duration::from_secs(READY_SECS_MAX), "there is no `{name}`:\n{}", log());
            thread::sleep(Duration::from_millis(LOOK_MILLIS));
        }
    }

    /// Makes a key and a CSR with openssl, and has it minted; gives the path of the certificate with its chain.
    ///
    /// # Panics
    /// If it is not minted.
    #[must_use]
    pub fn mint(&self, daemon: &Daemon, name: &str, key_options: &[&str]) -> PathBuf {
        let (key, csr, out) =
            (self.path(&format!("{name}.key")), self.path(&format!("{name}.csr")), self.path(&format!("{name}.pem")));
        let names = format!("subjectAltName=DNS:{name}.sports.lab.athenz.cloud");
        let subject = format!("/CN=sports.{name}");
        succeed(
            Command::new("openssl")
                .args(["req", "-new", "-noenc", "-subj", &subject, "-addext", &names])
                .args(key_options)
                .arg("-keyout")
                .arg(&key)
                .arg("-out")
                .arg(&csr),
        );
        succeed(
            self.hallmark(daemon)
                .args(["mint", "--profile", "athenz-service", "--csr"])
                .arg(&csr)
                .arg("--out")
                .arg(&out),
        );
        out
    }
}

impl Default for Laboratory {
    fn default() -> Self {
        Self::new()
    }
}

impl Daemon {
    /// Where it serves: address and port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where it serves operators: address and port.
    #[must_use]
    pub fn operators(&self) -> &str {
        &self.operators
    }

    /// Waits until it has ended by itself; its exit code.
    ///
    /// # Panics
    /// If it does not within a minute.
    pub fn await_end(mut self) -> Option<i32> {
        let began = Instant::now();
        loop {
            if let Some(ended) = self.child.try_wait().expect("the daemon's state") {
                return ended.code();
            }
            assert!(began.elapsed() < Duration::from_secs(READY_SECS_MAX), "the daemon does not end");
            thread::sleep(Duration::from_millis(LOOK_MILLIS));
        }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM, and waits; whether it ended well.
    ///
    /// # Panics
    /// If it cannot be told.
    #[must_use]
    pub fn terminate(mut self) -> bool {
        succeed(Command::new("kill").args(["-TERM", &self.child.id().to_string()]));
        self.child.wait().expect("the daemon ends").success()
    }

    /// SIGKILL, and waits until all of its processes have ended.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub fn kill(mut self) {
        self.kill_all();
    }

    /// The process that holds keys and ledger.
    ///
    /// # Panics
    /// If there is none, since it has ended and is not started again yet.
    #[must_use]
    pub fn core(&self) -> u32 {
        self.children_that("core").next().expect("a core")
    }

    /// The process that serves callers.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn front(&self) -> u32 {
        self.children_that("front").next().expect("a front")
    }

    /// Its processes whose first argument is this.
    pub fn children_that<'a>(&self, word: &'a str) -> impl Iterator<Item = u32> + use<'a> {
        let is = move |id: &u32| {
            let line = fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
            line.split('\0').nth(1) == Some(word)
        };
        self.children().into_iter().filter(is)
    }

    fn children(&self) -> Vec<u32> {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        children.split_whitespace().filter_map(|child| child.parse().ok()).collect()
    }

    fn kill_all(&mut self) {
        let children = self.children();
        let _ = self.child.kill();
        let _ = self.child.wait();
        let began = Instant::now();
        while children.iter().any(|child| is_alive(*child)) {
            assert!(
                began.elapsed() < Duration::from_secs(READY_SECS_MAX),
                "a process does not end with its supervisor"
            );
            thread::sleep(Duration::from_millis(LOOK_MILLIS));
        }
    }
}

/// Whether a process is there, and not only waits to be forgotten. One whose first thread has ended is there for as long as another of its threads is:
/// a write under way in the kernel outlives a SIGKILL.
#[must_use]
pub fn is_alive(id: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    match stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next()) {
        None => false,
        Some("Z" | "X") => fs::read_dir(format!("/proc/{id}/task")).is_ok_and(|threads| threads.count() > 1),
        Some(_) => true,
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill_all();
    }
}

/// Runs a command that must succeed; its standard output.
///
/// # Panics
/// If it fails.
pub fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{stdout}{stderr}");
    stdout.into_owned()
}
