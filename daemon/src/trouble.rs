//! What can go wrong, as sentences for people.

use std::{error::Error, io, path::PathBuf};

use hallmark_front::FrontError;
use hallmark_signer::{RebuildError, RestoreError, RollError, StartError, config::ConfigError};
use hallmark_tlog::note::KeyError;

/// Why the daemon does not start, or a command is not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// A file cannot be read.
    #[error("`{}` cannot be read; hint: check the path and its permissions", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// A root's certificate does not read.
    #[error("`{}` is not one PEM block with a certificate; hint: the root's own certificate alone", path.display())]
    RootFile { path: PathBuf },
    /// A file is another user's.
    #[error("`{}` is a file of the user {owner}; hint: run this as that user, as in `runuser -u {owner} -- hallmarkd ..`", path.display())]
    OthersFile { path: PathBuf, owner: String },
    /// A file cannot be written.
    #[error("`{}` cannot be written; hint: check that its directory exists and who owns it", path.display())]
    Unwritable { path: PathBuf, source: io::Error },
    /// The configuration file does not read.
    #[error("`{}` is no configuration:\n{}\nhint: examples/signer.toml has every setting", path.display(), problems.join("\n"))]
    Settings { path: PathBuf, problems: Vec<String> },
    /// `check` found problems, and has told them.
    #[error("`{}` has {count} problem(s)", path.display())]
    Problems { path: PathBuf, count: usize },
    /// The core's part of the configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The front's part of the configuration.
    #[error(transparent)]
    FrontConfig(#[from] hallmark_front::ConfigError),
    /// The core does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The published log is not rebuilt.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    /// The log is not carried on under another origin.
    #[error(transparent)]
    Roll(#[from] RollError),
    /// A backup is not restored.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// There is neither the log's key nor its public half.
    #[error("neither the log key `{}` nor its public half `{}` is there, and a backup is believed under them alone; hint: bring one of the two from where you keep them", key.display(), verifier.display())]
    NoVerifierKey { key: PathBuf, verifier: PathBuf },
    /// The front does not start.
    #[error(transparent)]
    Front(#[from] FrontError),
    /// The core can do nothing more.
    #[error("{sentence}")]
    CoreFailed { sentence: String },
    /// A PIN that was right at the start is not any more.
    #[error(
        "the user PIN was refused when the core logged in anew; nothing is tried again, because tokens lock after a few attempts: correct it and restart"
    )]
    PinRefused,
    /// Keys would live in files, and nobody said so on the command line.
    #[error(
        "the configuration keeps CA keys in files, which is for laboratories; hint: add --allow-software-keys if this is one, \
         or configure [backend.pkcs11]"
    )]
    SoftwareKeys,
    /// A secret is to be typed, and there is nobody.
    #[error(
        "the {what} is to be typed at the start, and standard input is no terminal; hint: start this in a terminal, or write `{{ credential = \"..\" }}` or `{{ file = \"..\" }}` in signer.toml"
    )]
    NoTerminal { what: &'static str, source: io::Error },
    /// The process cannot be closed to debuggers and core files.
    #[error("the process cannot be closed to debuggers and core files, and so reads no secret")]
    Hardening { source: io::Error },
    /// The operators' identities.
    #[error(
        "`operators.allow`: {detail}; hint: name URIs such as `spiffe://hallmark.lab/operator`, or dNSNames, of client certificates"
    )]
    Operators { detail: String },
    /// The filter of log lines.
    #[error("`{filter}` is no filter of log lines; hint: write a level such as `info`, or `info,hallmark_front=debug`")]
    LogFilter { filter: String, source: tracing_subscriber::filter::ParseError },
    /// tokio does not start, or signals cannot be heard.
    #[error("the system gives no threads, no event queue or no signals; hint: look at the limits of this user")]
    Runtime { source: io::Error },
    /// A front that nobody configured.
    #[error("there is no [operators] table, and so no front for operators")]
    NoOperators,
    /// A core without a door.
    #[error(
        "this process was given no door; hint: `hallmarkd run` starts core and fronts, or a service manager gives a socket named `callers`"
    )]
    NoDoor,
    /// A socket that was given does not do.
    #[error("a socket that this process was given cannot be used")]
    Door { source: io::Error },
    /// The doors cannot be made.
    #[error("the core's doors cannot be made in `{}`; hint: point RUNTIME_DIRECTORY or XDG_RUNTIME_DIR at a directory of a short path", path.display())]
    Doors { path: PathBuf, source: io::Error },
    /// There is no supervisor where one should be.
    #[error("the supervisor went away")]
    Supervisor { source: io::Error },
    /// A process cannot be started.
    #[error("the {what} cannot be started")]
    Spawn { what: &'static str, source: io::Error },
    /// A process did not begin to serve.
    #[error("the {what} ended before it served ({how}); what it said stands above")]
    NotStarted { what: &'static str, how: String },
    /// A process says that another start does harm.
    #[error("the {what} ended ({how}), and is not started again, since that could do harm; what it said stands above")]
    NotAgain { what: &'static str, how: String },
    /// A process comes down again and again.
    #[error(
        "the {what} came down {times} times within a minute, and is not started again; what it said stands above, the last was: {how}"
    )]
    GaveUp { what: &'static str, times: usize, how: String },
    /// A process did not stop in order.
    #[error("the {what} did not stop in order ({how})")]
    NotStopped { what: &'static str, how: String },
    /// The users of the processes.
    #[error("[process]: {detail}")]
    Users { detail: &'static str },
    /// A user that there is not.
    #[error("[process]: there is no user `{name}`")]
    NoSuchUser { name: String, source: Option<io::Error> },
    /// Users are named, and this process cannot become them.
    #[error(
        "[process] names users, and only root can become others; hint: start hallmarkd as root, or let a service manager start \
         `hallmarkd core` and `hallmarkd front` as these users"
    )]
    NotRoot,
    /// Another user cannot be become.
    #[error("this process cannot become user {uid} for good")]
    Become { uid: u32, source: io::Error },
    /// Files and system calls cannot be given up.
    #[error("this process cannot give up the files and system calls that it does not need")]
    Confinement { source: Box<dyn Error + Send + Sync> },
    /// The system has no random bytes.
    #[error("the system gives no random bytes; hint: nothing can be signed on this machine now")]
    NoRandomness,
    /// The log's name makes no key.
    #[error("`log.origin` is `{origin}`, which cannot name a key")]
    Origin { origin: String, source: KeyError },
    /// The public half of the log key is another key's.
    #[error("`{}` is not the public half of the log key; hint: move it away, and `hallmarkd init` writes it anew", path.display())]
    OtherVerifierKey { path: PathBuf },
    /// Only a part of the lab's TLS files is there.
    #[error("`{}` is missing while others of its set are there; hint: `--force` makes the whole set anew", path.display())]
    PartOfSet { path: PathBuf },
    /// A path cannot stand in a TOML file.
    #[error("the path `{}` cannot stand in signer.toml: it is not UTF-8, or has control characters", path.display())]
    Path { path: PathBuf },
    /// The example does not have the line that is to be replaced.
    #[error("the example configuration has no line `{line}`; this is a fault of the build")]
    Example { line: String },
    /// A certificate of the lab cannot be made.
    #[error("a certificate for the laboratory cannot be made")]
    Certificate { source: rcgen::Error },
}

impl Trouble {
    /// Whether the same start again could do harm: tokens lock after a few wrong PINs.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::PinRefused | Self::NotAgain { .. })
            || matches!(self, Self::Start(error) if error.may_lock_the_token())
    }
}

/// The error with its causes, in one sentence. A cause that is part of the sentence already is not told twice.
pub(crate) fn sentence(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let source = io::Error::new(io::ErrorKind::NotFound, "no such file");
        let told = sentence(&ConfigError::Unreadable { path: "policy.toml".into(), source });
        assert_eq!(told.matches("no such file").count(), 1, "{told}");
        let source = io::Error::new(io::ErrorKind::NotFound, "no such file");
        let told = sentence(&Trouble::Unreadable { path: "signer.toml".into(), source });
        assert!(told.ends_with(": no such file"), "{told}");
    }
}
