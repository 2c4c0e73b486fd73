//! The core's doors: two Unix sockets in a directory of their own.

use std::{
    env,
    ffi::OsString,
    fs, io,
    os::unix::{fs::DirBuilderExt as _, fs::PermissionsExt as _, fs::chown, net::UnixListener},
    path::{Path, PathBuf},
};

use aws_lc_rs::rand;

use crate::{process::Users, trouble::Trouble, user::User};

/// Where root keeps what lasts until the machine is started anew.
const RUN: &str = "/run";
/// Random bytes in the name of the directory.
const NAME_BYTES: usize = 8;
/// Mode of the directory where others than its owner connect to what is in it, by name.
const DIRECTORY_OF_USERS: u32 = 0o711;
/// Its mode where nobody else does.
const DIRECTORY: u32 = 0o700;
/// Mode of a door: its owner connects.
const DOOR: u32 = 0o600;

/// The doors. Their directory goes away with them.
pub(super) struct Doors {
    directory: PathBuf,
    pub(super) callers: UnixListener,
    pub(super) operators: UnixListener,
}

impl Doors {
    /// Opens them; each belongs to the user for whom it is.
    pub(super) fn open(users: Option<&Users>) -> Result<Self, Trouble> {
        let base = base(users.is_some(), |variable| env::var_os(variable));
        let directory = base.join(name()?);
        let open = || {
            let mode = if users.is_some() { DIRECTORY_OF_USERS } else { DIRECTORY };
            fs::DirBuilder::new().mode(DIRECTORY).create(&directory)?;
            fs::set_permissions(&directory, fs::Permissions::from_mode(mode))?;
            let front = users.map(|users| &users.front);
            let operators = users.and_then(|users| users.operators.as_ref());
            Ok((door(&callers(&directory), front)?, door(&for_operators(&directory), operators)?))
        };
        match open() {
            Ok((callers, operators)) => Ok(Self { directory, callers, operators }),
            Err(source) => {
                remove(&directory);
                Err(Trouble::Doors { path: base, source })
            }
        }
    }

    /// Path of the callers' door.
    pub(super) fn callers_path(&self) -> PathBuf {
        callers(&self.directory)
    }

    /// Path of the operators' door.
    pub(super) fn operators_path(&self) -> PathBuf {
        for_operators(&self.directory)
    }
}

impl Drop for Doors {
    fn drop(&mut self) {
        remove(&self.directory);
    }
}

fn remove(directory: &Path) {
    // What is not there needs no removal; the rest is litter, and nothing depends on it.
    drop(fs::remove_file(callers(directory)));
    drop(fs::remove_file(for_operators(directory)));
    drop(fs::remove_dir(directory));
}

fn callers(directory: &Path) -> PathBuf {
    directory.join("callers")
}

fn for_operators(directory: &Path) -> PathBuf {
    directory.join("operators")
}

/// Where such directories are. XDG_RUNTIME_DIR is its own user's alone: others could not go through it to their doors.
fn base(of_others: bool, variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let named = |name| variable(name).filter(|path| !path.is_empty());
    // A service manager may give several, with colons between them (systemd.exec(5)).
    let given = named("RUNTIME_DIRECTORY").and_then(|paths| env::split_paths(&paths).next());
    let own = || named("XDG_RUNTIME_DIR").filter(|_| !of_others).map(PathBuf::from);
    let run = || Some(PathBuf::from(RUN)).filter(|path| of_others && path.is_dir());
    given.or_else(own).or_else(run).unwrap_or_else(env::temp_dir)
}

/// A name that nobody took before.
fn name() -> Result<String, Trouble> {
    let mut random = [0; NAME_BYTES];
    rand::fill(&mut random).map_err(|_| Trouble::NoRandomness)?;
    Ok(format!("hallmark-{}", hallmark_policy::hex(&random)))
}

fn door(path: &Path, owner: Option<&User>) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(DOOR))?;
    if let Some(owner) = owner {
        chown(path, Some(owner.uid), None)?;
    }
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doors_of_other_users_are_where_these_users_come() {
        let both = |name: &str| match name {
            "RUNTIME_DIRECTORY" => Some("/run/hallmark:/run/other".into()),
            _ => Some("/run/user/0".into()),
        };
        let session = |name: &str| (name == "XDG_RUNTIME_DIR").then(|| "/run/user/0".into());
        for of_others in [true, false] {
            assert_eq!(base(of_others, both), Path::new("/run/hallmark"));
            assert_ne!(base(of_others, |_| Some(OsString::new())), Path::new(""));
        }
        assert_eq!(base(false, session), Path::new("/run/user/0"));
        assert!([Path::new(RUN), &env::temp_dir()].contains(&base(true, session).as_path()));
        assert_eq!(base(false, |_| None), env::temp_dir());
    }
}
