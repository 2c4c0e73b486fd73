//! The contract about entries: which types there are, and which members each has. `docs/log-entries.schema.json` is made of
//! it, and verifiers check entries against it.
//!
//! Readers pass over types, members and words that they do not know: a later version may add all three to version 1.
//! What is known must be there and have its form.

mod draft;
mod forms;
mod kinds;

use crate::{ENTRY_VERSION, Value};

pub use draft::json_schema;
pub use forms::{Form, Member};
pub use kinds::{ALARMS, KINDS, Kind, Variant, Variants};

/// What an entry is to this version of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It is of a known type and has its members.
    Known(&'static Kind),
    /// Its type is not known here; so nothing of it was checked but version, type and time.
    UnknownKind,
    /// It is of another version of the format; nothing of it was checked but version, type and time.
    OtherVersion,
}

/// What does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// Not one canonical JSON object.
    #[error("it is not one object in canonical JSON (RFC 8785)")]
    NotCanonical,
    /// A member is not there.
    #[error("it has no `{path}`, which `{kind}` has")]
    Missing {
        /// Type of the entry.
        kind: String,
        /// Which member.
        path: String,
    },
    /// A member has another form.
    #[error("its `{path}` is not {form}, which `{kind}` wants")]
    Form {
        /// Type of the entry.
        kind: String,
        /// Which member.
        path: String,
        /// Which form it should have.
        form: &'static str,
    },
}

/// Members that every entry has, whatever its type and version.
pub const HEAD: &[Member] = &[
    Member::needed("time", Form::Integer),
    Member::needed("type", Form::Name),
    Member::needed("version", Form::Count),
];

/// What stands in the place of all other members of an entry that was too long.
pub const OMITTED: &[Member] =
    &[Member::needed("omitted-bytes", Form::Count), Member::needed("omitted-sha256", Form::Digest)];

/// Checks an entry that was read.
///
/// # Errors
/// What does not fit first.
pub fn check(entry: &Value<'_>) -> Result<Fit, Misfit> {
    let Value::Object(_) = entry else { return Err(Misfit::NotCanonical) };
    let name = entry.member("type").and_then(Value::text).unwrap_or("entry");
    check_members(entry, HEAD, name, true)?;
    if entry.member("version").and_then(Value::integer) != Some(ENTRY_VERSION) {
        return Ok(Fit::OtherVersion);
    }
    let Some(kind) = kind(name) else { return Ok(Fit::UnknownKind) };
    if entry.member("omitted-sha256").is_some() {
        check_members(entry, OMITTED, name, true)?;
    } else {
        check_members(entry, kind.members, name, true)?;
        let mut variants = kind.variants;
        while let Some(variant) = kinds::variant(variants, entry) {
            check_members(entry, variant.members, name, true)?;
            variants = variant.variants;
        }
    }
    Ok(Fit::Known(kind))
}

/// The type of that name.
#[must_use]
pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.binary_search_by(|kind| kind.name.cmp(name)).ok().and_then(|at| KINDS.get(at))
}

/// `outermost`: only there a member may be a commitment.
fn check_members(object: &Value<'_>, members: &[Member], kind: &str, outermost: bool) -> Result<(), Misfit> {
    for member in members {
        match object.member(member.key) {
            None if member.needed => {
                return Err(Misfit::Missing { kind: kind.to_owned(), path: member.key.to_owned() });
            }
            None => {}
            Some(value) if outermost && forms::is_commitment(value) && member.may_be_private() => {}
            Some(value) => forms::check(value, member, kind)?,
        }
    }
    Ok(())
}
