//! What the children are: their command lines, sockets and users.

use std::{
    ffi::OsString,
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
    time::Duration,
};

use hallmark_front::FrontConfig;
use secrecy::SecretString;

use super::doors::Doors;
use crate::{
    arguments::{LogArguments, RunArguments},
    core_process::{CALLERS_DOOR, OPERATORS_DOOR},
    front_process::listen,
    process::Users,
    settings::Settings,
    trouble::Trouble,
    user::User,
};

/// A child, as it is started.
pub(super) struct Spec {
    /// What people call it.
    pub(super) what: &'static str,
    /// The program.
    pub(super) program: PathBuf,
    /// Whether it is the core, whose last word is believed.
    pub(super) is_core: bool,
    /// How long it may take until it serves.
    pub(super) start_time_max: Duration,
    pub(super) arguments: Vec<OsString>,
    /// Further arguments at the first start alone: an operator's word holds for once.
    pub(super) once: Vec<OsString>,
    /// Its listening sockets, by name.
    pub(super) sockets: Vec<(&'static str, OwnedFd)>,
    /// The secret of the key backend, where it was asked for: for the core alone.
    pub(super) secret: Option<SecretString>,
    /// Whether it has this process's environment, where secrets may stand.
    pub(super) has_environment: bool,
}

/// This program, as it runs: another version that was installed meanwhile is not started beside it.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// All of them.
pub(super) struct Specs {
    pub(super) core: Spec,
    /// That of callers, and that of operators if there is one.
    pub(super) fronts: Vec<Spec>,
}

/// What is started, with addresses taken.
pub(super) fn specs(
    arguments: &RunArguments,
    settings: &Settings,
    users: Option<&Users>,
    doors: &Doors,
    secret: Option<SecretString>,
) -> Result<Specs, Trouble> {
    let mut fronts = Vec::new();
    let user = |user: Option<&User>| user.map(|user| ["--become-user".into(), user.to_string().into()]);
    let front = |what, config: &FrontConfig, door: PathBuf, own: Option<&User>| {
        let mut typed: Vec<OsString> = vec!["front".into(), arguments.start.file.clone().into()];
        typed.extend(["--door".into(), door.into()]);
        typed.extend(common(&arguments.logging));
        typed.extend(user(own).into_iter().flatten());
        let sockets = vec![("listen", listen(config)?.into())];
        let start_time_max = settings.process.start_time_max()?;
        let once = Vec::new();
        Ok::<_, Trouble>(Spec {
            what,
            program: OWN_PROGRAM.into(),
            is_core: false,
            start_time_max,
            arguments: typed,
            once,
            sockets,
            secret: None,
            has_environment: false,
        })
    };
    fronts.push(front("front", &settings.front()?, doors.callers_path(), users.map(|users| &users.front))?);
    if let Some(config) = settings.operators_front()? {
        let own = users.and_then(|users| users.operators.as_ref());
        let mut operators = front("operators' front", &config, doors.operators_path(), own)?;
        operators.arguments.push("--operators".into());
        fronts.push(operators);
    }
    let mut typed: Vec<OsString> = vec!["core".into(), arguments.start.file.clone().into()];
    typed.extend(common(&arguments.logging));
    typed.extend(user(users.map(|users| &users.core)).into_iter().flatten());
    if arguments.start.allow_software_keys {
        typed.push("--allow-software-keys".into());
    }
    let said = [
        (arguments.start.accept_clock, "--accept-clock"),
        (arguments.start.accept_missing_checkpoint, "--accept-missing-checkpoint"),
        (arguments.start.accept_missing_anchor, "--accept-missing-anchor"),
    ];
    let once = said.into_iter().filter(|(said, _)| *said).map(|(_, word)| word.into()).collect();
    let mut sockets = vec![(CALLERS_DOOR, own(&doors.callers)?)];
    if settings.operators.is_some() {
        sockets.push((OPERATORS_DOOR, own(&doors.operators)?));
    }
    let start_time_max = settings.process.start_time_max()?;
    let core = Spec {
        what: "core",
        program: OWN_PROGRAM.into(),
        is_core: true,
        start_time_max,
        arguments: typed,
        once,
        sockets,
        secret,
        has_environment: true,
    };
    Ok(Specs { core, fronts })
}

fn common(logging: &LogArguments) -> [OsString; 5] {
    let format = logging.log_format.word().into();
    ["--supervised".into(), "--log-format".into(), format, "--log".into(), logging.log.clone().into()]
}

fn own(listener: &std::os::unix::net::UnixListener) -> Result<OwnedFd, Trouble> {
    listener.as_fd().try_clone_to_owned().map_err(|source| Trouble::Door { source })
}
