//! Files and ports, by landlock(7).

use std::{env, path::Path};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
};

use super::{Half, Kept};

/// The rights that are known here: files, truncation, ports, signals.
const KNOWN: ABI = ABI::V6;

/// How much of it this kernel does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    Whole,
    InPart,
    Nothing,
}

/// From now on, nothing but what is kept is opened.
pub(super) fn restrict(kept: &Kept) -> Result<Done, RulesetError> {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
    let ruleset = ruleset.handle_access(AccessFs::from_all(KNOWN))?;
    let ruleset = match kept.half {
        // Who may make sockets of the internet connects where it likes.
        Half::Core { network: true } => ruleset,
        Half::Core { network: false } | Half::Front => ruleset.handle_access(AccessNet::from_all(KNOWN))?,
    };
    let ruleset = ruleset.scope(Scope::Signal)?;
    // Sockets that are no files belong to nobody. A service manager may have one.
    let ruleset = match kept.half {
        Half::Front if !hears_by_name() => ruleset.scope(Scope::AbstractUnixSocket)?,
        Half::Front | Half::Core { .. } => ruleset,
    };
    let mut ruleset = ruleset.create()?;
    // A program that is read is not run: execve(2) is not allowed anyhow. A front knows its files by name.
    let reads = match kept.half {
        Half::Front => AccessFs::ReadFile.into(),
        Half::Core { .. } => AccessFs::ReadFile | AccessFs::ReadDir,
    };
    for path in &kept.reads {
        ruleset = allow(ruleset, path, reads)?;
    }
    for path in &kept.writes {
        ruleset = allow(
            ruleset,
            path,
            AccessFs::from_all(KNOWN) & !(AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock),
        )?;
    }
    Ok(match ruleset.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => Done::Whole,
        RulesetStatus::PartiallyEnforced => Done::InPart,
        RulesetStatus::NotEnforced => Done::Nothing,
    })
}

/// Whether the service manager is told things through an abstract socket (sd_notify(3)).
fn hears_by_name() -> bool {
    env::var_os("NOTIFY_SOCKET").is_some_and(|socket| socket.as_encoded_bytes().starts_with(b"@"))
}

/// What is not there needs no rule.
fn allow(ruleset: RulesetCreated, path: &Path, access: BitFlags<AccessFs>) -> Result<RulesetCreated, RulesetError> {
    let Ok(opened) = PathFd::new(path) else { return Ok(ruleset) };
    // Rights of directories mean nothing for a file, and are refused for it.
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(KNOWN) };
    ruleset.add_rule(PathBeneath::new(opened, access))
}
