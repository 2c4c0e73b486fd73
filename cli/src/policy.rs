//! Policies: is a file good, what would become of a request, do the cases beside it still hold, and which one is in force.
//!
//! Only [`in_force`] asks a signer. All else touches no signer, no key of one and no network: callers, issuers and keys are
//! stand-ins of this process.

pub(crate) mod case;
mod certificate;
pub(crate) mod check;
mod expectation;
pub(crate) mod explain;
pub(crate) mod fault;
pub(crate) mod in_force;
pub(crate) mod manifest;
mod rule;
pub(crate) mod stand_in;
pub(crate) mod test;
mod trial;

use std::path::Path;

use hallmark_policy::{Policy, file::POLICY_BYTES_MAX};

use crate::{
    files::{self, FileError},
    problem::Problem,
};
use fault::PolicyFault;

/// Reads a policy, or tells every mistake in it.
pub(crate) fn read(path: &Path) -> Result<Policy, Problem> {
    let text = text(path, POLICY_BYTES_MAX)?;
    Policy::parse(&text).map_err(|error| PolicyFault::of(path, &error).into())
}

/// A file of text.
fn text(path: &Path, bytes_max: usize) -> Result<String, FileError> {
    let bytes = files::read_up_to(path, bytes_max)?;
    String::from_utf8(bytes).map_err(|_| FileError::Unexpected { path: path.to_owned(), expected: "UTF-8 text" })
}
