//! What can go wrong, as sentences for people.

use std::{error::Error, io, path::PathBuf};

use hallmark_front::FrontError;
use hallmark_signer::{RebuildError, RollError, StartError, config::ConfigError};
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
    /// The front does not start.
    #[error(transparent)]
    Front(#[from] FrontError),
    /// The core can do nothing more.
    #[error("{sentence}")]
    CoreFailed { sentence: String },
    /// Keys would live in files, and nobody said so on the command line.
    #[error(
        "the configuration keeps CA keys in files, which is for laboratories; hint: add --allow-software-keys if this is one, \
         or configure [backend.pkcs11]"
    )]
    SoftwareKeys,
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
