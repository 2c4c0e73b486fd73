//! `hallmark log`: published decision logs, from their files alone.

mod about;
mod continuity;
mod device_log;
mod entries;
pub(crate) mod export;
mod filter;
mod findings;
pub(crate) mod key;
mod leftovers;
mod names;
mod opened;
mod openings;
mod outside;
mod policies;
mod printer;
pub(crate) mod prove;
pub(crate) mod query;
pub(crate) mod range;
pub(crate) mod receipt;
pub(crate) mod reconcile;
mod remote;
mod revocations;
mod scan;
mod seen;
mod serials;
pub(crate) mod show;
mod source;
mod state;
pub(crate) mod stats;
pub(crate) mod verify;

use crate::{problem::Problem, when};

/// Whether a scan found the log to be what was signed. Nothing that was read from it counts otherwise.
fn unclean(scanned: &scan::Scanned) -> Result<(), Problem> {
    let first =
        scanned.report.findings.first().map(ToString::to_string).or_else(|| scanned.strays.kept().first().cloned());
    first.map_or(Ok(()), |finding| Err(Problem::Unclean { finding }))
}

/// `1 entry`, `2 entries`.
fn entries_of(count: u64) -> String {
    format!("{} {}", when::number(count), if count == 1 { "entry" } else { "entries" })
}

/// What a command did not read, by a stated policy of pruning: to be said behind what it found.
fn but_pruned(pruned_before: u64) -> String {
    if pruned_before == 0 {
        return String::new();
    }
    format!(" The first {} were not read: their bundles are pruned, and their hashes hold.", entries_of(pruned_before))
}
