//! Token and laboratories: what a daemon is started in.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use hallmark_faulty::Device;

use crate::{arguments::Scheduling, key::Key};

/// Label of the token in the example's configuration.
const TOKEN: &str = "hallmark";

/// Where the repository is.
const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The one SoftHSM token of a run.
#[derive(Debug)]
pub(crate) struct Token {
    directory: PathBuf,
}

/// How a laboratory differs from the example.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Kind of the epoch's key.
    pub(crate) key: Key,
    /// Threads that sign, each with a session.
    pub(crate) sessions: u64,
    /// Whether the profile keeps records of instances.
    pub(crate) instances: bool,
}

/// A directory with everything that a daemon needs; its authority is made.
pub(crate) struct Laboratory {
    pub(crate) directory: PathBuf,
    /// Stands before the token, and counts.
    pub(crate) device: Device,
    /// Whether the profile keeps records of instances, and certifies nobody else.
    pub(crate) instances: bool,
    hallmarkd: PathBuf,
    softhsm: PathBuf,
    runtime: PathBuf,
}

impl Token {
    /// Makes it in this directory.
    pub(crate) fn make(directory: &Path) -> Result<Self> {
        let token = Self { directory: directory.to_owned() };
        let script = Path::new(REPOSITORY).join("softhsm-config/token");
        let so_pin = directory.join("so-pin");
        succeed(Command::new(script).arg(directory.join("softhsm")).arg(TOKEN).arg(token.pin()).arg(so_pin))?;
        Ok(token)
    }

    /// Its label.
    pub(crate) fn label(&self) -> &'static str {
        TOKEN
    }

    /// The file with its user PIN.
    pub(crate) fn pin(&self) -> PathBuf {
        self.directory.join("pin")
    }

    /// SoftHSM's configuration.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.directory.join("softhsm/softhsm2.conf")
    }
}

impl Laboratory {
    /// Lays one out. `runtime` is a directory with a short name, for sockets.
    pub(crate) fn lay_out(
        directory: PathBuf,
        token: &Token,
        hallmarkd: &Path,
        runtime: &Path,
        settings: Settings,
    ) -> Result<Self> {
        let laboratory = Self {
            directory,
            device: Device::new(),
            instances: settings.instances,
            hallmarkd: hallmarkd.to_owned(),
            softhsm: token.configuration(),
            runtime: runtime.to_owned(),
        };
        let module = laboratory.device.module();
        let mut lab = laboratory.hallmarkd();
        lab.arg("lab").arg(&laboratory.directory).args(["--listen", "127.0.0.1:0", "--token-module"]).arg(&module);
        succeed(&mut lab)?;
        fs::copy(token.pin(), laboratory.directory.join("pin"))?;
        fs::set_permissions(laboratory.directory.join("pin"), fs::Permissions::from_mode(0o600))?;
        // The module writes what it counts beside itself.
        let counts = module.parent().context("the module is in a directory")?;
        laboratory.change("signer.toml", "[process]", &format!("[process]\ncore-paths = [{counts:?}]"))?;
        laboratory.change("signer.toml", "sessions = 4", &format!("sessions = {}", settings.sessions))?;
        let kind = format!("lifetime = \"365d\"\nkey = \"{}\"", settings.key.setting());
        laboratory.change("policy.toml", "lifetime = \"365d\"\nkey = \"ecdsa-p256\"", &kind)?;
        if laboratory.instances {
            laboratory.change("policy.toml", "# instances = {", "instances = {")?;
            // Who brings no proof may refresh, too.
            laboratory.change("policy.toml", ", proof = true }", " }")?;
        }
        let mut init = laboratory.hallmarkd();
        succeed(init.arg("init").arg(laboratory.path("signer.toml")))?;
        Ok(laboratory)
    }

    /// One of its files.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// `hallmarkd` with this token.
    pub(crate) fn hallmarkd(&self) -> Command {
        self.with_token(Command::new(&self.hallmarkd))
    }

    /// The same under a policy of the scheduler.
    pub(crate) fn hallmarkd_by(&self, scheduling: Scheduling) -> Command {
        let mut command = Command::new("chrt");
        let policy = match scheduling {
            Scheduling::Batch => "--batch",
            Scheduling::Other => "--other",
        };
        command.args([policy, "0"]).arg(&self.hallmarkd);
        self.with_token(command)
    }

    fn with_token(&self, mut command: Command) -> Command {
        command.env("XDG_RUNTIME_DIR", &self.runtime).env("SOFTHSM2_CONF", &self.softhsm);
        command
    }

    fn change(&self, name: &str, from: &str, to: &str) -> Result<()> {
        let text = fs::read_to_string(self.path(name))?;
        ensure!(text.contains(from), "`{name}` of the laboratory has no `{from}` any more; it comes from examples/");
        Ok(fs::write(self.path(name), text.replacen(from, to, 1))?)
    }
}

/// Runs a command that must succeed; its standard output.
pub(crate) fn succeed(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("`{program}` does not start: is it built?"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed ({}):\n{stderr}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
