//! What a process gives up before it reads a secret or hears the network, for good: privileges to come, system calls that it never needs,
//! and files that are not its own.
//!
//! Owners and modes of files are the first wall, where the processes are of several users; this is the second, and needs a kernel that
//! has it. One that has not is told of once, and the process goes on.

mod files;
mod syscalls;

use std::path::PathBuf;

use crate::trouble::Trouble;

/// What a process keeps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    /// Directories and files below which it reads.
    pub(crate) reads: Vec<PathBuf>,
    /// The same, where it writes, too.
    pub(crate) writes: Vec<PathBuf>,
    /// The TCP port that it listens on itself, if nobody gave it a socket.
    pub(crate) binds: Option<u16>,
    /// Whether it makes sockets of the internet.
    pub(crate) network: bool,
}

/// Gives up everything else. To be called while there is one thread.
///
/// # Errors
/// [`Trouble::Confinement`], where the kernel has it, and yet does not do it.
pub(crate) fn confine(kept: &Kept) -> Result<(), Trouble> {
    let failed = |source| Trouble::Confinement { source };
    rustix::thread::set_no_new_privs(true).map_err(|error| failed(Box::new(std::io::Error::from(error))))?;
    match files::restrict(kept).map_err(|error| failed(Box::new(error)))? {
        files::Done::Whole => {}
        files::Done::InPart => {
            tracing::warn!("this kernel's landlock is an older one, and keeps less from this process")
        }
        files::Done::Nothing => {
            tracing::warn!(
                "this kernel has no landlock: files are kept from this process by their owners and modes alone"
            );
        }
    }
    syscalls::restrict(kept.network || kept.binds.is_some()).map_err(|error| failed(Box::new(error)))
}

#[cfg(test)]
mod tests;
