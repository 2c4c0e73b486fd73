//! `[process]` of `signer.toml`: which users the processes of a daemon are, and what the core needs beside its own files.

use std::{path::PathBuf, time::Duration};

use hallmark_front::Period;
use serde::Deserialize;

use crate::{trouble::Trouble, user::User};

/// The table as it was typed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ProcessFile {
    /// Who holds keys, policy and ledger.
    pub(crate) core_user: Option<String>,
    /// Who serves callers.
    pub(crate) front_user: Option<String>,
    /// Who serves operators.
    pub(crate) operators_user: Option<String>,
    /// Whether the core makes connections of the internet, as some modules do.
    #[serde(default)]
    pub(crate) core_network: bool,
    /// Files and directories that the core writes beside its own, such as devices and a module's state.
    #[serde(default)]
    pub(crate) core_paths: Vec<PathBuf>,
    /// How long a process may take until it serves.
    pub(crate) start_time_max: Option<Period>,
}

/// How long a process may take until it serves, unless the configuration says otherwise: recovery of a ledger, and a device that is slow
/// to open its sessions.
const START_TIME_MAX_DEFAULT: Duration = Duration::from_secs(3 * 60);
/// The bounds of that.
const START_TIME_MAX_BOUNDS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(60 * 60));

/// The users, where they are told apart.
#[derive(Clone, Debug)]
pub(crate) struct Users {
    pub(crate) core: User,
    pub(crate) front: User,
    pub(crate) operators: Option<User>,
}

impl ProcessFile {
    /// How long a process may take until it serves.
    ///
    /// # Errors
    /// [`Trouble::Users`] if it is outside its bounds.
    pub(crate) fn start_time_max(&self) -> Result<Duration, Trouble> {
        let (least, most) = START_TIME_MAX_BOUNDS;
        match self.start_time_max.map(Period::duration) {
            None => Ok(START_TIME_MAX_DEFAULT),
            Some(time) if (least..=most).contains(&time) => Ok(time),
            Some(_) => Err(Trouble::Users {
                detail: "`start-time-max` is outside its limits; write a span of time from 10s to 1h",
            }),
        }
    }

    /// The users; none if all processes are of the one that starts them.
    ///
    /// # Errors
    /// [`Trouble::Users`] if only some are told apart, and what [`User::named`] says.
    pub(crate) fn users(&self, has_operators: bool) -> Result<Option<Users>, Trouble> {
        let wrong = |detail| Err(Trouble::Users { detail });
        let operators = self.operators_user.as_deref().filter(|_| has_operators);
        let (core, front) = match (&self.core_user, &self.front_user) {
            (None, None) if self.operators_user.is_none() => return Ok(None),
            (Some(core), Some(front)) => (core, front),
            (_, _) => return wrong("name both `core-user` and `front-user`, or none"),
        };
        if has_operators && operators.is_none() {
            return wrong(
                "there is an [operators] table, so name `operators-user`, too: only that user opens the operators' door",
            );
        }
        let users = Users {
            core: User::named(core)?,
            front: User::named(front)?,
            operators: operators.map(User::named).transpose()?,
        };
        let uids: Vec<_> = users.all().map(|user| user.uid).collect();
        let alike = uids.iter().enumerate().any(|(place, uid)| uids.iter().skip(place + 1).any(|other| other == uid));
        if alike {
            return wrong("two of the users are the same, and so could open each other's files and doors");
        }
        if uids.contains(&ROOT) {
            return wrong("one of the users is root, from whom nothing can be kept");
        }
        Ok(Some(users))
    }
}

/// The user from whom nothing can be kept.
const ROOT: u32 = 0;

impl Users {
    fn all(&self) -> impl Iterator<Item = &User> {
        [&self.core, &self.front].into_iter().chain(&self.operators)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(text: &str, has_operators: bool) -> Result<Option<Users>, Trouble> {
        toml::from_str::<ProcessFile>(text).unwrap().users(has_operators)
    }

    #[test]
    fn all_are_told_apart_or_none() {
        assert!(users("", true).unwrap().is_none());
        let both = "core-user = \"daemon\"\nfront-user = \"nobody\"\n";
        assert!(users(both, false).unwrap().unwrap().operators.is_none());
        let three = format!("{both}operators-user = \"bin\"\n");
        assert!(users(&three, true).unwrap().unwrap().operators.is_some());
        for wrong in ["core-user = \"daemon\"", "front-user = \"nobody\"", "operators-user = \"bin\"", both] {
            assert!(matches!(users(wrong, true), Err(Trouble::Users { .. })), "{wrong}");
        }
        for other in ["daemon", "nobody", "root"] {
            assert!(matches!(users(&three.replace("bin", other), true), Err(Trouble::Users { .. })), "{other}");
        }
    }

    #[test]
    fn the_time_for_a_start_is_bounded() {
        let time = |text: &str| toml::from_str::<ProcessFile>(text).unwrap().start_time_max();
        assert_eq!(time("").unwrap(), START_TIME_MAX_DEFAULT);
        for (typed, secs) in [("10s", 10), ("1h", 3_600)] {
            assert_eq!(time(&format!("start-time-max = '{typed}'")).unwrap(), Duration::from_secs(secs));
        }
        for typed in ["9s", "61m", "1d"] {
            assert!(matches!(time(&format!("start-time-max = '{typed}'")), Err(Trouble::Users { .. })), "{typed}");
        }
    }
}
