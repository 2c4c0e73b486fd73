//! Closes the process to debuggers, core files and swap, before a secret is read.

use rustix::{
    mm::{MlockAllFlags, mlockall},
    process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit},
};

use crate::trouble::Trouble;

/// What is said where memory may be written to swap.
const MAY_GO_TO_SWAP: &str = "PIN and keys in this process's memory may be written to swap, because its limit on locked memory is not \
                              `unlimited`; hint: `LimitMEMLOCK=infinity` in the unit, `ulimit -l unlimited` in a shell, or no swap, or an encrypted one";

/// No core files, and no other process of this user reads this one's memory (prctl(2), PR_SET_DUMPABLE).
pub(crate) fn close_to_others() -> Result<(), Trouble> {
    let nothing = Rlimit { current: Some(0), maximum: Some(0) };
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .and_then(|()| setrlimit(Resource::Core, nothing))
        .map_err(|error| Trouble::Hardening { source: error.into() })
}

/// Raises the limit on locked memory as far as this process may: root beyond what it was given, for the user that it becomes.
pub(crate) fn raise_limit_of_locked_memory() {
    let given = getrlimit(Resource::Memlock).maximum;
    for maximum in [None, given] {
        // What is not raised is told by whoever wants to lock.
        if setrlimit(Resource::Memlock, Rlimit { current: maximum, maximum }).is_ok() {
            return;
        }
    }
}

/// Raises the limit on open files as far as this process may: each connection is one.
pub(crate) fn raise_limit_of_files() {
    let given = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: given.maximum, ..given }) {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
}

/// Keeps all memory of this process out of swap, now and later (mlockall(2)), or warns that it may go there.
///
/// Under a limit, an allocation beyond it would fail and end the process, so that nothing is locked then, unless the system holds this
/// process to no limit (CAP_IPC_LOCK). Pages are locked when they are first used (MCL_ONFAULT): stacks and heaps take no more memory than
/// without it.
pub(crate) fn keep_out_of_swap() {
    let given = getrlimit(Resource::Memlock);
    let limited = given.current.is_some();
    // Whoever may lock nothing, and does all the same, is held to no limit.
    if limited && setrlimit(Resource::Memlock, Rlimit { current: Some(0), ..given }).is_err() {
        return tracing::warn!("{MAY_GO_TO_SWAP}");
    }
    let locked = mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT);
    if limited && let Err(error) = setrlimit(Resource::Memlock, given) {
        tracing::warn!(%error, "the limit on locked memory stays at nothing");
    }
    match locked {
        Ok(()) => {}
        Err(_) if limited => tracing::warn!("{MAY_GO_TO_SWAP}"),
        Err(error) => tracing::warn!(%error, "the system does not lock memory: PIN and keys may be written to swap"),
    }
}
