//! A process that a device needs.

use std::{
    fs::File,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long a process may take until it is there.
const AMPLE: Duration = Duration::from_secs(20);

/// How often it is looked whether it is.
const LOOK: Duration = Duration::from_millis(10);

/// It ends with this value.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// Starts it, with what it says in a file.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        let file = File::create(log).expect("a file for what it says");
        let same = file.try_clone().expect("the file once more");
        let child = command.stdin(Stdio::null()).stdout(file).stderr(same).spawn();
        Self(
            child.unwrap_or_else(|error| {
                panic!("{command:?}: {error}; `scripts/deps devices` installs what is missing")
            }),
        )
    }

    /// Waits until it is there.
    pub(crate) fn until(&mut self, log: &Path, is_there: impl Fn() -> bool) {
        let began = Instant::now();
        while !is_there() {
            let ended = self.0.try_wait().expect("its state");
            let said = || std::fs::read_to_string(log).unwrap_or_default();
            assert!(ended.is_none(), "it ended: {}", said());
            assert!(began.elapsed() < AMPLE, "it is not there: {}", said());
            thread::sleep(LOOK);
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output();
    let output =
        output.unwrap_or_else(|error| panic!("{command:?}: {error}; `scripts/deps devices` installs what is missing"));
    let said =
        || [&output.stdout[..], &output.stderr[..]].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
    assert!(output.status.success(), "{command:?}: {}", said());
}
