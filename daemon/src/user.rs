//! The user that a process is, and becoming another one for good.

use std::{ffi::CString, fmt, fs, io, os::unix::fs::MetadataExt as _, path::Path, str::FromStr};

use nix::unistd::{self, Gid, Uid};

use crate::trouble::Trouble;

/// A user, its group and its further groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub(crate) uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

/// Why a text is no user.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("write UID:GID, or UID:GID:GROUP,GROUP")]
pub struct NoUser;

impl User {
    /// The user of this name, as the system knows it.
    ///
    /// # Errors
    /// [`Trouble::NoSuchUser`].
    pub(crate) fn named(name: &str) -> Result<Self, Trouble> {
        let no_such = |source| Trouble::NoSuchUser { name: name.to_owned(), source };
        let user = unistd::User::from_name(name).map_err(|error| no_such(Some(error.into())))?;
        let user = user.ok_or_else(|| no_such(None))?;
        let name = CString::new(name).map_err(|error| no_such(Some(error.into())))?;
        let groups = unistd::getgrouplist(&name, user.gid).map_err(|error| no_such(Some(error.into())))?;
        let groups = groups.into_iter().filter(|group| *group != user.gid).map(Gid::as_raw).collect();
        Ok(Self { uid: user.uid.as_raw(), gid: user.gid.as_raw(), groups })
    }

    /// Whether this process is root's, and so can become others.
    pub(crate) fn is_root() -> bool {
        unistd::geteuid().is_root()
    }

    /// This process's user.
    pub(crate) fn own_uid() -> u32 {
        unistd::geteuid().as_raw()
    }

    /// That this process's user owns a file, if it is there: what it writes beside it would otherwise be closed to whose file it is.
    ///
    /// # Errors
    /// [`Trouble::OthersFile`], and [`Trouble::Unreadable`] where its owner is not known.
    pub(crate) fn owns(path: &Path) -> Result<(), Trouble> {
        let found = match fs::metadata(path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(Trouble::Unreadable { path: path.to_owned(), source }),
        };
        if found.uid() == Self::own_uid() {
            return Ok(());
        }
        let named = unistd::User::from_uid(Uid::from_raw(found.uid())).ok().flatten();
        let owner = named.map_or_else(|| found.uid().to_string(), |user| user.name);
        Err(Trouble::OthersFile { path: path.to_owned(), owner })
    }

    /// Becomes this user: real, effective and saved. Nothing leads back.
    ///
    /// # Errors
    /// [`Trouble::Become`], also if something does lead back.
    pub(crate) fn become_for_good(&self) -> Result<(), Trouble> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let failed = |source: nix::Error| Trouble::Become { uid: self.uid, source: source.into() };
        let groups: Vec<_> = [self.gid].iter().chain(&self.groups).copied().map(Gid::from_raw).collect();
        unistd::setgroups(&groups).map_err(failed)?;
        unistd::setresgid(gid, gid, gid).map_err(failed)?;
        unistd::setresuid(uid, uid, uid).map_err(failed)?;
        let is = unistd::getresuid().map_err(failed)?;
        let leads_back = !uid.is_root() && unistd::setuid(Uid::from_raw(0)).is_ok();
        if leads_back || [is.real, is.effective, is.saved] != [uid; 3] {
            return Err(failed(nix::Error::EPERM));
        }
        Ok(())
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)?;
        for (number, group) in self.groups.iter().enumerate() {
            write!(f, "{}{group}", if number == 0 { ":" } else { "," })?;
        }
        Ok(())
    }
}

impl FromStr for User {
    type Err = NoUser;

    fn from_str(text: &str) -> Result<Self, NoUser> {
        let number = |text: &str| text.parse().map_err(|_| NoUser);
        let (uid, rest) = text.split_once(':').ok_or(NoUser)?;
        let (gid, groups) = rest.split_once(':').map_or((rest, None), |(gid, groups)| (gid, Some(groups)));
        let groups = groups.map(|groups| groups.split(',').map(number).collect()).transpose()?.unwrap_or_default();
        Ok(Self { uid: number(uid)?, gid: number(gid)?, groups })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_reads_as_it_is_written() {
        for text in ["7:8", "7:8:9", "0:0:1,2,3"] {
            assert_eq!(text.parse::<User>().unwrap().to_string(), text);
        }
        for text in ["", "7", "7:", ":8", "7:8:", "7:8:9,", "-1:0", "a:b", "7:8:9:10"] {
            assert!(text.parse::<User>().is_err(), "{text}");
        }
    }

    #[test]
    fn root_is_known_and_nobody_else_by_such_a_name() {
        assert_eq!(User::named("root").unwrap().uid, 0);
        assert!(matches!(User::named("no-such-user"), Err(Trouble::NoSuchUser { .. })));
    }
}
