//! A module with its token, and all that runs for it.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::process::Process;

/// The label of each token: all that is in it may be destroyed.
pub const TOKEN: &str = "hallmark-test-device";

/// The user PIN of each token.
pub const PIN: &str = "73912846";

/// The security officer's PIN of each token.
pub const SO_PIN: &str = "50918273";

/// A module with its token.
#[derive(Debug)]
pub struct Stand {
    /// What ends with it: the last that was started first.
    pub(crate) processes: Vec<Process>,
    pub(crate) directory: TempDir,
    pub(crate) module: PathBuf,
    /// What C_Initialize is given.
    pub(crate) arguments: Option<String>,
    pub(crate) so_pin: &'static str,
    pub(crate) environment: Vec<(&'static str, String)>,
    /// A command that runs others where the device is.
    pub(crate) inside: Vec<String>,
}

impl Stand {
    pub(crate) fn new(module: impl Into<PathBuf>) -> Self {
        let module = module.into();
        assert!(module.is_file(), "there is no module `{}`; `scripts/deps devices` installs it", module.display());
        Self {
            processes: Vec::new(),
            directory: tempfile::tempdir().expect("a directory"),
            module,
            arguments: None,
            so_pin: SO_PIN,
            environment: Vec::new(),
            inside: Vec::new(),
        }
    }

    /// A command of this program that sees the device: its environment names module, token and PINs.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = match self.inside.split_first() {
            None => Command::new(program),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        };
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.env("HALLMARK_TEST_MODULE", &self.module);
        command.env_remove("HALLMARK_TEST_ARGUMENTS");
        if let Some(arguments) = &self.arguments {
            command.env("HALLMARK_TEST_ARGUMENTS", arguments);
        }
        command.env("HALLMARK_TEST_FRESH", "1");
        command.envs([
            ("HALLMARK_TEST_TOKEN", TOKEN),
            ("HALLMARK_TEST_PIN", PIN),
            ("HALLMARK_TEST_SO_PIN", self.so_pin),
        ]);
        command
    }

    /// Path of the module.
    #[must_use]
    pub fn module(&self) -> &Path {
        &self.module
    }

    /// What C_Initialize is given, if anything.
    #[must_use]
    pub fn arguments(&self) -> Option<&str> {
        self.arguments.as_deref()
    }

    /// A file for what is found out of it.
    #[must_use]
    pub fn row(&self) -> PathBuf {
        self.path("row")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).expect("a file");
    }

    pub(crate) fn make_directory(&self, name: &str) {
        fs::create_dir_all(self.path(name)).expect("a directory");
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        while let Some(process) = self.processes.pop() {
            drop(process);
        }
    }
}

/// A library of this machine's architecture, as Debian places it.
pub(crate) fn library(name: &str) -> PathBuf {
    Path::new("/usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH)).join(name)
}
