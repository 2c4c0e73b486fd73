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
    /// Directories and files below which it reads; a front lists none of them.
    pub(crate) reads: Vec<PathBuf>,
    /// The same, where it writes, too.
    pub(crate) writes: Vec<PathBuf>,
    /// Which half it is.
    pub(crate) half: Half,
}

/// The halves, by what they need of the system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Half {
    /// It has its listening socket and a door to connect to; it writes no file, starts no process and signals none.
    #[default]
    Front,
    /// A vendor's module does in it what it likes, within bounds.
    Core {
        /// Whether it makes sockets of the internet.
        network: bool,
    },
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
    syscalls::restrict(kept.half).map_err(|error| failed(Box::new(error)))
}

#[cfg(test)]
mod tests;
