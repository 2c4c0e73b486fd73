//! Closes the process to debuggers and core files, before a secret is read.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use crate::trouble::Trouble;

/// No core files, and no other process of this user reads this one's memory (prctl(2), PR_SET_DUMPABLE).
pub(crate) fn close_to_others() -> Result<(), Trouble> {
    let nothing = Rlimit { current: Some(0), maximum: Some(0) };
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .and_then(|()| setrlimit(Resource::Core, nothing))
        .map_err(|error| Trouble::Hardening { source: error.into() })
}
